"""Sources of two exposures brought together on the plane of the mosaic, and how far they are apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Match", "Offset", "match_positions", "measure_offset"]

_MAD_TO_SIGMA = 1.4826
_LEAST_MATCHES = 5
_MOST_PAIRS = 2_000_000


@dataclass(frozen=True)
class Match:
    """Which sources of two lists are the same."""

    first: NDArray[np.intp]
    """Numbers in the first list."""

    second: NDArray[np.intp]
    """Numbers in the second list."""


@dataclass(frozen=True)
class Offset:
    """How far the sources of one list are from those of another."""

    dx: float
    """Median difference in x, second less first, in the unit of the positions."""

    dy: float
    """Median difference in y."""

    rms_x: float
    """Robust standard deviation of single sources in x."""

    rms_y: float
    """Robust standard deviation in y."""

    n: int
    """Number of sources."""

    @property
    def distance(self) -> float:
        """Length of the offset."""
        return math.hypot(self.dx, self.dy)

    @property
    def error(self) -> float:
        """Standard error of the offset (that of a median)."""
        return 1.2533 * math.hypot(self.rms_x, self.rms_y) / math.sqrt(2.0 * self.n) if self.n else math.inf


def match_positions(first: Floats, second: Floats, search: float, tolerance: float) -> Match:
    """Match two lists of positions that may be shifted against each other.

    The shift is where most pairs within the search radius agree; then each source's nearest one within the
    tolerance counts if that is so in both directions.

    Parameters
    ----------
    first, second : ndarray of float64
        Positions, shape (n, 2).
    search : float
        Largest shift.
    tolerance : float
        Largest distance of a match from the shift.

    Returns
    -------
    Match
        Matched numbers; empty where there are none.
    """
    from scipy.spatial import KDTree

    nothing = np.empty(0, dtype=np.intp)
    if not len(first) or not len(second):
        return Match(nothing, nothing)
    one, other = KDTree(first), KDTree(second)
    if one.count_neighbors(other, search) > _MOST_PAIRS:
        shift = np.zeros(2)
    else:
        near = one.query_ball_tree(other, search)
        i = np.repeat(np.arange(len(first)), [len(found) for found in near])
        j = np.fromiter((number for found in near for number in found), dtype=np.intp, count=len(i))
        if not len(i):
            return Match(nothing, nothing)
        shift = _densest(second[j] - first[i], search, tolerance)
    distance, nearest = other.query(first + shift, distance_upper_bound=tolerance)
    _, back = one.query(second - shift, distance_upper_bound=tolerance)
    nearest, back = np.asarray(nearest), np.asarray(back)
    i = np.flatnonzero(np.isfinite(distance))
    i = i[back[nearest[i]] == i]
    return Match(i, nearest[i])


def measure_offset(first: Floats, second: Floats, match: Match) -> Offset | None:
    """Measure the offset between matched positions.

    Parameters
    ----------
    first, second : ndarray of float64
        Positions, shape (n, 2).
    match : Match
        Which are the same.

    Returns
    -------
    Offset or None
        Median offset and robust scatter; None with fewer than 5 sources.
    """
    if len(match.first) < _LEAST_MATCHES:
        return None
    difference = second[match.second] - first[match.first]
    middle = np.median(difference, axis=0)
    rms = _MAD_TO_SIGMA * np.median(np.abs(difference - middle), axis=0)
    return Offset(float(middle[0]), float(middle[1]), float(rms[0]), float(rms[1]), len(difference))


def _densest(shifts: Floats, search: float, tolerance: float) -> Floats:
    """Find the shift on which most pairs agree, nearer ones first where several do."""
    from scipy.ndimage import uniform_filter

    bins = max(8, math.ceil(4.0 * search / tolerance))
    edges = np.linspace(-search, search, bins + 1)
    counts, _, _ = np.histogram2d(shifts[:, 0], shifts[:, 1], bins=edges)
    smooth = uniform_filter(counts, 3, mode="constant")
    centres = 0.5 * (edges[1:] + edges[:-1])
    closeness = np.hypot(centres[:, None], centres)
    best = np.flatnonzero(smooth >= smooth.max() * (1.0 - 1e-9))
    i, j = np.unravel_index(best[np.argmin(closeness.reshape(-1)[best])], smooth.shape)
    middle = np.array([centres[i], centres[j]])
    inside = np.abs(shifts - middle).max(axis=1) <= tolerance
    return np.median(shifts[inside], axis=0) if inside.any() else middle
