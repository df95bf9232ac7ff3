"""The choice of conditions, and the checks of single values."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multivisit.errors import ParameterError
from multivisit.plan.parameters import (
    CombinationParameters,
    combination_parameters,
    condition_of,
    parse_good_bits,
)

CASES = [
    ("acs_wfc", "f775w", 1),
    ("acs_wfc", "f775w", 2),
    ("acs_wfc", "f775w", 30),
    ("acs_hrc", "f606w", 1),
    ("acs_hrc", "f606w", 2),
    ("acs_sbc", "f150lp", 1),
    ("acs_sbc", "f115lp", 1),
    ("acs_sbc", "f150lp", 2),
    ("acs_sbc", "f115lp", 2),
    ("acs_sbc", "f122m", 5),
    ("acs_sbc", "f122m", 6),
    ("wfc3_uvis", "f606w", 1),
    ("wfc3_uvis", "f606w", 2),
    ("wfc3_ir", "f160w", 1),
    ("wfc3_ir", "f160w", 2),
    ("wfpc2_pc", "f606w", 1),
    ("wfpc2_pc", "f606w", 2),
]


@pytest.mark.parametrize(("detector", "filter_name", "number"), CASES)
def test_published_conditions_choose_by_the_mean_number(detector: str, filter_name: str, number: int) -> None:
    by_number = combination_parameters(*detector.split("_"), filter_name, number)
    by_mean = combination_parameters(
        *detector.split("_"), filter_name, 99, published_conditions=True, mean_exposures=number + 0.3
    )
    assert by_mean == by_number


def test_the_single_exposure_parameters_are_for_layers_of_one_exposure() -> None:
    """Two visits that overlap little: a mean of 1.2 exposures a pixel."""
    ours = combination_parameters("acs", "wfc", "f775w", 2, mean_exposures=1.2)
    assert (ours.skysub, ours.final_bits) == (True, 80)
    published = combination_parameters(
        "acs", "wfc", "f775w", 2, published_conditions=True, mean_exposures=1.2
    )
    assert (published.skysub, published.final_bits) == (False, 65535)


def test_halves_are_rounded_as_published() -> None:
    arguments = ("wfc3", "ir", "f160w", 4)
    assert condition_of(*arguments, published_conditions=True, mean_exposures=1.5) == "any_n2"
    assert condition_of(*arguments, published_conditions=True, mean_exposures=1.49) == "any_n1"
    assert condition_of(*arguments, published_conditions=True, mean_exposures=0.5) == "any_n1"


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        (("acs", "uvis", "f606w", 2), {}, "acs/uvis"),
        (("acs", "wfc", "f606w", 0), {}, "number of exposures"),
        (("acs", "wfc", "f606w", 2), {"published_conditions": True}, "mean_exposures"),
        (
            ("acs", "wfc", "f606w", 2),
            {"published_conditions": True, "mean_exposures": float("nan")},
            "number",
        ),
    ],
)
def test_impossible_questions_are_errors(
    arguments: tuple[Any, ...], keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        combination_parameters(*arguments, **keywords)


# ---------------------------------------------------------------------------------------------- one value


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"skymethod": "none"}, ["skymethod", "'none'", "globalmin+match"]),
        ({"skystat": "midpt"}, ["skystat", "'midpt'", "median"]),
        ({"final_kernel": "tophat"}, ["final_kernel", "'tophat'", "lanczos3"]),
        ({"final_units": "jy"}, ["final_units", "'jy'", "counts"]),
        ({"final_pixfrac": 1.1}, ["final_pixfrac", "1.1", "less than or equal to 1"]),
        ({"final_pixfrac": "1"}, ["final_pixfrac", "'1'", "number"]),
        ({"skywidth": 0.0}, ["skywidth", "0.0", "greater than 0"]),
        ({"skylower": float("nan")}, ["skylower", "nan", "finite"]),
        ({"skyclip": -1}, ["skyclip", "-1"]),
        ({"skysub": "yes"}, ["skysub", "'yes'", "boolean"]),
        ({"final_bits": "good"}, ["final_bits", "'good'", "528"]),
        ({"sky_bits": -1}, ["sky_bits", "-1"]),
        ({"final_bits": 65536}, ["final_bits", "65536"]),
        ({"final_wht_type": "RMS"}, ["final_wht_type", "'RMS'", "EXP"]),
        ({"final_wt_scl": "exptme"}, ["final_wt_scl", "'exptme'", "exptime"]),
        ({"final_wt_scl": -2.0}, ["final_wt_scl", "-2.0"]),
        ({"skylower": 1.0, "skyupper": 0.0}, ["skylower 1.0", "less than skyupper 0.0"]),
        ({"final_kernal": "square"}, ["final_kernal", "no such parameter", "final_kernel"]),
        ({"skyclip": -1, "skystat": 3}, ["skyclip", "skystat"]),
    ],
)
def test_impossible_values_are_errors_that_name_all_of_them(
    changes: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(ParameterError) as error:
        CombinationParameters(**changes)
    for part in parts:
        assert part in str(error.value)
    with pytest.raises(ParameterError):
        CombinationParameters().replace(**changes)


def test_parameters_cannot_be_changed_but_replaced() -> None:
    parameters = CombinationParameters()
    with pytest.raises(Exception, match="frozen"):
        parameters.skysub = False  # type: ignore[misc]
    changed = parameters.replace(skysub=False, final_bits="16,512")
    assert (changed.skysub, changed.final_bits, changed.good_bits) == (False, 528, 528)
    assert parameters.skysub


def test_parameters_go_to_other_processes_and_into_json() -> None:
    parameters = combination_parameters("wfpc2", "pc", "f606w", 3)
    assert pickle.loads(pickle.dumps(parameters)) == parameters
    assert CombinationParameters(**json.loads(parameters.model_dump_json())) == parameters


def test_every_field_is_explained() -> None:
    assert all(field.description for field in CombinationParameters.model_fields.values())


# --------------------------------------------------------------------------------------------------- bits


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (0, 0),
        (528, 528),
        ("528", 528),
        ("8, 1024", 1032),
        ("2,8,1024", 1034),
        ("16+512", 528),
        ([16, 512], 528),
        ([], 0),
        ("~4096", 65535 - 4096),
        ("~(16,512)", 65535 - 528),
        ("65535", 65535),
        (None, None),
        ("None", None),
        ("", None),
    ],
)
def test_good_bits(bits: Any, expected: int | None) -> None:
    assert parse_good_bits(bits) == expected


@pytest.mark.parametrize("bits", [True, -1, 1.5, "x", "1,,2", "1 2", "~", [1.5], [True], "0x10", "٣"])
def test_bad_bits(bits: Any) -> None:
    with pytest.raises(ValueError, match="a sum of flag"):
        parse_good_bits(bits)
    with pytest.raises(ParameterError, match="final_bits"):
        CombinationParameters(final_bits=bits)


@given(st.sets(st.integers(0, 15)))
def test_all_ways_to_write_bits_mean_the_same(positions: set[int]) -> None:
    flags = [1 << position for position in sorted(positions)] or [0]
    texts = [",".join(map(str, flags)), "+".join(map(str, flags)), str(sum(flags))]
    assert {parse_good_bits(text) for text in texts} == {sum(flags)}
    assert parse_good_bits(flags) == sum(flags)
    inverted = parse_good_bits(f"~({texts[0]})")
    assert inverted is not None
    assert inverted ^ sum(flags) == 65535


def test_flags_that_do_not_matter() -> None:
    parameters = CombinationParameters(final_bits=None, sky_bits="None")
    assert parameters.final_bits is None
    assert parameters.good_bits == parameters.good_sky_bits == 65535
