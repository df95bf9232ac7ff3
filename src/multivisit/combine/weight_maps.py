"""Variances of pixels and the weights made of them, for the weight types ``IVM`` and ``ERR``.

A weight is the inverse variance of a pixel's rate as it adds to an output pixel: with the variance ``v`` of a
native pixel in (electrons/s)^2 and the ratio ``s`` of the output to the nominal pixel scale, ``1 / (v s^4)``.
So WHT is an inverse variance in the units of SCI, (electrons/s)^-2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BackgroundNoise", "inverse_variance_weights", "pixel_variance"]


@dataclass(frozen=True)
class BackgroundNoise:
    """What makes noise in all pixels of a chip, whatever sources there are."""

    exposure_time: float
    """Seconds."""

    sky_rate: float
    """Sky level, electrons/s per native pixel."""

    dark_electrons: float
    """Dark signal in the whole exposure, electrons."""

    read_noise: float
    """Electrons."""

    @property
    def variance(self) -> float:
        """Variance of a pixel's rate without sources, (electrons/s)^2.

        The sum of sky and dark signal and of the square of the read noise, in electrons, over the square of
        the exposure time. The flat field counts as 1: its reference file is not among the inputs.
        """
        electrons = max(self.sky_rate, 0.0) * self.exposure_time + self.dark_electrons + self.read_noise**2
        # A detector that counts photons has no other noise: one photon is the least that can be told.
        return max(electrons, 1.0) / self.exposure_time**2


def pixel_variance(
    science: NDArray[np.float32], sky_rate: float, background: BackgroundNoise
) -> NDArray[np.float32]:
    """Estimate the variance of pixels whose exposure has no ERR extension.

    Parameters
    ----------
    science : ndarray of float32
        Electrons/s per native pixel.
    sky_rate : float
        Level of the background in them, electrons/s per native pixel (0 where it was taken off).
    background : BackgroundNoise
        Noise of the background.

    Returns
    -------
    ndarray of float32
        Background noise plus the photon noise of what lies above the background, (electrons/s)^2.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        light: NDArray[np.float32] = np.maximum(science - np.float32(sky_rate), np.float32(0.0))
        light /= np.float32(background.exposure_time)
        light += np.float32(background.variance)
    return light


def inverse_variance_weights(
    variance: NDArray[np.float32] | float, good: NDArray[np.bool_], scale_ratio: float
) -> NDArray[np.float32]:
    """Turn variances into weights.

    Parameters
    ----------
    variance : ndarray of float32 or float
        Variances of the pixels' rates, (electrons/s)^2.
    good : ndarray of bool
        Good pixels, shape (ny, nx).
    scale_ratio : float
        Output pixel scale over the chip's nominal pixel scale.

    Returns
    -------
    ndarray of float32
        ``1 / (variance * scale_ratio**4)`` for good pixels with a finite variance above 0, else 0; shape
        (ny, nx).
    """
    weights = np.zeros(good.shape, dtype=np.float32)
    variance = np.asarray(variance, dtype=np.float32)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        values = np.float32(1.0) / (variance * np.float32(scale_ratio**4))
        usable = good & (variance > 0.0) & np.isfinite(values)
    np.copyto(weights, values, where=usable)
    return weights
