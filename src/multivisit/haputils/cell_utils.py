"""Sky cells and projection cells, under their published names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from multivisit.sky.cells import SKY_CELL_NAME_FORMAT, SUPPORTED_SCALES, ProjectionCell, SkyCell
from multivisit.sky.tessellation import SKY_CELL_OVERLAP, SKY_CELLS_PER_SIDE

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

__all__ = [
    "PCELL_STRLEN",
    "SKYCELL_NAME_FMT",
    "SKYCELL_NXY",
    "SKYCELL_OVERLAP",
    "SUPPORTED_SCALES",
    "ProjectionCell",
    "SkyCell",
    "get_sky_cells",
    "interpret_scells",
]

PCELL_STRLEN = 4
"""Digits of a projection cell's id in the name of a sky cell."""

SKYCELL_NAME_FMT = SKY_CELL_NAME_FORMAT
"""Format of a sky cell's name: projection cell, x, y."""

SKYCELL_NXY = SKY_CELLS_PER_SIDE
"""Number of sky cells along each side of a projection cell."""

SKYCELL_OVERLAP = SKY_CELL_OVERLAP
"""Overlap of sky cells on each side, in pixels of 0.04 arcsec."""


def get_sky_cells(
    visit_input: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    input_path: str | os.PathLike[str] | None = None,
    scale: float | None = None,
    cell_size: float | None = None,
    diagnostic_mode: bool = False,
) -> dict[str, SkyCell]:
    """Find all sky cells that the exposures of the input cover.

    Parameters
    ----------
    visit_input : str or list
        A poller file, or a list of exposure files.
    input_path : str, optional
        Folder in which exposures are looked for that are not in the working folder. They are read there;
        nothing is copied.
    scale : float, optional
        Pixel scale of the sky cells and projection cells, in arcsec per pixel; 0.04 by default. A cell of one
        name is the same piece of sky at every scale.
    cell_size : float, optional
        Width of the projection cells in degrees; by default the published 450287 pixels of 0.04 arcsec. Each
        is divided into 21 x 21 sky cells whatever its size.
    diagnostic_mode : bool, optional
        Log the cells of every exposure at level INFO, and write the outlines of cells and chips into the
        folder ``sky_cells_diagnostics`` of the working folder, for DS9 and as JSON.

    Returns
    -------
    dict of str to SkyCell
        The sky cells by name; the `members` of each are the names of its exposures as given.

    Raises
    ------
    MissingFileError, PollerError, ExposureError, SkyCellError
        If a file is missing or unusable, or a size impossible; the message names it.
    """
    from multivisit.plan.coverage import find_sky_cells

    return find_sky_cells(
        visit_input,
        input_path,
        scale,
        cell_size,
        diagnostic=diagnostic_mode,
        diagnostic_folder="sky_cells_diagnostics" if diagnostic_mode else None,
    )


def interpret_scells(sky_cells: Mapping[str, SkyCell]) -> dict[str, dict[str, Any]]:
    """Turn sky cells with members into exposures with sky cells.

    Parameters
    ----------
    sky_cells : dict of str to SkyCell
        As `get_sky_cells` returns them.

    Returns
    -------
    dict of str to dict
        For every exposure its sky cells by name, and under the key ``id`` their names joined by ``;``.
    """
    of_member: dict[str, dict[str, Any]] = {}
    for cell in sky_cells.values():
        for member in cell.members:
            of_member.setdefault(member, {})[cell.sky_cell_id] = cell
    return {member: {**cells, "id": ";".join(cells)} for member, cells in of_member.items()}
