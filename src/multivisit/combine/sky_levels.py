"""The sky levels of a layer's exposures: each one's own, the common one, and those that make exposures match.

Levels are surface brightness, electrons/s per square arcsec: flat-fielded pixels measure that, whatever
their true area. All chips of an exposure share one level.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine.sky_samples import (
    ChipSky,
    PackedPatches,
    SkyPatches,
    SkyStatistic,
    chip_patches,
    merge_patches,
)
from multivisit.combine.weights import PixelTest
from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from multivisit.combine.drizzle_engine import PixelCoordinates

__all__ = [
    "SKY_METHODS",
    "LevelDifference",
    "MatchedLevels",
    "SkyLevels",
    "SkyMeter",
    "level_difference",
    "match_levels",
]

SKY_METHODS = ("localmin", "globalmin", "globalmin+match", "match")

_LOG = logging.getLogger(__name__)

_COVERAGES = (0.6, 0.3, 0.0)
"""Least coverage of a patch by each exposure; the next one is tried where few patches reach it."""

_FEW_PATCHES = 30
_ENOUGH_PATCHES = 500
_CLIP_SIGMA = 4.0
_CLIPS = 10
_MAD_TO_SIGMA = 1.4826
_INDEPENDENT_PIXELS = 2.25
"""A patch's mean is as certain as that of this many times its weighted number of pixels: (sum w)^2 / sum w^2
over sum w, for weights that fall linearly to the sides of a square."""

_SYSTEMATIC = 0.002
"""Part of the pixel noise below which no overlap is trusted more than another."""


@dataclass(frozen=True)
class LevelDifference:
    """How much brighter the sky of one exposure is than that of another."""

    first: int
    """Number of the one exposure."""

    second: int
    """Number of the other exposure."""

    value: float
    """Level of the first less that of the second, electrons/s per square arcsec."""

    variance: float
    """Its variance."""

    n_patches: int
    """Number of patches that it was taken from."""


@dataclass(frozen=True)
class MatchedLevels:
    """Levels that make exposures match where they overlap."""

    levels: NDArray[np.float64]
    """Level of each exposure relative to the lowest of its group, which has 0."""

    groups: tuple[int, ...]
    """Group of each exposure. Exposures are in one group when a chain of overlaps joins them."""


@dataclass(frozen=True)
class SkyLevels:
    """The sky levels of a layer."""

    brightness: NDArray[np.float64]
    """Level of each exposure to take off, electrons/s per square arcsec."""

    groups: tuple[int, ...]
    """Group of each exposure in matching; exposures of different groups could not be compared."""

    measured: tuple[bool, ...]
    """Whether each exposure's level was measured; not without usable pixels or (`match`) without overlap."""

    differences: tuple[LevelDifference, ...] = ()
    """The differences that were matched."""

    noise: float = 0.0
    """Typical standard deviation of a pixel, electrons/s per square arcsec; 0 where nothing was matched."""

    of_chips: Mapping[tuple[int, int], float] = field(default_factory=dict)
    """Levels of single chips, by number of the exposure and EXTVER, where these have their own."""


def level_difference(
    first: SkyPatches, second: SkyPatches, numbers: tuple[int, int] = (0, 1)
) -> LevelDifference | None:
    """Compare two exposures in the patches that both see.

    Patches with clipped pixels in either exposure are left out if at least 500 are left, otherwise those
    with the largest share of clipped pixels. The difference is the mean over patches, weighted by their
    certainty and clipped about the median at 4 standard deviations (found from the median absolute
    deviation).

    Parameters
    ----------
    first, second : SkyPatches
        Patches of two exposures on the same lattice.
    numbers : tuple of int
        Numbers of the exposures, for the result.

    Returns
    -------
    LevelDifference or None
        The difference; None where no patch is seen by both.
    """
    corner = (max(first.first[0], second.first[0]), max(first.first[1], second.first[1]))
    end = (
        min(first.first[0] + first.total.shape[1], second.first[0] + second.total.shape[1]),
        min(first.first[1] + first.total.shape[0], second.first[1] + second.total.shape[0]),
    )
    if end[0] <= corner[0] or end[1] <= corner[1]:
        return None
    windows = [
        (
            slice(corner[1] - p.first[1], end[1] - p.first[1]),
            slice(corner[0] - p.first[0], end[0] - p.first[0]),
        )
        for p in (first, second)
    ]
    pixels = [p.pixels[w] for p, w in zip((first, second), windows, strict=True)]
    for coverage in _COVERAGES:
        chosen = (pixels[0] > coverage * first.full) & (pixels[1] > coverage * second.full)
        n_chosen = np.count_nonzero(chosen)
        if n_chosen >= _FEW_PATCHES:
            break
    if n_chosen == 0:
        return None
    n = [p[chosen] for p in pixels]
    means = [p.total[w][chosen] / k for p, w, k in zip((first, second), windows, n, strict=True)]
    clipped = first.clipped[windows[0]][chosen] + second.clipped[windows[1]][chosen]
    share = clipped / (clipped + n[0] + n[1])
    nth = min(_ENOUGH_PATCHES, int(n_chosen)) - 1
    clean = share <= np.partition(share, nth)[nth]
    noise = (first.noise**2 / n[0] + second.noise**2 / n[1]) / _INDEPENDENT_PIXELS
    if not np.all(noise > 0.0):
        noise = 1.0 / n[0] + 1.0 / n[1]
    value, variance, n_used = _clipped_mean((means[0] - means[1])[clean], 1.0 / noise[clean])
    return LevelDifference(numbers[0], numbers[1], value, variance, n_used)


def match_levels(
    n_exposures: int, differences: Sequence[LevelDifference], noise: float = 0.0
) -> MatchedLevels:
    """Find the levels that fit the differences best in the sense of least squares.

    For each group of exposures, minimises ``sum (level_i - level_j - difference_ij)**2 / variance_ij``, then
    shifts the lowest level of the group to 0. Groups that no overlap joins have no common zero point:
    nothing that was measured would tell it, so each group's lowest exposure keeps its level, as a lone
    exposure does.

    Parameters
    ----------
    n_exposures : int
        Number of exposures.
    differences : sequence of LevelDifference
        Measured differences; pairs without overlap are simply missing.
    noise : float
        Typical pixel noise. A five-hundredth of it is added to the differences' standard deviations.

    Returns
    -------
    MatchedLevels
        Level and group of each exposure.
    """
    groups = _groups(n_exposures, differences)
    levels = np.zeros(n_exposures)
    for group in set(groups):
        members = [k for k in range(n_exposures) if groups[k] == group]
        if len(members) < 2:
            continue
        place = {member: k for k, member in enumerate(members)}
        inside = [d for d in differences if d.first in place and d.second in place]
        matrix, right = np.zeros((len(inside), len(members))), np.zeros(len(inside))
        variances = np.array([d.variance for d in inside]) + (_SYSTEMATIC * noise) ** 2
        weights = (
            np.ones(len(inside))
            if variances.max() <= 0.0
            else 1.0 / np.sqrt(np.maximum(variances, 1e-12 * variances.max()))
        )
        for row, (d, weight) in enumerate(zip(inside, weights, strict=True)):
            matrix[row, place[d.first]], matrix[row, place[d.second]] = weight, -weight
            right[row] = weight * d.value
        # The solution of least norm: the matrix leaves the group's zero point open.
        solution = np.linalg.lstsq(matrix, right, rcond=None)[0]
        levels[members] = solution - solution.min()
    return MatchedLevels(levels, groups)


class SkyMeter:
    """Measures the chips of a layer and gives the exposures' sky levels.

    Parameters
    ----------
    method : str
        One of `SKY_METHODS`.
    statistic : SkyStatistic
        How absolute levels are taken.
    n_exposures : int
        Number of exposures.
    output_scale : float
        Scale of the output plane, arcsec.
    spacing : float
        Spacing of the lattice of patches in output pixels (`multivisit.combine.sky_samples.patch_spacing`).
    origin : tuple of float
        Added to positions (x, y) in the output plane (`multivisit.combine.sky_samples.chip_patches`).

    Raises
    ------
    ParameterError
        For an unknown method.
    """

    def __init__(
        self,
        method: str,
        statistic: SkyStatistic,
        n_exposures: int,
        output_scale: float,
        spacing: float,
        origin: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        if method not in SKY_METHODS:
            raise ParameterError(f"skymethod: found {method!r}, expected one of {', '.join(SKY_METHODS)}.")
        self._method = method
        self._statistic = statistic
        self._n_exposures = n_exposures
        self._output_scale = output_scale
        self._spacing = spacing
        self._origin = origin
        self._patches: dict[int, PackedPatches] = {}
        self._lowest: dict[int, float] = {}

    def usable_test(self, bits: int | None, unit: float = 1.0) -> PixelTest:
        """Tell which pixels of a chip are good for measuring the sky.

        Parameters
        ----------
        bits : int or None
            Good DQ bits; None lets flags pass.
        unit : float
            Electrons/s in one unit of the file, in which `SkyStatistic.lower` and `SkyStatistic.upper` are
            given.

        Returns
        -------
        PixelTest
            The test.
        """
        lower, upper = self._statistic.lower, self._statistic.upper
        return PixelTest(
            bits,
            -math.inf if lower is None else lower * unit,
            math.inf if upper is None else upper * unit,
        )

    def measure(
        self,
        science: NDArray[np.float32],
        usable: NDArray[np.bool_],
        pixel_map: PixelCoordinates,
        nominal_scale: float,
    ) -> ChipSky:
        """Measure one chip, in any thread.

        Parameters
        ----------
        science : ndarray of float32
            Pixels, electrons/s.
        usable : ndarray of bool
            Pixels that are good for measuring the sky (`usable_test`).
        pixel_map : PixelCoordinates
            Where its pixels fall in the output plane.
        nominal_scale : float
            Its nominal pixel scale, arcsec.

        Returns
        -------
        ChipSky
            The measurements, for `add`.
        """
        level, patches = None, None
        if self._method != "match":
            level = self._statistic.measure(science[usable])
        if "match" in self._method:
            clip_sigma = min(self._statistic.lower_sigma, self._statistic.upper_sigma)
            patches = chip_patches(
                science,
                usable,
                pixel_map,
                nominal_scale,
                self._output_scale,
                self._spacing,
                clip_sigma,
                self._origin,
            )
        return ChipSky(None if level is None else level / nominal_scale**2, patches)

    def add(self, exposure_number: int, sky: ChipSky) -> None:
        """Take in the measurements of one chip; to be called in the order of the chips.

        Parameters
        ----------
        exposure_number : int
            Number of its exposure, from 0.
        sky : ChipSky
            The measurements.
        """
        if sky.level is not None:
            self._lowest[exposure_number] = min(sky.level, self._lowest.get(exposure_number, np.inf))
        if sky.patches is not None:
            known = self._patches.get(exposure_number)
            patches = [sky.patches] if known is None else [known.unpacked(), sky.patches]
            self._patches[exposure_number] = PackedPatches.of(merge_patches(patches))

    def levels(self) -> SkyLevels:
        """Give the levels of all exposures.

        ``localmin``: the lowest level of an exposure's chips. ``globalmin``: the lowest of all chips of all
        exposures, the same for all. ``match``: relative levels, 0 for the lowest exposure of each group.
        ``globalmin+match``: relative levels, plus the lowest level that is left in any exposure once they
        are taken off. An exposure that could not be measured has level 0 (the common level where there is
        one).

        Returns
        -------
        SkyLevels
            Levels, groups and whether they were measured.
        """
        n = self._n_exposures
        if self._method == "localmin":
            own = np.array([self._lowest.get(k, 0.0) for k in range(n)])
            return SkyLevels(own, (0,) * n, tuple(k in self._lowest for k in range(n)))
        if self._method == "globalmin":
            common = min(self._lowest.values(), default=0.0)
            return SkyLevels(np.full(n, common), (0,) * n, tuple(k in self._lowest for k in range(n)))
        matched, differences, noise = self._match()
        levels = matched.levels
        if self._method == "globalmin+match":
            levels = levels + min((level - levels[k] for k, level in self._lowest.items()), default=0.0)
        sizes = [matched.groups.count(group) for group in matched.groups]
        return SkyLevels(levels, matched.groups, tuple(size > 1 for size in sizes), tuple(differences), noise)

    def _match(self) -> tuple[MatchedLevels, list[LevelDifference], float]:
        differences = []
        for one, first in sorted(self._patches.items()):
            unpacked = first.unpacked()
            for other, second in sorted(self._patches.items()):
                if other > one and first.touches(second):
                    difference = level_difference(unpacked, second.unpacked(), (one, other))
                    differences += [] if difference is None else [difference]
        noise = float(np.median([p.noise for p in self._patches.values()])) if self._patches else 0.0
        matched = match_levels(self._n_exposures, differences, noise)
        for d in differences:
            _LOG.debug(
                "Sky of exposure %d less that of %d: %.6g +- %.2g e-/s/arcsec2 in %d patches; fitted: %.6g",
                d.first,
                d.second,
                d.value,
                d.variance**0.5,
                d.n_patches,
                matched.levels[d.first] - matched.levels[d.second],
            )
        return matched, differences, noise


def _clipped_mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float, int]:
    """Weighted mean clipped about the median, its variance, and the number of values kept."""
    centre = float(np.median(values))
    root = np.sqrt(weights)
    scaled = np.abs(values - centre) * root
    sigma = _MAD_TO_SIGMA * float(np.median(scaled))
    slack = 1e-9 * float(np.abs(values).max()) * float(root.max())
    kept = scaled <= _CLIP_SIGMA * sigma + slack
    for _ in range(_CLIPS):
        centre = float(np.average(values[kept], weights=weights[kept]))
        sigma = float(np.sqrt(np.mean(weights[kept] * (values[kept] - centre) ** 2)))
        again = np.abs(values - centre) * root <= _CLIP_SIGMA * sigma + slack
        if np.array_equal(again, kept) or not again.any():
            break
        kept = again
    return centre, max(sigma, 1.0) ** 2 / float(weights[kept].sum()), int(np.count_nonzero(kept))


def _groups(n_exposures: int, differences: Sequence[LevelDifference]) -> tuple[int, ...]:
    """Number the groups that the differences join, in the order of their first exposures."""
    group = list(range(n_exposures))
    for d in differences:
        old, new = sorted((group[d.first], group[d.second]), reverse=True)
        group = [new if g == old else g for g in group]
    order = {g: k for k, g in enumerate(dict.fromkeys(group))}
    return tuple(order[g] for g in group)
