"""The parts of chips that strips need, read where and when they are needed.

A chip is divided into cells of some thousand pixels. A strip needs the cells that reach it: of a chip that
lies askew to the output grid, a band across it. Only those are read from the file and masked. So no chip must
be in memory as a whole, and none is read as a whole again for each strip.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine import _parts
from multivisit.combine.chip_reader import read_good_blocks
from multivisit.combine.placement import chip_error
from multivisit.combine.strips import reach_margin
from multivisit.errors import ExposureError, MultivisitError

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    """

    def __init__(
        self,
        item: PreparedChip,
        cells: ChipCells,
        test: PixelTest,
        masked: NDArray[np.bool_] | None,
        sky: float,
        weight: float,
    ) -> None:
        self.shape = item.chip.shape
        self.cells = cells
        self.weight = weight
        self._item = item
        self._usual_test = test
        self._masked = masked
        self._sky = sky
        self._counts = np.full((*cells.shape, 2), _NOT_COUNTED, dtype=np.int32)
        self._lock = threading.Lock()

    @staticmethod
    def possible(item: PreparedChip) -> bool:
        """Tell whether a chip can be read in parts.

        Parameters
        ----------
        item : PreparedChip
            The chip.

        Returns
        -------
        bool
            Not where its file is compressed or scaled.
        """
        chip = item.chip
        return (
            item.pixel_map is not None
            and chip.stored_science is not None
            and chip.stored_quality is not None
            and chip.stored_quality.shape == chip.shape
        )

    def fill(self, parts: NDArray[np.int64], science: NDArray[np.float32], good: NDArray[np.bool_]) -> None:
        """Fill some parts of planes of the chip.

        Parameters
        ----------
        parts : ndarray of int64
            The parts; see `ChipCells.parts_for`.
        science : ndarray of float32
            Plane (ny, nx), contiguous: electrons/s without sky, finite.
        good : ndarray of bool
            Plane of the pixels that count. Outside the parts both are left as they are.

        Raises
        ------
        CombineError
            If the chip cannot be read.
        """
        self._make(parts, science, good)

    def finish(self) -> tuple[int, int]:
        """Count the pixels of the chip, those included that no strip has asked for.

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
        n_good, n_static = self._counts.sum(axis=(0, 1), dtype=np.int64).tolist()
        return n_good, n_static

    @cached_property
    def _test(self) -> PixelTest:
        """The test; one that no pixel passes where flags are let pass and the chip is flagged all over."""
        test = self._usual_test
        if test.passes_all_flags and not any(
            unflagged for _, _, unflagged in read_good_blocks(self._item.chip, test)
        ):
            return replace(test, low=math.inf)
        return test

    def _make(
        self,
        parts: NDArray[np.int64],
        science: NDArray[np.float32] | None,
        good: NDArray[np.bool_] | None,
    ) -> None:
        """Fill planes, if there are any, and count."""
        chip, cells = self._item.chip, self.cells
        counts = np.full_like(self._counts, _NOT_COUNTED)
        layout = (cells.rows, cells.shape[0], cells.columns, cells.shape[1], parts, len(parts))
        target = (self._masked, self._sky, science, good, counts)
        assert chip.stored_science is not None
        assert chip.stored_quality is not None
        try:
            test = self._test
            with chip.stored_science.descriptor() as pixels, chip.stored_quality.descriptor() as flags:
                if pixels is None or flags is None:
                    raise ExposureError("its file has been rewritten meanwhile.")
                places = (pixels, chip.stored_science.start, flags, chip.stored_quality.start)
                source = (*places, chip.electrons_per_second(), test.bad_bits, test.low, test.high)
                _parts.read_parts(source, layout, target)
        except (MultivisitError, OSError, ValueError, EOFError) as error:
            raise chip_error(self._item.exposure, self._item.chip, error) from error
        with self._lock:
            np.copyto(self._counts, counts, where=counts != _NOT_COUNTED)


class PartPlanes:
    """Memory for the parts of one chip after another.

    Parameters
    ----------
    n_pixels : int
        Pixels of the largest chip.
    """

    def __init__(self, n_pixels: int) -> None:
        self._science = np.zeros(n_pixels, dtype=np.float32)
        self._good = np.zeros(n_pixels, dtype=np.bool_)
        self._filled: list[NDArray[np.bool_]] = []

    def of(
        self, chip: ChipParts, first_row: int, last_row: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        """Make the pixels of a chip that reach some output rows.

        Parameters
        ----------
        chip : ChipParts
            The chip.
        first_row, last_row : int
            Output rows, the last one excluded.

        Returns
        -------
        science : ndarray of float32
            Pixels, (ny, nx).
        good : ndarray of bool
            Those that count; none outside the parts. Both are valid until the next chip's are asked for. None
            where no part reaches the rows.
        """
        parts = chip.cells.parts_for(first_row, last_row)
        if not len(parts):
            return None
        n_pixels = chip.shape[0] * chip.shape[1]
        science = self._science[:n_pixels].reshape(chip.shape)
        good = self._good[:n_pixels].reshape(chip.shape)
        for part in self._filled:
            part[...] = False
        rows, columns = chip.cells.rows, chip.cells.columns
        self._filled = [
            good[rows[row] : rows[row + 1], columns[first] : columns[last]]
            for row, first, last in parts.tolist()
        ]
        chip.fill(parts, science, good)
        return science, good


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
