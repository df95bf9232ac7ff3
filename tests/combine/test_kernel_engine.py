"""The engine on the kernel against the `drizzle` package with the exact pixel maps of Hubble's detectors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from multivisit.combine.drizzle_engine import KERNELS, DrizzleEngine
from multivisit.combine.engines import engine_memory, make_engine
from multivisit.combine.kernel_engine import FAST_KERNELS, KernelEngine
from multivisit.errors import ParameterError
from multivisit.exposures.pixel_map import PixelMap
from multivisit.simulate.geometry import Pointing, Window, chip_wcs, detector_geometry

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.wcs import WCS
    from numpy.typing import NDArray

SHAPE = (420, 500)


def output_wcs(chip: WCS, scale: float, shape: tuple[int, int], middle: tuple[float, float]) -> WCS:
    """A tangent plane with a chip position in the middle of an image."""
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.1, 2.2]
    wcs.wcs.crpix = [1.0, 1.0]
    wcs.wcs.cdelt = [-scale / 3600.0, scale / 3600.0]
    wcs.wcs.set()
    u, v = wcs.wcs_world2pix(*chip.all_pix2world(*middle, 0), 0)
    wcs.wcs.crpix = [1.0 + shape[1] / 2 - float(u), 1.0 + shape[0] / 2 - float(v)]
    wcs.wcs.set()
    return wcs


def drizzled(
    data: NDArray[Any],
    weight: NDArray[Any],
    coordinates: NDArray[Any],
    shape: tuple[int, int],
    ratio: float,
    kernel: str,
    pixfrac: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    from drizzle.resample import Drizzle

    drizzler = Drizzle(out_shape=shape, kernel=kernel, fillval="0")
    drizzler.add_image(
        data,
        1.0,
        coordinates,
        weight_map=weight,
        pixfrac=pixfrac,
        iscale=ratio**2,
        pixel_scale_ratio=ratio,
    )
    return drizzler.out_img, drizzler.out_wht, drizzler.out_ctx[0]


@pytest.mark.parametrize(
    ("detector", "native", "scale", "roll", "kernel", "pixfrac"),
    [
        ("acs_wfc", 0.05, 0.04, 27.0, "square", 1.0),
        ("acs_wfc", 0.05, 0.04, 200.0, "square", 0.8),
        ("acs_wfc", 0.05, 0.0125, 80.0, "square", 1.0),
        ("acs_wfc", 0.05, 0.2, 10.0, "square", 1.0),
        ("acs_wfc", 0.05, 0.04, 310.0, "turbo", 0.9),
        ("wfc3_uvis", 0.0396, 0.04, 45.0, "square", 1.0),
        ("wfc3_uvis", 0.0396, 0.12, 123.0, "square", 0.5),
        ("wfc3_ir", 0.1283, 0.12, 5.0, "square", 1.0),
        ("wfc3_ir", 0.1283, 0.04, 61.0, "square", 1.0),
    ],
)
def test_planes_are_those_of_drizzle_on_the_exact_map(
    exact_map: Callable[..., NDArray[np.float64]],
    detector: str,
    native: float,
    scale: float,
    roll: float,
    kernel: str,
    pixfrac: float,
) -> None:
    chip = detector_geometry(detector).chips[0]
    ratio = scale / native
    wcs = chip_wcs(chip, Pointing(150.1, 2.2, roll), Window(300, 200, SHAPE))
    # Large enough for the chip's diagonal at any roll.
    size = int(math.hypot(*SHAPE) / ratio * 1.15) + 20
    output = output_wcs(wcs, scale, (size, size), (SHAPE[1] / 2, SHAPE[0] / 2))
    random = np.random.default_rng(5)
    data = random.normal(20.0, 3.0, SHAPE).astype(np.float32)
    weight = np.full(SHAPE, 500.0, np.float32)
    weight[random.random(SHAPE) < 0.01] = 0.0
    coordinates = exact_map(wcs, SHAPE, output)
    expected = drizzled(data, weight, coordinates, (size, size), ratio, kernel, pixfrac)

    engine = KernelEngine((size, size), kernel=kernel, pixfrac=pixfrac, context_chips=1)
    n_used = engine.add_chip(data, weight, PixelMap.fit(wcs, SHAPE, output), ratio, 0)
    science, total = engine.finish(0.0)
    assert n_used == np.count_nonzero(weight)

    full = 500.0 * ratio**2
    # Beyond the chip's outermost centres `drizzle` extrapolates its table of positions.
    u, v = coordinates[..., 0], coordinates[..., 1]
    rim = np.zeros((size, size), dtype=bool)
    for edge in (np.s_[:2], np.s_[-2:], np.s_[:, :2], np.s_[:, -2:]):
        cell = np.floor(np.stack([v[edge].ravel(), u[edge].ravel()]) + 0.5).astype(int)
        reach = math.ceil(1.5 / ratio) + 1
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                rim[np.clip(cell[0] + dy, 0, size - 1), np.clip(cell[1] + dx, 0, size - 1)] = True
    interior = ~rim
    np.testing.assert_allclose(total[interior], expected[1][interior], atol=1e-4 * full)
    solid = interior & (expected[1] > 0.1 * full)
    assert np.count_nonzero(solid) > 0.4 * SHAPE[0] * SHAPE[1] / ratio**2 * min(1.0, pixfrac)
    np.testing.assert_allclose(science[solid], expected[0][solid], atol=1e-4 * 20.0 * ratio**2)
    whole = [np.sum(a * b, dtype=np.float64) for a, b in ((science, total), expected[:2])]
    assert whole[0] == pytest.approx(whole[1], rel=1e-6)
    assert total.sum(dtype=np.float64) == pytest.approx(expected[1].sum(dtype=np.float64), rel=1e-6)
    assert engine.context is not None
    differs = engine.context[0] != expected[2]
    # Slivers: their edges differ by the map's error, 1e-5 output pixel and less.
    assert expected[1][differs & interior].max(initial=0.0) < 1e-5 * max(full, 500.0)
    assert total[differs & interior].max(initial=0.0) < 1e-5 * max(full, 500.0)


def test_points_are_those_of_drizzle(exact_map: Callable[..., NDArray[np.float64]]) -> None:
    chip = detector_geometry("acs_wfc").chips[1]
    wcs = chip_wcs(chip, Pointing(150.1, 2.2, 77.0), Window(100, 900, SHAPE))
    output = output_wcs(wcs, 0.04, (800, 850), (SHAPE[1] / 2, SHAPE[0] / 2))
    data = np.random.default_rng(5).normal(20.0, 3.0, SHAPE).astype(np.float32)
    weight = np.full(SHAPE, 500.0, np.float32)
    expected = drizzled(data, weight, exact_map(wcs, SHAPE, output), (800, 850), 0.8, "point", 1.0)
    engine = KernelEngine((800, 850), kernel="point")
    engine.add_chip(data, weight, PixelMap.fit(wcs, SHAPE, output), 0.8, 0)
    science, total = engine.finish(0.0)
    # A centre within the map's error of a border falls on the other side of it: none does here.
    np.testing.assert_array_equal(total, expected[1])
    np.testing.assert_allclose(science, expected[0], rtol=1e-6)


@pytest.mark.parametrize("kernel", FAST_KERNELS)
def test_both_engines_make_the_same_of_several_chips(kernel: str) -> None:
    chips = detector_geometry("acs_wfc").chips
    window = Window(1000, 40, (200, 260))
    wcs = [chip_wcs(chip, Pointing(150.1, 2.2, roll), window) for chip in chips for roll in (20.0, 21.0)]
    output = output_wcs(wcs[0], 0.04, (300, 330), (150.0, 80.0))
    ours = KernelEngine((200, 250), origin=(40, 30), kernel=kernel, context_chips=40)
    theirs = DrizzleEngine((200, 250), origin=(40, 30), kernel=kernel, context_chips=40)
    random = np.random.default_rng(6)
    for number, chip in zip((0, 31, 32, 39), wcs, strict=True):
        pixel_map = PixelMap.fit(chip, window.shape, output)
        data = random.normal(20.0, 3.0, window.shape).astype(np.float32)
        weight = np.where(random.random(window.shape) < 0.05, 0.0, 500.0).astype(np.float32)
        used = [engine.add_chip(data, weight, pixel_map, 0.8, number) for engine in (ours, theirs)]
        assert abs(used[0] - used[1]) <= 2
    assert ours.context is not None
    assert theirs.context is not None
    planes = [engine.finish(0.0) for engine in (ours, theirs)]
    if kernel == "point":
        # Centres on a border within rounding may go either way.
        assert np.count_nonzero(planes[0][1] != planes[1][1]) <= 4
        return
    # Along the chips' outlines, where `drizzle` extrapolates, it is 0.06; inside 0.001.
    np.testing.assert_allclose(planes[0][1], planes[1][1], atol=0.1)
    solid = planes[0][1] > 5.0
    assert np.count_nonzero(solid) > 10000
    np.testing.assert_allclose(planes[0][0][solid], planes[1][0][solid], rtol=1e-3)
    assert planes[0][1][(ours.context != theirs.context).any(axis=0)].size < 50


@pytest.mark.parametrize(
    "options", [{"kernel": "gaussian"}, {"pixfrac": -0.1}, {"pixfrac": 1.5}, {"pixfrac": math.nan}]
)
def test_impossible_parameters_are_refused(options: Any) -> None:
    with pytest.raises(ParameterError, match="final_"):
        KernelEngine((5, 5), **options)


def test_a_tiny_pixfrac_makes_points() -> None:
    shape = (20, 20)
    pixel_map = PixelMap(
        shape,
        (0.0, 0.0),
        (1.0, 1.0),
        np.array([[[3.2, 1.3], [0.2, 0.0]], [[1.2, -0.1], [1.2, 0.0]]]),
        np.empty(0),
        np.empty(0),
        np.empty((2, 0, 0)),
        0.0,
    )
    data = np.random.default_rng(1).normal(3.0, 1.0, shape).astype(np.float32)
    planes = []
    for options in ({"pixfrac": 0.0}, {"kernel": "point", "pixfrac": 0.7}):
        engine = KernelEngine((40, 40), **options)  # type: ignore[arg-type]
        engine.add_chip(data, np.ones(shape, np.float32), pixel_map, 0.8, 0)
        planes.append(engine.finish(0.0))
    np.testing.assert_array_equal(planes[0], planes[1])


@pytest.mark.parametrize("kernel", KERNELS)
def test_each_kernel_has_its_engine(kernel: str) -> None:
    engine = make_engine((3, 4), kernel=kernel, context_chips=2)
    assert isinstance(engine, KernelEngine if kernel in FAST_KERNELS else DrizzleEngine)
    assert engine.variance is None
    assert engine.context is not None
    assert engine.context.shape == (1, 3, 4)
    with pytest.raises(ParameterError, match="final_kernel"):
        make_engine((3, 4), kernel="tophat")


@pytest.mark.parametrize("kernel", ["square", "turbo"])
def test_variances_are_those_of_drizzle(kernel: str) -> None:
    chip = detector_geometry("wfc3_uvis").chips[0]
    window = Window(900, 500, (200, 260))
    random = np.random.default_rng(8)
    ours, theirs = (
        engine((300, 330), kernel=kernel, pixfrac=0.9, variance=True)
        for engine in (KernelEngine, DrizzleEngine)
    )
    output = None
    for number, roll in enumerate((30.0, 31.0)):
        wcs = chip_wcs(chip, Pointing(150.1, 2.2, roll), window)
        output = output_wcs(wcs, 0.04, (300, 330), (130.0, 100.0)) if output is None else output
        pixel_map = PixelMap.fit(wcs, window.shape, output)
        data = random.normal(20.0, 3.0, window.shape).astype(np.float32)
        variance = random.uniform(1.0, 2.0, window.shape).astype(np.float32)
        weight = np.where(random.random(window.shape) < 0.05, 0.0, 500.0).astype(np.float32)
        variance[weight == 0.0] = np.nan
        for engine in (ours, theirs):
            engine.add_chip(data, weight, pixel_map, 0.04 / 0.0396, number, variance=variance)
            with pytest.raises(ValueError, match="variance"):
                engine.add_chip(data, weight, pixel_map, 0.04 / 0.0396, number)
    # Along the chips' outlines `drizzle` extrapolates its map.
    solid = ours.finish(0.0)[1] > 700.0
    assert np.count_nonzero(solid) > 20000
    assert ours.variance is not None
    assert theirs.variance is not None
    np.testing.assert_allclose(ours.variance[solid], theirs.variance[solid], rtol=1e-3)
    assert not ours.variance[ours.finish(0.0)[1] == 0.0].any()


def test_memory_depends_on_the_engine() -> None:
    shape = (1000, 2000)
    assert engine_memory(shape, 4096, 0) == 8 * 2_000_000
    assert engine_memory(shape, 4096, 2, variance=True) == 24 * 2_000_000
    assert engine_memory(shape, 4096, 0, kernel="gaussian") == 8 * 2_000_000 + 260 * 80 * 4096
