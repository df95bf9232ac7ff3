"""Plots of the results for the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.cases import WITH_CATALOGS
from benchmarks.growth import ALLOWED_BYTES
from benchmarks.ratios import INSTRUCTION_SETS, floor_rate, floor_seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "multivisit": "#1f5fa8",
    WITH_CATALOGS: "#6f9fd0",
    "drizzlepac": "#d1722a",
    "drizzle": "#8a8a8a",
    "SWarp LANCZOS3": "#2e8b57",
    "SWarp BILINEAR": "#8fce9f",
}
_SETTINGS = {
    "svg.hashsalt": "multivisit",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}
_SHADES = ("#1f5fa8", "#5b93d0", "#a9c8ea")


def write_plots(results: dict[str, Any], folder: Path) -> None:
    """Write a plot for each part that has been measured."""
    from matplotlib import rc_context

    makers: dict[str, Callable[[dict[str, Any]], Figure]] = {
        "kernel": plot_kernel,
        "run": plot_run,
        "growth": plot_growth,
    }
    with rc_context(_SETTINGS):
        for name, make in makers.items():
            if "result" in results["parts"].get(name, {}):
                make(results).savefig(folder / f"{name}.svg", metadata={"Date": None})


def plot_kernel(results: dict[str, Any]) -> Figure:
    """Draw the kernels' rates, case by case, and the memory's floor."""
    cases = results["parts"]["kernel"]["result"]["cases"]
    known = [name for name in INSTRUCTION_SETS if name in cases[0]["rates"]]
    others = [name for name in ("drizzle", "drizzlepac") if name in cases[0]["rates"]]
    colours = [*_SHADES[: len(known)], *(COLOURS[name] for name in others)]
    figure = _figure(9.0, 3.6)
    axes = figure.subplots()
    width = 0.8 / (len(known) + len(others))
    for number, (name, colour) in enumerate(zip([*known, *others], colours, strict=True)):
        places = [case + (number + 0.5) * width - 0.4 for case in range(len(cases))]
        label = f"multivisit, {name}" if name in known else name
        axes.bar(places, [case["rates"][name] for case in cases], width, color=colour, label=label)
    bandwidth = results["parts"].get("bandwidth", {}).get("result")
    if bandwidth:
        axes.axhline(floor_rate(bandwidth, 1), color="black", linestyle=":", linewidth=1.2)
        axes.text(len(cases) - 0.6, floor_rate(bandwidth, 1), "memory", va="bottom", ha="right")
    axes.set_xlim(-0.6, len(cases) - 0.4)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("million input pixels a second,\none thread")
    axes.set_xticks(
        range(len(cases)),
        [f"{case['scale']:g}″\n{case['roll']:g}°\n{'tables' if case['tables'] else ''}" for case in cases],
    )
    axes.grid(axis="y", color="#dddddd")
    axes.legend(frameon=False, ncols=len(known) + len(others), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def plot_run(results: dict[str, Any]) -> Figure:
    """Draw time, memory and disk of the whole run, SWarp's included where it has been measured."""
    parts = results["parts"]
    turns = dict(parts["run"]["result"]["run"])
    swarp = parts.get("swarp", {}).get("result", {}).get("run", {})
    turns.update((name, turn) for name, turn in swarp.items() if name != "multivisit")
    panels = (
        ("wall time (s)", "wall_seconds", 1.0),
        ("processor time (s)", "cpu_seconds", 1.0),
        ("peak memory (GiB)", "peak_rss_bytes", 2**30),
        ("written to disk (GB)", "written_bytes", 1e9),
    )
    figure = _figure(9.0, 0.9 + 0.38 * len(turns))
    for number, (axes, (title, quantity, unit)) in enumerate(
        zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True)
    ):
        values = [turn["minimum"][quantity] / unit for turn in turns.values()]
        bars = axes.barh(list(turns), values, color=[COLOURS[name] for name in turns])
        axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=3)
        axes.set_title(title, fontsize=9)
        axes.set_xlim(0, 1.35 * max(values))
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        if number == 0:
            axes.invert_yaxis()
    return figure


def plot_growth(results: dict[str, Any]) -> Figure:
    """Draw time and memory against the number of exposures and against the mosaic's size."""
    result = results["parts"]["growth"]["result"]
    bandwidth = results["parts"].get("bandwidth", {}).get("result")
    figure = _figure(9.0, 5.4)
    panels = figure.subplots(2, 2)
    counts = [row["exposures"] for row in result["exposures"]]
    sizes = [row["mosaic"][0] * row["mosaic"][1] / 1e6 for row in result["sizes"]]
    for column, (rows, x, label) in enumerate(
        (
            (result["exposures"], counts, "ACS/WFC exposures"),
            (result["sizes"], sizes, "million pixels of the mosaic"),
        )
    ):
        time_axes, memory_axes = panels[0][column], panels[1][column]
        _line(time_axes, x, [row["minimum"]["wall_seconds"] for row in rows], "wall", "-", "o")
        _line(time_axes, x, [row["minimum"]["cpu_seconds"] for row in rows], "user + system", "--", "s")
        if bandwidth:
            floor = [floor_seconds(bandwidth, row["input_pixels"]) for row in rows]
            time_axes.plot(x, floor, color="black", linestyle=":", label="memory's floor")
        peaks = [row["maximum"]["peak_rss_bytes"] / 2**30 for row in rows]
        _line(memory_axes, x, peaks, "peak memory", "-", "o")
        memory_axes.axhline(ALLOWED_BYTES / 2**30, color="black", linestyle=":", label="allowed")
        memory_axes.set_ylim(0, max(2.2, 1.1 * max(peaks)))
        memory_axes.set_xlabel(label)
        if column == 0:
            for axes in (time_axes, memory_axes):
                axes.set_xscale("log", base=2)
                axes.set_xticks(x, [str(value) for value in x])
            time_axes.set_yscale("log")
            time_axes.yaxis.set_major_formatter("{x:g}")
        else:
            time_axes.set_ylim(bottom=0)
    panels[0][0].set_ylabel("seconds")
    panels[1][0].set_ylabel("GiB")
    panels[0][0].legend(frameon=False)
    panels[1][0].legend(frameon=False, loc="lower right")
    for axes in panels.flat:
        axes.grid(color="#e4e4e4")
    return figure


def _line(axes: Axes, x: list[Any], y: list[float], label: str, style: str, marker: str) -> None:
    axes.plot(x, y, color=COLOURS["multivisit"], linestyle=style, marker=marker, markersize=4, label=label)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")
