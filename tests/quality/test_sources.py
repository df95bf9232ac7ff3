"""Finding, centring and matching of sources, against positions that the tests put there."""

from __future__ import annotations

import numpy as np
import pytest

from multivisit.quality.limits import CHECKS, CheckKind, judge, worst
from multivisit.quality.matching import match_positions, measure_offset
from multivisit.quality.sources import find_sources, measure_background, measure_stamps
from multivisit.quality.survey import PixelSet


def gaussian_stars(shape, x, y, flux, sigma):
    """Stars integrated over pixels, exactly."""
    from scipy.special import erf

    image = np.zeros(shape)
    columns, rows = np.arange(shape[1] + 1) - 0.5, np.arange(shape[0] + 1) - 0.5
    for xs, ys, f in zip(x, y, flux, strict=True):
        along_x = 0.5 * np.diff(erf((columns - xs) / (sigma * np.sqrt(2.0))))
        along_y = 0.5 * np.diff(erf((rows - ys) / (sigma * np.sqrt(2.0))))
        image += f * along_y[:, None] * along_x
    return image


def test_stars_are_found_centred_and_measured():
    rng = np.random.default_rng(3)
    grid = np.arange(20.0, 310.0, 32.0)
    x, y = (v.reshape(-1) + rng.uniform(-0.5, 0.5, grid.size**2) for v in np.meshgrid(grid, grid))
    flux = rng.uniform(300.0, 3000.0, len(x))
    image = gaussian_stars((320, 320), x, y, flux, 1.0) + 50.0 + rng.normal(0.0, 1.0, (320, 320))
    science, good = image.astype(np.float32), np.ones((320, 320), dtype=bool)
    background = measure_background(science, good)
    assert np.median(background.level) == pytest.approx(50.0, abs=0.1)
    assert np.median(background.noise) == pytest.approx(1.0, abs=0.08)
    found = find_sources(science, good, background, background.brighter(science, 5.0))
    distance = np.hypot(found.x[:, None] - x, found.y[:, None] - y)
    nearest = distance.argmin(axis=1)
    assert len(found.x) == len(x)
    assert sorted(nearest) == list(range(len(x)))
    assert distance.min(axis=1).max() < 0.1
    assert np.median(found.flux / flux[nearest]) == pytest.approx(1.0, abs=0.01)
    # The pixel adds a twelfth to the variance of the profile.
    assert np.median(found.width) == pytest.approx(np.sqrt(1.0 + 1.0 / 12.0), rel=0.02)


def test_a_single_bright_pixel_and_a_flagged_star_are_no_sources():
    science = np.random.default_rng(1).normal(0.0, 1.0, (128, 128)).astype(np.float32)
    science[40, 40] += 500.0
    science += gaussian_stars((128, 128), [90.0], [90.0], [2000.0], 1.0).astype(np.float32)
    good = np.ones(science.shape, dtype=bool)
    good[90, 91] = False
    background = measure_background(science, good)
    assert len(find_sources(science, good, background, background.brighter(science, 6.0)).x) == 0
    good[90, 91] = True
    found = find_sources(science, good, background, background.brighter(science, 6.0))
    assert found.x == pytest.approx([90.0], abs=0.05)


def test_widths_of_stamps_are_those_of_the_profiles():
    for sigma in (0.7, 1.0, 1.6):
        image = gaussian_stars((61, 61), [30.3], [29.8], [1000.0], sigma)
        dx, dy, width = measure_stamps(image[None, 20:41, 20:41], 2.0)
        assert (dx[0], dy[0]) == pytest.approx((0.3, -0.2), abs=0.01)
        assert width[0] == pytest.approx(np.sqrt(sigma**2 + 1.0 / 12.0), rel=0.02)


def test_shifted_lists_are_matched_and_the_shift_is_measured():
    rng = np.random.default_rng(5)
    first = rng.uniform(0.0, 2000.0, (400, 2))
    second = first[50:] + np.array([7.0, -4.0]) + rng.normal(0.0, 0.1, (350, 2))
    second = np.concatenate([second, rng.uniform(0.0, 2000.0, (100, 2))])
    match = match_positions(first, second, 20.0, 1.0)
    pairs = dict(zip(match.first.tolist(), match.second.tolist(), strict=True))
    assert sum(pairs.get(k) == k - 50 for k in range(50, 400)) >= 345
    offset = measure_offset(first, second, match)
    assert (offset.dx, offset.dy) == pytest.approx((7.0, -4.0), abs=0.03)
    assert offset.rms_x == pytest.approx(0.1, rel=0.25)
    assert offset.error < 0.02


def test_lists_without_anything_in_common_have_no_offset():
    first, second = np.zeros((0, 2)), np.ones((5, 2))
    assert measure_offset(first, second, match_positions(first, second, 20.0, 1.0)) is None
    far = match_positions(second, second + 500.0, 20.0, 1.0)
    assert measure_offset(second, second + 500.0, far) is None


def test_sets_of_pixels_give_back_what_was_put_in():
    mask = np.random.default_rng(2).random((37, 53)) < 0.3
    y, x = np.mgrid[:37, :53]
    np.testing.assert_array_equal(PixelSet.of(mask).has(y.ravel(), x.ravel()), mask.ravel())


@pytest.mark.parametrize(
    ("value", "larger", "verdict"),
    [
        (1.0, True, "pass"),
        (1.1, True, "warn"),
        (2.0, True, "warn"),
        (2.1, True, "fail"),
        (2.1, False, "pass"),
        (0.9, False, "fail"),
        (float("nan"), True, "fail"),
    ],
)
def test_values_are_held_against_their_limits(value, larger, verdict):
    kind = CheckKind("x", "X", "x", "", 1.0, 2.0, "x", larger_is_worse=larger)
    assert judge(kind, value) == verdict


def test_the_worst_verdict_counts_and_a_check_not_run_is_no_fault():
    assert worst(["pass", "not run", "warn"]) == "warn"
    assert worst(["not run", "pass"]) == "pass"
    assert worst([]) == "not run"


def test_every_check_has_a_limit_and_says_what_to_do():
    for kind in CHECKS.values():
        assert kind.warn is not None or kind.fail is not None
        assert kind.advice.endswith(".")
        if kind.warn is not None and kind.fail is not None:
            assert (kind.warn < kind.fail) == kind.larger_is_worse


def test_background_follows_blocks_and_leaves_bad_pixels_out():
    rng = np.random.default_rng(11)
    science = rng.normal(0.0, 2.0, (150, 200)).astype(np.float32)
    science[:, 128:] += 30.0
    good = rng.random(science.shape) > 0.2
    science[~good] = 1e6
    good[:64, :64] = False
    background = measure_background(science, good)
    assert background.level.shape == (3, 4)
    assert not np.isfinite(background.noise[0, 0])
    for j, i in ((1, 0), (2, 1), (0, 2), (2, 3)):
        block = np.s_[64 * j : 64 * j + 64 : 3, 64 * i : 64 * i + 64 : 3]
        values = science[block][good[block]]
        if len(values) < 20:
            continue
        assert background.level[j, i] == pytest.approx(np.median(values), rel=1e-5)
        spread = 1.4826 * np.median(np.abs(values - np.median(values)))
        assert background.noise[j, i] == pytest.approx(spread, rel=1e-5)
