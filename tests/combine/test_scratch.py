from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from multivisit.combine.scratch import ScratchFile, ScratchImage
from multivisit.errors import CombineError

if TYPE_CHECKING:
    from pathlib import Path


def test_arrays_come_back(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    arrays = [random.normal(size=(5, 7)).astype(np.float32), np.arange(12, dtype=np.uint8), np.empty((0, 3))]
    with ScratchFile(tmp_path) as scratch:
        places = [scratch.put(array) for array in arrays]
        for place, array in zip(places, arrays, strict=True):
            np.testing.assert_array_equal(scratch.get(place), array)


def test_parts_of_an_image_come_back(tmp_path: Path) -> None:
    whole = np.random.default_rng(2).normal(size=(30, 20)).astype(np.float32)
    with ScratchFile(tmp_path) as scratch:
        image = ScratchImage(scratch, whole.shape)
        image.write_rows(10, whole[10:])
        image.write_rows(0, whole[:10])
        for columns in (slice(5, 19), slice(12, 15), slice(0, 20)):
            np.testing.assert_array_equal(image.read(slice(3, 17), columns), whole[3:17, columns])


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    with ScratchFile(tmp_path) as scratch:
        scratch.put(np.zeros(1000))
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CombineError, match="missing"):
        ScratchFile(tmp_path / "missing")
