"""Projection cells and sky cells, with the attributes that the published classes have."""

from __future__ import annotations

import operator
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex

import numpy as np

from multivisit.errors import SkyCellError
from multivisit.sky.grid import OutputGrid
from multivisit.sky.plane import TangentPlane
from multivisit.sky.tessellation import (
    FINE_SCALE,
    N_PROJECTION_CELLS,
    SKY_CELL_OVERLAP,
    SKY_CELLS_PER_SIDE,
    CellLayout,
    ring_of_projection_cell,
)

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import NDArray
    from shapely import Polygon

__all__ = [
    "SKY_CELL_NAME_FORMAT",
    "SUPPORTED_SCALES",
    "ProjectionCell",
    "SkyCell",
    "parse_sky_cell_name",
    "scale_in_arcsec",
]

SUPPORTED_SCALES = {"fine": FINE_SCALE, "coarse": 0.12}
"""Pixel scales that have a name, in arcsec per pixel."""

SKY_CELL_NAME_FORMAT = "skycell-p{:04d}x{:02d}y{:02d}"
"""Format of a sky cell's name: projection cell, x, y."""

_NAME = re.compile(r"skycell-p(\d{4})x(\d{2})y(\d{2})", re.ASCII)


class Band(Protocol):
    """A ring of projection cells as a `Ring`, a mapping or a row of the published table."""

    def __getitem__(self, name: str, /) -> Any:
        """Value of the column ``PROJCELL``, ``NBAND`` or ``DEC``."""


def scale_in_arcsec(scale: str | float) -> float:
    """Pixel scale in arcsec of a name ('fine', 'coarse') or of a number of arcsec per pixel.

    Raises
    ------
    SkyCellError
        If the name is unknown or the number is not positive.
    """
    if isinstance(scale, str):
        if scale not in SUPPORTED_SCALES:
            raise SkyCellError(
                f"unknown pixel scale {scale!r}: expected {' or '.join(map(repr, SUPPORTED_SCALES))} "
                "or a number of arcsec per pixel"
            )
        return SUPPORTED_SCALES[scale]
    return CellLayout(scale=float(scale)).scale


def parse_sky_cell_name(name: str) -> tuple[int, int, int]:
    """Take a sky cell's name apart.

    Parameters
    ----------
    name : str
        For example ``skycell-p1889x07y19``.

    Returns
    -------
    tuple of int
        Id of the projection cell (0 to 2643), x and y of the sky cell (1 to 21).

    Raises
    ------
    SkyCellError
        If the name has another form or if there is no such cell.
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise SkyCellError(
            f"{name!r} is not the name of a sky cell: expected skycell-pPPPPxXXyYY, "
            "for example skycell-p1889x07y19"
        )
    cell_id, x, y = (int(part) for part in match.groups())
    if not 0 <= cell_id < N_PROJECTION_CELLS:
        raise SkyCellError(
            f"there is no sky cell {name!r}: projection cells go from p0000 to p{N_PROJECTION_CELLS - 1:04d}"
        )
    if not (1 <= x <= SKY_CELLS_PER_SIDE and 1 <= y <= SKY_CELLS_PER_SIDE):
        raise SkyCellError(f"there is no sky cell {name!r}: x and y go from 01 to {SKY_CELLS_PER_SIDE:02d}")
    return cell_id, x, y


def _whole_number(value: SupportsIndex | None, what: str) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise SkyCellError(f"{what} is {value!r}; it must be a whole number") from None


def _tan_wcs(crval: tuple[float, float], crpix: tuple[float, float], pixels: int, scale: float) -> WCS:
    """Make a square TAN WCS, North up, with the attributes that the published WCS objects have."""
    grid = OutputGrid("", scale, crval, crpix, (pixels, pixels))
    wcs = grid.wcs
    wcs.pscale = scale
    wcs.orientat = 0.0
    return wcs


class ProjectionCell:
    """A projection cell: a square piece of a tangent plane, which sky cells divide.

    Parameters
    ----------
    index : int
        Id of the projection cell (0 to 2643); if `band` is given, its number in that ring (0-based).
    band : Ring or mapping, optional
        Ring of projection cells: a `Ring` or anything with the items ``PROJCELL``, ``NBAND`` and ``DEC``.
    scale : float, optional
        Pixel scale in arcsec per pixel, 0.04 by default. The cell covers the same sky at every scale.
    nxy : int, optional
        Number of sky cells along each side, 21 by default.
    overlap : int, optional
        Overlap of sky cells on each side in pixels of 0.04 arcsec, 256 by default.
    cell_size : float, optional
        Width of the cell in degrees; by default the published 450287 pixels of 0.04 arcsec.

    Attributes
    ----------
    cell_id : int
        Id of the projection cell on the whole sky.
    band : Ring or mapping
        Its ring.
    band_index : int
        Its number in the ring.
    scale : float
        Pixel scale in arcsec per pixel.
    sc_nxy, sc_overlap : int
        Number and overlap of the sky cells.
    layout : CellLayout
        All of its pixel arithmetic.

    Raises
    ------
    SkyCellError
        If there is no such projection cell, or if a size is impossible.
    """

    def __init__(
        self,
        index: SupportsIndex | None = None,
        band: Band | None = None,
        scale: float | None = None,
        nxy: SupportsIndex | None = None,
        overlap: SupportsIndex | None = None,
        *,
        cell_size: float | None = None,
    ) -> None:
        number = _whole_number(index, "the index of the projection cell")
        if band is None:
            ring = ring_of_projection_cell(number)
            self.band: Band = ring
            self.cell_id = number
            self.band_index = number - ring.first_cell
        else:
            if not 0 <= number < int(band["NBAND"]):
                raise SkyCellError(
                    f"the ring at declination {band['DEC']} has no projection cell {number}: "
                    f"its cells go from 0 to {int(band['NBAND']) - 1}"
                )
            self.band = band
            self.cell_id = int(band["PROJCELL"]) + number
            self.band_index = number
        self.layout = CellLayout(
            scale=FINE_SCALE if scale is None else float(scale),
            cell_size=cell_size,
            nxy=SKY_CELLS_PER_SIDE if nxy is None else _whole_number(nxy, "the number of sky cells"),
            overlap=SKY_CELL_OVERLAP if overlap is None else _whole_number(overlap, "the overlap"),
        )
        self.scale = self.layout.scale
        self.sc_nxy = self.layout.nxy
        self.sc_overlap = self.layout.overlap

    @property
    def crval(self) -> tuple[float, float]:
        """Tangent point: right ascension and declination in degrees."""
        return (self.band_index * 360.0 / int(self.band["NBAND"]), float(self.band["DEC"]))

    @cached_property
    def wcs(self) -> WCS:
        """WCS of the projection cell (TAN, North up), with ``pixel_shape``, ``pscale`` and ``orientat``."""
        crpix = self.layout.projection_crpix
        return _tan_wcs(self.crval, (crpix, crpix), self.layout.projection_pixels, self.scale)

    @cached_property
    def footprint(self) -> NDArray[np.float64]:
        """Right ascension and declination of the centres of the four corner pixels, shape (4, 2), degrees."""
        return _footprint(self.wcs)

    @cached_property
    def corners(self) -> NDArray[np.float64]:
        """`footprint` as a closed polygon, shape (5, 2), degrees."""
        return _closed(self.footprint)

    @cached_property
    def polygon(self) -> Polygon:
        """Outline of the cell in its own 0-based pixels, along the outer pixel edges."""
        return _square(self.layout.projection_pixels)

    def plane(self) -> TangentPlane:
        """Tangent plane in 0-based pixels of the projection cell."""
        crpix = self.layout.projection_crpix
        return TangentPlane.north_up(self.crval, (crpix, crpix), self.scale)

    def build_polygon(self) -> None:
        """Compute `polygon` now (it is otherwise computed when it is first used)."""
        _ = self.polygon

    def __repr__(self) -> str:
        return f"ProjectionCell object: {self.cell_id:04d}"

    def __getstate__(self) -> dict[str, Any]:
        return _without_wcs(self)


class SkyCell:
    """A sky cell: the image grid of multi-visit mosaics, a sub-array of a projection cell.

    Parameters
    ----------
    projection_cell : ProjectionCell
        The projection cell that the sky cell is part of.
    x, y : int
        Position in the projection cell, 1 to 21; (1, 1) has the largest right ascension and the lowest
        declination.
    scale : str or float, optional
        Pixel scale: 'fine' (0.04 arcsec), 'coarse' (0.12 arcsec), or a number of arcsec per pixel.

    Attributes
    ----------
    sky_cell_id : str
        Name of the sky cell, for example ``skycell-p1889x07y19``.
    projection_cell : ProjectionCell
        The projection cell that it is part of.
    x_index, y_index : int
        Position in the projection cell, 1-based.
    scale : float
        Pixel scale in arcsec per pixel.
    overlap, nxy : int
        Overlap and number of the sky cells of the projection cell.
    members : list
        Names of the exposures that overlap the cell, filled by the search for sky cells.

    Raises
    ------
    SkyCellError
        If there is no such sky cell, or if the scale is impossible.

    Examples
    --------
    >>> SkyCell.from_name("skycell-p0197x18y16").wcs.pixel_shape
    (21954, 21954)
    >>> SkyCell(projection_cell=ProjectionCell(index=197), x=18, y=16, scale="coarse").wcs.pixel_shape
    (7318, 7318)
    """

    def __init__(
        self,
        projection_cell: ProjectionCell | None = None,
        x: SupportsIndex | None = None,
        y: SupportsIndex | None = None,
        scale: str | float = "fine",
    ) -> None:
        if projection_cell is None:
            raise SkyCellError("a sky cell needs a projection_cell; SkyCell.from_name makes one from a name")
        self.projection_cell = projection_cell
        self.x_index = _whole_number(x, "the x index of the sky cell")
        self.y_index = _whole_number(y, "the y index of the sky cell")
        self.nxy = projection_cell.sc_nxy
        self.overlap = projection_cell.sc_overlap
        if not (1 <= self.x_index <= self.nxy and 1 <= self.y_index <= self.nxy):
            raise SkyCellError(
                f"projection cell {projection_cell.cell_id} has no sky cell "
                f"x={self.x_index} y={self.y_index}: x and y go from 1 to {self.nxy}"
            )
        self.scale = scale_in_arcsec(scale)
        self.layout = self._layout(self.scale)
        self.sky_cell_id = SKY_CELL_NAME_FORMAT.format(projection_cell.cell_id, self.x_index, self.y_index)
        self.members: list[str] = []

    @classmethod
    def from_name(cls, name: str, scale: str | float = "fine") -> SkyCell:
        """Make the sky cell of a name such as ``skycell-p0197x18y16``.

        Raises
        ------
        SkyCellError
            If the name or the scale is not one of a sky cell.
        """
        cell_id, x, y = parse_sky_cell_name(name)
        return cls(projection_cell=ProjectionCell(index=cell_id), x=x, y=y, scale=scale)

    def _layout(self, scale: float) -> CellLayout:
        own = self.projection_cell.layout
        return CellLayout(scale=scale, cell_size=own.cell_size, nxy=own.nxy, overlap=own.overlap)

    def grid(self, scale: str | float | None = None) -> OutputGrid:
        """Pixel grid of the whole sky cell.

        Parameters
        ----------
        scale : str or float, optional
            Pixel scale (a name or arcsec per pixel); the cell's own by default.

        Returns
        -------
        OutputGrid
            21954 x 21954 pixels at 0.04 arcsec, 7318 x 7318 at 0.12 arcsec.
        """
        layout = self.layout if scale is None else self._layout(scale_in_arcsec(scale))
        pixels = layout.cell_pixels
        return OutputGrid(
            sky_cell_id=self.sky_cell_id,
            scale=layout.scale,
            crval=self.projection_cell.crval,
            crpix=(layout.crpix(self.x_index), layout.crpix(self.y_index)),
            shape=(pixels, pixels),
            offset=(0, 0),
            cell_shape=(pixels, pixels),
            projection_cell_crpix=(layout.projection_crpix, layout.projection_crpix),
        )

    def sub_grid(self, x0: int, y0: int, nx: int, ny: int, scale: str | float | None = None) -> OutputGrid:
        """Pixel grid of a sub-array of the sky cell.

        Parameters
        ----------
        x0, y0 : int
            First pixel of the sub-array, 0-based, in pixels of `scale`.
        nx, ny : int
            Its width and height in pixels.
        scale : str or float, optional
            Pixel scale (a name or arcsec per pixel); the cell's own by default.

        Returns
        -------
        OutputGrid
            The sub-array, at a whole-pixel offset of the cell's grid.

        Raises
        ------
        SkyCellError
            If the sub-array is empty or not inside the cell.
        """
        whole = self.grid(scale)
        rows, columns = whole.shape
        if nx < 1 or ny < 1 or x0 < 0 or y0 < 0 or x0 + nx > columns or y0 + ny > rows:
            raise SkyCellError(
                f"{self.sky_cell_id} of {columns} x {rows} pixels has no sub-array of {nx} x {ny} pixels at "
                f"({x0}, {y0})"
            )
        return whole.sub_array(x0, y0, nx, ny)

    @cached_property
    def wcs(self) -> WCS:
        """WCS of the sky cell, with ``pixel_shape``, ``pscale``, ``orientat``, ``ltv1`` and ``ltv2``."""
        grid = self.grid()
        wcs = _tan_wcs(grid.crval, grid.crpix, self.layout.cell_pixels, self.scale)
        wcs.ltv1, wcs.ltv2 = grid.ltv
        return wcs

    @cached_property
    def footprint(self) -> NDArray[np.float64]:
        """Right ascension and declination of the centres of the four corner pixels, shape (4, 2), degrees."""
        return _footprint(self.wcs)

    @cached_property
    def corners(self) -> NDArray[np.float64]:
        """`footprint` as a closed polygon, shape (5, 2), degrees."""
        return _closed(self.footprint)

    @cached_property
    def polygon(self) -> Polygon:
        """Outline of the cell in its own 0-based pixels, along the outer pixel edges."""
        return _square(self.layout.cell_pixels)

    @cached_property
    def mask(self) -> NDArray[np.uint8]:
        """Ones for every pixel of the cell: read-only, takes no memory."""
        pixels = self.layout.cell_pixels
        return np.broadcast_to(np.uint8(1), (pixels, pixels))

    def plane(self) -> TangentPlane:
        """Tangent plane in 0-based pixels of the sky cell."""
        return self.grid().plane()

    def rescale(self, scale: str | float) -> WCS:
        """WCS of the whole sky cell at another pixel scale (a name or arcsec per pixel)."""
        return self.grid(scale).wcs

    def build_polygon(self) -> None:
        """Compute `polygon` now (it is otherwise computed when it is first used)."""
        _ = self.polygon

    def build_mask(self) -> None:
        """Compute `mask` now (it is otherwise computed when it is first used)."""
        _ = self.mask

    def __repr__(self) -> str:
        return f"SkyCell object: {self.sky_cell_id}"

    def __getstate__(self) -> dict[str, Any]:
        return _without_wcs(self)


def _footprint(wcs: WCS) -> NDArray[np.float64]:
    corners: NDArray[np.float64] = wcs.calc_footprint()
    return corners


def _closed(footprint: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.append(footprint, footprint[:1], axis=0)


def _square(pixels: int) -> Polygon:
    from shapely import box

    return box(-0.5, -0.5, pixels - 0.5, pixels - 0.5)


def _without_wcs(cell: ProjectionCell | SkyCell) -> dict[str, Any]:
    """State to pickle or copy: without the WCS, which would lose its extra attributes and is made again."""
    derived = ("wcs", "footprint", "corners", "polygon", "mask")
    return {name: value for name, value in vars(cell).items() if name not in derived}
