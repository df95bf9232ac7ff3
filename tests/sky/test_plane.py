from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from multivisit.errors import SkyCellError
from multivisit.sky.plane import TangentPlane

right_ascensions = st.floats(0, 360, exclude_max=True)
declinations = st.floats(-89.999999, 89.999999)


def tan_wcs(ra: float, dec: float, roll: float = 0.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [1000.5, -300.25]
    turn = np.radians(roll)
    wcs.wcs.cd = (0.04 / 3600) * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.set()
    return wcs


@given(right_ascensions, declinations, st.floats(0, 360), st.integers(0, 2**32 - 1))
def test_the_plane_equals_astropy(ra: float, dec: float, roll: float, seed: int) -> None:
    wcs = tan_wcs(ra, dec, roll)
    plane = TangentPlane.from_wcs(wcs)
    pixels = np.random.default_rng(seed).uniform(-3e5, 3e5, (50, 2))
    sky = wcs.wcs_pix2world(pixels, 0)
    # 1e-5 pixel is 0.4 microarcsec: what a right ascension in double precision is good for
    np.testing.assert_allclose(plane.pixels(sky[:, 0], sky[:, 1]), pixels, rtol=0, atol=1e-5)
    own = plane.sky(pixels)
    np.testing.assert_allclose(own[1], sky[:, 1], rtol=0, atol=1e-11)
    east = (own[0] - sky[:, 0] + 180) % 360 - 180
    np.testing.assert_allclose(east * np.cos(np.radians(sky[:, 1])), 0, rtol=0, atol=1e-11)


def test_the_far_side_of_the_sky_has_no_place_in_the_plane() -> None:
    plane = TangentPlane.from_wcs(tan_wcs(10.0, 20.0))
    assert np.isnan(plane.pixels([190.0, 10.0, 110.0], [-20.0, -65.0, 0.0])).all()
    assert np.isfinite(plane.pixels([10.0, 10.0], [20.0, -50.0])).all()


@pytest.mark.parametrize("ctype", [["RA---SIN", "DEC--SIN"], ["DEC--TAN", "RA---TAN"]])
def test_other_projections_are_refused(ctype: list[str]) -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ctype
    with pytest.raises(SkyCellError, match="CTYPE"):
        TangentPlane.from_wcs(wcs)


def test_another_pole_is_refused() -> None:
    wcs = tan_wcs(10.0, 20.0)
    wcs.wcs.lonpole = 90.0
    with pytest.raises(SkyCellError, match="LONPOLE 180"):
        TangentPlane.from_wcs(wcs)
