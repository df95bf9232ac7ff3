"""The pixel grid of one output image: a whole-pixel sub-array of a sky cell, or any plane of one's own."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from multivisit.sky.plane import TangentPlane

if TYPE_CHECKING:
    from astropy.wcs import WCS

    Matrix = tuple[tuple[float, float], tuple[float, float]]

__all__ = ["OutputGrid"]


@dataclass(frozen=True)
class OutputGrid:
    """A sub-array of a sky cell at whole-pixel offsets of the cell's own grid, or another grid on a plane.

    Only plain numbers, so that it can be compared, printed and sent to other processes.
    """

    sky_cell_id: str
    """Name of the sky cell, for example ``skycell-p1889x07y19``, or of a custom mosaic's area."""

    scale: float
    """Pixel scale in arcsec per pixel: the square root of a pixel's area at the tangent point."""

    crval: tuple[float, float]
    """Tangent point, a sky cell's projection cell's: right ascension and declination in degrees (ICRS)."""

    crpix: tuple[float, float]
    """Position of the tangent point in this sub-array, in 1-based FITS pixels."""

    shape: tuple[int, int]
    """Size of the sub-array: rows (y), columns (x)."""

    offset: tuple[int, int] = (0, 0)
    """Position (x, y) of the sub-array's first pixel in the sky cell, 0-based."""

    cell_shape: tuple[int, int] | None = None
    """Size of the whole sky cell at this scale: rows (y), columns (x)."""

    projection_cell_crpix: tuple[float, float] | None = None
    """CRPIX of the whole projection cell at this scale, from which LTV1 and LTV2 follow."""

    cd_matrix: Matrix | None = None
    """CD matrix in degrees per pixel; None where North is up, East to the left and pixels are square."""

    @property
    def cd(self) -> Matrix:
        """The CD matrix in degrees per pixel."""
        if self.cd_matrix is not None:
            return self.cd_matrix
        return ((-self.scale / 3600.0, 0.0), (0.0, self.scale / 3600.0))

    @property
    def orientation(self) -> float:
        """Position angle of the columns' axis (y) at the tangent point, degrees East of North (ORIENTAT)."""
        (_, east), (_, north) = self.cd
        return math.degrees(math.atan2(east, north))

    @cached_property
    def wcs(self) -> WCS:
        """The grid as an `astropy.wcs.WCS` with a TAN projection (made once, do not modify)."""
        from astropy.wcs import WCS

        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crval = list(self.crval)
        wcs.wcs.crpix = list(self.crpix)
        wcs.wcs.cd = [list(row) for row in self.cd]
        # Said here, because the default is another one at the north pole.
        wcs.wcs.lonpole = 180.0
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.set()
        wcs.pixel_shape = (self.shape[1], self.shape[0])
        return wcs

    def plane(self) -> TangentPlane:
        """Tangent plane in 0-based pixels of the grid."""
        return TangentPlane(self.crval, self.crpix, self.cd)

    def sub_array(self, x0: int, y0: int, nx: int, ny: int) -> OutputGrid:
        """Pixel grid of a part.

        Parameters
        ----------
        x0, y0 : int
            First pixel of the part, 0-based.
        nx, ny : int
            Its width and height in pixels.

        Returns
        -------
        OutputGrid
            The part, which knows its place in the whole.
        """
        return replace(
            self,
            crpix=(self.crpix[0] - x0, self.crpix[1] - y0),
            shape=(ny, nx),
            offset=(self.offset[0] + x0, self.offset[1] + y0),
            cell_shape=self.cell_shape or self.shape,
        )

    def centre(self) -> tuple[float, float]:
        """Right ascension (0 to 360) and declination of the middle of the image, in degrees."""
        ra, dec = self.plane().sky([(self.shape[1] - 1) / 2.0, (self.shape[0] - 1) / 2.0])
        return float(ra), float(dec)

    @property
    def ltv(self) -> tuple[float, float]:
        """LTV1 and LTV2: projection-cell CRPIX minus this grid's CRPIX, in pixels of this scale."""
        if self.projection_cell_crpix is None:
            return (0.0, 0.0)
        return (
            self.projection_cell_crpix[0] - self.crpix[0],
            self.projection_cell_crpix[1] - self.crpix[1],
        )
