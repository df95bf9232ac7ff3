"""The pixel grid that parameters ask for in place of the sky cell's own."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from multivisit.plan.parameters import CombinationParameters
    from multivisit.sky.grid import OutputGrid

__all__ = ["grid_for_parameters"]


def grid_for_parameters(grid: OutputGrid, parameters: CombinationParameters) -> OutputGrid:
    """Give the grid of a mosaic, as final_scale, final_rot and their companions ask for it.

    The new grid lies in the same tangent plane. It covers the area of the given one around the same centre,
    except where a size or another centre is asked for.

    Parameters
    ----------
    grid : OutputGrid
        The layer's part of the sky cell (or of a custom mosaic).
    parameters : CombinationParameters
        With ``final_wcs``: ``final_scale`` (arcsec), ``final_rot`` (degrees by which the columns turn from
        North to East, relative to the given grid), ``final_outnx`` and ``final_outny`` (pixels), ``final_ra``
        and ``final_dec`` (degrees, where the reference pixel lies: by default the area's centre),
        ``final_crpix1`` and ``final_crpix2`` (the reference pixel: by default the middle).

    Returns
    -------
    OutputGrid
        The given grid itself if nothing else is asked for.

    Raises
    ------
    ParameterError
        If the reference position cannot be projected into the tangent plane.
    """
    scale = parameters.final_scale or grid.scale
    rotation = parameters.final_rot or 0.0
    placement = (
        parameters.final_outnx,
        parameters.final_outny,
        parameters.final_ra,
        parameters.final_dec,
        parameters.final_crpix1,
        parameters.final_crpix2,
    )
    same = scale == grid.scale and rotation == 0.0 and all(value is None for value in placement)
    if same or not parameters.final_wcs:
        return grid
    ratio, angle = scale / grid.scale, math.radians(rotation)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    old = np.array(grid.cd)
    new = ratio * turn @ old
    # Rounding must not make a grid that is North up look turned.
    north_up = grid.cd_matrix is None and rotation == 0.0
    rows, columns = grid.shape
    # Steps of the old grid in pixels of the new one; their extent along each new axis covers the area.
    extent = np.abs(np.linalg.solve(new, old)) @ np.array([columns, rows])
    nx = parameters.final_outnx or max(1, math.ceil(extent[0] - 1e-6))
    ny = parameters.final_outny or max(1, math.ceil(extent[1] - 1e-6))
    centre = grid.centre()
    position = (
        centre[0] if parameters.final_ra is None else parameters.final_ra,
        centre[1] if parameters.final_dec is None else parameters.final_dec,
    )
    pixel = np.array([
        (nx + 1) / 2.0 if parameters.final_crpix1 is None else parameters.final_crpix1,
        (ny + 1) / 2.0 if parameters.final_crpix2 is None else parameters.final_crpix2,
    ])  # fmt: skip
    # Where the reference position lies, from the tangent point, in degrees along the plane.
    from_tangent = old @ (grid.plane().pixels(*position) + 1.0 - np.array(grid.crpix))
    if not np.isfinite(from_tangent).all():
        raise ParameterError(
            f"final_ra, final_dec: found ({position[0]:g}, {position[1]:g}) for {grid.sky_cell_id}, expected "
            f"a position near its tangent point ({grid.crval[0]:g}, {grid.crval[1]:g})."
        )
    crpix = pixel - np.linalg.solve(new, from_tangent)
    cell = grid.cell_shape
    (cd1_1, cd1_2), (cd2_1, cd2_2) = new.tolist()
    return replace(
        grid,
        scale=scale,
        crpix=(float(crpix[0]), float(crpix[1])),
        shape=(ny, nx),
        offset=(0, 0),
        cell_shape=None if cell is None else (round(cell[0] / ratio), round(cell[1] / ratio)),
        projection_cell_crpix=None,
        cd_matrix=None if north_up else ((cd1_1, cd1_2), (cd2_1, cd2_2)),
    )
