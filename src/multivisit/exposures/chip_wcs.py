"""The full WCS of a chip: TAN with SIP polynomials and lookup tables, checked before it is used."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.errors import ExposureError
from multivisit.exposures.headers import found, number, text, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.io import fits
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from multivisit.exposures.fits_file import ImageExtension

__all__ = ["LookupTable", "build_wcs", "read_lookup_tables", "wcs_problem"]

# wcslib's header parser is not re-entrant.
_BUILD_LOCK = threading.Lock()

# A determinant (of the matrix scaled to a largest element of 1) below which pixels have no area.
_SINGULAR = 1e-6
_LARGEST_SIP_ORDER = 9
# Some software lets right ascensions run over 360 degrees; beyond two turns they are damaged.
_LARGEST_RIGHT_ASCENSION = 720.0
_TABLE_EXTENSIONS = {"CPDIS": ("DP", "WCSDVARR"), "D2IMDIS": ("D2IM", "D2IMARR")}


@dataclass(frozen=True)
class LookupTable:
    """A table of small position corrections, interpolated bilinearly (FITS distortion paper, ``Lookup``)."""

    kind: str
    """``CPDIS`` (NPOL, added beside SIP) or ``D2IMDIS`` (detector to image, added before SIP)."""

    axis: int
    """The pixel axis that is corrected: 1 (x) or 2 (y)."""

    values: NDArray[np.float32] = field(compare=False, repr=False)
    """Corrections in pixels, shape (ny, nx)."""

    crpix: tuple[float, float]
    """Element (x, y; 1-based) of the table that `crval` refers to."""

    crval: tuple[float, float]
    """Chip pixel (x, y; 1-based) at `crpix`."""

    cdelt: tuple[float, float]
    """Step between elements in chip pixels (x, y)."""

    def knots(self, axis: int) -> NDArray[np.float64]:
        """Positions of the table's elements along chip axis 1 (x) or 2 (y), in 0-based chip pixels."""
        element = np.arange(1, self.values.shape[2 - axis] + 1, dtype=np.float64)
        i = axis - 1
        return (element - self.crpix[i]) * self.cdelt[i] + self.crval[i] - 1.0


def wcs_problem(header: fits.Header) -> str | None:
    """Say what is wrong with the WCS of a SCI header.

    Parameters
    ----------
    header : fits.Header
        Header of a SCI extension.

    Returns
    -------
    str or None
        Keyword, found and expected value of the first problem; None for a usable WCS.
    """
    for keyword, start in (("CTYPE1", "RA---TAN"), ("CTYPE2", "DEC--TAN")):
        if text(header, keyword) not in (start, f"{start}-SIP"):
            return f"{keyword} {found(header, keyword)}, expected '{start}' or '{start}-SIP'"
    for keyword in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"):
        if (position := number(header, keyword)) is None:
            return f"{keyword} {found(header, keyword)}, expected a number"
        if keyword == "CRVAL1" and abs(position) > _LARGEST_RIGHT_ASCENSION:
            return f"CRVAL1 is {position}, expected a right ascension in degrees"
        if keyword == "CRVAL2" and abs(position) > 90.0:
            return f"CRVAL2 is {position}, expected a declination between -90 and 90 degrees"
    try:
        matrix = _linear_matrix(header)
        _sip_polynomials(header)
    except ValueError as error:
        return str(error)
    scale = float(np.abs(matrix).max())
    if not scale > 0.0 or abs(np.linalg.det(matrix / scale)) < _SINGULAR:
        return f"the CD (or PC) matrix {matrix.tolist()} is singular, expected an invertible one"
    return None


def read_lookup_tables(
    header: fits.Header, extensions: Mapping[tuple[str, int], ImageExtension]
) -> tuple[LookupTable, ...]:
    """Collect the lookup tables that a SCI header asks for.

    Parameters
    ----------
    header : fits.Header
        Header of a SCI extension.
    extensions : mapping
        The file's WCSDVARR and D2IMARR extensions with their images, by (EXTNAME, EXTVER).

    Returns
    -------
    tuple of LookupTable
        At most four: NPOL and D2IM for each axis.

    Raises
    ------
    ExposureError
        If a table that is asked for is missing or of an unknown kind; the message begins with the keyword.
    """
    tables = []
    for kind, (record, name) in _TABLE_EXTENSIONS.items():
        for axis in (1, 2):
            asked = text(header, f"{kind}{axis}")
            if not asked:
                continue
            if asked.lower() != "lookup":
                raise ExposureError(f"{kind}{axis} is '{asked}', expected 'Lookup'")
            version = int(number(header, f"{record}{axis}.EXTVER") or 1)
            if (name, version) not in extensions:
                raise ExposureError(
                    f"{kind}{axis} asks for the lookup table [{name},{version}], which is not in the file"
                )
            along = number(header, f"{record}{axis}.AXIS.{axis}")
            tables.append(
                _lookup_table(kind, axis, extensions[name, version], transposed=along not in (None, axis))
            )
    old_axis = whole_number(header, "AXISCORR")
    if old_axis in (1, 2) and ("D2IMARR", 1) in extensions:
        # Old headers say AXISCORR for the one-row detector table, and then mean no other.
        tables = [table for table in tables if table.kind != "D2IMDIS"]
        tables.append(_lookup_table("D2IMDIS", old_axis, extensions["D2IMARR", 1]))
    return tuple(tables)


def build_wcs(header: fits.Header, shape: tuple[int, int], tables: tuple[LookupTable, ...]) -> WCS:
    """Build the WCS of a chip from its SCI header and its lookup tables.

    Only the keywords of the primary WCS are handed to astropy: alternate WCSs, dates and whatever else is odd
    in a header can neither cost time nor raise warnings. SIP coefficients are used also where CTYPE lacks
    ``-SIP``, as astropy and AstroDrizzle do.

    Parameters
    ----------
    header : fits.Header
        Header of a SCI extension whose WCS is usable.
    shape : tuple of int
        Rows and columns of the chip.
    tables : tuple of LookupTable
        Its lookup tables.

    Returns
    -------
    WCS
        A fresh object that the caller may change.
    """
    from astropy.wcs import WCS, DistortionLookupTable, Sip

    crpix = [number(header, f"CRPIX{axis}") or 0.0 for axis in (1, 2)]
    sip = _sip_polynomials(header)
    with _BUILD_LOCK:
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = [f"{kind}-SIP" if sip else kind for kind in ("RA---TAN", "DEC--TAN")]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crpix = crpix
        wcs.wcs.crval = [number(header, f"CRVAL{axis}") or 0.0 for axis in (1, 2)]
        wcs.wcs.cd = _linear_matrix(header)
        for keyword in ("LONPOLE", "LATPOLE", "EQUINOX"):
            if (content := number(header, keyword)) is not None:
                setattr(wcs.wcs, keyword.lower(), content)
        if radesys := text(header, "RADESYS"):
            wcs.wcs.radesys = radesys
        if name := text(header, "WCSNAME"):
            wcs.wcs.name = name
        if sip:
            wcs.sip = Sip(*sip, None, None, crpix)
        wcs.wcs.set()
    places = {
        ("CPDIS", 1): "cpdis1",
        ("CPDIS", 2): "cpdis2",
        ("D2IMDIS", 1): "det2im1",
        ("D2IMDIS", 2): "det2im2",
    }
    for table in tables:
        # astropy keeps a pointer to the values, so each WCS gets its own copy.
        values = np.array(table.values, dtype=np.float32, order="C")
        lookup = DistortionLookupTable(values, table.crpix, table.crval, table.cdelt)
        setattr(wcs, places[table.kind, table.axis], lookup)
    wcs.pixel_shape = (shape[1], shape[0])
    return wcs


def _linear_matrix(header: fits.Header) -> NDArray[np.float64]:
    """Give the matrix from pixels to degrees; ValueError says which keyword is missing or no number."""
    kind = "CD" if any(f"CD{i}_{j}" in header for i in (1, 2) for j in (1, 2)) else "PC"
    matrix = np.zeros((2, 2)) if kind == "CD" else np.identity(2)
    for i in (1, 2):
        for j in (1, 2):
            if (keyword := f"{kind}{i}_{j}") in header:
                matrix[i - 1, j - 1] = _needed_number(header, keyword)
    if kind == "PC":
        if "CDELT1" not in header and "CDELT2" not in header:
            raise ValueError("CD1_1 (and the rest of the CD matrix) is missing, expected degrees per pixel")
        matrix *= [[_needed_number(header, "CDELT1")], [_needed_number(header, "CDELT2")]]
    return matrix


def _needed_number(header: fits.Header, keyword: str) -> float:
    content = number(header, keyword)
    if content is None:
        raise ValueError(f"{keyword} {found(header, keyword)}, expected a number")
    return content


def _sip_polynomials(header: fits.Header) -> tuple[NDArray[np.float64], ...]:
    """Collect the forward SIP polynomials A and B, nothing where there are none; ValueError if wrong."""
    orders = {}
    for keyword in ("A_ORDER", "B_ORDER"):
        if keyword in header:
            order = whole_number(header, keyword)
            if order is None or not 0 <= order <= _LARGEST_SIP_ORDER:
                raise ValueError(f"{keyword} {found(header, keyword)}, expected 0 to {_LARGEST_SIP_ORDER}")
            orders[keyword] = order
    if len(orders) == 1:
        raise ValueError(f"{next(iter(orders))} stands alone, expected both A_ORDER and B_ORDER or none")
    # astropy takes no account of polynomials of order 0 or 1.
    if not orders or min(orders.values()) < 2:
        return ()
    polynomials = []
    for keyword, order in orders.items():
        polynomial = np.zeros((order + 1, order + 1))
        for i in range(order + 1):
            for j in range(order + 1 - i):
                if (name := f"{keyword[0]}_{i}_{j}") in header:
                    polynomial[i, j] = _needed_number(header, name)
        polynomials.append(polynomial)
    return tuple(polynomials)


def _lookup_table(
    kind: str, axis: int, extension: ImageExtension, *, transposed: bool = False
) -> LookupTable:
    """Make a lookup table of an extension with its image."""
    values = np.atleast_2d(np.asarray(extension.image, dtype=np.float32))
    crpix, crval, cdelt = (
        (
            default if (first := number(extension.header, f"{keyword}1")) is None else first,
            default if (second := number(extension.header, f"{keyword}2")) is None else second,
        )
        for keyword, default in (("CRPIX", 0.0), ("CRVAL", 0.0), ("CDELT", 1.0))
    )
    if values.size == 0 or not np.all(np.isfinite(values)) or 0.0 in cdelt:
        raise ExposureError(
            f"the lookup table {extension.label} is damaged (shape {values.shape}, CDELT {cdelt}), "
            "expected finite values and steps other than 0"
        )
    return LookupTable(kind, axis, values.T if transposed else values, crpix, crval, cdelt)
