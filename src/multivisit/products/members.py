"""What the members of a layer have in common and where they differ: dates, photometry, WCS solutions."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from multivisit.errors import ProductError
from multivisit.products.keywords import member_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from multivisit.combine.records import ChipRecord
    from multivisit.exposures.model import Chip, Exposure
    from multivisit.plan.layers import Layer
    from multivisit.plan.vetting import Candidate

__all__ = [
    "CombinedChip",
    "Photometry",
    "combined_chips",
    "combined_exposures",
    "combined_photometry",
    "iso_date",
    "wcs_solution",
    "wcs_solutions",
]

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_UNCALIBRATED_SPREAD = 0.01
_INVERSE_SENSITIVITIES = ("PHOTFLAM", "PHOTFNU")
_MEANS = ("PHOTZPT", "PHOTPLAM", "PHOTBW")


@dataclass(frozen=True)
class CombinedChip:
    """A chip, the member of the layer that it belongs to, and what the combination did with it."""

    member: Candidate
    """The member of the layer that it belongs to."""

    chip: Chip
    """The chip."""

    record: ChipRecord
    """The combination's account of the chip."""

    @property
    def exposure(self) -> Exposure:
        """The exposure."""
        return self.member.exposure


def combined_chips(layer: Layer, records: Iterable[ChipRecord]) -> tuple[CombinedChip, ...]:
    """Put the chips of a layer beside the combination's records of them.

    Parameters
    ----------
    layer : Layer
        The layer.
    records : iterable of ChipRecord
        The combination's records.

    Returns
    -------
    tuple of CombinedChip
        In the order of the records, which is that of the context bits.

    Raises
    ------
    ProductError
        If a record's chip is not among the members of the layer.
    """
    chips = {
        (member.exposure.rootname, chip.extver): (member, chip)
        for member in layer.members
        for chip in member.exposure.chips
    }
    combined = []
    for record in records:
        found = chips.get((record.rootname, record.extver))
        if found is None:
            raise ProductError(
                f"{layer.product_filename}: the mosaic contains chip {record.rootname}[sci,{record.extver}], "
                f"which is not among the {len(layer.members)} members of the layer"
            )
        combined.append(CombinedChip(*found, record))
    return tuple(combined)


def combined_exposures(chips: Iterable[CombinedChip]) -> tuple[Exposure, ...]:
    """The exposures that are in a mosaic, the earliest first; those without a start time come last.

    Parameters
    ----------
    chips : iterable of CombinedChip
        The chips of the layer; an exposure without any good pixel in the mosaic is left out.

    Returns
    -------
    tuple of Exposure
        Each exposure once.
    """
    exposures = {str(chip.exposure.path): chip.exposure for chip in chips if chip.record.n_used}
    return tuple(
        sorted(exposures.values(), key=lambda one: (known_mjd(one.start_mjd) or math.inf, one.filename))
    )


def known_mjd(mjd: float | None) -> float | None:
    """A Modified Julian Date, or None for one that a header did not really have.

    Parameters
    ----------
    mjd : float or None
        The date.

    Returns
    -------
    float or None
        The date if it is a positive number.
    """
    return mjd if mjd is not None and math.isfinite(mjd) and mjd > 0 else None


def iso_date(mjd: float) -> str:
    """Write a Modified Julian Date as a calendar date and time.

    Parameters
    ----------
    mjd : float
        The date, UTC.

    Returns
    -------
    str
        For example ``2011-02-19T00:40:14.705``, to the millisecond.
    """
    moment = _MJD_EPOCH + timedelta(milliseconds=round(mjd * 86_400_000))
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Photometry:
    """The photometric calibration of a mosaic."""

    keywords: dict[str, float | str]
    """Values by keyword; without those that no member has."""

    notes: tuple[str, ...]
    """What a user of the values should know."""


def combined_photometry(chips: Sequence[CombinedChip]) -> Photometry:
    """Combine the photometric keywords of the chips of a mosaic.

    A source of flux density F gives F / PHOTFLAM electrons per second in each chip, and the mosaic has the
    mean of those weighted by the exposure time. So the mosaic's PHOTFLAM is the weighted harmonic mean of the
    chips', PHOTFNU likewise; the wavelengths and the zero point are weighted means.

    Parameters
    ----------
    chips : sequence of CombinedChip
        The chips; a keyword is looked up in the SCI header, then in the PRIMARY header (WFC3/IR).

    Returns
    -------
    Photometry
        PHOTMODE (that of the first chip), PHOTFLAM, PHOTFNU, PHOTZPT, PHOTPLAM, PHOTBW, and notes where the
        chips differ in PHOTFLAM by more than one per cent, or where some have none.
    """
    keywords: dict[str, float | str] = {}
    notes: list[str] = []
    modes = [mode for chip in chips if isinstance(mode := _chip_value(chip, "PHOTMODE"), str)]
    if modes:
        keywords["PHOTMODE"] = modes[0]
    for keyword in _INVERSE_SENSITIVITIES:
        values = _weighted_values(chips, keyword, positive=True)
        if values:
            keywords[keyword] = _same_or_mean(values, harmonic=True)
    notes += _photflam_notes(chips)
    for keyword in _MEANS:
        values = _weighted_values(chips, keyword)
        if values:
            keywords[keyword] = _same_or_mean(values, harmonic=False)
    return Photometry(keywords, tuple(notes))


def _chip_value(chip: CombinedChip, keyword: str) -> object:
    """A keyword of the SCI header, else of the PRIMARY header, else None."""
    value = member_value(chip.chip.header, keyword)
    return member_value(chip.exposure.primary, keyword) if value is None else value


def _weighted_values(
    chips: Sequence[CombinedChip], keyword: str, *, positive: bool = False
) -> list[tuple[float, float]]:
    """Numerical values of a keyword with their weights; an unknown or useless one is not there."""
    values = []
    for chip in chips:
        value = _chip_value(chip, keyword)
        if isinstance(value, int | float) and not isinstance(value, bool) and (value > 0 or not positive):
            values.append((float(value), _weight(chip)))
    return values


def _weight(chip: CombinedChip) -> float:
    """What a chip contributes: exposure time times pixels used; not quite 0, so that means exist."""
    return max(float(chip.record.exposure_time * chip.record.n_used), 1e-30)


def _same_or_mean(values: Sequence[tuple[float, float]], *, harmonic: bool) -> float:
    """The common value, exactly, or else the weighted mean."""
    if len({value for value, _ in values}) == 1:
        return values[0][0]
    total = sum(weight for _, weight in values)
    if harmonic:
        return total / sum(weight / value for value, weight in values)
    return sum(weight * value for value, weight in values) / total


def _photflam_notes(chips: Sequence[CombinedChip]) -> list[str]:
    """Say where the chips' sensitivities differ or are not known."""
    values = [value for value, _ in _weighted_values(chips, "PHOTFLAM", positive=True)]
    if not values:
        return ["No member has PHOTFLAM: the mosaic has no photometric calibration"]
    notes = []
    if max(values) > min(values) * (1 + _UNCALIBRATED_SPREAD):
        notes.append(
            f"Members differ in PHOTFLAM by {100 * (max(values) / min(values) - 1):.1f} per cent "
            f"({min(values):.6g} to {max(values):.6g}): the mosaic's is their mean weighted by exposure "
            "time, right where all of them overlap"
        )
    if len(values) < len(chips):
        notes.append(f"{len(chips) - len(values)} of {len(chips)} chips have no PHOTFLAM")
    return notes


def wcs_solution(wcs_name: str | None) -> str:
    """The astrometric part of a WCSNAME: what the pointing was corrected with.

    Parameters
    ----------
    wcs_name : str or None
        For example ``IDC_2731450pi-FIT_SVM_GAIAeDR3``.

    Returns
    -------
    str
        For that example ``FIT_SVM_GAIAeDR3``; ``none`` for a name of the distortion model alone; the whole
        name if it is of another form; ``unnamed`` if there is none.
    """
    name = (wcs_name or "").strip()
    if not name:
        return "unnamed"
    base, _, solution = name.partition("-")
    if base.upper().startswith("IDC"):
        return solution or "none"
    return name


def wcs_solutions(chips: Iterable[CombinedChip]) -> dict[str, int]:
    """Count the WCS solutions of a mosaic's chips.

    Parameters
    ----------
    chips : iterable of CombinedChip
        The chips.

    Returns
    -------
    dict of str to int
        Number of chips by astrometric solution (`wcs_solution`), the most frequent first.
    """
    return dict(Counter(wcs_solution(chip.chip.wcs_name) for chip in chips).most_common())
