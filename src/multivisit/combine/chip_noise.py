"""The weights and variances of a chip's pixels, as the parameters ask for them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine.layer_outliers import chip_read_noise
from multivisit.combine.placement import chip_error
from multivisit.combine.sky_file import background_taken_off
from multivisit.combine.sky_samples import SkyStatistic
from multivisit.combine.survey import file_unit
from multivisit.combine.weight_maps import BackgroundNoise, inverse_variance_weights, pixel_variance
from multivisit.combine.weights import weight_per_pixel
from multivisit.errors import MultivisitError
from multivisit.exposures.detector_noise import dark_electrons

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from multivisit.combine.placement import PreparedChip
    from multivisit.plan.parameters import CombinationParameters

__all__ = ["ChipNoise", "chip_noise", "sky_statistic"]

_SKY_SAMPLE = 1 << 20


@dataclass(frozen=True, eq=False)
class ChipNoise:
    """Weights and variances of a chip."""

    weight: float
    """Weight of each good pixel; 1 where each has its own."""

    weight_plane: NDArray[np.float32] | None = field(default=None, repr=False)
    """Weight of each pixel, (ny, nx), 0 for bad ones; None where `weight` holds for all."""

    variance: NDArray[np.float32] | None = field(default=None, repr=False)
    """Variance of each pixel, (electrons/s)^2, (ny, nx), 0 for bad ones; None where nobody asked."""


def chip_noise(
    item: PreparedChip,
    science: NDArray[np.float32],
    good: NDArray[np.bool_],
    parameters: CombinationParameters,
    statistic: SkyStatistic,
    scale_ratio: float,
    error_plane: bool,
) -> ChipNoise:
    """Weigh the pixels of a chip.

    Parameters
    ----------
    item : PreparedChip
        The chip.
    science : ndarray of float32
        Its pixels before any sky is taken off, electrons/s, (ny, nx).
    good : ndarray of bool
        Its good pixels; those without a usable error become bad, in place, where errors are needed.
    parameters : CombinationParameters
        ``final_wht_type`` and ``final_wt_scl``.
    statistic : SkyStatistic
        How its sky is measured where its noise has to be worked out.
    scale_ratio : float
        Output pixel scale over its nominal pixel scale.
    error_plane : bool
        Whether variances are asked for.

    Returns
    -------
    ChipNoise
        Weights and variances.

    Raises
    ------
    CombineError
        If the errors cannot be read.
    ParameterError
        If a parameter that the noise depends on is impossible.
    """
    kind = parameters.final_wht_type
    variance = None
    if kind == "ERR" or error_plane:
        variance = _variance(item, science, good, parameters, statistic)
        usable = np.isfinite(variance) & (variance > 0.0)
        good &= usable
        variance[~good] = 0.0
    weight, plane = 1.0, None
    if kind == "EXP":
        weight = weight_per_pixel(item.chip.exposure_time, parameters.final_wt_scl)
    elif kind == "IVM":
        background = _background(item, science, good, parameters, statistic)
        weight = 1.0 / (background.variance * scale_ratio**4)
    elif variance is not None:
        plane = inverse_variance_weights(variance, good, scale_ratio)
    return ChipNoise(weight, plane, variance if error_plane else None)


def sky_statistic(parameters: CombinationParameters) -> SkyStatistic:
    """Give the way in which the parameters measure a sky level.

    Parameters
    ----------
    parameters : CombinationParameters
        ``skystat``, ``skyclip`` and so on.

    Returns
    -------
    SkyStatistic
        The same as one value.
    """
    return SkyStatistic(
        statistic=parameters.skystat,
        n_clips=parameters.skyclip,
        lower_sigma=parameters.skylsigma,
        upper_sigma=parameters.skyusigma,
        bin_width=parameters.skywidth,
        lower=parameters.skylower,
        upper=parameters.skyupper,
    )


def _variance(
    item: PreparedChip,
    science: NDArray[np.float32],
    good: NDArray[np.bool_],
    parameters: CombinationParameters,
    statistic: SkyStatistic,
) -> NDArray[np.float32]:
    """Take the variance from the exposure's ERR extension, or work it out where there is none."""
    try:
        error = item.chip.read_error()
    except (MultivisitError, OSError, ValueError) as problem:
        raise chip_error(item.exposure, item.chip, problem) from problem
    if error is None:
        background = _background(item, science, good, parameters, statistic)
        level = background.sky_rate - background_taken_off(item.exposure, item.chip, _skyuser(parameters))
        return pixel_variance(science, level, background)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.multiply(error, error, out=error)


def _background(
    item: PreparedChip,
    science: NDArray[np.float32],
    good: NDArray[np.bool_],
    parameters: CombinationParameters,
    statistic: SkyStatistic,
) -> BackgroundNoise:
    """Measure the sky of a chip, whatever is taken off it, and add what its headers tell."""
    step = max(1, math.isqrt(science.size // _SKY_SAMPLE))
    values = science[::step, ::step][good[::step, ::step]]
    unit = file_unit(item.chip)
    low = -math.inf if statistic.lower is None else statistic.lower * unit
    high = math.inf if statistic.upper is None else statistic.upper * unit
    level = statistic.measure(values[(values >= low) & (values <= high)])
    return BackgroundNoise(
        exposure_time=item.chip.exposure_time,
        sky_rate=(level or 0.0) + background_taken_off(item.exposure, item.chip, _skyuser(parameters)),
        dark_electrons=dark_electrons(item.chip),
        read_noise=chip_read_noise(item.exposure, item.chip, parameters),
    )


def _skyuser(parameters: CombinationParameters) -> str:
    """Give the keyword of the sky that was taken off before, which counts where none is taken off here."""
    return "" if parameters.skysub else parameters.skyuser
