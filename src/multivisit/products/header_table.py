"""HDRTAB: a binary table with a row for each chip of a mosaic and a column for each of its keywords."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.products.fits_stream import FitsUnit
from multivisit.products.header_columns import header_columns
from multivisit.products.keywords import KeywordValue, ascii_text, member_value, plain_value, put_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from multivisit.plan.layers import Layer
    from multivisit.products.members import CombinedChip

__all__ = ["MISSING_INTEGER", "Column", "header_table", "table_columns", "table_unit"]

MISSING_INTEGER = -999999
"""Stands (TNULL) in a column of integers where a chip lacks the keyword."""

_GENERATION_DATE_LENGTH = 10
_CARD_LENGTH = 80
_INTEGER_LIMIT = 2**63
# Chips of one exposure may be calibrated apart; all else is read from the PRIMARY header first, as published.
_CHIP_KEYWORDS = frozenset(
    {"PHOTMODE", "PHOTFLAM", "PHOTFNU", "PHOTZPT", "PHOTPLAM", "PHOTBW", "EXTNAME", "EXTVER"}
)


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    name: str
    """TTYPE."""

    format: str
    """TFORM: ``K`` (64-bit integer), ``D`` (double), ``L`` (logical) or ``<n>A`` (text)."""

    cells: NDArray[Any]
    """The cells as they stand in the file: big-endian; logicals as the characters T and F, or 0 for none."""

    has_missing_integers: bool = False
    """Whether a TNULL is needed."""


def header_table(layer: Layer, chips: Sequence[CombinedChip]) -> FitsUnit:
    """Make the HDRTAB extension of a product.

    Parameters
    ----------
    layer : Layer
        The layer.
    chips : sequence of CombinedChip
        Its chips, a row each.

    Returns
    -------
    FitsUnit
        The table.
    """
    return table_unit("HDRTAB", table_columns(layer, chips), len(chips))


def table_columns(layer: Layer, chips: Sequence[CombinedChip]) -> list[Column]:
    """Make the columns of HDRTAB.

    Parameters
    ----------
    layer : Layer
        The layer.
    chips : sequence of CombinedChip
        Its chips, a row each.

    Returns
    -------
    list of Column
        SVMROOTNAME, GENDATE, ROOTNAME, EXTNAME, EXTVER, then the keywords by name, then what this combination
        did with the chip (SKYLEVEL, NPIXUSED), and last HAPEXPNAME.
    """
    columns = [
        _column("SVMROOTNAME", [chip.exposure.filename.rpartition("_")[0] or None for chip in chips]),
        _column("GENDATE", [_generation_date(chip) for chip in chips], width=_GENERATION_DATE_LENGTH),
    ]
    columns += [
        _column(keyword, [_cell(chip, keyword) for chip in chips])
        for keyword in header_columns(layer.instrument)
    ]
    columns += [
        _column("SKYLEVEL", [plain_value(chip.record.sky_level) for chip in chips]),
        _column("NPIXUSED", [plain_value(chip.record.n_used) for chip in chips]),
        _column("HAPEXPNAME", [layer.member_basename(chip.member) for chip in chips]),
    ]
    return columns


def _generation_date(chip: CombinedChip) -> str | None:
    """The date on which the exposure's file was made."""
    date = member_value(chip.exposure.primary, "DATE")
    return str(date)[:_GENERATION_DATE_LENGTH] if date is not None else None


def _cell(chip: CombinedChip, keyword: str) -> KeywordValue | None:
    """The value of a keyword for one chip."""
    if keyword == "ROOTNAME":
        return chip.exposure.rootname
    if keyword == "FILENAME":
        return chip.exposure.filename
    if keyword == "MDRIZSKY":
        return _sky_in_file_units(chip)
    headers = [chip.exposure.primary, chip.chip.header]
    if keyword in _CHIP_KEYWORDS:
        headers.reverse()
    values = [member_value(header, keyword, keep_blank=True) for header in headers]
    known = [value for value in values if value is not None]
    if not known and keyword == "EXTVER":
        return chip.chip.extver
    # A blank keyword does not hide one with a value in the other header.
    return next((value for value in known if value != ""), "" if known else None)


def _sky_in_file_units(chip: CombinedChip) -> float | None:
    """The sky level that was taken off, in the units of the chip's own pixels."""
    electrons_per_second = plain_value(chip.record.sky_level)
    if not isinstance(electrons_per_second, int | float):
        return None
    level = float(electrons_per_second) / chip.chip.gain
    return level if chip.chip.units.endswith("/S") else level * chip.chip.exposure_time


def _column(name: str, values: Sequence[KeywordValue | None], width: int = 1) -> Column:
    """Find the one type that holds all the values of a column, and its cells."""
    known = [value for value in values if value is not None and value != ""]
    if any(isinstance(value, str) for value in known) or (not known and "" in values):
        return _text_column(name, values, width)
    values = [None if value == "" else value for value in values]
    if known and all(isinstance(value, bool) for value in known):
        cells = [0 if value is None else ord("T" if value else "F") for value in values]
        return Column(name, "L", np.array(cells, dtype="u1"))
    if known and all(_is_integer(value) for value in known):
        integers = [MISSING_INTEGER if value is None else int(value) for value in values]
        missing = len(known) < len(values)
        return Column(name, "K", np.array(integers, dtype=">i8"), has_missing_integers=missing)
    # Doubles also hold mixtures of logicals and numbers, and the columns that no member has a value for.
    doubles = [np.nan if value is None else float(value) for value in values]
    return Column(name, "D", np.array(doubles, dtype=">f8"))


def _is_integer(value: KeywordValue) -> bool:
    """Whether a value is an integer that the table can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _INTEGER_LIMIT


def _text_column(name: str, values: Sequence[KeywordValue | None], width: int) -> Column:
    """A column of text; other values are written as FITS writes them."""
    texts = ["" if value is None else _text(value) for value in values]
    width = max(width, *(len(text) for text in texts))
    return Column(name, f"{width}A", np.array([text.encode("ascii") for text in texts], dtype=f"S{width}"))


def _text(value: KeywordValue) -> str:
    """A value as text."""
    if isinstance(value, bool):
        return "T" if value else "F"
    return ascii_text(value) if isinstance(value, str) else str(value).upper()


def table_unit(name: str, columns: Sequence[Column], n_rows: int) -> FitsUnit:
    """Put columns together as a binary table extension.

    Parameters
    ----------
    name : str
        EXTNAME.
    columns : sequence of Column
        The columns, at most 999.
    n_rows : int
        Number of rows.

    Returns
    -------
    FitsUnit
        The extension, its rows as bytes.
    """
    from astropy.io import fits

    rows = np.empty(
        n_rows, dtype=[(f"c{number}", column.cells.dtype) for number, column in enumerate(columns)]
    )
    for number, column in enumerate(columns):
        rows[f"c{number}"] = column.cells
    header = fits.Header()
    put_all(
        header,
        [
            ("XTENSION", "BINTABLE", "binary table"),
            ("BITPIX", 8, "bytes"),
            ("NAXIS", 2, "rows of bytes"),
            ("NAXIS1", rows.dtype.itemsize, "bytes of a row"),
            ("NAXIS2", n_rows, "rows"),
            ("PCOUNT", 0, "required"),
            ("GCOUNT", 1, "required"),
            ("TFIELDS", len(columns), "columns"),
            ("EXTNAME", name, "extension name"),
            ("EXTVER", 1, "extension version"),
        ],
    )
    cards = [str(header.tostring(sep="", endcard=False, padding=False))]
    for number, column in enumerate(columns, start=1):
        cards += [_text_card(f"TTYPE{number}", column.name), _text_card(f"TFORM{number}", column.format)]
        if column.has_missing_integers:
            cards.append(f"{f'TNULL{number}':<8}= {MISSING_INTEGER:>20d}".ljust(_CARD_LENGTH))
    return FitsUnit("".join(cards), rows.view(np.uint8).reshape(n_rows, rows.dtype.itemsize))


def _text_card(keyword: str, text: str) -> str:
    """A card with a short text that has no quotes."""
    return f"{keyword:<8}= '{text:<8}'".ljust(_CARD_LENGTH)
