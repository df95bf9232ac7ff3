"""The headers of a product."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from multivisit.errors import ProductError
from multivisit.products.header import ProductDescription, primary_header
from multivisit.products.image_header import image_header, science_header, weight_header
from multivisit.products.members import combined_photometry, iso_date, wcs_solution
from multivisit.sky.cells import SkyCell

if TYPE_CHECKING:
    from collections.abc import Callable


def description(case: Any, **changes: Any) -> ProductDescription:
    return ProductDescription(
        layer=case.layer,
        mosaic=case.mosaic,
        grid=case.grid,
        parameters=case.parameters,
        written=datetime.date(2026, 1, 2),
        **changes,
    )


def again(header: fits.Header) -> fits.Header:
    """The header as a reader gets it from a file."""
    return fits.Header.fromstring(header.tostring())


def history(header: fits.Header) -> str:
    return " ".join(str(line).strip() for line in header["HISTORY"])


def test_a_product_says_what_it_is(make_case: Callable[..., Any]) -> None:
    header = again(primary_header(description(make_case()), 3))
    expected = {
        "FILENAME": "hst_skycell-p1889x07y19_acs_wfc_f775w_all_drc.fits",
        "ROOTNAME": "hst_skycell-p1889x07y19_acs_wfc_f775w_all",
        "TELESCOP": "HST",
        "INSTRUME": "ACS",
        "DETECTOR": "WFC",
        "FILTER": "F775W",
        "FILTER1": "CLEAR1L",
        "FILTER2": "F775W",
        "HAPLEVEL": 4,
        "SCELLID": "p1889x07y19",
        "NEXTEND": 3,
        "DATE": "2026-01-02",
        "NPIXFRAC": 0.25,
        "MEANEXPT": 500.0,
        "MEDEXPT": 500.0,
        "MEANNEXP": 1.25,
        "MEDNEXP": 1.0,
        "MEANWHT": 480.5,
        "MEDWHT": 500.0,
        "EXPTIME": 500.0,
        "TEXPTIME": 500.0,
        "NUMEXP": 1,
        "NDRIZIM": 2,
        "PROPOSID": "12286",
        "PINAME": "Yan",
        "DRIZPARS": "hst_skycell-p1889x07y19_acs_wfc_f775w_all_trl.txt",
        "D001DATA": "jsim0101q_flc.fits[sci,1]",
        "D002DATA": "jsim0101q_flc.fits[sci,2]",
        "D001DEXP": 500.0,
        "D001WTSC": 500.0,
        "D001KERN": "square",
        "D001PIXF": 1.0,
        "D001OUUN": "cps",
        "D001FVAL": "INDEF",
        "D001SCAL": 0.04,
        "D001ISCL": 0.05,
        "SKYMETHD": "match",
        "SKYLOW": 0.0,
        "SKYHIGH": 0.01,
        "WCSMIXED": False,
        "WCSSOLN": "FIT_SVM_GAIAeDR3",
    }
    assert {keyword: header.get(keyword) for keyword in expected} == expected
    assert "MTFLAG" not in header  # blank in the members
    assert "  final_kernel = square" in list(header["HISTORY"])


def test_members_of_several_visits_are_combined(make_case: Any, make_exposure: Any) -> None:
    late = make_exposure(
        "jsim0201q", {"PROPOSID": 9019, "TARGNAME": "LATE"}, mjd=57000.5, exposure_time=300.0
    )
    early = make_exposure("jsim0101q", {"APERTURE": "WFCENTER", "CCDGAIN": 1.0}, mjd=55000.25)
    header = primary_header(description(make_case([late, early])), 3)
    assert header["TARGNAME"] == "FIELD-1"
    assert header["PROPOSID"] == "9019; 12286"
    assert header["APERTURE"] == header["CCDGAIN"] == "MULTIPLE"
    assert header["EXPTIME"] == 800.0
    assert header["NUMEXP"] == 2
    assert header["EXPSTART"] == 55000.25
    assert header["EXPEND"] == 57000.5 + 300 / 86400
    assert (header["DATE-OBS"], header["TIME-OBS"]) == ("2009-06-18", "06:00:00")
    assert header["DATE-BEG"] == "2009-06-18T06:00:00.000"
    assert header["DATE-END"] == "2014-12-09T12:05:00.000"
    # The numbers of the chips follow the mosaic, where the late exposure came first.
    assert header["D001DATA"] == "jsim0201q_flc.fits[sci,1]"
    assert header["D003DATA"] == "jsim0101q_flc.fits[sci,1]"


def test_images_say_which_exposures_and_chips_they_are_of(make_case: Any, make_exposure: Any) -> None:
    def chip(number: int, name: str, place: float) -> dict[str, Any]:
        carried = {"EXPNAME": name, "RA_APER": place, "DEC_APER": -place, "PA_APER": place / 2, "BINAXIS1": 1}
        return {"CCDCHIP": number, **carried}

    early = make_exposure(
        "jsim0101q", None, [chip(2, "jsim0101q", 10.5), chip(1, "jsim0101q", 10.5)], mjd=55000.0
    )
    late = make_exposure("jsim0201q", None, [chip(2, "jsim0201q", 20.5)], mjd=57000.0)
    product = description(make_case([late, early]))
    science, weight = again(science_header(product)), again(weight_header(product))
    for header in (science, weight):
        assert header["EXPNAME"] == "jsim0101q"
        assert header["CCDCHIP"] == -999
        assert header["WCSNAME"] == "IDC_4bb1536oj-FIT_SVM_GAIAeDR3"
    assert (science["RA_APER"], science["DEC_APER"], science["PA_APER"]) == (10.5, -10.5, 0.0)
    assert science["BINAXIS1"] == 1
    assert "BINAXIS2" not in science
    assert (weight["BUNIT"], weight["WHTTYPE"]) == ("UNITLESS", "EXP")
    assert again(science_header(description(make_case([late]))))["CCDCHIP"] == 2


def test_versions_and_pointing_come_from_the_members(make_case: Any, make_exposure: Any) -> None:
    early = make_exposure(
        "jsim0101q", {"PA_V3": 77.5, "POSTARG1": -1.5, "CRSPLIT": 1, "UPWCSVER": "1.7.2"}, mjd=55000
    )
    late = make_exposure(
        "jsim0201q", {"PA_V3": 80.5, "POSTARG1": 2.5, "CRSPLIT": 2, "UPWCSVER": "1.7.2"}, mjd=57000
    )
    header = primary_header(description(make_case([late, early])), 3)
    assert (header["PA_V3"], header["POSTARG1"], header["LINENUM"]) == (0.0, -1.5, "01.001")
    assert (header["CRSPLIT"], header["UPWCSVER"], header["NRPTEXP"]) == (1, "1.7.2", 1)


def test_members_without_most_keywords_survive(make_case: Any, make_exposure: Any) -> None:
    absent = (
        "TARGNAME",
        "PROPOSID",
        "PR_INV_L",
        "APERTURE",
        "DATE",
        "DATE-OBS",
        "TIME-OBS",
        "EXPSTART",
        "EXPEND",
    )
    chip = dict.fromkeys(("PHOTFLAM", "PHOTMODE", "PHOTPLAM", "PHOTZPT", "PHOTBW", "WCSNAME"))
    exposure = make_exposure("jsim0101q", dict.fromkeys(absent), [chip, {}])
    exposure = dataclasses.replace(exposure, start_mjd=None, end_mjd=None, proposal_id=None)
    product = description(make_case([exposure]))
    header = again(primary_header(product, 3))
    for keyword in ("TARGNAME", "PROPOSID", "EXPSTART", "DATE-BEG", "DATE-OBS", "EXPEND", "DATE-END"):
        assert keyword not in header
    assert header["WCSMIXED"] is True
    science = again(science_header(product))
    assert science["PHOTFLAM"] == 1.0e-19
    assert "1 of 2 chips have no PHOTFLAM" in history(science)


def test_values_that_a_header_cannot_hold_are_left_out(make_case: Any) -> None:
    case = make_case().with_chip(0, sky_level=np.float64(0.125))
    nothing = dataclasses.replace(case.mosaic.statistics, mean_weight=np.float32("nan"))
    case = case.with_mosaic(statistics=nothing)
    header = again(primary_header(description(case), 3))
    assert "MEANWHT" not in header
    assert header["SKYHIGH"] == 0.125


def test_mixed_wcs_solutions_are_told(make_case: Any, make_exposure: Any) -> None:
    fitted = make_exposure("jsim0101q")
    other_model = make_exposure("jsim0102q", None, [{"WCSNAME": "IDC_0461802dj-FIT_SVM_GAIAeDR3"}] * 2)
    coarse = make_exposure("jsim0201q", None, [{"WCSNAME": "IDC_4bb1536oj-GSC240"}] * 2)
    same = primary_header(description(make_case([fitted, other_model])), 3)
    assert (same["WCSMIXED"], same["NWCSNAME"], same["WCSSOLN"]) == (False, 2, "FIT_SVM_GAIAeDR3")
    assert "WARNING" not in history(same)
    mixed = primary_header(description(make_case([fitted, other_model, coarse])), 3)
    assert (mixed["WCSMIXED"], mixed["NWCSNAME"], mixed["WCSSOLN"]) == (True, 3, "MULTIPLE")
    assert "WARNING: members with different WCS solutions" in history(mixed)
    assert "FIT_SVM_GAIAeDR3: 4, 2" in history(mixed)
    assert science_header(description(make_case([fitted])))["WCSNAME"] == "IDC_4bb1536oj-FIT_SVM_GAIAeDR3"
    assert science_header(description(make_case([fitted, coarse])))["WCSNAME"] == "MULTIPLE"


def test_sky_levels_that_are_not_known_or_not_matched_are_told(make_case: Any, make_exposure: Any) -> None:
    case = make_case([make_exposure("jsim0101q"), make_exposure("jsim0201q")])
    assert "WARNING" not in history(primary_header(description(case), 3))
    case = case.with_chip(0, sky_group=1).with_chip(1, sky_measured=False).with_chip(3, in_grid=False)
    told = history(primary_header(description(case), 3))
    assert "sky level of 1 of 3 chips" in told
    assert "in 2 groups" in told
    off = case.changed(parameters=case.parameters.replace(skysub=False))
    assert "WARNING" not in history(primary_header(description(off), 3))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IDC_2731450pi-FIT_SVM_GAIAeDR3", "FIT_SVM_GAIAeDR3"),
        ("IDC_2731450pi", "none"),
        ("TWEAK", "TWEAK"),
        ("", "unnamed"),
        (None, "unnamed"),
    ],
)
def test_solution_of_a_wcs_name(name: str | None, expected: str) -> None:
    assert wcs_solution(name) == expected


@given(st.floats(48000, 60000))
def test_dates_are_astropys(mjd: float) -> None:
    assert abs((Time(iso_date(mjd), scale="utc") - Time(mjd, format="mjd", scale="utc")).sec) < 0.00051


def test_photflam_is_the_one_that_gives_the_right_flux(make_case: Any, make_exposure: Any) -> None:
    """A star of known flux density, its count rates in both epochs averaged as the mosaic averages them."""
    epochs = [
        make_exposure("jsim0101q", None, [{"PHOTFLAM": 1.00e-19}], exposure_time=1000.0),
        make_exposure("jsim0201q", None, [{"PHOTFLAM": 1.05e-19, "PHOTPLAM": 7700.0}], exposure_time=500.0),
    ]
    flux = 3.0e-17
    mosaic_rate = (1000.0 * flux / 1.00e-19 + 500.0 * flux / 1.05e-19) / 1500.0
    product = description(make_case(epochs))
    science = again(science_header(product))
    assert mosaic_rate * science["PHOTFLAM"] == pytest.approx(flux, rel=1e-12)
    assert science["PHOTPLAM"] == pytest.approx((2 * 7692.0 + 7700.0) / 3)
    assert "differ in PHOTFLAM by 5.0 per cent" in history(science)
    assert combined_photometry(product.chips).keywords["PHOTMODE"] == "ACS WFC1 F775W MJD#55611.0279"


def test_photometry_in_the_primary_header_is_found(make_case: Any, make_exposure: Any) -> None:
    """As in WFC3/IR."""
    chip = dict.fromkeys(("PHOTFLAM", "PHOTMODE", "PHOTPLAM", "PHOTZPT", "PHOTBW"))
    exposure = make_exposure("jsim0101q", {"PHOTFLAM": 1.5e-20, "PHOTFNU": 6.8e-8}, [chip])
    science = science_header(description(make_case([exposure])))
    assert (science["PHOTFLAM"], science["PHOTFNU"]) == (1.5e-20, 6.8e-8)
    assert "HISTORY" not in science


@pytest.mark.parametrize(
    "cell", ["skycell-p1889x07y19", "skycell-p0000x11y11", "skycell-p2643x01y21", "skycell-p0047x20y18"]
)
@pytest.mark.parametrize("scale", ["fine", "coarse"])
def test_wcs_in_the_header_is_exactly_the_grids(make_case: Any, cell: str, scale: str) -> None:
    grid = SkyCell.from_name(cell, scale=scale).sub_grid(123, 4567, 130, 110)
    case = make_case(shape=(110, 130)).changed(grid=grid)
    header = again(science_header(description(case)))
    wcs = WCS(header)
    for name in ("crval", "crpix", "cd"):
        np.testing.assert_array_equal(getattr(wcs.wcs, name), getattr(grid.wcs.wcs, name))
    assert list(wcs.wcs.ctype) == ["RA---TAN", "DEC--TAN"]
    assert wcs.wcs.radesys == "ICRS"
    corners = np.array([[0, 0], [129, 0], [129, 109], [0, 109]])
    np.testing.assert_array_equal(wcs.all_pix2world(corners, 0), grid.wcs.all_pix2world(corners, 0))


def test_physical_pixels_are_the_projection_cells(make_case: Any) -> None:
    """By the custom that DS9 and IRAF follow: physical = (pixel - LTV) / LTM."""
    cell = SkyCell.from_name("skycell-p1889x07y19")
    grid = cell.sub_grid(123, 4567, 130, 110)
    header = science_header(description(make_case(shape=(110, 130)).changed(grid=grid)))
    sky = grid.wcs.wcs_pix2world([[1.0, 1.0]], 1)
    physical = [(1.0 - header["LTV1"]) / header["LTM1_1"], (1.0 - header["LTV2"]) / header["LTM2_2"]]
    projection = cell.projection_cell.wcs.wcs_world2pix(sky, 1)[0]
    np.testing.assert_allclose(physical, projection, atol=1e-6)


def test_units_follow_the_parameters(make_case: Any) -> None:
    case = make_case()
    assert science_header(description(case))["BUNIT"] == "ELECTRONS/S"
    counts = case.parameters.replace(final_units="counts")
    assert science_header(description(case.changed(parameters=counts)))["BUNIT"] == "ELECTRONS"


def test_a_long_footprint_is_continued_and_declared(make_case: Any) -> None:
    region = "POLYGON ICRS " + " ".join(f"{180 + n / 1e3:.8f} {26 - n / 1e3:.8f}" for n in range(40))
    header = again(science_header(description(make_case(), s_region=region)))
    assert header["S_REGION"] == region
    assert header["LONGSTRN"] == "OGIP 1.0"
    assert "LONGSTRN" not in image_header(description(make_case()), "WHT", (3, 4), bits=-32)


def test_thousands_of_chips_are_numbered_up_to_999(make_case: Any, make_exposure: Any) -> None:
    exposure = make_exposure()
    case = make_case([exposure])
    case = case.with_mosaic(chips=case.mosaic.chips * 600)
    header = again(primary_header(description(case), 3))
    assert header["NDRIZIM"] == 1200
    assert header["D999DATA"] == "jsim0101q_flc.fits[sci,1]"
    assert "HDRTAB has all 1200" in history(header)


def test_a_chip_that_is_no_member_is_an_error(make_case: Any) -> None:
    case = make_case().with_chip(0, rootname="jother01q")
    with pytest.raises(ProductError, match=r"jother01q\[sci,1\]"):
        primary_header(description(case), 3)
