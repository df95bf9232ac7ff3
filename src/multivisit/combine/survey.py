"""The survey: each chip is read once before anything is combined, for its sky and for the static masks.

Chips are surveyed in threads, their measurements put together in the order of the chips. What has been read
is kept for the sweep as far as memory allows.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine.chip_reader import RawChip, read_chip, read_good_blocks
from multivisit.combine.placement import chip_error
from multivisit.combine.planes import empty_plane
from multivisit.combine.weights import PixelTest
from multivisit.errors import MultivisitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from multivisit.combine.placement import PreparedChip
    from multivisit.combine.sky_levels import SkyMeter
    from multivisit.combine.sky_samples import ChipSky
    from multivisit.combine.weights import StaticMasks
    from multivisit.exposures.model import Chip
    from multivisit.plan.parameters import CombinationParameters

    Measure = Callable[[int], "ChipSky | None"]

__all__ = [
    "SURVEY_BYTES",
    "SurveyMemory",
    "SurveyedChips",
    "file_unit",
    "read_good_rows",
    "read_prepared",
    "survey_chips",
]

SURVEY_BYTES = 9
"""Bytes that each pixel takes at most while a chip is surveyed: pixels, masks, and sums over blocks."""


class SurveyedChips:
    """Chips that the survey has read and that the sweep need not read again.

    Parameters
    ----------
    memory : int, optional
        Bytes that they may take; None for no limit.
    """

    def __init__(self, memory: int | None = None) -> None:
        self._memory = memory
        self._chips: dict[int, RawChip] = {}
        self._lock = threading.Lock()

    @property
    def numbers(self) -> list[int]:
        """Numbers of the chips that are kept, rising."""
        with self._lock:
            return sorted(self._chips)

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        with self._lock:
            return sum(chip.nbytes for chip in self._chips.values())

    def keep(self, number: int, raw: RawChip) -> None:
        """Keep a chip if there is room for it.

        Parameters
        ----------
        number : int
            Its number in the layer.
        raw : RawChip
            Its pixels.
        """
        with self._lock:
            used = sum(chip.nbytes for chip in self._chips.values())
            if self._memory is None or used + raw.nbytes <= self._memory:
                self._chips[number] = raw

    def take(self, number: int) -> RawChip | None:
        """Give a chip away; None if it was not kept, or has been taken before."""
        with self._lock:
            return self._chips.pop(number, None)


@dataclass(frozen=True)
class SurveyMemory:
    """How a budget is divided in the survey."""

    n_workers: int
    """Number of threads."""

    kept: int | None
    """Bytes for the chips that are kept; None for no limit."""

    @classmethod
    def share(
        cls,
        n_pixels: Sequence[int],
        threads: int,
        memory: int | None,
        kept: int | None,
        *,
        maps: int = 0,
        patches: int = 0,
    ) -> SurveyMemory:
        """Divide a budget.

        Parameters
        ----------
        n_pixels : sequence of int
            Pixels of each chip.
        threads : int
            Most threads that may run.
        memory : int, optional
            Bytes that the survey may take; None for no limit. One chip is always surveyed.
        kept : int, optional
            Bytes that the sweep has for chips.
        maps : int
            Bytes of the chips' pixel maps, which are not among those that the survey may take.
        patches : int
            Bytes that the sky's measurements take.

        Returns
        -------
        SurveyMemory
            Threads and memory.
        """
        n_workers = max(1, min(threads, len(n_pixels)))
        if memory is None:
            return cls(n_workers, kept)
        worker = max(n_pixels, default=0) * SURVEY_BYTES
        left = memory - patches
        n_workers = max(1, min(n_workers, left // max(1, worker)))
        # To read a chip again costs little: chips take half at most. What else grows with their number makes
        # room for fewer: measurements, maps, and with these outlines and headers, half as much as they are.
        most = (memory - 3 * maps) // 2 - patches
        left = max(0, min(left - n_workers * worker, most))
        return cls(n_workers, left if kept is None else min(left, kept))


def survey_chips(
    chips: Sequence[PreparedChip],
    parameters: CombinationParameters,
    static_masks: StaticMasks | None,
    meter: SkyMeter | None,
    memory: SurveyMemory,
    progress: Callable[[str, int], None],
) -> SurveyedChips:
    """Read the chips for the static masks and the sky.

    Parameters
    ----------
    chips : sequence of PreparedChip
        The chips of the layer.
    parameters : CombinationParameters
        How to combine.
    static_masks : StaticMasks, optional
        The masks that are filled.
    meter : SkyMeter, optional
        What the sky's measurements go to.
    memory : SurveyMemory
        Threads and memory.
    progress : callable
        Called with a message and the number of each chip.

    Returns
    -------
    SurveyedChips
        What has been read.

    Raises
    ------
    CombineError
        If a chip cannot be read.
    """
    surveyed = SurveyedChips(memory.kept)
    numbers = [
        number
        for number, item in enumerate(chips)
        if item.pixel_map is not None and (meter is not None or item.in_grid)
    ]

    def measure(number: int) -> ChipSky | None:
        item = chips[number]
        sky, raw = _survey_chip(item, parameters, static_masks, meter)
        if item.in_grid:
            surveyed.keep(number, raw)
        return sky

    for number, sky in _in_order(measure, numbers, memory.n_workers, lambda n: progress(chips[n].name, n)):
        if meter is not None and sky is not None:
            meter.add(chips[number].exposure_number, sky)
    return surveyed


def _in_order(
    measure: Measure, numbers: Sequence[int], n_workers: int, begin: Callable[[int], None]
) -> Iterator[tuple[int, ChipSky | None]]:
    """Measure chips, several at a time, and give the results in order."""
    if n_workers == 1:
        for number in numbers:
            begin(number)
            yield number, measure(number)
        return
    with ThreadPoolExecutor(n_workers, thread_name_prefix="multivisit-survey") as pool:
        try:
            pending = deque(pool.submit(copy_context().run, measure, number) for number in numbers)
            for number in numbers:
                begin(number)
                # A future that is kept keeps its result.
                yield number, pending.popleft().result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _survey_chip(
    item: PreparedChip,
    parameters: CombinationParameters,
    static_masks: StaticMasks | None,
    meter: SkyMeter | None,
) -> tuple[ChipSky | None, RawChip]:
    """Read a chip, look for low pixels and measure its sky."""
    test = PixelTest(parameters.combined_bits)
    if meter is None:
        raw = read_prepared(item, test)
    else:
        usable = empty_plane(item.chip.shape, np.bool_)
        raw = read_prepared(
            item, test, (meter.usable_test(parameters.sky_pixel_bits, file_unit(item.chip)), usable)
        )
    low = None
    if static_masks is not None:
        low = static_masks.add(item.signature, raw.science, raw.good)
    if meter is None or item.pixel_map is None:
        return None, raw
    if low is not None and parameters.use_static:
        usable.reshape(-1)[low] = False
    return meter.measure(raw.science, usable, item.pixel_map, item.chip.nominal_scale), raw


def read_prepared(
    item: PreparedChip, test: PixelTest, other: tuple[PixelTest, NDArray[np.bool_]] | None = None
) -> RawChip:
    """Read a chip; see `multivisit.combine.chip_reader.read_chip`.

    Parameters
    ----------
    item : PreparedChip
        The chip.
    test, other
        See there.

    Raises
    ------
    CombineError
        If it cannot be read.
    """
    try:
        return read_chip(item.chip, test, other)
    except (MultivisitError, OSError, ValueError) as error:
        raise chip_error(item.exposure, item.chip, error) from error


def read_good_rows(item: PreparedChip, test: PixelTest) -> Iterator[tuple[int, NDArray[np.bool_], bool]]:
    """Read the good pixels of a chip; see `multivisit.combine.chip_reader.read_good_blocks`.

    Parameters
    ----------
    item : PreparedChip
        The chip.
    test
        See there.

    Raises
    ------
    CombineError
        If it cannot be read.
    """
    try:
        yield from read_good_blocks(item.chip, test)
    except (MultivisitError, OSError, ValueError) as error:
        raise chip_error(item.exposure, item.chip, error) from error


def file_unit(chip: Chip) -> float:
    """Give the electrons/s in one unit of a chip's file."""
    return chip.gain if chip.units.endswith("/S") else chip.gain / chip.exposure_time
