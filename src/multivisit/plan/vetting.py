"""Vetting: which exposures may be combined, and why the others may not."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from multivisit.errors import ExposureError, MissingFileError
from multivisit.exposures.instruments import normalise_filter
from multivisit.exposures.quality import quality_file_problem
from multivisit.plan.exposure_files import absolute_path, locate_exposures
from multivisit.plan.places import CustomPlaces, SkyCellPlaces
from multivisit.plan.poller import PollerRow, check_duplicates, row_of_exposure
from multivisit.plan.poller_columns import ROOTNAME
from multivisit.plan.vetting_rules import Finding, refusal, remark

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from multivisit.exposures.model import Exposure
    from multivisit.plan.custom_mosaic import CustomArea, CustomMosaic

__all__ = ["Candidate", "Vetting", "VettingRecord", "record_of", "vet_exposures"]

log = logging.getLogger(__name__)

_SMALL_DETECTORS: Final = ("hrc", "sbc")
_CTE_DETECTORS: Final = ("wfc", "uvis")
_LARGEST_TIME_DIFFERENCE: Final = 0.01


@dataclass(frozen=True)
class Candidate:
    """An exposure that may be combined, and the row that asks for it. Its sky cell is known."""

    row: PollerRow
    """The row; what the poller file did not say is filled in from the headers."""

    exposure: Exposure
    """The exposure."""


@dataclass(frozen=True)
class VettingRecord:
    """What the vetting found for one exposure in one sky cell."""

    filename: str
    """The exposure's file as given."""

    accepted: bool
    """Whether it may be combined."""

    reason: str = ""
    """Why it is refused; for an accepted one, what is noteworthy about it."""

    keyword: str = ""
    """The keyword that says so, where it is one."""

    value: str = ""
    """Its value."""

    sky_cell_id: str = ""
    """The sky cell; empty when the exposure could not be placed on the sky."""

    instrument: str = ""
    """``acs``, ``wfc3`` or ``wfpc2``; empty when the exposure could not be read."""

    detector: str = ""
    """For example ``wfc``."""

    filter_name: str = ""
    """For example ``f775w``."""

    exposure_time: float = 0.0
    """Exposure time in seconds."""

    is_broken: bool = False
    """Whether it is refused because the file is broken; a run with such files does not end as a success."""

    @property
    def status(self) -> Literal["accepted", "refused"]:
        """The decision in a word."""
        return "accepted" if self.accepted else "refused"


@dataclass(frozen=True)
class Vetting:
    """The result of vetting the exposures of a run."""

    accepted: tuple[Candidate, ...]
    """What may be combined: one for each exposure and sky cell."""

    records: tuple[VettingRecord, ...]
    """A record for each exposure and sky cell, in the order of the input."""

    frame: tuple[Candidate, ...] = ()
    """All exposures that could be placed on the sky, refused ones too: they set the size of the mosaics."""

    only_small_detectors: bool = False
    """True when nothing is left because ACS/HRC and ACS/SBC exposures were not wanted."""

    custom: CustomMosaic | None = None
    """The area of a custom mosaic; None for sky cells."""

    @property
    def refused(self) -> tuple[VettingRecord, ...]:
        """The records of what may not be combined."""
        return tuple(record for record in self.records if not record.accepted)

    @property
    def no_viable_reason(self) -> str:
        """Why nothing is left to be combined; empty when something is."""
        if self.accepted:
            return ""
        if self.only_small_detectors:
            return (
                "all the exposures that could be combined are ACS/HRC or ACS/SBC ones, which were not "
                "wanted: --include-small or MVM_INCLUDE_SMALL=on asks for them"
            )
        number = len({record.filename for record in self.records})
        return (
            "the only exposure may not be combined"
            if number == 1
            else f"none of the {number} exposures may be combined"
        )

    def table(self) -> Any:
        """Give the records as an `astropy.table.Table`.

        Returns
        -------
        astropy.table.Table
            Columns filename, sky_cell, instrument, detector, filters, exposure_time (s), status, keyword,
            value, reason.
        """
        from astropy import units
        from astropy.table import Table

        names = [name for name, _ in _TABLE_COLUMNS]
        table = Table(
            [[getattr(record, field) for record in self.records] for _, field in _TABLE_COLUMNS],
            names=names,
            dtype=["f8" if name == "exposure_time" else "U" for name in names],
        )
        table["exposure_time"].unit = units.s
        return table

    def text(self) -> str:
        """Give the records as lines of text in columns, with a heading."""
        rows = [[name for name, _ in _TABLE_COLUMNS]]
        for record in self.records:
            values = [getattr(record, field) for _, field in _TABLE_COLUMNS]
            rows.append([f"{v:g}" if isinstance(v, float) else str(v) for v in values])
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)


_TABLE_COLUMNS: Final = (
    ("filename", "filename"),
    ("sky_cell", "sky_cell_id"),
    ("instrument", "instrument"),
    ("detector", "detector"),
    ("filters", "filter_name"),
    ("exposure_time", "exposure_time"),
    ("status", "status"),
    ("keyword", "keyword"),
    ("value", "value"),
    ("reason", "reason"),
)
"""Columns of the vetting table and the fields of `VettingRecord` that they show."""


def vet_exposures(
    rows_or_paths: Iterable[PollerRow | str | os.PathLike[str]],
    *,
    folder: str | os.PathLike[str] = ".",
    include_small: bool = True,
    only_cte: bool = False,
    sky_cells: Collection[str] = (),
    area: CustomArea | None = None,
    prefix: str | None = None,
    known: Mapping[Path, Exposure] = MappingProxyType({}),
    progress: Callable[[str], object] | None = None,
) -> Vetting:
    """Read the headers of exposures and decide for each whether it may be combined.

    An exposure whose row names no sky cell becomes a candidate for every sky cell that it falls on.

    Parameters
    ----------
    rows_or_paths : iterable of PollerRow, str or path-like
        Rows of a poller file, or exposure files. A rootname stands for the file that is found for it.
    folder : str or path-like, optional
        Where the files are looked for first.
    include_small : bool, optional
        Whether ACS/HRC and ACS/SBC exposures may be combined.
    only_cte : bool, optional
        Whether of ACS/WFC and WFC3/UVIS only CTE-corrected exposures (FLC) may be combined.
    sky_cells : collection of str, optional
        The only sky cells that are wanted; all when empty.
    area : CustomArea, optional
        Area of a custom mosaic, which takes the place of the sky cells.
    prefix : str, optional
        Beginning of its names; an automatic one by default.
    known : mapping of Path to Exposure, optional
        Exposures of an earlier vetting by file, with other WCS solutions than the files': they are not read
        again, and what is refused is not told again.
    progress : callable, optional
        Called with each file name after it has been read.

    Returns
    -------
    Vetting
        What may be combined, and a record for each exposure and sky cell.

    Raises
    ------
    MissingFileError
        If files are missing: one error that names them all.
    PollerError
        If a file is listed twice for the same sky cell.
    SkyCellError
        If there is no sky cell of a name in `sky_cells`, or no plane for the area.
    ParameterError
        If the area or the prefix is impossible.
    """
    rows = [_as_row(item) for item in rows_or_paths]
    paths = locate_exposures(rows, folder)
    rows = [_with_file(row, path) for row, path in zip(rows, paths, strict=True)]
    check_duplicates(rows, "the list of exposures")
    exposures: dict[Path, Exposure | ExposureError] = {}
    for row, path in zip(rows, paths, strict=True):
        if quality_file_problem(path.name) is None and path not in exposures:
            exposures[path] = known[path] if path in known else _read(path)
        if progress is not None:
            progress(row.filename)
    usable = [found for found in exposures.values() if not isinstance(found, ExposureError)]
    custom = None if area is None else CustomPlaces(area, prefix, rows, usable)
    places = custom or SkyCellPlaces(sky_cells)
    findings = _Findings()
    for row, path in places.chosen(zip(rows, paths, strict=True)):
        if problem := quality_file_problem(path.name):
            findings.add_other_file(row, problem)
            continue
        exposure = exposures[path]
        if isinstance(exposure, ExposureError):
            findings.add_unreadable(row, exposure)
            continue
        finding = refusal(exposure) or _not_as_listed(row, exposure)
        option = _not_wanted(exposure, include_small=include_small, only_cte=only_cte)
        for placed, place in places.of(_completed(row, exposure), exposure):
            findings.add(Candidate(placed, exposure), finding=finding, place=place, option=option)
    vetting = replace(findings.vetting(), custom=None if custom is None else custom.mosaic)
    for record in () if known else vetting.refused:
        log.warning("%s is refused: %s", record.filename, _in_words(record))
    return vetting


class _Findings:
    """Collects what is found exposure by exposure."""

    def __init__(self) -> None:
        self._accepted: list[Candidate] = []
        self._records: list[VettingRecord] = []
        self._frame: list[Candidate] = []
        self._small_was_refused = False
        self._first_file: dict[tuple[str, str, str | None], str] = {}

    def add_unreadable(self, row: PollerRow, error: ExposureError) -> None:
        cell = row.sky_cell_id or ""
        self._records.append(
            VettingRecord(row.filename, accepted=False, reason=str(error), sky_cell_id=cell, is_broken=True)
        )

    def add_other_file(self, row: PollerRow, reason: str) -> None:
        """Add a file that is no exposure but goes with one: it is left out, and nothing is wrong with it."""
        cell = row.sky_cell_id or ""
        self._records.append(VettingRecord(row.filename, accepted=False, reason=reason, sky_cell_id=cell))

    def add(
        self, candidate: Candidate, *, finding: Finding | None, place: Finding | None, option: Finding | None
    ) -> None:
        """Add an exposure in a sky cell.

        `finding` is what is wrong with the exposure, `place` what is wrong with its place, `option` why it is
        not wanted although nothing is wrong.
        """
        if place is None:
            self._frame.append(candidate)
        found = finding or place or self._twin(candidate)
        if found is None and option is not None:
            found = option
            self._small_was_refused |= option.keyword == "DETECTOR"
        if found is None:
            self._accepted.append(candidate)
        self._records.append(record_of(candidate, found))

    def _twin(self, candidate: Candidate) -> Finding | None:
        """Find out whether the exposure is there already, under another name."""
        exposure, row = candidate.exposure, candidate.row
        key = (exposure.rootname[:8], exposure.product_suffix, row.sky_cell_id)
        first = self._first_file.setdefault(key, row.filename)
        if first == row.filename:
            return None
        return Finding(f"the same exposure as {first}: list it once", "ROOTNAME", exposure.rootname)

    def vetting(self) -> Vetting:
        return Vetting(
            accepted=tuple(self._accepted),
            records=tuple(self._records),
            frame=tuple(self._frame),
            only_small_detectors=self._small_was_refused and not self._accepted,
        )


def record_of(candidate: Candidate, finding: Finding | None) -> VettingRecord:
    """Make the record of an exposure that was read.

    Parameters
    ----------
    candidate : Candidate
        The exposure and its row.
    finding : Finding or None
        Why it is refused; None when it is accepted, which is recorded with what is noteworthy about it.

    Returns
    -------
    VettingRecord
        Accepted or refused.
    """
    exposure = candidate.exposure
    accepted = finding is None
    if finding is None:
        finding = remark(exposure) or Finding("")
    return VettingRecord(
        filename=candidate.row.filename,
        accepted=accepted,
        reason=finding.reason,
        keyword=finding.keyword,
        value=finding.value,
        sky_cell_id=candidate.row.sky_cell_id or "",
        instrument=exposure.instrument,
        detector=exposure.detector,
        filter_name=exposure.filter_name,
        exposure_time=float(exposure.exposure_time),
        is_broken=finding.is_broken,
    )


def _in_words(record: VettingRecord) -> str:
    return f"{record.reason} ({record.keyword} = {record.value})" if record.keyword else record.reason


def _as_row(item: PollerRow | str | os.PathLike[str]) -> PollerRow:
    if isinstance(item, PollerRow):
        return item
    return PollerRow(filename=str(item), pathname=str(absolute_path(item)) if str(item) else "")


def _with_file(row: PollerRow, path: Path) -> PollerRow:
    """Put the file's name in the place of a rootname."""
    return replace(row, filename=str(path)) if ROOTNAME.fullmatch(row.filename) else row


def _read(path: Path) -> Exposure | ExposureError:
    from multivisit.exposures.model import read_exposure

    try:
        return read_exposure(path)
    except ExposureError as error:
        return error
    except MissingFileError as error:
        # Not to be read, or gone since it was found: the other exposures are still combined.
        return ExposureError(str(error))


def _not_wanted(exposure: Exposure, *, include_small: bool, only_cte: bool) -> Finding | None:
    """Apply what the caller leaves out although it could be combined."""
    if not include_small and exposure.detector in _SMALL_DETECTORS:
        return Finding(
            "layers of this detector are not wanted (--include-small, MVM_INCLUDE_SMALL)",
            "DETECTOR",
            exposure.detector.upper(),
        )
    if only_cte and exposure.detector in _CTE_DETECTORS and exposure.file_type != "flc":
        return Finding(
            "not CTE-corrected, and only FLC files are wanted (--only-cte, MVM_ONLY_CTE)", "file type", "FLT"
        )
    return None


def _not_as_listed(row: PollerRow, exposure: Exposure) -> Finding | None:
    """Compare what the poller file says of an exposure with its headers."""
    if row.detector:
        listed = row.detector.lower().replace("wfpc2", "pc")
        if listed != exposure.detector:
            reason = f"the poller file says detector {row.detector}: correct the line"
            return Finding(reason, "DETECTOR", exposure.detector.upper())
    if row.filters:
        listed = normalise_filter(*row.filters.split(";")[:2])
        if listed != exposure.filter_name:
            return Finding(
                f"the poller file says filter {listed}: correct the line", "filters", exposure.filter_name
            )
    if row.exposure_time is not None:
        difference = abs(row.exposure_time - exposure.exposure_time)
        if difference > _LARGEST_TIME_DIFFERENCE * exposure.exposure_time:
            log.warning(
                "%s: the poller file says %g s, EXPTIME is %g s; exposures are weighted by EXPTIME.",
                row.filename,
                row.exposure_time,
                exposure.exposure_time,
            )
    return None


def _completed(row: PollerRow, exposure: Exposure) -> PollerRow:
    """Fill in what a list of files does not say."""
    known = row_of_exposure(exposure)
    return replace(
        row,
        proposal_id=known.proposal_id if row.proposal_id is None else row.proposal_id,
        program_id=row.program_id or known.program_id,
        obset_id=row.obset_id or known.obset_id,
        exposure_time=known.exposure_time if row.exposure_time is None else row.exposure_time,
        filters=row.filters or known.filters,
        detector=row.detector or known.detector,
        pathname=known.pathname,
    )
