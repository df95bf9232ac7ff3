"""What became of the chips of a layer, and the mosaic that they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from multivisit.combine.coverage import MosaicStatistics
    from multivisit.combine.sky_levels import SkyLevels

__all__ = ["ChipRecord", "LayerMosaic", "MosaicSummary"]


@dataclass(frozen=True)
class ChipRecord:
    """What became of one chip in a mosaic."""

    filename: str
    """Name of the exposure's file."""

    rootname: str
    """Rootname of the exposure."""

    extver: int
    """EXTVER of the chip."""

    chip_id: int
    """Number of the detector chip."""

    exposure_time: float
    """Exposure time, s."""

    in_grid: bool
    """Whether the chip overlaps the output grid; if not, it was not combined."""

    sky_level: float
    """Sky level taken off, electrons/s per native pixel (MDRIZSKY)."""

    sky_measured: bool
    """Whether that level was measured; False where the sky was left alone or could not be compared."""

    sky_group: int
    """Number of the group of overlapping exposures in which the sky was matched."""

    n_static: int
    """Number of pixels left out by the static mask alone."""

    n_good_pixels: int
    """Number of pixels of weight above 0."""

    n_used: int
    """Number of those whose centres fall in the output grid."""

    n_rejected: int = 0
    """Number of pixels left out because other exposures speak against them."""


@dataclass(frozen=True)
class MosaicSummary:
    """How the planes of a layer came about, without the planes."""

    chips: tuple[ChipRecord, ...]
    """One record a chip, in the order of combination."""

    statistics: MosaicStatistics
    """Statistics over the observed pixels."""

    sky: SkyLevels | None = None
    """Sky levels of the exposures; None where the sky is left alone."""


@dataclass(frozen=True)
class LayerMosaic:
    """The planes of a layer and how they came about."""

    science: NDArray[np.float32] = field(repr=False)
    """Electrons/s (or electrons) per output pixel, (ny, nx); NaN or the fill value where the weight is 0."""

    weight: NDArray[np.float32] = field(repr=False)
    """Sum of weight times area, (ny, nx): exposure time times squared scale ratio where fully covered."""

    context: NDArray[np.int32] | None = field(repr=False)
    """Bit k of plane p: chip 32 p + k of `chips` contributes; (planes, ny, nx). None if not asked for."""

    chips: tuple[ChipRecord, ...]
    """One record a chip, in the order of combination."""

    statistics: MosaicStatistics
    """Statistics over the observed pixels."""

    error: NDArray[np.float32] | None = field(default=None, repr=False)
    """Standard error of `science`, in its units, (ny, nx); NaN where the weight is 0. None if not kept."""
