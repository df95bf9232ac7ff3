"""Which condition applies to a product: by detector, filter, number of exposures and date."""

from __future__ import annotations

import math
from typing import Final, Literal

from multivisit.errors import ParameterError
from multivisit.plan.parameters.defaults import ASTRODRIZZLE, IR, PC, SBC, UVIS
from multivisit.plan.parameters.values import Pipeline

__all__ = ["POST_FLASH_MJD", "ProductKind", "check_detector", "condition_of"]

ProductKind = Literal["filter", "total", "exposure"]
"""A product of one filter (a multi-visit layer is one), of all filters of a detector, or of one exposure."""

POST_FLASH_MJD: Final = 56239.12448
"""2012-11-08T02:59:15 UTC: from then on WFC3/UVIS exposures may be post-flashed."""

_BLUE_FILTERS: Final = ("f115lp", "f122m")
_GRISMS: Final = ("g102", "g141")

# The numbers of exposures from which a single-visit condition of a detector holds.
_STEPS: Final = {IR: (2, 4), PC: (2, 3, 4)}
_USUAL_STEPS: Final = (2, 6)


def check_detector(instrument: str, detector: str) -> tuple[str, str]:
    """Return the detector's names together, if there are parameters for it.

    Parameters
    ----------
    instrument, detector : str
        Names in lower case.

    Returns
    -------
    tuple of str
        Both.

    Raises
    ------
    ParameterError
        There are none.
    """
    if (instrument, detector) not in ASTRODRIZZLE["mvm"]:
        known = ", ".join("/".join(each) for each in ASTRODRIZZLE["mvm"])
        raise ParameterError(f"there are no parameters for {instrument}/{detector}, expected one of {known}")
    return instrument, detector


def condition_of(
    instrument: str,
    detector: str,
    filter_name: str,
    n_exposures: int,
    *,
    pipeline: Pipeline = "mvm",
    product: ProductKind = "filter",
    mjd: float | None = None,
    published_conditions: bool = False,
    mean_exposures: float | None = None,
) -> str:
    """Choose the condition that applies to a product; the arguments are those of `parameter_set`."""
    names = check_detector(instrument, detector)
    number = float(n_exposures)
    if published_conditions:
        if mean_exposures is None:
            raise ParameterError("mean_exposures: found None, expected a number for the published conditions")
        number = float(mean_exposures)
    if not (math.isfinite(number) and number > 0):
        raise ParameterError(f"number of exposures: found {number:g}, expected more than 0")
    count = max(1, round(number))
    is_old = mjd is not None and mjd < POST_FLASH_MJD
    if count == 1:
        return "any_n1"
    if product == "exposure":
        return "single_basic"
    if product == "total":
        suffix = ("_pre" if is_old else "_post") if names == UVIS else ""
        return f"total_basic{suffix}"
    if pipeline == "mvm":
        return _multi_visit(names, filter_name.lower(), count)
    return _single_visit(names, filter_name.lower(), count, is_old=is_old)


def _multi_visit(names: tuple[str, str], filter_name: str, count: int) -> str:
    if names == SBC and filter_name in _BLUE_FILTERS:
        return "blue_n6" if count >= _USUAL_STEPS[1] else "blue_n2"
    if names == IR and filter_name in _GRISMS:
        return "filter_basic"
    return "post_n2" if names == UVIS else "any_n2"


def _single_visit(names: tuple[str, str], filter_name: str, count: int, *, is_old: bool) -> str:
    if names == SBC and filter_name not in _BLUE_FILTERS:
        return "any_any"
    prefix = "any"
    if names == SBC:
        prefix = "blue"
    elif names == UVIS:
        prefix = "pre" if is_old else "post"
    elif names == IR and filter_name in _GRISMS:
        prefix = "grism"
    step = max(each for each in _STEPS.get(names, _USUAL_STEPS) if each <= count)
    return f"{prefix}_n{step}"
