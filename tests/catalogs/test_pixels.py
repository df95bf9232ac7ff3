"""The loops over pixels, against scipy, numpy and analytic cases."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage, stats

from multivisit.catalogs import _pixels
from multivisit.catalogs.bands import Band
from multivisit.catalogs.detection import connect, cut_large, gaussian_smoothing, ricker_smoothing


def runs_of(mask):
    rows = []
    for y, row in enumerate(mask):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
        rows += [(y, start, stop) for start, stop in edges.reshape(-1, 2)]
    return np.array(rows, dtype=np.int32).reshape(-1, 3)


def paint(components, shape):
    image = np.full(shape, -1, dtype=np.int32)
    _pixels.paint_runs(components.runs, components.labels, image, 0, 0)
    return image


@pytest.mark.parametrize("density", [0.02, 0.2, 0.45, 0.9])
def test_components_are_those_of_scipy(density):
    mask = np.random.default_rng(5).random((70, 90)) < density
    expected, n = ndimage.label(mask, np.ones((3, 3)))
    components = connect(runs_of(mask), 1)
    assert len(components) == n
    # The same pixels go together: numbering by the first pixel makes the labels the same.
    assert_array_equal(paint(components, mask.shape), expected - 1)
    assert_array_equal(components.areas, np.bincount(expected.ravel())[1:])
    for limits, found in zip(components.limits, ndimage.find_objects(expected), strict=True):
        assert tuple(limits) == (found[0].start, found[0].stop, found[1].start, found[1].stop)


def test_small_components_are_left_out():
    mask = np.zeros((9, 9), dtype=bool)
    mask[1, 1:5] = mask[5:8, 5:8] = True
    components = connect(runs_of(mask), 5)
    assert_array_equal(components.areas, [9])


def test_components_of_the_size_of_a_mosaic_are_cut_at_the_borders_of_bands():
    runs = np.array([(y, 0, 9000) for y in range(1000)] + [(1005, 3, 9)], dtype=np.int32)
    components = cut_large(connect(runs, 1), [Band(0, 400), Band(400, 800), Band(800, 1010)])
    assert sorted(components.areas) == [6, 200 * 9000, 400 * 9000, 400 * 9000]


def band(science, weight, smoothing, level=0.0, noise=1.0):
    mesh = np.ones((1, science.shape[1]), dtype=np.float32)
    return (
        science,
        weight,
        (level * mesh).astype(np.float32),
        (noise * mesh).astype(np.float32),
        smoothing.across,
        smoothing.down,
        0.0,
        1.0,
    )


@pytest.mark.parametrize(
    "smoothing", [gaussian_smoothing(1.9), gaussian_smoothing(3.5), ricker_smoothing(1.9, 15)]
)
def test_filtering_is_a_convolution(smoothing):
    random = np.random.default_rng(1)
    science = random.normal(3.0, 1.0, (60, 77)).astype(np.float32)
    weight = (random.random((60, 77)) > 0.1).astype(np.float32)
    science[weight == 0] = np.nan
    subtracted, filtered = np.empty_like(science), np.empty_like(science)
    _pixels.filter_band(*band(science, weight, smoothing, level=3.0), subtracted, filtered)
    expected = np.where(weight > 0, science - np.float32(3.0), 0.0)
    assert_allclose(subtracted, expected, atol=1e-6)
    assert_allclose(
        filtered, ndimage.convolve(expected.astype(float), smoothing.kernel, mode="constant"), atol=3e-6
    )


def test_the_ricker_wavelet_is_that_of_its_formula_and_has_no_response_to_a_level():
    smoothing = ricker_smoothing(2.5, 31)
    sigma = 2.5 / 2.3548200450309493
    y, x = np.mgrid[-15:16, -15:16]
    u = (x**2 + y**2) / (2.0 * (1.5 * sigma) ** 2)
    expected = (1.0 - u) * np.exp(-u) / (2.0 * np.pi * sigma**2)
    assert_allclose(smoothing.kernel, expected, atol=1e-7)
    assert abs(smoothing.kernel.sum()) < 1e-3


def test_runs_and_peaks_are_those_of_the_filtered_image():
    random = np.random.default_rng(2)
    science = random.normal(0.0, 1.0, (80, 100)).astype(np.float32)
    weight = random.uniform(0.5, 2.0, (80, 100)).astype(np.float32)
    smoothing = gaussian_smoothing(2.0)
    arguments = band(science, weight, smoothing)
    filtered = np.empty_like(science)
    _pixels.filter_band(*arguments, np.empty_like(science), filtered)
    runs, peaks = _pixels.find_pixels(*arguments, 10, 70, 1.0, 0.8)
    runs = np.frombuffer(runs, np.int32).reshape(-1, 3)
    peaks = np.frombuffer(peaks, np.int32).reshape(-1, 3)
    significance = filtered * np.sqrt(weight)
    assert_array_equal(runs, [run for run in runs_of(significance > 1.0) if 10 <= run[0] < 70])
    highest = (filtered == ndimage.maximum_filter(filtered, 3, mode="nearest")) & (significance > 0.8)
    assert_array_equal(peaks[:, :2], [place for place in np.argwhere(highest) if 10 <= place[0] < 70])
    assert_array_equal(peaks[:, 2].copy().view(np.float32), filtered[peaks[:, 0], peaks[:, 1]])


def test_boxes_have_the_statistics_of_their_clipped_pixels():
    random = np.random.default_rng(3)
    science = random.normal(7.0, 2.0, (32, 48)).astype(np.float32)
    science[3, 4] = 500.0
    science[20, 30] = np.nan
    weight = np.full((32, 48), 4.0, dtype=np.float32)
    weight[16:, 32:] = 0.0
    out = np.empty((2, 3, 5))
    _pixels.box_statistics(science, weight, 16, 1, 3.0, 20, out)
    kept = stats.sigmaclip(science[:16, :16].astype(float).ravel(), 3.0, 3.0).clipped
    assert_allclose(
        out[0, 0], [kept.mean(), np.median(kept), kept.std(), 2 * kept.std(), kept.size / 256], rtol=2e-3
    )
    assert out[1, 2, 4] == 0.0
    assert np.isfinite(out[1, 1, :4]).all()


def test_two_stars_that_touch_are_told_apart_and_a_ripple_is_not():
    y, x = np.mgrid[0:40, 0:60].astype(np.float32)
    image = 100.0 * np.exp(-((x - 20) ** 2 + (y - 20) ** 2) / 18.0)
    image += 60.0 * np.exp(-((x - 35) ** 2 + (y - 20) ** 2) / 18.0)
    image += 0.02 * np.exp(-((x - 20) ** 2 + (y - 28) ** 2) / 2.0)
    labels = (image > 0.5).astype(np.int32)
    objects = np.empty_like(labels)
    assert _pixels.deblend(image.astype(np.float32), labels, 1, 5, 0.001, 64.0, objects) == 2
    assert (objects[labels == 0] == -1).all()
    assert objects[20, 20] == 0
    assert objects[20, 35] == 1
    # The border between the two lies at the saddle, and the ripple went to the first.
    saddle = 20 + int(np.argmin(image[20, 20:36]))
    assert (objects[20, 12:saddle] == 0).all()
    assert (objects[20, saddle + 1 : 40] == 1).all()
    assert objects[28, 20] == 0
    # With a contrast that the fainter one does not have, there is one object.
    assert _pixels.deblend(image.astype(np.float32), labels, 1, 5, 0.5, 64.0, objects) == 1


def test_moments_of_a_gaussian_are_its_own():
    y, x = np.mgrid[0:80, 0:90].astype(np.float32)
    sx, sy, rho = 4.0, 3.0, 0.4
    u, v = (x - 41.3) / sx, (y - 37.8) / sy
    image = 10.0 * np.exp(-(u**2 - 2 * rho * u * v + v**2) / (2.0 * (1 - rho**2)))
    labels = np.ones(image.shape, dtype=np.int32)
    out = np.empty((2, 12))
    _pixels.measure_segments(image.astype(np.float32), np.full_like(image, 2.0), labels, out)
    area, flux, weight, cx, cy, xx, yy, xy, x_min, x_max, y_min, y_max = out[0]
    assert (area, weight, x_min, x_max, y_min, y_max) == (7200, 14400, 0, 89, 0, 79)
    assert_allclose(flux, 10.0 * 2 * np.pi * sx * sy * np.sqrt(1 - rho**2), rtol=1e-5)
    assert_allclose((cx, cy), (41.3, 37.8), atol=1e-4)
    assert_allclose((xx, yy, xy), (sx**2, sy**2, rho * sx * sy), rtol=1e-4)
    assert (out[1] == 0).all()


def test_positions_are_refined_to_the_centres_of_stars():
    y, x = np.mgrid[0:60, 0:60]
    truth = np.array([(20.3, 18.7), (40.49, 41.02)])
    image = sum(np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 1.4**2)) for cx, cy in truth)
    positions = np.round(truth)
    _pixels.refine_positions(image.astype(np.float32), positions, 1.4, 1.5)
    assert_allclose(positions, truth, atol=1e-3)


def test_the_annulus_leaves_stars_out_and_the_aperture_counts_holes():
    random = np.random.default_rng(4)
    image = random.normal(5.0, 1.0, (61, 61)).astype(np.float32)
    weight = np.full((61, 61), 3.0, dtype=np.float32)
    image[30, 42] = 1000.0
    weight[30, 31] = 0.0
    out = np.empty((1, 14))
    _pixels.measure_surroundings(
        image, weight, np.array([[30.0, 30.0]]), 2.0, 4.0, 8.0, 14.0, 3.0, 20, 1.0, out
    )
    y, x = np.mgrid[0:61, 0:61] - 30
    ring = (x**2 + y**2 >= 64) & (x**2 + y**2 <= 196)
    kept = stats.sigmaclip(image[ring].astype(float), 3.0, 3.0).clipped
    assert_allclose(out[0, :4], [kept.mean(), np.median(kept), kept.std(), kept.size], rtol=1e-5)
    inside = x**2 + y**2 <= 16
    assert_allclose(out[0, 4:7], [weight[inside].mean(), 0.0, 1.0], rtol=1e-6)


def test_the_sums_of_an_aperture_know_the_light_and_the_weight_of_each_pixel():
    y, x = np.mgrid[0:61, 0:61] - 30.0
    # Its Laplacian is 0.3 everywhere, and the median of the annulus is that of its values there.
    image = (0.05 * x**2 + 0.1 * y**2).astype(np.float32)
    weight = np.full((61, 61), 4.0, dtype=np.float32)
    weight[30, 30] = 1.0
    weight[28, 31] = 3.0
    out = np.empty((1, 14))
    _pixels.measure_surroundings(
        image, weight, np.array([[30.0, 30.0]]), 1.5, 6.0, 8.0, 14.0, 99.0, 1, 1.0, out
    )
    sky = out[0, 1]
    for radius, sums in ((1.5, out[0, 8:11]), (6.0, out[0, 11:14])):
        part = np.clip(radius + 0.5 - np.hypot(x, y), 0.0, 1.0)
        assert_allclose(sums[0], (part / weight).sum(), rtol=1e-5)
        assert_allclose(sums[1], (part * (image - sky) / weight).sum(), rtol=1e-4)
        missing = 0.3 * (part[30, 30] * 0.75 + part[28, 31] * 0.25)
        assert_allclose(sums[2], missing, rtol=1e-4)


@pytest.mark.parametrize("angle", [0.0, 0.6, 1.5])
def test_the_least_variance_is_that_across_a_track(angle):
    y, x = np.mgrid[0:61, 0:61] - 30.0
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    image = (50.0 * np.exp(-0.5 * ((along / 3.0) ** 2 + (across / 1.2) ** 2))).astype(np.float32)
    out = np.empty((1, 14))
    weight, place = np.ones((61, 61), np.float32), np.array([[30.0, 30.0]])
    _pixels.measure_surroundings(image, weight, place, 2.0, 4.0, 15.0, 25.0, 3.0, 20, 1.5, out)
    # The window's variance and the track's make that of their product.
    assert_allclose(out[0, 7], 1.0 / (1.0 / 1.2**2 + 1.0 / 1.5**2), rtol=1e-3)


def test_rows_are_read_from_files_as_they_stand_there(tmp_path):
    pixels = np.random.default_rng(7).normal(size=(9, 13)).astype(">f4")
    path = tmp_path / "pixels"
    path.write_bytes(b"header" + pixels.tobytes())
    with path.open("rb") as file:
        out = np.empty((3, 5), np.float32)
        assert _pixels.read_rows(file.fileno(), 6 + 4 * (2 * 13 + 4), 2 * 4 * 13, out)
        assert_array_equal(out, pixels[2:8:2, 4:9])
        assert not _pixels.read_rows(file.fileno(), 6 + 4 * 13 * 8, 4 * 13, out)
    with pytest.raises(OSError, match="descriptor"):
        _pixels.read_rows(-1, 0, 4, out)


def test_flagged_pixels_are_those_with_a_bit():
    flags = np.random.default_rng(8).integers(0, 1 << 14, (40, 700)).astype(np.int16)
    flags[5:20] &= ~260
    found = np.frombuffer(_pixels.find_flagged(flags, 260, 100), np.int32).reshape(-1, 2)
    assert_array_equal(found - [100, 0], np.argwhere(flags & 260))


def test_numbers_are_written_as_python_writes_them():
    random = np.random.default_rng(9)
    values = np.concatenate(
        [random.normal(size=50) * 10.0 ** random.integers(-9, 18, 50), [0.0, -0.0, 9.9996, -9999.0, 1e300]]
    )
    decimals = np.array([0, 3, 7], np.int32)
    lines = _pixels.format_rows(np.tile(values, (3, 1)), decimals).decode().splitlines()
    assert lines == ["%.0f %.3f %.7f" % (value, value, value) for value in values]  # noqa: UP031


@pytest.mark.parametrize(
    "call",
    [
        lambda f: _pixels.connect_runs(np.zeros((3, 2), np.int32), np.zeros(3, np.int32)),
        lambda f: _pixels.connect_runs(np.zeros((3, 3), np.int64), np.zeros(3, np.int32)),
        lambda f: _pixels.box_statistics(f, f, 0, 1, 3.0, 3, np.zeros((1, 1, 5))),
        lambda f: _pixels.box_statistics(f, f, 4, 1, 3.0, 3, np.zeros((1, 1, 5))),
        lambda f: _pixels.refine_positions(f, np.zeros((2, 3)), 1.0, 1.0),
        lambda f: _pixels.deblend(f, np.zeros((8, 9), np.int32), 1, 5, 0.1, 8.0, np.zeros((8, 8), np.int32)),
        lambda f: _pixels.measure_segments(f, f, np.zeros((8, 8), np.int32), np.zeros((1, 3))),
        lambda f: _pixels.find_pixels(f, f, f, f, f[:, :4].copy(), f[:, :4].copy(), 0.0, 1.0, 0, 8, 1.0, 1.0),
        lambda f: _pixels.find_pixels(
            f, f, f, f, f[:1, :3].copy(), f[:1, :3].copy(), 0.0, 1.0, 0, 9, 1.0, 1.0
        ),
    ],
)
def test_arrays_that_do_not_go_together_are_refused(call):
    with pytest.raises(ValueError, match=r"expected|shapes|shape|band"):
        call(np.zeros((8, 8), dtype=np.float32))
