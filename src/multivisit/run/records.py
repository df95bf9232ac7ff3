"""The record that a run leaves beside its mosaics: manifests, vetting table, trailer files."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.errors import MultivisitError, ProductError
from multivisit.run.aligning import write_alignment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multivisit.align.records import Alignment
    from multivisit.plan.vetting import Vetting
    from multivisit.run.logs import RunLog
    from multivisit.run.results import LayerResult

__all__ = ["prepare_folder", "write_records", "write_trailer"]

log = logging.getLogger(__name__)

_PREFIX_OF_SEVERAL_CELLS = "multivisit"


def prepare_folder(folder: Path) -> None:
    """Make the output folder if it is missing, and make sure that files can be made in it.

    Parameters
    ----------
    folder : Path
        The output folder.

    Raises
    ------
    ProductError
        It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ProductError(
            f"output folder {folder}: cannot be written ({error.strerror or error}); "
            "choose another folder or change its permissions"
        ) from error


def write_trailer(folder: Path, name: str, messages: RunLog) -> Path | None:
    """Write a layer's trailer file: the messages of the run so far and of this layer.

    Parameters
    ----------
    folder : Path
        The output folder.
    name : str
        Product basename.
    messages : RunLog
        The messages.

    Returns
    -------
    Path or None
        The file; None, with an error in the log, if it could not be written.
    """
    from multivisit.products.tables import write_text

    path = folder / f"{name}_trl.txt"
    try:
        return write_text(path, messages.text(name))
    except MultivisitError as error:
        log.error("%s", error)
        return None


def write_records(
    folder: Path,
    vetting: Vetting,
    results: Sequence[LayerResult],
    messages: RunLog,
    prefix: str = "",
    alignment: Alignment | None = None,
) -> list[Path]:
    """Write a manifest for each sky cell or custom mosaic, the tables of the run and its own trailer.

    Parameters
    ----------
    folder : Path
        The output folder.
    vetting : Vetting
        All exposures.
    results : sequence of LayerResult
        All layers.
    messages : RunLog
        All messages.
    prefix : str, optional
        Beginning of the names, in the place of the sky cell.
    alignment : Alignment, optional
        The alignment, which has a table of its own.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    ProductError
        A file could not be written.
    """
    from multivisit.products.tables import (
        manifest_name,
        vetting_name,
        write_manifest,
        write_text,
        write_vetting,
    )

    cells = sorted({record.sky_cell_id for record in vetting.records if record.sky_cell_id})
    of_manifest = {cell: [r for r in results if r.sky_cell_id == cell] for cell in cells}
    if prefix:
        of_manifest = {prefix: list(results)}
    written = [
        write_manifest(folder / manifest_name(name), [file for r in members for file in _names(r)])
        for name, members in of_manifest.items()
    ]
    if not prefix:
        prefix = cells[0] if len(cells) == 1 else _PREFIX_OF_SEVERAL_CELLS
    written.append(write_vetting(folder / vetting_name(prefix), vetting.records))
    written += write_alignment(folder, prefix, alignment)
    written.append(write_text(folder / f"{prefix}_trl.txt", messages.text()))
    return written


def _names(result: LayerResult) -> list[str]:
    """Names of the files of a layer that was made."""
    if result.status != "made":
        return []
    files = (result.product, result.preview, *result.catalogs, result.trailer, *result.quality_files)
    names = [path.name for path in files if path is not None]
    return names + [f"{path.parent.name}/{path.name}" for path in result.diagnostics]
