"""Tile compression: a product's images packed without loss, in the form that all FITS readers unpack.

Each tile is a few whole rows. Its bytes are sorted by their place in the number, the highest first, and
packed by gzip: the algorithm GZIP_2 of the FITS standard, version 4.0, section 10. Tiles are packed in
threads and written one after another, so that memory holds a few of them only.
"""

from __future__ import annotations

import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from multivisit.atomic import atomic_path
from multivisit.products.checksum import add_sums, sum_bytes
from multivisit.products.fits_stream import header_length, header_with_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from astropy.io import fits

__all__ = ["compress_images"]

_RECORD = 2880
_TILE_PIXELS = 1 << 17
_DESCRIPTOR = np.dtype([("length", ">i8"), ("place", ">i8")])
# Level 6 packs noise hardly better and takes three times as long.
_LEVEL = 1
_GZIP = 31
_STRUCTURE = (
    "XTENSION",
    "BITPIX",
    "NAXIS",
    "NAXIS1",
    "NAXIS2",
    "NAXIS3",
    "PCOUNT",
    "GCOUNT",
    "CHECKSUM",
    "DATASUM",
)


def compress_images(path: Path, threads: int = 1) -> None:
    """Compress the images of a FITS file in its place; its headers and tables stay as they are.

    Parameters
    ----------
    path : Path
        A FITS file with 32-bit images, as `multivisit.products.writer.LayerWriter` writes it.
    threads : int
        Threads that pack tiles. The result does not depend on it.

    Raises
    ------
    ProductError
        If the compressed file cannot be written; the file is left as it was.
    """
    from astropy.io import fits

    with (
        atomic_path(path) as temporary,
        fits.open(path, memmap=False, lazy_load_hdus=True) as hdus,
        path.open("rb") as source,
        temporary.open("w+b") as target,
    ):
        for hdu in hdus:
            info = hdu.fileinfo()
            if isinstance(hdu, fits.ImageHDU):
                source.seek(info["datLoc"])
                _write_compressed(source, hdu.header, target, threads)
            else:
                source.seek(info["hdrLoc"])
                _copy(source, target, info["datLoc"] + info["datSpan"] - info["hdrLoc"])


def _write_compressed(source: BinaryIO, header: fits.Header, target: BinaryIO, threads: int) -> None:
    """Write an image whose pixels begin at the source's position as a table of compressed tiles."""
    shape = [int(header[f"NAXIS{axis}"]) for axis in range(int(header["NAXIS"]), 0, -1)]
    rows = max(1, min(_TILE_PIXELS // shape[-1], shape[-2]))
    sizes = [
        min(rows, shape[-2] - first) * shape[-1] * 4
        for _ in range(int(np.prod(shape[:-2])))
        for first in range(0, shape[-2], rows)
    ]
    start = target.tell()
    table_start = start + header_length(_table_header(header, shape, rows, len(sizes), 0, 0))
    target.seek(table_start + len(sizes) * _DESCRIPTOR.itemsize)
    descriptors = np.zeros(len(sizes), dtype=_DESCRIPTOR)
    heap = _SummedBytes(target)
    for number, packed in enumerate(_in_order(_pack, (source.read(size) for size in sizes), threads)):
        descriptors[number] = len(packed), heap.length
        heap.write(packed)
    table = descriptors.tobytes()
    datasum = add_sums(sum_bytes(table), heap.finish())
    end = target.tell()
    padding = -(end - table_start) % _RECORD
    target.write(bytes(padding))
    longest = int(descriptors["length"].max())
    text = _table_header(header, shape, rows, len(sizes), heap.length, longest)
    target.seek(start)
    target.write(header_with_sums(text, datasum))
    target.write(table)
    target.seek(end + padding)


def _table_header(
    header: fits.Header, shape: list[int], rows: int, n_tiles: int, heap: int, longest: int
) -> str:
    """Cards of the table that holds an image's tiles; always the same number of them."""
    from astropy.io.fits import Card, Header

    sides = shape[::-1]
    floats = int(header["BITPIX"]) < 0
    tile = [sides[0], rows, *[1] * (len(sides) - 2)]
    cards = [
        ("XTENSION", "BINTABLE", "binary table of compressed tiles"),
        ("BITPIX", 8, "bytes"),
        ("NAXIS", 2, "rows of bytes"),
        ("NAXIS1", _DESCRIPTOR.itemsize, "bytes of a row"),
        ("NAXIS2", n_tiles, "number of tiles"),
        ("PCOUNT", heap, "bytes of the tiles"),
        ("GCOUNT", 1, "required"),
        ("TFIELDS", 1, "columns"),
        ("TTYPE1", "COMPRESSED_DATA", "compressed tiles"),
        ("TFORM1", f"1QB({longest})".ljust(20), "variable length, longest tile"),
        ("ZIMAGE", True, "this is a compressed image"),
        ("ZTENSION", "IMAGE", "the image's own XTENSION"),
        ("ZBITPIX", int(header["BITPIX"]), "the image's own BITPIX"),
        ("ZNAXIS", len(sides), "the image's own NAXIS"),
        *((f"ZNAXIS{axis}", side, "length of the image's axis") for axis, side in enumerate(sides, 1)),
        ("ZPCOUNT", 0, "the image's own PCOUNT"),
        ("ZGCOUNT", 1, "the image's own GCOUNT"),
        *((f"ZTILE{axis}", side, "length of a tile's axis") for axis, side in enumerate(tile, 1)),
        ("ZCMPTYPE", "GZIP_2", "lossless: bytes sorted, then gzip"),
        *([("ZQUANTIZ", "NONE", "floats are stored as they are")] if floats else []),
    ]
    own = [card for card in header.cards if card.keyword not in _STRUCTURE]
    text = Header([*(Card(*card) for card in cards), *own], copy=True)
    return str(text.tostring(sep="", endcard=False, padding=False))


def _pack(raw: bytes) -> bytes:
    """Sort the bytes of big-endian numbers by their place in them, and pack them."""
    sorted_bytes = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 4).T
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(sorted_bytes.tobytes()) + packer.flush()


def _in_order(work: Callable[[bytes], bytes], items: Iterator[bytes], threads: int) -> Iterator[bytes]:
    """Do some work on items, several at a time and not too many ahead, and give the results in order."""
    with ThreadPoolExecutor(threads, thread_name_prefix="multivisit-pack") as pool:
        pending = deque(pool.submit(work, item) for item in islice(items, 2 * threads))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(work, item) for item in islice(items, 1))


class _SummedBytes:
    """Writes bytes one after another and sums them as big-endian words."""

    def __init__(self, target: BinaryIO) -> None:
        self.length = 0
        self._target = target
        self._rest = b""
        self._sum = 0

    def write(self, content: bytes) -> None:
        """Write some bytes."""
        self._target.write(content)
        self.length += len(content)
        content = self._rest + content
        whole = len(content) - len(content) % 4
        self._sum, self._rest = add_sums(self._sum, sum_bytes(content[:whole])), content[whole:]

    def finish(self) -> int:
        """Give the sum, zeros added to fill the last word."""
        return add_sums(self._sum, sum_bytes(self._rest.ljust(-(-len(self._rest) // 4) * 4, b"\0")))


def _copy(source: BinaryIO, target: BinaryIO, n_bytes: int) -> None:
    """Copy bytes from one file to another."""
    while n_bytes > 0 and (block := source.read(min(n_bytes, 1 << 20))):
        target.write(block)
        n_bytes -= len(block)
