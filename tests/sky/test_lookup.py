from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multivisit.errors import SkyCellError
from multivisit.sky.cells import ProjectionCell, SkyCell
from multivisit.sky.footprint import cells_of_outlines
from multivisit.sky.lookup import cells_containing
from multivisit.sky.plane import TangentPlane
from multivisit.sky.tessellation import RINGS, CellLayout

# in fine pixels: positions this close to a border may go either way
ROUNDING = 1e-6

right_ascensions = st.one_of(
    st.floats(0, 360), st.floats(-1e-3, 1e-3), st.floats(359.9, 360), st.sampled_from([0.0, 180.0, 360.0])
)
declinations = st.one_of(
    st.floats(-90, 90),
    st.floats(86, 90),
    st.floats(-90, -86),
    st.builds(
        lambda ring, offset: float(np.clip(ring.dec + offset, -90, 90)),
        st.sampled_from(RINGS),
        st.floats(-2.6, 2.6),
    ),
)


@st.composite
def positions_at_borders(draw: st.DrawFn) -> tuple[float, float]:
    """A position within a few pixels of a corner of a sky cell or of a projection cell."""
    ring = draw(st.sampled_from(RINGS))
    index = draw(st.integers(0, ring.n_cells - 1))
    step = CellLayout().fine_step
    corners = st.one_of(
        st.builds(lambda cell: (cell - 1) * step - 0.5, st.integers(1, 21)),
        st.builds(lambda cell: (cell - 1) * step + 21953.5, st.integers(1, 21)),
        st.just(450286.5),
    )
    offsets = st.floats(-3, 3)
    pixel = (draw(corners) + draw(offsets), draw(corners) + draw(offsets))
    plane = TangentPlane.north_up((ring.ra_of(index), ring.dec), (225144.0, 225144.0), 0.04)
    ra, dec = plane.sky(pixel)
    return float(ra), float(dec)


positions = st.one_of(st.tuples(right_ascensions, declinations), positions_at_borders())


def found(ra: float, dec: float) -> set[tuple[int, int, int]]:
    matches = cells_containing(ra, dec)
    return set(zip(matches.projection_cell.tolist(), matches.x.tolist(), matches.y.tolist(), strict=True))


@settings(max_examples=400)
@given(positions)
def test_the_cells_of_a_position_are_those_of_exact_transforms(
    published_grid: Any, position: tuple[float, float]
) -> None:
    ra, dec = np.array([position[0]]), np.array([position[1]])
    surely = published_grid.cells_hit(ra, dec, -ROUNDING)
    perhaps = published_grid.cells_hit(ra, dec, ROUNDING)
    assert surely <= found(*position) <= perhaps


@settings(max_examples=200)
@given(positions)
def test_a_tiny_footprint_is_in_the_cells_of_its_position(
    published_grid: Any, position: tuple[float, float]
) -> None:
    plane = TangentPlane.north_up(position, (1.0, 1.0), 0.02)
    outline = plane.sky(np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]))
    cells = {
        (cell.projection_cell.cell_id, cell.x_index, cell.y_index) for cell in cells_of_outlines([outline])
    }
    margin = 1.0  # the outline is one pixel wide
    ra, dec = np.array([position[0]]), np.array([position[1]])
    assert published_grid.cells_hit(ra, dec, -margin) <= cells <= published_grid.cells_hit(ra, dec, margin)


def test_every_position_has_a_cell() -> None:
    random = np.random.default_rng(5)
    ra = random.uniform(0, 360, 200_000)
    dec = np.degrees(np.arcsin(random.uniform(-1, 1, ra.size)))
    assert (np.bincount(cells_containing(ra, dec).position, minlength=ra.size) > 0).all()


def test_many_positions_give_what_each_gives_alone() -> None:
    random = np.random.default_rng(6)
    ra, dec = random.uniform(-400, 400, (20, 5)), random.uniform(-90, 90, (20, 5))
    matches = cells_containing(ra, dec)
    columns = (matches.position, matches.projection_cell, matches.x, matches.y)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    assert rows == sorted(rows)
    assert len(matches) == len(rows) == len(set(rows))
    for position, (a, d) in enumerate(zip(ra.ravel().tolist(), dec.ravel().tolist(), strict=True)):
        assert {row[1:] for row in rows if row[0] == position} == found(a, d)


@pytest.mark.parametrize("scale", [0.12, 0.05, 0.3])
@pytest.mark.parametrize("cell_size", [None, 4.2, 9.0])
def test_scale_and_cell_size_take_effect(scale: float, cell_size: float | None) -> None:
    layout = CellLayout(scale=scale, cell_size=cell_size)
    random = np.random.default_rng(7)
    ra, dec = random.uniform(0, 360, 300), random.uniform(-90, 90, 300)
    matches = cells_containing(ra, dec, layout)
    assert (np.bincount(matches.position, minlength=ra.size) > 0).all()
    for row in range(0, len(matches), 7):
        projection = ProjectionCell(matches.projection_cell[row], scale=scale, cell_size=cell_size)
        cell = SkyCell(projection, matches.x[row], matches.y[row], scale=scale)
        where = matches.position[row]
        pixel = cell.wcs.wcs_world2pix(ra[where], dec[where], 0)
        assert all(-0.5 - 1e-6 <= float(axis) < cell.wcs.pixel_shape[0] - 0.5 + 1e-6 for axis in pixel)


@pytest.mark.parametrize("cell_size", [1.0, 4.2, 9.0, 30.0])
def test_projection_cells_of_any_size_are_all_found(cell_size: float) -> None:
    layout = CellLayout(cell_size=cell_size)
    random = np.random.default_rng(8)
    ra = random.uniform(0, 360, 200)
    dec = np.concatenate([np.degrees(np.arcsin(random.uniform(-1, 1, 196))), [90, -90, 88, -86]])
    matches = cells_containing(ra, dec, layout)
    found = set(zip(matches.position.tolist(), matches.projection_cell.tolist(), strict=True))
    expected = set()
    for ring in RINGS:
        for index in range(ring.n_cells):
            crpix = (layout.projection_crpix, layout.projection_crpix)
            pixels = TangentPlane.north_up((ring.ra_of(index), ring.dec), crpix, 0.04).pixels(ra, dec)
            inside = np.all((pixels >= -0.5) & (pixels < layout.projection_pixels - 0.5), axis=1)
            expected |= {(where, ring.first_cell + index) for where in np.flatnonzero(inside).tolist()}
    assert found == expected


def test_the_poles_are_in_one_cell_each() -> None:
    assert cells_containing([0.0, 0.0], [-90.0, 90.0]).names() == [
        "skycell-p0000x11y11",
        "skycell-p2643x11y11",
    ]


def test_no_positions_have_no_cells() -> None:
    assert len(cells_containing([], [])) == 0


@pytest.mark.parametrize(
    ("ra", "dec", "message"),
    [
        ([1.0, 2.0], [3.0], "are not pairs"),
        ([1.0, 2.0], [3.0, 90.1], r"1 of 2 positions .* number 1 .* declination 90\.1"),
        ([np.nan, 2.0], [3.0, 4.0], "number 0 .* right ascension nan"),
        ([1.0, np.inf], [3.0, 4.0], "number 1 .* right ascension inf"),
        ([1.0], [np.nan], "declination nan"),
    ],
)
def test_positions_that_are_not_on_the_sky_are_errors(
    ra: list[float], dec: list[float], message: str
) -> None:
    with pytest.raises(SkyCellError, match=message):
        cells_containing(ra, dec)
