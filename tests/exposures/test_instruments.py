"""Names, filters, units and detectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multivisit.exposures.instruments import (
    DETECTORS,
    ExposureName,
    find_detector,
    normalise_filter,
    normalise_units,
    parse_exposure_filename,
)


@pytest.mark.parametrize(
    ("filter1", "filter2", "expected"),
    [
        ("F606W", "CLEAR2L", "f606w"),
        ("CLEAR1L", "F814W", "f814w"),
        ("CLEAR1S", "CLEAR2S", "clear"),
        ("F115LP", "N/A", "f115lp"),
        ("POL60V", "F606W", "f606w-pol60v"),
        ("F606W", "POL60V", "f606w-pol60v"),
        ("F550M", "F660N", "f550m-f660n"),
        ("F160W", None, "f160w"),
        (" F606W ", "", "f606w"),
        (None, None, "clear"),
        ("F606W", "POLQ", "f606w-polq"),
    ],
)
def test_filters_are_named_as_in_the_published_products(
    filter1: str | None, filter2: str | None, expected: str
) -> None:
    assert normalise_filter(filter1, filter2) == expected


@given(st.sampled_from(["F606W", "F814W", "FR656N"]), st.sampled_from(["CLEAR1L", "POL0V", "N/A", "", None]))
def test_the_wheel_order_of_a_filter_and_its_companion_does_not_matter(a: str, b: str | None) -> None:
    assert normalise_filter(a, b) == normalise_filter(b, a)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jbl70rtvq_flc.fits", ExposureName("jbl70rtvq", "flc")),
        ("JBL70RTVQ_FLC.FITS.GZ", ExposureName("jbl70rtvq", "flc")),
        ("u2eo0303t_c0m.fits", ExposureName("u2eo0303t", "c0m")),
        (
            "hst_12286_0r_acs_wfc_f775w_jbl70rtv_flc.fits",
            ExposureName("jbl70rtv", "flc", 12286, "0r", "acs", "wfc", "f775w"),
        ),
        (
            "hst_9019_06_acs_hrc_f606w-pol0v_j8bt06ny_flt.fits.gz",
            ExposureName("j8bt06ny", "flt", 9019, "06", "acs", "hrc", "f606w-pol0v"),
        ),
        ("notes.txt", None),
        ("hst_12286_0r_acs_wfc_f775w_drc.fits", None),
        ("", None),
    ],
)
def test_file_names_are_taken_apart(name: str, expected: ExposureName | None) -> None:
    assert parse_exposure_filename(name) == expected


@given(st.text())
def test_any_text_can_be_asked_for_as_a_file_name(name: str) -> None:
    parsed = parse_exposure_filename(name)
    assert parsed is None or len(parsed.rootname) in (8, 9)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("ELECTRONS", "ELECTRONS"),
        ("electrons/s", "ELECTRONS/S"),
        ("ELECTRONS/SEC", "ELECTRONS/S"),
        ("e- s-1", "ELECTRONS/S"),
        ("COUNTS", "COUNTS"),
        ("DN", "COUNTS"),
        ("COUNTS/S", "COUNTS/S"),
        ("cps", "COUNTS/S"),
        ("erg/s", None),
        ("UNITLESS", None),
        ("/s", None),
    ],
)
def test_units_have_one_spelling(found: str, expected: str | None) -> None:
    assert normalise_units(found) == expected


def test_detectors_are_found_in_any_case_and_others_are_not() -> None:
    for detector in DETECTORS:
        assert find_detector(detector.instrument.upper(), f" {detector.name.upper()} ") is detector
    assert find_detector("WFPC2", "") is find_detector("wfpc2", "3")
    assert find_detector("STIS", "CCD") is None
    assert find_detector("WFC3", "WFC") is None


def test_the_wide_field_chips_of_wfpc2_have_a_scale_of_their_own() -> None:
    wfpc2 = find_detector("WFPC2", "")
    assert wfpc2 is not None
    assert [wfpc2.nominal_scale(chip) for chip in (1, 2, 3, 4)] == [0.0455, 0.0996, 0.0996, 0.0996]
