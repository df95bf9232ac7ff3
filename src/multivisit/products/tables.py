"""The small files beside the mosaics: manifest, trailer files, vetting table; each written atomically."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.atomic import atomic_path

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from multivisit.plan.vetting import VettingRecord

__all__ = [
    "manifest_name",
    "trailer_name",
    "vetting_name",
    "write_manifest",
    "write_text",
    "write_vetting",
]

_COLUMN_TYPES = {"str": str, "bool": bool, "int": int, "float": float}


def manifest_name(prefix: str) -> str:
    """Name of a run's manifest.

    Parameters
    ----------
    prefix : str
        The sky cell (``skycell-p1889x07y19``), or the prefix of a custom mosaic.

    Returns
    -------
    str
        ``<prefix>_manifest.txt``.
    """
    return f"{prefix}_manifest.txt"


def vetting_name(prefix: str) -> str:
    """Name of a run's vetting table.

    Parameters
    ----------
    prefix : str
        As for `manifest_name`.

    Returns
    -------
    str
        ``<prefix>_vetting.ecsv``.
    """
    return f"{prefix}_vetting.ecsv"


def trailer_name(product_filename: str) -> str:
    """Name of the trailer file of a product.

    Parameters
    ----------
    product_filename : str
        The mosaic's name, for example ``hst_skycell-p1889x07y19_wfc3_ir_f160w_coarse-all_drz.fits``.

    Returns
    -------
    str
        The same name with ``_trl.txt`` for its suffix.
    """
    return product_filename.rpartition("_")[0] + "_trl.txt"


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    r"""Write a text file (a trailer file, for example).

    Parameters
    ----------
    path : path
        The file; its folder must exist.
    text : str
        The text. It is written in UTF-8 and ends with a new line. What UTF-8 does not have (bytes of a file's
        name that is in no known encoding) is written as an escape, ``\udcfc``.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ProductError
        If it cannot be written; nothing is left then.
    """
    if text and not text.endswith("\n"):
        text += "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    return Path(path)


def write_manifest(path: str | os.PathLike[str], names: Iterable[str | os.PathLike[str]]) -> Path:
    """Write a manifest: the names of a run's products, one a line, sorted, each once.

    Parameters
    ----------
    path : path
        The file.
    names : iterable of path
        The products. Folders are left out of their names, but for files in a sub-folder of the manifest's
        folder that are given relative to it.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ProductError
        If it cannot be written.
    """
    folder = Path(path).parent
    given = [Path(name) for name in names]
    lines = sorted(
        {
            name.as_posix() if not name.is_absolute() and (folder / name).is_file() else name.name
            for name in given
        }
    )
    return write_text(path, "".join(f"{line}\n" for line in lines))


def write_vetting(path: str | os.PathLike[str], records: Sequence[VettingRecord]) -> Path:
    r"""Write a vetting table: which exposures were combined, which not, and why.

    Parameters
    ----------
    path : path
        The ECSV file.
    records : sequence of VettingRecord
        One for each exposure, in the order of the input.

    Returns
    -------
    pathlib.Path
        The file: a column for each field of `VettingRecord` (filename, accepted, reason, keyword, ...). Line
        breaks and characters that cannot be printed are escaped, ``\n``: a line for each exposure.

    Raises
    ------
    ProductError
        If it cannot be written.
    """
    import io

    from astropy.table import Table

    from multivisit.plan.vetting import VettingRecord

    columns = dataclasses.fields(VettingRecord)
    table = Table(
        {column.name: [_cell(getattr(record, column.name)) for record in records] for column in columns},
        dtype=[_COLUMN_TYPES[str(column.type)] for column in columns],
        meta={"content": "which exposures were combined, and why the others were not"},
    )
    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    return write_text(path, text.getvalue())


def _cell(value: object) -> object:
    """A value for one line of a table: in text, line breaks and what cannot be printed are escaped."""
    if not isinstance(value, str):
        return value
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in value
    )
