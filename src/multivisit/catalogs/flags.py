"""Flags of sources: what kind they are, and what may be wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from multivisit.catalogs.apertures import AperturePhotometry
    from multivisit.catalogs.coverage import ExposureCoverage, SaturatedPixels
    from multivisit.plan.parameters.quality import ConcentrationFilter, SwarmFilter

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

__all__ = ["NO_COSMIC_RAYS", "FlagContext", "SourceFlag", "flag_sources", "swarm_members"]

NO_COSMIC_RAYS = ("ir", "sbc")
"""Detectors whose exposures have none: WFC3/IR finds them while it integrates, the SBC counts photons."""

_FEW_EXPOSURES = 5
_LEAST_PART_OF_WEIGHT = 0.2


class SourceFlag(IntFlag):
    """The published flags of sources."""

    EXTENDED = 1
    """Concentration index above that of stars."""

    ONE_SATURATED_PIXEL = 2
    """A full pixel in some exposure."""

    SATURATED_PIXELS = 4
    """Several full pixels in one exposure."""

    FAINT = 8
    """Below the limit of signal to noise."""

    HOT_PIXEL = 16
    """Sharper than stars, by the concentration index or along one direction: a hot pixel or a cosmic ray."""

    SWARM = 32
    """A false detection around a bright star."""

    EDGE = 64
    """Covered by too few exposures."""

    BAD_PIXELS = 128
    """Bad pixels, or what a cosmic ray has left."""


@dataclass(frozen=True)
class FlagContext:
    """What flags depend on besides the sources."""

    coverage: ExposureCoverage
    """Outlines of the exposures."""

    saturated: SaturatedPixels
    """Full pixels."""

    detector: str
    """Name of the detector in lower case."""

    aperture: float
    """Radius of the outer aperture, pixels."""

    scale: float
    """Arcsec per pixel."""

    total_time: float
    """Exposure time of the mosaic, s."""

    level: float
    """Background of the mosaic, electrons/s per pixel."""

    narrowest: float
    """Least variance of a source along any direction (`ApertureSettings.narrowest`); 0 for no limit."""


def flag_sources(
    x: Floats,
    y: Floats,
    photometry: AperturePhotometry,
    concentration: Floats,
    limits: ConcentrationFilter,
    swarm: SwarmFilter,
    context: FlagContext,
) -> NDArray[np.int64]:
    """Work out the flags of sources.

    Parameters
    ----------
    x, y : ndarray
        Positions, 0-based pixels.
    photometry : AperturePhotometry
        What the apertures say.
    concentration : ndarray
        Concentration indices, magnitudes; NaN where there is none.
    limits : ConcentrationFilter
        Limits of the index, and of signal to noise.
    swarm : SwarmFilter
        What a swarm is.
    context : FlagContext
        Exposures, aperture, background.

    Returns
    -------
    ndarray of int64
        Sums of `SourceFlag`.
    """
    p = photometry
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.hypot(p.error_1 / p.flux_1, p.error_2 / p.flux_2)
        index_error = np.where((p.flux_1 > 0.0) & (p.flux_2 > 0.0), 2.5 / np.log(10.0) * relative, np.nan)
    known = np.isfinite(concentration) & np.isfinite(index_error)
    narrow = _narrow(photometry, context)
    full = context.saturated.most_in_one_exposure(x, y, 2.0 * round(context.aperture + 0.5))
    exposures = context.coverage.number_of(x, y, context.aperture)
    with np.errstate(invalid="ignore"):
        conditions = {
            SourceFlag.EXTENDED: ~known | (concentration > limits.ci_upper_limit),
            SourceFlag.ONE_SATURATED_PIXEL: full == 1,
            SourceFlag.SATURATED_PIXELS: full > 1,
            SourceFlag.FAINT: ~(p.flux_2 >= limits.bthresh * p.error_2),
            SourceFlag.HOT_PIXEL: ~known | narrow | (concentration < limits.ci_lower_limit - index_error),
            SourceFlag.SWARM: swarm_members(x, y, p.flux_2, context, swarm),
            SourceFlag.EDGE: exposures < least_exposures(len(context.coverage.exposures), context.detector),
            SourceFlag.BAD_PIXELS: (p.holes > 0) | (p.least_weight < _LEAST_PART_OF_WEIGHT * p.weight),
        }
    flags = np.zeros(len(x), dtype=np.int64)
    for flag, is_so in conditions.items():
        flags[is_so] |= int(flag)
    return flags


def _narrow(photometry: AperturePhotometry, context: FlagContext) -> Mask:
    """Tell which sources are narrower than a star along some direction, by more than the error.

    The telescope blurs everything that comes through it, in all directions. A cosmic ray is as narrow across
    its track as a pixel is, however long it is.
    """
    p = photometry
    with np.errstate(divide="ignore", invalid="ignore"):
        narrow: Mask = p.least_variance * (1.0 + p.error_1 / np.abs(p.flux_1)) < context.narrowest
    return narrow


def least_exposures(n_exposures: int, detector: str) -> int:
    """Give how many exposures must cover a source, as published.

    Parameters
    ----------
    n_exposures : int
        Exposures of the mosaic.
    detector : str
        Name of the detector in lower case; those without cosmic rays need one.

    Returns
    -------
    int
        1, or 2 where cosmic rays must be told from stars, 3 among more than five exposures.
    """
    if n_exposures <= 1 or detector in NO_COSMIC_RAYS:
        return 1
    return 3 if n_exposures > _FEW_EXPOSURES else 2


def swarm_members(x: Floats, y: Floats, flux: Floats, context: FlagContext, swarm: SwarmFilter) -> Mask:
    """Find the false detections around bright stars.

    A source is the centre of a swarm if the electrons per pixel in its outer aperture are above a limit, and
    it is the brightest around. Fainter sources in the rings about it are flagged where they have less than a
    fraction of its brightness, which falls off with the distance.

    Parameters
    ----------
    x, y : ndarray
        Positions, pixels.
    flux : ndarray
        Electrons/s in the outer aperture.
    context : FlagContext
        Aperture, scale, exposure time, background.
    swarm : SwarmFilter
        The limits; lengths are in pixels of another scale.

    Returns
    -------
    ndarray of bool
        Which sources are flagged.
    """
    from scipy.spatial import cKDTree

    flagged = np.zeros(len(x), dtype=bool)
    if len(x) == 0:
        return flagged
    to_pixels = swarm.HLA_plate_scale / context.scale
    brightness = flux / (np.pi * context.aperture**2) * context.total_time
    against_sky = swarm.eppsky_limit * max(context.level, 0.0) * context.total_time
    bright = (brightness > swarm.upper_epp_limit) | (
        (brightness > against_sky) & (brightness > swarm.lower_epp_limit)
    )
    candidates = np.flatnonzero(bright)
    places = np.column_stack([x, y])
    centres = _brightest_around(candidates, places, flux, brightness, swarm, to_pixels)
    if len(centres) == 0:
        return flagged
    others = np.ones(len(x), dtype=bool)
    others[centres] = False
    radii = np.array(swarm.clip_radius_list) * to_pixels
    factors = np.array(swarm.scale_factor_list)
    near = cKDTree(places).query_ball_point(places[centres], radii[0])
    for centre, found in zip(centres, near, strict=True):
        numbers = np.array(found, dtype=np.intp)
        numbers = numbers[others[numbers]]
        distance = np.hypot(*(places[numbers] - places[centre]).T)
        # Ring k lies within radius k - 1 and outside radius k, and has factor k - 1.
        ring = np.clip(np.searchsorted(-radii, -distance, side="right"), 1, len(radii)) - 1
        limit = swarm.swarm_thresh * brightness[centre] * factors[np.minimum(ring, len(factors) - 1)]
        flagged[numbers[brightness[numbers] < limit]] = True
        if swarm.proximity_binary:
            steps = zip(swarm.ctr_list_threshold_list, swarm.ctr_list_radius_list, strict=True)
            reach = next((radius for limit_, radius in steps if brightness[centre] > limit_), 0.0)
            flagged[numbers[distance <= reach * to_pixels]] = True
    return flagged


def _brightest_around(
    candidates: NDArray[np.intp],
    places: Floats,
    flux: Floats,
    brightness: Floats,
    swarm: SwarmFilter,
    to_pixels: float,
) -> NDArray[np.intp]:
    """Of the candidates near each other, keep the brightest."""
    from scipy.spatial import cKDTree

    if len(candidates) == 0:
        return candidates
    radii = np.full(len(candidates), swarm.selfradius)
    if swarm.cuts_list and swarm.selfradii_list:
        for cut, radius in zip(reversed(swarm.cuts_list), reversed(swarm.selfradii_list), strict=True):
            radii[brightness[candidates] >= cut] = radius
    near = cKDTree(places[candidates]).query_ball_point(places[candidates], radii * to_pixels)
    light = flux[candidates]
    kept = {int(found[int(np.argmax(light[found]))]) for found in map(sorted, near)}
    return candidates[sorted(kept)]
