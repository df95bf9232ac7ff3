"""The checks that read pixels: offsets, flux scale, PSF, skies, deviating pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.combine.sky_levels import level_difference
from multivisit.quality.basic import seam_check
from multivisit.quality.limits import CHECKS
from multivisit.quality.matching import Match, match_positions, measure_offset
from multivisit.quality.result import Check, checked, not_run
from multivisit.quality.sources import measure_stamps
from multivisit.quality.survey import best_partners

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from multivisit.quality.facts import LayerFacts
    from multivisit.quality.survey import ExposureLook

    Floats = NDArray[np.float64]

__all__ = ["SEARCH", "TOLERANCE", "pixel_checks", "unrun_pixel_checks"]

SEARCH = 0.8
"""Largest offset that is looked for, arcsec: the 20 pixels of the published cross-match."""

TOLERANCE = 0.1
"""How far from the common offset a source may be, arcsec; at least a pixel of the detector."""

_SURE = 20.0
_LEAST_SOURCES = 5
_MOST_STAMPS = 300
_STAMP_REACH = 3.5
"""In pixels of the detector, as in the exposures' stamps."""

_WINDOW = 1.3


@dataclass(frozen=True)
class _Pair:
    """Two exposures whose sources are matched."""

    first: ExposureLook
    second: ExposureLook
    match: Match


def unrun_pixel_checks() -> list[Check]:
    """Say of all checks that need pixels how to run them.

    Returns
    -------
    list of Check
        One for each.
    """
    reason = "Reads pixels again: run with --quality-tests, or MVM_QUALITY_TESTING=on in the environment."
    return [not_run(kind.name, reason) for kind in CHECKS.values() if kind.needs_pixels]


def pixel_checks(facts: LayerFacts, looks: Sequence[ExposureLook]) -> list[Check]:
    """Make the checks that need pixels.

    Parameters
    ----------
    facts : LayerFacts
        The layer.
    looks : sequence of ExposureLook
        What its exposures show (`multivisit.quality.survey.look_at_exposures`).

    Returns
    -------
    list of Check
        Sky seams (where the run has not compared the skies), offsets, flux scale, PSF of members and mosaic,
        deviating pixels.
    """
    pairs = _matched_pairs(facts, looks)
    return [
        *([] if facts.sky_was_matched else [_seams(facts, looks)]),
        _offsets(facts, pairs),
        _flux_scale(pairs),
        _psf_members(looks, pairs),
        _psf_mosaic(facts, looks, pairs),
        _outliers(facts, looks),
    ]


def _tolerance(facts: LayerFacts) -> float:
    """Give the tolerance of matches in pixels of the mosaic."""
    pixel = max(chip.nominal_scale for exposure in facts.exposures for chip in exposure.chips)
    return max(TOLERANCE, pixel) / facts.grid.scale


def _matched_pairs(facts: LayerFacts, looks: Sequence[ExposureLook]) -> list[_Pair]:
    pairs = []
    tolerance = _tolerance(facts)
    for overlap in facts.overlaps:
        if max(overlap.first, overlap.second) >= len(looks):
            continue
        first, second = looks[overlap.first], looks[overlap.second]
        match = match_positions(first.position, second.position, SEARCH / facts.grid.scale, tolerance)
        pairs.append(_Pair(first, second, match))
    return pairs


def _seams(facts: LayerFacts, looks: Sequence[ExposureLook]) -> Check:
    patches = {look.number: look.patches for look in looks}
    differences = []
    for overlap in facts.overlaps:
        one, other = patches.get(overlap.first), patches.get(overlap.second)
        if one is None or other is None:
            continue
        difference = level_difference(one, other, (overlap.first, overlap.second))
        if difference is not None:
            differences.append(difference)
    noise = [p.noise for p in patches.values() if p is not None]
    return seam_check(facts, differences, float(np.median(noise)) if noise else 0.0)


def _offsets(facts: LayerFacts, pairs: Sequence[_Pair]) -> Check:
    to_mas = 1000.0 * facts.grid.scale
    to_sky = np.array(facts.grid.cd) * 3600.0e3
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        offset = measure_offset(pair.first.position, pair.second.position, pair.match)
        if offset is None:
            continue
        east, north = to_sky @ (offset.dx, offset.dy)
        rows.append(
            {
                "first": pair.first.rootname,
                "second": pair.second.rootname,
                "east_mas": float(east),
                "north_mas": float(north),
                "error_mas": offset.error * to_mas,
                "rms_mas": math.hypot(offset.rms_x, offset.rms_y) * to_mas,
                "sources": offset.n,
                "beyond_mas": max(0.0, offset.distance - 2.0 * offset.error) * to_mas,
            }
        )
    if not rows:
        return not_run(
            "relative_offsets",
            f"No two exposures overlap with at least {_LEAST_SOURCES} sources in common.",
        )
    worst = max(rows, key=lambda row: (row["beyond_mas"], math.hypot(row["east_mas"], row["north_mas"])))
    return checked(
        "relative_offsets",
        worst["beyond_mas"],
        f"{worst['second']} lies {worst['east_mas']:+.1f} mas East and {worst['north_mas']:+.1f} mas North "
        f"of {worst['first']} ({worst['sources']} sources, +- {worst['error_mas']:.1f} mas); none of the "
        f"{len(rows)} pairs is farther apart.",
        rows,
    )


def _flux_scale(pairs: Sequence[_Pair]) -> Check:
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        first, second = pair.match.first, pair.match.second
        sure = np.minimum(
            pair.first.together("signal_to_noise")[first], pair.second.together("signal_to_noise")[second]
        )
        chosen = sure > _SURE
        if np.count_nonzero(chosen) < _LEAST_SOURCES:
            continue
        logs = np.log(pair.second.together("flux")[second] / pair.first.together("flux")[first])[chosen]
        middle = float(np.median(logs))
        scatter = 1.4826 * float(np.median(np.abs(logs - middle)))
        error = 1.2533 * scatter / math.sqrt(len(logs))
        rows.append(
            {
                "first": pair.first.rootname,
                "second": pair.second.rootname,
                "ratio": math.exp(middle),
                "error": error,
                "sources": len(logs),
                "beyond": max(0.0, abs(math.expm1(middle)) - 2.0 * error),
            }
        )
    if not rows:
        return not_run("flux_scale", f"No two exposures have {_LEAST_SOURCES} bright sources in common.")
    worst = max(rows, key=lambda row: (row["beyond"], abs(math.log(row["ratio"]))))
    return checked(
        "flux_scale",
        worst["beyond"],
        f"Sources in {worst['second']} have {worst['ratio']:.3f} +- {worst['error']:.3f} times the flux that "
        f"they have in {worst['first']}; none of the {len(rows)} pairs differs more.",
        rows,
    )


def _psf_members(looks: Sequence[ExposureLook], pairs: Sequence[_Pair]) -> Check:
    """Compare widths of the same sources, so that it does not matter whether they are stars."""
    if not pairs:
        return not_run("psf_members", "No two exposures overlap.")
    ratios: dict[int, list[float]] = {}
    for pair in pairs:
        widths = (
            pair.second.together("width")[pair.match.second] / pair.first.together("width")[pair.match.first]
        )
        sure = np.minimum(
            pair.first.together("signal_to_noise")[pair.match.first],
            pair.second.together("signal_to_noise")[pair.match.second],
        )
        if np.count_nonzero(sure > _SURE) < _LEAST_SOURCES:
            continue
        ratio = float(np.median(widths[sure > _SURE]))
        ratios.setdefault(pair.second.number, []).append(ratio)
        ratios.setdefault(pair.first.number, []).append(1.0 / ratio)
    if not ratios:
        return not_run("psf_members", f"No two exposures have {_LEAST_SOURCES} bright sources in common.")
    names = {look.number: look.rootname for look in looks}
    rows: list[dict[str, Any]] = [
        {"rootname": names[number], "ratio": float(np.median(values)), "pairs": len(values)}
        for number, values in sorted(ratios.items())
    ]
    worst = max(rows, key=lambda row: row["ratio"])
    return checked(
        "psf_members",
        worst["ratio"],
        f"Sources in {worst['rootname']} are {worst['ratio']:.3f} times as wide as in the exposures that "
        f"overlap it; none of {len(rows)} exposures is wider.",
        rows,
    )


def _psf_mosaic(facts: LayerFacts, looks: Sequence[ExposureLook], pairs: Sequence[_Pair]) -> Check:
    chosen = _sources_to_trust(looks, pairs)
    if len(chosen) < _LEAST_SOURCES:
        return not_run("psf_mosaic", f"Fewer than {_LEAST_SOURCES} bright sources were found.")
    position, width = chosen[:, :2], chosen[:, 2]
    pixel = float(np.median([c.nominal_scale for e in facts.exposures for c in e.chips]))
    measured = _widths_in_mosaic(facts, position, pixel)
    known = np.isfinite(measured)
    if np.count_nonzero(known) < _LEAST_SOURCES:
        return not_run("psf_mosaic", f"Fewer than {_LEAST_SOURCES} bright sources could be measured.")
    drop = pixel * facts.parameters.final_pixfrac
    # A square of side a has the variance a^2/12 along each axis: those of drop and mosaic pixel are added.
    expected = np.sqrt(width[known] ** 2 + (drop**2 + facts.grid.scale**2) / 12.0)
    ratio = float(np.median(measured[known] / expected))

    def fwhm(sigmas: Floats) -> float:
        return 2.0 * math.sqrt(2.0 * math.log(2.0)) * float(np.median(sigmas))

    return checked(
        "psf_mosaic",
        ratio,
        f"{np.count_nonzero(known)} sources have a FWHM of {fwhm(measured[known]):.3f} arcsec in the mosaic; "
        f"{fwhm(width[known]):.3f} arcsec in the exposures lead to expect {fwhm(expected):.3f}.",
        [{"member_sigma": w, "mosaic_sigma": m} for w, m in zip(width[known], measured[known], strict=True)],
    )


def _sources_to_trust(looks: Sequence[ExposureLook], pairs: Sequence[_Pair]) -> Floats:
    """Give position and width of bright sources: those seen twice, or all where nothing overlaps."""
    found = []
    for pair in pairs:
        a, b = pair.match.first, pair.match.second
        sure = (pair.first.together("signal_to_noise")[a] > _SURE) & (
            pair.second.together("signal_to_noise")[b] > _SURE
        )
        widths = np.sqrt(0.5 * (pair.first.together("width")[a] ** 2 + pair.second.together("width")[b] ** 2))
        middle = 0.5 * (pair.first.position[a] + pair.second.position[b])
        found.append(np.column_stack([middle, widths])[sure])
    if not pairs:
        for look in looks:
            sure = look.together("signal_to_noise") > _SURE
            found.append(np.column_stack([look.position, look.together("width")])[sure])
    together = np.concatenate([np.empty((0, 3)), *found])
    if len(together) <= _MOST_STAMPS:
        return together
    return together[np.linspace(0, len(together) - 1, _MOST_STAMPS).astype(np.intp)]


def _widths_in_mosaic(facts: LayerFacts, position: Floats, pixel: float) -> Floats:
    """Measure the same sources in the product, in the same window on the sky."""
    from astropy.io import fits

    scale = facts.grid.scale
    reach = max(2, math.ceil(_STAMP_REACH * pixel / scale))
    size = 2 * reach + 1
    ny, nx = facts.grid.shape
    u, v = np.rint(position).astype(int).T
    inside = (u >= reach) & (u < nx - reach) & (v >= reach) & (v < ny - reach)
    stamps = np.full((len(position), size, size), np.nan)
    with fits.open(facts.product, memmap=True) as product:
        science = product["SCI"]
        # A mapped image reads nothing but the pages of the stamps; a compressed one decodes their tiles.
        image = science.section if isinstance(science, fits.CompImageHDU) else science.data
        for number in np.flatnonzero(inside):
            x, y = u[number] - reach, v[number] - reach
            stamps[number] = image[y : y + size, x : x + size]
    edges = [stamps[:, 0], stamps[:, -1], stamps[:, :, 0], stamps[:, :, -1]]
    stamps -= np.median(np.concatenate(edges, axis=1), axis=1)[:, None, None]
    widths = measure_stamps(stamps, _WINDOW * pixel / scale)[2] * scale
    return np.where(np.isfinite(stamps).all(axis=(1, 2)), widths, np.nan)


def _outliers(facts: LayerFacts, looks: Sequence[ExposureLook]) -> Check:
    partners = best_partners(looks, facts)
    if not partners:
        return not_run("outliers", "No two exposures overlap.")
    rows: list[dict[str, Any]] = []
    for number, partner in sorted(partners.items()):
        tested, lone = 0.0, 0.0
        for chip in looks[number].chips:
            per_sample = chip.n_bright / max(1, len(chip.bright))
            for other in looks[partner].chips:
                y, x, inside = other.pixels_of(chip.lattice)
                tested += chip.lattice_weight * np.count_nonzero(inside & other.good.has(y, x))
                y, x, inside = other.pixels_of(chip.bright)
                seen = inside & other.good.has(y, x)
                lone += per_sample * np.count_nonzero(seen & ~other.there.has(y, x))
        if tested:
            rows.append(
                {
                    "rootname": looks[number].rootname,
                    "compared_with": looks[partner].rootname,
                    "share": lone / tested,
                    "pixels": int(tested),
                }
            )
    if not rows:
        return not_run("outliers", "No two exposures have good pixels in common.")
    worst = max(rows, key=lambda row: row["share"])
    return checked(
        "outliers",
        worst["share"],
        f"{100.0 * worst['share']:.3f} % of the pixels of {worst['rootname']} are bright and not there in "
        f"{worst['compared_with']}; none of {len(rows)} exposures has more.",
        rows,
    )
