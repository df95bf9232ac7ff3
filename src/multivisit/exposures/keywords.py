"""What an exposure's headers say of it, and what takes the place of keywords that are missing."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING

from multivisit.errors import ExposureError
from multivisit.exposures.headers import found, number, text, whole_number
from multivisit.exposures.instruments import (
    WFPC2_GAINS,
    Detector,
    find_detector,
    normalise_filter,
    parse_exposure_filename,
)

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.io import fits

__all__ = [
    "chip_number",
    "date_observed",
    "detector_of",
    "electrons_per_count",
    "end_mjd",
    "exposure_time",
    "file_type",
    "filter_name",
    "nominal_scale",
    "proposal_id",
    "rootname",
    "start_mjd",
]

_FILE_TYPES = ("flt", "flc", "c0m")
_SECONDS_PER_DAY = 86400.0
_MJD_EPOCH = datetime.date(1858, 11, 17)
# HST's life with room to spare: anything else in EXPSTART is a fill value.
_POSSIBLE_MJD = (40000.0, 80000.0)
_LONGEST_EXPOSURE = 1e6
_LARGEST_GAIN = 1000.0
_LARGEST_PROPOSAL = 10**6
_LARGEST_CHIP = 99
_MOST_BINNED = 4
# How far IDCSCALE may be from the detector's own scale: distortion solutions differ by less than 1 %.
_SCALE_TOLERANCE = 0.2
# Names go into the names of files. Filters have hyphens between them, so no name may begin with one.
_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*", re.IGNORECASE)


def detector_of(path: Path, primary: fits.Header) -> Detector:
    """Find the detector by INSTRUME and DETECTOR (WFPC2 needs INSTRUME only); ExposureError for others."""
    instrument, name = text(primary, "INSTRUME"), text(primary, "DETECTOR")
    detector = find_detector(instrument, name)
    if detector is None:
        raise ExposureError(
            f"{path}[PRIMARY]: INSTRUME is '{instrument}' and DETECTOR is '{name}', "
            "expected ACS with WFC, HRC or SBC, WFC3 with UVIS or IR, or WFPC2."
        )
    return detector


def file_type(filename: str, primary: fits.Header, detector: Detector) -> str:
    """Give ``flt``, ``flc`` or ``c0m``: by the file's name, else by INSTRUME and PCTECORR."""
    suffix = filename.lower().removesuffix(".fits").rpartition("_")[2]
    if suffix in _FILE_TYPES:
        return suffix
    if detector.instrument == "wfpc2":
        return "c0m"
    return "flc" if text(primary, "PCTECORR").upper() == "COMPLETE" else "flt"


def rootname(filename: str, primary: fits.Header) -> str:
    """Give the rootname in lower case: ROOTNAME if it can be one, else from the file's name, else that."""
    name = text(primary, "ROOTNAME").lower()
    if not re.fullmatch(r"[a-z0-9_]+", name):
        parsed = parse_exposure_filename(filename)
        name = filename.lower().removesuffix(".fits") if parsed is None else parsed.rootname
    # Single-visit names leave out the last of nine characters, which is q for all but a few exposures.
    return f"{name}q" if len(name) == 8 else name


def exposure_time(path: Path, primary: fits.Header, science: fits.Header) -> float:
    """Give EXPTIME in seconds: of the primary header, which AstroDrizzle uses, else of SCI. 0 is allowed."""
    for header in (primary, science):
        seconds = number(header, "EXPTIME")
        if seconds is not None and 0.0 <= seconds <= _LONGEST_EXPOSURE:
            return seconds
    raise ExposureError(
        f"{path}[PRIMARY]: EXPTIME {found(primary, 'EXPTIME')}, expected the exposure time in seconds, "
        f"0 to {_LONGEST_EXPOSURE:g}."
    )


def filter_name(path: Path, primary: fits.Header, detector: Detector) -> str:
    """Give the name of the filter or filters; ExposureError for one that could not stand in a file's name."""
    elements = [text(primary, keyword) for keyword in detector.filter_keywords]
    for keyword, element in zip(detector.filter_keywords, elements, strict=True):
        if element.upper() not in ("", "N/A") and _NAME.fullmatch(element) is None:
            raise ExposureError(
                f"{path}[PRIMARY]: {keyword} {found(primary, keyword)}, expected the name of a filter such "
                "as F606W: letters and digits, with . + or - between them."
            )
    return normalise_filter(*elements)


def start_mjd(primary: fits.Header, science: fits.Header) -> float | None:
    """Give the exposure's start as MJD: EXPSTART, else DATE-OBS with TIME-OBS, else None."""
    for header in (primary, science):
        if (start := _mjd(header, "EXPSTART")) is not None:
            return start
    for header in (primary, science):
        if (date := _date(text(header, "DATE-OBS"))) is not None:
            return (date - _MJD_EPOCH).days + _seconds_of_day(header) / _SECONDS_PER_DAY
    return None


def end_mjd(primary: fits.Header, science: fits.Header, start: float | None, seconds: float) -> float | None:
    """Give the exposure's end as MJD: EXPEND, else `start` plus the exposure time, else None."""
    for header in (primary, science):
        if (end := _mjd(header, "EXPEND")) is not None:
            return end
    return None if start is None else start + seconds / _SECONDS_PER_DAY


def date_observed(primary: fits.Header, science: fits.Header, start: float | None) -> datetime.date | None:
    """Give the date on which the exposure began: DATE-OBS, else the day of `start`, else None."""
    for header in (primary, science):
        if (date := _date(text(header, "DATE-OBS"))) is not None:
            return date
    return None if start is None else _MJD_EPOCH + datetime.timedelta(days=int(start))


def proposal_id(filename: str, primary: fits.Header) -> int | None:
    """Give the proposal: PROPOSID, else from a single-visit file name, else None."""
    proposal = number(primary, "PROPOSID")
    if proposal is not None and 1 <= proposal < _LARGEST_PROPOSAL:
        return int(proposal)
    parsed = parse_exposure_filename(filename)
    return None if parsed is None else parsed.proposal_id


def chip_number(science: fits.Header, detector: Detector, extver: int) -> int:
    """Give the number of the detector chip: CCDCHIP (WFPC2: DETECTOR), else EXTVER."""
    chip = number(science, "DETECTOR" if detector.instrument == "wfpc2" else "CCDCHIP")
    # Detectors of one chip may carry -999.
    return int(chip) if chip is not None and 1 <= chip <= _LARGEST_CHIP else extver


def electrons_per_count(path: Path, primary: fits.Header, detector: Detector, chip_id: int) -> float:
    """Give the gain for pixels in counts.

    The mean of the amplifiers' gains (ATODGNA...), else CCDGAIN; for WFPC2 the chip's measured gain at the
    commanded ATODGAIN, as AstroDrizzle takes it; 1 for ACS/SBC, which counts single photons.
    """
    if not detector.gain_keywords:
        return 1.0
    if detector.instrument == "wfpc2":
        gains = WFPC2_GAINS.get(int(number(primary, "ATODGAIN") or 0))
        if gains is None or chip_id > len(gains):
            raise ExposureError(
                f"{path}[PRIMARY]: ATODGAIN {found(primary, 'ATODGAIN')} for chip {chip_id}, expected one of "
                f"{sorted(WFPC2_GAINS)} and chips 1 to 4 to turn counts into electrons."
            )
        return gains[chip_id - 1]
    *amplifiers, whole = detector.gain_keywords
    gains_found = [gain for keyword in amplifiers if (gain := _gain(primary, keyword)) > 0.0]
    if not gains_found and (gain := _gain(primary, whole)) > 0.0:
        gains_found = [gain]
    if not gains_found:
        raise ExposureError(
            f"{path}[PRIMARY]: none of {', '.join(detector.gain_keywords)} holds a gain, "
            f"expected one, above 0 and up to {_LARGEST_GAIN:g}, to turn counts into electrons."
        )
    return sum(gains_found) / len(gains_found)


def nominal_scale(science: fits.Header, detector: Detector, chip_id: int) -> float:
    """Give the nominal pixel scale in arcsec: IDCSCALE, else the detector's own times BINAXIS1.

    An IDCSCALE that is far from the detector's own scale cannot be right and counts as missing.
    """
    binned = whole_number(science, "BINAXIS1") or 1
    own = detector.nominal_scale(chip_id) * (binned if 1 <= binned <= _MOST_BINNED else 1)
    scale = number(science, "IDCSCALE")
    return scale if scale is not None and abs(scale / own - 1.0) <= _SCALE_TOLERANCE else own


def _gain(primary: fits.Header, keyword: str) -> float:
    """Give a gain; 0 where the keyword holds none."""
    gain = number(primary, keyword) or 0.0
    return gain if gain <= _LARGEST_GAIN else 0.0


def _mjd(header: fits.Header, keyword: str) -> float | None:
    mjd = number(header, keyword)
    return mjd if mjd is not None and _POSSIBLE_MJD[0] < mjd < _POSSIBLE_MJD[1] else None


def _date(content: str) -> datetime.date | None:
    """Read ``2002-04-13``, with or without a time after it, or the ``13/04/98`` of old WFPC2 headers."""
    for form in ("%Y-%m-%d", "%d/%m/%y"):
        try:
            date = datetime.datetime.strptime(content.partition("T")[0], form).date()
        except ValueError:
            continue
        return date if _POSSIBLE_MJD[0] < (date - _MJD_EPOCH).days < _POSSIBLE_MJD[1] else None
    return None


def _seconds_of_day(header: fits.Header) -> float:
    """Give the seconds of TIME-OBS, else of the time within DATE-OBS, else 0."""
    for content in (text(header, "TIME-OBS"), text(header, "DATE-OBS").partition("T")[2]):
        try:
            time = datetime.time.fromisoformat(content)
        except ValueError:
            continue
        return time.hour * 3600 + time.minute * 60 + time.second + time.microsecond * 1e-6
    return 0.0
