"""Where the members of a layer lie on its mosaic: how many cover a source, where their pixels were full."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.catalogs import _pixels
from multivisit.catalogs.bands import in_order
from multivisit.errors import MultivisitError
from multivisit.sky.footprint import sky_polygon_in_plane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from shapely import Geometry

    from multivisit.catalogs.bands import Band
    from multivisit.exposures.model import Chip, Exposure
    from multivisit.sky.grid import OutputGrid

    Floats = NDArray[np.float64]

__all__ = ["ExposureCoverage", "SaturatedPixels", "exposure_coverage", "saturated_pixels"]

log = logging.getLogger(__name__)

_DROP = 12.0
"""Pixels by which drops reach beyond an outline at most, and what is lost of an outline's curves."""

_SATURATED = {"wfpc2": 8}
_SATURATED_ELSEWHERE = 256
_ROWS_OF_FLAGS = 64
"""Rows of flags that are read at a time."""

_MOST_SATURATED = 200_000
"""Pixels of a chip above which only every n-th is taken: a field that is full says so all the same."""


@dataclass(frozen=True)
class ExposureCoverage:
    """The outlines of a layer's exposures on its grid."""

    exposures: tuple[Geometry, ...] = field(repr=False)
    """Outline of each exposure, its chips joined, in 0-based pixels."""

    def columns_of(self, bands: Sequence[Band], shape: tuple[int, int]) -> list[tuple[int, int]]:
        """Give the columns of bands that exposures may reach.

        Parameters
        ----------
        bands : sequence of Band
            The bands.
        shape : tuple of int
            Rows and columns of the mosaic.

        Returns
        -------
        list of tuple of int
            First column and the one after the last, with room for the width of drops; equal where there are
            none.
        """
        import shapely

        limits = []
        for band in bands:
            slab = shapely.box(-_DROP, band.first - _DROP, shape[1] + _DROP, band.last + _DROP)
            parts = [outline.intersection(slab).bounds for outline in self.exposures]
            parts = [part for part in parts if np.isfinite(part).all()]
            if not parts:
                limits.append((0, 0))
                continue
            left, right = min(part[0] for part in parts) - _DROP, max(part[2] for part in parts) + _DROP
            limits.append((max(0, int(left)), min(shape[1], int(right) + 1)))
        return limits

    def number_of(self, x: Floats, y: Floats, radius: float) -> NDArray[np.int64]:
        """Count the exposures that hold a whole circle.

        Parameters
        ----------
        x, y : ndarray
            Centres, 0-based pixels.
        radius : float
            Of the circles, pixels.

        Returns
        -------
        ndarray of int64
            Numbers.
        """
        import shapely

        number = np.zeros(len(x), dtype=np.int64)
        for outline in self.exposures:
            inner = outline.buffer(-radius)
            shapely.prepare(inner)
            number += shapely.contains_xy(inner, x, y)
        return number

    def is_inside(self, x: Floats, y: Floats, border: float) -> NDArray[np.bool_]:
        """Tell which places are within the mosaic's footprint and not too near its edge.

        Parameters
        ----------
        x, y : ndarray
            Places, 0-based pixels.
        border : float
            Least distance from the edge, pixels.

        Returns
        -------
        ndarray of bool
            Whether they are.
        """
        import shapely

        inner = shapely.union_all(list(self.exposures)).buffer(-border)
        shapely.prepare(inner)
        inside: NDArray[np.bool_] = shapely.contains_xy(inner, x, y)
        return inside


@dataclass(frozen=True)
class SaturatedPixels:
    """Pixels of the members that were full, on the mosaic."""

    positions: Floats = field(repr=False)
    """Columns and rows, 0-based; (n, 2)."""

    exposures: NDArray[np.int32] = field(repr=False)
    """Number of the exposure of each."""

    def most_in_one_exposure(self, x: Floats, y: Floats, radius: float) -> NDArray[np.int64]:
        """Count the full pixels near some places, in the exposure that has the most.

        Parameters
        ----------
        x, y : ndarray
            Places, 0-based pixels.
        radius : float
            How near, pixels.

        Returns
        -------
        ndarray of int64
            Numbers.
        """
        from scipy.spatial import cKDTree

        most = np.zeros(len(x), dtype=np.int64)
        places = np.column_stack([x, y])
        for number in np.unique(self.exposures):
            tree = cKDTree(self.positions[self.exposures == number])
            most = np.maximum(most, tree.query_ball_point(places, radius, return_length=True))
        return most


def exposure_coverage(exposures: Sequence[Exposure], grid: OutputGrid) -> ExposureCoverage:
    """Find the outlines of exposures on a grid.

    Parameters
    ----------
    exposures : sequence of Exposure
        The members of a layer.
    grid : OutputGrid
        The layer's grid.

    Returns
    -------
    ExposureCoverage
        Those that lie on the tangent plane.
    """
    import shapely

    plane = grid.plane()
    outlines = []
    for exposure in exposures:
        chips = [sky_polygon_in_plane(*chip.outline(), plane) for chip in exposure.chips]
        outlines.append(shapely.union_all([chip for chip in chips if not chip.is_empty]))
    return ExposureCoverage(tuple(outline for outline in outlines if not outline.is_empty))


def saturated_pixels(exposures: Sequence[Exposure], grid: OutputGrid, workers: int = 1) -> SaturatedPixels:
    """Find the pixels of exposures that are flagged full (DQ 256; WFPC2: 8), on a grid.

    Parameters
    ----------
    exposures : sequence of Exposure
        The members of a layer.
    grid : OutputGrid
        The layer's grid.
    workers : int
        How many chips are read at a time.

    Returns
    -------
    SaturatedPixels
        All of them; none of exposures whose flags cannot be read again, with a warning.
    """
    plane = grid.plane()
    chips = [(number, chip) for number, exposure in enumerate(exposures) for chip in exposure.chips]

    def search(item: tuple[int, Chip]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        number, chip = item
        try:
            return _flagged(chip, _SATURATED.get(exposures[number].instrument, _SATURATED_ELSEWHERE))
        except MultivisitError as error:
            log.warning("saturated sources of %s are not flagged: %s", exposures[number].filename, error)
            return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)

    places, numbers = [np.empty((0, 2))], [np.empty(0, dtype=np.int32)]
    for (number, chip), (rows, columns) in zip(chips, in_order(search, chips, workers), strict=True):
        if len(rows) == 0:
            continue
        found = plane.pixels(*chip.wcs().all_pix2world(columns, rows, 0))
        found = found[np.isfinite(found).all(axis=1)]
        places.append(found)
        numbers.append(np.full(len(found), number, dtype=np.int32))
    return SaturatedPixels(np.concatenate(places), np.concatenate(numbers))


def _flagged(chip: Chip, bit: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Rows and columns of the pixels of a chip with a flag."""
    places = _stored_flags(chip, bit)
    if places is None:
        places = np.argwhere(chip.read_data_quality() & bit).astype(np.int32)
    places = places[:: max(1, len(places) // _MOST_SATURATED)]
    return places[:, 0], places[:, 1]


def _stored_flags(chip: Chip, bit: int) -> NDArray[np.int32] | None:
    """The same of flags that can be looked at as they stand in the file; None where they cannot."""
    stored = chip.stored_quality
    if stored is None:
        return None
    rows, columns = stored.shape
    mask = int(np.array(bit, dtype=">i2").view(np.int16))
    flags = np.empty((min(rows, _ROWS_OF_FLAGS), columns), dtype=np.int16)
    found = []
    try:
        with stored.opened() as read:
            if read is None:
                return None
            for first in range(0, rows, len(flags)):
                part = flags[: rows - first]
                read(first, first + len(part), part)
                found.append(_pixels.find_flagged(part, mask, first))
    except OSError:
        # Reading it in the other way says what is wrong.
        return None
    return np.frombuffer(b"".join(found), dtype=np.int32).reshape(-1, 2)
