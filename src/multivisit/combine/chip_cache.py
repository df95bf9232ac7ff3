"""The pixels of chips, ready to be combined, kept as long as they are needed and memory allows.

A chip is read when the first strip needs it and dropped after the last one. Where the budget does not hold
all chips that are in use, the one whose next use is farthest off is dropped and read again later: that
costs time and changes nothing else.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from multivisit.combine.survey import SurveyedChips

__all__ = ["KEPT_BYTES", "LOADING_BYTES", "ChipCache", "ChipPixels"]

KEPT_BYTES = 5
"""Bytes that are kept of each pixel: float32 science and a mask."""

LOADING_BYTES = 13
"""Bytes that each pixel takes at most while it is read and masked."""


@dataclass(frozen=True, eq=False)
class ChipPixels:
    """The pixels of one chip, its sky taken off."""

    science: NDArray[np.float32] = field(repr=False)
    """Electrons/s per native pixel, shape (ny, nx); finite."""

    good: NDArray[np.bool_] = field(repr=False)
    """Pixels that count."""

    weight: float
    """Weight of each of them."""

    n_good: int
    """Number of pixels that count."""

    n_static: int
    """Number of pixels left out by the static mask alone."""

    n_rejected: int = 0
    """Number of pixels left out because other exposures speak against them."""

    weight_plane: NDArray[np.float32] | None = field(default=None, repr=False)
    """Weight of each pixel, (ny, nx), 0 for those that do not count; None where `weight` holds for all."""

    variance: NDArray[np.float32] | None = field(default=None, repr=False)
    """Variance of each pixel, (electrons/s)^2, (ny, nx), finite; None where no error plane is made."""

    def weights(self) -> tuple[NDArray[np.float32] | NDArray[np.bool_], float]:
        """Give the weights as engines take them.

        Returns
        -------
        weight : ndarray of float32 or bool
            Weights, shape (ny, nx), or which pixels count.
        unit_weight : float
            Factor of the weights; the weight of the pixels that count.
        """
        if self.weight_plane is not None:
            return self.weight_plane, 1.0
        return self.good, self.weight


@dataclass
class _Kept:
    """A chip in memory."""

    pixels: ChipPixels
    users: int = 0


class ChipCache:
    """Hands out the pixels of chips to the threads that combine strips.

    Parameters
    ----------
    load : callable
        Reads the chip of a number.
    strips : mapping of int to sequence of int
        Numbers of the strips, rising, that need each chip.
    n_pixels : mapping of int to int
        Pixels of each chip.
    memory : int, optional
        Bytes that the chips may take, those being read included; None for no limit. One chip is always read,
        whatever the limit.
    surveyed : SurveyedChips, optional
        Chips that `load` has at hand, which take memory already.
    more_bytes : int
        Bytes that each pixel takes besides `KEPT_BYTES` and `LOADING_BYTES`.
    """

    def __init__(
        self,
        load: Callable[[int], ChipPixels],
        strips: Mapping[int, Sequence[int]],
        n_pixels: Mapping[int, int],
        memory: int | None = None,
        surveyed: SurveyedChips | None = None,
        more_bytes: int = 0,
    ) -> None:
        self._kept_bytes, self._loading_bytes = KEPT_BYTES + more_bytes, LOADING_BYTES + more_bytes
        self._surveyed = surveyed
        self._load = load
        self._strips = {number: set(needed) for number, needed in strips.items()}
        self._n_pixels = n_pixels
        self._memory = memory
        self._kept: dict[int, _Kept] = {}
        self._loading: set[int] = set()
        self._changed = threading.Condition()

    def holds(self, number: int) -> bool:
        """Tell whether a chip is in memory.

        Parameters
        ----------
        number : int
            The chip.

        Returns
        -------
        bool
            Whether it is; another thread may change that at any time.
        """
        with self._changed:
            return number in self._kept or number in self._loading or number in self._at_hand()

    @contextmanager
    def borrow(self, number: int, strip: int) -> Iterator[ChipPixels]:
        """Give a chip's pixels to one strip; it must not change them.

        Parameters
        ----------
        number : int
            The chip.
        strip : int
            The strip, which will not ask for the chip again.

        Yields
        ------
        ChipPixels
            The pixels.
        """
        if self._must_load(number):
            self._read(number)
        kept = self._kept[number]
        try:
            yield kept.pixels
        finally:
            with self._changed:
                kept.users -= 1
                self._strips[number].discard(strip)
                if not kept.users and not self._strips[number]:
                    del self._kept[number]
                self._changed.notify_all()

    def _must_load(self, number: int) -> bool:
        """Wait for a chip in memory and mark it used, or for room to read it and mark it as being read."""
        with self._changed:
            while True:
                kept = self._kept.get(number)
                if kept is not None:
                    kept.users += 1
                    return False
                if number not in self._loading and self._make_room(number):
                    self._loading.add(number)
                    return True
                # Whoever waits uses no chip, so those who do will go on.
                self._changed.wait()

    def _read(self, number: int) -> None:
        try:
            pixels = self._load(number)
        except BaseException:
            with self._changed:
                self._loading.discard(number)
                self._changed.notify_all()
            raise
        with self._changed:
            self._loading.discard(number)
            self._kept[number] = _Kept(pixels, users=1)
            self._changed.notify_all()

    def _make_room(self, number: int) -> bool:
        """Drop chips that nobody uses, the one needed last first, until one more can be read."""
        if self._memory is None:
            return True
        if number in self._at_hand():
            return True
        need = self._n_pixels[number] * self._loading_bytes
        while self._used() + need > self._memory:
            idle = [n for n, kept in self._kept.items() if not kept.users]
            idle += [n for n in self._at_hand() if n not in self._loading]
            if not idle:
                return not self._kept and not self._loading
            last = max(idle, key=self._next_use)
            if self._kept.pop(last, None) is None and self._surveyed is not None:
                self._surveyed.take(last)
        return True

    def _at_hand(self) -> list[int]:
        """Numbers of the chips that need not be read."""
        return [] if self._surveyed is None else self._surveyed.numbers

    def _used(self) -> int:
        at_hand = self._at_hand()
        kept = sum(self._n_pixels[number] for number in (*self._kept, *at_hand))
        loading = sum(self._n_pixels[number] for number in self._loading if number not in at_hand)
        return kept * self._kept_bytes + loading * self._loading_bytes

    def _next_use(self, number: int) -> tuple[int, int]:
        return min(self._strips[number]), number
