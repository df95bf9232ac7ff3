"""The tessellation of the sky into projection cells and sky cells.

It is the ``RINGS.V3`` tessellation of Pan-STARRS 1 (designed by T. Budavari; described by Waters et al. 2020,
ApJS 251, 4, and by Magnier et al. 2020, ApJS 251, 3) carried over the whole sky: rings of projection cells
every 4 degrees of declination from pole to pole, each ring with equally spaced centres, the first at right
ascension 0. The Hubble multi-visit mosaics keep the centres and give every projection cell a square of
450287 pixels of 0.04 arcsec (5.003 degrees) in its own tangent plane, so that neighbours overlap, and divide
it into 21 x 21 sky cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from multivisit.errors import SkyCellError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "FINE_SCALE",
    "N_PROJECTION_CELLS",
    "PROJECTION_CELL_PIXELS",
    "PROJECTION_CELL_SIZE",
    "RINGS",
    "RING_SPACING",
    "SKY_CELLS_PER_SIDE",
    "SKY_CELL_OVERLAP",
    "CellLayout",
    "Ring",
    "ring_of_projection_cell",
]

RING_SPACING = 4.0
"""Distance between rings in declination, in degrees."""

FINE_SCALE = 0.04
"""Pixel scale of the projection cells, in arcsec per pixel."""

PROJECTION_CELL_PIXELS = 450287
"""Width and height of a projection cell in pixels of `FINE_SCALE`."""

PROJECTION_CELL_SIZE = 4.2
"""Nominal size of a projection cell in degrees (``PC_SIZE`` of the published table)."""

SKY_CELLS_PER_SIDE = 21
"""Number of sky cells along each side of a projection cell (``SC_NXY``)."""

SKY_CELL_OVERLAP = 256
"""Overlap of neighbouring sky cells on each side, in pixels of `FINE_SCALE` (``SC_OLAP``)."""

# The published polar centres stop short of the pole by 3e-12 degree (1e-8 arcsec): a TAN projection whose
# CRVAL2 is exactly +90 has another default LONPOLE, which would turn the north-polar cell by 180 degrees.
_POLE_DEC = 89.999999999997

_PUBLISHED_NAMES = {
    "ZONE": "zone",
    "PROJCELL": "first_cell",
    "NBAND": "n_cells",
    "DEC": "dec",
    "DEC_MIN": "dec_min",
    "DEC_MAX": "dec_max",
}


@dataclass(frozen=True)
class Ring:
    """One ring of projection cells: a line of constant declination with equally spaced centres.

    The columns of the published table can be read as items too: ``ring["NBAND"]`` is ``ring.n_cells``.
    """

    zone: int
    """Number of the ring, 0 at the south pole to 45 at the north pole (``ZONE``)."""

    first_cell: int
    """Id of the ring's projection cell at right ascension 0 (``PROJCELL``)."""

    n_cells: int
    """Number of projection cells in the ring (``NBAND``)."""

    dec: float
    """Declination of the centres in degrees (``DEC``)."""

    dec_min: float
    """Lowest declination that the ring's cells reach, in degrees (``DEC_MIN``)."""

    dec_max: float
    """Highest declination that the ring's cells reach, in degrees (``DEC_MAX``)."""

    @property
    def ra_spacing(self) -> float:
        """Distance of neighbouring centres in right ascension, in degrees."""
        return 360.0 / self.n_cells

    def ra_of(self, index: int) -> float:
        """Right ascension in degrees of the centre of the ring's cell `index` (0-based)."""
        return index * 360.0 / self.n_cells

    def keys(self) -> Iterator[str]:
        """Names of the published table's columns."""
        yield from (*_PUBLISHED_NAMES, "XCELL", "YCELL")

    def __getitem__(self, name: str) -> float:
        column = name.upper()
        if column in ("XCELL", "YCELL"):
            return PROJECTION_CELL_PIXELS
        if column not in _PUBLISHED_NAMES:
            raise KeyError(f"a ring has no column {name!r}; it has {', '.join(self.keys())}")
        value: float = getattr(self, _PUBLISHED_NAMES[column])
        return value


def _cells_in_ring(dec: float) -> int:
    """Most cells that fit a ring at `dec` without being narrower than the spacing on their widest side.

    A cell's side nearest the equator, at ``|dec| - 2`` degrees, is the widest: the number is the length of
    that parallel in units of the 4 degrees, rounded down.
    """
    if abs(dec) > 90.0 - RING_SPACING / 2:
        return 1
    widest = math.cos(math.radians(abs(dec) - RING_SPACING / 2))
    # the ring next to the equator has exactly 90: keep rounding noise from making it 89
    return math.floor(360.0 / RING_SPACING * widest + 1e-9)


def _declination_limits(dec: float) -> tuple[float, float]:
    """Extreme declinations of a cell's border, as in the published table.

    The table was made from the border's pixel positions 0 to N in x and y (0-based, so one more than the cell
    has), without the last corner; a polar ring's limit is the pole itself.
    """
    n = PROJECTION_CELL_PIXELS
    middle = (n - 1) / 2.0
    pixel = math.radians(FINE_SCALE / 3600.0)
    sin_dec, cos_dec = math.sin(math.radians(dec)), math.cos(math.radians(dec))

    def declination(x: float, y: float) -> float:
        xi, eta = (x - middle) * pixel, (y - middle) * pixel
        return math.degrees(math.asin((sin_dec + eta * cos_dec) / math.sqrt(1.0 + xi * xi + eta * eta)))

    border = [(0, 0), (middle, 0), (n, 0), (0, n), (middle, n), (n, n - 1), (n - 1, n)]
    reached = [declination(x, y) for x, y in border]
    lowest = -90.0 if dec <= -_POLE_DEC else min(reached)
    highest = 90.0 if dec >= _POLE_DEC else max(reached)
    return lowest, highest


def _make_rings() -> tuple[Ring, ...]:
    rings = []
    first_cell = 0
    for zone in range(round(180.0 / RING_SPACING) + 1):
        dec = max(-_POLE_DEC, min(_POLE_DEC, -90.0 + RING_SPACING * zone))
        n_cells = _cells_in_ring(dec)
        rings.append(Ring(zone, first_cell, n_cells, dec, *_declination_limits(dec)))
        first_cell += n_cells
    return tuple(rings)


RINGS: tuple[Ring, ...] = _make_rings()
"""The 46 rings from the south pole to the north pole."""

N_PROJECTION_CELLS = RINGS[-1].first_cell + RINGS[-1].n_cells
"""Number of projection cells on the sky: 2644, with ids from 0 to 2643."""


def ring_of_projection_cell(cell_id: int) -> Ring:
    """Ring that a projection cell belongs to.

    Parameters
    ----------
    cell_id : int
        Id of the projection cell, 0 to 2643.

    Returns
    -------
    Ring
        Its ring; the cell's index in the ring is ``cell_id - ring.first_cell``.

    Raises
    ------
    SkyCellError
        If there is no projection cell of that id.
    """
    if not 0 <= cell_id < N_PROJECTION_CELLS:
        raise SkyCellError(
            f"there is no projection cell {cell_id}: the ids go from 0 (south pole) to "
            f"{N_PROJECTION_CELLS - 1} (north pole)"
        )
    return next(ring for ring in reversed(RINGS) if ring.first_cell <= cell_id)


@dataclass(frozen=True)
class CellLayout:
    """How a projection cell is divided into pixels and sky cells.

    A sky cell of one name is the same piece of sky at every `scale`, to within one pixel at its upper
    borders; `cell_size`, `nxy` and `overlap` do change which sky it is.
    """

    scale: float = FINE_SCALE
    """Pixel scale in arcsec per pixel."""

    cell_size: float | None = None
    """Width of a projection cell in degrees, at its tangent point's scale; None: 450287 fine pixels."""

    nxy: int = SKY_CELLS_PER_SIDE
    """Number of sky cells along each side of a projection cell."""

    overlap: int = SKY_CELL_OVERLAP
    """Overlap of sky cells on each side, in pixels of `FINE_SCALE`."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise SkyCellError(
                f"the pixel scale is {self.scale}; it must be a positive number of arcsec per pixel"
            )
        if self.cell_size is not None and not 0 < self.cell_size <= 90:
            raise SkyCellError(
                f"the size of the projection cells is {self.cell_size}; "
                "it must be above 0 and at most 90 degrees"
            )
        if self.nxy < 1:
            raise SkyCellError(f"the number of sky cells along a side is {self.nxy}; it must be at least 1")
        if self.overlap < 0:
            raise SkyCellError(f"the overlap of sky cells is {self.overlap} pixels; it cannot be negative")
        if self.cell_pixels < 1:
            raise SkyCellError(
                f"a sky cell of {self.fine_cell_pixels * FINE_SCALE} arcsec is smaller than one pixel of "
                f"{self.scale} arcsec"
            )

    @cached_property
    def fine_projection_pixels(self) -> int:
        """Width of the projection cell in pixels of `FINE_SCALE`."""
        if self.cell_size is None:
            return PROJECTION_CELL_PIXELS
        return max(1, round(self.cell_size * 3600.0 / FINE_SCALE))

    @cached_property
    def fine_step(self) -> int:
        """Distance between the first pixels of neighbouring sky cells, in pixels of `FINE_SCALE`: 21442."""
        return int(self.fine_projection_pixels / self.nxy + 0.5)

    @property
    def fine_cell_pixels(self) -> int:
        """Width of a sky cell in pixels of `FINE_SCALE`: 21954."""
        return self.fine_step + 2 * self.overlap

    @cached_property
    def fine_per_pixel(self) -> float:
        """Width of a pixel of this scale in pixels of `FINE_SCALE`: 1 (fine), 3 (coarse)."""
        # rounded, so that decimal scales such as 0.12 give the whole number that is meant
        return round(self.scale / FINE_SCALE, 12)

    @cached_property
    def cell_pixels(self) -> int:
        """Width and height of a sky cell in pixels of this scale: 21954 (fine), 7318 (coarse)."""
        # rounded first, so that 7317.999999 counts as 7318
        return math.floor(round(self.fine_cell_pixels / self.fine_per_pixel, 6))

    @cached_property
    def projection_pixels(self) -> int:
        """Width and height of the projection cell in pixels of this scale."""
        return math.floor(round(self.fine_projection_pixels / self.fine_per_pixel, 6))

    @cached_property
    def projection_crpix(self) -> float:
        """Position of the tangent point in the projection cell, in 1-based pixels, the same in x and y."""
        return (self.fine_projection_pixels / 2.0 + 0.5) / self.fine_per_pixel

    def crpix(self, index: int) -> float:
        """Position of the tangent point in sky cell `index` (1-based) along one axis, in 1-based pixels."""
        return (self.fine_projection_pixels / 2.0 + 0.5 - (index - 1) * self.fine_step) / self.fine_per_pixel

    def start(self, index: int) -> float:
        """Distance along one axis from the projection cell's origin to that of sky cell `index`: pixels."""
        return (index - 1) * self.fine_step / self.fine_per_pixel

    @cached_property
    def reach(self) -> float:
        """Angle in degrees from a tangent point to the farthest point of its projection cell or sky cells."""
        half = self.projection_pixels + 0.5 - self.projection_crpix
        last = self.start(self.nxy) + self.cell_pixels + 0.5 - self.projection_crpix
        tangent = math.radians(max(abs(half), abs(last), self.projection_crpix) * self.scale / 3600.0)
        return math.degrees(math.atan(math.sqrt(2.0) * tangent))
