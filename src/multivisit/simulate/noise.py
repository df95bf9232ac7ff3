"""From expected electrons to a calibrated exposure: noise, cosmic rays, blemishes, and their flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from multivisit.simulate.detectors import Detector
    from multivisit.simulate.geometry import Window
    from multivisit.simulate.specification import NoiseSpecification

__all__ = [
    "DQ_COSMIC_RAY",
    "DQ_DEAD",
    "DQ_HOT",
    "DQ_SATURATED",
    "DQ_STRUCTURE",
    "DQ_WARM",
    "Blemishes",
    "CalibratedChip",
    "detector_blemishes",
    "expose",
]

DQ_DEAD = 4
"""DQ bit of a pixel whose value means nothing."""
DQ_HOT = 16
"""DQ bit of a hot pixel."""
DQ_WARM = 64
"""DQ bit of a warm pixel."""
DQ_STRUCTURE = 128
"""DQ bit of a bad column."""
DQ_SATURATED = 256
"""DQ bit of a saturated pixel."""
DQ_COSMIC_RAY = 4096
"""DQ bit of a cosmic ray found by comparing exposures."""

_READ_NOISE_ONLY = 1e-3
_LARGEST_POISSON = 1e15


@dataclass(frozen=True)
class Blemishes:
    """What is wrong with a chip, the same in all its exposures."""

    flags: NDArray[np.int16]
    """DQ flags."""

    dark_rate: NDArray[np.float32]
    """Dark current of hot and warm pixels in electrons per second; the calibration takes its mean off."""


@dataclass(frozen=True)
class CalibratedChip:
    """The pixels of one chip as the calibration delivers them."""

    science: NDArray[np.float32]
    """Values in the detector's units."""

    error: NDArray[np.float32]
    """Their standard deviations."""

    quality: NDArray[np.int16]
    """DQ flags."""

    cosmic_rays: NDArray[np.float32]
    """What cosmic rays left, in the detector's units; 0 where there is none."""

    n_cosmic_rays: int
    """Number of cosmic-ray hits, flagged or not."""

    n_unflagged_pixels: int
    """Pixels that a cosmic ray hit and no flag tells of."""


def detector_blemishes(
    detector: Detector, extver: int, chip_shape: tuple[int, int], window: Window, seed: int
) -> Blemishes:
    """Hot, warm and dead pixels and bad columns of a chip; a subarray sees its part of the same ones."""
    random = np.random.default_rng([seed, 1, *detector.label.encode(), extver])
    ny, nx = chip_shape
    flags = np.zeros(chip_shape, dtype=np.int16)
    dark = np.zeros(chip_shape, dtype=np.float32)
    for fraction, bit, low, high in (
        (detector.warm_fraction, DQ_WARM, 0.06, 0.14),
        (detector.hot_fraction, DQ_HOT, 0.14, 5.0),
    ):
        number = round(fraction * ny * nx)
        rows, columns = random.integers(ny, size=number), random.integers(nx, size=number)
        flags[rows, columns] |= bit
        dark[rows, columns] = low * (high / low) ** random.uniform(size=number)
    number = round(detector.dead_fraction * ny * nx)
    flags[random.integers(ny, size=number), random.integers(nx, size=number)] |= DQ_DEAD
    for _ in range(detector.bad_columns):
        flags[int(random.integers(ny)) :, int(random.integers(nx))] |= DQ_STRUCTURE
    part = np.s_[window.y0 : window.y0 + window.shape[0], window.x0 : window.x0 + window.shape[1]]
    return Blemishes(flags[part].copy(), dark[part].copy())


def expose(
    light: NDArray[np.float64],
    areas: NDArray[np.float32],
    sky_level: float,
    exposure_time: float,
    detector: Detector,
    blemishes: Blemishes,
    noise: NoiseSpecification,
    random: np.random.Generator,
) -> CalibratedChip:
    """Make a calibrated chip from the light that falls on it.

    Parameters
    ----------
    light : ndarray, float64
        Electrons per second of the sources in each pixel.
    areas : ndarray, float32
        Areas of the pixels in units of the nominal one's (`multivisit.simulate.render.pixel_areas`).
    sky_level : float
        Electrons per second per nominal pixel.
    exposure_time : float
        Seconds.
    detector : Detector
        Gives read noise, full well, cosmic-ray rate and units.
    blemishes : Blemishes
        The chip's hot, warm and dead pixels.
    noise : NoiseSpecification
        What is switched on.
    random : numpy.random.Generator
        Source of the noise.
    """
    electrons = (light + sky_level * areas) * exposure_time
    quality = np.zeros(light.shape, dtype=np.int16)
    dark: NDArray[np.float64] | float = 0.0
    if noise.hot_pixels:
        dark = blemishes.dark_rate.astype(np.float64) * exposure_time
        quality |= blemishes.flags & np.int16(DQ_HOT | DQ_WARM)
    hits = np.zeros(light.shape, dtype=np.float32)
    n_hits = n_unflagged = 0
    rate = noise.cosmic_rays * detector.cosmic_ray_rate
    if rate > 0.0:
        hits, seen, n_hits = _cosmic_rays(
            light.shape, rate * exposure_time, noise.unflagged_cosmic_rays, random
        )
        quality[seen] |= DQ_COSMIC_RAY
        n_unflagged = int(np.count_nonzero((hits > 0.0) & ~seen))
    read_noise = detector.read_noise if noise.read_noise else 0.0
    variance = electrons + dark + hits + detector.read_noise**2
    if noise.photon_noise:
        electrons = _poisson(electrons + dark, random) - dark
    electrons += hits
    if read_noise > 0.0:
        electrons += random.standard_normal(light.shape, dtype=np.float32) * np.float32(read_noise)
    if noise.saturation and np.isfinite(detector.full_well):
        full = electrons >= detector.full_well
        electrons[full] = detector.full_well
        quality[full] |= DQ_SATURATED
    if noise.bad_pixels:
        meaningless = (blemishes.flags & (DQ_DEAD | DQ_STRUCTURE)) != 0
        quality |= blemishes.flags & np.int16(DQ_DEAD | DQ_STRUCTURE)
        electrons[meaningless] = random.normal(300.0, 1000.0, int(np.count_nonzero(meaningless)))
    # Flat-fielding divides by the pixel's area, so that an even sky is even; a rate where the units are one.
    divisor = areas * (exposure_time if detector.units.endswith("/S") else 1.0)
    divisor = np.where(divisor > 0.0, divisor, 1.0)
    return CalibratedChip(
        science=(electrons / divisor).astype(np.float32),
        error=(np.sqrt(np.maximum(variance, _READ_NOISE_ONLY)) / divisor).astype(np.float32),
        quality=quality,
        cosmic_rays=(hits / divisor).astype(np.float32),
        n_cosmic_rays=n_hits,
        n_unflagged_pixels=n_unflagged,
    )


def _poisson(mean: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Poisson noise about expected numbers; none where the numbers are so large that it means nothing."""
    noisy = random.poisson(np.minimum(mean, _LARGEST_POISSON)).astype(np.float64)
    return np.where(mean < _LARGEST_POISSON, noisy, mean)


def _cosmic_rays(
    shape: tuple[int, int], hits_per_pixel: float, unflagged: float, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_], int]:
    """Straight tracks of random direction: deposited electrons, pixels that DQ flags, number of hits."""
    ny, nx = shape
    number = int(random.poisson(hits_per_pixel * ny * nx))
    x, y = random.uniform(-0.5, nx - 0.5, number), random.uniform(-0.5, ny - 0.5, number)
    angle = random.uniform(0.0, 2.0 * np.pi, number)
    length = random.exponential(3.5, number)
    per_pixel = np.exp(random.normal(np.log(900.0), 0.9, number))
    is_flagged = random.uniform(size=number) >= unflagged
    steps = np.ceil(2.0 * length).astype(np.intp) + 1
    hit = np.repeat(np.arange(number), steps)
    along = (np.arange(hit.size) - np.repeat(np.cumsum(steps) - steps, steps)) * 0.5
    column = np.rint(x[hit] + along * np.cos(angle[hit])).astype(np.intp)
    row = np.rint(y[hit] + along * np.sin(angle[hit])).astype(np.intp)
    on_chip = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    pixel, hit = (row * nx + column)[on_chip], hit[on_chip]
    deposit = np.bincount(pixel, weights=0.5 * per_pixel[hit], minlength=ny * nx)
    seen = np.zeros(ny * nx, dtype=bool)
    seen[pixel[is_flagged[hit]]] = True
    return deposit.astype(np.float32).reshape(shape), seen.reshape(shape), number
