"""The whole of `run_mvm_processing`, and `get_sky_cells`, here and in drizzlepac."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.cases import (
    RUN_MEMORY,
    Case,
    Setup,
    eighteen_case,
    fresh_folder,
    log_of,
    our_contender,
    plain_environment,
)
from benchmarks.compare_drizzlepac import DRIZZLEPAC_PROGRAM, compare_layer, members_of, prepare_folder
from benchmarks.measuring import BenchmarkError, Contender, Sample, measure_in_turns, run_measured, settle

if TYPE_CHECKING:
    from pathlib import Path

_SKY_CELLS_PROGRAM = """
import importlib, json, sys, time
package, names, modules = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
cell_utils = importlib.import_module(package + ".haputils.cell_utils")
for name in modules:
    try:
        importlib.import_module(name)
    except Exception:
        pass
before = set(sys.modules)
wall, processor = time.perf_counter(), time.process_time()
cells = cell_utils.get_sky_cells(names)
seconds, processor = time.perf_counter() - wall, time.process_time() - processor
modules = sorted(set(sys.modules) - before)
print(json.dumps([seconds, processor, sorted(cells), modules]))
"""


def measure_whole_run(setup: Setup) -> dict[str, Any]:
    """Measure both functions with both packages, in turns, and compare the pixels of the products."""
    case = eighteen_case(setup)
    ours, theirs = setup.scratch / "multivisit_run", setup.scratch / "drizzlepac_run"
    repeats, warm_ups = (1, 0) if setup.quick else (4, 1)
    catalogs = setup.scratch / "multivisit_catalogs"
    contenders = [
        our_contender(case, ours, repeats=repeats, warm_ups=warm_ups),
        our_contender(case, catalogs, repeats=repeats, warm_ups=0, catalogs=True),
    ]
    if setup.drizzlepac_python is not None:
        contenders.append(_drizzlepac_contender(setup.drizzlepac_python, case, theirs, setup.quick))
    else:
        setup.report("no Python with drizzlepac was given: it is left out")
    result: dict[str, Any] = {
        "exposures": len(case.exposures),
        "input_bytes": case.input_bytes,
        "memory": RUN_MEMORY,
        "run": measure_in_turns(contenders, setup.report, warmed_bytes=setup.warmed_bytes),
    }
    products = sorted(path.name for path in ours.glob("hst_skycell-*_dr[cz].fits"))
    result["layers"] = len(products)
    if setup.drizzlepac_python is not None:
        setup.report("comparing the pixels of the products")
        agreements = [
            compare_layer(theirs / name, ours / name, members_of(name, list(case.exposures)))
            for name in products
        ]
        result["agreement"] = [asdict(item) for item in agreements]
    result["sky_cells"] = _measure_sky_cells(setup, case)
    return result


def _drizzlepac_contender(python: str, case: Case, folder: Path, quick: bool) -> Contender:
    def run() -> Sample:
        # Copies: drizzlepac may write into its inputs.
        poller = prepare_folder(folder, list(case.exposures), case.poller)
        command = [python, "-c", DRIZZLEPAC_PROGRAM, poller.name]
        return run_measured(command, folder, log_of(folder), environment=plain_environment())

    return Contender("drizzlepac", run, 1 if quick else 2)


def _measure_sky_cells(setup: Setup, case: Case) -> dict[str, Any]:
    """Time `get_sky_cells` itself, each time in a fresh process that has imported all it needs before."""
    pythons = {"multivisit": (sys.executable, 5)}
    if setup.drizzlepac_python is not None:
        pythons["drizzlepac"] = (setup.drizzlepac_python, 2)
    folder = setup.scratch / "sky_cells"
    fresh_folder(folder)
    for path in case.exposures:
        shutil.copy(path, folder)
    names = [path.name for path in case.exposures]
    smallest = min(case.exposures, key=lambda path: path.stat().st_size).name
    # What the function imports on the way is found with one file.
    modules = {
        name: _call_sky_cells(python, name, [smallest], [], folder)[3]
        for name, (python, _) in pythons.items()
    }
    walls: dict[str, list[float]] = {name: [] for name in pythons}
    processors: dict[str, list[float]] = {name: [] for name in pythons}
    cells: dict[str, list[str]] = {}
    settle(setup.warmed_bytes)
    for number in range(1 if setup.quick else 5):
        for name, (python, repeats) in pythons.items():
            if number < repeats:
                wall, processor, cells[name], _ = _call_sky_cells(python, name, names, modules[name], folder)
                walls[name].append(wall)
                processors[name].append(processor)
                setup.report(f"get_sky_cells of {name}: {wall:.3f} s wall, {processor:.3f} s processor")
    return {
        name: {
            "samples": {"wall_seconds": walls[name], "cpu_seconds": processors[name]},
            "minimum": {"wall_seconds": min(walls[name]), "cpu_seconds": min(processors[name])},
            "median": {
                "wall_seconds": statistics.median(walls[name]),
                "cpu_seconds": statistics.median(processors[name]),
            },
            "cells": cells[name],
        }
        for name in pythons
    }


def _call_sky_cells(
    python: str, package: str, names: list[str], modules: list[str], folder: Path
) -> tuple[float, float, list[str], list[str]]:
    done = subprocess.run(
        [python, "-c", _SKY_CELLS_PROGRAM, package, json.dumps(names), json.dumps(modules)],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        env=plain_environment(),
    )
    if done.returncode != 0:
        raise BenchmarkError(f"get_sky_cells of {package} failed:\n{done.stderr[-2000:]}")
    # drizzlepac prints lines of its own before.
    wall, processor, cells, loaded = json.loads(done.stdout.splitlines()[-1])
    return wall, processor, cells, loaded
