"""Poller files: the lists of exposures that a run starts from, read, validated and written.

Four layouts are read, all comma separated and without a header line; the number of columns tells which it is:

====== =======================================================================================================
1      ``filename``
2      ``filename, aperture`` (WFPC2)
8      ``filename, proposal_id, program_id, obset_id, exptime, filters, detector, pathname`` (single visit)
10     ``filename, proposal_id, program_id, obset_id, exptime, filters, detector, skycell_id, skycell_new,
       pathname`` (multi-visit)
====== =======================================================================================================

Blank lines and lines that start with ``#`` are skipped. A value that holds a comma is put in double quotes.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, overload

from multivisit.atomic import atomic_path
from multivisit.errors import MissingFileError, ParameterError, PollerError
from multivisit.exposures.quality import association_problem, quality_file_problem
from multivisit.plan.exposure_files import (
    absolute_path,
    find_exposure_file,
    is_same_file,
    refuse_to_replace,
)
from multivisit.plan.poller_columns import (
    EXPOSURE_FILE,
    FIELD_OF_COLUMN,
    LAYOUTS,
    MULTI_VISIT_COLUMNS,
    ROOTNAME,
    SINGLE_VISIT_COLUMNS,
    is_header,
    parse_cells,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from multivisit.exposures.model import Exposure

__all__ = [
    "GeneratedPoller",
    "PollerKind",
    "PollerRow",
    "check_duplicates",
    "find_exposure_file",
    "generate_poller_file",
    "problem_of_name",
    "read_names",
    "read_poller",
    "row_of_exposure",
    "rows_from_files",
    "write_poller",
]

log = logging.getLogger(__name__)

PollerKind = Literal["mvm", "svm", "list"]
"""The layouts that are written: 10 columns, 8 columns, or file names alone."""

_MOST_PROBLEMS_SHOWN: Final = 20
_LARGEST_POLLER: Final = 64 * 1024 * 1024
_HEADER_LINE: Final = "found a header line, expected none: remove the header line"


@dataclass(frozen=True)
class PollerRow:
    """One line of a poller file. What a layout does not have is None or empty."""

    filename: str
    """Name of the exposure file as given, for example ``jbl70rtvq_flc.fits``."""

    proposal_id: int | None = None
    """Number of the proposal."""

    program_id: str = ""
    """Program: characters 2 to 4 of the rootname, in capitals."""

    obset_id: str = ""
    """Observation set (visit): two characters, for example ``0R``."""

    exposure_time: float | None = None
    """Exposure time in seconds."""

    filters: str = ""
    """Filter names in capitals; two wheels are separated by ``;`` or joined by ``-``."""

    detector: str = ""
    """Detector in capitals, for example ``WFC``."""

    sky_cell_id: str | None = None
    """Name of the sky cell, for example ``skycell-p1889x07y19``; None when the file does not say."""

    is_new: bool = True
    """True for NEW: not yet in this sky cell's mosaics. False for OLD."""

    pathname: str = ""
    """Where else the file may be: the file itself or the folder that holds it."""

    line_number: int = 0
    """Line of the poller file, counted from 1; 0 when the row was not read from one."""

    aperture: str = ""
    """Aperture, from the two-column lists of WFPC2."""

    @property
    def name(self) -> str:
        """Name of the file without its folder."""
        return Path(self.filename).name


def read_poller(path: str | os.PathLike[str]) -> tuple[PollerRow, ...]:
    """Read a poller file of any layout and validate every column of every line.

    Parameters
    ----------
    path : str or path-like
        The poller file: text in UTF-8 (a byte-order mark is allowed), lines ended by LF, CRLF or CR.

    Returns
    -------
    tuple of PollerRow
        The rows in the order of the file.

    Raises
    ------
    MissingFileError
        If the file is not there or may not be read.
    PollerError
        If the file is empty or not text, if lines have the wrong number of columns or a value that cannot
        be, or if a file is listed twice for the same sky cell. All the bad lines (up to twenty) are in one
        message, each with line number, column, value found and value expected.
    """
    lines = _data_lines(path)
    problems: list[str] = []
    rows: list[PollerRow] = []
    layout: tuple[int, tuple[str, ...]] | None = None
    for number, line in lines:
        cells = _split(line)
        if isinstance(cells, str):
            problems.append(f"line {number}: {cells}")
            continue
        if is_header(cells):
            raise PollerError(f"{path}, line {number}: {_HEADER_LINE}")
        if layout is None:
            if len(cells) not in LAYOUTS:
                problems.append(f"line {number}: found {_count(cells)}, expected 1, 2, 8 or 10")
                continue
            layout = (number, LAYOUTS[len(cells)])
        first, columns = layout
        if len(cells) != len(columns):
            problems.append(
                f"line {number}: found {_count(cells)}, expected {len(columns)} as in line {first} "
                f"({', '.join(columns)})"
            )
            continue
        values, bad = parse_cells(cells, columns)
        problems.extend(f"line {number}, {problem}" for problem in bad)
        if not bad:
            rows.append(PollerRow(**values, line_number=number))
    _raise_problems(path, problems)
    check_duplicates(rows, str(path))
    return tuple(rows)


def read_names(path: str | os.PathLike[str]) -> tuple[tuple[int, str], ...]:
    """Read a text file that lists exposures by file name or rootname, one a line.

    Parameters
    ----------
    path : str or path-like
        The list. Further columns, as in poller files, are left aside.

    Returns
    -------
    tuple of (int, str)
        Line number and name.

    Raises
    ------
    MissingFileError
        If the file is not there or may not be read.
    PollerError
        If it is empty, not text, or holds something that is neither an exposure file nor a rootname.
    """
    names: list[tuple[int, str]] = []
    problems: list[str] = []
    for number, line in _data_lines(path):
        cells = _split(line)
        if isinstance(cells, str):
            problems.append(f"line {number}: {cells}")
        elif is_header(cells):
            raise PollerError(f"{path}, line {number}: {_HEADER_LINE}")
        elif problem := problem_of_name(cells[0]):
            problems.append(f"line {number}: {problem}")
        else:
            names.append((number, cells[0]))
    _raise_problems(path, problems)
    return tuple(names)


def problem_of_name(name: str) -> str | None:
    """Say what is wrong with a name that should be an exposure file or a rootname; None when nothing is."""
    if EXPOSURE_FILE.fullmatch(name) or ROOTNAME.fullmatch(name):
        return None
    if problem := association_problem(name) or quality_file_problem(Path(name).name):
        return f"found {shown(name)}: {problem}"
    return (
        f"found {shown(name)}, expected the name of an exposure, ending in _flt.fits, _flc.fits or _c0m.fits "
        "(also with .gz), or a rootname of 9 characters"
    )


def check_duplicates(rows: Iterable[PollerRow], source: str) -> None:
    """Raise a `PollerError` if a file is listed more than once for the same sky cell.

    Parameters
    ----------
    rows : iterable of PollerRow
        The rows; files are compared by name, without folder and without ``.gz``.
    source : str
        What the rows come from, for the message.
    """
    first_seen: dict[tuple[str, str | None], PollerRow] = {}
    problems: list[str] = []
    for row in rows:
        key = (row.name.removesuffix(".gz"), row.sky_cell_id)
        if key not in first_seen:
            first_seen[key] = row
            continue
        cell = f" for {row.sky_cell_id}" if row.sky_cell_id else ""
        first = first_seen[key]
        if first.line_number and row.line_number:
            both = f"lines {first.line_number} and {row.line_number}"
        else:
            both = f"{first.pathname or first.filename} and {row.pathname or row.filename}"
        problems.append(f"{both}: {row.name} is listed twice{cell}, remove one of the two")
    _raise_problems(source, problems)


def _data_lines(path: str | os.PathLike[str]) -> list[tuple[int, str]]:
    """Give the lines that hold data, with their numbers."""
    content = _content(path)
    if content.startswith(b"SIMPLE  ="):
        raise PollerError(f"{path}: found a FITS file, expected a text file that lists exposures")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PollerError(f"{path}, line {line}: found bytes that are not UTF-8 text") from None
    numbered = enumerate(re.split(r"\r\n|\n|\r", text), start=1)
    lines = [(number, line.strip()) for number, line in numbered]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not lines:
        raise PollerError(f"{path}: the file is empty, expected a line for each exposure")
    return lines


def _content(path: str | os.PathLike[str]) -> bytes:
    """Read a poller file, but nothing that is no regular file or too large to be one."""
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise PollerError(f"{path}: found a folder, expected a text file that lists exposures")
        if not stat.S_ISREG(status.st_mode):
            raise PollerError(
                f"{path}: found a device or a pipe, expected a text file that lists exposures. Write the "
                "list to a file first"
            )
        with Path(path).open("rb") as stream:
            content = stream.read(_LARGEST_POLLER + 1) if status.st_size <= _LARGEST_POLLER else b""
    except OSError as error:
        raise MissingFileError(f"{path}: the poller file cannot be read: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, PollerError):
            raise
        raise MissingFileError(f"{str(path)!r}: the poller file cannot be read: {error}") from error
    if max(status.st_size, len(content)) > _LARGEST_POLLER:
        raise PollerError(
            f"{path}: found {max(status.st_size, len(content))} bytes, expected a text file that lists "
            f"exposures, of at most {_LARGEST_POLLER} bytes"
        )
    return content


def _split(line: str) -> list[str] | str:
    """Split a line into its columns; what is wrong with it (a string) when that cannot be done."""
    try:
        cells = next(csv.reader([line], skipinitialspace=True, strict=True))
    except csv.Error as error:
        return f"found {shown(line)}, expected comma-separated values ({error})"
    return [cell.strip() for cell in cells]


def _count(cells: Sequence[str]) -> str:
    return "1 column" if len(cells) == 1 else f"{len(cells)} columns"


def _raise_problems(path: str | os.PathLike[str], problems: Sequence[str]) -> None:
    if not problems:
        return
    if len(problems) == 1:
        raise PollerError(f"{path}, {problems[0]}")
    shown = list(problems[:_MOST_PROBLEMS_SHOWN])
    if len(problems) > len(shown):
        shown.append(f"... and {len(problems) - len(shown)} more")
    raise PollerError("\n  ".join([f"{path}: {len(problems)} problems", *shown]))


def write_poller(rows: Iterable[PollerRow], path: str | os.PathLike[str], kind: PollerKind = "mvm") -> Path:
    """Write a poller file, atomically; `read_poller` gives the same rows back.

    Parameters
    ----------
    rows : iterable of PollerRow
        At least one row.
    path : str or path-like
        The file to write; an existing one is replaced.
    kind : {'mvm', 'svm', 'list'}
        The layout: 10 columns, 8 columns, or file names alone (with the apertures if all rows have one).

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ParameterError
        If `kind` is none of the three, or `path` is an exposure or another FITS file, which is not replaced.
    PollerError
        If there are no rows, or a row lacks what the layout needs or has a value that it cannot hold.
    ProductError
        If the file cannot be written.
    """
    rows = tuple(rows)
    columns = _columns_of_kind(kind, rows)
    refuse_to_replace(
        path, "the poller file", (name for row in rows for name in (row.pathname, row.filename))
    )
    if not rows:
        raise PollerError(f"{path}: there is no row to be written, expected one for each exposure")
    problems: list[str] = []
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        cells = [_cell(row, column) for column in columns]
        problems.extend(f"row of {row.filename}, {problem}" for problem in _unwritable(cells, columns))
        writer.writerow(cells)
    _raise_problems(path, problems)
    check_duplicates(rows, str(path))
    with atomic_path(path) as temporary:
        temporary.write_text(buffer.getvalue(), encoding="utf-8", newline="")
    return Path(path)


def _columns_of_kind(kind: str, rows: Sequence[PollerRow]) -> tuple[str, ...]:
    if kind == "mvm":
        return MULTI_VISIT_COLUMNS
    if kind == "svm":
        return SINGLE_VISIT_COLUMNS
    if kind == "list":
        return LAYOUTS[2] if rows and all(row.aperture for row in rows) else LAYOUTS[1]
    raise ParameterError(f"kind of poller file: found {kind!r}, expected 'mvm', 'svm' or 'list'")


def _cell(row: PollerRow, column: str) -> str:
    """Write one value as text."""
    value = getattr(row, FIELD_OF_COLUMN[column])
    if column == "skycell_new":
        return "NEW" if value else "OLD"
    return "" if value is None else str(value)


def _unwritable(cells: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Find what a reader of the line would not get back."""
    _, problems = parse_cells(cells, columns)
    for column, cell in zip(columns, cells, strict=True):
        if cell != cell.strip():
            problems.append(f"column {column}: found {shown(cell)}, expected no blanks around it")
    if cells[0].startswith("#"):
        problems.append(f"column {columns[0]}: found {shown(cells[0])}, expected no # at the start")
    return problems


def row_of_exposure(exposure: Exposure, sky_cell_id: str | None = None, *, is_new: bool = True) -> PollerRow:
    """Describe an exposure as a row of a poller file, from its headers.

    The program is characters 2 to 4 of the rootname. The observation set is LINENUM before the point where
    the instrument was the visit's primary one (PRIMESI), otherwise characters 5 and 6 of the rootname.

    Parameters
    ----------
    exposure : Exposure
        The exposure.
    sky_cell_id : str, optional
        Name of the sky cell that the row is for.
    is_new : bool, optional
        Whether the exposure is not yet in that cell's mosaics.

    Returns
    -------
    PollerRow
        With the absolute path of the file as its pathname.
    """
    primary = exposure.primary
    line = str(primary.get("LINENUM") or "").split(".")[0].strip()
    is_primary = str(primary.get("PRIMESI") or "").strip().lower() == exposure.instrument
    return PollerRow(
        filename=exposure.path.name,
        proposal_id=int(exposure.proposal_id or 0),
        program_id=exposure.rootname[1:4].upper(),
        obset_id=(line if is_primary and line else exposure.rootname[4:6]).upper(),
        exposure_time=float(exposure.exposure_time),
        filters=exposure.filter_name.upper(),
        detector=exposure.detector.upper(),
        sky_cell_id=sky_cell_id,
        is_new=is_new,
        pathname=str(absolute_path(exposure.path)),
    )


def rows_from_files(
    paths: Iterable[str | os.PathLike[str]], sky_cell_id: str | None = None, *, is_new: bool = True
) -> tuple[PollerRow, ...]:
    """Read the headers of exposures and describe each as a row of a poller file.

    Parameters
    ----------
    paths : iterable of str or path-like
        The exposure files.
    sky_cell_id : str, optional
        Name of the sky cell that all the rows are for.
    is_new : bool, optional
        Whether the exposures are not yet in that cell's mosaics.

    Returns
    -------
    tuple of PollerRow
        A row for each file, in the same order.

    Raises
    ------
    MissingFileError, ExposureError
        If a file is not there or cannot be used.
    """
    from multivisit.exposures.model import read_exposure

    return tuple(row_of_exposure(read_exposure(path), sky_cell_id, is_new=is_new) for path in paths)


@dataclass(frozen=True)
class GeneratedPoller(Sequence[PollerRow]):
    """What has been written to a poller file; a sequence of its rows."""

    path: Path
    """The poller file."""

    rows: tuple[PollerRow, ...]
    """Its rows."""

    missing: tuple[str, ...] = ()
    """Names of the list for which no exposure file was found: they are left out."""

    @overload
    def __getitem__(self, index: int) -> PollerRow: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[PollerRow, ...]: ...

    def __getitem__(self, index: int | slice) -> PollerRow | tuple[PollerRow, ...]:
        """Give a row, or some."""
        return self.rows[index]

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.rows)


def generate_poller_file(
    input_list: str | os.PathLike[str] | Sequence[str],
    poller_file_type: str = "svm",
    output_poller_filename: str | os.PathLike[str] = "poller_file.out",
    skycell_name: str | None = None,
    *,
    folder: str | os.PathLike[str] = ".",
    data_path: str | os.PathLike[str] | None = None,
) -> GeneratedPoller:
    """Make a poller file out of a list of file names or rootnames; all the exposures are NEW.

    Parameters
    ----------
    input_list : str, path-like or sequence of str
        A text file with a name a line, or the names themselves.
    poller_file_type : {'svm', 'mvm'}
        Single-visit (8 columns) or multi-visit (10 columns).
    output_poller_filename : str or path-like, optional
        The poller file to write; an existing one is replaced.
    skycell_name : str, optional
        Name of the sky cell; a multi-visit file needs it, a single-visit file does not.
    folder : str or path-like, optional
        Where the exposures are looked for first.
    data_path : str or path-like, optional
        Root of a tree of exposures, looked through after that.

    Returns
    -------
    GeneratedPoller
        The rows that have been written, and the names that are left out.

    Raises
    ------
    ParameterError
        If the type is unknown, the sky cell is missing, or the output is the list itself, an exposure or
        another FITS file.
    SkyCellError
        If there is no such sky cell.
    PollerError
        If the list is empty or holds something that is not an exposure, or an exposure twice.
    MissingFileError
        If the list or all the exposures are missing. If some are, a warning is logged and they are left out.
    ExposureError
        If an exposure cannot be read.
    ProductError
        If the poller file cannot be written.
    """
    if poller_file_type not in ("svm", "mvm"):
        raise ParameterError(f"poller_file_type: found {poller_file_type!r}, expected 'svm' or 'mvm'")
    is_multi_visit = poller_file_type == "mvm"
    if is_multi_visit:
        _require_sky_cell(skycell_name)
    elif skycell_name is not None:
        log.info("A single-visit poller file has no sky cell: %s is not written.", skycell_name)
    source, names = _names(input_list, output_poller_filename)
    paths = []
    missing = []
    for name in names:
        path = find_exposure_file(name, folder, data_path)
        if path is None:
            missing.append(name)
            log.warning("No exposure file found for %s: it is left out of the poller file.", name)
        else:
            log.info("Found %s for %s.", path, name)
            paths.append(path)
    if not paths:
        searched = f"the folder {folder}" + (f" and {data_path}" if data_path is not None else "")
        raise MissingFileError(f"{source}: none of the {len(names)} exposures is in {searched}")
    rows = rows_from_files(paths, skycell_name if is_multi_visit else None)
    check_duplicates(rows, source)
    written = write_poller(rows, output_poller_filename, "mvm" if is_multi_visit else "svm")
    log.info("Wrote the poller file %s: %d exposures.", written, len(rows))
    return GeneratedPoller(written, rows, tuple(missing))


def _require_sky_cell(sky_cell_id: str | None) -> None:
    from multivisit.sky.cells import parse_sky_cell_name

    if sky_cell_id is None:
        raise ParameterError(
            "a multi-visit poller file is for one sky cell, and none is given: name it with skycell_name, on "
            "the command line with -s, for example skycell-p1889x07y19"
        )
    if not isinstance(sky_cell_id, str):
        raise ParameterError(f"skycell_name: found {sky_cell_id!r}, expected the name of a sky cell")
    parse_sky_cell_name(sky_cell_id)


def _names(
    input_list: str | os.PathLike[str] | Sequence[str], output: str | os.PathLike[str]
) -> tuple[str, list[str]]:
    """Give what the names come from, and the names."""
    if not isinstance(output, str | os.PathLike) or not os.fspath(output):
        raise ParameterError(f"output_poller_filename: found {output!r}, expected the name of a file")
    if isinstance(input_list, Sequence) and not isinstance(input_list, str | bytes):
        names = [str(name).strip() for name in input_list]
        problems = [
            f"item {i}: {problem}" for i, name in enumerate(names, 1) if (problem := problem_of_name(name))
        ]
        if not names:
            problems = ["there is no name in it, expected one for each exposure"]
        _raise_problems("input_list", problems)
        return "input_list", names
    if not isinstance(input_list, str | os.PathLike):
        raise ParameterError(f"input_list: found {input_list!r}, expected a text file or a list of names")
    if is_same_file(Path(input_list), Path(output)):
        raise ParameterError(
            f"{output}: the poller file would replace the list it is made from; give another name"
        )
    return str(input_list), [name for _, name in read_names(input_list)]
