"""Fields of many exposures, written as fast as the disk takes them: exact headers, noise for pixels.

`multivisit.simulate` renders every star, which takes longer than anything that is measured here. These
exposures have its headers (WCS with all tables, times, names) and pixels of sky and noise: the work of a run
does not depend on what the pixels show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.simulate.detectors import detector_of
from multivisit.simulate.geometry import detector_geometry, lookup_table_hdus
from multivisit.simulate.headers import chip_header, plain_header, primary_header
from multivisit.simulate.simulator import PlannedExposure, plan_exposures
from multivisit.simulate.specification import ExposureSpecification, FieldSpecification, Visit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

FIELD_CENTRE = (180.26, 26.24)
"""The middle of sky cell p1889x10y12, in degrees."""

SKY_CELL = "skycell-p1889x10y12"
CELL_HALF_WIDTH = 0.5 * 21954 * 0.04
"""In arcsec."""

EXPOSURE_SECONDS = 500.0
ROLLS = (12.0, 57.0, 103.0, 148.0)
ROUND_EXPOSURES = 16
"""Exposures that cover the cell once; every further round has another roll and dither."""

_SKY_RATE = 0.05
_COSMIC_RAY_FRACTION = 0.01
_COSMIC_RAY_FLAG = 4096
_BASE_PLANES = 2


@dataclass(frozen=True)
class FastField:
    """A field that has been written."""

    exposures: tuple[Path, ...]
    """The exposures, in an order in which the first of them already span the field."""

    anchors: tuple[Path, ...]
    """Two small exposures in another filter, in opposite corners."""


def cell_offsets(reach: float) -> tuple[tuple[float, float], ...]:
    """Give 16 pointings in a square of four by four, the corners first, in arcsec from its centre.

    Parameters
    ----------
    reach : float
        Distance of the outermost pointings from the centre along each axis, in arcsec.
    """
    steps = np.linspace(-reach, reach, 4)
    grid = [(float(east), float(north)) for north in steps for east in steps]
    corners = [(-reach, -reach), (reach, reach), (-reach, reach), (reach, -reach)]
    return (*corners, *(place for place in grid if place not in corners))


def growth_specification(
    n_exposures: int, reach: float, *, subarray: tuple[int, int] | None = None
) -> FieldSpecification:
    """Specify ACS/WFC exposures over a square of sky, and two anchors that fix the mosaic's size.

    Parameters
    ----------
    n_exposures : int
        Exposures in F606W; every 16 cover the square once, at one roll.
    reach : float
        See `cell_offsets`.
    subarray : tuple of int, optional
        Rows and columns that are read of each chip.
    """
    places = cell_offsets(reach)
    visits = []
    for number in range(n_exposures):
        rounds, place = divmod(number, ROUND_EXPOSURES)
        east, north = places[place]
        visits.append(
            _visit(number, "f606w", ROLLS[rounds % 4], (east + 7.3 * rounds, north - 5.1 * rounds), subarray)
        )
    for number, place in enumerate(places[:2]):
        visits.append(_visit(n_exposures + number, "f814w", ROLLS[0], place, subarray))
    return FieldSpecification("growth", *FIELD_CENTRE, visits=tuple(visits))


def write_fast_field(
    specification: FieldSpecification, folder: Path, progress: Callable[[str], None] | None = None
) -> FastField:
    """Write the exposures of a specification that `growth_specification` made.

    The ERR planes are holes in the files, which take no space on the disk: nothing reads them here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    planned = plan_exposures(specification)
    random = np.random.default_rng(specification.seed)
    planes = [_noise(planned[0].windows[0].shape, random) for _ in range(_BASE_PLANES)]
    written = []
    for number, exposure in enumerate(planned):
        path = folder / exposure.identity.filename
        _write_exposure(path, exposure, planes, number)
        written.append(path)
        if progress is not None and number % 16 == 15:
            progress(f"{number + 1} of {len(planned)} exposures written")
    filters = [exposure.identity.filter_name for exposure in planned]
    pairs = list(zip(written, filters, strict=True))
    return FastField(
        tuple(path for path, name in pairs if name == "f606w"),
        tuple(path for path, name in pairs if name == "f814w"),
    )


def write_growth_poller(exposures: Sequence[Path], anchors: Sequence[Path], path: Path) -> None:
    """Write a poller file for some exposures of a field whose mosaic has the size of the whole field.

    A run's mosaics are as large as all its exposures need together. The anchors count for that, but as
    they are OLD, no layer is made of them.
    """
    from multivisit.haputils.make_poller_files import generate_poller_file

    generate_poller_file(
        [str(file) for file in (*exposures, *anchors)],
        poller_file_type="mvm",
        output_poller_filename=str(path),
        skycell_name=SKY_CELL,
    )
    old = {anchor.name for anchor in anchors}
    lines = [
        line.replace(",NEW,", ",OLD,") if line.split(",")[0] in old else line
        for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines) + "\n")


def _visit(
    number: int,
    filter_name: str,
    roll: float,
    offset: tuple[float, float],
    subarray: tuple[int, int] | None,
) -> Visit:
    exposure = ExposureSpecification("acs_wfc", filter_name, EXPOSURE_SECONDS, subarray=subarray)
    day = 1 + number % 28
    month = 1 + number // 28 % 12
    name = f"{number // 36:x}{'0123456789abcdefghijklmnopqrstuvwxyz'[number % 36]}"
    return Visit(name, f"2012-{month:02d}-{day:02d}T06:00:00", roll, (exposure,), offset=offset)


def _noise(shape: tuple[int, int], random: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give pixels in electrons and their data quality: sky, noise, and flagged cosmic rays."""
    level = _SKY_RATE * EXPOSURE_SECONDS
    science = random.normal(level, np.sqrt(level + 25.0), shape).astype(">f4")
    hit = random.random(shape, dtype=np.float32) < _COSMIC_RAY_FRACTION
    science[hit] += 2000.0
    return science, np.where(hit, _COSMIC_RAY_FLAG, 0).astype(">i2")


def _write_exposure(
    path: Path, exposure: PlannedExposure, planes: list[tuple[NDArray[Any], NDArray[Any]]], number: int
) -> None:
    from astropy.io import fits

    identity, detector = exposure.identity, detector_of(exposure.detector.label)
    geometry = detector_geometry(detector.label)
    tables, first_versions = lookup_table_hdus(geometry.chips, exposure.windows)
    n_extensions = 3 * len(geometry.chips) + len(tables)
    primary = fits.PrimaryHDU(header=primary_header(identity, detector, geometry, n_extensions))
    with path.open("wb") as file:
        file.write(primary.header.tostring().encode("ascii"))
        for index, chip in enumerate(geometry.chips):
            window, versions = exposure.windows[index], first_versions[index]
            science, quality = planes[index % len(planes)]
            # Another start for each exposure, so that no two have the same noise on the same sky.
            shift = 37 * number
            header = chip_header(identity, detector, geometry, chip, window, versions)
            plain = plain_header(identity, detector, chip, window)
            _write_image(file, header, "SCI", chip.extver, np.roll(science, shift, axis=0))
            _write_image(file, plain, "ERR", chip.extver, science, hole=True)
            _write_image(file, plain, "DQ", chip.extver, np.roll(quality, shift, axis=0))
        for table in tables:
            file.write(table.header.tostring().encode("ascii"))
            data = table.data.astype(">f4").tobytes()
            file.write(data + bytes(-len(data) % 2880))
        file.truncate()


def _write_image(
    file: Any, header: Any, name: str, version: int, values: NDArray[Any], *, hole: bool = False
) -> None:
    from astropy.io import fits

    header = fits.ImageHDU(values[:1, :1], header=header.copy(), name=name, ver=version).header
    header["NAXIS1"], header["NAXIS2"] = values.shape[1], values.shape[0]
    file.write(header.tostring().encode("ascii"))
    padding = -values.nbytes % 2880
    if hole:
        file.seek(values.nbytes + padding, 1)
    else:
        file.write(values.data)
        file.write(bytes(padding))
