"""Pieces written past the file cache: every byte in its place, whatever the alignment and the threads."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from multivisit.products.direct_file import DirectFile

if TYPE_CHECKING:
    from pathlib import Path

PIECES = [(0, 100), (100, 4000), (4100, 20_000), (24_100, 8193), (32_293, 475), (32_768, 12_288), (45_056, 1)]


def content(offset: int, length: int) -> bytes:
    return (np.arange(offset, offset + length) % 251).astype(np.uint8).tobytes()


def write_pieces(file: DirectFile, pieces: list[tuple[int, int]]) -> None:
    for offset, length in pieces:
        room = file.room(offset, length)
        room.content[...] = np.frombuffer(content(offset, length), dtype=np.uint8)
        file.put(room)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "large.fits"
    path.touch()
    return path


@pytest.mark.parametrize("refused", [False, True], ids=["direct", "refused"])
def test_pieces_of_any_place_and_length_are_written(
    path: Path, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write = os.pwrite

    def refuse(descriptor: int, pages: Any, offset: int) -> int:
        if descriptor == file._direct:
            raise OSError(errno.EINVAL, "not here")
        return really_write(descriptor, pages, offset)

    if refused:
        monkeypatch.setattr(os, "pwrite", refuse)
    with DirectFile(path, 20_000) as file:
        write_pieces(file, PIECES[::-1])
        assert file.read(90, 30_000) == content(90, 30_000)
        assert file.size == 45_057
    assert path.read_bytes() == content(0, 45_057)


def test_threads_may_write_at_the_same_time(path: Path) -> None:
    pieces = [(offset, 3_000) for offset in range(0, 300_000, 3_000)]
    with DirectFile(path, 3_000) as file:
        threads = [threading.Thread(target=write_pieces, args=(file, pieces[k::4])) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert path.read_bytes() == content(0, 300_000)


def test_pieces_that_are_dropped_leave_a_hole(path: Path) -> None:
    with DirectFile(path, 50_000) as file:
        file.resize(200_000)
        write_pieces(file, [(0, 100)])
        file.drop(file.room(100, 50_000))
    assert path.read_bytes() == content(0, 100) + bytes(199_900)


def test_an_error_of_the_disk_reaches_who_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, pages: Any, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"), DirectFile(path, 20_000) as file:
        write_pieces(file, PIECES[:2])
    with pytest.raises(OSError, match="No space left"), DirectFile(path, 20_000) as file:
        write_pieces(file, PIECES * 5)


def test_pieces_that_are_too_long_are_refused(path: Path) -> None:
    with DirectFile(path, 10) as file, pytest.raises(ValueError, match="larger than"):
        file.room(0, 1 << 20)
