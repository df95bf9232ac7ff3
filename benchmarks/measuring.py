"""Measure whole programs from outside: time, processor time, memory and disk, children included."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LONGEST_POLL_SECONDS = 0.1
"""Looking at a program's memory more often would disturb it."""

TIME_LIMIT = 1800.0
"""Seconds after which a program is stopped, so that one that hangs does not stop all others."""

WARMED_BYTES = 2 << 30

QUANTITIES = (
    "wall_seconds",
    "user_seconds",
    "system_seconds",
    "cpu_seconds",
    "peak_rss_bytes",
    "written_bytes",
    "kept_bytes",
)


class BenchmarkError(RuntimeError):
    """A benchmark cannot be run, or a program that it measures has failed."""


@dataclass(frozen=True)
class Sample:
    """What one run of one program took."""

    wall_seconds: float
    """From start to end of the process."""

    user_seconds: float
    """Processor time outside the kernel, children included."""

    system_seconds: float
    """Processor time in the kernel, children included."""

    peak_rss_bytes: int
    """Largest resident memory of the process and all its living children together."""

    written_bytes: int
    """Bytes that were handed to the disk, children included; deleted files count too."""

    kept_bytes: int
    """Disk space of the files that are there afterwards and were not before."""

    load_average: float
    """The machine's load of the last minute when the program started."""

    @property
    def cpu_seconds(self) -> float:
        """Processor time in and outside the kernel."""
        return self.user_seconds + self.system_seconds


@dataclass(frozen=True)
class Contender:
    """A program that is measured in turns with others."""

    name: str
    """What it is called in the results."""

    run: Callable[[], Sample]
    """Runs it once, from a clean start."""

    repeats: int
    """How often it is measured."""

    warm_ups: int = 0
    """Runs before these that do not count."""


def run_measured(
    command: Sequence[str], folder: Path, log: Path, *, environment: Mapping[str, str] | None = None
) -> Sample:
    """Run a program to its end and measure it.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    folder : pathlib.Path
        Its working folder; what it leaves there is its ``kept_bytes``.
    log : pathlib.Path
        Gets its output.
    environment : mapping of str, optional
        Its environment; by default this process's own.

    Raises
    ------
    BenchmarkError
        It ended with an error.
    """
    before = disk_usage(folder)
    load = os.getloadavg()[0]
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        timer = threading.Timer(TIME_LIMIT, process.kill)
        timer.start()
        with _MemoryWatch(process.pid) as watch:
            # Not reaped yet, so that its counters can still be read.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            wall = time.perf_counter() - started
        timer.cancel()
        written = _written_bytes(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise BenchmarkError(f"{command[0]} ended with code {process.returncode}; {log} ends with:\n{last}")
    kept = disk_usage(folder) - before
    return Sample(wall, usage.ru_utime, usage.ru_stime, watch.peak_bytes, written, kept, load)


def measure_in_turns(
    contenders: Sequence[Contender], report: Callable[[str], None], *, warmed_bytes: int = WARMED_BYTES
) -> dict[str, dict[str, Any]]:
    """Measure programs in turns, so that a busy or a slowing machine hits all of them.

    Before each run the disk's queue is emptied and memory is touched: a virtual machine's host may have taken
    back what was free, and whoever comes first would pay for it.

    Parameters
    ----------
    contenders : sequence of Contender
        What is measured.
    report : callable
        Gets a line of text for each run.
    warmed_bytes : int
        Memory that is touched.

    Returns
    -------
    dict
        A record for each contender; see `summarize`.
    """
    samples: dict[str, list[Sample]] = {item.name: [] for item in contenders}
    turns = [(item, False) for item in contenders for _ in range(item.warm_ups)]
    for number in range(max(item.repeats for item in contenders)):
        turns.extend((item, True) for item in contenders if number < item.repeats)
    for item, counts in turns:
        settle(warmed_bytes)
        sample = item.run()
        if counts:
            samples[item.name].append(sample)
        report(f"{item.name}{'' if counts else ' (warm-up)'}: {in_words(sample)}")
    return {name: summarize(values) for name, values in samples.items()}


def settle(warmed_bytes: int) -> None:
    """Empty the queue of the disk and touch memory, so that the next run starts as the others do."""
    os.sync()
    program = f"kept = [b'1' * (1 << 26) for _ in range({warmed_bytes >> 26})]"
    subprocess.run([sys.executable, "-S", "-E", "-c", program], check=True)


def summarize(samples: Sequence[Sample]) -> dict[str, Any]:
    """Put samples into a record: all of them, and the least, middle and most of each figure."""
    records = [{**asdict(sample), "cpu_seconds": sample.cpu_seconds} for sample in samples]
    summaries: dict[str, Callable[[list[float]], float]] = {
        "minimum": min,
        "median": statistics.median,
        "maximum": max,
    }
    return {"samples": records} | {
        kind: {name: summary([record[name] for record in records]) for name in QUANTITIES}
        for kind, summary in summaries.items()
    }


def total(samples: Sequence[Sample]) -> Sample:
    """Add up programs that were run one after another as one piece of work."""
    first, *others = samples
    for sample in others:
        first = replace(
            first,
            wall_seconds=first.wall_seconds + sample.wall_seconds,
            user_seconds=first.user_seconds + sample.user_seconds,
            system_seconds=first.system_seconds + sample.system_seconds,
            peak_rss_bytes=max(first.peak_rss_bytes, sample.peak_rss_bytes),
            written_bytes=first.written_bytes + sample.written_bytes,
            kept_bytes=first.kept_bytes + sample.kept_bytes,
        )
    return first


def in_words(sample: Sample) -> str:
    """Tell a sample in a line."""
    return (
        f"{sample.wall_seconds:.2f} s wall, {sample.user_seconds:.1f} s user + "
        f"{sample.system_seconds:.1f} s system, {sample.peak_rss_bytes / 2**20:.0f} MiB peak, "
        f"{sample.written_bytes / 1e9:.2f} GB written, {sample.kept_bytes / 1e9:.2f} GB kept, "
        f"load {sample.load_average:.1f}"
    )


def disk_usage(folder: Path) -> int:
    """Add up the disk space that the files of a folder take; holes of sparse files take none."""
    seen = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        seen[status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def memory_bandwidth(threads: int, *, size_bytes: int, repeats: int = 7) -> float:
    """Measure the memory's bandwidth in bytes a second with a triad, ``a = b + s * c``.

    As STREAM counts it: 24 bytes an element, one read of ``b`` and ``c`` and one write of ``a``. The arrays
    are worked through in blocks whose product stays in the cache. Each thread has its own part.

    Parameters
    ----------
    threads : int
        Threads that work at the same time.
    size_bytes : int
        Size of each of the three arrays, all threads together.
    repeats : int
        Runs; the best counts.
    """
    from concurrent.futures import ThreadPoolExecutor

    length = size_bytes // 8 // threads
    block = 32_768
    arrays = [[np.full(length, value) for value in (0.0, 1.0, 2.0)] for _ in range(threads)]

    def triad(part: list[Any]) -> None:
        target, first, second = part
        product = np.empty(block)
        for start in range(0, length - block + 1, block):
            np.multiply(second[start : start + block], 3.0, out=product)
            np.add(first[start : start + block], product, out=target[start : start + block])

    moved = threads * (length // block) * block * 24
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            started = time.perf_counter()
            list(pool.map(triad, arrays))
            best = max(best, moved / (time.perf_counter() - started))
    return best


class _MemoryWatch:
    """Follows the resident memory of a process and its children while it lives."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> _MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        pause = 0.002
        while not self._stop.is_set():
            pids = _family(self._pid)
            now = sum(_status_bytes(pid, "VmRSS:") for pid in pids)
            # A single process's own high-water mark sees what happens between two looks.
            alone = max((_status_bytes(pid, "VmHWM:") for pid in pids), default=0)
            self.peak_bytes = max(self.peak_bytes, now, alone)
            self._stop.wait(pause)
            pause = min(1.2 * pause, LONGEST_POLL_SECONDS)


def _family(pid: int) -> list[int]:
    """Give a process and its living descendants."""
    found = [pid]
    for parent in found:
        try:
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found.extend(int(child) for child in children.read_text().split())
        except OSError:
            continue
    return found


def _status_bytes(pid: int, name: str) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith(name)), "")
    return int(line.split()[1]) * 1024 if line else 0


def _written_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])
