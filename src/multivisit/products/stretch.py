"""From a mosaic's pixels to the grey levels of a picture of it: cropping, reduction, stretch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["PictureArea", "Stretch", "block_mean", "fill_small_holes", "find_stretch", "observed_area"]

_BLOCK_PIXELS = 4 * 1024 * 1024
_MARGIN = 0.02
_LARGEST_HOLE = 64
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


def observed_area(science: NDArray[Any], observed: NDArray[Any] | None = None) -> PictureArea:
    """Find the box around all pixels with data, with a small margin.

    Parameters
    ----------
    science : ndarray
        Image, shape (ny, nx); NaN where there are no data.
    observed : ndarray, optional
        Anything but 0 where there are data, same shape: the weights.

    Returns
    -------
    PictureArea
        Part of the image; all of it if no pixel has data.
    """
    ny, nx = science.shape
    rows = np.zeros(ny, dtype=bool)
    columns = np.zeros(nx, dtype=bool)
    for first, block in _row_blocks(science, 1):
        has_data = _has_data(block, None if observed is None else observed[first : first + len(block)])
        rows[first : first + len(block)] = has_data.any(axis=1)
        columns |= has_data.any(axis=0)
    if not rows.any():
        return PictureArea(0, 0, (ny, nx))
    margin = 1 + int(_MARGIN * max(np.count_nonzero(rows), np.count_nonzero(columns)))
    first_row, end_row = _span(rows, margin)
    first_column, end_column = _span(columns, margin)
    return PictureArea(first_row, first_column, (end_row - first_row, end_column - first_column))


def _span(observed: NDArray[np.bool_], margin: int) -> tuple[int, int]:
    """First and last + 1 true element, widened by a margin inside the array."""
    places = np.flatnonzero(observed)
    return max(0, int(places[0]) - margin), min(observed.size, int(places[-1]) + 1 + margin)


def _has_data(science: NDArray[Any], observed: NDArray[Any] | None) -> NDArray[np.bool_]:
    """Which pixels have data."""
    finite: NDArray[np.bool_] = np.isfinite(science)
    return finite if observed is None else finite & (observed != 0)


def block_mean(
    science: NDArray[Any], area: PictureArea, factor: int, observed: NDArray[Any] | None = None
) -> NDArray[np.float32]:
    """Average blocks of pixels, leaving out those without data.

    Parameters
    ----------
    science : ndarray
        Image, shape (ny, nx).
    area : PictureArea
        The part of it to take.
    factor : int
        Pixels along a side of a block; the last blocks of a row or column may be smaller.
    observed : ndarray, optional
        As for `observed_area`.

    Returns
    -------
    ndarray of float32
        Means, NaN where no pixel of a block has data.
    """
    inside = (
        slice(area.first_row, area.first_row + area.shape[0]),
        slice(area.first_column, area.first_column + area.shape[1]),
    )
    part = science[inside]
    part_observed = None if observed is None else observed[inside]
    if factor == 1:
        means = part.astype(np.float32)
        means[~_has_data(means, part_observed)] = np.nan
        return means
    starts = np.arange(0, area.shape[1], factor)
    means = np.full((-(-area.shape[0] // factor), starts.size), np.nan, dtype=np.float32)
    for first, block in _row_blocks(part, factor):
        seen = _has_data(block, None if part_observed is None else part_observed[first : first + len(block)])
        rows = np.arange(0, len(block), factor)
        values = np.where(seen, block, 0.0)
        sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0, dtype=np.float64), starts, axis=1)
        counts = np.add.reduceat(np.add.reduceat(seen, rows, axis=0, dtype=np.int64), starts, axis=1)
        target = means[first // factor : first // factor + len(rows)]
        np.divide(sums, counts, out=target, where=counts > 0, casting="unsafe")
    return means


def _row_blocks(image: NDArray[Any], factor: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """First row and rows of pieces of an image, each a multiple of `factor` rows."""
    rows = max(1, _BLOCK_PIXELS // max(1, image.shape[1]) // factor) * factor
    for first in range(0, image.shape[0], rows):
        yield first, image[first : first + rows]


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
    from scipy import ndimage

    holes, number = ndimage.label(np.isnan(image), structure=np.ones((3, 3)))
    small = np.bincount(holes.ravel(), minlength=number + 1) <= _LARGEST_HOLE
    small[0] = False
    to_fill = small[holes]
    filled = image.copy()
    for _ in range(_LARGEST_HOLE):
        known = np.isfinite(filled)
        counts = ndimage.uniform_filter(known.astype(np.float32), size=3, mode="constant")
        # A pixel that has no neighbour yet waits for the next round; rounding leaves counts a little off 0.
        now = to_fill & ~known & (counts > 0.5 / 9)
        if not now.any():
            break
        sums = ndimage.uniform_filter(np.where(known, filled, np.float32(0)), size=3, mode="constant")
        filled[now] = sums[now] / counts[now]
    return filled


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
        scaled = np.arcsinh((np.asarray(values, dtype=np.float64) - self.black) / self.softening)
        top = np.arcsinh((self.white - self.black) / self.softening)
        return np.asarray(np.clip(scaled / top, 0.0, 1.0), dtype=np.float32)


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
    known = values[np.isfinite(values)].astype(np.float64)
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
    level, noise = float(np.median(kept)), 0.0
    for _ in range(_CLIPS):
        level = float(np.median(kept))
        noise = _MAD_TO_SIGMA * float(np.median(np.abs(kept - level)))
        inside = kept[np.abs(kept - level) <= _CLIP_SIGMA * noise]
        if noise == 0.0 or inside.size == kept.size:
            break
        kept = inside
    return level, noise
