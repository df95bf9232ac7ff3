"""Mosaics of layers: small exposure files against known skies, exact maps and `drizzle` itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from multivisit.combine.mosaic import combine_layer
from multivisit.errors import CombineError
from multivisit.exposures.model import read_exposure
from multivisit.plan.parameters import CombinationParameters

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from multivisit.sky.grid import OutputGrid

    WriteExposure = Callable[..., Path]
    MakeGrid = Callable[..., OutputGrid]
    ExactMap = Callable[..., NDArray[np.float64]]

PLAIN = CombinationParameters(skysub=False, static=False, final_bits=0)
SHAPE = (60, 70)
RATIO2 = (0.04 / 0.05) ** 2


def noise(
    seed: int, shape: tuple[int, int] = SHAPE, level: float = 100.0, sigma: float = 5.0
) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(level, sigma, shape).astype(np.float32)


def flags(*positions: tuple[int, int], value: int = 16) -> NDArray[np.int16]:
    plane = np.zeros(SHAPE, np.int16)
    for position in positions:
        plane[position] = value
    return plane


def test_a_layer_is_what_drizzle_makes_with_the_exact_map(
    write_exposure: WriteExposure, small_grid: MakeGrid, exact_map: ExactMap
) -> None:
    from drizzle.resample import Drizzle

    random = np.random.default_rng(1)
    paths = [
        write_exposure(
            f"jtest{k:02d}xq",
            [noise(k)],
            [(16 * (random.random(SHAPE) > 0.9)).astype(np.int16)],
            exposure_time=100.0 * (k + 1),
            angle=0.7 * k,
            shift=(0.2 * k, -0.1),
            distortion=1e-5,
        )
        for k in range(3)
    ]
    exposures = [read_exposure(path) for path in paths]
    # The grid holds the chips whole: where it clips them, `drizzle` left to itself loses pixels.
    grid = small_grid((150, 150))
    mosaic = combine_layer(exposures, grid, PLAIN)
    drizzler = Drizzle(out_shape=grid.shape, disable_ctx=True)
    for exposure in exposures:
        (chip,) = exposure.chips
        drizzler.add_image(
            chip.read_science(),
            exposure.exposure_time,
            exact_map(chip.wcs(), chip.shape, grid.wcs),
            weight_map=(chip.read_data_quality() == 0) * np.float32(exposure.exposure_time),
            iscale=RATIO2,
            pixel_scale_ratio=0.8,
        )
    seen = drizzler.out_wht > 1.0
    np.testing.assert_allclose(mosaic.weight, drizzler.out_wht, atol=600 * 1e-4)
    np.testing.assert_allclose(mosaic.science[seen], drizzler.out_img[seen], rtol=2e-4)
    assert np.array_equal(np.isnan(mosaic.science), mosaic.weight == 0)
    assert mosaic.science.dtype == mosaic.weight.dtype == np.float32


def test_a_sky_at_every_level_becomes_one_sky(write_exposure: WriteExposure, small_grid: MakeGrid) -> None:
    shape = (240, 260)
    exposures = [
        read_exposure(
            write_exposure(
                f"jsky{k:02d}xxq",
                [noise(k, shape, level, 1.0)],
                exposure_time=100.0,
                angle=0.4 * k,
                shift=(k, 0),
            )
        )
        for k, level in enumerate((300.0, 120.0, 200.0))
    ]
    parameters = PLAIN.replace(skysub=True, skylower=None)
    mosaic = combine_layer(exposures, small_grid((400, 400)), parameters)
    levels = [record.sky_level for record in mosaic.chips]
    np.testing.assert_allclose(levels, [1.8, 0.0, 0.8], atol=2e-4)
    assert all(record.sky_measured for record in mosaic.chips)
    # The lowest exposure keeps its 1.2 electrons/s, 0.768 of them per output pixel.
    assert float(np.nanmedian(mosaic.science)) == pytest.approx(1.2 * RATIO2, abs=2e-4)
    common = combine_layer(exposures, small_grid((400, 400)), parameters.replace(skymethod="globalmin+match"))
    np.testing.assert_allclose([record.sky_level for record in common.chips], [3.0, 1.2, 2.0], atol=5e-4)
    assert float(np.nanmedian(common.science)) == pytest.approx(0.0, abs=2e-4)


def test_bad_pixels_never_spread(write_exposure: WriteExposure, small_grid: MakeGrid) -> None:
    image = np.full(SHAPE, 100.0, np.float32)
    bad = [(10, 10), (20, 30), (30, 40), (59, 69)]
    for position, value in zip(bad, (np.nan, np.inf, -np.inf, 1e30), strict=True):
        image[position] = value
    # The first three values count as bad without a flag.
    exposure = read_exposure(write_exposure("jbad01xxq", [image], [flags(bad[3])], distortion=1e-5))
    mosaic = combine_layer([exposure], small_grid(), PLAIN)
    seen = mosaic.weight > 0
    np.testing.assert_allclose(mosaic.science[seen], 1.0 * RATIO2, rtol=1e-5)
    assert mosaic.chips[0].n_good_pixels == 60 * 70 - 4


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("method", ["localmin", "match", "globalmin+match"])
@pytest.mark.parametrize("value", [-1e38, 1e38, 3e38, -np.inf, np.nan])
def test_a_value_beyond_all_measure_in_one_exposure_is_left_out(
    write_exposure: WriteExposure, small_grid: MakeGrid, value: float, method: str
) -> None:
    images = [noise(seed) for seed in (1, 2, 3)]
    images[1][30, 35] = images[1][10, 12] = value
    # Flags pass: it is the value that is bad. 0.1 s turns 1e38 electrons into infinity.
    exposures = [
        read_exposure(write_exposure(f"jwild0{number}xq", [image], exposure_time=0.1))
        for number, image in enumerate(images)
    ]
    parameters = CombinationParameters(
        final_bits=65535, sky_bits=0, static=True, skysub=True, skymethod=method
    )
    mosaic = combine_layer(exposures, small_grid(), parameters)
    assert [chip.n_good_pixels for chip in mosaic.chips] == [4200, 4198, 4200]
    seen = mosaic.weight > 0
    assert np.isfinite(mosaic.science[seen]).all()
    assert np.abs(mosaic.science[seen]).max() < 2000.0


def test_good_bits_choose_the_pixels(write_exposure: WriteExposure, small_grid: MakeGrid) -> None:
    quality = flags((5, 5), value=16)
    quality[7, 7], quality[8, 8] = 4096, 4112
    exposure = read_exposure(write_exposure("jbits1xxq", [noise(1)], [quality]))
    for bits, bad in ((0, 3), (16, 2), ("16, 4096", 0), (None, 0), (65535, 0)):
        mosaic = combine_layer([exposure], small_grid(), PLAIN.replace(final_bits=bits))
        assert mosaic.chips[0].n_good_pixels == 60 * 70 - bad


def test_static_pixels_are_left_out_of_all_exposures(
    write_exposure: WriteExposure, small_grid: MakeGrid
) -> None:
    images = [noise(1), noise(2)]
    images[0][33, 44] = -500.0
    exposures = [
        read_exposure(write_exposure(f"jstat{k}xxq", [image], angle=0.1 * k))
        for k, image in enumerate(images)
    ]
    mosaic = combine_layer(exposures, small_grid(), PLAIN.replace(static=True, static_sig=8.0))
    assert [record.n_static for record in mosaic.chips] == [1, 1]
    assert [record.n_good_pixels for record in mosaic.chips] == [60 * 70 - 1] * 2
    off = combine_layer(exposures, small_grid(), PLAIN)
    assert [record.n_static for record in off.chips] == [0, 0]


def test_units_fill_value_and_weights(write_exposure: WriteExposure, small_grid: MakeGrid) -> None:
    exposures = [
        read_exposure(write_exposure(f"junit{k}xxq", [noise(k)], exposure_time=time))
        for k, time in enumerate((100.0, 300.0))
    ]
    rate = combine_layer(exposures, small_grid(), PLAIN)
    counts = combine_layer(
        exposures,
        small_grid(),
        PLAIN.replace(final_units="counts", final_fillval=-99.0, final_wt_scl="expsq"),
    )
    squares = combine_layer(exposures, small_grid(), PLAIN.replace(final_wt_scl="expsq"))
    seen = rate.weight > 0
    assert np.all(counts.science[~seen] == -99.0)
    np.testing.assert_allclose(counts.science[seen], squares.science[seen] * 400.0, rtol=1e-6)
    np.testing.assert_allclose(squares.weight, rate.weight * (100.0**2 + 300.0**2) / 400.0, rtol=1e-5)
    assert float(np.median(rate.weight[seen])) == pytest.approx(400.0 * RATIO2, rel=1e-5)


def test_the_context_names_the_chips_of_the_records(
    write_exposure: WriteExposure, small_grid: MakeGrid
) -> None:
    exposures = [
        read_exposure(write_exposure("jctx01xxq", [noise(1), noise(2)])),
        read_exposure(write_exposure("jctx02xxq", [noise(3)], angle=0.5)),
    ]
    mosaic = combine_layer(exposures, small_grid(), PLAIN.replace(context=True))
    assert mosaic.context is not None
    assert mosaic.context.shape == (1, 90, 100)
    assert [(r.rootname, r.extver, r.chip_id, r.in_grid) for r in mosaic.chips] == [
        ("jctx01xxq", 1, 2, True),
        ("jctx01xxq", 2, 1, False),
        ("jctx02xxq", 1, 2, True),
    ]
    # Chip 1 (bit 1) lies outside, so bits 0 and 2 are all that there is.
    assert np.unique(mosaic.context).tolist() == [0, 1, 4, 5]
    assert np.array_equal(mosaic.context[0] != 0, mosaic.weight > 0)
    assert combine_layer(exposures, small_grid(), PLAIN).context is None


def test_an_exposure_outside_contributes_nothing_and_says_so(
    write_exposure: WriteExposure, small_grid: MakeGrid
) -> None:
    inside = read_exposure(write_exposure("jins01xxq", [noise(1)]))
    near = read_exposure(write_exposure("jout01xxq", [noise(2)], shift=(30.0, 0.0)))
    # The other side of the sky has no place in the grid's tangent plane at all.
    far = read_exposure(write_exposure("jout02xxq", [noise(3)], shift=(150.0 * 3600.0, 0.0)))
    parameters = PLAIN.replace(skysub=True, static=True)
    alone = combine_layer([inside], small_grid(), parameters)
    mosaic = combine_layer([far, inside, near], small_grid(), parameters)
    assert [record.in_grid for record in mosaic.chips] == [False, True, False]
    assert [record.n_used > 0 for record in mosaic.chips] == [False, True, False]
    np.testing.assert_array_equal(mosaic.science, alone.science)
    np.testing.assert_array_equal(mosaic.weight, alone.weight)
    assert mosaic.statistics == alone.statistics


def test_a_chip_outside_still_tells_its_exposures_sky(
    write_exposure: WriteExposure, small_grid: MakeGrid
) -> None:
    # The exposures overlap outside the grid only, in their second chips.
    one = read_exposure(write_exposure("jtell1xxq", [noise(1, level=150.0), noise(2, level=150.0)]))
    other = read_exposure(
        write_exposure("jtell2xxq", [noise(3, level=100.0), noise(4, level=100.0)], shift=(0.0, 100.0))
    )
    third = read_exposure(write_exposure("jtell3xxq", [noise(5, level=400.0)], shift=(0.3, 0.2)))
    mosaic = combine_layer([one, third], small_grid(), PLAIN.replace(skysub=True))
    levels = {record.rootname: record.sky_level for record in mosaic.chips}
    assert levels["jtell3xxq"] == pytest.approx(2.5, abs=0.02)
    alone = combine_layer([one, other], small_grid((5000, 200)), PLAIN.replace(skysub=True))
    assert alone.chips[0].sky_level == pytest.approx(0.5, abs=0.02)
    assert alone.chips[2].sky_level == 0.0


def test_statistics_count_what_the_outlines_cover(
    write_exposure: WriteExposure, small_grid: MakeGrid
) -> None:
    times = (100.0, 350.0)
    exposures = [
        read_exposure(
            write_exposure(f"jcover{k}xq", [noise(k)], exposure_time=t, angle=0.6 * k, shift=(0.8 * k, 0.3))
        )
        for k, t in enumerate(times)
    ]
    grid = small_grid()
    mosaic = combine_layer(exposures, grid, PLAIN)
    # Brute force: where in each chip is the centre of each output pixel?
    counts, total = np.zeros(grid.shape, int), np.zeros(grid.shape)
    v, u = np.indices(grid.shape)
    for exposure, time in zip(exposures, times, strict=True):
        (chip,) = exposure.chips
        ra, dec = grid.wcs.wcs_pix2world(u.ravel(), v.ravel(), 0)
        x, y = chip.wcs().all_world2pix(ra, dec, 0)
        inside = ((x >= -0.5) & (x < 69.5) & (y >= -0.5) & (y < 59.5)).reshape(grid.shape)
        counts += inside
        total += time * inside
    seen = counts > 0
    found = mosaic.statistics
    assert found.observed_fraction == pytest.approx(seen.sum() / 1e6, abs=3e-6)
    assert found.mean_exposures == pytest.approx(counts[seen].mean(), abs=2e-3)
    assert found.median_exposures == np.median(counts[seen])
    assert found.mean_exposure_time == pytest.approx(total[seen].mean(), rel=2e-3)
    assert found.median_exposure_time == np.median(total[seen])
    assert found.mean_weight == pytest.approx(mosaic.weight[seen].mean(), rel=2e-3)
    assert found.median_weight == pytest.approx(np.median(mosaic.weight[seen]), rel=2e-3)


def test_no_overlap_and_no_good_pixel_are_errors(write_exposure: WriteExposure, small_grid: MakeGrid) -> None:
    outside = read_exposure(write_exposure("jerr01xxq", [noise(1)], shift=(30.0, 0.0)))
    with pytest.raises(CombineError, match="none of the 1 exposures falls in the output grid"):
        combine_layer([outside], small_grid(), PLAIN)
    masked = read_exposure(write_exposure("jerr02xxq", [noise(1)], [np.full(SHAPE, 4, np.int16)]))
    for parameters in (PLAIN, PLAIN.replace(skysub=True, static=True)):
        with pytest.raises(CombineError, match="good pixel"):
            combine_layer([masked], small_grid(), parameters)


def test_a_chip_that_cannot_be_read_is_named(write_exposure: WriteExposure, small_grid: MakeGrid) -> None:
    path = write_exposure("jgone1xxq", [noise(1)])
    exposure = read_exposure(path)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(CombineError, match=r"jgone1xxq_flc\.fits\[SCI,1\]"):
        combine_layer([exposure], small_grid(), PLAIN)
    path.unlink()
    with pytest.raises(CombineError, match=r"jgone1xxq_flc\.fits\[SCI,1\]"):
        combine_layer([exposure], small_grid(), PLAIN.replace(skysub=True))


def test_a_wcs_that_cannot_be_followed_is_named(
    write_exposure: WriteExposure, small_grid: MakeGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    exposure = read_exposure(write_exposure("jwcs01xxq", [noise(1)], distortion=1e-5))
    monkeypatch.setattr("multivisit.exposures.pixel_map.LARGEST_ERROR", 0.0)
    with pytest.raises(CombineError, match=r"jwcs01xxq_flc\.fits\[SCI,1\]"):
        combine_layer([exposure], small_grid(), PLAIN)


def test_progress_counts_the_chips_and_an_interrupt_passes(
    write_exposure: WriteExposure, small_grid: MakeGrid
) -> None:
    exposures = [read_exposure(write_exposure(f"jprog{k}xxq", [noise(k)])) for k in range(3)]
    steps: list[tuple[str, int, int]] = []
    combine_layer(
        exposures, small_grid(), PLAIN.replace(skysub=True), progress=lambda *step: steps.append(step)
    )
    assert [done for _, done, _ in steps] == [0, 1, 2, 3, 4, 5, 6]
    assert {total for _, _, total in steps} == {6}
    assert "jprog1xxq_flc.fits[SCI,1]" in steps[1][0]

    def interrupt(message: str, done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        combine_layer(exposures, small_grid(), PLAIN, progress=interrupt)


def test_the_same_bits_every_time(write_exposure: WriteExposure, small_grid: MakeGrid) -> None:
    exposures: list[Any] = [
        read_exposure(write_exposure(f"jsame{k}xxq", [noise(k)], angle=k, distortion=1e-5)) for k in range(3)
    ]
    parameters = PLAIN.replace(skysub=True, static=True)
    one, other = (combine_layer(exposures, small_grid(), parameters) for _ in range(2))
    np.testing.assert_array_equal(one.science, other.science)
    np.testing.assert_array_equal(one.weight, other.weight)
    assert one.chips == other.chips
    assert one.statistics == other.statistics
