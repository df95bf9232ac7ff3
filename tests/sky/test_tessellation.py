from __future__ import annotations

from typing import Any

import pytest

from multivisit.errors import SkyCellError
from multivisit.sky.tessellation import (
    N_PROJECTION_CELLS,
    PROJECTION_CELL_PIXELS,
    RINGS,
    CellLayout,
    ring_of_projection_cell,
)


def test_the_rings_equal_the_published_table(published_grid: Any) -> None:
    assert len(RINGS) == len(published_grid.rings) == 46
    for ring, row in zip(RINGS, published_grid.rings, strict=True):
        assert (ring.zone, ring.first_cell, ring.n_cells) == (row["ZONE"], row["PROJCELL"], row["NBAND"])
        assert ring.dec == row["DEC"]
        assert (ring.dec_min, ring.dec_max) == pytest.approx((row["DEC_MIN"], row["DEC_MAX"]), abs=1e-10)
        assert row["XCELL"] == row["YCELL"] == PROJECTION_CELL_PIXELS


def test_a_ring_reads_like_a_row_of_the_published_table(published_grid: Any) -> None:
    for ring, row in zip(RINGS, published_grid.rings, strict=True):
        assert {name: ring[name] for name in ring.keys()} == pytest.approx(row, abs=1e-10)  # noqa: SIM118
    assert RINGS[3]["nband"] == RINGS[3].n_cells
    with pytest.raises(KeyError, match="no column 'WIDTH'"):
        RINGS[3]["WIDTH"]


def test_there_are_2644_projection_cells() -> None:
    assert N_PROJECTION_CELLS == 2644
    assert ring_of_projection_cell(0).zone == 0
    assert ring_of_projection_cell(1).zone == ring_of_projection_cell(9).zone == 1
    assert ring_of_projection_cell(10).zone == 2
    assert ring_of_projection_cell(2643).zone == 45


@pytest.mark.parametrize("cell_id", [-1, 2644, 10**6])
def test_other_projection_cells_do_not_exist(cell_id: int) -> None:
    with pytest.raises(SkyCellError, match=rf"no projection cell {cell_id}: the ids go from 0 .* to 2643"):
        ring_of_projection_cell(cell_id)


def test_the_published_sizes_of_sky_cells() -> None:
    fine, coarse = CellLayout(), CellLayout(scale=0.12)
    assert (fine.fine_step, fine.cell_pixels, fine.projection_pixels) == (21442, 21954, 450287)
    assert (coarse.fine_step, coarse.cell_pixels) == (21442, 7318)
    assert (fine.projection_crpix, coarse.projection_crpix) == (225144.0, 75048.0)


@pytest.mark.parametrize("scale", [0.02, 0.03, 0.05, 0.1, 0.2, 1.0])
def test_a_sky_cell_is_the_same_sky_at_every_scale(scale: float) -> None:
    layout, fine = CellLayout(scale=scale), CellLayout()
    for index in (1, 11, 21):
        # the tangent point's distance from the cell's origin in arcsec, both counted from CRPIX 0
        assert layout.crpix(index) * scale == pytest.approx(fine.crpix(index) * 0.04, abs=1e-6)
    assert 0 <= fine.cell_pixels * 0.04 - layout.cell_pixels * scale < scale + 1e-9


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"scale": 0.0}, "pixel scale is 0.0"),
        ({"scale": float("nan")}, "pixel scale is nan"),
        ({"scale": float("inf")}, "pixel scale is inf"),
        ({"scale": 1e6}, "smaller than one pixel"),
        ({"cell_size": 0.0}, "size of the projection cells is 0.0"),
        ({"cell_size": 91.0}, "at most 90 degrees"),
        ({"nxy": 0}, "number of sky cells along a side is 0"),
        ({"overlap": -1}, "overlap of sky cells is -1"),
    ],
)
def test_impossible_sizes_are_errors(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(SkyCellError, match=message):
        CellLayout(**sizes)
