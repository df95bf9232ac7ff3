"""Where the chips of a layer fall on the output grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine.coverage import PixelRuns, polygon_runs
from multivisit.errors import CombineError, MultivisitError

if TYPE_CHECKING:
    from shapely import MultiPolygon, Polygon

    from multivisit.exposures.model import Chip, Exposure
    from multivisit.exposures.pixel_map import PixelMap
    from multivisit.sky.grid import OutputGrid

__all__ = ["PreparedChip", "chip_error", "place_chips"]

# Areas below this are rounding noise of outlines that only touch the grid, in square pixels.
_SMALLEST_AREA = 1e-5
_RUN_FIELDS = ("row", "start", "stop")


@dataclass(frozen=True)
class PreparedChip:
    """A chip and where it falls."""

    chip: Chip
    """The chip."""

    exposure: Exposure
    """Its exposure."""

    exposure_number: int
    """Number of the exposure in the layer."""

    pixel_map: PixelMap | None = field(repr=False)
    """Map onto the output grid; None if the whole exposure lies outside."""

    runs: PixelRuns = field(repr=False)
    """Output pixels that it covers."""

    in_grid: bool
    """Whether it overlaps the grid."""

    @property
    def name(self) -> str:
        """The chip's name for messages."""
        return f"{self.exposure.filename}[SCI,{self.chip.extver}]"

    @property
    def signature(self) -> tuple[str, str, tuple[int, int], int]:
        """What exposures must have in common to share a static mask."""
        return (self.exposure.instrument, self.exposure.detector, self.chip.shape, self.chip.chip_id)


def place_chips(number: int, exposure: Exposure, grid: OutputGrid) -> list[PreparedChip]:
    """Map the chips of an exposure onto the grid.

    Parameters
    ----------
    number : int
        Number of the exposure in the layer.
    exposure : Exposure
        The exposure.
    grid : OutputGrid
        The grid.

    Returns
    -------
    list of PreparedChip
        Its chips, in their order.

    Raises
    ------
    CombineError
        If a chip cannot be mapped.
    """
    from shapely import box

    from multivisit.exposures.pixel_map import PixelMap
    from multivisit.sky.footprint import POINTS_PER_EDGE, sky_polygon_in_plane

    rows, columns = grid.shape
    frame = box(-0.5, -0.5, columns - 0.5, rows - 0.5)
    try:
        outlines = [sky_polygon_in_plane(*chip.outline(POINTS_PER_EDGE), grid.wcs) for chip in exposure.chips]
    except MultivisitError as error:
        raise chip_error(exposure, exposure.chips[0], error) from error
    touches = [outline.intersection(frame).area > _SMALLEST_AREA for outline in outlines]
    placed = []
    for chip, outline, in_grid in zip(exposure.chips, outlines, touches, strict=True):
        pixel_map = None
        # Chips beside the grid are mapped too if another one of their exposure is in it: they tell its sky.
        if any(touches) and not outline.is_empty:
            try:
                pixel_map = PixelMap.fit(chip.wcs(), chip.shape, grid.wcs)
            except MultivisitError as error:
                raise chip_error(exposure, chip, error) from error
        placed.append(PreparedChip(chip, exposure, number, pixel_map, _covered(outline, grid.shape), in_grid))
    return placed


def _covered(outline: Polygon | MultiPolygon, shape: tuple[int, int]) -> PixelRuns:
    """Give the pixels of the grid inside an outline."""
    rings = [np.asarray(part.exterior.coords)[:-1] for part in getattr(outline, "geoms", [outline])]
    runs = [polygon_runs(ring[:, 0], ring[:, 1], shape) for ring in rings if len(ring)]
    if len(runs) == 1:
        return runs[0]
    joined = [
        np.concatenate([np.empty(0, np.int64), *(getattr(r, name) for r in runs)]) for name in _RUN_FIELDS
    ]
    order = np.lexsort((joined[1], joined[0]))
    return PixelRuns(*(values[order] for values in joined))


def chip_error(exposure: Exposure, chip: Chip, error: Exception) -> CombineError:
    """Say which chip an error is about.

    Parameters
    ----------
    exposure, chip : Exposure, Chip
        The chip.
    error : Exception
        What happened.

    Returns
    -------
    CombineError
        The error to raise.
    """
    return CombineError(
        f"{exposure.path}[SCI,{chip.extver}]: cannot be combined: {error} Mend the file or leave it out."
    )
