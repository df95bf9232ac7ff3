"""Memory that goes from one plane to the next."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from multivisit.combine.planes import empty_plane, free_plane_bytes, release_planes

if TYPE_CHECKING:
    from collections.abc import Iterator

SHAPE = (1024, 1024)


@pytest.fixture(autouse=True)
def no_planes() -> Iterator[None]:
    gc.collect()
    release_planes()
    yield
    release_planes()


def address(plane: np.ndarray) -> int:
    return int(plane.__array_interface__["data"][0])


@pytest.mark.parametrize("dtype", [np.float32, np.bool_, np.float64])
@pytest.mark.parametrize("shape", [(0, 5), (3, 4), SHAPE, (5 << 20,)])
def test_planes_are_like_those_of_numpy(shape: tuple[int, ...], dtype: type) -> None:
    plane, expected = empty_plane(shape, dtype), np.empty(shape, dtype)
    assert (plane.shape, plane.dtype, plane.strides) == (expected.shape, expected.dtype, expected.strides)
    assert plane.flags.writeable
    plane[...] = 1
    assert np.count_nonzero(plane) == plane.size


def test_memory_is_used_again_when_no_view_of_it_is_left() -> None:
    plane = empty_plane(SHAPE, np.float32)
    first = address(plane)
    row = plane[7, 5:9]
    del plane
    assert free_plane_bytes() == 0
    other = empty_plane(SHAPE, np.float32)
    assert address(other) != first
    del row
    assert free_plane_bytes() == 4 << 20
    # A little smaller will do, another type will do, much smaller or larger will not.
    again = empty_plane((1000, 1024), np.int32)
    assert address(again) == first
    assert free_plane_bytes() == 0


def test_pieces_that_do_not_fit_make_room_for_those_that_do() -> None:
    planes = [empty_plane(SHAPE, np.float32) for _ in range(3)]
    planes.clear()
    assert free_plane_bytes() == 12 << 20
    large = empty_plane((2048, 1024), np.float32)
    assert free_plane_bytes() == 4 << 20
    del large
    release_planes()
    assert free_plane_bytes() == 0


def test_threads_never_share_a_plane() -> None:
    start = threading.Barrier(4)

    def work(number: int) -> bool:
        start.wait()
        for _ in range(50):
            plane = empty_plane((1 << 20,), np.uint8)
            plane[:] = number
            if np.any(plane != number):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    # A thread has the next plane before it lets go of the one before.
    assert free_plane_bytes() <= 8 << 20
