"""Find the sky cells that exposures cover."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.atomic import atomic_path
from multivisit.errors import (
    ExposureError,
    MissingFileError,
    MultivisitError,
    ParameterError,
    ProductError,
    SkyCellError,
)
from multivisit.exposures.model import read_exposure
from multivisit.exposures.quality import quality_file_problem
from multivisit.plan.associations import expand_associations
from multivisit.plan.exposure_files import absolute_path, find_exposure_file, what_is_there
from multivisit.plan.poller import read_poller
from multivisit.plan.vetting_rules import wcs_problem
from multivisit.sky.footprint import POINTS_PER_EDGE, cells_of_outlines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from multivisit.exposures.model import Exposure
    from multivisit.sky.cells import SkyCell

    VisitInput: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

__all__ = ["cells_of_exposure", "find_sky_cells"]

log = logging.getLogger(__name__)


def find_sky_cells(
    visit_input: VisitInput,
    input_path: str | os.PathLike[str] | None = None,
    scale: str | float | None = None,
    cell_size: float | None = None,
    *,
    diagnostic: bool = False,
    diagnostic_folder: str | os.PathLike[str] | None = None,
) -> dict[str, SkyCell]:
    """Find all sky cells that exposures cover. Only headers are read; by default nothing is written.

    Parameters
    ----------
    visit_input : str, path or sequence of them
        A poller file, one exposure (a name that ends in ``.fits`` or ``.fits.gz``), or a sequence of
        exposures. Associations (``_asn.fits``) stand for their exposures beside them. Data quality files of
        WFPC2 among them are left out, with a message in the log.
    input_path : str or path, optional
        Folder in which exposures are looked for that are not in the working folder.
    scale : str or float, optional
        Pixel scale of the cells: 'fine' (default), 'coarse' or arcsec per pixel.
    cell_size : float, optional
        Width of the projection cells in degrees; by default the published 450287 pixels of 0.04 arcsec.
    diagnostic : bool, optional
        Log the cells of every exposure at level INFO instead of DEBUG.
    diagnostic_folder : str or path, optional
        Write the footprints of exposures and sky cells into this folder, which is made if it is missing:
        ``sky_cells.reg`` for DS9 (cells blue, chips green) and ``sky_cells.json``.

    Returns
    -------
    dict of str to SkyCell
        By name, in the order in which the exposures first touch them. The `members` of a cell are the names
        of its exposures as they were given, each once.

    Raises
    ------
    MissingFileError, PollerError
        If the poller file or an exposure is missing or unreadable.
    ExposureError
        If an exposure has no usable WCS or cannot be read. One error names all the bad exposures.
    SkyCellError
        If `scale` or `cell_size` is impossible.
    ParameterError
        If an argument is of a type that makes no sense.
    """
    _check_arguments(scale, cell_size)
    cells_of_outlines([], scale, cell_size)  # an impossible size is an error before any file is read
    level = logging.INFO if diagnostic else logging.DEBUG
    found: dict[str, SkyCell] = {}
    exposures: list[Exposure] = []
    problems: list[MultivisitError] = []
    seen: set[Path] = set()
    folders = [Path()] if input_path is None else [Path(), Path(input_path)]
    if not folders[-1].is_dir():
        raise MissingFileError(f"input_path: {input_path}: there is no such folder")
    for name, pathname in _names(visit_input, folders):
        try:
            path = _locate(name, pathname, input_path)
            if problem := quality_file_problem(path.name):
                log.warning("%s is left out: %s", name, problem)
                continue
            if (resolved := _resolved(path)) in seen:
                continue
            seen.add(resolved)
            exposure = read_exposure(path)
            if finding := wcs_problem(exposure):
                raise ExposureError(f"{path}: {finding.reason} ({finding.keyword} = {finding.value})")
            cells = cells_of_exposure(exposure, scale, cell_size)
        except (MissingFileError, ExposureError) as error:
            problems.append(error)
            continue
        log.log(level, "%s covers %s", name, ", ".join(cell.sky_cell_id for cell in cells))
        exposures.append(exposure)
        for cell in cells:
            found.setdefault(cell.sky_cell_id, cell).members.append(name)
    _raise(problems)
    if diagnostic_folder is not None:
        _write_footprints(Path(diagnostic_folder), found, exposures)
    return found


def cells_of_exposure(
    exposure: Exposure, scale: str | float | None = None, cell_size: float | None = None
) -> list[SkyCell]:
    """Find the sky cells that one exposure covers.

    Parameters
    ----------
    exposure : Exposure
        The exposure.
    scale, cell_size
        As in `find_sky_cells`.

    Returns
    -------
    list of SkyCell
        By projection cell, x and y; their `members` are empty.

    Raises
    ------
    ExposureError
        If the WCS of a chip gives positions that are not on the sky.
    """
    outlines = [chip.outline(POINTS_PER_EDGE) for chip in exposure.chips]
    try:
        return cells_of_outlines(outlines, scale, cell_size)
    except SkyCellError as error:
        raise ExposureError(f"{exposure.path}: the WCS is not usable: {error}") from error


def _write_footprints(folder: Path, cells: dict[str, SkyCell], exposures: Sequence[Exposure]) -> None:
    """Write the outlines of sky cells and exposures."""
    from multivisit.plan.footprint_files import (
        NamedOutline,
        exposure_outlines,
        footprints_json,
        regions_text,
    )

    outlines = [
        NamedOutline.of(name, (cell.footprint[:, 0], cell.footprint[:, 1]), "blue")
        for name, cell in cells.items()
    ]
    outlines += exposure_outlines(exposures)
    members = {name: list(cell.members) for name, cell in cells.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProductError(f"{folder}: the folder cannot be made: {error.strerror or error}") from error
    for ending, text in (
        ("reg", regions_text(outlines)),
        ("json", footprints_json(outlines, sky_cells=members)),
    ):
        with atomic_path(folder / f"sky_cells.{ending}") as temporary:
            temporary.write_text(text, encoding="utf-8")


def _check_arguments(scale: object, cell_size: object) -> None:
    """Refuse what is neither a name nor a number."""
    if scale is not None and not isinstance(scale, str | int | float):
        raise ParameterError(f"scale: found {scale!r}, expected 'fine', 'coarse' or arcsec per pixel")
    if cell_size is not None and not isinstance(cell_size, int | float):
        raise ParameterError(f"cell_size: found {cell_size!r}, expected degrees")


def _resolved(path: Path) -> Path:
    """Give the path without links, or as it is where the working folder has been deleted."""
    try:
        return path.resolve()
    except FileNotFoundError:
        return path


def _names(visit_input: VisitInput, folders: Sequence[str | os.PathLike[str]]) -> Iterable[tuple[str, str]]:
    """Names of the exposures as given, each with the path that a poller file has for it (or nothing)."""
    if not isinstance(visit_input, str | os.PathLike):
        if not isinstance(visit_input, Iterable):
            raise ParameterError(f"visit_input: found {visit_input!r}, expected a poller file or exposures")
        names = list(visit_input)
        for name in names:
            if not isinstance(name, str | os.PathLike):
                raise ParameterError(f"visit_input: found {name!r}, expected the name of an exposure file")
        return [(name, "") for name in expand_associations(names, folders)]
    name = os.fspath(visit_input)
    if name.lower().endswith((".fits", ".fits.gz")):
        return [(each, "") for each in expand_associations([name], folders)]
    return [(row.filename, row.pathname) for row in read_poller(name)]


def _locate(name: str, pathname: str, input_path: str | os.PathLike[str] | None) -> Path:
    folders = [Path()] if input_path is None else [Path(), Path(input_path)]
    for folder in folders:
        path = find_exposure_file(name, folder, pathname=pathname)
        if path is not None:
            return path
    for folder in folders:
        if name and (there := what_is_there(folder / name)):
            raise MissingFileError(f"{folder / name}: {there}, expected an exposure file")
    places = " and ".join(str(absolute_path(folder)) for folder in folders)
    elsewhere = f", nor at {pathname}" if pathname else ""
    raise MissingFileError(
        f"{name or 'an empty name'}: exposure not found in {places}{elsewhere}; "
        "give its path, or the folder that holds it as input_path"
    )


def _raise(problems: Sequence[MultivisitError]) -> None:
    """Raise what went wrong: one error as it is, several as one error with a line each."""
    if not problems:
        return
    if len(problems) == 1:
        raise problems[0]
    kind = type(problems[0]) if len({type(problem) for problem in problems}) == 1 else ExposureError
    lines = [str(problem).replace("\n", "\n    ") for problem in problems]
    raise kind("\n  ".join([f"{len(problems)} exposures cannot be used", *lines]))
