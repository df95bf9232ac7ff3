from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from multivisit.errors import ParameterError
from multivisit.plan.custom_grid import grid_for_parameters
from multivisit.plan.parameters import CombinationParameters
from multivisit.sky.grid import OutputGrid

_CELL = OutputGrid(
    "skycell-p1889x07y19",
    0.04,
    (180.0, 26.0),
    (94360.0, -171093.0),
    (3001, 2000),
    offset=(300, 200),
    cell_shape=(21954, 21954),
    projection_cell_crpix=(225144.0, 225144.0),
)


def _grid(**values: Any) -> OutputGrid:
    return grid_for_parameters(_CELL, CombinationParameters(**values))


@pytest.mark.parametrize(
    "values", [{}, {"final_scale": 0.04}, {"final_wcs": False, "final_scale": 0.1}, {"final_rot": None}]
)
def test_nothing_else_asked_for_gives_the_cells_grid(values: dict[str, Any]) -> None:
    assert _grid(**values) is _CELL


@pytest.mark.parametrize(("scale", "rotation"), [(0.05, 0.0), (None, 30.0), (0.03, -125.0), (0.128, 90.0)])
def test_the_new_grid_covers_the_same_area(scale: float | None, rotation: float) -> None:
    grid = _grid(final_scale=scale, final_rot=rotation)
    ny, nx = _CELL.shape
    ra, dec = _CELL.wcs.wcs_pix2world([-0.5, nx - 0.5, -0.5, nx - 0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5], 0)
    x, y = grid.wcs.wcs_world2pix(ra, dec, 0)
    for values, size in ((x, grid.shape[1]), (y, grid.shape[0])):
        assert values.min() >= -0.5 - 1e-4
        assert values.max() <= size - 0.5 + 1e-4
        assert size - 1.0 - 1e-4 <= values.max() - values.min()
    np.testing.assert_allclose(grid.centre(), _CELL.centre(), atol=1e-9)
    assert grid.crval == _CELL.crval


@pytest.mark.parametrize("rotation", [0.0, 37.0, -60.0])
def test_columns_turn_from_north_to_east(rotation: float) -> None:
    from astropy.wcs.utils import proj_plane_pixel_scales

    grid = _grid(final_scale=0.06, final_rot=rotation)
    np.testing.assert_allclose(proj_plane_pixel_scales(grid.wcs) * 3600.0, 0.06)
    # The position angle of the y axis, from the WCS alone, at the tangent point.
    east, north = grid.wcs.pixel_scale_matrix[:, 1]
    assert np.degrees(np.arctan2(east, north)) == pytest.approx(rotation)
    assert np.linalg.det(grid.wcs.pixel_scale_matrix) < 0.0


def test_size_and_reference_may_be_given() -> None:
    grid = _grid(final_outnx=501, final_outny=400, final_ra=180.9, final_dec=27.9)
    assert grid.shape == (400, 501)
    np.testing.assert_allclose(grid.wcs.wcs_world2pix(180.9, 27.9, 1), [251.0, 200.5], atol=1e-6)
    grid = _grid(final_ra=180.9, final_dec=27.9, final_crpix1=10.0, final_crpix2=20.5)
    np.testing.assert_allclose(grid.wcs.wcs_world2pix(180.9, 27.9, 1), [10.0, 20.5], atol=1e-6)


def test_the_whole_cell_keeps_its_size_on_the_sky() -> None:
    assert _grid(final_scale=0.08).cell_shape == (10977, 10977)


def test_positions_on_the_other_side_of_the_sky_are_refused() -> None:
    with pytest.raises(ParameterError, match="final_ra"):
        _grid(final_ra=0.0, final_dec=-26.0)
