"""The page itself: what was read and drawn, put into one HTML text."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from multivisit.quality.limits import CHECKS
from multivisit.quality.report import figures
from multivisit.quality.report.images import embedded_picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from multivisit.quality.report.collect import FileEntry, LayerView, RunView

__all__ = ["page"]

_SIGNS = {"pass": "✓", "warn": "!", "fail": "✕", "not run": "&ndash;", "unknown": "?"}
_WORDS = {
    "pass": "passed",
    "warn": "warning",
    "fail": "failed",
    "not run": "not run",
    "unknown": "not checked",
}
_ORDER = ("fail", "warn", "pass", "not run", "unknown")
_PREVIEW_PIXELS = ((12, 900), (40, 640), (10**9, 400))
"""Up to so many layers, previews are so many pixels long: the page stays small."""


def page(view: RunView, start: Path) -> str:
    """Write the page.

    Parameters
    ----------
    view : RunView
        What the folder tells.
    start : Path
        Where the page will lie, from where its links start.

    Returns
    -------
    str
        HTML with everything in it: style, script, pictures.
    """
    frame = figures.SkyFrame(view.layers)
    longest = next(pixels for most, pixels in _PREVIEW_PIXELS if len(view.layers) <= most)
    link = _Links(view.folder, start)
    # Previews that cannot be read are told among the problems, so layers come before them.
    layers = "".join(
        _layer(view, layer, number, frame, link, longest) for number, layer in enumerate(view.layers)
    )
    sections = [
        ("overview", "Overview", _overview(view, frame)),
        ("checks", "Checks", _matrix(view.layers)),
        ("layers", "Layers", f'<div class="cards">{layers}</div>' if layers else "<p>No layer was made.</p>"),
        ("exposures", "Exposures", _vetting(view.vetting)),
        ("run", "Run", _run(view)),
        ("files", "Files", _files(view, link)),
    ]
    if view.problems:
        items = "".join(f"<li>{escape(text)}</li>" for text in view.problems)
        sections.insert(1, ("problems", "Notes", f'<ul class="problems">{items}</ul>'))
    navigation = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections)
    body = "".join(
        f'<section id="{name}" aria-labelledby="h-{name}"><h2 id="h-{name}">{title}</h2>{content}</section>'
        for name, title, content in sections
    )
    title = _title(view)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="data:,"><title>{escape(title)} · multivisit report</title>'
        f"<style>{_resource('page.css')}</style></head>"
        f'<body><a class="skip" href="#overview">Skip to content</a><header><div class="bar">'
        f'<div><p class="kicker">multivisit report</p><h1>{escape(title)}</h1></div>'
        '<button id="theme" type="button" aria-label="Switch between light and dark">◐</button></div>'
        f'<nav aria-label="Sections">{navigation}</nav></header><main>{body}</main>'
        f"<footer>Written {datetime.now(tz=UTC):%Y-%m-%d %H:%M} UTC by multivisit {_version()}. "
        "This page needs no network and nothing beside it; links lead to the files of the run.</footer>"
        f"<script>{_resource('page.js')}</script></body></html>\n"
    )


class _Links:
    """Makes links to files of the run."""

    def __init__(self, folder: Path, start: Path) -> None:
        try:
            place = os.path.relpath(folder.resolve(), start.resolve()).replace(os.sep, "/")
        except ValueError:
            # Another drive: only the whole path leads there.
            place = folder.resolve().as_uri()
        self._prefix = "" if place == "." else place if "://" in place else quote(place) + "/"
        if "://" in place:
            self._prefix = place + "/"

    def to(self, name: str) -> str:
        """Give the address of a file, ready for an attribute."""
        return escape(self._prefix + quote(name), quote=True)

    def __call__(self, entry: FileEntry) -> str:
        """Give a table row with the file's name and size."""
        if entry.size is None:
            return f'<tr class="missing"><td>{escape(entry.name)}</td><td>not here</td></tr>'
        link = f'<a href="{self.to(entry.name)}">{escape(entry.name)}</a>'
        return f'<tr><td>{link}</td><td class="n">{_size(entry.size)}</td></tr>'


def _resource(name: str) -> str:
    return (resources.files("multivisit.quality.report") / name).read_text(encoding="utf-8")


def _version() -> str:
    from multivisit import __version__

    return __version__


def _title(view: RunView) -> str:
    cells = sorted({str(layer.quality.get("sky_cell") or "") for layer in view.layers} - {""})
    if not cells:
        cells = sorted({row.get("sky_cell_id", "") for row in view.vetting} - {""})
    if len(cells) == 1:
        return cells[0]
    return f"{len(cells)} sky cells" if cells else view.folder.resolve().name


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def _number(value: Any, digits: int = 4) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "&ndash;" if value is None else escape(str(value))
    return f"{value:,.{digits}g}" if abs(value) < 1e5 else f"{value:,.0f}"


def _badge(verdict: str) -> str:
    verdict = verdict if verdict in _SIGNS else "unknown"
    kind = verdict.replace(" ", "-")
    sign = f'<span aria-hidden="true">{_SIGNS[verdict]}</span>'
    return f'<span class="badge {kind}">{sign} {_WORDS[verdict]}</span>'


def _checks(layer: LayerView) -> dict[str, dict[str, Any]]:
    found = layer.quality.get("checks")
    if not isinstance(found, list):
        return {}
    return {str(check.get("name")): check for check in found if isinstance(check, dict)}


def _overview(view: RunView, frame: figures.SkyFrame) -> str:
    counts = {verdict: sum(layer.verdict == verdict for layer in view.layers) for verdict in _ORDER}
    accepted = {row.get("filename") for row in view.vetting if row.get("accepted") == "True"}
    names = {row.get("filename") for row in view.vetting}
    refused = names - accepted
    times: dict[str, float] = {}
    for layer in view.layers:
        for exposure in layer.quality.get("exposures") or ():
            if isinstance(exposure, dict) and isinstance(exposure.get("exposure_time"), (int, float)):
                times[str(exposure.get("filename"))] = float(exposure["exposure_time"])
    tiles = [("Layers", str(len(view.layers)), " ".join(f"{n} {_WORDS[v]}" for v, n in counts.items() if n))]
    if names:
        tiles.append(("Exposures combined", str(len(accepted)), f"{len(refused)} refused"))
    if times:
        tiles.append(("Exposure time", _duration(sum(times.values())), f"{len(times)} exposures"))
    if frame.area:
        tiles.append(
            ("Area", f"{frame.area / 3600.0:.3g} arcmin²", f"RA {frame.ra:.4f}°, Dec {frame.dec:+.4f}°")
        )
    seconds = _run_seconds([layer.quality.get("run", {}) for layer in view.layers])
    if seconds:
        memory = [layer.quality.get("run", {}).get("peak_memory_mib") for layer in view.layers]
        peak = max((value for value in memory if isinstance(value, (int, float))), default=None)
        tiles.append(("Made in", f"{seconds:.1f} s", f"{peak:,} MiB of memory" if peak else ""))
    cards = "".join(
        f'<div class="tile"><span>{escape(name)}</span><strong>{escape(value)}</strong>'
        f"<small>{escape(more)}</small></div>"
        for name, value, more in tiles
    )
    drawn = figures.footprint_figure(frame, view.layers)
    cell = figures.cell_figure(frame)
    legend = "".join(
        f'<li class="c{number % 8}"><button type="button" data-layer="{number}" aria-pressed="false">'
        f"{escape(layer.title)}</button></li>"
        for number, layer in enumerate(view.layers)
        if frame.by_layer[layer.basename] and not figures.is_twin(layer, view.layers)
    )
    maps = ""
    if drawn:
        maps = (
            f'<div class="maps"><figure>{drawn}<figcaption>Footprints of the exposures, North up. '
            f'<span class="hint">Choose a layer to see it alone.</span></figcaption>'
            f'<ul class="legend">{legend}</ul></figure>'
        )
        depth, deepest = figures.whole_map(frame, view.layers)
        whole = _depth_caption(depth, deepest, "Exposure time of all layers, 0 to")
        side = f"<figure>{cell}<figcaption>In the sky cell</figcaption></figure>" if cell else ""
        maps += f'<div class="side">{_attention(view.layers)}{side}{whole}</div></div>'
    return f'<div class="tiles">{cards}</div>{maps or _attention(view.layers)}'


def _attention(layers: Sequence[LayerView]) -> str:
    """List what did not pass, the worst first."""
    found = [
        (_ORDER.index(check["verdict"]), number, layer, check)
        for number, layer in enumerate(layers)
        for check in _checks(layer).values()
        if check.get("verdict") in ("warn", "fail")
    ]
    if not found:
        known = any(layer.quality for layer in layers)
        text = "Every check that was run has passed." if known else "No checks were found."
        return f'<div class="attention"><h3>What to look at</h3><p>{text}</p></div>'
    items = "".join(
        f'<li>{_badge(check["verdict"])} <a href="#layer-{number}">{escape(layer.title)}</a>: '
        f"{escape(str(check.get('title')))}<p>{escape(str(check.get('explanation') or ''))}</p></li>"
        for _, number, layer, check in sorted(found, key=lambda one: one[:2])
    )
    return f'<div class="attention"><h3>What to look at</h3><ul>{items}</ul></div>'


def _run_seconds(runs: Iterable[dict[str, Any]]) -> float:
    """Give the time from the first layer's beginning to the last one's end; 0 where it is not known."""
    spans = [
        (end - length, end)
        for run in runs
        if isinstance(end := run.get("finished"), (int, float))
        and isinstance(length := run.get("seconds"), (int, float))
    ]
    return max(end for _, end in spans) - min(start for start, _ in spans) if spans else 0.0


def _duration(seconds: float) -> str:
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.1f} min" if seconds < 7200.0 else f"{seconds / 3600.0:.1f} h"


def _matrix(layers: Sequence[LayerView]) -> str:
    """Set all verdicts in one table, a row a layer."""
    if not any(layer.quality for layer in layers):
        return "<p>No quality file was found, so nothing is said here.</p>"
    head = "".join(f'<th scope="col"><span>{escape(kind.title)}</span></th>' for kind in CHECKS.values())
    rows = []
    for number, layer in enumerate(layers):
        checks = _checks(layer)
        cells = []
        for name, kind in CHECKS.items():
            check = checks.get(name, {})
            verdict = str(check.get("verdict") or "unknown")
            text = f"{kind.title}: {_WORDS.get(verdict, verdict)}. {check.get('explanation', '')}"
            cells.append(
                f'<td class="{verdict.replace(" ", "-")}" title="{escape(text, quote=True)}">'
                f'<span aria-hidden="true">{_SIGNS.get(verdict, "?")}</span>'
                f'<span class="sr">{escape(_WORDS.get(verdict, verdict))}</span></td>'
            )
        rows.append(
            f'<tr><th scope="row"><a href="#layer-{number}">{escape(layer.title)}</a></th>'
            f"{''.join(cells)}</tr>"
        )
    key = " ".join(_badge(verdict) for verdict in ("pass", "warn", "fail", "not run"))
    return (
        f'<p class="key">{key}</p><div class="scroll" tabindex="0" role="region" aria-label="All checks">'
        f'<table class="matrix"><thead><tr><th scope="col">Layer</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _layer(
    view: RunView, layer: LayerView, number: int, frame: figures.SkyFrame, link: _Links, longest: int
) -> str:
    """Write the card of one layer."""
    picture = _preview(view, layer, link, longest)
    depth, deepest = figures.layer_map(frame, layer)
    depth = _depth_caption(depth, deepest, "Exposure time, 0 to")
    checks = _checks(layer)
    plots = "".join(_plots(checks))
    parts = [
        _details("Checks and limits", _check_table(checks), opened=layer.verdict in ("warn", "fail"))
        if checks
        else "",
        _details("What is left between exposures", f'<div class="plots">{plots}</div>') if plots else "",
        _details("Exposures", _exposure_table(layer)) if layer.quality.get("exposures") else "",
        _details("Parameters", _pairs_table(layer.quality.get("parameters") or {}))
        if layer.quality.get("parameters")
        else "",
        _details("Files", f'<table class="files">{"".join(link(entry) for entry in layer.files)}</table>'),
    ]
    return (
        f'<article class="card" id="layer-{number}"><div class="card-head"><h3>{escape(layer.title)}</h3>'
        f'{_badge(layer.verdict)}</div><p class="name">{escape(layer.basename)}</p>'
        f'<div class="pictures">{picture}{depth}</div>{_facts(layer)}{"".join(parts)}</article>'
    )


def _depth_caption(drawn: str, deepest: float, text: str) -> str:
    if not drawn:
        return ""
    ramp = '<span class="ramp" aria-hidden="true"></span>'
    return f"<figure>{drawn}<figcaption>{text} {deepest:,.0f} s {ramp}</figcaption></figure>"


def _preview(view: RunView, layer: LayerView, link: _Links, longest: int) -> str:
    if layer.preview is None:
        return ""
    try:
        uri, (width, height) = embedded_picture(layer.preview, longest)
    except (OSError, ValueError, SyntaxError) as error:
        view.problems.append(f"{layer.preview.name}: cannot be shown ({error})")
        return ""
    return (
        f'<figure><img src="{uri}" width="{width}" height="{height}" '
        f'alt="Preview of the mosaic {escape(layer.title, quote=True)}">'
        f'<figcaption>Preview, <a href="{link.to(layer.preview.name)}">whole picture</a></figcaption>'
        "</figure>"
    )


def _facts(layer: LayerView) -> str:
    header, statistics = layer.header, layer.quality.get("statistics") or {}
    shape = None if layer.shape is None else f"{layer.shape[1]:,} x {layer.shape[0]:,}"
    facts = [
        ("Pixels", shape),
        ("Scale", f"{header['PIXSCALE']:g}″" if isinstance(header.get("PIXSCALE"), (int, float)) else None),
        ("Exposures", header.get("NUMEXP") or (layer.quality.get("description") or {}).get("n_exposures")),
        ("Exposure time", _seconds(header.get("EXPTIME"))),
        ("Median depth", _seconds(statistics.get("median_exposure_time", header.get("MEDEXPT")))),
        ("First observed", header.get("DATE-OBS")),
        ("WCS solution", header.get("WCSSOLN")),
        ("Proposal", header.get("PROPOSID")),
        ("Made by", header.get("PROD_VER")),
    ]
    items = "".join(
        f"<div><dt>{name}</dt><dd>{escape(str(value))}</dd></div>"
        for name, value in facts
        if value not in (None, "")
    )
    return f'<dl class="facts">{items}</dl>'


def _seconds(value: Any) -> str | None:
    return f"{value:,.0f} s" if isinstance(value, (int, float)) else None


def _details(title: str, content: str, *, opened: bool = False) -> str:
    return f"<details{' open' if opened else ''}><summary>{title}</summary>{content}</details>"


def _check_table(checks: dict[str, dict[str, Any]]) -> str:
    rows = []
    for check in checks.values():
        unit = f" {escape(str(check.get('unit')))}" if check.get("unit") else ""
        sign = "≤" if check.get("larger_is_worse", True) else "≥"
        limits = " · ".join(
            f"{word} {sign} {_number(check.get(key))}{unit}"
            for word, key in (("pass", "warn_limit"), ("no failure", "fail_limit"))
            if check.get(key) is not None
        )
        value = "" if check.get("value") is None else f"{_number(check['value'], 3)}{unit}"
        advice = str(check.get("what_to_do") or "")
        if check.get("verdict") == "not run":
            advice = ""
        rows.append(
            f'<li class="check">{_badge(str(check.get("verdict")))}<div><h4>{escape(str(check.get("title")))}'
            f'<span class="value">{value}</span></h4>{figures.gauge(check)}'
            f"<p>{escape(str(check.get('explanation') or ''))}</p>"
            + (f'<p class="advice">{escape(advice)}</p>' if advice else "")
            + f'<p class="limits">{escape(str(check.get("measures") or ""))} <b>{limits}</b></p></div></li>'
        )
    return f'<ul class="checks">{"".join(rows)}</ul>'


def _plots(checks: dict[str, dict[str, Any]]) -> Iterable[str]:
    """Draw what a layer's checks measured."""
    if "relative_offsets" in checks:
        yield figures.offset_figure(checks["relative_offsets"])
    if "psf_mosaic" in checks:
        yield figures.width_figure(checks["psf_mosaic"])
    bars = (
        (
            "sky_seams",
            "in_noise",
            "Sky left between exposures, in units of the pixel noise",
            ("first", "second"),
        ),
        ("flux_scale", "beyond", "Difference of flux between exposures", ("first", "second")),
        ("psf_members", "ratio", "Width of sources against the other exposures", ("rootname",)),
        ("outliers", "share", "Share of deviating pixels", ("rootname",)),
    )
    for name, value, title, names in bars:
        if name in checks:
            yield figures.pair_figure(checks[name], value, title, names)


def _exposure_table(layer: LayerView) -> str:
    rows = []
    for exposure in layer.quality.get("exposures") or ():
        if isinstance(exposure, dict):
            cells = (
                exposure.get("filename"),
                exposure.get("visit"),
                exposure.get("date"),
                _seconds(exposure.get("exposure_time")),
                ", ".join(map(str, exposure.get("wcs_names") or ())),
                _number(exposure.get("sky_level"), 3),
                "yes" if exposure.get("used") else "no",
            )
            rows.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
    names = ("File", "Visit", "Date", "Time", "WCSNAME", "Sky taken off (e/s/″²)", "Used")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Exposures of the layer"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _pairs_table(values: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(str(key))}</th><td>{escape(str(value))}</td></tr>'
        for key, value in values.items()
    )
    return f'<table class="pairs">{rows}</table>'


def _vetting(rows: Sequence[dict[str, str]]) -> str:
    if not rows:
        return "<p>No vetting table (*_vetting.ecsv) was found.</p>"
    columns = {
        "filename": "File",
        "accepted": "Verdict",
        "reason": "Reason",
        "keyword": "Keyword",
        "value": "Value",
        "instrument": "Instrument",
        "detector": "Detector",
        "filter_name": "Filter",
        "exposure_time": "Time (s)",
        "sky_cell_id": "Sky cell",
    }
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{title}</button></th>'
        for title in columns.values()
    )
    body = []
    for row in rows:
        accepted = row.get("accepted") == "True"
        cells = []
        for name in columns:
            text = row.get(name, "")
            if name == "accepted":
                cells.append(
                    f'<td data-sort="{int(accepted)}">{_badge("pass" if accepted else "fail")}</td>'.replace(
                        "passed", "combined"
                    ).replace("failed", "refused")
                )
            elif name == "filename":
                short = text.replace("\\", "/").rpartition("/")[2]
                cells.append(f'<td title="{escape(text, quote=True)}">{escape(short)}</td>')
            else:
                cells.append(f"<td>{escape(text)}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        '<p class="filter"><label>Filter <input type="search" id="filter" autocomplete="off" '
        'placeholder="file, filter, reason"></label> '
        f'<output id="shown" aria-live="polite">{len(rows)} of {len(rows)}</output></p>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Vetting table"><table class="sortable" '
        f'id="vetting"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def _run(view: RunView) -> str:
    rows: dict[str, Any] = {}
    inputs = []
    for line in view.run_lines:
        if line.startswith("input "):
            inputs.append(line.removeprefix("input "))
        elif line.startswith("option "):
            name, _, value = line.removeprefix("option ").partition(" = ")
            rows[name] = value
        else:
            rows[f"message {len(rows) + 1}" if line in rows.values() else _run_name(line)] = line
    for layer in view.layers:
        for key, value in (layer.quality.get("run") or {}).items():
            if key in ("multivisit", "python", "threads", "memory_limit_mib"):
                rows.setdefault(key.replace("_", " "), value)
    if not rows and not inputs:
        return "<p>No trailer file of the run (skycell-*_trl.txt) was found.</p>"
    listed = "".join(f"<li>{escape(name)}</li>" for name in inputs)
    more = _details(f"{len(inputs)} inputs", f'<ul class="inputs">{listed}</ul>') if inputs else ""
    return f'<div class="scroll">{_pairs_table(rows)}</div>{more}'


def _run_name(line: str) -> str:
    if "Python" in line:
        return "program"
    return "resources" if "threads" in line else "end"


def _files(view: RunView, link: _Links) -> str:
    total = sum(entry.size or 0 for layer in view.layers for entry in layer.files)
    total += sum(entry.size or 0 for entry in view.files)
    rows = "".join(link(entry) for entry in view.files)
    table = f'<table class="files">{rows}</table>' if rows else ""
    listed = f"Manifest: {', '.join(view.manifests)}. " if view.manifests else ""
    return (
        f"<p>{escape(listed)}{_size(total)} in all. The files of each layer are listed in its card; "
        f"these are the others.</p>{table}"
    )
