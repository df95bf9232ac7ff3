"""Finding cosmic rays by comparing exposures: separate drizzle, median, blot and test.

Each exposure is drizzled by itself onto one grid (`separate_grid`), the stack is combined (`median`), the
result is carried back into the pixels of each chip (`blot`) and compared with them (`cosmic_rays`). The
separate images and the median lie in a temporary file, so that memory holds a chip and a band of rows for
each thread, however many exposures there are. Nothing depends on the number of threads or on the memory.
"""

from __future__ import annotations

import itertools
import math
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from multivisit.combine.blot import blot_image, stencil_reach
from multivisit.combine.cosmic_rays import find_cosmic_rays
from multivisit.combine.engines import engine_memory, make_engine
from multivisit.combine.median import StackNoise, combine_stack
from multivisit.combine.scratch import ScratchFile, ScratchImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from multivisit.combine.cosmic_rays import CosmicRayTest
    from multivisit.combine.median import MedianRule
    from multivisit.combine.separate_grid import SeparateGrid
    from multivisit.exposures.pixel_map import PixelMap

__all__ = ["CosmicRayMasks", "RejectionChip", "RejectionRule", "StackKeeper", "StackPart", "find_outliers"]

_MIB = 1 << 20
_SINGLE_ROWS = 256
_BLOT_ROWS, _BLOT_COLUMNS = 256, 512
_TILE_COLUMNS = 1024
_MOST_BAND_ROWS, _LEAST_BAND_ROWS = 128, 8
_BAND_BYTES = 256 * _MIB
_SMALLEST_WEIGHT = 1e-8
# Positions on a chip from which its reach is found, what may lie between them, and the reach of lanczos3.
_KNOTS, _MARGIN, _FARTHEST = 33, 8.0, 6.0
# Science, model, flags and masks of a chip in the test; science and weights of one being drizzled.
_TEST_BYTES, _SINGLE_BYTES = 4 + 4 + 1 + 3 + 8, 4 + 4 + 4 + 2


@dataclass(frozen=True)
class RejectionRule:
    """How outliers are found; the published parameters are named in parentheses."""

    median: MedianRule
    """How the stack is combined (combine_*)."""

    test: CosmicRayTest
    """Limits of the test (driz_cr_*)."""

    kernel: str = "square"
    """Kernel of the separate drizzle (driz_sep_kernel)."""

    pixfrac: float = 1.0
    """Size of its drops (driz_sep_pixfrac)."""

    mask_fraction: float | None = 0.3
    """Part of an image's mean weight below which a pixel is not good enough for the stack (combine_maskpt);
    None to take all that have weight (median_newmasks off)."""

    low_threshold: float | None = None
    """Values below it are left out of the stack (combine_lthresh), in the units of the exposures' files."""

    high_threshold: float | None = None
    """Values from it on are left out (combine_hthresh)."""

    interpolation: str = "poly5"
    """How the median is carried back (blot_interp)."""

    sinc_scale: float = 1.0
    """Factor of distances for ``sinc`` (blot_sinscl)."""

    sky_value: float | None = None
    """Sky to add to the blotted median instead of what was taken off each chip, in the units of the file
    (blot_skyval where blot_addsky is off)."""


@dataclass(frozen=True, eq=False)
class RejectionChip:
    """A chip that takes part."""

    number: int
    """Its number in the layer."""

    exposure_number: int
    """Number of its exposure."""

    shape: tuple[int, int]
    """Rows and columns."""

    pixel_map: PixelMap = field(repr=False)
    """Where its pixels fall in the separate grid."""

    nominal_scale: float
    """Its nominal pixel scale, arcsec."""

    exposure_time: float
    """Seconds."""

    sky_rate: float
    """Sky level taken off, electrons/s per native pixel."""

    background_rate: float
    """Sky level that adds to the noise though it is in no pixel any more, electrons/s per native pixel."""

    read_noise: float
    """Electrons."""

    cte_direction: int
    """Which way it is read out (`multivisit.exposures.detector_noise.cte_direction`)."""

    unit: float
    """Electrons/s in one unit of its file."""

    @property
    def n_pixels(self) -> int:
        """Number of its pixels."""
        return self.shape[0] * self.shape[1]


class CosmicRayMasks:
    """The pixels of a layer's chips that were found to be hit, a bit a pixel."""

    def __init__(self) -> None:
        self._packed: dict[int, tuple[NDArray[np.uint8], tuple[int, int], int]] = {}

    def put(self, number: int, hit: NDArray[np.bool_]) -> None:
        """Keep the mask of a chip.

        Parameters
        ----------
        number : int
            The chip.
        hit : ndarray of bool
            True for hit pixels, shape (ny, nx).
        """
        shape = (hit.shape[0], hit.shape[1])
        self._packed[number] = (np.packbits(hit, axis=1), shape, int(np.count_nonzero(hit)))

    def get(self, number: int) -> NDArray[np.bool_] | None:
        """Give the mask of a chip; None where it was not tested."""
        if number not in self._packed:
            return None
        packed, shape, _ = self._packed[number]
        return np.unpackbits(packed, axis=1, count=shape[1]).view(np.bool_)

    def count(self, number: int) -> int:
        """Give the number of hit pixels of a chip."""
        return self._packed[number][2] if number in self._packed else 0

    @property
    def n_bytes(self) -> int:
        """Memory that they take."""
        return sum(packed.nbytes for packed, _, _ in self._packed.values())


@dataclass(frozen=True)
class StackPart:
    """Some rows of a separate image in the scratch file: those columns that have weight."""

    first_row: int
    """Number of the first row in the grid of the stack."""

    first_column: int
    """Number of the first column."""

    scratch: ScratchFile
    """The file."""

    values: Any
    """Where the values are in it."""

    weights: Any
    """Where the weights are in it."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        shape: tuple[int, int] = self.values.shape
        return shape

    def read(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Read the values (electrons/s) and the weights (seconds)."""
        return self.scratch.get(self.values), self.scratch.get(self.weights)


class StackKeeper(Protocol):
    """Is shown what is made on the way."""

    def single(self, number: int, parts: Sequence[StackPart]) -> None:
        """See a separate image: a chip's number, and the parts from the first row to the last."""

    def median(self, bands: Iterable[tuple[int, NDArray[np.float32]]]) -> None:
        """See the combined stack: first rows and rows."""


@dataclass(frozen=True)
class _Single:
    """A separately drizzled exposure."""

    chip: RejectionChip
    """Its first chip, which stands for its noise and units."""

    parts: tuple[StackPart, ...]
    mean_weight: float
    sky_rate: float
    read_noise: float


def find_outliers(
    grid: SeparateGrid,
    chips: Sequence[RejectionChip],
    rule: RejectionRule,
    load_good: Callable[[int], tuple[NDArray[np.float32], NDArray[np.bool_]]],
    load_all: Callable[[int], NDArray[np.float32]],
    *,
    folder: Path | None = None,
    threads: int = 1,
    memory: int | None = None,
    on_step: Callable[[str, int], None] | None = None,
    on_tested: Callable[[int, NDArray[np.float32], NDArray[np.bool_]], None] | None = None,
    keeper: StackKeeper | None = None,
) -> CosmicRayMasks:
    """Find the pixels of all chips that the other exposures speak against.

    Parameters
    ----------
    grid : SeparateGrid
        Grid of the separate images and of the median.
    chips : sequence of RejectionChip
        Chips that overlap it.
    rule : RejectionRule
        How outliers are found.
    load_good : callable
        Gives the pixels of a chip for the separate drizzle: electrons/s less sky, finite, and which are good.
    load_all : callable
        Gives the pixels of a chip for the test: electrons/s less sky, NaN where there is no number.
    folder : path, optional
        Where the temporary file lies.
    threads : int
        Most threads that may run.
    memory : int, optional
        Bytes that may be taken; None for no limit. One thread always runs.
    on_step : callable, optional
        Called with the name of a step and a chip's number when the chip has gone through it.
    on_tested : callable, optional
        Called with a chip's number, the blotted median (electrons/s less sky, NaN where unknown) and its hit
        pixels, from any thread.
    keeper : StackKeeper, optional
        Is shown the separate images and the combined stack, some rows at a time.

    Returns
    -------
    CosmicRayMasks
        Hit pixels.

    Raises
    ------
    CombineError
        If a chip cannot be read or the temporary file fails.
    """
    by_exposure: dict[int, list[RejectionChip]] = {}
    for chip in chips:
        by_exposure.setdefault(chip.exposure_number, []).append(chip)
    largest = max((chip.n_pixels for chip in chips), default=1)
    masks = CosmicRayMasks()
    tell = on_step if on_step is not None else lambda step, number: None
    with ScratchFile(folder) as scratch:
        singles = []
        deepest = max((sum(c.n_pixels for c in group) for group in by_exposure.values()), default=1)
        columns = max((chip.shape[1] for chip in chips), default=1)
        cost = deepest * _SINGLE_BYTES + engine_memory(
            (_SINGLE_ROWS, grid.shape[1]), columns, 0, kernel=rule.kernel
        )
        work = [(group, scratch, grid, rule, load_good) for group in by_exposure.values()]
        for group, single in _in_order(_drizzle_exposure, work, _workers(threads, memory, cost)):
            if single is not None:
                singles.append(single)
            for chip in group:
                tell("separate", chip.number)
        if keeper is not None:
            for single in singles:
                keeper.single(single.chip.number, single.parts)
        median = ScratchImage(scratch, grid.shape)
        bands = _bands(grid, singles, rule)
        band_work = [(first, last, singles, scratch, grid, rule, len(by_exposure)) for first, last in bands]
        workers = _workers(threads, memory, _BAND_BYTES + 32 * _MIB)
        for first, rows in _in_order(_combine_band, band_work, workers):
            median.write_rows(first, rows)
        if keeper is not None:
            keeper.median((first, median.read_rows(first, last)) for first, last in bands)
        chip_work = [(chip, median, grid, rule, load_all, on_tested) for chip in chips]
        for number, hit in _in_order(_test_chip, chip_work, _workers(threads, memory, largest * _TEST_BYTES)):
            masks.put(number, hit)
            tell("test", number)
    return masks


def _workers(threads: int, memory: int | None, cost: int) -> int:
    return max(1, threads if memory is None else min(threads, memory // cost))


def _in_order(function: Callable[..., Any], work: Iterable[tuple[Any, ...]], n_workers: int) -> Iterator[Any]:
    """Call a function for each piece of work, several at a time, and give the results in the work's order.

    No more than two results a thread wait for those before them.
    """
    if n_workers == 1:
        yield from itertools.starmap(function, work)
        return
    with ThreadPoolExecutor(n_workers, thread_name_prefix="multivisit-reject") as pool:
        pending: list[Any] = []
        try:
            for arguments in work:
                pending.append(pool.submit(copy_context().run, function, *arguments))
                if len(pending) > 2 * n_workers:
                    yield pending.pop(0).result()
            while pending:
                wait(pending[:1], return_when=FIRST_COMPLETED)
                yield pending.pop(0).result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _drizzle_exposure(
    group: Sequence[RejectionChip],
    scratch: ScratchFile,
    grid: SeparateGrid,
    rule: RejectionRule,
    load_good: Callable[[int], tuple[NDArray[np.float32], NDArray[np.bool_]]],
) -> tuple[Sequence[RejectionChip], _Single | None]:
    """Drizzle one exposure by itself; weights are its exposure time."""
    loaded = [(chip, *load_good(chip.number)) for chip in group]
    time = group[0].exposure_time
    (left, right), (first, last) = _window_of(group, grid)
    parts, total, n_total = [], 0.0, 0
    for row in range(first, last, _SINGLE_ROWS):
        shape = (min(_SINGLE_ROWS, last - row), right - left)
        engine = make_engine(shape, origin=(left, row), kernel=rule.kernel, pixfrac=rule.pixfrac)
        for chip, science, good in loaded:
            ratio = grid.scale / chip.nominal_scale
            engine.add_chip(science, good, chip.pixel_map, ratio, 0, unit_weight=time)
        values, weights = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        engine.finish_rows(0, 0.0, values, weights)
        covered = np.flatnonzero(weights.any(axis=0))
        if covered.size:
            cut = (slice(None), slice(int(covered[0]), int(covered[-1]) + 1))
            counted = weights[cut][weights[cut] > _SMALLEST_WEIGHT]
            total += float(counted.sum(dtype=np.float64))
            n_total += counted.size
            places = scratch.put(values[cut]), scratch.put(weights[cut])
            parts.append(StackPart(row, left + cut[1].start, scratch, *places))
    if not parts:
        return group, None
    # The lowest sky and the quadratic mean of the read noises stand for all chips, as published.
    lowest = min(group, key=lambda chip: chip.sky_rate / chip.nominal_scale**2)
    sky_rate = (lowest.sky_rate + lowest.background_rate) * (grid.scale / lowest.nominal_scale) ** 2
    read_noise = math.sqrt(sum(chip.read_noise**2 for chip in group) / len(group))
    return group, _Single(group[0], tuple(parts), total / max(n_total, 1), sky_rate, read_noise)


def _window_of(group: Sequence[RejectionChip], grid: SeparateGrid) -> tuple[tuple[int, int], tuple[int, int]]:
    """Give the columns and the rows of the grid that chips may reach, the last ones excluded."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for chip in group:
        ny, nx = chip.shape
        x, y = np.meshgrid(np.linspace(-0.5, nx - 0.5, _KNOTS), np.linspace(-0.5, ny - 0.5, _KNOTS))
        margin = _MARGIN + _FARTHEST * chip.nominal_scale / grid.scale
        for axis, positions in enumerate(chip.pixel_map.at(x, y)):
            low[axis] = min(low[axis], float(positions.min()) - margin)
            high[axis] = max(high[axis], float(positions.max()) + margin)
    columns, rows = (
        (min(max(math.floor(low[axis]), 0), n - 1), min(max(math.ceil(high[axis]) + 1, 1), n))
        for axis, n in enumerate((grid.shape[1], grid.shape[0]))
    )
    return columns, rows


def _bands(grid: SeparateGrid, singles: Sequence[_Single], rule: RejectionRule) -> list[tuple[int, int]]:
    """Divide the grid into bands of rows, so that what all images have in a band fits in memory."""
    width = np.zeros(grid.shape[0])
    for single in singles:
        for part in single.parts:
            width[part.first_row : part.first_row + part.shape[0]] += part.shape[1]
    bands, first = [], 0
    while first < grid.shape[0]:
        rows = _MOST_BAND_ROWS
        while rows > _LEAST_BAND_ROWS:
            last = first + rows
            bytes_needed = 8.0 * width[max(first - rule.median.halo, 0) : last + rule.median.halo].sum()
            if bytes_needed <= _BAND_BYTES:
                break
            rows //= 2
        bands.append((first, min(first + rows, grid.shape[0])))
        first += rows
    return bands


def _combine_band(
    first: int,
    last: int,
    singles: Sequence[_Single],
    scratch: ScratchFile,
    grid: SeparateGrid,
    rule: RejectionRule,
    n_exposures: int,
) -> tuple[int, NDArray[np.float32]]:
    """Combine the rows of all images in a band."""
    halo = rule.median.halo
    start, stop = max(first - halo, 0), min(last + halo, grid.shape[0])
    pieces = [
        (single, piece)
        for single in singles
        for part in single.parts
        if (piece := _read_rows(part, scratch, start, stop)) is not None
    ]
    result = np.full((last - first, grid.shape[1]), np.nan, dtype=np.float32)
    for column in range(0, grid.shape[1], _TILE_COLUMNS):
        end = min(column + _TILE_COLUMNS, grid.shape[1])
        left, right = max(column - halo, 0), min(end + halo, grid.shape[1])
        tile = _combine_tile((start, stop), (left, right), pieces, grid, rule, n_exposures)
        if tile is not None:
            result[:, column:end] = tile[first - start : last - start, column - left : end - left]
    return first, result


@dataclass(frozen=True)
class _Piece:
    """Rows of a separate image in memory."""

    first_row: int
    first_column: int
    values: NDArray[np.float32]
    weights: NDArray[np.float32]


def _read_rows(part: StackPart, scratch: ScratchFile, start: int, stop: int) -> _Piece | None:
    """Read the rows of a part that lie in a band."""
    first, last = max(part.first_row, start), min(part.first_row + part.shape[0], stop)
    if first >= last:
        return None
    arrays = []
    for place in (part.values, part.weights):
        array = np.empty((last - first, part.shape[1]), dtype=np.float32)
        scratch.read(place.offset + (first - part.first_row) * part.shape[1] * 4, array)
        arrays.append(array)
    return _Piece(first, part.first_column, arrays[0], arrays[1])


def _combine_tile(
    rows: tuple[int, int],
    columns: tuple[int, int],
    pieces: Sequence[tuple[_Single, _Piece]],
    grid: SeparateGrid,
    rule: RejectionRule,
    n_exposures: int,
) -> NDArray[np.float32] | None:
    """Stack the pieces that reach a tile and combine them; None where none does."""
    reaching: dict[int, tuple[_Single, list[_Piece]]] = {}
    for single, piece in pieces:
        if piece.first_column < columns[1] and piece.first_column + piece.values.shape[1] > columns[0]:
            reaching.setdefault(single.chip.exposure_number, (single, []))[1].append(piece)
    if not reaching:
        return None
    shape = (len(reaching), rows[1] - rows[0], columns[1] - columns[0])
    values, weights = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    bad = np.empty(shape, dtype=np.bool_)
    for k, (single, own) in enumerate(reaching.values()):
        for piece in own:
            left = max(piece.first_column, columns[0])
            right = min(piece.first_column + piece.values.shape[1], columns[1])
            top = piece.first_row - rows[0]
            to = (slice(top, top + len(piece.values)), slice(left - columns[0], right - columns[0]))
            part = slice(left - piece.first_column, right - piece.first_column)
            values[k][to], weights[k][to] = piece.values[:, part], piece.weights[:, part]
        bad[k] = _not_good_enough(values[k], weights[k], single, grid, rule)
    noise = StackNoise(
        [single.sky_rate for single, _ in reaching.values()],
        [single.read_noise for single, _ in reaching.values()],
    )
    return combine_stack(values, weights, bad, rule.median, noise, n_exposures)


def _not_good_enough(
    values: NDArray[np.float32],
    weights: NDArray[np.float32],
    single: _Single,
    grid: SeparateGrid,
    rule: RejectionRule,
) -> NDArray[np.bool_]:
    """Tell the pixels of an image that have too little weight, or lie beyond a threshold."""
    least = 0.0 if rule.mask_fraction is None else rule.mask_fraction * single.mean_weight
    bad: NDArray[np.bool_] = (weights < np.float32(least)) | (weights == 0.0)
    unit = single.chip.unit * (grid.scale / single.chip.nominal_scale) ** 2
    if rule.low_threshold is not None:
        bad |= values < np.float32(rule.low_threshold * unit)
    if rule.high_threshold is not None:
        bad |= values >= np.float32(rule.high_threshold * unit)
    return bad


def _test_chip(
    chip: RejectionChip,
    median: ScratchImage,
    grid: SeparateGrid,
    rule: RejectionRule,
    load_all: Callable[[int], NDArray[np.float32]],
    on_tested: Callable[[int, NDArray[np.float32], NDArray[np.bool_]], None] | None,
) -> tuple[int, NDArray[np.bool_]]:
    """Blot the median into a chip and test its pixels."""
    model = _blot_chip(chip, median, grid, rule)
    science = load_all(chip.number)
    if rule.sky_value is not None:
        # The chip with its sky is compared with the median plus this value.
        model += np.float32(rule.sky_value * chip.unit - chip.sky_rate)
    hit = find_cosmic_rays(
        science,
        model,
        rule.test,
        exposure_time=chip.exposure_time,
        sky_rate=chip.sky_rate + chip.background_rate,
        read_noise=chip.read_noise,
        cte_direction=chip.cte_direction,
    )
    if on_tested is not None:
        on_tested(chip.number, model, hit)
    return chip.number, hit


def _blot_chip(
    chip: RejectionChip, median: ScratchImage, grid: SeparateGrid, rule: RejectionRule
) -> NDArray[np.float32]:
    """Carry the median into the pixels of a chip: electrons/s per native pixel, NaN where it has no data."""
    model = np.full(chip.shape, np.nan, dtype=np.float32)
    factor = np.float32((chip.nominal_scale / grid.scale) ** 2)
    for first in range(0, chip.shape[0], _BLOT_ROWS):
        last = min(first + _BLOT_ROWS, chip.shape[0])
        positions = chip.pixel_map.evaluate(first, last)
        for column in range(0, chip.shape[1], _BLOT_COLUMNS):
            block = slice(column, column + _BLOT_COLUMNS)
            model[first:last, block] = _blot_block(positions[:, block], median, rule)
    model *= factor
    return model


def _blot_block(
    positions: NDArray[np.float64], median: ScratchImage, rule: RejectionRule
) -> NDArray[np.float32]:
    """Read what a block of a chip needs of the median, and interpolate in it."""
    # A smooth map has its extremes on the block's border, but for the little that lookup tables add.
    border = np.concatenate([positions[0], positions[-1], positions[:, 0], positions[:, -1]])
    reach = stencil_reach(rule.interpolation) + 1
    low = np.maximum(np.floor(border.min(axis=0)) - reach, 0.0)
    high = np.minimum(np.ceil(border.max(axis=0)) + reach + 1, median.shape[::-1])
    if not (low < high).all():
        return np.full(positions.shape[:2], np.nan, dtype=np.float32)
    (left, top), (right, bottom) = low.astype(int).tolist(), high.astype(int).tolist()
    window = median.read(slice(top, bottom), slice(left, right))
    return blot_image(window, positions - low, rule.interpolation, rule.sinc_scale)
