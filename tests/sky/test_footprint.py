"""Footprints against brute force: dense grids of chip pixels, carried by astropy's exact transforms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.wcs import WCS, Sip
from hypothesis import given, settings
from hypothesis import strategies as st

from multivisit.errors import SkyCellError
from multivisit.sky.cells import SkyCell
from multivisit.sky.footprint import (
    bounding_grid,
    cells_of_outlines,
    outline_pixels,
    sky_polygon_in_plane,
)
from multivisit.sky.plane import TangentPlane
from multivisit.sky.tessellation import RINGS, CellLayout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Detector:
    """Chips of one detector: their size, pixel scale and how strong their distortion is."""

    shape: tuple[int, int]
    scale: float
    quadratic: float
    chip_offsets: tuple[float, ...] = (0.0,)

    def chips(self, ra: float, dec: float, roll: float) -> list[WCS]:
        """WCS of each chip, with a SIP distortion of a real detector's size."""
        turn = np.radians(roll)
        matrix = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        chips = []
        for offset in self.chip_offsets:
            wcs = WCS(naxis=2)
            wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
            wcs.wcs.crval = [ra, dec]
            wcs.wcs.crpix = [self.shape[1] / 2, self.shape[0] / 2 - offset]
            wcs.wcs.cd = matrix * self.scale / 3600
            a, b = np.zeros((3, 3)), np.zeros((3, 3))
            a[2, 0], a[1, 1], b[0, 2], b[2, 0] = (
                self.quadratic * factor for factor in (1.0, -0.7, -0.9, 0.2)
            )
            wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
            wcs.wcs.set()
            chips.append(wcs)
        return chips


DETECTORS = {
    "acs/wfc": Detector((2048, 4096), 0.05, 8e-6, (-1049.0, 1049.0)),
    "acs/hrc": Detector((1024, 1024), 0.025, 1e-5),
    "acs/sbc": Detector((1024, 1024), 0.03, 1e-5),
    "wfc3/uvis": Detector((2051, 4096), 0.04, 3e-6, (-1041.0, 1041.0)),
    "wfc3/ir": Detector((1014, 1014), 0.128, 1e-5),
    "wfpc2/pc": Detector((800, 800), 0.046, 1e-5),
    "larger than a sky cell": Detector((4096, 4096), 0.3, 0.0),
}


def on_sky(wcs: WCS, pixels: Floats) -> tuple[Floats, Floats]:
    ra, dec = wcs.all_pix2world(pixels[:, 0], pixels[:, 1], 0)
    return ra, dec


def outlines_of(chips: list[WCS], shape: tuple[int, int]) -> list[tuple[Floats, Floats]]:
    pixels = outline_pixels(shape)
    return [on_sky(wcs, pixels) for wcs in chips]


def dense_pixels(shape: tuple[int, int], n: int) -> Floats:
    """A grid of n x n points over the whole area of a chip's pixels, just inside its border."""
    x = np.linspace(-0.5, shape[1] - 0.5, n) * (1 - 1e-9)
    y = np.linspace(-0.5, shape[0] - 0.5, n) * (1 - 1e-9)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


@st.composite
def pointings(draw: st.DrawFn) -> tuple[float, float]:
    """Positions over the whole sky, with the poles, RA 0, and borders of projection and sky cells often."""
    kind = draw(st.sampled_from(["sky", "pole", "meridian", "border"]))
    if kind == "sky":
        return draw(st.floats(0, 360)), float(np.degrees(np.arcsin(draw(st.floats(-1, 1)))))
    if kind == "pole":
        return draw(st.floats(0, 360)), draw(st.sampled_from([1, -1])) * (90 - draw(st.floats(0, 0.1)))
    if kind == "meridian":
        return draw(st.floats(-0.1, 0.1)) % 360, draw(st.floats(-90, 90))
    ring = draw(st.sampled_from(RINGS))
    edges = st.builds(
        lambda cell, end, offset: (cell - 1) * 21442 + end + offset,
        st.integers(1, 21),
        st.sampled_from([0, 21954]),
        st.floats(-3000, 3000),
    )
    index = draw(st.integers(0, ring.n_cells - 1))
    plane = TangentPlane.north_up((ring.ra_of(index), ring.dec), (225144.0, 225144.0), 0.04)
    ra, dec = plane.sky([draw(edges), draw(edges)])
    return float(ra), float(dec)


def key(cell: SkyCell) -> tuple[int, int, int]:
    return cell.projection_cell.cell_id, cell.x_index, cell.y_index


@settings(max_examples=150)
@given(pointings(), st.floats(0, 360), st.sampled_from(sorted(DETECTORS)))
def test_cells_are_those_that_exact_transforms_hit(
    published_grid: Any, pointing: tuple[float, float], roll: float, name: str
) -> None:
    detector = DETECTORS[name]
    chips = detector.chips(*pointing, roll)
    found = [key(cell) for cell in cells_of_outlines(outlines_of(chips, detector.shape))]
    assert found == sorted(found)

    dense = dense_pixels(detector.shape, 60)
    inside = [on_sky(wcs, dense) for wcs in chips]
    ra, dec = (np.concatenate(axis) for axis in zip(*inside, strict=True))
    assert published_grid.cells_hit(ra, dec, -0.01) <= set(found)

    # a reported cell has a point of the chips in it, or nearer than the points along the edges are apart
    edges = outline_pixels(detector.shape, 600)
    outer = [on_sky(wcs, edges) for wcs in chips]
    ra, dec = (np.concatenate(axis) for axis in zip(*inside, *outer, strict=True))
    spacing = 1.2 * max(detector.shape) / 600 * detector.scale / 0.04
    assert set(found) <= published_grid.cells_hit(ra, dec, spacing)


CENTRE_OF_1889 = (180.0, 26.0)

# Pointing and roll (37 degrees times the number) of a WFC3/IR detector; what the published system reports.
PUBLISHED = [
    ((0.05, 0.02), 2, "p1232x11y19 p1232x11y20 p1322x11y03"),
    ((10, 89.98), 3, "p2643x11y11"),
    ((200, -89.9), 4, "p0000x11y10 p0000x11y11"),
    ((182.3, 26.0), 5, "p1889x02y11 p1890x19y11"),
    ((182.2, 27.9), 6, "p1889x03y19 p1890x19y19 p1970x11y02"),
    ((100, 58.1), 7, "p2418x13y11 p2418x13y12"),
    ((100.3, 60.45), 8, "p2418x12y21 p2466x02y05 p2467x19y05"),
    (
        (45.0, 86.9),
        9,
        "p2634x02y18 p2634x02y19 p2635x10y15 p2636x18y17 p2636x19y17 p2643x02y02",
    ),
    ((180.9, 28.45), 10, "p1889x08y21 p1970x16y04 p1970x16y05"),
    ((150.1, 2.2), 11, "p1359x02y12 p1360x19y12"),
    ((2.2, -22.0), 12, "p0796x02y11 p0796x03y11 p0797x19y11"),
    ((33.0, -4.45), 13, "p1151x08y17 p1151x08y18 p1240x07y01"),
    ((5.3, -72.0), 14, "p0046x04y19 p0047x21y19 p0073x04y02 p0074x18y02"),
    ((359.99, -72), 15, "p0046x11y19 p0073x11y02 p0073x11y03"),
]
# West of RA 0 the published system misses the cells after the semicolon.
MISSED = [
    ((357.9, -22), 0, "p0796x19y11", "p0879x02y11 p0879x03y11"),
    (
        (357.86, 44),
        1,
        "p2157x17y19 p2157x17y20 p2157x18y19 p2157x18y20 p2225x17y03 p2225x18y03",
        "p2224x01y19 p2224x01y20 p2224x02y19 p2224x02y20 p2288x01y03",
    ),
]


def wfc3_ir_cells(pointing: tuple[float, float], number: int) -> set[str]:
    detector = Detector((1014, 1014), 0.128, 0.0)
    chips = detector.chips(*pointing, 37.0 * number)
    return {
        cell.sky_cell_id.removeprefix("skycell-")
        for cell in cells_of_outlines(outlines_of(chips, detector.shape))
    }


@pytest.mark.parametrize(("pointing", "number", "cells"), PUBLISHED)
def test_cells_are_the_published_systems(pointing: tuple[float, float], number: int, cells: str) -> None:
    assert wfc3_ir_cells(pointing, number) == set(cells.split())


@pytest.mark.parametrize(("pointing", "number", "cells", "missed"), MISSED)
def test_cells_west_of_ra_0_are_not_missed(
    pointing: tuple[float, float], number: int, cells: str, missed: str
) -> None:
    assert wfc3_ir_cells(pointing, number) == set(cells.split()) | set(missed.split())


def test_scale_and_cell_size_take_effect() -> None:
    detector = DETECTORS["wfc3/ir"]
    outlines = outlines_of(detector.chips(150.0, 2.0, 10.0), detector.shape)
    coarse = cells_of_outlines(outlines, "coarse")
    assert [cell.scale for cell in coarse] == [0.12] * len(coarse)
    assert [key(cell) for cell in coarse] == [key(cell) for cell in cells_of_outlines(outlines)]
    small = cells_of_outlines(outlines, cell_size=4.2)
    assert {cell.projection_cell.wcs.pixel_shape for cell in small} == {(378000, 378000)}
    for cells, scale in ((coarse, 0.12), (small, 0.04)):
        for cell in cells:
            inside = sky_polygon_in_plane(*outlines[0], cell.wcs).intersection(cell.polygon)
            assert inside.area * scale**2 > 0


def test_an_exposure_in_the_margin_beyond_a_projection_cell_is_not_in_it() -> None:
    # sky cell x=21 sticks out by 507 pixels: a small exposure in them belongs to the neighbours alone
    plane = TangentPlane.north_up(CENTRE_OF_1889, (225144.0, 225144.0), 0.04)
    for first, expected in ((450_400.0, False), (450_100.0, True)):
        corners = np.array([[0.0, 0.0], [50.0, 0.0], [50.0, 50.0], [0.0, 50.0]])
        cells = cells_of_outlines([plane.sky(corners + np.array([first, 225_000.0]))])
        assert ("skycell-p1889x21y11" in {cell.sky_cell_id for cell in cells}) is expected
        assert len(cells) >= 1


def test_no_outlines_have_no_cells() -> None:
    assert cells_of_outlines([]) == []


@settings(max_examples=60)
@given(pointings(), st.floats(0, 360), st.sampled_from(sorted(DETECTORS)))
def test_the_polygon_is_where_exact_transforms_put_the_outline(
    pointing: tuple[float, float], roll: float, name: str
) -> None:
    detector = DETECTORS[name]
    chip = detector.chips(*pointing, roll)[0]
    outline = on_sky(chip, outline_pixels(detector.shape))
    for cell in cells_of_outlines([outline])[:2]:
        polygon = sky_polygon_in_plane(*outline, cell.wcs)
        fine = on_sky(chip, outline_pixels(detector.shape, 1000))
        x, y = cell.wcs.wcs_world2pix(*fine, 0)
        assert polygon.bounds == pytest.approx((x.min(), y.min(), x.max(), y.max()), abs=0.02)
        shoelace = 0.5 * abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
        assert polygon.area == pytest.approx(shoelace, rel=1e-5)


def test_outlines_on_the_far_side_are_empty() -> None:
    detector = DETECTORS["acs/wfc"]
    cell = SkyCell.from_name("skycell-p1889x07y19")
    for ra, dec in ((0.0, -26.0), (0.0, 0.0), (90.0, -40.0)):
        for outline in outlines_of(detector.chips(ra, dec, 20.0), detector.shape):
            assert sky_polygon_in_plane(*outline, cell.wcs).is_empty
            assert bounding_grid(cell, [outline]) is None


def test_an_outline_that_reaches_the_far_side_is_cut() -> None:
    # a belt along the equator, wider than a hemisphere: in the plane it ends 80 degrees from the middle
    plane = TangentPlane.north_up((180.0, 0.0), (1.0, 1.0), 3600.0)
    ra = np.concatenate([np.arange(60.0, 300.5), np.arange(300.0, 59.5, -1.0)])
    dec = np.repeat([-5.0, 5.0], 241)
    polygon = sky_polygon_in_plane(ra, dec, plane)
    edge = np.degrees(np.tan(np.radians(80.0)))
    assert polygon.is_valid
    assert polygon.bounds[0] == pytest.approx(-edge, rel=0.02)
    assert polygon.bounds[2] == pytest.approx(edge, rel=0.02)
    from shapely import Point

    assert polygon.contains(Point(0, 0))
    assert not polygon.contains(Point(0, 6))


def test_outline_pixels_go_round_the_outer_pixel_edges() -> None:
    pixels = outline_pixels((2, 4), points_per_edge=4)
    assert pixels.shape == (16, 2)
    assert pixels[::4].tolist() == [[-0.5, -0.5], [3.5, -0.5], [3.5, 1.5], [-0.5, 1.5]]
    assert pixels[1].tolist() == [0.5, -0.5]
    with pytest.raises(SkyCellError, match="has no outline"):
        outline_pixels((0, 5))


@pytest.mark.parametrize(
    ("ra", "dec", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], "at least three points"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "3 and 2"),
        ([1.0, 2.0, np.nan], [1.0, 2.0, 3.0], "1 of the 3 points .* point 2 is at right ascension nan"),
        ([1.0, 2.0, 3.0], [1.0, 95.0, 3.0], "declination 95"),
    ],
)
def test_unusable_outlines_are_errors(ra: list[float], dec: list[float], message: str) -> None:
    with pytest.raises(SkyCellError, match=message):
        cells_of_outlines([(ra, dec)])


def test_a_crossed_outline_still_covers_its_parts() -> None:
    plane = TangentPlane.north_up(CENTRE_OF_1889, (1.0, 1.0), 0.04)
    bow_tie = plane.sky(np.array([[0.0, 0.0], [100.0, 100.0], [100.0, 0.0], [0.0, 100.0]]))
    polygon = sky_polygon_in_plane(*bow_tie, plane)
    assert polygon.is_valid
    assert polygon.area == pytest.approx(5000.0)


@settings(max_examples=60)
@given(
    st.integers(0, 2643),
    st.tuples(st.integers(1, 21), st.integers(1, 21)),
    st.tuples(st.integers(0, 20000), st.integers(0, 20000)),
    st.tuples(st.integers(1, 1900), st.integers(1, 1900)),
)
def test_a_chip_on_the_cells_own_pixels_is_bounded_by_itself(
    cell_id: int, xy: tuple[int, int], start: tuple[int, int], size: tuple[int, int]
) -> None:
    cell = SkyCell.from_name(f"skycell-p{cell_id:04d}x{xy[0]:02d}y{xy[1]:02d}")
    exact = cell.sub_grid(*start, *size)
    outline = on_sky(exact.wcs, outline_pixels(exact.shape, 4))
    assert bounding_grid(cell, [outline]) == exact


@settings(max_examples=40)
@given(
    pointings(), st.floats(0, 360), st.sampled_from(sorted(DETECTORS)), st.sampled_from([0.04, 0.12, 0.37])
)
def test_the_bounding_grid_contains_every_exposed_pixel_and_no_more(
    pointing: tuple[float, float], roll: float, name: str, scale: float
) -> None:
    detector = DETECTORS[name]
    chips = detector.chips(*pointing, roll)
    outlines = outlines_of(chips, detector.shape)
    # all points of the chips' area, and closer ones along their edges
    points = [dense_pixels(detector.shape, 300), outline_pixels(detector.shape, 4000)]
    for cell in cells_of_outlines(outlines)[:3]:
        grid = bounding_grid(cell, outlines, scale)
        assert grid is not None
        whole = cell.grid(scale)
        assert grid.cell_shape == whole.shape
        assert grid.crpix == (whole.crpix[0] - grid.offset[0], whole.crpix[1] - grid.offset[1])
        exposed = np.concatenate(
            [
                np.column_stack(whole.wcs.wcs_world2pix(*on_sky(wcs, pixels), 0))
                for wcs in chips
                for pixels in points
            ]
        )
        limit = np.array(whole.shape[::-1]) - 0.5
        exposed = exposed[np.all((exposed > -0.5) & (exposed < limit), axis=1)]
        low, high = np.array(grid.offset) - 0.5, np.array(grid.offset) + grid.shape[::-1] - 0.5
        assert (exposed > low - 0.01).all()
        assert (exposed < high + 0.01).all()
        if len(exposed):
            # no row or column could be left off, but for what falls between the points
            spacing = 1.5 * max(detector.shape) / 300 * detector.scale / scale + 1.0
            assert (exposed.min(axis=0) < low + 1 + spacing).all()
            assert (exposed.max(axis=0) > high - 1 - spacing).all()


@settings(max_examples=40)
@given(st.integers(0, 2643), st.floats(0, 360), st.sampled_from(sorted(DETECTORS)))
def test_the_bounding_grid_of_a_chip_inside_the_cell_is_exact(cell_id: int, roll: float, name: str) -> None:
    detector = DETECTORS[name]
    cell = SkyCell.from_name(f"skycell-p{cell_id:04d}x11y11")
    centre = [float(axis) for axis in cell.wcs.wcs_pix2world(10977.0, 10977.0, 0)]
    if name == "larger than a sky cell":
        detector = Detector((4096, 4096), 0.1, 1e-6)
    chips = detector.chips(centre[0], centre[1], roll)
    grid = bounding_grid(cell, outlines_of(chips, detector.shape))
    assert grid is not None
    edges = [
        np.column_stack(cell.wcs.wcs_world2pix(*on_sky(wcs, outline_pixels(detector.shape, 4000)), 0))
        for wcs in chips
    ]
    extremes = np.concatenate(edges)
    low, high = extremes.min(axis=0), extremes.max(axis=0)
    # 0.01 pixel is what the polygon's straight pieces may differ by
    first = np.array(grid.offset)
    last = first + grid.shape[::-1] - 1
    assert (np.floor(low + 0.5 - 0.01) <= first).all()
    assert (first <= np.floor(low + 0.5 + 0.01)).all()
    assert (np.ceil(high + 0.5 - 0.01) - 1 <= last).all()
    assert (last <= np.ceil(high + 0.5 + 0.01) - 1).all()


def test_an_exposure_that_contains_a_whole_cell_is_bounded_by_the_cell() -> None:
    cell = SkyCell.from_name("skycell-p1889x07y19")
    detector = Detector((8192, 8192), 0.3, 0.0)
    centre = [float(axis) for axis in cell.wcs.wcs_pix2world(10976.5, 10976.5, 0)]
    outlines = outlines_of(detector.chips(centre[0], centre[1], 33.0), detector.shape)
    assert bounding_grid(cell, outlines) == cell.grid()
    assert bounding_grid(cell, outlines, "coarse") == cell.grid("coarse")
    assert cell.sky_cell_id in {found.sky_cell_id for found in cells_of_outlines(outlines)}


def test_an_exposure_that_only_touches_the_cell_has_no_grid() -> None:
    cell = SkyCell.from_name("skycell-p1889x07y19")
    corners = np.array([[-10.5, 5.0], [-0.5, 5.0], [-0.5, 15.0], [-10.5, 15.0]])
    assert bounding_grid(cell, [cell.plane().sky(corners)]) is None
    inside = cell.plane().sky(corners + np.array([0.01, 0.0]))
    assert bounding_grid(cell, [inside]) == cell.sub_grid(0, 5, 1, 11)
    assert CellLayout().cell_pixels == cell.grid().shape[0]
