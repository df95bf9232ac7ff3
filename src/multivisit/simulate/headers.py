"""The headers of simulated exposures: the keywords that the archive's calibrated exposures carry."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.simulate.geometry import wcs_cards

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.io import fits

    from multivisit.simulate.detectors import Detector
    from multivisit.simulate.geometry import ChipGeometry, DetectorGeometry, Pointing, Window

__all__ = ["ExposureIdentity", "chip_header", "plain_header", "primary_header"]

_MJD_EPOCH = datetime.datetime(1858, 11, 17)
_COMMENTS = {
    "FILENAME": "name of file",
    "ROOTNAME": "rootname of the observation set",
    "TELESCOP": "telescope used to acquire data",
    "INSTRUME": "identifier for instrument used to acquire data",
    "DETECTOR": "detector in use",
    "TARGNAME": "name of the target",
    "RA_TARG": "right ascension of the target (deg)",
    "DEC_TARG": "declination of the target (deg)",
    "PROPOSID": "proposal number",
    "LINENUM": "visit and exposure number",
    "DATE-OBS": "UT date of start of observation",
    "TIME-OBS": "UT time of start of observation",
    "EXPSTART": "exposure start time (Modified Julian Date)",
    "EXPEND": "exposure end time (Modified Julian Date)",
    "EXPTIME": "exposure duration (seconds)",
    "PA_V3": "position angle of V3-axis of HST (deg)",
    "ORIENTAT": "position angle of image y axis (deg, E of N)",
    "BUNIT": "brightness units",
    "CCDCHIP": "CCD chip",
    "LTV1": "offset in X to subsection start",
    "LTV2": "offset in Y to subsection start",
    "VAFACTOR": "velocity aberration plate scale factor",
    "PHOTFLAM": "inverse sensitivity, ergs/cm2/A/e-",
    "PHOTPLAM": "pivot wavelength (Angstroms)",
    "PHOTBW": "RMS bandwidth of filter plus detector",
    "PHOTZPT": "ST magnitude zero point",
    "IDCSCALE": "pixel scale from the IDCTAB reference file",
    "SIMULATE": "no real data: made by multivisit",
}


@dataclass(frozen=True)
class ExposureIdentity:
    """What an exposure is called and when and how it was taken."""

    filename: str
    """Name of the file."""

    rootname: str
    """Nine characters."""

    proposal_id: int
    """PROPOSID."""

    line_number: str
    """LINENUM: visit and exposure, ``01.002``."""

    filter_name: str
    """Filter in lower case."""

    start: datetime.datetime
    """Start (UTC)."""

    exposure_time: float
    """Seconds."""

    target: tuple[float, float]
    """Centre of the field, degrees."""

    pointing: Pointing
    """Where the headers say that the aperture looks."""

    wcs_name: str
    """WCSNAME."""

    is_subarray: bool
    """Whether only a part of each chip is read."""

    @property
    def start_mjd(self) -> float:
        """Start as Modified Julian Date."""
        return (self.start - _MJD_EPOCH) / datetime.timedelta(days=1)

    @property
    def end_mjd(self) -> float:
        """End as Modified Julian Date."""
        return self.start_mjd + self.exposure_time / 86400.0


@cache
def _templates() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    path = resources.files("multivisit.simulate") / "data" / "header_cards.json"
    content: dict[str, dict[str, dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _set(header: fits.Header, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        plain = value.item() if isinstance(value, np.generic) else value
        comment = _COMMENTS.get(name)
        header[name] = plain if comment is None else (plain, comment)


def primary_header(
    identity: ExposureIdentity, detector: Detector, geometry: DetectorGeometry, n_extensions: int
) -> fits.Header:
    """The primary header of an exposure."""
    from astropy.io import fits

    header = fits.Header()
    _set(header, _templates()[detector.label]["primary"])
    wheels = detector.wheel_names(identity.filter_name)
    filters = (
        {"FILTER": wheels[0]} if len(wheels) == 1 else dict(zip(("FILTER1", "FILTER2"), wheels, strict=True))
    )
    root = identity.rootname
    _set(
        header,
        {
            "FILENAME": identity.filename,
            "ROOTNAME": root,
            "IPPPSSOO": root,
            "NEXTEND": n_extensions,
            "ORIGIN": "multivisit simulate",
            "SIMULATE": True,
            "DATE": identity.start.date().isoformat(),
            "TARGNAME": "SIMULATED-FIELD",
            "RA_TARG": identity.target[0],
            "DEC_TARG": identity.target[1],
            "PROPOSID": identity.proposal_id,
            "LINENUM": identity.line_number,
            "PR_INV_L": "Nobody",
            "PR_INV_F": "",
            "PR_INV_M": "",
            "DATE-OBS": identity.start.strftime("%Y-%m-%d"),
            "TIME-OBS": identity.start.strftime("%H:%M:%S"),
            "EXPSTART": identity.start_mjd,
            "EXPEND": identity.end_mjd,
            "EXPTIME": float(identity.exposure_time),
            "PA_V3": identity.pointing.roll,
            "SUBARRAY": identity.is_subarray,
            **filters,
            "ASN_ID": "NONE",
            "ASN_TAB": "NONE",
            "ASN_MTYP": "",
            "IDCTAB": geometry.names["IDCTAB"],
            "NPOLFILE": geometry.names["NPOLFILE"],
            "D2IMFILE": geometry.names["D2IMFILE"],
            "DGEOFILE": "N/A",
            "SIPNAME": f"{root}_{geometry.names['SIPNAME']}",
            "DISTNAME": f"{root}_{geometry.names['DISTNAME']}",
        },
    )
    if detector.detector in ("uvis", "ir"):
        _set(header, _photometry(identity, detector, 1))
    if detector.detector != "ir":
        # The template says 1 for an amplifier that reads the detector and 0 for one that does not.
        for amplifier in "ABCD":
            for name, value in (("READNSE", detector.read_noise), ("ATODGN", detector.gain)):
                if name + amplifier in header:
                    header[name + amplifier] *= value
    return header


def _photometry(identity: ExposureIdentity, detector: Detector, chip_id: int) -> dict[str, Any]:
    bandpass = detector.bandpass(identity.filter_name)
    name = detector.detector.upper() + (str(chip_id) if detector.detector in ("wfc", "uvis") else "")
    mode = f"{detector.instrument.upper()} {name} {identity.filter_name.upper().replace('-', ' ')}"
    values = {
        "PHOTMODE": f"{mode} MJD#{identity.start_mjd:.4f}",
        "PHOTFLAM": bandpass.photflam,
        "PHOTZPT": -21.1,
        "PHOTPLAM": bandpass.photplam,
        "PHOTBW": bandpass.photbw,
    }
    if detector.instrument == "wfc3":
        values["PHOTFNU"] = bandpass.photfnu
    if detector.detector == "uvis":
        values.update({"PHTFLAM1": bandpass.photflam, "PHTFLAM2": bandpass.photflam, "PHTRATIO": 1.0})
    return values


def chip_header(
    identity: ExposureIdentity,
    detector: Detector,
    geometry: DetectorGeometry,
    chip: ChipGeometry,
    window: Window,
    first_versions: Mapping[str, int],
) -> fits.Header:
    """The header of a chip's SCI extension, with its full WCS."""
    header = plain_header(identity, detector, chip, window)
    _set(header, _templates()[detector.label]["chip"])
    header["BUNIT"] = (detector.units, _COMMENTS["BUNIT"])
    _set(header, _photometry(identity, detector, chip.chip_id))
    _set(
        header,
        {
            "RA_APER": identity.pointing.ra,
            "DEC_APER": identity.pointing.dec,
            "PA_APER": (identity.pointing.roll + geometry.aperture_angle + 180.0) % 360.0 - 180.0,
            "VAFACTOR": geometry.vafactor,
            "CENTERA1": window.x0 + window.shape[1] // 2,
            "CENTERA2": window.y0 + window.shape[0] // 2,
            "SIZAXIS1": window.shape[1],
            "SIZAXIS2": window.shape[0],
            "MDRIZSKY": 0.0,
        },
    )
    if detector.detector == "ir":
        times = {"SAMPTIME": float(identity.exposure_time), "ROUTTIME": identity.end_mjd}
        _set(header, {**times, "DELTATIM": float(identity.exposure_time)})
    header.extend(wcs_cards(chip, identity.pointing, window, first_versions))
    header["WCSNAME"] = identity.wcs_name
    _set(header, chip.idc)
    header["IDCTAB"] = geometry.names["IDCTAB"]
    for kind, keyword, file in (("CPDIS", "NPOLEXT", "NPOLFILE"), ("D2IM", "D2IMEXT", "D2IMFILE")):
        if any(table.kind == kind for table in chip.tables):
            header[keyword] = geometry.names[file]
    return header


def plain_header(
    identity: ExposureIdentity, detector: Detector, chip: ChipGeometry, window: Window
) -> fits.Header:
    """What all the extensions of a chip have in common (SCI, ERR, DQ, ...)."""
    from astropy.io import fits

    header = fits.Header()
    values: dict[str, Any] = {
        "INHERIT": True,
        "ROOTNAME": identity.rootname,
        "EXPNAME": identity.rootname,
        "BUNIT": "UNITLESS",
        "LTV1": float(-window.x0),
        "LTV2": float(-window.y0),
        "LTM1_1": 1.0,
        "LTM2_2": 1.0,
    }
    if detector.detector in ("wfc", "uvis"):
        values["CCDCHIP"] = chip.chip_id
    _set(header, values)
    return header
