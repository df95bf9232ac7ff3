"""Pictures: orientation, means, limits, scale, compass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from multivisit.errors import ProductError
from multivisit.products import stretch
from multivisit.products.preview import (
    _CANVAS,
    _NO_DATA,
    _TEXT,
    PreviewMaker,
    compass_directions,
    draw_preview,
    scale_bar,
    write_preview,
)
from multivisit.products.stretch import (
    BlockMeans,
    PictureArea,
    fill_small_holes,
    find_stretch,
    observed_area,
)
from multivisit.sky.cells import SkyCell
from multivisit.sky.grid import OutputGrid

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def grid_of(shape: tuple[int, int], dec: float = 0.0) -> OutputGrid:
    return OutputGrid("skycell-p1889x07y19", 0.04, (180.0, dec), (shape[1] / 2, shape[0] / 2), shape)


def sky(shape: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(0.1, 0.01, shape).astype(np.float32)


def brightest(picture: Image.Image) -> tuple[float, float]:
    """Mean place (x, y) of the white pixels inside the picture, as fractions of its size."""
    grey = np.asarray(picture.convert("L")).astype(float)
    inside = grey.copy()
    inside[: grey.shape[0] // 20] = 0
    inside[-grey.shape[0] // 6 :] = 0
    y, x = np.nonzero(inside > 254)
    return float(x.mean() / grey.shape[1]), float(y.mean() / grey.shape[0])


def test_north_is_up_and_east_left() -> None:
    image = sky((600, 600))
    image[500:508, 60:68] = 50.0  # high row, low column: North-East
    x, y = brightest(draw_preview(image, grid_of(image.shape)))
    assert x < 0.2
    assert y < 0.3


def test_places_without_data_have_their_own_colour() -> None:
    image = sky((600, 600))
    image[200:300, 200:300] = np.nan
    picture = np.asarray(draw_preview(image, grid_of(image.shape)))
    assert np.all(picture == _NO_DATA, axis=2).sum() >= 100 * 100
    observed = np.asarray(draw_preview(sky((600, 600)), grid_of(image.shape)))
    assert np.all(observed == _NO_DATA, axis=2).sum() < 50


@pytest.mark.parametrize("size", [300, 100])
def test_places_without_weight_have_no_data_whatever_they_hold(size: int) -> None:
    image = sky((300, 300))
    weight = np.full(image.shape, 500.0, np.float32)
    weight[:40] = weight[100:150, 100:200] = 0.0
    filled, blank = image.copy(), image.copy()
    filled[weight == 0], blank[weight == 0] = 0.0, np.nan
    grid = grid_of(image.shape)
    pictures = [
        np.asarray(draw_preview(filled, grid, maximum_size=size, observed=weight)),
        np.asarray(draw_preview(blank, grid, maximum_size=size)),
    ]
    np.testing.assert_array_equal(*pictures)


def test_only_the_observed_part_is_shown() -> None:
    image = np.full((3000, 4000), np.nan, dtype=np.float32)
    image[1200:1700, 3000:3600] = sky((500, 600))
    seen = np.isfinite(image)
    area = observed_area(seen.any(axis=1), seen.any(axis=0))
    assert area == PictureArea(1187, 2987, (526, 626))
    picture = draw_preview(image, grid_of(image.shape))
    assert picture.width < 800


def test_an_image_without_data_still_gives_a_picture() -> None:
    picture = draw_preview(np.full((50, 60), np.nan, dtype=np.float32), grid_of((50, 60)), title="nothing")
    assert np.all(np.asarray(picture) == _NO_DATA, axis=2).sum() > 50 * 60


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (2000, 3), (40, 50)])
@pytest.mark.parametrize("value", [0.0, 7.5])
def test_small_and_flat_images_give_pictures(shape: tuple[int, int], value: float) -> None:
    picture = draw_preview(np.full(shape, value, dtype=np.float32), grid_of(shape))
    assert min(picture.size) > 50


def test_large_images_are_reduced_to_the_size_asked_for() -> None:
    picture = draw_preview(sky((900, 2100)), grid_of((900, 2100)), maximum_size=700)
    assert 700 <= picture.width <= 760


def slow_block_mean(image: NDArray[np.float32], factor: int) -> NDArray[np.float64]:
    ny, nx = -(-image.shape[0] // factor), -(-image.shape[1] // factor)
    means = np.full((ny, nx), np.nan)
    for y in range(ny):
        for x in range(nx):
            block = image[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor].astype(np.float64)
            known = block[np.isfinite(block)]
            if known.size:
                means[y, x] = known.mean()
    return means


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 9),
    st.floats(0, 1),
    st.sampled_from([10, 200, 10**6]),
    st.integers(1, 4),
)
def test_means_leave_out_pixels_without_data(
    ny: int, nx: int, factor: int, empty: float, block: int, pieces: int
) -> None:
    random = np.random.default_rng(ny * 100 + nx)
    image = random.normal(size=(ny, nx)).astype(np.float32)
    image[random.random((ny, nx)) < empty] = random.choice([np.nan, np.inf])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretch, "_BLOCK_PIXELS", block)
        whole = BlockMeans(image.shape, factor)
        for rows in random.permutation(pieces):
            piece = np.array_split(np.arange(ny), pieces)[rows]
            if len(piece):
                whole.add_rows(int(piece[0]), image[piece])
        means, area = whole.means()
    expected = slow_block_mean(image, factor)
    inside = tuple(
        slice(first // factor, -(-(first + size) // factor))
        for first, size in zip((area.first_row, area.first_column), area.shape, strict=True)
    )
    np.testing.assert_allclose(means, expected[inside], rtol=1e-6, atol=1e-7)
    expected[inside] = np.nan
    assert not np.isfinite(expected).any()


def test_small_holes_are_filled_from_around_them_and_large_ones_stay() -> None:
    image = np.full((60, 80), 3.0, dtype=np.float32)
    image[:, 40:] = 5.0
    image[10:15, 10:14] = np.nan
    image[20, 60] = image[0, 79] = np.nan
    image[30:50, 20:30] = np.nan
    filled = fill_small_holes(image)
    np.testing.assert_allclose(filled[10:15, 10:14], 3.0, rtol=1e-5)
    np.testing.assert_allclose([filled[20, 60], filled[0, 79]], 5.0, rtol=1e-5)
    assert np.isnan(filled[30:50, 20:30]).all()
    untouched = np.isfinite(image)
    np.testing.assert_array_equal(filled[untouched], image[untouched])


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (30, 1), (200, 301)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.35, 1.0])
def test_holes_of_all_shapes_are_told_from_large_places(shape: tuple[int, int], share: float) -> None:
    image = np.where(np.random.default_rng(3).random(shape) < share, np.nan, 1.0).astype(np.float32)
    holes, number = ndimage.label(np.isnan(image), structure=np.ones((3, 3)))
    sizes = np.bincount(holes.ravel(), minlength=number + 1)
    small = np.isnan(image) & (sizes[holes] <= 64)
    # A hole that is the whole image has nothing around it.
    expected = np.isnan(image) & (~small | np.isnan(image).all())
    np.testing.assert_array_equal(np.isnan(fill_small_holes(image)), expected)


def test_the_stretch_shows_noise_dark_faint_sources_grey_and_bright_ones_white() -> None:
    image = sky((700, 700))
    image[100:108, 100:108] = 500.0
    image[300:330, 300:330] += 0.1  # ten times the noise
    shown = find_stretch(image).brightness(image)
    assert np.median(shown) < 0.15
    assert shown[300:330, 300:330].min() > 1.5 * np.median(shown)
    assert shown[100:108, 100:108].min() > 0.95
    assert np.mean(shown >= 1) < 1e-3


def test_the_stretch_does_not_depend_on_a_few_wild_pixels() -> None:
    image = sky((700, 700))
    image[300:330, 300:330] += 2.0
    calm = find_stretch(image)
    image[0, :20], image[5, 5] = -1e6, 1e9
    wild = find_stretch(image)
    assert wild.black == pytest.approx(calm.black, abs=1e-3)
    assert wild.white == pytest.approx(calm.white, rel=0.1)


@pytest.mark.parametrize(
    ("scale", "width", "expected"),
    [
        (0.04, 300, (250.0, "10 arcsec")),
        (0.04, 200, (125.0, "5 arcsec")),
        (0.12, 1000, (1000.0, "2 arcmin")),
        (0.04, 20, (12.5, "0.5 arcsec")),
        (4.0, 1000, (900.0, "1 deg")),
    ],
)
def test_scale_bars_have_round_lengths(scale: float, width: float, expected: tuple[float, str]) -> None:
    length, label = scale_bar(scale, width)
    assert (pytest.approx(length), label) == expected


@pytest.mark.parametrize(
    "cell", ["skycell-p1889x01y21", "skycell-p0000x03y14", "skycell-p2643x18y02", "skycell-p0047x20y18"]
)
def test_compass_agrees_with_the_wcs(cell: str) -> None:
    grid = SkyCell.from_name(cell).grid()
    area = PictureArea(5000, 7000, (3000, 2000))
    x, y = 7000 + 999.5, 5000 + 1499.5
    ra, dec = grid.wcs.all_pix2world(x, y, 0)
    directions = compass_directions(grid, area)
    step = 1e-4
    for letter, target in (("N", (ra, dec + step)), ("E", (ra + step / np.cos(np.radians(dec)), dec))):
        u, v = grid.wcs.all_world2pix(*target, 0)
        expected = np.array([u - x, v - y]) / np.hypot(u - x, v - y)
        # North and East are not quite at right angles on the plane away from the tangent point.
        np.testing.assert_allclose(directions[letter], expected, atol=0.003)


def test_pictures_have_the_colours_that_are_meant() -> None:
    image = sky((600, 600))
    image[200:300, 200:300], image[400:410, 400:410] = np.nan, 1e3
    picture = draw_preview(image, grid_of(image.shape), title="Letters")
    colours = {colour for _, colour in picture.getcolors(256) or ()}
    assert colours >= {_CANVAS, _TEXT, _NO_DATA, (0, 0, 0), (255, 255, 255)}
    greys = {colour for colour in colours if len(set(colour)) == 1}
    # The rest are the soft edges of letters, between canvas and text.
    for colour in colours - greys - {_NO_DATA}:
        along = (np.array(colour) - _CANVAS) / (np.array(_TEXT) - _CANVAS)
        assert np.ptp(along) < 0.01


def test_the_file_is_a_png_or_not_there(tmp_path: Path) -> None:
    path = write_preview(tmp_path / "a.png", sky((60, 70)), grid_of((60, 70)), title="A title " * 100)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.mode == "P"
    with pytest.raises(ProductError, match=r"b\.png"):
        write_preview(tmp_path / "missing" / "b.png", sky((60, 70)), grid_of((60, 70)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("maximum_size", [100, 700])
def test_a_picture_made_from_strips_is_that_of_the_plane(tmp_path: Path, maximum_size: int) -> None:
    image = np.full((640, 500), np.nan, dtype=np.float32)
    image[103:571, 57:432] = sky((468, 375))
    weight = np.isfinite(image).astype(np.float32)
    grid = grid_of(image.shape)
    maker = PreviewMaker(grid, (468, 375), maximum_size)
    for first in (400, 0, 200, 600):
        rows = slice(first, first + 200)
        maker.add_rows(first, image[rows], weight[rows])
    maker.write(tmp_path / "strips.png", title="one")
    write_preview(tmp_path / "plane.png", image, grid, title="one", maximum_size=maximum_size)
    assert (tmp_path / "strips.png").read_bytes() == (tmp_path / "plane.png").read_bytes()
