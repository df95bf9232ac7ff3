"""Interpreting poller files under the published names."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from multivisit.errors import (
    MissingFileError,
    NotOfferedError,
    NoViableDataError,
    ParameterError,
    PollerError,
)
from multivisit.haputils.poller_utils import build_poller_table, determine_filter_name, interpret_mvm_input
from multivisit.plan.poller import rows_from_files, write_poller

CELL = "skycell-p1889x11y11"
MakeFile = Callable[..., Path]


@pytest.fixture
def exposures(hubble_file: MakeFile) -> list[str]:
    return [
        str(hubble_file("jbl70rtvq_flc.fits", exposure_time=10.0)),
        str(hubble_file("jbl70rtwq_flc.fits", exposure_time=500.0)),
        str(hubble_file("ib4606cpq_flt.fits", detector="IR", filters=("F105W",), exposure_time=100.0)),
    ]


def test_the_functions_have_the_published_arguments_and_defaults() -> None:
    empty = inspect.Parameter.empty
    found = {name: p.default for name, p in inspect.signature(interpret_mvm_input).parameters.items()}
    assert found == {
        "results": empty,
        "log_level": empty,
        "layer_method": "all",
        "exp_limit": 2.0,
        "user_table": None,
        "include_small": True,
        "only_cte": False,
    }
    found = {name: p.default for name, p in inspect.signature(build_poller_table).parameters.items()}
    assert found["poller_type"] == "svm"


def test_a_poller_file_becomes_layers(tmp_path: Path, exposures: list[str]) -> None:
    poller = write_poller(rows_from_files(exposures, CELL), tmp_path / "poller.out")
    obs_info, products = interpret_mvm_input(str(poller), logging.INFO)
    assert list(obs_info) == ["layer 00", "layer 01", "layer 02"]
    assert obs_info["layer 00"]["info"] == f"{CELL} acs wfc f775w all all 1 drc fine"
    assert obs_info["layer 00"]["files"] == ["jbl70rtvq_flc.fits", "jbl70rtwq_flc.fits"]
    assert obs_info["layer 01"]["info"] == f"{CELL} wfc3 ir f105w all all 1 drz coarse"
    assert [p.product_basename for p in products] == [
        f"hst_{CELL}_acs_wfc_f775w_all",
        f"hst_{CELL}_wfc3_ir_f105w_coarse-all",
        f"hst_{CELL}_wfc3_ir_f105w_all",
    ]


def test_a_list_of_files_gives_the_same(exposures: list[str]) -> None:
    obs_info, _ = interpret_mvm_input(exposures, logging.INFO)
    assert [layer["info"].split()[0] for layer in obs_info.values()] == [CELL] * 3


def test_the_layer_methods(exposures: list[str]) -> None:
    hard, products = interpret_mvm_input(exposures[:2], logging.INFO, layer_method="hard")
    assert [layer["info"] for layer in hard.values()] == [
        f"{CELL} acs wfc f775w all 2011 1 drc fine",
        f"{CELL} acs wfc f775w short 2011 1 drc fine",
        f"{CELL} acs wfc f775w long 2011 1 drc fine",
    ]
    assert products[1].drizzle_filename == f"hst_{CELL}_acs_wfc_f775w_short-2011_drc.fits"
    kmeans, _ = interpret_mvm_input(exposures, logging.INFO, layer_method="kmeans")
    assert {layer["info"].split()[4] for layer in kmeans.values()} == {"all", "short", "med", "long"}
    flat, _ = interpret_mvm_input(exposures, logging.INFO, layer_method="kmeans", exp_limit=None)
    assert {layer["info"].split()[4] for layer in flat.values()} == {"all"}


def test_a_table_can_be_edited(exposures: list[str]) -> None:
    names: list[str] = []
    table = build_poller_table(exposures, logging.INFO, names, poller_type="mvm")
    assert names == exposures
    table["exptime"][1] = 11.0
    obs_info, _ = interpret_mvm_input("", logging.INFO, layer_method="hard", user_table=table[:2])
    assert [layer["info"].split()[4] for layer in obs_info.values()] == ["all", "short"]


def test_old_exposures_stay_in_layers_that_have_new_ones(tmp_path: Path, exposures: list[str]) -> None:
    rows = [
        *rows_from_files(exposures[:1], CELL, is_new=False),
        *rows_from_files(exposures[1:2], CELL),
        *rows_from_files(exposures[2:], CELL, is_new=False),
    ]
    obs_info, products = interpret_mvm_input(write_poller(rows, tmp_path / "p.out"), logging.INFO)
    assert [layer["files"] for layer in obs_info.values()] == [["jbl70rtvq_flc.fits", "jbl70rtwq_flc.fits"]]
    assert products[0].new_to_layer == 1
    assert len(products[0].all_mvm_exposures) == 3
    all_old = rows_from_files(exposures, CELL, is_new=False)
    with pytest.raises(NoViableDataError, match="OLD"):
        interpret_mvm_input(write_poller(all_old, tmp_path / "old.out"), logging.INFO)


def test_options_leave_exposures_out(hubble_file: MakeFile) -> None:
    paths = [str(hubble_file("j8bt06nyq_flt.fits", detector="HRC")), str(hubble_file("jbl70rtvq_flt.fits"))]
    assert len(interpret_mvm_input(paths, logging.INFO)[0]) == 2
    obs_info, _ = interpret_mvm_input(paths, logging.INFO, include_small=False)
    assert [layer["files"] for layer in obs_info.values()] == [paths[1:]]
    obs_info, _ = interpret_mvm_input(paths, logging.INFO, only_cte=True)
    assert [layer["files"] for layer in obs_info.values()] == [paths[:1]]
    with pytest.raises(NoViableDataError, match="HRC or ACS/SBC"):
        interpret_mvm_input(paths[:1], logging.INFO, include_small=False)


def test_bad_input_is_an_error(tmp_path: Path, exposures: list[str]) -> None:
    with pytest.raises(MissingFileError):
        interpret_mvm_input(str(tmp_path / "nowhere.out"), logging.INFO)
    with pytest.raises(MissingFileError, match="nowhere_flt"):
        interpret_mvm_input(["nowhere_flt.fits"], logging.INFO)
    with pytest.raises(ParameterError, match="layer_method"):
        interpret_mvm_input(exposures, logging.INFO, layer_method="soft")
    with pytest.raises(NoViableDataError, match="none of the 0"):
        interpret_mvm_input([], logging.INFO)
    with pytest.raises(NotOfferedError, match="svm"):
        build_poller_table(exposures, logging.INFO)
    with pytest.raises(ParameterError, match="poller_type"):
        build_poller_table(exposures, logging.INFO, poller_type="hla")
    with pytest.raises(PollerError):
        interpret_mvm_input(exposures, logging.INFO, user_table={"filename": exposures})
    with pytest.raises(PollerError, match="user_table: found 'x'"):
        interpret_mvm_input(exposures, logging.INFO, user_table="x")  # type: ignore[arg-type]
    for nothing in (None, 5, [None]):
        with pytest.raises(ParameterError, match="input: found"):
            interpret_mvm_input(nothing, logging.INFO)  # type: ignore[arg-type]
    for level in (None, "loud"):
        with pytest.raises(ParameterError, match="log_level"):
            interpret_mvm_input(exposures, level)  # type: ignore[arg-type]


def test_rootnames_become_the_names_of_files(exposures: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(exposures[0]).parent)
    layers, products = interpret_mvm_input(["jbl70rtvq", "jbl70rtwq"], logging.INFO)
    assert layers["layer 00"]["files"] == ["jbl70rtvq_flc.fits", "jbl70rtwq_flc.fits"]
    assert [edp.filename for edp in products[0].edp_list] == layers["layer 00"]["files"]


def test_only_our_own_logger_has_another_level_and_only_during_the_call(exposures: list[str]) -> None:
    root, ours = logging.getLogger(), logging.getLogger("multivisit")
    before = (root.level, ours.level)
    interpret_mvm_input(exposures, logging.DEBUG)
    assert (root.level, ours.level) == before


def test_real_exposures(real_data: Path) -> None:
    paths = [str(path) for path in sorted((real_data / "hrc_47tuc").glob("*.fits"))]
    obs_info, products = interpret_mvm_input(paths, logging.INFO)
    assert all(layer["info"].split()[1:4] == ["acs", "hrc", "f606w"] for layer in obs_info.values())
    assert all(len(product.edp_list) == 2 for product in products)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("F555W", "f555w"),
        ("CLEAR1L;F814W", "f814w"),
        ("F606W;CLEAR2L", "f606w"),
        ("CLEAR1S;CLEAR2S", "clear"),
        ("POL60V;F606W", "f606w-pol60v"),
        ("F606W;POL60V", "f606w-pol60v"),
        ("F502N;F660N", "f502n-f660n"),
        ("N/A;F140LP", "f140lp"),
        ("F140LP;N/A;F140LP", "f140lp"),
    ],
)
def test_filter_names(raw: str, expected: str) -> None:
    assert determine_filter_name(raw) == expected
