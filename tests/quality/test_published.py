"""The published quality files: the sections, columns and values that readers of drizzlepac's files expect."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from multivisit.hapmultisequencer import run_mvm_processing
from multivisit.plan.poller import generate_poller_file
from multivisit.quality.published import WCS_VALUES
from multivisit.sky.cells import SkyCell

CELL = "skycell-p1889x10y12"
BASE = f"hst_{CELL}_acs_wfc_f606w_all"
GENERAL = [
    "telescope",
    "proposal_id",
    "instrument",
    "detector",
    "visit",
    "filter",
    "dataset",
    "dataframe_index",
    "imgname",
    "generation date",
    "generation time",
    "seconds since epoch",
    "commit id",
    "data_source",
    "description",
]
STATISTICS = [
    "Non-clipped minimum",
    "Non-clipped maximum",
    "Non-clipped mean",
    "Non-clipped median",
    "Non-clipped standard deviation",
    "3x3-sigma clipped mean",
    "3x3-sigma clipped median",
    "3x3-sigma clipped standard deviation",
    "Percent of all diff values within 1-sigma of the clipped mean",
    "Percent of all diff values within 2-sigma of the clipped mean",
    "Percent of all diff values within 3-sigma of the clipped mean",
]
TABLE = "crossmatched reference X, Y, RA, Dec, and crossmatched comparison - reference difference values"


def test_the_environment_variable_switches_the_published_files_on(star_exposures, tmp_path, monkeypatch):
    poller = tmp_path / "poller.csv"
    names = [str(path) for path in star_exposures[1:]]
    generate_poller_file(names, poller_file_type="mvm", output_poller_filename=poller, skycell_name=CELL)
    for value, expected in (("on", True), ("off", False)):
        monkeypatch.setenv("MVM_QUALITY_TESTING", value)
        folder = tmp_path / value
        assert run_mvm_processing(str(poller), phot_mode="none", output_folder=folder) == 0
        assert (folder / f"{BASE}_mvm_wcsname.json").exists() == expected
        assert (folder / f"{BASE}_mvm_overlap_crossmatch.json").exists() == expected
        listed = (folder / f"{CELL}_manifest.txt").read_text().split()
        assert (f"{BASE}_mvm_overlap_crossmatch.json" in listed) == expected
        assert f"{BASE}_quality.json" in listed


def test_wcs_names_and_footprints_have_the_published_form(good_run, star_exposures):
    contents = json.loads((good_run / f"{BASE}_mvm_wcsname.json").read_text())
    assert list(contents) == ["header", "general information", "data"]
    assert list(contents["general information"]) == GENERAL
    assert contents["general information"]["data_source"] == "mvm_quality_analysis.report_wcsname"
    assert contents["header"]["FILENAME"] == f"{BASE}_drc.fits"
    assert "FILTER1" not in contents["header"]
    assert not any(key.startswith("D001") for key in contents["header"])
    (item,) = contents["data"].values()
    assert list(contents["data"]) == ["p1889x10y12"]
    assert list(item) == ["original format", "description", "data", "descriptions", "units"]
    data = item["data"]
    columns = ["filename", "wcsname", "shape", "wcs_value", "img_value", "RA", "Dec", "X", "Y"]
    assert list(data) == list(item["units"]) == list(item["descriptions"]) == columns
    assert data["filename"][0] == f"{BASE}-jsim0101_flc.fits"
    assert data["img_value"] == [1, 2, 4]
    with fits.open(good_run / f"{BASE}_drc.fits") as product:
        ny, nx = product["SCI"].data.shape
        plane = WCS(product["SCI"].header)
    assert data["shape"] == [[nx, ny]] * 3
    with fits.open(star_exposures[0]) as exposure:
        corners = WCS(exposure["SCI", 1].header, exposure).calc_footprint()
    assert len(data["RA"][0]) == 2
    assert data["RA"][0][0][0] == data["RA"][0][0][-1]
    ours = np.column_stack([data["RA"][0][0][:4], data["Dec"][0][0][:4]])
    np.testing.assert_allclose(ours, corners, atol=1e-8)
    places = plane.all_world2pix(corners, 0).astype(int)
    np.testing.assert_array_equal(data["X"][0][0][:4], places[:, 0])
    np.testing.assert_array_equal(data["Y"][0][0][:4], places[:, 1])


def test_numbers_of_wcs_solutions_are_the_published_ones():
    assert WCS_VALUES["FIT_SVM_GAIAEDR3"] == 1
    assert WCS_VALUES["FIT_IMG_GAIADR1"] == 256
    assert WCS_VALUES["FIT_REL_2MASS"] == 8192
    assert (WCS_VALUES["HSC30"], WCS_VALUES["GSC240"]) == (262144, 524288)


def test_the_cross_match_has_the_published_sections_and_true_positions(good_run):
    contents = json.loads((good_run / f"{BASE}_mvm_overlap_crossmatch.json").read_text())
    assert list(contents["general information"]) == [*GENERAL, "number of overlap regions present"]
    assert contents["general information"]["number of overlap regions present"] == 1
    titles = [
        "details",
        "X-axis differences",
        "Y-axis differences",
        "On-sky separation (X-Y)",
        "On-sky separation (RA-Dec)",
        TABLE,
    ]
    assert list(contents["data"]) == [f"overlap region #1 {title}" for title in titles]
    items = {title: contents["data"][f"overlap region #1 {title}"] for title in titles}
    details = items["details"]["data"]
    assert details["number of crossmatched sources"] > 100
    for title in titles[1:5]:
        assert list(items[title]["data"]) == STATISTICS
        shares = [items[title]["data"][name] for name in STATISTICS[-3:]]
        assert 0.0 < shares[0] <= shares[1] <= shares[2] <= 100.0
    assert items["X-axis differences"]["units"]["Non-clipped mean"] == "HAP pixels"
    assert items["On-sky separation (RA-Dec)"]["units"]["Non-clipped mean"] == "Arcseconds"
    table = {name: np.array(column["data"]) for name, column in items[TABLE]["data"].items()}
    assert list(table)[:4] == ["X-Skycell", "Y-Skycell", "RA", "DEC"]
    assert {len(column) for column in table.values()} == {details["number of crossmatched sources"]}
    # Positions are FITS pixels of the whole sky cell.
    x, y = SkyCell.from_name(CELL).wcs.all_world2pix(table["RA"], table["DEC"], 1)
    np.testing.assert_allclose(x, table["X-Skycell"], atol=1e-5)
    np.testing.assert_allclose(y, table["Y-Skycell"], atol=1e-5)
    np.testing.assert_allclose(
        table["On-sky separation (RA-Dec)"], 0.04 * table["On-sky separation (X-Y)"], rtol=2e-3, atol=1e-7
    )
    assert np.median(table["On-sky separation (RA-Dec)"]) < 0.004


def test_cross_matched_stars_are_where_the_simulation_put_them(good_run, star_exposures):
    from astropy.table import Table

    truth = Table.read(star_exposures[0].parent / "truth_catalog.ecsv")
    truth = truth[truth["type"] == "star"]
    contents = json.loads((good_run / f"{BASE}_mvm_overlap_crossmatch.json").read_text())
    table = contents["data"][f"overlap region #1 {TABLE}"]["data"]
    found = SkyCoord(table["RA"]["data"], table["DEC"]["data"], unit="deg")
    _, distance, _ = found.match_to_catalog_sky(SkyCoord(truth["ra"], truth["dec"]))
    assert np.median(distance.arcsec) < 0.003
    assert np.mean(distance.arcsec < 0.02) == pytest.approx(1.0, abs=0.06)
