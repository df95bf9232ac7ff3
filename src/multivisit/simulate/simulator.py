"""Simulate a field: its exposures as FITS files, and beside them the truth."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.errors import ParameterError, ProductError
from multivisit.simulate.detectors import Detector, detector_of
from multivisit.simulate.geometry import (
    Pointing,
    Window,
    chip_wcs,
    detector_geometry,
    lookup_table_hdus,
    offset_pointing,
)
from multivisit.simulate.headers import ExposureIdentity, chip_header, plain_header, primary_header
from multivisit.simulate.noise import CalibratedChip, detector_blemishes, expose
from multivisit.simulate.render import pixel_areas, render_scene
from multivisit.simulate.scene import make_scene, truth_table
from multivisit.simulate.specification import NoiseSpecification, read_specification, write_specification

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from astropy.io import fits
    from astropy.table import Table

    from multivisit.simulate.geometry import ChipGeometry, DetectorGeometry
    from multivisit.simulate.scene import Scene
    from multivisit.simulate.specification import ExposureSpecification, FieldSpecification, Visit

__all__ = ["PlannedExposure", "SimulatedField", "plan_exposures", "run_simulation", "simulate_field"]

_log = logging.getLogger(__name__)

_OVERHEAD = datetime.timedelta(seconds=150)
"""Time between two exposures of a visit."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class SimulatedField:
    """What a simulation wrote."""

    files: tuple[Path, ...]
    """The exposures, in the order they were taken in each visit."""

    truth_path: Path
    """The truth catalog: ``truth_catalog.ecsv``."""

    exposures_path: Path
    """The truth about each exposure: ``truth_exposures.ecsv``."""

    specification_path: Path
    """The specification, complete: ``simulation.json``."""


@dataclass(frozen=True)
class PlannedExposure:
    """One exposure that a specification asks for."""

    identity: ExposureIdentity
    """Its names, times and the pointing that its headers give."""

    detector: Detector
    """The detector."""

    truth: Pointing
    """Where the aperture really looks."""

    sky_level: float
    """Sky in electrons per second per nominal pixel."""

    windows: tuple[Window, ...]
    """The part of each chip that is read."""

    visit: Visit
    """The visit that it belongs to."""


def simulate_field(
    specification: FieldSpecification,
    folder: Path,
    *,
    cosmic_ray_truth: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> SimulatedField:
    """Make the exposures of a field and the truth about them.

    The same specification gives the same pixels, whatever else is simulated beside it.

    Parameters
    ----------
    specification : FieldSpecification
        What is to be made.
    folder : pathlib.Path
        Where the files go; it is made if it is not there. Files of the same names are replaced.
    cosmic_ray_truth : bool
        Also write, for each exposure, what cosmic rays left in its pixels: ``<rootname>_rays.fits``, with an
        extension RAYS for each SCI, in its units.
    progress : callable, optional
        Called with a file name, the number of exposures done, and their total.

    Returns
    -------
    SimulatedField
        The files written.

    Raises
    ------
    ProductError
        If a file cannot be written.
    ParameterError
        If the specification asks for something impossible.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProductError(f"{folder}: the folder cannot be made: {error.strerror}") from error
    scene = make_scene(specification)
    planned = plan_exposures(specification)
    rows = []
    for number, exposure in enumerate(planned):
        if progress is not None:
            progress(exposure.identity.filename, number, len(planned))
        rows.append(
            _write_exposure(specification, scene, exposure, folder, cosmic_ray_truth=cosmic_ray_truth)
        )
        _log.info("simulated %s", exposure.identity.filename)
    filters = {(item.detector.label, item.identity.filter_name): item.detector for item in planned}
    truth = truth_table(scene, [(detector, name) for (_, name), detector in filters.items()])
    truth.meta["field"] = specification.name
    truth_path = folder / "truth_catalog.ecsv"
    _write_table(truth, truth_path)
    exposures_path = folder / "truth_exposures.ecsv"
    _write_table(_exposure_table(rows), exposures_path)
    specification_path = folder / "simulation.json"
    write_specification(specification, specification_path)
    if progress is not None:
        progress("", len(planned), len(planned))
    files = tuple(folder / item.identity.filename for item in planned)
    return SimulatedField(files, truth_path, exposures_path, specification_path)


def run_simulation(
    field: str,
    output: Path,
    *,
    ra: float | None = None,
    dec: float | None = None,
    seed: int | None = None,
    noiseless: bool = False,
    cosmic_ray_truth: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> SimulatedField:
    """Simulate a ready-made field, or one that a JSON file specifies.

    Parameters
    ----------
    field : str
        Name of a ready-made field (`multivisit.simulate.standard_fields.STANDARD_FIELDS`) or the path of a
        JSON file.
    output : pathlib.Path
        Folder for the files.
    ra, dec : float, optional
        Another centre of the field, in degrees.
    seed : int, optional
        Another start of the random numbers.
    noiseless : bool
        Without any noise or blemish.
    cosmic_ray_truth : bool
        As for `simulate_field`.
    progress : callable, optional
        As for `simulate_field`.
    """
    from multivisit.simulate.standard_fields import STANDARD_FIELDS, standard_field

    if field in STANDARD_FIELDS:
        specification = standard_field(field)
    elif field.endswith(".json"):
        specification = read_specification(Path(field))
    else:
        known = ", ".join(STANDARD_FIELDS)
        raise ParameterError(f"unknown field {field!r}: expected one of {known}, or the path of a .json file")
    changes: dict[str, Any] = {
        name: value for name, value in (("ra", ra), ("dec", dec), ("seed", seed)) if value is not None
    }
    if noiseless:
        changes["noise"] = NoiseSpecification.none()
    return simulate_field(
        dataclasses.replace(specification, **changes),
        output,
        cosmic_ray_truth=cosmic_ray_truth,
        progress=progress,
    )


def plan_exposures(specification: FieldSpecification) -> tuple[PlannedExposure, ...]:
    """All the exposures that a field asks for, with their names, times and pointings."""
    return tuple(exposure for visit in specification.visits for exposure in _plan_visit(specification, visit))


def _plan_visit(specification: FieldSpecification, visit: Visit) -> Iterator[PlannedExposure]:
    centre = Pointing(specification.ra, specification.dec, visit.roll)
    start = visit.start()
    number = 0
    for item in visit.exposures:
        detector = detector_of(item.detector)
        windows = _windows(detector_geometry(detector.label), item)
        for dither, shift in enumerate(item.dithers):
            east, north = _from_v2_v3(shift, visit.roll)
            truth = offset_pointing(centre, visit.offset[0] + east, visit.offset[1] + north)
            number += 1
            if number >= len(_DIGITS) ** 2:
                raise ParameterError(
                    f"Visit({visit.visit_id}): found over {number - 1} exposures, expected fewer"
                )
            identity = _identity(specification, visit, item, detector, number, start, truth)
            yield PlannedExposure(
                identity,
                detector,
                truth,
                _sky_level(specification, item, detector, dither, identity),
                windows,
                visit,
            )
            start = start + datetime.timedelta(seconds=item.exposure_time) + _OVERHEAD


def _from_v2_v3(shift: tuple[float, float], roll: float) -> tuple[float, float]:
    """An offset along V2 and V3 as one to the East and North (V3 at position angle `roll`)."""
    angle = np.radians(roll)
    east = shift[0] * np.cos(angle) + shift[1] * np.sin(angle)
    north = -shift[0] * np.sin(angle) + shift[1] * np.cos(angle)
    return float(east), float(north)


def _sky_level(
    specification: FieldSpecification,
    item: ExposureSpecification,
    detector: Detector,
    dither: int,
    identity: ExposureIdentity,
) -> float:
    if item.sky_levels is not None:
        return item.sky_levels[dither]
    random = np.random.default_rng([specification.seed, 2, *identity.rootname.encode()])
    return float(detector.sky_rate * random.uniform(0.7, 1.4))


def _identity(
    specification: FieldSpecification,
    visit: Visit,
    item: ExposureSpecification,
    detector: Detector,
    number: int,
    start: datetime.datetime,
    truth: Pointing,
) -> ExposureIdentity:
    observation = _DIGITS[number // len(_DIGITS)] + _DIGITS[number % len(_DIGITS)]
    stem = f"{detector.root_letter}{visit.program_id}{visit.visit_id}{observation}".lower()
    file_type = item.file_type or detector.file_types[0]
    filename = f"{stem}q_{file_type}.fits"
    if specification.file_naming == "svm":
        parts = (visit.proposal_id, visit.visit_id.lower(), detector.label, item.filter_name, stem, file_type)
        filename = "hst_" + "_".join(str(part) for part in parts) + ".fits"
    return ExposureIdentity(
        filename=filename,
        rootname=f"{stem}q",
        proposal_id=visit.proposal_id,
        line_number=f"{visit.visit_id.upper()}.{number:03d}",
        filter_name=item.filter_name,
        start=start,
        exposure_time=item.exposure_time,
        target=(specification.ra, specification.dec),
        pointing=offset_pointing(truth, *visit.wcs_offset, visit.wcs_rotation),
        wcs_name=visit.wcs_name or detector_geometry(detector.label).wcs_name,
        is_subarray=item.subarray is not None,
    )


def _windows(geometry: DetectorGeometry, item: ExposureSpecification) -> tuple[Window, ...]:
    """The part of each chip that is read."""
    windows = []
    for chip in geometry.chips:
        ny, nx = item.subarray or chip.shape
        if not (0 < ny <= chip.shape[0] and 0 < nx <= chip.shape[1]):
            raise ParameterError(
                f"ExposureSpecification({item.detector}).subarray: found {item.subarray!r}, expected at most "
                f"{chip.shape}"
            )
        x0 = (chip.shape[1] - nx) // 2
        y0 = (chip.shape[0] - ny) // 2
        if len(geometry.chips) == 2:
            # The first extension is the lower chip: its uppermost rows lie at the gap.
            y0 = chip.shape[0] - ny if chip.extver == 1 else 0
        windows.append(Window(x0, y0, (ny, nx)))
    return tuple(windows)


def _write_exposure(
    specification: FieldSpecification,
    scene: Scene,
    exposure: PlannedExposure,
    folder: Path,
    *,
    cosmic_ray_truth: bool,
) -> dict[str, Any]:
    """Write one exposure; return its row of the truth about exposures."""
    from astropy.io import fits

    from multivisit.atomic import atomic_path

    identity, detector = exposure.identity, exposure.detector
    geometry = detector_geometry(detector.label)
    table_hdus, first_versions = lookup_table_hdus(geometry.chips, exposure.windows)
    extensions: list[fits.ImageHDU] = []
    rays: list[fits.ImageHDU] = []
    row = _truth_row(exposure)
    for chip, window, versions in zip(geometry.chips, exposure.windows, first_versions, strict=True):
        pixels = _simulate_chip(specification, scene, exposure, chip, window)
        row["n_cosmic_rays"] += pixels.n_cosmic_rays
        row["n_unflagged_pixels"] += pixels.n_unflagged_pixels
        header = chip_header(identity, detector, geometry, chip, window, versions)
        _set_statistics(header, pixels)
        extensions.extend(_chip_hdus(header, exposure, chip, window, pixels))
        rays.append(fits.ImageHDU(pixels.cosmic_rays, name="RAYS", ver=chip.extver))
    extensions.extend(table_hdus)
    primary = fits.PrimaryHDU(header=primary_header(identity, detector, geometry, len(extensions)))
    with atomic_path(folder / identity.filename) as temporary:
        fits.HDUList([primary, *extensions]).writeto(temporary, overwrite=True)
    if cosmic_ray_truth:
        with atomic_path(folder / f"{identity.rootname}_rays.fits") as temporary:
            fits.HDUList([fits.PrimaryHDU(), *rays]).writeto(temporary, overwrite=True)
    return row


def _simulate_chip(
    specification: FieldSpecification,
    scene: Scene,
    exposure: PlannedExposure,
    chip: ChipGeometry,
    window: Window,
) -> CalibratedChip:
    detector, identity = exposure.detector, exposure.identity
    light = render_scene(
        scene,
        scene.fluxes(detector, identity.filter_name),
        chip_wcs(chip, exposure.truth, window),
        window.shape,
        detector.core_sigma(identity.filter_name),
        specification.wing_fraction,
        specification.wing_width,
    )
    return expose(
        light,
        pixel_areas(detector.label, chip.extver, window),
        exposure.sky_level,
        identity.exposure_time,
        detector,
        detector_blemishes(detector, chip.extver, chip.shape, window, specification.seed),
        specification.noise,
        np.random.default_rng([specification.seed, 3, zlib.crc32(identity.rootname.encode()), chip.extver]),
    )


def _chip_hdus(
    header: fits.Header, exposure: PlannedExposure, chip: ChipGeometry, window: Window, pixels: CalibratedChip
) -> list[fits.ImageHDU]:
    """SCI, ERR and DQ of a chip, and SAMP and TIME of WFC3/IR."""
    from astropy.io import fits

    plain = plain_header(exposure.identity, exposure.detector, chip, window)
    arrays: list[tuple[str, Any, str]] = [
        ("ERR", pixels.error, exposure.detector.units),
        ("DQ", pixels.quality, "UNITLESS"),
    ]
    if exposure.detector.detector == "ir":
        time = np.full(window.shape, exposure.identity.exposure_time, dtype=np.float32)
        arrays.append(("SAMP", np.full(window.shape, header["SAMPNUM"], dtype=np.int16), "SAMPLES"))
        arrays.append(("TIME", time, "SECONDS"))
    hdus = [fits.ImageHDU(pixels.science, header=header, name="SCI", ver=chip.extver)]
    for name, values, units in arrays:
        hdu = fits.ImageHDU(values, header=plain.copy(), name=name, ver=chip.extver)
        hdu.header["BUNIT"] = units
        hdus.append(hdu)
    return hdus


def _set_statistics(header: fits.Header, pixels: CalibratedChip) -> None:
    good = pixels.science[pixels.quality == 0]
    header["NGOODPIX"] = (int(good.size), "number of good pixels")
    for name, value in (("GOODMIN", good.min), ("GOODMAX", good.max), ("GOODMEAN", good.mean)):
        header[name] = float(value()) if good.size else 0.0


def _truth_row(exposure: PlannedExposure) -> dict[str, Any]:
    identity, visit = exposure.identity, exposure.visit
    return {
        "filename": identity.filename,
        "rootname": identity.rootname,
        "visit": visit.visit_id,
        "instrument": exposure.detector.instrument,
        "detector": exposure.detector.detector,
        "filter": identity.filter_name,
        "exposure_time": identity.exposure_time,
        "date": identity.start.isoformat(),
        "start_mjd": identity.start_mjd,
        "ra": exposure.truth.ra,
        "dec": exposure.truth.dec,
        "roll": exposure.truth.roll,
        "header_ra": identity.pointing.ra,
        "header_dec": identity.pointing.dec,
        "header_roll": identity.pointing.roll,
        "wcs_offset_east": visit.wcs_offset[0],
        "wcs_offset_north": visit.wcs_offset[1],
        "wcs_rotation": visit.wcs_rotation,
        "sky_level": exposure.sky_level,
        "core_sigma": exposure.detector.core_sigma(identity.filter_name),
        "n_cosmic_rays": 0,
        "n_unflagged_pixels": 0,
    }


def _exposure_table(rows: list[dict[str, Any]]) -> Table:
    from astropy import units
    from astropy.table import Table

    table = Table(rows)
    degrees = ("ra", "dec", "roll", "header_ra", "header_dec", "header_roll", "wcs_rotation")
    for names, unit in (
        (degrees, units.deg),
        (("wcs_offset_east", "wcs_offset_north", "core_sigma"), units.arcsec),
        (("exposure_time",), units.s),
        (("sky_level",), units.electron / units.s),
    ):
        for name in names:
            table[name].unit = unit
    return table


def _write_table(table: Table, path: Path) -> None:
    from multivisit.atomic import atomic_path

    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
