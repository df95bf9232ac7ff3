"""What stands out from the noise: segments of connected pixels, and peaks."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.catalogs import _pixels
from multivisit.catalogs.bands import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from multivisit.catalogs.background import Background
    from multivisit.catalogs.bands import Band
    from multivisit.catalogs.mosaic_file import MosaicReader

    Pixels = NDArray[np.float32]
    Integers = NDArray[np.int32]

__all__ = [
    "Components",
    "Detection",
    "Smoothing",
    "connect",
    "cut_large",
    "find",
    "gaussian_smoothing",
    "ricker_smoothing",
]

log = logging.getLogger(__name__)

_FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
_KERNEL_SIZE = 11
"""Pixels a side of the Gaussian kernel, as published."""

_MOST_PIXELS = 1 << 23
"""Pixels of the box around a component above which it is cut."""

_RICKER_WIDTH = 1.5
"""Width of the Ricker wavelet over that of the Gaussian, as published."""


@dataclass(frozen=True)
class Smoothing:
    """A filter as a sum of products of a row and a column."""

    across: Pixels = field(repr=False)
    """Factors along a row, (terms, taps)."""

    down: Pixels = field(repr=False)
    """Factors along a column, (terms, taps)."""

    @property
    def half(self) -> int:
        """Pixels by which it reaches beyond its centre."""
        return int(self.across.shape[1]) // 2

    @property
    def kernel(self) -> NDArray[np.float64]:
        """The filter as an image."""
        kernel: NDArray[np.float64] = np.einsum("ky,kx->yx", self.down.astype(np.float64), self.across)
        return kernel


def gaussian_smoothing(fwhm: float) -> Smoothing:
    """Make the Gaussian of a star's width, with a sum of 1.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum, pixels.

    Returns
    -------
    Smoothing
        The filter, 11 pixels a side at most.
    """
    sigma = max(fwhm / _FWHM_PER_SIGMA, 0.3)
    half = min(_KERNEL_SIZE // 2, max(1, int(np.ceil(4.0 * sigma))))
    taps = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)[None, :]
    return Smoothing(taps, taps)


def ricker_smoothing(fwhm: float, size: int) -> Smoothing:
    """Make the Ricker wavelet (the Laplacian of a Gaussian) whose core is that of a star.

    It has no response to a level or a slope, so it takes crowded fields apart. It is a sum of two products:
    (1 - x2/2s2 - y2/2s2) G(x) G(y) = (G - x2/2s2 G)(x) G(y) - G(x) (y2/2s2 G)(y), where s is 1.5 times the
    Gaussian's sigma, with the Gaussian's height.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum of a star, pixels.
    size : int
        Pixels a side; made odd, 31 at most.

    Returns
    -------
    Smoothing
        The filter.
    """
    sigma = max(fwhm / _FWHM_PER_SIGMA, 0.3)
    half = min(15, size // 2)
    offsets = np.arange(-half, half + 1) / (_RICKER_WIDTH * sigma)
    gaussian = np.exp(-0.5 * offsets**2)
    bent = 0.5 * offsets**2 * gaussian
    height = 1.0 / (2.0 * np.pi * sigma**2)
    across = np.array([gaussian - bent, gaussian]) * height
    down = np.array([gaussian, -bent])
    return Smoothing(across.astype(np.float32), down.astype(np.float32))


@dataclass(frozen=True)
class Detection:
    """Pixels and peaks above the thresholds, in the order of rows."""

    runs: Integers = field(repr=False)
    """Runs of pixels: row, first column, the one after the last; (n, 3)."""

    peaks: Integers = field(repr=False)
    """Rows and columns of peaks, (n, 2)."""

    heights: Pixels = field(repr=False)
    """The filtered image at the peaks, electrons/s."""


@dataclass(frozen=True)
class Components:
    """Connected pixels, large enough to be a source, by their first run."""

    runs: Integers = field(repr=False)
    """Runs of these pixels, sorted by row and column; (n, 3)."""

    labels: Integers = field(repr=False)
    """Component of each run, from 0."""

    areas: NDArray[np.int64] = field(repr=False)
    """Pixels of each component."""

    limits: Integers = field(repr=False)
    """First and last row, first and last column, the last ones excluded; (n, 4)."""

    def __len__(self) -> int:
        return int(self.areas.size)


def find(
    reader: MosaicReader,
    bands: Sequence[Band],
    columns: Sequence[tuple[int, int]],
    background: Background,
    smoothing: Smoothing,
    *,
    segment: float,
    peak: float,
    workers: int,
    done: Callable[[], None],
) -> Detection:
    """Filter a mosaic and find what is above the thresholds.

    Parameters
    ----------
    reader : MosaicReader
        The mosaic.
    bands : sequence of Band
        Its bands.
    columns : sequence of tuple of int
        Columns of each band with data.
    background : Background
        Background and noise.
    smoothing : Smoothing
        The filter.
    segment, peak : float
        Least values of the filtered image in segments and at peaks, in standard deviations of a pixel.
    workers : int
        How many bands are worked on at a time.
    done : callable
        Called when a band is done.

    Returns
    -------
    Detection
        All of it.
    """
    margin = smoothing.half + 1
    n_rows, n_columns = reader.mosaic.shape

    def search(number: int) -> tuple[Integers, Integers]:
        band = bands[number]
        low, high = columns[number]
        if low >= high:
            return np.empty((0, 3), np.int32), np.empty((0, 3), np.int32)
        left, right = max(0, low - margin), min(n_columns, high + margin)
        top, bottom = max(0, band.first - margin), min(n_rows, band.last + margin)
        science, weight = reader.read((top, bottom), (left, right))
        levels, noises, knot = background.rows_of_mesh(top, (left, right), bottom - top)
        found = _pixels.find_pixels(
            science,
            weight,
            levels,
            noises,
            smoothing.across,
            smoothing.down,
            knot,
            background.box,
            band.first - top,
            band.last - top,
            segment,
            peak,
        )
        runs, peaks = (np.frombuffer(part, dtype=np.int32).reshape(-1, 3).copy() for part in found)
        runs += np.array([top, left, left], dtype=np.int32)
        peaks += np.array([top, left, 0], dtype=np.int32)
        return runs, peaks

    parts = []
    for part in in_order(search, range(len(bands)), workers):
        parts.append(part)
        done()
    runs = np.concatenate([part[0] for part in parts])
    peaks = np.concatenate([part[1] for part in parts])
    return Detection(runs, np.ascontiguousarray(peaks[:, :2]), peaks[:, 2].copy().view(np.float32))


def connect(runs: Integers, least_area: int) -> Components:
    """Join runs into components, and leave small ones out.

    Parameters
    ----------
    runs : ndarray of int32
        Runs sorted by row and column, (n, 3).
    least_area : int
        Fewest pixels of a component.

    Returns
    -------
    Components
        In the order of their first pixel.
    """
    runs = np.ascontiguousarray(runs)
    labels = np.empty(len(runs), dtype=np.int32)
    n = _pixels.connect_runs(runs, labels) if len(runs) else 0
    lengths = runs[:, 2] - runs[:, 1]
    areas = np.bincount(labels, weights=lengths, minlength=n).astype(np.int64)
    large = areas >= least_area
    renumbered = np.where(large, np.cumsum(large) - 1, -1).astype(np.int32)
    kept = large[labels] if n else np.zeros(0, dtype=bool)
    runs, labels = np.ascontiguousarray(runs[kept]), renumbered[labels[kept]] if n else labels
    return _summarized(runs, labels)


def cut_large(components: Components, bands: Sequence[Band]) -> Components:
    """Cut components that no memory should have to hold, at the borders of bands.

    Parameters
    ----------
    components : Components
        Connected pixels.
    bands : sequence of Band
        The bands of the mosaic.

    Returns
    -------
    Components
        The same, or more where one was cut.
    """
    limits = components.limits.astype(np.int64)
    boxes = (limits[:, 1] - limits[:, 0]) * (limits[:, 3] - limits[:, 2])
    large = boxes > _MOST_PIXELS
    if not large.any():
        return components
    log.info("%d components are cut at the borders of bands", int(large.sum()))
    edges = np.array([band.first for band in bands])
    home = np.searchsorted(edges, components.runs[:, 0], side="right")
    # A piece has the number of its component and, if that is cut, of its band.
    keys = components.labels.astype(np.int64) * (len(bands) + 1) + np.where(large[components.labels], home, 0)
    _, labels = np.unique(keys, return_inverse=True)
    return _summarized(components.runs, labels.astype(np.int32).reshape(-1))


def _summarized(runs: Integers, labels: Integers) -> Components:
    number = int(labels.max(initial=-1)) + 1
    areas = np.bincount(labels, weights=runs[:, 2] - runs[:, 1], minlength=number).astype(np.int64)
    limits = np.empty((number, 4), dtype=np.int32)
    limits[:, 0::2] = np.iinfo(np.int32).max
    limits[:, 1::2] = 0
    np.minimum.at(limits[:, 0], labels, runs[:, 0])
    np.maximum.at(limits[:, 1], labels, runs[:, 0] + 1)
    np.minimum.at(limits[:, 2], labels, runs[:, 1])
    np.maximum.at(limits[:, 3], labels, runs[:, 2])
    return Components(runs, labels, areas, limits)
