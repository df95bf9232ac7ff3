"""The published program of multi-visit processing."""

from __future__ import annotations

from pathlib import Path

import pytest

from multivisit import runmultihap
from multivisit.plan.poller import generate_poller_file

CELL = "skycell-p1889x10y12"


@pytest.fixture
def poller(tiny_exposures, tmp_path) -> Path:
    path = tmp_path / "poller.csv"
    names = [str(item) for item in tiny_exposures if item.name.startswith("i")]
    generate_poller_file(names, poller_file_type="mvm", output_poller_filename=path, skycell_name=CELL)
    return path


@pytest.mark.parametrize(("level", "is_told"), [("error", False), ("INFO", True), ("no such level", True)])
def test_the_level_is_that_of_the_screen_and_the_trailer_has_its_messages_whatever_it_is(
    poller, tmp_path, capsys, level, is_told
):
    assert runmultihap.perform(poller, log_level=level, output_folder=tmp_path / "out") == 0
    assert ("combining" in capsys.readouterr().out) == is_told
    trailers = sorted((tmp_path / "out").glob("hst_*_trl.txt"))
    assert [path.name for path in trailers] == [
        f"hst_{CELL}_wfc3_ir_f160w_{label}_trl.txt" for label in ("all", "coarse-all")
    ]
    for path in trailers:
        text = path.read_text()
        assert "combining 4 exposures" in text
        assert " DEBUG " not in text


@pytest.mark.parametrize("flag", [{"debug": True}, {"diagnostic_mode": True}])
def test_debug_means_the_diagnostic_mode(poller, tmp_path, capsys, flag):
    assert runmultihap.perform(poller, log_level="error", output_folder=tmp_path / "out", **flag) == 0
    assert (tmp_path / "out" / f"{CELL}_diagnostics").is_dir()
    trailer = tmp_path / "out" / f"hst_{CELL}_wfc3_ir_f160w_all_trl.txt"
    assert " DEBUG " in trailer.read_text()


def test_the_program_takes_the_published_flags_and_gives_the_code(poller, tmp_path, monkeypatch, capsys):
    work = tmp_path / "work"
    work.mkdir()
    with monkeypatch.context() as context:
        context.chdir(work)
        assert runmultihap.main([str(poller), "-d", "-l", "critical", "-s"]) == 0
        assert runmultihap.main([str(tmp_path / "none.csv"), "--log_level", "error"]) == 1
    assert "none.csv" in capsys.readouterr().out
    assert (work / f"hst_{CELL}_wfc3_ir_f160w_all_drz.fits").is_file()
    with pytest.raises(SystemExit):
        runmultihap.main(["--help"])
    out = capsys.readouterr().out
    for flag in ("--input_custom_pars_file", "--diagnostic_mode", "--log_level", "--skip_gaia_alignment"):
        assert flag in out
