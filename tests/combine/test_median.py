from __future__ import annotations

import warnings

import numpy as np
import pytest

from multivisit.combine.median import COMBINE_TYPES, MedianRule, StackNoise, combine_stack, grown
from multivisit.errors import ParameterError


def _stack(n: int, shape: tuple[int, int] = (40, 37), seed: int = 1):
    random = np.random.default_rng(seed)
    values = random.normal(5.0, 2.0, (n, *shape)).astype(np.float32)
    bad = random.uniform(size=values.shape) < 0.3
    weights = np.full(values.shape, 100.0, dtype=np.float32)
    weights[bad & (random.uniform(size=bad.shape) < 0.5)] = 0.0
    return values, weights, bad


def _noise(n: int) -> StackNoise:
    return StackNoise([0.1] * n, [5.0] * n)


def _of_good(function, values, bad):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return function(np.where(bad, np.nan, values), axis=0)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 16, 33])
def test_median_of_the_good_values_is_numpys(n: int) -> None:
    values, weights, bad = _stack(n)
    found = combine_stack(values, weights, bad, MedianRule("median"), _noise(n), n)
    np.testing.assert_allclose(found, _of_good(np.nanmedian, values, bad), rtol=1e-6)


@pytest.mark.parametrize("kind", ["mean", "average", "minimum"])
def test_mean_and_minimum_are_numpys(kind: str) -> None:
    values, weights, bad = _stack(5)
    found = combine_stack(values, weights, bad, MedianRule(kind), _noise(5), 5)
    expected = _of_good(np.nanmin if kind == "minimum" else np.nanmean, values, bad)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def _brute(values, bad, n_low, n_high, statistic):
    result = np.full(values.shape[1:], np.nan)
    for place in np.ndindex(*result.shape):
        good = np.sort(values[(slice(None), *place)][~bad[(slice(None), *place)]])
        if len(good) > n_low + n_high:
            good = good[n_low : len(good) - n_high]
        if len(good):
            result[place] = statistic(good)
    return result


@pytest.mark.parametrize(("n_low", "n_high"), [(0, 1), (1, 0), (1, 2), (3, 3)])
@pytest.mark.parametrize("kind", ["median", "mean"])
def test_extreme_values_are_dropped_unless_none_would_be_left(n_low: int, n_high: int, kind: str) -> None:
    values, weights, bad = _stack(6)
    found = combine_stack(values, weights, bad, MedianRule(kind, n_low, n_high), _noise(6), 6)
    expected = _brute(values, bad, n_low, n_high, np.median if kind == "median" else np.mean)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_sum_takes_all_that_has_weight() -> None:
    values, weights, bad = _stack(4)
    found = combine_stack(values, weights, bad, MedianRule("sum"), _noise(4), 4)
    expected = np.where(weights > 0, values, 0).sum(axis=0)
    some = (weights > 0).any(axis=0)
    np.testing.assert_allclose(found[some], expected[some], rtol=1e-5)
    assert np.isnan(found[~some]).all()


def test_imedian_fills_from_the_first_image_with_weight() -> None:
    values = np.array([[[1.0, 7.0]], [[2.0, 8.0]], [[3.0, 9.0]]], dtype=np.float32)
    weights = np.array([[[0.0, 5.0]], [[5.0, 5.0]], [[5.0, 5.0]]], dtype=np.float32)
    bad = np.array([[[True, False]], [[True, False]], [[True, False]]])
    assert np.isnan(combine_stack(values, weights, bad, MedianRule("median"), _noise(3), 3)[0, 0])
    np.testing.assert_array_equal(
        combine_stack(values, weights, bad, MedianRule("imedian"), _noise(3), 3), [[2.0, 8.0]]
    )


def _published_minmed(values, weights, bad, noise, sigmas, grow):
    """Follow the published definition pixel by pixel, for three and more exposures."""
    median = _brute(values, bad, 0, 1, np.median)
    lowest = _of_good(np.nanmin, values, bad)
    time = weights.sum(axis=0)
    sky = sum(rate * weight for rate, weight in zip(noise.sky_rates, weights, strict=True))
    read = sum(r**2 * ~b for r, b in zip(noise.read_noises, bad, strict=True))
    sigma = np.sqrt(np.maximum(median * time + sky + read, 0.0))
    first = lowest * time < median * time - sigmas[0] * sigma
    result = median.copy()
    for j, i in np.ndindex(*median.shape):
        near = first[max(j - grow, 0) : j + grow + 1, max(i - grow, 0) : i + grow + 1].any()
        limit = sigmas[1] if near and grow else sigmas[0]
        if lowest[j, i] * time[j, i] < median[j, i] * time[j, i] - limit * sigma[j, i]:
            result[j, i] = lowest[j, i]
    return result


@pytest.mark.parametrize("grow", [0, 1, 2])
def test_minmed_takes_the_minimum_where_the_median_is_too_high(grow: int) -> None:
    values, weights, bad = _stack(5, seed=3)
    noise = StackNoise([0.1, 0.2, 0.3, 0.1, 0.2], [4.0, 5.0, 6.0, 5.0, 4.0])
    rule = MedianRule("minmed", n_sigma=(2.0, 1.5), grow=grow)
    found = combine_stack(values, weights, bad, rule, noise, 5)
    expected = _published_minmed(values, weights, bad, noise, (2.0, 1.5), grow)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    lowest = _of_good(np.nanmin, values, bad)
    assert 0.05 < np.mean(found == lowest.astype(np.float32)) < 0.95


def test_minmed_of_two_exposures_starts_from_their_mean() -> None:
    values = np.array([[[5.0, 5.0]], [[5.2, 500.0]]], dtype=np.float32)
    weights = np.full(values.shape, 100.0, dtype=np.float32)
    bad = np.zeros(values.shape, dtype=bool)
    found = combine_stack(values, weights, bad, MedianRule("minmed"), _noise(2), 2)
    np.testing.assert_allclose(found, [[5.1, 5.0]], rtol=1e-6)


@pytest.mark.parametrize("radius", [0, 1, 3, 100])
def test_grown_masks_are_squares(radius: int) -> None:
    mask = np.zeros((12, 9), dtype=bool)
    mask[5, 2] = mask[11, 8] = True
    expected = np.zeros_like(mask)
    for j, i in ((5, 2), (11, 8)):
        expected[max(j - radius, 0) : j + radius + 1, max(i - radius, 0) : i + radius + 1] = True
    np.testing.assert_array_equal(grown(mask, radius), expected)


def test_unknown_types_are_refused() -> None:
    with pytest.raises(ParameterError, match="combine_type: found 'mode'"):
        MedianRule("mode")


def test_every_type_gives_nothing_where_nothing_has_weight() -> None:
    values, weights, bad = _stack(3)
    weights[:] = 0.0
    bad[:] = True
    for kind in COMBINE_TYPES:
        assert np.isnan(combine_stack(values, weights, bad, MedianRule(kind), _noise(3), 3)).all(), kind
