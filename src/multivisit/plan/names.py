"""The names of layers, products and members, as published."""

from __future__ import annotations

from typing import Final

from multivisit.errors import ParameterError

__all__ = [
    "EXPOSURE_CLASSES",
    "checked_prefix",
    "custom_prefix",
    "exposure_name",
    "layer_label",
    "manifest_filename",
    "member_basename",
    "product_basename",
    "visit_basename",
]

_PER_DEGREE: Final = 10000
# File systems take 255 bytes; what the names add stays under 100.
_LONGEST_PREFIX: Final = 150

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


def product_basename(
    sky_cell_id: str, instrument: str, detector: str, filter_name: str, label: str, *, prefix: str = ""
) -> str:
    """Name a product, without the suffix that tells its kind.

    Parameters
    ----------
    sky_cell_id : str
        Name of the sky cell.
    instrument, detector, filter_name : str
        Names in lower case.
    label : str
        The layer's label.
    prefix : str, optional
        Takes the place of ``hst_<sky cell>``.

    Returns
    -------
    str
        For example ``hst_skycell-p1889x07y19_wfc3_ir_f160w_coarse-all``.
    """
    return "_".join([prefix or f"hst_{sky_cell_id}", instrument, detector, filter_name, label])


def member_basename(
    sky_cell_id: str,
    instrument: str,
    detector: str,
    filter_name: str,
    label: str,
    exposure: str,
    *,
    prefix: str = "",
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
    prefix : str, optional
        Takes the place of ``hst_<sky cell>``.

    Returns
    -------
    str
        For example ``hst_skycell-p1889x07y19_wfc3_ir_f160w_coarse-all-ib4606cp``.
    """
    return product_basename(
        sky_cell_id, instrument, detector, filter_name, f"{label}-{exposure}", prefix=prefix
    )


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


def custom_prefix(projection_cell: int, ra: float, dec: float) -> str:
    """Name a custom mosaic by its projection cell and its centre.

    Parameters
    ----------
    projection_cell : int
        Id of the projection cell.
    ra, dec : float
        Right ascension and declination of the mosaic's centre in degrees.

    Returns
    -------
    str
        ``hst_skycell-p<pppp>-ra<ddd>d<dddd>-dec<n|s><dd>d<dddd>``, rounded to four decimals. The equator is
        north, also where a declination rounds to it from the south.

    Examples
    --------
    >>> custom_prefix(1974, 201.9512, 26.0012)
    'hst_skycell-p1974-ra201d9512-decn26d0012'
    >>> custom_prefix(1234, 359.99999, -0.00001)
    'hst_skycell-p1234-ra000d0000-decn00d0000'
    >>> custom_prefix(1100, -0.5, -0.0123)
    'hst_skycell-p1100-ra359d5000-decs00d0123'
    """
    # Whole ten-thousandths of a degree: what is rounded up must carry into the degrees, and 360 is 0.
    east = round(ra * _PER_DEGREE) % (360 * _PER_DEGREE)
    north = round(dec * _PER_DEGREE)
    (ra_whole, ra_part), (dec_whole, dec_part) = divmod(east, _PER_DEGREE), divmod(abs(north), _PER_DEGREE)
    hemisphere = "s" if north < 0 else "n"
    return (
        f"hst_skycell-p{projection_cell:04d}-ra{ra_whole:03d}d{ra_part:04d}"
        f"-dec{hemisphere}{dec_whole:02d}d{dec_part:04d}"
    )


def checked_prefix(prefix: str | None) -> str:
    """Check the prefix that a user gives to the files of a run.

    Parameters
    ----------
    prefix : str or None
        As given.

    Returns
    -------
    str
        Without an underscore at its end, which the names add; empty where none was given.

    Raises
    ------
    ParameterError
        It is not text, holds a folder, or characters that have no place in a FITS header or in a file's name.
    """
    if not prefix and (prefix is None or isinstance(prefix, str)):
        return ""
    if not isinstance(prefix, str):
        raise ParameterError(f"output_file_prefix: found {prefix!r}, expected text")
    name = prefix.removesuffix("_")
    if "/" in name or "\\" in name:
        raise ParameterError(
            f"output_file_prefix: found {prefix!r}, expected a name without folders; "
            "the folder is given as output_folder (-o on the command line)"
        )
    is_printable = name.isascii() and name.isprintable() and not any(c.isspace() for c in name)
    if not is_printable or not name.strip("._-") or name.startswith((".", "-")):
        raise ParameterError(
            f"output_file_prefix: found {prefix!r}, expected a name of ASCII letters, digits and signs, "
            "without blanks, for example my-field"
        )
    if len(name) > _LONGEST_PREFIX:
        raise ParameterError(
            f"output_file_prefix: found {len(name)} characters, expected at most {_LONGEST_PREFIX}"
        )
    return name
