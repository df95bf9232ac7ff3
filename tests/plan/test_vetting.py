"""Which exposures are refused, why, and what the record says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from multivisit.errors import MissingFileError, PollerError, SkyCellError
from multivisit.plan.poller import PollerRow
from multivisit.plan.vetting import Vetting, VettingRecord, vet_exposures
from multivisit.sky.cells import SkyCell

MakeFile = Callable[..., Path]
CELL = "skycell-p1889x11y11"
ALONE = (180.0, 26.0)


def only_record(vetting: Vetting) -> VettingRecord:
    (record,) = vetting.records
    return record


def test_a_good_exposure_is_accepted(hubble_file: MakeFile) -> None:
    path = hubble_file("jbl70rtvq_flc.fits", exposure_time=339.0)
    vetting = vet_exposures([path])
    assert only_record(vetting) == VettingRecord(
        filename=str(path),
        accepted=True,
        sky_cell_id=CELL,
        instrument="acs",
        detector="wfc",
        filter_name="f775w",
        exposure_time=339.0,
    )
    (candidate,) = vetting.accepted
    assert candidate.exposure.rootname == "jbl70rtvq"
    assert candidate.row.sky_cell_id == CELL
    assert candidate.row.obset_id == "0R"
    assert vetting.frame == vetting.accepted
    assert vetting.no_viable_reason == ""
    assert vetting.refused == ()


@pytest.mark.parametrize(
    ("settings", "keyword", "value", "reason"),
    [
        ({"OBSTYPE": "SPECTROSCOPIC"}, "OBSTYPE", "SPECTROSCOPIC", "not an image"),
        ({"OBSTYPE": "CORONAGRAPHIC"}, "OBSTYPE", "CORONAGRAPHIC", "not an image"),
        ({"filters": ("G800L", "CLEAR2L")}, "FILTER1", "G800L", "grism"),
        ({"detector": "IR", "filters": ("G141",)}, "FILTER", "G141", "grism"),
        ({"detector": "UVIS", "filters": ("G280",)}, "FILTER", "G280", "grism"),
        ({"detector": "SBC", "filters": ("PR110L", "N/A")}, "FILTER1", "PR110L", "prism"),
        ({"detector": "HRC", "filters": ("CLEAR1S", "PR200L")}, "FILTER2", "PR200L", "prism"),
        ({"filters": ("FR656N", "F550M")}, "FILTER1", "FR656N", "ramp"),
        ({"detector": "PC", "filters": ("FR533N18", "")}, "FILTNAM1", "FR533N18", "ramp"),
        ({"detector": "SBC", "filters": ("BLOCK1", "N/A")}, "FILTER1", "BLOCK1", "internal"),
        ({"MTFLAG": "T"}, "MTFLAG", "T", "moving target"),
        ({"MTFLAG": True}, "MTFLAG", "T", "moving target"),
        ({"detector": "IR", "SCAN_TYP": "C"}, "SCAN_TYP", "C", "scanned"),
        ({"detector": "UVIS", "SCAN_TYP": "D"}, "SCAN_TYP", "D", "scanned"),
        ({"DRIZCORR": "OMIT"}, "DRIZCORR", "OMIT", "drizzle"),
        ({"DRIZCORR": "SKIPPED"}, "DRIZCORR", "SKIPPED", "drizzle"),
        ({"TARGNAME": "DARK", "IMAGETYP": ""}, "TARGNAME", "DARK", "calibration"),
        ({"TARGNAME": "BIAS", "IMAGETYP": ""}, "TARGNAME", "BIAS", "calibration"),
        ({"TARGNAME": "TUNGSTEN-RATE"}, "TARGNAME", "TUNGSTEN-RATE", "calibration"),
        ({"TARGNAME": "DEUTERIUM"}, "TARGNAME", "DEUTERIUM", "calibration"),
        ({"TARGNAME": "DARK-EARTH-CALIB"}, "TARGNAME", "DARK-EARTH-CALIB", "calibration"),
        ({"detector": "PC", "TARGNAME": "KSPOTS"}, "TARGNAME", "KSPOTS", "calibration"),
        ({"IMAGETYP": "FLAT"}, "IMAGETYP", "FLAT", "calibration"),
        ({"detector": "PC", "IMAGETYP": "INTFLAT"}, "IMAGETYP", "INTFLAT", "calibration"),
        ({"detector": "UVIS", "CHINJECT": "CONT"}, "CHINJECT", "CONT", "injected"),
        ({"exposure_time": 0.0}, "EXPTIME", "0.0", "no exposure time"),
        ({"QUALITY": "GSFAIL, guide star acquisition failed"}, "QUALITY", None, "guiding failed"),
        ({"QUALCOM2": "TDF-DOWN AT EXPSTART"}, "QUALCOM2", "TDF-DOWN AT EXPSTART", "guiding failed"),
        ({"EXPFLAG": "INDETERMINATE"}, "EXPFLAG", "INDETERMINATE", "not known"),
        ({"EXPFLAG": "EXCESSIVE DOWNTIME"}, "EXPFLAG", "EXCESSIVE DOWNTIME", "interrupted"),
        ({"FGSLOCK": "GYROS"}, "FGSLOCK", "GYROS", "gyros"),
    ],
)
def test_unusable_exposures_are_refused_with_keyword_and_value(
    hubble_file: MakeFile, settings: dict[str, Any], keyword: str, value: str | None, reason: str
) -> None:
    path = hubble_file("jbl70rtvq_flt.fits", **settings)
    vetting = vet_exposures([path])
    record = only_record(vetting)
    assert record.status == "refused"
    assert record.keyword == keyword
    assert record.value == (settings[keyword].upper() if value is None else value)
    assert reason in record.reason
    assert vetting.accepted == ()
    assert len(vetting.frame) == 1
    assert not vetting.only_small_detectors
    assert vetting.no_viable_reason == "the only exposure may not be combined"


@pytest.mark.parametrize(
    "settings",
    [
        {"MTFLAG": ""},
        {"MTFLAG": "F"},
        {"MTFLAG": False},
        {"remove": ("MTFLAG", "OBSTYPE", "IMAGETYP", "TARGNAME", "FGSLOCK", "EXPFLAG", "DRIZCORR")},
        {"OBSTYPE": " ", "IMAGETYP": "", "DRIZCORR": ""},
        {"detector": "UVIS", "filters": ("F606W",), "CHINJECT": "NONE"},
        {"TARGNAME": "FLATIRON-NEBULA"},
        {"TARGNAME": "DARK-CLOUD-7"},
        {"TARGNAME": "GLOBULAR-BIASED"},
        {"filters": ("POL60V", "F606W")},
        {"detector": "PC"},
        {"detector": "SBC", "filters": ("F150LP", "N/A")},
    ],
)
def test_blank_and_missing_keywords_and_ordinary_values_are_no_reason_to_refuse(
    hubble_file: MakeFile, settings: dict[str, Any]
) -> None:
    name = "u2eq0201t_c0m.fits" if settings.get("detector") == "PC" else "jbl70rtvq_flt.fits"
    vetting = vet_exposures([hubble_file(name, **settings)])
    record = only_record(vetting)
    assert record.accepted, record.reason
    assert record.reason == ""


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("FGSLOCK", "FINE/GYRO"), ("FGSLOCK", "COARSE"), ("EXPFLAG", "INTERRUPTED"), ("QUALITY", "LOCKLOST")],
)
def test_doubtful_exposures_are_accepted_with_a_remark(
    hubble_file: MakeFile, keyword: str, value: str
) -> None:
    record = only_record(vet_exposures([hubble_file(**{keyword: value})]))
    assert record.accepted
    assert (record.keyword, record.value) == (keyword, value)
    assert record.reason


@pytest.mark.parametrize(
    ("science", "reason"),
    [
        ({"CD1_1": -1e-3, "CD2_2": 1e-3}, "arcsec a pixel"),
        ({"CD1_1": -1e-7, "CD2_2": 1e-7}, "arcsec a pixel"),
        ({"CD2_2": 1e-3}, "arcsec a pixel"),
        ({"CD2_2": 1e-8}, "arcsec a pixel"),
        (
            {"CD1_1": -20 / 3600, "CD2_2": 20 / 3600, "IDCSCALE": 20.0},
            "20 arcsec a pixel, expected about 0.05",
        ),
        ({"CD1_1": -1e-9, "CD2_2": 1e-9, "IDCSCALE": 3.6e-6}, "expected about 0.05"),
        ({"CRVAL2": 200.0}, ""),
        ({"CRVAL1": 721.0}, "CRVAL1 is 721.0"),
        ({"CTYPE1": "PIXEL"}, ""),
        ({"CD1_1": 0.0, "CD2_2": 0.0}, ""),
        ({"CRVAL1": "here"}, ""),
    ],
)
def test_an_unusable_wcs_is_refused(hubble_file: MakeFile, science: dict[str, Any], reason: str) -> None:
    vetting = vet_exposures([hubble_file(science=science)])
    record = only_record(vetting)
    assert not record.accepted
    assert "WCS" in record.reason
    assert reason in record.reason
    assert vetting.frame == ()


@pytest.mark.parametrize("content", [b"", b"garbage", b"SIMPLE  =                    T"])
def test_an_unreadable_file_is_refused_and_the_others_go_on(
    tmp_path: Path, hubble_file: MakeFile, content: bytes
) -> None:
    bad = tmp_path / "jbl70rtwq_flc.fits"
    bad.write_bytes(content)
    vetting = vet_exposures([bad, hubble_file("jbl70rtvq_flc.fits")])
    assert [record.accepted for record in vetting.records] == [False, True]
    assert str(bad) in vetting.records[0].reason
    assert len(vetting.accepted) == 1


def test_a_file_that_may_not_be_read_is_refused_and_the_others_go_on(
    hubble_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, good = hubble_file("j8bt07oyq_flc.fits"), hubble_file("j8bt07ozq_flc.fits")
    open_file = Path.open

    def refuse(path: Path, *arguments: Any, **named: Any) -> Any:
        if path.name == locked.name:
            raise PermissionError(13, "Permission denied")
        return open_file(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    vetting = vet_exposures([locked, good])
    assert [record.accepted for record in vetting.records] == [False, True]
    assert vetting.records[0].is_broken
    assert "may not be read (permission denied)" in vetting.records[0].reason


def test_an_idcscale_that_cannot_be_is_left_aside_with_a_remark(hubble_file: MakeFile) -> None:
    vetting = vet_exposures([hubble_file(science={"IDCSCALE": 1e300})])
    record = only_record(vetting)
    assert record.accepted
    assert (record.keyword, record.value) == ("IDCSCALE", "1e+300")
    assert record.reason == "not this detector's scale: 0.05 arcsec is used"
    assert vetting.accepted[0].exposure.chips[0].nominal_scale == 0.05
    assert (
        only_record(vet_exposures([hubble_file("ok/jbl70rtvq_flc.fits", science={"IDCSCALE": 0.049})])).reason
        == ""
    )


def test_data_quality_that_cannot_be_read_is_refused(hubble_file: MakeFile) -> None:
    path = hubble_file()
    with fits.open(path, mode="append") as hdus:
        hdus.append(fits.ImageHDU(np.zeros((3, 3), dtype=np.int16), name="DQ", ver=1))
    record = only_record(vet_exposures([path]))
    assert (record.accepted, record.is_broken) == (False, True)
    assert record.reason == (
        f"unusable data quality: {path}[DQ,1]: shape is (3, 3), expected (64, 64) (rows, columns) as in SCI; "
        "get the file anew"
    )


def test_data_quality_files_of_wfpc2_among_the_exposures_are_nothing_broken(
    hubble_file: MakeFile, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["u2eq0201t_c0m.fits", "u2eq0201t_c1m.fits", "u2eq0202t_c1m.fits.gz"]
    told: list[str] = []
    paths = [hubble_file(name, detector="PC") for name in names]
    vetting = vet_exposures(paths, progress=told.append)
    assert [(record.accepted, record.is_broken) for record in vetting.records] == [
        (True, False),
        (False, False),
        (False, False),
    ]
    assert vetting.records[1].reason == "the data quality file of u2eq0201t_c0m.fits, not an exposure"
    assert len(told) == 3
    assert "u2eq0202t_c0m.fits.gz, not an exposure" in caplog.text


def test_a_rootname_stands_for_its_file(
    tmp_path: Path, hubble_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hubble_file("jbl70rtvq_flc.fits")
    assert only_record(vet_exposures(["jbl70rtvq"], folder=tmp_path)).filename == str(path)
    monkeypatch.chdir(tmp_path)
    assert only_record(vet_exposures(["JBL70RTVQ"])).filename == "jbl70rtvq_flc.fits"
    with pytest.raises(PollerError, match="listed twice"):
        vet_exposures(["jbl70rtvq", "jbl70rtvq_flc.fits"])


def test_a_deleted_working_folder_is_a_clear_error(tmp_path: Path, hubble_file: MakeFile) -> None:
    path = hubble_file()
    before = Path.cwd()
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    try:
        gone.rmdir()
        assert only_record(vet_exposures([path])).accepted
        with pytest.raises(MissingFileError, match=r"jbl70rtvq_flc\.fits"):
            vet_exposures(["jbl70rtvq_flc.fits"])
    finally:
        os.chdir(before)


@pytest.mark.parametrize("filters", ["../../x", "..", "a b", "*", "--help"])
def test_no_filter_leads_out_of_the_folder(hubble_file: MakeFile, filters: str) -> None:
    vetting = vet_exposures([hubble_file(filters=(filters, "CLEAR2L"))])
    record = only_record(vetting)
    assert record.is_broken
    assert f"FILTER1 is '{filters}'" in record.reason
    row = PollerRow(str(hubble_file("ok/jbl70rtvq_flc.fits")), filters=filters, sky_cell_id=CELL)
    assert not vet_exposures([row]).accepted


def test_missing_files_are_one_error_that_names_all(tmp_path: Path, hubble_file: MakeFile) -> None:
    hubble_file("jbl70rtvq_flc.fits")
    with pytest.raises(MissingFileError, match=r"2 exposure files missing\n.*a_flt.*\n.*b_flt"):
        vet_exposures(["a_flt.fits", "jbl70rtvq_flc.fits", "b_flt.fits"], folder=tmp_path)


def test_a_file_given_twice_is_an_error(hubble_file: MakeFile) -> None:
    path = hubble_file()
    other = hubble_file("other/jbl70rtvq_flc.fits")
    for second in (str(path), other):
        with pytest.raises(PollerError, match=rf"{path} and {second}: jbl70rtvq_flc\.fits is listed twice"):
            vet_exposures([path, second])
    rows = [PollerRow(path.name, line_number=n, pathname=str(path)) for n in (3, 7)]
    with pytest.raises(PollerError, match=r"lines 3 and 7: jbl70rtvq_flc\.fits is listed twice"):
        vet_exposures(rows)


def test_files_are_found_in_the_folder_and_at_the_pathname(tmp_path: Path, hubble_file: MakeFile) -> None:
    hubble_file("here/jbl70rtvq_flc.fits")
    there = hubble_file("there/jbl70rtwq_flc.fits")
    rows = [
        PollerRow("jbl70rtvq_flc.fits", sky_cell_id=CELL),
        PollerRow("jbl70rtwq_flc.fits", sky_cell_id=CELL, pathname=str(there)),
    ]
    vetting = vet_exposures(rows, folder=tmp_path / "here")
    assert [c.exposure.rootname for c in vetting.accepted] == ["jbl70rtvq", "jbl70rtwq"]
    assert vetting.accepted[0].row.pathname == str(tmp_path / "here" / "jbl70rtvq_flc.fits")


def test_the_same_exposure_under_two_names_is_combined_once(hubble_file: MakeFile) -> None:
    pipeline = hubble_file("jbl70rtvq_flc.fits")
    visit = hubble_file("hst_12286_0r_acs_wfc_f775w_jbl70rtv_flc.fits")
    plain = hubble_file("jbl70rtvq_flt.fits")
    vetting = vet_exposures([pipeline, visit, plain])
    assert [record.accepted for record in vetting.records] == [True, False, True]
    assert vetting.records[1].keyword == "ROOTNAME"
    assert str(pipeline) in vetting.records[1].reason


def test_what_the_poller_file_says_must_be_what_the_header_says(hubble_file: MakeFile) -> None:
    path = str(hubble_file("jbl70rtvq_flc.fits", filters=("POL60V", "F606W")))
    for filters in ("F606W-POL60V", "F606W;POL60V", "POL60V;F606W"):
        vetting = vet_exposures([PollerRow(path, filters=filters, detector="WFC", sky_cell_id=CELL)])
        assert only_record(vetting).accepted
    record = only_record(vet_exposures([PollerRow(path, filters="F814W", sky_cell_id=CELL)]))
    assert (record.accepted, record.value) == (False, "f606w-pol60v")
    assert "f814w" in record.reason
    record = only_record(vet_exposures([PollerRow(path, detector="UVIS", sky_cell_id=CELL)]))
    assert (record.accepted, record.keyword, record.value) == (False, "DETECTOR", "WFC")


def test_wfpc2_is_the_detector_pc(hubble_file: MakeFile) -> None:
    path = str(hubble_file("u2eq0201t_c0m.fits", detector="PC"))
    assert only_record(vet_exposures([PollerRow(path, detector="WFPC2", sky_cell_id=CELL)])).accepted


def test_another_exposure_time_is_worth_a_warning(
    hubble_file: MakeFile, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(hubble_file(exposure_time=100.0))
    vetting = vet_exposures([PollerRow(path, exposure_time=5.0, sky_cell_id=CELL)])
    assert only_record(vetting).accepted
    assert "5 s" in caplog.text
    assert vetting.accepted[0].row.exposure_time == 5.0


# ------------------------------------------------------------------------------------------------ sky cells


def test_an_exposure_is_a_candidate_for_every_sky_cell_it_falls_on(hubble_file: MakeFile) -> None:
    """The corner where four sky cells overlap, by the definition of the overlap."""
    cell = SkyCell.from_name(CELL)
    corner = cell.grid().shape[0] - cell.overlap
    ra, dec = (float(v) for v in cell.wcs.all_pix2world(corner, corner, 0))
    vetting = vet_exposures([hubble_file(position=(ra, dec))])
    expected = {f"skycell-p1889x{x}y{y}" for x in (11, 12) for y in (11, 12)}
    assert {candidate.row.sky_cell_id for candidate in vetting.accepted} == expected
    assert {record.sky_cell_id for record in vetting.records} == expected
    one = vet_exposures([candidate.row.filename for candidate in vetting.accepted[:1]], sky_cells=[CELL])
    assert [candidate.row.sky_cell_id for candidate in one.accepted] == [CELL]


def test_an_exposure_off_the_wanted_sky_cells_is_refused(hubble_file: MakeFile) -> None:
    vetting = vet_exposures([hubble_file()], sky_cells=["skycell-p0000x11y11"])
    assert "none of the sky cells" in only_record(vetting).reason
    with pytest.raises(SkyCellError):
        vet_exposures([hubble_file("jbl70rtwq_flc.fits")], sky_cells=["skycell-p9999x11y11"])


def test_an_exposure_that_does_not_overlap_its_sky_cell_is_refused(hubble_file: MakeFile) -> None:
    row = PollerRow(str(hubble_file()), sky_cell_id="skycell-p1889x01y01")
    vetting = vet_exposures([row])
    assert only_record(vetting).reason == "does not overlap the sky cell; mvm cells tells which it does"
    assert vetting.frame == ()


# -------------------------------------------------------------------------------------------------- options


def test_small_detectors_are_left_out_on_request(hubble_file: MakeFile) -> None:
    small = [
        hubble_file("j8bt06nyq_flt.fits", detector="HRC"),
        hubble_file("j8bt06o6q_flt.fits", detector="SBC", filters=("F150LP", "N/A")),
    ]
    vetting = vet_exposures(small, include_small=False)
    assert [(record.keyword, record.value) for record in vetting.refused] == [
        ("DETECTOR", "HRC"),
        ("DETECTOR", "SBC"),
    ]
    assert vetting.only_small_detectors
    assert "ACS/HRC or ACS/SBC" in vetting.no_viable_reason
    both = vet_exposures([*small, hubble_file("jbl70rtvq_flc.fits")], include_small=False)
    assert len(both.accepted) == 1
    assert not both.only_small_detectors
    assert len(vet_exposures(small).accepted) == 2


def test_unusable_small_detectors_are_no_viable_data(hubble_file: MakeFile) -> None:
    path = hubble_file("j8bt06nyq_flt.fits", detector="HRC", exposure_time=0.0)
    assert not vet_exposures([path], include_small=False).only_small_detectors


def test_exposures_that_are_not_cte_corrected_are_left_out_on_request(hubble_file: MakeFile) -> None:
    paths = [
        hubble_file("jbl70rtvq_flc.fits"),
        hubble_file("jbl70rtwq_flt.fits"),
        hubble_file("ib4606c5q_flt.fits", detector="UVIS", filters=("F606W",)),
        hubble_file("ib4606clq_flt.fits", detector="IR"),
        hubble_file("j8bt06nyq_flt.fits", detector="HRC"),
    ]
    accepted = vet_exposures(paths, only_cte=True).accepted
    assert [c.exposure.filename for c in accepted] == [
        "jbl70rtvq_flc.fits",
        "ib4606clq_flt.fits",
        "j8bt06nyq_flt.fits",
    ]


# --------------------------------------------------------------------------------------------------- output


def test_progress_is_told_of_every_exposure(hubble_file: MakeFile) -> None:
    paths = [str(hubble_file("jbl70rtvq_flc.fits")), str(hubble_file("jbl70rtwq_flc.fits"))]
    told: list[str] = []
    vet_exposures(paths, progress=told.append)
    assert told == paths


def test_the_table_has_a_row_for_each_record(tmp_path: Path, hubble_file: MakeFile) -> None:
    from astropy.table import Table

    hubble_file("jbl70rtvq_flc.fits", exposure_time=339.0)
    hubble_file("jbl70rtwq_flc.fits", MTFLAG="T")
    vetting = vet_exposures(["jbl70rtvq_flc.fits", "jbl70rtwq_flc.fits"], folder=tmp_path)
    table = vetting.table()
    assert table.colnames == [
        "filename",
        "sky_cell",
        "instrument",
        "detector",
        "filters",
        "exposure_time",
        "status",
        "keyword",
        "value",
        "reason",
    ]
    assert list(table["status"]) == ["accepted", "refused"]
    assert table["exposure_time"].unit == "s"
    table.write(tmp_path / "vetting.ecsv")
    read = Table.read(tmp_path / "vetting.ecsv")
    assert list(read["filename"]) == ["jbl70rtvq_flc.fits", "jbl70rtwq_flc.fits"]
    np.testing.assert_array_equal(read["exposure_time"], [339.0, 100.0])
    lines = vetting.text().splitlines()
    assert len(lines) == 3
    assert "MTFLAG" in lines[2]
    assert "339" in lines[1]


def test_nothing_to_vet_is_an_empty_table() -> None:
    vetting = vet_exposures([])
    assert vetting.records == ()
    assert len(vetting.table()) == 0
    assert vetting.no_viable_reason


def test_real_exposures_are_accepted(real_data: Path) -> None:
    paths = sorted((real_data / "hrc_47tuc").glob("*.fits"))
    vetting = vet_exposures([*paths, real_data / "headers" / "wfc3_ir_flt.fits"])
    assert not vetting.refused
    assert {c.exposure.filter_name for c in vetting.accepted} == {"f606w", "f110w"}
