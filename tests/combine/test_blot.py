from __future__ import annotations

import numpy as np
import pytest
from drizzle.resample import blot_image as drizzle_blot
from scipy.ndimage import map_coordinates

from multivisit.combine.blot import INTERPOLATIONS, blot_image, stencil_reach
from multivisit.errors import ParameterError


def _image(shape: tuple[int, int] = (60, 70)) -> np.ndarray:
    return np.random.default_rng(4).normal(10.0, 3.0, shape).astype(np.float32)


def _positions() -> np.ndarray:
    y, x = np.mgrid[0:40, 0:42].astype(float)
    return np.stack([8.31 + 1.03 * x + 0.021 * y, 9.72 - 0.033 * x + 0.987 * y], axis=-1)


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "poly3", "poly5"])
def test_interpolates_as_drizzle_does(interpolation: str) -> None:
    found = blot_image(_image(), _positions(), interpolation)
    # drizzle keeps positions in single precision.
    expected = drizzle_blot(_image(), _positions(), interp=interpolation)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_spline_is_scipys() -> None:
    positions = _positions()
    expected = map_coordinates(_image(), [positions[..., 1], positions[..., 0]], order=3, mode="mirror")
    np.testing.assert_allclose(blot_image(_image(), positions, "spline3"), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("interpolation", "error"),
    [("linear", 0.2), ("poly3", 0.04), ("poly5", 0.01), ("spline3", 0.02), ("sinc", 2e-3)],
)
def test_band_limited_images_are_followed(interpolation: str, error: float) -> None:
    def wave(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.cos(0.8 * x + 0.3) * np.sin(0.9 * y) + 1.0

    y, x = np.mgrid[0:60, 0:70].astype(float)
    positions = _positions()
    found = blot_image(wave(x, y).astype(np.float32), positions, interpolation)
    np.testing.assert_allclose(found, wave(positions[..., 0], positions[..., 1]), atol=error)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_even_images_stay_even_up_to_their_edges(interpolation: str) -> None:
    y, x = np.mgrid[-2.0:62.0:0.37, -2.0:72.0:0.41]
    found = blot_image(np.full((60, 70), 3.0, dtype=np.float32), np.stack([x, y], axis=-1), interpolation)
    inside = (x > -0.49) & (x < 69.49) & (y > -0.49) & (y < 59.49)
    np.testing.assert_allclose(found[inside], 3.0, rtol=1e-5)
    assert np.isnan(found[(x < -0.51) | (x > 69.51) | (y < -0.51) | (y > 59.51)]).all()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_pixels_without_data_do_not_spread(interpolation: str) -> None:
    image = np.full((30, 30), 3.0, dtype=np.float32)
    image[12:15, 10] = np.nan
    y, x = np.mgrid[0:30, 0:30].astype(float)
    found = blot_image(image, np.stack([x + 0.2, y - 0.2], axis=-1), interpolation)
    hole = np.zeros((30, 30), dtype=bool)
    hole[12:15, 10] = True
    np.testing.assert_array_equal(np.isnan(found), hole)
    np.testing.assert_allclose(found[~hole], 3.0, rtol=1e-5)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_windows_give_what_the_whole_image_gives(interpolation: str) -> None:
    image, positions = _image((120, 120)), _positions() + 35.0
    reach = stencil_reach(interpolation)
    low = np.floor(positions.min(axis=(0, 1))).astype(int) - reach
    high = np.ceil(positions.max(axis=(0, 1))).astype(int) + reach + 1
    window = image[low[1] : high[1], low[0] : high[0]]
    whole = blot_image(image, positions, interpolation)
    np.testing.assert_allclose(blot_image(window, positions - low, interpolation), whole, rtol=1e-5)


def test_positions_that_are_no_numbers_have_no_value() -> None:
    positions = np.array([[np.nan, 3.0], [np.inf, 3.0], [3.0, -np.inf], [1e300, 1e300]])
    for interpolation in INTERPOLATIONS:
        assert np.isnan(blot_image(_image(), positions, interpolation)).all()


def test_unknown_interpolations_are_refused() -> None:
    with pytest.raises(ParameterError, match="blot_interp: found 'cubic'"):
        blot_image(_image(), _positions(), "cubic")
