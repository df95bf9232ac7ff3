"""Measure `multivisit` beside other programs, and write tables and plots for the documentation.

Parts: ``bandwidth`` (of the memory), ``kernel`` (rates of the drizzle kernels), ``run`` (run_mvm_processing
and get_sky_cells, here and in drizzlepac), ``swarp`` (SWarp on the same layers), ``growth`` (cost with
exposures and mosaic size). Each can be measured alone; its figures replace its earlier ones in the output
folder's ``benchmarks.json``. A part that fails does not stop the others.

It needs Linux, 14 GB of disk in the work folder, and half an hour on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cases import Setup, fresh_folder
from benchmarks.growth import measure_growth
from benchmarks.kernel import measure_kernel
from benchmarks.machine import describe_machine, describe_versions, measure_bandwidth
from benchmarks.measuring import BenchmarkError
from benchmarks.plots import write_plots
from benchmarks.results import add_part, measure_part, read_results, same_machine
from benchmarks.rst_tables import write_tables
from benchmarks.swarp import measure_swarp
from benchmarks.whole_run import measure_whole_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_OUTPUT = Path(__file__).parent.parent / "docs" / "benchmarks"
MEASURES: dict[str, Callable[[Setup], dict[str, Any]]] = {
    "bandwidth": lambda setup: measure_bandwidth(quick=setup.quick),
    "kernel": measure_kernel,
    "run": measure_whole_run,
    "swarp": measure_swarp,
    "growth": measure_growth,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for and write tables and plots; 1 if a part failed."""
    options = _parser().parse_args(arguments)
    warnings.simplefilter("ignore")
    report = _Reporter()
    names = _parts(options.only)
    options.output.mkdir(parents=True, exist_ok=True)
    numbers = options.output / "benchmarks.json"
    failed = []
    try:
        if names:
            failed = _measure(names, options, numbers, report)
        results = read_results(numbers)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    write_tables(results, options.output)
    write_plots(results, options.output)
    report(f"tables and plots are in {options.output}")
    for name in failed:
        report(f"failed: {name}: {results['parts'][name]['error']}")
    return 1 if failed else 0


def _measure(
    names: list[str],
    options: argparse.Namespace,
    numbers: Path,
    report: Callable[[str], None],
) -> list[str]:
    """Measure parts, adding each to the file of results; return those that failed."""
    setup = Setup(
        work=options.work.resolve(),
        report=report,
        quick=options.quick,
        drizzlepac_python=options.drizzlepac_python,
        swarp=shutil.which(options.swarp),
        exposures=options.exposures.resolve() if options.exposures else None,
    )
    setup.work.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    results = read_results(numbers)
    if not same_machine(results, machine):
        raise BenchmarkError(
            f"{numbers} holds results of another machine ({results['machine']}), which new ones cannot stand "
            "beside: name another output folder with -o, or delete the file to measure all parts anew"
        )
    versions = describe_versions(setup.drizzlepac_python, setup.swarp)
    failed = []
    for name in names:
        fresh_folder(setup.scratch)
        try:
            record = measure_part(name, partial(MEASURES[name], setup), versions, report)
        finally:
            shutil.rmtree(setup.scratch)
        add_part(numbers, machine, name, record)
        if "error" in record:
            failed.append(name)
    return failed


def _parts(only: str | None) -> list[str]:
    """Give the parts to measure, in their order; ``report`` stands for none of them."""
    if only is None:
        return list(MEASURES)
    wanted = set(only.split(","))
    unknown = wanted - set(MEASURES) - {"report"}
    if unknown:
        known = ", ".join([*MEASURES, "report"])
        raise SystemExit(f"--only {only}: unknown part {', '.join(sorted(unknown))}; choose from {known}")
    return [name for name in MEASURES if name in wanted]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        metavar="PARTS",
        help="measure these parts alone (kernel,run,...); 'report' draws tables anew",
    )
    parser.add_argument("--drizzlepac-python", help="Python of an environment with drizzlepac")
    parser.add_argument("--swarp", default="SWarp", help="SWarp's command (default: SWarp)")
    parser.add_argument(
        "--exposures", type=Path, help="folder with the exposures of 'run' and 'swarp', else simulated"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("benchmark-work"), help="scratch folder (default: benchmark-work)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=DEFAULT_OUTPUT,
        help="folder of results (default: docs/benchmarks)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny cases, to see that all works; the figures mean nothing"
    )
    return parser


class _Reporter:
    """Prints lines with the time since the start."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def __call__(self, text: str) -> None:
        print(f"{time.perf_counter() - self._started:7.1f} s  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
