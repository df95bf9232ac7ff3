"""Parts of chips: what is read is what stands in the file, nothing that a strip needs is missing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multivisit.combine import chip_parts, strips
from multivisit.combine.chip_parts import ChipCells, ChipParts, PartPlanes
from multivisit.combine.mosaic import combine_layer, prepare_layer
from multivisit.combine.weights import PixelTest
from multivisit.errors import CombineError
from multivisit.exposures.model import read_exposure
from multivisit.plan.parameters import CombinationParameters

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from multivisit.combine.placement import PreparedChip
    from multivisit.exposures.model import Exposure
    from multivisit.sky.grid import OutputGrid

    WriteExposure = Callable[..., Path]
    MakeGrid = Callable[..., OutputGrid]

PARAMETERS = CombinationParameters(skysub=True, static=True, final_bits=0, context=True)
SHAPE = (70, 300)
SECONDS = 7.0
SKY = 0.25
TEST = PixelTest(64)


@pytest.fixture
def small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells and strips so small that a small chip has many."""
    monkeypatch.setattr(chip_parts, "_CELL_ROWS", 16)
    for name, value in (("_STEP", 1), ("_LOWEST", 16), ("_HIGHEST", 16)):
        monkeypatch.setattr(strips, name, value)


@pytest.fixture
def written(write_exposure: WriteExposure) -> tuple[Exposure, np.ndarray, np.ndarray]:
    """An exposure, and what was written: electrons, with some that are no numbers, and flags."""
    random = np.random.default_rng(3)
    science = random.normal(100.0, 5.0, SHAPE).astype(np.float32)
    science[3, 4], science[50, 299], science[60, 0] = np.nan, np.inf, 1e30
    flags = random.choice(np.array([0, 64, 4096, -32768], dtype=np.int16), SHAPE, p=[0.7, 0.1, 0.1, 0.1])
    path = write_exposure("jprt01xxq", [science], [flags], exposure_time=SECONDS, angle=0.7, distortion=1e-5)
    return read_exposure(path), science, flags


def prepared(exposure: Exposure, grid: OutputGrid) -> PreparedChip:
    return prepare_layer([exposure], grid, PARAMETERS.replace(skysub=False, static=False)).chips[0]


def cells_of(item: PreparedChip, grid: OutputGrid) -> ChipCells:
    assert item.pixel_map is not None
    return ChipCells.of(item.pixel_map, item.chip.shape, grid.scale / 0.05, grid.shape[1])


@pytest.mark.usefixtures("small_cells")
def test_parts_hold_what_the_file_says_and_nothing_else_is_touched(
    written: tuple[Exposure, np.ndarray, np.ndarray], small_grid: MakeGrid
) -> None:
    exposure, electrons, flags = written
    item = prepared(exposure, small_grid())
    masked = np.random.default_rng(4).random(SHAPE) > 0.9
    chip = ChipParts(item, cells_of(item, small_grid()), TEST, masked, SKY, 1.0)
    assert chip.cells.shape == (5, 2)
    science, good = np.full(SHAPE, -7.0, dtype=np.float32), np.zeros(SHAPE, dtype=np.bool_)
    chip.fill(np.array([[0, 0, 2], [2, 1, 2], [4, 0, 1]]), science, good)
    inside = np.zeros(SHAPE, dtype=np.bool_)
    inside[:16], inside[32:48, 256:], inside[64:, :256] = True, True, True
    allowed = np.isfinite(electrons) & (np.abs(electrons) < 1e20) & ((flags == 0) | (flags == 64))
    np.testing.assert_array_equal(good, inside & allowed & ~masked)
    rates = electrons * np.float32(1.0 / SECONDS)
    np.testing.assert_array_equal(science[good], (rates - np.float32(SKY))[good])
    np.testing.assert_array_equal(science[inside & ~good], np.float32(-SKY))
    np.testing.assert_array_equal(science[~inside], np.float32(-7.0))
    # Cells that were asked for twice, and those that never were, count once.
    chip.fill(np.array([[2, 0, 2]]), science, good)
    assert chip.finish() == (np.count_nonzero(allowed & ~masked), np.count_nonzero(allowed & masked))


def test_planes_hold_the_parts_of_the_last_chip_alone(
    written: tuple[Exposure, np.ndarray, np.ndarray], small_grid: MakeGrid
) -> None:
    grid = small_grid((400, 400))
    item = prepared(written[0], grid)
    chip = ChipParts(item, cells_of(item, grid), TEST, None, SKY, 1.0)
    planes = PartPlanes(SHAPE[0] * SHAPE[1])
    for first in (0, 150, 390, 60):
        found = planes.of(chip, first, first + 10)
        parts = chip.cells.parts_for(first, first + 10)
        assert (found is None) == (not len(parts))
        if found is not None:
            alone = PartPlanes(SHAPE[0] * SHAPE[1]).of(chip, first, first + 10)
            assert alone is not None
            np.testing.assert_array_equal(found[1], alone[1])
            np.testing.assert_array_equal(found[0][found[1]], alone[0][alone[1]])


class TiltedMap:
    """Turned by an angle, scaled and shifted."""

    def __init__(self, angle: float, offset: tuple[float, float]) -> None:
        self.cosine, self.sine, self.offset = 1.25 * np.cos(angle), 1.25 * np.sin(angle), offset

    def at(self, x: Any, y: Any) -> tuple[Any, Any]:
        u = self.cosine * x - self.sine * y + self.offset[0]
        return u, self.cosine * y + self.sine * x + self.offset[1]

    def evaluate(self, first_row: int = 0, last_row: int | None = None) -> Any:
        raise AssertionError


@given(
    angle=st.floats(0, 6.3),
    offset=st.tuples(st.floats(-400, 900), st.floats(-400, 900)),
    shape=st.tuples(st.integers(1, 200), st.integers(1, 600)),
    first=st.integers(0, 500),
    height=st.integers(1, 300),
)
def test_no_pixel_that_reaches_a_strip_is_left_out(
    angle: float, offset: tuple[float, float], shape: tuple[int, int], first: int, height: int
) -> None:
    pixel_map, columns = TiltedMap(angle, offset), 500
    cells = ChipCells.of(pixel_map, shape, 0.8, columns)
    assert (cells.rows[-1], cells.columns[-1]) == shape
    held = np.zeros(shape, dtype=np.bool_)
    for row, start, stop in cells.parts_for(first, first + height):
        held[cells.rows[row] : cells.rows[row + 1], cells.columns[start] : cells.columns[stop]] = True
    y, x = np.indices(shape)
    u, v = pixel_map.at(x, y)
    # Half a pixel's diagonal, in output pixels.
    near = (v > first - 0.5 - 0.9) & (v < first + height - 0.5 + 0.9) & (u > -1.4) & (u < columns + 0.4)
    assert not np.any(near & ~held)


@pytest.mark.usefixtures("small_cells")
def test_mosaics_are_the_same_from_parts_and_from_compressed_files_that_are_read_whole(
    write_exposure: WriteExposure, small_grid: MakeGrid
) -> None:
    import gzip

    random = np.random.default_rng(5)
    plain, compressed = [], []
    for k in range(3):
        science = random.normal(100.0 + k, 5.0, SHAPE).astype(np.float32)
        flags = (16 * (random.random(SHAPE) > 0.95)).astype(np.int16)
        path = write_exposure(f"jprt{k}2xxq", [science], [flags], angle=0.6 * k, shift=(0.1 * k, 0.4 * k))
        packed = path.with_name(path.name + ".gz")
        packed.write_bytes(gzip.compress(path.read_bytes(), 1))
        plain.append(read_exposure(path))
        compressed.append(read_exposure(packed))
    grid = small_grid()
    expected = combine_layer(compressed, grid, PARAMETERS)
    for exposures, any_whole in ((plain, False), ([plain[0], compressed[1], plain[2]], True)):
        plan = prepare_layer(exposures, grid, PARAMETERS).sweep_plan(PARAMETERS)
        assert (plan.least_memory() > plan.worker_memory() + plan.held) == any_whole
        for threads in (1, 2, 7):
            for memory in (None, plan.least_memory() * threads):
                found = combine_layer(exposures, grid, PARAMETERS, threads=threads, memory=memory)
                np.testing.assert_array_equal(found.science.view("u4"), expected.science.view("u4"))
                np.testing.assert_array_equal(found.weight, expected.weight)
                np.testing.assert_array_equal(found.context, expected.context)
                assert [(c.n_used, c.n_good_pixels, c.n_static) for c in found.chips] == [
                    (c.n_used, c.n_good_pixels, c.n_static) for c in expected.chips
                ]


@pytest.mark.parametrize(("flagged", "n_good"), [(0.9, SHAPE[0] * SHAPE[1]), (1.0, 0)])
def test_a_chip_that_is_flagged_all_over_says_nothing_where_flags_are_let_pass(
    write_exposure: WriteExposure, small_grid: MakeGrid, flagged: float, n_good: int
) -> None:
    flags = np.where(np.random.default_rng(6).random(SHAPE) <= flagged, 4096, 0).astype(np.int16)
    path = write_exposure("jprt03xxq", [np.ones(SHAPE, dtype=np.float32)], [flags])
    item = prepared(read_exposure(path), small_grid())
    chip = ChipParts(item, cells_of(item, small_grid()), PixelTest(None), None, 0.0, 1.0)
    assert chip.finish() == (n_good, 0)


def test_files_that_change_or_end_early_are_named(
    written: tuple[Exposure, np.ndarray, np.ndarray], small_grid: MakeGrid
) -> None:
    exposure = written[0]
    item = prepared(exposure, small_grid())
    chip = ChipParts(item, cells_of(item, small_grid()), TEST, None, SKY, 1.0)
    os.utime(exposure.path, (1, 1))
    with pytest.raises(CombineError, match=rf"{exposure.filename}\[SCI,1\].*rewritten"):
        chip.finish()
    exposure.path.unlink()
    with pytest.raises(CombineError, match=rf"{exposure.filename}\[SCI,1\]"):
        chip.finish()
