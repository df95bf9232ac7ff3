"""Masks and weights of plain arrays."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from multivisit.combine.weights import (
    PixelTest,
    StaticMasks,
    histogram_mode,
    static_limit,
    weight_per_pixel,
)
from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNATURE = ("acs", "wfc", (200, 300), 1)


def good_pixels(flags: NDArray[Any], bits: int | None, science: NDArray[np.float32]) -> NDArray[np.bool_]:
    good = np.empty(flags.shape, dtype=np.bool_)
    assert PixelTest(bits).mark(science, flags.astype(">i2"), good) == np.count_nonzero(good)
    return good


@pytest.mark.parametrize(
    ("bits", "good"),
    [(0, [0]), (80, [0, 16, 64, 80]), (65535, [0, 16, 64, 80, 4096, 4112, -32768]), (4096, [0, 4096])],
)
def test_a_pixel_is_bad_when_it_has_a_flag_that_is_not_good(bits: int, good: list[int]) -> None:
    flags = np.array([0, 16, 64, 80, 4096, 4112, -32768], dtype=np.int32)
    assert flags[good_pixels(flags, bits, np.zeros(7, np.float32))].tolist() == good
    assert PixelTest(bits).passes_all_flags == (len(good) == 7)


def test_flags_do_not_matter_without_bits() -> None:
    flags = np.array([0, 4096, -1], dtype=np.int32)
    assert good_pixels(flags, None, np.zeros(3, np.float32)).all()


def test_what_is_no_number_is_bad() -> None:
    science = np.array([1.0, np.nan, np.inf, -np.inf, 0.0], dtype=np.float32)
    assert good_pixels(np.zeros(5, np.int32), 0, science).tolist() == [True, False, False, False, True]


def test_what_no_pixel_can_be_is_bad() -> None:
    science = np.array([1e38, -1e38, 1e20, -1e20, 1e19, -1e6], dtype=np.float32)
    good = good_pixels(np.zeros(6, np.int32), None, science)
    assert good.tolist() == [False, False, False, False, True, True]


@pytest.mark.parametrize(
    ("scale", "weight"), [("exptime", 350.0), (None, 350.0), ("expsq", 122500.0), (2.0, 700.0)]
)
def test_weights_come_from_exposure_times(scale: str | float | None, weight: float) -> None:
    assert weight_per_pixel(350.0, scale) == weight


@pytest.mark.parametrize("scale", ["expcube", -1.0, 0.0, math.nan])
def test_impossible_weight_scales_are_refused(scale: str | float) -> None:
    with pytest.raises(ParameterError, match="final_wt_scl"):
        weight_per_pixel(350.0, scale)


def test_the_mode_is_the_peak_of_a_skewed_distribution() -> None:
    # The mode of a gamma distribution of shape k and scale 1 is k - 1.
    values = np.random.default_rng(3).gamma(5.0, 1.0, 2_000_000)
    assert histogram_mode(values, 0.2) == pytest.approx(4.0, abs=0.05)
    assert histogram_mode(np.full(10, 3.0), 0.1) == 3.0


def test_the_static_limit_of_a_normal_sky_with_stars() -> None:
    random = np.random.default_rng(4)
    science = random.normal(10.0, 0.5, (600, 500)).astype(np.float32)
    science[random.random(science.shape) > 0.98] += 80.0
    science[::97, ::89] = np.nan
    found = static_limit(science, np.isfinite(science), 4.0)
    # Three clips at 3 standard deviations leave 0.9866 of the true one.
    assert found.mode == pytest.approx(10.0, abs=0.06)
    assert found.sigma == pytest.approx(0.9866 * 0.5, rel=0.01)
    assert found.limit == pytest.approx(found.mode - 4.0 * found.sigma)


def test_no_static_limit_without_spread_or_pixels() -> None:
    flat = np.full((50, 50), 7.0, np.float32)
    assert static_limit(flat, np.ones_like(flat, dtype=bool)).limit == -math.inf
    assert static_limit(flat, np.zeros_like(flat, dtype=bool)).limit == -math.inf


def test_static_masks_are_shared_by_the_exposures_of_a_chip() -> None:
    random = np.random.default_rng(5)
    masks = StaticMasks(5.5)
    good = np.ones((200, 300), dtype=bool)
    good[9, 9] = False
    for pixel in ((3, 4), (100, 200)):
        science = random.normal(1.0, 0.1, (200, 300)).astype(np.float32)
        science[pixel] = -5.0
        science[9, 9] = -5.0
        low = masks.add(SIGNATURE, science, good)
        assert np.transpose(np.unravel_index(low, good.shape)).tolist() == [list(pixel)]
    mask = masks.mask(SIGNATURE)
    assert mask is not None
    assert np.argwhere(mask).tolist() == [[3, 4], [100, 200]]
    assert masks.mask((*SIGNATURE[:3], 2)) is None


def test_dark_sky_is_not_taken_for_bad_pixels(caplog: pytest.LogCaptureFixture) -> None:
    random = np.random.default_rng(6)
    science = random.normal(100.0, 1.0, (200, 300)).astype(np.float32)
    science[:, :6] -= 50.0
    masks = StaticMasks(4.0)
    with caplog.at_level(logging.WARNING):
        assert masks.add(SIGNATURE, science, np.ones(science.shape, dtype=bool)).size == 0
    assert "sky, not bad pixels" in caplog.text
    assert masks.mask(SIGNATURE) is None
