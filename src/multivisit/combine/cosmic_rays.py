"""The test for cosmic rays: a chip's pixels against what the median of all exposures says they should be.

A pixel is hit when it differs from the model by more than a multiple of the noise plus a multiple of the
model's slope: where the model is steep, small errors of position and of interpolation make large differences
(Fruchter & Hook 2002, PASP 114, 144, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine import _outliers
from multivisit.combine.median import grown

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CosmicRayTest", "find_cosmic_rays"]

_LOOSE, _STRINGENT = np.uint8(1), np.uint8(2)


@dataclass(frozen=True)
class CosmicRayTest:
    """The limits of the test; the published parameters are named in parentheses."""

    snr: tuple[float, float] = (3.5, 3.0)
    """Multiples of the noise for any pixel, and for pixels beside a hit (driz_cr_snr)."""

    scale: tuple[float, float] = (1.5, 1.2)
    """Multiples of the model's slope, likewise (driz_cr_scale)."""

    grow: int = 1
    """Pixels around a hit in which the second limits apply (driz_cr_grow)."""

    cte_grow: int = 0
    """Pixels behind a hit, away from the readout amplifier, that are masked with it (driz_cr_ctegrow)."""


def find_cosmic_rays(
    science: NDArray[np.float32],
    model: NDArray[np.float32],
    test: CosmicRayTest,
    *,
    exposure_time: float,
    sky_rate: float,
    read_noise: float,
    cte_direction: int = 0,
) -> NDArray[np.bool_]:
    """Find the pixels of a chip that a cosmic ray (or anything else that passes) has hit.

    With everything in electrons, a pixel is hit if ``|science - model| > scale * slope + snr * noise`` with
    the second pair of limits, and it or a pixel within `CosmicRayTest.grow` of it is with the first. The
    slope is the largest difference of the model from its value in the four pixels beside; the noise is
    ``sqrt(|model + sky| + read_noise**2)``.

    Parameters
    ----------
    science : ndarray of float32
        Electrons/s per pixel, sky taken off, shape (ny, nx); NaN is never hit.
    model : ndarray of float32
        What is expected there, same shape; where it is NaN nothing is known and nothing is hit.
    test : CosmicRayTest
        Limits.
    exposure_time : float
        Seconds.
    sky_rate : float
        Sky level that was taken off, electrons/s per pixel.
    read_noise : float
        Electrons.
    cte_direction : int
        1 if charge is read out towards higher rows, -1 if towards lower ones, 0 if it stays where it is.

    Returns
    -------
    ndarray of bool
        True for hit pixels, shape (ny, nx).
    """
    flags = np.empty(science.shape, dtype=np.uint8)
    _outliers.test_pixels(
        np.ascontiguousarray(science, dtype=np.float32),
        np.ascontiguousarray(model, dtype=np.float32),
        science.shape[0],
        science.shape[1],
        exposure_time,
        sky_rate * exposure_time,
        read_noise**2,
        test.snr,
        test.scale,
        flags,
    )
    near = grown((flags & _LOOSE) != 0, test.grow)
    hit: NDArray[np.bool_] = near & ((flags & _STRINGENT) != 0)
    return _with_tails(hit, test.cte_grow, cte_direction)


def _with_tails(hit: NDArray[np.bool_], length: int, direction: int) -> NDArray[np.bool_]:
    """Add the pixels in which charge trails behind a hit: those farther from the amplifier."""
    if direction == 0:
        return hit
    result = hit.copy()
    for step in range(1, min(length, len(hit) - 1) + 1):
        if direction > 0:
            result[:-step] |= hit[step:]
        else:
            result[step:] |= hit[:-step]
    return result
