"""Which pixels count, and how much: data-quality masks, the static mask and weights. Plain arrays only."""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.combine import _pixels, _survey
from multivisit.combine.planes import empty_plane
from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from numpy.typing import NDArray

__all__ = [
    "LARGEST_VALUE",
    "PixelTest",
    "StaticLimit",
    "StaticMasks",
    "histogram_mode",
    "static_limit",
    "weight_per_pixel",
]

_LOG = logging.getLogger(__name__)

LARGEST_VALUE = 1e20
"""Electrons/s that no pixel has: a value at least this far from 0 means nothing, whatever its flags say.

Sums of the squares of smaller ones, times any weight, stay within the range of numbers."""

_DQ_BITS = 0xFFFF
"""Hubble's flags have 16 bits; a 16-bit flag array with bit 15 set reads as negative numbers."""

_PARABOLA_REACH = 3
_STATIC_CLIPS = 3
_STATIC_CLIP_SIGMA = 3.0
_STATIC_BIN_WIDTH = 0.1
_STATIC_SAMPLE = 1_000_000
_STATIC_MOST = 0.01
"""A chip with a larger share of low pixels than this shows structure of the sky, not bad pixels."""


@dataclass(frozen=True)
class PixelTest:
    """Which pixels count.

    A pixel is bad when it has any flag outside the good bits, as in AstroDrizzle, or when its value is no
    number, beyond all measure (`LARGEST_VALUE`), or beyond the limits.
    """

    bits: int | None
    """Good DQ bits as one number; None lets flags pass."""

    low: float = -math.inf
    """Lowest good value, electrons/s."""

    high: float = math.inf
    """Highest good value, electrons/s."""

    @property
    def passes_all_flags(self) -> bool:
        """Whether no flag makes a pixel bad."""
        return self.bad_bits == 0

    def mark(self, science: NDArray[np.float32], flags: NDArray[Any], good: NDArray[np.bool_]) -> int:
        """Mark the good ones of some pixels.

        Parameters
        ----------
        science : ndarray of float32
            Electrons/s, contiguous.
        flags : ndarray
            DQ flags, big-endian, 16 bits, contiguous, same shape.
        good : ndarray of bool
            Where they are marked, same shape.

        Returns
        -------
        int
            Number of good pixels.
        """
        return _pixels.mark(science, flags, science.size, self.bad_bits, self.low, self.high, good)

    @property
    def bad_bits(self) -> int:
        """Flags that make a pixel bad, as one number."""
        return 0 if self.bits is None else ~self.bits & _DQ_BITS


def weight_per_pixel(exposure_time: float, weight_scale: str | float | None = "exptime") -> float:
    """Give the weight of a good pixel, for weights by exposure time (weight type ``EXP``).

    Parameters
    ----------
    exposure_time : float
        Seconds.
    weight_scale : str, float or None
        ``exptime`` (or None): the exposure time; ``expsq``: its square; a number: that many times the
        exposure time.

    Returns
    -------
    float
        Weight of each good pixel.

    Raises
    ------
    ParameterError
        For another weight scale.
    """
    if weight_scale is None or weight_scale == "exptime":
        return exposure_time
    if weight_scale == "expsq":
        return exposure_time**2
    if isinstance(weight_scale, str) or not (math.isfinite(weight_scale) and weight_scale > 0.0):
        raise ParameterError(
            f"final_wt_scl: found {weight_scale!r}, expected 'exptime', 'expsq' or a number above 0."
        )
    return weight_scale * exposure_time


def histogram_mode(values: NDArray[np.floating[Any]], bin_width: float) -> float:
    """Locate the peak of a histogram by a parabola fitted to its highest bin and three on either side.

    Parameters
    ----------
    values : ndarray of float
        At least one finite value.
    bin_width : float
        Width of the bins, in the values' units.

    Returns
    -------
    float
        The mode. The middle of the range where all values fall in one bin.
    """
    low, high = float(values.min()), float(values.max())
    if not (bin_width > 0.0) or high - low <= bin_width:
        return 0.5 * (low + high)
    n_bins = math.ceil((high - low) / bin_width)
    counts, edges = np.histogram(values, bins=n_bins, range=(low, low + n_bins * bin_width))
    return _peak(counts, edges, bin_width)


def _peak(counts: NDArray[np.int64], edges: NDArray[np.float64], bin_width: float) -> float:
    """Locate the peak of a histogram."""
    n_bins = len(counts)
    peak = int(np.argmax(counts))
    centre = 0.5 * float(edges[peak] + edges[peak + 1])
    reach = min(_PARABOLA_REACH, peak, n_bins - 1 - peak)
    if reach == 0:
        return centre
    x = np.arange(-reach, reach + 1)
    y = counts[peak - reach : peak + reach + 1].astype(np.float64)
    slope = float(x @ y) / float(x @ x)
    square = x**2 - float(np.mean(x**2))
    curvature = float(square @ y) / float(square @ square)
    if curvature >= 0.0:
        return centre
    return centre + bin_width * float(np.clip(-0.5 * slope / curvature, -reach, reach))


@dataclass(frozen=True)
class StaticLimit:
    """Below which value a chip's pixels are statically bad."""

    mode: float
    """Mode of the chip's good pixels, in their units."""

    sigma: float
    """Their clipped standard deviation."""

    limit: float
    """``mode - static_sig * sigma``; minus infinity where there is no spread to judge by."""


def static_limit(
    science: NDArray[np.float32], good: NDArray[np.bool_], static_sigma: float = 4.0
) -> StaticLimit:
    """Find the value below which pixels of a chip belong in the static mask.

    The definition is AstroDrizzle's: the mode less `static_sigma` standard deviations, these after 3 clips
    at 3 standard deviations about the mean. Bad pixels are left out here. Large chips are sampled (a million
    pixels on a regular lattice), which fixes the limit to 0.02 standard deviation.

    Parameters
    ----------
    science : ndarray of float32
        Pixels of one chip.
    good : ndarray of bool
        Good pixels, same shape.
    static_sigma : float
        Depth of the limit in standard deviations.

    Returns
    -------
    StaticLimit
        Mode, standard deviation and limit.
    """
    step = max(1, math.isqrt(science.size // _STATIC_SAMPLE))
    ny, nx = science.shape
    values = empty_plane((-(-ny // step) * -(-nx // step),), np.float32)
    n, mean, sigma, low, high = _survey.clip(
        np.ascontiguousarray(science),
        np.ascontiguousarray(good),
        ny,
        nx,
        step,
        _STATIC_CLIPS,
        _STATIC_CLIP_SIGMA,
        values,
    )
    if n < 2:
        return StaticLimit(mode=math.nan, sigma=0.0, limit=-math.inf)
    if sigma <= 1e-7 * abs(mean):
        return StaticLimit(mode=mean, sigma=sigma, limit=-math.inf)
    width = _STATIC_BIN_WIDTH * sigma
    mode = 0.5 * (low + high)
    if high - low > width:
        n_bins = math.ceil((high - low) / width)
        edges, counts = np.linspace(low, low + n_bins * width, n_bins + 1), np.zeros(n_bins, dtype=np.int64)
        _survey.histogram(values, values.size, low, high, edges, n_bins, counts)
        mode = _peak(counts, edges, width)
    return StaticLimit(mode=mode, sigma=sigma, limit=mode - static_sigma * sigma)


class StaticMasks:
    """The static masks of a layer: one for each chip of a detector, shared by all its exposures.

    A pixel that is good by its flags but far below the sky in any one exposure is left out in all of them:
    such pixels are bad pixels over-subtracted in calibration, which stay where they are on the chip.
    AstroDrizzle shares its masks in the same way, by detector, image size and chip; unlike there, flagged
    pixels do not count (their values say nothing, and they are left out anyway) and a chip with more than 1
    % of low pixels does not count (dark sky between bright nebulosity, not bad pixels).

    Parameters
    ----------
    static_sigma : float
        Depth in standard deviations below the mode.
    """

    def __init__(self, static_sigma: float = 4.0) -> None:
        self._static_sigma = static_sigma
        self._low: dict[Hashable, NDArray[np.bool_]] = {}
        self._lock = threading.Lock()

    @property
    def masks(self) -> Mapping[Hashable, NDArray[np.bool_]]:
        """The masks by signature, True for pixels that are left out; not to be changed."""
        return MappingProxyType(self._low)

    def add(
        self, signature: Hashable, science: NDArray[np.float32], good: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Take the low pixels of one chip of one exposure into the mask of its signature; from any thread.

        Parameters
        ----------
        signature : hashable
            What exposures must have in common to share a mask: detector, image size, chip.
        science : ndarray of float32
            Its pixels.
        good : ndarray of bool
            Good pixels by flags, same shape.

        Returns
        -------
        ndarray of int64
            Numbers of the good pixels of this chip that are low, row by row from its first pixel.
        """
        limit = static_limit(science, good, self._static_sigma)
        # There is room for as many as may count.
        low = np.empty(int(_STATIC_MOST * good.size), dtype=np.int64)
        n_low, n_good = _survey.find_low(
            np.ascontiguousarray(science), np.ascontiguousarray(good), good.size, limit.limit, low, low.size
        )
        if n_low > _STATIC_MOST * n_good:
            _LOG.warning(
                "Static mask of %s: %d of %d good pixels lie more than %g standard deviations below the "
                "mode: sky, not bad pixels; not used.",
                signature,
                n_low,
                n_good,
                self._static_sigma,
            )
            return low[:0]
        with self._lock:
            if signature not in self._low:
                self._low[signature] = np.zeros(good.shape, dtype=np.bool_)
            self._low[signature].reshape(-1)[low[:n_low]] = True
        return low[:n_low]

    @property
    def nbytes(self) -> int:
        """Bytes that the masks take."""
        return sum(mask.nbytes for mask in self._low.values())

    def mask(self, signature: Hashable) -> NDArray[np.bool_] | None:
        """Give the mask of a signature.

        Parameters
        ----------
        signature : hashable
            As in `add`.

        Returns
        -------
        ndarray of bool or None
            True for statically bad pixels; not to be changed. None if no chip has any.
        """
        return self._low.get(signature)
