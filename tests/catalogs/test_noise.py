"""The noise of sums and of skies, against that of many random images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from multivisit.catalogs.noise import NoiseCorrelation

APERTURE, ANNULUS = 5.0, (5.0, 8.0)


@pytest.fixture(scope="module")
def measured():
    """Sums in an aperture, and mean and median around it, of 4000 images smoothed over 3 x 3 pixels."""
    random = np.random.default_rng(11)
    y, x = np.mgrid[-10:11, -10:11]
    distance = np.hypot(x, y)
    inner, ring = distance <= APERTURE, (distance > ANNULUS[0]) & (distance <= ANNULUS[1])
    images = uniform_filter(random.normal(size=(4000, 23, 23)), (0, 3, 3))[:, 1:-1, 1:-1] * 3.0
    sky = images[:, ring]
    return images[:, inner].sum(axis=1), sky.mean(axis=1), np.median(sky, axis=1), inner.sum(), ring.sum()


@pytest.fixture(scope="module")
def correlation():
    line = np.array([0.0, 1.0, 2.0, 3.0, 2.0, 1.0, 0.0]) / 3.0
    return NoiseCorrelation(np.outer(line, line), 0)


@pytest.mark.parametrize("statistic", ["mean", "median", "mode"])
def test_the_sky_of_an_annulus_has_the_noise_of_random_images(measured, correlation, statistic):
    _, mean, median, _, n = measured
    sky = {"mean": mean, "median": median, "mode": 3.0 * median - 2.0 * mean}[statistic]
    assert correlation.sky_factor(ANNULUS, statistic) == pytest.approx(np.var(sky) * n, rel=0.08)


def test_a_flux_less_its_sky_has_the_noise_of_random_images(measured, correlation):
    total, mean, _, area, n = measured
    covariance = np.cov(total, mean)[0, 1] * n
    assert correlation.sky_covariance(APERTURE, ANNULUS) == pytest.approx(covariance, rel=0.12)
    flux = total - area * mean
    variance = area * correlation.variance_factor(APERTURE) + area**2 / n * correlation.sky_factor(
        ANNULUS, "mean"
    )
    variance -= 2.0 * area / n * correlation.sky_covariance(APERTURE, ANNULUS)
    assert variance == pytest.approx(np.var(flux), rel=0.08)


def test_independent_pixels_have_the_noise_of_textbooks():
    alone = NoiseCorrelation(np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]), 0)
    # Pixels that a circle cuts count in part, so a sum of squares is a little below the area.
    assert alone.sky_factor((10.0, 20.0), "mean") == pytest.approx(1.0, rel=0.05)
    assert alone.sky_factor((10.0, 20.0), "median") == pytest.approx(np.pi / 2.0, rel=0.05)
    assert alone.sky_covariance(5.0, (6.5, 9.0)) == pytest.approx(0.0, abs=1e-6)
