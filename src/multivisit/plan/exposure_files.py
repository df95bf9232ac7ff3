"""Finding exposure files: in the working folder, where a poller file says, or in a tree of exposures."""

from __future__ import annotations

import errno
import gzip
import os
import stat
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from multivisit.errors import MissingFileError, ParameterError
from multivisit.plan.poller_columns import ROOTNAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from multivisit.plan.poller import PollerRow

__all__ = [
    "absolute_path",
    "find_exposure_file",
    "is_same_file",
    "locate_exposures",
    "refuse_to_replace",
    "what_is_there",
]

_MOST_FILES_NAMED: Final = 20


def absolute_path(path: str | os.PathLike[str]) -> Path:
    """Give the absolute path, or the path as it is where the working folder has been deleted."""
    try:
        return Path(path).absolute()
    except FileNotFoundError:
        return Path(path)


def is_same_file(one: Path, other: Path) -> bool:
    """Tell whether both paths lead to one file that is there, by links too."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def refuse_to_replace(
    path: str | os.PathLike[str], what: str, inputs: Iterable[str | os.PathLike[str]]
) -> None:
    """Refuse to write a text file over an input, or over any FITS file.

    Parameters
    ----------
    path : str or path-like
        The file that is going to be written.
    what : str
        What it is, in words: 'the poller file'.
    inputs : iterable of str or path-like
        Files that are read; empty names are left aside.

    Raises
    ------
    ParameterError
        The file is one of them, or a FITS file.
    """
    target = Path(path)
    for name in inputs:
        if os.fspath(name) and is_same_file(target, Path(name)):
            raise ParameterError(f"{path}: {what} would replace the input {name}; give another name")
    if _is_fits(target):
        raise ParameterError(f"{path}: {what} would replace a FITS file; give another name")


def _is_fits(path: Path) -> bool:
    """Tell whether there is a FITS file, plain or gzipped."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            if stream.read(2) == b"\x1f\x8b":
                with gzip.open(path) as unzipped:
                    return unzipped.read(9) == b"SIMPLE  ="
            stream.seek(0)
            return stream.read(9) == b"SIMPLE  ="
    except (OSError, ValueError, EOFError, zlib.error):
        return False


def what_is_there(path: str | os.PathLike[str]) -> str:
    """Say what there is in the place of an exposure file.

    Parameters
    ----------
    path : str or path-like
        Where a file was expected.

    Returns
    -------
    str
        For example 'is a folder'; empty where there is nothing, or a file.
    """
    try:
        mode = Path(path).stat().st_mode
    except PermissionError:
        return "may not be looked at (permission denied)"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "is a link that leads back to itself"
        return "is a link to a file that is not there" if Path(path).is_symlink() else ""
    except ValueError:
        return ""
    if stat.S_ISDIR(mode):
        return "is a folder"
    return "" if stat.S_ISREG(mode) else "is a device or a pipe"


def find_exposure_file(
    name_or_rootname: str,
    folder: str | os.PathLike[str] = ".",
    data_path: str | os.PathLike[str] | None = None,
    *,
    pathname: str = "",
) -> Path | None:
    """Look for an exposure file.

    A file name is looked for in `folder`, at `pathname`, and in ``data_path/<first 4 letters>/<rootname>``; a
    rootname in the first and the last of these, as FLC, FLT and C0M in turn. A compressed file (``.gz``) is
    found too. A relative path starts at `folder`.

    Parameters
    ----------
    name_or_rootname : str
        For example ``jbl70rtvq_flc.fits``, ``visits/jbl70rtvq_flc.fits`` or ``jbl70rtvq``.
    folder : str or path-like, optional
        The working folder.
    data_path : str or path-like, optional
        Root of a tree of exposures.
    pathname : str, optional
        Where else the file may be: the file itself or the folder that holds it.

    Returns
    -------
    pathlib.Path or None
        The first that is there; None when none is.
    """
    for place in _places(name_or_rootname, Path(folder), data_path, pathname):
        for candidate in (place, Path(f"{place}.gz")):
            if _is_file(candidate):
                return candidate
    return None


def _places(
    name: str, folder: Path, data_path: str | os.PathLike[str] | None, pathname: str
) -> Iterator[Path]:
    """Go through the places where an exposure file may be."""
    if ROOTNAME.fullmatch(name):
        rootname = name.lower()
        names = [f"{rootname}_{file_type}.fits" for file_type in ("flc", "flt", "c0m")]
    else:
        rootname = Path(name).name.rpartition("_")[0]
        names = [name]
    yield from (folder / each for each in names)
    if pathname:
        yield folder / pathname
        yield from (folder / pathname / Path(each).name for each in names)
    if data_path is not None:
        yield from (Path(data_path) / rootname[:4] / rootname / Path(each).name for each in names)


def _is_file(path: Path) -> bool:
    """Tell whether there is a file; one that may not be looked at is not there."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def locate_exposures(
    rows: Iterable[PollerRow],
    folder: str | os.PathLike[str] = ".",
    data_path: str | os.PathLike[str] | None = None,
) -> tuple[Path, ...]:
    """Find the files of rows: in the working folder first, then at the path that the row gives.

    Parameters
    ----------
    rows : iterable of PollerRow
        The rows.
    folder : str or path-like, optional
        The working folder.
    data_path : str or path-like, optional
        Root of a tree of exposures, looked through last.

    Returns
    -------
    tuple of pathlib.Path
        The file of each row.

    Raises
    ------
    MissingFileError
        If files are missing, or there is something else in their place: one error that names all of them (up
        to twenty) and where they were looked for.
    """
    paths: list[Path] = []
    missing: list[str] = []
    others: list[str] = []
    for row in rows:
        path = find_exposure_file(row.filename, folder, data_path, pathname=row.pathname)
        if path is not None:
            paths.append(path)
            continue
        line = f" (line {row.line_number})" if row.line_number else ""
        name = row.filename or "an empty name"
        if there := what_is_there(Path(folder) / row.filename) if row.filename else "":
            others.append(f"{name}{line}: {there}, expected an exposure file")
            continue
        elsewhere = f" and not at {row.pathname}" if row.pathname else ""
        missing.append(f"{name}{line}: not in the folder {folder}{elsewhere}")
    if missing or others:
        problems = missing + others
        shown = problems[:_MOST_FILES_NAMED]
        if len(problems) > len(shown):
            shown.append(f"... and {len(problems) - len(shown)} more")
        number = f"{len(problems)} exposure file{'s' if len(problems) > 1 else ''}"
        heading = f"{number} {'cannot be read' if others else 'missing'}"
        raise MissingFileError("\n  ".join([heading, *shown]))
    return tuple(paths)
