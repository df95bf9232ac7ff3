"""Corrections of WCS solutions against the exact transformation of positions."""

from __future__ import annotations

import numpy as np
import pytest

from multivisit.align.correction import arcsec_plane, corrected_exposure
from multivisit.align.linear import Transform


def grid(chip):
    ny, nx = chip.shape
    return (axis.ravel() for axis in np.meshgrid(np.linspace(0, nx - 1, 7), np.linspace(0, ny - 1, 7)))


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"),
    [(0.0, 1.0, (5.0, -8.0)), (0.1, 1.0, (0.0, 0.0)), (-0.05, 1.0004, (10.0, 3.0))],
)
@pytest.mark.parametrize("rootname", ["jsim0101q", "isim0202q"])
def test_every_pixel_goes_where_the_transformation_takes_it(case, rootname, degrees, scale, shift):
    exposure = case.exposure(rootname)
    angle = np.radians(degrees)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    transform = Transform(matrix, np.array(shift))
    # The tangent point is minutes of arc away, as in a field of several pointings.
    plane = arcsec_plane(180.3, 26.3)
    changed = corrected_exposure(exposure, plane, transform, {"WCSNAME": "X-FIT_IMG_TEST", "NMATCHES": 7})
    for before, after in zip(exposure.chips, changed.chips, strict=True):
        x, y = grid(before)
        wanted = transform(plane.pixels(*before.wcs().all_pix2world(x, y, 0)))
        found = plane.pixels(*after.wcs().all_pix2world(x, y, 0))
        assert np.abs(found - wanted).max() < 2e-5
        assert (after.wcs_name, after.header["WCSNAME"], after.header["NMATCHES"]) == (
            "X-FIT_IMG_TEST", "X-FIT_IMG_TEST", 7,
        )  # fmt: skip
        assert before.header["WCSNAME"] != after.header["WCSNAME"]
        assert after.shape == before.shape
        assert np.abs(np.subtract(after.outline(), before.outline())).max() > 1e-5


def test_nothing_changes_without_a_transformation(case):
    exposure = case.exposure("jsim0201q")
    changed = corrected_exposure(exposure, arcsec_plane(180.3, 26.3), Transform(), {"WCSNAME": "same"})
    for before, after in zip(exposure.chips, changed.chips, strict=True):
        x, y = grid(before)
        np.testing.assert_allclose(
            after.wcs().all_pix2world(x, y, 0), before.wcs().all_pix2world(x, y, 0), rtol=0.0, atol=1e-11
        )
