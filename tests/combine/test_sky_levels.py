"""Sky levels: of single images against known distributions, and relative ones against synthetic fields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multivisit.combine.sky_levels import LevelDifference, SkyMeter, level_difference, match_levels
from multivisit.combine.sky_samples import (
    PackedPatches,
    SkyPatches,
    SkyStatistic,
    chip_patches,
    merge_patches,
    patch_memory,
    patch_spacing,
)
from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE, OUTPUT_SCALE = 0.05, 0.04
AREA = SCALE**2
RATIO = SCALE / OUTPUT_SCALE
SPACING = patch_spacing(SCALE, OUTPUT_SCALE)


@dataclass(frozen=True)
class Field:
    """A synthetic sky: Gaussian stars and galaxies on a slope, in output pixels."""

    sources: NDArray[np.float64]
    """Rows of x, y, flux in electrons/s and standard deviation in output pixels."""

    slope: tuple[float, float] = (0.0, 0.0)
    """Electrons/s per native pixel, per output pixel along x and y."""

    def image(self, pixel_map: Any) -> NDArray[np.float64]:
        """Surface brightness at a chip's pixel centres, in electrons/s per native pixel."""
        ny, nx = pixel_map.shape
        positions = pixel_map.evaluate()
        image = self.slope[0] * positions[..., 0] + self.slope[1] * positions[..., 1]
        columns, rows = pixel_map.inverse(self.sources[:, 0], self.sources[:, 1])
        for (x, y, flux, sigma), column, row in zip(self.sources, columns, rows, strict=True):
            reach = int(6 * sigma / RATIO) + 3
            part = (
                slice(max(int(row) - reach, 0), min(max(int(row) + reach, 0), ny)),
                slice(max(int(column) - reach, 0), min(max(int(column) + reach, 0), nx)),
            )
            distance = (positions[part][..., 0] - x) ** 2 + (positions[part][..., 1] - y) ** 2
            image[part] += flux * RATIO**2 / (2 * np.pi * sigma**2) * np.exp(-0.5 * distance / sigma**2)
        return image


def make_field(seed: int, n_stars: int, n_galaxies: int, size: float, slope: tuple[float, float]) -> Field:
    random = np.random.default_rng(seed)
    n = n_stars + n_galaxies
    flux = 10 ** random.uniform(-1.0, 2.5, n)
    sigma = np.where(np.arange(n) < n_stars, 1.1, random.uniform(3.0, 25.0, n))
    return Field(np.column_stack([*random.uniform(0.0, size, (2, n)), flux, sigma]), slope)


def observe(field: Field, pixel_map: Any, level: float, noise: float, seed: int) -> NDArray[np.float32]:
    """Add sky and noise; the noise grows with the source as photon noise does on a sky of 0.3 electrons/s."""
    random = np.random.default_rng(seed)
    image = field.image(pixel_map)
    sigma = noise * np.sqrt(1.0 + np.clip(image, 0.0, None) / 0.3)
    return (image + level + random.normal(size=image.shape) * sigma).astype(np.float32)


def good_pixels(shape: tuple[int, int], seed: int, share: float = 0.02) -> NDArray[np.bool_]:
    return np.random.default_rng(1000 + seed).random(shape) > share


def meter_of(method: str, n: int, **statistic: Any) -> SkyMeter:
    return SkyMeter(method, SkyStatistic(**statistic), n, OUTPUT_SCALE, SPACING)


def add_chip(
    meter: SkyMeter,
    number: int,
    image: NDArray[np.float32],
    good: NDArray[np.bool_],
    pixel_map: Any,
    scale: float,
    unit: float = 1.0,
) -> None:
    usable = np.empty(image.shape, dtype=np.bool_)
    meter.usable_test(0, unit).mark(image, (~good).astype(">i2"), usable)
    meter.add(number, meter.measure(image, usable, pixel_map, scale))


NOISES = (0.05, 0.05, 0.02, 0.1)
LEVELS = (0.10, 0.03, 0.20, 0.05)


@pytest.mark.parametrize(
    ("n_stars", "n_galaxies", "slope", "rays"),
    [
        (0, 0, (0.0, 0.0), 0.0),
        (600, 150, (0.0, 0.0), 0.0),
        (600, 150, (2e-4, -1e-4), 0.0),
        (4000, 800, (2e-6, 1e-6), 0.0),
        (600, 150, (0.0, 0.0), 0.01),
    ],
    ids=["blank", "sparse", "slope", "crowded", "cosmic rays"],
)
def test_relative_levels_are_right_to_a_hundredth_of_the_noise(
    plane_map: Any, n_stars: int, n_galaxies: int, slope: tuple[float, float], rays: float
) -> None:
    shape = (1000, 1000)
    field = make_field(7, n_stars, n_galaxies, 1900.0, slope)
    places = ((0.0, (320.0, 250.0)), (0.05, (250.0, 340.0)), (0.8, (800.0, 150.0)), (-0.4, (210.0, 500.0)))
    meter = meter_of("match", 4)
    for k, (angle, offset) in enumerate(places):
        pixel_map = plane_map(shape, RATIO, angle, offset, 0.03, 2e-6)
        image = observe(field, pixel_map, LEVELS[k], NOISES[k], k)
        random = np.random.default_rng(50 + k)
        hit = random.random(shape) < rays
        image[hit] += NOISES[k] * 10 ** random.uniform(0.0, 2.0, np.count_nonzero(hit)).astype(np.float32)
        add_chip(meter, k, image, good_pixels(shape, k), pixel_map, SCALE)
    found = meter.levels()
    assert found.groups == (0, 0, 0, 0)
    assert found.measured == (True,) * 4
    relative = found.brightness * AREA
    assert relative.min() == 0.0
    error = relative - (np.array(LEVELS) - min(LEVELS))
    # A difference has the noise of the lowest exposure too, which is 0.05.
    assert (np.abs(error) < 0.01 * np.maximum(NOISES, 0.05)).all()


def test_a_slope_does_not_bias_aligned_exposures(plane_map: Any) -> None:
    # No rotation and no distortion: the blocks fall on the patches in the same way all over the field.
    meter = meter_of("match", 2)
    field = Field(np.empty((0, 4)), (1e-3, 2e-3))
    for k, offset in enumerate(((300.0, 300.0), (302.9, 297.4))):
        pixel_map = plane_map((320, 320), RATIO, 0.0, offset)
        image = observe(field, pixel_map, LEVELS[k], 1e-9, k)
        add_chip(meter, k, image, np.ones(image.shape, bool), pixel_map, SCALE)
    levels = meter.levels().brightness * AREA
    assert levels[0] - levels[1] == pytest.approx(0.07, abs=2e-5)


def test_without_noise_the_levels_are_exact(plane_map: Any) -> None:
    meter = meter_of("match", 3)
    field = make_field(3, 40, 0, 700.0, (0.0, 0.0))
    for k, (angle, offset) in enumerate(((0.0, (10.0, 10.0)), (0.3, (150.0, 10.0)), (1.2, (500.0, 30.0)))):
        pixel_map = plane_map((320, 320), RATIO, angle, offset, 0.02)
        image = (field.image(pixel_map) + LEVELS[k]).astype(np.float32)
        add_chip(meter, k, image, np.ones(image.shape, bool), pixel_map, SCALE)
    np.testing.assert_allclose(meter.levels().brightness * AREA, [0.07, 0.0, 0.17], atol=1e-6)


def test_exposures_without_common_sky_form_groups(plane_map: Any) -> None:
    # A pair, a pair far away, a lone exposure, and one that is masked wholly (it overlaps the first pair).
    offsets = [(0.0, 0.0), (150.0, 20.0), (5000.0, 0.0), (5100.0, 50.0), (0.0, 9000.0), (20.0, 30.0)]
    levels = [0.5, 0.2, 0.9, 1.4, 3.0, 7.0]
    meter = meter_of("match", 6)
    field = Field(np.empty((0, 4)))
    for k, (offset, level) in enumerate(zip(offsets, levels, strict=True)):
        pixel_map = plane_map((200, 240), RATIO, 0.1 * k, offset)
        good = np.full((200, 240), k != 5)
        add_chip(meter, k, observe(field, pixel_map, level, 0.01, k), good, pixel_map, SCALE)
    found = meter.levels()
    assert found.groups == (0, 0, 1, 1, 2, 3)
    assert found.measured == (True, True, True, True, False, False)
    np.testing.assert_allclose(found.brightness * AREA, [0.3, 0.0, 0.0, 0.5, 0.0, 0.0], atol=5e-4)


@pytest.mark.parametrize("method", ["localmin", "globalmin", "globalmin+match", "match"])
@pytest.mark.parametrize("masked", [False, True])
def test_one_exposure(plane_map: Any, method: str, masked: bool) -> None:
    meter = meter_of(method, 1)
    pixel_map = plane_map((80, 80), RATIO)
    image = observe(Field(np.empty((0, 4))), pixel_map, 0.4, 0.01, 1)
    add_chip(meter, 0, image, np.full(image.shape, not masked), pixel_map, SCALE)
    level = 0.0 if masked or method == "match" else 0.4
    assert meter.levels().brightness[0] * AREA == pytest.approx(level, abs=1e-3)
    assert meter.levels().measured == ((not masked and "match" not in method),)


def test_no_exposure_was_added() -> None:
    for method in ("localmin", "globalmin", "globalmin+match", "match"):
        assert meter_of(method, 3).levels().brightness.tolist() == [0.0, 0.0, 0.0]


def test_a_thin_overlap_still_matches(plane_map: Any) -> None:
    meter = meter_of("match", 2)
    for k, offset in enumerate(((0.0, 0.0), (0.0, 395.0 * RATIO))):
        pixel_map = plane_map((400, 400), RATIO, 0.0, offset)
        image = observe(Field(np.empty((0, 4))), pixel_map, LEVELS[k], 0.01, k)
        add_chip(meter, k, image, np.ones(image.shape, bool), pixel_map, SCALE)
    found = meter.levels()
    assert found.measured == (True, True)
    # 400 x 5 pixels, not all of weight 1: 0.01 * sqrt(2 / 1000), times 4.
    np.testing.assert_allclose(found.brightness * AREA, [0.07, 0.0], atol=1.8e-3)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("localmin", [0.30, 0.50, 0.40]),
        ("globalmin", [0.30, 0.30, 0.30]),
        ("match", [0.0, 0.20, 0.10]),
        ("globalmin+match", [0.30, 0.50, 0.40]),
    ],
)
def test_the_methods_differ_as_published(plane_map: Any, method: str, expected: list[float]) -> None:
    meter = meter_of(method, 3)
    for k, level in enumerate((0.30, 0.50, 0.40)):
        for chip, excess in enumerate((0.05, 0.0)):
            # The first chip is brighter by some nebula: an exposure has the sky of its darkest chip.
            pixel_map = plane_map((300, 300), RATIO, 0.1 * k, (30.0 * k, 500.0 * chip))
            image = observe(Field(np.empty((0, 4))), pixel_map, level + excess, 0.01, 10 * k + chip)
            add_chip(meter, k, image, good_pixels(image.shape, k), pixel_map, SCALE)
    np.testing.assert_allclose(meter.levels().brightness * AREA, expected, atol=5e-4)


def test_chips_of_different_pixel_scales_share_a_surface_brightness(plane_map: Any) -> None:
    # Like the PC and a WF chip of WFPC2: pixels of 0.05 and 0.1 arcsec, 4 times the counts in the larger.
    spacing = patch_spacing(0.1, OUTPUT_SCALE)
    for method, expected in (("localmin", (0.3, 0.5)), ("match", (0.0, 0.2))):
        meter = SkyMeter(method, SkyStatistic(), 2, OUTPUT_SCALE, spacing)
        for k, level in enumerate((0.3, 0.5)):
            for scale, offset in ((0.05, 0.0), (0.1, 600.0)):
                pixel_map = plane_map((300, 300), scale / 0.04, 0.1 * k, (offset, 20.0))
                image = observe(Field(np.empty((0, 4))), pixel_map, level * (scale / 0.05) ** 2, 0.01, k)
                add_chip(meter, k, image, np.ones(image.shape, bool), pixel_map, scale)
        np.testing.assert_allclose(meter.levels().brightness * AREA, expected, atol=5e-4)


def test_limits_count_in_the_units_of_the_file(plane_map: Any) -> None:
    # 100 s: 0.4 electrons/s are 40 electrons; the lower limit of 30 electrons cuts off the dead half.
    pixel_map = plane_map((100, 100), RATIO)
    image = observe(Field(np.empty((0, 4))), pixel_map, 0.4, 0.01, 1)
    image[:, :60] = 0.2
    levels = []
    for unit in (0.01, 1.0):
        meter = meter_of("localmin", 1, lower=30.0)
        add_chip(meter, 0, image, np.ones(image.shape, bool), pixel_map, SCALE, unit)
        levels.append(float(meter.levels().brightness[0]) * AREA)
    assert levels == [pytest.approx(0.4, abs=1e-3), 0.0]


def test_values_beyond_the_limits_and_no_numbers_are_not_used() -> None:
    values = np.array([np.nan, -2.0, 0.0, 3.0, np.inf], dtype=np.float32)
    usable = np.empty(5, dtype=np.bool_)
    meter_of("match", 1, lower=-1.0, upper=2.0).usable_test(0).mark(values, np.zeros(5, ">i2"), usable)
    assert usable.tolist() == [False, False, True, False, False]


def test_unknown_methods_and_statistics_are_refused() -> None:
    with pytest.raises(ParameterError, match="skymethod"):
        meter_of("best", 1)
    with pytest.raises(ParameterError, match="skystat"):
        SkyStatistic("midpt")


@pytest.mark.parametrize(("statistic", "tolerance"), [("median", 0.005), ("mean", 0.005), ("mode", 0.05)])
def test_statistics_of_a_sky_with_stars(statistic: str, tolerance: float) -> None:
    random = np.random.default_rng(2)
    values = random.normal(5.0, 0.4, 300_000).astype(np.float32)
    values[::500] += 1000.0
    assert SkyStatistic(statistic).measure(values) == pytest.approx(5.0, abs=tolerance)


def test_the_clipped_median_follows_its_definition() -> None:
    random = np.random.default_rng(8)
    values = np.concatenate([random.normal(5.0, 1.0, 2000), random.exponential(9.0, 900)])
    low, high = -np.inf, np.inf
    for _ in range(2):
        between = values[(values >= low) & (values <= high)]
        low, high = between.mean() - 1.5 * between.std(), between.mean() + 2.5 * between.std()
    expected = np.median(values[(values >= low) & (values <= high)])
    found = SkyStatistic("median", n_clips=2, lower_sigma=1.5, upper_sigma=2.5).measure(values)
    assert found == pytest.approx(expected, rel=1e-6)


def test_statistics_of_nothing_and_of_constants() -> None:
    assert SkyStatistic().measure(np.empty(0, np.float32)) is None
    for statistic in ("median", "mean", "mode"):
        assert SkyStatistic(statistic).measure(np.full(9, 0.1, np.float32)) == pytest.approx(0.1)


@given(
    levels=st.lists(st.floats(-5.0, 5.0), min_size=2, max_size=8),
    pairs=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.floats(1e-3, 10.0)), max_size=20),
)
def test_consistent_differences_give_back_the_levels(
    levels: list[float], pairs: list[tuple[int, int, float]]
) -> None:
    n = len(levels)
    joined = [(a, b, s) for a, b, s in pairs if a < b < n]
    found = match_levels(
        n, [LevelDifference(a, b, levels[a] - levels[b], s**2, 10) for a, b, s in joined], noise=0.1
    )
    for a, b, _ in joined:
        assert found.groups[a] == found.groups[b]
    for group in set(found.groups):
        members = [k for k in range(n) if found.groups[k] == group]
        lowest = min(levels[k] for k in members)
        np.testing.assert_allclose(found.levels[members], [levels[k] - lowest for k in members], atol=1e-6)


def test_contradicting_differences_are_weighed() -> None:
    # A triangle that does not close: the two precise sides stay, the poor one takes the error.
    triangle = [
        LevelDifference(0, 1, 1.0, 1e-6, 9),
        LevelDifference(1, 2, 1.0, 1e-6, 9),
        LevelDifference(0, 2, 3.0, 1e2, 9),
    ]
    np.testing.assert_allclose(match_levels(3, triangle).levels, [2.0, 1.0, 0.0], atol=1e-4)
    # All sides alike: each takes a third.
    alike = [replace(side, variance=1.0) for side in triangle]
    np.testing.assert_allclose(match_levels(3, alike).levels, [8 / 3, 4 / 3, 0.0], atol=1e-9)


def test_patches_hold_means_and_certainties(plane_map: Any) -> None:
    pixel_map = plane_map((160, 200), RATIO, 0.0, (7.0, 9.0))
    image = np.full((160, 200), 3.0, np.float32)
    good = good_pixels(image.shape, 1)
    image[50, 60] = 1e6
    good[50, 60] = True
    image[~good] = np.nan
    patches = chip_patches(image, good, pixel_map, SCALE, OUTPUT_SCALE, SPACING)
    assert patches is not None
    seen = patches.pixels > 0
    np.testing.assert_allclose(patches.total[seen] / patches.pixels[seen] * AREA, 3.0, rtol=1e-6)
    assert patches.full == 64.0
    assert patches.pixels.max() == pytest.approx(64.0, rel=0.02)
    # The star is in one patch: 7 + 1.25 * 60 over 20 along x, 9 + 1.25 * 50 over 20 along y.
    assert np.argwhere(patches.clipped > 0).tolist() == [[4 - patches.first[1], 4 - patches.first[0]]]


def test_patches_of_chips_are_put_together(plane_map: Any) -> None:
    image = np.full((160, 200), 3.0, np.float32)
    good = np.ones(image.shape, bool)
    both = [
        chip_patches(image, good, plane_map((160, 200), RATIO, 0.2, offset), SCALE, OUTPUT_SCALE, SPACING)
        for offset in ((-500.0, 30.0), (400.0, 300.0))
    ]
    chips = [patches for patches in both if patches is not None]
    merged = merge_patches(chips)
    assert merged.total.sum() == pytest.approx(sum(p.total.sum() for p in chips))
    assert merged.first == (min(p.first[0] for p in chips), min(p.first[1] for p in chips))
    for patches in chips:
        found = level_difference(merged, patches)
        assert found is not None
        assert found.value == pytest.approx(0.0, abs=1e-9)
    assert level_difference(*chips) is None


@pytest.mark.parametrize("shape", [(1, 1), (3, 70), (70, 2), (5, 5)])
def test_tiny_chips_have_patches(plane_map: Any, shape: tuple[int, int]) -> None:
    patches = chip_patches(
        np.full(shape, 2.0, np.float32),
        np.ones(shape, bool),
        plane_map(shape, RATIO),
        SCALE,
        OUTPUT_SCALE,
        SPACING,
    )
    assert patches is not None
    assert patches.total.sum() / patches.pixels.sum() * AREA == pytest.approx(2.0)


def random_patches(first: tuple[int, int], shape: tuple[int, int]) -> SkyPatches:
    """Patches half of which hold nothing."""
    random = np.random.default_rng(7)
    empty = random.random(shape) > 0.5
    pixels, clipped = np.where(empty, 0.0, random.uniform(0.0, 256.0, (2, *shape)))
    return SkyPatches(first, 20.0 * pixels, pixels, clipped, 64.0, 0.3)


def test_patches_come_back_from_packing_in_single_precision() -> None:
    patches = random_patches((-3, 17), (21, 34))
    packed = PackedPatches.of(patches)
    back = packed.unpacked()
    assert (back.first, back.full, back.noise) == (patches.first, patches.full, patches.noise)
    for name in ("total", "pixels", "clipped"):
        np.testing.assert_array_equal(getattr(back, name), getattr(patches, name).astype(np.float32))
    # As much as is told beforehand, for a chip of 16 x 16 pixels in each patch that is held.
    n_held = np.count_nonzero(patches.pixels)
    assert packed.values.nbytes + packed.held.nbytes < patch_memory(256 * n_held, SCALE)


@pytest.mark.parametrize(
    ("first", "overlaps"),
    [
        ((-3, 17), True),
        ((30, 37), True),
        ((31, 17), False),
        ((-3, 38), False),
        ((-12, 15), True),
        ((-13, 17), False),
    ],
)
def test_patches_know_whose_lattice_overlaps_theirs(first: tuple[int, int], overlaps: bool) -> None:
    # The one reaches from -3 to 30 along x and from 17 to 37 along y, the other is 10 wide and 5 high.
    one, other = (PackedPatches.of(random_patches(*at)) for at in (((-3, 17), (21, 34)), (first, (5, 10))))
    assert one.touches(other) == other.touches(one) == overlaps
