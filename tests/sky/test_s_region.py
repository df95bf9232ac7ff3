from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Point, Polygon

from multivisit.errors import SkyCellError
from multivisit.sky.cells import SkyCell
from multivisit.sky.footprint import outline_pixels, s_region
from multivisit.sky.plane import TangentPlane

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CENTRES = [(180.0, 26.0), (0.0, 0.0), (359.999, -60.0), (30.0, 90.0), (200.0, -89.99)]


def rectangle(plane: TangentPlane, x: float, y: float, width: float, height: float) -> tuple[Floats, Floats]:
    """Outline of a rectangle in a plane whose pixels are one arcsec; x and y count from the tangent point."""
    unit = outline_pixels((1, 1), 16) + 0.5
    return plane.sky(unit * np.array([width, height]) + np.array([x, y]))


def plane_at(centre: tuple[float, float]) -> TangentPlane:
    return TangentPlane.north_up(centre, (1.0, 1.0), 1.0)


def rings_of(text: str) -> list[list[tuple[float, float]]]:
    """The closed rings of an S_REGION string."""
    rings = []
    for part in text.split("POLYGON ICRS ")[1:]:
        numbers = [float(number) for number in part.split()]
        rings.append(list(zip(numbers[::2], numbers[1::2], strict=True)))
    return rings


def polygon_of(ring: list[tuple[float, float]], plane: TangentPlane) -> Polygon:
    ra, dec = np.array(ring).T
    return Polygon(plane.pixels(ra, dec))


@pytest.mark.parametrize("centre", CENTRES)
def test_a_rectangle_is_four_corners_and_closed(centre: tuple[float, float]) -> None:
    plane = plane_at(centre)
    text = s_region([rectangle(plane, -100, -50, 202, 101)])
    (ring,) = rings_of(text)
    assert len(ring) == 5
    assert ring[0] == ring[-1]
    assert ring[0][1] == max(dec for _, dec in ring)
    assert polygon_of(ring, plane).area == pytest.approx(202 * 101, rel=1e-6)
    assert all(0 <= ra < 360 for ra, _ in ring)
    assert all(len(number.split(".")[1]) == 8 for number in text.split()[2:])


@pytest.mark.parametrize("centre", CENTRES)
def test_rings_go_from_north_to_east(centre: tuple[float, float]) -> None:
    plane = plane_at(centre)
    (ring,) = rings_of(s_region([rectangle(plane, -100, -50, 200, 100)]))
    # East is at smaller x, so North to East is counter-clockwise in pixels
    assert polygon_of(ring, plane).exterior.is_ccw


def test_separate_chips_are_separate_polygons_unless_the_gap_is_closed() -> None:
    plane = plane_at((180.0, 26.0))
    chips = [rectangle(plane, -100, -103, 200, 100), rectangle(plane, -100, 0, 200, 100)]
    lower_and_upper = rings_of(s_region(chips))
    assert len(lower_and_upper) == 2
    assert lower_and_upper[0][0][1] > lower_and_upper[1][0][1]
    (one,) = rings_of(s_region(chips, close_gaps=5.0))
    assert polygon_of(one, plane).area == pytest.approx(200 * 203, rel=1e-6)
    assert len(rings_of(s_region(chips, close_gaps=2.0))) == 2


def test_only_what_is_in_the_image_is_described() -> None:
    cell = SkyCell.from_name("skycell-p1889x07y19")
    grid = cell.sub_grid(1000, 2000, 3000, 1500)
    pixels = outline_pixels((1, 1), 16)
    around = cell.plane().sky((pixels + 0.5) * 8000 - 0.5)
    (ring,) = rings_of(s_region([around], grid))
    corners = sorted(map(tuple, np.round(cell.plane().pixels(*np.array(ring).T), 3).tolist()))
    assert corners == sorted(
        [(999.5, 1999.5), (999.5, 3499.5), (3999.5, 1999.5), (3999.5, 3499.5), corners_start(corners)]
    )
    elsewhere = cell.plane().sky((pixels + 0.5) * 500 - 0.5)
    assert s_region([elsewhere], grid) == ""


def corners_start(corners: list[tuple[float, ...]]) -> tuple[float, ...]:
    """The corner that is there twice, since the ring is closed."""
    return next(corner for corner in corners if corners.count(corner) == 2)


@settings(max_examples=60)
@given(
    st.sampled_from(CENTRES),
    st.lists(
        st.tuples(
            st.floats(-300, 300),
            st.floats(-300, 300),
            st.floats(20, 300),
            st.floats(20, 300),
            st.floats(0, 90),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([0.1, 1.0, 3.0]),
)
def test_the_region_is_the_union_to_within_the_tolerance(
    centre: tuple[float, float], chips: list[tuple[float, float, float, float, float]], tolerance: float
) -> None:
    plane = plane_at(centre)
    corners = []
    for x, y, width, height, roll in chips:
        turn = np.radians(roll)
        matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        corners.append((outline_pixels((1, 1), 8) * [width, height]) @ matrix + [x, y])
    text = s_region([plane.sky(chip) for chip in corners], tolerance=tolerance)
    described = [polygon_of(ring, plane) for ring in rings_of(text)]
    # every point of the chips well inside its chip is in the region, every point of the region is near a chip
    polygons = [Polygon(chip) for chip in corners]
    random = np.random.default_rng(1)
    for x, y in random.uniform(-700, 700, (300, 2)):
        point = Point(x, y)
        if any(
            polygon.contains(point) and polygon.exterior.distance(point) > tolerance * 1.01
            for polygon in polygons
        ):
            assert any(region.buffer(0.001).contains(point) for region in described)
    for region in described:
        for vertex in region.exterior.coords:
            assert min(polygon.distance(Point(vertex)) for polygon in polygons) < tolerance + 0.001


def test_holes_are_not_described() -> None:
    plane = plane_at((10.0, 20.0))
    frame = [
        rectangle(plane, 0, 0, 300, 50),
        rectangle(plane, 0, 250, 300, 50),
        rectangle(plane, 0, 0, 50, 300),
        rectangle(plane, 250, 0, 50, 300),
    ]
    (ring,) = rings_of(s_region(frame))
    assert polygon_of(ring, plane).area == pytest.approx(300 * 300, rel=1e-6)


def test_nothing_gives_an_empty_string() -> None:
    assert s_region([]) == ""


def test_impossible_requests_are_errors() -> None:
    chip = rectangle(plane_at((10.0, 20.0)), 0, 0, 10, 10)
    with pytest.raises(SkyCellError, match="cannot be negative"):
        s_region([chip], tolerance=-1.0)
    with pytest.raises(SkyCellError, match="cannot be negative"):
        s_region([chip], close_gaps=-1.0)
    with pytest.raises(SkyCellError, match="8 decimals are the least"):
        s_region([chip], decimals=5)
    far = [rectangle(plane_at((ra, 0.0)), 0, 0, 10, 10) for ra in (0.0, 170.0)]
    with pytest.raises(SkyCellError, match="more than 80 degrees"):
        s_region(far)
    everywhere = [rectangle(plane_at((ra, 0.0)), 0, 0, 10, 10) for ra in (0.0, 90.0, 180.0, 270.0)]
    with pytest.raises(SkyCellError, match="all over the sky"):
        s_region(everywhere)
