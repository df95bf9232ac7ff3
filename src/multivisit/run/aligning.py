"""The alignment of a run's exposures: what is asked for, how it is recorded, what products say of it."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from multivisit.align.alignment import Reference
    from multivisit.align.records import Alignment
    from multivisit.align.reference import ReferenceCatalog
    from multivisit.exposures.model import Exposure
    from multivisit.plan.layers import Layer
    from multivisit.plan.parameters import ParameterSet
    from multivisit.run.options import RunOptions
    from multivisit.run.progress import Progress
    from multivisit.run.results import PlannedLayer

__all__ = [
    "align_planned",
    "alignment_as_list",
    "alignment_as_text",
    "alignment_history",
    "check_alignment_options",
    "write_alignment",
]

log = logging.getLogger(__name__)

_HOT = 16
"""DQ flag of hot pixels, which are good ones in mosaics."""


def check_alignment_options(options: RunOptions) -> None:
    """Refuse a reference catalog that would not be used.

    Parameters
    ----------
    options : RunOptions
        What is asked for.

    Raises
    ------
    ParameterError
        There is a reference catalog, but no alignment is asked for.
    """
    if options.reference_catalog is not None and not options.align:
        raise ParameterError(
            f"reference_catalog={str(options.reference_catalog)!r} is for an alignment, and none is asked "
            "for: pass skip_gaia_alignment=False, or leave the catalog out"
        )


def align_planned(planned: Sequence[PlannedLayer], options: RunOptions, progress: Progress) -> Alignment:
    """Align the exposures of a run to each other and to a reference catalog.

    Parameters
    ----------
    planned : sequence of PlannedLayer
        The layers, with the exposures' own WCS solutions. Each exposure is aligned with the parameters of the
        first layer that it is in.
    options : RunOptions
        The reference catalog.
    progress : Progress
        Follows the work.

    Returns
    -------
    Alignment
        Exposures with new WCS solutions, and the record of all.

    Raises
    ------
    MissingFileError, ReferenceCatalogError
        The reference catalog cannot be had.
    """
    from multivisit.align.alignment import ExposureToAlign, align_exposures
    from multivisit.plan.parameters import parameter_set

    parameters: dict[Path, tuple[Exposure, ParameterSet]] = {}
    for item in planned:
        for member in item.layer.members:
            parameters.setdefault(member.exposure.path, (member.exposure, item.parameter_set))
    items = []
    for exposure, chosen in parameters.values():
        # A mosaic of one exposure calls every pixel good; stars are sought in good ones only.
        usual = parameter_set(exposure.instrument, exposure.detector, exposure.filter_name, 2)
        # Hot pixels stand still on the detector: exposures must not be aligned by them.
        good_bits = (usual.astrodrizzle.final_bits or 0) & ~_HOT
        items.append(ExposureToAlign(exposure, chosen.alignment, good_bits))
    references = _references(options, [item.parameters.run_align.mosaic_catalog_list for item in items])
    progress.stage("finding sources", len(items))
    return align_exposures(items, references, lambda name: progress.advance(f"finding sources in {name}"))


def _references(options: RunOptions, lists: Sequence[Sequence[str]]) -> list[Reference]:
    """Give the reference catalogs, in turn: a file alone, or those that the parameters name."""
    from multivisit.align.alignment import Reference
    from multivisit.align.reference import read_reference_catalog
    from multivisit.align.service import fetch_catalog

    if options.reference_catalog is not None:
        catalog = read_reference_catalog(options.reference_catalog)
        return [Reference(catalog.name, catalog.within)]

    def from_network(name: str) -> Reference:
        def fetch(ra: float, dec: float, radius: float) -> ReferenceCatalog:
            log.info("asking for the reference catalog %s", name)
            return fetch_catalog(name, ra, dec, radius, options.catalog_service)

        return Reference(name, fetch)

    return [from_network(name) for name in dict.fromkeys(name for names in lists for name in names)]


def alignment_history(layer: Layer, alignment: Alignment) -> tuple[str, ...]:
    """Say in lines for HISTORY what the alignment did with the members of a layer.

    Parameters
    ----------
    layer : Layer
        The layer.
    alignment : Alignment
        The alignment.

    Returns
    -------
    tuple of str
        A line for all, and one for each member.
    """
    names = {member.exposure.filename for member in layer.members}
    records = [record for record in alignment.records if record.filename in names]
    catalogs = ", ".join(sorted({record.catalog for record in records if record.aligned})) or "no catalog"
    n_aligned = sum(record.aligned for record in records)
    lines = [f"Alignment: {n_aligned} of {len(records)} members aligned to {catalogs}."]
    lines += [f"  {record.in_words()}" for record in records]
    if 0 < n_aligned < len(records):
        lines.append("WARNING: members that were aligned and others are combined; positions may disagree.")
    return tuple(lines)


def alignment_as_list(alignment: Alignment | None) -> list[dict[str, Any]] | None:
    """Give the records of an alignment as plain values; None where there was none.

    Parameters
    ----------
    alignment : Alignment or None
        The alignment.

    Returns
    -------
    list of dict or None
        One for each exposure; ready for `json.dumps`.
    """
    return None if alignment is None else [asdict(record) for record in alignment.records]


def alignment_as_text(alignment: Alignment | None) -> list[str]:
    """Tell people how the alignment went.

    Parameters
    ----------
    alignment : Alignment or None
        The alignment.

    Returns
    -------
    list of str
        A line for all, and one for each exposure that keeps its WCS; none without an alignment.
    """
    if alignment is None:
        return []
    aligned = [record for record in alignment.records if record.aligned]
    catalogs = ", ".join(sorted({record.catalog for record in aligned}))
    total = len(alignment.records)
    if aligned:
        worst = max(record.rms for record in aligned)
        text = f"{len(aligned)} of {total} exposures to {catalogs}, RMS {worst:.1f} mas at most"
    else:
        text = f"none of {total} exposures"
    return [f"aligned     {text}"] + [
        f"not aligned {record.in_words()}" for record in alignment.records if not record.aligned
    ]


def write_alignment(folder: Path, prefix: str, alignment: Alignment | None) -> list[Path]:
    """Write the table of an alignment and the reference catalogs that it used.

    Parameters
    ----------
    folder : Path
        The output folder.
    prefix : str
        Beginning of the names.
    alignment : Alignment or None
        The alignment; nothing is written where there was none.

    Returns
    -------
    list of Path
        ``<prefix>_alignment.ecsv`` and a ``<prefix>_<catalog>_ref_cat.ecsv`` for each catalog.

    Raises
    ------
    ProductError
        A file could not be written.
    """
    if alignment is None:
        return []
    tables: Mapping[str, Any] = {
        "alignment": alignment.table(),
        **{f"{catalog.name}_ref_cat": catalog.table() for catalog in alignment.references},
    }
    return [_write_table(folder / f"{prefix}_{name}.ecsv", table) for name, table in tables.items()]


def _write_table(path: Path, table: Any) -> Path:
    import io

    from multivisit.products.tables import write_text

    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    return write_text(path, text.getvalue())
