"""Lists of positions brought together."""

from __future__ import annotations

import numpy as np
import pytest

from multivisit.align.linear import Transform
from multivisit.align.matching import MatchSettings, match_and_fit, thinned

SETTINGS = MatchSettings(search=20.0, tolerance=0.1)


def lists(seed: int, n_common: int, n_first: int, n_second: int, size: float = 200.0):
    """Two lists with some positions in common, which lead them."""
    random = np.random.default_rng(seed)
    common = random.uniform(0.0, size, (n_common, 2))
    return (
        np.vstack([common, random.uniform(0.0, size, (n_first - n_common, 2))]),
        np.vstack([common, random.uniform(0.0, size, (n_second - n_common, 2))]),
        random,
    )


@pytest.mark.parametrize("shift", [(0.0, 0.0), (6.4, -3.1), (-15.0, 11.0)])
def test_a_large_shift_is_found_though_most_sources_are_in_one_list_only(shift):
    first, second, random = lists(1, 40, 800, 300)
    second = second + np.array(shift) + random.normal(0.0, 0.01, second.shape)
    found = match_and_fit(first, second, SETTINGS)
    assert found is not None
    right = (found.first == found.second) & (found.first < 40)
    assert right.sum() >= 38
    assert found.n - right.sum() <= 1
    assert np.abs(found.fit.transform(first[:40]) - first[:40] - shift).max() < 0.02
    assert found.false_alarm < 1e-20


def test_a_rotation_that_spreads_the_pairs_beyond_the_tolerance_is_found():
    first, second, random = lists(2, 120, 400, 300)
    angle = np.radians(0.15)
    truth = Transform(
        np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]), np.array([4.0, 5.0])
    )
    second = truth(second) + random.normal(0.0, 0.005, second.shape)
    found = match_and_fit(first, second, SETTINGS)
    assert found is not None
    assert found.n >= 100
    assert np.abs(found.fit.transform(first) - truth(first)).max() < 0.02


@pytest.mark.parametrize("seed", range(12))
def test_lists_without_a_common_source_are_known_as_chance(seed):
    first, second, _ = lists(seed, 0, 500, 100 + 20 * seed)
    found = match_and_fit(first, second, SETTINGS)
    assert found is None or found.false_alarm > 1e-3


def test_crowded_lists_without_a_common_source_are_known_as_chance():
    first, second, _ = lists(3, 0, 3000, 3000, 60.0)
    found = match_and_fit(first, second, SETTINGS)
    assert found is None or found.false_alarm > 1e-3


@pytest.mark.parametrize("n_common", [4, 5, 8])
def test_few_common_sources_are_enough_where_chance_has_none(n_common):
    first, second, random = lists(4, n_common, 100, n_common + 2)
    second = second + np.array([2.0, 1.0]) + random.normal(0.0, 0.01, second.shape)
    found = match_and_fit(first, second, SETTINGS)
    assert found is not None
    assert found.n == n_common
    assert found.false_alarm < 1e-3


def test_without_the_histogram_lists_must_be_in_place():
    first, second, _ = lists(5, 50, 60, 60)
    near = MatchSettings(search=20.0, tolerance=0.1, use_histogram=False)
    found = match_and_fit(first, second + 0.03, near)
    assert found is not None
    assert found.n >= 49
    away = match_and_fit(first, second + 3.0, near)
    assert away is None or away.n < 5


def test_empty_lists_have_no_match():
    nothing, some = np.empty((0, 2)), np.zeros((3, 2))
    assert match_and_fit(nothing, some, SETTINGS) is None
    assert match_and_fit(some, nothing, SETTINGS) is None
    assert match_and_fit(some, some + 500.0, SETTINGS) is None


def test_the_brighter_of_two_close_sources_stays():
    positions = np.array([[0.0, 0.0], [1.0, 0.0], [10.0, 0.0], [10.5, 0.0]])
    assert thinned(positions, np.array([1.0, 2.0, 5.0, 3.0]), 2.0).tolist() == [1, 2]
    assert thinned(positions, np.ones(4), 0.1).tolist() == [0, 1, 2, 3]
    assert thinned(np.empty((0, 2)), np.empty(0), 1.0).tolist() == []
