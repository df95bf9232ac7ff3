"""Say what machine, programs and versions were measured."""

from __future__ import annotations

import os
import platform
import subprocess
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.measuring import memory_bandwidth

BYTES_PER_INPUT_PIXEL = 33
"""What a drizzle kernel must move for an input pixel (see `Floor` in the documentation)."""

_PACKAGES = ("multivisit", "numpy", "scipy", "astropy", "drizzle", "shapely")
_DRIZZLEPAC_PACKAGES = ("drizzlepac", "numpy", "astropy", "stsci.skypac", "spherical-geometry")
_VERSIONS_PROGRAM = """
import platform, sys
from importlib import metadata
print("Python", platform.python_version())
for name in sys.argv[1:]:
    print(name, metadata.version(name))
"""


def describe_machine() -> dict[str, Any]:
    """Describe the machine: processor, cores, memory and operating system."""
    from benchmarks.kernel_rates import processor_name

    return {
        "processor": processor_name(),
        "instruction_sets": _instruction_sets(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{_distribution()}, {platform.system()} {platform.release().split('-')[0]}",
        "virtual": "hypervisor" in _processor_flags(),
    }


def measure_bandwidth(*, quick: bool = False) -> dict[str, float]:
    """Measure the memory's bandwidth in bytes a second, with one thread and with one a core."""
    cores = os.cpu_count() or 1
    size = (16 if quick else 512) << 20
    return {str(threads): memory_bandwidth(threads, size_bytes=size) for threads in sorted({1, cores})}


def describe_versions(drizzlepac_python: str | None, swarp: str | None) -> dict[str, str]:
    """Give the versions of what is measured, and the compiler."""
    versions = {"Python": platform.python_version()}
    versions.update((name, metadata.version(name)) for name in _PACKAGES)
    commit = _first_line(["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"])
    if len(commit.split()) == 1:
        versions["multivisit"] += f", commit {commit}"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    versions["C compiler"] = _first_line([compiler, "--version"])
    if drizzlepac_python:
        output = _output([drizzlepac_python, "-c", _VERSIONS_PROGRAM, *_DRIZZLEPAC_PACKAGES])
        versions["drizzlepac's environment"] = ", ".join(output.splitlines())
    if swarp:
        versions["SWarp"] = _first_line([swarp, "-v"])
    return versions


def _instruction_sets() -> str:
    from multivisit.combine.kernel_engine import INSTRUCTION_SETS

    return ", ".join(INSTRUCTION_SETS)


def _processor_flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith(("flags", "Features")):
            return set(line.partition(":")[2].split())
    return set()


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _first_line(command: list[str]) -> str:
    lines = _output(command).splitlines()
    return lines[0].strip() if lines else "unknown"


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    except OSError:
        return ""
    return done.stdout or done.stderr
