"""The names of layers, products and members, as published."""

from __future__ import annotations

from typing import Final

__all__ = [
    "EXPOSURE_CLASSES",
    "exposure_name",
    "layer_label",
    "manifest_filename",
    "member_basename",
    "product_basename",
    "visit_basename",
]

EXPOSURE_CLASSES: Final = ("all", "short", "med", "long")
"""Exposure classes in the order in which their layers are made."""


def layer_label(scale_name: str, exposure_class: str = "all", year: str = "all") -> str:
    """Name the layer among those of one detector and filter.

    Parameters
    ----------
    scale_name : str
        'fine' or 'coarse'.
    exposure_class : str, optional
        'all', 'short', 'med' or 'long'.
    year : str, optional
        'all', or the year of the observations.

    Returns
    -------
    str
        ``all``, ``coarse-all``, ``short-2011`` or ``coarse-short-2011``: the class, with the scale before it
        if that is not fine and the year behind it if it is not all.
    """
    parts = ["coarse"] if scale_name == "coarse" else []
    parts.append(exposure_class)
    if year != "all":
        parts.append(year)
    return "-".join(parts)


def product_basename(sky_cell_id: str, instrument: str, detector: str, filter_name: str, label: str) -> str:
    """Name a product, without the suffix that tells its kind.

    Parameters
    ----------
    sky_cell_id : str
        Name of the sky cell.
    instrument, detector, filter_name : str
        Names in lower case.
    label : str
        The layer's label.

    Returns
    -------
    str
        For example ``hst_skycell-p1889x07y19_wfc3_ir_f160w_coarse-all``.
    """
    return "_".join(["hst", sky_cell_id, instrument, detector, filter_name, label])


def member_basename(
    sky_cell_id: str, instrument: str, detector: str, filter_name: str, label: str, exposure: str
) -> str:
    """Name an exposure as a member of a layer, without its suffix.

    Parameters
    ----------
    sky_cell_id : str
        Name of the sky cell.
    instrument, detector, filter_name : str
        Names in lower case.
    label : str
        The layer's label.
    exposure : str
        First eight characters of the exposure's rootname, see `exposure_name`.

    Returns
    -------
    str
        For example ``hst_skycell-p1889x07y19_wfc3_ir_f160w_coarse-all-ib4606cp``.
    """
    return product_basename(sky_cell_id, instrument, detector, filter_name, f"{label}-{exposure}")


def visit_basename(
    proposal: str, visit: str, instrument: str, detector: str, filter_name: str, exposure: str
) -> str:
    """Name a single-visit product, without its suffix.

    Parameters
    ----------
    proposal, visit : str
        Number of the proposal, and the two characters of the visit in lower case.
    instrument, detector, filter_name : str
        Names in lower case; the filter of a product of all filters is 'total'.
    exposure : str
        First eight characters of the exposure's rootname; of several exposures, the first six.

    Returns
    -------
    str
        For example ``hst_12286_0r_acs_wfc_total_jbl70r`` or ``hst_12286_0r_acs_wfc_f775w_jbl70rtv``.
    """
    return "_".join(["hst", proposal, visit, instrument, detector, filter_name, exposure])


def exposure_name(filename: str) -> str:
    """Give the first eight characters of an exposure's rootname (``ipppssoo``) by the name of its file.

    Parameters
    ----------
    filename : str
        Pipeline name (``jbl70rtvq_flc.fits``) or single-visit name
        (``hst_12286_0r_acs_wfc_f775w_jbl70rtv_flc.fits``), with or without a folder.

    Returns
    -------
    str
        For example ``jbl70rtv``.
    """
    name = filename.rpartition("/")[2].removesuffix(".gz").removesuffix(".fits")
    stem = name.rpartition("_")[0] or name
    return stem.rpartition("_")[2][:8] if stem.startswith("hst_") else stem[:8]


def manifest_filename(sky_cell_id: str) -> str:
    """Name the list of everything that was made for a sky cell: ``skycell-p1889x07y19_manifest.txt``."""
    return f"{sky_cell_id}_manifest.txt"
