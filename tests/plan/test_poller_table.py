"""Poller tables: rows to table and back, edited by users."""

from __future__ import annotations

from dataclasses import replace

import pytest
from astropy.table import Table

from multivisit.errors import PollerError
from multivisit.plan.poller import PollerRow
from multivisit.plan.poller_table import rows_of_table, table_of_rows

ROW = PollerRow(
    filename="ib4606c5q_flc.fits",
    proposal_id=11665,
    program_id="B46",
    obset_id="06",
    exposure_time=1.0,
    filters="F555W",
    detector="UVIS",
    sky_cell_id="skycell-p2381x05y09",
    is_new=True,
    pathname="/data/ib4606c5q_flc.fits",
)
OTHER = replace(ROW, filename="u2eq0201t_c0m.fits", is_new=False, aperture="PC1-FIX", detector="PC")


def test_a_table_has_the_published_columns() -> None:
    table = table_of_rows([ROW, OTHER])
    assert table.colnames == [
        "filename",
        "proposal_id",
        "program_id",
        "obset_id",
        "exptime",
        "filters",
        "detector",
        "aperture",
        "skycell_id",
        "skycell_new",
        "pathname",
        "skycell_obj",
    ]
    assert list(table["skycell_new"]) == [1, 0]
    assert list(table["aperture"]) == ["empty_aperture", "PC1-FIX"]
    assert table["skycell_obj"][0] is table["skycell_obj"][1]
    assert table["skycell_obj"][0].sky_cell_id == "skycell-p2381x05y09"
    assert table["skycell_obj"][0].members == ["ib4606c5q_flc.fits", "u2eq0201t_c0m.fits"]


def test_rows_come_back_out_of_their_table() -> None:
    expected = (replace(ROW, line_number=1), replace(OTHER, line_number=2))
    assert rows_of_table(table_of_rows([ROW, OTHER])) == expected


def test_edits_take_effect() -> None:
    table = table_of_rows([ROW, OTHER])
    table["exptime"][0] = 500.0
    table["skycell_new"][0] = 0
    (row,) = rows_of_table(table[:1])
    assert (row.exposure_time, row.is_new) == (500.0, False)


def test_new_and_old_in_words_and_plain_dictionaries() -> None:
    table = table_of_rows([ROW, OTHER])
    columns = {name: list(table[name]) for name in table.colnames if name not in ("aperture", "skycell_obj")}
    columns["skycell_new"] = ["OLD", "NEW"]
    assert [row.is_new for row in rows_of_table(columns)] == [False, True]


def test_bad_tables_are_errors() -> None:
    table = table_of_rows([ROW, OTHER])
    with pytest.raises(PollerError, match="no column exptime, pathname"):
        rows_of_table(table[[name for name in table.colnames if name not in ("exptime", "pathname")]])
    with pytest.raises(PollerError, match="no rows"):
        rows_of_table(table[:0])
    broken = table.copy()
    broken["exptime"][1] = -1.0
    broken["skycell_new"][0] = 2
    with pytest.raises(PollerError) as error:
        rows_of_table(broken)
    assert "row 2, column exptime: found '-1.0'" in str(error.value)
    assert "row 1, column skycell_new: found '2'" in str(error.value)
    for nothing in ("x", 5):
        with pytest.raises(PollerError, match=f"user_table: found '{nothing}', expected a poller table"):
            rows_of_table(nothing)  # type: ignore[arg-type]
    uneven = {name: list(table[name]) for name in table.colnames if name != "skycell_obj"}
    uneven["exptime"] = [1.0]
    with pytest.raises(PollerError, match=r"columns of \[1, 2\] rows"):
        rows_of_table(uneven)
    doubled = Table(rows=[list(table[0]), list(table[0])], names=table.colnames)
    with pytest.raises(PollerError, match="lines 1 and 2"):
        rows_of_table(doubled)
