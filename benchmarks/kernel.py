"""The rates of the drizzle kernels: `benchmarks.kernel_rates`, run as a program of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import BenchmarkError, settle

if TYPE_CHECKING:
    from benchmarks.cases import Setup

_QUICK = ("--detector", "wfc3_ir", "--scales", "0.12", "--rolls", "27", "--rounds", "1", "--repeat", "1")


def measure_kernel(setup: Setup) -> dict[str, Any]:
    """Measure the kernels' rates in millions of input pixels a second, case by case."""
    numbers = setup.scratch / "kernel_rates.json"
    command = [sys.executable, "-m", "benchmarks.kernel_rates", "--json", str(numbers)]
    if setup.drizzlepac_python is not None:
        command += ["--drizzlepac-python", setup.drizzlepac_python]
    if setup.quick:
        command += _QUICK
    settle(setup.warmed_bytes)
    lines = []
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            setup.report(line.rstrip())
    if process.returncode != 0:
        raise BenchmarkError(f"kernel_rates.py ended with code {process.returncode}:\n{''.join(lines[-15:])}")
    return {"cases": json.loads(numbers.read_text(encoding="utf-8"))["cases"]}
