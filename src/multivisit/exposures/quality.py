"""Where an exposure's data quality is: beside the pixels, or for WFPC2 in a file of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from multivisit.errors import ExposureError
from multivisit.exposures.fits_file import file_is_there
from multivisit.exposures.headers import text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from astropy.io import fits

    from multivisit.exposures.fits_file import ImageExtension

__all__ = [
    "association_problem",
    "find_quality_extension",
    "find_quality_file",
    "quality_extension_names",
    "quality_file_problem",
]

_EXPOSURE = re.compile(r"_c0m(?=\.fits(\.gz)?$)", re.IGNORECASE)
_QUALITY = re.compile(r"_c1m(?=\.fits(\.gz)?$)", re.IGNORECASE)
_ASSOCIATION = re.compile(r"_asn\.fits(\.gz)?", re.IGNORECASE)


def association_problem(name: str) -> str | None:
    """Say that a file is an association table, by its name; None for any other."""
    if _ASSOCIATION.search(name) is None:
        return None
    return "association tables are not read; list their exposures instead"


def quality_file_problem(name: str, primary: fits.Header | None = None) -> str | None:
    """Say that a file holds the data quality of a WFPC2 exposure.

    Parameters
    ----------
    name : str
        Name of the file.
    primary : fits.Header, optional
        Its primary header, where FILETYPE tells the same of files of other names.

    Returns
    -------
    str or None
        What it is; None for any other file.
    """
    if _QUALITY.search(name):
        return f"the data quality file of {_QUALITY.sub('_c0m', name)}, not an exposure"
    if primary is not None and text(primary, "FILETYPE").upper() == "SDQ":
        return "a data quality file (FILETYPE is 'SDQ'), not an exposure"
    return None


def quality_extension_names(*, own: bool) -> tuple[str, ...]:
    """Give the names that data quality extensions have, in the exposure's own file or in a file of theirs."""
    return ("DQ",) if own else ("DQ", "SCI", "SDQ")


def find_quality_extension(
    extensions: Iterable[ImageExtension], extver: int, *, own: bool
) -> ImageExtension | None:
    """Find the data quality of one chip.

    Parameters
    ----------
    extensions : iterable of ImageExtension
        The extensions of the file that holds it.
    extver : int
        EXTVER of the chip; where extensions carry none they are counted from 1.
    own : bool
        Whether that is the exposure's own file.

    Returns
    -------
    ImageExtension or None
        None if there is none.
    """
    extensions = tuple(extensions)
    for name in quality_extension_names(own=own):
        named = [extension for extension in extensions[1:] if extension.name == name]
        for number, extension in enumerate(named, start=1):
            if (number if extension.version is None else extension.version) == extver and extension.shape:
                return extension
    return None


def find_quality_file(
    path: Path, extensions: tuple[ImageExtension, ...], extvers: Collection[int]
) -> Path | None:
    """Find the C1M file of a C0M file: in the same folder, or in that of the file that a link leads to.

    Parameters
    ----------
    path : Path
        The exposure.
    extensions : tuple of ImageExtension
        Its extensions.
    extvers : collection of int
        EXTVER of its chips.

    Returns
    -------
    Path or None
        The file, plain or gzipped; None if there is none and every chip has a DQ extension.

    Raises
    ------
    ExposureError
        If there is no such file and a chip is without DQ: its bad pixels would count as good ones.
    """
    expected = _EXPOSURE.sub(_c1m, path.name)
    folders = [path.parent]
    if path.is_symlink():
        folders.append(path.resolve().parent)
    if expected != path.name:
        plain = expected.removesuffix(".gz")
        for folder in folders:
            for name in (plain, f"{plain}.gz"):
                if file_is_there(folder / name):
                    return folder / name
    if all(find_quality_extension(extensions, extver, own=True) for extver in extvers):
        return None
    if expected == path.name:
        raise ExposureError(
            f"{path}: has no data quality, expected DQ extensions, or the name of a WFPC2 exposure that ends "
            "in _c0m.fits with the file of the same name in _c1m.fits beside it."
        )
    places = " or ".join(str(folder) for folder in folders)
    raise ExposureError(
        f"{path}: its data quality file {expected.removesuffix('.gz')} (plain or .gz) is not in {places}. "
        "Put it there; without it bad pixels would count as good ones."
    )


def _c1m(match: re.Match[str]) -> str:
    return "_C1M" if match[0].isupper() else "_c1m"
