"""The columns of source catalogs: published names, units, formats and meanings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["NO_VALUE", "POINT_COLUMNS", "SEGMENT_COLUMNS", "Column"]

NO_VALUE: Final = -9999.0
"""What stands where there is no value, such as the magnitude of a negative flux."""

_MAGNITUDE, _RATE, _SURFACE = "mag(AB)", "electron/s", "electron/(s pixel)"


@dataclass(frozen=True)
class Column:
    """One column of a catalog."""

    name: str
    """Published name."""

    unit: str
    """Published unit; empty for none."""

    format: str
    """Published format."""

    description: str
    """What it is."""

    @property
    def is_integer(self) -> bool:
        """Whether it holds whole numbers."""
        return self.format.endswith("d")

    @property
    def decimals(self) -> int:
        """Digits behind the point."""
        return 0 if self.is_integer else int(self.format.rstrip("f").partition(".")[2])


_PLACE = (
    Column("RA", "degree", "13.7f", "right ascension (ICRS)"),
    Column("DEC", "degree", "13.7f", "declination (ICRS)"),
    Column("ID", "", "7d", "number of the source in this catalog"),
)
_INNER_MAGNITUDE = (
    Column("MagAp1", _MAGNITUDE, "7.3f", "AB magnitude in the inner aperture"),
    Column("MagErrAp1", _MAGNITUDE, "7.3f", "standard error of MagAp1"),
)
_INNER_FLUX = (
    Column("FluxAp1", _RATE, "10.4f", "flux in the inner aperture, less the sky"),
    Column("FluxErrAp1", _RATE, "10.4f", "standard error of FluxAp1"),
)
_OUTER_MAGNITUDE = (
    Column("MagAp2", _MAGNITUDE, "7.3f", "AB magnitude in the outer aperture"),
    Column("MagErrAp2", _MAGNITUDE, "7.3f", "standard error of MagAp2"),
)
_OUTER_FLUX = (
    Column("FluxAp2", _RATE, "10.4f", "flux in the outer aperture, less the sky"),
    Column("FluxErrAp2", _RATE, "10.4f", "standard error of FluxAp2"),
)
_SKY = Column("MSkyAp2", _SURFACE, "7.3f", "sky in an annulus around the source")
_INDEX = Column("CI", _MAGNITUDE, "7.3f", "concentration index, MagAp1 - MagAp2")
_FLAGS = Column("Flags", "", "5d", "sum of the flags")

POINT_COLUMNS: Final = (
    Column("X-Center", "pixel", "10.3f", "column of the source, 0-based"),
    Column("Y-Center", "pixel", "10.3f", "row of the source, 0-based"),
    *_PLACE,
    *_INNER_MAGNITUDE,
    *_INNER_FLUX,
    *_OUTER_MAGNITUDE,
    _SKY,
    Column("StdevAp2", _SURFACE, "7.3f", "standard deviation of the pixels in that annulus"),
    *_OUTER_FLUX,
    _INDEX,
    _FLAGS,
)
"""Of the point-source catalog, in their published order."""

SEGMENT_COLUMNS: Final = (
    Column("X-Centroid", "pixel", "10.3f", "column of the centre of light of the segment, 0-based"),
    Column("Y-Centroid", "pixel", "10.3f", "row of the centre of light of the segment, 0-based"),
    *_PLACE,
    _INDEX,
    _FLAGS,
    *_INNER_MAGNITUDE,
    *_INNER_FLUX,
    *_OUTER_MAGNITUDE,
    *_OUTER_FLUX,
    _SKY,
    Column("Bck", _RATE, "10.4f", "background of the mosaic at the source, per pixel"),
    Column("Area", "pixel**2", "8.3f", "area of the segment"),
    Column(
        "FWHM",
        "pixel",
        "8.3f",
        "full width at half maximum of a round Gaussian with the moments of the segment",
    ),
    Column("MagSegment", _MAGNITUDE, "7.3f", "AB magnitude of FluxSegment"),
    Column("FluxSegment", _RATE, "10.4f", "sum over the pixels of the segment, less the background"),
    Column("FluxSegmentErr", _RATE, "10.4f", "standard error of FluxSegment"),
    Column(
        "KronRadius", "pixel", "8.4f", "first moment of the distance of the light from the centre, unscaled"
    ),
    Column("Xmin", "pixel", "8.0f", "first column of the segment"),
    Column("Ymin", "pixel", "8.0f", "first row of the segment"),
    Column("Xmax", "pixel", "8.0f", "last column of the segment"),
    Column("Ymax", "pixel", "8.0f", "last row of the segment"),
    Column("X2", "pixel**2", "8.4f", "variance of the light along x"),
    Column("Y2", "pixel**2", "8.4f", "variance of the light along y"),
    Column("XY", "pixel**2", "8.4f", "covariance of the light in x and y"),
    Column("CXX", "pixel**(-2)", "9.5f", "parameter of the ellipse CXX x2 + CYY y2 + CXY xy = 1"),
    Column("CYY", "pixel**(-2)", "9.5f", "parameter of that ellipse"),
    Column("CXY", "pixel**(-2)", "9.5f", "parameter of that ellipse"),
    Column("Elongation", "", "7.2f", "major over minor axis"),
    Column("Ellipticity", "", "7.2f", "1 - minor over major axis"),
    Column("Theta", "radian", "8.3f", "angle from the x axis to the major axis"),
)
"""Of the segmentation catalog, in their published order."""
