"""Reading the pixels of a chip: some rows at a time from the file, masked while they are at hand."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.combine import _pixels
from multivisit.combine.planes import empty_plane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from multivisit.combine.weights import PixelTest
    from multivisit.exposures.model import Chip
    from multivisit.exposures.stored_image import StoredImage

    Rows = Callable[[int, int], NDArray[Any]]

__all__ = ["RawChip", "read_chip", "read_good_blocks"]

_BLOCK_PIXELS = 1 << 16


@dataclass(eq=False)
class RawChip:
    """The pixels of a chip as they are in its file, in electrons/s."""

    science: NDArray[np.float32] = field(repr=False)
    """Electrons/s per native pixel, (ny, nx); NaN and infinities as they are."""

    good: NDArray[np.bool_] = field(repr=False)
    """Pixels that count by the test, (ny, nx)."""

    all_flagged: bool
    """Whether every pixel has some flag."""

    @property
    def nbytes(self) -> int:
        """Bytes of both planes."""
        return self.science.nbytes + self.good.nbytes


def read_chip(
    chip: Chip, test: PixelTest, other: tuple[PixelTest, NDArray[np.bool_]] | None = None
) -> RawChip:
    """Read a chip and mark its good pixels.

    Parameters
    ----------
    chip : Chip
        The chip.
    test : PixelTest
        Which pixels are good.
    other : tuple of PixelTest and ndarray, optional
        Another test, and a plane (ny, nx) in which its good pixels are marked.

    Returns
    -------
    RawChip
        Pixels and good pixels.

    Raises
    ------
    ExposureError
        If the file cannot be read, or the flags have another shape than the pixels.
    """
    raw = RawChip(empty_plane(chip.shape, np.float32), empty_plane(chip.shape, np.bool_), True)
    for rows, science, flags in _blocks(chip, raw.science):
        test.mark(science, flags, raw.good[rows])
        if other is not None:
            other[0].mark(science, flags, other[1][rows])
        if raw.all_flagged:
            raw.all_flagged = _pixels.count_unflagged(flags, science.size) == 0
    return raw


def read_good_blocks(chip: Chip, test: PixelTest) -> Iterator[tuple[int, NDArray[np.bool_], bool]]:
    """Read a chip a block of rows at a time and mark its good pixels.

    Parameters
    ----------
    chip : Chip
        The chip.
    test : PixelTest
        Which pixels are good.

    Yields
    ------
    first_row : int
        First row of the block.
    good : ndarray of bool
        Its good pixels, (rows, nx).
    unflagged : bool
        Whether it has a pixel without any flag.

    Raises
    ------
    ExposureError
        As `read_chip`.
    """
    for rows, science, flags in _blocks(chip):
        good = np.empty(science.shape, dtype=np.bool_)
        test.mark(science, flags, good)
        yield rows.start, good, _pixels.count_unflagged(flags, science.size) > 0


def _blocks(
    chip: Chip, plane: NDArray[np.float32] | None = None
) -> Iterator[tuple[slice, NDArray[np.float32], NDArray[Any]]]:
    """Read blocks of rows: which rows, their electrons/s (into a plane if there is one) and their flags."""
    ny, nx = chip.shape
    step = max(1, _BLOCK_PIXELS // max(1, nx))
    with _science_rows(chip, step) as (read_science, factor), _quality_rows(chip, step) as read_flags:
        for first in range(0, ny, step):
            rows = slice(first, min(first + step, ny))
            science = np.empty((rows.stop - first, nx), dtype=np.float32) if plane is None else plane[rows]
            _pixels.decode(read_science(first, rows.stop), science.size, factor, science)
            yield rows, science, read_flags(first, rows.stop)


@contextmanager
def _science_rows(chip: Chip, step: int) -> Iterator[tuple[Rows, float]]:
    """Give what reads rows of pixels as big-endian floats, and the factor to electrons/s."""
    with _stored_rows(chip.stored_science, step) as rows:
        if rows is not None:
            yield rows, chip.electrons_per_second()
            return
    # Values beyond all measure may overflow in the unit: the test leaves them out.
    with np.errstate(over="ignore", invalid="ignore"):
        image = chip.read_science()
    yield _rows_of(image, ">f4"), 1.0


@contextmanager
def _quality_rows(chip: Chip, step: int) -> Iterator[Rows]:
    """Give what reads rows of flags as big-endian 16-bit numbers."""
    with _stored_rows(chip.stored_quality, step) as rows:
        if rows is not None:
            yield rows
            return
    yield _rows_of(chip.read_data_quality(), ">u2")


@contextmanager
def _stored_rows(stored: StoredImage | None, step: int) -> Iterator[Rows | None]:
    """Give what reads rows from a file as they stand there, always into the same memory."""
    if stored is None:
        yield None
        return
    with stored.opened() as read:
        if read is None:
            yield None
            return
        scratch = np.empty(step * stored.shape[1] * abs(stored.bits) // 8, dtype=np.uint8)

        def rows(first: int, last: int) -> NDArray[Any]:
            read(first, last, scratch)
            return scratch

        yield rows


def _rows_of(image: NDArray[Any], dtype: str) -> Rows:
    return lambda first, last: image[first:last].astype(dtype)
