"""Two lists of positions brought together: the shift, the pairs, and whether they can be chance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.align.linear import LinearFit, Transform, fit_best

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from scipy.spatial import KDTree

    Floats = NDArray[np.float64]

__all__ = ["MatchSettings", "MatchedFit", "match_and_fit", "thinned"]

_WIDENINGS = (1.0, 2.0, 4.0)
"""Multiples of the tolerance in which the shift is sought: a rotation spreads the pairs."""

_MOST_PAIRS = 4_000_000
_ROUNDS = 8
_FEW = 25
_CLOSE = 0.1
"""Share of the tolerance within which no pair of few is clipped: they do not tell their scatter well."""

_DISPLACEMENTS = 16
_RING = (4.0, 12.0)
"""Multiples of the tolerance: pairs at these distances tell how many there are by chance."""

_CROWDED = 3.0


@dataclass(frozen=True)
class MatchSettings:
    """How two lists are matched."""

    search: float
    """Largest shift, in the unit of the positions."""

    tolerance: float
    """Largest distance of a pair after the transformation."""

    geometry: str = "rscale"
    """Kind of transformation that is wanted, see `multivisit.align.linear.GEOMETRIES`."""

    fewest: Mapping[str, int] = field(default_factory=lambda: {"rscale": 12, "general": 25})
    """The fewest pairs that each kind needs."""

    use_histogram: bool = True
    """Seek the shift in the histogram of all differences; otherwise the lists are taken to be in place."""


@dataclass(frozen=True)
class MatchedFit:
    """Pairs of two lists and the transformation between them."""

    first: NDArray[np.intp] = field(repr=False)
    """Numbers in the first list of the pairs that are left after clipping."""

    second: NDArray[np.intp] = field(repr=False)
    """Numbers in the second list."""

    fit: LinearFit
    """From the first list to the second."""

    by_chance: float
    """Number of pairs that lists without a common source would have at a shift."""

    false_alarm: float
    """Number of shifts within the search radius at which as many pairs are expected by chance alone."""

    @property
    def n(self) -> int:
        """Number of pairs."""
        return len(self.first)


def match_and_fit(first: Floats, second: Floats, settings: MatchSettings) -> MatchedFit | None:
    """Match two lists of positions that may be shifted, turned and scaled against each other.

    The shift is where most pairs agree, above what chance has there; then the nearest pairs, those that are
    so in both directions, give a transformation, and that better pairs, until nothing changes.

    Parameters
    ----------
    first, second : ndarray of float64
        Positions, shape (n, 2). Most of them need not be in the other list.
    settings : MatchSettings
        How far and how well.

    Returns
    -------
    MatchedFit or None
        Pairs and transformation; None where there is not a single pair.
    """
    from scipy.spatial import KDTree

    if not len(first) or not len(second):
        return None
    tree = KDTree(second)
    if settings.use_histogram:
        found = _shift(first, second, tree, settings)
        if found is None:
            return None
        shift, radius = found
    else:
        shift, radius = np.zeros(2), settings.tolerance
    transform = Transform(shift=shift)
    pairs = (np.empty(0, dtype=np.intp),) * 2
    for _ in range(_ROUNDS):
        i, j = _nearest_pairs(transform(first), second, tree, radius)
        if not len(i):
            return None
        if radius == settings.tolerance and np.array_equal(i, pairs[0]) and np.array_equal(j, pairs[1]):
            break
        pairs, radius = (i, j), max(settings.tolerance, 0.5 * radius)
        close = _CLOSE * settings.tolerance if len(i) < _FEW else 0.0
        fit = fit_best(first[i], second[j], settings.geometry, settings.fewest, close)
        transform = fit.transform
    i, j = pairs[0][fit.used], pairs[1][fit.used]
    chance, alarm = _chance(fit.transform(first), second, tree, len(i), settings)
    return MatchedFit(i, j, fit, chance, alarm)


def thinned(positions: Floats, brightness: Floats, separation: float) -> NDArray[np.intp]:
    """Choose positions that are not close to a brighter one.

    Parameters
    ----------
    positions : ndarray of float64
        Shape (n, 2).
    brightness : ndarray of float64
        Shape (n,); larger is brighter.
    separation : float
        Smallest distance from a brighter position.

    Returns
    -------
    ndarray of int
        Numbers of those that stay, in their order.
    """
    from scipy.spatial import KDTree

    stays = np.ones(len(positions), dtype=np.bool_)
    if len(positions):
        close = KDTree(positions).query_pairs(separation, output_type="ndarray")
        fainter = np.where(brightness[close[:, 0]] < brightness[close[:, 1]], close[:, 0], close[:, 1])
        stays[fainter] = False
    return np.flatnonzero(stays)


def _shift(
    first: Floats, second: Floats, tree: KDTree, settings: MatchSettings
) -> tuple[Floats, float] | None:
    """Find the shift at which there are more pairs than chance explains, and the radius to pair within."""
    from scipy.ndimage import uniform_filter
    from scipy.spatial import KDTree
    from scipy.special import pdtrc

    own = KDTree(first)
    search = settings.search
    while own.count_neighbors(tree, search) > _MOST_PAIRS:
        # Far more pairs than memory should hold: crowded lists tell the shift in a smaller field, too.
        search *= 0.5
    near = own.sparse_distance_matrix(tree, search, output_type="ndarray")
    if not len(near):
        return None
    difference = second[near["j"]] - first[near["i"]]
    best: tuple[float, float, Floats, float] | None = None
    for widening in _WIDENINGS:
        radius = widening * settings.tolerance
        bins = max(3, math.ceil(2.0 * (search + radius) / radius))
        edges = (np.arange(bins + 1) - 0.5 * bins) * radius
        counts, _, _ = np.histogram2d(difference[:, 0], difference[:, 1], bins=edges)
        # Windows of 3 x 3 cells, so that no peak falls between them.
        window = uniform_filter(counts, 3, mode="constant") * 9.0
        around = uniform_filter(counts, 15, mode="constant") * 9.0
        chance = np.maximum(around - window * 9.0 / 225.0, 0.0) + 1e-3
        excess = pdtrc(np.maximum(np.rint(window) - 1.0, 0.0), chance)
        k = int(np.argmin(excess - 1e-12 * (window - chance)))
        alarm, gain = float(excess.flat[k]), float((window - chance).flat[k])
        if best is None or (alarm, -gain) < (best[0], -best[1]):
            row, column = np.unravel_index(k, window.shape)
            centres = 0.5 * (edges[1:] + edges[:-1])
            best = (alarm, gain, np.array([centres[row], centres[column]]), radius)
    assert best is not None
    _, _, shift, radius = best
    for _ in range(5):
        inside = np.hypot(*(difference - shift).T) <= 1.5 * radius
        if not inside.any():
            break
        shift = np.median(difference[inside], axis=0)
    return shift, radius


def _nearest_pairs(
    first: Floats, second: Floats, tree: KDTree, radius: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give pairs that are each other's nearest within a radius."""
    from scipy.spatial import KDTree

    distance, nearest = tree.query(first, distance_upper_bound=radius)
    i = np.flatnonzero(np.isfinite(distance))
    j = np.asarray(nearest)[i]
    _, back = KDTree(first).query(second[j], distance_upper_bound=radius)
    mutual = np.asarray(back) == i
    return i[mutual], j[mutual]


def _chance(
    first: Floats, second: Floats, tree: KDTree, n: int, settings: MatchSettings
) -> tuple[float, float]:
    """Tell how many pairs wrong shifts have, and how many of all shifts have as many as the right one."""
    from scipy.spatial import KDTree
    from scipy.special import pdtrc

    radius = settings.tolerance
    counts = np.asarray(KDTree(first).count_neighbors(tree, radius * np.array(_RING)))
    # One more pair in all of the ring: none at all does not mean that none is possible.
    chance = (float(counts[1] - counts[0]) + 1.0) / (_RING[1] ** 2 - _RING[0] ** 2)
    if chance > _CROWDED:
        # Sources have several neighbours then, of which one makes a pair at most.
        chance = _pairs_elsewhere(first, second, tree, radius)
    trials = max(1.0, (settings.search / radius) ** 2) if settings.use_histogram else 1.0
    return chance, float(trials * pdtrc(n - 1, chance))


def _pairs_elsewhere(first: Floats, second: Floats, tree: KDTree, radius: float) -> float:
    """Give the mean number of pairs at wrong shifts nearby."""
    counts = []
    for number in range(_DISPLACEMENTS):
        angle = 2.0 * math.pi * number / _DISPLACEMENTS
        distance = radius * (4.0 + 4.0 * (number % 2))
        moved = first + distance * np.array([math.cos(angle), math.sin(angle)])
        counts.append(len(_nearest_pairs(moved, second, tree, radius)[0]))
    return sum(counts) / _DISPLACEMENTS
