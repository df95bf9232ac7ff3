"""The checksum against astropy's own and against its definition: a unit's words add up to -0."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from multivisit.products.checksum import EMPTY_CHECKSUM, add_sums, checksum_text, sum_bytes, sum_words

words = st.integers(0, 2**32 - 1)


def slow_sum(data: bytes) -> int:
    total = 0
    for start in range(0, len(data), 4):
        total += int.from_bytes(data[start : start + 4], "big")
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


@given(st.lists(words, min_size=1, max_size=200))
def test_sum_of_bytes_is_the_ones_complement_sum(values: list[int]) -> None:
    data = b"".join(value.to_bytes(4, "big") for value in values)
    assert sum_bytes(data) == slow_sum(data)
    assert sum_words(np.array(values, dtype=np.uint32)) == slow_sum(data)


@given(st.lists(words, min_size=2, max_size=50), st.integers(1, 49))
def test_sums_of_parts_add_up_to_the_sum_of_the_whole(values: list[int], cut: int) -> None:
    data = np.array(values, dtype=np.uint32)
    assert add_sums(sum_words(data[:cut]), sum_words(data[cut:])) == sum_words(data)


@given(words)
def test_text_is_letters_and_digits_and_completes_the_sum(total: int) -> None:
    text = checksum_text(total)
    assert len(text) == 16
    assert text.isalnum()
    # Put at a place like the card's: 11 columns before it. The card held EMPTY_CHECKSUM in the first sum.
    before = slow_sum(b" " * 11 + EMPTY_CHECKSUM.encode() + b" " * 5)
    after = slow_sum(b" " * 11 + text.encode() + b" " * 5)
    unit = add_sums(total, 0xFFFFFFFF - before, after)
    assert unit in (0, 0xFFFFFFFF)


@pytest.mark.parametrize("dtype", [">f4", ">i4"])
def test_data_sum_is_astropys(dtype: str) -> None:
    data = np.random.default_rng(3).normal(0, 1e4, (57, 91)).astype(dtype)
    hdu = fits.ImageHDU(data)
    hdu.add_datasum()
    assert sum_bytes(data.tobytes() + bytes(-data.nbytes % 4)) == int(hdu.header["DATASUM"])
