"""What an exposure's headers say of it, and what takes the place of keywords that are missing."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from multivisit.errors import ExposureError
from multivisit.exposures.headers import found, number, text
from multivisit.exposures.instruments import WFPC2_GAINS, Detector, find_detector, parse_exposure_filename

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
    """Give the rootname in lower case: ROOTNAME, else from the file's name, else the name itself."""
    name = text(primary, "ROOTNAME").lower()
    if not name:
        parsed = parse_exposure_filename(filename)
        name = filename.lower().removesuffix(".fits") if parsed is None else parsed.rootname
    # Single-visit names leave out the last of nine characters, which is q for all but a few exposures.
    return f"{name}q" if len(name) == 8 else name


def exposure_time(path: Path, primary: fits.Header, science: fits.Header) -> float:
    """Give EXPTIME in seconds: of the primary header, which AstroDrizzle uses, else of SCI. 0 is allowed."""
    for header in (primary, science):
        seconds = number(header, "EXPTIME")
        if seconds is not None and seconds >= 0.0:
            return seconds
    raise ExposureError(
        f"{path}[PRIMARY]: EXPTIME {found(primary, 'EXPTIME')}, expected the exposure time in seconds."
    )


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
    if proposal is not None and proposal > 0:
        return int(proposal)
    parsed = parse_exposure_filename(filename)
    return None if parsed is None else parsed.proposal_id


def chip_number(science: fits.Header, detector: Detector, extver: int) -> int:
    """Give the number of the detector chip: CCDCHIP (WFPC2: DETECTOR), else EXTVER."""
    chip = number(science, "DETECTOR" if detector.instrument == "wfpc2" else "CCDCHIP")
    # Detectors of one chip may carry -999.
    return int(chip) if chip is not None and chip > 0 else extver


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
    gains_found = [gain for keyword in amplifiers if (gain := number(primary, keyword) or 0.0) > 0.0]
    if not gains_found and (gain := number(primary, whole) or 0.0) > 0.0:
        gains_found = [gain]
    if not gains_found:
        raise ExposureError(
            f"{path}[PRIMARY]: none of {', '.join(detector.gain_keywords)} holds a gain, "
            "expected one to turn counts into electrons."
        )
    return sum(gains_found) / len(gains_found)


def nominal_scale(science: fits.Header, detector: Detector, chip_id: int) -> float:
    """Give the nominal pixel scale in arcsec: IDCSCALE, else the detector's own times BINAXIS1."""
    scale = number(science, "IDCSCALE")
    if scale is not None and scale > 0.0:
        return scale
    return detector.nominal_scale(chip_id) * max(number(science, "BINAXIS1") or 1.0, 1.0)


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
