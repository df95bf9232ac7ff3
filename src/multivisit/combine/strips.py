"""The output grid in strips of rows, and which rows of which chips each strip needs.

The layout follows from the mosaic alone, never from the number of threads or from memory: that makes results
the same whatever these are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from multivisit.combine.drizzle_engine import PixelCoordinates

__all__ = ["ChipReach", "RowSink", "Strip", "lay_out_strips", "reach_margin", "strip_height"]

_STRIP_PIXELS = 1 << 23
_LOWEST, _HIGHEST, _STEP = 256, 1024, 64

_KNOTS = 33
_MARGIN = 8.0
# Farthest that a drop reaches from its pixel's centre in any direction, in input pixels (lanczos3).
_FARTHEST = 6.0


class RowSink(Protocol):
    """What takes the finished rows of a mosaic: any rows at any time, from any thread."""

    def write_rows(
        self,
        first_row: int,
        science: NDArray[np.float32],
        weight: NDArray[np.float32],
        context: NDArray[np.int32] | None,
    ) -> None:
        """Take some whole rows: science and weight (rows, nx), context (planes, rows, nx) if there is one."""
        ...

    def write_error(self, first_row: int, error: NDArray[np.float32]) -> None:
        """Take the standard errors of some whole rows (rows, nx), where an error plane is kept."""
        ...

    def read_weight(self, first_row: int, last_row: int) -> NDArray[np.float32]:
        """Give back the weights of rows that were written, the last row excluded."""
        ...


@dataclass(frozen=True)
class Strip:
    """Some rows of the output grid."""

    number: int
    """Number from the South, from 0."""

    first_row: int
    """First row."""

    shape: tuple[int, int]
    """Rows and columns."""

    chips: tuple[int, ...]
    """Numbers of the chips that reach it, rising: the order of combination."""


@dataclass(frozen=True, eq=False)
class ChipReach:
    """Which output rows the rows of a chip reach, from a lattice of positions on it."""

    rows: NDArray[np.int64] = field(repr=False)
    """Rows of the chip, rising from the first to the last."""

    low: NDArray[np.float64] = field(repr=False)
    """Lowest output row that each of them reaches, margin included."""

    high: NDArray[np.float64] = field(repr=False)
    """Highest output row."""

    @classmethod
    def of(cls, pixel_map: PixelCoordinates, shape: tuple[int, int], scale_ratio: float) -> ChipReach:
        """Measure the reach of a chip.

        Parameters
        ----------
        pixel_map : PixelCoordinates
            Where its pixels fall in the output grid.
        shape : tuple of int
            Its rows and columns.
        scale_ratio : float
            Output pixel scale over the chip's nominal pixel scale.

        Returns
        -------
        ChipReach
            The reach.
        """
        ny, nx = shape
        rows = np.unique(np.linspace(0, ny - 1, _KNOTS).round().astype(np.int64))
        x, y = np.meshgrid(np.linspace(-0.5, nx - 0.5, _KNOTS), rows.astype(np.float64))
        _, v = pixel_map.at(x, y)
        margin = reach_margin(scale_ratio)
        return cls(rows, v.min(axis=1) - margin, v.max(axis=1) + margin)

    def rows_for(self, first_row: int, last_row: int) -> slice:
        """Tell which rows of the chip may reach some output rows.

        Parameters
        ----------
        first_row, last_row : int
            Output rows, the last one excluded.

        Returns
        -------
        slice
            Rows of the chip; empty where none does.
        """
        # Between two knots a row reaches no farther than both of them do.
        low = np.minimum(self.low, np.append(self.low[1:], np.inf))
        high = np.maximum(self.high, np.append(self.high[1:], -np.inf))
        reaching = np.flatnonzero((high >= first_row) & (low <= last_row - 1))
        if not len(reaching):
            return slice(0, 0)
        last = min(int(reaching[-1]) + 1, len(self.rows) - 1)
        return slice(int(self.rows[reaching[0]]), int(self.rows[last]) + 1)


def reach_margin(scale_ratio: float) -> float:
    """Give the output rows and columns by which a pixel's drop may reach beyond its centre.

    Parameters
    ----------
    scale_ratio : float
        Output pixel scale over the chip's nominal pixel scale.

    Returns
    -------
    float
        Output pixels, with some more for what a lattice of positions misses of a distortion.
    """
    return _MARGIN + _FARTHEST / scale_ratio


def strip_height(shape: tuple[int, int]) -> int:
    """Choose the rows of a strip: 8 million pixels or so, 256 to 1024 rows.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the output grid.

    Returns
    -------
    int
        Rows of each strip but the last.
    """
    rows = _STRIP_PIXELS // max(1, shape[1]) // _STEP * _STEP
    return min(max(rows, _LOWEST), _HIGHEST)


def lay_out_strips(shape: tuple[int, int], reaches: Mapping[int, ChipReach]) -> tuple[Strip, ...]:
    """Divide the output grid into strips.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the grid.
    reaches : mapping of int to ChipReach
        Reach of each chip that overlaps the grid, by its number.

    Returns
    -------
    tuple of Strip
        Strips from South to North.
    """
    height = strip_height(shape)
    strips = []
    for number, first in enumerate(range(0, shape[0], height)):
        last = min(first + height, shape[0])
        chips = sorted(n for n, reach in reaches.items() if reach.rows_for(first, last) != slice(0, 0))
        strips.append(Strip(number, first, (last - first, shape[1]), tuple(chips)))
    return tuple(strips)
