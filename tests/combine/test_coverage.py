"""Coverage statistics against masks and planes made pixel by pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from multivisit.combine import coverage
from multivisit.combine.coverage import (
    MosaicStatistics,
    ObservedWeights,
    PixelRuns,
    mosaic_statistics,
    polygon_runs,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDES = np.array([0.0, 0.0, 8.0, 8.0])


def mask_of(runs: PixelRuns, shape: tuple[int, int]) -> Any:
    mask = np.zeros(shape, dtype=int)
    for row, start, stop in zip(runs.row, runs.start, runs.stop, strict=True):
        mask[row, start:stop] += 1
    return mask


@given(
    centre=st.tuples(st.floats(-10, 40), st.floats(-10, 30)),
    radii=st.lists(st.floats(0.5, 25.0), min_size=3, max_size=9),
    turn=st.floats(0.0, 6.3),
)
def test_pixels_whose_centres_are_inside(
    centre: tuple[float, float], radii: list[float], turn: float
) -> None:
    from shapely import Polygon, contains_xy

    angle = turn + 2 * np.pi * np.arange(len(radii)) / len(radii)
    x, y = centre[0] + radii * np.cos(angle), centre[1] + radii * np.sin(angle)
    shape = (20, 30)
    found = mask_of(polygon_runs(x, y, shape), shape)
    v, u = np.indices(shape)
    polygon = Polygon(np.column_stack([x, y]))
    # A centre within rounding of an edge may fall on either side.
    assert np.all(found >= contains_xy(polygon.buffer(-1e-9), u, v))
    assert np.all(found <= contains_xy(polygon.buffer(1e-9), u, v))


def test_polygons_that_share_an_edge_share_no_pixel() -> None:
    shape = (12, 12)
    left = polygon_runs(np.array([1.0, 6.0, 6.0, 1.0]), np.array([2.0, 2.0, 9.0, 9.0]), shape)
    right = polygon_runs(np.array([6.0, 10.0, 10.0, 6.0]), np.array([2.0, 2.0, 9.0, 9.0]), shape)
    total = mask_of(left, shape) + mask_of(right, shape)
    assert total.max() == 1
    assert total.sum() == 7 * 9


def test_runs_of_a_polygon_beyond_the_image() -> None:
    everything = polygon_runs(np.array([-1e6, 1e6, 1e6, -1e6]), np.array([-1e6, -1e6, 1e6, 1e6]), (5, 7))
    assert mask_of(everything, (5, 7)).tolist() == np.ones((5, 7), dtype=int).tolist()
    nothing = polygon_runs(np.array([50.0, 60.0, 60.0]), np.array([1.0, 1.0, 4.0]), (5, 7))
    assert len(nothing.row) == 0


def statistics_of(
    runs: list[PixelRuns],
    exposure_times: list[float],
    weight: NDArray[np.float32],
    cell_pixels: int,
    *,
    strips: int = 1,
) -> MosaicStatistics:
    """Statistics of a plane whose rows are added in strips, the last one first."""
    weights = ObservedWeights(runs, exposure_times, weight.shape[1])
    for rows in reversed(np.array_split(np.arange(len(weight)), strips)):
        weights.add_rows(int(rows[0]), weight[rows])
    return mosaic_statistics(weights, lambda first, last: weight[first:last], cell_pixels)


@given(seed=st.integers(0, 10_000), n_chips=st.integers(1, 6), strips=st.integers(1, 31))
def test_statistics_are_those_of_planes(seed: int, n_chips: int, strips: int) -> None:
    random = np.random.default_rng(seed)
    shape = (31, 40)
    runs, counts, times = [], np.zeros(shape, dtype=int), np.zeros(shape)
    exposure_times = [float(t) for t in random.choice([0.5, 10.25, 1400.0, 33.333333], n_chips)]
    for time in exposure_times:
        angle = random.uniform(0, 6) + np.array([0.0, 1.5, 3.1, 4.8])
        centre, radius = random.uniform(-5, 40, 2), random.uniform(2, 30)
        one = polygon_runs(centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), shape)
        runs.append(one)
        counts += mask_of(one, shape)
        times += time * mask_of(one, shape)
    weight = (random.choice([0.0, 1.0, 2.5e-8, 7.75e5], shape) * random.random(shape)).astype(np.float32)
    found = statistics_of(runs, exposure_times, weight, 12_345, strips=strips)
    seen = counts > 0
    assert found.observed_fraction == seen.sum() / 12_345
    if not seen.any():
        assert found.median_weight == 0.0
        return
    assert found.mean_exposures == pytest.approx(counts[seen].mean())
    assert found.median_exposures == np.median(counts[seen])
    assert found.mean_exposure_time == pytest.approx(times[seen].mean(), abs=1e-6)
    assert found.median_exposure_time == pytest.approx(np.median(times[seen]), abs=2e-6)
    assert found.mean_weight == pytest.approx(weight[seen].astype(float).mean(), rel=1e-6)
    assert found.median_weight == np.median(weight[seen].astype(float))


@given(
    values=arrays(
        np.float32, st.integers(1, 50), elements=st.floats(allow_nan=False, allow_infinity=False, width=32)
    ),
    pieces=st.integers(1, 4),
)
def test_medians_of_chunks_are_exact(values: Any, pieces: int) -> None:
    upper = np.bincount(coverage._ordered_bits(values) >> 16, minlength=1 << 16)
    found = coverage._median_of_chunks(lambda: iter(np.array_split(values, pieces)), len(values), upper, {})
    middle = np.sort(values.astype(float))
    expected = 0.5 * (middle[(len(values) - 1) // 2] + middle[len(values) // 2])
    assert math.isclose(found, expected, rel_tol=1e-12, abs_tol=0.0) or found == expected == 0.0


def test_chunks_hold_each_observed_pixel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "_CHUNK_PIXELS", 10)
    shape = (9, 11)
    square = polygon_runs(np.array([-1.0, 12.0, 12.0, -1.0]), np.array([1.5, 1.5, 6.5, 6.5]), shape)
    triangle = polygon_runs(np.array([2.0, 9.0, 5.0]), np.array([0.0, 0.0, 9.0]), shape)
    weight = np.arange(99, dtype=np.float32).reshape(shape)
    seen = (mask_of(square, shape) + mask_of(triangle, shape)) > 0
    found = statistics_of([square, triangle], [1.0, 2.0], weight, 99)
    assert found.mean_weight == pytest.approx(weight[seen].mean())
    assert found.median_weight == np.median(weight[seen])


@pytest.mark.parametrize("absurd", [1e12, 1e19, 1e300])
def test_absurd_exposure_times_do_not_overflow(absurd: float) -> None:
    left, right = (polygon_runs(x + np.array([0.0, 10, 10, 0]), SIDES, (9, 20)) for x in (0.0, 5.0))
    found = statistics_of([left, right, left], [absurd] * 3, np.ones((9, 20), np.float32), 180)
    # Columns 0-4 are seen twice, 5-9 three times, 10-14 once.
    assert found.mean_exposure_time == pytest.approx(2 * absurd)
    assert found.median_exposure_time == pytest.approx(2 * absurd)
    assert found.mean_exposures == 2.0


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_an_exposure_time_that_is_no_number_counts_as_0(unknown: float) -> None:
    runs = polygon_runs(np.array([0.0, 10, 10, 0]), SIDES, (9, 20))
    found = statistics_of([runs, runs], [unknown, 30.0], np.ones((9, 20), np.float32), 180)
    assert found.mean_exposure_time == 30.0
    assert found.mean_exposures == 2.0


def test_nothing_observed() -> None:
    nothing = statistics_of([], [], np.zeros((3, 4), np.float32), 100)
    assert nothing.observed_fraction == nothing.mean_exposures == nothing.median_weight == 0.0


@given(seed=st.integers(0, 10_000), per_second=st.sampled_from([0.02, 0.1, 0.1004, 0.2, 1e-30, 1e30]))
def test_the_median_is_the_same_where_it_was_expected(seed: int, per_second: float) -> None:
    random = np.random.default_rng(seed)
    weight = (1.0 + 0.1 * random.random((40, 30))).astype(np.float32)
    square = polygon_runs(np.array([2.0, 25.0, 25.0, 2.0]), np.array([1.5, 1.5, 36.5, 36.5]), weight.shape)
    weights = ObservedWeights([square], [10.0], 30, per_second)
    weights.add_rows(0, weight)
    reads: list[int] = []

    def read(first: int, last: int) -> NDArray[np.float32]:
        reads.append(first)
        return weight[first:last]

    assert weights.median(read) == np.median(weight[mask_of(square, weight.shape) > 0].astype(float))
    assert bool(reads) == (per_second not in (0.1, 0.1004))


@given(seed=st.integers(0, 10_000), strips=st.integers(1, 9))
def test_rows_counted_again_give_the_same_bits(seed: int, strips: int) -> None:
    random = np.random.default_rng(seed)
    weight = random.random((40, 30)).astype(np.float32)
    square = polygon_runs(np.array([2.0, 25.0, 25.0, 2.0]), np.array([1.5, 1.5, 36.5, 36.5]), weight.shape)
    first, second = (ObservedWeights([square], [10.0], 30) for _ in range(2))
    for rows in random.permutation(strips):
        piece = np.array_split(np.arange(40), strips)[rows]
        first.add_rows(int(piece[0]), weight[piece])
    second.add_all(lambda start, stop: weight[start:stop], like=first)
    assert first.mean() == second.mean()
    read = weight.__getitem__
    assert first.median(lambda a, b: read(slice(a, b))) == second.median(lambda a, b: read(slice(a, b)))
