"""Noise and blemishes: their statistics, and the flags that tell of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from multivisit.simulate.detectors import detector_of
from multivisit.simulate.geometry import Window
from multivisit.simulate.noise import (
    DQ_COSMIC_RAY,
    DQ_DEAD,
    DQ_HOT,
    DQ_SATURATED,
    DQ_STRUCTURE,
    DQ_WARM,
    CalibratedChip,
    detector_blemishes,
    expose,
)
from multivisit.simulate.specification import NoiseSpecification

SHAPE = (400, 500)
ONLY_NOISE = dataclasses.replace(NoiseSpecification.none(), photon_noise=True, read_noise=True)


def exposed(
    label: str, noise: NoiseSpecification, sky: float = 0.4, light: float = 0.0, area: float = 1.1
) -> CalibratedChip:
    detector = detector_of(label)
    return expose(
        np.full(SHAPE, light),
        np.full(SHAPE, area, dtype=np.float32),
        sky,
        500.0,
        detector,
        detector_blemishes(detector, 1, SHAPE, Window(0, 0, SHAPE), 7),
        noise,
        np.random.default_rng(3),
    )


def standardised(chip: CalibratedChip, expected: float) -> NDArray[np.float64]:
    return np.asarray((chip.science.astype(np.float64) - expected) / chip.error)


@pytest.mark.parametrize("label", ["acs_wfc", "wfc3_uvis", "wfc3_ir", "acs_hrc", "acs_sbc"])
def test_the_error_array_is_the_scatter(label: str) -> None:
    chip = exposed(label, ONLY_NOISE)
    expected = 0.4 if label == "wfc3_ir" else 0.4 * 500.0
    deviations = standardised(chip, expected)
    assert deviations.mean() == pytest.approx(0.0, abs=0.01)
    assert deviations.std() == pytest.approx(1.0, abs=0.01)
    assert not chip.quality.any()


def test_without_noise_an_even_sky_is_even_whatever_the_pixel_area() -> None:
    for area in (0.8, 1.0, 1.2):
        chip = exposed("acs_wfc", NoiseSpecification.none(), area=area)
        np.testing.assert_allclose(chip.science, 200.0, rtol=1e-6)
        assert not chip.quality.any()


def test_infrared_pixels_are_rates() -> None:
    assert exposed("wfc3_ir", NoiseSpecification.none()).science[0, 0] == pytest.approx(0.4)


def test_hot_pixels_keep_their_mean_and_have_more_noise() -> None:
    chip = exposed("acs_wfc", dataclasses.replace(ONLY_NOISE, hot_pixels=True))
    flagged = (chip.quality & (DQ_HOT | DQ_WARM)) != 0
    detector = detector_of("acs_wfc")
    assert flagged.mean() == pytest.approx(detector.hot_fraction + detector.warm_fraction, rel=0.05)
    deviations = standardised(chip, 200.0)[flagged]
    assert deviations.mean() == pytest.approx(0.0, abs=0.1)
    assert deviations.std() == pytest.approx(1.0, abs=0.1)
    assert chip.error[flagged].mean() > 1.2 * chip.error[~flagged].mean()


def test_a_subarray_has_the_blemishes_of_its_part_of_the_chip() -> None:
    detector = detector_of("wfc3_uvis")
    whole = detector_blemishes(detector, 2, (600, 700), Window(0, 0, (600, 700)), 1)
    part = detector_blemishes(detector, 2, (600, 700), Window(50, 90, (100, 110)), 1)
    np.testing.assert_array_equal(part.flags, whole.flags[90:190, 50:160])
    other = detector_blemishes(detector, 1, (600, 700), Window(0, 0, (600, 700)), 1)
    assert not np.array_equal(other.flags, whole.flags)


def test_meaningless_pixels_are_flagged() -> None:
    chip = exposed("acs_wfc", dataclasses.replace(NoiseSpecification.none(), bad_pixels=True))
    wrong = chip.science != chip.science[chip.quality == 0][0]
    np.testing.assert_array_equal(wrong, (chip.quality & (DQ_DEAD | DQ_STRUCTURE)) != 0)
    assert wrong.any()


def test_most_cosmic_rays_are_flagged_and_some_are_not() -> None:
    noise = dataclasses.replace(NoiseSpecification.none(), cosmic_rays=3.0, unflagged_cosmic_rays=0.1)
    chip = exposed("acs_wfc", noise)
    expected_hits = 3.0 * detector_of("acs_wfc").cosmic_ray_rate * 500.0 * chip.science.size
    assert chip.n_cosmic_rays == pytest.approx(expected_hits, rel=0.2)
    lit = chip.science > 200.0 / 1.1 * 1.1 + 1e-3
    flagged = (chip.quality & DQ_COSMIC_RAY) != 0
    assert np.all(lit[flagged])
    assert np.count_nonzero(lit & ~flagged) == chip.n_unflagged_pixels
    assert chip.n_unflagged_pixels / lit.sum() == pytest.approx(0.1, abs=0.04)


def test_all_cosmic_rays_can_be_flagged() -> None:
    noise = dataclasses.replace(NoiseSpecification.none(), cosmic_rays=3.0, unflagged_cosmic_rays=0.0)
    assert exposed("acs_wfc", noise).n_unflagged_pixels == 0


def test_a_pixel_over_the_full_well_is_clipped_and_flagged() -> None:
    chip = exposed("wfc3_uvis", dataclasses.replace(NoiseSpecification.none(), saturation=True), light=1000.0)
    assert np.all(chip.quality == DQ_SATURATED)
    np.testing.assert_allclose(chip.science, detector_of("wfc3_uvis").full_well / 1.1, rtol=1e-6)


def test_a_zero_exposure_has_finite_pixels() -> None:
    detector = detector_of("wfc3_ir")
    chip = expose(
        np.zeros(SHAPE),
        np.ones(SHAPE, dtype=np.float32),
        0.5,
        0.0,
        detector,
        detector_blemishes(detector, 1, SHAPE, Window(0, 0, SHAPE), 7),
        NoiseSpecification(),
        np.random.default_rng(3),
    )
    assert np.isfinite(chip.science).all()
    assert np.isfinite(chip.error).all()
