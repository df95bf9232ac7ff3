"""From a mosaic's pixels to the grey levels of a picture of it: cropping, reduction, stretch."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.combine import _pixels, _survey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = [
    "BlockMeans",
    "PictureArea",
    "Stretch",
    "fill_small_holes",
    "find_stretch",
    "observed_area",
    "reduction_factor",
]

_BLOCK_PIXELS = 1024 * 1024
_MARGIN = 0.02
_LARGEST_HOLE = 64
# Pixels of a picture from which its limits are found.
_STRETCH_SAMPLE = 250_000
_CLIPS = 8
_CLIP_SIGMA = 3.0
_MAD_TO_SIGMA = 1.4826
# In units of the noise: where black is below the sky level, and up to where brightness grows linearly.
_BLACK = 1.5
_LINEAR = 2.5
_WHITE_PERCENTILE = 99.97
_LEAST_RANGE = 60.0


@dataclass(frozen=True)
class PictureArea:
    """The part of a mosaic that a picture shows, in rows and columns of the mosaic."""

    first_row: int
    """First row."""

    first_column: int
    """First column."""

    shape: tuple[int, int]
    """Rows, columns."""


def observed_area(rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> PictureArea:
    """Give the box around all pixels with data, with a small margin.

    Parameters
    ----------
    rows, columns : ndarray of bool
        Whether each row and each column of the image has a pixel with data.

    Returns
    -------
    PictureArea
        Part of the image; all of it if no pixel has data.
    """
    if not rows.any():
        return PictureArea(0, 0, (rows.size, columns.size))
    margin = 1 + int(_MARGIN * max(np.count_nonzero(rows), np.count_nonzero(columns)))
    first_row, end_row = _span(rows, margin)
    first_column, end_column = _span(columns, margin)
    return PictureArea(first_row, first_column, (end_row - first_row, end_column - first_column))


def _span(observed: NDArray[np.bool_], margin: int) -> tuple[int, int]:
    """First and last + 1 true element, widened by a margin inside the array."""
    places = np.flatnonzero(observed)
    return max(0, int(places[0]) - margin), min(observed.size, int(places[-1]) + 1 + margin)


def reduction_factor(shape: tuple[int, int], maximum_size: int) -> int:
    """Choose how many pixels of an area become one of its picture.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the area.
    maximum_size : int
        Pixels along the longer side of the picture at most.

    Returns
    -------
    int
        Pixels along a side of the blocks.
    """
    return max(1, -(-max(shape) // maximum_size))


class BlockMeans:
    """Averages square blocks of an image that comes some rows at a time, in any order and any thread.

    Pixels without data (NaN, infinities, or those told) are left out. Blocks are counted from the image's
    first pixel; the last ones of a row or column may be smaller.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    factor : int
        Pixels along a side of a block.
    """

    def __init__(self, shape: tuple[int, int], factor: int) -> None:
        self.shape = shape
        self.factor = factor
        blocks = (-(-shape[0] // factor), -(-shape[1] // factor))
        # Rows that arrive apart add to a block in two parts at most, whose order changes nothing, as long as
        # they are more than a block each.
        self._sums = np.zeros(blocks)
        self._counts = np.zeros(blocks, dtype=np.int32)
        self._rows = np.zeros(shape[0], dtype=bool)
        self._columns = np.zeros(shape[1], dtype=bool)
        self._lock = threading.Lock()

    def add_rows(self, first_row: int, science: NDArray[Any], observed: NDArray[Any] | None = None) -> None:
        """Add some whole rows; each row is to be added once.

        Parameters
        ----------
        first_row : int
            First row.
        science : ndarray
            Pixels, shape (rows, columns).
        observed : ndarray, optional
            Anything but 0 where there are data, same shape: the weights.
        """
        for rows in _row_blocks(len(science), self.shape[1], first_row, self.factor):
            self._add(first_row + rows.start, science[rows], None if observed is None else observed[rows])

    def area(self) -> PictureArea:
        """Give the part of the image that has data, a small margin included."""
        return observed_area(self._rows, self._columns)

    def means(self) -> tuple[NDArray[np.float32], PictureArea]:
        """Give the picture of the observed part.

        Returns
        -------
        means : ndarray of float32
            Means of the blocks, NaN where no pixel of a block has data.
        area : PictureArea
            The part of the image that they show: the observed part, in whole blocks.
        """
        area, factor = self.area(), self.factor
        rows = slice(area.first_row // factor, -(-(area.first_row + area.shape[0]) // factor))
        columns = slice(area.first_column // factor, -(-(area.first_column + area.shape[1]) // factor))
        sums, counts = self._sums[rows, columns], self._counts[rows, columns]
        means = np.full(sums.shape, np.nan, dtype=np.float32)
        np.divide(sums, counts, out=means, where=counts > 0, casting="unsafe")
        end_row = min(rows.stop * factor, self.shape[0])
        end_column = min(columns.stop * factor, self.shape[1])
        first_row, first_column = rows.start * factor, columns.start * factor
        return means, PictureArea(first_row, first_column, (end_row - first_row, end_column - first_column))

    def _add(self, first_row: int, science: NDArray[Any], observed: NDArray[Any] | None) -> None:
        """Add rows of not too many pixels."""
        n_rows, width = science.shape
        blocks = slice(first_row // self.factor, -(-(first_row + n_rows) // self.factor))
        sums, counts = np.zeros_like(self._sums[blocks]), np.zeros_like(self._counts[blocks])
        rows, columns = np.zeros(n_rows, dtype=np.bool_), np.zeros(width, dtype=np.bool_)
        _pixels.block_means(
            np.ascontiguousarray(science, dtype=np.float32),
            None if observed is None else np.ascontiguousarray(observed, dtype=np.float32),
            n_rows,
            width,
            first_row % self.factor,
            self.factor,
            sums,
            counts,
            rows,
            columns,
        )
        with self._lock:
            self._sums[blocks] += sums
            self._counts[blocks] += counts
            self._rows[first_row : first_row + n_rows] |= rows
            self._columns |= columns


def _row_blocks(n_rows: int, width: int, first_row: int, factor: int) -> Iterator[slice]:
    """Cut rows that begin at a row of an image into pieces, at rows that are multiples of the factor."""
    step = max(1, _BLOCK_PIXELS // max(1, width) // factor) * factor
    start = 0
    while start < n_rows:
        stop = min(((first_row + start) // step + 1) * step - first_row, n_rows)
        yield slice(start, stop)
        start = stop


def fill_small_holes(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill small places without data, such as saturated cores of stars, from their surroundings.

    Parameters
    ----------
    image : ndarray of float32
        Pixels of a picture; NaN where there are no data.

    Returns
    -------
    ndarray of float32
        The same with the means of their neighbours in holes of at most 64 pixels.
    """
    image = np.ascontiguousarray(image)
    room = np.empty(np.count_nonzero(np.isnan(image)), dtype=np.int64)
    n = _pixels.small_holes(image, image.shape[0], image.shape[1], _LARGEST_HOLE, room, room.size)
    places = room[:n]
    if not places.size:
        return image
    filled = np.pad(image, 1, constant_values=np.nan)
    flat, width = filled.reshape(-1), filled.shape[1]
    places += places // image.shape[1] * 2 + width + 1
    around = np.array([row * width + column for row in (-1, 0, 1) for column in (-1, 0, 1)])
    while places.size:
        neighbours = flat[places[:, np.newaxis] + around]
        known = np.isfinite(neighbours)
        counts = np.count_nonzero(known, axis=1)
        # A pixel that has no neighbour yet waits for the next round.
        now = counts > 0
        if not now.any():
            break
        sums = np.where(known, neighbours, np.float32(0)).sum(axis=1)
        flat[places[now]] = sums[now] / counts[now]
        places = places[~now]
    return filled[1:-1, 1:-1]


@dataclass(frozen=True)
class Stretch:
    """A mapping of pixel values to brightness: linear near the sky level, logarithmic far above it."""

    black: float
    """Value shown black."""

    white: float
    """Value shown white."""

    softening: float
    """Distance from black up to which brightness grows about linearly."""

    def brightness(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Apply the stretch.

        Parameters
        ----------
        values : ndarray
            Pixel values, any shape.

        Returns
        -------
        ndarray of float32
            Brightness from 0 to 1; NaN stays NaN.
        """
        above = np.subtract(values, self.black, dtype=np.float64)
        # Differences from black are small numbers, for which fewer digits will do.
        scaled = np.empty(above.shape, dtype=np.float32)
        np.divide(above, self.softening, out=scaled, casting="unsafe")
        top = np.arcsinh((self.white - self.black) / self.softening)
        np.arcsinh(scaled, out=scaled)
        scaled /= np.float32(top)
        np.clip(scaled, 0.0, 1.0, out=scaled)
        return scaled


def find_stretch(values: NDArray[Any]) -> Stretch:
    """Find the limits that show both the sky's noise and the brightest sources.

    Parameters
    ----------
    values : ndarray
        Pixel values; NaN where there are no data.

    Returns
    -------
    Stretch
        Black lies a little below the sky level (a clipped median); white at the brightest one in 3000 pixels,
        or at 60 times the noise if that is more.
    """
    places = np.flatnonzero(np.isfinite(values))
    known = np.ravel(values)[places[:: max(1, places.size // _STRETCH_SAMPLE)]].astype(np.float64)
    if known.size == 0:
        return Stretch(0.0, 1.0, 1.0)
    level, noise = _sky(known)
    brightest = float(np.percentile(known, _WHITE_PERCENTILE))
    if noise == 0.0:
        # Most pixels are alike; any small number keeps them from being divided by 0.
        noise = 1e-3 * (brightest - level) or 1e-6 * abs(level) or 1.0
    black = level - _BLACK * noise
    white = max(brightest, level + _LEAST_RANGE * noise)
    return Stretch(black, white, _LINEAR * noise)


def _sky(values: NDArray[np.float64]) -> tuple[float, float]:
    """Sky level and noise: median and spread of the pixels that remain after clipping."""
    kept = values
    level, noise = 0.0, 0.0
    for _ in range(_CLIPS):
        level = _survey.median(kept.copy(), kept.size, False)
        distance = np.abs(kept - level)
        noise = _MAD_TO_SIGMA * _survey.median(distance.copy(), kept.size, False)
        inside = kept[distance <= _CLIP_SIGMA * noise]
        if noise == 0.0 or inside.size == kept.size:
            break
        kept = inside
    return level, noise
