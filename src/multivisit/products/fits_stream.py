"""FITS written as a stream: headers first, then the pixels, some rows at a time in any order.

A plane of a sky cell holds 1.93 GB. It is turned to FITS's byte order, summed for DATASUM and written in
pieces of a few megabytes, so that writing takes no copy of it, nor the whole of it at any time. Rows of zeros
are not written at all: the file system keeps no blocks for them.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.combine import _pixels
from multivisit.products.checksum import EMPTY_CHECKSUM, add_sums, checksum_text, sum_bytes
from multivisit.products.direct_file import DirectFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.io import fits
    from numpy.typing import NDArray

__all__ = [
    "LARGEST_PIECE",
    "FitsStream",
    "FitsUnit",
    "header_length",
    "header_with_sums",
]

_RECORD = 2880
_CARD = 80
_COMMENTARY = ("", "COMMENT", "HISTORY")

LARGEST_PIECE = 4 << 20
"""Bytes that are turned and written at a time."""

_TYPES = {-32: ">f4", 32: ">i4"}


@dataclass(frozen=True)
class FitsUnit:
    """One header with its data, as it stands in a file."""

    header: fits.Header | str
    """Complete header, the keywords of the data's structure included; CHECKSUM and DATASUM are added. Or, of
    a table, its cards as text without END."""

    data: NDArray[Any] | None = None
    """Pixels of 4 bytes each, any byte order, last axis the fastest; or the rows of a table as bytes (uint8,
    two axes)."""


@dataclass
class _Image:
    """Where an image stands in the file, and its sum so far."""

    header_start: int
    data_start: int
    shape: tuple[int, ...]
    bits: int
    datasum: int = 0

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * abs(self.bits) // 8 if self.shape else 0

    @property
    def end(self) -> int:
        return self.data_start + self.n_bytes + -self.n_bytes % _RECORD


class FitsStream:
    """A FITS file whose images are written some rows at a time, in any order and from any thread.

    Parameters
    ----------
    file : DirectFile
        Open, empty, with room for `LARGEST_PIECE` bytes.
    headers : sequence of Header
        Headers of the images in the order of the file; one with NAXIS = 0 has no data. Their values may
        change until `finish`, the shapes of the images may not.
    """

    def __init__(self, file: DirectFile, headers: Sequence[fits.Header]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._images = _layout(headers, [_header_text(header) for header in headers])
        self._extend(self._images[-1].end)

    def write_rows(self, number: int, rows: NDArray[Any], first_row: int = 0, plane: int = 0) -> None:
        """Write some whole rows of an image; each row is to be written once.

        Parameters
        ----------
        number : int
            Number of the image in the order of the file, from 0.
        rows : ndarray
            Pixels of 4 bytes each, any byte order, shape (rows, columns).
        first_row : int
            Number of the first row in the image, from 0.
        plane : int
            Number of the plane where the image is a cube.
        """
        if rows.dtype.itemsize != 4:
            raise TypeError(f"pixels of type {rows.dtype} cannot be written: 4 bytes each are expected")
        image = self._images[number]
        row_bytes = rows.shape[-1] * 4
        step = max(1, LARGEST_PIECE // max(1, row_bytes))
        for first in range(0, len(rows), step):
            # A big-endian word has the value that the same pixel has in the machine's own order.
            native = np.ascontiguousarray(rows[first : first + step], dtype=rows.dtype.newbyteorder("="))
            room = self._file.room(self._offset(image, plane, first_row + first), native.nbytes)
            total = _pixels.big_endian(native, native.size, room.content)
            if total == 0:
                # Nothing but zeros, which is what the file holds where nothing was written.
                self._file.drop(room)
                continue
            self._file.put(room)
            with self._lock:
                image.datasum = add_sums(image.datasum, total)

    def read_rows(self, number: int, first_row: int, last_row: int, plane: int = 0) -> NDArray[Any]:
        """Read rows of an image back.

        Parameters
        ----------
        number : int
            Number of the image.
        first_row, last_row : int
            Rows, the last one excluded; those beyond the image are left out.
        plane : int
            Number of the plane where the image is a cube.

        Returns
        -------
        ndarray
            Pixels in the machine's own byte order.
        """
        image = self._images[number]
        rows, columns = image.shape[-2:]
        last_row = min(last_row, rows)
        content = self._file.read(self._offset(image, plane, first_row), (last_row - first_row) * columns * 4)
        pixels = np.frombuffer(content, dtype=_TYPES[image.bits]).reshape(-1, columns)
        return pixels.astype(pixels.dtype.newbyteorder("="))

    def finish(self, headers: Sequence[fits.Header], tables: Sequence[FitsUnit] = ()) -> None:
        """Write the headers as they are in the end, and the tables behind the images.

        Where a header has become longer or shorter than its place, the data behind it are moved.

        Parameters
        ----------
        headers : sequence of Header
            Headers of the same images, complete but for CHECKSUM and DATASUM.
        tables : sequence of FitsUnit
            Tables.
        """
        self._file.flush()
        texts = [_header_text(header) for header in headers]
        final = _layout(headers, texts)
        self._extend(max(self._images[-1].end, final[-1].end))
        pairs = list(zip(self._images, final, strict=True))
        # Those that move up from the last to the first, then those that move down: none is overwritten.
        for old, new in reversed(pairs):
            if new.data_start > old.data_start:
                self._move(old.data_start, new.data_start, old.n_bytes)
        for old, new in pairs:
            if new.data_start < old.data_start:
                self._move(old.data_start, new.data_start, old.n_bytes)
        for (old, new), text in zip(pairs, texts, strict=True):
            self._file.write(new.header_start, header_with_sums(text, old.datasum))
            self._file.write(new.data_start + new.n_bytes, bytes(-new.n_bytes % _RECORD))
        end = final[-1].end
        for table in tables:
            raw = b"" if table.data is None else np.ascontiguousarray(table.data).tobytes()
            raw += bytes(-len(raw) % _RECORD)
            unit = header_with_sums(_header_text(table.header), sum_bytes(raw)) + raw
            self._file.write(end, unit)
            end += len(unit)
        self._file.resize(end)

    def _offset(self, image: _Image, plane: int, row: int) -> int:
        rows, columns = image.shape[-2:]
        return image.data_start + (plane * rows + row) * columns * 4

    def _extend(self, size: int) -> None:
        """Make sure that the file has a size, without writing what lies in between."""
        if self._file.size < size:
            self._file.resize(size)

    def _move(self, source: int, target: int, n_bytes: int) -> None:
        """Move bytes up or down, a block at a time, beginning at the end that is not overwritten."""
        blocks = range(0, n_bytes, LARGEST_PIECE)
        for first in blocks if target < source else reversed(blocks):
            block = self._file.read(source + first, min(LARGEST_PIECE, n_bytes - first))
            self._file.write(target + first, block)


def _layout(headers: Sequence[fits.Header], texts: Sequence[str]) -> list[_Image]:
    """Find the places of the images in the file."""
    images = []
    start = 0
    for header, header_text in zip(headers, texts, strict=True):
        shape = tuple(int(header[f"NAXIS{axis}"]) for axis in range(int(header["NAXIS"]), 0, -1))
        data_start = start + header_length(header_text)
        images.append(_Image(start, data_start, shape, int(header["BITPIX"])))
        start = images[-1].end
    return images


def _header_text(header: fits.Header | str) -> str:
    """The cards of a header without its END."""
    return header if isinstance(header, str) else str(header.tostring(sep="", endcard=False, padding=False))


def header_length(text: str) -> int:
    """Give the length of a header in the file: with CHECKSUM, DATASUM, END and padding.

    Parameters
    ----------
    text : str
        Its cards without these.

    Returns
    -------
    int
        Bytes.
    """
    n_bytes = len(text) + 3 * _CARD
    return n_bytes + -n_bytes % _RECORD


def header_with_sums(text: str, datasum: int) -> bytes:
    """Give a header as it stands in the file: with CHECKSUM, DATASUM (before its closing comments) and END.

    Parameters
    ----------
    text : str
        Its cards without these.
    datasum : int
        Sum of its data.

    Returns
    -------
    bytes
        The header with its padding.
    """
    from astropy.io.fits import Card

    end = len(text)
    while text[end - _CARD : end - _CARD + 8].rstrip() in _COMMENTARY and end > 0:
        end -= _CARD
    before = text[:end] + str(Card("CHECKSUM", EMPTY_CHECKSUM, "checksum of this header and its data"))
    after = (
        str(Card("DATASUM", str(datasum), "checksum of the data alone")) + text[end:] + f"{'END':<{_CARD}}"
    )
    whole = (before + after).ljust(header_length(text)).encode("ascii")
    total = add_sums(datasum, sum_bytes(whole))
    place = whole.index(EMPTY_CHECKSUM.encode(), end)
    return whole[:place] + checksum_text(total).encode() + whole[place + len(EMPTY_CHECKSUM) :]
