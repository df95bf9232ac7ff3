"""Associations: tables that name the exposures of an observation, in the place of the exposures."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.errors import ExposureError, MissingFileError
from multivisit.plan.exposure_files import find_exposure_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["expand_associations"]

log = logging.getLogger(__name__)

_ENDINGS = ("_asn.fits", "_asn.fits.gz")


def expand_associations(
    names: Iterable[str | os.PathLike[str]], folders: Sequence[str | os.PathLike[str]] = (".",)
) -> list[str]:
    """Put the exposures of associations in the place of the associations.

    Parameters
    ----------
    names : iterable of str or path
        Exposures, and associations (``jabc01010_asn.fits``).
    folders : sequence of str or path, optional
        Where associations are looked for.

    Returns
    -------
    list of str
        The names, those of associations replaced by their members' files: FLC, FLT or C0M beside the
        association. An exposure that is named twice is there once.

    Raises
    ------
    MissingFileError
        There is no such association, or a member is missing beside it.
    ExposureError
        The association cannot be read.
    """
    given = [os.fspath(name) for name in names]
    named = {Path(name).name for name in given}
    expanded: list[str] = []
    for name in given:
        if not name.lower().endswith(_ENDINGS):
            expanded.append(name)
            continue
        members = _members(name, folders)
        log.info("%s: %s", name, ", ".join(members))
        new = [member for member in members if Path(member).name not in named]
        named.update(Path(member).name for member in new)
        expanded += new
    return expanded


def _members(name: str, folders: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Give the files of an association's exposures."""
    from astropy.io import fits

    found = (find_exposure_file(name, folder) for folder in folders)
    path = next((place for place in found if place is not None), None)
    if path is None:
        raise MissingFileError(f"{name}: association not found in {' and '.join(map(str, folders))}")
    try:
        with fits.open(path) as hdus:
            table = hdus[1].data
            rows = list(zip(table["MEMNAME"].tolist(), table["MEMTYPE"].tolist(), strict=True))
    except (OSError, IndexError, KeyError, AttributeError, ValueError) as error:
        raise ExposureError(
            f"{path}: cannot be read as an association: {error}; expected a table with MEMNAME and MEMTYPE"
        ) from error
    rootnames = [str(member).strip().lower() for member, kind in rows if str(kind).startswith("EXP")]
    files = {rootname: find_exposure_file(rootname, path.parent) for rootname in rootnames}
    missing = [rootname for rootname, file in files.items() if file is None]
    if missing or not rootnames:
        what = f"its exposures {', '.join(missing)} are not beside it" if missing else "it names no exposure"
        raise MissingFileError(f"{path}: {what} (as FLC, FLT or C0M)")
    return [str(file) for file in files.values()]
