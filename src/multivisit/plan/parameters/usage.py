"""Which of the published parameters multi-visit processing does not use, and why.

A parameter that is not named here is used. Whoever puts one to use takes its name out of the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from multivisit.plan.parameters.model import CombinationParameters

__all__ = ["NOT_USED", "reason_not_used", "used_combination_values"]

_REASONS: Final[dict[str, tuple[str, ...]]] = {
    "exposures are never changed: new WCS solutions go into the mosaics": (
        "alignment/run_align/update_hdr_wcs",
    ),
    "mosaics have lists of their own: mosaic_catalog_list and mosaic_fit_list": (
        "alignment/run_align/catalog_list",
        "alignment/run_align/fit_algorithm_list_ngt1",
        "alignment/run_align/fit_algorithm_list_n1",
    ),
    "the limits of determine_fit_quality hold": (
        "alignment/run_align/MIN_CATALOG_THRESHOLD",
        "alignment/run_align/MIN_OBSERVABLE_THRESHOLD",
        "alignment/run_align/MAX_FIT_LIMIT",
    ),
    "the limits of general and of generate_source_catalogs hold": (
        "alignment/determine_fit_quality/MAX_SOURCES_PER_CHIP",
    ),
    "it is no matter of choice": ("alignment/determine_fit_quality/MAS_TO_ARCSEC",),
    "background and noise are those of SEP, and the threshold is nsigma": (
        "alignment/generate_source_catalogs/bkg_estimator",
        "alignment/generate_source_catalogs/rms_estimator",
        "alignment/generate_source_catalogs/threshold",
    ),
    "reference sources are asked for around the exposures' own": (
        "alignment/generate_astrometric_catalog/existing_wcs",
    ),
    "it belongs to AstroDrizzle's own window and log": (
        "astrodrizzle/_mdriztab_btn_",
        "astrodrizzle/runfile",
    ),
    "pixel positions come from the whole WCS of an exposure, distortion included, to a bounded error": (
        "astrodrizzle/wcskey",
        "astrodrizzle/coeffs",
        "astrodrizzle/stepsize",
    ),
    "pixels are processed in electrons per second": ("astrodrizzle/proc_unit",),
    "all chips of an exposure are combined": ("astrodrizzle/group",),
    "a mosaic is what is made, in one file": ("astrodrizzle/build", "astrodrizzle/driz_combine"),
    "threads and memory are options of the run": (
        "astrodrizzle/num_cores",
        "astrodrizzle/in_memory",
        "astrodrizzle/combine_bufsize",
    ),
    "exposures are never changed, and --diagnostics (diagnostic_mode) alone keeps intermediate files": (
        "astrodrizzle/restore",
        "astrodrizzle/preserve",
        "astrodrizzle/overwrite",
        "astrodrizzle/clean",
    ),
    "pixels for the sky are chosen by flags, limits and the static mask": ("astrodrizzle/skymask_cat",),
    "a separate image holds one exposure: the scale of its weights cancels, and it is never a product": (
        "astrodrizzle/driz_sep_wt_scl",
        "astrodrizzle/driz_sep_fillval",
        "astrodrizzle/driz_sep_compress",
    ),
    "the separate images cover the mosaic, in its projection": (
        "astrodrizzle/driz_sep_refimage",
        "astrodrizzle/driz_sep_outnx",
        "astrodrizzle/driz_sep_outny",
        "astrodrizzle/driz_sep_ra",
        "astrodrizzle/driz_sep_dec",
        "astrodrizzle/driz_sep_crpix1",
        "astrodrizzle/driz_sep_crpix2",
    ),
    "the value without data holds outside the exposures too": ("astrodrizzle/final_maskval",),
    "the other final_ parameters say where the pixel grid lies": ("astrodrizzle/final_refimage",),
    "the noise follows the weight of every pixel, not regions of like weight": (
        "catalog generation/scale",
        "catalog generation/sensitivity",
        "catalog generation/region_size",
    ),
    "point sources are the peaks under a round Gaussian of a star's width, whichever is named": (
        "catalog generation/starfinder_algorithm",
        "catalog generation/good_fwhm",
        "catalog generation/dao/kernel_sd_aspect_ratio",
    ),
    "mosaics are worked on in bands of rows that are chosen from their size": (
        "catalog generation/block_size",
    ),
    "it thins out catalogs of all filters together; that of a layer keeps all sources, with flags": (
        "catalog generation/flag_trim_value",
        "catalog generation/cr_residual",
    ),
    "stars to align exposures by are found as the group alignment says": (
        "catalog generation/dao/TWEAK_THRESHOLD",
    ),
    "segments are separated whatever their size": (
        "catalog generation/sourcex/ratio_bigsource_deblend_limit",
    ),
    "catalogs hold Kron radii as they are, and no Kron magnitudes": (
        "catalog generation/sourcex/kron_scaling_radius",
    ),
    "they are older values of another parameter": ("quality control/swarm filter/scale_factor_list_orig",),
    "calibrated exposures and their headers say it": (
        "astrodrizzle/gain",
        "astrodrizzle/gnkeyword",
        "astrodrizzle/exptime",
        "astrodrizzle/expkeyword",
    ),
}
"""Parameters, or groups of them, by the reason for which multi-visit processing does not use them."""

NOT_USED: Final = {path: reason for reason, paths in _REASONS.items() for path in paths}
"""The reason by parameter or group; names are joined by ``/``."""


def reason_not_used(path: tuple[str, ...]) -> str:
    """Tell why multi-visit processing does not use a parameter.

    Parameters
    ----------
    path : tuple of str
        Published names from the group down, such as ('astrodrizzle', 'runfile').

    Returns
    -------
    str
        The reason; empty for a parameter that is used.
    """
    for length in range(1, len(path) + 1):
        reason = NOT_USED.get("/".join(path[:length]))
        if reason:
            return reason
    return ""


def used_combination_values(parameters: CombinationParameters) -> dict[str, Any]:
    """Give the combination parameters that are used.

    Parameters
    ----------
    parameters : CombinationParameters
        All of them.

    Returns
    -------
    dict
        Values by name; ready for `json.dumps`.
    """
    values = parameters.model_dump(mode="json", by_alias=True)
    return {name: value for name, value in values.items() if not reason_not_used(("astrodrizzle", name))}
