"""Optimal clusters against a search through all divisions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multivisit.plan.clusters import optimal_clusters


def spread(values: list[float], labels: list[int]) -> float:
    """Sum of squared distances from the clusters' means."""
    total = 0.0
    for label in set(labels):
        cluster = np.array([v for v, which in zip(values, labels, strict=True) if which == label])
        total += float(((cluster - cluster.mean()) ** 2).sum())
    return total


def least_spread(values: list[float], n_clusters: int) -> float:
    """Search through all divisions of the sorted numbers into intervals."""
    ordered = sorted(values)
    best = np.inf
    for cuts in combinations(range(1, len(ordered)), min(n_clusters, len(ordered)) - 1):
        labels = [sum(index >= cut for cut in cuts) for index in range(len(ordered))]
        best = min(best, spread(ordered, labels))
    return best


numbers = st.lists(st.floats(0.1, 3000.0).map(lambda v: round(v, 1)), min_size=1, max_size=9)


@given(numbers, st.integers(1, 4))
def test_no_division_is_better(values: list[float], n_clusters: int) -> None:
    labels = optimal_clusters(values, n_clusters)
    assert spread(values, labels) <= least_spread(values, n_clusters) + 1e-6
    assert set(labels) == set(range(min(n_clusters, len(set(values)))))


@given(numbers, st.integers(1, 4), st.randoms())
def test_clusters_are_ordered_and_do_not_depend_on_the_order_of_the_numbers(
    values: list[float], n_clusters: int, random: np.random.Generator
) -> None:
    labels = dict(zip(values, optimal_clusters(values, n_clusters), strict=True))
    in_order = [labels[value] for value in sorted(values)]
    assert in_order == sorted(in_order)
    shuffled = list(values)
    random.shuffle(shuffled)
    again = dict(zip(shuffled, optimal_clusters(shuffled, n_clusters), strict=True))
    assert labels == again


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([30.0], [0]),
        ([30.0, 30.0], [0, 0]),
        ([300.0, 30.0], [1, 0]),
        ([1.0, 2.0, 10.0, 11.0, 100.0, 102.0], [0, 0, 1, 1, 2, 2]),
        ([500.0, 1.0, 1.0, 1.0, 60.0, 480.0], [2, 0, 0, 0, 1, 2]),
    ],
)
def test_clear_cases(values: list[float], expected: list[int]) -> None:
    assert optimal_clusters(values, 3) == expected


def test_many_numbers_are_no_trouble() -> None:
    values = np.random.default_rng(1).permutation(
        np.concatenate([np.linspace(1, 5, 300), np.linspace(100, 120, 300), np.linspace(900, 1200, 300)])
    )
    labels = np.array(optimal_clusters(values.tolist(), 3))
    assert [
        set(labels[(values > low) & (values < high)]) for low, high in [(0, 6), (99, 121), (899, 1201)]
    ] == [
        {0},
        {1},
        {2},
    ]
