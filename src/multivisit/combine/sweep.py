"""The sweep: strips of the output grid are combined one after another, by one or more threads.

Each strip is made whole by one thread, which takes the chips in their fixed order and hands the finished rows
on. So memory holds as many strips as there are threads, and results do not depend on their number.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine.chip_cache import KEPT_BYTES, LOADING_BYTES, ChipCache
from multivisit.combine.engines import context_planes, engine_memory, make_engine
from multivisit.combine.kernel_engine import FAST_KERNELS, WindowSums
from multivisit.combine.strips import ChipReach, Strip, lay_out_strips
from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from multivisit.combine.chip_cache import ChipPixels
    from multivisit.combine.strips import RowSink
    from multivisit.combine.survey import SurveyedChips
    from multivisit.exposures.pixel_map import PixelMap
    from multivisit.plan.parameters import CombinationParameters

__all__ = ["SweepChip", "SweepPlan", "block_rows", "run_sweep"]

_MIB = 1 << 20
_BLOCK_PIXELS = 1 << 19
# Of a block in which finished rows are handed on, for each of its pixels: both planes, and both on their way.
_BLOCK_BYTES = 24
# A preview has no more pixels along a side.
_PREVIEW_PIXELS = 1600


@dataclass(frozen=True)
class SweepChip:
    """What the sweep must know of a chip that overlaps the grid."""

    number: int
    """Its number in the layer, which is that of its context bit."""

    shape: tuple[int, int]
    """Rows and columns."""

    pixel_map: PixelMap
    """Where its pixels fall in the grid."""

    scale_ratio: float
    """Output pixel scale over its nominal pixel scale."""


class SweepPlan:
    """The strips of a layer, the chips that each needs, and the memory that they take.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the output grid.
    chips : sequence of SweepChip
        The chips that overlap it.
    context_chips : int
        Number of chips to keep a context for; 0 for no context.
    kernel : str
        The drizzle kernel, on which the memory depends.
    held : int
        Bytes that are taken all the time: the static masks.
    weight_planes : bool
        Whether each pixel has a weight of its own.
    variance : bool
        Whether an error plane is made.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        chips: Sequence[SweepChip],
        context_chips: int = 0,
        kernel: str = "square",
        held: int = 0,
        *,
        weight_planes: bool = False,
        variance: bool = False,
    ) -> None:
        self.variance = variance
        self.more_bytes = 4 * (int(weight_planes) + int(variance))
        self.shape = shape
        self.held = held
        self.kernel = kernel
        self.chips = {chip.number: chip for chip in chips}
        self.context_chips = context_chips
        self.reaches = {c.number: ChipReach.of(c.pixel_map, c.shape, c.scale_ratio) for c in chips}
        self.strips = lay_out_strips(shape, self.reaches)

    @property
    def planes(self) -> int:
        """Number of context planes."""
        return context_planes(self.context_chips)

    @property
    def n_pixels(self) -> dict[int, int]:
        """Pixels of each chip."""
        return {number: chip.shape[0] * chip.shape[1] for number, chip in self.chips.items()}

    def worker_memory(self) -> int:
        """Give the bytes that one thread takes for its strip."""
        columns = max(chip.shape[1] for chip in self.chips.values())
        rows = max(strip.shape[0] for strip in self.strips)
        engine = engine_memory(
            (rows, self.shape[1]), columns, self.planes, kernel=self.kernel, variance=self.variance
        )
        blocks = _BLOCK_BYTES * min(rows, block_rows(self.shape[1])) * self.shape[1]
        return engine + blocks

    def least_memory(self) -> int:
        """Give the bytes without which the sweep is not possible: one strip and one chip being read."""
        loading = max(self.n_pixels.values()) * (LOADING_BYTES + self.more_bytes)
        return self.worker_memory() + loading + self.held

    def most_memory(self, threads: int) -> int:
        """Give the bytes beyond which more memory makes nothing quicker: all strips and all chips.

        Parameters
        ----------
        threads : int
            Most threads that may run.

        Returns
        -------
        int
            Bytes.
        """
        n_workers = min(threads, len(self.strips))
        chips = sum(self.n_pixels.values()) * (KEPT_BYTES + self.more_bytes)
        loading = max(self.n_pixels.values()) * (LOADING_BYTES + self.more_bytes)
        return n_workers * (self.worker_memory() + loading) + chips + self.held

    def memory_for_kept(self, threads: int, memory: int | None) -> int | None:
        """Give the bytes that chips may take that are kept from before the sweep.

        Parameters
        ----------
        threads, memory
            See `share_memory`.

        Returns
        -------
        int or None
            Bytes; None for no limit.

        Raises
        ------
        ParameterError
            If the budget is less than `least_memory`.
        """
        _, cache_memory = self.share_memory(threads, memory)
        if cache_memory is None:
            return None
        return max(0, cache_memory - max(self.n_pixels.values()) * (LOADING_BYTES + self.more_bytes))

    def share_memory(self, threads: int, memory: int | None) -> tuple[int, int | None]:
        """Divide a budget between threads and chips.

        Parameters
        ----------
        threads : int
            Most threads that may run.
        memory : int, optional
            The budget in bytes; None for no limit.

        Returns
        -------
        n_workers : int
            Number of threads.
        cache_memory : int or None
            Bytes for chips.

        Raises
        ------
        ParameterError
            If the budget is less than `least_memory`.
        """
        if threads < 1:
            raise ParameterError(f"threads: found {threads}, expected at least 1.")
        n_workers = min(threads, len(self.strips))
        if memory is None:
            return n_workers, None
        least = self.least_memory()
        if memory < least:
            raise ParameterError(
                f"memory: {memory // _MIB} MiB are left for the strips and chips of this mosaic of "
                f"{self.shape[1]} x {self.shape[0]} pixels, expected at least {-(-least // _MIB)} MiB. "
                f"Allow {-(-(least - memory) // _MIB)} MiB more."
            )
        # Another thread pays when a strip more and the chip that it uses fit.
        largest = max(self.n_pixels.values())
        spare = (memory - least) // (self.worker_memory() + largest * (KEPT_BYTES + self.more_bytes))
        n_workers = min(n_workers, 1 + spare)
        return n_workers, memory - self.held - n_workers * self.worker_memory()


def run_sweep(
    plan: SweepPlan,
    parameters: CombinationParameters,
    load: Callable[[int], ChipPixels],
    sink: RowSink,
    *,
    science_factor: float = 1.0,
    threads: int = 1,
    memory: int | None = None,
    surveyed: SurveyedChips | None = None,
    on_chip: Callable[[int], None] | None = None,
) -> Counter[int]:
    """Combine all strips and hand their rows on.

    Parameters
    ----------
    plan : SweepPlan
        Strips and chips.
    parameters : CombinationParameters
        How to combine.
    load : callable
        Reads the chip of a number, in any thread.
    sink : RowSink
        Takes the rows, from any thread.
    science_factor : float
        Factor for science pixels that have weight.
    threads : int
        Most threads that may run.
    memory : int, optional
        Bytes that strips and chips may take; None for no limit.
    surveyed : SurveyedChips, optional
        Chips that `load` has at hand.
    on_chip : callable, optional
        Called in the caller's thread with the number of each chip that no strip needs any more.

    Returns
    -------
    Counter
        Number of weighted pixels of each chip whose centres fall in the grid.

    Raises
    ------
    ParameterError
        If the memory is not enough for one strip and one chip.
    """
    n_workers, cache_memory = plan.share_memory(threads, memory)
    strips_of: dict[int, list[int]] = {number: [] for number in plan.chips}
    for strip in plan.strips:
        for number in strip.chips:
            strips_of[number].append(strip.number)
    cache = ChipCache(load, strips_of, plan.n_pixels, cache_memory, surveyed, plan.more_bytes)
    spaces = _Workspaces(plan)
    stop = threading.Event()

    def make(strip: Strip) -> Counter[int]:
        with spaces.one() as space:
            return _make_strip(strip, plan, parameters, cache, sink, science_factor, space, stop)

    n_used: Counter[int] = Counter()
    waiting = {number: set(strips) for number, strips in strips_of.items()}
    # Closing makes sure that no thread goes on when `on_chip` raises.
    with closing(_in_threads(make, plan.strips, n_workers, stop)) as finished:
        for strip, counts in finished:
            n_used.update(counts)
            for number in strip.chips:
                waiting[number].discard(strip.number)
                if not waiting[number] and on_chip is not None:
                    on_chip(number)
    return n_used


def _in_threads(
    make: Callable[[Strip], Counter[int]], strips: Sequence[Strip], n_workers: int, stop: threading.Event
) -> Generator[tuple[Strip, Counter[int]]]:
    """Make the strips in order, several at a time, and give each as it is finished.

    An error or an interrupt stops all threads before it goes on to the caller.
    """
    if n_workers == 1:
        for strip in strips:
            yield strip, make(strip)
        return
    with ThreadPoolExecutor(n_workers, thread_name_prefix="multivisit-strip") as pool:
        try:
            # Threads log into the messages of the run that started them.
            pending = {pool.submit(copy_context().run, make, strip): strip for strip in strips}
            while pending:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda one: pending[one].number):
                    yield pending.pop(future), future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class _Workspace:
    """The memory of one thread, used again for each strip."""

    def __init__(self, plan: SweepPlan) -> None:
        columns = plan.shape[1]
        rows = max(strip.shape[0] for strip in plan.strips)
        block = min(rows, block_rows(columns))
        self.window = (
            WindowSums.zeros((rows, columns), context_chips=plan.context_chips, variance=plan.variance)
            if plan.kernel in FAST_KERNELS
            else None
        )
        self.science = np.empty((block, columns), dtype=np.float32)
        self.weight = np.empty((block, columns), dtype=np.float32)


class _Workspaces:
    """Hands out workspaces; there are as many as threads that ask for one at the same time."""

    def __init__(self, plan: SweepPlan) -> None:
        self._plan = plan
        self._free: list[_Workspace] = []
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[_Workspace]:
        with self._lock:
            space = self._free.pop() if self._free else None
        space = space or _Workspace(self._plan)
        yield space
        with self._lock:
            self._free.append(space)


def block_rows(columns: int) -> int:
    """Give the rows of a block in which finished rows are handed on: half a million pixels or so.

    Parameters
    ----------
    columns : int
        Columns of the mosaic.

    Returns
    -------
    int
        Rows; more than a pixel of a preview has.
    """
    return max(_BLOCK_PIXELS // max(1, columns), columns // _PREVIEW_PIXELS + 1, 1)


def _make_strip(
    strip: Strip,
    plan: SweepPlan,
    parameters: CombinationParameters,
    cache: ChipCache,
    sink: RowSink,
    science_factor: float,
    space: _Workspace,
    stop: threading.Event,
) -> Counter[int]:
    """Combine one strip and hand it on."""
    fill_value = np.nan if parameters.final_fillval is None else float(parameters.final_fillval)
    n_used: Counter[int] = Counter()
    if not strip.chips:
        _write_empty(strip, sink, fill_value, plan.planes, space)
        if plan.variance:
            sink.write_error(strip.first_row, np.full(strip.shape, np.nan, dtype=np.float32))
        return n_used
    engine = make_engine(
        strip.shape,
        origin=(0, strip.first_row),
        kernel=parameters.final_kernel,
        pixfrac=parameters.final_pixfrac,
        context_chips=plan.context_chips,
        variance=plan.variance,
        memory=space.window,
    )
    for number in strip.chips:
        if stop.is_set():
            return n_used
        chip = plan.chips[number]
        with cache.borrow(number, strip.number) as pixels:
            weight, unit_weight = pixels.weights()
            n_used[number] = engine.add_chip(
                pixels.science,
                weight,
                chip.pixel_map,
                chip.scale_ratio,
                number,
                unit_weight=unit_weight,
                variance=pixels.variance,
            )
    for first, science, weight in _blocks(strip, space):
        if stop.is_set():
            return n_used
        engine.finish_rows(first, fill_value, science, weight)
        if science_factor != 1.0:
            science[weight != 0.0] *= np.float32(science_factor)
        context = None if engine.context is None else engine.context[:, first : first + len(science)]
        sink.write_rows(strip.first_row + first, science, weight, context)
    if engine.variance is not None and not stop.is_set():
        _write_error(strip.first_row, engine.variance, science_factor, sink)
    return n_used


def _write_error(first_row: int, variance: NDArray[np.float32], science_factor: float, sink: RowSink) -> None:
    """Hand the standard errors of a strip on: NaN where there is no weight, hence no variance."""
    error = np.sqrt(variance, out=variance)
    error *= np.float32(science_factor)
    error[error == 0.0] = np.nan
    sink.write_error(first_row, error)


def _blocks(
    strip: Strip, space: _Workspace
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32]]]:
    """Give the first row of each block of a strip, and planes for its science and weight."""
    for first in range(0, strip.shape[0], len(space.science)):
        rows = min(len(space.science), strip.shape[0] - first)
        yield first, space.science[:rows], space.weight[:rows]


def _write_empty(strip: Strip, sink: RowSink, fill_value: float, planes: int, space: _Workspace) -> None:
    """Hand on rows that no chip reaches."""
    for first, science, weight in _blocks(strip, space):
        science[...], weight[...] = fill_value, 0.0
        context = np.broadcast_to(np.int32(0), (planes, *science.shape)) if planes else None
        sink.write_rows(strip.first_row + first, science, weight, context)
