"""The adapter to `drizzle`: against exact polygon areas, against `drizzle` in one call, and at its edges."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multivisit.combine import drizzle_engine
from multivisit.combine.drizzle_engine import KERNELS, DrizzleEngine
from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Planes = tuple[NDArray[np.float32], NDArray[np.float32]]


def exact_planes(
    data: NDArray[Any],
    weight: NDArray[Any],
    pixel_map: Any,
    shape: tuple[int, int],
    ratio: float,
    pixfrac: float,
) -> Planes:
    """Weighted means over the exact overlap areas of quadrilaterals and output pixels, by shapely."""
    from shapely import Polygon, box, intersection

    cells = np.array(
        [[box(i - 0.5, j - 0.5, i + 0.5, j + 0.5) for i in range(shape[1])] for j in range(shape[0])]
    )
    flux, total = np.zeros(shape), np.zeros(shape)
    h = 0.5 * pixfrac
    for (y, x), value in np.ndenumerate(data):
        if weight[y, x] == 0.0:
            continue
        u, v = pixel_map.at(x + np.array([-h, h, h, -h]), y + np.array([-h, -h, h, h]))
        drop = Polygon(np.column_stack([u, v]))
        share = np.array([c.area for c in intersection(cells, drop).ravel()]).reshape(shape) / drop.area
        total += weight[y, x] * share
        flux += weight[y, x] * share * value
    with np.errstate(invalid="ignore"):
        return flux / total * ratio**2, total


def one_call(
    data: NDArray[Any],
    weight: NDArray[Any],
    coordinates: NDArray[Any],
    shape: tuple[int, int],
    **options: Any,
) -> Planes:
    """The planes that the `drizzle` package makes of a whole chip."""
    from drizzle.resample import Drizzle

    ratio = options.pop("ratio")
    drizzler = Drizzle(out_shape=shape, kernel=options.pop("kernel"), disable_ctx=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drizzler.add_image(
            data, 1.0, coordinates, weight_map=weight, iscale=ratio**2, pixel_scale_ratio=ratio, **options
        )
    return drizzler.out_img, drizzler.out_wht


def planes(
    data: NDArray[Any],
    weight: NDArray[Any],
    pixel_map: Any,
    shape: tuple[int, int],
    ratio: float,
    **options: Any,
) -> Planes:
    engine = DrizzleEngine(shape, **options)
    engine.add_chip(data, weight, pixel_map, ratio, 0)
    return engine.finish(math.nan)


def random_chip(shape: tuple[int, int], seed: int = 1) -> Planes:
    random = np.random.default_rng(seed)
    data = random.normal(3.0, 1.0, shape).astype(np.float32)
    weight = (random.random(shape) > 0.1).astype(np.float32) * np.float32(120.0)
    return data, weight


@settings(max_examples=30)
@given(
    angle=st.floats(-math.pi, math.pi),
    scale=st.floats(0.4, 3.0),
    skew=st.floats(-0.1, 0.1),
    pixfrac=st.floats(0.05, 1.0),
    mask=st.integers(0, 2**20 - 1),
    x=st.floats(-3.0, 10.0),
    y=st.floats(-3.0, 10.0),
)
def test_planes_are_exact_overlap_areas(
    plane_map: Any, angle: float, scale: float, skew: float, pixfrac: float, mask: int, x: float, y: float
) -> None:
    shape = (4, 5)
    pixel_map = plane_map(shape, scale, angle, (x, y), skew)
    data, _ = random_chip(shape)
    weight = np.array([mask >> k & 1 for k in range(20)], dtype=np.float32).reshape(shape) * 7
    science, total = planes(data, weight, pixel_map, (9, 11), 1 / scale, pixfrac=pixfrac)
    expected, expected_total = exact_planes(data, weight, pixel_map, (9, 11), 1 / scale, pixfrac)
    np.testing.assert_allclose(total, expected_total, atol=1e-4)
    # A sliver of an overlap has a mean, though not one that survives rounding.
    solid = expected_total > 1e-3
    np.testing.assert_allclose(science[solid], expected[solid], rtol=2e-4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_blocks_of_rows_give_the_bits_of_one_call(
    plane_map: Any, monkeypatch: pytest.MonkeyPatch, kernel: str
) -> None:
    shape, output = (90, 70), (200, 190)
    pixel_map = plane_map(shape, 1.25, 0.7, (75.0, 20.0), 0.05, 1e-4)
    data, weight = random_chip(shape)
    # Shares of lanczos kernels sum to the pixel's area in the package alone.
    given = weight * np.float32(0.8**2) if kernel.startswith("lanczos") else weight
    expected = one_call(data, given, pixel_map.evaluate(), output, kernel=kernel, pixfrac=0.8, ratio=0.8)
    # Blocks of 7 rows are where the package, left to itself, loses most of a chip.
    for rows in (7, 64, 1000):
        monkeypatch.setattr(drizzle_engine, "_BLOCK_ROWS", rows)
        found = planes(data, weight, pixel_map, output, 0.8, kernel=kernel, pixfrac=0.8)
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_allclose(
            found[0], np.where(expected[1] == 0, np.nan, expected[0]), rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize("kernel", ["square", "point", "turbo", "lanczos3"])
def test_a_window_is_a_cut_of_the_whole(plane_map: Any, kernel: str) -> None:
    shape = (90, 70)
    pixel_map = plane_map(shape, 1.25, 0.7, (75.0, 20.0), 0.05, 1e-4)
    data, weight = random_chip(shape)
    whole = planes(data, weight, pixel_map, (200, 190), 0.8, kernel=kernel)
    for x, y, ny, nx in ((30, 60, 50, 40), (0, 0, 200, 1), (0, 100, 1, 190), (60, 0, 45, 130)):
        part = planes(data, weight, pixel_map, (ny, nx), 0.8, kernel=kernel, origin=(x, y))
        for one, other in zip(part, whole, strict=True):
            np.testing.assert_allclose(one, other[y : y + ny, x : x + nx], rtol=1e-6, atol=1e-6)


def test_a_uniform_sky_stays_uniform(plane_map: Any) -> None:
    # Pixels 1.25 output pixels wide: 2.5 electrons/s a pixel are 1.6 per output pixel, exactly.
    pixel_map = plane_map((80, 90), 1.25, 1.1, (90.0, 5.0))
    data, weight = np.full((80, 90), 2.5, np.float32), np.full((80, 90), 500.0, np.float32)
    science, total = planes(data, weight, pixel_map, (170, 150), 0.8)
    np.testing.assert_allclose(science[total > 0], 2.5 / 1.25**2, rtol=1e-6)
    v, u = np.indices(total.shape)
    x, y = pixel_map.inverse(u, v)
    inside = (x > 1) & (x < 88) & (y > 1) & (y < 78)
    np.testing.assert_allclose(total[inside], 500.0 / 1.25**2, rtol=1e-5)
    assert float(total.sum(dtype=np.float64)) == pytest.approx(500.0 * 80 * 90, rel=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("ratio", [0.3125, 0.9375, 2.4])
def test_the_whole_weight_is_kept(plane_map: Any, kernel: str, ratio: float) -> None:
    pixel_map = plane_map((60, 60), 1.0 / ratio, 0.3, (30.0 / ratio, 15.0 / ratio))
    size = int(120 / ratio)
    data, weight = np.full((60, 60), 2.5, np.float32), np.full((60, 60), 500.0, np.float32)
    science, total = planes(data, weight, pixel_map, (size, size), ratio, kernel=kernel)
    # Cut off after two or three waves, the lanczos kernels keep it to 2 % and 0.6 %.
    kept = {"lanczos2": 0.021, "lanczos3": 0.007, "gaussian": 0.004}.get(kernel, 1e-5)
    assert float(total.sum(dtype=np.float64)) == pytest.approx(500.0 * 3600, rel=kept)
    deep = total > 0.5 * total.max()
    np.testing.assert_allclose(science[deep], 2.5 * ratio**2, rtol=1e-5)


@pytest.mark.parametrize("kernel", ["square", "turbo"])
def test_the_flux_of_a_star_is_kept(plane_map: Any, kernel: str) -> None:
    pixel_map = plane_map((60, 60), 1.25, 0.4, (40.0, 5.0))
    y, x = np.mgrid[:60, :60]
    star = (1000.0 / (2 * np.pi) * np.exp(-0.5 * ((x - 30.3) ** 2 + (y - 29.6) ** 2))).astype(np.float32)
    science, total = planes(star, np.ones((60, 60), np.float32), pixel_map, (120, 120), 0.8, kernel=kernel)
    assert float(np.nansum(science * total, dtype=np.float64) * 1.25**2) == pytest.approx(
        float(star.sum()), rel=1e-6
    )
    if kernel == "square":
        assert float(np.nansum(science, dtype=np.float64)) == pytest.approx(1000.0, rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("kernel", KERNELS)
def test_pixels_of_no_weight_do_not_matter(plane_map: Any, kernel: str, bad: float) -> None:
    shape = (30, 33)
    pixel_map = plane_map(shape, 1.1, 0.3, (12.0, 2.0))
    data, weight = random_chip(shape)
    spoilt = np.where(weight == 0, np.float32(bad), data)
    clean = np.where(weight == 0, np.float32(0.0), data)
    for one, other in zip(
        planes(spoilt, weight, pixel_map, (50, 50), 0.9, kernel=kernel),
        planes(clean, weight, pixel_map, (50, 50), 0.9, kernel=kernel),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert np.array_equal(np.isnan(spoilt), (weight == 0) & np.isnan(np.float32(bad)))


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (2, 2)])
def test_chips_of_one_row_or_one_pixel(plane_map: Any, shape: tuple[int, int]) -> None:
    pixel_map = plane_map(shape, 1.7, 0.5, (5.2, 3.1), 0.03)
    data, weight = np.full(shape, 4.0, np.float32), np.full(shape, 2.0, np.float32)
    science, total = planes(data, weight, pixel_map, (16, 18), 0.5)
    expected = exact_planes(data, weight, pixel_map, (16, 18), 0.5, 1.0)
    np.testing.assert_allclose(total, expected[1], atol=1e-5)
    np.testing.assert_allclose(science[total > 0], 1.0, rtol=1e-6)


def test_one_pixel_of_overlap(plane_map: Any) -> None:
    # The chip's last pixel covers a quarter of the window's first one.
    pixel_map = plane_map((10, 10), 1.0, 0.0, (-9.5, -9.5))
    data, weight = np.full((10, 10), 6.0, np.float32), np.full((10, 10), 100.0, np.float32)
    engine = DrizzleEngine((5, 7))
    assert engine.add_chip(data, weight, pixel_map, 1.0, 0) == 1
    science, total = engine.finish(math.nan)
    assert total[0, 0] == pytest.approx(25.0)
    assert science[0, 0] == pytest.approx(6.0)
    assert np.count_nonzero(total) == 1
    assert np.count_nonzero(np.isnan(science)) == 34


@pytest.mark.parametrize("offset", [(-500.0, 0.0), (500.0, 0.0), (0.0, -500.0), (0.0, 500.0), (-60.0, -60.0)])
def test_a_chip_outside_leaves_nothing(plane_map: Any, offset: tuple[float, float]) -> None:
    pixel_map = plane_map((20, 20), 1.3, 0.8, offset)
    engine = DrizzleEngine((30, 30))
    assert engine.add_chip(*random_chip((20, 20)), pixel_map, 0.8, 0) == 0
    science, total = engine.finish(-1.0)
    assert not total.any()
    assert (science == -1.0).all()


def test_a_chip_without_weight_is_not_even_mapped() -> None:
    class NoMap:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    engine = DrizzleEngine((30, 30))
    assert engine.add_chip(*(np.zeros((2, 20, 20), np.float32)), NoMap(), 0.8, 0) == 0


def test_context_bits_name_the_chips(plane_map: Any) -> None:
    engine = DrizzleEngine((6, 40), context_chips=34)
    ones = np.ones((2, 2), np.float32)
    for chip in range(34):
        engine.add_chip(ones, ones, plane_map((2, 2), 1.0, 0.0, (chip + 1.0, 2.0)), 1.0, chip)
    context = engine.context
    assert context is not None
    assert context.shape == (2, 6, 40)
    for column in range(40):
        bits = sum(int(context[plane, 2, column]) % 2**32 << 32 * plane for plane in range(2))
        assert bits == sum(1 << chip for chip in range(34) if column in (chip + 1, chip + 2))
    assert not context[:, :2].any()
    assert DrizzleEngine((2, 2)).context is None


def test_the_number_of_used_pixels(plane_map: Any) -> None:
    data, weight = random_chip((50, 40))
    pixel_map = plane_map((50, 40), 1.2, 0.4, (5.0, -8.0))
    u, v = np.moveaxis(pixel_map.evaluate(), -1, 0)
    inside = (u >= -0.5) & (u < 29.5) & (v >= -0.5) & (v < 34.5) & (weight > 0)
    assert DrizzleEngine((35, 30)).add_chip(data, weight, pixel_map, 0.8, 0) == np.count_nonzero(inside)


def test_a_tiny_pixfrac_makes_points(plane_map: Any) -> None:
    data, weight = random_chip((20, 20))
    pixel_map = plane_map((20, 20), 1.2, 0.4, (9.0, 0.0))
    for one, other in zip(
        planes(data, weight, pixel_map, (30, 30), 0.8, pixfrac=0.0),
        planes(data, weight, pixel_map, (30, 30), 0.8, kernel="point"),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "options", [{"kernel": "tophat"}, {"pixfrac": -0.1}, {"pixfrac": 1.5}, {"pixfrac": math.nan}]
)
def test_impossible_parameters_are_refused(options: Any) -> None:
    with pytest.raises(ParameterError, match="final_"):
        DrizzleEngine((5, 5), **options)
