"""The parts of chips that strips need, read where and when they are needed.

A chip is divided into cells of some thousand pixels. A strip needs the cells that reach it: of
a chip that lies askew to the output grid, a band across it. Only those are read from the file (or taken from
what the survey has kept), masked and weighed. So no chip must be in memory as a whole, and none is read again
for each strip.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine import _parts
from multivisit.combine.placement import chip_error
from multivisit.combine.strips import reach_margin
from multivisit.errors import ExposureError, MultivisitError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from multivisit.combine.chip_reader import RawChip
    from multivisit.combine.drizzle_engine import PixelCoordinates
    from multivisit.combine.placement import PreparedChip
    from multivisit.combine.weights import PixelTest

__all__ = ["ChipCells", "ChipParts", "PartPlanes"]

# Whole blocks of the kernel's: then what is left out changes nothing, not even the last bits.
_CELL_ROWS, _CELL_COLUMNS = 64, 256
_NOT_COUNTED = -1


@dataclass(frozen=True, eq=False)
class ChipCells:
    """The cells of a chip, and which output rows they reach."""

    rows: NDArray[np.int64] = field(repr=False)
    """First rows of the rows of cells, and the number of rows of the chip."""

    columns: NDArray[np.int64] = field(repr=False)
    """First columns of the columns of cells, and the number of columns of the chip."""

    low: NDArray[np.float64] = field(repr=False)
    """Lowest output row that each cell reaches, margin included, (rows, columns) of cells."""

    high: NDArray[np.float64] = field(repr=False)
    """Highest output row; less than the lowest for cells beside the output grid."""

    @classmethod
    def of(
        cls, pixel_map: PixelCoordinates, shape: tuple[int, int], scale_ratio: float, grid_columns: int
    ) -> ChipCells:
        """Divide a chip into cells.

        Parameters
        ----------
        pixel_map : PixelCoordinates
            Where its pixels fall in the output grid.
        shape : tuple of int
            Its rows and columns.
        scale_ratio : float
            Output pixel scale over the chip's nominal pixel scale.
        grid_columns : int
            Columns of the output grid.

        Returns
        -------
        ChipCells
            The cells.
        """
        rows = np.append(np.arange(0, shape[0], _CELL_ROWS), shape[0])
        columns = np.append(np.arange(0, shape[1], _CELL_COLUMNS), shape[1])
        u, v = pixel_map.at(*np.meshgrid(columns - 0.5, rows - 0.5))
        margin = reach_margin(scale_ratio)
        low, high = _least_of_corners(v) - margin, -_least_of_corners(-v) + margin
        beside = (-_least_of_corners(-u) + margin < 0.0) | (_least_of_corners(u) - margin > grid_columns)
        low[beside], high[beside] = np.inf, -np.inf
        return cls(rows, columns, low, high)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return len(self.rows) - 1, len(self.columns) - 1

    def parts_for(self, first_row: int, last_row: int) -> NDArray[np.int64]:
        """Find the parts of the chip that reach some output rows.

        Parameters
        ----------
        first_row, last_row : int
            Output rows, the last one excluded.

        Returns
        -------
        ndarray of int64
            Shape (n, 3): row of cells, its first cell that reaches them, and the cell after the last one.
        """
        return _parts_of((self.high >= first_row) & (self.low <= last_row - 1))


class ChipParts:
    """One chip whose pixels are made ready part by part. Threads may use it at the same time.

    Parameters
    ----------
    item : PreparedChip
        The chip, which overlaps the output grid.
    cells : ChipCells
        Its cells.
    test : PixelTest
        Which pixels count.
    masked : ndarray of bool, optional
        Pixels that are left out whatever the test says, (ny, nx).
    sky : float
        Electrons/s per pixel that are taken off.
    weight : float
        Weight of each pixel that counts.
    raw : RawChip, optional
        The chip where it has been read and kept; without it the parts are read from the file.
    """

    def __init__(
        self,
        item: PreparedChip,
        cells: ChipCells,
        test: PixelTest,
        masked: NDArray[np.bool_] | None,
        sky: float,
        weight: float,
        raw: RawChip | None = None,
    ) -> None:
        self.shape = item.chip.shape
        self.cells = cells
        self._item = item
        self._test = test
        self._masked = masked
        self._sky = sky
        self._weight = float(np.float32(weight))
        self._raw = raw
        self._counts = np.full((*cells.shape, 2), _NOT_COUNTED, dtype=np.int32)
        self._lock = threading.Lock()

    @property
    def has_weight(self) -> bool:
        """Whether its pixels weigh anything."""
        return self._weight != 0.0

    @staticmethod
    def possible(item: PreparedChip, test: PixelTest) -> bool:
        """Tell whether a chip can be read in parts.

        Parameters
        ----------
        item : PreparedChip
            The chip.
        test : PixelTest
            Which of its pixels count.

        Returns
        -------
        bool
            Not where its file is compressed or scaled, nor where no flag counts: a chip that is flagged all
            over is left out then, and that must be known beforehand.
        """
        chip = item.chip
        return (
            item.pixel_map is not None
            and not test.passes_all_flags
            and chip.stored_science is not None
            and chip.stored_quality is not None
            and chip.stored_quality.shape == chip.shape
        )

    def fill(
        self, parts: NDArray[np.int64], science: NDArray[np.float32], weights: NDArray[np.float32]
    ) -> None:
        """Fill some parts of planes of the chip.

        Parameters
        ----------
        parts : ndarray of int64
            The parts; see `ChipCells.parts_for`.
        science, weights : ndarray of float32
            Planes (ny, nx), contiguous: electrons/s without sky, finite, and weights, 0 for pixels that do
            not count. Outside the parts they are left as they are.

        Raises
        ------
        CombineError
            If the chip cannot be read.
        """
        self._make(parts, science, weights)

    def finish(self) -> tuple[int, int]:
        """Count the pixels where no strip has asked for them, and let go of the pixels that were kept.

        Returns
        -------
        n_good, n_static : int
            Number of pixels of the whole chip that count, and of those left out by the mask alone.

        Raises
        ------
        CombineError
            If the chip cannot be read.
        """
        left = _parts_of(self._counts[..., 0] == _NOT_COUNTED)
        if len(left):
            self._make(left, None, None)
        self._raw = None
        n_good, n_static = self._counts.sum(axis=(0, 1), dtype=np.int64).tolist()
        return n_good, n_static

    def _make(
        self,
        parts: NDArray[np.int64],
        science: NDArray[np.float32] | None,
        weights: NDArray[np.float32] | None,
    ) -> None:
        """Fill planes, if there are any, and count."""
        counts = np.full_like(self._counts, _NOT_COUNTED)
        cells = self.cells
        layout = (cells.rows, cells.shape[0], cells.columns, cells.shape[1], parts, len(parts))
        target = (self._masked, self._sky, self._weight, science, weights, counts)
        raw = self._raw
        try:
            if raw is None and not self._read(layout, target):
                from multivisit.combine.chip_reader import read_chip

                # The file has been rewritten since: what is there now is read by its own headers.
                raw = read_chip(self._item.chip, self._test)
            if raw is not None:
                _parts.copy_parts(raw.science, raw.good, layout, target)
        except (MultivisitError, OSError, ValueError) as error:
            raise chip_error(self._item.exposure, self._item.chip, error) from error
        with self._lock:
            np.copyto(self._counts, counts, where=counts != _NOT_COUNTED)

    def _read(
        self,
        layout: tuple[NDArray[np.int64], int, NDArray[np.int64], int, NDArray[np.int64], int],
        target: tuple[
            NDArray[np.bool_] | None,
            float,
            float,
            NDArray[np.float32] | None,
            NDArray[np.float32] | None,
            NDArray[np.int32],
        ],
    ) -> bool:
        """Make parts from the file; tells whether it still is the one whose headers were read."""
        chip, test = self._item.chip, self._test
        assert chip.stored_science is not None
        assert chip.stored_quality is not None
        with chip.stored_science.descriptor() as science, chip.stored_quality.descriptor() as quality:
            if science is None or quality is None:
                return False
            places = (science, chip.stored_science.start, quality, chip.stored_quality.start)
            source = (*places, chip.electrons_per_second(), test.bad_bits, test.low, test.high)
            try:
                _parts.read_parts(source, layout, target)
            except EOFError as error:
                raise ExposureError(f"{chip.path}: has become shorter while it was read.") from error
        return True


class PartPlanes:
    """Memory for the parts of one chip after another.

    Parameters
    ----------
    n_pixels : int
        Pixels of the largest chip.
    """

    def __init__(self, n_pixels: int) -> None:
        self._science = np.zeros(n_pixels, dtype=np.float32)
        self._weights = np.zeros(n_pixels, dtype=np.float32)
        self._filled: list[NDArray[np.float32]] = []

    def of(
        self, chip: ChipParts, first_row: int, last_row: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Make the pixels of a chip that reach some output rows.

        Parameters
        ----------
        chip : ChipParts
            The chip.
        first_row, last_row : int
            Output rows, the last one excluded.

        Returns
        -------
        science, weights : ndarray of float32
            Pixels and their weights, (ny, nx); weights are 0 outside the parts. Valid until the next chip's
            are asked for. None where no part reaches the rows.
        """
        parts = chip.cells.parts_for(first_row, last_row)
        if not len(parts):
            return None
        n_pixels = chip.shape[0] * chip.shape[1]
        science = self._science[:n_pixels].reshape(chip.shape)
        weights = self._weights[:n_pixels].reshape(chip.shape)
        for part in self._filled:
            part[...] = 0.0
        rows, columns = chip.cells.rows, chip.cells.columns
        self._filled = [
            weights[rows[row] : rows[row + 1], columns[first] : columns[last]]
            for row, first, last in parts.tolist()
        ]
        chip.fill(parts, science, weights)
        return science, weights


def _parts_of(wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give the rows of cells with wanted ones, and from where to where these lie."""
    rows = np.flatnonzero(wanted.any(axis=1))
    first = wanted[rows].argmax(axis=1)
    last = wanted.shape[1] - wanted[rows, ::-1].argmax(axis=1)
    return np.ascontiguousarray(np.stack([rows, first, last], axis=1), dtype=np.int64)


def _least_of_corners(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the least of the values at the four corners of each cell."""
    along = np.minimum(values[:-1], values[1:])
    return np.minimum(along[:, :-1], along[:, 1:])
