"""Optimal clusters of numbers: k-means in one dimension, exact and deterministic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["optimal_clusters"]


def optimal_clusters(values: Sequence[float], n_clusters: int) -> list[int]:
    """Divide numbers into clusters with the least sum of squared distances from the clusters' means.

    In one dimension the clusters of the optimum are intervals, so dynamic programming over the sorted
    numbers finds it: the best division of the first j numbers into k clusters is the best of all divisions of
    the first i into k - 1 with the rest as one cluster (Wang & Song 2011, The R Journal 3/2, 29). No random
    start: the same numbers always give the same clusters.

    Parameters
    ----------
    values : sequence of float
        The numbers, finite, at least one.
    n_clusters : int
        How many clusters, at least 1. When there are fewer distinct numbers, each is a cluster of its own.

    Returns
    -------
    list of int
        The cluster of each number, 0 for the cluster of the smallest ones. Equal numbers share a cluster; of
        equally good divisions the one with the larger upper clusters is taken.
    """
    distinct, which, counts = np.unique(
        np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True
    )
    n_clusters = min(n_clusters, distinct.size)
    starts = _cluster_starts(distinct, counts.astype(np.float64), n_clusters)
    label_of_distinct = np.searchsorted(starts, np.arange(distinct.size), side="right") - 1
    return [int(label) for label in label_of_distinct[which.ravel()]]


def _cluster_starts(x: NDArray[np.float64], weight: NDArray[np.float64], n_clusters: int) -> list[int]:
    """Give the index of the first number of each cluster; `x` is sorted and distinct."""
    centred = x - np.average(x, weights=weight)
    sum_w = np.concatenate([[0.0], np.cumsum(weight)])
    sum_wx = np.concatenate([[0.0], np.cumsum(weight * centred)])
    sum_wxx = np.concatenate([[0.0], np.cumsum(weight * centred**2)])

    def cost(first: NDArray[np.intp], end: int) -> NDArray[np.float64]:
        """Sum of squared distances from the mean of numbers first, ..., end - 1, for many `first`."""
        total = sum_wx[end] - sum_wx[first]
        squares = sum_wxx[end] - sum_wxx[first] - total**2 / (sum_w[end] - sum_w[first])
        return np.asarray(np.maximum(squares, 0.0), dtype=np.float64)

    n = x.size
    best = np.array([0.0, *(cost(np.array([0]), end)[0] for end in range(1, n + 1))])
    start_of_last = np.zeros((n_clusters, n + 1), dtype=np.intp)
    for k in range(1, n_clusters):
        previous, best = best, np.full(n + 1, np.inf)
        for end in range(k + 1, n + 1):
            first = np.arange(k, end)
            sums = previous[first] + cost(first, end)
            chosen = int(np.argmin(sums))
            best[end], start_of_last[k, end] = sums[chosen], first[chosen]
    starts: list[int] = []
    end = n
    for k in range(n_clusters - 1, -1, -1):
        end = int(start_of_last[k, end])
        starts.insert(0, end)
    return starts
