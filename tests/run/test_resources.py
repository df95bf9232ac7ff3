"""Threads and memory: what is asked for, what there is, and what a run takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from multivisit.errors import ParameterError
from multivisit.run import resources
from multivisit.run.options import RunOptions
from multivisit.run.resources import (
    LEAST_MEMORY,
    available_memory,
    default_threads,
    parse_memory,
    process_memory,
    with_resources,
)
from multivisit.run.sequencer import run

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2GiB", 2 << 30),
        ("512MiB", 512 << 20),
        (" 1.5 g ", 3 << 29),
        ("800MB", 800_000_000),
        ("1e", None),
        ("4096", 4096),
        ("1T", 1 << 40),
        ("0.25TiB", 1 << 38),
        ("7k", 7168),
        ("", None),
        ("GiB", None),
        ("-1GiB", None),
        ("0MiB", None),
        ("2 gallons", None),
        ("1,5GiB", None),
        ("nan", None),
        ("9" * 40 + "TiB", None),
    ],
)
def test_amounts_of_memory(text: str, expected: int | None) -> None:
    if expected is None:
        with pytest.raises(ParameterError, match="memory: found"):
            parse_memory(text)
    else:
        assert parse_memory(text) == expected


def test_what_nobody_asked_for_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "available_memory", lambda: 10 << 30)
    options = with_resources(RunOptions(inputs=()))
    assert options.threads == default_threads() >= 1
    assert options.memory == 5 << 30
    for free in (LEAST_MEMORY, 0, None):
        monkeypatch.setattr(resources, "available_memory", lambda free=free: free)
        assert (with_resources(RunOptions(inputs=())).memory or 0) >= LEAST_MEMORY
    asked = RunOptions(inputs=(), threads=3, memory=LEAST_MEMORY)
    assert with_resources(asked) == asked


@pytest.mark.parametrize(("threads", "memory", "words"), [(0, None, "threads"), (1, 100 * MIB, "512 MiB")])
def test_too_little_is_one_clear_error(tiny_exposures, tmp_path, threads, memory, words):
    options = RunOptions(
        inputs=tuple(tiny_exposures), output_folder=tmp_path / "out", threads=threads, memory=memory
    )
    with pytest.raises(ParameterError, match=words):
        run(options)
    assert not (tmp_path / "out").exists()


def test_the_system_tells_its_memory() -> None:
    if not Path("/proc/meminfo").exists():
        pytest.skip("there is no /proc/meminfo here")
    assert (available_memory() or 0) > 0
    assert 10 * MIB < process_memory() < 1 << 40


def test_limits_of_a_control_group_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_CGROUP", tmp_path)
    free = available_memory()
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert (available_memory() or 0) == pytest.approx(free or 0, rel=0.2)
    (tmp_path / "memory.max").write_text("5000\n")
    assert available_memory() == 4000
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 300\n")
    assert available_memory() == 4300


_RUN = """
import json, sys
from pathlib import Path
from multivisit.run.options import RunOptions
from multivisit.run.sequencer import run
files, folder, threads, memory = json.loads(sys.argv[1])
result = run(RunOptions(
    inputs=tuple(Path(name) for name in files), output_folder=Path(folder), threads=threads, memory=memory,
    sky_cells=("skycell-p1889x10y12",),
))
# The peak of this program alone: that of getrusage includes the process that started it.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0]) * 1024
print(json.dumps({
    "peak": peak, "code": int(result.return_code), "shapes": [layer.shape for layer in result.layers],
    "product": str(result.layers[0].product),
}))
"""


def run_alone(files: Sequence[Path], folder: Path, threads: int, memory: int) -> dict[str, Any]:
    """Run in a process of its own: the memory is that of a whole process, and this one has grown."""
    arguments = json.dumps([[str(path) for path in files], str(folder), threads, memory])
    found = subprocess.run(
        [sys.executable, "-c", _RUN, arguments], capture_output=True, text=True, check=True, timeout=300
    )
    return dict(json.loads(found.stdout.splitlines()[-1]))


def test_products_are_the_same_bytes_for_any_threads_and_memory(tiny_exposures, tmp_path):
    made = []
    for name, threads, memory in (("one", 1, 8 << 30), ("two", 2, LEAST_MEMORY), ("seven", 7, 1 << 30)):
        result = run_alone(tiny_exposures, tmp_path / name, threads, memory)
        assert result["code"] == 0
        assert result["peak"] <= memory
        files = [*(tmp_path / name).glob("*_dr?.fits"), *(tmp_path / name).glob("*.png")]
        made.append({path.name: path.read_bytes() for path in files})
    assert len(made[0]) == 6
    assert made[0] == made[1] == made[2]


def test_a_mosaic_as_large_as_a_sky_cell_stays_within_its_memory(tmp_path: Path) -> None:
    """Small exposures in two corners and in the middle of a sky cell of 21954 x 21954 pixels."""
    from astropy.io import fits

    from multivisit.simulate import simulate_field
    from multivisit.simulate.specification import (
        ExposureSpecification,
        FieldSpecification,
        SceneSpecification,
        Visit,
    )

    if sys.platform != "linux":
        pytest.skip("peak memory is measured as Linux counts it")
    if shutil.disk_usage(tmp_path).free < 8 << 30:
        pytest.skip("less than 8 GiB are free on the disk")
    small = ExposureSpecification("acs_wfc", "f606w", 500.0, subarray=(256, 256))
    offsets = ((-430.0, -430.0), (430.0, 430.0), (0.0, 0.0))
    field = simulate_field(
        FieldSpecification(
            name="far",
            ra=180.26247,
            dec=26.24082,
            visits=tuple(
                Visit(f"0{number}", "2010-06-11T03:00:00", 40.0 * number, (small,), offset=offset)
                for number, offset in enumerate(offsets, start=1)
            ),
            scene=SceneSpecification(radius=5.0, n_stars=3, n_galaxies=0),
        ),
        tmp_path / "in",
    )
    memory = LEAST_MEMORY
    result = run_alone(field.files, tmp_path / "out", 2, memory)
    assert result["code"] == 0
    (shape,) = result["shapes"]
    assert min(shape) > 21_500
    assert result["peak"] <= memory
    with fits.open(result["product"]) as hdus:
        assert hdus["SCI"].shape == tuple(shape)
        middle = hdus["WHT"].section[shape[0] // 2 - 100 : shape[0] // 2 + 100, shape[1] // 2]
        assert middle.max() > 0
    Path(result["product"]).unlink()
