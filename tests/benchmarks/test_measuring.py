"""What is measured of a program, against programs whose use of memory and disk is known."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest
from benchmarks.measuring import (
    BenchmarkError,
    Contender,
    Sample,
    disk_usage,
    measure_in_turns,
    memory_bandwidth,
    run_measured,
    total,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures by /proc")

MEGABYTE = 10**6
TWO_PROCESSES = """
import subprocess, sys, time
kept = b"1" * 120_000_000
child = "import time; kept = b'1' * 80_000_000; open('child', 'wb').write(kept[:7_000_000]); time.sleep(0.5)"
open("parent", "wb").write(kept[:5_000_000])
subprocess.run([sys.executable, "-c", child], check=True)
"""


def sample(wall: float = 1.0, rss: int = 1) -> Sample:
    return Sample(wall, 2.0, 0.5, rss, 10, 20, 0.0)


def test_memory_and_disk_of_children_count(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "before").write_bytes(b"1" * 3 * MEGABYTE)
    measured = run_measured([sys.executable, "-c", TWO_PROCESSES], folder, tmp_path / "log")
    assert 200 * MEGABYTE < measured.peak_rss_bytes < 300 * MEGABYTE
    assert 12 * MEGABYTE <= measured.kept_bytes < 13 * MEGABYTE
    assert measured.wall_seconds > 0.5
    assert measured.cpu_seconds > 0


def test_a_short_peak_of_memory_is_seen(tmp_path: Path) -> None:
    program = "import time; len(b'1' * 150_000_000); time.sleep(0.2)"
    measured = run_measured([sys.executable, "-c", program], tmp_path, tmp_path / "log")
    assert 150 * MEGABYTE < measured.peak_rss_bytes < 200 * MEGABYTE


def test_memory_of_the_measuring_process_does_not_count(tmp_path: Path) -> None:
    kept = b"1" * 100 * MEGABYTE
    measured = run_measured(["sleep", "0.1"], tmp_path, tmp_path / "log")
    assert measured.peak_rss_bytes < 20 * MEGABYTE < len(kept)


def test_a_program_that_fails_says_why(tmp_path: Path) -> None:
    program = "import sys; print('the disk is full'); sys.exit(3)"
    with pytest.raises(BenchmarkError, match=r"(?s)ended with code 3.*the disk is full"):
        run_measured([sys.executable, "-c", program], tmp_path, tmp_path / "log")


def test_a_program_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.measuring.TIME_LIMIT", 0.2)
    with pytest.raises(BenchmarkError, match="ended with code -9"):
        run_measured(["sleep", "60"], tmp_path, tmp_path / "log")


def test_holes_and_hard_links_take_no_disk(tmp_path: Path) -> None:
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(50 * MEGABYTE)
    (tmp_path / "full").write_bytes(os.urandom(MEGABYTE))
    os.link(tmp_path / "full", tmp_path / "again")
    assert MEGABYTE <= disk_usage(tmp_path) < 1.1 * MEGABYTE


def test_contenders_take_turns_after_their_warm_ups() -> None:
    order: list[str] = []

    def run(name: str) -> Sample:
        order.append(name)
        return sample(wall=float(len(order)))

    contenders = [
        Contender(name, partial(run, name), repeats, warm)
        for name, repeats, warm in (("a", 3, 1), ("b", 2, 0))
    ]
    turns = measure_in_turns(contenders, lambda _: None, warmed_bytes=0)
    assert order == ["a", "a", "b", "a", "b", "a"]
    assert [item["wall_seconds"] for item in turns["a"]["samples"]] == [2.0, 4.0, 6.0]
    assert turns["a"]["minimum"]["wall_seconds"] == 2.0
    assert turns["a"]["median"]["wall_seconds"] == 4.0
    assert turns["a"]["maximum"]["wall_seconds"] == 6.0
    assert turns["b"]["minimum"]["cpu_seconds"] == 2.5


def test_programs_run_one_after_another_add_up_but_for_memory() -> None:
    whole = total([sample(1.0, 70), sample(2.0, 90), sample(4.0, 80)])
    assert whole == Sample(7.0, 6.0, 1.5, 90, 30, 60, 0.0)


def test_bandwidth_is_that_of_a_memory() -> None:
    assert 1e8 < memory_bandwidth(1, size_bytes=8 << 20, repeats=2) < 1e13
