"""Custom mosaics: areas of the sky that are no sky cell, and the pixel grids that they get.

An area is asked for in one of several ways, each a frozen value with a method that makes it a
`CustomMosaic`: the limits of a rectangle in a projection cell (`LimitsArea`, as published), everything that
the exposures cover (`ExposuresArea`), a rectangle about a position (`RectangleArea`), outlines on the sky
(`OutlinesArea`), or another image's grid (`GridArea`).

All but the last lie on the pixel grid of one projection cell, the one whose centre is nearest to the middle
of the area. The grid goes on beyond the cell's edge where the area does: a projection cell is a plane, and
nothing but the tessellation ends there.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from multivisit.errors import ParameterError, SkyCellError
from multivisit.plan.names import checked_prefix, custom_prefix
from multivisit.sky.cells import SUPPORTED_SCALES, ProjectionCell
from multivisit.sky.footprint import (
    cells_of_outlines,
    covered_part,
    middle_of_outlines,
    nearest_projection_cell,
    outline_bounds,
)
from multivisit.sky.grid import OutputGrid
from multivisit.sky.tessellation import FINE_SCALE, PROJECTION_CELL_PIXELS, CellLayout

if TYPE_CHECKING:
    from multivisit.sky.footprint import Outline

__all__ = [
    "CustomArea",
    "CustomMosaic",
    "ExposuresArea",
    "GridArea",
    "LimitsArea",
    "OutlinesArea",
    "RectangleArea",
    "checked_limits",
    "limits_grid",
]

CUSTOM_SCALE = "custom"
"""Name of the scale of mosaics that have one scale of their own."""

CUSTOM_GRID_ID = "custom"
"""Name, in the place of a sky cell's, of an area whose grid is no projection cell's."""

_SCALE_NAMES = ("coarse", "fine")
# 5 degrees: as wide as a projection cell, at the finest scale. More is a slip of the pen.
_MOST_PIXELS = PROJECTION_CELL_PIXELS
# What the projection of a position loses, pixels; a limit that is farther off was not meant to be whole.
_ROUNDING = 1e-3

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CustomMosaic:
    """The grids of a custom mosaic, and its name."""

    area_id: str
    """What stands where a sky cell's name would: ``skycell-p1889``, or ``custom`` for a grid of one's own."""

    projection_cell: int
    """Id of the projection cell that carries the grid, or that is nearest to it."""

    grids: tuple[tuple[str, OutputGrid], ...]
    """Scale name and whole grid; ``coarse`` before ``fine``, or ``custom`` alone."""

    is_cut: bool
    """Whether the mosaics are cut to what the exposures cover, as published for limits."""

    description: str
    """The area in words."""

    prefix: str = ""
    """Beginning of all names."""

    @property
    def scale_names(self) -> tuple[str, ...]:
        """The scales that there are."""
        return tuple(name for name, _ in self.grids)

    def whole_grid(self, scale_name: str) -> OutputGrid:
        """Give the grid of the whole area at a scale."""
        return dict(self.grids)[scale_name]

    def grid(self, scale_name: str, outlines: Sequence[Outline]) -> OutputGrid | None:
        """Give the grid of a mosaic.

        Parameters
        ----------
        scale_name : str
            One of `scale_names`.
        outlines : sequence of (ra, dec)
            The exposures' chips.

        Returns
        -------
        OutputGrid or None
            The whole area or the part that the outlines cover; None if they cover nothing of it.
        """
        whole = self.whole_grid(scale_name)
        part = covered_part(whole, outlines)
        return part if self.is_cut or part is None else replace(whole, cell_shape=whole.shape)

    def is_touched(self, outlines: Sequence[Outline]) -> bool:
        """Tell whether outlines cover any of the area."""
        return covered_part(self.grids[-1][1], outlines) is not None

    def named(self, prefix: str | None, outlines: Sequence[Outline]) -> CustomMosaic:
        """Give the same with its prefix.

        Parameters
        ----------
        prefix : str or None
            As the user gives it. None or empty: made of the projection cell and the mosaic's centre, that of
            the finest scale, which all layers share.
        outlines : sequence of (ra, dec)
            All chips that are in the area: they set the size of the mosaics that are cut.

        Returns
        -------
        CustomMosaic
            With `prefix`.

        Raises
        ------
        ParameterError
            If the prefix is impossible.
        """
        name = checked_prefix(prefix)
        if not name:
            finest, whole = self.grids[-1]
            name = custom_prefix(self.projection_cell, *(self.grid(finest, outlines) or whole).centre())
        return replace(self, prefix=name)


class CustomArea(Protocol):
    """An area as it is asked for."""

    def mosaic(self, outlines: Sequence[Outline], projection_cells: Sequence[int]) -> CustomMosaic:
        """Work out the grids.

        Parameters
        ----------
        outlines : sequence of (ra, dec)
            The chips of all exposures of the run.
        projection_cells : sequence of int
            Ids of the projection cells of the sky cells that the input names; none for a list of files.

        Returns
        -------
        CustomMosaic
            Without prefix.

        Raises
        ------
        ParameterError, SkyCellError
            If the area is impossible.
        """


@dataclass(frozen=True)
class LimitsArea:
    """A rectangle of a projection cell, as published. The mosaics are cut to what the exposures cover."""

    limits: tuple[float, float, float, float]
    """Least and greatest x, least and greatest y: 0-based pixels of 0.04 arcsec of the projection cell, both
    included. They may lie beyond its edges."""

    def mosaic(self, outlines: Sequence[Outline], projection_cells: Sequence[int]) -> CustomMosaic:
        """Work out the grids; see `CustomArea`."""
        limits = checked_limits(self.limits)
        if any(abs(limit - round(limit)) > _ROUNDING for limit in limits):
            _LOG.warning(
                "custom_limits: found %s, expected whole pixels of 0.04 arcsec; rounded to %s.",
                list(limits),
                [round(limit) for limit in limits],
            )
        found = sorted(set(projection_cells))
        if len(found) > 1:
            cells = ", ".join(f"p{cell:04d}" for cell in found)
            raise ParameterError(
                "custom_limits are pixels of one projection cell, and the sky cells of the poller file are "
                f"in several ({cells}): give sky cells of one of them"
            )
        cell = ProjectionCell(found[0]) if found else nearest_projection_cell(*middle_of_outlines(outlines))
        return _of_limits(cell, limits)


@dataclass(frozen=True)
class ExposuresArea:
    """All that the exposures cover, with the limits of the sky cells that they touch, as published.

    Exposures that lie outside the projection cell, where the published code clips, are in it as well.
    """

    scale: float | None = None
    """Arcsec per pixel of all layers; None: the published scales."""

    def mosaic(self, outlines: Sequence[Outline], projection_cells: Sequence[int]) -> CustomMosaic:
        """Work out the grids; see `CustomArea`."""
        cell = nearest_projection_cell(*middle_of_outlines(outlines))
        bounds = [outline_bounds(outlines, cell.plane())]
        for sky_cell in cells_of_outlines(outlines):
            if sky_cell.projection_cell.cell_id == cell.cell_id:
                x, y = (sky_cell.layout.start(index) for index in (sky_cell.x_index, sky_cell.y_index))
                last = sky_cell.layout.cell_pixels - 1
                bounds.append((int(x), int(x) + last, int(y), int(y) + last))
        left, right, low, high = zip(*bounds, strict=True)
        return _of_limits(cell, (min(left), max(right), min(low), max(high)), self.scale)


@dataclass(frozen=True)
class RectangleArea:
    """A rectangle about a position, North up. The mosaics have its size whatever the exposures cover."""

    centre: tuple[float, float]
    """Right ascension and declination in degrees."""

    size: tuple[float, float]
    """Width and height, in arcsec or pixels."""

    in_pixels: bool = False
    """Whether the size is in pixels: of `scale`, or of 0.04 arcsec where there is none."""

    scale: float | None = None
    """Arcsec per pixel of all layers; None: the published scales."""

    def mosaic(self, outlines: Sequence[Outline], projection_cells: Sequence[int]) -> CustomMosaic:
        """Work out the grids; see `CustomArea`."""
        unit = (self.scale or FINE_SCALE) if self.in_pixels else 1.0
        width, height = (length * unit for length in self.size)
        cell = nearest_projection_cell(*self.centre)
        words = f"{width:g} x {height:g} arcsec about RA {self.centre[0]:.7f}, Dec {self.centre[1]:+.7f}"

        def rectangle(scale: float) -> OutputGrid:
            middle = _plane_grid(cell, scale, (0, 0, 1, 1)).plane().pixels(*self.centre)
            # Decimal sizes such as 60 arcsec are a whole number of pixels that division misses by a bit.
            nx, ny = (max(1, math.ceil(round(length / scale, 6))) for length in (width, height))
            x0, y0 = (
                math.floor(float(at) - (n - 1) / 2.0 + 0.5) for at, n in zip(middle, (nx, ny), strict=True)
            )
            return _plane_grid(cell, scale, (x0, y0, nx, ny))

        return _at_scales(cell, self.scale, rectangle, words)


@dataclass(frozen=True)
class OutlinesArea:
    """The smallest rectangle, North up, that holds some outlines on the sky."""

    outlines: tuple[Outline, ...] = field(repr=False)
    """Right ascensions and declinations in degrees of each outline."""

    words: str = "outlines on the sky"
    """Where they come from."""

    scale: float | None = None
    """Arcsec per pixel of all layers; None: the published scales."""

    def mosaic(self, outlines: Sequence[Outline], projection_cells: Sequence[int]) -> CustomMosaic:
        """Work out the grids; see `CustomArea`."""
        cell = nearest_projection_cell(*middle_of_outlines(self.outlines))

        def rectangle(scale: float) -> OutputGrid:
            plane = _plane_grid(cell, scale, (0, 0, 1, 1)).plane()
            left, right, low, high = outline_bounds(self.outlines, plane)
            return _plane_grid(cell, scale, (left, low, right - left + 1, high - low + 1))

        return _at_scales(cell, self.scale, rectangle, self.words)


@dataclass(frozen=True)
class GridArea:
    """The grid of another image, pixel for pixel."""

    grid: OutputGrid
    """The grid."""

    words: str = "the grid of another image"
    """Where it comes from."""

    def mosaic(self, outlines: Sequence[Outline], projection_cells: Sequence[int]) -> CustomMosaic:
        """Work out the grids; see `CustomArea`."""
        _check_size(self.grid)
        grid = replace(self.grid, sky_cell_id=CUSTOM_GRID_ID)
        nearest = nearest_projection_cell(*grid.centre())
        return CustomMosaic(
            CUSTOM_GRID_ID, nearest.cell_id, ((CUSTOM_SCALE, grid),), is_cut=False, description=self.words
        )


def checked_limits(limits: Sequence[float]) -> tuple[float, float, float, float]:
    """Check the limits of a custom mosaic.

    Parameters
    ----------
    limits : sequence of float
        Least and greatest x, least and greatest y.

    Returns
    -------
    tuple of four float
        The same.

    Raises
    ------
    ParameterError
        If they are not four numbers in order.
    """
    is_sequence = isinstance(limits, Sequence) or hasattr(limits, "__array__")
    try:
        values = tuple(float(limit) for limit in limits) if is_sequence else ()
    except (TypeError, ValueError):
        values = ()
    ordered = len(values) == 4 and values[0] < values[1] and values[2] < values[3]
    if len(values) != 4 or not ordered or not all(math.isfinite(value) for value in values):
        found = list(limits) if is_sequence else limits
        raise ParameterError(f"custom_limits: found {found!r}, expected [xmin, xmax, ymin, ymax], in order")
    return values


def limits_grid(cell: ProjectionCell, scale: float, limits: Sequence[float]) -> OutputGrid:
    """Give the grid of limits at a scale.

    As published, limits at another scale than 0.04 arcsec are rounded to whole pixels of that scale, and the
    grid is that of the projection cell at that scale. (A coarse sky cell's grid differs from it by a third of
    a pixel or two, unless its indices are 1, 4, 7, ...)

    Parameters
    ----------
    cell : ProjectionCell
        The projection cell.
    scale : float
        Arcsec per pixel.
    limits : sequence of four float
        Least and greatest x, least and greatest y, in 0-based pixels of 0.04 arcsec.

    Returns
    -------
    OutputGrid
        Whole rectangle, both limits included.

    Raises
    ------
    ParameterError
        If the limits are impossible or too large.
    """
    ratio = FINE_SCALE / scale
    x_min, x_max, y_min, y_max = (round(limit * ratio) for limit in checked_limits(limits))
    return _plane_grid(cell, scale, (x_min, y_min, x_max - x_min + 1, y_max - y_min + 1))


def _of_limits(cell: ProjectionCell, limits: Sequence[float], scale: float | None = None) -> CustomMosaic:
    words = "x from {:.10g} to {:.10g}, y from {:.10g} to {:.10g}".format(*limits)
    mosaic = _at_scales(cell, scale, lambda value: limits_grid(cell, value, limits), words)
    return replace(mosaic, is_cut=True)


class _GridOfScale(Protocol):
    def __call__(self, scale: float, /) -> OutputGrid: ...


def _at_scales(
    cell: ProjectionCell, scale: float | None, rectangle: _GridOfScale, words: str
) -> CustomMosaic:
    """Make the grids of a rectangle at the published scales, or at one of one's own."""
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise ParameterError(f"the pixel scale is {scale}: expected a positive number of arcsec")
    named = [(name, SUPPORTED_SCALES[name]) for name in _SCALE_NAMES]
    scales = named if scale is None else [(CUSTOM_SCALE, scale)]
    return CustomMosaic(
        _area_id(cell),
        cell.cell_id,
        tuple((name, rectangle(value)) for name, value in scales),
        is_cut=False,
        description=f"{words}, on the grid of projection cell p{cell.cell_id:04d}",
    )


def _area_id(cell: ProjectionCell) -> str:
    return f"skycell-p{cell.cell_id:04d}"


def _plane_grid(cell: ProjectionCell, scale: float, box: tuple[int, int, int, int]) -> OutputGrid:
    """Give a rectangle (x0, y0, columns, rows) of a projection cell's own grid at a scale."""
    x0, y0, nx, ny = box
    crpix = CellLayout(scale=scale).projection_crpix
    grid = OutputGrid(
        sky_cell_id=_area_id(cell),
        scale=scale,
        crval=cell.crval,
        crpix=(crpix - x0, crpix - y0),
        shape=(ny, nx),
        projection_cell_crpix=(crpix, crpix),
    )
    _check_size(grid)
    return grid


def _check_size(grid: OutputGrid) -> None:
    rows, columns = grid.shape
    if max(rows, columns) > _MOST_PIXELS:
        raise ParameterError(
            f"a mosaic of {columns} x {rows} pixels of {grid.scale:g} arcsec: expected at most "
            f"{_MOST_PIXELS} pixels a side (5 degrees at 0.04 arcsec); give a smaller area or a larger scale"
        )
    corners = [(-0.5, -0.5), (columns - 0.5, -0.5), (-0.5, rows - 0.5), (columns - 0.5, rows - 0.5)]
    plane = grid.plane()
    ra, dec = plane.sky(corners)
    back = plane.pixels(ra, dec)
    if not (abs(back - corners) < 1e-3).all():
        raise SkyCellError(
            f"a corner of the mosaic is more than 80 degrees from the tangent point {grid.crval} of its grid"
        )
