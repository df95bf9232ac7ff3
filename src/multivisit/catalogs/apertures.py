"""Photometry of sources in two round apertures, less the sky of an annulus."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.catalogs import _pixels
from multivisit.catalogs.joining import Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from multivisit.catalogs.mosaic_file import MosaicFile
    from multivisit.catalogs.noise import NoiseCorrelation
    from multivisit.plan.parameters import CatalogParameters

    Floats = NDArray[np.float64]
    Pixels = NDArray[np.float32]

__all__ = ["AperturePhotometry", "ApertureSettings", "aperture_settings", "measure_apertures"]

_CLIP = 3.0
_ITERATIONS = 20
_FIELDS = 14
_MEAN, _MEDIAN, _DEVIATION, _AREA, _WEIGHT, _LEAST_WEIGHT, _HOLES, _WIDTH, _SUMS = range(9)
_INVERSE_WEIGHT, _LIGHT, _CURVATURE = range(3)

_ANNULUS_OVER_APERTURE = 5.0 / 3.0
"""Inner radius of the annulus over that of the outer aperture, as published for ACS/WFC and WFC3/UVIS."""

_FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))

_TOWARDS_STARS = 0.6
"""Where between a pixel and a star the narrowest source lies: tracks from pixel to pixel have steps."""

_OFFSETS = 1.1
"""Root mean square of a (1 - a) over its mean, for offsets a of two grids of pixels: (1/30)**0.5 / (1/6)."""


@dataclass(frozen=True)
class ApertureSettings:
    """How apertures are laid, in pixels."""

    radii: tuple[float, float]
    """Inner and outer aperture."""

    annulus: tuple[float, float]
    """Inner and outer radius of the annulus of the sky."""

    algorithm: str
    """``mean``, ``median`` or ``mode`` of the annulus."""

    factors: tuple[float, float]
    """Variance of the sums in the two apertures over that of independent pixels."""

    sky_factor: float
    """Variance of the sky from n pixels over that of a pixel, times n."""

    sky_covariances: tuple[float, float]
    """Covariance of the sky with the sums in the two apertures over the variance of a pixel, times n."""

    seconds_per_weight: float
    """Exposure time over weight."""

    input_pixel: float
    """Side of the pixels of the exposures, in pixels of the mosaic."""

    drop: float
    """Side of the drops that they were shrunk to, in pixels of the mosaic."""

    star_sigma: float
    """Standard deviation of a star's image, pixels: the width of the window of `least_variance`."""

    @property
    def narrowest(self) -> float:
        """Variance under the window that lies between that of a single pixel and that of a star, pixel2."""
        pixel = (self.drop**2 + 1.0) / 12.0
        star = self.star_sigma**2 + pixel
        between = math.exp((1.0 - _TOWARDS_STARS) * math.log(pixel) + _TOWARDS_STARS * math.log(star))
        return 1.0 / (1.0 / between + 1.0 / self.star_sigma**2)


@dataclass(frozen=True)
class AperturePhotometry(Columns):
    """What apertures say of each source; electrons/s."""

    flux_1: Floats = field(repr=False)
    """In the inner aperture."""

    error_1: Floats = field(repr=False)
    """Standard deviation of that."""

    flux_2: Floats = field(repr=False)
    """In the outer aperture."""

    error_2: Floats = field(repr=False)
    """Standard deviation of that."""

    sampling: Floats = field(repr=False)
    """The part of `error_2` that comes of pixels which some of the exposures lack."""

    sky: Floats = field(repr=False)
    """Sky per pixel, above the background that was taken off the pixels."""

    deviation: Floats = field(repr=False)
    """Standard deviation of a pixel in the annulus."""

    weight: Floats = field(repr=False)
    """Mean weight in the outer aperture."""

    least_weight: Floats = field(repr=False)
    """Least weight in the outer aperture."""

    holes: Floats = field(repr=False)
    """Pixels without data in the outer aperture."""

    least_variance: Floats = field(repr=False)
    """Variance of the light along its narrowest direction under a Gaussian window, pixel2."""


def aperture_settings(
    parameters: CatalogParameters, mosaic: MosaicFile, correlation: NoiseCorrelation
) -> ApertureSettings:
    """Work out the apertures of a mosaic.

    Parameters
    ----------
    parameters : CatalogParameters
        Radii in arcsec, and statistic of the annulus.
    mosaic : MosaicFile
        Scale, exposure time, and how it was drizzled.
    correlation : NoiseCorrelation
        Of the noise of pixels.

    Returns
    -------
    ApertureSettings
        The same in pixels.
    """
    scale = mosaic.scale
    radii = (parameters.aperture_1 / scale, parameters.aperture_2 / scale)
    inner = parameters.skyannulus_arcsec / scale
    if inner < radii[1]:
        # WFC3/IR's published annulus begins within the outer aperture, where the star's own light is.
        inner = _ANNULUS_OVER_APERTURE * radii[1]
    annulus = (inner, inner + parameters.dskyannulus_arcsec / scale)
    return ApertureSettings(
        radii,
        annulus,
        parameters.salgorithm,
        (correlation.variance_factor(radii[0]), correlation.variance_factor(radii[1])),
        correlation.sky_factor(annulus, parameters.salgorithm),
        (correlation.sky_covariance(radii[0], annulus), correlation.sky_covariance(radii[1], annulus)),
        mosaic.seconds_per_weight,
        1.0 / mosaic.scale_ratio,
        mosaic.pixfrac / mosaic.scale_ratio,
        parameters.psf_fwhm / _FWHM_PER_SIGMA / scale,
    )


def measure_apertures(
    values: Pixels, weight: Pixels, positions: Floats, noises: Floats, settings: ApertureSettings
) -> AperturePhotometry:
    """Measure sources in apertures.

    The variance of a flux F is the sum over pixels of F_i / t_i (photons of the source, t the exposure time
    of a pixel) and of s2_i f (noise of a pixel, with the factor f for the correlation), plus
    A2 s2 g / n - 2 A s2 c / n (the sky's, from n pixels, with the factor g for their correlation and the
    statistic, and the covariance c of sky and sum; A is the area), plus the square of the error that
    sampling makes (`_steepness`).

    Parameters
    ----------
    values, weight : ndarray of float32
        Pixels less the background (0 where there are no data), electrons/s, and their weights.
    positions : ndarray of float64
        Columns and rows, 0-based, (n, 2).
    noises : ndarray of float64
        Standard deviation of a pixel of weight 1 at each source.
    settings : ApertureSettings
        The apertures.

    Returns
    -------
    AperturePhotometry
        For each position.
    """
    import sep

    positions = np.ascontiguousarray(positions, dtype=np.float64)
    about = np.empty((len(positions), _FIELDS))
    _pixels.measure_surroundings(
        values,
        weight,
        positions,
        *settings.radii,
        *settings.annulus,
        _CLIP,
        _ITERATIONS,
        settings.star_sigma,
        about,
    )
    sky = about[:, _MEDIAN]
    if settings.algorithm == "mean":
        sky = about[:, _MEAN]
    elif settings.algorithm == "mode":
        sky = 3.0 * about[:, _MEDIAN] - 2.0 * about[:, _MEAN]
    sky = np.where(np.isfinite(sky), sky, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixel_variance = np.where(about[:, _WEIGHT] > 0.0, noises**2 / about[:, _WEIGHT], np.inf)
        per_sky_pixel = pixel_variance / np.maximum(about[:, _AREA], 1.0)
    # An exact overlap (subpix=0) does not depend on where in its pixel a source lies.
    fluxes = [
        sep.sum_circle(values, positions[:, 0], positions[:, 1], radius, subpix=0)[0]
        - math.pi * radius**2 * sky
        for radius in settings.radii
    ]
    steepness = _steepness(fluxes[0], fluxes[1], settings)
    errors: list[Floats] = []
    for number, (radius, factor) in enumerate(zip(settings.radii, settings.factors, strict=True)):
        sums = about[:, _SUMS + 3 * number : _SUMS + 3 * number + 3]
        photons = np.maximum(sums[:, _LIGHT], 0.0) / settings.seconds_per_weight
        pixels = np.where(sums[:, _INVERSE_WEIGHT] > 0.0, noises**2 * sums[:, _INVERSE_WEIGHT], np.inf)
        area = math.pi * radius**2
        sky_part = area**2 * settings.sky_factor - 2.0 * area * settings.sky_covariances[number]
        sampling = sums[:, _CURVATURE] * steepness
        errors.append(np.sqrt(photons + factor * pixels + sky_part * per_sky_pixel + sampling**2))
    return AperturePhotometry(
        fluxes[0],
        errors[0],
        fluxes[1],
        errors[1],
        np.abs(sampling),
        sky,
        np.where(np.isfinite(about[:, _DEVIATION]), about[:, _DEVIATION], 0.0),
        about[:, _WEIGHT],
        about[:, _LEAST_WEIGHT],
        about[:, _HOLES],
        about[:, _WIDTH],
    )


def _steepness(inner: Floats, outer: Floats, settings: ApertureSettings) -> Floats:
    """Give the error of sampling over the sum of the mosaic's curvature, weighted by what pixels lack.

    Where an exposure lacks a pixel (a cosmic ray was there), the pixels of the others stand in, which lie at
    an offset of a pixel's parts a and b: in place of the light of the pixel they give its mean over a
    triangle as wide as two pixels, which differs by (p2 / 12) times the light's curvature (its Laplacian), p
    the side of a pixel, if all offsets are as likely. The curvature is that of the light as the pixels see
    it. Drops and output pixels flatten it, once in the mosaic and once more in the sum, as the weights have
    the drops' shape: that of a Gaussian goes with one over the square of its variance, and each time
    (drop2 + 1) / 12 is added. Differences between neighbours are smaller than the derivatives, too. The
    variance of a source in the mosaic follows from its light in the two apertures.
    """
    smoothing = (settings.drop**2 + 1.0) / 12.0
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = -0.5 * settings.radii[0] ** 2 / np.log1p(-inner / outer)
    # No source is narrower than the smoothing; of those that are wide nothing is to be restored.
    variance = np.maximum(np.where(np.isfinite(variance), variance, np.inf), 2.0 * smoothing)
    with np.errstate(invalid="ignore"):
        restored = ((variance + smoothing) / (variance - smoothing)) ** 2
        differences = 2.0 * (variance + smoothing) * -np.expm1(-0.5 / (variance + smoothing))
    restored = np.where(np.isfinite(variance), restored / differences, 1.0)
    steepness: Floats = _OFFSETS * settings.input_pixel**2 / 12.0 * restored
    return steepness
