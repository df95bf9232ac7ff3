"""Parameters that do nothing because another one switches them off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from multivisit.plan.parameters.model import CombinationParameters

__all__ = ["IDLE", "reason_idle"]

_REJECTION: Final = (
    "driz_separate",
    "driz_sep_kernel",
    "driz_sep_pixfrac",
    "driz_sep_bits",
    "driz_sep_wcs",
    "driz_sep_rot",
    "driz_sep_scale",
    "median",
    "median_newmasks",
    "combine_maskpt",
    "combine_type",
    "combine_nsigma",
    "combine_nlow",
    "combine_nhigh",
    "combine_lthresh",
    "combine_hthresh",
    "combine_grow",
    "blot",
    "blot_interp",
    "blot_sinscl",
    "blot_addsky",
    "blot_skyval",
    "driz_cr_corr",
    "driz_cr_snr",
    "driz_cr_grow",
    "driz_cr_ctegrow",
    "driz_cr_scale",
)
_GRID: Final = (
    "final_rot",
    "final_scale",
    "final_outnx",
    "final_outny",
    "final_ra",
    "final_dec",
    "final_crpix1",
    "final_crpix2",
)
_MINMED: Final = ("minmed", "iminmed")
_COUNTED: Final = ("median", "imedian", "mean", "imean", "average", "iaverage")

IDLE: Final[tuple[tuple[tuple[str, ...], Callable[[CombinationParameters], bool], str], ...]] = (
    (("skymethod", "skyfile"), lambda p: not p.skysub, "skysub is off"),
    (
        ("skyuser",),
        lambda p: p.skysub,
        "it tells of a sky taken off before, which counts where skysub is off",
    ),
    (("skymethod", "use_static"), lambda p: bool(p.skyfile), "skyfile gives the levels"),
    (("skywidth",), lambda p: p.skystat != "mode", "skystat is not 'mode'"),
    (("static_sig", "use_static"), lambda p: not p.static, "static is off"),
    (
        _REJECTION,
        lambda p: not p.driz_cr,
        "driz_cr is off, which alone the separate images and the median serve",
    ),
    (("driz_sep_rot", "driz_sep_scale"), lambda p: not p.driz_sep_wcs, "driz_sep_wcs is off"),
    (("driz_sep_pixfrac",), lambda p: p.driz_sep_kernel == "point", "points have no size"),
    (("combine_maskpt",), lambda p: not p.median_newmasks, "median_newmasks is off"),
    (("combine_nsigma", "combine_grow"), lambda p: p.combine_type not in _MINMED, "only minmed has them"),
    (
        ("combine_nlow", "combine_nhigh"),
        lambda p: p.combine_type not in _COUNTED,
        "only medians and means drop values",
    ),
    (("blot_sinscl",), lambda p: p.blot_interp != "sinc", "blot_interp is not 'sinc'"),
    (("blot_skyval",), lambda p: p.blot_addsky, "blot_addsky is on: each exposure's own sky is added"),
    (("crbit",), lambda p: not (p.driz_cr and p.driz_cr_corr), "it is for the files of driz_cr_corr"),
    (_GRID, lambda p: not p.final_wcs, "final_wcs is off"),
    (("final_pixfrac",), lambda p: p.final_kernel == "point", "points have no size"),
)
"""Names of combination parameters, when they do nothing, and why."""


def reason_idle(name: str, parameters: CombinationParameters) -> str:
    """Tell why a parameter that is used does nothing beside the others.

    Parameters
    ----------
    name : str
        Its published name, of the group astrodrizzle.
    parameters : CombinationParameters
        All values of the group.

    Returns
    -------
    str
        The first reason; empty where it does something.
    """
    return next((why for names, is_idle, why in IDLE if name in names and is_idle(parameters)), "")
