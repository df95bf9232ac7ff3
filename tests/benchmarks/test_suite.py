"""The suite as a whole, on tiny cases: what it writes, not how fast anything is."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from benchmarks.__main__ import main
from benchmarks.results import add_part, measure_part, read_results

ROOT = Path(__file__).parents[2]
PARTS = ("bandwidth", "kernel", "run", "swarp", "growth")
FIGURES = {
    "wall_seconds",
    "user_seconds",
    "system_seconds",
    "cpu_seconds",
    "peak_rss_bytes",
    "written_bytes",
    "kept_bytes",
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures by /proc")


def test_a_quick_run_of_all_parts(tmp_path: Path) -> None:
    """One test, since the run takes long and its fixture would run in each worker."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "--quick", "--swarp", "no-such-program"),
            *("--work", str(tmp_path / "work"), "-o", str(tmp_path / "out")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    results = json.loads((tmp_path / "out" / "benchmarks.json").read_text())
    # SWarp is not there, on purpose.
    assert done.returncode == 1, done.stdout + done.stderr
    check_failed_part_did_not_stop_the_others(results)
    check_when_where_and_under_which_load(results)
    check_samples_and_summaries(results)
    check_growth(results)
    check_kernel(results)
    check_files(tmp_path / "out")
    folders = [path.name for path in (tmp_path / "work").iterdir() if path.is_dir()]
    assert folders == ["exposures_tiny"]
    check_part_measured_again(tmp_path / "out", tmp_path / "work")


def check_failed_part_did_not_stop_the_others(results: dict[str, Any]) -> None:
    assert tuple(results["parts"]) == PARTS
    assert "apt install swarp" in results["parts"]["swarp"]["error"]
    assert "result" not in results["parts"]["swarp"]
    for name in set(PARTS) - {"swarp"}:
        assert "error" not in results["parts"][name]


def check_when_where_and_under_which_load(results: dict[str, Any]) -> None:
    machine = results["machine"]
    assert machine["cores"] == os.cpu_count()
    assert machine["memory_bytes"] > 2**28
    assert machine["processor"]
    for name in set(PARTS) - {"swarp"}:
        part = results["parts"][name]
        assert part["seconds"] > 0
        assert min(part["load_average_before"], part["load_average_after"]) >= 0
        assert part["versions"]["multivisit"]
        assert part["started"].endswith("+00:00")


def check_samples_and_summaries(results: dict[str, Any]) -> None:
    growth = results["parts"]["growth"]["result"]
    turns = [
        *results["parts"]["run"]["result"]["run"].values(),
        *growth["exposures"],
        *growth["sizes"],
    ]
    for turn in turns:
        assert turn["samples"]
        for sample in turn["samples"]:
            assert set(sample) == FIGURES | {"load_average"}
            assert sample["cpu_seconds"] == pytest.approx(sample["user_seconds"] + sample["system_seconds"])
            assert sample["peak_rss_bytes"] > 2**25
            assert sample["written_bytes"] >= 0
        for figure in FIGURES:
            values = sorted(sample[figure] for sample in turn["samples"])
            assert turn["minimum"][figure] == values[0]
            assert turn["maximum"][figure] == values[-1]
            assert values[0] <= turn["median"][figure] <= values[-1]


def check_growth(results: dict[str, Any]) -> None:
    growth = results["parts"]["growth"]["result"]
    first, second = growth["exposures"]
    assert (first["exposures"], second["exposures"]) == (1, 2)
    assert first["mosaic"] == second["mosaic"]
    assert second["input_pixels"] == 2 * first["input_pixels"] == 2 * (2 * 96 * 256)
    assert growth["sizes"][0]["mosaic"] < first["mosaic"]


def check_kernel(results: dict[str, Any]) -> None:
    for case in results["parts"]["kernel"]["result"]["cases"]:
        assert {"scale", "roll", "tables", "detector"} <= set(case)
        assert all(math.isfinite(rate) and rate > 0 for rate in case["rates"].values())
        assert {"drizzle", "2 threads", "portable"} <= set(case["rates"])


def check_files(out: Path) -> None:
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["benchmarks.json"]
        + [f"{name}.svg" for name in ("growth", "kernel", "run")]
        + [f"{name}.inc" for name in ("growth", "kernel", "machine", "run", "summary", "swarp")]
    )
    for plot in out.glob("*.svg"):
        assert ElementTree.parse(plot).getroot().tag.endswith("svg")
    assert "The latest measurement failed" in (out / "swarp.inc").read_text()


def check_part_measured_again(out: Path, work: Path) -> None:
    before = json.loads((out / "benchmarks.json").read_text())
    arguments = ["--quick", "--only", "bandwidth", "--work", str(work), "-o", str(out)]
    assert main(arguments) == 0
    after = json.loads((out / "benchmarks.json").read_text())
    assert set(after["parts"]) == set(before["parts"])
    assert after["parts"]["kernel"] == before["parts"]["kernel"]
    assert after["parts"]["bandwidth"] != before["parts"]["bandwidth"]


def test_results_of_another_machine_are_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = tmp_path / "benchmarks.json"
    machine = {"processor": "another", "cores": 2, "memory_bytes": 2**34}
    text = json.dumps({"format": 1, "machine": machine, "parts": {}})
    numbers.write_text(text)
    assert main(["--quick", "--only", "bandwidth", "--work", str(tmp_path / "w"), "-o", str(tmp_path)]) == 1
    assert "another machine" in capsys.readouterr().err
    assert numbers.read_text() == text


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(SystemExit, match="unknown part nothing"):
        main(["--only", "kernel,nothing"])


def test_an_error_stays_beside_what_was_measured_before(tmp_path: Path) -> None:
    numbers = tmp_path / "benchmarks.json"
    machine = {"processor": "one"}

    def fail() -> dict[str, Any]:
        raise OSError("no space left")

    lines: list[str] = []
    add_part(numbers, machine, "run", measure_part("run", lambda: {"exposures": 18}, {}, lines.append))
    add_part(numbers, machine, "run", measure_part("run", fail, {}, lines.append))
    part = read_results(numbers)["parts"]["run"]
    assert part["result"] == {"exposures": 18}
    assert part["error"] == "OSError: no space left"
    assert any("no space left" in line for line in lines)
    add_part(numbers, machine, "run", measure_part("run", lambda: {"exposures": 9}, {}, lines.append))
    part = read_results(numbers)["parts"]["run"]
    assert part["result"] == {"exposures": 9}
    assert "error" not in part
