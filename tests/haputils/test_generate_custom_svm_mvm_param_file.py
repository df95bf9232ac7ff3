"""Making custom parameter files under the published name and as a program."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from multivisit.errors import MissingFileError, NoViableDataError, ParameterError
from multivisit.haputils.generate_custom_svm_mvm_param_file import main, make_svm_input_file
from multivisit.plan.poller import generate_poller_file

CELL = "skycell-p1889x10y12"


@pytest.fixture
def visit(tiny_exposures: tuple[Path, ...], tmp_path: Path) -> str:
    """A single-visit poller file of the first of the two visits."""
    path = tmp_path / "visit.out"
    names = [str(item) for item in tiny_exposures if "sim01" in item.name]
    generate_poller_file(names, poller_file_type="svm", output_poller_filename=path)
    return str(path)


def test_the_function_has_the_published_arguments_and_defaults() -> None:
    parameters = inspect.signature(make_svm_input_file).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        "input_filename": inspect.Parameter.empty,
        "hap_pipeline_name": "svm",
        "output_custom_pars_file": "custom_parameters.json",
        "clobber": False,
        "log_level": 20,
    }


def test_a_single_visit_file_has_the_total_filter_and_exposure_products(visit: str, tmp_path: Path) -> None:
    """The names are those that drizzlepac 3.11 writes for such a visit."""
    output = tmp_path / "custom.json"
    assert make_svm_input_file(visit, output_custom_pars_file=str(output)) is None
    content = json.loads(output.read_text())
    assert set(content) == {
        "hst_99001_01_acs_wfc_total_jsim01",
        "hst_99001_01_acs_wfc_f606w_jsim01",
        "hst_99001_01_acs_wfc_f606w_jsim0101",
        "hst_99001_01_wfc3_ir_total_isim01",
        "hst_99001_01_wfc3_ir_f160w_isim01",
        "hst_99001_01_wfc3_ir_f160w_isim0102",
        "hst_99001_01_wfc3_ir_f160w_isim0103",
    }
    steps = {
        name: content[f"hst_99001_01_{name}"]["parameters"]["astrodrizzle"]["driz_cr"]
        for name in ("acs_wfc_f606w_jsim01", "wfc3_ir_f160w_isim01", "wfc3_ir_total_isim01")
    }
    # One exposure cannot be compared with another; a total product is made from cleaned exposures.
    assert steps == {
        "acs_wfc_f606w_jsim01": False,
        "wfc3_ir_f160w_isim01": True,
        "wfc3_ir_total_isim01": False,
    }
    quality = content["hst_99001_01_wfc3_ir_f160w_isim01"]["parameters"]["quality control"]
    assert quality["ci filter"]["aperture"]["ci_upper_limit"] == 0.84
    quality = content["hst_99001_01_wfc3_ir_total_isim01"]["parameters"]["quality control"]
    assert quality["ci filter"]["aperture"]["ci_upper_limit"] == 0.55


def test_a_multi_visit_file_has_the_layers_and_their_exposures(
    tiny_exposures: tuple[Path, ...], tmp_path: Path
) -> None:
    poller, output = tmp_path / "poller.out", tmp_path / "custom.json"
    names = [str(item) for item in tiny_exposures]
    generate_poller_file(names, poller_file_type="mvm", output_poller_filename=poller, skycell_name=CELL)
    make_svm_input_file(str(poller), "mvm", str(output))
    content = json.loads(output.read_text())
    layers = {
        f"hst_{CELL}_{name}"
        for name in ("acs_wfc_f606w_all", "wfc3_ir_f160w_coarse-all", "wfc3_ir_f160w_all")
    }
    assert layers <= set(content)
    members = set(content) - layers
    assert len(members) == 2 + 4 + 4
    assert f"hst_{CELL}_wfc3_ir_f160w_coarse-all-isim0203" in members


def test_what_cannot_be_done_is_an_error(visit: str, tmp_path: Path) -> None:
    output = tmp_path / "custom.json"
    output.write_text("mine")
    with pytest.raises(ParameterError, match=r"custom\.json is there already"):
        make_svm_input_file(visit, output_custom_pars_file=str(output))
    assert output.read_text() == "mine"
    make_svm_input_file(visit, output_custom_pars_file=str(output), clobber=True)
    assert json.loads(output.read_text())
    with pytest.raises(ParameterError, match="hap_pipeline_name"):
        make_svm_input_file(visit, "hla", str(tmp_path / "other.json"))
    with pytest.raises(ParameterError, match="output_custom_pars_file: found None"):
        make_svm_input_file(visit, output_custom_pars_file=None)  # type: ignore[arg-type]
    with pytest.raises(NoViableDataError):
        make_svm_input_file([str(output)], output_custom_pars_file=str(tmp_path / "other.json"))


def test_a_missing_poller_file_is_said_before_anything_else(tmp_path: Path) -> None:
    output = tmp_path / "custom.json"
    output.write_text("mine")
    with pytest.raises(MissingFileError, match=r"nowhere\.out"):
        make_svm_input_file(str(tmp_path / "nowhere.out"), output_custom_pars_file=str(output))


def test_a_poller_file_of_the_other_pipeline_is_warned_of(
    tiny_exposures: tuple[Path, ...], visit: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layers, output = tmp_path / "layers.out", str(tmp_path / "custom.json")
    names = [str(item) for item in tiny_exposures if "sim01" in item.name]
    generate_poller_file(names, poller_file_type="mvm", output_poller_filename=layers, skycell_name=CELL)
    caplog.clear()
    for given, pipeline in ((str(layers), "mvm"), (visit, "svm"), (names, "mvm"), (names, "svm")):
        make_svm_input_file(given, pipeline, output, clobber=True)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    make_svm_input_file(str(layers), "svm", output, clobber=True)
    assert "layers.out: found sky cells on 3 of 3 lines" in caplog.text
    assert "hap_pipeline_name='mvm'" in caplog.text
    caplog.clear()
    make_svm_input_file(visit, "mvm", output, clobber=True)
    assert "visit.out: found no sky cells" in caplog.text
    assert "hap_pipeline_name='svm'" in caplog.text


def test_the_poller_file_is_not_written_over(visit: str, tmp_path: Path) -> None:
    poller = tmp_path / "poller.csv"
    poller.write_bytes(Path(visit).read_bytes())
    before = poller.read_bytes()
    with pytest.raises(ParameterError, match=r"poller\.csv: the parameter file would replace the input"):
        make_svm_input_file(str(poller), output_custom_pars_file=str(poller), clobber=True)
    assert poller.read_bytes() == before


def test_the_program_makes_a_file(visit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "custom.json"
    assert main([visit, "-o", str(output), "-p", "svm", "-l", "error"]) == 0
    assert capsys.readouterr().err == ""
    assert main([visit, "-o", str(output)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main([visit, "-c", "-o", str(output)]) == 0
    assert "7 products" in capsys.readouterr().err
