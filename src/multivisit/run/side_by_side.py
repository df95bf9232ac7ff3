"""Layers side by side: while one is written, pictured and checked, the next is measured and combined."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from multivisit.run.results import PlannedLayer

__all__ = ["GivenUpError", "StopSign", "layers_in_work", "make_side_by_side", "work_in"]

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

    A layer alone keeps about two thirds of the threads busy, and pays for each of them with a strip's memory:
    so two layers, and more only where there are many threads.

    Parameters
    ----------
    n_layers : int
        Layers to be made.
    threads : int
        Most threads that may combine a layer.

    Returns
    -------
    int
        At least 1.
    """
    return max(1, min(n_layers, max(2, threads // 2))) if threads > 1 else 1


def work_in(item: PlannedLayer) -> int:
    """Estimate how much work a layer is: input and output pixels."""
    if item.grid is None or item.reason_left_alone:
        return 0
    chips = (chip for member in item.layer.members for chip in member.exposure.chips)
    return sum(chip.shape[0] * chip.shape[1] for chip in chips) + item.grid.shape[0] * item.grid.shape[1]


def make_side_by_side(
    make: Callable[[PlannedLayer, StopSign], _Result], items: Sequence[PlannedLayer], in_work: int
) -> list[_Result]:
    """Make layers, several at a time.

    Parameters
    ----------
    make : callable
        Makes one layer, in any thread; it looks at the stop sign now and then.
    items : sequence of PlannedLayer
        The layers.
    in_work : int
        How many may be in work at the same time.

    Returns
    -------
    list
        The results in the order of the layers. An exception that `make` does not turn into a result stops
        the other layers and goes on to the caller when they have ended; so does an interruption.
    """
    stop = _Stop()
    if in_work == 1:
        return [make(item, stop) for item in items]

    def guarded(item: PlannedLayer) -> _Result:
        stop.check()
        try:
            return make(item, stop)
        except BaseException:
            stop.set()
            raise

    # The most work first, so that nothing long is left for the end.
    order = sorted(range(len(items)), key=lambda number: -work_in(items[number]))
    with ThreadPoolExecutor(in_work, thread_name_prefix="multivisit-layer") as pool:
        # Threads log into the messages of the run that started them.
        futures = {number: pool.submit(copy_context().run, guarded, items[number]) for number in order}
        try:
            wait(futures.values(), return_when=FIRST_EXCEPTION)
        except BaseException:
            stop.set()
            raise
    errors = [error for future in futures.values() if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda one: isinstance(one, GivenUpError)):
        raise error
    return [futures[number].result() for number in range(len(items))]
