"""Stars in the pixels of a chip: found, told from cosmic rays, and centred."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from multivisit.exposures.model import Chip
    from multivisit.plan.parameters.alignment import SourceFindingParameters

    Floats = NDArray[np.float64]

__all__ = ["ChipSources", "find_chip_sources", "find_sources"]

_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
_NARROWEST = 1.5
"""Pixels: least FWHM of the profile under which peaks are sought."""

_WINDOW = 2.5
"""Pixels: least FWHM of the window in which centroids are taken; narrower ones follow the pixels' phase."""

_REACH = 3
_LARGEST_STEP = 1.5
_SHARPEST = 0.72
"""Largest share of a star's 3 x 3 pixels that the middle one has; cosmic rays and hot pixels have more."""

_THINNEST = 0.45
"""Pixels: standard deviation along the minor axis below which a source is the trace of a cosmic ray."""

_LONGEST = 2.0
"""Major over minor axis of a source that is no star."""

_CANDIDATES = 6
_PIXEL_STACK = 2_000_000


@dataclass(frozen=True)
class ChipSources:
    """Stars of one chip, the brightest first."""

    x: Floats = field(repr=False)
    """Column of the centre, 0-based."""

    y: Floats = field(repr=False)
    """Row of the centre."""

    flux: Floats = field(repr=False)
    """Light in a small aperture, electrons/s."""

    def __len__(self) -> int:
        """Number of sources."""
        return len(self.x)


def find_chip_sources(
    chip: Chip, good_bits: int, parameters: SourceFindingParameters, most: int | None
) -> ChipSources:
    """Read a chip and find its stars.

    Parameters
    ----------
    chip : Chip
        The chip.
    good_bits : int
        Sum of the DQ flags that do not make a pixel bad.
    parameters : SourceFindingParameters
        How sources are found.
    most : int or None
        The brightest so many are kept; None for all.

    Returns
    -------
    ChipSources
        The stars.

    Raises
    ------
    ExposureError
        The pixels cannot be read.
    """
    science = chip.read_science()
    bad = (chip.read_data_quality() & ~good_bits) != 0
    bad |= ~np.isfinite(science)
    return find_sources(science, bad, parameters, parameters.fwhmpsf / chip.nominal_scale, most)


def find_sources(
    science: NDArray[np.float32],
    bad: NDArray[np.bool_],
    parameters: SourceFindingParameters,
    fwhm: float,
    most: int | None,
) -> ChipSources:
    """Find stars in pixels.

    Parameters
    ----------
    science : ndarray of float32
        Pixels, shape (ny, nx); it is changed.
    bad : ndarray of bool
        Pixels that do not count; a source has none in its middle 3 x 3.
    parameters : SourceFindingParameters
        How sources are found.
    fwhm : float
        Width of a star in pixels.
    most : int or None
        The brightest so many are kept; None for all.

    Returns
    -------
    ChipSources
        The stars. Centres are centroids in a Gaussian window of a star's width (`sep.winpos`).
    """
    import sep

    nothing = np.empty(0)
    if min(science.shape) <= 2 * _REACH + 1 or bad.all():
        return ChipSources(nothing, nothing, nothing)
    science[bad] = 0.0
    sigma = max(fwhm, _NARROWEST) / _FWHM
    box = max(parameters.box_size, 4)
    background = sep.Background(
        science, mask=bad, bw=box, bh=box, fw=parameters.win_size, fh=parameters.win_size
    )
    background.subfrom(science)
    science[bad] = 0.0
    noise = background.rms()
    # Blocks without a good pixel, and images without any noise, have no noise to compare with.
    typical = float(np.median(noise[noise > 0.0])) if (noise > 0.0).any() else 0.0
    np.maximum(noise, 0.1 * typical, out=noise)
    if parameters.centering_mode == "segmentation":
        x, y = _segments(science, bad, noise, sigma, parameters)
    else:
        x, y = _peaks(science, bad, noise, sigma, parameters.nsigma, most)
    if not len(x):
        return ChipSources(nothing, nothing, nothing)
    x, y = _whole(science, bad, x, y, classify=parameters.classify)
    if not len(x):
        return ChipSources(nothing, nothing, nothing)
    xc, yc, _ = sep.winpos(science, x, y, max(fwhm, _WINDOW) / _FWHM, mask=bad)
    fine = np.isfinite(xc) & np.isfinite(yc) & (np.hypot(xc - x, yc - y) <= _LARGEST_STEP)
    xc, yc = xc[fine], yc[fine]
    flux, _, _ = sep.sum_circle(science, xc, yc, max(1.5, sigma * _FWHM), mask=bad)
    order = np.argsort(-flux, kind="stable")
    order = order[flux[order] > 0.0][:most]
    return ChipSources(xc[order], yc[order], flux[order])


def _peaks(
    science: NDArray[np.float32],
    bad: NDArray[np.bool_],
    noise: NDArray[np.float32],
    sigma: float,
    n_sigma: float,
    most: int | None,
) -> tuple[Floats, Floats]:
    """Find the peaks of the image under a star's profile, the highest ones."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(science, sigma, mode="nearest", truncate=3.0)
    is_bright = smooth > n_sigma * noise
    is_bright &= ~bad
    # No source is sought at the edges, so every pixel has all its neighbours.
    is_bright[[0, -1]] = is_bright[:, [0, -1]] = False
    place, light = np.flatnonzero(is_bright), smooth.reshape(-1)
    nx = smooth.shape[1]
    for step in (-1, 1, -nx, nx, -nx - 1, -nx + 1, nx - 1, nx + 1):
        # Of two equal neighbours the first one is the peak.
        other = light[place + step]
        place = place[light[place] > other if step < 0 else light[place] >= other]
    y, x = np.divmod(place, nx)
    order = np.argsort(-light[place], kind="stable")
    if most is not None:
        # Some of them are cosmic rays and will be left out.
        order = order[: _CANDIDATES * most]
    return x[order].astype(np.float64), y[order].astype(np.float64)


def _segments(
    science: NDArray[np.float32],
    bad: NDArray[np.bool_],
    noise: NDArray[np.float32],
    sigma: float,
    parameters: SourceFindingParameters,
) -> tuple[Floats, Floats]:
    """Find connected pixels above the background; their brightest pixels."""
    import sep

    reach = max(1, round(3.0 * sigma))
    axis = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (axis[:, None] ** 2 + axis**2) / sigma**2)
    sep.set_extract_pixstack(max(_PIXEL_STACK, sep.get_extract_pixstack()))
    found = sep.extract(
        science,
        parameters.nsigma,
        err=noise,
        mask=bad,
        filter_kernel=kernel,
        deblend_cont=0.005 if parameters.deblend else 1.0,
    )
    return found["xpeak"].astype(np.float64), found["ypeak"].astype(np.float64)


def _whole(
    science: NDArray[np.float32], bad: NDArray[np.bool_], x: Floats, y: Floats, *, classify: bool
) -> tuple[Floats, Floats]:
    """Leave out sources at the edges, with bad pixels in the middle, and those that look like cosmic rays."""
    ny, nx = science.shape
    i, j = x.astype(np.intp), y.astype(np.intp)
    inside = (j >= _REACH) & (j < ny - _REACH) & (i >= _REACH) & (i < nx - _REACH)
    x, y, i, j = x[inside], y[inside], i[inside], j[inside]
    reach = np.arange(-_REACH, _REACH + 1)
    rows, columns = j[:, None, None] + reach[:, None], i[:, None, None] + reach
    stamps = science[rows, columns].astype(np.float64)
    middle = slice(_REACH - 1, _REACH + 2)
    fine = ~bad[rows, columns][:, middle, middle].any(axis=(1, 2))
    if classify:
        core = stamps[:, middle, middle].sum(axis=(1, 2))
        fine &= stamps[:, _REACH, _REACH] < _SHARPEST * core
        minor, ratio = _shapes(stamps)
        fine &= (minor > _THINNEST) & (ratio < _LONGEST)
    return x[fine], y[fine]


def _shapes(stamps: Floats) -> tuple[Floats, Floats]:
    """Give the standard deviation along the minor axis, and the axes' ratio, of the light near the peaks."""
    reach = np.arange(-_REACH, _REACH + 1)
    window = np.exp(-0.5 * (reach[:, None] ** 2 + reach**2) / 1.5**2)
    light = np.maximum(stamps, 0.0) * window
    with np.errstate(invalid="ignore", divide="ignore"):
        total = light.sum(axis=(1, 2))
        mx = (light * reach).sum(axis=(1, 2)) / total
        my = (light * reach[:, None]).sum(axis=(1, 2)) / total
        xx = (light * reach**2).sum(axis=(1, 2)) / total - mx**2
        yy = (light * reach[:, None] ** 2).sum(axis=(1, 2)) / total - my**2
        xy = (light * reach * reach[:, None]).sum(axis=(1, 2)) / total - mx * my
        mean, half = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
        minor, major = np.sqrt(np.maximum(mean - half, 0.0)), np.sqrt(mean + half)
        return np.nan_to_num(minor), np.nan_to_num(major / minor, nan=np.inf)
