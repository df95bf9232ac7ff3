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

    from multivisit.catalogs.noise import NoiseCorrelation
    from multivisit.plan.parameters import CatalogParameters

    Floats = NDArray[np.float64]
    Pixels = NDArray[np.float32]

__all__ = ["AperturePhotometry", "ApertureSettings", "aperture_settings", "measure_apertures"]

_CLIP = 3.0
_ITERATIONS = 20
_MEAN, _MEDIAN, _DEVIATION, _AREA, _WEIGHT, _LEAST_WEIGHT, _HOLES = range(7)


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

    seconds_per_weight: float
    """Exposure time over weight."""


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


def aperture_settings(
    parameters: CatalogParameters, scale: float, correlation: NoiseCorrelation, seconds_per_weight: float
) -> ApertureSettings:
    """Work out the apertures of a mosaic.

    Parameters
    ----------
    parameters : CatalogParameters
        Radii in arcsec, and statistic of the annulus.
    scale : float
        Arcsec per pixel.
    correlation : NoiseCorrelation
        Of the noise of pixels.
    seconds_per_weight : float
        Exposure time over weight.

    Returns
    -------
    ApertureSettings
        The same in pixels.
    """
    radii = (parameters.aperture_1 / scale, parameters.aperture_2 / scale)
    # WFC3/IR's published annulus begins within the outer aperture, where the star's own light is.
    inner = max(parameters.skyannulus_arcsec, parameters.aperture_2) / scale
    return ApertureSettings(
        radii,
        (inner, inner + parameters.dskyannulus_arcsec / scale),
        parameters.salgorithm,
        (correlation.variance_factor(radii[0]), correlation.variance_factor(radii[1])),
        correlation.sky_factor(parameters.salgorithm),
        seconds_per_weight,
    )


def measure_apertures(
    values: Pixels, weight: Pixels, positions: Floats, noises: Floats, settings: ApertureSettings
) -> AperturePhotometry:
    """Measure sources in apertures.

    The variance of a flux F is F / t (photons of the source, t the exposure time of the pixels) + A s2 f
    (noise of A pixels, with the factor f for their correlation) + A2 s2 g / n (the sky's, from n pixels, with
    the factor g for their correlation and the statistic).

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
    about = np.empty((len(positions), 7))
    _pixels.measure_surroundings(
        values, weight, positions, settings.radii[1], *settings.annulus, _CLIP, _ITERATIONS, about
    )
    sky = about[:, _MEDIAN]
    if settings.algorithm == "mean":
        sky = about[:, _MEAN]
    elif settings.algorithm == "mode":
        sky = 3.0 * about[:, _MEDIAN] - 2.0 * about[:, _MEAN]
    sky = np.where(np.isfinite(sky), sky, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixel_variance = np.where(about[:, _WEIGHT] > 0.0, noises**2 / about[:, _WEIGHT], np.inf)
        time = np.maximum(about[:, _WEIGHT] * settings.seconds_per_weight, 1e-30)
        sky_variance = settings.sky_factor / np.maximum(about[:, _AREA], 1.0)
    measured: list[Floats] = []
    for radius, factor in zip(settings.radii, settings.factors, strict=True):
        area = math.pi * radius**2
        # An exact overlap (subpix=0) does not depend on where in its pixel a source lies.
        total = sep.sum_circle(values, positions[:, 0], positions[:, 1], radius, subpix=0)[0]
        flux = total - area * sky
        variance = np.maximum(flux, 0.0) / time + area * pixel_variance * (factor + area * sky_variance)
        measured += [flux, np.sqrt(variance)]
    flux_1, error_1, flux_2, error_2 = measured
    return AperturePhotometry(
        flux_1,
        error_1,
        flux_2,
        error_2,
        sky,
        np.where(np.isfinite(about[:, _DEVIATION]), about[:, _DEVIATION], 0.0),
        about[:, _WEIGHT],
        about[:, _LEAST_WEIGHT],
        about[:, _HOLES],
    )
