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

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["KEPT_BYTES", "LOADING_BYTES", "ChipCache", "ChipPixels"]

KEPT_BYTES = 5
"""Bytes that are kept of each pixel: float32 science and a mask."""

LOADING_BYTES = 11
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

    n_static: int
    """Number of pixels left out by the static mask alone."""

    def weights(self, rows: slice) -> NDArray[np.float32]:
        """Make the plane of weights that the pixels of some rows have.

        Parameters
        ----------
        rows : slice
            The rows.

        Returns
        -------
        ndarray of float32
            Weights, shape (ny, nx), 0 outside the rows. Memory is taken up by those rows alone.
        """
        plane = np.zeros(self.good.shape, dtype=np.float32)
        np.multiply(self.good[rows], np.float32(self.weight), out=plane[rows])
        return plane


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
    """

    def __init__(
        self,
        load: Callable[[int], ChipPixels],
        strips: Mapping[int, Sequence[int]],
        n_pixels: Mapping[int, int],
        memory: int | None = None,
    ) -> None:
        self._load = load
        self._strips = {number: set(needed) for number, needed in strips.items()}
        self._n_pixels = n_pixels
        self._memory = memory
        self._kept: dict[int, _Kept] = {}
        self._loading: set[int] = set()
        self._changed = threading.Condition()

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
        need = self._n_pixels[number] * LOADING_BYTES
        while self._used() + need > self._memory:
            idle = [n for n, kept in self._kept.items() if not kept.users]
            if not idle:
                return not self._kept and not self._loading
            del self._kept[max(idle, key=self._next_use)]
        return True

    def _used(self) -> int:
        kept = sum(self._n_pixels[number] for number in self._kept)
        return kept * KEPT_BYTES + sum(self._n_pixels[number] for number in self._loading) * LOADING_BYTES

    def _next_use(self, number: int) -> tuple[int, int]:
        return min(self._strips[number]), number
