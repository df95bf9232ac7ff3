"""The FITS checksum: 32-bit ones-complement sums, and the text that makes a unit's sum come to -0.

Defined in section 4.4.2.7 and appendix J of the FITS standard, version 4.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EMPTY_CHECKSUM", "add_sums", "checksum_text", "sum_bytes", "sum_words"]

EMPTY_CHECKSUM = "0" * 16
"""What the CHECKSUM keyword holds while the sum is made."""

_ONES = 0xFFFFFFFF
_PUNCTUATION = frozenset(b":;<=>?@[\\]^_`")


def add_sums(*sums: int) -> int:
    """Add 32-bit numbers with the carry brought round, as ones-complement addition does.

    Parameters
    ----------
    *sums : int
        Sums of parts, each from 0 to 2**32 - 1.

    Returns
    -------
    int
        The sum of the whole, 0 to 2**32 - 1; 0 only if all are 0.
    """
    total = sum(sums)
    while total > _ONES:
        total = (total & _ONES) + (total >> 32)
    return total


def sum_words(words: NDArray[np.uint32]) -> int:
    """Sum an array of 32-bit words.

    Parameters
    ----------
    words : ndarray of uint32
        The words by their value, in the machine's own byte order. Up to 2**32 of them.

    Returns
    -------
    int
        Their ones-complement sum.
    """
    return add_sums(int(np.sum(words, dtype=np.uint64)))


def sum_bytes(data: bytes) -> int:
    """Sum bytes, taken as big-endian 32-bit words.

    Parameters
    ----------
    data : bytes
        Their number is a multiple of 4 (headers and padded data always are).

    Returns
    -------
    int
        Their ones-complement sum.
    """
    return sum_words(np.frombuffer(data, dtype=">u4").astype(np.uint32))


def checksum_text(total: int) -> str:
    """Give the 16 characters that, put in the CHECKSUM card, bring a unit's sum to -0.

    Parameters
    ----------
    total : int
        Sum of the whole unit, header and data, made while CHECKSUM held `EMPTY_CHECKSUM`.

    Returns
    -------
    str
        The complement of the sum as 16 letters and digits.
    """
    complement = _ONES - total
    spread = bytearray(16)
    for place, byte in enumerate(complement.to_bytes(4, "big")):
        for column, character in enumerate(_four_characters(byte)):
            spread[4 * column + place] = character
    # A card's value starts in its 12th column, so the text is turned by one to lie on word boundaries.
    return (spread[-1:] + spread[:-1]).decode("ascii")


def _four_characters(byte: int) -> list[int]:
    """Four letters or digits whose excesses over the character ``0`` add up to `byte`."""
    quarter, rest = divmod(byte, 4)
    characters = [quarter + 48 + rest, quarter + 48, quarter + 48, quarter + 48]
    while any(character in _PUNCTUATION for character in characters):
        # Moving one up and its neighbour down keeps the sum.
        for first in (0, 2):
            if characters[first] in _PUNCTUATION or characters[first + 1] in _PUNCTUATION:
                characters[first] += 1
                characters[first + 1] -= 1
    return characters
