"""Outliers of a layer: from the published parameters and the layer's chips to the masks of hit pixels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from multivisit.combine.cosmic_rays import CosmicRayTest
from multivisit.combine.median import MedianRule
from multivisit.combine.rejection import RejectionChip, RejectionRule
from multivisit.combine.separate_grid import SeparateGrid
from multivisit.combine.sky_file import background_taken_off
from multivisit.combine.survey import file_unit
from multivisit.errors import ParameterError
from multivisit.exposures.detector_noise import READ_NOISE_KEYWORDS, cte_direction, read_noise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from multivisit.combine.placement import PreparedChip
    from multivisit.exposures.model import Chip, Exposure
    from multivisit.plan.parameters import CombinationParameters
    from multivisit.sky.grid import OutputGrid

__all__ = ["chip_read_noise", "missing_full_bits", "rejection_chips", "rejection_rule", "separate_grid"]

_FULL, _FULL_WFPC2, _NEVER_FULL = 256, 8, "sbc"


def rejection_rule(parameters: CombinationParameters) -> RejectionRule | None:
    """Tell how outliers are to be found.

    Parameters
    ----------
    parameters : CombinationParameters
        How to combine.

    Returns
    -------
    RejectionRule or None
        The rule; None where driz_cr is off.

    Raises
    ------
    ParameterError
        If driz_cr is on and a step that it needs is off.
    """
    if not parameters.driz_cr:
        return None
    steps = {
        "driz_separate": parameters.driz_separate,
        "median": parameters.median,
        "blot": parameters.blot,
    }
    off = [name for name, is_on in steps.items() if not is_on]
    if off:
        raise ParameterError(
            f"driz_cr: found true, with {' and '.join(off)} off; cosmic rays are found in exposures drizzled "
            "separately (driz_separate), by the blotted (blot) median (median) of them. Switch these on too."
        )
    return RejectionRule(
        median=MedianRule(
            combine_type=parameters.combine_type,
            n_low=parameters.combine_nlow,
            n_high=parameters.combine_nhigh,
            n_sigma=parameters.combine_nsigma,
            grow=parameters.combine_grow,
        ),
        test=CosmicRayTest(
            snr=parameters.driz_cr_snr,
            scale=parameters.driz_cr_scale,
            grow=parameters.driz_cr_grow,
            cte_grow=parameters.driz_cr_ctegrow,
        ),
        kernel=parameters.driz_sep_kernel,
        pixfrac=parameters.driz_sep_pixfrac,
        mask_fraction=parameters.combine_maskpt if parameters.median_newmasks else None,
        low_threshold=parameters.combine_lthresh,
        high_threshold=parameters.combine_hthresh,
        interpolation=parameters.blot_interp,
        sinc_scale=parameters.blot_sinscl,
        sky_value=None if parameters.blot_addsky else parameters.blot_skyval,
    )


def separate_grid(grid: OutputGrid, parameters: CombinationParameters, nominal_scale: float) -> SeparateGrid:
    """Choose the grid of the separate images.

    Parameters
    ----------
    grid : OutputGrid
        Grid of the mosaic.
    parameters : CombinationParameters
        How to combine: driz_sep_scale and driz_sep_rot count where driz_sep_wcs is on.
    nominal_scale : float
        Largest nominal pixel scale of the chips, arcsec.

    Returns
    -------
    SeparateGrid
        A grid that covers the mosaic, with the chips' nominal scale and the mosaic's direction unless the
        parameters say otherwise.
    """
    scale, rotation = nominal_scale, 0.0
    if parameters.driz_sep_wcs:
        scale = parameters.driz_sep_scale or nominal_scale
        mosaic_rotation = (parameters.final_rot or 0.0) if parameters.final_wcs else 0.0
        if parameters.driz_sep_rot is not None:
            rotation = parameters.driz_sep_rot - mosaic_rotation
    return SeparateGrid.over(grid.shape, grid.scale, scale, rotation)


def missing_full_bits(exposures: Iterable[Exposure], parameters: CombinationParameters) -> int:
    """Tell which flags of full pixels the separate images leave out.

    A median without full pixels lacks the brightest ones of each star: it is too low there, and the cores of
    bright stars are taken for cosmic rays.

    Parameters
    ----------
    exposures : iterable of Exposure
        The exposures of the layer.
    parameters : CombinationParameters
        How to combine: driz_sep_bits and resetbits count.

    Returns
    -------
    int
        Flags to add to driz_sep_bits, as one number; 0 where none is missing. A full pixel has 256 in ACS
        and WFC3 data and 8 in those of WFPC2; ACS/SBC counts photons and has none.
    """
    good = parameters.separate_bits
    if good is None:
        return 0
    full = 0
    for exposure in exposures:
        if exposure.detector != _NEVER_FULL:
            full |= _FULL_WFPC2 if exposure.instrument == "wfpc2" else _FULL
    return full & ~good


def chip_read_noise(exposure: Exposure, chip: Chip, parameters: CombinationParameters) -> float:
    """Give the read noise of a chip as the parameters ask for it.

    Parameters
    ----------
    exposure : Exposure
        The exposure.
    chip : Chip
        One of its chips.
    parameters : CombinationParameters
        ``rdnoise`` (electrons) counts before the header's ``rnkeyword``.

    Returns
    -------
    float
        Electrons.

    Raises
    ------
    ParameterError
        If rdnoise is no number of electrons.
    """
    if parameters.rdnoise.strip():
        try:
            value = float(parameters.rdnoise)
        except ValueError:
            value = -1.0
        if not 0.0 <= value < float("inf"):
            raise ParameterError(f"rdnoise: found {parameters.rdnoise!r}, expected a number of electrons.")
        return value
    keywords = [word for word in re.split(r"[,\s]+", parameters.rnkeyword) if word]
    return read_noise(exposure, chip, keywords or READ_NOISE_KEYWORDS)


def rejection_chips(
    chips: Sequence[PreparedChip],
    sky_rates: Sequence[float],
    grid: SeparateGrid,
    parameters: CombinationParameters,
) -> list[RejectionChip]:
    """Describe the chips that take part in outlier rejection.

    Parameters
    ----------
    chips : sequence of PreparedChip
        The chips of the layer.
    sky_rates : sequence of float
        Sky level taken off each of them, electrons/s per native pixel.
    grid : SeparateGrid
        Grid of the separate images.
    parameters : CombinationParameters
        How to combine.

    Returns
    -------
    list of RejectionChip
        Those that overlap the mosaic.

    Raises
    ------
    ParameterError
        If rdnoise is no number, or a header has not the level that skyuser names.
    """
    keyword = "" if parameters.skysub else parameters.skyuser
    return [
        RejectionChip(
            number=number,
            exposure_number=item.exposure_number,
            shape=item.chip.shape,
            pixel_map=grid.map_of(item.pixel_map),
            nominal_scale=item.chip.nominal_scale,
            exposure_time=item.chip.exposure_time,
            sky_rate=sky_rate,
            background_rate=background_taken_off(item.exposure, item.chip, keyword),
            read_noise=chip_read_noise(item.exposure, item.chip, parameters),
            cte_direction=cte_direction(item.exposure, item.chip),
            unit=file_unit(item.chip),
        )
        for number, (item, sky_rate) in enumerate(zip(chips, sky_rates, strict=True))
        if item.in_grid and item.pixel_map is not None
    ]
