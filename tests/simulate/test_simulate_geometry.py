"""The simulated distortion against the headers of real exposures, and its behaviour under pointing."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from hypothesis import example, given, settings
from hypothesis import strategies as st

from multivisit.simulate.detectors import DETECTORS
from multivisit.simulate.geometry import Pointing, Window, chip_wcs, detector_geometry, offset_pointing

if TYPE_CHECKING:
    from pathlib import Path

ALL_CHIPS = [(label, chip.extver) for label in DETECTORS for chip in detector_geometry(label).chips]


def separation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Arcsec between positions, (n, 2) in degrees."""
    return np.asarray(
        SkyCoord(*np.transpose(first), unit="deg")
        .separation(SkyCoord(*np.transpose(second), unit="deg"))
        .arcsec
    )


def pixels_over(shape: tuple[int, int], number: int = 400) -> np.ndarray:
    """Random pixel positions over a chip, (n, 2), 0-based."""
    return np.random.default_rng(5).uniform([-0.5, -0.5], [shape[1] - 0.5, shape[0] - 0.5], (number, 2))


def real_wcs(header: fits.Header, tables: fits.HDUList | None, key: str = " ") -> WCS:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(header, tables, key=key)


def test_acs_wfc_at_its_real_pointing_equals_the_real_header(real_data: Path) -> None:
    with fits.open(real_data / "headers" / "acs_wfc_flt.fits.gz") as hdus:
        primary = hdus[0].header
        pointing = Pointing(primary["RA_TARG"], primary["DEC_TARG"], primary["PA_V3"])
        for chip in detector_geometry("acs_wfc").chips:
            header = hdus["SCI", chip.extver].header
            assert header["CCDCHIP"] == chip.chip_id
            pixels = pixels_over(chip.shape)
            expected = real_wcs(header, hdus).all_pix2world(pixels, 0)
            found = chip_wcs(chip, pointing).all_pix2world(pixels, 0)
            assert separation(found, expected).max() < 1e-5 * chip.nominal_scale


def test_uvis_chips_lie_to_each_other_as_in_the_real_header(real_data: Path) -> None:
    with (
        fits.open(real_data / "headers" / "wfc3_uvis_flc.fits") as hdus,
        fits.open(real_data / "headers" / "wfc3_uvis_headerlet.fits") as headerlet,
    ):
        header = hdus["SCI", 1].header
        pointing = Pointing(header["RA_APER"], header["DEC_APER"], hdus[0].header["PA_V3"])
        for chip in detector_geometry("wfc3_uvis").chips:
            # The headerlet has the lookup tables whole; the solution without a fit is the alternate WCS "A".
            header = headerlet["SIPWCS", chip.extver].header.copy()
            science = hdus["SCI", chip.extver].header
            for name in ("CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"):
                header[name] = science[name + "A"]
            header["NAXIS1"], header["NAXIS2"] = chip.shape[::-1]
            pixels = pixels_over(chip.shape)
            expected = real_wcs(header, headerlet).all_pix2world(pixels, 0)
            found = chip_wcs(chip, pointing).all_pix2world(pixels, 0)
            assert separation(found, expected).max() < 1e-5 * chip.nominal_scale


def test_ir_equals_the_real_header(real_data: Path) -> None:
    with fits.open(real_data / "headers" / "wfc3_ir_flt.fits") as hdus:
        header = hdus["SCI"].header.copy()
        pointing = Pointing(header["RA_APER"], header["DEC_APER"], hdus[0].header["PA_V3"])
    for name in ("CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        header[name] = header[name + "A"]
    (chip,) = detector_geometry("wfc3_ir").chips
    pixels = pixels_over(chip.shape)
    expected = real_wcs(header, None).all_pix2world(pixels, 0)
    assert separation(chip_wcs(chip, pointing).all_pix2world(pixels, 0), expected).max() < 1e-6


def test_hrc_equals_the_real_exposure(real_data: Path) -> None:
    with fits.open(real_data / "hrc_47tuc" / "j8bt06nyq_flt.fits") as hdus:
        header = hdus["SCI"].header
        pointing = Pointing(header["RA_APER"], header["DEC_APER"], hdus[0].header["PA_V3"])
        expected_wcs = real_wcs(header, None)
    (chip,) = detector_geometry("acs_hrc").chips
    pixels = pixels_over(chip.shape)
    expected = expected_wcs.all_pix2world(pixels, 0)
    assert separation(chip_wcs(chip, pointing).all_pix2world(pixels, 0), expected).max() < 1e-6


def test_sbc_pixels_have_about_the_published_size() -> None:
    (chip,) = detector_geometry("acs_sbc").chips
    sides = 3600.0 * np.hypot(*chip.cd)
    np.testing.assert_allclose(sides, [0.034, 0.030], rtol=0.02)


@settings(max_examples=15)
@given(ra=st.floats(0.0, 360.0), dec=st.floats(-90.0, 90.0), roll=st.floats(0.0, 360.0))
@example(ra=0.0, dec=90.0, roll=0.0)
@example(ra=0.0, dec=-90.0, roll=77.0)
@example(ra=359.9999, dec=-33.0, roll=200.0)
def test_chips_keep_their_distances_wherever_the_telescope_looks(ra: float, dec: float, roll: float) -> None:
    for label in ("acs_wfc", "wfc3_uvis"):
        chips = detector_geometry(label).chips
        corners = [pixels_over(chip.shape, 4) for chip in chips]

        def distances(pointing: Pointing, chips=chips, corners=corners) -> np.ndarray:  # type: ignore[no-untyped-def]
            positions = np.concatenate(
                [
                    chip_wcs(chip, pointing).all_pix2world(pixels, 0)
                    for chip, pixels in zip(chips, corners, strict=True)
                ]
            )
            first, second = np.transpose(list(itertools.combinations(range(len(positions)), 2)))
            return separation(positions[first], positions[second])

        at_origin = distances(Pointing(0.0, 0.0, 0.0))
        np.testing.assert_allclose(distances(Pointing(ra, dec, roll)), at_origin, atol=2e-7, rtol=0)


@pytest.mark.parametrize("roll", [0.0, 45.0, 200.0])
def test_roll_is_the_position_angle_of_v3(roll: float) -> None:
    """The two ACS/WFC chips lie along V3, the second extension's (WFC1) at smaller V3."""
    pointing = Pointing(150.0, -40.0, roll)
    lower, upper = (chip_wcs(chip, pointing).wcs.crval for chip in detector_geometry("acs_wfc").chips)
    angle = SkyCoord(*upper, unit="deg").position_angle(SkyCoord(*lower, unit="deg")).deg
    idc = [chip.idc for chip in detector_geometry("acs_wfc").chips]
    v2_v3 = np.array([idc[0][name] - idc[1][name] for name in ("IDCV2REF", "IDCV3REF")])
    assert (angle - roll - np.degrees(np.arctan2(*v2_v3)) + 180.0) % 360.0 - 180.0 == pytest.approx(
        0.0, abs=0.15
    )


@pytest.mark.parametrize(("label", "extver"), ALL_CHIPS)
def test_a_subarray_sees_its_part_of_the_sky(label: str, extver: int) -> None:
    (chip,) = (chip for chip in detector_geometry(label).chips if chip.extver == extver)
    pointing = Pointing(10.0, 20.0, 30.0)
    window = Window(x0=311, y0=207, shape=(300, 260))
    pixels = pixels_over(window.shape)
    found = chip_wcs(chip, pointing, window).all_pix2world(pixels, 0)
    expected = chip_wcs(chip, pointing).all_pix2world(pixels + np.array([window.x0, window.y0]), 0)
    assert separation(found, expected).max() < 1e-8


@pytest.mark.parametrize("dec", [0.0, 60.0, -89.99])
def test_an_offset_moves_the_pointing_by_that_much(dec: float) -> None:
    start = Pointing(359.999, dec, 10.0)
    moved = offset_pointing(start, 30.0, -40.0)
    assert separation([[start.ra, start.dec]], [[moved.ra, moved.dec]])[0] == pytest.approx(50.0, rel=1e-6)
    # V3 keeps its direction: the pattern on the sky is shifted, not turned.
    (chip,) = detector_geometry("wfc3_ir").chips
    points = np.array([[507.0, 100.0], [507.0, 900.0]])
    before, after = (chip_wcs(chip, pointing).all_pix2world(points, 0) for pointing in (start, moved))
    frame = SkyCoord(start.ra, start.dec, unit="deg").skyoffset_frame()
    steps = []
    for positions in (before, after):
        offsets = SkyCoord(*positions.T, unit="deg").transform_to(frame)
        steps.append(np.array([np.diff(offsets.lon.arcsec)[0], np.diff(offsets.lat.arcsec)[0]]))
    np.testing.assert_allclose(steps[1], steps[0], atol=1e-4)


def test_a_turn_is_added_to_the_roll() -> None:
    assert offset_pointing(Pointing(10.0, 20.0, 350.0), 0.0, 0.0, 20.0) == Pointing(
        pytest.approx(10.0), pytest.approx(20.0), pytest.approx(10.0)
    )
