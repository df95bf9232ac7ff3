"""The kernel against exact polygon areas and against itself: windows, threads, instruction sets, edges."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multivisit.combine.kernel_engine import INSTRUCTION_SETS, WindowSums, add_chip_to_rows
from multivisit.exposures.pixel_map import PixelMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def bent_map(
    shape: tuple[int, int],
    scale: float,
    angle: float,
    offset: tuple[float, float],
    *,
    skew: float = 0.0,
    bend: float = 0.0,
    mirrored: bool = False,
    x_knots: Sequence[float] = (),
    y_knots: Sequence[float] = (),
    seed: int = 0,
) -> PixelMap:
    """Rotation, scale, skew and quadratic distortion, and random residuals of some 0.01 pixel at knots."""
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    m = -1.0 if mirrored else 1.0
    coefficients = np.zeros((2, 3, 3))
    # Axis 0: u = c p - s q, axis 1: v = s p + c q with p = m x + bend x y, q = y + skew x + bend y^2.
    for axis, (a, b) in enumerate(((c, -s), (s, c))):
        coefficients[axis, 0, 0] = offset[axis]
        coefficients[axis, 0, 1] = a * m + b * skew
        coefficients[axis, 1, 0] = b
        coefficients[axis, 1, 1] = a * bend
        coefficients[axis, 2, 0] = b * bend
    residual = np.random.default_rng(seed).normal(0.0, 0.01 * scale, (2, len(y_knots), len(x_knots)))
    knots = np.array(x_knots, dtype=float), np.array(y_knots, dtype=float)
    return PixelMap(shape, (0.0, 0.0), (1.0, 1.0), coefficients, *knots, residual, 0.0)


def chip_planes(shape: tuple[int, int], seed: int = 1) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    science = random.normal(3.0, 1.0, shape).astype(np.float32)
    weight = (random.random(shape) > 0.1).astype(np.float32) * np.float32(120.0)
    return science, weight


def polygon_window(
    science: NDArray[Any],
    weight: NDArray[Any],
    variance: NDArray[Any],
    quality: NDArray[Any],
    pixel_map: PixelMap,
    shape: tuple[int, int],
    pixfrac: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Sums over exact overlaps of quadrilaterals and output pixels, by shapely; the flags of solid ones."""
    from shapely import Polygon, box, intersection

    cells = np.array(
        [[box(i - 0.5, j - 0.5, i + 0.5, j + 0.5) for i in range(shape[1])] for j in range(shape[0])]
    )
    values, weights, variances = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    flags = np.zeros(shape, dtype=np.int64)
    h = 0.5 * pixfrac
    for (y, x), w in np.ndenumerate(weight):
        if w == 0.0:
            continue
        u, v = pixel_map.at(x + np.array([-h, h, h, -h]), y + np.array([-h, -h, h, h]))
        drop = Polygon(np.column_stack([u, v]))
        share = np.array([c.area for c in intersection(cells, drop).ravel()]).reshape(shape) / drop.area
        values += w * share * science[y, x]
        weights += w * share
        variances += w**2 * share**2 * variance[y, x]
        flags[share > 1e-4] |= quality[y, x]
    return values, weights, variances, flags


def all_planes(window: WindowSums) -> list[NDArray[Any]]:
    planes = (window.sums, window.context, window.variance, window.quality)
    return [plane for plane in planes if plane is not None]


@settings(max_examples=40)
@given(
    angle=st.floats(-math.pi, math.pi),
    scale=st.floats(0.25, 4.0),
    skew=st.floats(-0.1, 0.1),
    mirrored=st.booleans(),
    tables=st.booleans(),
    pixfrac=st.floats(0.05, 1.0),
    mask=st.integers(0, 2**20 - 1),
    x=st.floats(-3.0, 10.0),
    y=st.floats(-3.0, 10.0),
    instruction_set=st.sampled_from(INSTRUCTION_SETS),
)
def test_all_planes_are_exact_overlap_areas(
    angle: float,
    scale: float,
    skew: float,
    mirrored: bool,
    tables: bool,
    pixfrac: float,
    mask: int,
    x: float,
    y: float,
    instruction_set: str,
) -> None:
    shape, output = (4, 5), (9, 11)
    knots = ((-0.5, 1.2, 2.0, 4.5), (-0.5, 0.7, 3.5)) if tables else ((), ())
    pixel_map = bent_map(
        shape,
        scale,
        angle,
        (x, y),
        skew=skew,
        bend=1e-3,
        mirrored=mirrored,
        x_knots=knots[0],
        y_knots=knots[1],
    )
    science, _ = chip_planes(shape)
    weight = np.array([mask >> k & 1 for k in range(20)], dtype=np.float32).reshape(shape) * 7
    science[weight == 0.0] = np.nan
    variance = np.random.default_rng(3).uniform(0.5, 2.0, shape).astype(np.float32)
    quality = (1 << np.arange(20, dtype=np.int32)).reshape(shape)
    window = WindowSums.zeros(output, context_chips=40, variance=True, quality=True)
    ratio = 1.0 / scale
    add_chip_to_rows(
        science,
        weight,
        pixel_map,
        window,
        scale_ratio=ratio,
        pixfrac=pixfrac,
        chip_number=35,
        variance=variance,
        quality=quality,
        instruction_set=instruction_set,
    )
    values, weights, variances, flags = polygon_window(
        science, weight, variance, quality, pixel_map, output, pixfrac
    )
    # A drop of 0.01 pixel has corners of some 1e-7 in single precision: 1e-5 of its area.
    drop = pixfrac * scale
    tolerance = 7.0 * (3e-6 + 1e-7 / drop)
    np.testing.assert_allclose(window.sums[..., 1], weights, atol=tolerance)
    np.testing.assert_allclose(window.sums[..., 0], values * ratio**2, atol=6 * tolerance * ratio**2)
    np.testing.assert_allclose(window.variance, variances * ratio**4, atol=30 * tolerance * ratio**4)
    assert window.quality is not None
    assert window.context is not None
    # Slivers may be lost or found, but nothing may come from pixels that do not touch.
    solid = weights > 7.0 * 25 * 1e-4
    assert ((window.quality & flags) == flags).all()
    assert not window.quality[weights == 0.0].any()
    assert not window.context[0].any()
    assert (window.context[1][solid] == 8).all()
    assert not window.context[1][weights == 0.0].any()


def overlaps(centres: NDArray[np.float64], width: float, n: int) -> NDArray[np.float64]:
    """Parts of intervals in each of n output pixels along an axis, (output pixel, interval)."""
    pixels = np.arange(n)[:, np.newaxis]
    high = np.minimum(centres + width / 2, pixels + 0.5)
    low = np.maximum(centres - width / 2, pixels - 0.5)
    return np.maximum(high - low, 0.0) / width


@pytest.mark.parametrize("width", [0.5, 0.999999, 1.0, 1.000001, 1.3, 1.999999, 2.0, 2.000001, 2.9])
@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
def test_upright_drops_of_any_width(
    width: float, quarter_turns: int, mirrored: bool, instruction_set: str
) -> None:
    shape, output = (40, 150), (330, 320)
    angle = quarter_turns * math.pi / 2
    pixel_map = bent_map(shape, width, angle, (160.37, 164.81), mirrored=mirrored)
    science, weight = chip_planes(shape)
    window = WindowSums.zeros(output)
    add_chip_to_rows(science, weight, pixel_map, window, scale_ratio=1.0, instruction_set=instruction_set)
    turned = quarter_turns % 2 == 1
    u, v = pixel_map.at(np.arange(150.0), np.zeros(150)), pixel_map.at(np.zeros(40), np.arange(40.0))
    along_x = overlaps(u[1] if turned else u[0], width, output[0] if turned else output[1])
    along_y = overlaps(v[0] if turned else v[1], width, output[1] if turned else output[0])
    for plane, expected in ((0, science * weight), (1, weight)):
        truth = along_y @ expected.astype(float) @ along_x.T
        truth = truth.T if turned else truth
        # Shares below 1e-6 are left out.
        np.testing.assert_allclose(window.sums[..., plane], truth, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("scale", [5.0, 8.5, 20.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_drops_of_many_output_pixels(scale: float, mirrored: bool) -> None:
    shape, output = (2, 2), (40, 45)
    pixel_map = bent_map(shape, scale, 0.6, (18.2, 9.4), skew=0.1, mirrored=mirrored)
    science, weight = np.full(shape, 2.0, np.float32), np.array([[3, 0], [5, 4]], dtype=np.float32)
    flags = np.array([[1, 2], [4, 8]], dtype=np.int32)
    window = WindowSums.zeros(output, context_chips=1, variance=True, quality=True)
    add_chip_to_rows(science, weight, pixel_map, window, scale_ratio=1.0, variance=science, quality=flags)
    values, weights, variances, quality = polygon_window(
        science, weight, science, flags, pixel_map, output, 1.0
    )
    np.testing.assert_allclose(window.sums[..., 0], values, atol=2e-5)
    np.testing.assert_allclose(window.sums[..., 1], weights, atol=1e-5)
    np.testing.assert_allclose(window.variance, variances, atol=1e-5)
    assert window.quality is not None
    assert ((window.quality & quality) == quality).all()


@pytest.mark.parametrize("kernel", ["square", "turbo", "point"])
@pytest.mark.parametrize("pixfrac", [1.0, 0.6])
@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize(
    ("scale", "angle", "bend", "n_least"),
    [(0.45, 0.5, 2e-4, 15000), (1.3, 0.5, 2e-4, 15000), (1.0, 0.9, 1e-5, 15000), (3.2, -0.3, 1e-5, 5000)],
)
def test_any_windows_hold_the_same_bits(
    kernel: str, pixfrac: float, instruction_set: str, scale: float, angle: float, bend: float, n_least: int
) -> None:
    shape = (75, 300)
    pixel_map = bent_map(
        shape,
        scale,
        angle,
        (30.0, -12.0),
        bend=bend,
        x_knots=np.arange(-0.5, 300.0, 5.0),
        y_knots=(-0.5, 20.0, 74.5),
    )
    science, weight = chip_planes(shape)
    variance = np.abs(science)
    quality = np.random.default_rng(4).integers(0, 2**14, shape, dtype=np.int32)
    options: dict[str, Any] = {
        "scale_ratio": 0.8,
        "kernel": kernel,
        "pixfrac": pixfrac,
        "chip_number": 3,
        "instruction_set": instruction_set,
    }
    planes: dict[str, Any] = {"variance": variance, "quality": quality}
    whole = WindowSums.zeros((250, 400), context_chips=4, variance=True, quality=True)
    n_whole = add_chip_to_rows(science, weight, pixel_map, whole, **options, **planes)
    assert n_whole > n_least
    for height in (1, 3, 17, 64, 249):
        n_used = 0
        for first in range(0, 250, height):
            rows = slice(first, min(first + height, 250))
            strip = WindowSums.zeros(
                (rows.stop - first, 400), (0, first), context_chips=4, variance=True, quality=True
            )
            n_used += add_chip_to_rows(science, weight, pixel_map, strip, **options, **planes)
            for one, other in zip(all_planes(strip), all_planes(whole), strict=True):
                np.testing.assert_array_equal(one, other[:, rows] if other.shape[0] == 1 else other[rows])
        assert n_used == n_whole
    assert whole.context is not None
    for x, y, ny, nx in (
        (30, 60, 50, 40),
        (0, 0, 250, 1),
        (0, 100, 1, 400),
        (60, 0, 45, 130),
        (-20, -9, 290, 460),
    ):
        # Without the other planes, and with the context alone, the kernel takes other ways.
        for context_chips in (0, 4):
            window = WindowSums.zeros((ny, nx), (x, y), context_chips=context_chips)
            add_chip_to_rows(science, weight, pixel_map, window, **options)
            inside = np.s_[max(-y, 0) : 250 - y, max(-x, 0) : 400 - x]
            part = np.s_[max(y, 0) : y + ny, max(x, 0) : x + nx]
            np.testing.assert_array_equal(window.sums[inside], whole.sums[part])
            if window.context is not None:
                np.testing.assert_array_equal(window.context[0][inside], whole.context[0][part])


@pytest.mark.parametrize("gap", [1e-3, 1e-8, 1e-12, 3e-14])
@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
def test_knots_that_nearly_coincide(gap: float, instruction_set: str) -> None:
    shape = (60, 200)
    once = bent_map(shape, 1.1, 0.0, (20.3, 20.3), x_knots=(0.0, 70.0, 199.5), y_knots=(-0.5, 30.0, 59.5))
    rounding = np.random.default_rng(2).normal(0.0, 1e-9, (2, 3, 4))
    twice = replace(
        once,
        x_knots=np.array([0.0, 70.0, 70.0 + gap, 199.5]),
        residual=np.repeat(once.residual, [1, 2, 1], axis=2) + rounding,
    )
    weight = np.ones(shape, np.float32)
    sums = []
    for pixel_map in (once, twice):
        window = WindowSums.zeros((120, 270))
        add_chip_to_rows(weight, weight, pixel_map, window, scale_ratio=1.0, instruction_set=instruction_set)
        sums.append(window.sums)
    np.testing.assert_allclose(sums[0], sums[1], atol=5e-6)


@pytest.mark.parametrize("kernel", ["square", "turbo", "point"])
@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
def test_windows_of_drops_without_area_hold_the_same_bits(kernel: str, instruction_set: str) -> None:
    # All pixels fall on one point, but for residuals that fold them.
    coefficients = np.array([[[14.0]], [[18.0]]])
    weight = np.ones((9, 24), np.float32)
    options: dict[str, Any] = {"scale_ratio": 1.0, "kernel": kernel, "instruction_set": instruction_set}
    for seed in range(60):
        random = np.random.default_rng(seed)
        knots = np.sort(random.uniform(-0.5, 24.0, 26)), np.sort(random.uniform(-0.5, 9.0, 10))
        residual = random.normal(0.0, random.choice([0.01, 0.5, 3.0]), (2, 10, 26))
        pixel_map = PixelMap(weight.shape, (0.0, 0.0), (1.0, 1.0), coefficients, *knots, residual, 0.0)
        whole = WindowSums.zeros((36, 30))
        n_whole = add_chip_to_rows(weight, weight, pixel_map, whole, **options)
        for first in range(30):
            n_used = 0
            for columns in (slice(0, first), slice(first, 30)):
                window = WindowSums.zeros((36, columns.stop - columns.start), (columns.start, 0))
                n_used += add_chip_to_rows(weight, weight, pixel_map, window, **options)
                np.testing.assert_array_equal(window.sums, whole.sums[:, columns])
            assert n_used == n_whole


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_make_the_same_bits(threads: int) -> None:
    shape = (200, 260)
    chips = [
        (*chip_planes(shape, seed), bent_map(shape, 1.2, angle, (150.0, 60.0), bend=1e-4))
        for seed, angle in enumerate((0.1, 0.7, 1.5, 3.0))
    ]
    expected = WindowSums.zeros((420, 500), context_chips=4)
    for number, (science, weight, pixel_map) in enumerate(chips):
        add_chip_to_rows(science, weight, pixel_map, expected, scale_ratio=0.8, chip_number=number)

    def make_strip(first: int) -> WindowSums:
        window = WindowSums.zeros((min(32, 420 - first), 500), (0, first), context_chips=4)
        for number, (science, weight, pixel_map) in enumerate(chips):
            add_chip_to_rows(science, weight, pixel_map, window, scale_ratio=0.8, chip_number=number)
        return window

    with ThreadPoolExecutor(threads) as pool:
        strips = list(pool.map(make_strip, range(0, 420, 32)))
    np.testing.assert_array_equal(np.concatenate([s.sums for s in strips]), expected.sums)
    contexts = [s.context for s in strips if s.context is not None]
    np.testing.assert_array_equal(np.concatenate(contexts, axis=1), expected.context)


def test_instruction_sets_agree() -> None:
    shape = (60, 200)
    pixel_map = bent_map(shape, 1.25, 0.9, (80.0, 10.0), bend=1e-4)
    windows = []
    for instruction_set in INSTRUCTION_SETS:
        window = WindowSums.zeros((300, 250))
        add_chip_to_rows(
            *chip_planes(shape), pixel_map, window, scale_ratio=0.8, instruction_set=instruction_set
        )
        windows.append(window.sums)
    assert INSTRUCTION_SETS[-1] == "portable"
    for sums in windows[1:]:
        np.testing.assert_allclose(sums, windows[0], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("columns", [1, 127, 128, 129, 300])
@pytest.mark.parametrize("rows", [1, 31, 33])
@pytest.mark.parametrize("kernel", ["square", "turbo", "point"])
def test_all_weight_arrives_whatever_the_size(rows: int, columns: int, kernel: str) -> None:
    pixel_map = bent_map((rows, columns), 1.25, 0.3, (30.0, 3.0))
    science, weight = np.full((2, rows, columns), (2.0,), np.float32)
    window = WindowSums.zeros((210, 450))
    n_used = add_chip_to_rows(science, weight, pixel_map, window, scale_ratio=0.8, kernel=kernel)
    assert n_used == rows * columns
    value, total = window.sums.sum(axis=(0, 1), dtype=np.float64)
    assert total == pytest.approx(2.0 * rows * columns, rel=2e-6)
    assert value == pytest.approx(2.0 * 0.64 * total, rel=1e-6)


def test_a_whole_pixel_falls_on_one() -> None:
    window = WindowSums.zeros((5, 6))
    one = np.full((1, 1), 3.0, np.float32)
    assert add_chip_to_rows(one, one, bent_map((1, 1), 1.0, 0.0, (2.0, 3.0)), window, scale_ratio=1.0) == 1
    assert window.sums[3, 2].tolist() == [9.0, 3.0]
    assert np.count_nonzero(window.sums) == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("kernel", ["square", "turbo", "point"])
def test_pixels_of_no_weight_do_not_matter(kernel: str, bad: float) -> None:
    shape = (30, 140)
    science, weight = chip_planes(shape)
    windows = []
    for value in (0.0, bad):
        spoilt = np.where(weight == 0.0, np.float32(value), science)
        window = WindowSums.zeros((90, 190), variance=True)
        add_chip_to_rows(
            spoilt,
            weight,
            bent_map(shape, 1.1, 0.3, (12.0, 2.0)),
            window,
            scale_ratio=0.9,
            kernel=kernel,
            variance=spoilt,
        )
        windows.append(window)
    np.testing.assert_array_equal(windows[0].sums, windows[1].sums)
    np.testing.assert_array_equal(windows[0].variance, windows[1].variance)
    assert np.isfinite(windows[0].sums).all()


@settings(max_examples=40)
@given(
    angle=st.floats(-math.pi, math.pi),
    distance=st.floats(60.0, 1e8),
    direction=st.floats(-math.pi, math.pi),
    kernel=st.sampled_from(["square", "turbo", "point"]),
)
def test_a_chip_outside_leaves_nothing(angle: float, distance: float, direction: float, kernel: str) -> None:
    centre = (15.0 + distance * math.cos(direction), 15.0 + distance * math.sin(direction))
    pixel_map = bent_map((20, 20), 1.3, angle, centre)
    # 20 pixels of 1.3 reach 37 pixels from the first one, the window's corners 22 from its middle.
    window = WindowSums.zeros((30, 30), context_chips=1)
    n_used = add_chip_to_rows(*chip_planes((20, 20)), pixel_map, window, scale_ratio=0.8, kernel=kernel)
    assert n_used == 0
    assert not any(plane.any() for plane in all_planes(window))


@settings(max_examples=25)
@given(
    angle=st.floats(-math.pi, math.pi),
    x=st.floats(-150.0, 100.0),
    y=st.floats(-150.0, 100.0),
    bend=st.floats(-1e-3, 1e-3),
    shape=st.sampled_from([(40, 150), (130, 20), (33, 129)]),
)
def test_no_part_of_the_chip_is_passed_over(
    angle: float, x: float, y: float, bend: float, shape: tuple[int, int]
) -> None:
    pixel_map = bent_map(shape, 1.2, angle, (x, y), bend=bend)
    weight = np.ones(shape, np.float32)
    window = WindowSums.zeros((50, 60))
    n_used = add_chip_to_rows(weight, weight, pixel_map, window, scale_ratio=1.0, kernel="point")
    u, v = np.moveaxis(pixel_map.evaluate(), -1, 0)
    inside = (u >= -0.5) & (u < 59.5) & (v >= -0.5) & (v < 49.5)
    # Centres within rounding of a border may fall on either side.
    border = np.minimum(np.abs(u % 1.0 - 0.5), np.abs(v % 1.0 - 0.5)) < 1e-9
    assert abs(n_used - np.count_nonzero(inside)) <= np.count_nonzero(border)
    assert window.sums[..., 1].sum() == n_used


@pytest.mark.parametrize("slope", [0.0, 0.7, -1.3])
def test_a_map_without_area_leaves_nothing_odd(slope: float) -> None:
    pixel_map = bent_map((4, 140), 1.234, 0.7, (5.0, 205.0))
    pixel_map.coefficients[1] = slope * pixel_map.coefficients[0]
    window = WindowSums.zeros((400, 260))
    ones = np.ones((4, 140), np.float32)
    add_chip_to_rows(ones, ones, pixel_map, window, scale_ratio=1.0)
    assert not window.sums.any()


@pytest.mark.parametrize("thinness", [0.5, 0.1, 0.02, 1e-4])
def test_thin_pixels_keep_their_weight(thinness: float) -> None:
    shape = (3, 40)
    pixel_map = bent_map(shape, 1.0, 0.0, (0.0, 0.0))
    c, s = math.cos(0.7), math.sin(0.7)
    pixel_map.coefficients[:, 0, 1] = 4.4 * c, 4.4 * s
    pixel_map.coefficients[:, 1, 0] = -thinness * s, thinness * c
    pixel_map.coefficients[:, 0, 0] = 20.0, 10.0
    window = WindowSums.zeros((150, 190), context_chips=1)
    ones = np.ones(shape, np.float32)
    assert add_chip_to_rows(ones, ones, pixel_map, window, scale_ratio=1.0) == 120
    assert window.sums[..., 1].sum(dtype=np.float64) == pytest.approx(120.0, rel=1e-5)
    assert window.sums.min() >= 0.0
    assert not any(plane.any() for plane in all_planes(window.emptied((150, 190), (0, 0))))


@pytest.mark.parametrize("degree", [0, 1, 3, 5, 9])
def test_maps_of_any_degree(degree: int) -> None:
    shape, n = (50, 300), degree + 1
    random = np.random.default_rng(degree)
    coefficients = np.zeros((2, n, n))
    coefficients[:, 0, 0] = 170.0, 40.0
    if degree > 0:
        coefficients[0, 0, 1], coefficients[1, 1, 0] = 150.0, 25.0
        coefficients += random.normal(0.0, 0.02, coefficients.shape)
    none = np.zeros(0)
    pixel_map = PixelMap(
        shape, (149.5, 24.5), (150.0, 25.0), coefficients, none, none, np.zeros((2, 0, 0)), 0.0
    )
    science, weight = chip_planes(shape)
    window = WindowSums.zeros((90, 350))
    add_chip_to_rows(science, weight, pixel_map, window, scale_ratio=1.0, kernel="turbo")
    # Upright squares of one output pixel about exact positions.
    expected = np.zeros((90, 350))
    y, x = np.nonzero(weight)
    u, v = pixel_map.at(x.astype(float), y.astype(float))
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    for di, dj in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = np.abs(1 - di - (u - i)) * np.abs(1 - dj - (v - j))
        np.add.at(expected, (j + dj, i + di), share * weight[y, x])
    np.testing.assert_allclose(window.sums[..., 1], expected, atol=2e-4 if degree else 2.0, rtol=2e-6)


def test_nothing_but_the_window_is_written() -> None:
    shape = (40, 200)
    science, weight = chip_planes(shape)
    guarded = np.full((300, 330, 2), 7.0, dtype=np.float32)
    for scale, angle in ((1.3, 0.5), (0.4, 2.0), (3.3, 4.0)):
        guarded[100:200] = 0.0
        # Whole rows of a larger array: what is written before or behind them is seen.
        window = WindowSums(guarded[100:200], (0, 20))
        add_chip_to_rows(
            science, weight, bent_map(shape, scale, angle, (160.0, 70.0)), window, scale_ratio=1.0
        )
        assert window.sums.any()
        assert (guarded[:100] == 7.0).all()
        assert (guarded[200:] == 7.0).all()


@pytest.mark.parametrize("half_size", [(1e-110, 1.0), (1.0, 1e-4), (1e10, 1.0), (0.0, 1.0)])
def test_maps_in_senseless_units_are_refused(half_size: tuple[float, float]) -> None:
    science, weight = chip_planes((40, 200))
    window = WindowSums.zeros((100, 400))
    good = bent_map((40, 200), 1.0, 0.0, (20.0, 20.0))
    pixel_map = PixelMap(
        good.shape, good.centre, half_size, good.coefficients, good.x_knots, good.y_knots, good.residual, 0.0
    )
    with pytest.raises(ValueError, match="half size"):
        add_chip_to_rows(science, weight, pixel_map, window, scale_ratio=1.0)
    assert not window.sums.any()


def test_empty_chips_and_windows() -> None:
    pixel_map = bent_map((1, 1), 1.0, 0.0, (0.0, 0.0))
    window = WindowSums.zeros((0, 10))
    assert add_chip_to_rows(*chip_planes((3, 3)), pixel_map, window, scale_ratio=1.0) == 0
    assert add_chip_to_rows(*chip_planes((0, 3)), pixel_map, WindowSums.zeros((5, 5)), scale_ratio=1.0) == 0


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e12])
def test_maps_without_sense_are_refused(number: float) -> None:
    science, weight = chip_planes((4, 4))
    window = WindowSums.zeros((5, 5))
    for field in ("coefficients", "residual"):
        pixel_map = bent_map((4, 4), 1.0, 0.0, (0.0, 0.0), x_knots=(-0.5, 3.5), y_knots=(-0.5, 3.5))
        getattr(pixel_map, field)[0, 0, 0] = number
        with pytest.raises(ValueError, match="map"):
            add_chip_to_rows(science, weight, pixel_map, window, scale_ratio=1.0)
    assert not window.sums.any()


def test_a_map_in_terms_beyond_numbers_is_refused() -> None:
    nowhere = PixelMap(
        (4, 4),
        (1e308, 0.0),
        (1e-3, 1.0),
        np.full((2, 1, 1), 2.0),
        *np.zeros((2, 0)),
        np.zeros((2, 0, 0)),
        0.0,
    )
    science, weight = chip_planes((4, 4))
    with pytest.raises(ValueError, match="map"):
        add_chip_to_rows(science, weight, nowhere, WindowSums.zeros((5, 5)), scale_ratio=1.0)


def test_wrong_arguments_are_refused() -> None:
    science, weight = chip_planes((4, 4))
    good = bent_map((4, 4), 1.0, 0.0, (0.0, 0.0))
    window = WindowSums.zeros((5, 5), variance=True)
    with pytest.raises(ValueError, match="weight"):
        add_chip_to_rows(science, weight[:3], good, window, scale_ratio=1.0, variance=weight)
    with pytest.raises(ValueError, match="variance"):
        add_chip_to_rows(science, weight, good, window, scale_ratio=1.0)
    plain = WindowSums.zeros((5, 5))
    with pytest.raises(ValueError, match="kernel"):
        add_chip_to_rows(science, weight, good, plain, scale_ratio=1.0, kernel="gaussian")
    with pytest.raises(ValueError, match="instruction set"):
        add_chip_to_rows(science, weight, good, plain, scale_ratio=1.0, instruction_set="mmx")
    for pixfrac, ratio in ((0.0, 1.0), (1.1, 1.0), (math.nan, 1.0), (1.0, 0.0), (1.0, math.inf)):
        with pytest.raises(ValueError, match="pixfrac"):
            add_chip_to_rows(science, weight, good, plain, scale_ratio=ratio, pixfrac=pixfrac)
    for knots in (((0.0, 0.0, 1.0), (0.0, 1.0)), ((0.0,), (0.0, 1.0)), ((0.0, 1.0), ())):
        bad = bent_map((4, 4), 1.0, 0.0, (0.0, 0.0), x_knots=knots[0], y_knots=knots[1])
        with pytest.raises(ValueError, match="knots"):
            add_chip_to_rows(science, weight, bad, plain, scale_ratio=1.0)
    for unit_weight in (math.nan, -1.0, 1e300):
        with pytest.raises(ValueError, match="unit_weight"):
            add_chip_to_rows(science, weight, good, plain, scale_ratio=1.0, unit_weight=unit_weight)
    for number in (-1, 32):
        with pytest.raises(ValueError, match="chip_number"):
            add_chip_to_rows(
                science,
                weight,
                good,
                WindowSums.zeros((5, 5), context_chips=8),
                scale_ratio=1.0,
                chip_number=number,
            )
    double = WindowSums(np.zeros((5, 5, 2)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sums"):
        add_chip_to_rows(science, weight, good, double, scale_ratio=1.0)
    flat = WindowSums(np.zeros((5, 5, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="sums"):
        add_chip_to_rows(science, weight, good, flat, scale_ratio=1.0)
    # An output that is no single block of memory is refused, not left untouched.
    with pytest.raises(ValueError, match="contiguous"):
        add_chip_to_rows(
            science, weight, good, WindowSums(np.zeros((5, 9, 2), np.float32)[:, ::2]), scale_ratio=1.0
        )


def test_the_fill_value_goes_where_there_is_no_weight() -> None:
    window = WindowSums(np.zeros((2, 3, 2), dtype=np.float32))
    window.sums[1, 2] = (6.0, 4.0)
    science, weight = window.finish(math.nan)
    assert science[1, 2] == 1.5
    assert weight[1, 2] == 4.0
    assert np.isnan(science).sum() == 5
    assert (window.finish(-1.0)[0] == -1.0).sum() == 5


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
def test_a_mask_with_one_weight_is_worth_a_plane_of_weights(instruction_set: str) -> None:
    shape = (70, 300)
    science, weight = chip_planes(shape)
    science[weight == 0.0] = np.nan
    pixel_map = bent_map(shape, 1.3, 0.5, (60.0, -12.0), bend=2e-4)
    options: dict[str, Any] = {"scale_ratio": 0.8, "variance": weight, "instruction_set": instruction_set}
    windows = [WindowSums.zeros((190, 400), context_chips=1, variance=True) for _ in range(3)]
    used = [
        add_chip_to_rows(science, weight, pixel_map, windows[0], **options),
        add_chip_to_rows(science, weight > 0.0, pixel_map, windows[1], unit_weight=120.0, **options),
        add_chip_to_rows(science, weight / 2, pixel_map, windows[2], unit_weight=2.0, **options),
    ]
    assert used[0] == used[1] == used[2] > 10000
    for window in windows[1:]:
        for one, other in zip(all_planes(window), all_planes(windows[0]), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kernel", ["square", "point"])
@pytest.mark.parametrize("scale", [0.4, 1.3, 12.0])
def test_all_that_is_touched_is_remembered_and_cleared(kernel: str, scale: float) -> None:
    shape = (20, 150)
    science, weight = chip_planes(shape)
    pixel_map = bent_map(shape, scale, 0.5, (-5.0, 3.0))
    options: dict[str, Any] = {"scale_ratio": 0.8, "kernel": kernel, "variance": weight}
    window = WindowSums.zeros((60, 170), context_chips=40, variance=True)
    add_chip_to_rows(science, weight, pixel_map, window, chip_number=39, **options)
    assert window.touched is not None
    columns = np.arange(170)
    untouched = (columns < window.touched[:, :1]) | (columns >= window.touched[:, 1:])
    assert window.context is not None
    assert window.variance is not None
    for plane in (window.sums, *window.context, window.variance):
        assert not plane[untouched].any()
    values, weights = window.finish(np.nan)
    np.testing.assert_array_equal(weights, window.sums[..., 1])
    np.testing.assert_array_equal(np.isnan(values), weights == 0.0)
    fresh = WindowSums.zeros((40, 170), (3, -4), context_chips=40, variance=True)
    again = window.emptied((40, 170), (3, -4))
    for plane in all_planes(again):
        assert not plane.any()
    for one in (fresh, again):
        add_chip_to_rows(science, weight, pixel_map, one, **options)
    for plane, other in zip(all_planes(again), all_planes(fresh), strict=True):
        np.testing.assert_array_equal(plane, other)
    assert not any(plane.any() for plane in all_planes(window.emptied((60, 170), (0, 0))))
