"""Read the headers and images of a FITS file, plain or gzipped, and say clearly what is wrong with a bad one.

Only what Hubble exposures hold is read: a primary header and image extensions (other extensions are
stepped over). Nothing is kept open, no warnings are given, no global state is touched, so any number of
threads may read at once.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import stat
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from multivisit.errors import ExposureError, MissingFileError
from multivisit.exposures.headers import found, header_of_cards, number, text, whole_number
from multivisit.exposures.stored_image import FileState, StoredImage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from astropy.io import fits
    from numpy.typing import NDArray

__all__ = [
    "LARGEST_SIDE",
    "ImageExtension",
    "file_is_there",
    "image_problem",
    "read_extensions",
    "read_image",
]

LARGEST_SIDE = 20000
"""Rows or columns that no image has more of: Hubble's largest chips have 4096."""

_BLOCK = 2880
_CARD = 80
_CHUNK = 1 << 20
_KEYWORDS_WITHOUT_VALUE = ("", "COMMENT", "HISTORY", "CONTINUE", "END")
_CARD_WITH_VALUE = re.compile(r"[A-Z0-9_-]{1,8} *= ")
_GZIP_MAGIC = b"\x1f\x8b"
_NOT_GZIP = "Not a gzipped file"
_DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


@dataclass(frozen=True)
class ImageExtension:
    """One header-data unit of a FITS file, without its data."""

    index: int
    """Place in the file: 0 is the primary header."""

    name: str
    """EXTNAME in upper case; ``PRIMARY`` for the first, empty where there is none."""

    version: int | None
    """EXTVER, or None where there is none."""

    header: fits.Header = field(compare=False, repr=False)
    """The complete header."""

    shape: tuple[int, ...]
    """Shape of the image in numpy order; with NAXIS = 0 and NPIX1, NPIX2 the shape of the constant image."""

    data_bytes: int
    """Length of the data in the file, without padding; 0 for a constant image."""

    image: NDArray[Any] | None = field(default=None, compare=False, repr=False)
    """The image itself, where it was asked for."""

    stored: StoredImage | None = field(default=None, compare=False, repr=False)
    """Where its pixels stand in the file; None where they cannot be taken as they are (gzip, BSCALE...)."""

    @property
    def label(self) -> str:
        """The extension's name for messages, for example ``[SCI,1]``."""
        if self.index == 0:
            return "[PRIMARY]"
        return f"[{self.name or self.index}{'' if self.version is None else f',{self.version}'}]"


def file_is_there(path: Path) -> bool:
    """Say whether `path` is a file that can be seen (False also when its folder may not be searched)."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_extensions(path: Path, images_of: Collection[str] = ()) -> tuple[ImageExtension, ...]:
    """Read all headers of a FITS file and check that the file holds all the data they promise.

    Parameters
    ----------
    path : Path
        A FITS file, plain or gzipped (recognised by its first bytes, not by its name).
    images_of : collection of str
        Names of extensions whose images are read too.

    Returns
    -------
    tuple of ImageExtension
        All header-data units in order, the primary one first.

    Raises
    ------
    MissingFileError
        If the file is not there, is a folder, or may not be read.
    ExposureError
        If the file is empty, is no FITS file, or ends too early, if a header does not fit the data behind it,
        or if an image that is asked for is none.
    """
    extensions = []
    with _open(path) as stream:
        for extension in _walk(stream, path):
            extension = replace(extension, stored=_stored(stream, path, extension))
            if extension.name in images_of:
                start = stream.tell()
                image = _image(stream, path, extension)
                _skip(stream, path, extension, stream.tell() - start)
                extensions.append(replace(extension, image=image))
            else:
                _skip(stream, path, extension)
                extensions.append(extension)
        # Reading on to the end makes gzip verify its checksum.
        while isinstance(stream, gzip.GzipFile) and _read(stream, _CHUNK, path):
            pass
    return tuple(extensions)


def read_image(path: Path, name: str, version: int) -> NDArray[Any] | None:
    """Read the image of one extension.

    Parameters
    ----------
    path : Path
        A FITS file, plain or gzipped.
    name, version : str, int
        EXTNAME and EXTVER. Where extensions of this name carry no EXTVER they are counted from 1.

    Returns
    -------
    ndarray or None
        Array (ny, nx) in native byte order with BSCALE and BZERO applied; a constant image (NAXIS = 0 with
        NPIX1, NPIX2, PIXVALUE) is filled. None if there is no such extension or nothing in it.

    Raises
    ------
    MissingFileError, ExposureError
        As `read_extensions`; also for a data type or dimension that is no image.
    """
    with _open(path) as stream:
        count = 0
        for extension in _walk(stream, path):
            if extension.index > 0 and extension.name == name:
                count += 1
                if (count if extension.version is None else extension.version) == version:
                    return _image(stream, path, extension) if extension.shape else None
            _skip(stream, path, extension)
    return None


def image_problem(extension: ImageExtension) -> str | None:
    """Say what keeps an extension from being read as an image, by its header alone.

    Parameters
    ----------
    extension : ImageExtension
        An extension.

    Returns
    -------
    str or None
        What was found and what was expected; None for an image of one or two dimensions.
    """
    header, shape = extension.header, extension.shape
    kind = text(header, "XTENSION")
    if len(shape) not in (1, 2) or kind not in ("", "IMAGE"):
        return f"is a {kind} of shape {shape}, expected an image of two dimensions"
    if max(shape) > LARGEST_SIDE:
        return f"its shape is {shape}, expected at most {LARGEST_SIDE} rows and columns"
    for keyword in ("BSCALE", "BZERO"):
        factor = number(header, keyword) if keyword in header else 1.0
        if factor is None or (keyword == "BSCALE" and factor == 0.0):
            expected = "a number other than 0" if keyword == "BSCALE" else "a number"
            return f"{keyword} {found(header, keyword)}, expected {expected}"
    return None


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain or gzipped file for reading; turn errors of the system into the package's own."""
    try:
        if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):
            raise MissingFileError(f"{path}: is a device or a pipe, expected a FITS file.")
        with path.open("rb") as raw:
            magic = raw.read(2)
            raw.seek(0)
            if magic == _GZIP_MAGIC:
                with gzip.GzipFile(fileobj=raw, mode="rb") as unzipped:
                    yield unzipped  # type: ignore[misc]
            else:
                yield raw
    except MissingFileError:
        raise
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: there is no such file. Check the name and the folder.") from error
    except IsADirectoryError as error:
        raise MissingFileError(f"{path}: is a folder, expected a FITS file.") from error
    except PermissionError as error:
        raise MissingFileError(f"{path}: may not be read (permission denied). Change its mode.") from error
    except OSError as error:
        raise MissingFileError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        # A name with a null character in it.
        if "null" not in str(error):
            raise
        raise MissingFileError(f"{str(path)!r}: there is no such file: {error}.") from error


def _read(stream: IO[bytes], n_bytes: int, path: Path) -> bytes:
    """Read up to `n_bytes`; a broken gzip stream is an `ExposureError`."""
    try:
        return stream.read(n_bytes)
    except gzip.BadGzipFile as error:
        # Like gunzip, take what follows a whole gzip stream for padding.
        if str(error).startswith(_NOT_GZIP) and stream.tell() > 0:
            return b""
        raise ExposureError(_broken_gzip(path, error)) from error
    except (EOFError, zlib.error) as error:
        raise ExposureError(_broken_gzip(path, error)) from error


def _broken_gzip(path: Path, error: Exception) -> str:
    return f"{path}: the gzip stream is broken or truncated ({error}). Fetch the file again."


def _walk(stream: IO[bytes], path: Path) -> Iterator[ImageExtension]:
    """Yield each header-data unit; the caller must read or skip its data before going on."""
    block = _read(stream, _BLOCK, path)
    if not block.startswith(b"SIMPLE  ="):
        begins = "is empty (0 bytes)" if not block else f"begins with {block[:9]!r}"
        raise ExposureError(f"{path}: {begins}, expected a FITS file, which begins with 'SIMPLE  ='.")
    index = 0
    n_expected = 0.0
    while True:
        extension = _extension(index, _header_text(stream, block, path, index), path)
        if index == 0:
            n_expected = number(extension.header, "NEXTEND") or 0.0
        yield extension
        block = _read(stream, _BLOCK, path)
        if not block.startswith(b"XTENSION="):
            # After the last unit FITS allows other records, which the standard says to ignore.
            if index < n_expected and block.strip(b"\0 "):
                raise ExposureError(
                    f"{path}{extension.label}: no extension follows where its data end by its header "
                    f"({_layout(extension)}), though NEXTEND says that the file has {n_expected:.0f}. "
                    "Is this header damaged?"
                )
            return
        index += 1


def _layout(extension: ImageExtension) -> str:
    """Say in words what a header tells of its data."""
    sides = " x ".join(str(side) for side in reversed(extension.shape)) or "none"
    return f"BITPIX {found(extension.header, 'BITPIX').removeprefix('is ')}, data {sides}"


def _header_text(stream: IO[bytes], block: bytes, path: Path, index: int) -> str:
    """Read the blocks of one header up to its END card."""
    blocks = []
    while True:
        if len(block) < _BLOCK:
            raise ExposureError(
                f"{path}[{index}]: truncated inside a header (no END card). Fetch the file again."
            )
        blocks.append(block)
        if any(block[at : at + 8] == b"END     " for at in range(0, _BLOCK, _CARD)):
            return _clean_cards(b"".join(blocks))
        block = _read(stream, _BLOCK, path)


def _clean_cards(content: bytes) -> str:
    """Give a header's cards as ASCII text without those that no FITS reader understands.

    A stray byte in a comment should not cost the exposure, nor a card that has neither a value nor the
    keyword of a comment: astropy would warn of it each time the header is read.
    """
    characters = content.decode("ascii", errors="replace").replace("\ufffd", "?")
    cards = (characters[at : at + _CARD] for at in range(0, len(characters), _CARD))
    return "".join(card for card in cards if _is_readable(card))


def _is_readable(card: str) -> bool:
    keyword = card[:8].rstrip()
    if keyword == "HIERARCH":
        return " = " in card
    return keyword in _KEYWORDS_WITHOUT_VALUE or _CARD_WITH_VALUE.match(card) is not None


def _extension(index: int, cards: str, path: Path) -> ImageExtension:
    """Interpret the keywords of a header that give its name and the layout of its data."""
    header = header_of_cards(cards)
    name = "PRIMARY" if index == 0 else text(header, "EXTNAME").upper()
    n_axes = _count(header, "NAXIS", path, index)
    axes = [_count(header, f"NAXIS{axis}", path, index) for axis in range(1, n_axes + 1)]
    bits = abs(_count(header, "BITPIX", path, index, signed=True))
    groups = _count(header, "GCOUNT", path, index, default=1)
    parameters = _count(header, "PCOUNT", path, index, default=0)
    if index > 0 and text(header, "XTENSION") in ("", "IMAGE"):
        _check_image_layout(header, path, index)
    data_bytes = bits // 8 * groups * (parameters + math.prod(axes)) if axes else 0
    shape = tuple(reversed(axes))
    if not axes and "NPIX1" in header and "NPIX2" in header:
        shape = (_count(header, "NPIX2", path, index), _count(header, "NPIX1", path, index))
    return ImageExtension(index, name, whole_number(header, "EXTVER"), header, shape, data_bytes)


def _check_image_layout(header: fits.Header, path: Path, index: int) -> None:
    """Notice keywords that tell a wrong length of an image's data: everything behind it would be lost."""
    for keyword, allowed in (("BITPIX", sorted(_DTYPES)), ("GCOUNT", [1]), ("PCOUNT", [0])):
        if keyword in header and whole_number(header, keyword) not in allowed:
            expected = allowed[0] if len(allowed) == 1 else f"one of {', '.join(map(str, allowed))}"
            raise ExposureError(
                f"{path}[{text(header, 'EXTNAME') or index}]: {keyword} {found(header, keyword)}, expected "
                f"{expected} for an image. The header is damaged."
            )


def _count(
    header: fits.Header,
    keyword: str,
    path: Path,
    index: int,
    default: int | None = None,
    *,
    signed: bool = False,
) -> int:
    """Give a keyword that must be a whole number."""
    if keyword not in header and default is not None:
        return default
    count = whole_number(header, keyword)
    if count is None or (count < 0 and not signed):
        raise ExposureError(
            f"{path}[{index}]: {keyword} {found(header, keyword)}, expected a whole number. "
            "This is no valid FITS file."
        )
    return count


def _skip(stream: IO[bytes], path: Path, extension: ImageExtension, done: int = 0) -> None:
    """Step over an extension's data, of which `done` bytes are read; make sure that all of it is there."""
    needed = extension.data_bytes - done
    padded = -(-extension.data_bytes // _BLOCK) * _BLOCK - done
    if isinstance(stream, gzip.GzipFile):
        skipped = 0
        while skipped < padded and (chunk := _read(stream, min(_CHUNK, padded - skipped), path)):
            skipped += len(chunk)
    else:
        position = stream.tell()
        skipped = min(padded, stream.seek(0, 2) - position)
        stream.seek(position + skipped)
    if skipped < needed:
        _raise_truncated(path, extension, done + skipped)


def _raise_truncated(path: Path, extension: ImageExtension, n_bytes: int) -> None:
    raise ExposureError(
        f"{path}{extension.label}: truncated, or its header is damaged: {n_bytes} bytes of data found, "
        f"{extension.data_bytes} expected by the header ({_layout(extension)}). Fetch the file again."
    )


def _image(stream: IO[bytes], path: Path, extension: ImageExtension) -> NDArray[Any]:
    """Read the image that begins at the stream's position."""
    header = extension.header
    if problem := image_problem(extension):
        raise ExposureError(f"{path}{extension.label}: {problem}.")
    if extension.data_bytes == 0:
        return np.full(extension.shape, number(header, "PIXVALUE") or 0.0)
    content = _read_data(stream, path, extension)
    stored = np.frombuffer(content, dtype=_DTYPES[whole_number(header, "BITPIX") or 8])
    stored = stored.reshape(extension.shape)
    scale = number(header, "BSCALE") or 1.0
    zero = number(header, "BZERO") or 0.0
    if (scale, zero) == (1.0, 0.0):
        return stored.astype(stored.dtype.newbyteorder("="))
    # Absurd factors give infinities, which are no good pixels.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(stored.astype(np.float64) * scale + zero)


def _stored(stream: IO[bytes], path: Path, extension: ImageExtension) -> StoredImage | None:
    """Note where the pixels stand that begin at the stream's position, if they can be read from there."""
    header = extension.header
    plain = not isinstance(stream, gzip.GzipFile) and extension.data_bytes > 0 and len(extension.shape) == 2
    if not plain or extension.index == 0 or text(header, "XTENSION") != "IMAGE" or image_problem(extension):
        return None
    if (number(header, "BSCALE") or 1.0, number(header, "BZERO") or 0.0) != (1.0, 0.0):
        return None
    bits = whole_number(header, "BITPIX")
    if bits not in _DTYPES:
        return None
    state = FileState.of(stream.fileno())
    return StoredImage(path, stream.tell(), (extension.shape[0], extension.shape[1]), bits, state)


def _read_data(stream: IO[bytes], path: Path, extension: ImageExtension) -> bytes:
    """Read an extension's data, without asking for memory for more than the file holds."""
    needed = extension.data_bytes
    if not isinstance(stream, gzip.GzipFile):
        left = os.fstat(stream.fileno()).st_size - stream.tell()
        if left < needed:
            _raise_truncated(path, extension, max(left, 0))
        content = _read(stream, needed, path)
    else:
        chunks: list[bytes] = []
        while needed > 0 and (chunk := _read(stream, min(_CHUNK, needed), path)):
            chunks.append(chunk)
            needed -= len(chunk)
        content = b"".join(chunks)
    if len(content) < extension.data_bytes:
        _raise_truncated(path, extension, len(content))
    return content
