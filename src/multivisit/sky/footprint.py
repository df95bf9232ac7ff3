"""Footprints: outlines of chips as polygons in tangent planes, and what they cover of the tessellation.

An outline is a pair of arrays (right ascension, declination) in degrees that goes once around the outer pixel
edges of a chip, with enough points that the straight lines between them follow the distortion. In the tangent
plane a straight line is a great circle, so the polygon's edges are exact there whatever the pole or the
meridian. Pixel ``i`` covers ``[i - 0.5, i + 0.5)``.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from multivisit.errors import SkyCellError
from multivisit.sky.cells import ProjectionCell, SkyCell, scale_in_arcsec
from multivisit.sky.plane import FARTHEST_COSINE, TangentPlane, unit_vectors
from multivisit.sky.tessellation import RINGS, CellLayout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astropy.wcs import WCS
    from numpy.typing import ArrayLike, NDArray
    from shapely import MultiPolygon, Polygon

    from multivisit.sky.grid import OutputGrid

    Floats = NDArray[np.float64]
    Outline: TypeAlias = tuple[ArrayLike, ArrayLike]

__all__ = [
    "POINTS_PER_EDGE",
    "bounding_grid",
    "cells_of_outlines",
    "covered_part",
    "mean_coverage",
    "middle_of_outlines",
    "nearest_projection_cell",
    "outline_bounds",
    "outline_pixels",
    "s_region",
    "sky_polygon_in_plane",
]

POINTS_PER_EDGE = 128
"""Points along each edge of a chip: between two of them ACS/WFC's distortion bends it by under 0.01 pixel."""

# Two areas that only touch share some rounding noise (1e-9 pixel times the edge's length).
_SMALLEST_AREA = 1e-5
_SMALLEST_WIDTH = 1e-6


def outline_pixels(shape: tuple[int, int], points_per_edge: int = POINTS_PER_EDGE) -> Floats:
    """Positions along the outer pixel edges of an image.

    Parameters
    ----------
    shape : tuple of int
        Rows (ny) and columns (nx) of the image.
    points_per_edge : int, optional
        Number of equal pieces that each edge is divided into.

    Returns
    -------
    ndarray
        Float64 array of shape (4 * points_per_edge, 2): x and y in 0-based pixels, counter-clockwise from
        (-0.5, -0.5), not closed.

    Raises
    ------
    SkyCellError
        If the image is empty or `points_per_edge` is less than 1.
    """
    ny, nx = shape
    if ny < 1 or nx < 1 or points_per_edge < 1:
        raise SkyCellError(
            f"an image of {nx} x {ny} pixels with {points_per_edge} points an edge has no outline; "
            "all three must be at least 1"
        )
    along = np.arange(points_per_edge) / points_per_edge
    zero, one = np.zeros(points_per_edge), np.ones(points_per_edge)
    x = np.concatenate([along, one, 1.0 - along, zero]) * nx - 0.5
    y = np.concatenate([zero, along, one, 1.0 - along]) * ny - 0.5
    return np.column_stack([x, y])


def sky_polygon_in_plane(ra: ArrayLike, dec: ArrayLike, wcs: WCS | TangentPlane) -> Polygon | MultiPolygon:
    """Carry an outline on the sky into a tangent plane.

    Parameters
    ----------
    ra, dec : array_like
        Outline in degrees, at least three points, in either direction, closed or not. The shorter great
        circle joins neighbouring points.
    wcs : astropy.wcs.WCS or TangentPlane
        Undistorted TAN WCS whose 0-based pixel coordinates are asked for.

    Returns
    -------
    shapely.Polygon or shapely.MultiPolygon
        The outline in 0-based pixels. What lies more than 80 degrees from the tangent point is cut off, and
        an outline that is there as a whole gives an empty polygon.

    Raises
    ------
    SkyCellError
        If the outline has less than three points or points that are not numbers, or if the WCS is not plain
        TAN.
    """
    plane = wcs if isinstance(wcs, TangentPlane) else TangentPlane.from_wcs(wcs)
    return _polygon_of_vectors(_outline_vectors(ra, dec), plane)


def cells_of_outlines(
    outlines: Sequence[Outline], scale: str | float | None = None, cell_size: float | None = None
) -> list[SkyCell]:
    """Find every sky cell that the chips of an exposure cover.

    A sky cell is reported if an outline shares a positive area with it and if the exposure shares a positive
    area with its projection cell. Projection cells overlap, so most positions are in sky cells of several of
    them: all are given. (The sky cells with x or y of 21 stick out of their projection cell by 507 pixels; an
    exposure wholly in that margin belongs to the neighbouring projection cells alone.)

    Parameters
    ----------
    outlines : sequence of (ra, dec)
        Outlines of the chips in degrees.
    scale : str or float, optional
        Pixel scale of the sky cells: 'fine', 'coarse' or arcsec per pixel; 'fine' by default.
    cell_size : float, optional
        Width of the projection cells in degrees; by default the published 450287 pixels of 0.04 arcsec.

    Returns
    -------
    list of SkyCell
        By projection cell, x and y; their `members` are empty.

    Raises
    ------
    SkyCellError
        If an outline is unusable or a size impossible.
    """
    layout = CellLayout(scale=scale_in_arcsec("fine" if scale is None else scale), cell_size=cell_size)
    vectors = [_outline_vectors(ra, dec) for ra, dec in outlines]
    found: list[SkyCell] = []
    if not vectors:
        return found
    for zone, index in _projection_cells_near(np.concatenate(vectors), layout.reach):
        ring = RINGS[zone]
        crpix = layout.projection_crpix
        plane = TangentPlane.north_up((ring.ra_of(index), ring.dec), (crpix, crpix), layout.scale)
        polygons = [_polygon_of_vectors(chip, plane) for chip in vectors]
        positions = list(_cell_positions(polygons, layout))
        if positions:
            cell = ProjectionCell(index, ring, scale=layout.scale, cell_size=cell_size)
            found += [SkyCell(cell, x, y, scale=layout.scale) for x, y in positions]
    return found


def bounding_grid(
    sky_cell: SkyCell, outlines: Sequence[Outline], scale: str | float | None = None
) -> OutputGrid | None:
    """Smallest whole-pixel sub-array of a sky cell that contains every exposed pixel of some outlines.

    Parameters
    ----------
    sky_cell : SkyCell
        The cell; what is outside it does not count.
    outlines : sequence of (ra, dec)
        Outlines of the chips in degrees.
    scale : str or float, optional
        Pixel scale of the sub-array; the cell's own by default.

    Returns
    -------
    OutputGrid or None
        The sub-array; None if no outline shares an area with the cell.

    Raises
    ------
    SkyCellError
        If an outline is unusable.
    """
    return covered_part(sky_cell.grid(scale), outlines)


def covered_part(whole: OutputGrid, outlines: Sequence[Outline]) -> OutputGrid | None:
    """Smallest whole-pixel sub-array of an image that contains every exposed pixel of some outlines.

    Parameters
    ----------
    whole : OutputGrid
        The image; what is outside it does not count.
    outlines : sequence of (ra, dec)
        Outlines of the chips in degrees.

    Returns
    -------
    OutputGrid or None
        The sub-array; None if no outline shares an area with the image.

    Raises
    ------
    SkyCellError
        If an outline is unusable.
    """
    from shapely import box

    ny, nx = whole.shape
    plane = whole.plane()
    frame = box(-0.5, -0.5, nx - 0.5, ny - 0.5)
    bounds = []
    for ra, dec in outlines:
        inside = sky_polygon_in_plane(ra, dec, plane).intersection(frame)
        parts = [part for part in _polygons(inside) if part.area > _SMALLEST_AREA]
        bounds += [part.bounds for part in parts]
    if not bounds:
        return None
    extremes = np.array(bounds)
    x_first, y_first = (_first_pixel(edge) for edge in extremes[:, :2].min(axis=0))
    x_last, y_last = (_last_pixel(edge) for edge in extremes[:, 2:].max(axis=0))
    return whole.sub_array(x_first, y_first, x_last - x_first + 1, y_last - y_first + 1)


def outline_bounds(outlines: Sequence[Outline], plane: TangentPlane) -> tuple[int, int, int, int]:
    """First and last pixels of a plane that outlines touch.

    Parameters
    ----------
    outlines : sequence of (ra, dec)
        Outlines on the sky in degrees.
    plane : TangentPlane
        The plane.

    Returns
    -------
    tuple of int
        First and last column, first and last row, 0-based; may be negative.

    Raises
    ------
    SkyCellError
        If an outline is unusable, or more than 80 degrees from the tangent point.
    """
    polygons = [sky_polygon_in_plane(ra, dec, plane) for ra, dec in outlines]
    bounds = [polygon.bounds for polygon in polygons if not polygon.is_empty]
    if len(bounds) < len(polygons) or not bounds:
        raise SkyCellError(
            f"an outline is more than 80 degrees from the tangent point {plane.crval}: "
            "one mosaic cannot hold it"
        )
    left, low, right, high = np.array(bounds).T
    return (
        _first_pixel(float(left.min())),
        _last_pixel(float(right.max())),
        _first_pixel(float(low.min())),
        _last_pixel(float(high.max())),
    )


def s_region(
    outlines: Sequence[Outline],
    grid: OutputGrid | None = None,
    *,
    tolerance: float = 1.0,
    close_gaps: float = 0.0,
    decimals: int = 8,
) -> str:
    """Describe the union of some outlines as an ``S_REGION`` string: STC-S polygons, as in archive headers.

    Parameters
    ----------
    outlines : sequence of (ra, dec)
        Outlines of the chips in degrees.
    grid : OutputGrid, optional
        Keep only what is inside this image.
    tolerance : float, optional
        The string's outline is simplified by at most this many arcsec; parts smaller than its square are left
        out beside larger ones.
    close_gaps : float, optional
        Fill gaps (between the chips of one detector) that are narrower than this many arcsec.
    decimals : int, optional
        Decimals of the positions in degrees, at least 8.

    Returns
    -------
    str
        ``POLYGON ICRS ra dec ra dec ...``, one after the other for parts that are not connected, the
        northernmost part first. Each starts from its northernmost vertex, goes from North to East, and is
        closed. Holes are not described. Empty if nothing is left.

    Raises
    ------
    SkyCellError
        If an outline is unusable, if the outlines are too far apart for one tangent plane, or if an option is
        impossible.
    """
    from shapely import box, union_all

    if not (tolerance >= 0 and close_gaps >= 0 and decimals >= 8):
        raise SkyCellError(
            f"S_REGION with tolerance {tolerance}, close_gaps {close_gaps} and {decimals} decimals: "
            "the first two cannot be negative and 8 decimals are the least"
        )
    if not outlines:
        return ""
    vectors = [_outline_vectors(ra, dec) for ra, dec in outlines]
    plane, scale = _plane_of_region(vectors, grid)
    union = union_all([_polygon_of_vectors(chip, plane) for chip in vectors])
    if close_gaps > 0:
        reach = close_gaps / 2.0 / scale
        union = union.buffer(reach, join_style="mitre").buffer(-reach, join_style="mitre")
    if grid is not None:
        union = union.intersection(box(-0.5, -0.5, grid.shape[1] - 0.5, grid.shape[0] - 0.5))
    union = union.simplify(tolerance / scale, preserve_topology=True)
    parts = sorted(_polygons(union), key=lambda part: part.area, reverse=True)
    parts = parts[:1] + [part for part in parts[1:] if part.area > (tolerance / scale) ** 2]
    rings = sorted((_ring_on_sky(part, plane) for part in parts), key=lambda ring: -ring[0][1])
    return " ".join(
        "POLYGON ICRS " + " ".join(f"{ra:.{decimals}f} {dec:.{decimals}f}" for ra, dec in ring)
        for ring in rings
    )


def mean_coverage(outlines: Sequence[Outline], grid: OutputGrid) -> float:
    """Give the mean number of outlines over the area of an image that at least one of them covers.

    Parameters
    ----------
    outlines : sequence of (ra, dec)
        Outlines of the chips in degrees.
    grid : OutputGrid
        The image.

    Returns
    -------
    float
        Sum of the areas over the area of their union; 0 if none falls on the image.

    Raises
    ------
    SkyCellError
        If an outline is unusable.
    """
    from shapely import box, union_all

    plane = grid.plane()
    image = box(-0.5, -0.5, grid.shape[1] - 0.5, grid.shape[0] - 0.5)
    parts = [sky_polygon_in_plane(ra, dec, plane).intersection(image) for ra, dec in outlines]
    union = union_all(parts).area
    return float(sum(part.area for part in parts) / union) if union > _SMALLEST_AREA else 0.0


def middle_of_outlines(outlines: Sequence[Outline]) -> tuple[float, float]:
    """Give the middle of some outlines on the sky: the direction of the mean of their points.

    Parameters
    ----------
    outlines : sequence of (ra, dec)
        Outlines in degrees.

    Returns
    -------
    ra, dec : float
        In degrees, right ascension from 0 to 360.

    Raises
    ------
    SkyCellError
        If an outline is unusable, or the outlines are all over the sky.
    """
    means = [_outline_vectors(ra, dec).mean(axis=0) for ra, dec in outlines]
    x, y, z = np.mean(means, axis=0)
    if math.hypot(x, y, z) < 1e-3:
        raise SkyCellError("the outlines are all over the sky: they have no middle")
    return math.degrees(math.atan2(y, x)) % 360.0, math.degrees(math.atan2(z, math.hypot(x, y)))


def nearest_projection_cell(ra: float, dec: float) -> ProjectionCell:
    """Give the projection cell whose centre is nearest to a position.

    Parameters
    ----------
    ra, dec : float
        The position in degrees.

    Returns
    -------
    ProjectionCell
        At 0.04 arcsec; of two that are equally near the one of the lower id.
    """
    centres, places = _projection_cell_centres()
    # Rounded, so that equally near ones are equal whatever the last bit says.
    nearest = int(np.argmax(np.round(centres @ unit_vectors(ra, dec), 13)))
    zone, index = places[nearest].tolist()
    return ProjectionCell(index, RINGS[zone])


def _outline_vectors(ra: ArrayLike, dec: ArrayLike) -> Floats:
    alpha, delta = np.ravel(np.asarray(ra, float)), np.ravel(np.asarray(dec, float))
    if alpha.size != delta.size or alpha.size < 3:
        raise SkyCellError(
            f"an outline needs at least three points, each with a right ascension and a declination; "
            f"this one has {alpha.size} and {delta.size}"
        )
    bad = ~(np.isfinite(alpha) & (np.abs(delta) <= 90.0))
    if bad.any():
        first = int(np.argmax(bad))
        raise SkyCellError(
            f"{int(bad.sum())} of the {alpha.size} points of an outline are not on the sky: point {first} "
            f"is at right ascension {alpha[first]}, declination {delta[first]} degrees"
        )
    return unit_vectors(alpha, delta)


def _polygon_of_vectors(vectors: Floats, plane: TangentPlane) -> Polygon | MultiPolygon:
    from shapely import MultiPolygon, Polygon, make_valid

    depth = vectors @ plane.centre
    if (depth < FARTHEST_COSINE).any():
        vectors = _cut_at_depth(vectors, depth, FARTHEST_COSINE)
        if len(vectors) < 3:
            return Polygon()
    polygon = Polygon(plane.pixels_of_vectors(vectors))
    if polygon.is_valid:
        return polygon
    parts = _polygons(make_valid(polygon))
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def _cut_at_depth(vectors: Floats, depth: Floats, limit: float) -> Floats:
    """Clip a ring of vectors by a plane across the tangent direction (Sutherland & Hodgman 1974)."""
    kept: list[Floats] = []
    for here in range(len(vectors)):
        before = here - 1
        if (depth[before] >= limit) != (depth[here] >= limit):
            fraction = (limit - depth[before]) / (depth[here] - depth[before])
            kept.append(vectors[before] + fraction * (vectors[here] - vectors[before]))
        if depth[here] >= limit:
            kept.append(vectors[here])
    return np.array(kept).reshape(-1, 3)


def _polygons(geometry: object) -> list[Polygon]:
    """Take the polygons out of any geometry: intersections also give the points and lines that touch."""
    from shapely import Polygon
    from shapely.geometry.base import BaseMultipartGeometry

    if isinstance(geometry, BaseMultipartGeometry):
        return [polygon for part in geometry.geoms for polygon in _polygons(part)]
    return [geometry] if isinstance(geometry, Polygon) and not geometry.is_empty else []


@lru_cache(maxsize=1)
def _projection_cell_centres() -> tuple[Floats, NDArray[np.intp]]:
    """Unit vectors of all projection cells' centres, (2644, 3); their ring and index in it, (2644, 2)."""
    places = np.array([(ring.zone, index) for ring in RINGS for index in range(ring.n_cells)], dtype=np.intp)
    ra = [RINGS[zone].ra_of(index) for zone, index in places.tolist()]
    return unit_vectors(ra, [RINGS[zone].dec for zone, _ in places.tolist()]), places


def _projection_cells_near(vectors: Floats, reach: float) -> Iterator[tuple[int, int]]:
    """Ring and index of the projection cells that could touch some points: none is missed, some may not."""
    centre = vectors.mean(axis=0)
    length = float(np.linalg.norm(centre))
    centres, places = _projection_cell_centres()
    if length < 1e-3:
        yield from places.tolist()
        return
    centre /= length
    radius = math.degrees(math.acos(np.clip((vectors @ centre).min(), -1.0, 1.0)))
    # for an area larger than a hemisphere the outline's own radius says nothing
    farthest = 180.0 if radius > 90.0 else min(180.0, reach + radius + 1e-3)
    near = centres @ centre >= math.cos(math.radians(farthest))
    yield from places[near].tolist()


def _cell_positions(
    polygons: Sequence[Polygon | MultiPolygon], layout: CellLayout
) -> Iterator[tuple[int, int]]:
    """Positions (x, y) of the sky cells that polygons in a projection cell's pixels share an area with."""
    from shapely import box

    pixels = layout.projection_pixels
    area = box(-0.5, -0.5, pixels - 0.5, pixels - 0.5)
    if not any(polygon.intersection(area).area > _SMALLEST_AREA for polygon in polygons):
        return
    ranges = [
        [_index_range(polygon.bounds[axis], polygon.bounds[axis + 2], layout) for axis in (0, 1)]
        for polygon in polygons
        if not polygon.is_empty
    ]
    nxy, size = layout.nxy, layout.cell_pixels
    for x in range(1, nxy + 1):
        for y in range(1, nxy + 1):
            if not any(x in columns and y in rows for columns, rows in ranges):
                continue
            left, low = layout.start(x) - 0.5, layout.start(y) - 0.5
            cell = box(left, low, left + size, low + size)
            if any(polygon.intersection(cell).area > _SMALLEST_AREA for polygon in polygons):
                yield x, y


def _index_range(lowest: float, highest: float, layout: CellLayout) -> range:
    """Indices of the sky cells that may touch an interval along one axis of the projection cell."""
    step = layout.start(2)
    first = math.floor((lowest + 0.5 - layout.cell_pixels) / step) + 1
    last = math.floor((highest + 0.5) / step) + 1
    return range(max(1, first), min(layout.nxy, last) + 1)


def _first_pixel(edge: float) -> int:
    return math.floor(edge + 0.5 + _SMALLEST_WIDTH)


def _last_pixel(edge: float) -> int:
    return math.ceil(edge + 0.5 - _SMALLEST_WIDTH) - 1


def _plane_of_region(vectors: Sequence[Floats], grid: OutputGrid | None) -> tuple[TangentPlane, float]:
    """Plane to compute a region in, and its scale in arcsec: the image's, or one at the region's middle."""
    if grid is not None:
        return grid.plane(), grid.scale
    points = np.concatenate(vectors)
    x, y, z = points.mean(axis=0)
    if math.hypot(x, y, z) < 1e-3:
        raise SkyCellError("the outlines of an S_REGION are all over the sky: no tangent plane holds them")
    centre = (math.degrees(math.atan2(y, x)), math.degrees(math.atan2(z, math.hypot(x, y))))
    plane = TangentPlane.north_up(centre, (1.0, 1.0), 1.0)
    if (points @ plane.centre < FARTHEST_COSINE).any():
        raise SkyCellError(
            "the outlines of an S_REGION are more than 80 degrees from their middle: make one for each part"
        )
    return plane, 1.0


def _ring_on_sky(polygon: Polygon, plane: TangentPlane) -> list[tuple[float, float]]:
    """Closed ring of positions: North to East, from the northernmost vertex."""
    from shapely.geometry.polygon import orient

    # Where x grows to the West, counter-clockwise in pixels goes from North to East.
    is_mirrored = np.linalg.det(np.array(plane.cd)) > 0
    vertices = np.array(orient(polygon, -1.0 if is_mirrored else 1.0).exterior.coords)[:-1]
    ra, dec = plane.sky(vertices)
    first = int(np.argmax(dec))
    ring = list(zip(np.roll(ra, -first).tolist(), np.roll(dec, -first).tolist(), strict=True))
    return [*ring, ring[0]]
