"""Turn exposures into what SWarp reads: a file and a weight map a chip, with the distortion as TPV.

SWarp knows neither SIP nor lookup tables. A polynomial of degree 5 in the TPV form holds SIP of that order
exactly; here it is fitted to the whole WCS, so that it also takes what is smooth in the tables. The rest, a
few hundredths of a pixel, SWarp goes without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.io import fits
    from astropy.wcs import WCS
    from numpy.typing import NDArray

DEGREE = 5
GOOD_BITS = {"ir": 528}
GOOD_BITS_CCD = 80
_FIRST_INDEX = {0: 0, 1: 1, 2: 4, 3: 7, 4: 12, 5: 17}
"""Number of the first PV coefficient of each degree; those between (3, 11) belong to the radius."""


@dataclass(frozen=True)
class ChipFile:
    """One chip as SWarp reads it."""

    path: Path
    """Science image in electrons per second; its weight map lies beside it."""

    residual_pixels: float
    """Largest difference of its polynomial from the exact WCS, in pixels of the chip."""


def fit_tpv(wcs: WCS, shape: tuple[int, int]) -> tuple[dict[str, Any], float]:
    """Fit a TPV polynomial to a chip's WCS.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        The full WCS, with SIP and lookup tables.
    shape : tuple of int
        Rows and columns of the chip.

    Returns
    -------
    cards : dict
        WCS keywords with CTYPE ``RA---TPV`` and ``DEC--TPV``.
    residual : float
        Largest difference from the exact WCS on a lattice of pixels, in pixels of the chip.
    """
    from astropy import wcs as astropy_wcs

    columns, rows = np.meshgrid(np.linspace(0, shape[1] - 1, 97), np.linspace(0, shape[0] - 1, 65))
    x, y = columns.ravel(), rows.ravel()
    plane = astropy_wcs.WCS(naxis=2)
    plane.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    plane.wcs.crval = wcs.wcs.crval
    plane.wcs.crpix = [1.0, 1.0]
    plane.wcs.cdelt = [1.0, 1.0]
    plane.wcs.set()
    # With this plane, pixels are intermediate world coordinates in degrees.
    wanted = np.array(plane.wcs_world2pix(*wcs.all_pix2world(x, y, 0), 0))
    cd = wcs.wcs.cd
    linear = cd @ np.array([x + 1.0 - wcs.wcs.crpix[0], y + 1.0 - wcs.wcs.crpix[1]])
    scale = float(np.abs(linear).max())
    cards: dict[str, Any] = {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "CUNIT1": "deg", "CUNIT2": "deg"}
    for axis in (1, 2):
        cards[f"CRVAL{axis}"] = float(wcs.wcs.crval[axis - 1])
        cards[f"CRPIX{axis}"] = float(wcs.wcs.crpix[axis - 1])
        for other in (1, 2):
            cards[f"CD{axis}_{other}"] = float(cd[axis - 1, other - 1])
    fitted = []
    for axis in (1, 2):
        # The second axis counts its own coordinate first.
        own, other = linear if axis == 1 else linear[::-1]
        terms = _terms(own / scale, other / scale)
        solution, *_ = np.linalg.lstsq(
            np.column_stack([values for _, _, values in terms]), wanted[axis - 1] / scale, rcond=None
        )
        fitted.append(sum(c * values for c, (_, _, values) in zip(solution, terms, strict=True)) * scale)
        for coefficient, (number, degree, _) in zip(solution, terms, strict=True):
            cards[f"PV{axis}_{number}"] = float(coefficient * scale ** (1 - degree))
    residual = np.linalg.inv(cd) @ (np.array(fitted) - wanted)
    return cards, float(np.abs(residual).max())


def write_chip_files(exposure: Path, folder: Path) -> list[ChipFile]:
    """Write a science image and a weight map for each chip of an exposure.

    Science is in electrons per second. The weight is the exposure time where the pixel is good by its flags
    (the same bits as in the mosaics of this package) and finite, and 0 elsewhere.
    """
    from astropy.io import fits
    from astropy.wcs import WCS

    written = []
    with fits.open(exposure) as file:
        seconds = float(file[0].header["EXPTIME"])
        bits = GOOD_BITS.get(str(file[0].header["DETECTOR"]).lower(), GOOD_BITS_CCD)
        for version in range(1, 1 + sum(hdu.name == "SCI" for hdu in file)):
            image = file["SCI", version]
            per_second = 1.0 if str(image.header["BUNIT"]).upper().endswith("/S") else 1.0 / seconds
            science = (image.data * np.float32(per_second)).astype(np.float32)
            good = (file["DQ", version].data & ~bits) == 0
            good &= np.isfinite(science)
            science[~good] = 0.0
            cards, residual = fit_tpv(WCS(image.header, file), science.shape)
            path = folder / f"{exposure.stem}_{version}.fits"
            _write(path, science, cards, fits)
            _write(path.with_suffix(".weight.fits"), good * np.float32(seconds), cards, fits)
            written.append(ChipFile(path, residual))
    return written


def _terms(own: NDArray[Any], other: NDArray[Any]) -> list[tuple[int, int, NDArray[Any]]]:
    """Give number, degree and values of the polynomial's terms."""
    return [
        (_FIRST_INDEX[degree] + power, degree, own ** (degree - power) * other**power)
        for degree in range(DEGREE + 1)
        for power in range(degree + 1)
    ]


def _write(path: Path, values: NDArray[Any], cards: dict[str, Any], fits_module: Any) -> None:
    hdu: fits.PrimaryHDU = fits_module.PrimaryHDU(values)
    hdu.header.update(cards)
    hdu.writeto(path, overwrite=True)
