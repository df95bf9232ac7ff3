"""Every quality check and its limits, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["CHECKS", "CheckKind", "Verdict", "judge", "worst"]

Verdict = Literal["pass", "warn", "fail", "not run"]
"""What a check says."""

_ORDER: tuple[Verdict, ...] = ("not run", "pass", "warn", "fail")


@dataclass(frozen=True)
class CheckKind:
    """One kind of check: what it measures, and from where on that is a warning or a failure."""

    name: str
    """Name in the files."""

    title: str
    """Title in the report."""

    measures: str
    """What the value is."""

    unit: str
    """Unit of the value; empty for a pure number."""

    warn: float | None
    """The limit that is still passed; None if there is no warning."""

    fail: float | None
    """The limit beyond which the check fails; None if it never fails."""

    advice: str
    """What to do when it does not pass."""

    larger_is_worse: bool = True
    """Whether values above the limits are the bad ones, or those below."""

    needs_pixels: bool = False
    """Whether it reads the exposures' pixels again, so that it runs only with the quality tests on."""


_KINDS = (
    CheckKind(
        "members",
        "Members in the mosaic",
        "share of the layer's exposures without a good pixel in the mosaic",
        "",
        0.0,
        0.5,
        "Look at the DQ extension of the exposures named, or leave them out.",
    ),
    CheckKind(
        "exposure_times",
        "Exposure times",
        "largest difference of EXPTIME from the exposure's start and end, beyond 5 s, as share of EXPTIME",
        "",
        0.05,
        0.2,
        "EXPTIME sets the weight: compare it with EXPSTART and EXPEND, correct the header or leave the "
        "exposure out.",
    ),
    CheckKind(
        "weights",
        "Weights against exposure times",
        "difference of the median weight (mean where drops are small) from that of the exposure time times "
        "the detector pixels on a pixel of the mosaic, as share",
        "",
        0.1,
        0.3,
        "Look at final_wt_scl and final_bits in the parameters, and for flagged pixels in the DQ extensions.",
    ),
    CheckKind(
        "covered_area",
        "Covered area",
        "share of the pixels inside the footprints that have data",
        "",
        0.9,
        0.7,
        "Look where WHT is 0: single exposures leave holes at cosmic rays; whole regions point to a DQ "
        "extension with too many flags.",
        larger_is_worse=False,
    ),
    CheckKind(
        "wcs_solutions",
        "WCS solutions",
        "number of different astrometric solutions (WCSNAME without its distortion model)",
        "",
        1.0,
        None,
        "Bring all exposures to one WCS solution (headerlets, alignment) before combining them.",
    ),
    CheckKind(
        "wcs_frames",
        "Reference frames",
        "number of different frames that positions are tied to (WCSNAME, WCSTYPE)",
        "",
        None,
        1.0,
        "Stars of exposures in different frames do not fall on each other: align all (--align-to-gaia), or "
        "leave the odd ones out.",
    ),
    CheckKind(
        "sky_matching",
        "Sky matching",
        "number of overlapping pairs of exposures whose sky levels could not be compared",
        "",
        0.0,
        None,
        "Too few good pixels in the overlap: look at sky_bits, or choose skymethod localmin.",
    ),
    CheckKind(
        "sky_seams",
        "Sky seams",
        "largest difference of sky between overlapping exposures after subtraction, beyond twice its "
        "standard error, in units of the pixel noise",
        "sigma",
        0.1,
        0.3,
        "A step of brightness follows the exposure's border: look at skysub and skymethod, and at scattered "
        "light in the exposure named.",
    ),
    CheckKind(
        "relative_offsets",
        "Relative offsets",
        "largest offset between the sources of overlapping exposures, beyond twice its standard error",
        "mas",
        10.0,
        20.0,
        "The WCS of the exposure named disagrees with the others: align it, or leave it out.",
        needs_pixels=True,
    ),
    CheckKind(
        "flux_scale",
        "Flux scale",
        "largest difference of flux between the same sources in overlapping exposures, as share",
        "",
        0.05,
        0.15,
        "Look at EXPTIME, BUNIT and the gain of the exposure named.",
        needs_pixels=True,
    ),
    CheckKind(
        "psf_members",
        "PSF of the members",
        "width of sources in the widest exposure over that in the median exposure",
        "",
        1.15,
        1.4,
        "The exposure named is out of focus or trailed: look at its guiding (FGSLOCK), or leave it out.",
        needs_pixels=True,
    ),
    CheckKind(
        "psf_mosaic",
        "PSF of the mosaic",
        "width of sources in the mosaic over what the members' widths and the drop size lead to expect",
        "",
        1.1,
        1.25,
        "Sources are smeared where exposures meet: look at the relative offsets first.",
        needs_pixels=True,
    ),
    CheckKind(
        "outliers",
        "Deviating pixels",
        "share of pixels that are bright (8 sigma) in one exposure and absent in its nearest partner",
        "",
        0.002,
        0.01,
        "Cosmic rays are not flagged: switch the cosmic-ray steps on, or flag them (DQ 4096) first.",
        needs_pixels=True,
    ),
)

CHECKS: Mapping[str, CheckKind] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""All checks by name, in the order in which they are shown."""


def judge(kind: CheckKind, value: float) -> Verdict:
    """Hold a value against the limits of its check.

    Parameters
    ----------
    kind : CheckKind
        The check.
    value : float
        What was measured.

    Returns
    -------
    {'pass', 'warn', 'fail'}
        A value at a limit is still on its good side; one that is no number fails.
    """

    def beyond(limit: float | None) -> bool:
        if limit is None:
            return False
        return not (value <= limit if kind.larger_is_worse else value >= limit)

    return "fail" if beyond(kind.fail) else "warn" if beyond(kind.warn) else "pass"


def worst(verdicts: list[Verdict]) -> Verdict:
    """Give the worst of some verdicts.

    Parameters
    ----------
    verdicts : list of str
        The verdicts.

    Returns
    -------
    str
        ``fail`` before ``warn`` before ``pass``; ``not run`` if there is none or no check was run.
    """
    return max(verdicts, key=_ORDER.index, default="not run")
