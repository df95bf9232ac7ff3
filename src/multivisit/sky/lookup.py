"""Look up the sky cells of many positions at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from multivisit.errors import SkyCellError
from multivisit.sky.cells import SKY_CELL_NAME_FORMAT
from multivisit.sky.plane import TangentPlane
from multivisit.sky.tessellation import RINGS, CellLayout, Ring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

__all__ = ["CellMatches", "cells_containing"]


@dataclass(frozen=True)
class CellMatches:
    """Sky cells that contain positions: one entry for each pair of position and cell.

    The four arrays have the same length; the entries are ordered by position, projection cell, x and y.
    """

    position: NDArray[np.int64]
    """Index of the position in the flattened input."""

    projection_cell: NDArray[np.int64]
    """Id of the projection cell, 0 to 2643."""

    x: NDArray[np.int64]
    """x of the sky cell in the projection cell, 1-based."""

    y: NDArray[np.int64]
    """y of the sky cell in the projection cell, 1-based."""

    def __len__(self) -> int:
        return len(self.position)

    def names(self) -> list[str]:
        """Name of the sky cell of every entry, for example ``skycell-p1889x07y19``."""
        columns = (self.projection_cell.tolist(), self.x.tolist(), self.y.tolist())
        return [SKY_CELL_NAME_FORMAT.format(*cell) for cell in zip(*columns, strict=True)]


def cells_containing(ra: ArrayLike, dec: ArrayLike, layout: CellLayout | None = None) -> CellMatches:
    """Find every sky cell that contains each of some positions.

    A cell contains a position that falls on one of its pixels and inside its projection cell. Both overlap
    their neighbours: most positions have one or two cells, some near the poles ten.

    Parameters
    ----------
    ra, dec : array_like
        Right ascension and declination in degrees, of the same shape; a right ascension may be outside 0 to
        360.
    layout : CellLayout, optional
        Scale, size and division of the projection cells; the published fine ones by default.

    Returns
    -------
    CellMatches
        All pairs of position and sky cell.

    Raises
    ------
    SkyCellError
        If the shapes differ or a position is not on the sky.
    """
    layout = CellLayout() if layout is None else layout
    alpha, delta = _positions(ra, dec)
    order = np.argsort(delta, kind="stable")
    sorted_ra, sorted_dec = alpha[order], delta[order]
    entries = [np.empty((4, 0), dtype=np.int64)]
    for ring in RINGS:
        first, last = np.searchsorted(
            sorted_dec, [ring.dec - layout.reach - 1e-9, ring.dec + layout.reach + 1e-9]
        )
        if first == last:
            continue
        members = slice(int(first), int(last))
        for cells, which, pixels in _projected(ring, sorted_ra[members], sorted_dec[members], layout):
            entries.append(_sky_cells(order[members][which], cells, pixels, layout))
    position, projection_cell, x, y = np.concatenate(entries, axis=1)
    ranks = np.lexsort(((projection_cell * layout.nxy + x) * layout.nxy + y, position))
    return CellMatches(position[ranks], projection_cell[ranks], x[ranks], y[ranks])


def _positions(ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
    alpha, delta = np.asarray(ra, float), np.asarray(dec, float)
    if alpha.shape != delta.shape:
        raise SkyCellError(
            f"right ascensions of shape {alpha.shape} and declinations of shape {delta.shape} are not pairs"
        )
    alpha, delta = alpha.ravel(), delta.ravel()
    bad = ~(np.isfinite(alpha) & (np.abs(delta) <= 90.0))
    if bad.any():
        first = int(np.argmax(bad))
        raise SkyCellError(
            f"{int(bad.sum())} of {alpha.size} positions are not on the sky: number {first} (counted from 0) "
            f"is at right ascension {alpha[first]}, declination {delta[first]} degrees"
        )
    return alpha % 360.0, delta


def _projected(
    ring: Ring, ra: Floats, dec: Floats, layout: CellLayout
) -> Iterator[tuple[Integers, Integers, Floats]]:
    """Pair positions with the ring's projection cells that contain them.

    Yields the projection cells' ids, the positions' indices, and 0-based pixels of shape (n, 2).
    """
    # the cells of a ring are one another turned about the axis: one plane at right ascension 0 serves them
    # all
    crpix = layout.projection_crpix
    plane = TangentPlane.north_up((0.0, ring.dec), (crpix, crpix), layout.scale)
    widest = _half_width_in_ra(ring, layout)
    for cells in _candidates(ring, ra, widest):
        from_centre = (ra - cells * 360.0 / ring.n_cells + 180.0) % 360.0 - 180.0
        near = np.flatnonzero(np.abs(from_centre) <= widest)
        pixels = plane.pixels(from_centre[near], dec[near])
        # positions too far to be projected are NaN, which no comparison holds for
        within = (pixels >= -0.5) & (pixels < layout.projection_pixels - 0.5)
        inside = within[:, 0] & within[:, 1]
        which = near[inside]
        yield ring.first_cell + cells[which], which, pixels[inside]


def _candidates(ring: Ring, ra: Floats, widest: float) -> Iterator[Integers]:
    """For every position, one after the other, the ring's cells that may contain it (index in the ring)."""
    neighbours = math.floor(widest / ring.ra_spacing + 0.5)
    if 2 * neighbours + 1 >= ring.n_cells:
        for index in range(ring.n_cells):
            yield np.full(len(ra), index, dtype=np.int64)
        return
    nearest = np.rint(ra / ring.ra_spacing).astype(np.int64)
    for offset in range(-neighbours, neighbours + 1):
        yield (nearest + offset) % ring.n_cells


def _half_width_in_ra(ring: Ring, layout: CellLayout) -> float:
    """Largest difference in right ascension between a projection cell's centre and a point in it, in degrees.

    It is that of the corners on the poleward side, or 180 if the pole is in the cell.
    """
    half = math.radians((layout.projection_pixels / 2.0 + 1.0) * layout.scale / 3600.0)
    delta = math.radians(abs(ring.dec))
    to_pole = math.cos(delta) - half * math.sin(delta)
    return math.degrees(math.atan2(half, to_pole)) + 1e-9 if to_pole > 0 else 180.0


def _sky_cells(position: Integers, cells: Integers, pixels: Floats, layout: CellLayout) -> Integers:
    """Pair positions in projection cells with the sky cells: rows position, projection cell, x, y."""
    columns, rows = (_indices(pixels[:, axis], layout) for axis in (0, 1))
    found = [np.empty((4, 0), dtype=np.int64)]
    for x, in_column in columns:
        for y, in_row in rows:
            inside = in_column & in_row
            found.append(np.stack([position[inside], cells[inside], x[inside], y[inside]]))
    return np.concatenate(found, axis=1)


def _indices(pixels: Floats, layout: CellLayout) -> list[tuple[Integers, NDArray[np.bool_]]]:
    """Indices of sky cells along one axis that positions may be in, and whether they are.

    A position is in the last cell that starts before it, and in earlier ones if they reach it.
    """
    step = layout.start(2)
    last = np.minimum(np.floor((pixels + 0.5) / step).astype(np.int64) + 1, layout.nxy)
    indices = [last - back for back in range(math.ceil(layout.cell_pixels / step))]
    starts = [(index - 1) * layout.fine_step / layout.fine_per_pixel for index in indices]
    return [
        (index, (index >= 1) & (pixels - start < layout.cell_pixels - 0.5))
        for index, start in zip(indices, starts, strict=True)
    ]
