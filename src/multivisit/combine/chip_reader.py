"""Reading the pixels of a chip: some rows at a time from the file, masked while they are at hand."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.combine import _pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from multivisit.combine.weights import PixelTest
    from multivisit.exposures.model import Chip
    from multivisit.exposures.stored_image import StoredImage

    Rows = Callable[[int, int], NDArray[Any]]

__all__ = ["RawChip", "read_chip"]

_BLOCK_PIXELS = 1 << 18


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
    ny, nx = chip.shape
    raw = RawChip(np.empty(chip.shape, dtype=np.float32), np.empty(chip.shape, dtype=np.bool_), False)
    step = max(1, _BLOCK_PIXELS // max(1, nx))
    n_unflagged = 0
    with ExitStack() as stack:
        science_rows, factor = stack.enter_context(_science_rows(chip, step))
        quality_rows = stack.enter_context(_quality_rows(chip, step))
        for first in range(0, ny, step):
            last = min(first + step, ny)
            science, good = raw.science[first:last], raw.good[first:last]
            _pixels.decode(science_rows(first, last), science.size, factor, science)
            flags = quality_rows(first, last)
            n_unflagged += _pixels.count_unflagged(flags, science.size)
            test.mark(science, flags, good)
            if other is not None:
                other[0].mark(science, flags, other[1][first:last])
    raw.all_flagged = n_unflagged == 0
    return raw


@contextmanager
def _science_rows(chip: Chip, step: int) -> Iterator[tuple[Rows, float]]:
    """Give what reads rows of pixels as big-endian floats, and the factor to electrons/s."""
    with _stored_rows(chip.stored_science, step) as rows:
        if rows is not None:
            yield rows, chip.electrons_per_second()
            return
    # Values beyond all measure may overflow in the unit: the test leaves them out.
    with np.errstate(over="ignore", invalid="ignore"):
        yield _rows_of(chip.read_science().astype(">f4")), 1.0


@contextmanager
def _quality_rows(chip: Chip, step: int) -> Iterator[Rows]:
    """Give what reads rows of flags as big-endian 16-bit numbers."""
    with _stored_rows(chip.stored_quality, step) as rows:
        if rows is not None:
            yield rows
            return
    yield _rows_of(chip.read_data_quality().astype(">u2"))


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


def _rows_of(image: NDArray[Any]) -> Rows:
    return lambda first, last: image[first:last]
