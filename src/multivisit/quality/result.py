"""What the checks of one layer say, and the JSON file that holds it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multivisit.atomic import atomic_path
from multivisit.quality.limits import CHECKS, Verdict, judge, worst

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FORMAT", "Check", "LayerQuality", "checked", "not_run", "quality_name", "write_json"]

FORMAT = "multivisit quality 1"
"""Written into each file; the number grows when a reader of the old files would be misled."""


@dataclass(frozen=True)
class Check:
    """One check of one layer."""

    name: str
    """Its name in `multivisit.quality.limits.CHECKS`."""

    verdict: Verdict
    """What it says."""

    value: float | None
    """What was measured; None if it was not run."""

    explanation: str
    """One sentence about this layer."""

    details: tuple[dict[str, Any], ...] = ()
    """The single measurements behind the value, as plain values."""

    def as_dict(self) -> dict[str, Any]:
        """Give the check with its limits as plain values.

        Returns
        -------
        dict
            Ready for JSON.
        """
        kind = CHECKS[self.name]
        return {
            "name": self.name,
            "title": kind.title,
            "verdict": self.verdict,
            "value": self.value,
            "unit": kind.unit,
            "measures": kind.measures,
            "warn_limit": kind.warn,
            "fail_limit": kind.fail,
            "larger_is_worse": kind.larger_is_worse,
            "explanation": self.explanation,
            "what_to_do": "" if self.verdict == "pass" else kind.advice,
            "details": list(self.details),
        }


@dataclass(frozen=True)
class LayerQuality:
    """Everything that is known about the quality of one layer."""

    product: str
    """File name of the mosaic."""

    sky_cell: str
    """The sky cell."""

    description: dict[str, Any]
    """Instrument, detector, filter, scale and the like, as plain values."""

    grid: dict[str, Any]
    """The output grid as plain values."""

    statistics: dict[str, float]
    """Statistics of the mosaic."""

    exposures: tuple[dict[str, Any], ...]
    """The exposures: name, visit, times, WCS solution, footprints."""

    checks: tuple[Check, ...]
    """The checks."""

    parameters: dict[str, Any] = field(default_factory=dict)
    """Combination parameters."""

    run: dict[str, Any] = field(default_factory=dict)
    """Versions, time and memory."""

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all checks."""
        return worst([check.verdict for check in self.checks])

    def as_dict(self) -> dict[str, Any]:
        """Give everything as plain values.

        Returns
        -------
        dict
            Ready for JSON.
        """
        values = {key: value for key, value in asdict(self).items() if key != "checks"}
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            **values,
            "checks": [check.as_dict() for check in self.checks],
        }


def checked(name: str, value: float, explanation: str, details: Sequence[dict[str, Any]] = ()) -> Check:
    """Judge a value.

    Parameters
    ----------
    name : str
        The check.
    value : float
        What was measured.
    explanation : str
        One sentence.
    details : sequence of dict
        Single measurements.

    Returns
    -------
    Check
        With its verdict.
    """
    return Check(name, judge(CHECKS[name], value), float(value), explanation, tuple(details))


def not_run(name: str, reason: str) -> Check:
    """Say why a check was not run.

    Parameters
    ----------
    name : str
        The check.
    reason : str
        One sentence.

    Returns
    -------
    Check
        Without a value.
    """
    return Check(name, "not run", None, reason)


def quality_name(product_basename: str) -> str:
    """Name of a layer's quality file.

    Parameters
    ----------
    product_basename : str
        The product's name without suffix.

    Returns
    -------
    str
        ``<basename>_quality.json``.
    """
    return f"{product_basename}_quality.json"


def write_json(path: Path, value: Any) -> Path:
    """Write plain values as JSON, numbers that are none as null.

    Parameters
    ----------
    path : Path
        The file.
    value : Any
        Dictionaries, lists, text, numbers.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ProductError
        It cannot be written.
    """
    text = _text(_finite(value), "\n")
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def _text(value: Any, newline: str) -> str:
    """Give plain values as JSON, a line each but for lists of numbers, which are on one line.

    The interpreter writes indented JSON an item at a time, which takes longer than to measure the items.
    """
    inner = newline + " "
    if isinstance(value, dict) and value:
        items = [f"{json.dumps(key)}: {_text(item, inner)}" for key, item in value.items()]
        return "{" + inner + f",{inner}".join(items) + newline + "}"
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return "[" + inner + f",{inner}".join(_text(item, inner) for item in value) + newline + "]"
    return json.dumps(value, allow_nan=False)


def _finite(value: Any) -> Any:
    """Turn numbers into plain finite ones, whatever their type."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        if all(type(item) is float for item in value):
            return [item if math.isfinite(item) else None for item in value]
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
