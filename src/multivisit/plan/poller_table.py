"""Poller rows as an astropy table with the published columns, which users may edit, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from multivisit.errors import PollerError
from multivisit.plan.poller import PollerRow, check_duplicates
from multivisit.plan.poller_columns import FIELD_OF_COLUMN, MULTI_VISIT_COLUMNS, parse_cells, shown

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["TABLE_COLUMNS", "rows_of_table", "table_of_rows"]

TABLE_COLUMNS: Final = (
    *MULTI_VISIT_COLUMNS[:7],
    "aperture",
    *MULTI_VISIT_COLUMNS[7:],
)
"""The published columns of the table, without ``skycell_obj``."""

_NO_APERTURE: Final = "empty_aperture"


def table_of_rows(rows: Iterable[PollerRow]) -> Table:
    """Make a table of rows.

    Parameters
    ----------
    rows : iterable of PollerRow
        Rows that have a sky cell.

    Returns
    -------
    astropy.table.Table
        Columns filename, proposal_id, program_id, obset_id, exptime (s), filters, detector, aperture,
        skycell_id, skycell_new (1 for NEW, 0 for OLD), pathname and skycell_obj (the `SkyCell`).
    """
    from astropy.table import Table

    from multivisit.sky.cells import SkyCell

    rows = tuple(rows)
    cells = {row.sky_cell_id or "": SkyCell.from_name(row.sky_cell_id or "") for row in rows}
    for row in rows:
        cells[row.sky_cell_id or ""].members.append(row.filename)
    table = Table()
    for column in TABLE_COLUMNS:
        values = [getattr(row, FIELD_OF_COLUMN[column]) for row in rows]
        if column == "aperture":
            values = [value or _NO_APERTURE for value in values]
        elif column == "skycell_new":
            values = [int(value) for value in values]
        table[column] = values
    table["skycell_obj"] = [cells[row.sky_cell_id or ""] for row in rows]
    return table


def rows_of_table(table: Table | Mapping[str, Any]) -> tuple[PollerRow, ...]:
    """Read rows out of a table as `table_of_rows` makes it; its values are validated as those of a file.

    Parameters
    ----------
    table : astropy.table.Table or mapping
        The published columns. Columns of other names and ``skycell_obj`` are left aside; ``aperture`` may be
        missing; skycell_new may be 1 and 0, or NEW and OLD.

    Returns
    -------
    tuple of PollerRow
        With the number of the row in the table, from 1, as line number.

    Raises
    ------
    PollerError
        If a column is missing, a value is impossible, a file is listed twice or there are no rows.
    """
    if isinstance(table, str) or not hasattr(table, "keys"):
        raise PollerError(f"user_table: found {shown(str(table))}, expected a poller table")
    names = table.keys()
    missing = [column for column in MULTI_VISIT_COLUMNS if column not in names]
    if missing:
        raise PollerError(f"user_table: found no column {', '.join(missing)}, expected a poller table")
    columns = [column for column in TABLE_COLUMNS if column in names]
    lengths = {len(table[column]) for column in columns}
    if len(lengths) > 1:
        raise PollerError(f"user_table: found columns of {sorted(lengths)} rows, expected as many in each")
    rows: list[PollerRow] = []
    problems: list[str] = []
    for number, values in enumerate(zip(*(table[column] for column in columns), strict=True), start=1):
        cells = [_text(column, value) for column, value in zip(columns, values, strict=True)]
        fields, bad = parse_cells(cells, columns)
        problems.extend(f"row {number}, {problem}" for problem in bad)
        if not bad:
            fields["aperture"] = fields.get("aperture", "").replace(_NO_APERTURE, "")
            rows.append(PollerRow(**fields, line_number=number))
    if problems:
        raise PollerError("\n  ".join([f"user_table: {len(problems)} problems", *problems]))
    if not rows:
        raise PollerError("user_table: found no rows, expected one for each exposure")
    check_duplicates(rows, "user_table")
    return tuple(rows)


def _text(column: str, value: Any) -> str:
    """Write a value of the table as the poller file would have it."""
    text = str(value).strip()
    if column == "skycell_new":
        return {"1": "NEW", "0": "OLD", "True": "NEW", "False": "OLD"}.get(text, text)
    return text
