"""The passes over a chip's pixels against the same in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from multivisit.combine import _survey


def values_of(kind: str, n: int) -> np.ndarray:
    random = np.random.default_rng(n)
    if kind == "normal":
        return random.normal(0.0, 1.0, n)
    if kind == "few":
        return random.integers(-2, 3, n).astype(np.float64)
    if kind == "sorted":
        return np.sort(random.standard_cauchy(n))
    return np.where(np.arange(n) < 0.6 * n, 7.0, random.normal(0.0, 1e9, n))


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1001, 8192, 8193, 50_000, 50_001])
@pytest.mark.parametrize("kind", ["normal", "few", "sorted", "two parts"])
def test_medians_are_exact(kind: str, n: int) -> None:
    values = values_of(kind, n)
    median = float(np.median(values))
    assert _survey.median(values.copy(), n, False) == median
    assert _survey.median(values.copy(), n, True) == float(np.median(np.abs(values - median)))


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (70, 31), (400, 301)])
def test_clipped_statistics_are_those_of_the_good_pixels(step: int, shape: tuple[int, int]) -> None:
    random = np.random.default_rng(step)
    science = random.normal(1e3, 2.0, shape).astype(np.float32)
    science[random.random(shape) > 0.97] += 500.0
    good = random.random(shape) > 0.1
    science[~good] = np.nan
    good[0, 0], science[0, 0] = True, 1000.0
    kept = science[::step, ::step][good[::step, ::step]].astype(np.float64)
    for _ in range(3):
        if kept.size >= 2:
            kept = kept[np.abs(kept - kept.mean()) <= 3.0 * kept.std(ddof=1)]
    values = np.empty(-(-shape[0] // step) * -(-shape[1] // step), dtype=np.float32)
    n, mean, sigma, low, high = _survey.clip(science, good, *shape, step, 3, 3.0, values)
    assert n == kept.size
    if n < 2:
        return
    assert mean == pytest.approx(kept.mean(), rel=1e-12)
    assert sigma == pytest.approx(kept.std(ddof=1), rel=1e-9, abs=1e-9)
    assert (low, high) == (kept.min(), kept.max())
    edges, counts = np.linspace(low, high + 1e-6, 41), np.zeros(40, dtype=np.int64)
    _survey.histogram(values, values.size, low, high, edges, 40, counts)
    np.testing.assert_array_equal(counts, np.histogram(kept, edges)[0])


def test_low_pixels_are_listed_as_far_as_there_is_room() -> None:
    random = np.random.default_rng(3)
    science = random.normal(0.0, 1.0, 5000).astype(np.float32)
    good = random.random(5000) > 0.2
    expected = np.flatnonzero(good & (science < -1.5))
    places = np.full(expected.size + 1, -1)
    found = _survey.find_low(science, good, science.size, -1.5, places, places.size)
    assert found == (expected.size, np.count_nonzero(good))
    assert places.tolist() == [*expected.tolist(), -1]
    few = np.full(7, -1)
    assert _survey.find_low(science, good, science.size, -1.5, few, 5) == found
    assert few[5:].tolist() == [-1, -1]


@pytest.mark.parametrize("block", [1, 2, 3, 4])
def test_blocks_are_summed_to_the_nodes_around_them(block: int) -> None:
    random = np.random.default_rng(block)
    rows, columns, per_level, spacing, origin = 37, 21, 8, 6.5, (3.0, -2.0)
    shape = (rows * block + 1, columns * block + 1)
    science = random.normal(5.0, 1.0, shape).astype(np.float32)
    science[random.random(shape) > 0.9] = 50.0
    usable = random.random(shape) > 0.3
    science[~usable] = np.nan
    level, differences = np.empty((5, 3)), np.empty(rows * columns + 1)
    n = _survey.local_levels(science, usable, shape[1], rows, columns, block, level, per_level, differences)
    sample = science[block // 2 :: block, block // 2 :: block][:rows, :columns].astype(np.float64)
    blocks = [sample[j : j + 8, i : i + 8] for j in range(0, rows, 8) for i in range(0, columns, 8)]
    np.testing.assert_array_equal(level.ravel(), [np.nanmedian(b) for b in blocks])
    near = np.kron(level, np.ones((8, 8)))[:rows, :columns]
    np.testing.assert_array_equal(np.sort(differences[:n]), np.sort((sample - near)[np.isfinite(sample)]))
    places = [np.array([0.0, 16.0, 32.0, 36.0]), np.array([0.0, 16.0, 20.0])]
    x, y = (
        (places[1] * 1.1 + 4.0)[None, :] + 0.3 * places[0][:, None],
        places[0][:, None] * 0.9 + 0.0 * places[1],
    )
    sums = np.zeros((3, 12, 12))
    arguments = (science, usable, shape[1], rows, columns, block, level, per_level, 6.0)
    knots = (places[0], 4, places[1], 3, np.stack([x, y]))
    _survey.add_blocks(*arguments, *knots, origin, spacing, (-1, -1), 12, 12, sums)
    expected = np.zeros_like(sums)
    for row in range(rows):
        for column in range(columns):
            pixels = (slice(row * block, (row + 1) * block), slice(column * block, (column + 1) * block))
            kept = usable[pixels] & (np.abs(science[pixels] - near[row, column]) <= 6.0)
            place = (column * 1.1 + 4.0 + 0.3 * row + origin[0], row * 0.9 + origin[1])
            node = [int(np.floor(p / spacing + 0.5)) for p in place]
            weight = np.prod([1.0 - 2.0 * abs(p / spacing - k) for p, k in zip(place, node, strict=True)])
            total = science[pixels][kept].astype(np.float64).sum()
            for k, value in enumerate((total, kept.sum(), usable[pixels].sum() - kept.sum())):
                expected[k, node[1] + 1, node[0] + 1] += weight * value
    np.testing.assert_allclose(sums, expected, rtol=1e-5, atol=1e-4)


def test_arrays_that_are_too_small_are_refused() -> None:
    science, good = np.zeros((4, 4), np.float32), np.ones((4, 4), bool)
    with pytest.raises(ValueError, match="values: found 8 bytes"):
        _survey.clip(science, good, 4, 4, 1, 3, 3.0, np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="do not fit"):
        _survey.local_levels(science, good, 4, 4, 5, 1, np.zeros((1, 1)), 8, np.zeros(17))
