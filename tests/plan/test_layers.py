"""Layers: what goes where, under what name."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from multivisit.errors import ParameterError
from multivisit.exposures.model import Exposure
from multivisit.plan.layers import Layer, make_layers
from multivisit.plan.poller import PollerRow
from multivisit.plan.vetting import Candidate, Vetting, VettingRecord, record_of, vet_exposures

CELL = "skycell-p1889x07y19"
OTHER_CELL = "skycell-p1889x08y19"
INSTRUMENTS = {"wfc": "acs", "hrc": "acs", "sbc": "acs", "uvis": "wfc3", "ir": "wfc3", "pc": "wfpc2"}
MakeFile = Callable[..., Path]


def candidate(
    name: str = "jbl70rtvq_flc.fits",
    *,
    detector: str = "wfc",
    filter_name: str = "f775w",
    seconds: float = 100.0,
    year: int = 2011,
    cell: str = CELL,
    is_new: bool = True,
    start: float = 55000.0,
) -> Candidate:
    stem, _, rest = name.partition("_")
    exposure = Exposure(
        path=Path("/data") / name,
        filename=name,
        rootname=stem,
        instrument=INSTRUMENTS[detector],
        detector=detector,
        filter_name=filter_name,
        exposure_time=seconds,
        start_mjd=start,
        end_mjd=start,
        date_observed=datetime.date(year, 6, 1) if year else None,
        proposal_id=12286,
        file_type=rest.partition(".")[0],
        primary=fits.Header(),
        chips=(),
    )
    row = PollerRow(name, exposure_time=seconds, sky_cell_id=cell, is_new=is_new)
    return Candidate(row, exposure)


def vetting(*candidates: Candidate) -> Vetting:
    return Vetting(candidates, tuple(record_of(c, None) for c in candidates), candidates)


def layers_of(
    *candidates: Candidate, method: str = "all", exp_limit: float | None = 2.0
) -> tuple[Layer, ...]:
    return make_layers(vetting(*candidates), method, exp_limit)[0]


def contents(layers: tuple[Layer, ...]) -> dict[str, list[str]]:
    return {layer.product_filename: [m.row.filename.split("_")[0] for m in layer.members] for layer in layers}


def test_everything_of_a_detector_and_filter_is_one_layer() -> None:
    layers = layers_of(
        candidate("jaaaaaaaq_flc.fits", seconds=1.0, year=2002),
        candidate("jbbbbbbbq_flc.fits", seconds=1000.0, year=2020),
        candidate("jcccccccq_flc.fits", filter_name="f606w-pol60v"),
        candidate("iddddddddq_flc.fits", detector="uvis"),
    )
    assert contents(layers) == {
        "hst_skycell-p1889x07y19_acs_wfc_f606w-pol60v_all_drc.fits": ["jcccccccq"],
        "hst_skycell-p1889x07y19_acs_wfc_f775w_all_drc.fits": ["jaaaaaaaq", "jbbbbbbbq"],
        "hst_skycell-p1889x07y19_wfc3_uvis_f775w_all_drc.fits": ["iddddddddq"],
    }


@pytest.mark.parametrize(("detector", "name"), [("ir", "iaaaaaaaq_flt.fits"), ("pc", "uaaaaaaaq_c0m.fits")])
def test_detectors_with_large_pixels_have_two_scales(detector: str, name: str) -> None:
    coarse, fine = layers_of(candidate(name, detector=detector, filter_name="f160w"))
    basename = f"hst_{CELL}_{INSTRUMENTS[detector]}_{detector}_f160w"
    assert coarse.product_filename == f"{basename}_coarse-all_drz.fits"
    assert fine.product_filename == f"{basename}_all_drz.fits"
    assert (coarse.scale_name, fine.scale_name) == ("coarse", "fine")
    assert coarse.members == fine.members


def test_the_published_description() -> None:
    coarse, fine = layers_of(candidate("iaaaaaaaq_flt.fits", detector="ir", filter_name="f105w"))
    assert coarse.info == "skycell-p1889x07y19 wfc3 ir f105w all all 1 drz coarse"
    assert fine.info == "skycell-p1889x07y19 wfc3 ir f105w all all 1 drz fine"
    (old,) = layers_of(candidate(is_new=False))
    assert old.info == "skycell-p1889x07y19 acs wfc f775w all all 0 drc fine"


def test_a_members_copy_has_the_published_name() -> None:
    coarse, fine = layers_of(candidate("ib4606cpq_flt.fits", detector="ir", filter_name="f160w"))
    assert coarse.member_basename(coarse.members[0]) == f"hst_{CELL}_wfc3_ir_f160w_coarse-all-ib4606cp"
    assert fine.member_basename(fine.members[0]) == f"hst_{CELL}_wfc3_ir_f160w_all-ib4606cp"


def test_hard_limits_give_classes_and_years() -> None:
    layers = layers_of(
        candidate("jaaaaaaaq_flc.fits", seconds=0.5),
        candidate("jbbbbbbbq_flc.fits", seconds=14.99),
        candidate("jcccccccq_flc.fits", seconds=15.0),
        candidate("jdddddddq_flc.fits", seconds=119.9),
        candidate("jeeeeeeeq_flc.fits", seconds=120.0),
        candidate("jfffffffq_flc.fits", seconds=120.0, year=2012),
        method="hard",
    )
    start = f"hst_{CELL}_acs_wfc_f775w_"
    assert contents(layers) == {
        f"{start}all-2011_drc.fits": ["jaaaaaaaq", "jbbbbbbbq", "jcccccccq", "jdddddddq", "jeeeeeeeq"],
        f"{start}short-2011_drc.fits": ["jaaaaaaaq", "jbbbbbbbq"],
        f"{start}med-2011_drc.fits": ["jcccccccq", "jdddddddq"],
        f"{start}long-2011_drc.fits": ["jeeeeeeeq"],
        f"{start}all-2012_drc.fits": ["jfffffffq"],
        f"{start}long-2012_drc.fits": ["jfffffffq"],
    }
    assert layers[1].info == f"{CELL} acs wfc f775w short 2011 1 drc fine"


def test_hard_limits_at_two_scales() -> None:
    layers = layers_of(
        candidate("iaaaaaaaq_flt.fits", detector="ir", filter_name="f160w", seconds=3.0), method="hard"
    )
    assert [layer.layer_label for layer in layers] == [
        "coarse-all-2011",
        "all-2011",
        "coarse-short-2011",
        "short-2011",
    ]


def test_kmeans_clusters_all_detectors_and_filters_of_a_sky_cell_together() -> None:
    layers = layers_of(
        candidate("jaaaaaaaq_flc.fits", seconds=10.0),
        candidate("jbbbbbbbq_flc.fits", seconds=12.0, filter_name="f606w"),
        candidate("icccccccq_flc.fits", seconds=300.0, detector="uvis"),
        candidate("jdddddddq_flc.fits", seconds=1200.0),
        candidate("jeeeeeeeq_flc.fits", seconds=310.0),
        method="kmeans",
    )
    classes = {
        m.row.filename[1]: layer.exposure_class
        for layer in layers
        for m in layer.members
        if layer.exposure_class != "all"
    }
    assert classes == {"a": "short", "b": "short", "c": "med", "d": "long", "e": "med"}
    assert {layer.year for layer in layers} == {"2011"}


def test_kmeans_looks_at_each_sky_cell_by_itself() -> None:
    layers = layers_of(
        candidate("jaaaaaaaq_flc.fits", seconds=10.0),
        candidate("jbbbbbbbq_flc.fits", seconds=100.0),
        candidate("jcccccccq_flc.fits", seconds=100.0, cell=OTHER_CELL),
        method="kmeans",
    )
    labels = {(layer.sky_cell_id, layer.layer_label) for layer in layers}
    assert labels == {
        (CELL, "all-2011"),
        (CELL, "short-2011"),
        (CELL, "long-2011"),
        (OTHER_CELL, "all-2011"),
    }


@pytest.mark.parametrize(
    ("seconds", "exp_limit", "expected"),
    [
        ([30.0], 2.0, {"all"}),
        ([30.0, 30.0], 2.0, {"all"}),
        ([30.0, 60.0], 2.0, {"all"}),
        ([30.0, 61.0], 2.0, {"all", "short", "long"}),
        ([30.0, 61.0], None, {"all"}),
        ([30.0, 61.0], 3.0, {"all"}),
        ([30.0], 0.5, {"all"}),
        ([1.0, 30.0, 600.0], 2.0, {"all", "short", "med", "long"}),
    ],
)
def test_kmeans_with_few_exposure_times(
    seconds: list[float], exp_limit: float | None, expected: set[str]
) -> None:
    candidates = [candidate(f"j{'abc'[i] * 7}q_flc.fits", seconds=s) for i, s in enumerate(seconds)]
    layers = layers_of(*candidates, method="kmeans", exp_limit=exp_limit)
    assert {layer.exposure_class for layer in layers} == expected


def test_kmeans_counts_an_exposure_that_is_there_as_flt_and_flc_once() -> None:
    """With the pair counted twice the optimum would be another one."""
    names = ["jaaaaaaaq", "jbbbbbbbq", "jcccccccq", "jdddddddq"]
    times = [1.0, 4.0, 6.9, 30.0]
    once = [candidate(f"{n}_flc.fits", seconds=t) for n, t in zip(names, times, strict=True)]
    twice = [candidate(f"{names[2]}_flt.fits", seconds=times[2])]
    layers = layers_of(*once, *twice, method="kmeans")
    assert contents(layers) == contents(layers_of(*once, method="kmeans"))


def test_exposures_without_a_date_are_kept_apart() -> None:
    (layer,) = layers_of(candidate(year=0), method="kmeans", exp_limit=None)
    assert layer.year == "undated"


@pytest.mark.parametrize(("method", "exp_limit"), [("soft", 2.0), ("kmeans", 0.0), ("kmeans", float("nan"))])
def test_impossible_arguments_are_errors(method: str, exp_limit: float) -> None:
    with pytest.raises(ParameterError, match="expected"):
        layers_of(candidate(), method=method, exp_limit=exp_limit)


# ---------------------------------------------------------------------------------------------- FLT and FLC


def test_a_layer_with_flc_leaves_flt_out() -> None:
    flc, flt = candidate("jaaaaaaaq_flc.fits"), candidate("jbbbbbbbq_flt.fits")
    uvis = candidate("icccccccq_flt.fits", detector="uvis")
    layers, after = make_layers(vetting(flc, flt, uvis))
    assert contents(layers) == {
        f"hst_{CELL}_acs_wfc_f775w_all_drc.fits": ["jaaaaaaaq"],
        f"hst_{CELL}_wfc3_uvis_f775w_all_drz.fits": ["icccccccq"],
    }
    assert [record.accepted for record in after.records] == [True, False, True]
    refused = after.records[1]
    assert (refused.keyword, refused.value) == ("file type", "FLT")
    assert refused.reason == "not in the layer all, made of CTE-corrected exposures (FLC)"
    assert after.accepted == (flc, uvis)


def test_flt_that_only_some_layers_leave_out_is_accepted_with_a_remark() -> None:
    flc = candidate("jaaaaaaaq_flc.fits", seconds=500.0)
    flt = candidate("jbbbbbbbq_flt.fits", seconds=5.0)
    layers, after = make_layers(vetting(flc, flt), "hard")
    assert contents(layers) == {
        f"hst_{CELL}_acs_wfc_f775w_all-2011_drc.fits": ["jaaaaaaaq"],
        f"hst_{CELL}_acs_wfc_f775w_short-2011_drz.fits": ["jbbbbbbbq"],
        f"hst_{CELL}_acs_wfc_f775w_long-2011_drc.fits": ["jaaaaaaaq"],
    }
    assert after.records[1].accepted
    assert "not in the layer all-2011" in after.records[1].reason
    assert len(after.accepted) == 2


# ---------------------------------------------------------------------------------------------- NEW and OLD


def test_a_layer_with_a_new_member_has_the_old_ones_too() -> None:
    (layer,) = layers_of(
        candidate("jaaaaaaaq_flc.fits", is_new=False), candidate("jbbbbbbbq_flc.fits", is_new=True)
    )
    assert layer.has_new
    assert len(layer.members) == 2


def test_a_layer_of_old_members_has_nothing_new() -> None:
    layers = layers_of(
        candidate("jaaaaaaaq_flc.fits", is_new=False), candidate("jbbbbbbbq_flc.fits", filter_name="f606w")
    )
    assert [layer.has_new for layer in layers] == [True, False]


# ------------------------------------------------------------------------------------------------ the frame


def test_the_frame_is_every_exposure_in_the_sky_cell() -> None:
    ours = candidate("jaaaaaaaq_flc.fits")
    refused = candidate("jbbbbbbbq_flc.fits", filter_name="g800l")
    elsewhere = candidate("jcccccccq_flc.fits", cell=OTHER_CELL)
    twin = candidate("jaaaaaaaq_flc.fits", cell=OTHER_CELL)
    given_vetting = Vetting((ours, elsewhere, twin), (), (ours, refused, elsewhere, twin))
    layers, _ = make_layers(given_vetting)
    assert [[e.rootname for e in layer.all_exposures] for layer in layers] == [
        ["jaaaaaaaq", "jbbbbbbbq"],
        ["jcccccccq", "jaaaaaaaq"],
    ]


def test_no_candidates_make_no_layers() -> None:
    record = VettingRecord("x_flt.fits", accepted=False, reason="unreadable")
    assert make_layers(Vetting((), (record,))) == ((), Vetting((), (record,)))


# ------------------------------------------------------------------------------------------------- any input


@st.composite
def inputs(draw: st.DrawFn) -> list[Candidate]:
    number = count()
    detectors = {"wfc": ("f775w", "f606w"), "uvis": ("f775w",), "ir": ("f160w", "f105w"), "sbc": ("f150lp",)}

    def one() -> Candidate:
        detector = draw(st.sampled_from(sorted(detectors)))
        file_type = draw(st.sampled_from(["flt", "flc"])) if detector in ("wfc", "uvis") else "flt"
        return candidate(
            f"j{next(number):07d}q_{file_type}.fits",
            detector=detector,
            filter_name=draw(st.sampled_from(detectors[detector])),
            seconds=draw(st.sampled_from([0.5, 10.0, 15.0, 100.0, 120.0, 999.0])),
            year=draw(st.integers(2010, 2012)),
            cell=draw(st.sampled_from([CELL, OTHER_CELL])),
            is_new=draw(st.booleans()),
            start=draw(st.sampled_from([55000.0, 56000.0])),
        )

    return [one() for _ in range(draw(st.integers(1, 12)))]


@given(inputs(), st.sampled_from(["all", "hard", "kmeans"]), st.randoms())
def test_layers_of_any_input(candidates: list[Candidate], method: str, random: Any) -> None:
    layers, after = make_layers(vetting(*candidates), method)
    names = [layer.product_filename for layer in layers]
    assert len(set(names)) == len(names), "two products share a name"
    assert len({layer.product_basename for layer in layers}) == len(names)
    for layer in layers:
        assert layer.members
        assert len({m.exposure.file_type for m in layer.members}) == 1
        for member in layer.members:
            assert member.row.sky_cell_id == layer.sky_cell_id
            assert member.exposure.detector == layer.detector
            assert member.exposure.filter_name == layer.filter_name
    in_layers = {m.row.filename for layer in layers for m in layer.members}
    assert in_layers == {record.filename for record in after.records if record.accepted}
    assert {c.row.filename for c in candidates} == {record.filename for record in after.records}
    shuffled = list(candidates)
    random.shuffle(shuffled)
    again, _ = make_layers(vetting(*shuffled), method)
    assert [(layer.product_filename, layer.members) for layer in again] == [
        (layer.product_filename, layer.members) for layer in layers
    ]


def test_layers_of_real_files(hubble_file: MakeFile) -> None:
    paths = [
        hubble_file("jbl70rtvq_flc.fits", **{"DATE-OBS": "2011-05-04"}),
        hubble_file("ib4606clq_flt.fits", detector="IR"),
    ]
    layers, _ = make_layers(vet_exposures(paths), "hard")
    assert [layer.layer_label for layer in layers] == [
        "all-2011",
        "med-2011",
        "coarse-all-2011",
        "all-2011",
        "coarse-med-2011",
        "med-2011",
    ]
    assert layers[0].wcs_names == ("IDC_test",)
