"""Published names."""

from __future__ import annotations

import pytest

from multivisit.plan.names import (
    exposure_name,
    layer_label,
    manifest_filename,
    member_basename,
    product_basename,
)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("fine",), "all"),
        (("fine", "all", "2011"), "all-2011"),
        (("fine", "short", "2011"), "short-2011"),
        (("coarse",), "coarse-all"),
        (("coarse", "short", "2011"), "coarse-short-2011"),
    ],
)
def test_layer_labels(arguments: tuple[str, ...], expected: str) -> None:
    assert layer_label(*arguments) == expected


def test_product_and_member_names() -> None:
    names = ("skycell-p1889x07y19", "wfc3", "ir", "f160w", "coarse-all")
    assert product_basename(*names) == "hst_skycell-p1889x07y19_wfc3_ir_f160w_coarse-all"
    assert member_basename(*names, "ib4606cp") == "hst_skycell-p1889x07y19_wfc3_ir_f160w_coarse-all-ib4606cp"
    assert manifest_filename("skycell-p0797x12y05") == "skycell-p0797x12y05_manifest.txt"


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("jbl70rtvq_flc.fits", "jbl70rtv"),
        ("data/jbl70rtvq_flc.fits.gz", "jbl70rtv"),
        ("hst_12286_0r_acs_wfc_f775w_jbl70rtv_flc.fits", "jbl70rtv"),
        ("hst_12286_0r_acs_wfc_f606w-pol60v_jbl70rtv_flc.fits", "jbl70rtv"),
        ("short.fits", "short"),
    ],
)
def test_exposure_names(filename: str, expected: str) -> None:
    assert exposure_name(filename) == expected
