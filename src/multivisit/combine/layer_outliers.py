"""From the published parameters to the rule by which outliers of a layer are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multivisit.combine.cosmic_rays import CosmicRayTest
from multivisit.combine.median import MedianRule
from multivisit.combine.rejection import RejectionRule
from multivisit.combine.separate_grid import SeparateGrid
from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from multivisit.plan.parameters import CombinationParameters
    from multivisit.sky.grid import OutputGrid

__all__ = ["rejection_rule", "separate_grid"]

_STEPS = ("driz_separate", "median", "blot")


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
    off = [name for name in _STEPS if not getattr(parameters, name)]
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


def separate_grid(
    grid: OutputGrid, parameters: CombinationParameters, nominal_scale: float
) -> SeparateGrid:
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
