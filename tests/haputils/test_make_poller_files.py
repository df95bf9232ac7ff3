"""Making poller files under the published name and as a program."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from multivisit.errors import MissingFileError, ParameterError
from multivisit.haputils.make_poller_files import generate_poller_file, main
from multivisit.plan.poller import read_poller

CELL = "skycell-p1889x11y11"
MakeFile = Callable[..., Path]


def test_the_function_has_the_published_arguments_and_defaults() -> None:
    parameters = inspect.signature(generate_poller_file).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        "input_list": inspect.Parameter.empty,
        "poller_file_type": "svm",
        "output_poller_filename": "poller_file.out",
        "skycell_name": None,
    }


def test_a_file_is_made(tmp_path: Path, hubble_file: MakeFile) -> None:
    output = tmp_path / "poller.out"
    assert generate_poller_file([str(hubble_file())], "mvm", str(output), CELL) is None
    (row,) = read_poller(output)
    assert row.sky_cell_id == CELL


def test_the_variable_data_path_is_read(
    tmp_path: Path, hubble_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    hubble_file("tree/jbl7/jbl70rtvq/jbl70rtvq_flt.fits")
    output = tmp_path / "poller.out"
    monkeypatch.delenv("DATA_PATH", raising=False)
    with pytest.raises(MissingFileError):
        generate_poller_file(["jbl70rtvq"], "svm", str(output))
    monkeypatch.setenv("DATA_PATH", str(tmp_path / "tree"))
    generate_poller_file(["jbl70rtvq"], "svm", str(output))
    assert read_poller(output)[0].pathname.endswith("tree/jbl7/jbl70rtvq/jbl70rtvq_flt.fits")


def test_a_multi_visit_file_needs_a_sky_cell(hubble_file: MakeFile) -> None:
    with pytest.raises(ParameterError, match="skycell_name"):
        generate_poller_file([str(hubble_file())], poller_file_type="mvm")


def test_the_program_makes_a_file(
    tmp_path: Path, hubble_file: MakeFile, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text(f"{hubble_file()}\njbl70rtwq\n")
    output = tmp_path / "poller.out"
    logger = logging.getLogger("multivisit")
    before = (logger.level, list(logger.handlers))
    assert main([str(names), "-o", str(output), "-s", CELL, "-t", "mvm"]) == 0
    assert (logger.level, list(logger.handlers)) == before
    captured = capsys.readouterr()
    assert "jbl70rtwq" in captured.err
    assert "Wrote the poller file" in captured.err
    assert captured.out == ""
    assert len(read_poller(output)) == 1


def test_the_program_reports_errors_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere.txt"), "-o", str(tmp_path / "p.out")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'nowhere.txt'}")
    with pytest.raises(SystemExit) as leaving:
        main([str(tmp_path / "names.txt"), "-t", "mvm"])
    assert leaving.value.code == 2


def test_the_program_runs_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "multivisit.haputils.make_poller_files", str(tmp_path / "nowhere.txt")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
