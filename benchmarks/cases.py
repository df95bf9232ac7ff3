"""What all parts of the benchmarks are given, and the case that two of them share."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.compare_drizzlepac import write_poller
from benchmarks.measuring import WARMED_BYTES, Contender, Sample, run_measured

if TYPE_CHECKING:
    from collections.abc import Callable

OUR_PROGRAM = """
import sys
from multivisit.hapmultisequencer import run_mvm_processing
poller, memory, published, catalogs = sys.argv[1:]
code = run_mvm_processing(
    poller,
    phot_mode=catalogs,
    log_level=40,
    memory=memory,
    published_conditions=published == "published",
)
sys.exit(int(code))
"""

WITH_CATALOGS = "multivisit, with catalogs"
"""What the tables call runs that make the source catalogs too."""

RUN_MEMORY = "1GiB"
"""What a run of eighteen exposures is allowed."""


@dataclass(frozen=True)
class Setup:
    """What all parts are given."""

    work: Path
    """Simulated exposures and the programs' logs are kept here."""

    report: Callable[[str], None]
    """Gets lines of text about what is going on."""

    quick: bool = False
    """Tiny cases that take seconds: to see that everything works, not to learn how fast."""

    drizzlepac_python: str | None = None
    """Python of the environment with drizzlepac; without it drizzlepac is left out."""

    swarp: str | None = None
    """SWarp's command; None where it is not installed."""

    exposures: Path | None = None
    """Folder with the exposures of the whole run, instead of simulated ones."""

    @property
    def scratch(self) -> Path:
        """All else is done here; it is deleted after each part."""
        return self.work / "benchmark-scratch"

    @property
    def warmed_bytes(self) -> int:
        """Memory that is touched before each run."""
        return 0 if self.quick else WARMED_BYTES


@dataclass(frozen=True)
class Case:
    """Exposures that several programs combine."""

    exposures: tuple[Path, ...]
    """The exposures."""

    poller: Path
    """The poller file of all of them."""

    @property
    def input_bytes(self) -> int:
        """Their size."""
        return sum(path.stat().st_size for path in self.exposures)


def eighteen_case(setup: Setup) -> Case:
    """Give the exposures of the whole run: those of the user, or simulated ones that are made once."""
    from multivisit.simulate import run_simulation

    folder = setup.exposures
    if folder is None:
        field = "tiny" if setup.quick else "eighteen"
        folder = setup.work / f"exposures_{field}"
        if not (folder / "simulation.json").exists():
            setup.report(f"simulating the field {field!r} in {folder}")
            run_simulation(field, folder)
    exposures = tuple(sorted(folder.resolve().glob("*_fl[ct].fits")))
    poller = setup.work / "benchmark_poller.out"
    write_poller(list(exposures), poller)
    return Case(exposures, poller)


def our_contender(
    case: Case,
    folder: Path,
    *,
    repeats: int,
    warm_ups: int,
    memory: str = RUN_MEMORY,
    catalogs: bool = False,
) -> Contender:
    """Measure this package's `run_mvm_processing` as a whole process, imports included.

    The other programs make no catalogs, so it makes them as a contender of its own.
    """
    phot_mode = "both" if catalogs else "none"

    def run() -> Sample:
        fresh_folder(folder)
        # The inputs are only read, so that links do.
        for path in case.exposures:
            os.link(path, folder / path.name)
        poller = Path(shutil.copy(case.poller, folder))
        command = [sys.executable, "-c", OUR_PROGRAM, poller.name, memory, "published", phot_mode]
        return run_measured(command, folder, log_of(folder), environment=plain_environment())

    return Contender(WITH_CATALOGS if catalogs else "multivisit", run, repeats, warm_ups)


def log_of(folder: Path) -> Path:
    """Name the log of a program that runs in a folder of the scratch folder, which it outlives."""
    return folder.parents[1] / f"{folder.name}.log"


def fresh_folder(folder: Path) -> None:
    """Make an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def plain_environment() -> dict[str, str]:
    """Give the environment without variables that change what the programs make."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MVM_")}
