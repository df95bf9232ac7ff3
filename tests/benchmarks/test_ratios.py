"""The ratios, against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.ratios import all_ratios, floor_rate, floor_seconds
from benchmarks.rst_tables import write_tables


def turn(wall: list[float], rss_mib: list[float], cpu: float = 1.0, written: float = 1.0) -> dict[str, Any]:
    def figures(wall: float, rss: float) -> dict[str, float]:
        return {
            "wall_seconds": wall,
            "user_seconds": cpu,
            "system_seconds": 0.0,
            "cpu_seconds": cpu,
            "peak_rss_bytes": rss * 2**20,
            "written_bytes": written,
            "kept_bytes": 0,
        }

    return {
        "samples": [figures(*pair) for pair in zip(wall, rss_mib, strict=True)],
        "minimum": figures(min(wall), min(rss_mib)),
        "median": figures(sorted(wall)[len(wall) // 2], sorted(rss_mib)[len(wall) // 2]),
        "maximum": figures(max(wall), max(rss_mib)),
    }


def case(**rates: float) -> dict[str, Any]:
    return {"detector": "acs_wfc", "scale": 0.04, "roll": 0.0, "tables": True, "rates": rates}


@pytest.fixture
def results() -> dict[str, Any]:
    kernel = [
        case(avx512=90.0, avx2=40.0, drizzle=6.0, drizzlepac=4.0, **{"2 threads": 180.0}),
        case(avx512=60.0, avx2=33.0, drizzle=5.0, drizzlepac=3.0, **{"2 threads": 90.0}),
    ]
    run = {
        "exposures": 18,
        "layers": 7,
        "input_bytes": 10**9,
        "memory": "1GiB",
        "run": {
            "multivisit": turn([8.0, 10.0, 9.0], [700.0, 1100.0, 800.0], cpu=12.0, written=2e9),
            "multivisit, with catalogs": turn([20.0, 24.0], [900.0, 1000.0]),
            "drizzlepac": turn([240.0, 280.0], [2000.0, 2200.0], cpu=180.0, written=7e9),
        },
        "sky_cells": {
            "multivisit": {
                "minimum": {"wall_seconds": 0.25, "cpu_seconds": 0.2},
                "median": {"wall_seconds": 0.3},
                "samples": {"wall_seconds": [0.25, 0.3]},
            },
            "drizzlepac": {
                "minimum": {"wall_seconds": 50.0, "cpu_seconds": 49.0},
                "median": {"wall_seconds": 51.0},
                "samples": {"wall_seconds": [50.0]},
            },
        },
    }
    swarp = {
        "run": {"multivisit": turn([8.0], [700.0]), "SWarp LANCZOS3": turn([60.0], [900.0])},
        "configuration": {"NTHREADS": "0"},
        "flux_over_multivisit": {"SWarp LANCZOS3": {"a": 0.99, "b": 1.01}},
        "worst_map_residual_pixels": 0.07,
    }
    counts = [
        {"exposures": count, "input_pixels": count * 2**24, "mosaic": [21954, 21954], **turn([wall], [rss])}
        for count, wall, rss in ((4, 10.0, 1500.0), (16, 20.0, 1900.0), (64, 90.0, 1919.0))
    ]
    growth = {"memory": "2GiB", "exposures": counts, "sizes": counts[:1]}
    parts = {"kernel": {"cases": kernel}, "run": run, "swarp": swarp, "growth": growth}
    times = {"started": "2026-01-01T00:00:00+00:00", "seconds": 1.0, "versions": {"multivisit": "1"}}
    loads = {"load_average_before": 0.1, "load_average_after": 2.0}
    machine = {"processor": "p", "cores": 2, "memory_bytes": 2**34, "system": "s", "virtual": False}
    return {
        "format": 1,
        "machine": {**machine, "instruction_sets": "avx512"},
        "parts": {name: {"result": result, **times, **loads} for name, result in parts.items()},
    }


def test_ratios_are_those_worked_out_by_hand(results: dict[str, Any]) -> None:
    found = {ratio.name: ratio for ratio in all_ratios(results)}
    expected = {
        # 60 / 3 in the second case is less than 90 / 4 in the first.
        "kernel, avx512, one thread: speed over drizzlepac's, in the worst case": (20.0, True),
        # 40 / 4 in the first case is less than 33 / 3 in the second.
        "kernel, avx2, one thread: speed over drizzlepac's, in the worst case": (10.0, True),
        "kernel, avx512, one thread: speed over drizzle's, in the worst case": (12.0, None),
        # 90 / 60 in the second case.
        "kernel: two threads over one, in the worst case": (1.5, False),
        "run_mvm_processing: wall time of drizzlepac over that of multivisit": (30.0, True),
        "run_mvm_processing: processor time of drizzlepac over that of multivisit": (15.0, None),
        "run_mvm_processing: peak memory of drizzlepac over that of multivisit": (2000.0 / 700.0, None),
        "run_mvm_processing: bytes written of drizzlepac over that of multivisit": (3.5, None),
        "run_mvm_processing: wall time of drizzlepac over that of multivisit with catalogs": (12.0, False),
        # The worst repeat counts: 1100 MiB are over 1 GiB.
        "run_mvm_processing: peak memory of multivisit": (1100.0, False),
        "get_sky_cells: time of drizzlepac over that of multivisit": (200.0, True),
        "same layers: wall time of SWarp LANCZOS3 over that of multivisit": (7.5, None),
        "16 exposures on a whole sky cell: peak memory": (1900.0, True),
        "64 exposures over 16: wall time": (4.5, False),
        "64 exposures over 16: peak memory": (1.01, True),
    }
    assert set(found) == set(expected)
    for name, (value, reached) in expected.items():
        assert found[name].value == pytest.approx(value), name
        assert found[name].reached is reached, name


def test_what_was_not_measured_has_no_ratio(results: dict[str, Any]) -> None:
    del results["parts"]["run"]["result"]["run"]["drizzlepac"]
    del results["parts"]["run"]["result"]["sky_cells"]["drizzlepac"]
    del results["parts"]["kernel"]
    results["parts"]["growth"] = {"error": "no space"}
    names = {ratio.name for ratio in all_ratios(results)}
    assert names == {
        "run_mvm_processing: peak memory of multivisit",
        "same layers: wall time of SWarp LANCZOS3 over that of multivisit",
    }


def test_the_floor_is_33_bytes_an_input_pixel() -> None:
    bandwidth = {"1": 6.6e9, "2": 9.9e9}
    assert floor_rate(bandwidth, 1) == pytest.approx(200.0)
    assert floor_rate(bandwidth, 2) == pytest.approx(300.0)
    assert floor_seconds(bandwidth, 3 * 10**8) == pytest.approx(1.0)


def test_tables_hold_the_figures(results: dict[str, Any], tmp_path: Any) -> None:
    write_tables(results, tmp_path)
    run = (tmp_path / "run.inc").read_text()
    assert "   * - multivisit, least of 3\n     - 8.0\n     - 12.0 + 0.0\n     - 700\n     - 2.00\n" in run
    assert "   * - drizzlepac, median\n     - 280.0\n" in run
    summary = (tmp_path / "summary.inc").read_text()
    assert "     - 4.5 times\n     - at most 4.4 times\n     - **no**\n" in summary


def test_a_busy_machine_is_told(results: dict[str, Any], tmp_path: Any) -> None:
    results["parts"]["run"]["load_average_before"] = 3.5
    write_tables(results, tmp_path)
    assert "load average 3.5 on 2 cores" in (tmp_path / "run.inc").read_text()
    assert "load average" not in (tmp_path / "growth.inc").read_text()
