"""Small exposure files with the headers that planning looks at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

IN_P1889 = (180.0, 26.0)
"""The tangent point of projection cell 1889, far from the other projection cells, in its sky cell x11y11."""

SCALES = {"WFC": 0.05, "HRC": 0.025, "SBC": 0.025, "UVIS": 0.0396, "IR": 0.128, "PC": 0.0455}
INSTRUMENTS = {"WFC": "ACS", "HRC": "ACS", "SBC": "ACS", "UVIS": "WFC3", "IR": "WFC3", "PC": "WFPC2"}


def write_hubble_file(
    path: Path,
    *,
    detector: str = "WFC",
    filters: tuple[str, ...] | None = None,
    exposure_time: float = 100.0,
    date: str = "2011-05-04",
    position: tuple[float, float] = IN_P1889,
    size: int = 64,
    remove: tuple[str, ...] = (),
    science: dict[str, Any] | None = None,
    **keywords: Any,
) -> Path:
    """Write an exposure of one small chip; further keywords go to the primary header."""
    instrument = INSTRUMENTS[detector]
    stem = path.name.split(".")[0].rpartition("_")[0].rpartition("_")[2]
    primary = fits.Header()
    primary["INSTRUME"] = instrument
    if detector != "PC":
        primary["DETECTOR"] = detector
    primary["ROOTNAME"] = stem if len(stem) == 9 else f"{stem}q"
    primary["PROPOSID"] = 12286
    primary["LINENUM"] = "0R.003"
    primary["PRIMESI"] = instrument
    primary["OBSTYPE"] = "IMAGING"
    primary["IMAGETYP"] = "EXT"
    primary["TARGNAME"] = "NGC104"
    primary["MTFLAG"] = ""
    primary["FGSLOCK"] = "FINE"
    primary["EXPFLAG"] = "NORMAL"
    primary["DRIZCORR"] = "PERFORM"
    primary["EXPTIME"] = exposure_time
    primary["DATE-OBS"] = date
    primary["ATODGAIN"] = 7.0
    default = {"WFC3": ("F160W",), "ACS": ("F775W", "CLEAR2L"), "WFPC2": ("F606W", "")}[instrument]
    names = {"WFC3": ("FILTER",), "ACS": ("FILTER1", "FILTER2"), "WFPC2": ("FILTNAM1", "FILTNAM2")}
    for name, value in zip(names[instrument], filters or default, strict=False):
        primary[name] = value
    for name, value in keywords.items():
        primary[name] = value
    for name in remove:
        del primary[name]
    header = fits.Header()
    header["EXTNAME"] = "SCI"
    header["EXTVER"] = 1
    header["BUNIT"] = "ELECTRONS/S" if detector == "IR" else "COUNTS" if detector == "PC" else "ELECTRONS"
    header["WCSNAME"] = "IDC_test"
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = position
    header["CRPIX1"] = header["CRPIX2"] = (size + 1) / 2
    scale = SCALES[detector] / 3600.0
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -scale, 0.0, 0.0, scale
    for name, value in (science or {}).items():
        header[name] = value
    data = np.zeros((size, size), dtype=np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus = fits.HDUList([fits.PrimaryHDU(header=primary), fits.ImageHDU(data, header)])
    if detector == "PC":
        hdus.append(fits.ImageHDU(data.astype(np.int16), name="DQ", ver=1))
    hdus.writeto(path)
    return path


@pytest.fixture
def hubble_file(tmp_path: Path) -> Callable[..., Path]:
    """Write an exposure into the test's folder, by name."""

    def write(name: str = "jbl70rtvq_flc.fits", **settings: Any) -> Path:
        return write_hubble_file(tmp_path / name, **settings)

    return write
