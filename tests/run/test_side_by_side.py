"""Layers side by side: the order of results, errors and interruptions."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from multivisit.run.side_by_side import GivenUpError, layers_in_work, make_side_by_side, threads_for


def item(work: int) -> Any:
    grid = SimpleNamespace(shape=(1, work))
    return SimpleNamespace(grid=grid, reason_left_alone="", layer=SimpleNamespace(members=()))


@pytest.mark.parametrize(
    ("n_layers", "threads", "expected"), [(7, 1, 1), (1, 8, 1), (7, 2, 2), (7, 8, 4), (0, 4, 1), (3, 16, 3)]
)
def test_two_layers_or_more_where_there_are_threads(n_layers: int, threads: int, expected: int) -> None:
    assert layers_in_work(n_layers, threads) == expected


@pytest.mark.parametrize(
    ("work", "work_left", "threads", "expected"),
    [(33, 100, 2, 1), (60, 100, 2, 2), (1, 1, 8, 8), (33, 100, 8, 3), (0, 0, 4, 1), (1, 100, 8, 1)],
)
def test_a_layer_that_would_be_the_last_to_end_gets_more_threads(
    work: int, work_left: int, threads: int, expected: int
) -> None:
    assert threads_for(work, work_left, threads) == expected


@pytest.mark.parametrize("threads", [1, 2, 6])
def test_results_come_in_the_order_of_the_layers(threads: int) -> None:
    begun: list[int] = []

    def make(planned: Any, own_threads: int, stop: Any) -> int:
        assert 1 <= own_threads <= threads
        stop.check()
        begun.append(planned.grid.shape[1])
        return int(planned.grid.shape[1])

    assert make_side_by_side(make, [item(work) for work in (3, 9, 1, 5)], threads) == [3, 9, 1, 5]
    if threads > 1:
        assert begun[0] == 9


def test_layers_are_really_in_work_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=10)

    def make(planned: Any, threads: int, stop: Any) -> int:
        return together.wait()

    assert sorted(make_side_by_side(make, [item(1), item(1)], 2)) == [0, 1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, SystemExit])
def test_what_no_layer_turns_into_a_result_stops_the_others(error: type[BaseException]) -> None:
    ended: list[str] = []
    running = threading.Event()

    def make(planned: Any, threads: int, stop: Any) -> None:
        if planned.grid.shape[1] == 3:
            assert running.wait(10)
            raise error
        if planned.grid.shape[1] == 1:
            ended.append("never begun")
        running.set()
        deadline = time.monotonic() + 10
        try:
            while time.monotonic() < deadline:
                stop.check()
                time.sleep(0.005)
        except GivenUpError:
            ended.append("given up")
            raise

    with pytest.raises(error):
        make_side_by_side(make, [item(3), item(2), item(1)], 2)
    assert ended == ["given up"]
