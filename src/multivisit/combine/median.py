"""The median of separately drizzled exposures: what the sky looks like without cosmic rays.

Plain arrays in, plain arrays out. An image of a stack is one exposure drizzled by itself; its weights are 0
where it has no good pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine import _outliers
from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["COMBINE_TYPES", "MedianRule", "StackNoise", "combine_stack", "grown"]

COMBINE_TYPES = (
    "median",
    "imedian",
    "mean",
    "average",
    "imean",
    "iaverage",
    "sum",
    "minmed",
    "iminmed",
    "minimum",
)
"""Values of combine_type."""

_MEANS = ("mean", "average", "imean", "iaverage")
_MINMED = ("minmed", "iminmed")


@dataclass(frozen=True)
class MedianRule:
    """How a stack is combined; the published parameters are named in parentheses."""

    combine_type: str = "minmed"
    """One of `COMBINE_TYPES` (combine_type). ``minmed`` takes the minimum instead of the median where the
    median lies too far above it; types with an ``i`` in front fill pixels in which no image is good enough
    with the first image that has any weight there."""

    n_low: int = 0
    """Lowest values to drop (combine_nlow); where none would be left, none is dropped."""

    n_high: int = 0
    """Highest values to drop (combine_nhigh)."""

    n_sigma: tuple[float, float] = (4.0, 3.0)
    """``minmed``: noise widths by which the median may exceed the minimum, and the same beside pixels in
    which it exceeds the first (combine_nsigma)."""

    grow: int = 1
    """``minmed``: pixels around such a pixel in which the second width applies (combine_grow)."""

    def __post_init__(self) -> None:
        """Refuse a type that there is not."""
        if self.combine_type not in COMBINE_TYPES:
            raise ParameterError(
                f"combine_type: found {self.combine_type!r}, expected one of {', '.join(COMBINE_TYPES)}."
            )

    @property
    def halo(self) -> int:
        """Rows on either side that a row's result depends on."""
        return self.grow if self.combine_type in _MINMED else 0


@dataclass(frozen=True)
class StackNoise:
    """What ``minmed`` must know of the noise of each image of a stack."""

    sky_rates: Sequence[float]
    """Sky level that was taken off each image, electrons/s per pixel of the stack."""

    read_noises: Sequence[float]
    """Read noise of each image, electrons."""


def combine_stack(
    values: NDArray[np.float32],
    weights: NDArray[np.float32],
    bad: NDArray[np.bool_],
    rule: MedianRule,
    noise: StackNoise,
    n_exposures: int,
) -> NDArray[np.float32]:
    """Combine a stack of images.

    Parameters
    ----------
    values : ndarray of float32
        Electrons/s, shape (images, rows, columns); any value where the weight is 0.
    weights : ndarray of float32
        Exposure times in seconds (times the share of the pixel that is covered), same shape.
    bad : ndarray of bool
        True where an image is not good enough (little weight, beyond a threshold), and wherever its weight
        is 0; same shape.
    rule : MedianRule
        How to combine.
    noise : StackNoise
        Sky and read noise of the images, for ``minmed``.
    n_exposures : int
        Exposures of the whole layer: of two, ``minmed`` takes the mean as the median, as published.

    Returns
    -------
    ndarray of float32
        Combined values, shape (rows, columns); NaN where there is nothing to combine.
    """
    kind = rule.combine_type
    if kind == "sum":
        total = np.sum(np.where(weights > 0.0, values, np.float32(0.0)), axis=0, dtype=np.float32)
        return np.where((weights > 0.0).any(axis=0), total, np.float32(np.nan)).astype(np.float32)
    if kind in _MINMED:
        result = _minimum_or_median(values, weights, bad, rule, noise, n_exposures)
    elif kind == "minimum":
        _, result, count = _statistics(values, bad, 0, 0, mean=False)
        result[count == 0] = np.nan
    else:
        result, _, count = _statistics(values, bad, rule.n_low, rule.n_high, mean=kind in _MEANS)
        result[count == 0] = np.nan
    if kind.startswith("i"):
        _fill_from_first(result, values, weights)
    return result


def _statistics(
    values: NDArray[np.float32], bad: NDArray[np.bool_], n_low: int, n_high: int, *, mean: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Give median (or mean), minimum and number of the good values of each pixel."""
    shape = values.shape[1:]
    value, lowest = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
    count = np.empty(shape, dtype=np.int32)
    _outliers.combine_stack(
        np.ascontiguousarray(values, dtype=np.float32),
        np.ascontiguousarray(bad),
        len(values),
        n_low,
        n_high,
        mean,
        value,
        lowest,
        count,
    )
    return value, lowest, count


def _minimum_or_median(
    values: NDArray[np.float32],
    weights: NDArray[np.float32],
    bad: NDArray[np.bool_],
    rule: MedianRule,
    noise: StackNoise,
    n_exposures: int,
) -> NDArray[np.float32]:
    """Take the median without its highest value, or the minimum where that median is too high.

    The noise is that of the sum of all images, in electrons: its square is median times total exposure time,
    plus the sky that was taken off, plus the squares of the read noises of the good images.
    """
    two = n_exposures == 2
    median, lowest, count = _statistics(values, bad, 0, 0 if two else 1, mean=two)
    exposure = weights.sum(axis=0, dtype=np.float32)
    sky = np.tensordot(np.asarray(noise.sky_rates, dtype=np.float32), weights, axes=1)
    read = np.tensordot(np.asarray(noise.read_noises, dtype=np.float32) ** 2, ~bad, axes=1)
    sigma = np.sqrt(np.maximum(median * exposure + sky + read, np.float32(0.0)))
    excess = (median - lowest) * exposure
    is_low = excess > np.float32(rule.n_sigma[0]) * sigma
    if rule.grow:
        near = grown(is_low, rule.grow)
        is_low |= near & (excess > np.float32(rule.n_sigma[1]) * sigma)
    result = np.where(is_low, lowest, median).astype(np.float32)
    result[count == 0] = np.nan
    return result


def grown(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Widen the true parts of a mask.

    Parameters
    ----------
    mask : ndarray of bool
        The mask, two dimensions.
    radius : int
        Pixels by which they grow in each direction, corners included.

    Returns
    -------
    ndarray of bool
        True in the square of ``2 radius + 1`` pixels around each true pixel; a new array.
    """
    wide = mask.copy()
    for step in range(1, min(radius, mask.shape[1] - 1) + 1):
        wide[:, step:] |= mask[:, :-step]
        wide[:, :-step] |= mask[:, step:]
    result = wide.copy()
    for step in range(1, min(radius, mask.shape[0] - 1) + 1):
        result[step:] |= wide[:-step]
        result[:-step] |= wide[step:]
    return result


def _fill_from_first(
    result: NDArray[np.float32], values: NDArray[np.float32], weights: NDArray[np.float32]
) -> None:
    """Fill pixels that are NaN from the first image with weight there, in place."""
    for value, weight in zip(values, weights, strict=True):
        empty = np.isnan(result)
        if not empty.any():
            return
        np.copyto(result, value, where=empty & (weight > 0.0))
