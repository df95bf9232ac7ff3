"""The rules by which an exposure may or may not be combined, each by the keywords of its headers.

The rules are the published ones, with these differences:

* Guiding: besides a guide-star failure in QUALITY, exposures on gyros alone (FGSLOCK) and with an EXPFLAG
  that says that the exposure went wrong are refused, since they are trailed or of unknown length; the
  published rules leave these to a search for trails in the pixels.
* Calibration targets: a whole word of the target's name must be one of calibration targets, and for common
  words (DARK, BIAS, FLAT) the exposure must not be an external image. A nebula called DARK-CLOUD may stay.
* A keyword that is missing or blank is no reason to refuse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from multivisit.exposures.headers import number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from multivisit.exposures.model import Exposure

__all__ = ["RULES", "Finding", "header_text", "refusal", "remark", "wcs_problem"]


@dataclass(frozen=True)
class Finding:
    """Why an exposure is refused, or what is noteworthy about one that is not."""

    reason: str
    """A few words for people."""

    keyword: str = ""
    """The keyword that says so."""

    value: str = ""
    """Its value."""

    is_broken: bool = False
    """Whether the file itself is at fault, not what was observed."""


Rule = Callable[["Exposure"], Finding | None]

_EXTERNAL_IMAGE_TYPES: Final = ("", "EXT", "EXTERNAL", "NONE", "N/A")
_CALIBRATION_WORDS: Final = (
    "TUNG",
    "TUNGSTEN",
    "DEUT",
    "DEUTERIUM",
    "INTFLAT",
    "UVFLAT",
    "VISFLAT",
    "KSPOTS",
)
_COMMON_CALIBRATION_WORDS: Final = ("DARK", "BIAS", "FLAT")
_SHORTEST_EXPOSURE: Final = 1e-5
_QUALITY_KEYWORDS: Final = ("QUALITY", "QUALCOM1", "QUALCOM2", "QUALCOM3")
_FAILED_GUIDING: Final = ("GSFAIL", "TDF-DOWN")
_FAILED_EXPOSURES: Final = ("INDETERMINATE", "EXCESSIVE DOWNTIME", "TDF-DOWN", "NO EXPOSURE")
_FILTER_KEYWORDS: Final = {
    "acs": ("FILTER1", "FILTER2"),
    "wfc3": ("FILTER",),
    "wfpc2": ("FILTNAM1", "FILTNAM2"),
}
_UNUSABLE_FILTERS: Final = (
    ("G", "a grism spectrum"),
    ("PR", "a prism spectrum"),
    ("FR", "a ramp filter, whose wavelength changes over the field"),
    ("BLOCK", "an internal exposure"),
)
_LARGEST_SCALE_RATIO: Final = 2.0
_ALL_THE_SAME: Final = "; if its stars are good all the same, take the keyword out of a copy"
_ANEW: Final = "; get the file anew"
_OTHER_WCS: Final = "; give it another WCS solution, or get the file anew"


def header_text(exposure: Exposure, keyword: str) -> str:
    """Give a keyword's value as text in capitals: out of the primary header, else out of the first chip's.

    Parameters
    ----------
    exposure : Exposure
        The exposure.
    keyword : str
        The keyword.

    Returns
    -------
    str
        Empty where the keyword is missing, blank or unreadable; ``T`` and ``F`` for logical values.
    """
    from astropy.io.fits.card import Undefined
    from astropy.io.fits.verify import VerifyError

    for header in (exposure.primary, *(chip.header for chip in exposure.chips[:1])):
        try:
            value = header.get(keyword)
        except VerifyError:
            continue
        if isinstance(value, bool):
            return "T" if value else "F"
        if value is not None and not isinstance(value, Undefined) and str(value).strip():
            return str(value).strip().upper()
    return ""


def refusal(exposure: Exposure) -> Finding | None:
    """Apply the rules one after another.

    Parameters
    ----------
    exposure : Exposure
        The exposure, as read.

    Returns
    -------
    Finding or None
        The first reason to refuse the exposure; None when it may be combined.
    """
    for rule in RULES:
        finding = rule(exposure)
        if finding is not None:
            return finding
    return None


def remark(exposure: Exposure) -> Finding | None:
    """Say what may be wrong with an exposure that is combined nevertheless.

    Parameters
    ----------
    exposure : Exposure
        The exposure, as read.

    Returns
    -------
    Finding or None
        The first thing worth a remark.
    """
    lock = header_text(exposure, "FGSLOCK")
    if "GY" in lock or "COARSE" in lock:
        return Finding("guided less well than usual: may be blurred, look at its stars", "FGSLOCK", lock)
    for keyword in _QUALITY_KEYWORDS:
        if "LOCKLOST" in (quality := header_text(exposure, keyword)):
            return Finding(
                "the lock on the guide stars was lost at some time: may be trailed, look at its stars",
                keyword,
                quality,
            )
    flag = header_text(exposure, "EXPFLAG")
    if flag not in ("", "NORMAL"):
        return Finding("the exposure was not a normal one: look at it", "EXPFLAG", flag)
    for chip in exposure.chips:
        scale = number(chip.header, "IDCSCALE")
        if scale is not None and scale != chip.nominal_scale:
            reason = f"not this detector's scale: {chip.nominal_scale:.4g} arcsec is used"
            return Finding(reason, "IDCSCALE", f"{scale:.6g}")
    return None


def _not_an_image(exposure: Exposure) -> Finding | None:
    value = header_text(exposure, "OBSTYPE")
    if value not in ("", "IMAGING"):
        return Finding("not an image", "OBSTYPE", value)
    return None


def _internal(exposure: Exposure) -> Finding | None:
    value = header_text(exposure, "IMAGETYP")
    if value not in _EXTERNAL_IMAGE_TYPES:
        return Finding("a calibration exposure", "IMAGETYP", value)
    return None


def _not_to_be_drizzled(exposure: Exposure) -> Finding | None:
    value = header_text(exposure, "DRIZCORR")
    if value in ("OMIT", "SKIPPED"):
        return Finding(f"the calibration pipeline does not drizzle it{_ALL_THE_SAME}", "DRIZCORR", value)
    return None


def _moving_target(exposure: Exposure) -> Finding | None:
    value = header_text(exposure, "MTFLAG")
    if value in ("T", "TRUE", "1"):
        return Finding("the telescope followed a moving target", "MTFLAG", value)
    return None


def _scan(exposure: Exposure) -> Finding | None:
    value = header_text(exposure, "SCAN_TYP")
    if value not in ("", "N"):
        return Finding("the telescope scanned across the sky", "SCAN_TYP", value)
    return None


def _calibration_target(exposure: Exposure) -> Finding | None:
    value = header_text(exposure, "TARGNAME")
    words = re.split(r"[^A-Z]+", value)
    is_external = header_text(exposure, "IMAGETYP") == "EXT"
    if (
        "EARTH-CAL" in value
        or any(word in _CALIBRATION_WORDS for word in words)
        or (not is_external and any(word in _COMMON_CALIBRATION_WORDS for word in words))
    ):
        return Finding("a calibration target", "TARGNAME", value)
    return None


def _no_exposure_time(exposure: Exposure) -> Finding | None:
    seconds = exposure.exposure_time
    if not math.isfinite(seconds) or seconds <= _SHORTEST_EXPOSURE:
        return Finding("no exposure time: correct EXPTIME, or leave it out", "EXPTIME", str(seconds))
    return None


def _failed_guiding(exposure: Exposure) -> Finding | None:
    for keyword in _QUALITY_KEYWORDS:
        quality = header_text(exposure, keyword)
        if any(words in quality for words in _FAILED_GUIDING):
            return Finding(f"guiding failed{_ALL_THE_SAME}", keyword, quality)
    flag = header_text(exposure, "EXPFLAG")
    if any(words in flag for words in _FAILED_EXPOSURES):
        return Finding(
            f"the exposure was interrupted or its length is not known{_ALL_THE_SAME}", "EXPFLAG", flag
        )
    lock = header_text(exposure, "FGSLOCK")
    if lock in ("GYRO", "GYROS"):
        return Finding(f"guided by gyros alone, so it drifts{_ALL_THE_SAME}", "FGSLOCK", lock)
    return None


def _charge_injection(exposure: Exposure) -> Finding | None:
    value = header_text(exposure, "CHINJECT")
    if value not in ("", "NONE"):
        return Finding("charge was injected into the detector", "CHINJECT", value)
    return None


def _unusable_filter(exposure: Exposure) -> Finding | None:
    for keyword in _FILTER_KEYWORDS[exposure.instrument]:
        value = header_text(exposure, keyword)
        for beginning, what in _UNUSABLE_FILTERS:
            if value.startswith(beginning):
                return Finding(what, keyword, value)
    return None


def _unreadable_quality(exposure: Exposure) -> Finding | None:
    for chip in exposure.chips:
        if chip.quality_problem:
            return Finding(f"unusable data quality: {chip.quality_problem}{_ANEW}", is_broken=True)
    return None


def wcs_problem(exposure: Exposure) -> Finding | None:
    """Find a WCS that reads well but cannot be: another scale than the detector has, or off the sky.

    The scale is that of each edge of a chip through the full WCS, which distortion changes by a third at
    most.

    Parameters
    ----------
    exposure : Exposure
        The exposure, as read.

    Returns
    -------
    Finding or None
        The first chip's problem; None for an exposure that can be placed on the sky.
    """
    for chip in exposure.chips:
        name = chip.wcs_name or "unnamed"
        try:
            ra, dec = chip.outline()
        except (ValueError, ArithmeticError) as error:
            return Finding(
                f"unusable WCS in SCI,{chip.extver}: {error}{_OTHER_WCS}", "WCSNAME", name, is_broken=True
            )
        if not (np.isfinite(ra).all() and np.isfinite(dec).all()):
            reason = f"unusable WCS in SCI,{chip.extver}: edges not on the sky{_OTHER_WCS}"
            return Finding(reason, "WCSNAME", name, is_broken=True)
        ny, nx = chip.shape
        for scale in _edges_in_arcsec(ra, dec) / [nx, ny, nx, ny]:
            if not 1.0 / _LARGEST_SCALE_RATIO < scale / chip.nominal_scale < _LARGEST_SCALE_RATIO:
                reason = f"unusable WCS in SCI,{chip.extver}: {scale:.4g} arcsec a pixel, expected about "
                return Finding(
                    f"{reason}{chip.nominal_scale:.4g}{_OTHER_WCS}", "WCSNAME", name, is_broken=True
                )
    return None


def _edges_in_arcsec(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the lengths of a chip's four edges on the sky, by the chords between the outline's points."""
    alpha, delta = np.radians(ra), np.radians(dec)
    points = np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)])
    chords = np.linalg.norm(np.roll(points, -1, axis=1) - points, axis=0)
    return np.asarray(np.degrees(chords.reshape(4, -1).sum(axis=1)) * 3600.0, dtype=np.float64)


RULES: Final[tuple[Rule, ...]] = (
    _not_an_image,
    _internal,
    _calibration_target,
    _not_to_be_drizzled,
    _moving_target,
    _scan,
    _unusable_filter,
    _charge_injection,
    _no_exposure_time,
    _failed_guiding,
    _unreadable_quality,
    wcs_problem,
)
"""The rules in the order in which they are applied: what an exposure is, before what happened to it."""
