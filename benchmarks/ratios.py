"""What follows from the measured figures: how many times faster, and how close to what was aimed at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.cases import WITH_CATALOGS
from benchmarks.growth import ALLOWED_BYTES
from benchmarks.machine import BYTES_PER_INPUT_PIXEL

INSTRUCTION_SETS = ("avx512", "avx2", "neon", "portable")
KERNEL_AIMS = {"avx512": 20.0, "avx2": 10.0}
SECOND_CORE_AIM = 1.6
RUN_AIM = 25.0
CATALOGS_AIM = 15.0
RUN_MEMORY_AIM = 2**30
SKY_CELLS_AIM = 100.0
FULL_CELL_MEMORY_AIM = ALLOWED_BYTES
GROWTH_AIM = 4.4
MEMORY_GROWTH_AIM = 1.05
"""64 exposures take no more memory than 16; 5 % is what runs of the same thing differ by."""


@dataclass(frozen=True)
class Ratio:
    """One figure and what it was to be."""

    name: str
    """What it says."""

    value: float
    """The figure."""

    unit: str
    """``times`` or ``MiB``."""

    aim: float | None = None
    """What was aimed at."""

    at_most: bool = False
    """The aim is an upper limit, not a lower one."""

    @property
    def reached(self) -> bool | None:
        """Whether the aim is reached; None without one."""
        if self.aim is None:
            return None
        return self.value <= self.aim if self.at_most else self.value >= self.aim


def all_ratios(results: dict[str, Any]) -> list[Ratio]:
    """Work out the ratios of everything that has been measured."""
    parts = {name: part["result"] for name, part in results["parts"].items() if "result" in part}
    ratios = []
    if "kernel" in parts:
        ratios += kernel_ratios(parts["kernel"])
    if "run" in parts:
        ratios += run_ratios(parts["run"])
    if "swarp" in parts:
        ratios += swarp_ratios(parts["swarp"])
    if "growth" in parts:
        ratios += growth_ratios(parts["growth"])
    return ratios


def kernel_ratios(result: dict[str, Any]) -> list[Ratio]:
    """Compare the kernels, each time in the case that is worst for this package."""
    rates = [case["rates"] for case in result["cases"]]
    names = [name for name in INSTRUCTION_SETS if all(name in rate for rate in rates)]
    found = []
    if all("drizzlepac" in rate for rate in rates):
        for name in names:
            value = min(rate[name] / rate["drizzlepac"] for rate in rates)
            words = f"kernel, {name}, one thread: speed over drizzlepac's, in the worst case"
            found.append(Ratio(words, value, "times", KERNEL_AIMS.get(name)))
    value = min(rate[names[0]] / rate["drizzle"] for rate in rates)
    found.append(
        Ratio(f"kernel, {names[0]}, one thread: speed over drizzle's, in the worst case", value, "times")
    )
    value = min(rate["2 threads"] / rate[names[0]] for rate in rates)
    words = "kernel: two threads over one, in the worst case"
    found.append(Ratio(words, value, "times", SECOND_CORE_AIM))
    return found


def run_ratios(result: dict[str, Any]) -> list[Ratio]:
    """Compare the whole runs and the look-ups of sky cells by their fastest repeats."""
    ours = result["run"]["multivisit"]
    found = []
    theirs = result["run"].get("drizzlepac")
    if theirs is not None:
        for quantity, words, aim in (
            ("wall_seconds", "wall time", RUN_AIM),
            ("cpu_seconds", "processor time", None),
            ("peak_rss_bytes", "peak memory", None),
            ("written_bytes", "bytes written", None),
        ):
            value = theirs["minimum"][quantity] / ours["minimum"][quantity]
            name = f"run_mvm_processing: {words} of drizzlepac over that of multivisit"
            found.append(Ratio(name, value, "times", aim))
        catalogs = result["run"][WITH_CATALOGS]
        value = theirs["minimum"]["wall_seconds"] / catalogs["minimum"]["wall_seconds"]
        name = "run_mvm_processing: wall time of drizzlepac over that of multivisit with catalogs"
        found.append(Ratio(name, value, "times", CATALOGS_AIM))
    peak = max(result["run"][name]["maximum"]["peak_rss_bytes"] for name in ("multivisit", WITH_CATALOGS))
    found.append(
        Ratio(
            "run_mvm_processing: peak memory of multivisit", peak / 2**20, "MiB", RUN_MEMORY_AIM / 2**20, True
        )
    )
    cells = result["sky_cells"]
    if "drizzlepac" in cells:
        value = (
            cells["drizzlepac"]["minimum"]["wall_seconds"] / cells["multivisit"]["minimum"]["wall_seconds"]
        )
        words = "get_sky_cells: time of drizzlepac over that of multivisit"
        found.append(Ratio(words, value, "times", SKY_CELLS_AIM))
    return found


def swarp_ratios(result: dict[str, Any]) -> list[Ratio]:
    """Compare SWarp with this package by the fastest repeats."""
    ours = result["run"]["multivisit"]["minimum"]["wall_seconds"]
    return [
        Ratio(
            f"same layers: wall time of {name} over that of multivisit",
            turn["minimum"]["wall_seconds"] / ours,
            "times",
        )
        for name, turn in result["run"].items()
        if name != "multivisit"
    ]


def growth_ratios(result: dict[str, Any]) -> list[Ratio]:
    """Compare 16 and 64 exposures on a whole sky cell, where both have been measured."""
    rows = {row["exposures"]: row for row in result["exposures"]}
    found = []
    if 16 in rows:
        peak = rows[16]["maximum"]["peak_rss_bytes"] / 2**20
        aim = FULL_CELL_MEMORY_AIM / 2**20
        found.append(Ratio("16 exposures on a whole sky cell: peak memory", peak, "MiB", aim, True))
    if 16 in rows and 64 in rows:
        value = rows[64]["minimum"]["wall_seconds"] / rows[16]["minimum"]["wall_seconds"]
        found.append(Ratio("64 exposures over 16: wall time", value, "times", GROWTH_AIM, True))
        value = rows[64]["maximum"]["peak_rss_bytes"] / rows[16]["maximum"]["peak_rss_bytes"]
        found.append(Ratio("64 exposures over 16: peak memory", value, "times", MEMORY_GROWTH_AIM, True))
    return found


def floor_rate(bandwidth: dict[str, float], threads: int) -> float:
    """Give the rate in millions of input pixels a second at which the memory would be the limit."""
    return bandwidth[str(threads)] / BYTES_PER_INPUT_PIXEL / 1e6


def floor_seconds(bandwidth: dict[str, float], input_pixels: int) -> float:
    """Give the time in which the memory could move what the kernel needs, with all cores."""
    return input_pixels * BYTES_PER_INPUT_PIXEL / max(bandwidth.values())
