"""Where a chip's pixels fall on the sky, for any pointing and roll, with the real detectors' distortion.

``data/geometry.json`` holds every chip's WCS for one canonical pointing: the aperture's reference point at
right ascension 0 and declination 0 and the V3 axis to the North (``PA_V3`` = 0). Another pointing is a
rotation of the whole sphere, so the chips of a detector keep their places relative to each other exactly: the
chip's reference direction and the local North and East there are rotated, and the linear terms follow them.
The distortion (SIP and lookup tables) belongs to the pixels and stays as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astropy.io import fits
    from astropy.wcs import WCS
    from numpy.typing import NDArray

__all__ = [
    "ChipGeometry",
    "DetectorGeometry",
    "LookupTable",
    "Pointing",
    "Window",
    "chip_wcs",
    "detector_geometry",
    "lookup_table_hdus",
    "offset_pointing",
    "wcs_cards",
]

_EXTENSION_NAMES = {"CPDIS": "WCSDVARR", "D2IM": "D2IMARR"}
_CARD_NAMES = {
    "CPDIS": ("CPDIS", "DP", "CPERR"),
    "D2IM": ("D2IMDIS", "D2IM", "D2IMERR"),
}


@dataclass(frozen=True)
class Pointing:
    """Where an aperture looks."""

    ra: float
    """Right ascension of the aperture's reference point in degrees (ICRS)."""

    dec: float
    """Declination of the aperture's reference point in degrees (ICRS)."""

    roll: float
    """Position angle of the V3 axis at that point (PA_V3), in degrees East of North."""


@dataclass(frozen=True)
class Window:
    """The part of a chip that is read: a subarray, or the whole chip."""

    x0: int
    """First column, 0-based, in the whole chip."""

    y0: int
    """First row, 0-based, in the whole chip."""

    shape: tuple[int, int]
    """Rows and columns."""


@dataclass(frozen=True)
class LookupTable:
    """A table of small corrections to pixel positions, bilinear between its knots."""

    kind: str
    """``CPDIS`` (non-polynomial distortion, NPOL) or ``D2IM`` (detector to image)."""

    axis: int
    """The coordinate that is corrected: 1 (x) or 2 (y)."""

    name: str
    """Name of its values in the data file."""

    values: NDArray[np.float32]
    """Corrections in pixels, rows by columns."""

    cdelt: tuple[float, float]
    """Distance of the knots in x and y, in pixels."""

    error: float
    """Largest correction, for the header (CPERRi or D2IMERRi)."""


@dataclass(frozen=True)
class ChipGeometry:
    """The WCS of one chip at the canonical pointing."""

    extver: int
    """Version of its SCI extension."""

    chip_id: int
    """CCDCHIP."""

    shape: tuple[int, int]
    """Rows and columns of the whole chip."""

    crpix: tuple[float, float]
    """Reference pixel, 1-based."""

    crval: tuple[float, float]
    """Reference direction at the canonical pointing, in degrees."""

    cd: NDArray[np.float64]
    """Linear terms at the canonical pointing, (2, 2), degrees per pixel."""

    sip: Mapping[str, float]
    """SIP coefficients by keyword (A_p_q, B_p_q)."""

    idc: Mapping[str, float]
    """Keywords of the distortion reference table (IDCSCALE, OCX10, ...)."""

    tables: tuple[LookupTable, ...]
    """Lookup tables."""

    @property
    def nominal_scale(self) -> float:
        """Nominal pixel scale in arcsec per pixel (IDCSCALE)."""
        return self.idc["IDCSCALE"]

    @property
    def sip_order(self) -> int:
        """A_ORDER and B_ORDER."""
        return max(int(name[2]) + int(name[4]) for name in self.sip)


@dataclass(frozen=True)
class DetectorGeometry:
    """The chips of a detector and the names of what their WCS is made from."""

    chips: tuple[ChipGeometry, ...]
    """Chips in the order of their extensions."""

    wcs_name: str
    """WCSNAME of the distortion solution."""

    names: Mapping[str, str]
    """Keywords that name the reference files: IDCTAB, NPOLFILE, D2IMFILE, and SIPNAME, DISTNAME endings."""

    vafactor: float
    """Velocity aberration that the linear terms include."""

    aperture_angle: float
    """PA_APER minus PA_V3, in degrees."""


@cache
def _data() -> tuple[Mapping[str, Any], Mapping[str, NDArray[np.float32]]]:
    folder = resources.files("multivisit.simulate") / "data"
    geometry = json.loads((folder / "geometry.json").read_text(encoding="utf-8"))
    with (folder / "lookup_tables.npz").open("rb") as stream, np.load(stream) as archive:
        tables = {name: archive[name] for name in archive.files}
    return geometry, tables


@cache
def detector_geometry(label: str) -> DetectorGeometry:
    """The geometry of a detector.

    Parameters
    ----------
    label : str
        ``acs_wfc``, ``acs_hrc``, ``acs_sbc``, ``wfc3_uvis`` or ``wfc3_ir``.
    """
    entry = _data()[0][label]
    return DetectorGeometry(
        chips=tuple(_chip(chip) for chip in entry["chips"]),
        wcs_name=entry["wcs_name"],
        names={key: entry[key.lower()] for key in ("IDCTAB", "NPOLFILE", "D2IMFILE", "SIPNAME", "DISTNAME")},
        vafactor=entry["vafactor"],
        aperture_angle=entry["aper_offset"],
    )


def _chip(entry: Mapping[str, Any]) -> ChipGeometry:
    values = _data()[1]
    tables = tuple(
        LookupTable(
            kind, item["axis"], item["name"], values[item["name"]], tuple(item["cdelt"]), item["error"]
        )
        for kind in ("CPDIS", "D2IM")
        for item in entry["tables"].get(kind, ())
    )
    return ChipGeometry(
        extver=entry["extver"],
        chip_id=entry["ccdchip"],
        shape=tuple(entry["shape"]),
        crpix=tuple(entry["crpix"]),
        crval=tuple(entry["crval"]),
        cd=np.array(entry["cd"], dtype=np.float64),
        sip=entry["sip"],
        idc=entry["idc"],
        tables=tables,
    )


def _axes(ra: float, dec: float, roll: float = 0.0) -> NDArray[np.float64]:
    """East, North (turned by `roll` from North to East) and the direction itself, as columns."""
    alpha, delta, angle = np.radians([ra, dec, roll])
    direction = np.array([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)])
    east = np.array([-np.sin(alpha), np.cos(alpha), 0.0])
    north = np.cross(direction, east)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.column_stack([cosine * east - sine * north, sine * east + cosine * north, direction])


def point_chip(chip: ChipGeometry, pointing: Pointing) -> tuple[tuple[float, float], NDArray[np.float64]]:
    """Carry a chip from the canonical pointing to another one.

    Returns
    -------
    crval : tuple of float
        Right ascension (0 to 360) and declination of the chip's reference pixel, degrees.
    cd : ndarray, shape (2, 2), float64
        Linear terms, degrees per pixel.
    """
    rotation = _axes(pointing.ra, pointing.dec, pointing.roll) @ _axes(0.0, 0.0).T
    carried = rotation @ _axes(*chip.crval)
    direction = carried[:, 2]
    ra = float(np.degrees(np.arctan2(direction[1], direction[0])) % 360.0)
    dec = float(np.degrees(np.arctan2(direction[2], np.hypot(direction[0], direction[1]))))
    turn = (_axes(ra, dec).T @ carried)[:2, :2]
    return (ra, dec), turn @ chip.cd


def offset_pointing(pointing: Pointing, east: float, north: float, turn: float = 0.0) -> Pointing:
    """Move a pointing on the sphere by a small offset.

    Parameters
    ----------
    pointing : Pointing
        Where to start.
    east, north : float
        Offset in the tangent plane at `pointing`, in arcsec.
    turn : float
        Added to the position angle of V3, in degrees (at the new place; the direction "North" is carried
        along the great circle).
    """
    axes = _axes(pointing.ra, pointing.dec)
    xi, eta = np.radians([east / 3600.0, north / 3600.0])
    direction = axes @ np.array([xi, eta, 1.0])
    ra = float(np.degrees(np.arctan2(direction[1], direction[0])) % 360.0)
    dec = float(np.degrees(np.arctan2(direction[2], np.hypot(direction[0], direction[1]))))
    # The V3 axis is carried along the great circle: the plane of the two directions keeps its angle to it.
    direction = direction / np.linalg.norm(direction)
    start = axes[:, 2]
    axis = np.cross(start, direction)
    sine = float(np.linalg.norm(axis))
    v3 = _axes(pointing.ra, pointing.dec, pointing.roll)[:, 1]
    if sine > 0.0:
        axis = axis / sine
        cosine = float(start @ direction)
        v3 = v3 * cosine + np.cross(axis, v3) * sine + axis * (axis @ v3) * (1.0 - cosine)
    local = _axes(ra, dec)
    roll = float(np.degrees(np.arctan2(v3 @ local[:, 0], v3 @ local[:, 1])))
    return Pointing(ra, dec, (roll + turn) % 360.0)


def wcs_cards(
    chip: ChipGeometry,
    pointing: Pointing,
    window: Window | None = None,
    first_versions: Mapping[str, int] | None = None,
) -> list[fits.Card]:
    """The WCS keywords of a chip's SCI header.

    Parameters
    ----------
    chip : ChipGeometry
        The chip.
    pointing : Pointing
        Where the aperture looks.
    window : Window, optional
        The part of the chip that is read; the whole chip by default. The reference pixel moves with it, which
        carries the SIP polynomial too.
    first_versions : mapping of str to int, optional
        EXTVER of the chip's first lookup table of each kind (``{"CPDIS": 3, "D2IM": 3}``); 1 by default.

    Returns
    -------
    list of astropy.io.fits.Card
        The keywords without those that name files.
    """
    from astropy.io import fits

    window = window or Window(0, 0, chip.shape)
    crval, cd = point_chip(chip, pointing)
    values: list[tuple[str, Any]] = [
        ("WCSAXES", 2),
        ("CRPIX1", chip.crpix[0] - window.x0),
        ("CRPIX2", chip.crpix[1] - window.y0),
        ("CUNIT1", "deg"),
        ("CUNIT2", "deg"),
        ("CTYPE1", "RA---TAN-SIP"),
        ("CTYPE2", "DEC--TAN-SIP"),
        ("CRVAL1", crval[0]),
        ("CRVAL2", crval[1]),
        ("CD1_1", cd[0, 0]),
        ("CD1_2", cd[0, 1]),
        ("CD2_1", cd[1, 0]),
        ("CD2_2", cd[1, 1]),
        ("RADESYS", "ICRS"),
        ("MJDREF", 0.0),
        ("ORIENTAT", float(np.degrees(np.arctan2(cd[0, 1], cd[1, 1])))),
        ("A_ORDER", chip.sip_order),
        ("B_ORDER", chip.sip_order),
        *chip.sip.items(),
    ]
    cards = [fits.Card(name, float(value) if isinstance(value, float) else value) for name, value in values]
    versions = dict(first_versions or {"CPDIS": 1, "D2IM": 1})
    for table in chip.tables:
        distortion, parameters, error = _CARD_NAMES[table.kind]
        version = versions[table.kind]
        versions[table.kind] += 1
        cards.append(fits.Card(f"{error}{table.axis}", table.error))
        cards.append(fits.Card(f"{distortion}{table.axis}", "LOOKUP"))
        cards.extend(
            fits.Card(f"{parameters}{table.axis}", text)
            for text in (f"EXTVER: {version}", "NAXES: 2", "AXIS.1: 1", "AXIS.2: 2")
        )
    return cards


def lookup_table_hdus(
    chips: Sequence[ChipGeometry], windows: Sequence[Window]
) -> tuple[list[fits.ImageHDU], list[dict[str, int]]]:
    """The lookup tables of a file's chips as FITS extensions.

    A table's knots are given in image pixels, so those of a subarray are shifted by its first column and row.

    Returns
    -------
    hdus : list of astropy.io.fits.ImageHDU
        WCSDVARR and D2IMARR extensions; empty if the detector has none.
    first_versions : list of dict
        For each chip, the EXTVER of its first table of each kind, as `wcs_cards` takes it.
    """
    from astropy.io import fits

    counts = {"CPDIS": 1, "D2IM": 1}
    hdus = []
    first_versions = []
    for chip, window in zip(chips, windows, strict=True):
        first_versions.append(dict(counts))
        for table in chip.tables:
            hdu = fits.ImageHDU(table.values, name=_EXTENSION_NAMES[table.kind], ver=counts[table.kind])
            counts[table.kind] += 1
            for axis, start in ((1, window.x0), (2, window.y0)):
                hdu.header[f"CRPIX{axis}"] = (0.0, "Coordinate system reference pixel")
                hdu.header[f"CRVAL{axis}"] = (float(-start), "Coordinate system value at reference pixel")
                hdu.header[f"CDELT{axis}"] = (table.cdelt[axis - 1], "Coordinate increment along axis")
            hdus.append(hdu)
    return hdus, first_versions


def chip_wcs(chip: ChipGeometry, pointing: Pointing, window: Window | None = None) -> WCS:
    """The full WCS of a chip (SIP, CPDIS and D2IM) as an `astropy.wcs.WCS`."""
    from astropy.io import fits
    from astropy.wcs import WCS

    window = window or Window(0, 0, chip.shape)
    hdus, first_versions = lookup_table_hdus([chip], [window])
    header = fits.Header(wcs_cards(chip, pointing, window, first_versions[0]))
    header["NAXIS"] = 2
    header["NAXIS1"], header["NAXIS2"] = window.shape[1], window.shape[0]
    return WCS(header, fits.HDUList([fits.PrimaryHDU(), *hdus]))
