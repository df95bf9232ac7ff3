"""The report of a run: one HTML page that needs nothing but itself."""

from __future__ import annotations

from pathlib import Path

from multivisit.atomic import atomic_path
from multivisit.errors import MissingFileError

__all__ = ["REPORT_NAME", "write_report"]

REPORT_NAME = "report.html"
"""Name of the page in the folder of a run."""


def write_report(folder: Path, output: Path | None = None) -> Path:
    """Write the report of a folder from the files that are in it.

    Parameters
    ----------
    folder : Path
        A run's output folder, whenever it was made and by whatever program: what is missing or cannot be read
        is said in the page.
    output : Path, optional
        The page; by default `REPORT_NAME` in the folder. Its links to files start from where it lies.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    MissingFileError
        There is no such folder, or it has neither a mosaic nor a record of one.
    ProductError
        The page cannot be written.
    """
    from multivisit.quality.report.collect import collect
    from multivisit.quality.report.page import page

    if not folder.is_dir():
        raise MissingFileError(f"{folder}: no such folder; give the output folder of a run")
    contents = collect(folder)
    if not contents.layers and not contents.vetting:
        raise MissingFileError(
            f"{folder}: no mosaic (hst_*_drz.fits, hst_*_drc.fits) and no vetting table here; "
            "give the output folder of a run"
        )
    output = folder / REPORT_NAME if output is None else output
    text = page(contents, output.parent)
    with atomic_path(output) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return output
