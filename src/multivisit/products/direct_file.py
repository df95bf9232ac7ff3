"""Writing large files past the system's file cache.

What is written once and not read again soon only drives other things out of the cache, and the first use of
a page of it can cost more than writing it. So whole pages go straight to the disk (``O_DIRECT``) where the
system can do that, from memory that is used again and again; the ragged ends of each piece, and everything
where the system cannot, are written as usual. A thread writes while the others go on.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["DirectFile", "Room"]

_PAGE = 4096
# Pieces that wait to be written or are being filled.
_ROOMS = 4
# What file systems answer that cannot write past the cache, or not from this place.
_REFUSALS = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP)


@dataclass(eq=False)
class Room:
    """Memory for one piece of a file."""

    memory: mmap.mmap
    """Whole pages."""

    offset: int = 0
    """Where in the file the piece begins."""

    length: int = 0
    """Its length in bytes."""

    @property
    def content(self) -> NDArray[np.uint8]:
        """The piece, to be filled: its place in the pages is that of the file."""
        return np.frombuffer(self.memory, dtype=np.uint8, count=self.length, offset=self.offset % _PAGE)


class DirectFile:
    """A file that is written in large pieces, in any order and from any thread; a context manager.

    Parameters
    ----------
    path : Path
        An existing file.
    largest : int
        Bytes of the largest piece.
    """

    def __init__(self, path: Path, largest: int) -> None:
        self._path = path
        self._room_bytes = -(-largest // _PAGE) * _PAGE + _PAGE
        self._free: queue.SimpleQueue[Room | None] = queue.SimpleQueue()
        self._filled: queue.SimpleQueue[Room | None] = queue.SimpleQueue()
        self._n_rooms = 0
        self._lock = threading.Lock()
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None
        self._pending = 0
        self._idle = threading.Condition()

    def __enter__(self) -> Self:
        """Open the file."""
        self._plain = os.open(self._path, os.O_RDWR)
        self._direct: int | None = None
        with contextlib.suppress(OSError):
            if hasattr(os, "O_DIRECT"):
                self._direct = os.open(self._path, os.O_WRONLY | os.O_DIRECT)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what is left, unless something has failed, and close the file."""
        try:
            if kind is None:
                self.flush()
        finally:
            if self._thread is not None:
                self._filled.put(None)
                self._thread.join()
            os.close(self._plain)
            if self._direct is not None:
                os.close(self._direct)

    def room(self, offset: int, length: int) -> Room:
        """Give memory for a piece; waits until there is some.

        Parameters
        ----------
        offset : int
            Where in the file it begins.
        length : int
            Its length in bytes, at most the largest.

        Returns
        -------
        Room
            To be filled, and then given to `put` or `drop`.

        Raises
        ------
        OSError
            If something could not be written before.
        """
        if length > self._room_bytes - _PAGE:
            raise ValueError(f"a piece of {length} bytes is larger than {self._room_bytes - _PAGE}")
        room = self._any_room()
        self._raise_error()
        room.offset, room.length = offset, length
        return room

    def put(self, room: Room) -> None:
        """Have a filled piece written."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="multivisit-write", daemon=True)
                self._thread.start()
        with self._idle:
            self._pending += 1
        self._filled.put(room)

    def drop(self, room: Room) -> None:
        """Take a piece back that need not be written."""
        self._free.put(room)

    def flush(self) -> None:
        """Wait until all pieces are written.

        Raises
        ------
        OSError
            If one could not be.
        """
        with self._idle:
            while self._pending:
                self._idle.wait()
        self._raise_error()

    def read(self, offset: int, length: int) -> bytes:
        """Read bytes back, up to the end of the file; pieces under way are written first."""
        self.flush()
        parts: list[bytes] = []
        while length > 0 and (part := os.pread(self._plain, length, offset)):
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)

    def write(self, offset: int, content: bytes | memoryview) -> None:
        """Write some bytes as usual, at once."""
        left = memoryview(content)
        while left:
            n_written = os.pwrite(self._plain, left, offset)
            offset, left = offset + n_written, left[n_written:]

    def resize(self, size: int) -> None:
        """Make the file longer, without writing what lies in between, or shorter."""
        os.ftruncate(self._plain, size)

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return os.fstat(self._plain).st_size

    def _any_room(self) -> Room:
        with self._lock:
            if self._free.empty() and self._n_rooms < _ROOMS:
                self._n_rooms += 1
                return Room(mmap.mmap(-1, self._room_bytes))
        room = self._free.get()
        while room is None:
            room = self._free.get()
        return room

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _write_all(self) -> None:
        """Write pieces as they come."""
        while (room := self._filled.get()) is not None:
            try:
                if self._error is None:
                    self._write_room(room)
            except OSError as error:
                self._error = error
            finally:
                self._free.put(room)
                with self._idle:
                    self._pending -= 1
                    self._idle.notify_all()

    def _write_room(self, room: Room) -> None:
        """Write whole pages past the cache, the ends as usual."""
        pages = memoryview(room.memory)
        base = room.offset - room.offset % _PAGE
        first, last = -(-room.offset // _PAGE) * _PAGE, (room.offset + room.length) // _PAGE * _PAGE
        if self._direct is None or last <= first:
            first = last = room.offset + room.length
        self.write(room.offset, pages[room.offset - base : min(first, room.offset + room.length) - base])
        if last > first:
            self._write_pages(first, pages[first - base : last - base])
            self.write(last, pages[last - base : room.offset + room.length - base])

    def _write_pages(self, offset: int, pages: memoryview[Any]) -> None:
        """Write whole pages past the cache; from now on as usual if the file system refuses."""
        while pages and self._direct is not None:
            try:
                n_written = os.pwrite(self._direct, pages, offset)
            except OSError as error:
                if error.errno not in _REFUSALS:
                    raise
                os.close(self._direct)
                self._direct = None
                break
            offset, pages = offset + n_written, pages[n_written:]
            if n_written % _PAGE:
                break
        self.write(offset, pages)
