"""Tables of the results for the documentation, in reStructuredText."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.ratios import INSTRUCTION_SETS, all_ratios, floor_rate, floor_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

BUSY_LOAD = 1.5
"""Load average a core; the benchmark alone makes about one."""

_RUN_HEADINGS = ("", "wall (s)", "user + system (s)", "peak RSS (MiB)", "written (GB)", "kept (GB)")
_KERNEL_ORDER = (
    *INSTRUCTION_SETS,
    "2 threads",
    "context",
    "pixfrac 0.8",
    "drizzle",
    "drizzle+map",
    "drizzlepac",
)
_PART_NAMES = {
    "bandwidth": "memory bandwidth",
    "kernel": "kernels",
    "run": "whole run",
    "swarp": "SWarp",
    "growth": "growth",
}


def write_tables(results: dict[str, Any], folder: Path) -> None:
    """Write a file of tables for each section of the documentation's page, whatever has been measured."""
    _write(folder / "summary.inc", _summary(results))
    _write(folder / "machine.inc", _machine(results))
    makers: dict[str, Callable[[dict[str, Any], dict[str, Any]], list[str]]] = {
        "kernel": _kernel,
        "run": _run,
        "swarp": _swarp,
        "growth": _growth,
    }
    for name, make in makers.items():
        part = results["parts"].get(name, {})
        lines = []
        if "error" in part:
            first = part["error"].splitlines()[0]
            lines += [f"The latest measurement failed: ``{first}``", ""]
        if "result" in part:
            lines += _busy(part, results)
            lines += make(part["result"], results)
        elif not lines:
            lines = ["Not measured yet."]
        _write(folder / f"{name}.inc", lines)


def list_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, widths: str = "auto") -> list[str]:
    """Write a table with a row of headings."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in (headings, *rows):
        lines += [f"   {'*' if number == 0 else ' '} - {cell}".rstrip() for number, cell in enumerate(row)]
    return [*lines, ""]


def _busy(part: dict[str, Any], results: dict[str, Any]) -> list[str]:
    """Warn where more was at work than the benchmark itself can be."""
    load, cores = max(part["load_average_before"], part["load_average_after"]), results["machine"]["cores"]
    if load <= BUSY_LOAD * cores:
        return []
    text = (
        f"Other programs were at work while this was measured (load average {load:.1f} on {cores} cores): "
        "take times and rates from it with care."
    )
    return [".. note::", "", f"   {text}", ""]


def _summary(results: dict[str, Any]) -> list[str]:
    words = {True: "yes", False: "**no**", None: ""}
    rows = []
    for ratio in all_ratios(results):
        aim = ""
        if ratio.aim is not None:
            aim = f"at {'most' if ratio.at_most else 'least'} {_number(ratio.aim)} {ratio.unit}"
        rows.append((ratio.name, f"{_number(ratio.value)} {ratio.unit}", aim, words[ratio.reached]))
    if not rows:
        return ["Not measured yet."]
    return list_table(("", "measured", "aim", "reached"), rows)


def _machine(results: dict[str, Any]) -> list[str]:
    machine = results["machine"]
    if machine is None:
        return ["Not measured yet."]
    virtual = ", a virtual machine" if machine["virtual"] else ""
    rows = [
        ("processor", f"{machine['processor']}, {machine['cores']} cores{virtual}"),
        ("instruction sets of the kernel", machine["instruction_sets"]),
        ("memory", f"{machine['memory_bytes'] / 2**30:.1f} GiB"),
        ("system", machine["system"]),
    ]
    bandwidth = results["parts"].get("bandwidth", {}).get("result")
    if bandwidth:
        text = ", ".join(f"{value / 1e9:.1f} GB/s with {_threads(key)}" for key, value in bandwidth.items())
        rows.append(("memory bandwidth (triad)", text))
    measured = {name: part for name, part in results["parts"].items() if "result" in part}
    if measured:
        versions: dict[str, str] = {}
        for part in sorted(measured.values(), key=lambda part: part["started"]):
            versions |= part["versions"]
        rows += [(name, text) for name, text in versions.items() if name != "multivisit"]
    lines = [".. list-table::", "   :widths: auto", ""]
    for name, value in rows:
        lines += [f"   * - {name}", f"     - {value}"]
    lines.append("")
    times = [
        (
            _PART_NAMES[name],
            part["started"].replace("T", " ").replace("+00:00", " UTC"),
            f"{part['seconds']:.0f} s",
            f"{part['load_average_before']:.2f}",
            f"{part['load_average_after']:.2f}",
            part["versions"]["multivisit"],
        )
        for name, part in measured.items()
    ]
    return lines + list_table(("part", "begun", "took", "load before", "load after", "multivisit"), times)


def _kernel(result: dict[str, Any], results: dict[str, Any]) -> list[str]:
    cases = result["cases"]
    names = [name for name in _KERNEL_ORDER if all(name in case["rates"] for case in cases)]
    rows = [
        (
            f"{case['scale']:g}",
            f"{case['roll']:g}",
            "yes" if case["tables"] else "no",
            *(f"{case['rates'][name]:.1f}" for name in names),
        )
        for case in cases
    ]
    lines = list_table(("scale (arcsec)", "roll (degrees)", "tables", *names), rows)
    bandwidth = results["parts"].get("bandwidth", {}).get("result")
    if bandwidth:
        text = " and ".join(
            f"{floor_rate(bandwidth, int(threads)):.0f} with {_threads(threads)}" for threads in bandwidth
        )
        lines += [f"The memory's floor: {text}.", ""]
    return lines + _figure("kernel.svg", "Rates of the kernels; the dotted line is the memory's floor.")


def _run(result: dict[str, Any], results: dict[str, Any]) -> list[str]:
    lines = [
        f"{result['exposures']} exposures ({result['input_bytes'] / 1e9:.2f} GB), {result['layers']} layers; "
        f'multivisit with ``memory="{result["memory"]}"``.',
        "",
        *_turns_table(result["run"]),
    ]
    cells = result["sky_cells"]
    rows = [
        (
            name,
            f"{turn['minimum']['wall_seconds']:.3f}",
            f"{turn['median']['wall_seconds']:.3f}",
            f"{turn['minimum']['cpu_seconds']:.3f}",
            str(len(turn["samples"]["wall_seconds"])),
        )
        for name, turn in cells.items()
    ]
    headings = ("get_sky_cells", "wall, least (s)", "wall, median (s)", "processor, least (s)", "repeats")
    lines += list_table(headings, rows)
    agreement = result.get("agreement")
    if agreement:
        passed = sum(item["passed"] for item in agreement)
        weight = min(item["weight_fraction_within"] for item in agreement)
        science = min(item["science_fraction_within"] for item in agreement)
        lines += [
            f"Both made the same mosaics: {passed} of {len(agreement)} products agree within the limits of "
            f":doc:`comparison`; in the worst of them {100 * weight:.3f} % of the pixels of WHT and "
            f"{100 * science:.3f} % of those of SCI are within the tolerances.",
            "",
        ]
    return lines + _figure("run.svg", "The same layers made by each program; the fastest repeat of each.")


def _swarp(result: dict[str, Any], results: dict[str, Any]) -> list[str]:
    options = " ".join(f"-{name} {value}" for name, value in result["configuration"].items())
    ratios = {
        name: (min(values.values()), max(values.values()))
        for name, values in result["flux_over_multivisit"].items()
    }
    flux = "; ".join(f"{name} {low:.3f} to {high:.3f}" for name, (low, high) in ratios.items())
    return [
        *_turns_table(result["run"]),
        f"Flux of bright sky over that in multivisit's products, lowest and highest layer: {flux}.",
        f"Largest difference of SWarp's pixel map from the exact one: "
        f"{result['worst_map_residual_pixels']:.2g} pixels.",
        "",
        f"Options: ``{options}``",
        "",
    ]


def _growth(result: dict[str, Any], results: dict[str, Any]) -> list[str]:
    bandwidth = results["parts"].get("bandwidth", {}).get("result")
    headings = ["exposures", "mosaic", "wall (s)", "user + system (s)", "peak RSS (MiB)", "kept (GB)"]
    if bandwidth:
        headings += ["floor (s)"]
    lines = [f'With ``memory="{result["memory"]}"``, the fastest of the repeats.', ""]
    for series in ("exposures", "sizes"):
        rows = []
        for row in result[series]:
            least = row["minimum"]
            cells = [
                str(row["exposures"]),
                f"{row['mosaic'][0]} x {row['mosaic'][1]}",
                f"{least['wall_seconds']:.1f}",
                f"{least['user_seconds']:.1f} + {least['system_seconds']:.1f}",
                f"{row['maximum']['peak_rss_bytes'] / 2**20:.0f}",
                f"{least['kept_bytes'] / 1e9:.2f}",
            ]
            if bandwidth:
                cells.append(f"{floor_seconds(bandwidth, row['input_pixels']):.2f}")
            rows.append(cells)
        lines += list_table(headings, rows)
    return lines + _figure(
        "growth.svg", "Cost with exposures on a whole sky cell, and with the mosaic's size."
    )


def _turns_table(turns: dict[str, Any]) -> list[str]:
    """Write least and median of what was measured in turns."""
    rows = []
    for name, turn in turns.items():
        least, middle, count = turn["minimum"], turn["median"], len(turn["samples"])
        rows.append(_turn_row(f"{name}, least of {count}" if count > 1 else name, least))
        if count > 1:
            rows.append(_turn_row(f"{name}, median", middle))
    return list_table(_RUN_HEADINGS, rows)


def _turn_row(name: str, figures: dict[str, float]) -> tuple[str, ...]:
    return (
        name,
        f"{figures['wall_seconds']:.1f}",
        f"{figures['user_seconds']:.1f} + {figures['system_seconds']:.1f}",
        f"{figures['peak_rss_bytes'] / 2**20:.0f}",
        f"{figures['written_bytes'] / 1e9:.2f}",
        f"{figures['kept_bytes'] / 1e9:.2f}",
    )


def _figure(name: str, caption: str) -> list[str]:
    return [f".. figure:: /benchmarks/{name}", f"   :alt: {caption}", "", f"   {caption}", ""]


def _threads(count: str) -> str:
    return "1 thread" if count == "1" else f"{count} threads"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
