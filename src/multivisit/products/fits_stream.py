"""FITS written as a stream: whole headers first, then the pixels a block of rows at a time.

A plane of a sky cell holds 1.93 GB. It is turned to FITS's byte order, summed for DATASUM and written in
blocks of a few megabytes, so that writing takes no second copy of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from multivisit.products.checksum import EMPTY_CHECKSUM, add_sums, checksum_text, sum_bytes, sum_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astropy.io import fits
    from numpy.typing import NDArray

__all__ = ["FitsUnit", "write_units"]

_RECORD = 2880
_BLOCK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class FitsUnit:
    """One header with its data, as it stands in a file."""

    header: fits.Header
    """Complete header, the keywords of the data's structure included; CHECKSUM and DATASUM are added."""

    data: NDArray[Any] | None = None
    """Pixels of 4 bytes each, any byte order, last axis the fastest; or the rows of a table as bytes (uint8,
    two axes)."""


def write_units(stream: BinaryIO, units: Sequence[FitsUnit]) -> None:
    """Write header-data units one after another, each with CHECKSUM and DATASUM.

    Parameters
    ----------
    stream : binary file
        Open for writing, seekable, at its start.
    units : sequence of FitsUnit
        The units in order; the headers are left as they are.
    """
    for unit in units:
        _write_unit(stream, unit)


def _write_unit(stream: BinaryIO, unit: FitsUnit) -> None:
    """Write one unit; its header is written again at the end, when the data's sum is known."""
    header = unit.header.copy()
    header.set("CHECKSUM", EMPTY_CHECKSUM, "checksum of this header and its data")
    header.set("DATASUM", "0", "checksum of the data alone")
    start = stream.tell()
    stream.write(_header_bytes(header))
    datasum = 0 if unit.data is None else _write_data(stream, unit.data)
    header.set("DATASUM", str(datasum))
    header.set("CHECKSUM", checksum_text(add_sums(datasum, sum_bytes(_header_bytes(header)))))
    end = stream.tell()
    stream.seek(start)
    stream.write(_header_bytes(header))
    stream.seek(end, os.SEEK_SET)


def _header_bytes(header: fits.Header) -> bytes:
    """The header as it stands in the file, END card and padding included."""
    return str(header.tostring(sep="", endcard=True, padding=True)).encode("ascii")


def _write_data(stream: BinaryIO, data: NDArray[Any]) -> int:
    """Write data and its padding; return its sum."""
    if data.dtype == np.uint8:
        # Tables are small: their bytes, padded at once.
        raw = np.ascontiguousarray(data).tobytes()
        raw += bytes(-len(raw) % _RECORD)
        stream.write(raw)
        return sum_bytes(raw)
    if data.dtype.itemsize != 4:
        raise TypeError(f"pixels of type {data.dtype} cannot be written: 4 bytes each are expected")
    total = 0
    for block in _row_blocks(data):
        # A big-endian word has the value that the same pixel has in the machine's own order.
        native = np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("="))
        total = add_sums(total, sum_words(native.view(np.uint32)))
        stream.write(native.astype(native.dtype.newbyteorder(">"), copy=False).data)
    stream.write(bytes(-data.nbytes % _RECORD))
    return total


def _row_blocks(data: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cut an image or cube into blocks of whole rows, in the order of the file."""
    if data.ndim > 2:
        for plane in data:
            yield from _row_blocks(plane)
        return
    rows = max(1, _BLOCK_BYTES // max(1, data.shape[-1] * 4))
    for first in range(0, data.shape[0], rows):
        yield data[first : first + rows]
