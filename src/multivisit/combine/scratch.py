"""Arrays set aside in a file that has no name and is gone when it is closed, or when the process ends."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.errors import CombineError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

__all__ = ["ScratchFile", "ScratchImage"]


@dataclass(frozen=True)
class _Place:
    """Where an array lies in the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class ScratchFile:
    """A temporary file for arrays. Threads may use it at the same time.

    Parameters
    ----------
    folder : path, optional
        Folder on whose disk the arrays are kept; by default the system's one for temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._error(error) from error
        self._end = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, array: NDArray[Any]) -> _Place:
        """Set an array aside.

        Parameters
        ----------
        array : ndarray
            The array.

        Returns
        -------
        object
            What `get` gives it back for.

        Raises
        ------
        CombineError
            If the disk is full or fails.
        """
        array = np.ascontiguousarray(array)
        place = _Place(self.reserve(array.nbytes), array.shape, array.dtype)
        self.write(place.offset, array)
        return place

    def get(self, place: _Place) -> NDArray[Any]:
        """Give back an array that was set aside.

        Parameters
        ----------
        place : object
            What `put` gave.

        Returns
        -------
        ndarray
            A new array.
        """
        array = np.empty(place.shape, dtype=place.dtype)
        self.read(place.offset, array)
        return array

    def reserve(self, n_bytes: int) -> int:
        """Set room aside; bytes that are never written read as 0 and take no space on most disks."""
        with self._lock:
            offset = self._end
            self._end += n_bytes
        return offset

    def write(self, offset: int, array: NDArray[Any]) -> None:
        """Write a contiguous array at an offset."""
        view = _bytes_of(array)
        try:
            while view:
                n_written = os.pwrite(self._file.fileno(), view, offset)
                view, offset = view[n_written:], offset + n_written
        except OSError as error:
            raise self._error(error) from error

    def read(self, offset: int, array: NDArray[Any]) -> None:
        """Fill a contiguous array from an offset on; what lies beyond the end of the file stays 0."""
        view = _bytes_of(array)
        try:
            while view:
                n_read = os.preadv(self._file.fileno(), [view], offset)
                if not n_read:
                    view[:] = bytes(len(view))
                    return
                view, offset = view[n_read:], offset + n_read
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> CombineError:
        return CombineError(
            f"{self._folder}: the temporary file for outlier rejection failed: {error.strerror}. It takes "
            "8 bytes for each pixel of all exposures together; make room, or choose another output folder."
        )


class ScratchImage:
    """A float32 image in a `ScratchFile`, written and read in parts.

    Parameters
    ----------
    file : ScratchFile
        The file.
    shape : tuple of int
        Rows and columns.
    """

    def __init__(self, file: ScratchFile, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._file = file
        self._offset = file.reserve(shape[0] * shape[1] * 4)

    def write_rows(self, first_row: int, rows: NDArray[np.float32]) -> None:
        """Write some whole rows.

        Parameters
        ----------
        first_row : int
            Number of the first one.
        rows : ndarray of float32
            The rows, shape (n, nx).
        """
        array = np.ascontiguousarray(rows, dtype=np.float32)
        self._file.write(self._offset + first_row * self.shape[1] * 4, array)

    def read_rows(self, first_row: int, last_row: int) -> NDArray[np.float32]:
        """Read some whole rows, the last one excluded."""
        return self.read(slice(first_row, last_row), slice(0, self.shape[1]))

    def read(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Read a part.

        Parameters
        ----------
        rows, columns : slice
            The part, within the image.

        Returns
        -------
        ndarray of float32
            A new array.
        """
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        if 2 * shape[1] > self.shape[1]:
            # Whole rows in one go are quicker than row after row.
            whole = np.empty((shape[0], self.shape[1]), dtype=np.float32)
            self._file.read(self._offset + rows.start * self.shape[1] * 4, whole)
            return np.ascontiguousarray(whole[:, columns])
        part = np.empty(shape, dtype=np.float32)
        for number, row in enumerate(range(rows.start, rows.stop)):
            self._file.read(self._offset + (row * self.shape[1] + columns.start) * 4, part[number])
        return part


def _bytes_of(array: NDArray[Any]) -> memoryview:
    """Give the memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data
