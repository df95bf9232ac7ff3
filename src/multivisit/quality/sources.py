"""Compact sources in the pixels of a chip: found, centred, measured; plain arrays only, and fast.

No completeness is wanted: the bright, well-sampled sources tell whether exposures agree. Cosmic rays that no
flag tells of are found as well; matching with another exposure drops them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Background", "Sources", "find_sources", "measure_background", "measure_stamps"]

_BLOCK = 64
_STEP = 3
_LEAST_SAMPLES = 20
_MAD_TO_SIGMA = 1.4826
_REACH = 3
"""Stamps have 7 x 7 pixels."""

_WINDOW = 1.3
"""Standard deviation in pixels of the window in which centroids are taken."""

_CENTRE_STEPS = 6
_SHARPEST = 0.72
"""A source with a larger share of its 3 x 3 pixels in the middle one is no star."""

_MOST = 3000


@dataclass(frozen=True)
class Background:
    """Level and noise of a chip in blocks of 64 x 64 pixels."""

    level: NDArray[np.float32]
    """Median of each block."""

    noise: NDArray[np.float32]
    """Standard deviation of each block, from the median absolute deviation."""

    def brighter(self, science: NDArray[np.float32], n_sigma: float) -> NDArray[np.bool_]:
        """Tell which pixels are above the background.

        Parameters
        ----------
        science : ndarray of float32
            The chip.
        n_sigma : float
            By how many standard deviations.

        Returns
        -------
        ndarray of bool
            Of the chip's shape.
        """
        out = np.empty(science.shape, dtype=np.bool_)
        limit = self.level + np.float32(n_sigma) * self.noise
        with np.errstate(invalid="ignore"):
            for number, row in enumerate(limit):
                rows = slice(number * _BLOCK, (number + 1) * _BLOCK)
                columns = np.repeat(row, _BLOCK)[: science.shape[1]]
                np.greater(science[rows], columns, out=out[rows])
        return out

    def at(self, y: NDArray[np.intp], x: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Give level and noise at pixels.

        Parameters
        ----------
        y, x : ndarray of int
            Rows and columns.

        Returns
        -------
        level, noise : ndarray of float64
            One for each pixel.
        """
        j, i = y // _BLOCK, x // _BLOCK
        return self.level[j, i].astype(np.float64), self.noise[j, i].astype(np.float64)


@dataclass(frozen=True)
class Sources:
    """Compact sources of one chip, the brightest first."""

    x: Floats
    """Column of the centre, 0-based."""

    y: Floats
    """Row of the centre."""

    flux: Floats
    """Sum of 7 x 7 pixels above the background."""

    signal_to_noise: Floats
    """That flux over the noise of the sky in it."""

    width: Floats
    """Standard deviation of the profile in pixels, from moments in a Gaussian window."""


def measure_background(science: NDArray[np.float32], good: NDArray[np.bool_]) -> Background:
    """Measure level and noise in blocks.

    Parameters
    ----------
    science : ndarray of float32
        The chip, shape (ny, nx).
    good : ndarray of bool
        Pixels that count.

    Returns
    -------
    Background
        A block without good pixels has the median level of the others and infinite noise.
    """
    values = _block_samples(science, good)
    # Bad pixels are sorted to the end, so that the middle is that of the good ones.
    values.sort(axis=-1)
    number = np.isfinite(values).sum(axis=-1)
    level = _middle(values, number)
    with np.errstate(invalid="ignore"):
        deviations = np.abs(values - level[..., None])
    deviations[~np.isfinite(values)] = np.inf
    deviations.sort(axis=-1)
    noise = np.float32(_MAD_TO_SIGMA) * _middle(deviations, number)
    few = number < _LEAST_SAMPLES
    level[few], noise[few] = np.nan, np.inf
    known = np.isfinite(level)
    level[~known] = np.median(level[known]) if known.any() else 0.0
    typical = float(np.median(noise[known])) if known.any() else np.inf
    # A block full of equal values (no noise at all) must not make every pixel a source.
    np.maximum(noise, np.float32(0.1 * typical), out=noise)
    return Background(level, noise)


def _block_samples(science: NDArray[np.float32], good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Give every third pixel of every third row of each block, infinity for bad ones and beyond the edges."""
    ny, nx = science.shape
    rows, columns = (
        (np.arange(-(-n // _BLOCK))[:, None] * _BLOCK + np.arange(0, _BLOCK, _STEP)).reshape(-1)
        for n in (ny, nx)
    )
    inside = np.ix_(np.minimum(rows, ny - 1), np.minimum(columns, nx - 1))
    known = good[inside] & (rows < ny)[:, None] & (columns < nx)
    samples = np.where(known, science[inside], np.float32(np.inf))
    per_side = -(-_BLOCK // _STEP)
    blocks = samples.reshape(len(rows) // per_side, per_side, len(columns) // per_side, per_side)
    return np.ascontiguousarray(blocks.swapaxes(1, 2)).reshape(blocks.shape[0], blocks.shape[2], -1)


def _middle(values: NDArray[np.float32], number: NDArray[np.intp]) -> NDArray[np.float32]:
    """Give the median of the first so many of sorted values."""
    low, high = np.maximum(number - 1, 0) // 2, np.minimum(number // 2, values.shape[-1] - 1)
    ends = (np.take_along_axis(values, k[..., None], axis=-1)[..., 0] for k in (low, high))
    return np.asarray(sum(np.float32(0.5) * end for end in ends), dtype=np.float32)


def find_sources(
    science: NDArray[np.float32],
    good: NDArray[np.bool_],
    background: Background,
    bright: NDArray[np.bool_],
) -> Sources:
    """Find compact sources: pixels brighter than their eight neighbours.

    Parameters
    ----------
    science : ndarray of float32
        The chip, shape (ny, nx).
    good : ndarray of bool
        Pixels that count; a source has no bad one in its middle 3 x 3.
    background : Background
        Of the chip.
    bright : ndarray of bool
        Pixels that may be peaks.

    Returns
    -------
    Sources
        At most 3000, the brightest.
    """
    ny, nx = science.shape
    place = np.flatnonzero(bright & good)
    y, x = np.divmod(place, nx)
    inside = (y >= _REACH) & (y < ny - _REACH) & (x >= _REACH) & (x < nx - _REACH)
    place = place[inside]
    flat, flat_good = science.reshape(-1), good.reshape(-1)
    steps = [dy * nx + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    peak = flat[place]
    for step in steps:
        # Of two equal neighbours the first one is the peak.
        other = flat[place + step]
        kept = flat_good[place + step] & ((peak > other) if step < 0 else (peak >= other))
        place, peak = place[kept], peak[kept]
    order = np.argsort(-peak, kind="stable")[: 3 * _MOST]
    y, x = np.divmod(place[order], nx)
    level, noise = background.at(y, x)
    reach = np.arange(-_REACH, _REACH + 1)
    rows, columns = y[:, None, None] + reach[:, None], x[:, None, None] + reach
    stamps = np.where(good[rows, columns], science[rows, columns] - level[:, None, None], 0.0)
    middle = stamps[:, _REACH - 1 : _REACH + 2, _REACH - 1 : _REACH + 2].sum(axis=(1, 2))
    round_ones = stamps[:, _REACH, _REACH] < _SHARPEST * middle
    stamps, x, y, noise = stamps[round_ones], x[round_ones], y[round_ones], noise[round_ones]
    dx, dy, width = measure_stamps(stamps, _WINDOW)
    flux = stamps.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        fine = np.isfinite(width) & (np.hypot(dx, dy) < 1.5) & (flux > 0.0)
    pixels = float((2 * _REACH + 1) ** 2)
    return Sources(
        *(values[fine][:_MOST] for values in (x + dx, y + dy, flux, flux / (noise * np.sqrt(pixels)), width))
    )


def measure_stamps(stamps: Floats, window: float) -> tuple[Floats, Floats, Floats]:
    """Centre sources and measure their widths in a Gaussian window.

    A Gaussian of variance ``s2`` seen through a window of variance ``w2`` at a distance ``d`` has the second
    moment ``m = s2 w2 / (s2 + w2)`` and its mean at ``d w2 / (s2 + w2)``. So the centroid moves by the mean
    over ``1 - m / w2`` until it rests, and ``s2`` follows from ``m``.

    Parameters
    ----------
    stamps : ndarray of float64
        Pixels above the background, shape (n, size, size), the peak in the middle.
    window : float
        Standard deviation of the window in pixels.

    Returns
    -------
    dx, dy : ndarray of float64
        Centre of each source from the middle of its stamp, pixels.
    width : ndarray of float64
        Standard deviation in pixels; NaN where the source is wider than the window can tell.
    """
    n, size = len(stamps), stamps.shape[-1]
    reach = np.arange(size) - size // 2
    dx, dy = np.zeros(n), np.zeros(n)
    with np.errstate(invalid="ignore", divide="ignore"):
        for _ in range(_CENTRE_STEPS):
            gx = np.exp(-0.5 * ((reach - dx[:, None]) / window) ** 2)
            gy = np.exp(-0.5 * ((reach - dy[:, None]) / window) ** 2)
            column_sums = np.einsum("nyx,ny->nx", stamps, gy) * gx
            row_sums = np.einsum("nyx,nx->ny", stamps, gx) * gy
            total = column_sums.sum(axis=1)
            away_x, away_y = reach - dx[:, None], reach - dy[:, None]
            mean_x = (column_sums * away_x).sum(axis=1) / total
            mean_y = (row_sums * away_y).sum(axis=1) / total
            moment = (column_sums * away_x**2).sum(axis=1) + (row_sums * away_y**2).sum(axis=1)
            moment = 0.5 * moment / total - 0.5 * (mean_x**2 + mean_y**2)
            step = np.clip(1.0 - moment / window**2, 0.3, 1.0)
            dx = np.clip(dx + mean_x / step, -2.0, 2.0)
            dy = np.clip(dy + mean_y / step, -2.0, 2.0)
        variance = 1.0 / (1.0 / moment - 1.0 / window**2)
        width = np.sqrt(np.where(variance > 0.0, variance, np.nan))
    return dx, dy, width
