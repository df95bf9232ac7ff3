"""Small synthetic exposures of every detector, written with astropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DETECTORS: dict[str, dict[str, Any]] = {
    "wfc": {
        "primary": {"INSTRUME": "ACS", "DETECTOR": "WFC", "FILTER1": "CLEAR1L", "FILTER2": "F814W"},
        "units": "ELECTRONS",
        "n_chips": 2,
        "scale": 0.05,
    },
    "hrc": {
        "primary": {"INSTRUME": "ACS", "DETECTOR": "HRC", "FILTER1": "F606W", "FILTER2": "CLEAR2S"},
        "units": "ELECTRONS",
        "n_chips": 1,
        "scale": 0.025,
    },
    "sbc": {
        "primary": {"INSTRUME": "ACS", "DETECTOR": "SBC", "FILTER1": "F115LP", "FILTER2": "N/A"},
        "units": "COUNTS",
        "n_chips": 1,
        "scale": 0.025,
    },
    "uvis": {
        "primary": {"INSTRUME": "WFC3", "DETECTOR": "UVIS", "FILTER": "F555W"},
        "units": "ELECTRONS",
        "n_chips": 2,
        "scale": 0.03962,
    },
    "ir": {
        "primary": {"INSTRUME": "WFC3", "DETECTOR": "IR", "FILTER": "F160W"},
        "units": "ELECTRONS/S",
        "n_chips": 1,
        "scale": 0.12825,
    },
    "pc": {
        "primary": {"INSTRUME": "WFPC2", "FILTNAM1": "F606W", "FILTNAM2": "", "ATODGAIN": 7.0},
        "units": "COUNTS",
        "n_chips": 4,
        "scale": 0.0996,
    },
}

SHAPE = (24, 40)


def chip_pixels(extver: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """The pixels that the synthetic exposure has in chip `extver`, in the units of the file."""
    return (np.arange(shape[0] * shape[1], dtype=np.float32) - 100.0).reshape(shape) * extver


def build_exposure(
    detector: str = "wfc", *, shape: tuple[int, int] = SHAPE, quality: bool = True, error: bool = True
) -> fits.HDUList:
    """Build an exposure as the calibration pipeline would: primary header, then SCI, ERR, DQ of each chip."""
    facts = DETECTORS[detector]
    primary = fits.Header()
    primary.update(
        TELESCOP="HST",
        ROOTNAME="jabc01xyq",
        EXPTIME=100.0,
        EXPSTART=55000.25,
        EXPEND=55000.25 + 100.0 / 86400.0,
        PROPOSID=12345,
        CCDGAIN=2.0,
    )
    primary["DATE-OBS"] = "2009-06-18"
    primary.update(facts["primary"])
    hdus = fits.HDUList([fits.PrimaryHDU(header=primary)])
    for extver in range(1, facts["n_chips"] + 1):
        science = fits.ImageHDU(chip_pixels(extver, shape), name="SCI", ver=extver)
        degrees = facts["scale"] / 3600.0
        science.header.update(
            BUNIT=facts["units"],
            CTYPE1="RA---TAN",
            CTYPE2="DEC--TAN",
            CRVAL1=150.0,
            CRVAL2=2.0,
            CRPIX1=shape[1] / 2 + 100.0 * extver,
            CRPIX2=shape[0] / 2,
            CD1_1=-degrees,
            CD1_2=0.0,
            CD2_1=0.0,
            CD2_2=degrees,
            IDCSCALE=facts["scale"],
            WCSNAME="IDC_test",
        )
        if detector == "pc":
            science.header["DETECTOR"] = extver
        elif facts["n_chips"] == 2:
            science.header["CCDCHIP"] = 3 - extver
        hdus.append(science)
        if error:
            hdus.append(fits.ImageHDU(np.full(shape, 5.0, dtype=np.float32), name="ERR", ver=extver))
        if quality:
            flags = np.zeros(shape, dtype=np.int16)
            flags[1, 2] = 4096
            flags[3, 4] = 16 * extver
            hdus.append(fits.ImageHDU(flags, name="DQ", ver=extver))
    return hdus


@pytest.fixture
def write_exposure(tmp_path: Path) -> Callable[..., Path]:
    """Write a synthetic exposure after `change` has had its way with it; give its path."""

    def write(
        detector: str = "wfc",
        *,
        name: str = "jabc01xyq_flt.fits",
        change: Callable[[fits.HDUList], object] | None = None,
        **options: Any,
    ) -> Path:
        hdus = build_exposure(detector, **options)
        if change is not None:
            change(hdus)
        path = tmp_path / name
        hdus.writeto(path, output_verify="ignore")
        return path

    return write
