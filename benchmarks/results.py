"""The results of all parts in one JSON file: parts can be measured at different times."""

from __future__ import annotations

import json
import os
import time
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMAT = 1


def read_results(path: Path) -> dict[str, Any]:
    """Read what was measured before; without a file, nothing was."""
    if not path.exists():
        return {"format": FORMAT, "machine": None, "parts": {}}
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if results.get("format") != FORMAT:
        raise BenchmarkError(f"{path}: format {results.get('format')!r}, expected {FORMAT}; delete the file")
    return results


def write_results(results: dict[str, Any], path: Path) -> None:
    """Write the results; the file is complete at any time."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def same_machine(results: dict[str, Any], machine: dict[str, Any]) -> bool:
    """Tell whether earlier results are of such a machine, so that new ones may stand beside them.

    Another release of the system does not matter, and the memory that it leaves differs by some pages.
    """
    earlier = results["machine"]
    return earlier is None or _identity(earlier) == _identity(machine)


def _identity(machine: dict[str, Any]) -> tuple[Any, ...]:
    return machine["processor"], machine["cores"], round(machine["memory_bytes"] / 2**30)


def measure_part(
    name: str,
    measure: Callable[[], dict[str, Any]],
    versions: dict[str, str],
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Measure a part and give its record; one that fails gives a record with its error alone."""
    report(f"part {name!r}: begins")
    started, load = time.perf_counter(), os.getloadavg()[0]
    record: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "load_average_before": load,
    }
    try:
        record["result"] = measure()
    except Exception as error:  # noqa: BLE001 - whatever a part does, the others are measured
        text = f"{type(error).__name__}: {error}"
        report(f"part {name!r} failed: {text}")
        if not isinstance(error, BenchmarkError):
            report(traceback.format_exc())
        return {"error": text}
    record["seconds"] = time.perf_counter() - started
    record["load_average_after"] = os.getloadavg()[0]
    report(f"part {name!r}: done in {record['seconds']:.0f} s")
    return record


def add_part(path: Path, machine: dict[str, Any], name: str, record: dict[str, Any]) -> None:
    """Put a part's record into the file of results, in place of its earlier one.

    An error is put beside what was measured of the part before, which stays. The file is read anew, since
    another process may have measured another part in the meantime.
    """
    results = read_results(path)
    results["machine"] = machine
    if "error" in record:
        results["parts"].setdefault(name, {}).update(record)
    else:
        results["parts"][name] = record
    write_results(results, path)
