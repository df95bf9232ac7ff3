"""What is known of each Hubble detector: its keywords, its units, its scale, its names."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "DETECTORS",
    "WFPC2_GAINS",
    "Detector",
    "ExposureName",
    "find_detector",
    "normalise_filter",
    "normalise_units",
    "parse_exposure_filename",
]


@dataclass(frozen=True)
class Detector:
    """The facts about one detector that its headers do not tell."""

    instrument: str
    """Lower-case name of the instrument: ``acs``, ``wfc3`` or ``wfpc2``."""

    name: str
    """Lower-case name of the detector in products: ``wfc``, ``hrc``, ``sbc``, ``uvis``, ``ir`` or ``pc``."""

    chip_shape: tuple[int, int]
    """Rows and columns of a full-frame chip."""

    n_chips: int
    """Chips (SCI extensions) of a full-frame exposure."""

    nominal_scales: tuple[float, ...]
    """Nominal pixel scale in arcsec of chips 1, 2, ...; one value when all chips have the same."""

    native_units: str
    """Units of the calibrated pixels where BUNIT is missing."""

    filter_keywords: tuple[str, ...]
    """Keywords of the primary header that name the filters, in wheel order."""

    gain_keywords: tuple[str, ...]
    """Keywords of the primary header with the gain (electrons per count), for pixels in counts; () where a
    count is an electron."""

    def nominal_scale(self, chip_id: int) -> float:
        """Nominal pixel scale of one chip in arcsec."""
        if len(self.nominal_scales) == 1:
            return self.nominal_scales[0]
        return self.nominal_scales[min(max(chip_id, 1), len(self.nominal_scales)) - 1]


_CCD_GAINS = ("ATODGNA", "ATODGNB", "ATODGNC", "ATODGND", "CCDGAIN")

DETECTORS: tuple[Detector, ...] = (
    Detector("acs", "wfc", (2048, 4096), 2, (0.05,), "ELECTRONS", ("FILTER1", "FILTER2"), _CCD_GAINS),
    Detector("acs", "hrc", (1024, 1024), 1, (0.025,), "ELECTRONS", ("FILTER1", "FILTER2"), _CCD_GAINS),
    Detector("acs", "sbc", (1024, 1024), 1, (0.025,), "COUNTS", ("FILTER1", "FILTER2"), ()),
    Detector("wfc3", "uvis", (2051, 4096), 2, (0.03962,), "ELECTRONS", ("FILTER",), _CCD_GAINS),
    Detector("wfc3", "ir", (1014, 1014), 1, (0.12825,), "ELECTRONS/S", ("FILTER",), _CCD_GAINS),
    Detector(
        "wfpc2",
        "pc",
        (800, 800),
        4,
        (0.0455, 0.0996, 0.0996, 0.0996),
        "COUNTS",
        ("FILTNAM1", "FILTNAM2"),
        ("ATODGAIN",),
    ),
)
"""The detectors whose exposures can be combined. Scales are those of the distortion reference files."""

WFPC2_GAINS: dict[int, tuple[float, float, float, float]] = {
    7: (7.12, 7.12, 6.90, 7.10),
    15: (13.99, 14.50, 13.95, 13.95),
}
"""Measured gain (electrons per count) of WFPC2 chips 1 to 4 for each commanded gain ATODGAIN
(WFPC2 Instrument Handbook, table 4.2)."""

_UNITS = {
    "ELECTRONS": "ELECTRONS",
    "ELECTRON": "ELECTRONS",
    "E-": "ELECTRONS",
    "E": "ELECTRONS",
    "COUNTS": "COUNTS",
    "COUNT": "COUNTS",
    "DN": "COUNTS",
    "ADU": "COUNTS",
}
_PER_SECOND = ("/S", "/SEC", "/SECOND", " S-1", "S**-1", " S^-1")


def find_detector(instrument: str, detector: str) -> Detector | None:
    """Find a detector by the values of INSTRUME and DETECTOR.

    Parameters
    ----------
    instrument, detector : str
        Names in any case. For WFPC2 the detector does not matter: all its exposures count as ``pc``.

    Returns
    -------
    Detector or None
        None for a detector whose exposures are not combined.
    """
    instrument = instrument.strip().lower()
    detector = "pc" if instrument == "wfpc2" else detector.strip().lower()
    for known in DETECTORS:
        if (known.instrument, known.name) == (instrument, detector):
            return known
    return None


def normalise_units(units: str) -> str | None:
    """Give the units of pixels in one spelling.

    Parameters
    ----------
    units : str
        Value of BUNIT.

    Returns
    -------
    str or None
        ``ELECTRONS``, ``ELECTRONS/S``, ``COUNTS`` or ``COUNTS/S``; None for anything else.
    """
    text = units.strip().upper()
    if text == "CPS":
        return "COUNTS/S"
    for ending in _PER_SECOND:
        if text.endswith(ending):
            base = _UNITS.get(text.removesuffix(ending).strip())
            return None if base is None else f"{base}/S"
    return _UNITS.get(text)


def normalise_filter(filter1: str | None, filter2: str | None = None) -> str:
    """Give the filter name that layers and products carry.

    ``CLEAR*`` and ``N/A`` elements are dropped, a polarizer goes second, two filters are joined by a hyphen.

    Parameters
    ----------
    filter1, filter2 : str or None
        The elements of the two filter wheels, any case; None or blank for none.

    Returns
    -------
    str
        For example ``f775w``, ``f606w-pol60v`` or ``clear``.
    """
    elements = [(element or "").strip().lower() for element in (filter1, filter2)]
    elements = [e for e in elements if e and not e.startswith("clear") and e not in ("n/a", "na", "none")]
    elements.sort(key=lambda element: element.startswith("pol"))
    return "-".join(elements) or "clear"


@dataclass(frozen=True)
class ExposureName:
    """What the name of an exposure file says."""

    rootname: str
    """Rootname in lower case: 9 characters (``jbl70rtvq``) in pipeline names, 8 in single-visit names."""

    file_type: str
    """``flt``, ``flc``, ``c0m`` or whatever suffix the name has (``raw``, ``drz``, ``c1m``...)."""

    proposal_id: int | None = None
    """Proposal number, in single-visit names only."""

    visit: str | None = None
    """Visit, in single-visit names only."""

    instrument: str | None = None
    """Instrument, in single-visit names only."""

    detector: str | None = None
    """Detector, in single-visit names only."""

    filter_name: str | None = None
    """Filter, in single-visit names only."""


_PIPELINE_NAME = re.compile(
    r"(?P<rootname>[a-z][a-z0-9]{7,8})_(?P<file_type>[a-z0-9]{3})\.fits", re.IGNORECASE
)
_SVM_NAME = re.compile(
    r"hst_(?P<proposal>\d+)_(?P<visit>[a-z0-9]{2})_(?P<instrument>[a-z0-9]+)_(?P<detector>[a-z0-9]+)"
    r"_(?P<filter>[a-z0-9-]+)_(?P<rootname>[a-z0-9]{8,9})_(?P<file_type>[a-z0-9]{3})\.fits",
    re.IGNORECASE,
)


def parse_exposure_filename(name: str) -> ExposureName | None:
    """Take the name of an exposure file apart.

    Parameters
    ----------
    name : str
        File name without folder: a pipeline name (``jbl70rtvq_flc.fits``) or a single-visit name
        (``hst_12286_0r_acs_wfc_f775w_jbl70rtv_flc.fits``), with or without ``.gz``.

    Returns
    -------
    ExposureName or None
        None where the name has neither form.
    """
    name = name.lower().removesuffix(".gz")
    if match := _PIPELINE_NAME.fullmatch(name):
        return ExposureName(match["rootname"], match["file_type"])
    if match := _SVM_NAME.fullmatch(name):
        return ExposureName(
            rootname=match["rootname"],
            file_type=match["file_type"],
            proposal_id=int(match["proposal"]),
            visit=match["visit"],
            instrument=match["instrument"],
            detector=match["detector"],
            filter_name=match["filter"],
        )
    return None
