"""Linear transformations in a tangent plane, and their sigma-clipped least-squares fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["GEOMETRIES", "LinearFit", "Transform", "fit_best", "fit_linear", "geometry_for"]

GEOMETRIES = ("shift", "rshift", "rscale", "general")
"""Kinds of transformation, the simplest first: a shift; with a rotation; with a scale; any linear one."""

_CLIP = 3.0
_ITERATIONS = 10
_FEWEST_TURNED = 4
_LEAST_SHARE = 0.6
_SURE = 1e-3


@dataclass(frozen=True)
class Transform:
    """A linear transformation of a plane: ``matrix @ (x, y) + shift``."""

    matrix: Floats = field(default_factory=lambda: np.identity(2))
    """The linear part, shape (2, 2)."""

    shift: Floats = field(default_factory=lambda: np.zeros(2))
    """The shift, shape (2,), in the unit of the plane."""

    def __call__(self, positions: Floats) -> Floats:
        """Transform positions of shape (..., 2)."""
        moved: Floats = positions @ self.matrix.T + self.shift
        return moved

    def after(self, first: Transform) -> Transform:
        """Give the transformation that applies `first` and then this one."""
        return Transform(self.matrix @ first.matrix, self.matrix @ first.shift + self.shift)

    @property
    def rotation(self) -> float:
        """Mean rotation of the axes in degrees, from the first axis to the second."""
        (a, b), (c, d) = self.matrix
        return math.degrees(math.atan2(c - b, a + d))

    @property
    def scale(self) -> float:
        """Mean scale: the root of the factor by which areas grow."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix))))


@dataclass(frozen=True)
class LinearFit:
    """A transformation that was fitted to pairs of positions."""

    transform: Transform
    """From the first positions to the second."""

    geometry: str
    """Its kind, one of `GEOMETRIES`."""

    used: NDArray[np.bool_] = field(repr=False)
    """Which pairs are left after clipping."""

    rms: tuple[float, float]
    """Root mean square of the residuals of the pairs that are left, along each axis."""

    @property
    def n(self) -> int:
        """Number of pairs that are left."""
        return int(self.used.sum())

    @property
    def rms_distance(self) -> float:
        """Root mean square distance of the pairs that are left."""
        return math.hypot(*self.rms)


def geometry_for(wanted: str, n: int, fewest: Mapping[str, int]) -> str:
    """Choose the kind of transformation that a number of sources allows.

    Parameters
    ----------
    wanted : str
        The kind that is wanted, one of `GEOMETRIES`; nothing less simple is chosen.
    n : int
        Number of sources.
    fewest : mapping of str to int
        The fewest sources that a kind needs. A kind that is not in it is not chosen, but for the shift.

    Returns
    -------
    str
        The wanted kind, or the next simpler one that has enough sources; in the end a shift.
    """
    for geometry in reversed(GEOMETRIES[: GEOMETRIES.index(wanted) + 1]):
        if geometry in fewest and n >= fewest[geometry]:
            return geometry
    return "shift"


def fit_linear(first: Floats, second: Floats, geometry: str, close: float = 0.0) -> LinearFit:
    """Fit a transformation to pairs of positions, leaving out those beyond 3 standard deviations.

    Parameters
    ----------
    first, second : ndarray of float64
        Positions, shape (n, 2) with n at least 1.
    geometry : str
        One of `GEOMETRIES`. A shift needs one pair, `rshift` and `rscale` two, `general` three; with fewer,
        a shift is fitted.
    close : float, optional
        Pairs closer than this stay whatever the scatter of the others: few pairs do not tell it well.

    Returns
    -------
    LinearFit
        The fit. It is done about the middle of the positions, so that shift and rotation are independent.
    """
    least = {"shift": 1, "rshift": 2, "rscale": 2, "general": 3}[geometry]
    if len(first) < least:
        geometry, least = "shift", 1
    used = np.ones(len(first), dtype=np.bool_)
    for _ in range(_ITERATIONS):
        transform = _least_squares(first[used], second[used], geometry)
        distance = np.hypot(*(second - transform(first)).T)
        # The scale of a two-dimensional normal distribution from its median distance.
        sigma = float(np.median(distance[used])) / math.sqrt(2.0 * math.log(2.0))
        kept = distance <= max(_CLIP * math.sqrt(2.0) * sigma, close, 1e-9)
        if kept.sum() < max(least + 1, 2) or np.array_equal(kept, used):
            break
        used = kept
    residual = (second - transform(first))[used]
    rms = np.sqrt(np.mean(residual**2, axis=0))
    return LinearFit(transform, geometry, used, (float(rms[0]), float(rms[1])))


def fit_best(
    first: Floats, second: Floats, wanted: str, fewest: Mapping[str, int], close: float = 0.0
) -> LinearFit:
    """Fit the transformation that a number of pairs allows, and a rotation where few of them insist on it.

    With fewer pairs than any kind but the shift needs, a rotation is fitted besides the shift where the
    residuals would otherwise be larger than chance explains (F test, one in a thousand).

    Parameters
    ----------
    first, second : ndarray of float64
        Positions, shape (n, 2) with n at least 1.
    wanted : str
        The kind of transformation that is wanted.
    fewest : mapping of str to int
        The fewest pairs that each kind needs.
    close : float, optional
        See `fit_linear`.

    Returns
    -------
    LinearFit
        The fit.
    """
    geometry = geometry_for(wanted, len(first), fewest)
    fit = fit_linear(first, second, geometry, close)
    allowed = geometry_for(wanted, fit.n, fewest)
    if allowed != geometry:
        # Clipping has left too few pairs for it.
        fit = fit_linear(first, second, allowed, close)
    if fit.geometry != "shift" or wanted == "shift" or len(first) < _FEWEST_TURNED:
        return fit
    turned = fit_linear(first, second, "rshift", close)
    if turned.n < max(_FEWEST_TURNED, _LEAST_SHARE * fit.n):
        return fit
    residual = float(np.sum((second - fit.transform(first))[turned.used] ** 2))
    return turned if _rotation_is_sure(residual, turned) else fit


def _rotation_is_sure(sum_of_squares: float, turned: LinearFit) -> bool:
    """Compare the residuals of a shift with those that a rotation leaves."""
    from scipy.special import fdtrc

    left = turned.n * turned.rms_distance**2
    freedom = 2 * turned.n - 3
    if left <= 0.0:
        return sum_of_squares > 0.0
    return bool(fdtrc(1.0, freedom, (sum_of_squares - left) / (left / freedom)) < _SURE)


def _least_squares(first: Floats, second: Floats, geometry: str) -> Transform:
    """Fit without clipping."""
    middle, target = first.mean(axis=0), second.mean(axis=0)
    p, q = first - middle, second - target
    matrix = np.identity(2)
    if geometry == "general":
        matrix = np.linalg.lstsq(p, q, rcond=None)[0].T
    elif geometry in ("rshift", "rscale"):
        # Positions as complex numbers: a rotation with a scale is one factor.
        size = float(np.sum(p**2))
        real = float(np.sum(p * q))
        imaginary = float(np.sum(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]))
        length = size if geometry == "rscale" else math.hypot(real, imaginary)
        if length > 0.0:
            cosine, sine = real / length, imaginary / length
            matrix = np.array([[cosine, -sine], [sine, cosine]])
    return Transform(matrix, target - matrix @ middle)
