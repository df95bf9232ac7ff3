"""Whether a fit holds: enough matches, more than chance gives, and close enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multivisit.align.matching import MatchedFit
    from multivisit.plan.parameters.alignment import AlignmentParameters

__all__ = ["LARGEST_FALSE_ALARM", "Verdict", "judge", "judge_common"]

LARGEST_FALSE_ALARM = 1e-3
"""A fit is taken only where fewer wrong shifts than this would have had as many matches."""

_FINE_RMS = 10.0
"""Milliarcsec: RMS below which a fit has grade 1 or 2, as published."""


@dataclass(frozen=True)
class Verdict:
    """Whether a fit holds."""

    grade: int
    """1: RMS below 10 mas; 3: above; 2 and 4: the same with a simpler transformation than wanted; 5: no."""

    is_kept: bool
    """Whether it may be used where there is no better one."""

    is_good: bool
    """Whether no better one is sought."""

    reason: str = ""
    """Why it is not kept, or not good."""


def judge(found: MatchedFit | None, parameters: AlignmentParameters, geometry: str) -> Verdict:
    """Judge a fit to a reference catalog.

    Parameters
    ----------
    found : MatchedFit or None
        The fit, in arcsec.
    parameters : AlignmentParameters
        The limits.
    geometry : str
        The kind of transformation that was wanted.

    Returns
    -------
    Verdict
        The judgement, with the reason where it is against the fit.
    """
    limits = parameters.determine_fit_quality
    fewest = max(parameters.general.MIN_FIT_MATCHES, limits.MIN_FIT_MATCHES, 1)
    n = 0 if found is None else found.n
    if found is None or n < fewest:
        return Verdict(5, False, False, f"{n} sources matched, at least {fewest} are needed")
    if found.false_alarm > LARGEST_FALSE_ALARM:
        return Verdict(
            5,
            False,
            False,
            f"{n} sources matched, which may be chance ({found.false_alarm:.2g} other shifts would have "
            "as many)",
        )
    rms = 1000.0 * found.fit.rms_distance
    if rms > limits.MAX_FIT_LIMIT:
        return Verdict(
            5, False, False, f"RMS of {n} matches {rms:.1f} mas, at most {limits.MAX_FIT_LIMIT:g} allowed"
        )
    grade = (1 if rms < _FINE_RMS else 3) + (found.fit.geometry != geometry)
    if grade not in limits.GOOD_FIT_QUALITY_VALUES:
        return Verdict(grade, False, False, f"a fit of grade {grade} (RMS {rms:.1f} mas) is not wanted")
    largest = min(parameters.general.MAX_FIT_RMS, limits.MAX_FIT_RMS)
    if rms > largest:
        return Verdict(grade, True, False, f"no fit with an RMS of {largest:g} mas or less was found")
    return Verdict(grade, True, True)


def judge_common(found: MatchedFit, parameters: AlignmentParameters) -> bool:
    """Judge the fit of an exposure to others.

    Parameters
    ----------
    found : MatchedFit
        The fit, in arcsec.
    parameters : AlignmentParameters
        The limits.

    Returns
    -------
    bool
        Whether it holds.
    """
    limits = parameters.determine_fit_quality
    return (
        found.n >= max(limits.MIN_CROSS_MATCHES, 1)
        and found.false_alarm <= LARGEST_FALSE_ALARM
        and 1000.0 * found.fit.rms_distance <= limits.MAX_FIT_LIMIT
    )
