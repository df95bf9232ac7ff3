"""Custom mosaics: their names, their areas and their grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.wcs import WCS

from multivisit.errors import ParameterError, SkyCellError
from multivisit.plan.custom_mosaic import (
    ExposuresArea,
    GridArea,
    LimitsArea,
    OutlinesArea,
    RectangleArea,
)
from multivisit.plan.names import checked_prefix, custom_prefix
from multivisit.sky.cells import ProjectionCell, SkyCell
from multivisit.sky.footprint import nearest_projection_cell
from multivisit.sky.grid import OutputGrid
from multivisit.sky.tessellation import N_PROJECTION_CELLS


def square(ra: float, dec: float, half_arcsec: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a small square about a position, by the sky itself: offsets along great circles."""
    half = half_arcsec / 3600.0
    corners = [(-half, -half), (half, -half), (half, half), (-half, half)]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [1.0, 1.0]
    wcs.wcs.cdelt = [-1.0, 1.0]
    x, y = np.transpose(corners)
    return wcs.wcs_pix2world(x, y, 0)


@pytest.mark.parametrize(
    ("ra", "dec", "name"),
    [
        (201.9512, 26.0012, "p1974-ra201d9512-decn26d0012"),
        (0.0, 0.0, "p1974-ra000d0000-decn00d0000"),
        (5.0, -0.00004, "p1974-ra005d0000-decn00d0000"),
        (5.0, -0.00006, "p1974-ra005d0000-decs00d0001"),
        (5.0, 1e-12, "p1974-ra005d0000-decn00d0000"),
        (5.00001, -5e-324, "p1974-ra005d0000-decn00d0000"),
        (359.99994, -0.5, "p1974-ra359d9999-decs00d5000"),
        (359.99996, -0.99996, "p1974-ra000d0000-decs01d0000"),
        (-0.0001, 89.99999, "p1974-ra359d9999-decn90d0000"),
        (12.3, -89.9, "p1974-ra012d3000-decs89d9000"),
    ],
)
def test_the_automatic_prefix_is_rounded_position_of_the_centre(ra, dec, name):
    assert custom_prefix(1974, ra, dec) == f"hst_skycell-{name}"


@pytest.mark.parametrize(
    ("given", "kept"), [("deep_", "deep"), ("deep__", "deep_"), ("m51", "m51"), ("", "")]
)
def test_an_underscore_at_the_end_of_a_prefix_is_not_doubled(given, kept):
    assert checked_prefix(given) == kept
    assert checked_prefix(None) == ""


@pytest.mark.parametrize("prefix", ["a/b", "..", "_", "-o", "my field", "näh", "a\nb", "x" * 500, 7, ["a"]])
def test_impossible_prefixes_are_refused(prefix):
    with pytest.raises(ParameterError, match="output_file_prefix"):
        checked_prefix(prefix)


@pytest.mark.parametrize(
    "limits", [[1, 2, 3], [2, 1, 3, 4], [1, 2, 4, 4], [0, 1, 0, math.nan], "abcd", 5, [1, 2, 3, "x"], None]
)
def test_limits_must_be_four_numbers_in_order(limits):
    with pytest.raises(ParameterError, match=r"custom_limits.*xmin, xmax, ymin, ymax"):
        LimitsArea(limits).mosaic([square(180.2, 26.2, 10)], [1889])


def test_limits_are_pixels_of_the_projection_cell_both_included():
    """Limits of a whole sky cell give the sky cell's own grid."""
    cell = SkyCell.from_name("skycell-p1889x10y13")
    ra, dec = cell.wcs.wcs_pix2world([0.0, 21953.0], [0.0, 21953.0], 0)
    x, y = cell.projection_cell.wcs.wcs_world2pix(ra, dec, 0)
    area = LimitsArea((x[0], x[1], y[0], y[1]))
    mosaic = area.mosaic([], [1889])
    assert mosaic.scale_names == ("coarse", "fine")
    for name, n_pixels in (("fine", 21954), ("coarse", 7319)):
        # As published: the rounded limits at 0.12 arcsec are both included, one pixel more than the cell has.
        grid, of_cell = mosaic.whole_grid(name), cell.grid(name)
        assert (grid.crval, grid.crpix, grid.ltv) == (of_cell.crval, of_cell.crpix, of_cell.ltv)
        assert grid.shape == (n_pixels, n_pixels)


def test_limits_between_pixels_are_rounded_and_that_is_said(caplog):
    whole = LimitsArea((192978, 193977, 235862, 236861)).mosaic([], [1889]).whole_grid("fine")
    assert caplog.text == ""
    between = LimitsArea((192977.6, 193977.3, 235862.4, 236860.9)).mosaic([], [1889]).whole_grid("fine")
    assert between == whole
    assert "custom_limits: found [192977.6" in caplog.text
    assert "rounded to [192978, 193977, 235862, 236861]" in caplog.text


def test_the_coarse_grid_is_that_of_the_projection_cell():
    coarse = LimitsArea((192978, 214931, 235862, 257815)).mosaic([], [1889]).whole_grid("coarse")
    whole = ProjectionCell(1889, scale=0.12).wcs
    assert all(float(value).is_integer() for value in np.subtract(whole.wcs.crpix, coarse.crpix))
    assert coarse.shape == (7318, 7319)


def test_limits_of_several_projection_cells_are_refused():
    with pytest.raises(ParameterError, match="p1889, p1890"):
        LimitsArea((0, 10, 0, 10)).mosaic([], [1890, 1889, 1889])


def test_the_grid_is_that_of_the_nearest_projection_cell():
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 360, 40), np.degrees(np.arcsin(rng.uniform(-1, 1, 40)))
    centres = np.array([ProjectionCell(index).crval for index in range(N_PROJECTION_CELLS)])
    for east, north in zip([*ra, 0.0, 359.99, 10.0], [*dec, 0.0, 0.0, 90.0], strict=True):
        # The haversine, which has nothing of the unit vectors that the code uses.
        d_ra, d_dec = np.radians(centres[:, 0] - east), np.radians(centres[:, 1] - north)
        cosines = np.cos(np.radians(centres[:, 1])) * np.cos(np.radians(north))
        distance = np.sin(d_dec / 2) ** 2 + cosines * np.sin(d_ra / 2) ** 2
        assert nearest_projection_cell(east, north).cell_id == int(np.argmin(np.round(distance, 14)))


def test_an_area_of_exposures_holds_them_beyond_the_projection_cells_edge():
    """Two fields more than a degree apart, one of them outside the projection cell that carries the grid."""
    outlines = [square(180.0, 27.4, 50.0), square(180.0, 28.55, 50.0)]
    mosaic = ExposuresArea().mosaic(outlines, [])
    assert mosaic.projection_cell == 1889
    x, y = ProjectionCell(1889).wcs.wcs_world2pix(*outlines[1], 0)
    assert y.min() > 450287
    whole = mosaic.grid("fine", outlines)
    x, y = whole.wcs.wcs_world2pix(*np.concatenate(outlines, axis=1), 0)
    for low, high, n in ((x.min(), x.max(), whole.shape[1]), (y.min(), y.max(), whole.shape[0])):
        assert -0.5 - 1e-6 <= low < 0.5
        assert n - 1.5 < high <= n - 0.5 + 1e-6


def test_a_rectangle_has_the_size_that_was_asked_for_and_its_centre_in_the_middle():
    for centre in [(180.26, 26.24), (0.00001, -0.00001), (359.9999, 40.0), (77.0, 89.9999)]:
        area = RectangleArea(centre, (60.0, 30.0))
        mosaic = area.mosaic([], [])
        for name, n_columns, n_rows in (("fine", 1500, 750), ("coarse", 500, 250)):
            grid = mosaic.whole_grid(name)
            assert grid.shape == (n_rows, n_columns)
            x, y = grid.wcs.wcs_world2pix(*centre, 0)
            assert abs(x - (n_columns - 1) / 2) <= 0.5 + 1e-6
            assert abs(y - (n_rows - 1) / 2) <= 0.5 + 1e-6


def test_a_scale_of_ones_own_gives_one_grid_of_that_scale():
    mosaic = RectangleArea((180.26, 26.24), (300, 200), in_pixels=True, scale=0.1).mosaic([], [])
    assert mosaic.scale_names == ("custom",)
    grid = mosaic.whole_grid("custom")
    assert grid.shape == (200, 300)
    assert grid.scale == 0.1


def test_a_mosaic_that_is_asked_for_by_size_is_not_cut():
    mosaic = RectangleArea((180.26, 26.24), (60.0, 30.0)).mosaic([], [])
    assert mosaic.grid("fine", [square(180.26, 26.24, 3)]).shape == (750, 1500)
    assert mosaic.grid("fine", [square(180.36, 26.24, 3)]) is None


def test_outlines_are_held_by_the_smallest_rectangle():
    outline = square(180.26, 26.24, 10)
    grid = OutlinesArea((outline,)).mosaic([], []).whole_grid("fine")
    x, y = grid.wcs.wcs_world2pix(*outline, 0)
    for low, high, n in ((x.min(), x.max(), grid.shape[1]), (y.min(), y.max(), grid.shape[0])):
        assert -0.5 - 1e-6 <= low < 0.5
        assert n - 1.5 < high <= n - 0.5 + 1e-6


def test_the_name_has_the_mosaics_own_centre():
    area = RectangleArea((359.99999, -0.00001), (1.0, 1.0))
    mosaic = area.mosaic([], []).named(None, [])
    assert mosaic.prefix == f"hst_skycell-p{mosaic.projection_cell:04d}-ra000d0000-decn00d0000"
    outlines = [square(180.2611, 26.2422, 30)]
    assert ExposuresArea().mosaic(outlines, []).named("", outlines).prefix == (
        "hst_skycell-p1889-ra180d2611-decn26d2422"
    )
    assert ExposuresArea().mosaic(outlines, []).named("deep_", outlines).prefix == "deep"


def test_a_grid_of_ones_own_is_kept():
    angle = np.radians(30.0)
    cd = tuple(
        tuple(float(value) / 36000 for value in row)
        for row in ((-np.cos(angle), np.sin(angle)), (np.sin(angle), np.cos(angle)))
    )
    grid = OutputGrid("", 0.1, (180.26, 26.24), (50.5, 60.5), (120, 100), cd_matrix=cd)
    kept = GridArea(grid).mosaic([], []).whole_grid("custom")
    assert kept.cd == cd
    wcs = kept.wcs
    assert kept.orientation == pytest.approx(30.0)
    np.testing.assert_allclose(wcs.wcs_pix2world(49.5, 59.5, 0), grid.crval)
    x, y = kept.plane().pixels([180.25, 180.27], [26.23, 26.25]).T
    np.testing.assert_allclose([x, y], wcs.wcs_world2pix([180.25, 180.27], [26.23, 26.25], 0), atol=1e-6)


@pytest.mark.parametrize(
    ("area", "what"),
    [
        (RectangleArea((180.0, 26.0), (90000.0, 10.0)), "at most 450287 pixels"),
        (RectangleArea((180.0, 26.0), (9.0, 10.0), scale=-1.0), "pixel scale"),
        (GridArea(OutputGrid("", 3600.0, (10.0, 10.0), (1.0, 1.0), (1000, 1000))), "80 degrees"),
    ],
)
def test_areas_that_make_no_sense_are_refused(area, what):
    with pytest.raises((ParameterError, SkyCellError), match=what):
        area.mosaic([square(180.2, 26.2, 10)], [])
