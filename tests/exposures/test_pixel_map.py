"""The pixel map against astropy's exact transforms."""

from __future__ import annotations

import dataclasses
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, Sip
from hypothesis import given, settings
from hypothesis import strategies as st

from multivisit.errors import ExposureError, ParameterError
from multivisit.exposures.chip_wcs import build_wcs, read_lookup_tables
from multivisit.exposures.fits_file import read_extensions
from multivisit.exposures.model import read_exposure
from multivisit.exposures.pixel_map import PixelMap

if TYPE_CHECKING:
    from pathlib import Path

# Accuracy asked for is 1e-3 output pixel; this is what is aimed at.
TOLERANCE = 1e-4


def output_grid(ra: float, dec: float, scale: float = 0.04, crpix: tuple[float, float] = (0.5, 0.5)) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra % 360.0, dec]
    wcs.wcs.crpix = crpix
    wcs.wcs.cd = [[-scale / 3600, 0.0], [0.0, scale / 3600]]
    wcs.wcs.set()
    return wcs


def chip_wcs(
    ra: float,
    dec: float,
    roll: float,
    scale: float,
    shape: tuple[int, int],
    *,
    seed: int = 0,
    tables: str = "",
) -> WCS:
    """A chip with distortions as large as Hubble's: SIP of order 4, tables "npol", "columns" and "rows"."""
    random = np.random.default_rng(seed)
    ny, nx = shape
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.wcs.crval = [ra % 360.0, dec]
    wcs.wcs.crpix = [nx / 2.0 + 30.0, ny / 2.0 - 500.0]
    turn = np.radians(roll)
    skew = np.array([[1.0, 0.08], [-0.05, 0.97]])
    rotation = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.cd = rotation @ skew * scale / 3600.0
    coefficients = []
    for _ in range(2):
        sip = np.zeros((5, 5))
        for i in range(5):
            for j in range(5 - i):
                if i + j >= 2:
                    # At most some 40, 4 and 0.4 pixels at 2000 pixels from the reference pixel.
                    sip[i, j] = random.uniform(-1, 1) * 40.0 * 10.0 ** (2 - i - j) / 2000.0 ** (i + j)
        coefficients.append(sip)
    wcs.sip = Sip(*coefficients, None, None, wcs.wcs.crpix)
    if "npol" in tables:
        for name in ("cpdis1", "cpdis2"):
            values = random.uniform(-0.07, 0.07, (ny // 64 + 1, nx // 64 + 1)).astype(np.float32)
            setattr(wcs, name, DistortionLookupTable(values, (0.0, 0.0), (0.0, 0.0), (64.0, 64.0)))
    if "columns" in tables:
        values = random.uniform(-0.005, 0.005, (1, nx)).astype(np.float32)
        wcs.det2im1 = DistortionLookupTable(values, (0.0, 0.0), (0.0, 0.0), (1.0, 1.0))
    if "rows" in tables:
        values = random.uniform(-0.005, 0.005, (ny, 1)).astype(np.float32)
        wcs.det2im2 = DistortionLookupTable(values, (1.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    wcs.wcs.set()
    return wcs


def largest_difference(pixel_map: PixelMap, chip: WCS, output: WCS, n: int = 2000, seed: int = 5) -> float:
    """Compare with astropy at random positions, and at pixel centres through `evaluate`."""
    ny, nx = pixel_map.shape
    random = np.random.default_rng(seed)
    x = np.concatenate([[-0.5, nx - 0.5, -0.5, nx - 0.5, 0.0, nx - 1.0], random.uniform(-0.5, nx - 0.5, n)])
    y = np.concatenate([[-0.5, -0.5, ny - 0.5, ny - 0.5, 0.0, ny - 1.0], random.uniform(-0.5, ny - 0.5, n)])
    exact = np.array(output.all_world2pix(*chip.all_pix2world(x, y, 0), 0))
    anywhere = np.abs(np.array(pixel_map.at(x, y)) - exact).max()
    i, j = random.integers(0, nx, n), random.integers(0, ny, n)
    exact = np.array(output.all_world2pix(*chip.all_pix2world(i, j, 0), 0))
    centres = np.abs(np.moveaxis(pixel_map.evaluate()[j, i], -1, 0) - exact).max()
    return float(max(anywhere, centres))


REAL_CHIPS = [
    ("headers/acs_wfc_flt.fits.gz", 0, (2048, 4096)),
    ("headers/acs_wfc_flt.fits.gz", 1, (2048, 4096)),
    ("hrc_47tuc/j8bt06nyq_flt.fits", 0, (1024, 1024)),
    ("headers/wfc3_ir_flt.fits", 0, (1014, 1014)),
    ("headers/wfc3_uvis_headerlet.fits", 0, (2051, 4096)),
    ("headers/wfc3_uvis_headerlet.fits", 1, (2051, 4096)),
]


def real_wcs(path: Path, index: int, shape: tuple[int, int]) -> WCS:
    if "headerlet" not in path.name:
        return read_exposure(path).chips[index].wcs()
    extensions = read_extensions(path, images_of=("WCSDVARR", "D2IMARR"))
    tables = {(e.name, e.version or 1): e for e in extensions if e.image is not None}
    header = next(e.header for e in extensions if (e.name, e.version) == ("SIPWCS", index + 1))
    assert isinstance(header, fits.Header)
    return build_wcs(header, shape, read_lookup_tables(header, tables))


@pytest.mark.parametrize("scale", [0.04, 0.12])
@pytest.mark.parametrize(("name", "index", "shape"), REAL_CHIPS)
def test_real_distortions_are_followed(
    real_data: Path, name: str, index: int, shape: tuple[int, int], scale: float
) -> None:
    wcs = real_wcs(real_data / name, index, shape)
    ra, dec = wcs.wcs.crval
    # A tangent point that is as far as the corner of a projection cell.
    output = output_grid(float(ra) + 4.0, float(dec) + 2.4, scale, (1000.0, -500.0))
    pixel_map = PixelMap.fit(wcs, shape, output)
    difference = largest_difference(pixel_map, wcs, output)
    assert difference < TOLERANCE
    assert pixel_map.error < TOLERANCE
    assert pixel_map.measured_error(wcs, output) < TOLERANCE


SHAPES = st.sampled_from([(128, 96), (700, 500), (1, 4096), (2051, 3), (1, 1), (64, 64), (65, 129)])
TABLES = st.sampled_from(["", "npol", "npol columns", "npol columns rows", "rows"])


@settings(max_examples=60)
@given(
    ra=st.floats(0.0, 360.0),
    dec=st.one_of(st.floats(-90.0, 90.0), st.sampled_from([-90.0, -89.999, 89.9999, 90.0, 0.0])),
    roll=st.floats(0.0, 360.0),
    chip_scale=st.sampled_from([0.025, 0.05, 0.13]),
    scale=st.sampled_from([0.024, 0.04, 0.12]),
    offset=st.tuples(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0)),
    shape=SHAPES,
    tables=TABLES,
    seed=st.integers(0, 1000),
)
def test_any_chip_anywhere_on_the_sky_is_followed(
    ra: float,
    dec: float,
    roll: float,
    chip_scale: float,
    scale: float,
    offset: tuple[float, float],
    shape: tuple[int, int],
    tables: str,
    seed: int,
) -> None:
    chip = chip_wcs(ra, dec, roll, chip_scale, shape, seed=seed, tables=tables)
    output = output_grid(
        ra + offset[0] / max(np.cos(np.radians(dec)), 0.02),
        float(np.clip(dec + offset[1], -90.0, 90.0)),
        scale,
    )
    pixel_map = PixelMap.fit(chip, shape, output)
    assert largest_difference(pixel_map, chip, output, n=300) < TOLERANCE


@pytest.mark.parametrize(
    ("ra", "dec"), [(0.0, 10.0), (359.9999, -60.0), (123.0, 89.999), (10.0, -90.0), (0.0, 90.0)]
)
def test_full_chips_across_ra_zero_and_over_the_poles(ra: float, dec: float) -> None:
    shape = (2048, 4096)
    chip = chip_wcs(ra, dec, 33.0, 0.05, shape, tables="npol columns")
    # The reference pixel is 500 pixels below the chip's centre, so the pole itself is on the chip.
    output = output_grid(ra + 1.0, float(np.clip(dec - 0.5, -90, 90)))
    assert largest_difference(PixelMap.fit(chip, shape, output), chip, output) < TOLERANCE


@pytest.mark.parametrize(("chip_pole", "output_pole"), [(150.0, 180.0), (180.0, -20.0), (0.0, 77.0)])
def test_turned_native_coordinates_are_followed(chip_pole: float, output_pole: float) -> None:
    shape = (300, 200)
    chip, output = chip_wcs(30.0, -40.0, 33.0, 0.05, shape, tables="npol"), output_grid(31.0, -41.0)
    chip.wcs.lonpole, output.wcs.lonpole = chip_pole, output_pole
    assert largest_difference(PixelMap.fit(chip, shape, output), chip, output) < TOLERANCE


def test_the_map_of_a_subarray_is_that_of_the_whole_chip(real_data: Path) -> None:
    whole = read_exposure(real_data / "headers" / "acs_wfc_flt.fits.gz").chips[0].wcs()
    output = output_grid(7.0, -71.0)
    part = whole.deepcopy()
    # 100 columns and 200 rows are cut off; tables keep their place on the detector.
    part.wcs.crpix = whole.wcs.crpix - [100.0, 200.0]
    part.sip = Sip(whole.sip.a, whole.sip.b, None, None, part.wcs.crpix)
    for name in ("cpdis1", "cpdis2", "det2im1"):
        old = getattr(whole, name)
        crval = (old.crval[0] - 100.0, old.crval[1] - 200.0)
        setattr(part, name, DistortionLookupTable(old.data, tuple(old.crpix), crval, tuple(old.cdelt)))
    a = PixelMap.fit(whole, (2048, 4096), output).evaluate(200, 712)[:, 100:612]
    b = PixelMap.fit(part, (512, 512), output).evaluate()
    np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE)


def test_rows_can_be_asked_for_in_parts() -> None:
    shape = (301, 150)
    chip = chip_wcs(30.0, 40.0, 10.0, 0.05, shape, tables="npol columns rows")
    pixel_map = PixelMap.fit(chip, shape, output_grid(31.0, 41.0))
    whole = pixel_map.evaluate()
    assert whole.shape == (301, 150, 2)
    assert whole.dtype == np.float64
    for first, last in ((0, 1), (0, 301), (77, 205), (300, 301), (5, 5)):
        np.testing.assert_allclose(pixel_map.evaluate(first, last), whole[first:last], rtol=0, atol=1e-8)
    x, y = np.meshgrid(np.arange(150), np.arange(301))
    np.testing.assert_allclose(np.stack(pixel_map.at(x, y), axis=-1), whole, rtol=0, atol=1e-8)
    u, v = pixel_map.at(3.0, 4.0)
    np.testing.assert_allclose([u, v], whole[4, 3], rtol=0, atol=1e-8)
    for first, last in ((-1, 5), (0, 302), (7, 3)):
        with pytest.raises(ParameterError, match="301 rows"):
            pixel_map.evaluate(first, last)


def test_a_wcs_without_tables_has_no_residual() -> None:
    chip = chip_wcs(30.0, 40.0, 10.0, 0.05, (100, 100))
    pixel_map = PixelMap.fit(chip, (100, 100), output_grid(30.0, 40.0))
    assert pixel_map.residual.shape == (2, 0, 0)
    assert pixel_map.degree == 5


def test_knots_of_two_tables_that_differ_by_rounding_are_one() -> None:
    chip = chip_wcs(10.0, 20.0, 30.0, 0.05, (1000, 1500), tables="npol")
    values = np.random.default_rng(1).uniform(-0.07, 0.07, (17, 25)).astype(np.float32)
    chip.cpdis1 = chip.cpdis2 = DistortionLookupTable(values, (1.0, 1.0), (0.3, 0.3), (63.9, 63.9))
    chip.det2im1 = DistortionLookupTable(np.zeros((60, 80), np.float32), (1.0, 1.0), (0.3, 0.3), (21.3, 21.3))
    output = output_grid(10.0, 20.0, 0.05)
    pixel_map = PixelMap.fit(chip, (1000, 1500), output)
    # The first knots of the tables are the same, and every third one of the finer table.
    assert len(pixel_map.x_knots) == 2 + len(np.arange(0.3 - 1.0, 1499.5, 21.3)[1:])
    assert np.diff(pixel_map.x_knots).min() > 0.1
    assert np.diff(pixel_map.y_knots).min() > 0.1
    assert largest_difference(pixel_map, chip, output) < 1e-4


def test_the_degree_rises_for_stronger_distortions() -> None:
    shape = (1000, 1000)
    chip = chip_wcs(30.0, 40.0, 10.0, 0.05, shape)
    sip = np.zeros((8, 8))
    sip[4, 3] = 5.0 / 1000.0**7
    chip.sip = Sip(sip, sip, None, None, chip.wcs.crpix)
    output = output_grid(30.0, 41.0)
    pixel_map = PixelMap.fit(chip, shape, output)
    assert pixel_map.degree >= 7
    assert largest_difference(pixel_map, chip, output) < TOLERANCE


def test_a_wcs_that_cannot_be_followed_is_an_error() -> None:
    chip = chip_wcs(30.0, 40.0, 10.0, 0.05, (1000, 1000))
    # Large steps between neighbouring columns, all of whose knots another table displaces by part of a pixel.
    random = np.random.default_rng(0)
    steps = random.uniform(-0.5, 0.5, (1, 1000)).astype(np.float32)
    chip.cpdis1 = DistortionLookupTable(steps, (0.0, 0.0), (0.0, 0.0), (1.0, 1.0))
    chip.det2im1 = DistortionLookupTable(steps, (0.3, 0.0), (0.0, 0.0), (2.7, 1.0))
    with pytest.raises(ExposureError, match=r"pixel map .* differs from its WCS"):
        PixelMap.fit(chip, (1000, 1000), output_grid(30.0, 40.0))


@pytest.mark.parametrize("away", [89.5, 90.0, 120.0, 180.0])
def test_a_chip_beyond_the_horizon_of_the_output_is_an_error(away: float) -> None:
    chip = chip_wcs(30.0, 0.0, 10.0, 0.05, (2048, 4096), tables="npol")
    with pytest.raises(ExposureError, match="degrees from the output image's tangent point"):
        PixelMap.fit(chip, (2048, 4096), output_grid(30.0 + away, 0.0))


def test_far_from_the_tangent_point_the_map_still_holds() -> None:
    chip = chip_wcs(30.0, 0.0, 10.0, 0.05, (2048, 4096), tables="npol")
    output = output_grid(75.0, 20.0)
    assert largest_difference(PixelMap.fit(chip, (2048, 4096), output), chip, output) < TOLERANCE


def test_an_output_with_distortions_or_another_projection_is_refused() -> None:
    chip = chip_wcs(30.0, 0.0, 10.0, 0.05, (10, 10))
    with pytest.raises(ParameterError, match="distortions"):
        PixelMap.fit(chip, (10, 10), chip)
    other = output_grid(30.0, 0.0)
    other.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    with pytest.raises(ParameterError, match="RA---SIN"):
        PixelMap.fit(chip, (10, 10), other)


def test_the_map_is_plain_numbers_and_can_be_sent_to_other_processes() -> None:
    shape = (70, 130)
    chip = chip_wcs(30.0, 40.0, 10.0, 0.05, shape, tables="npol")
    pixel_map = PixelMap.fit(chip, shape, output_grid(31.0, 41.0))
    copy = pickle.loads(pickle.dumps(pixel_map))
    np.testing.assert_array_equal(copy.evaluate(), pixel_map.evaluate())
    for field in dataclasses.fields(pixel_map):
        assert isinstance(getattr(pixel_map, field.name), (np.ndarray, float, tuple))


def test_threads_may_fit_at_once_with_the_same_wcs_objects() -> None:
    shape = (200, 300)
    chip = chip_wcs(30.0, 40.0, 10.0, 0.05, shape, tables="npol columns")
    output = output_grid(31.0, 41.0)
    expected = PixelMap.fit(chip, shape, output)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: PixelMap.fit(chip, shape, output), range(40)):
            np.testing.assert_array_equal(found.coefficients, expected.coefficients)
            np.testing.assert_array_equal(found.residual, expected.residual)


def test_fitting_leaves_the_wcs_as_it_was() -> None:
    chip = chip_wcs(30.0, 40.0, 10.0, 0.05, (64, 64), tables="npol columns")
    before = chip.all_pix2world([3.0], [60.0], 0)
    PixelMap.fit(chip, (64, 64), output_grid(30.0, 40.0))
    assert chip.cpdis1 is not None
    assert chip.det2im1 is not None
    np.testing.assert_array_equal(chip.all_pix2world([3.0], [60.0], 0), before)


def test_a_full_chip_is_mapped_in_a_fraction_of_the_exact_transforms_time(real_data: Path) -> None:
    wcs = real_wcs(real_data / "headers" / "acs_wfc_flt.fits.gz", 0, (2048, 4096))
    output = output_grid(7.0, -71.0)
    pixel_map = PixelMap.fit(wcs, (2048, 4096), output)
    start = time.perf_counter()
    x, y = np.meshgrid(np.arange(4096.0), np.arange(128.0))
    output.wcs_world2pix(*wcs.all_pix2world(x.ravel(), y.ravel(), 0), 0)
    exact = (time.perf_counter() - start) * 16
    fastest = np.inf
    for _ in range(3):
        start = time.perf_counter()
        pixel_map.evaluate()
        fastest = min(fastest, time.perf_counter() - start)
    assert fastest < exact / 3
