"""The figures of the page as SVG: where the exposures lie, and what is left between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.quality.report.images import depth_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from multivisit.quality.report.collect import LayerView

    Floats = NDArray[np.float64]

__all__ = [
    "SkyFrame",
    "cell_figure",
    "footprint_figure",
    "gauge",
    "is_twin",
    "layer_map",
    "offset_figure",
    "pair_figure",
    "whole_map",
    "width_figure",
]

_MARGIN = 0.06
_NICE_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Footprint:
    """One chip's outline on the page's plane."""

    label: str
    """Exposure, for the tooltip."""

    time: float
    """Exposure time, s."""

    points: Floats = field(repr=False)
    """Outline, shape (n, 2): arcsec to the West and to the South of the centre."""


class SkyFrame:
    """The plane on which a page draws: tangent at the middle of everything, in arcsec, North up, East left.

    Parameters
    ----------
    layers : sequence of LayerView
        All layers.
    """

    def __init__(self, layers: Sequence[LayerView]) -> None:
        rings = [ring for layer in layers for _, _, ring in _rings(layer)]
        points = np.concatenate(rings) if rings else np.zeros((1, 2))
        vectors = _unit_vectors(points)
        middle = vectors.mean(axis=0)
        middle /= np.linalg.norm(middle)
        self.ra = math.degrees(math.atan2(middle[1], middle[0])) % 360.0
        self.dec = math.degrees(math.asin(middle[2]))
        self.by_layer = {
            layer.basename: [Footprint(name, time, self.place(ring)) for name, time, ring in _rings(layer)]
            for layer in layers
        }
        drawn = [f.points for found in self.by_layer.values() for f in found]
        together = np.concatenate(drawn) if drawn else np.array([[-30.0, -30.0], [30.0, 30.0]])
        self.box = _box(together)
        self.area = _union_area(drawn)
        self.cells = [c for c in {_cell_of(layer): layer for layer in layers}.items() if c[0]]

    def place(self, radec: Floats) -> Floats:
        """Carry positions onto the plane.

        Parameters
        ----------
        radec : ndarray
            Right ascension and declination in degrees, shape (n, 2).

        Returns
        -------
        ndarray
            Arcsec to the West and to the South, shape (n, 2).
        """
        ra, dec = np.radians(radec).T
        ra0, dec0 = math.radians(self.ra), math.radians(self.dec)
        cosine = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra - ra0)
        cosine = np.maximum(cosine, 1e-3)
        east = np.cos(dec) * np.sin(ra - ra0) / cosine
        north = (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra - ra0)) / cosine
        return np.asarray(np.degrees(np.column_stack([-east, -north])) * 3600.0)

    def cell_outline(self) -> Floats | None:
        """Give the outline of the sky cell, where a layer tells its grid.

        Returns
        -------
        ndarray or None
            Corners, shape (4, 2); None where nothing tells it.
        """
        for _, layer in self.cells:
            grid = layer.quality.get("grid") or {}
            try:
                ny, nx = grid["cell_shape"]
                x0, y0 = grid["offset"]
                scale = float(grid["scale"])
                corners = [(-0.5, -0.5), (nx - 0.5, -0.5), (nx - 0.5, ny - 0.5), (-0.5, ny - 0.5)]
                places = np.array([(x - x0 + 1, y - y0 + 1) for x, y in corners], dtype=np.float64)
                return self.place(_deproject(places - np.array(grid["crpix"]), scale, *grid["crval"]))
            except (KeyError, TypeError, ValueError):
                continue
        return None


def _rings(layer: LayerView) -> list[tuple[str, float, Floats]]:
    """Give label, exposure time and outline of each chip; the product's region where there is no more."""
    found = []
    for exposure in layer.quality.get("exposures") or ():
        try:
            if not exposure.get("used", True):
                continue
            time = float(exposure["exposure_time"])
            label = f"{exposure['rootname']} · {time:g} s · {exposure.get('date', '')}"
            for chip in exposure["chips"]:
                ring = np.column_stack([chip["ra"], chip["dec"]]).astype(np.float64)
                if ring.shape[0] >= 3 and np.isfinite(ring).all():
                    found.append((label, time, ring))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    if not found:
        time = layer.header.get("MEANEXPT") or layer.header.get("EXPTIME") or 0.0
        time = float(time) if isinstance(time, (int, float)) else 0.0
        found = [(f"{layer.title} · {time:.0f} s", time, np.array(ring)) for ring in layer.regions]
    return found


def _cell_of(layer: LayerView) -> str:
    return str(layer.quality.get("sky_cell") or "")


def _unit_vectors(radec: Floats) -> Floats:
    ra, dec = np.radians(radec).T
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _deproject(pixels: Floats, scale: float, ra0: float, dec0: float) -> Floats:
    """Carry pixels from the tangent point to the sky (East is to the left)."""
    x, y = np.radians(pixels.T * np.array([[-scale], [scale]]) / 3600.0)
    rho = np.hypot(x, y)
    angle = np.arctan(rho)
    ra0, dec0 = math.radians(ra0), math.radians(dec0)
    safe = np.where(rho > 0.0, rho, 1.0)
    sin_dec = np.cos(angle) * math.sin(dec0) + y * np.sin(angle) * math.cos(dec0) / safe
    ra = ra0 + np.arctan2(
        x * np.sin(angle), safe * math.cos(dec0) * np.cos(angle) - y * math.sin(dec0) * np.sin(angle)
    )
    return np.asarray(np.degrees(np.column_stack([ra, np.arcsin(np.clip(sin_dec, -1.0, 1.0))])))


def _box(points: Floats, share: float = _MARGIN) -> tuple[float, float, float, float]:
    low, high = points.min(axis=0), points.max(axis=0)
    margin = share * max(float((high - low).max()), 1.0)
    return (low[0] - margin, low[1] - margin, high[0] + margin, high[1] + margin)


def _union_area(rings: Sequence[Floats]) -> float:
    """Give the area that outlines cover together, square arcsec."""
    import shapely

    return float(shapely.union_all([shapely.polygons(r).buffer(0) for r in rings]).area) if rings else 0.0


def _path(points: Floats) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points) + "Z"


def _scale_bar(box: tuple[float, float, float, float], unit: float) -> str:
    """Draw a bar of a round length, and where North and East are."""
    left, top, right, bottom = box
    wanted = (right - left) / 4.0
    minute = 60.0 if wanted >= 60.0 else 1.0
    power = 10.0 ** math.floor(math.log10(wanted / minute))
    length = minute * max(step * power for step in _NICE_STEPS if step * power <= wanted / minute * 1.0001)
    label = f"{length / minute:g}{'&prime;' if minute > 1.0 else '&Prime;'}"
    x, y = left + 1.2 * unit, bottom - 1.2 * unit
    nx, ny = right - 1.6 * unit, top + 4.2 * unit
    return (
        f'<g class="bar"><path d="M{x:.2f} {y:.2f}h{length:.2f}"/>'
        f'<text x="{x:.2f}" y="{y - 0.6 * unit:.2f}">{label}</text>'
        f'<path d="M{nx:.2f} {ny:.2f}v{-2.6 * unit:.2f}M{nx:.2f} {ny:.2f}h{-2.6 * unit:.2f}"/>'
        f'<text x="{nx:.2f}" y="{ny - 2.9 * unit:.2f}" text-anchor="middle">N</text>'
        f'<text x="{nx - 3.3 * unit:.2f}" y="{ny + 0.35 * unit:.2f}" text-anchor="middle">E</text></g>'
    )


def _svg(box: tuple[float, float, float, float], body: str, title: str, letters: float = 32.0) -> str:
    """Give a figure in sky units; so many letters would stand above each other in it."""
    left, top, right, bottom = box
    unit = max(right - left, bottom - top) / letters
    return (
        f'<svg class="sky" role="img" viewBox="{left:.2f} {top:.2f} {right - left:.2f} {bottom - top:.2f}" '
        f'style="font-size:{unit:.3f}px"><title>{escape(title)}</title>{body}'
        f"{_scale_bar(box, unit)}</svg>"
    )


def footprint_figure(frame: SkyFrame, layers: Sequence[LayerView]) -> str:
    """Draw the outlines of all exposures, a colour a layer.

    Parameters
    ----------
    frame : SkyFrame
        The plane.
    layers : sequence of LayerView
        The layers.

    Returns
    -------
    str
        An SVG element; empty where no footprint is known.
    """
    groups = []
    for number, layer in enumerate(layers):
        found = frame.by_layer[layer.basename]
        if found and not is_twin(layer, layers):
            paths = "".join(
                f'<path d="{_path(f.points)}"><title>{escape(layer.title)} · {escape(f.label)}</title></path>'
                for f in found
            )
            groups.append(f'<g class="layer c{number % 8}" data-layer="{number}">{paths}</g>')
    if not groups:
        return ""
    return _svg(frame.box, "".join(groups), "Footprints of all exposures by layer", 52.0)


def is_twin(layer: LayerView, layers: Sequence[LayerView]) -> bool:
    """Tell whether a coarse layer has a fine one beside it, made of the same exposures.

    Parameters
    ----------
    layer : LayerView
        The layer.
    layers : sequence of LayerView
        All layers.

    Returns
    -------
    bool
        True for the coarse one of two.
    """
    fine = layer.basename.replace("_coarse-", "_")
    return fine != layer.basename and any(other.basename == fine for other in layers)


def cell_figure(frame: SkyFrame) -> str:
    """Draw where in the sky cell the exposures lie.

    Parameters
    ----------
    frame : SkyFrame
        The plane.

    Returns
    -------
    str
        An SVG element; empty where the sky cell is not known.
    """
    corners = frame.cell_outline()
    if corners is None:
        return ""
    drawn = [f.points for found in frame.by_layer.values() for f in found]
    box = _box(np.concatenate([corners, *drawn]), 2.2 * _MARGIN)
    paths = "".join(f'<path d="{_path(points)}"/>' for points in drawn)
    body = f'<path class="cell" d="{_path(corners)}"/><g class="covered">{paths}</g>'
    return _svg(box, body, "Where the exposures lie in the sky cell")


def layer_map(frame: SkyFrame, layer: LayerView) -> tuple[str, float]:
    """Draw the exposure time over a layer, with the outlines of its exposures.

    Parameters
    ----------
    frame : SkyFrame
        The plane.
    layer : LayerView
        The layer.

    Returns
    -------
    svg : str
        An SVG element; empty where no footprint is known.
    deepest : float
        Largest exposure time, s.
    """
    return _depth_figure(frame.by_layer[layer.basename], layer.title)


def whole_map(frame: SkyFrame, layers: Sequence[LayerView]) -> tuple[str, float]:
    """Draw the exposure time of all layers together.

    Parameters
    ----------
    frame : SkyFrame
        The plane.
    layers : sequence of LayerView
        The layers.

    Returns
    -------
    svg : str
        An SVG element; empty where no footprint is known.
    deepest : float
        Largest exposure time, s.
    """
    found = [f for layer in layers if not is_twin(layer, layers) for f in frame.by_layer[layer.basename]]
    return _depth_figure(found, "all layers together")


def _depth_figure(found: Sequence[Footprint], name: str) -> tuple[str, float]:
    if not found:
        return "", 0.0
    box = _box(np.concatenate([f.points for f in found]))
    depth = depth_map([(f.time, f.points) for f in found], box)
    left, top, right, bottom = box
    outlines = "".join(f'<path d="{_path(f.points)}"><title>{escape(f.label)}</title></path>' for f in found)
    body = (
        f'<image href="{depth.uri}" x="{left:.2f}" y="{top:.2f}" width="{right - left:.2f}" '
        f'height="{bottom - top:.2f}" preserveAspectRatio="none"/><g class="outlines">{outlines}</g>'
    )
    return _svg(box, body, f"Exposure time of {name}"), depth.deepest


def gauge(check: dict[str, Any]) -> str:
    """Draw a check's value against its limits.

    Parameters
    ----------
    check : dict
        A check of a quality file.

    Returns
    -------
    str
        An SVG element; empty where there is no value or no limit.
    """
    value, warn, fail = check.get("value"), check.get("warn_limit"), check.get("fail_limit")
    limits = [limit for limit in (warn, fail) if isinstance(limit, (int, float))]
    if not isinstance(value, (int, float)) or not limits:
        return ""
    larger = check.get("larger_is_worse", True)
    # One end is the best value, the other lies beyond the last limit: the line is read from left to right.
    best = 0.0 if larger else 1.0
    if check.get("name", "").startswith(("wcs", "psf")):
        best = 1.0
    worst = best + 1.35 * (max(limits, key=lambda limit: abs(limit - best)) - best)
    if worst == best:
        worst = best + (1.0 if larger else -1.0)

    def at(number: float) -> float:
        return 4.0 + 112.0 * min(1.0, max(0.0, (number - best) / (worst - best)))

    edges = [4.0, *(at(x) if x is not None else None for x in (warn, fail)), 116.0]
    start_warn = edges[1] if edges[1] is not None else (edges[2] or 116.0)
    start_fail = edges[2] if edges[2] is not None else 116.0
    return (
        '<svg class="gauge" viewBox="0 0 120 14" aria-hidden="true">'
        f'<rect class="g-pass" x="4" y="5" width="{max(0.0, start_warn - 4):.1f}" height="4"/>'
        f'<rect class="g-warn" x="{start_warn:.1f}" y="5" '
        f'width="{max(0.0, start_fail - start_warn):.1f}" height="4"/>'
        f'<rect class="g-fail" x="{start_fail:.1f}" y="5" '
        f'width="{max(0.0, 116 - start_fail):.1f}" height="4"/>'
        f'<circle cx="{at(value):.1f}" cy="7" r="4"/></svg>'
    )


def offset_figure(check: dict[str, Any]) -> str:
    """Draw the offsets between pairs of exposures, with circles at the limits.

    Parameters
    ----------
    check : dict
        The check ``relative_offsets``.

    Returns
    -------
    str
        An SVG element; empty without measurements.
    """
    rows = [row for row in check.get("details") or () if _numbers(row, "east_mas", "north_mas", "error_mas")]
    if not rows:
        return ""
    limits = [float(x) for x in (check.get("warn_limit"), check.get("fail_limit")) if x]
    reach = 1.15 * max([*limits, *(math.hypot(row["east_mas"], row["north_mas"]) for row in rows), 1.0])
    scale = 88.0 / reach
    body = ['<path class="axis" d="M-92 0H92M0-92V92"/>']
    for kind, limit in zip(("g-warn", "g-fail"), limits, strict=False):
        body.append(
            f'<circle class="limit {kind}" r="{limit * scale:.1f}"/>'
            f'<text class="small" x="2" y="{-limit * scale - 2:.1f}">{limit:g} mas</text>'
        )
    for row in rows:
        # East is to the left, as on the sky.
        x, y, error = -row["east_mas"] * scale, -row["north_mas"] * scale, row["error_mas"] * scale
        label = (
            f"{row.get('second')} less {row.get('first')}: {row['east_mas']:+.1f} mas East, "
            f"{row['north_mas']:+.1f} mas North, ± {row['error_mas']:.1f}, {row.get('sources')} sources"
        )
        body.append(
            f'<g class="mark"><title>{escape(label)}</title>'
            f'<path d="M{x - error:.2f} {y:.2f}h{2 * error:.2f}M{x:.2f} {y - error:.2f}v{2 * error:.2f}"/>'
            f'<circle cx="{x:.2f}" cy="{y:.2f}" r="2.6"/></g>'
        )
    body.append('<text class="small" x="0" y="-94" text-anchor="middle">N</text>')
    body.append('<text class="small" x="-95" y="3" text-anchor="end">E</text>')
    return _plot("-104 -104 208 208", body, "Offsets between overlapping exposures")


def pair_figure(check: dict[str, Any], value: str, title: str, names: tuple[str, ...]) -> str:
    """Draw a bar for each pair of exposures, or each exposure, with lines at the limits.

    Parameters
    ----------
    check : dict
        A check.
    value : str
        Which of its details' values is drawn.
    title : str
        Title of the figure.
    names : tuple of str
        Which values name a bar.

    Returns
    -------
    str
        An SVG element; empty without measurements.
    """
    rows = [row for row in check.get("details") or () if _numbers(row, value)]
    rows = sorted(rows, key=lambda row: -float(row[value]))[:12]
    if not rows:
        return ""
    limits = [float(x) for x in (check.get("warn_limit"), check.get("fail_limit")) if x]
    longest = 1.1 * max([*limits, *(float(row[value]) for row in rows), 1e-9])
    width, line = 132.0, 13.0
    body = []
    for number, row in enumerate(rows):
        y = 4.0 + number * line
        label = " / ".join(str(row.get(name)) for name in names)
        body.append(
            f'<text class="small" x="98" y="{y + 7:.1f}" text-anchor="end">{escape(label)}</text>'
            f'<rect class="value" x="102" y="{y:.1f}" height="8" '
            f'width="{max(0.6, float(row[value]) / longest * width):.2f}">'
            f"<title>{escape(label)}: {float(row[value]):.4g}</title></rect>"
        )
    height = 8.0 + len(rows) * line
    for kind, limit in zip(("g-warn", "g-fail"), limits, strict=False):
        x = 102.0 + limit / longest * width
        body.append(
            f'<path class="limit {kind}" d="M{x:.1f} 0V{height:.1f}"/>'
            f'<text class="small" x="{x:.1f}" y="{height + 8:.1f}" text-anchor="middle">{limit:g}</text>'
        )
    return _plot(f"0 0 240 {height + 12:.0f}", body, title)


def width_figure(check: dict[str, Any]) -> str:
    """Draw the width of sources in the mosaic against that in the exposures.

    Parameters
    ----------
    check : dict
        The check ``psf_mosaic``.

    Returns
    -------
    str
        An SVG element; empty without measurements.
    """
    to_fwhm = 2.0 * math.sqrt(2.0 * math.log(2.0))
    rows = [row for row in check.get("details") or () if _numbers(row, "member_sigma", "mosaic_sigma")]
    if len(rows) < 2:
        return ""
    points = to_fwhm * np.array([(row["member_sigma"], row["mosaic_sigma"]) for row in rows])
    low, top = 0.85 * float(np.percentile(points, 2)), 1.1 * float(np.percentile(points, 98))
    label = '<text class="small" x="{}" y="{}" text-anchor="{}">{}</text>'
    body = [
        '<path class="axis" d="M30 8V150H172"/><path class="limit" d="M30 150L172 8"/>',
        label.format(101, 166, "middle", "FWHM in the exposures (arcsec)"),
        '<g transform="translate(9 79) rotate(-90)">'
        + label.format(0, 0, "middle", "in the mosaic")
        + "</g>",
        label.format(172, 158, "end", f"{top:.2f}"),
        label.format(30, 158, "start", f"{low:.2f}"),
        label.format(27, 13, "end", f"{top:.2f}"),
        label.format(27, 150, "end", f"{low:.2f}"),
    ]
    places = np.array([[30.0, 150.0]]) + (points - low) / max(top - low, 1e-9) * np.array([[142.0, -142.0]])
    body += [
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="1.5"/>'
        for x, y in places
        if 30.0 <= x <= 172.0 and 8.0 <= y <= 150.0
    ]
    return _plot("0 0 180 170", body, "Width of sources in the mosaic and in its exposures")


def _numbers(row: Any, *names: str) -> bool:
    """Tell whether a row has finite numbers under some names."""
    return isinstance(row, dict) and all(
        isinstance(row.get(name), (int, float)) and math.isfinite(row[name]) for name in names
    )


def _plot(view_box: str, body: Sequence[str], title: str) -> str:
    return (
        f'<figure><svg class="plot" role="img" viewBox="{view_box}"><title>{escape(title)}</title>'
        f"{''.join(body)}</svg><figcaption>{escape(title)}</figcaption></figure>"
    )
