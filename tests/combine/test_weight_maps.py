from __future__ import annotations

import numpy as np
import pytest

from multivisit.combine.weight_maps import BackgroundNoise, inverse_variance_weights, pixel_variance


def test_background_variance_is_that_of_counted_electrons() -> None:
    random = np.random.default_rng(1)
    noise = BackgroundNoise(exposure_time=500.0, sky_rate=0.08, dark_electrons=6.0, read_noise=4.9)
    electrons = random.poisson(0.08 * 500.0 + 6.0, 400_000) + random.normal(0.0, 4.9, 400_000)
    assert np.var(electrons / 500.0) == pytest.approx(noise.variance, rel=0.01)


def test_pixel_variance_adds_the_light_of_sources() -> None:
    random = np.random.default_rng(2)
    noise = BackgroundNoise(exposure_time=100.0, sky_rate=0.5, dark_electrons=0.0, read_noise=3.0)
    electrons = random.poisson((0.5 + 7.0) * 100.0, 400_000) + random.normal(0.0, 3.0, 400_000)
    science = np.full((1, 1), 7.5, dtype=np.float32)
    assert np.var(electrons / 100.0) == pytest.approx(pixel_variance(science, 0.5, noise)[0, 0], rel=0.01)


def test_weights_are_inverse_variances_per_output_pixel() -> None:
    variance = np.array([[0.25, 0.5, 0.0, np.nan, np.inf, 0.25]], dtype=np.float32)
    good = np.array([[True, True, True, True, True, False]])
    weights = inverse_variance_weights(variance, good, scale_ratio=2.0)
    np.testing.assert_allclose(weights, [[0.25, 0.125, 0.0, 0.0, 0.0, 0.0]])


def test_one_variance_serves_all_pixels() -> None:
    good = np.array([[True, False], [True, True]])
    np.testing.assert_allclose(
        inverse_variance_weights(0.04, good, 1.0), np.where(good, 25.0, 0.0), rtol=1e-6
    )


def test_a_photon_counter_without_background_has_a_finite_weight() -> None:
    noise = BackgroundNoise(exposure_time=50.0, sky_rate=0.0, dark_electrons=0.0, read_noise=0.0)
    assert noise.variance == pytest.approx(1.0 / 50.0**2)
