"""How the cost of a mosaic grows with the number of exposures and with its size."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.cases import OUR_PROGRAM, Setup, fresh_folder, log_of, plain_environment
from benchmarks.fields import (
    CELL_HALF_WIDTH,
    FastField,
    growth_specification,
    write_fast_field,
    write_growth_poller,
)
from benchmarks.measuring import Contender, Sample, measure_in_turns, run_measured

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MEMORY = "2GiB"
"""What each of these runs is allowed."""

ALLOWED_BYTES = 2 * 2**30
"""The same as a number."""

COUNTS = (1, 2, 4, 8, 16, 32, 64)
SIZE_EXPOSURES = 4
FULL_REACH = CELL_HALF_WIDTH - 99.0
"""Pointings as far out as this reach all four sides of the sky cell, at any roll."""

REACHES = (20.0, 60.0, 120.0, 220.0, FULL_REACH)


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    counts: tuple[int, ...]
    """Numbers of exposures, all on one mosaic."""

    count_reach: float
    """Reach of their pointings, in arcsec."""

    reaches: tuple[float, ...]
    """Reaches of the pointings of a few exposures: sizes of the mosaic."""

    subarray: tuple[int, int] | None
    """What is read of each chip."""

    repeats: dict[int, int]
    """How often a number of exposures is measured; others once."""


FULL_PLAN = Plan(COUNTS, FULL_REACH, REACHES, None, {4: 2, 16: 2, 64: 2})
QUICK_PLAN = Plan((1, 2), 12.0, (6.0,), (96, 256), {})


def measure_growth(setup: Setup, plan: Plan | None = None) -> dict[str, Any]:
    """Measure both series; the exposures are written first and deleted at the end."""
    plan = plan or (QUICK_PLAN if setup.quick else FULL_PLAN)
    return {
        "memory": MEMORY,
        "exposures": _measure_counts(setup, plan),
        "sizes": _measure_sizes(setup, plan),
    }


def _measure_counts(setup: Setup, plan: Plan) -> list[dict[str, Any]]:
    """Measure growing numbers of exposures on a mosaic of one size."""
    folder, output = setup.scratch / "growth_exposures", setup.scratch / "growth_run"
    fresh_folder(folder)
    setup.report(f"writing {max(plan.counts)} exposures")
    specification = growth_specification(max(plan.counts), plan.count_reach, subarray=plan.subarray)
    field = write_fast_field(specification, folder, setup.report)
    contenders = [
        _contender(f"{count} exposures", field, count, output, plan.repeats.get(count, 1))
        for count in plan.counts
    ]
    turns = measure_in_turns(contenders, setup.report, warmed_bytes=setup.warmed_bytes)
    rows = [
        {"exposures": count, "input_pixels": _input_pixels(field.exposures[:count])}
        | turns[f"{count} exposures"]
        for count in plan.counts
    ]
    width, height = _mosaic_size(output)
    return [{"mosaic": [width, height], **row} for row in rows]


def _measure_sizes(setup: Setup, plan: Plan) -> list[dict[str, Any]]:
    """Measure the same few exposures further and further apart."""
    rows = []
    for reach in plan.reaches:
        folder, output = setup.scratch / "growth_exposures", setup.scratch / "growth_run"
        fresh_folder(folder)
        field = write_fast_field(growth_specification(SIZE_EXPOSURES, reach, subarray=plan.subarray), folder)
        name = f"{SIZE_EXPOSURES} exposures within {2 * reach:.0f} arcsec"
        contender = _contender(name, field, SIZE_EXPOSURES, output, 1 if setup.quick else 2)
        record = measure_in_turns([contender], setup.report, warmed_bytes=setup.warmed_bytes)[name]
        pixels = _input_pixels(field.exposures)
        mosaic = list(_mosaic_size(output))
        rows.append({"mosaic": mosaic, "exposures": SIZE_EXPOSURES, "input_pixels": pixels, **record})
    return rows


def _contender(name: str, field: FastField, count: int, folder: Path, repeats: int) -> Contender:
    poller = field.exposures[0].parent / f"growth_{count:02d}.out"
    write_growth_poller(field.exposures[:count], field.anchors, poller)

    def run() -> Sample:
        # The products of all runs have one name, and only one of them fits on a small disk.
        fresh_folder(folder)
        command = [sys.executable, "-c", OUR_PROGRAM, str(poller), MEMORY, "ours", "none"]
        return run_measured(command, folder, log_of(folder), environment=plain_environment())

    return Contender(name, run, repeats)


def _input_pixels(exposures: Sequence[Path]) -> int:
    from astropy.io import fits

    total = 0
    for path in exposures:
        with fits.open(path) as file:
            total += sum(hdu.header["NAXIS1"] * hdu.header["NAXIS2"] for hdu in file if hdu.name == "SCI")
    return total


def _mosaic_size(folder: Path) -> tuple[int, int]:
    from astropy.io import fits

    (product,) = folder.glob("hst_skycell-*_drc.fits")
    header = fits.getheader(product, "SCI")
    return header["NAXIS1"], header["NAXIS2"]
