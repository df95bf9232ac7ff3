from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multivisit.errors import SkyCellError
from multivisit.sky.cells import SUPPORTED_SCALES, ProjectionCell, SkyCell, parse_sky_cell_name
from multivisit.sky.tessellation import RINGS

indices = st.integers(1, 21)
projection_cells = st.integers(0, 2643)


def test_the_published_numbers_of_a_known_cell() -> None:
    cell = SkyCell.from_name("skycell-p1889x07y19")
    assert cell.wcs.wcs.crval.tolist() == [180.0, 26.0]
    assert cell.wcs.wcs.crpix.tolist() == [96492.0, -160812.0]
    assert cell.wcs.pixel_shape == (21954, 21954)
    assert cell.wcs.wcs.cd.ravel() == pytest.approx([-0.04 / 3600, 0, 0, 0.04 / 3600], rel=1e-14)
    assert (cell.wcs.ltv1, cell.wcs.ltv2) == (128652.0, 385956.0)
    assert (cell.wcs.pscale, cell.wcs.orientat, cell.scale) == (0.04, 0.0, 0.04)
    assert (cell.x_index, cell.y_index, cell.nxy, cell.overlap) == (7, 19, 21, 256)
    assert (cell.projection_cell.cell_id, cell.projection_cell.band_index) == (1889, 41)
    assert cell.members == []
    assert repr(cell) == "SkyCell object: skycell-p1889x07y19"


def test_the_coarse_cell_has_a_third_of_the_pixels() -> None:
    cell = SkyCell.from_name("skycell-p1889x07y19", scale="coarse")
    assert cell.wcs.pixel_shape == (7318, 7318)
    assert cell.wcs.wcs.crpix == pytest.approx([96492 / 3, -160812 / 3], abs=1e-9)
    assert cell.wcs.pscale == 0.12
    # a step of 21442 pixels is no multiple of 3: other cells have thirds of a pixel
    assert SkyCell.from_name("skycell-p1889x08y19", scale="coarse").grid().crpix[0] == pytest.approx(
        (96492 - 21442) / 3, abs=1e-9
    )


@given(projection_cells, indices, indices)
def test_names_go_there_and_back(cell_id: int, x: int, y: int) -> None:
    cell = SkyCell(projection_cell=ProjectionCell(index=cell_id), x=x, y=y)
    assert parse_sky_cell_name(cell.sky_cell_id) == (cell_id, x, y)
    again = SkyCell.from_name(cell.sky_cell_id)
    assert again.grid() == cell.grid()


@given(projection_cells, indices, indices)
def test_all_cells_lie_on_their_projection_cells_grid(cell_id: int, x: int, y: int) -> None:
    projection = ProjectionCell(index=cell_id)
    cell = SkyCell(projection, x, y)
    ra, dec = cell.wcs.wcs_pix2world(100.0, 20000.0, 0)
    column, row = projection.wcs.wcs_world2pix(ra, dec, 0)
    assert column == pytest.approx(100 + (x - 1) * 21442, abs=1e-4)
    assert row == pytest.approx(20000 + (y - 1) * 21442, abs=1e-4)


def test_projection_cells_have_the_published_wcs(published_grid: Any) -> None:
    for cell_id in (0, 1, 9, 1322, 1889, 2642, 2643):
        cell = ProjectionCell(index=cell_id)
        expected = published_grid.projection_wcs(cell_id)
        assert cell.wcs.wcs.compare(expected.wcs, tolerance=1e-15) or (
            cell.wcs.wcs.crval == pytest.approx(expected.wcs.crval, abs=1e-12)
            and (cell.wcs.wcs.crpix == expected.wcs.crpix).all()
            and cell.wcs.wcs.cd == pytest.approx(expected.wcs.cd, rel=1e-14)
        )
        assert cell.wcs.pixel_shape == (450287, 450287)
        assert (cell.sc_nxy, cell.sc_overlap, cell.wcs.pscale, cell.wcs.orientat) == (21, 256, 0.04, 0.0)


def test_corners_are_the_footprint_closed() -> None:
    for cell in (SkyCell.from_name("skycell-p0197x18y16"), ProjectionCell(197)):
        assert cell.footprint.shape == (4, 2)
        assert cell.corners.shape == (5, 2)
        assert (cell.corners[:4] == cell.footprint).all()
        assert (cell.corners[4] == cell.corners[0]).all()
        assert (cell.footprint == cell.wcs.calc_footprint()).all()


def test_polygon_and_mask_cover_the_whole_cell() -> None:
    cell = SkyCell.from_name("skycell-p0197x18y16")
    cell.build_polygon()
    cell.build_mask()
    assert cell.polygon.bounds == (-0.5, -0.5, 21953.5, 21953.5)
    assert cell.mask.shape == (21954, 21954)
    assert cell.mask[0, 0] == cell.mask[-1, -1] == 1
    projection = ProjectionCell(197)
    projection.build_polygon()
    assert projection.polygon.area == 450287.0**2


@pytest.mark.parametrize(
    "name",
    [
        "p0197x18y16",
        "skycell-p197x18y16",
        "skycell-p0197x18y1",
        "skycell-p0197x18y16 ",
        "skycell-p0197x18y160",
        "skycell-p-197x18y16",
        "SKYCELL-P0197X18Y16",
        "skycell-p0197",
        "",
        None,
    ],
)
def test_other_names_are_errors(name: Any) -> None:
    with pytest.raises(SkyCellError, match="is not the name of a sky cell"):
        SkyCell.from_name(name)


@pytest.mark.parametrize(
    "name", ["skycell-p2644x01y01", "skycell-p0197x00y01", "skycell-p0197x22y01", "skycell-p0197x01y22"]
)
def test_names_of_cells_that_do_not_exist_are_errors(name: str) -> None:
    with pytest.raises(SkyCellError, match="there is no sky cell"):
        SkyCell.from_name(name)


@pytest.mark.parametrize(("x", "y"), [(0, 1), (1, 0), (-1, 5), (22, 1), (1, 22)])
def test_impossible_positions_are_errors(x: int, y: int) -> None:
    with pytest.raises(SkyCellError, match=f"projection cell 7 has no sky cell x={x} y={y}"):
        SkyCell(ProjectionCell(7), x, y)


@pytest.mark.parametrize("index", [-1, 2644])
def test_impossible_projection_cells_are_errors(index: int) -> None:
    with pytest.raises(SkyCellError, match="no projection cell"):
        ProjectionCell(index)


def test_arguments_of_other_types_are_errors() -> None:
    with pytest.raises(SkyCellError, match="index of the projection cell is None"):
        ProjectionCell()
    with pytest.raises(SkyCellError, match=r"index of the projection cell is 3\.5"):
        ProjectionCell(3.5)  # type: ignore[arg-type]
    with pytest.raises(SkyCellError, match="x index of the sky cell is None"):
        SkyCell(ProjectionCell(7))
    with pytest.raises(SkyCellError, match="needs a projection_cell"):
        SkyCell(x=1, y=1)
    with pytest.raises(SkyCellError, match="unknown pixel scale 'medium': expected 'fine' or 'coarse'"):
        SkyCell(ProjectionCell(7), 1, 1, scale="medium")
    with pytest.raises(SkyCellError, match=r"pixel scale is -0\.04"):
        SkyCell(ProjectionCell(7), 1, 1, scale=-0.04)


def test_a_band_may_be_a_ring_or_a_mapping() -> None:
    mapping = {"PROJCELL": 1848, "NBAND": 82, "DEC": 26.0}
    for band in (RINGS[29], mapping):
        cell = ProjectionCell(index=np.int64(41), band=band)
        assert (cell.cell_id, cell.band_index) == (1889, 41)
        assert cell.wcs.wcs.crval.tolist() == [180.0, 26.0]
    with pytest.raises(SkyCellError, match=r"declination 26\.0 has no projection cell 82"):
        ProjectionCell(index=82, band=RINGS[29])


def test_a_users_scale_takes_effect() -> None:
    cell = SkyCell.from_name("skycell-p1889x07y19", scale=0.05)
    assert (cell.scale, cell.wcs.pscale, cell.wcs.pixel_shape) == (0.05, 0.05, (17563, 17563))
    fine = SkyCell.from_name("skycell-p1889x07y19")
    # the same sky: pixel positions differ by the scale, counted from CRPIX
    sky = fine.wcs.wcs_pix2world(10000.0, 5000.0, 1)
    assert [float(axis) for axis in cell.wcs.wcs_world2pix(*sky, 1)] == pytest.approx(
        [8000.0, 4000.0], abs=1e-5
    )
    projection = ProjectionCell(1889, scale=0.12)
    assert (projection.wcs.pscale, projection.wcs.pixel_shape) == (0.12, (150095, 150095))
    assert projection.wcs.wcs.crpix == pytest.approx([75048, 75048], abs=1e-9)


def test_a_users_division_takes_effect() -> None:
    projection = ProjectionCell(1889, nxy=50, overlap=100)
    cell = SkyCell(projection, 50, 1)
    assert (cell.nxy, cell.overlap) == (50, 100)
    assert cell.wcs.pixel_shape == (9006 + 200,) * 2
    assert cell.wcs.wcs.crpix[0] == 225144 - 49 * 9006
    small = SkyCell(ProjectionCell(1889, cell_size=4.2), 21, 21)
    assert small.projection_cell.wcs.pixel_shape == (378000, 378000)
    assert small.wcs.pixel_shape == (18000 + 512,) * 2


def test_sub_grids_are_whole_pixel_sub_arrays() -> None:
    cell = SkyCell.from_name("skycell-p1889x07y19")
    grid = cell.sub_grid(2132, 10281, 10840, 11672)
    assert grid.crpix == (94360.0, -171093.0)
    assert (grid.shape, grid.offset, grid.cell_shape) == ((11672, 10840), (2132, 10281), (21954, 21954))
    assert grid.ltv == (225144 - 94360, 225144 + 171093)
    first = np.array(cell.wcs.wcs_pix2world(2132, 10281, 0))
    assert np.array(grid.wcs.wcs_pix2world(0, 0, 0)) == pytest.approx(first, abs=1e-12)
    assert cell.sub_grid(0, 0, 7318, 7318, "coarse").cell_shape == (7318, 7318)


@pytest.mark.parametrize("part", [(-1, 0, 5, 5), (0, 0, 0, 5), (21950, 0, 5, 5), (0, 21950, 5, 5)])
def test_sub_grids_outside_the_cell_are_errors(part: tuple[int, int, int, int]) -> None:
    with pytest.raises(SkyCellError, match="has no sub-array"):
        SkyCell.from_name("skycell-p1889x07y19").sub_grid(*part)


def test_the_grid_at_another_scale_is_that_of_the_cell_at_that_scale() -> None:
    fine = SkyCell.from_name("skycell-p0345x03y20")
    for name, scale in SUPPORTED_SCALES.items():
        assert fine.grid(name) == fine.grid(scale) == SkyCell.from_name(fine.sky_cell_id, name).grid()
        assert fine.rescale(name).wcs.crpix.tolist() == list(fine.grid(name).crpix)


def test_cells_can_be_copied_and_sent_to_other_processes() -> None:
    cell = SkyCell.from_name("skycell-p1889x07y19")
    cell.members.append("one_flt.fits")
    _ = cell.wcs, cell.projection_cell.wcs
    for again in (pickle.loads(pickle.dumps(cell)), copy.deepcopy(cell)):
        assert again.members == ["one_flt.fits"]
        assert again.wcs.ltv1 == cell.wcs.ltv1
        assert again.projection_cell.wcs.pscale == 0.04
        assert again.grid() == cell.grid()
