"""Measure the drizzle kernel beside `drizzle` and drizzlepac, in millions of input pixels a second.

One chip is drizzled onto a grid of sky cell pixels at several rolls and scales, with and without the lookup
tables of its WCS::

    python benchmarks/kernel_rates.py [--drizzlepac-python PYTHON] [--json FILE]

Columns: this kernel with each instruction set of the processor, with two threads that own half the output
rows each, with a context plane and with pixfrac 0.8; `drizzle` without and with the time that its exact pixel
map takes; and drizzlepac's C kernel, whose sampled pixel map is part of it. Each is the best of as
many runs. All of a case are run in turns, so that a busy machine slows all of them; drizzlepac's Python waits
meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.combine.kernel_engine import INSTRUCTION_SETS, WindowSums, add_chip_to_rows
from multivisit.exposures.pixel_map import PixelMap
from multivisit.simulate.geometry import Pointing, chip_wcs, detector_geometry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from astropy.wcs import WCS
    from numpy.typing import NDArray

# A turn of one contender; drizzlepac's runs last longer by themselves.
TURN_SECONDS = 0.3

NATIVE_SCALES = {"acs_wfc": 0.05, "wfc3_uvis": 0.0396, "wfc3_ir": 0.1283}

# What the other Python runs: drizzlepac's kernel as its AstroDrizzle calls it, once for each line it reads,
# printing the seconds that it took.
DRIZZLEPAC_PROGRAM = """
import sys, time, warnings
import numpy as np
warnings.simplefilter("ignore")
from astropy.io import fits
from astropy.wcs import WCS
from drizzlepac import cdriz
chip_file, output_file, ny, nx, size, ratio = sys.argv[1:]
ny, nx, size, ratio = int(ny), int(nx), int(size), float(ratio)
with fits.open(chip_file) as file:
    chip = WCS(file[0].header, file)
with fits.open(output_file) as file:
    output = WCS(file[0].header)
chip.pixel_shape, output.pixel_shape = (nx, ny), (size, size)
data = np.random.default_rng(1).normal(10.0, 1.0, (ny, nx)).astype(np.float32)
weight = np.full((ny, nx), 500.0, dtype=np.float32)
science, total = np.zeros((2, size, size), dtype=np.float32)
context = np.zeros((size, size), dtype=np.int32)
for n_runs, line in enumerate(sys.stdin, 1):
    start = time.perf_counter()
    mapping = cdriz.DefaultWCSMapping(chip, output, nx, ny, 10)
    cdriz.tdriz(data, weight, science, total, context, 1, 0, 1, 1, ny, ratio, 1.0, 1.0, "center", 1.0,
                "square", "cps", 1.0, 1.0, "INDEF", 0, 0, 1, mapping)
    print("seconds", time.perf_counter() - start, flush=True)
assert total.sum(dtype=float) > 0.9 * n_runs * weight.sum(dtype=float), "drizzlepac lost the chip"
"""


@dataclass(frozen=True)
class Case:
    """One chip onto one grid."""

    detector: str
    """Label of the detector."""

    scale: float
    """Output pixel scale in arcsec."""

    roll: float
    """Position angle of V3 in degrees."""

    tables: bool
    """Whether the chip's WCS keeps its lookup tables."""


def case_wcs(case: Case) -> tuple[WCS, WCS, tuple[int, int], int]:
    """Give the chip's WCS, the output's, the chip's shape and the side of the square output."""
    from astropy.wcs import WCS

    geometry = detector_geometry(case.detector).chips[0]
    chip = chip_wcs(geometry, Pointing(150.1, 2.2, case.roll))
    if not case.tables:
        chip.cpdis1 = chip.cpdis2 = chip.det2im1 = chip.det2im2 = None
    ny, nx = geometry.shape
    size = int(np.hypot(nx, ny) * NATIVE_SCALES[case.detector] / case.scale * 1.05) + 100
    output = WCS(naxis=2)
    output.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    output.wcs.crval = [150.1, 2.2]
    output.wcs.cdelt = [-case.scale / 3600.0, case.scale / 3600.0]
    output.wcs.crpix = [1.0, 1.0]
    output.wcs.set()
    u, v = output.wcs_world2pix(*chip.all_pix2world(nx / 2, ny / 2, 0), 0)
    output.wcs.crpix = [1.0 + size / 2 - float(u), 1.0 + size / 2 - float(v)]
    output.wcs.set()
    return chip, output, (ny, nx), size


def exact_positions(chip: WCS, shape: tuple[int, int], output: WCS) -> NDArray[np.float64]:
    """Map all pixels of a chip by astropy, as users of `drizzle` do."""
    y, x = np.indices(shape, dtype=np.float64)
    u, v = output.wcs_world2pix(*chip.all_pix2world(x.ravel(), y.ravel(), 0), 0)
    return np.stack([u.reshape(shape), v.reshape(shape)], axis=-1)


def kernel_runs(
    case: Case, pixel_map: PixelMap, size: int, pool: ThreadPoolExecutor
) -> dict[str, Callable[[], Any]]:
    """Make the runs of this kernel, with a pool of two threads."""
    ratio = case.scale / NATIVE_SCALES[case.detector]
    science = np.random.default_rng(1).normal(10.0, 1.0, pixel_map.shape).astype(np.float32)
    weight = np.full(pixel_map.shape, 500.0, dtype=np.float32)
    whole = WindowSums.zeros((size, size))
    with_context = WindowSums.zeros((size, size), context_chips=1)
    half = size // 2
    halves = [WindowSums(whole.sums[:half]), WindowSums(whole.sums[half:], (0, half))]

    def run(window: WindowSums, **options: Any) -> Callable[[], Any]:
        return lambda: add_chip_to_rows(science, weight, pixel_map, window, scale_ratio=ratio, **options)

    runs = {f"{name}": run(whole, instruction_set=name) for name in INSTRUCTION_SETS}
    runs["2 threads"] = lambda: list(pool.map(lambda window: run(window)(), halves))
    runs["context"] = run(with_context)
    runs["pixfrac 0.8"] = run(whole, pixfrac=0.8)
    return runs


def drizzle_run(
    case: Case, positions: NDArray[np.float64], shape: tuple[int, int], size: int
) -> Callable[[], Any]:
    """Make a run of `drizzle`'s square kernel with an exact pixel map."""
    from drizzle.resample import Drizzle

    ratio = case.scale / NATIVE_SCALES[case.detector]
    science = np.random.default_rng(1).normal(10.0, 1.0, shape).astype(np.float32)
    weight = np.full(shape, 500.0, dtype=np.float32)
    drizzler = Drizzle(out_shape=(size, size), kernel="square", disable_ctx=True)

    def run() -> None:
        drizzler.add_image(
            science, 1.0, positions, weight_map=weight, iscale=ratio**2, pixel_scale_ratio=ratio
        )

    return run


@contextmanager
def drizzlepac_timer(
    python: str, case: Case, chip: WCS, output: WCS, shape: tuple[int, int], size: int
) -> Iterator[Callable[[], float]]:
    """Start drizzlepac's C kernel in its own Python; what is given runs it once and tells the seconds."""
    ratio = case.scale / NATIVE_SCALES[case.detector]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        log = stack.enter_context(Path(folder, "log").open("w+", encoding="utf-8"))
        files = [Path(folder, name) for name in ("chip.fits", "output.fits")]
        chip.to_fits(relax=True).writeto(files[0])
        output.to_fits().writeto(files[1])
        arguments = [*files, *shape, size, ratio]
        process = stack.enter_context(
            subprocess.Popen(
                [python, "-c", DRIZZLEPAC_PROGRAM, *map(str, arguments)],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        )

        def failure() -> SystemExit:
            process.kill()
            log.seek(0)
            return SystemExit(f"{python} could not run drizzlepac's kernel:\n{log.read()}")

        def run() -> float:
            try:
                process.stdin.write("\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
            except BrokenPipeError:
                raise failure() from None
            # drizzlepac prints lines of its own before.
            for line in process.stdout or ():
                if line.startswith("seconds "):
                    return float(line.split()[1])
            raise failure()

        yield run
        process.communicate()
        if process.returncode != 0:
            raise failure()


class CaseTimer:
    """The times of all runs of a case, the best of all rounds so far."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.chip, self.output, self.shape, self.size = case_wcs(case)
        self.pixel_map = PixelMap.fit(self.chip, self.shape, self.output)
        start = time.perf_counter()
        self.positions = exact_positions(self.chip, self.shape, self.output)
        self.map_seconds = time.perf_counter() - start
        self.best: dict[str, float] = {}

    def run_round(self, repeat: int, drizzlepac_python: str | None) -> None:
        """Run everything some times."""
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(2))
            contenders = kernel_runs(self.case, self.pixel_map, self.size, pool)
            contenders["drizzle"] = drizzle_run(self.case, self.positions, self.shape, self.size)
            runs = {name: _timed(run) for name, run in contenders.items()}
            if drizzlepac_python is not None:
                runs["drizzlepac"] = stack.enter_context(
                    drizzlepac_timer(
                        drizzlepac_python, self.case, self.chip, self.output, self.shape, self.size
                    )
                )
            for _ in range(repeat):
                for name, run in runs.items():
                    self.best[name] = min(self.best.get(name, np.inf), run())

    def rates(self) -> dict[str, float]:
        """Give the rates in millions of input pixels a second."""
        seconds = {**self.best, "drizzle+map": self.best["drizzle"] + self.map_seconds}
        return {name: self.shape[0] * self.shape[1] / 1e6 / value for name, value in seconds.items()}


def _timed(run: Callable[[], Any]) -> Callable[[], float]:
    """Make a function that runs another one for a turn, again and again, and tells the least seconds."""

    def timed() -> float:
        samples: list[float] = []
        while sum(samples) < TURN_SECONDS:
            start = time.perf_counter()
            run()
            samples.append(time.perf_counter() - start)
        return min(samples)

    return timed


def processor_name() -> str:
    """Name the processor."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Measure all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--drizzlepac-python", help="Python of an environment with drizzlepac installed")
    parser.add_argument("--detector", choices=NATIVE_SCALES, default="acs_wfc")
    parser.add_argument("--scales", type=float, nargs="+", default=[0.04, 0.12])
    parser.add_argument("--rolls", type=float, nargs="+", default=[0.0, 27.0, 80.0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all cases")
    parser.add_argument("--repeat", type=int, default=2, help="turns of each in a round; the best run counts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    arguments = parser.parse_args()

    machine = {"processor": processor_name(), "cores": os.cpu_count(), "python": platform.python_version()}
    print(f"{machine['processor']}, {machine['cores']} cores; millions of input pixels a second")
    timers = [
        CaseTimer(Case(arguments.detector, scale, roll, tables))
        for scale in arguments.scales
        for tables in (False, True)
        for roll in arguments.rolls
    ]
    for number in range(arguments.rounds):
        for timer in timers:
            timer.run_round(arguments.repeat, arguments.drizzlepac_python)
        print(f"round {number + 1} of {arguments.rounds} done", flush=True)
    rows: list[dict[str, Any]] = []
    for timer in timers:
        case, rates = timer.case, timer.rates()
        if not rows:
            print(f"{'scale':>6} {'roll':>5} tables", *(f"{name:>11}" for name in rates))
        values = (f"{rate:11.1f}" for rate in rates.values())
        print(f"{case.scale:6} {case.roll:5.0f} {'yes' if case.tables else 'no':>6}", *values)
        rows.append({**asdict(case), "rates": rates})
    report = json.dumps({"machine": machine, "unit": "Mpixel/s", "cases": rows}, indent=1)
    if arguments.json is None:
        print(report)
    else:
        arguments.json.write_text(report + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
