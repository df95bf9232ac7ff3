"""The small files beside the mosaics."""

from __future__ import annotations

from pathlib import Path

import pytest
from astropy.table import Table

from multivisit.errors import ProductError
from multivisit.plan.vetting import VettingRecord
from multivisit.products.tables import (
    manifest_name,
    trailer_name,
    vetting_name,
    write_manifest,
    write_text,
    write_vetting,
)

RECORDS = (
    VettingRecord("jbl70rtvq_flc.fits", accepted=True),
    VettingRecord("jbl71g01q_flc.fits", accepted=False, reason='grism "G800L", no image', keyword="FILTER1"),
)


def test_names() -> None:
    assert manifest_name("skycell-p1889x07y19") == "skycell-p1889x07y19_manifest.txt"
    assert vetting_name("skycell-p1889x07y19") == "skycell-p1889x07y19_vetting.ecsv"
    product = "hst_skycell-p1889x07y19_wfc3_ir_f160w_coarse-all_drz.fits"
    assert trailer_name(product) == "hst_skycell-p1889x07y19_wfc3_ir_f160w_coarse-all_trl.txt"


def test_a_manifest_has_each_name_once_in_order(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "m.txt", ["b.fits", Path("folder/a.fits"), "b.fits"])
    assert path.read_text() == "a.fits\nb.fits\n"


def test_text_ends_with_a_new_line(tmp_path: Path) -> None:
    assert write_text(tmp_path / "t.txt", "one\ntwo").read_bytes() == b"one\ntwo\n"
    assert write_text(tmp_path / "t.txt", "").read_bytes() == b""


def test_a_vetting_table_comes_back(tmp_path: Path) -> None:
    table = Table.read(write_vetting(tmp_path / "v.ecsv", RECORDS))
    assert list(table["filename"]) == [record.filename for record in RECORDS]
    assert list(table["accepted"]) == [True, False]
    assert table["reason"][1] == RECORDS[1].reason
    assert table["keyword"][1] == "FILTER1"


def test_a_vetting_table_without_rows_can_be_read(tmp_path: Path) -> None:
    table = Table.read(write_vetting(tmp_path / "v.ecsv", []))
    assert len(table) == 0
    assert "reason" in table.colnames


STRANGE = ("ü_flt.fits", "bad\udcfc_flt.fits", "two\nlines_flt.fits")


def test_text_that_utf8_does_not_have_is_escaped(tmp_path: Path) -> None:
    path = write_text(tmp_path / "t.txt", "\n".join(STRANGE))
    assert path.read_text("utf-8").splitlines() == [
        "ü_flt.fits",
        "bad\\udcfc_flt.fits",
        "two",
        "lines_flt.fits",
    ]
    assert write_manifest(tmp_path / "m.txt", STRANGE[:2]).read_text("utf-8").count("\n") == 2


def test_names_of_any_kind_fill_one_line_of_the_vetting_table(tmp_path: Path) -> None:
    records = [VettingRecord(name, accepted=False, reason=f"{name}: no SCI\r\nin it") for name in STRANGE]
    escaped = ["ü_flt.fits", "bad\\udcfc_flt.fits", "two\\nlines_flt.fits"]
    table = Table.read(write_vetting(tmp_path / "v.ecsv", records), format="ascii.ecsv")
    assert list(table["filename"]) == escaped
    assert list(table["reason"]) == [f"{name}: no SCI\\r\\nin it" for name in escaped]


def test_a_folder_that_is_missing_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"v\.ecsv"):
        write_vetting(tmp_path / "missing" / "v.ecsv", RECORDS)
