"""Rendered light against exact transforms: positions, fluxes with true pixel areas, shapes on the sky."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from multivisit.simulate.detectors import detector_of
from multivisit.simulate.geometry import ChipGeometry, Pointing, Window, chip_wcs, detector_geometry
from multivisit.simulate.render import local_frames, pixel_areas, render_scene, sky_to_pixel
from multivisit.simulate.scene import Scene, sersic_mixture

POINTING = Pointing(83.6, -61.3, 117.0)
CHIPS = [
    ("acs_wfc", 1, Window(1900, 1800, (200, 240))),
    ("acs_wfc", 2, Window(3700, 30, (200, 240))),
    ("wfc3_uvis", 1, Window(100, 900, (200, 240))),
    ("wfc3_ir", 1, Window(700, 30, (200, 240))),
    ("acs_hrc", 1, Window(30, 700, (200, 240))),
    ("acs_sbc", 1, Window(500, 500, (200, 240))),
]


def chip_of(label: str, extver: int) -> ChipGeometry:
    (chip,) = (chip for chip in detector_geometry(label).chips if chip.extver == extver)
    return chip


def scene_at(
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    radius: float = 0.0,
    ratio: float = 1.0,
    angle: float = 0.0,
) -> Scene:
    ones = np.ones(len(ra))
    return Scene(ra, dec, 20 * ones, 0 * ones, radius * ones, ratio * ones, angle * ones, ones)


def areas_on_the_sky(label: str, extver: int, window: Window) -> NDArray[np.float64]:
    """Pixel areas in arcsec2 from the directions of the corners, as flat quadrilaterals in space."""
    wcs = chip_wcs(chip_of(label, extver), POINTING, window)
    ny, nx = window.shape
    x, y = np.meshgrid(np.arange(nx + 1) - 0.5, np.arange(ny + 1) - 0.5)
    alpha, delta = np.radians(wcs.all_pix2world(x.ravel(), y.ravel(), 0))
    unit = np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], axis=-1)
    unit = unit.reshape(ny + 1, nx + 1, 3)
    first, second = unit[1:, 1:] - unit[:-1, :-1], unit[1:, :-1] - unit[:-1, 1:]
    return 0.5 * np.linalg.norm(np.cross(first, second), axis=-1) * np.degrees(3600.0) ** 2


@pytest.mark.parametrize(("label", "extver", "window"), CHIPS)
def test_pixel_areas_are_those_of_the_corners_on_the_sky(label: str, extver: int, window: Window) -> None:
    expected = areas_on_the_sky(label, extver, window) / chip_of(label, extver).nominal_scale ** 2
    np.testing.assert_allclose(pixel_areas(label, extver, window), expected, rtol=2e-6)


@pytest.mark.parametrize(("label", "extver", "window"), CHIPS)
def test_positions_invert_the_full_wcs(label: str, extver: int, window: Window) -> None:
    wcs = chip_wcs(chip_of(label, extver), POINTING, window)
    expected = np.random.default_rng(2).uniform(0, 200, (50, 2))
    ra, dec = wcs.all_pix2world(expected, 0).T
    index, x, y = sky_to_pixel(wcs, ra, dec, 5.0, window.shape)
    assert index.tolist() == list(range(50))
    np.testing.assert_allclose(np.column_stack([x, y]), expected, atol=1e-6)


def test_directions_elsewhere_on_the_sky_are_left_out() -> None:
    window = Window(0, 0, (1014, 1014))
    wcs = chip_wcs(chip_of("wfc3_ir", 1), POINTING, window)
    ra = np.array([POINTING.ra, POINTING.ra + 180.0, POINTING.ra, POINTING.ra + 1.0, 0.0])
    dec = np.array([POINTING.dec, -POINTING.dec, POINTING.dec + 0.03, POINTING.dec, 90.0])
    index, _, _ = sky_to_pixel(wcs, ra, dec, 10.0, window.shape)
    assert index.tolist() == [0]


@pytest.mark.parametrize(("label", "extver", "window"), CHIPS)
@pytest.mark.parametrize("radius", [0.0, 0.3])
def test_light_is_conserved_with_the_true_pixel_areas(
    label: str, extver: int, window: Window, radius: float
) -> None:
    chip, detector = chip_of(label, extver), detector_of(label)
    wcs = chip_wcs(chip, POINTING, window)
    pixels = np.array([[120.3, 99.6]])
    ra, dec = wcs.all_pix2world(pixels, 0).T
    sigma = detector.core_sigma(next(iter(detector.bandpasses)))
    scene = scene_at(ra, dec, radius, 0.6, 33.0)
    light = render_scene(scene, np.array([1000.0]), wcs, window.shape, sigma, 0.1, 3.5)
    values = light / pixel_areas(label, extver, window)
    areas = areas_on_the_sky(label, extver, window) / chip.nominal_scale**2
    assert np.sum(values * areas) == pytest.approx(1000.0, rel=1e-5)


@pytest.mark.parametrize(("label", "extver", "window"), CHIPS)
def test_a_star_is_round_on_the_sky_and_where_it_should_be(label: str, extver: int, window: Window) -> None:
    wcs = chip_wcs(chip_of(label, extver), POINTING, window)
    expected = np.array([[118.27, 101.61]])
    ra, dec = wcs.all_pix2world(expected, 0).T
    sigma = 0.25
    light = render_scene(scene_at(ra, dec), np.array([1.0]), wcs, window.shape, sigma, 0.0, 3.5)
    y, x = np.indices(window.shape)
    centroid = np.array([np.sum(light * x), np.sum(light * y)]) / light.sum()
    np.testing.assert_allclose(centroid, expected[0], atol=2e-3)
    # Second moments on the sky, through the exact WCS of every pixel centre.
    alpha, delta = wcs.all_pix2world(x.ravel(), y.ravel(), 0)
    east = (alpha - ra[0]) * np.cos(np.radians(dec[0])) * 3600.0
    north = (delta - dec[0]) * 3600.0
    covariance = np.cov(np.stack([east, north]), aweights=light.ravel(), ddof=0)
    scale = chip_of(label, extver).nominal_scale
    np.testing.assert_allclose(covariance, np.eye(2) * sigma**2, atol=0.2 * scale**2)
    assert np.hypot(*np.average([east, north], axis=1, weights=light.ravel())) < 0.005 * scale


def test_the_position_angle_of_a_galaxy_is_east_of_north() -> None:
    label, extver, window = "wfc3_ir", 1, Window(700, 30, (200, 240))
    wcs = chip_wcs(chip_of(label, extver), POINTING, window)
    ra, dec = wcs.all_pix2world(np.array([[118.0, 101.0]]), 0).T
    light = render_scene(
        scene_at(ra, dec, 0.8, 0.4, 30.0), np.array([1.0]), wcs, window.shape, 0.06, 0.1, 3.5
    )
    y, x = np.indices(window.shape)
    alpha, delta = wcs.all_pix2world(x.ravel(), y.ravel(), 0)
    east = (alpha - ra[0]) * np.cos(np.radians(dec[0]))
    covariance = np.cov(np.stack([east, delta - dec[0]]), aweights=light.ravel(), ddof=0)
    values, vectors = np.linalg.eigh(covariance)
    major = vectors[:, 1]
    assert np.degrees(np.arctan2(major[0], major[1])) % 180.0 == pytest.approx(30.0, abs=0.5)
    assert np.sqrt(values[0] / values[1]) == pytest.approx(0.4, abs=0.03)


def test_half_of_a_galaxys_light_is_within_its_half_light_radius() -> None:
    for index in (0.5, 1.0, 1.5, 2.0):
        fractions, sigmas = (np.array(values) for values in sersic_mixture(index))
        assert fractions.sum() == pytest.approx(1.0)
        assert np.sum(fractions * (1.0 - np.exp(-0.5 / sigmas**2))) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("sigma", [0.06, 0.09, 0.3])
def test_pixels_hold_the_integral_of_the_profile(sigma: float) -> None:
    """Against a sum over 40 x 40 points in each pixel of an ACS/WFC corner, far from square."""
    label, extver, window = "acs_wfc", 2, Window(3850, 1850, (60, 60))
    wcs = chip_wcs(chip_of(label, extver), POINTING, window)
    ra, dec = wcs.all_pix2world(np.array([[29.31, 30.14]]), 0).T
    light = render_scene(scene_at(ra, dec), np.array([1.0]), wcs, window.shape, sigma, 0.0, 3.5)
    fine = 40
    at = (np.arange(60 * fine) + 0.5) / fine - 0.5
    frame = local_frames(wcs, ra, dec, 5.0, window.shape)
    inverse = np.linalg.inv(frame.jacobian[0])
    x, y = np.meshgrid(at - frame.x[0], at - frame.y[0])
    east, north = inverse[0, 0] * x + inverse[0, 1] * y, inverse[1, 0] * x + inverse[1, 1] * y
    profile = np.exp(-0.5 * (east**2 + north**2) / sigma**2)
    expected = profile.reshape(60, fine, 60, fine).sum(axis=(1, 3)) / profile.sum()
    np.testing.assert_allclose(light, expected, atol=2e-4 * expected.max())


def test_a_source_beyond_the_edge_gives_only_its_share() -> None:
    window = Window(0, 0, (60, 60))
    wcs = chip_wcs(chip_of("wfc3_ir", 1), POINTING, window)
    ra, dec = wcs.all_pix2world(np.array([[-0.5, 30.0]]), 0).T
    light = render_scene(scene_at(ra, dec), np.array([1.0]), wcs, window.shape, 0.1, 0.1, 3.5)
    assert light.sum() == pytest.approx(0.5, abs=0.01)
