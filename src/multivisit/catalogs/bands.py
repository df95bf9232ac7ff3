"""The bands of rows in which a mosaic is worked on: chosen from the mosaic alone, done by any thread."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

__all__ = ["Band", "divide", "in_order", "workers_within"]

_PIXELS = 1 << 21
_BYTES_PER_PIXEL = 32
"""What the busiest step holds of a band: pixels as read and as used, labels, buffers."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Band:
    """Some rows of a mosaic."""

    first: int
    """First row."""

    last: int
    """The row after the last one."""


def divide(shape: tuple[int, int], box: int) -> list[Band]:
    """Divide a mosaic into bands of whole boxes.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    box : int
        Pixels a side of the boxes of the background.

    Returns
    -------
    list of Band
        From the first row on; all but the last one of the same height.
    """
    height = box * max(1, round(_PIXELS / max(shape[1], 1) / box))
    return [Band(first, min(first + height, shape[0])) for first in range(0, shape[0], height)]


def workers_within(shape: tuple[int, int], box: int, threads: int, memory: int | None) -> int:
    """Give the number of bands that may be worked on at a time.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the mosaic.
    box : int
        Pixels a side of the boxes of the background.
    threads : int
        Most threads.
    memory : int, optional
        Bytes that they may take together; None for no limit.

    Returns
    -------
    int
        At least 1.
    """
    if memory is None:
        return max(1, threads)
    band = divide(shape, box)[0]
    one = _BYTES_PER_PIXEL * (band.last - band.first + 2 * box) * shape[1]
    return max(1, min(threads, memory // max(one, 1)))


def in_order(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Do the same work on many items, several at a time, and give the results in the order of the items.

    Parameters
    ----------
    work : callable
        Takes an item.
    items : iterable
        The items.
    workers : int
        How many threads work.

    Yields
    ------
    object
        What the work returns.
    """
    if workers <= 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
