"""Exposures aligned to each other by the sources that they have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.align.linear import Transform, fit_linear
from multivisit.align.matching import match_and_fit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from multivisit.align.matching import MatchedFit, MatchSettings

    Floats = NDArray[np.float64]
    Integers = NDArray[np.intp]

__all__ = ["Component", "align_to_each_other"]

_SWEEPS = 3


@dataclass(frozen=True)
class Component:
    """Exposures that hang together, and their sources in one frame: that of the first of them."""

    members: tuple[int, ...]
    """Numbers of the exposures; the first one stays where it is."""

    transforms: dict[int, Transform] = field(repr=False)
    """What brings each member into the common frame."""

    n_common: dict[int, int] = field(repr=False)
    """Sources of each member that another one has, too."""

    rms: dict[int, float] = field(repr=False)
    """Root mean square distance of these sources from the mean of all members that have them."""

    positions: Floats = field(repr=False)
    """Mean position of each source, shape (n, 2)."""

    source_of: dict[int, Integers] = field(repr=False)
    """Number of the source for each of the positions of a member."""


def align_to_each_other(
    positions: Sequence[Floats],
    settings: Sequence[MatchSettings],
    accepted: Callable[[int, MatchedFit], bool],
) -> list[Component]:
    """Align exposures to each other as far as they have sources in common.

    Beginning with the exposure that overlaps the others most, each time the one that overlaps those in place
    most is matched with their sources; in the end each is fitted once more to the mean of all others, in
    turns. An exposure that cannot be matched begins a component of its own.

    Parameters
    ----------
    positions : sequence of ndarray
        Positions of each exposure's sources in a common plane, shape (n, 2).
    settings : sequence of MatchSettings
        How each exposure is matched.
    accepted : callable
        Tells of an exposure's number and its fit whether it holds.

    Returns
    -------
    list of Component
        Every exposure is in one of them.
    """
    overlap = _overlaps(positions)
    remaining = set(range(len(positions)))
    components = []
    while remaining:
        rest = sorted(remaining)
        start = max(rest, key=lambda e: (overlap[e][rest].sum(), len(positions[e]), -e))
        frame = _Frame(start, positions[start])
        remaining.discard(start)
        _grow(frame, remaining, positions, settings, overlap, accepted)
        components.append(frame.component(positions, settings))
    return components


def _grow(
    frame: _Frame,
    remaining: set[int],
    positions: Sequence[Floats],
    settings: Sequence[MatchSettings],
    overlap: Floats,
    accepted: Callable[[int, MatchedFit], bool],
) -> None:
    """Add exposures to a frame while any can be matched with it; they are taken out of those that remain."""
    tried: set[int] = set()
    while True:
        shared = {e: float(overlap[e][frame.members].sum()) for e in sorted(remaining - tried)}
        shared = {e: area for e, area in shared.items() if area > 0.0}
        if not shared:
            return
        number = max(shared, key=lambda e: (shared[e], -e))
        near = frame.near(positions[number], settings[number].search)
        found = match_and_fit(positions[number], frame.means()[near], settings[number])
        if found is None or not accepted(number, found):
            tried.add(number)
            continue
        frame.add(number, positions[number], found, near)
        remaining.discard(number)
        tried.clear()


class _Frame:
    """Sources of the exposures in place, with the sums of their positions."""

    def __init__(self, start: int, positions: Floats) -> None:
        self.members = [start]
        self.transforms = {start: Transform()}
        self.source_of: dict[int, Integers] = {start: np.arange(len(positions))}
        self.geometry: dict[int, str] = {}
        self.sums = positions.copy()
        self.counts = np.ones(len(positions))

    def means(self) -> Floats:
        """Mean positions of the sources."""
        means: Floats = self.sums / self.counts[:, None]
        return means

    def near(self, positions: Floats, margin: float) -> Integers:
        """Numbers of the sources around some positions."""
        means = self.means()
        low, high = positions.min(axis=0) - margin, positions.max(axis=0) + margin
        return np.flatnonzero(((means >= low) & (means <= high)).all(axis=1))

    def add(self, number: int, positions: Floats, found: MatchedFit, near: Integers) -> None:
        """Put an exposure in place: its pairs belong to known sources, the rest are new ones."""
        moved = found.fit.transform(positions)
        sources = np.full(len(positions), -1, dtype=np.intp)
        sources[found.first] = near[found.second]
        new = np.flatnonzero(sources < 0)
        sources[new] = len(self.counts) + np.arange(len(new))
        self.sums = np.vstack([self.sums, np.zeros((len(new), 2))])
        self.counts = np.concatenate([self.counts, np.zeros(len(new))])
        self.sums[sources] += moved
        self.counts[sources] += 1.0
        self.members.append(number)
        self.transforms[number] = found.fit.transform
        self.geometry[number] = found.fit.geometry
        self.source_of[number] = sources

    def component(self, positions: Sequence[Floats], settings: Sequence[MatchSettings]) -> Component:
        """Fit each exposure to the mean of the others, in turns, and give the result."""
        for _ in range(_SWEEPS if len(self.members) > 2 else 0):
            for number in self.members[1:]:
                self._fit_again(number, positions[number], settings[number].tolerance)
        means = self.means()
        n_common, rms = {}, {}
        for number in self.members:
            sources = self.source_of[number]
            common = self.counts[sources] > 1.0
            away = self.transforms[number](positions[number][common]) - means[sources[common]]
            n_common[number] = int(common.sum())
            rms[number] = float(np.sqrt(np.mean(np.sum(away**2, axis=1)))) if common.any() else 0.0
        return Component(tuple(self.members), self.transforms, n_common, rms, means, self.source_of)

    def _fit_again(self, number: int, positions: Floats, tolerance: float) -> None:
        """Fit an exposure to the mean of the others that have its sources."""
        sources = self.source_of[number]
        common = np.flatnonzero(self.counts[sources] > 1.0)
        shared = sources[common]
        before = self.transforms[number](positions)
        others = (self.sums[shared] - before[common]) / (self.counts[shared] - 1.0)[:, None]
        close = np.hypot(*(before[common] - others).T) <= 2.0 * tolerance
        if close.sum() < len(common) // 2 or not close.any():
            return
        fit = fit_linear(positions[common[close]], others[close], self.geometry[number])
        self.transforms[number] = fit.transform
        self.sums[sources] += fit.transform(positions) - before


def _overlaps(positions: Sequence[Floats]) -> Floats:
    """Give the areas that the hulls of exposures' sources have in common, shape (n, n); 0 on the diagonal."""
    from shapely import MultiPoint, STRtree

    hulls = [MultiPoint(each).convex_hull for each in positions]
    areas = np.zeros((len(hulls), len(hulls)))
    if len(hulls) > 1:
        for i, j in STRtree(hulls).query(hulls).T:
            if i < j:
                areas[i, j] = areas[j, i] = hulls[i].intersection(hulls[j]).area
    return areas
