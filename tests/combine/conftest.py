"""Maps with a known form and small exposure files for the tests of the combination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from multivisit.sky.grid import OutputGrid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from astropy.wcs import WCS
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class PlaneMap:
    """Scale, rotation, skew and a little quadratic distortion: a pixel map with a known form."""

    shape: tuple[int, int]
    scale: float = 1.0
    angle: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)
    skew: float = 0.0
    bend: float = 0.0

    def at(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Map positions."""
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        p, q = x + self.bend * x * y, y + self.skew * x + self.bend * y**2
        c, s = self.scale * np.cos(self.angle), self.scale * np.sin(self.angle)
        return c * p - s * q + self.offset[0], s * p + c * q + self.offset[1]

    def evaluate(self, first_row: int = 0, last_row: int | None = None) -> NDArray[np.float64]:
        """Map all pixels of some rows."""
        last_row = self.shape[0] if last_row is None else last_row
        y, x = np.mgrid[first_row:last_row, 0 : self.shape[1]]
        return np.stack(self.at(x, y), axis=-1)

    def inverse(self, u: ArrayLike, v: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Find the chip positions that map there, by iteration."""
        u, v = np.asarray(u, dtype=float), np.asarray(v, dtype=float)
        c, s = np.cos(self.angle) / self.scale, np.sin(self.angle) / self.scale
        p = c * (u - self.offset[0]) + s * (v - self.offset[1])
        q = -s * (u - self.offset[0]) + c * (v - self.offset[1])
        x, y = p, q - self.skew * p
        for _ in range(30):
            x, y = p - self.bend * x * y, q - self.skew * x - self.bend * y**2
        return x, y


@pytest.fixture(scope="session")
def plane_map() -> type[PlaneMap]:
    """The class `PlaneMap`."""
    return PlaneMap


@pytest.fixture(scope="session")
def small_grid() -> Callable[..., OutputGrid]:
    """Make a grid around RA 180, Dec 26 whose tangent point is some pixels off its middle."""

    def make(shape: tuple[int, int] = (90, 100), scale: float = 0.04) -> OutputGrid:
        return OutputGrid(
            sky_cell_id="skycell-p1889x10y12",
            scale=scale,
            crval=(180.0, 26.0),
            crpix=(shape[1] / 2 + 3.3, shape[0] / 2 - 4.8),
            shape=shape,
            cell_shape=(1000, 1000),
        )

    return make


def chip_header(
    shape: tuple[int, int], extver: int, *, angle: float, shift: tuple[float, float], distortion: float
) -> dict[str, Any]:
    """Header of a chip of 0.05 arcsec pixels whose centre lies `shift` arcsec from RA 180, Dec 26."""
    s = 0.05 / 3600.0
    c, n = np.cos(angle), np.sin(angle)
    header: dict[str, Any] = {
        "EXTVER": extver,
        "CCDCHIP": 3 - extver,
        "BUNIT": "ELECTRONS",
        "IDCSCALE": 0.05,
        "WCSNAME": "TEST",
        "CTYPE1": "RA---TAN-SIP" if distortion else "RA---TAN",
        "CTYPE2": "DEC--TAN-SIP" if distortion else "DEC--TAN",
        "CRVAL1": 180.0 + shift[0] / 3600.0 / np.cos(np.radians(26.0)),
        "CRVAL2": 26.0 + shift[1] / 3600.0,
        "CRPIX1": shape[1] / 2 + 0.5,
        "CRPIX2": shape[0] / 2 + 0.5,
        "CD1_1": -s * c,
        "CD1_2": s * n,
        "CD2_1": s * n,
        "CD2_2": s * c,
    }
    if distortion:
        header |= {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": distortion, "A_1_1": -distortion, "B_0_2": distortion}
    return header


@pytest.fixture
def write_exposure(tmp_path: Path) -> Callable[..., Path]:
    """Write a small ACS/WFC exposure, one chip for each image, in electrons."""
    from astropy.io import fits

    def write(
        rootname: str,
        images: list[NDArray[np.float32]],
        quality: list[NDArray[np.int16]] | None = None,
        *,
        exposure_time: float = 100.0,
        angle: float = 0.0,
        shift: tuple[float, float] = (0.0, 0.0),
        distortion: float = 0.0,
    ) -> Path:
        primary = fits.PrimaryHDU()
        primary.header.update(
            {
                "TELESCOP": "HST",
                "INSTRUME": "ACS",
                "DETECTOR": "WFC",
                "ROOTNAME": rootname,
                "FILTER1": "F606W",
                "FILTER2": "CLEAR2L",
                "EXPTIME": exposure_time,
                "EXPSTART": 55000.0,
                "EXPEND": 55000.01,
                "DATE-OBS": "2009-06-18",
                "PROPOSID": 99001,
            }
        )
        hdus: list[Any] = [primary]
        for number, image in enumerate(images):
            # Chips beyond the first lie 100 arcsec to the North, far from the first.
            place = (shift[0], shift[1] + 100.0 * number)
            header = chip_header(image.shape, number + 1, angle=angle, shift=place, distortion=distortion)
            science = fits.ImageHDU(image.astype(np.float32), name="SCI")
            science.header.update(header)
            hdus.append(science)
            flags = np.zeros(image.shape, dtype=np.int16) if quality is None else quality[number]
            hdus.append(fits.ImageHDU(flags.astype(np.int16), name="DQ", ver=number + 1))
        path = tmp_path / f"{rootname}_flc.fits"
        fits.HDUList(hdus).writeto(path)
        return path

    return write


@pytest.fixture(scope="session")
def exact_map() -> Callable[[WCS, tuple[int, int], WCS], NDArray[np.float64]]:
    """Exact output positions of all pixels of a chip by astropy."""

    def positions(chip_wcs: WCS, shape: tuple[int, int], output_wcs: WCS) -> NDArray[np.float64]:
        y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
        ra, dec = chip_wcs.all_pix2world(x.ravel(), y.ravel(), 0)
        u, v = output_wcs.wcs_world2pix(ra, dec, 0)
        return np.stack([u.reshape(shape), v.reshape(shape)], axis=-1)

    return positions
