"""The full WCS of a chip: TAN with SIP polynomials and lookup tables, checked before it is used."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.errors import ExposureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.io import fits
    from astropy.wcs import WCS
    from numpy.typing import NDArray

__all__ = ["LookupTable", "build_wcs", "linear_scale", "read_lookup_tables", "wcs_problem"]

# wcslib's header parser is not re-entrant.
_BUILD_LOCK = threading.Lock()

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
        found = header.get(keyword)
        if not isinstance(found, str) or found.strip() not in (start, f"{start}-SIP"):
            return f"{keyword} {_found(found)}, expected '{start}' or '{start}-SIP'"
    for keyword in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"):
        if (number := _number(header, keyword)) is None:
            return f"{keyword} {_found(header.get(keyword))}, expected a number"
        if keyword == "CRVAL2" and abs(number) > 90.0:
            return f"CRVAL2 is {number}, expected a declination between -90 and 90 degrees"
    try:
        matrix = _linear_matrix(header)
    except ValueError as error:
        return str(error)
    scale = float(np.abs(matrix).max())
    if not abs(np.linalg.det(matrix / scale) if scale > 0 else 0.0) > 1e-6:
        return f"the CD (or PC) matrix {matrix.tolist()} is singular, expected an invertible one"
    return None


def linear_scale(header: fits.Header) -> float:
    """Give the pixel scale at the reference pixel: the square root of the linear part's pixel area.

    Parameters
    ----------
    header : fits.Header
        Header of a SCI extension whose WCS is usable.

    Returns
    -------
    float
        Scale in arcsec per pixel.
    """
    return 3600.0 * math.sqrt(abs(float(np.linalg.det(_linear_matrix(header)))))


def read_lookup_tables(
    header: fits.Header, read_table: Callable[[str, int], tuple[fits.Header, NDArray[np.float32]] | None]
) -> tuple[LookupTable, ...]:
    """Read the lookup tables that a SCI header asks for.

    Parameters
    ----------
    header : fits.Header
        Header of a SCI extension.
    read_table : callable
        Given EXTNAME and EXTVER, returns the header and the data of that extension, None if it is not there.

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
    for kind, (record, extension) in _TABLE_EXTENSIONS.items():
        for axis in (1, 2):
            asked = str(header.get(f"{kind}{axis}") or "").strip().lower()
            if not asked:
                continue
            if asked != "lookup":
                raise ExposureError(f"{kind}{axis} is '{asked}', expected 'Lookup'")
            version = int(header.get(f"{record}{axis}.EXTVER", 1))
            transposed = int(header.get(f"{record}{axis}.AXIS.{axis}", axis)) != axis
            found = read_table(extension, version)
            if found is None:
                raise ExposureError(
                    f"{kind}{axis} asks for the lookup table [{extension},{version}], which the file does not hold"
                )
            tables.append(_lookup_table(kind, axis, found[0], found[1].T if transposed else found[1]))
    if not any(table.kind == "D2IMDIS" for table in tables):
        tables.extend(_old_detector_table(header, read_table))
    return tuple(tables)


def build_wcs(header: fits.Header, shape: tuple[int, int], tables: tuple[LookupTable, ...]) -> WCS:
    """Build the WCS of a chip from its SCI header and its lookup tables.

    Only the keywords of the primary WCS are handed to astropy: alternate WCSs, dates and whatever else is odd in a header
    can neither cost time nor raise warnings. SIP coefficients are used also where CTYPE lacks
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
    from astropy.wcs import WCS, DistortionLookupTable

    with _BUILD_LOCK:
        wcs = WCS(_wcs_header(header), fix=False)
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


def _found(value: object) -> str:
    return "is missing" if value is None else f"is {value!r}"


def _number(header: fits.Header, keyword: str) -> float | None:
    value = header.get(keyword)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _linear_matrix(header: fits.Header) -> NDArray[np.float64]:
    """Give the matrix from pixels to degrees; ValueError names a keyword that is no number or missing."""
    matrix = np.zeros((2, 2))
    cd = [f"CD{i}_{j}" for i in (1, 2) for j in (1, 2)]
    names = cd if any(name in header for name in cd) else [f"PC{i}_{j}" for i in (1, 2) for j in (1, 2)]
    for at, name in enumerate(names):
        default = 1.0 if names is not cd and at in (0, 3) else 0.0
        number = _number(header, name) if name in header else default
        if number is None:
            raise ValueError(f"{name} {_found(header.get(name))}, expected a number")
        matrix[divmod(at, 2)] = number
    if names is not cd:
        for i in (1, 2):
            step = _number(header, f"CDELT{i}")
            if step is None:
                raise ValueError(
                    f"there is no CD matrix and CDELT{i} {_found(header.get(f'CDELT{i}'))}, expected a CD matrix"
                )
            matrix[i - 1] *= step
    return matrix


_COPIED_KEYWORDS = (
    "CRPIX1",
    "CRPIX2",
    "CRVAL1",
    "CRVAL2",
    "LONPOLE",
    "LATPOLE",
    "EQUINOX",
)


def _wcs_header(header: fits.Header) -> fits.Header:
    """Copy the keywords of the primary WCS and of SIP into a clean header."""
    from astropy.io import fits

    clean = fits.Header()
    sip = _sip_keywords(header)
    for axis, kind in ((1, "RA---TAN"), (2, "DEC--TAN")):
        clean[f"CTYPE{axis}"] = f"{kind}-SIP" if sip else kind
        clean[f"CUNIT{axis}"] = "deg"
    for keyword in _COPIED_KEYWORDS:
        if (number := _number(header, keyword)) is not None:
            clean[keyword] = number
    matrix = _linear_matrix(header)
    for i in (1, 2):
        for j in (1, 2):
            clean[f"CD{i}_{j}"] = float(matrix[i - 1, j - 1])
    for keyword in ("RADESYS", "WCSNAME"):
        if isinstance(value := header.get(keyword), str) and value.strip():
            clean[keyword] = value.strip()
    clean.update(sip)
    return clean


def _sip_keywords(header: fits.Header) -> dict[str, float | int]:
    """Collect the forward SIP polynomials, empty where the header has none."""
    if "A_ORDER" not in header or "B_ORDER" not in header:
        return {}
    keywords: dict[str, float | int] = {}
    for letter in ("A", "B"):
        order = int(header[f"{letter}_ORDER"])
        keywords[f"{letter}_ORDER"] = order
        for i in range(order + 1):
            for j in range(order + 1 - i):
                if (number := _number(header, f"{letter}_{i}_{j}")) is not None:
                    keywords[f"{letter}_{i}_{j}"] = number
    return keywords


def _lookup_table(kind: str, axis: int, header: fits.Header, values: NDArray[np.float32]) -> LookupTable:
    def pair(keyword: str, default: float) -> tuple[float, float]:
        return (float(header.get(f"{keyword}1", default)), float(header.get(f"{keyword}2", default)))

    return LookupTable(kind, axis, values, pair("CRPIX", 0.0), pair("CRVAL", 0.0), pair("CDELT", 1.0))


def _old_detector_table(
    header: fits.Header, read_table: Callable[[str, int], tuple[fits.Header, NDArray[np.float32]] | None]
) -> list[LookupTable]:
    """Read the one-row D2IM table of old headers, which say AXISCORR instead of D2IMDIS."""
    axis = header.get("AXISCORR")
    if axis not in (1, 2):
        return []
    found = read_table("D2IMARR", 1)
    return [] if found is None else [_lookup_table("D2IMDIS", int(axis), *found)]
