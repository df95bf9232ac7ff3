"""Layers side by side must not take more than the run may, nor wait for each other for ever."""

from __future__ import annotations

import threading

import pytest

from multivisit.run.memory_shares import MemoryShares
from multivisit.run.resources import process_memory

MIB = 1 << 20


def test_without_a_limit_nobody_waits() -> None:
    shares = MemoryShares(None, 3, 2)
    with shares.of_layer() as one, shares.of_layer() as other:
        assert one.ask(1 << 60, 1 << 61) is None
        assert other.ask(1 << 60, 1 << 61) is None
        assert one.left(0) is None


def test_layers_share_what_the_process_has_not_taken() -> None:
    memory = process_memory() + 1600 * MIB
    shares = MemoryShares(memory, 3, 2)
    with shares.of_layer() as one, shares.of_layer() as other:
        first = one.ask(100 * MIB, 10_000 * MIB)
        second = other.ask(100 * MIB, 10_000 * MIB)
        assert first is not None
        assert second is not None
        assert first == pytest.approx(second, rel=0.2)
        assert process_memory() + first + second < memory
        assert first + second > 0.7 * 1600 * MIB


def test_what_a_small_layer_has_no_use_for_is_left_to_others() -> None:
    shares = MemoryShares(process_memory() + 1600 * MIB, 2, 2)
    with shares.of_layer() as small, shares.of_layer() as large:
        assert small.ask(10 * MIB, 20 * MIB) == 20 * MIB
        granted = large.ask(100 * MIB, 10_000 * MIB)
        assert granted is not None
        assert granted > 1000 * MIB


def test_a_layer_that_needs_more_than_is_free_waits_until_another_has_ended() -> None:
    shares = MemoryShares(process_memory() + 1000 * MIB, 2, 2)
    asked, order = threading.Event(), []

    def second() -> None:
        with shares.of_layer() as share:
            asked.set()
            granted = share.ask(600 * MIB, 700 * MIB)
            order.append("second")
            assert granted is not None
            assert granted >= 600 * MIB

    with shares.of_layer() as first:
        first.ask(500 * MIB, 600 * MIB)
        thread = threading.Thread(target=second)
        thread.start()
        assert asked.wait(10)
        thread.join(0.2)
        assert thread.is_alive()
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_layer_alone_gets_what_there_is_even_if_it_is_too_little() -> None:
    shares = MemoryShares(process_memory() + 200 * MIB, 2, 2)
    with shares.of_layer() as share:
        granted = share.ask(900 * MIB, 1000 * MIB)
    assert granted is not None
    assert granted < 200 * MIB


def test_the_last_layer_learns_how_much_the_process_has_grown() -> None:
    memory = process_memory() + 1000 * MIB
    shares = MemoryShares(memory)
    with shares.of_layer() as share:
        granted = share.ask(100 * MIB, 10_000 * MIB)
        grown = bytearray(400 * MIB)
        left = share.left(0)
        assert granted is not None
        assert left is not None
        assert left < granted - 250 * MIB
        assert share.left(len(grown)) == pytest.approx(granted, rel=0.15)
