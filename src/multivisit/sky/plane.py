"""The tangent plane (gnomonic, FITS ``TAN``) of a projection cell, in vectorised double precision.

The projection goes through unit vectors, so the poles and right ascension 0 are places like any other
(Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from multivisit.errors import SkyCellError

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["FARTHEST_COSINE", "TangentPlane", "unit_vectors"]

# Positions farther from the tangent point than this (80 degrees) are not projected: the plane has no room for
# the opposite hemisphere, and near its edge 1e-16 radian is no longer small.
FARTHEST_COSINE = float(np.cos(np.radians(80.0)))


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> Floats:
    """Unit vectors of positions on the sky.

    Parameters
    ----------
    ra, dec : array_like
        Right ascension and declination in degrees, of the same shape.

    Returns
    -------
    ndarray
        Float64 array of that shape with one more axis of length 3 (x to RA 0, y to RA 90, z to the north
        pole).
    """
    alpha, delta = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    cos_delta = np.cos(delta)
    return np.stack([cos_delta * np.cos(alpha), cos_delta * np.sin(alpha), np.sin(delta)], axis=-1)


@dataclass(frozen=True)
class TangentPlane:
    """A tangent plane with a linear pixel grid: the whole of a `TAN` WCS without distortion."""

    crval: tuple[float, float]
    """Tangent point: right ascension and declination in degrees."""

    crpix: tuple[float, float]
    """Its position in 1-based FITS pixels."""

    cd: tuple[tuple[float, float], tuple[float, float]]
    """The CD matrix in degrees per pixel."""

    @classmethod
    def north_up(cls, crval: tuple[float, float], crpix: tuple[float, float], scale: float) -> TangentPlane:
        """Plane with North up and East to the left, with pixels of `scale` arcsec."""
        return cls(crval, crpix, ((-scale / 3600.0, 0.0), (0.0, scale / 3600.0)))

    @classmethod
    def from_wcs(cls, wcs: WCS) -> TangentPlane:
        """Take the plane of an undistorted TAN WCS.

        Raises
        ------
        SkyCellError
            If the WCS has another projection, a distortion, or another orientation of the sphere than the
            default.
        """
        wcs.wcs.set()
        ctype = tuple(wcs.wcs.ctype)
        if ctype != ("RA---TAN", "DEC--TAN") or wcs.sip or wcs.cpdis1 or wcs.det2im1:
            raise SkyCellError(
                "a plane needs a WCS with CTYPE ('RA---TAN', 'DEC--TAN') and no distortion; "
                f"this one is {ctype}"
            )
        if wcs.wcs.lonpole != 180.0:
            raise SkyCellError(f"a plane needs a WCS with LONPOLE 180; this one has {wcs.wcs.lonpole}")
        matrix = wcs.pixel_scale_matrix
        return cls(
            (float(wcs.wcs.crval[0]), float(wcs.wcs.crval[1])),
            (float(wcs.wcs.crpix[0]), float(wcs.wcs.crpix[1])),
            ((float(matrix[0, 0]), float(matrix[0, 1])), (float(matrix[1, 0]), float(matrix[1, 1]))),
        )

    @cached_property
    def _axes(self) -> Floats:
        """Unit vectors to the East, to the North and to the tangent point: rows of a 3 x 3 matrix."""
        alpha, delta = np.radians(self.crval[0]), np.radians(self.crval[1])
        east = [-np.sin(alpha), np.cos(alpha), 0.0]
        north = [-np.sin(delta) * np.cos(alpha), -np.sin(delta) * np.sin(alpha), np.cos(delta)]
        centre = [np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)]
        return np.array([east, north, centre], dtype=np.float64)

    @property
    def centre(self) -> Floats:
        """Unit vector to the tangent point, float64 of shape (3,)."""
        centre: Floats = self._axes[2]
        return centre

    def pixels_of_vectors(self, vectors: Floats) -> Floats:
        """Project unit vectors into 0-based pixels.

        Parameters
        ----------
        vectors : ndarray
            Vectors of shape (..., 3); their length does not matter.

        Returns
        -------
        ndarray
            Positions (x, y) of shape (..., 2) in 0-based pixels; NaN where the vector is more than 80 degrees
            from the tangent point.
        """
        local = vectors @ self._axes.T
        length = np.sqrt(np.sum(local * local, axis=-1))
        depth = np.where(local[..., 2] >= FARTHEST_COSINE * (1.0 - 1e-12) * length, local[..., 2], np.nan)
        standard = np.degrees(local[..., :2] / depth[..., np.newaxis])
        pixels: Floats = standard @ np.linalg.inv(np.array(self.cd)).T + (np.array(self.crpix) - 1.0)
        return pixels

    def pixels(self, ra: ArrayLike, dec: ArrayLike) -> Floats:
        """Project positions into 0-based pixels.

        Parameters
        ----------
        ra, dec : array_like
            Right ascension and declination in degrees.

        Returns
        -------
        ndarray
            Positions (x, y), shape (..., 2), float64; NaN for positions more than 80 degrees from the tangent
            point.
        """
        return self.pixels_of_vectors(unit_vectors(ra, dec))

    def sky(self, pixels: ArrayLike) -> tuple[Floats, Floats]:
        """Right ascension (0 to 360) and declination in degrees of 0-based pixels of shape (..., 2)."""
        offsets = np.asarray(pixels, float) - (np.array(self.crpix) - 1.0)
        standard = np.radians(offsets @ np.array(self.cd).T)
        depth = np.ones((*standard.shape[:-1], 1))
        vectors = np.concatenate([standard, depth], axis=-1) @ self._axes
        ra = np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0])) % 360.0
        dec = np.degrees(np.arctan2(vectors[..., 2], np.hypot(vectors[..., 0], vectors[..., 1])))
        return ra, dec
