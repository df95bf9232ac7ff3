"""The pixel grid of one output image: a whole-pixel sub-array of a sky cell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["OutputGrid"]


@dataclass(frozen=True)
class OutputGrid:
    """A sub-array of a sky cell at whole-pixel offsets of the cell's own grid.

    Only plain numbers, so that it can be compared, printed and sent to other processes.
    """

    sky_cell_id: str
    """Name of the sky cell, for example ``skycell-p1889x07y19``."""

    scale: float
    """Pixel scale in arcsec per pixel."""

    crval: tuple[float, float]
    """Tangent point of the projection cell: right ascension and declination in degrees (ICRS)."""

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

    @cached_property
    def wcs(self) -> WCS:
        """The grid as an `astropy.wcs.WCS`: TAN, North up, East to the left (made once, do not modify)."""
        from astropy.wcs import WCS

        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crval = list(self.crval)
        wcs.wcs.crpix = list(self.crpix)
        wcs.wcs.cd = [[-self.scale / 3600.0, 0.0], [0.0, self.scale / 3600.0]]
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.set()
        wcs.pixel_shape = (self.shape[1], self.shape[0])
        return wcs

    @property
    def ltv(self) -> tuple[float, float]:
        """LTV1 and LTV2: projection-cell CRPIX minus this grid's CRPIX, in pixels of this scale."""
        if self.projection_cell_crpix is None:
            return (0.0, 0.0)
        return (
            self.projection_cell_crpix[0] - self.crpix[0],
            self.projection_cell_crpix[1] - self.crpix[1],
        )
