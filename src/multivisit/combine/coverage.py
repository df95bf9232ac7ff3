"""How much of a mosaic is observed, how often and how long: exact counts from the chips' outlines.

A pixel is observed by a chip when its centre lies inside the chip's outline, whatever the data quality.
Outlines are cut into runs of pixels row by row, and the runs' ends, sorted, divide each row into segments of
equal coverage.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine import _pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

__all__ = [
    "COUNTING_BYTES",
    "MosaicStatistics",
    "ObservedWeights",
    "PixelRuns",
    "mosaic_statistics",
    "polygon_runs",
]

_CHUNK_PIXELS = 1_000_000
_ROWS_AT_A_TIME = 1024
_HALF_BITS = 16
# Weights that are counted one by one: those of 64 upper halves, a quarter of an octave to either side.
_EXACT = 64 << _HALF_BITS

COUNTING_BYTES = (4 << 20) + 4 * _EXACT
"""Bytes that counting weights takes: the counts, and the runs of observed pixels with what finds them."""


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

    blank_fraction: float = 0.0
    """Share of the observed pixels whose weight is 0."""


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
class _Counted:
    """Values that occur in some number of pixels each."""

    values: NDArray[np.float64]
    pixels: NDArray[np.int64]

    def mean(self) -> float:
        """Mean over the pixels."""
        return float(self.values @ self.pixels) / int(self.pixels.sum())

    def median(self) -> float:
        """Median over the pixels."""
        return _median_of_counted(self.values, self.pixels)


@dataclass(frozen=True)
class _Observed:
    """Runs of observed pixels in the order of the flattened plane, and how often and how long they are."""

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    number: _Counted
    time: _Counted

    @property
    def n_pixels(self) -> int:
        """Number of observed pixels."""
        return int(self.length.sum())


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


class ObservedWeights:
    """Collects the weights of observed pixels from rows in any order and any thread, for mean and median.

    Parameters
    ----------
    runs : sequence of PixelRuns
        Pixels that each chip covers.
    exposure_times : sequence of float
        Exposure time of each chip, s.
    width : int
        Columns of the mosaic.
    per_second : float, optional
        Weight of a pixel for each second of exposure time. Weights near the one that is expected to be the
        median are counted one by one; where the median is among them, none have to be read again.
    """

    def __init__(
        self,
        runs: Sequence[PixelRuns],
        exposure_times: Sequence[float],
        width: int,
        per_second: float | None = None,
    ) -> None:
        self.observed = _observed(runs, exposure_times, width)
        self._width = width
        self._sums: dict[tuple[int, int], float] = {}
        self._upper = np.zeros(1 << _HALF_BITS, dtype=np.int64)
        expected = None
        if per_second is not None and self.observed.n_pixels:
            expected = per_second * self.observed.time.median()
        self._first_exact = _window_around(expected)
        self._exact = None if self._first_exact is None else np.zeros(_EXACT, dtype=np.uint32)
        self._lock = threading.Lock()

    def add_rows(self, first_row: int, weight: NDArray[np.float32]) -> None:
        """Count the weights of some whole rows.

        Parameters
        ----------
        first_row : int
            First row.
        weight : ndarray of float32
            Their weights, shape (rows, columns).
        """
        starts, stops = self._runs(first_row, weight.size)
        flat = np.ascontiguousarray(weight)
        # What is counted is shared, and counting is short.
        with self._lock:
            self._sums[first_row, first_row + len(weight)] = _pixels.count_weights(
                flat,
                flat.size,
                starts,
                stops,
                len(starts),
                self._upper,
                self._first_exact or 0,
                self._exact,
                _EXACT,
            )

    def add_all(self, read_weight: Callable[[int, int], NDArray[np.float32]], like: ObservedWeights) -> None:
        """Count all rows in the pieces in which another one has counted them: sums do not depend on it then.

        Parameters
        ----------
        read_weight : callable
            Gives the weights of rows from a first to a last one, the last excluded.
        like : ObservedWeights
            The other one.
        """
        for first, last in sorted(like._sums):
            self.add_rows(first, read_weight(first, last))

    def mean(self) -> float:
        """Give the mean weight."""
        return math.fsum(self._sums.values()) / self.observed.n_pixels

    def blank_fraction(self) -> float:
        """Give the share of weights that are 0."""
        return int(self._upper[1 << (_HALF_BITS - 1)]) / self.observed.n_pixels

    def median(self, read_weight: Callable[[int, int], NDArray[np.float32]]) -> float:
        """Give the exact median weight.

        Parameters
        ----------
        read_weight : callable
            Gives the weights of rows from a first to a last one, the last excluded.

        Returns
        -------
        float
            The median.
        """

        def chunks() -> Iterator[NDArray[np.float32]]:
            rows = max(1, _CHUNK_PIXELS // self._width)
            observed = np.unique(self.observed.start // (self._width * rows)) * rows
            for first in observed.tolist():
                yield self._values(first, read_weight(first, first + rows))

        lower: dict[int, NDArray[np.integer[Any]]] = {}
        if self._exact is not None and self._first_exact is not None:
            first = self._first_exact >> _HALF_BITS
            pieces = self._exact.reshape(-1, 1 << _HALF_BITS)
            lower = {first + k: piece for k, piece in enumerate(pieces)}
        return _median_of_chunks(chunks, self.observed.n_pixels, self._upper, lower)

    def _values(self, first_row: int, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the observed pixels out of some rows."""
        flat = weight.reshape(-1)
        starts, stops = self._runs(first_row, weight.size)
        if not len(starts):
            return np.empty(0, dtype=np.float32)
        return np.concatenate([flat[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)])

    def _runs(self, first_row: int, n_pixels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Find where the observed pixels of some rows begin and end, counted from the first pixel."""
        observed = self.observed
        offset = first_row * self._width
        inside = slice(*np.searchsorted(observed.start, [offset, offset + n_pixels]))
        starts = observed.start[inside] - offset
        stops = starts + observed.length[inside]
        if not len(starts):
            return starts, stops
        # Runs that touch are read as one.
        breaks = np.flatnonzero(starts[1:] != stops[:-1]) + 1
        return starts[np.append(0, breaks)], stops[np.append(breaks, len(starts)) - 1]


def mosaic_statistics(
    weights: ObservedWeights,
    read_weight: Callable[[int, int], NDArray[np.float32]],
    cell_pixels: int,
) -> MosaicStatistics:
    """Measure the statistics that products publish.

    Parameters
    ----------
    weights : ObservedWeights
        What the chips cover; the weights of all rows have been added.
    read_weight : callable
        Gives the weights of rows from a first to a last one, the last excluded.
    cell_pixels : int
        Number of pixels of the whole sky cell, of which the mosaic may be a part.

    Returns
    -------
    MosaicStatistics
        All 0 where nothing is observed.
    """
    observed = weights.observed
    if observed.n_pixels == 0:
        return MosaicStatistics(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return MosaicStatistics(
        observed_fraction=observed.n_pixels / cell_pixels,
        mean_exposure_time=observed.time.mean(),
        median_exposure_time=observed.time.median(),
        mean_exposures=observed.number.mean(),
        median_exposures=observed.number.median(),
        mean_weight=weights.mean(),
        median_weight=weights.median(read_weight),
        blank_fraction=weights.blank_fraction(),
    )


def _observed(runs: Sequence[PixelRuns], exposure_times: Sequence[float], width: int) -> _Observed:
    """Find what is observed, some rows at a time: all runs at once would take much memory."""
    per_second = _time_steps(exposure_times)
    times = [round(per_second * time) for time in _finite(exposure_times)]
    first = min((int(r.row[0]) for r in runs if len(r.row)), default=0)
    last = max((int(r.row[-1]) + 1 for r in runs if len(r.row)), default=0)
    starts, lengths = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    numbers: Counter[int] = Counter()
    total_times: Counter[int] = Counter()
    for row in range(first, last, _ROWS_AT_A_TIME):
        start, length, number, time = _segments(runs, times, width, row, row + _ROWS_AT_A_TIME)
        for counter, values in ((numbers, number), (total_times, time)):
            found, place = np.unique(values, return_inverse=True)
            pixels = np.zeros(len(found), dtype=np.int64)
            np.add.at(pixels, place, length)
            counter.update(dict(zip(found.tolist(), pixels.tolist(), strict=True)))
        if len(start):
            # Segments that touch are one run, but none goes on in the next row.
            begins = np.append(True, (start[1:] != start[:-1] + length[:-1]) | (start[1:] % width == 0))
            starts.append(start[begins])
            lengths.append(np.add.reduceat(length, np.flatnonzero(begins)))
    return _Observed(
        np.concatenate(starts), np.concatenate(lengths), _counted(numbers), _counted(total_times, per_second)
    )


def _segments(
    runs: Sequence[PixelRuns], times: Sequence[int], width: int, first_row: int, last_row: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut the runs of all chips in some rows into segments of equal coverage.

    Gives where each begins in the flattened plane, its length, the number of chips that cover it, and the sum
    of their times.
    """
    inside = [slice(*np.searchsorted(r.row, [first_row, last_row])) for r in runs]
    starts = [r.row[k] * width + r.start[k] for r, k in zip(runs, inside, strict=True)]
    stops = [r.row[k] * width + r.stop[k] for r, k in zip(runs, inside, strict=True)]
    place = np.concatenate([np.empty(0, dtype=np.int64), *starts, *stops])
    sizes = [len(s) for s in starts]
    step = np.repeat(np.array([1, -1]), sum(sizes))
    each = np.array(times, dtype=np.int64)
    change = np.concatenate([np.repeat(each, sizes), np.repeat(-each, sizes)])
    order = np.argsort(place, kind="stable")
    place, number, time = place[order], np.cumsum(step[order]), np.cumsum(change[order])
    length = np.diff(place, append=place[-1:])
    covered = (number > 0) & (length > 0)
    return place[covered], length[covered], number[covered], time[covered]


def _counted(pixels: Mapping[int, int], unit: float = 1.0) -> _Counted:
    """Put counts of pixels in order; values are in parts of the unit."""
    values = sorted(pixels)
    counts = np.array([pixels[value] for value in values], dtype=np.int64)
    return _Counted(np.array(values, dtype=np.float64) / unit, counts)


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


def _median_of_chunks(
    chunks: Callable[[], Iterator[NDArray[np.float32]]],
    n: int,
    upper: NDArray[np.int64],
    lower: Mapping[int, NDArray[np.integer[Any]]],
) -> float:
    """Exact median of float32 values: histograms of the upper, then of the lower 16 bits.

    Parameters
    ----------
    chunks : callable
        Starts the chunks anew in which the values come.
    n : int
        Number of values in all chunks.
    upper : ndarray of int64
        Histogram of the upper halves of the values' ordered bits.
    lower : mapping of int to ndarray
        Histograms of the lower halves, for the upper halves for which they are known.

    Returns
    -------
    float
        The median.
    """
    reached = np.cumsum(upper)
    ranks = ((n - 1) // 2, n // 2)
    bins = [int(np.searchsorted(reached, rank, side="right")) for rank in ranks]
    missing = {b: np.zeros(1 << _HALF_BITS, dtype=np.int64) for b in bins if b not in lower}
    for values in chunks() if missing else ():
        bits = _ordered_bits(values)
        for b, histogram in missing.items():
            histogram += np.bincount(bits[bits >> _HALF_BITS == b] & 0xFFFF, minlength=len(histogram))
    known = {**lower, **missing}
    found = [
        (b << _HALF_BITS)
        + int(
            np.searchsorted(np.cumsum(known[b], dtype=np.int64), rank - (reached[b] - upper[b]), side="right")
        )
        for b, rank in zip(bins, ranks, strict=True)
    ]
    return 0.5 * sum(_float_of_bits(bits) for bits in found)


def _window_around(expected: float | None) -> int | None:
    """First of the ordered bits that are counted one by one; a whole number of upper halves."""
    if expected is None or not (math.isfinite(expected) and expected > 0.0):
        return None
    middle = int(_ordered_bits(np.array([expected], dtype=np.float32))[0]) >> _HALF_BITS
    half = _EXACT >> (_HALF_BITS + 1)
    return min(max(middle - half, 0), (1 << _HALF_BITS) - 2 * half) << _HALF_BITS


def _ordered_bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Give each float an integer such that integers sort as the floats do."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(0x80000000))


def _float_of_bits(bits: int) -> float:
    raw = bits & 0x7FFFFFFF if bits >> 31 else ~bits & 0xFFFFFFFF
    return float(np.uint32(raw).view(np.float32))
