"""The columns of poller files: their layouts, and the validation of each column's text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from multivisit.errors import SkyCellError
from multivisit.exposures.quality import association_problem, quality_file_problem

__all__ = [
    "EXPOSURE_FILE",
    "FIELD_OF_COLUMN",
    "LAYOUTS",
    "MULTI_VISIT_COLUMNS",
    "ROOTNAME",
    "SINGLE_VISIT_COLUMNS",
    "is_header",
    "parse_cells",
    "shown",
]

SINGLE_VISIT_COLUMNS: Final = (
    "filename",
    "proposal_id",
    "program_id",
    "obset_id",
    "exptime",
    "filters",
    "detector",
    "pathname",
)
"""The published columns of a single-visit poller file."""

MULTI_VISIT_COLUMNS: Final = (*SINGLE_VISIT_COLUMNS[:7], "skycell_id", "skycell_new", "pathname")
"""The published columns of a multi-visit poller file."""

LAYOUTS: Final[dict[int, tuple[str, ...]]] = {
    1: ("filename",),
    2: ("filename", "aperture"),
    len(SINGLE_VISIT_COLUMNS): SINGLE_VISIT_COLUMNS,
    len(MULTI_VISIT_COLUMNS): MULTI_VISIT_COLUMNS,
}
"""Number of columns -> their names."""

FIELD_OF_COLUMN: Final = {
    "filename": "filename",
    "proposal_id": "proposal_id",
    "program_id": "program_id",
    "obset_id": "obset_id",
    "exptime": "exposure_time",
    "filters": "filters",
    "detector": "detector",
    "skycell_id": "sky_cell_id",
    "skycell_new": "is_new",
    "pathname": "pathname",
    "aperture": "aperture",
}
"""Published name of a column -> field of `multivisit.plan.poller.PollerRow`."""

EXPOSURE_FILE: Final = re.compile(r".*_(flt|flc|c0m)\.fits(\.gz)?")
"""Names of exposure files: pipeline or single-visit name, with or without a folder."""

ROOTNAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{7,8}")
"""Rootnames: nine characters (``jbl70rtvq``), or the eight of single-visit names."""

_LONGEST_SHOWN: Final = 80

_DETECTORS: Final = ("WFC", "HRC", "SBC", "UVIS", "IR", "PC", "WFPC2")


def shown(text: str) -> str:
    """Give a value in quotes for a message, cut to 80 characters."""
    return repr(text) if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]!r}..."


def is_header(cells: Sequence[str]) -> bool:
    """Tell whether the columns of a line are the names of columns: poller files have no such line."""
    return cells[0].lower() == "filename"


def parse_cells(cells: Sequence[str], columns: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Turn the text of one line's columns into values.

    Parameters
    ----------
    cells : sequence of str
        The text of each column.
    columns : sequence of str
        The names of the columns, as many.

    Returns
    -------
    values : dict
        Field of `multivisit.plan.poller.PollerRow` -> value, for the columns that are right.
    problems : list of str
        A sentence for each column that is not: its name, the value found and the value expected.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for column, cell in zip(columns, cells, strict=True):
        try:
            values[FIELD_OF_COLUMN[column]] = _PARSERS[column](cell)
        except ValueError as error:
            problems.append(f"column {column}: found {shown(cell)}, expected {error}")
    return values, problems


def _filename(text: str) -> str:
    if EXPOSURE_FILE.fullmatch(text) is None or not text.isprintable():
        expected = "the name of an exposure that ends in _flt.fits, _flc.fits or _c0m.fits (or .gz)"
        problem = association_problem(text) or quality_file_problem(text.rpartition("/")[2])
        raise ValueError(f"{expected}: {problem}" if problem else expected)
    return text


def _proposal_id(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise ValueError("a proposal number such as 11665")
    return int(text)


def _program_id(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9]{3}", text) is None:
        raise ValueError("three letters or digits such as B46")
    return text


def _obset_id(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9]{1,2}", text) is None:
        raise ValueError("two letters or digits such as 06")
    return text


def _exposure_time(text: str) -> float:
    expected = "an exposure time in seconds, 0 or more"
    try:
        value = float(text)
    except ValueError:
        raise ValueError(expected) from None
    if not math.isfinite(value) or value < 0:
        raise ValueError(expected)
    return value


def _filters(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9;/_. -]+", text) is None:
        raise ValueError("filter names such as F160W or F606W;POL60V")
    return text


def _detector(text: str) -> str:
    if text.upper() not in _DETECTORS:
        raise ValueError(f"one of {', '.join(_DETECTORS)}")
    return text


def _sky_cell_id(text: str) -> str:
    from multivisit.sky.cells import parse_sky_cell_name

    try:
        parse_sky_cell_name(text)
    except SkyCellError as error:
        raise ValueError(f"the name of a sky cell such as skycell-p1889x07y19 ({error})") from None
    return text


def _is_new(text: str) -> bool:
    hints = {"0": " (write NEW instead of 0)", "1": " (write OLD instead of 1)"}
    if text.upper() not in ("NEW", "OLD"):
        raise ValueError(f"NEW or OLD{hints.get(text, '')}")
    return text.upper() == "NEW"


def _pathname(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("the path of the file or of its folder")
    return text


def _aperture(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("the name of an aperture such as PC1-FIX")
    return text


_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "filename": _filename,
    "proposal_id": _proposal_id,
    "program_id": _program_id,
    "obset_id": _obset_id,
    "exptime": _exposure_time,
    "filters": _filters,
    "detector": _detector,
    "skycell_id": _sky_cell_id,
    "skycell_new": _is_new,
    "pathname": _pathname,
    "aperture": _aperture,
}
"""Name of a column -> function that gives its value, or raises a `ValueError` that says what is expected."""
