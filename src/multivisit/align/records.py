"""What an alignment found for each exposure: a record, and its table."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multivisit.align.reference import ReferenceCatalog
    from multivisit.exposures.model import Exposure

__all__ = ["Alignment", "AlignmentRecord"]


@dataclass(frozen=True)
class AlignmentRecord:
    """What the alignment did with one exposure. Offsets are new minus old position."""

    filename: str
    """The exposure's file."""

    aligned: bool
    """Whether it has a new WCS solution."""

    reason: str = ""
    """Why it keeps its own; for an aligned one, what is noteworthy."""

    method: str = ""
    """``REL``: with others as one, after these were aligned to each other; ``IMG``: by itself."""

    catalog: str = ""
    """The reference catalog."""

    group: int = 0
    """Number of the group of exposures that were aligned to each other; 0 for none."""

    n_sources: int = 0
    """Sources found in the exposure."""

    n_common: int = 0
    """Of these, sources that other exposures of its group have, too."""

    n_matches: int = 0
    """Of these, reference sources that are in the fit."""

    n_fit: int = 0
    """Reference sources in the fit of the whole group."""

    rms: float = 0.0
    """Root mean square distance of the fit, milliarcsec."""

    rms_common: float = 0.0
    """Root mean square distance of the common sources from their mean over the group, milliarcsec."""

    offset_east: float = 0.0
    """Shift at the middle of the exposure to the East, arcsec."""

    offset_north: float = 0.0
    """Shift to the North, arcsec."""

    rotation: float = 0.0
    """Rotation in degrees, from North to East."""

    scale: float = 1.0
    """Change of the scale."""

    geometry: str = ""
    """Kind of transformation: shift, rshift, rscale or general."""

    false_alarm: float = 1.0
    """Number of wrong shifts that would have had as many matches by chance."""

    old_wcs_name: str = ""
    """WCSNAME before."""

    wcs_name: str = ""
    """WCSNAME now."""

    @property
    def status(self) -> str:
        """The outcome in a word."""
        return "aligned" if self.aligned else "not aligned"

    def in_words(self) -> str:
        """Give the record in one sentence."""
        if not self.aligned:
            return f"{self.filename} keeps its WCS {self.old_wcs_name}: {self.reason}"
        how = f"with group {self.group}" if self.method == "REL" else "by itself"
        matches = f"{self.n_matches} matches" + (f" of {self.n_fit}" if self.method == "REL" else "")
        text = (
            f"{self.filename} aligned to {self.catalog} {how}: {matches}, RMS {self.rms:.1f} mas, "
            f"{self.geometry}, moved {self.offset_east:+.4f} arcsec East, {self.offset_north:+.4f} North, "
            f"turned {self.rotation:+.5f} degrees, scale {self.scale:.7f}, now {self.wcs_name}"
        )
        return f"{text}; {self.reason}" if self.reason else text


@dataclass(frozen=True)
class Alignment:
    """The result of an alignment."""

    exposures: dict[Path, Exposure] = field(repr=False)
    """The exposures with new WCS solutions, by file."""

    records: tuple[AlignmentRecord, ...]
    """One for each exposure."""

    references: tuple[ReferenceCatalog, ...] = field(default=(), repr=False)
    """The reference catalogs that were used."""

    def table(self) -> Any:
        """Give the records as an `astropy.table.Table`, a column for each field of `AlignmentRecord`."""
        from astropy.table import Table

        columns = dataclasses.fields(AlignmentRecord)
        kinds = {"str": str, "bool": bool, "int": int, "float": float}
        return Table(
            {column.name: [getattr(record, column.name) for record in self.records] for column in columns},
            dtype=[kinds[str(column.type)] for column in columns],
            meta={"content": "what the alignment did with each exposure"},
        )
