"""The default combination parameters of every detector and condition: a base and what differs from it.

The values are those that the published multi-visit parameter files give when the ones that apply are merged.
The published choice of a condition differs in two points from the one here:

* It takes the single-exposure parameters (every pixel good, no sky subtraction) by the mean number of
  exposures a pixel, so that two visits which overlap little are summed with their cosmic rays and their sky.
  Here they are for layers of one exposure; ``published_conditions=True`` chooses as published.
* For ACS/SBC it asks for parameters that do not exist and falls back on general ones, with sky subtraction
  and cosmic-ray rejection. Here ACS/SBC has the parameters that were meant for it.

The published files ask for a context extension, which the published code then leaves out: it is off here.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal

from multivisit.errors import ParameterError
from multivisit.plan.parameters.model import CombinationParameters

__all__ = ["Condition", "combination_parameters", "condition_of"]

Condition = Literal["single", "several", "blue", "many_blue"]
"""One exposure; several; several far-ultraviolet ones of ACS/SBC; six or more of these."""

_BLUE_FILTERS: Final = ("f115lp", "f122m")
_MANY_BLUE: Final = 6

_BASE: Final[dict[str, Any]] = {
    "skysub": True,
    "skymethod": "match",
    "skystat": "median",
    "skywidth": 0.1,
    "skylower": -100.0,
    "skyupper": None,
    "skyclip": 5,
    "skylsigma": 4.0,
    "skyusigma": 4.0,
    "use_static": True,
    "static": True,
    "static_sig": 4.0,
    "final_kernel": "square",
    "final_pixfrac": 1.0,
    "final_wht_type": "EXP",
    "final_wt_scl": "exptime",
    "final_units": "cps",
    "final_fillval": None,
    "context": False,
}
"""What all detectors have in common."""

_EVERY_PIXEL: Final[dict[str, Any]] = {"skysub": False, "final_bits": "65535"}
"""A single exposure: no sky subtraction, and every pixel is good."""

_OVERRIDES: Final[dict[tuple[str, str], dict[Condition, dict[str, Any]]]] = {
    ("acs", "wfc"): {
        "single": {**_EVERY_PIXEL, "sky_bits": "16"},
        "several": {"sky_bits": "80", "final_bits": "80"},
    },
    ("acs", "hrc"): {
        "single": {**_EVERY_PIXEL, "sky_bits": "0"},
        "several": {"sky_bits": "80", "final_bits": "80"},
    },
    ("acs", "sbc"): {
        "single": {**_EVERY_PIXEL, "sky_bits": "0", "static": False},
        "several": {"skysub": False, "skystat": "mean", "sky_bits": "0", "final_bits": "0", "static": False},
        "blue": {"skystat": "mean", "sky_bits": "0", "final_bits": "0", "static": False},
        "many_blue": {
            "skystat": "mean",
            "sky_bits": "0",
            "final_bits": "0",
            "static": False,
            "final_pixfrac": 0.8,
        },
    },
    ("wfc3", "uvis"): {
        "single": {**_EVERY_PIXEL, "sky_bits": "80"},
        "several": {"sky_bits": "80", "final_bits": "80"},
    },
    ("wfc3", "ir"): {
        "single": {**_EVERY_PIXEL, "sky_bits": "16"},
        "several": {"sky_bits": "16", "final_bits": "528"},
    },
    ("wfpc2", "pc"): {
        "single": {**_EVERY_PIXEL, "sky_bits": "8,1024"},
        "several": {"sky_bits": "8,1024", "final_bits": "2,8,1024"},
    },
}
"""What each detector and condition has of its own."""


def condition_of(
    instrument: str,
    detector: str,
    filter_name: str,
    n_exposures: int,
    *,
    published_conditions: bool = False,
    mean_exposures: float | None = None,
) -> Condition:
    """Choose the condition that applies to a layer; the arguments are those of `combination_parameters`."""
    if (instrument, detector) not in _OVERRIDES:
        known = ", ".join("/".join(each) for each in _OVERRIDES)
        raise ParameterError(f"there are no parameters for {instrument}/{detector}, expected one of {known}")
    number = float(n_exposures)
    if published_conditions:
        if mean_exposures is None:
            raise ParameterError("mean_exposures: found None, expected a number for the published conditions")
        number = float(mean_exposures)
    if not (math.isfinite(number) and number > 0):
        raise ParameterError(f"number of exposures: found {number:g}, expected more than 0")
    count = max(1, round(number))
    if count == 1:
        return "single"
    if detector == "sbc" and filter_name.lower() in _BLUE_FILTERS:
        return "many_blue" if count >= _MANY_BLUE else "blue"
    return "several"


def combination_parameters(
    instrument: str,
    detector: str,
    filter_name: str,
    n_exposures: int,
    *,
    published_conditions: bool = False,
    mean_exposures: float | None = None,
) -> CombinationParameters:
    """Give the default combination parameters of a layer.

    Parameters
    ----------
    instrument, detector, filter_name : str
        Names in lower case, for example 'acs', 'wfc', 'f775w'.
    n_exposures : int
        How many exposures the layer has.
    published_conditions : bool, optional
        Choose by `mean_exposures` instead, rounded to a whole number (halves to even), as the published code.
    mean_exposures : float, optional
        Mean number of exposures over the observed pixels of the layer.

    Returns
    -------
    CombinationParameters
        Base values with those of the detector and condition.

    Raises
    ------
    ParameterError
        If there is no such detector, or the number of exposures is impossible or missing.
    """
    condition = condition_of(
        instrument,
        detector,
        filter_name,
        n_exposures,
        published_conditions=published_conditions,
        mean_exposures=mean_exposures,
    )
    return CombinationParameters(**{**_BASE, **_OVERRIDES[instrument, detector][condition]})
