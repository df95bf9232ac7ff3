"""Images that can be read from a file some rows at a time, as they stand there."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from multivisit.errors import ExposureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    ReadRows = Callable[[int, int, NDArray[Any]], None]

__all__ = ["FileState", "StoredImage"]


@dataclass(frozen=True)
class FileState:
    """What tells that a file has not changed."""

    size: int
    """Its length in bytes."""

    changed: int
    """When its content was last changed, in nanoseconds."""

    @classmethod
    def of(cls, descriptor: int) -> FileState:
        """Look at an open file.

        Parameters
        ----------
        descriptor : int
            The file.
        """
        status = os.fstat(descriptor)
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class StoredImage:
    """An image of two dimensions whose pixels stand in a plain file, big-endian and without scaling."""

    path: Path
    """The file."""

    start: int
    """Where in the file the pixels begin."""

    shape: tuple[int, int]
    """Rows and columns."""

    bits: int
    """BITPIX: negative for floating-point pixels."""

    state: FileState = field(repr=False)
    """State of the file when its headers were read."""

    @contextmanager
    def descriptor(self) -> Iterator[int | None]:
        """Open the file for reading.

        Yields
        ------
        int or None
            The open file. None if it has changed since its headers were read.

        Raises
        ------
        OSError
            If the file cannot be opened.
        """
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            yield descriptor if FileState.of(descriptor) == self.state else None
        finally:
            os.close(descriptor)

    @contextmanager
    def opened(self) -> Iterator[ReadRows | None]:
        """Open the file for reading rows.

        Yields
        ------
        callable or None
            Reads the rows from a first to a last one, the last excluded, into an array of bytes of at least
            their length. None if the file has changed since its headers were read.

        Raises
        ------
        OSError
            If the file cannot be opened.
        ExposureError
            Out of the callable, if the file ends too early.
        """
        row_bytes = self.shape[1] * abs(self.bits) // 8
        with self.descriptor() as descriptor:
            if descriptor is None:
                yield None
                return
            file = descriptor

            def read(first_row: int, last_row: int, out: NDArray[Any]) -> None:
                place, end = self.start + first_row * row_bytes, self.start + last_row * row_bytes
                room = memoryview(out.data).cast("B")
                while place < end:
                    n_read = os.preadv(file, [room[: end - place]], place)
                    if n_read == 0:
                        raise ExposureError(f"{self.path}: has become shorter while it was read.")
                    place, room = place + n_read, room[n_read:]

            yield read
