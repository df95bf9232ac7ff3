"""Measuring the sky of one chip: its level, and its mean brightness in small patches for matching exposures.

Matching compares two exposures where they see the same sky. What is compared are means, not medians: the
mean of a patch does not depend on the noise, the median of a patch with faint sources in it does. To keep
the means clean, pixels far from their surroundings are clipped, and each patch remembers how many were:
patches with stars, galaxies' cores or cosmic rays are recognised in either exposure and left out for both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.combine import _survey
from multivisit.combine.planes import empty_plane
from multivisit.combine.weights import histogram_mode
from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from multivisit.combine.drizzle_engine import PixelCoordinates

__all__ = [
    "ChipSky",
    "PackedPatches",
    "SkyPatches",
    "SkyStatistic",
    "chip_patches",
    "merge_patches",
    "patch_memory",
    "patch_spacing",
]

STATISTICS = ("median", "mean", "mode")

_BLOCKS_PER_PATCH = 4
"""Blocks of pixels along a patch; see `chip_patches`."""

_LOCAL_BLOCKS = 8
"""Blocks along the area in which the local level is the median of one pixel per block."""

_POSITION_STEP = 16
_MAD_TO_SIGMA = 1.4826
_FINE_PIXELS, _COARSE_PIXELS, _COARSE_SCALE = 16, 8, 0.09
# Of a patch: three numbers in single precision, and those at the chips' edges besides.
_PACKED_BYTES = 15


@dataclass(frozen=True)
class SkyStatistic:
    """How a sky level is taken from pixel values; the published parameters skystat, skyclip and so on."""

    statistic: str = "median"
    """``median``, ``mean`` or ``mode``."""

    n_clips: int = 5
    """Number of clips (skyclip)."""

    lower_sigma: float = 4.0
    """Clipping limit below the mean, in standard deviations (skylsigma)."""

    upper_sigma: float = 4.0
    """Clipping limit above the mean, in standard deviations (skyusigma)."""

    bin_width: float = 0.1
    """Width of the mode's histogram bins, in standard deviations (skywidth)."""

    lower: float | None = None
    """Lowest usable value (skylower), in the units of the values."""

    upper: float | None = None
    """Highest usable value (skyupper), in the units of the values."""

    def __post_init__(self) -> None:
        """Refuse a statistic that there is not."""
        if self.statistic not in STATISTICS:
            raise ParameterError(
                f"skystat: found {self.statistic!r}, expected one of {', '.join(STATISTICS)}."
            )

    def measure(self, values: NDArray[np.floating[Any]]) -> float | None:
        """Take the level of some usable values.

        The mean and standard deviation of the values between the limits set new limits, `n_clips` times; the
        statistic is then that of the values between the last limits. This is the rule of AstroDrizzle's sky
        step.

        Parameters
        ----------
        values : ndarray of float
            Usable values, any shape.

        Returns
        -------
        float or None
            The level; None without values.
        """
        kept = values.ravel()
        for _ in range(self.n_clips):
            if kept.size == 0:
                return None
            mean, sigma = float(kept.mean(dtype=np.float64)), float(kept.std(dtype=np.float64))
            # Rounding must not clip values that are all the same.
            slack = 1e-6 * abs(mean)
            between = (kept >= mean - self.lower_sigma * sigma - slack) & (
                kept <= mean + self.upper_sigma * sigma + slack
            )
            if bool(between.all()):
                break
            kept = kept[between]
        if kept.size == 0:
            return None
        if self.statistic == "mean":
            return float(kept.mean(dtype=np.float64))
        if self.statistic == "mode":
            return histogram_mode(kept, self.bin_width * float(kept.std(dtype=np.float64)))
        return float(np.median(kept))


@dataclass(frozen=True)
class SkyPatches:
    """Mean sky brightness in patches that lie on a square lattice of the output plane.

    Node (i, j) of the lattice is at output pixel (i, j) times the spacing. A patch is a square of side
    `spacing` around its node; pixels count with a weight that falls linearly, in x and in y, from 1 at the
    node to 0 at the sides.
    """

    first: tuple[int, int]
    """Lattice numbers (i, j), along x and y, of the first element of the arrays."""

    total: NDArray[np.float64]
    """Weighted sum of the pixels' brightness (electrons/s per square arcsec), rows along y."""

    pixels: NDArray[np.float64]
    """Weighted number of pixels in the sum."""

    clipped: NDArray[np.float64]
    """Weighted number of good pixels left out because they are far from their surroundings."""

    full: float
    """Weighted number of pixels of a patch that the chip covers completely."""

    noise: float
    """Standard deviation of one pixel's brightness."""


@dataclass(frozen=True, eq=False)
class PackedPatches:
    """Patches in little memory: in single precision, and only those that hold pixels."""

    first: tuple[int, int]
    """See `SkyPatches`."""

    shape: tuple[int, int]
    """Rows and columns of the lattice's part."""

    held: NDArray[np.uint8] = field(repr=False)
    """Which patches hold pixels, a bit each."""

    values: NDArray[np.float32] = field(repr=False)
    """Their ``total``, ``pixels`` and ``clipped``, shape (3, n)."""

    full: float
    """See `SkyPatches`."""

    noise: float
    """See `SkyPatches`."""

    @classmethod
    def of(cls, patches: SkyPatches) -> PackedPatches:
        """Pack patches.

        Parameters
        ----------
        patches : SkyPatches
            The patches.

        Returns
        -------
        PackedPatches
            The same, rounded to single precision.
        """
        held = (patches.pixels > 0.0) | (patches.clipped > 0.0)
        values = np.stack([plane[held] for plane in (patches.total, patches.pixels, patches.clipped)])
        shape = (held.shape[0], held.shape[1])
        packed = np.packbits(held)
        return cls(patches.first, shape, packed, values.astype(np.float32), patches.full, patches.noise)

    def unpacked(self) -> SkyPatches:
        """Give the patches."""
        held = np.unpackbits(self.held, count=self.shape[0] * self.shape[1]).astype(np.bool_)
        planes = np.zeros((3, held.size))
        planes[:, held] = self.values
        total, pixels, clipped = planes.reshape(3, *self.shape)
        return SkyPatches(self.first, total, pixels, clipped, self.full, self.noise)

    def touches(self, other: PackedPatches) -> bool:
        """Tell whether the part of the lattice overlaps that of others.

        Parameters
        ----------
        other : PackedPatches
            The others.

        Returns
        -------
        bool
            Whether it does.
        """
        return all(
            self.first[axis] < other.first[axis] + other.shape[1 - axis]
            and other.first[axis] < self.first[axis] + self.shape[1 - axis]
            for axis in (0, 1)
        )


@dataclass(frozen=True)
class ChipSky:
    """What one chip tells of the sky."""

    level: float | None
    """Its own level, electrons/s per square arcsec; None where it was not asked for or there is none."""

    patches: SkyPatches | None
    """Its patches; None where they were not asked for or there are none."""


def patch_spacing(nominal_scale: float, output_scale: float) -> float:
    """Choose the spacing of the lattice: 16 native pixels, or 8 where they are larger than 0.09 arcsec.

    Parameters
    ----------
    nominal_scale : float
        Largest nominal pixel scale of the chips, arcsec.
    output_scale : float
        Scale of the output plane, arcsec.

    Returns
    -------
    float
        Spacing in output pixels. Patches are about an arcsecond: small enough that many have no star, large
        enough that pixel phases do not matter.
    """
    return _patch_pixels(nominal_scale) * nominal_scale / output_scale


def patch_memory(n_pixels: int, nominal_scale: float) -> int:
    """Estimate what the patches of chips take when they are packed.

    Parameters
    ----------
    n_pixels : int
        Pixels of all chips.
    nominal_scale : float
        Largest nominal pixel scale of the chips, arcsec.

    Returns
    -------
    int
        Bytes.
    """
    return int(n_pixels / _patch_pixels(nominal_scale) ** 2 * _PACKED_BYTES)


def _patch_pixels(nominal_scale: float) -> int:
    """Native pixels along a patch."""
    return _COARSE_PIXELS if nominal_scale > _COARSE_SCALE else _FINE_PIXELS


def chip_patches(
    science: NDArray[np.float32],
    good: NDArray[np.bool_],
    pixel_map: PixelCoordinates,
    nominal_scale: float,
    output_scale: float,
    spacing: float,
    clip_sigma: float = 4.0,
    origin: tuple[float, float] = (0.0, 0.0),
) -> SkyPatches | None:
    """Measure the patches of one chip.

    Pixels are first summed in blocks a quarter of a patch wide, whose centres are then carried into the
    output plane. Weights that fall linearly over two blocks make the mean of a patch exact for a sky with a
    gradient, wherever the blocks lie in it.

    Parameters
    ----------
    science : ndarray of float32
        Pixels, electrons/s, shape (ny, nx).
    good : ndarray of bool
        Pixels that may be used; true for finite values only.
    pixel_map : PixelCoordinates
        Where the pixels fall in the output plane.
    nominal_scale : float
        Nominal pixel scale of the chip, arcsec.
    output_scale : float
        Scale of the output plane, arcsec.
    spacing : float
        Spacing of the lattice in output pixels.
    clip_sigma : float
        Pixels that differ from the median around them by more than this many standard deviations are clipped.
    origin : tuple of float
        Added to the positions (x, y) in the output plane: the lattice then does not depend on where a plane
        has its first pixel.

    Returns
    -------
    SkyPatches or None
        The patches; None for a chip without good pixels.
    """
    ny, nx = science.shape
    native = spacing * output_scale / nominal_scale
    block = max(1, min(round(native / _BLOCKS_PER_PATCH), ny, nx))
    rows, columns = ny // block, nx // block
    image = (np.ascontiguousarray(science), np.ascontiguousarray(good), nx, rows, columns, block)
    found = _local_level(*image)
    if found is None:
        return None
    level, noise = found
    # Nothing is clipped for the rounding of float32 alone.
    limit = clip_sigma * noise + 1e-6 * float(np.abs(level).max())
    places = [_block_knots(n) for n in (rows, columns)]
    row_centres, column_centres = (knots * block + 0.5 * (block - 1) for knots in places)
    positions = np.stack(pixel_map.at(*np.meshgrid(column_centres, row_centres)))
    # Positions between the knots lie between theirs, and so do the nodes.
    nodes = np.floor((positions + np.reshape(origin, (2, 1, 1))) / spacing + 0.5).astype(np.int64)
    low, high = nodes.min(axis=(1, 2)), nodes.max(axis=(1, 2))
    first = (int(low[0]), int(low[1]))
    shape = (int(high[1] - low[1]) + 1, int(high[0] - low[0]) + 1)
    sums = np.zeros((3, *shape))
    _survey.add_blocks(
        *image,
        level,
        _LOCAL_BLOCKS,
        limit,
        places[0],
        len(places[0]),
        places[1],
        len(places[1]),
        positions,
        origin,
        spacing,
        first,
        *shape,
        sums,
    )
    area = nominal_scale**2
    return SkyPatches(first, sums[0] / area, sums[1], sums[2], (0.5 * native) ** 2, noise / area)


def merge_patches(patches: Sequence[SkyPatches]) -> SkyPatches:
    """Put the patches of an exposure's chips together.

    Parameters
    ----------
    patches : sequence of SkyPatches
        At least one, all on the same lattice.

    Returns
    -------
    SkyPatches
        Their sums; the noise is the root mean square of theirs.
    """
    if len(patches) == 1:
        return patches[0]
    first = (min(p.first[0] for p in patches), min(p.first[1] for p in patches))
    last = (
        max(p.first[0] + p.total.shape[1] for p in patches),
        max(p.first[1] + p.total.shape[0] for p in patches),
    )
    sums = [np.zeros((last[1] - first[1], last[0] - first[0])) for _ in range(3)]
    for p in patches:
        rows = slice(p.first[1] - first[1], p.first[1] - first[1] + p.total.shape[0])
        columns = slice(p.first[0] - first[0], p.first[0] - first[0] + p.total.shape[1])
        for target, values in zip(sums, (p.total, p.pixels, p.clipped), strict=True):
            target[rows, columns] += values
    noise = math.sqrt(sum(p.noise**2 for p in patches) / len(patches))
    return SkyPatches(first, sums[0], sums[1], sums[2], min(p.full for p in patches), noise)


def _block_knots(n: int) -> NDArray[np.float64]:
    """Every 16th block of a row or column and the last one.

    Between their positions those of the others are interpolated, which is good to 0.1 pixel.
    """
    return np.append(np.arange(0, n - 1, _POSITION_STEP), n - 1).astype(np.float64)


def _local_level(
    science: NDArray[np.float32], good: NDArray[np.bool_], width: int, rows: int, columns: int, block: int
) -> tuple[NDArray[np.float64], float] | None:
    """Give the level in areas of 8 x 8 blocks and the pixel noise; None without good pixels.

    The level is the median of one pixel of each block, that of all areas where there are none.
    """
    level = np.empty((-(-rows // _LOCAL_BLOCKS), -(-columns // _LOCAL_BLOCKS)))
    differences = empty_plane((rows * columns + 1,), np.float64)
    n = _survey.local_levels(science, good, width, rows, columns, block, level, _LOCAL_BLOCKS, differences)
    if n == 0:
        return None
    unknown = np.isnan(level)
    level[unknown] = np.median(level[~unknown])
    return level, _noise(differences[:n])


def _noise(values: NDArray[np.float64]) -> float:
    """Standard deviation of a distribution with outliers; changes the values."""
    if np.count_nonzero(values == 0.0) <= 0.25 * values.size:
        return _MAD_TO_SIGMA * _survey.median(values, values.size, True)
    # Most pixels have one and the same value: few counts, or no noise at all. Medians say nothing then.
    sigma = float(values.std())
    for _ in range(3):
        kept = values[np.abs(values) <= 4.0 * sigma]
        sigma = float(kept.std())
    return sigma
