"""Layers side by side: while one is written, pictured and checked, the next is measured and combined."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from multivisit.run.results import PlannedLayer

__all__ = ["GivenUpError", "StopSign", "layers_in_work", "make_side_by_side", "threads_for", "work_in"]

_Result = TypeVar("_Result")


class GivenUpError(BaseException):
    """A layer is given up because the run stops; no error of the layer itself, hence no `Exception`."""


class StopSign(Protocol):
    """Tells a layer whether to go on."""

    def check(self) -> None:
        """Raise `GivenUpError` if the run stops."""


class _Stop:
    """Raised by the thread that started the layers, seen by all of them."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Stop all layers at their next step."""
        self._event.set()

    def check(self) -> None:
        """Raise `GivenUpError` if the run stops."""
        if self._event.is_set():
            raise GivenUpError


def layers_in_work(n_layers: int, threads: int) -> int:
    """Give the number of layers to have in work at the same time.

    A layer's parts that one thread makes leave the others idle: so two layers, and more only where there are
    many threads, since each takes memory.

    Parameters
    ----------
    n_layers : int
        Layers to be made.
    threads : int
        Most threads of the run.

    Returns
    -------
    int
        At least 1.
    """
    return max(1, min(n_layers, max(2, threads // 2))) if threads > 1 else 1


def threads_for(work: int, work_left: int, threads: int) -> int:
    """Give the number of threads that combine a layer: as many as let all layers end at the same time.

    Parameters
    ----------
    work : int
        Work that the layer is.
    work_left : int
        Work of all layers that have not been finished, this one included.
    threads : int
        Most threads of the run.

    Returns
    -------
    int
        At least 1.
    """
    return max(1, min(threads, -(-work * threads // max(1, work_left))))


def work_in(item: PlannedLayer) -> int:
    """Estimate how much work a layer is: input and output pixels."""
    if item.grid is None or item.reason_left_alone:
        return 0
    chips = (chip for member in item.layer.members for chip in member.exposure.chips)
    return sum(chip.shape[0] * chip.shape[1] for chip in chips) + item.grid.shape[0] * item.grid.shape[1]


def make_side_by_side(
    make: Callable[[PlannedLayer, int, StopSign], _Result], items: Sequence[PlannedLayer], threads: int
) -> list[_Result]:
    """Make layers, several at a time.

    Parameters
    ----------
    make : callable
        Makes one layer, in any thread, with the number of threads that it is given; it looks at the stop
        sign now and then.
    items : sequence of PlannedLayer
        The layers.
    threads : int
        Most threads of the run.

    Returns
    -------
    list
        The results in the order of the layers. An exception that `make` does not turn into a result stops
        the other layers and goes on to the caller when they have ended; so does an interruption.
    """
    stop = _Stop()
    work = [work_in(item) for item in items]
    in_work = layers_in_work(sum(one > 0 for one in work), threads)
    if in_work == 1:
        return [make(item, threads, stop) for item in items]
    unfinished = dict(enumerate(work))

    def guarded(number: int) -> _Result:
        stop.check()
        try:
            return make(items[number], threads_for(work[number], sum(unfinished.values()), threads), stop)
        except BaseException:
            stop.set()
            raise
        finally:
            unfinished[number] = 0

    # The most work first, so that nothing long is left for the end.
    order = sorted(range(len(items)), key=lambda number: -work[number])
    with ThreadPoolExecutor(in_work, thread_name_prefix="multivisit-layer") as pool:
        # Threads log into the messages of the run that started them.
        futures = {number: pool.submit(copy_context().run, guarded, number) for number in order}
        try:
            wait(futures.values(), return_when=FIRST_EXCEPTION)
        except BaseException:
            stop.set()
            raise
    errors = [error for future in futures.values() if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda one: isinstance(one, GivenUpError)):
        raise error
    return [futures[number].result() for number in range(len(items))]
