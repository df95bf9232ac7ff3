"""A linear transformation in a tangent plane put into the WCS of chips: their distortion stays as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from multivisit.sky.plane import TangentPlane

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from multivisit.align.linear import Transform
    from multivisit.exposures.model import Chip, Exposure

    Floats = NDArray[np.float64]

__all__ = ["arcsec_plane", "corrected_exposure"]

_STEP = 10.0
"""Arcsec: half the distance over which the derivative of the correction is taken."""


def arcsec_plane(ra: float, dec: float) -> TangentPlane:
    """Give a tangent plane whose pixels are arcsec: x to the East, y to the North, 0 at the tangent point.

    Parameters
    ----------
    ra, dec : float
        The tangent point in degrees.

    Returns
    -------
    TangentPlane
        The plane.
    """
    return TangentPlane((ra, dec), (1.0, 1.0), ((1.0 / 3600.0, 0.0), (0.0, 1.0 / 3600.0)))


def corrected_exposure(
    exposure: Exposure, plane: TangentPlane, transform: Transform, keywords: Mapping[str, object]
) -> Exposure:
    """Give an exposure whose positions are transformed in a tangent plane; its file is not changed.

    Each chip gets the transformed tangent point (CRVAL), and its CD matrix times the derivative of the
    transformation there. What is left out is the change of that derivative across the chip: for a shift of
    10 arcsec less than a micro-arcsecond.

    Parameters
    ----------
    exposure : Exposure
        The exposure.
    plane : TangentPlane
        A plane in arcsec, see `arcsec_plane`.
    transform : Transform
        From the positions as the exposure has them to the right ones, in that plane.
    keywords : mapping
        Keywords of the new SCI headers, WCSNAME among them.

    Returns
    -------
    Exposure
        The same with other SCI headers.
    """
    chips = tuple(_corrected_chip(chip, plane, transform, keywords) for chip in exposure.chips)
    return replace(exposure, chips=chips)


def _corrected_chip(
    chip: Chip, plane: TangentPlane, transform: Transform, keywords: Mapping[str, object]
) -> Chip:
    wcs = chip.wcs()
    crval = (float(wcs.wcs.crval[0]), float(wcs.wcs.crval[1]))
    old = arcsec_plane(*crval)

    def moved(offsets: Floats) -> tuple[Floats, Floats]:
        return plane.sky(transform(plane.pixels(*old.sky(offsets))))

    ra, dec = (float(value[0]) for value in moved(np.zeros((1, 2))))
    new = arcsec_plane(ra, dec)
    steps = np.array([[_STEP, 0.0], [-_STEP, 0.0], [0.0, _STEP], [0.0, -_STEP]])
    image = new.pixels(*moved(steps))
    derivative = np.stack([image[0] - image[1], image[2] - image[3]], axis=1) / (2.0 * _STEP)
    # The matrix is on the sphere's own axes only where the native pole is the usual one, as Hubble's is.
    matrix = derivative @ wcs.wcs.cd
    header = chip.header.copy()
    for name in ("PC1_1", "PC1_2", "PC2_1", "PC2_2", "CDELT1", "CDELT2"):
        header.remove(name, ignore_missing=True)
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    for i in (0, 1):
        for j in (0, 1):
            header[f"CD{i + 1}_{j + 1}"] = float(matrix[i, j])
    if "ORIENTAT" in header:
        header["ORIENTAT"] = float(np.degrees(np.arctan2(matrix[0, 1], matrix[1, 1])))
    for key, value in keywords.items():
        header[key] = value
    return replace(chip, header=header, wcs_name=str(header["WCSNAME"]))
