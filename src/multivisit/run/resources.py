"""What the machine has to offer: cores and memory, and how much of it this process takes."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from multivisit.run.options import RunOptions

__all__ = [
    "LEAST_MEMORY",
    "available_memory",
    "default_threads",
    "give_memory_back",
    "parse_memory",
    "process_memory",
    "with_resources",
]

LEAST_MEMORY = 512 << 20
"""Bytes that a run may take at least: the interpreter with its packages, one strip and one chip."""

_DEFAULT_SHARE = 0.5
_MOST_THREADS = 8
_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "K": 2**10,
    "KIB": 2**10,
    "M": 2**20,
    "MIB": 2**20,
    "G": 2**30,
    "GIB": 2**30,
    "T": 2**40,
    "TIB": 2**40,
}
_MEMORY_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-zA-Z]*)\s*")
_MOST_BYTES = 2.0**63
_CGROUP = Path("/sys/fs/cgroup")


def with_resources(options: RunOptions) -> RunOptions:
    """Fill in how many threads and how much memory a run may take, where nobody said.

    Parameters
    ----------
    options : RunOptions
        What was asked for.

    Returns
    -------
    RunOptions
        The same with both.

    Raises
    ------
    ParameterError
        For fewer threads than one, or less memory than `LEAST_MEMORY`.
    """
    threads = default_threads() if options.threads is None else options.threads
    if threads < 1:
        raise ParameterError(f"threads: found {threads}, expected at least 1.")
    memory = options.memory
    if memory is None:
        free = available_memory()
        memory = max(LEAST_MEMORY, int(_DEFAULT_SHARE * free)) if free is not None else 2 * LEAST_MEMORY
    elif memory < LEAST_MEMORY:
        raise ParameterError(
            f"memory: found {memory / 2**20:.4g} MiB, expected at least {LEAST_MEMORY >> 20} MiB, which the "
            "packages, one strip of the mosaic and one chip take."
        )
    return replace(options, threads=threads, memory=memory)


def parse_memory(text: str) -> int:
    """Read an amount of memory.

    Parameters
    ----------
    text : str
        A number with a unit: ``2GiB``, ``512 MiB``, ``1.5G``, ``800MB``; bytes without one. KB, MB, GB are
        powers of 1000, all others of 1024.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    ParameterError
        If it is no amount of memory, or 0.
    """
    match = _MEMORY_TEXT.fullmatch(text)
    unit = _UNITS.get(match[2].upper()) if match else None
    n_bytes = float(match[1]) * unit if match and unit else 0.0
    if not 1 <= n_bytes < _MOST_BYTES:
        raise ParameterError(f"memory: found {text!r}, expected a number with a unit such as 2GiB or 512MiB.")
    return int(n_bytes)


def default_threads() -> int:
    """Give the number of threads to use where nobody says: one for each core of this process, 8 at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_THREADS)


def available_memory() -> int | None:
    """Find how much memory is free for this process, within the limits of its control group.

    Returns
    -------
    int or None
        Bytes; None where the system does not tell.
    """
    found = [_meminfo("MemAvailable")]
    limit = _number_in(_CGROUP / "memory.max")
    used = _number_in(_CGROUP / "memory.current")
    if limit is not None and used is not None:
        # Files that the system keeps in memory count as used there, but give way.
        cached = _field(_CGROUP / "memory.stat", "inactive_file") or 0
        found.append(max(0, limit - used + cached))
    return min((n for n in found if n is not None), default=None)


def give_memory_back() -> None:
    """Ask the C library to give freed memory back to the system, which it keeps to be quick."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def process_memory() -> int:
    """Give the memory that this process takes now (its resident set), in bytes; 0 where that is not told."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _meminfo(name: str) -> int | None:
    kilobytes = _field(Path("/proc/meminfo"), f"{name}:")
    return None if kilobytes is None else kilobytes * 1024


def _field(path: Path, name: str) -> int | None:
    """Give the number behind a name in a file of such lines."""
    try:
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            words = line.split()
            if words and words[0] == name:
                return int(words[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def _number_in(path: Path) -> int | None:
    """Give the number that a file holds; None for no file or no number (``max``)."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
