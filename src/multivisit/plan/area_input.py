"""Areas of custom mosaics as people write them: positions, sizes, region files, headers."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from multivisit.errors import MissingFileError, NotOfferedError, ParameterError, SkyCellError
from multivisit.sky.grid import OutputGrid
from multivisit.sky.plane import TangentPlane

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from astropy.io import fits
    from astropy.wcs import WCS

    from multivisit.sky.footprint import Outline

__all__ = ["grid_of_header", "outlines_of_regions", "parse_position", "parse_size"]

log = logging.getLogger(__name__)

_UNITS: Final = {"arcsec": 1.0, "arcmin": 60.0, "deg": 3600.0, "pix": None, "pixel": None, "pixels": None}
_LENGTH = r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)"
_SIZE = re.compile(rf"\s*{_LENGTH}\s*(?:[x,]\s*{_LENGTH}\s*)?", re.ASCII)
_EXTENSION = re.compile(r"(.+)\[([^\[\]]+)\]")
_FITS_BLOCK = 2880
_GZIP = b"\x1f\x8b"
_CIRCLE_POINTS = 360
# The grid that is made of a header and the header itself must put the corners in the same places: pixels.
_LARGEST_DIFFERENCE = 1e-5


def parse_position(ra: str, dec: str) -> tuple[float, float]:
    """Read a position on the sky.

    Parameters
    ----------
    ra, dec : str
        Degrees as plain numbers, or sexagesimal: ``12:34:56.7`` and ``12h34m56.7s`` are hours in right
        ascension, ``-12:34:56`` and ``-12d34m56s`` degrees in declination.

    Returns
    -------
    ra, dec : float
        In degrees, right ascension from 0 to 360.

    Raises
    ------
    ParameterError
        It is no position.
    """
    east, north = _degrees(ra, "right ascension", "hourangle"), _degrees(dec, "declination", "deg")
    if not (-360.0 <= east <= 360.0):
        raise ParameterError(f"right ascension {ra}: found {east:g} degrees, expected 0 to 360")
    if not (-90.0 <= north <= 90.0):
        raise ParameterError(f"declination {dec}: found {north:g} degrees, expected -90 to 90")
    return east % 360.0, north


def _degrees(text: str, what: str, sexagesimal_unit: str) -> float:
    from astropy.coordinates import Angle

    try:
        value = float(text)
    except ValueError:
        try:
            has_unit = any(letter.isalpha() for letter in text)
            value = float((Angle(text) if has_unit else Angle(text, unit=sexagesimal_unit)).deg)
        except Exception as error:
            raise ParameterError(
                f"{what} {text!r}: expected degrees (180.25) or sexagesimal "
                f"({'12:01:00.5' if 'h' in sexagesimal_unit else '-26:14:24'})"
            ) from error
    if not math.isfinite(value):
        raise ParameterError(f"{what} {text!r}: expected a finite number of degrees")
    return value


def parse_size(text: str) -> tuple[tuple[float, float], bool]:
    """Read the size of a mosaic.

    Parameters
    ----------
    text : str
        A length, or width and height with ``x`` or ``,`` between them, with a unit: ``90arcsec``,
        ``2x1.5arcmin``, ``0.1deg``, ``3000x2000pix``.

    Returns
    -------
    size : tuple of float
        Width and height, in arcsec or pixels.
    in_pixels : bool
        Whether they are in pixels.

    Raises
    ------
    ParameterError
        It is no size.
    """
    expected = "expected a length with a unit: 90arcsec, 2x1.5arcmin, 0.1deg or 3000x2000pix"
    match = _SIZE.fullmatch(text.lower())
    if match is None:
        raise ParameterError(f"size {text!r}: {expected}")
    width, unit, height, last_unit = match.groups()
    if height is None:
        height, last_unit = width, unit
    unit = unit or last_unit
    if unit not in _UNITS or last_unit not in _UNITS:
        raise ParameterError(f"size {text!r}: {expected}")
    factors = _UNITS[unit], _UNITS[last_unit]
    if (factors[0] is None) != (factors[1] is None):
        raise ParameterError(f"size {text!r}: one length is in pixels and one is not; {expected}")
    size = float(width) * (factors[0] or 1.0), float(height) * (factors[1] or 1.0)
    in_pixels = factors[0] is None
    if min(size) <= 0 or (in_pixels and not all(length.is_integer() for length in size)):
        raise ParameterError(f"size {text!r}: expected {'whole pixels' if in_pixels else 'lengths'} above 0")
    return size, in_pixels


def outlines_of_regions(path: str | os.PathLike[str]) -> tuple[Outline, ...]:
    """Read the outlines of the shapes in a DS9 region file.

    Circles, ellipses, boxes and polygons in sky coordinates count. Shapes that DS9 excludes (with a minus
    before them) do not, and points, lines and texts are left aside.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    tuple of (ra, dec)
        An outline for each shape, degrees (ICRS).

    Raises
    ------
    MissingFileError
        There is no such file.
    NotOfferedError
        The package ``regions``, which reads such files, is not installed.
    ParameterError
        The file cannot be read, has pixel coordinates, or no shape with an area.
    """
    path = Path(path)
    if not path.is_file():
        found = "is a folder, expected a DS9 region file" if path.is_dir() else "there is no such region file"
        raise MissingFileError(f"{path}: {found}")
    try:
        from regions import PixelRegion, Regions
    except ImportError:
        raise NotOfferedError(
            "region files are read by the package 'regions', which is not installed: "
            "pip install 'multivisit[regions]', or give the area by its centre and size"
        ) from None
    try:
        shapes = Regions.read(path, format="ds9")
    except UnicodeDecodeError as error:
        raise ParameterError(
            f"{path}: found bytes that are no text, expected a DS9 region file such as DS9 saves"
        ) from error
    except Exception as error:
        raise ParameterError(
            f"{path}: cannot be read as a DS9 region file ({error}). Expected lines such as "
            f'icrs; circle(180.25, 26.22, 20"); load the file into DS9 and save it anew'
        ) from error
    outlines: list[Outline] = []
    others: list[str] = []
    for number, shape in enumerate(shapes, 1):
        if isinstance(shape, PixelRegion):
            raise ParameterError(
                f"{path}: shape {number} is in pixels of an image; save the regions in sky coordinates (icrs)"
            )
        if shape.meta.get("include", True) in (False, "-", 0):
            continue
        outline = _outline_of_shape(shape)
        if outline is None:
            others.append(type(shape).__name__.removesuffix("SkyRegion").lower())
        else:
            outlines.append(outline)
    if not outlines:
        found = f"only {', '.join(sorted(set(others)))}" if others else "nothing"
        raise ParameterError(f"{path}: found {found}, expected a circle, ellipse, box or polygon")
    if others:
        log.warning("%s: left aside: %s", path, ", ".join(sorted(set(others))))
    return tuple(outlines)


def _outline_of_shape(shape: Any) -> Outline | None:
    """Give the outline of a sky region of the package `regions`; None for what has no simple area."""
    kind = type(shape).__name__.removesuffix("SkyRegion")
    if kind not in ("Circle", "Ellipse", "Rectangle", "Polygon"):
        return None
    centre = shape.vertices[0].icrs if kind == "Polygon" else shape.center.icrs
    # A plane at the shape itself, in pixels of an arcsec: lengths and angles are true there.
    plane = OutputGrid("", 1.0, (float(centre.ra.deg), float(centre.dec.deg)), (1.0, 1.0), (1, 1))
    pixel = shape.to_pixel(plane.wcs)
    if kind == "Polygon":
        points = np.column_stack([pixel.vertices.x, pixel.vertices.y])
        return plane.plane().sky(points)
    if kind == "Rectangle":
        unit = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    else:
        turn = np.linspace(0.0, 2.0 * np.pi, _CIRCLE_POINTS, endpoint=False)
        unit = 0.5 * np.column_stack([np.cos(turn), np.sin(turn)])
    diameter = 2.0 * pixel.radius if kind == "Circle" else 0.0
    size = (diameter, diameter) if kind == "Circle" else (pixel.width, pixel.height)
    angle = 0.0 if kind == "Circle" else float(pixel.angle.to_value("rad"))
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (unit * size) @ turned.T + (pixel.center.x, pixel.center.y)
    return plane.plane().sky(points)


def grid_of_header(source: str | os.PathLike[str]) -> OutputGrid:
    """Read the pixel grid of an image: its size, scale, rotation and place on the sky.

    Parameters
    ----------
    source : path
        A FITS file, with or without an extension in brackets (``image.fits[SCI,1]``, ``image.fits[2]``);
        without one, the first image with a WCS is taken. Or a text file with a header card on each line.

    Returns
    -------
    OutputGrid
        The grid, exactly.

    Raises
    ------
    MissingFileError
        There is no such file.
    ParameterError
        It cannot be read, has no image size or celestial WCS, or one that is not a plain gnomonic (TAN)
        projection in equatorial coordinates.
    """
    text = str(source)
    match = None if Path(text).is_file() else _EXTENSION.fullmatch(text)
    path, extension = (Path(match[1]), match[2]) if match else (Path(text), None)
    if not path.is_file():
        found = (
            "is a folder, expected a file with a WCS" if path.is_dir() else "there is no such file with a WCS"
        )
        raise MissingFileError(f"{path}: {found}")
    problems = []
    for name, header in _headers(path, extension):
        if not (header.get("NAXIS1") and header.get("NAXIS2") and "CTYPE1" in header):
            problems.append(f"{name}: no NAXIS1, NAXIS2 and CTYPE1")
            continue
        return _grid(name, header)
    raise ParameterError(
        f"{path}: found no header with an image's size and WCS ({'; '.join(problems) or 'nothing in it'}); "
        "expected NAXIS1, NAXIS2 and a TAN WCS"
    )


def _headers(path: Path, extension: str | None) -> Iterator[tuple[str, fits.Header]]:
    """Go through the headers of a FITS file or the one of a text file."""
    from astropy.io import fits

    try:
        with path.open("rb") as stream:
            start = stream.read(_FITS_BLOCK)
    except OSError as error:
        raise ParameterError(
            f"{path}: cannot be read: {error.strerror}; expected a file with a WCS. Check its permissions"
        ) from error
    # A FITS header has no line breaks; a compressed file may have any bytes.
    is_fits = start.startswith(b"SIMPLE  =") and b"\n" not in start
    if not is_fits and not start.startswith(_GZIP):
        yield str(path), _text_header(path)
        return
    try:
        with fits.open(path) as hdus:
            if extension is None:
                found = list(range(len(hdus)))
            else:
                name, _, version = extension.partition(",")
                key = int(name) if name.strip().isdigit() else (name.strip(), int(version or 1))
                found = [hdus.index_of(key)]
            headers = [(f"{path}[{number}]", hdus[number].header.copy()) for number in found]
    except (OSError, KeyError, IndexError, ValueError) as error:
        raise ParameterError(
            f"{path}{f'[{extension}]' if extension else ''}: cannot be read: {error}"
        ) from error
    yield from headers


def _text_header(path: Path) -> fits.Header:
    """Read a header from text: one card a line."""
    from astropy.io import fits

    try:
        lines = path.read_text(encoding="ascii").splitlines()
        header = fits.Header()
        for line in lines:
            if "=" in line[:10] and not line.startswith("#"):
                keyword, _, rest = line.partition("=")
                header.append(fits.Card.fromstring(f"{keyword.strip():<8}= {rest.strip()}"))
        # Cards are parsed when they are used; unusable ones must be found out here.
        list(header.values())
    except (ValueError, OSError, fits.VerifyError) as error:
        raise ParameterError(f"{path}: neither a FITS file nor the text of a header: {error}") from error
    return header


def _grid(name: str, header: fits.Header) -> OutputGrid:
    import warnings

    from astropy.wcs import WCS

    try:
        with warnings.catch_warnings():
            # Old headers have units and dates that astropy mends with a warning.
            warnings.simplefilter("ignore")
            wcs = WCS(header).celestial
            plane = TangentPlane.from_wcs(wcs)
    except SkyCellError as error:
        raise ParameterError(f"{name}: a mosaic cannot have this grid: {error}") from error
    except Exception as error:
        words = " ".join(str(error).split())
        raise ParameterError(
            f"{name}: its WCS cannot be used: {words}; expected that of an image on a plane (TAN) without "
            "distortion, such as a mosaic's"
        ) from error
    _check_frame(name, wcs)
    (a, b), (c, d) = plane.cd
    area = abs(a * d - b * c)
    if not (area > 0 and math.isfinite(area) and abs(plane.crval[1]) <= 90.0):
        raise ParameterError(f"{name}: found the CD matrix {plane.cd}, expected one of non-zero area")
    grid = OutputGrid(
        sky_cell_id="custom",
        # Rounded, so that 0.03 arcsec is not 0.0299999999999998.
        scale=round(math.sqrt(area) * 3600.0, 12),
        crval=(plane.crval[0] % 360.0, plane.crval[1]),
        crpix=plane.crpix,
        shape=(int(header["NAXIS2"]), int(header["NAXIS1"])),
        cd_matrix=plane.cd,
    )
    _check_same(name, grid, wcs)
    return grid


def _check_frame(name: str, wcs: WCS) -> None:
    """Refuse coordinates of another equinox; FK5 and ICRS differ by up to 0.02 arcsec."""
    frame = wcs.wcs.radesys.strip().upper() or "ICRS"
    equinox = wcs.wcs.equinox
    if frame not in ("ICRS", "FK5") or (math.isfinite(equinox) and equinox != 2000.0):
        raise ParameterError(
            f"{name}: found RADESYS {frame}, EQUINOX {equinox:g}, expected ICRS, or FK5 of equinox 2000"
        )
    if frame == "FK5":
        log.warning(
            "%s: RADESYS is FK5; its positions are taken as ICRS (they differ by up to 0.02 arcsec)", name
        )


def _check_same(name: str, grid: OutputGrid, wcs: WCS) -> None:
    """Make sure that nothing of the header's WCS is lost: projection parameters, distortions."""
    rows, columns = grid.shape
    x, y = np.array([(-0.5, -0.5), (columns - 0.5, -0.5), (columns - 0.5, rows - 0.5), (-0.5, rows - 0.5)]).T
    difference = np.abs(grid.plane().pixels(*wcs.all_pix2world(x, y, 0)) - np.column_stack([x, y])).max()
    if not difference <= _LARGEST_DIFFERENCE:
        raise ParameterError(
            f"{name}: its WCS has more than a plain TAN projection (distortions or projection parameters); "
            "give an image without them"
        )
