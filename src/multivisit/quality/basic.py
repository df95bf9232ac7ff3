"""The checks that cost nothing: they look at numbers that the run has anyway."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from multivisit.products.members import wcs_solution
from multivisit.quality.facts import frame_of
from multivisit.quality.result import Check, checked, not_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multivisit.combine.sky_levels import LevelDifference
    from multivisit.quality.facts import LayerFacts

__all__ = ["basic_checks", "seam_check"]

_SHORT = 5.0
"""Seconds by which shutter and readout may lengthen the time from start to end."""

_LEAST_PATCHES = 10
"""A difference of sky from fewer patches than these is not judged."""


def basic_checks(facts: LayerFacts) -> list[Check]:
    """Make the checks that need no pixels.

    Parameters
    ----------
    facts : LayerFacts
        The layer.

    Returns
    -------
    list of Check
        In the order of `multivisit.quality.limits.CHECKS`.
    """
    return [
        _members(facts),
        _exposure_times(facts),
        _weights(facts),
        _covered_area(facts),
        *_wcs(facts),
        _sky_matching(facts),
        _matched_seams(facts),
    ]


def seam_check(facts: LayerFacts, differences: Sequence[LevelDifference], noise: float) -> Check:
    """Judge how well the skies of overlapping exposures agree after subtraction.

    Parameters
    ----------
    facts : LayerFacts
        The layer.
    differences : sequence of LevelDifference
        Differences between the skies of exposures as they are in the files.
    noise : float
        Typical noise of a pixel, electrons/s per square arcsec.

    Returns
    -------
    Check
        The check ``sky_seams``.
    """
    rows: list[dict[str, Any]] = []
    for item in differences:
        if item.n_patches < _LEAST_PATCHES:
            continue
        taken = facts.sky_brightness(item.first) - facts.sky_brightness(item.second)
        rest = item.value - taken
        error = math.sqrt(item.variance)
        rows.append(
            {
                "first": facts.exposures[item.first].rootname,
                "second": facts.exposures[item.second].rootname,
                "difference": rest,
                "error": error,
                "in_noise": max(0.0, abs(rest) - 2.0 * error) / noise if noise > 0.0 else 0.0,
                "patches": item.n_patches,
            }
        )
    if not rows:
        return not_run("sky_seams", "No two exposures overlap enough to compare their skies.")
    worst = max(rows, key=lambda row: row["in_noise"])
    return checked(
        "sky_seams",
        worst["in_noise"],
        f"The sky of {worst['first']} and {worst['second']} differs by {worst['difference']:.3g} +- "
        f"{worst['error']:.2g} electrons/s/arcsec2 after subtraction; a pixel's noise is {noise:.3g}.",
        rows,
    )


def _members(facts: LayerFacts) -> Check:
    lost = [e.filename for k, e in enumerate(facts.exposures) if not facts.was_used(k)]
    total = len(facts.exposures)
    if lost:
        text = f"{len(lost)} of {total} exposures have no good pixel in the mosaic: {', '.join(lost)}."
    else:
        text = f"All {total} exposures are in the mosaic."
    return checked("members", len(lost) / total, text, [{"filename": name} for name in lost])


def _exposure_times(facts: LayerFacts) -> Check:
    rows: list[dict[str, Any]] = []
    for exposure in facts.exposures:
        if exposure.start_mjd is None or exposure.end_mjd is None or exposure.exposure_time <= 0.0:
            continue
        elapsed = (exposure.end_mjd - exposure.start_mjd) * 86400.0
        beyond = max(0.0, abs(elapsed - exposure.exposure_time) - _SHORT) / exposure.exposure_time
        rows.append(
            {
                "filename": exposure.filename,
                "exposure_time": exposure.exposure_time,
                "elapsed": round(elapsed, 3),
                "value": beyond,
            }
        )
    if not rows:
        return not_run("exposure_times", "No exposure tells its start and end.")
    worst = max(rows, key=lambda row: row["value"])
    return checked(
        "exposure_times",
        worst["value"],
        f"{worst['filename']}: EXPTIME is {worst['exposure_time']:g} s, from start to end it took "
        f"{worst['elapsed']:g} s; of {len(rows)} exposures none differs more.",
        rows,
    )


def _weights(facts: LayerFacts) -> Check:
    parameters, statistics = facts.parameters, facts.summary.statistics
    if parameters.final_wht_type != "EXP" or parameters.final_wt_scl not in ("exptime", 1.0):
        return not_run(
            "weights",
            f"Weights are {parameters.final_wht_type} with scale {parameters.final_wt_scl}, "
            "not exposure times.",
        )
    # The mean area of a pixel, not the nominal one: those of ACS/HRC are rhombi, 13 % larger than nominal.
    pixels = sum(chip.shape[0] * chip.shape[1] for exposure in facts.exposures for chip in exposure.chips)
    ratio = pixels / sum(polygon.area for polygon in facts.polygons)
    # Small drops gather the weight in some pixels and leave others empty: on the average it is the same.
    kind = "mean" if parameters.final_kernel == "point" or parameters.final_pixfrac < 1.0 else "median"
    weight, time = statistics.median_weight, statistics.median_exposure_time
    if kind == "mean":
        weight = statistics.mean_weight
        time = statistics.mean_exposure_time * _good_share(facts)
    expected = time * ratio
    if expected <= 0.0:
        return not_run("weights", "No exposure time is known.")
    return checked(
        "weights",
        abs(weight / expected - 1.0),
        f"The {kind} weight is {weight:.5g}; {time:g} s "
        f"with {ratio:.4g} pixels of the detector on each of the mosaic lead to expect {expected:.5g}.",
        [
            {"what": "median", "weight": statistics.median_weight, "expected": expected},
            {
                "what": "mean",
                "weight": statistics.mean_weight,
                "expected": statistics.mean_exposure_time * ratio,
            },
        ],
    )


def _good_share(facts: LayerFacts) -> float:
    """Give the share of the chips' pixels that are good."""
    pairs = [
        (record.n_good_pixels, chip.shape[0] * chip.shape[1])
        for exposure in facts.exposures
        for chip in exposure.chips
        if (record := facts.records.get((exposure.filename, chip.extver))) is not None and record.in_grid
    ]
    return sum(good for good, _ in pairs) / max(1, sum(number for _, number in pairs))


def _covered_area(facts: LayerFacts) -> Check:
    statistics = facts.summary.statistics
    filled = 1.0 - statistics.blank_fraction
    shares = [
        {
            "filename": record.filename,
            "chip": record.chip_id,
            "good_share": record.n_good_pixels / (chip.shape[0] * chip.shape[1]),
        }
        for exposure in facts.exposures
        for chip in exposure.chips
        if (record := facts.records.get((exposure.filename, chip.extver))) is not None and record.in_grid
    ]
    return checked(
        "covered_area",
        filled,
        f"{100.0 * filled:.2f} % of the pixels inside the footprints have data; "
        f"a pixel is seen by {statistics.mean_exposures:.2f} chips on average.",
        shares,
    )


def _wcs(facts: LayerFacts) -> list[Check]:
    solutions = Counter(wcs_solution(chip.wcs_name) for e in facts.exposures for chip in e.chips)
    frames = Counter(frame_of(chip) for exposure in facts.exposures for chip in exposure.chips)
    rows = [
        {
            "filename": exposure.filename,
            "wcs_name": chip.wcs_name or "",
            "wcs_type": str(chip.header.get("WCSTYPE") or ""),
            "frame": frame_of(chip),
        }
        for exposure in facts.exposures
        for chip in exposure.chips[:1]
    ]
    return [
        checked("wcs_solutions", len(solutions), f"WCS solutions of the chips: {_counted(solutions)}.", rows),
        checked("wcs_frames", len(frames), f"Positions are tied to: {_counted(frames)}.", rows),
    ]


def _counted(names: Counter[str]) -> str:
    return ", ".join(f"{name} ({number})" for name, number in names.most_common())


def _sky_matching(facts: LayerFacts) -> Check:
    sky = facts.summary.sky
    if sky is None:
        return not_run("sky_matching", "The sky is left alone (skysub off).")
    if len(facts.exposures) < 2:
        return not_run("sky_matching", "There is one exposure only.")
    rows = [
        {"first": facts.exposures[o.first].rootname, "second": facts.exposures[o.second].rootname}
        for o in facts.overlaps
        if sky.groups[o.first] != sky.groups[o.second]
    ]
    groups = len(set(sky.groups))
    text = f"{len(facts.overlaps)} pairs overlap, {len(rows)} of them without a common zero point of the sky"
    islands = f"; the exposures form {groups} separate groups" if groups > 1 else ""
    return checked("sky_matching", len(rows), f"{text}{islands}.", rows)


def _matched_seams(facts: LayerFacts) -> Check:
    sky = facts.summary.sky
    if sky is None or not facts.sky_was_matched:
        reason = "Sky levels were not matched in this run" if facts.overlaps else "No two exposures overlap"
        hint = "; run with --quality-tests to measure what is left" if facts.overlaps else ""
        return not_run("sky_seams", f"{reason}{hint}.")
    return seam_check(facts, sky.differences, sky.noise)
