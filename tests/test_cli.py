"""The command line: what it prints, how it exits, and that it never shows a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from astropy.io import fits

from multivisit.cli import main

CELL = "skycell-p1889x10y12"


@pytest.fixture
def mvm(monkeypatch, capfd):
    """Run `mvm` with some arguments; returns exit code, standard output and standard error."""
    monkeypatch.delenv("MVM_INCLUDE_SMALL", raising=False)
    monkeypatch.delenv("MVM_ONLY_CTE", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mvm", *(str(item) for item in arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    return run


def test_help_teaches_the_usual_session(mvm):
    code, out, _ = mvm("--help")
    assert code == 0
    for word in ("cells", "layers", "run", "simulate", "poller"):
        assert word in out


def test_exposures_are_aligned_to_a_file_of_stars(mvm, tiny_exposures, tmp_path):
    stars = tiny_exposures[0].parent / "truth_catalog.ecsv"
    code, out, _ = mvm(
        "run", *tiny_exposures, "-o", tmp_path, "--reference-catalog", stars, "--catalogs", "none", "--json"
    )
    assert code == 0
    records = {record["filename"][:9]: record for record in json.loads(out)["alignment"]}
    assert len(records) == 6
    assert records["jsim0201q"]["aligned"]
    assert records["jsim0201q"]["wcs_name"].endswith("_truthcatalog")
    assert (tmp_path / f"{CELL}_alignment.ecsv").is_file()
    code, _, err = mvm("run", *tiny_exposures, "-o", tmp_path, "--reference-catalog", "none.csv")
    assert code == 1
    assert "none.csv: not found" in err


def test_version(mvm):
    code, out, _ = mvm("--version")
    assert code == 0
    assert out.startswith("mvm ")


def test_cells_as_text_and_as_json(mvm, tiny_exposures):
    code, out, _ = mvm("cells", *tiny_exposures)
    assert code == 0
    assert f"{CELL}: {len(tiny_exposures)} exposures" in out
    code, out, _ = mvm("cells", "--json", *tiny_exposures)
    assert code == 0
    assert json.loads(out)[CELL]["members"] == [str(path) for path in tiny_exposures]


def test_cells_at_a_scale_of_ones_own(mvm, tiny_exposures):
    _, out, _ = mvm("cells", "--json", "--scale", "0.1", tiny_exposures[0])
    cell = json.loads(out)[CELL]
    assert cell["scale_arcsec"] == pytest.approx(0.1)


def test_poller_layers_and_run(mvm, tiny_exposures, tmp_path):
    listing, poller = tmp_path / "list.txt", tmp_path / "poller.out"
    listing.write_text("\n".join(str(path) for path in tiny_exposures) + "\n")
    code, out, err = mvm("poller", listing, "-o", poller, "-s", CELL, "--json")
    assert code == 0, err
    assert len(json.loads(out)["rows"]) == len(tiny_exposures)

    code, out, err = mvm("layers", poller)
    assert code == 0, err
    assert "3 layers to be made" in out
    code, out, err = mvm("layers", poller, "--json")
    plan = json.loads(out)
    assert [layer["product"] for layer in plan["layers"]] == [
        f"hst_{CELL}_acs_wfc_f606w_all_drc.fits",
        f"hst_{CELL}_wfc3_ir_f160w_coarse-all_drz.fits",
        f"hst_{CELL}_wfc3_ir_f160w_all_drz.fits",
    ]
    assert not list(tmp_path.glob("hst_*"))

    code, out, err = mvm("run", poller, "-o", tmp_path / "out", "--json", "--context")
    assert code == 0, err
    result = json.loads(out)
    assert [layer["status"] for layer in result["layers"]] == ["made"] * 3
    for made, planned in zip(result["layers"], plan["layers"], strict=True):
        with fits.open(made["product"]) as product:
            assert product["SCI"].shape == (planned["rows"], planned["columns"])
            assert [item.name for item in product] == ["PRIMARY", "SCI", "WHT", "CTX", "HDRTAB"]
    assert all(Path(name).is_file() for name in result["files"])


def test_the_layer_methods_give_layers_of_their_own(mvm, tiny_exposures):
    code, out, err = mvm("layers", "--layers", "hard", "--json", *tiny_exposures)
    assert code == 0, err
    names = [layer["product"] for layer in json.loads(out)["layers"]]
    assert len(names) == len(set(names))
    assert f"hst_{CELL}_acs_wfc_f606w_long-2010_drc.fits" in names
    assert f"hst_{CELL}_acs_wfc_f606w_all-2013_drc.fits" in names


def test_switches_in_the_environment(mvm, tiny_exposures, monkeypatch, tmp_path):
    monkeypatch.setenv("MVM_ONLY_CTE", "true")
    code, out, err = mvm("layers", "--json", *tiny_exposures)
    assert code == 0, err
    flat = tmp_path / "jsim0301q_flt.fits"
    flat.write_bytes(tiny_exposures[0].read_bytes())
    code, out, err = mvm("layers", "--json", flat)
    assert code == 65
    assert "CTE" in json.loads(out)["exposures"][0]["reason"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere_flt.fits"], ["nowhere_flt.fits"]),
        (["run", "nowhere.out"], ["nowhere.out"]),
        (["cells", "nowhere_flt.fits"], ["nowhere_flt.fits"]),
        (["layers", "a.out", "b.out"], ["one"]),
        (["layers", "a.out", "b_flt.fits"], ["a.out"]),
        (["layers", "--layers", "soft", "b_flt.fits"], ["soft", "kmeans"]),
        (["run", "--log-level", "loud", "b_flt.fits"], ["loud"]),
        (["layers", "-s", "skycell-p9999x01y01", "EXPOSURE"], ["p9999"]),
        (["poller", "nowhere.txt", "-s", CELL], ["nowhere.txt"]),
        (["simulate", "no-such-field"], ["no-such-field", "demo"]),
        (["simulate", "tiny", "-o", "/dev/null/here"], ["/dev/null/here"]),
        (["run", "EXPOSURE", "-o", "/dev/null/here"], ["/dev/null/here"]),
        (["cells", "--scale", "-1", "b_flt.fits"], ["--scale"]),
    ],
)
def test_what_cannot_be_done_is_said_in_words(mvm, tiny_exposures, arguments, words):
    arguments = [tiny_exposures[0] if item == "EXPOSURE" else item for item in arguments]
    code, out, err = mvm(*arguments)
    assert code not in (0, None)
    assert "Traceback" not in err + out
    for word in words:
        assert word in err
    assert "error" in err.lower()


def test_an_interruption_is_quick_and_leaves_nothing_half_written(tiny_exposures, tmp_path):
    # Whoever starts the tests in the background hands on that SIGINT is ignored.
    handled = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{handled}; from multivisit.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "simulate", "eighteen", "-o", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    for path in (tmp_path / "out").iterdir():
        assert path.suffix == ".fits"
        with fits.open(path, checksum=True) as file:
            assert len(file) > 1


def test_errors_are_json_where_json_was_asked_for(mvm):
    code, out, err = mvm("layers", "--json", "nowhere_flt.fits")
    assert code == 1
    assert "nowhere_flt.fits" in json.loads(out)["error"]
    assert "nowhere_flt.fits" in err


def test_quality_tests_are_switched_on_by_option_and_by_environment(
    mvm, tiny_exposures, tmp_path, monkeypatch
):
    exposures = [path for path in tiny_exposures if path.name.startswith("jsim")]
    code, out, _ = mvm(
        "run",
        *exposures,
        "-o",
        tmp_path / "one",
        "--quality-tests",
        "--no-previews",
        "--json",
        "--catalogs",
        "none",
    )
    assert code == 0
    (layer,) = json.loads(out)["layers"]
    assert layer["quality"] == "pass"
    names = {Path(name).name.removeprefix(layer["name"]) for name in layer["quality_files"]}
    assert {"_quality.json", "_mvm_wcsname.json"} <= names
    monkeypatch.setenv("MVM_QUALITY_TESTING", "on")
    assert mvm("run", *exposures, "-o", tmp_path / "two", "--no-previews", "--catalogs", "none")[0] == 0
    assert list((tmp_path / "two").glob("*_mvm_wcsname.json"))


def test_the_report_of_a_folder_is_written_by_run_and_by_report(mvm, tiny_exposures, tmp_path):
    exposures = [path for path in tiny_exposures if path.name.startswith("jsim")]
    folder = tmp_path / "out"
    code, out, _ = mvm("run", *exposures, "-o", folder, "--report", "--catalogs", "none")
    assert code == 0
    assert "report.html" in out
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")
    code, out, _ = mvm("report", folder, "-o", tmp_path / "page.html", "--json")
    assert code == 0
    assert json.loads(out)["bytes"] == (tmp_path / "page.html").stat().st_size
    code, _, err = mvm("report", tmp_path / "nowhere")
    assert code == 1
    assert "no such folder" in err


def run_in_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which ``mvm`` is this command."""
    prefix = f"mvm() {{ {sys.executable} -c 'from multivisit.cli import main; main()' \"$@\"; }}; "
    return subprocess.run(
        ["bash", "-c", prefix + command], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("mvm run {exposure} -o out 2>&-", 0),
        ("mvm run {exposure} -o out >&- 2>&-", None),
        ("mvm cells {exposure} >/dev/full", 1),
        ("set -o pipefail; mvm cells {exposure} {exposure} | true", None),
    ],
)
def test_streams_that_are_closed_or_full_are_no_traceback(tiny_exposures, tmp_path, line, code):
    finished = run_in_shell(line.format(exposure=tiny_exposures[0]), tmp_path)
    assert "Traceback" not in finished.stderr
    if code is not None:
        assert finished.returncode == code
    if "-o out" in line:
        assert list((tmp_path / "out").glob("*.fits"))


def test_being_told_to_stop_leaves_nothing_half_written(tmp_path):
    program = "from multivisit.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "simulate", "eighteen", "-o", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in err
    assert all(
        path.suffix == ".fits" and not path.name.startswith(".") for path in (tmp_path / "out").iterdir()
    )


@pytest.fixture(scope="session")
def rotated_header(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("grid") / "rotated.hdr"
    header = fits.Header()
    for key, value in {
        "NAXIS": 2,
        "NAXIS1": 120,
        "NAXIS2": 90,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": 180.2608,
        "CRVAL2": 26.2404,
        "CRPIX1": 60.5,
        "CRPIX2": 45.5,
        "CD1_1": -2e-5,
        "CD1_2": 1e-5,
        "CD2_1": 1e-5,
        "CD2_2": 2e-5,
    }.items():
        header[key] = value
    header.totextfile(path)
    return path


def test_a_mosaic_about_a_position(mvm, tiny_exposures, tmp_path):
    code, out, err = mvm(
        *("mosaic", *tiny_exposures, "-o", tmp_path, "--center", "12:01:02.6", "26:14:25.4"),
        *("--size", "12x9arcsec", "--scale", "0.1", "--prefix", "mine", "--no-previews", "--json"),
    )
    assert code == 0, err
    result = json.loads(out)
    assert result["custom_mosaic"]["prefix"] == "mine"
    assert [(layer["name"], layer["columns"], layer["rows"]) for layer in result["layers"]] == [
        ("mine_acs_wfc_f606w_all", 120, 90),
        ("mine_wfc3_ir_f160w_all", 120, 90),
    ]
    assert (tmp_path / "mine_manifest.txt").is_file()


def test_a_mosaic_of_a_region_and_on_another_images_grid(mvm, tiny_exposures, rotated_header, tmp_path):
    region = tmp_path / "area.reg"
    region.write_text('icrs\nbox(180.2608,26.2404,12",9",0)\n')
    code, out, err = mvm("mosaic", *tiny_exposures, "-o", tmp_path / "a", "--region", region, "--json")
    assert code == 0, err
    sizes = {
        layer["name"].split("_", 2)[-1]: (layer["columns"], layer["rows"])
        for layer in json.loads(out)["layers"]
    }
    columns, rows = sizes["acs_wfc_f606w_all"]
    assert 300 <= columns <= 302
    assert 225 <= rows <= 227
    code, out, err = mvm("mosaic", *tiny_exposures, "-o", tmp_path / "b", "--wcs", rotated_header, "--json")
    assert code == 0, err
    for layer in json.loads(out)["layers"]:
        header = fits.getheader(layer["product"], "SCI")
        assert (header["NAXIS1"], header["NAXIS2"], header["CD1_2"]) == (120, 90, 1e-5)


def test_a_mosaic_of_everything_and_one_beside_everything(mvm, tiny_exposures, tmp_path):
    code, out, _ = mvm("mosaic", tiny_exposures[0], "-o", tmp_path, "--json")
    assert code == 0
    assert json.loads(out)["custom_mosaic"]["cut_to_exposures"]
    code, out, _ = mvm(
        "mosaic", tiny_exposures[0], "-o", tmp_path / "no", "--center", "10", "-30", "--size", "9arcsec"
    )
    assert code == 65
    assert "does not overlap the area" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--center", "1", "2"], 2, ["--size"]),
        (["--size", "3arcsec"], 2, ["--center"]),
        (["--center", "1", "2", "--size", "3arcsec", "--wcs", "a.fits"], 2, ["--center and --wcs"]),
        (["--wcs", "HEADER", "--scale", "0.1"], 2, ["--scale"]),
        (["--center", "1", "2", "--size", "3"], 1, ["unit"]),
        (["--center", "1", "north", "--size", "3deg"], 1, ["declination"]),
        (["--center", "1", "2", "--size", "30deg"], 1, ["450287"]),
        (["--wcs", "none.fits"], 1, ["none.fits"]),
        (["--region", "none.reg"], 1, ["none.reg"]),
        (["--prefix", "a/b"], 1, ["output_file_prefix"]),
    ],
)
def test_areas_that_make_no_sense_are_one_line(
    mvm, tiny_exposures, tmp_path, rotated_header, arguments, code, words
):
    given = [str(rotated_header) if item == "HEADER" else item for item in arguments]
    found, _, err = mvm("mosaic", tiny_exposures[0], "-o", tmp_path / "out", *given)
    assert found == code
    assert err.count("\n") == 1
    assert all(word in err for word in words)
    assert not (tmp_path / "out").exists()


def test_layers_says_that_files_are_broken_as_a_run_does(mvm, tiny_exposures, tmp_path):
    broken = tmp_path / "isim0999q_flt.fits"
    broken.write_bytes(tiny_exposures[0].read_bytes()[:20000])
    code, out, _ = mvm("layers", tiny_exposures[0], broken, "--json")
    assert code == 1
    plan = json.loads(out)
    assert plan["return_code"] == 1
    assert len(plan["layers"]) >= 1


def test_poller_tells_what_was_not_found(mvm, tiny_exposures, tmp_path):
    listing = tmp_path / "list.txt"
    listing.write_text(f"{tiny_exposures[0]}\nisim0999q_flt.fits\n")
    code, out, _ = mvm("poller", listing, "-o", tmp_path / "poller.out", "-s", CELL, "--json")
    assert code == 0
    assert json.loads(out)["missing"] == ["isim0999q_flt.fits"]


@pytest.mark.parametrize("name", ["MVM_INCLUDE_SMALL", "MVM_ONLY_CTE", "MVM_QUALITY_TESTING"])
def test_a_variable_with_a_word_that_says_nothing_is_named(mvm, tiny_exposures, monkeypatch, name):
    monkeypatch.setenv(name, "perhaps")
    code, _, err = mvm("layers", *tiny_exposures)
    assert code == 1
    assert f"environment variable {name}: found 'perhaps', expected on, yes" in err
    assert len(err.splitlines()) == 1
    option = {"MVM_INCLUDE_SMALL": "--include-small", "MVM_ONLY_CTE": "--no-only-cte"}.get(name)
    if option:
        assert mvm("layers", *tiny_exposures, option)[0] == 0
