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
    from collections.abc import Mapping, Sequence

    from multivisit.exposures.model import Chip, Exposure

__all__ = ["background_taken_off", "levels_of_sky_file"]


def levels_of_sky_file(path: Path, members: Sequence[Exposure]) -> SkyLevels:
    """Read the sky levels of exposures from a file.

    Parameters
    ----------
    path : Path
        A text file with a line for each exposure: the name of its file, and its sky level in the units of its
        pixels (BUNIT), or that of each of its chips in the order of the file, separated by blanks. Lines that
        begin with ``#`` and empty ones do not count.
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
    values = _read_values(path, "skyfile")
    brightness: list[float] = []
    of_chips: dict[tuple[int, int], float] = {}
    for exposure_number, exposure in enumerate(members):
        levels = [
            level * file_unit(chip) / chip.nominal_scale**2
            for chip, level in zip(
                exposure.chips, _levels_of(exposure.filename, len(exposure.chips), values, path), strict=True
            )
        ]
        brightness.append(min(levels))
        of_chips |= {(exposure_number, c.extver): v for c, v in zip(exposure.chips, levels, strict=True)}
    n = len(members)
    return SkyLevels(np.array(brightness), (0,) * n, (True,) * n, of_chips=of_chips)


def _levels_of(
    filename: str, n_chips: int, values: Mapping[str, tuple[float, ...]], path: Path, name: str = "skyfile"
) -> tuple[float, ...]:
    """Give the level of each chip of an exposure; one level is that of all."""
    if filename not in values:
        raise ParameterError(
            f"{name}: {path} has no line for {filename}, expected one for each exposure. Add it."
        )
    levels = values[filename]
    if len(levels) == 1:
        return levels * n_chips
    if len(levels) != n_chips:
        raise ParameterError(
            f"{name}: {path} has {len(levels)} levels for {filename}, expected one, or one for each of its "
            f"{n_chips} chips."
        )
    return levels


def background_taken_off(exposure: Exposure, chip: Chip, keyword: str) -> float:
    """Give the sky that a header or a file says was taken off a chip before it came here.

    Parameters
    ----------
    exposure : Exposure
        The exposure.
    chip : Chip
        One of its chips.
    keyword : str
        Keyword of its header that holds the level in the units of its pixels, or ``@`` and the name of a file
        like that of `levels_of_sky_file` (skyuser); empty for none.

    Returns
    -------
    float
        Electrons/s per native pixel; 0 without a keyword.

    Raises
    ------
    ParameterError
        If the chip has no such keyword, or no number in it, or the file cannot be used.
    """
    keyword = keyword.strip()
    if not keyword:
        return 0.0
    if keyword.startswith("@"):
        path, extvers = Path(keyword[1:]), [c.extver for c in exposure.chips]
        levels = _levels_of(exposure.filename, len(extvers), _read_values(path, "skyuser"), path, "skyuser")
        return levels[extvers.index(chip.extver)] * file_unit(chip)
    value = number(chip.header, keyword)
    if value is None:
        raise ParameterError(
            f"skyuser: {chip.path}[SCI,{chip.extver}] has no number in keyword {keyword!r}, expected its sky "
            "level. Name another keyword, or none."
        )
    return value * file_unit(chip)


def _read_values(path: Path, parameter: str) -> dict[str, tuple[float, ...]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ParameterError(f"{parameter}: {path} cannot be read: {reason}.") from error
    values: dict[str, tuple[float, ...]] = {}
    for n, line in enumerate(lines, start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        try:
            levels = tuple(float(word) for word in words[1:])
        except ValueError:
            levels = ()
        if not levels or not all(math.isfinite(level) for level in levels):
            raise ParameterError(
                f"{parameter}: {path}, line {n}: found {line.strip()!r}, expected the name of an exposure's "
                "file and its sky level, or one for each chip."
            )
        values[Path(words[0]).name.removesuffix(".gz")] = levels
    return values
