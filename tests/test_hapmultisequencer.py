"""The published sequencer interface."""

from __future__ import annotations

import inspect
import json
import logging

import pytest
from astropy.io import fits

from multivisit import hapmultisequencer
from multivisit.hapmultisequencer import run_mvm_processing
from multivisit.plan.poller import generate_poller_file

CELL = "skycell-p1889x10y12"
PUBLISHED = {
    "input_filename": inspect.Parameter.empty,
    "skip_gaia_alignment": True,
    "diagnostic_mode": False,
    "use_defaults_configs": True,
    "input_custom_pars_file": None,
    "output_custom_pars_file": None,
    "phot_mode": "both",
    "custom_limits": None,
    "output_file_prefix": None,
    "log_level": 20,
}


@pytest.fixture(autouse=True)
def _no_switches(monkeypatch):
    for name in ("MVM_INCLUDE_SMALL", "MVM_ONLY_CTE", "MVM_QUALITY_TESTING"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def poller(tiny_exposures, tmp_path):
    path = tmp_path / "poller.out"
    names = [str(item) for item in tiny_exposures]
    generate_poller_file(names, poller_file_type="mvm", output_poller_filename=path, skycell_name=CELL)
    return str(path)


def test_the_signature_is_the_published_one_and_more_by_keyword_alone():
    parameters = inspect.signature(run_mvm_processing).parameters
    positional = {n: p.default for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert positional == PUBLISHED
    assert list(positional) == list(PUBLISHED)


def test_products_go_into_the_working_folder_by_default(poller, tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path / "here")
        assert run_mvm_processing(poller, phot_mode="none") == 0
    names = {path.name for path in (tmp_path / "here").iterdir()}
    assert f"hst_{CELL}_wfc3_ir_f160w_coarse-all_drz.fits" in names
    assert f"{CELL}_manifest.txt" in names
    assert "return code 0" in capsys.readouterr().out


def test_products_go_into_any_folder_asked_for(poller, tmp_path):
    assert run_mvm_processing(poller, output_folder=tmp_path / "there", log_level=logging.ERROR) == 0
    assert (tmp_path / "there" / f"hst_{CELL}_acs_wfc_f606w_all_drc.fits").is_file()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"reference_catalog": "gaia.csv"}, "skip_gaia_alignment=False"),
        ({"skip_gaia_alignment": False, "reference_catalog": "nowhere.csv"}, "nowhere.csv"),
        ({"input_custom_pars_file": "nowhere.json"}, "nowhere.json"),
        ({"input_custom_pars_file": "a.json", "output_custom_pars_file": "./a.json"}, "a.json is both"),
        ({"phot_mode": "everything"}, "phot_mode"),
    ],
)
def test_what_is_not_offered_is_refused_and_said(poller, tmp_path, capsys, arguments, word):
    assert run_mvm_processing(poller, output_folder=tmp_path / "out", **arguments) == 1
    assert word in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_switch_for_quality_tests_that_is_neither_on_nor_off_is_said(poller, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MVM_QUALITY_TESTING", "maybe")
    assert run_mvm_processing(poller, output_folder=tmp_path / "out") == 1
    assert "MVM_QUALITY_TESTING" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("text", "code"), [("off", 55), ("false", 55), ("on", 0), ("maybe", 1)])
def test_small_detectors_can_be_left_out(real_data, tmp_path, monkeypatch, capsys, text, code):
    monkeypatch.setenv("MVM_INCLUDE_SMALL", text)
    files = sorted(str(path) for path in (real_data / "hrc_47tuc").glob("*.fits"))
    poller = tmp_path / "poller.out"
    generate_poller_file(
        files, poller_file_type="mvm", output_poller_filename=poller, skycell_name="skycell-p0046x03y19"
    )
    assert run_mvm_processing(str(poller), output_folder=tmp_path / "out") == code
    refused = "environment variable MVM_INCLUDE_SMALL" in capsys.readouterr().out
    assert refused == (text == "maybe")


def test_errors_are_a_code_and_a_message_not_an_exception(tmp_path, capsys):
    assert run_mvm_processing(str(tmp_path / "nowhere.out"), output_folder=tmp_path / "out") == 1
    assert "nowhere.out" in capsys.readouterr().out


def test_the_host_programs_logging_is_left_alone(poller, tmp_path):
    package, root = logging.getLogger("multivisit"), logging.getLogger()
    before = (package.level, package.propagate, list(package.handlers), root.level, list(root.handlers))
    run_mvm_processing(poller, output_folder=tmp_path / "out", log_level=logging.DEBUG)
    after = (package.level, package.propagate, list(package.handlers), root.level, list(root.handlers))
    assert after == before


def test_interruptions_are_not_swallowed(poller, tmp_path, monkeypatch):
    import multivisit.run.sequencer as sequencer

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(sequencer, "_combine_and_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_mvm_processing(poller, output_folder=tmp_path / "out")


def test_the_module_offers_what_is_published():
    assert hapmultisequencer.__all__ == ["run_mvm_processing"]


@pytest.mark.parametrize("nonsense", [None, 5, [None], "a\0b"])
def test_nonsense_is_a_code_and_a_message_too(tmp_path, capsys, nonsense):
    assert run_mvm_processing(nonsense, output_folder=tmp_path / "out") == 1
    assert capsys.readouterr().out


def test_a_custom_parameter_file_is_read_and_written(poller, tmp_path):
    """Whatever `use_defaults_configs` says, the section "parameters" of a custom file is used."""
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    arguments = {"phot_mode": "none", "log_level": logging.ERROR}
    assert (
        run_mvm_processing(
            poller, output_custom_pars_file=str(first), output_folder=tmp_path / "a", **arguments
        )
        == 0
    )
    content = json.loads(first.read_text())
    name = f"hst_{CELL}_wfc3_ir_f160w_coarse-all"
    assert content[name]["parameters"] == content[name]["default_values"]
    assert f"{name}-isim0102" in content
    content[name]["parameters"]["astrodrizzle"]["final_pixfrac"] = 0.5
    first.write_text(json.dumps(content))
    for use_defaults in (True, False):
        assert (
            run_mvm_processing(
                poller,
                use_defaults_configs=use_defaults,
                input_custom_pars_file=str(first),
                output_custom_pars_file=str(second),
                output_folder=tmp_path / "b",
                **arguments,
            )
            == 0
        )
        assert fits.getheader(tmp_path / "b" / f"{name}_drz.fits")["D001PIXF"] == 0.5
        assert json.loads(second.read_text()) == content
