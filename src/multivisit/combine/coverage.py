"""How much of a mosaic is observed, how often and how long: exact counts from the chips' outlines.

A pixel is observed by a chip when its centre lies inside the chip's outline, whatever the data quality.
Outlines are cut into runs of pixels row by row, and the runs' ends, sorted, divide each row into segments of
equal coverage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["MosaicStatistics", "PixelRuns", "mosaic_statistics", "polygon_runs"]

_CHUNK_PIXELS = 1_000_000
_HALF_BITS = 16


@dataclass(frozen=True)
class MosaicStatistics:
    """Statistics of a mosaic over its observed pixels, those that at least one chip covers."""

    observed_fraction: float
    """Share of the whole sky cell that is observed (NPIXFRAC)."""

    mean_exposure_time: float
    """Mean over observed pixels of the exposure time summed over chips, s (MEANEXPT)."""

    median_exposure_time: float
    """Median of the same (MEDEXPT)."""

    mean_exposures: float
    """Mean over observed pixels of the number of chips (MEANNEXP)."""

    median_exposures: float
    """Median of the same (MEDNEXP)."""

    mean_weight: float
    """Mean weight over observed pixels, those of weight 0 included (MEANWHT)."""

    median_weight: float
    """Median of the same (MEDWHT)."""


@dataclass(frozen=True)
class PixelRuns:
    """Runs of pixels in rows of an image."""

    row: NDArray[np.int64]
    """Row of each run."""

    start: NDArray[np.int64]
    """First column of each run."""

    stop: NDArray[np.int64]
    """Column after the last of each run."""


@dataclass(frozen=True)
class _Segments:
    """Runs of observed pixels that the same chips cover, in the order of the flattened plane."""

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    number: NDArray[np.float64]
    time: NDArray[np.float64]


def polygon_runs(x: NDArray[np.float64], y: NDArray[np.float64], shape: tuple[int, int]) -> PixelRuns:
    """Find the pixels of an image whose centres lie inside a polygon (even-odd rule).

    Parameters
    ----------
    x, y : ndarray of float64
        Vertices in pixels, 0-based with centres at integers, in order; the last one joins the first.
    shape : tuple of int
        Rows and columns of the image.

    Returns
    -------
    PixelRuns
        Runs that do not overlap each other, sorted by row and column. A centre on a left or lower edge is
        inside, one on a right or upper edge is not, so polygons that share an edge share no pixel.
    """
    x1, y1 = np.roll(x, -1), np.roll(y, -1)
    low = np.clip(np.ceil(np.minimum(y, y1)), 0, shape[0]).astype(np.int64)
    high = np.clip(np.ceil(np.maximum(y, y1)), 0, shape[0]).astype(np.int64)
    count = high - low
    edge = np.repeat(np.arange(len(x)), count)
    row = low[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    crossing = x[edge] + (row - y[edge]) * (x1[edge] - x[edge]) / (y1[edge] - y[edge])
    order = np.lexsort((crossing, row))
    row, crossing = row[order], crossing[order]
    column = np.clip(np.ceil(crossing), 0, shape[1]).astype(np.int64)
    runs = PixelRuns(row[0::2], column[0::2], column[1::2])
    filled = runs.stop > runs.start
    return PixelRuns(runs.row[filled], runs.start[filled], runs.stop[filled])


def mosaic_statistics(
    runs: Sequence[PixelRuns],
    exposure_times: Sequence[float],
    weight: NDArray[np.float32],
    cell_pixels: int,
) -> MosaicStatistics:
    """Measure the statistics that products publish.

    Parameters
    ----------
    runs : sequence of PixelRuns
        Pixels that each chip covers.
    exposure_times : sequence of float
        Exposure time of each chip, s.
    weight : ndarray of float32
        Weight plane.
    cell_pixels : int
        Number of pixels of the whole sky cell, of which the weight plane may be a part.

    Returns
    -------
    MosaicStatistics
        All 0 where nothing is observed.
    """
    segments = _segments(runs, exposure_times, weight.shape[1])
    length, number, time = segments.length, segments.number, segments.time
    n_observed = int(length.sum())
    if n_observed == 0:
        return MosaicStatistics(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    def weights() -> Iterator[NDArray[np.float32]]:
        return _observed_values(segments, weight)

    total = sum(float(values.sum(dtype=np.float64)) for values in weights())
    return MosaicStatistics(
        observed_fraction=n_observed / cell_pixels,
        mean_exposure_time=float((time * length).sum()) / n_observed,
        median_exposure_time=_median_of_counted(time, length),
        mean_exposures=float((number * length).sum()) / n_observed,
        median_exposures=_median_of_counted(number, length),
        mean_weight=total / n_observed,
        median_weight=_median_of_chunks(weights, n_observed),
    )


def _segments(runs: Sequence[PixelRuns], exposure_times: Sequence[float], width: int) -> _Segments:
    """Cut the runs of all chips into segments of equal coverage."""
    starts = [r.row * width + r.start for r in runs]
    stops = [r.row * width + r.stop for r in runs]
    place = np.concatenate([np.empty(0, dtype=np.int64), *starts, *stops])
    sizes = [len(s) for s in starts]
    step = np.repeat(np.array([1, -1]), sum(sizes))
    per_second = _time_steps(exposure_times)
    times = np.array([round(per_second * time) for time in _finite(exposure_times)], dtype=np.int64)
    change = np.concatenate([np.repeat(times, sizes), np.repeat(-times, sizes)])
    order = np.argsort(place, kind="stable")
    place, number, time = place[order], np.cumsum(step[order]), np.cumsum(change[order])
    length = np.diff(place, append=place[-1:])
    covered = (number > 0) & (length > 0)
    return _Segments(
        place[covered], length[covered], number[covered].astype(np.float64), time[covered] / per_second
    )


def _finite(times: Sequence[float]) -> list[float]:
    """The times, 0 for those that are no number."""
    return [time if math.isfinite(time) else 0.0 for time in times]


def _time_steps(times: Sequence[float]) -> float:
    """Steps in a second such that times are whole numbers, whose sums come back to exactly 0: a million.

    Fewer where the sum of all times would not fit into 64 bits.
    """
    longest = max(map(abs, _finite(times)), default=0.0)
    return min(1e6, 2**62 / max(longest, 1.0) / max(1, len(times)))


def _median_of_counted(values: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """Median of values that occur some number of times each."""
    order = np.argsort(values)
    reached = np.cumsum(counts[order])
    n = int(reached[-1])
    low, high = (values[order[np.searchsorted(reached, k, side="right")]] for k in ((n - 1) // 2, n // 2))
    return float(0.5 * (low + high))


def _observed_values(segments: _Segments, plane: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Give the values of the observed pixels in chunks of about a million."""
    flat = plane.ravel()
    # Segments that touch are read as one.
    breaks = np.flatnonzero(segments.start[1:] != segments.start[:-1] + segments.length[:-1]) + 1
    first = segments.start[np.append(0, breaks)]
    last = (segments.start + segments.length)[np.append(breaks, len(segments.start)) - 1]
    chunk = np.cumsum(last - first) // _CHUNK_PIXELS
    for one in np.split(np.arange(len(first)), np.flatnonzero(np.diff(chunk)) + 1):
        yield np.concatenate([flat[first[k] : last[k]] for k in one])


def _median_of_chunks(chunks: Callable[[], Iterator[NDArray[np.float32]]], n: int) -> float:
    """Exact median of float32 values that come in chunks: histograms of the upper, then of the lower 16 bits.

    Parameters
    ----------
    chunks : callable
        Starts the chunks anew.
    n : int
        Number of values in all chunks.

    Returns
    -------
    float
        The median.
    """
    upper = np.zeros(1 << _HALF_BITS, dtype=np.int64)
    for values in chunks():
        upper += np.bincount(_ordered_bits(values) >> _HALF_BITS, minlength=len(upper))
    reached = np.cumsum(upper)
    ranks = ((n - 1) // 2, n // 2)
    bins = [int(np.searchsorted(reached, rank, side="right")) for rank in ranks]
    lower = {b: np.zeros(1 << _HALF_BITS, dtype=np.int64) for b in bins}
    for values in chunks():
        bits = _ordered_bits(values)
        for b, histogram in lower.items():
            histogram += np.bincount(bits[bits >> _HALF_BITS == b] & 0xFFFF, minlength=len(histogram))
    found = [
        (b << _HALF_BITS)
        + int(np.searchsorted(np.cumsum(lower[b]), rank - (reached[b] - upper[b]), side="right"))
        for b, rank in zip(bins, ranks, strict=True)
    ]
    return 0.5 * sum(_float_of_bits(bits) for bits in found)


def _ordered_bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Give each float an integer such that integers sort as the floats do."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(0x80000000))


def _float_of_bits(bits: int) -> float:
    raw = bits & 0x7FFFFFFF if bits >> 31 else ~bits & 0xFFFFFFFF
    return float(np.uint32(raw).view(np.float32))
