"""Strips: the same bits whatever the threads and the memory, chips read when they are needed, clean stops."""

from __future__ import annotations

import gc
import gzip
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multivisit.combine import mosaic, strips, survey, sweep
from multivisit.combine.chip_cache import KEPT_BYTES, LOADING_BYTES, ChipCache, ChipPixels
from multivisit.combine.mosaic import combine_layer, combine_strips, place_layer, prepare_layer
from multivisit.combine.strips import ChipReach, lay_out_strips, strip_height
from multivisit.errors import CombineError, ParameterError
from multivisit.exposures.model import read_exposure
from multivisit.plan.parameters import CombinationParameters

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from multivisit.combine.chip_reader import RawChip
    from multivisit.combine.records import LayerMosaic
    from multivisit.exposures.model import Chip, Exposure
    from multivisit.sky.grid import OutputGrid

    WriteExposure = Callable[..., Path]
    MakeGrid = Callable[..., OutputGrid]

PARAMETERS = CombinationParameters(skysub=True, static=True, final_bits=0, context=True)
SHAPE = (60, 70)
MIB = 1 << 20


@pytest.fixture
def low_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of 16 rows, so that a small mosaic has several."""
    for name, value in (("_STEP", 1), ("_LOWEST", 16), ("_HIGHEST", 16)):
        monkeypatch.setattr(strips, name, value)


@pytest.fixture
def exposures(write_exposure: WriteExposure) -> list[Exposure]:
    random = np.random.default_rng(1)
    return [
        read_exposure(
            write_exposure(
                f"jstr{k}1xxq",
                [random.normal(100.0 + k, 5.0, SHAPE).astype(np.float32)],
                [(16 * (random.random(SHAPE) > 0.95)).astype(np.int16)],
                exposure_time=100.0 + k,
                angle=0.6 * k,
                shift=(0.1 * k, 0.4 * k),
                distortion=1e-5,
            )
        )
        for k in range(5)
    ]


def compressed(path: Path) -> Path:
    """Compress a file, which can then not be read in parts."""
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    return packed


def assert_same(one: LayerMosaic, other: LayerMosaic) -> None:
    np.testing.assert_array_equal(one.science.view(np.uint32), other.science.view(np.uint32))
    np.testing.assert_array_equal(one.weight, other.weight)
    np.testing.assert_array_equal(one.context, other.context)
    assert one.chips == other.chips
    assert one.statistics == other.statistics


@pytest.mark.usefixtures("low_strips")
@pytest.mark.parametrize("parameters", [PARAMETERS, PARAMETERS.replace(final_units="counts")])
def test_the_same_bits_for_any_threads_and_memory(
    exposures: list[Exposure], small_grid: MakeGrid, parameters: CombinationParameters
) -> None:
    grid = small_grid()
    layer = prepare_layer(exposures, grid, parameters)
    assert len(layer.sweep_plan(parameters).strips) == 6
    least = layer.sweep_plan(parameters).least_memory()
    expected = combine_layer(exposures, grid, parameters)
    for threads in (1, 2, 7):
        for memory in (least, 64 * MIB, 8192 * MIB):
            found = combine_layer(exposures, grid, parameters, threads=threads, memory=memory)
            assert_same(expected, found)


def test_strips_are_one_window(
    exposures: list[Exposure], small_grid: MakeGrid, request: pytest.FixtureRequest
) -> None:
    whole = combine_layer(exposures, small_grid(), PARAMETERS)
    request.getfixturevalue("low_strips")
    cut = combine_layer(exposures, small_grid(), PARAMETERS)
    # The engine's arithmetic counts from the window's origin: the last bits may differ, nothing else may.
    np.testing.assert_allclose(cut.science, whole.science, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(cut.weight, whole.weight, rtol=2e-6, atol=1e-6)
    np.testing.assert_array_equal(cut.context, whole.context)
    assert [(r.n_used, r.n_good_pixels) for r in cut.chips] == [
        (r.n_used, r.n_good_pixels) for r in whole.chips
    ]


@pytest.mark.usefixtures("low_strips")
@pytest.mark.parametrize("in_parts", [True, False])
def test_chips_are_read_whole_once_and_then_in_parts_if_that_can_be(
    exposures: list[Exposure], small_grid: MakeGrid, monkeypatch: pytest.MonkeyPatch, in_parts: bool
) -> None:
    if not in_parts:
        exposures = [read_exposure(compressed(exposure.path)) for exposure in exposures]
    plan = prepare_layer(exposures, small_grid(), PARAMETERS).sweep_plan(PARAMETERS)
    reads: list[str] = []
    really_read = survey.read_chip

    def read(chip: Chip, *options: Any) -> RawChip:
        reads.append(chip.rootname)
        return really_read(chip, *options)

    monkeypatch.setattr(survey, "read_chip", read)
    for memory, threads in ((None, 1), (None, 3), (plan.least_memory(), 1)):
        reads.clear()
        combine_layer(exposures, small_grid(), PARAMETERS, memory=memory, threads=threads)
        assert set(reads) == {exposure.rootname for exposure in exposures}
        # Compressed files are read whole. Where memory holds one, the others are read again for the first
        # strip that needs them.
        assert len(reads) == 5 if memory is None or in_parts else len(reads) > 9


@pytest.mark.usefixtures("low_strips")
def test_too_little_memory_is_told_with_how_much_is_needed(
    exposures: list[Exposure], small_grid: MakeGrid
) -> None:
    least = prepare_layer(exposures, small_grid(), PARAMETERS).sweep_plan(PARAMETERS).least_memory()
    combine_layer(exposures, small_grid(), PARAMETERS, memory=least)
    with pytest.raises(ParameterError, match=r"memory: \d+ MiB .* at least \d+ MiB"):
        combine_layer(exposures, small_grid(), PARAMETERS, memory=least - 1)
    with pytest.raises(ParameterError, match="threads: found 0"):
        combine_layer(exposures, small_grid(), PARAMETERS, threads=0)


@pytest.mark.parametrize("in_parts", [True, False])
def test_what_is_allocated_stays_within_what_was_given(
    write_exposure: WriteExposure, small_grid: MakeGrid, monkeypatch: pytest.MonkeyPatch, in_parts: bool
) -> None:
    shape = (600, 1200)
    science = np.random.default_rng(2).normal(100.0, 5.0, shape).astype(np.float32)
    files = [write_exposure(f"jmem{k}1xxq", [science], angle=0.5 * k) for k in range(6)]
    files = files if in_parts else [compressed(path) for path in files]
    exposures, grid = [read_exposure(path) for path in files], small_grid((1500, 1500))
    monkeypatch.setattr(mosaic, "_Planes", Discarding)
    least = prepare_layer(exposures, grid, PARAMETERS).sweep_plan(PARAMETERS).least_memory()
    least = max(least, place_layer(exposures, grid, PARAMETERS).sweep_plan(PARAMETERS).least_memory())
    for memory, threads in ((least, 3), (2 * least, 1), (2 * least, 3)):
        gc.collect()
        tracemalloc.start()
        combine_layer(exposures, grid, PARAMETERS, memory=memory, threads=threads)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        maps = sum(c.pixel_map.residual.nbytes for c in prepare_layer(exposures, grid, PARAMETERS).chips)
        # Outlines, headers and what is read at a time take little.
        assert used - maps < memory + 8 * MIB


class Discarding:
    """Takes rows and forgets them."""

    def __init__(self, shape: tuple[int, int], n_context: int, *, error_plane: bool) -> None:
        self.science = self.weight = self.context = self.error = None
        self._columns = shape[1]

    def write_rows(self, first_row: int, science: Any, weight: Any, context: Any) -> None:
        pass

    def read_weight(self, first_row: int, last_row: int) -> NDArray[np.float32]:
        return np.ones((last_row - first_row, self._columns), dtype=np.float32)


class Rows:
    """Counts the rows that it is given, and fails at one."""

    def __init__(self, fails_at: int, error: type[BaseException]) -> None:
        self.rows: list[int] = []
        self._fails_at = fails_at
        self._error = error

    def write_rows(self, first_row: int, *planes: Any) -> None:
        self.rows.append(first_row)
        if first_row == self._fails_at:
            raise self._error("made up")

    def read_weight(self, first_row: int, last_row: int) -> Any:
        raise AssertionError


@pytest.mark.usefixtures("low_strips")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, CombineError])
def test_an_error_in_a_strip_stops_all_threads(
    exposures: list[Exposure], small_grid: MakeGrid, threads: int, error: type[BaseException]
) -> None:
    layer = prepare_layer(exposures, small_grid((400, 100)), PARAMETERS)
    sink = Rows(16, error)
    with pytest.raises(error, match="made up"):
        combine_strips(layer, PARAMETERS, sink, threads=threads)
    before = len(sink.rows)
    assert before < 400 // 16
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("multivisit-strip")]
    time.sleep(0.05)
    assert len(sink.rows) == before


@pytest.mark.usefixtures("low_strips")
def test_an_interrupt_of_the_caller_stops_all_threads(
    exposures: list[Exposure], small_grid: MakeGrid
) -> None:
    def interrupt(message: str, done: int, total: int) -> None:
        if message.startswith("Drizzled"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        combine_layer(exposures, small_grid((400, 100)), PARAMETERS, threads=3, progress=interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("multivisit-strip")]


@pytest.mark.usefixtures("low_strips")
def test_a_chip_that_cannot_be_read_is_named_by_any_thread(
    exposures: list[Exposure], small_grid: MakeGrid
) -> None:
    # Nothing is kept of what the survey reads.
    memory = prepare_layer(exposures, small_grid(), PARAMETERS).sweep_plan(PARAMETERS).least_memory()
    layer = prepare_layer(exposures, small_grid(), PARAMETERS, memory=memory)
    exposures[2].path.unlink()
    with pytest.raises(CombineError, match=r"jstr21xxq_flc\.fits\[SCI,1\]"):
        combine_strips(layer, PARAMETERS, Rows(-1, ValueError), threads=3)


@pytest.mark.usefixtures("low_strips")
def test_a_chip_without_a_good_pixel_changes_nothing(
    exposures: list[Exposure], write_exposure: WriteExposure, small_grid: MakeGrid
) -> None:
    dead = read_exposure(
        write_exposure("jdead1xxq", [np.ones(SHAPE, np.float32)], [np.full(SHAPE, 4, np.int16)])
    )
    alone = combine_layer(exposures, small_grid(), PARAMETERS.replace(final_units="counts"))
    mixed = combine_layer([*exposures, dead], small_grid(), PARAMETERS.replace(final_units="counts"))
    np.testing.assert_array_equal(alone.science, mixed.science)
    assert alone.statistics == mixed.statistics


def pixels_of(n: int) -> ChipPixels:
    return ChipPixels(np.full((n, 1), 1.0, np.float32), np.ones((n, 1), bool), 2.0, n, 0)


def test_the_cache_keeps_what_fits_and_drops_what_is_not_needed() -> None:
    loads: list[int] = []

    def load(number: int) -> ChipPixels:
        loads.append(number)
        return pixels_of(10)

    needed = {number: [0, 1, 2] for number in range(4)}
    memory = 10 * (LOADING_BYTES + 2 * KEPT_BYTES)
    cache = ChipCache(load, needed, dict.fromkeys(needed, 10), memory)
    for strip in range(3):
        for number in range(4):
            with cache.borrow(number, strip) as pixels:
                assert pixels.weight == 2.0
                assert cache._used() <= memory
    # At best two chips stay from strip to strip: 4 reads in the first, 2 in each of the others.
    assert loads[:4] == [0, 1, 2, 3]
    assert len(loads) <= 4 + 2 * 2
    assert cache._used() == 0


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 400))
def test_threads_never_wait_for_each_other_without_end(n_threads: int, n_chips: int, memory: int) -> None:
    numbers = range(n_chips)
    waiting = list(reversed(range(12)))
    cache = ChipCache(
        lambda number: pixels_of(5), {n: range(12) for n in numbers}, dict.fromkeys(numbers, 5), memory
    )

    def work() -> None:
        while waiting:
            try:
                strip = waiting.pop()
            except IndexError:
                return
            for number in numbers:
                with cache.borrow(number, strip):
                    pass

    threads = [threading.Thread(target=work, daemon=True) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)
    assert cache._used() == 0


def test_a_failed_read_frees_those_who_wait() -> None:
    started = threading.Event()

    def load(number: int) -> ChipPixels:
        if not started.is_set():
            started.set()
            time.sleep(0.05)
            raise OSError("made up")
        return pixels_of(3)

    cache = ChipCache(load, {0: [0, 1]}, {0: 3}, 1)
    found: list[int] = []

    def wait() -> None:
        started.wait()
        with cache.borrow(0, 1) as pixels:
            found.append(pixels.science.size)

    other = threading.Thread(target=wait, daemon=True)
    other.start()
    with pytest.raises(OSError, match="made up"), cache.borrow(0, 0):
        pass
    other.join(timeout=20)
    assert found == [3]


class TiltedMap:
    """Output row = cosine * y + sine * x + offset."""

    def __init__(self, angle: float, offset: float) -> None:
        self.cosine, self.sine, self.offset = np.cos(angle), np.sin(angle), offset

    def at(self, x: Any, y: Any) -> tuple[Any, Any]:
        return self.cosine * x - self.sine * y, self.cosine * y + self.sine * x + self.offset

    def evaluate(self, first_row: int = 0, last_row: int | None = None) -> Any:
        raise AssertionError


@given(
    angle=st.floats(0, 6.3),
    offset=st.floats(-300, 900),
    shape=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    first=st.integers(0, 500),
    height=st.integers(1, 300),
)
def test_no_row_that_reaches_a_strip_is_left_out(
    angle: float, offset: float, shape: tuple[int, int], first: int, height: int
) -> None:
    pixel_map = TiltedMap(angle, offset)
    rows = ChipReach.of(pixel_map, shape, 0.8).rows_for(first, first + height)
    y, x = np.indices(shape)
    v = pixel_map.at(x, y)[1]
    # Half a pixel's diagonal, in output pixels.
    near = np.any((v > first - 0.5 - 0.9) & (v < first + height - 0.5 + 0.9), axis=1)
    needed = np.flatnonzero(near)
    if len(needed):
        assert rows.start <= needed[0]
        assert rows.stop > needed[-1]


@given(st.integers(1, 30_000), st.integers(1, 30_000))
def test_strips_cover_the_grid_once(rows: int, columns: int) -> None:
    layout = lay_out_strips((rows, columns), {})
    ends = [strip.first_row + strip.shape[0] for strip in layout]
    assert [strip.first_row for strip in layout] == [0, *ends[:-1]]
    assert ends[-1] == rows
    assert 256 <= strip_height((rows, columns)) <= 1024
    assert all(strip.shape[1] == columns and strip.number == k for k, strip in enumerate(layout))


def test_threads_are_as_many_as_memory_allows() -> None:
    chip = sweep.SweepChip(0, (2048, 4096), TiltedMap(0.0, 10.0), 0.8)  # type: ignore[arg-type]
    plan = sweep.SweepPlan((21954, 21954), [chip])
    assert plan.share_memory(7, None) == (7, None)
    assert plan.share_memory(7, plan.least_memory())[0] == 1
    assert plan.share_memory(7, 8192 * MIB)[0] == 7
    assert plan.share_memory(500, 1 << 50)[0] == len(plan.strips)
    for memory in range(plan.least_memory(), 4096 * MIB, 37 * MIB):
        n_workers, cache = plan.share_memory(7, memory)
        assert cache is not None
        assert n_workers * plan.worker_memory() + cache == memory
        assert cache >= 2048 * 4096 * (LOADING_BYTES + (n_workers - 1) * KEPT_BYTES)
