"""What makes noise in a chip besides its light, and which way it is read out, by its headers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from multivisit.exposures.headers import number, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multivisit.exposures.model import Chip, Exposure

__all__ = ["READ_NOISE_KEYWORDS", "cte_direction", "dark_electrons", "read_noise"]

READ_NOISE_KEYWORDS = ("READNSEA", "READNSEB", "READNSEC", "READNSED")
"""Keywords of the four amplifiers' read noise, electrons."""

_LARGEST_READ_NOISE = 1000.0
_LARGEST_DARK = 1e6

_READ_NOISES = {
    ("acs", "wfc"): 4.0,
    ("acs", "hrc"): 4.7,
    ("acs", "sbc"): 0.0,
    ("wfc3", "uvis"): 3.1,
    ("wfc3", "ir"): 20.0,
}
"""Electrons, where headers do not tell (instrument handbooks); WFC3/IR: two reads, as its headers say."""

_WFPC2_READ_NOISES = {7: (5.24, 5.51, 5.22, 5.19), 15: (7.02, 7.84, 6.99, 8.32)}
"""Electrons of chips 1 to 4 for each ATODGAIN (WFPC2 Instrument Handbook, table 4.2)."""


def read_noise(exposure: Exposure, chip: Chip, keywords: Sequence[str] = READ_NOISE_KEYWORDS) -> float:
    """Give the read noise of a chip.

    Parameters
    ----------
    exposure : Exposure
        The exposure.
    chip : Chip
        One of its chips.
    keywords : sequence of str
        Keywords of the primary header that hold it.

    Returns
    -------
    float
        Electrons: the mean of the keywords with a value above 0, of READNSEA to READNSED those of the
        amplifiers in use (CCDAMP); the detector's usual one where headers do not tell.
    """
    amplifiers = text(exposure.primary, "CCDAMP").upper() or "ABCD"
    unused = {keyword for keyword in READ_NOISE_KEYWORDS if keyword[-1] not in amplifiers}
    found = [number(exposure.primary, keyword) for keyword in keywords if keyword not in unused]
    values = [value for value in found if value is not None and 0.0 < value < _LARGEST_READ_NOISE]
    if values:
        return sum(values) / len(values)
    if exposure.instrument == "wfpc2":
        gain = number(exposure.primary, "ATODGAIN") or 7.0
        return _WFPC2_READ_NOISES[15 if gain > 10.0 else 7][min(max(chip.chip_id, 1), 4) - 1]
    return _READ_NOISES[exposure.instrument, exposure.detector]


def dark_electrons(chip: Chip) -> float:
    """Give the mean dark signal that the calibration took off a chip (MEANDARK).

    Parameters
    ----------
    chip : Chip
        The chip.

    Returns
    -------
    float
        Electrons in the whole exposure; 0 where the header does not tell.
    """
    value = number(chip.header, "MEANDARK")
    return value if value is not None and 0.0 < value < _LARGEST_DARK else 0.0


def cte_direction(exposure: Exposure, chip: Chip) -> int:
    """Tell which way charge is moved along the columns of a chip when it is read.

    Parameters
    ----------
    exposure : Exposure
        The exposure.
    chip : Chip
        One of its chips.

    Returns
    -------
    int
        1 towards higher rows, -1 towards lower ones, 0 for detectors that do not move charge. Trails lie on
        the other side.
    """
    detector = (exposure.instrument, exposure.detector)
    if detector in (("acs", "wfc"), ("wfc3", "uvis")):
        # Of the two chips, the one that is 1 by number lies above and is read at its upper edge.
        return 1 if chip.chip_id == 1 else -1
    if detector == ("acs", "hrc"):
        return 1 if re.match("[AB]", text(exposure.primary, "CCDAMP").upper()) else -1
    return -1 if exposure.instrument == "wfpc2" else 0
