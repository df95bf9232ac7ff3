"""Sky levels that a user gives in a file (skyfile), or that headers say were taken off before (skyuser)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine.sky_levels import SkyLevels
from multivisit.combine.survey import file_unit
from multivisit.errors import ParameterError
from multivisit.exposures.headers import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multivisit.exposures.model import Chip, Exposure

__all__ = ["background_taken_off", "levels_of_sky_file"]


def levels_of_sky_file(path: Path, members: Sequence[Exposure]) -> SkyLevels:
    """Read the sky levels of exposures from a file.

    Parameters
    ----------
    path : Path
        A text file with a line for each exposure: the name of its file, and its sky level in the units of its
        pixels (BUNIT), separated by blanks. Lines that begin with ``#`` and empty ones do not count.
    members : sequence of Exposure
        The exposures of a layer.

    Returns
    -------
    SkyLevels
        Their levels.

    Raises
    ------
    ParameterError
        If the file cannot be read, a line cannot be understood, or an exposure is not in it.
    """
    values = _read_values(path)
    brightness = []
    for exposure in members:
        if exposure.filename not in values:
            raise ParameterError(
                f"skyfile: {path} has no line for {exposure.filename}, expected one for each exposure. Add "
                "it."
            )
        chip = exposure.chips[0]
        brightness.append(values[exposure.filename] * file_unit(chip) / chip.nominal_scale**2)
    n = len(members)
    return SkyLevels(np.array(brightness), (0,) * n, (True,) * n)


def background_taken_off(chip: Chip, keyword: str) -> float:
    """Give the sky that a header says was taken off a chip before it came here.

    Parameters
    ----------
    chip : Chip
        The chip.
    keyword : str
        Keyword of its header that holds the level in the units of its pixels (skyuser); empty for none.

    Returns
    -------
    float
        Electrons/s per native pixel; 0 without a keyword.

    Raises
    ------
    ParameterError
        If the chip has no such keyword, or no number in it.
    """
    if not keyword:
        return 0.0
    value = number(chip.header, keyword)
    if value is None:
        raise ParameterError(
            f"skyuser: {chip.path}[SCI,{chip.extver}] has no number in keyword {keyword!r}, expected its sky "
            "level. Name another keyword, or none."
        )
    return value * file_unit(chip)


def _read_values(path: Path) -> dict[str, float]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ParameterError(f"skyfile: {path} cannot be read: {reason}.") from error
    values: dict[str, float] = {}
    for n, line in enumerate(lines, start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        try:
            name, value = words[0], float(words[1])
        except (IndexError, ValueError):
            name, value = "", math.nan
        if not math.isfinite(value) or len(words) > 2:
            raise ParameterError(
                f"skyfile: {path}, line {n}: found {line.strip()!r}, expected the name of an exposure's file "
                "and its sky level."
            )
        values[Path(name).name.removesuffix(".gz")] = value
    return values
