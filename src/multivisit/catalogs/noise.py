"""How the noise of neighbouring pixels goes together, and what that does to the noise of a sum."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from multivisit.catalogs.background import Background
    from multivisit.catalogs.detection import Detection
    from multivisit.catalogs.mosaic_file import MosaicReader

    Floats = NDArray[np.float64]

__all__ = ["NoiseCorrelation", "drizzled_correlation", "measure_correlation"]

_BLOCK = 64
_BLOCKS = 24
_TRIES = 160
_LEAST_BLOCKS = 4
_CLIP = 4.0
_LEAST_GOOD = 0.9
_FINE = 8
"""Parts of a pixel's side with which apertures are laid out."""


@dataclass(frozen=True)
class NoiseCorrelation:
    """The autocorrelation of a mosaic's noise.

    Drizzling spreads each input pixel over several output pixels, so their noise goes together: the noise of
    a sum over many pixels is larger than the root of their number times that of one (Fruchter & Hook 2002,
    PASP 114, 144; Casertano et al. 2000, AJ 120, 2747). Here the correlation is measured on empty parts of
    the mosaic itself, so it holds for every pixfrac, kernel, scale and set of dithers.
    """

    correlation: Floats = field(repr=False)
    """Correlation by offset (y, x) from -n to n pixels; 1 in the middle. (2n + 1, 2n + 1)."""

    n_blocks: int
    """Parts of the mosaic that it was measured on; 0 where it is that of the drizzling alone."""

    @property
    def large_scale(self) -> float:
        """Variance of a sum over a large area, over that of independent pixels."""
        return max(float(self.correlation.sum()), 1.0)

    def variance_factor(self, radius: float) -> float:
        """Give the variance of the sum in a round aperture, over that of independent pixels.

        Parameters
        ----------
        radius : float
            Of the aperture, pixels.

        Returns
        -------
        float
            Mean over positions of the aperture within a pixel; at least that of a single pixel's share.
        """
        if radius > 4.0 * (self.correlation.shape[0] // 2) + 4.0:
            return self.large_scale
        factors = []
        for shift in ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5)):
            mask = _ring(0.0, radius, shift)
            factors.append(float((self._pairs(mask, mask) * self.correlation).sum() / mask.sum()))
        return max(float(np.mean(factors)), 1e-3)

    def _pairs(self, first: Floats, second: Floats) -> Floats:
        """Number of pairs of pixels of two masks by their offset."""
        lags = self.correlation.shape[0] // 2
        size = first.shape[0] + 2 * lags
        transform = np.fft.rfft2(first, (size, size)) * np.fft.rfft2(second, (size, size)).conj()
        pairs: Floats = np.roll(np.fft.irfft2(transform, (size, size)), (lags, lags), axis=(0, 1))
        return pairs[: 2 * lags + 1, : 2 * lags + 1]

    def sky_factor(self, annulus: tuple[float, float], statistic: str) -> float:
        """Give the variance of a sky level from the n pixels of an annulus, over that of a pixel, times n.

        That of the mean is the sum of the correlations r over the pairs of pixels, over n; that of the median
        the sum of arcsin r (the chance that two pixels lie on one side of the median), and their covariance
        is again the sum of r. The mode is 3 median - 2 mean; for independent pixels the three are 1, pi/2
        and 9 pi/2 - 8.

        Parameters
        ----------
        annulus : tuple of float
            Inner and outer radius, pixels.
        statistic : {'mean', 'median', 'mode'}
            How the level is measured.

        Returns
        -------
        float
            The factor.
        """
        mask = _ring(*annulus)
        pairs = self._pairs(mask, mask) / mask.sum()
        mean = max(float((pairs * self.correlation).sum()), 1e-3)
        median = max(float((pairs * np.arcsin(np.clip(self.correlation, -1.0, 1.0))).sum()), mean)
        return {"mean": mean, "median": median, "mode": 9.0 * median - 8.0 * mean}[statistic]

    def sky_covariance(self, radius: float, annulus: tuple[float, float]) -> float:
        """Give the covariance of an aperture's sum and its sky, over the variance of a pixel, times n.

        Pixels on both sides of the border between them have common noise, and that is taken off with the sky.
        The same holds for the mean, the median and the mode of the n pixels.

        Parameters
        ----------
        radius : float
            Of the aperture, pixels.
        annulus : tuple of float
            Inner and outer radius of that of the sky, pixels.

        Returns
        -------
        float
            Sum of the correlations over pairs of pixels in the one and the other.
        """
        sky = _ring(*annulus)
        aperture = _ring(0.0, radius, half=len(sky) // 2)
        return float((self._pairs(aperture, sky) * self.correlation).sum())

    def variance_factors(self, areas: Floats) -> Floats:
        """Give the same for sums over segments: that of round apertures of the same area.

        Parameters
        ----------
        areas : ndarray
            Pixels.

        Returns
        -------
        ndarray of float64
            The factors.
        """
        radii, factors = self._factors
        values: Floats = np.interp(np.sqrt(areas / np.pi), radii, factors)
        return values

    @cached_property
    def _factors(self) -> tuple[Floats, Floats]:
        radii = np.geomspace(1.0, 4.0 * len(self.correlation), 9)
        return radii, np.array([self.variance_factor(float(radius)) for radius in radii])

    def filtered_deviation(self, kernel: Floats) -> float:
        """Give the noise of a filtered image over that of a pixel.

        Parameters
        ----------
        kernel : ndarray
            The filter.

        Returns
        -------
        float
            Root of the sum over pairs of pixels of kernel times kernel times correlation.
        """
        lags = self.correlation.shape[0] // 2
        size = max(kernel.shape) + 2 * lags
        power = np.abs(np.fft.rfft2(kernel, (size, size))) ** 2
        overlap = np.roll(np.fft.irfft2(power, (size, size)), (lags, lags), axis=(0, 1))
        variance = float((overlap[: 2 * lags + 1, : 2 * lags + 1] * self.correlation).sum())
        return math.sqrt(max(variance, 1e-6))


def _ring(
    inner: float, outer: float, shift: tuple[float, float] = (0.0, 0.0), half: int | None = None
) -> Floats:
    """The parts of pixels between two circles, on an image of 2 half + 1 pixels a side."""
    half = int(np.ceil(outer)) + 1 if half is None else half
    fine = (np.arange((2 * half + 1) * _FINE) + 0.5) / _FINE - 0.5 - half
    squares = (fine[:, None] - shift[0]) ** 2 + (fine - shift[1]) ** 2
    inside = (squares <= outer**2) & (squares >= inner**2)
    mask: Floats = inside.reshape(2 * half + 1, _FINE, 2 * half + 1, _FINE).mean(axis=(1, 3))
    return mask


def drizzled_correlation(pixfrac: float, scale_ratio: float) -> NoiseCorrelation:
    """Give the correlation that drizzling a white image makes, for input pixels along the axes.

    An output pixel is the mean of the input drops weighted by their overlap, which is a trapezium along each
    axis; the correlation is the autocorrelation of that, taken over all positions of the input pixels.

    Parameters
    ----------
    pixfrac : float
        Side of a drop in input pixels.
    scale_ratio : float
        Output over input pixel scale.

    Returns
    -------
    NoiseCorrelation
        The correlation.
    """
    drop = max(pixfrac / scale_ratio, 1e-3)
    lags = math.ceil(drop) + 1
    fine = 64
    x = (np.arange(-(lags + 2) * fine, (lags + 2) * fine + 1)) / fine
    overlap = np.clip(0.5 * (1.0 + drop) - np.abs(x), 0.0, min(1.0, drop))
    line = np.array([float((overlap * np.roll(overlap, k * fine)).sum()) for k in range(-lags, lags + 1)])
    line /= line[lags]
    return NoiseCorrelation(np.outer(line, line), 0)


def measure_correlation(
    reader: MosaicReader,
    background: Background,
    detection: Detection,
    columns: list[tuple[int, int, int, int]],
    expected: NoiseCorrelation,
) -> NoiseCorrelation:
    """Measure the correlation on empty parts of a mosaic.

    Parameters
    ----------
    reader : MosaicReader
        The mosaic.
    background : Background
        Background and noise.
    detection : Detection
        What is not background.
    columns : list of tuple of int
        For each band its first and last row, and its first and last column with data, the last excluded.
    expected : NoiseCorrelation
        What drizzling makes; it says how far to look, and stands in where there is no empty part.

    Returns
    -------
    NoiseCorrelation
        The correlation.
    """
    lags = expected.correlation.shape[0] // 2
    size = _fft_size(_BLOCK + lags)
    products, pairs = np.zeros((2, size, size // 2 + 1))
    n_blocks = 0
    for row, column in _places(columns):
        block = _normal_pixels(reader, background, detection, row, column)
        if block is None:
            continue
        for total, part in zip((products, pairs), block, strict=True):
            total += np.abs(np.fft.rfft2(part, (size, size))) ** 2
        n_blocks += 1
        if n_blocks == _BLOCKS:
            break
    if n_blocks < _LEAST_BLOCKS:
        return expected
    sums, numbers = (
        np.roll(np.fft.irfft2(power, (size, size)), (lags, lags), axis=(0, 1))[: 2 * lags + 1, : 2 * lags + 1]
        for power in (products, pairs)
    )
    if not sums[lags, lags] > 0.0:
        # A mosaic without noise.
        return expected
    correlation = sums / np.maximum(numbers, 1.0)
    return NoiseCorrelation(correlation / correlation[lags, lags], n_blocks)


def _fft_size(least: int) -> int:
    """The next size that has no factors but 2 and 3."""
    sizes = [(1 << i) * factor for i in range(12) for factor in (1, 3, 9, 27)]
    return min(size for size in sizes if size >= least)


def _places(columns: list[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    """Corners of blocks, all over the mosaic, in an order that is always the same."""
    places = [
        (row, column)
        for top, bottom, left, right in columns
        for row in range(top, bottom - _BLOCK + 1, _BLOCK)
        for column in range(-(-left // _BLOCK) * _BLOCK, right - _BLOCK + 1, _BLOCK)
    ]
    order = np.random.default_rng(len(places)).permutation(len(places))[:_TRIES]
    return [places[i] for i in order]


def _normal_pixels(
    reader: MosaicReader, background: Background, detection: Detection, row: int, column: int
) -> tuple[Floats, Floats] | None:
    """A block in units of its noise, 0 where a source is, and which pixels count; None for a poor one."""
    science, weight = reader.read((row, row + _BLOCK), (column, column + _BLOCK))
    good = (weight > 0.0) & np.isfinite(science)
    if good.mean() < _LEAST_GOOD or weight[good].max() > 3.0 * np.median(weight[good]):
        return None
    first, last = np.searchsorted(detection.runs[:, 0], [row, row + _BLOCK])
    for y, start, stop in detection.runs[first:last]:
        if start < column + _BLOCK and stop > column:
            good[y - row, max(start - column, 0) : stop - column] = False
    if good.mean() < _LEAST_GOOD:
        return None
    levels, noises = background.block((row, row + _BLOCK), (column, column + _BLOCK))
    with np.errstate(invalid="ignore"):
        values = np.where(good, (science - levels) * np.sqrt(weight) / np.maximum(noises, 1e-30), 0.0)
        good &= np.abs(values - np.mean(values[good])) < _CLIP
    if not good.any():
        return None
    return np.where(good, values - np.mean(values[good]), 0.0), good.astype(np.float64)
