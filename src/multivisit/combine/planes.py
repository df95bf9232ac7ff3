"""Memory for planes of pixels, which goes from one chip to the next.

The system hands out large pieces of memory page by page and clears each page first, which can take longer
than reading a chip. Planes that nobody uses any more are therefore kept for the next ones that are asked for.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["empty_plane", "free_plane_bytes", "release_planes"]

# Smaller pieces the C library keeps itself.
_SMALLEST = 1 << 20
# Part of a piece of memory that may lie idle when a smaller plane is made of it.
_LARGEST_WASTE = 0.1


class _Pool:
    """Pieces of memory that are free, the one that was freed last at the end."""

    def __init__(self) -> None:
        self._free: list[NDArray[np.uint8]] = []
        # The garbage collector may give a piece back at any moment, also while the lock is held.
        self._given_back: deque[NDArray[np.uint8]] = deque()
        self._lock = threading.Lock()

    def take(self, n_bytes: int) -> NDArray[np.uint8]:
        """Give a piece of at least some bytes, which comes back when its array is no longer used.

        Where none fits, others are freed before a new one is made: all of them together never take more than
        what was in use at once.
        """
        with self._lock:
            self._collect()
            fitting = [
                k
                for k, piece in enumerate(self._free)
                if n_bytes <= piece.nbytes and piece.nbytes - n_bytes <= _LARGEST_WASTE * piece.nbytes
            ]
            if fitting:
                piece = self._free.pop(min(fitting, key=lambda k: (self._free[k].nbytes, -k)))
            else:
                freed = 0
                while self._free and freed < n_bytes:
                    freed += self._free.pop(0).nbytes
                piece = np.empty(n_bytes, dtype=np.uint8)
        # All arrays made of this one refer to it, not to the piece: when it goes, none is left.
        array = np.frombuffer(piece.data, dtype=np.uint8, count=n_bytes)
        weakref.finalize(array, self._given_back.append, piece).atexit = False
        return array

    def free_bytes(self) -> int:
        """Count the bytes of all free pieces."""
        with self._lock:
            self._collect()
            return sum(piece.nbytes for piece in self._free)

    def release(self) -> None:
        """Give all free pieces back to the system."""
        with self._lock:
            self._collect()
            self._free.clear()

    def _collect(self) -> None:
        while self._given_back:
            self._free.append(self._given_back.popleft())


_POOL = _Pool()


def empty_plane(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make an array whose elements may have any value, as `numpy.empty` does.

    Parameters
    ----------
    shape : tuple of int
        Its shape.
    dtype : dtype
        Type of its elements.

    Returns
    -------
    ndarray
        The array. Its memory is kept when it and all views of it are gone, until `release_planes`.
    """
    n_bytes = prod(shape) * np.dtype(dtype).itemsize
    if n_bytes < _SMALLEST:
        return np.empty(shape, dtype)
    return _POOL.take(n_bytes).view(dtype).reshape(shape)


def free_plane_bytes() -> int:
    """Give the bytes that this process holds for planes yet to come."""
    return _POOL.free_bytes()


def release_planes() -> None:
    """Give the memory of planes that nobody uses back to the system."""
    _POOL.release()
