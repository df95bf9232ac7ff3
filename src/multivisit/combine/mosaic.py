"""The mosaic of one layer: all exposures of one detector and filter on the grid of a sky cell.

``prepare_layer`` finds where the chips fall, measures the sky and collects the static masks;
``drizzle_chips`` feeds the chips one by one into an engine that owns the grid or a part of it;
``combine_layer`` does the whole.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine.coverage import MosaicStatistics, PixelRuns, mosaic_statistics, polygon_runs
from multivisit.combine.kernel_engine import make_engine
from multivisit.combine.sky_levels import SkyLevels, SkyMeter
from multivisit.combine.sky_samples import SkyStatistic, patch_spacing
from multivisit.combine.weights import (
    StaticMasks,
    blank_unweighted,
    exposure_weights,
    good_pixel_mask,
    weight_per_pixel,
)
from multivisit.errors import CombineError, MultivisitError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from shapely import MultiPolygon, Polygon

    from multivisit.combine.drizzle_engine import Engine
    from multivisit.exposures.model import Chip, Exposure
    from multivisit.exposures.pixel_map import PixelMap
    from multivisit.plan.parameters import CombinationParameters
    from multivisit.sky.grid import OutputGrid

    Progress = Callable[[str, int, int], None]

__all__ = [
    "ChipRecord",
    "LayerMosaic",
    "MosaicStatistics",
    "PreparedChip",
    "PreparedLayer",
    "combine_layer",
    "drizzle_chips",
    "prepare_layer",
]

_LOG = logging.getLogger(__name__)

# Areas below this are rounding noise of outlines that only touch the grid, in square pixels.
_SMALLEST_AREA = 1e-5
_SCALE_ROWS = 256
_EVERY_FLAG = np.array([0xFFFF], dtype=np.int32)
_RUN_FIELDS = ("row", "start", "stop")


@dataclass(frozen=True)
class ChipRecord:
    """What became of one chip in a mosaic."""

    filename: str
    """Name of the exposure's file."""

    rootname: str
    """Rootname of the exposure."""

    extver: int
    """EXTVER of the chip."""

    chip_id: int
    """Number of the detector chip."""

    exposure_time: float
    """Exposure time, s."""

    in_grid: bool
    """Whether the chip overlaps the output grid; if not, it was not combined."""

    sky_level: float
    """Sky level taken off, electrons/s per native pixel (MDRIZSKY)."""

    sky_measured: bool
    """Whether that level was measured; False where the sky was left alone or could not be compared."""

    sky_group: int
    """Number of the group of overlapping exposures in which the sky was matched."""

    n_static: int
    """Number of pixels left out by the static mask alone."""

    n_good_pixels: int
    """Number of pixels of weight above 0."""

    n_used: int
    """Number of those whose centres fall in the output grid."""


@dataclass(frozen=True)
class LayerMosaic:
    """The planes of a layer and how they came about."""

    science: NDArray[np.float32] = field(repr=False)
    """Electrons/s (or electrons) per output pixel, (ny, nx); NaN or the fill value where the weight is 0."""

    weight: NDArray[np.float32] = field(repr=False)
    """Sum of weight times area, (ny, nx): exposure time times squared scale ratio where fully covered."""

    context: NDArray[np.int32] | None = field(repr=False)
    """Bit k of plane p: chip 32 p + k of `chips` contributes; (planes, ny, nx). None if not asked for."""

    chips: tuple[ChipRecord, ...]
    """One record a chip, in the order of combination."""

    statistics: MosaicStatistics
    """Statistics over the observed pixels."""


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


@dataclass(frozen=True)
class PreparedLayer:
    """All that must be known of a layer before pixels can be combined."""

    grid: OutputGrid
    """Output grid."""

    chips: tuple[PreparedChip, ...]
    """Chips in the order of combination."""

    sky: SkyLevels | None
    """Sky levels of the exposures; None where the sky is left alone."""

    static_masks: StaticMasks | None = field(repr=False)
    """Static masks; None where they are off."""


def combine_layer(
    members: Sequence[Exposure],
    grid: OutputGrid,
    parameters: CombinationParameters,
    *,
    progress: Progress | None = None,
) -> LayerMosaic:
    """Combine the exposures of a layer.

    Parameters
    ----------
    members : sequence of Exposure
        Exposures in the order in which they are combined and numbered in the context.
    grid : OutputGrid
        Output grid: a sky cell or a part of it.
    parameters : CombinationParameters
        How to combine.
    progress : callable, optional
        Called with a message, the number of steps done and their total number, a step being a chip read.

    Returns
    -------
    LayerMosaic
        Planes, records and statistics.

    Raises
    ------
    CombineError
        If a chip cannot be read or mapped, no exposure falls in the grid, or no good pixel does.
    """
    n_chips = sum(len(exposure.chips) for exposure in members)
    engine = make_engine(
        grid.shape,
        kernel=parameters.final_kernel,
        pixfrac=parameters.final_pixfrac,
        context_chips=n_chips if parameters.context else 0,
    )
    layer = prepare_layer(members, grid, parameters, progress=progress)
    records = drizzle_chips(layer, engine, parameters, progress=progress)
    fill_value = np.nan if parameters.final_fillval is None else float(parameters.final_fillval)
    science, weight = engine.finish(fill_value)
    if not weight.any():
        raise CombineError(
            f"{grid.sky_cell_id}: none of the {len(members)} exposures has a good pixel in the output grid "
            f"(good DQ bits: {parameters.final_bits}); expected at least one. Check their DQ extensions."
        )
    # A chip without any good pixel adds neither depth nor time.
    used = [chip for chip, record in zip(layer.chips, records, strict=True) if record.n_used]
    if parameters.final_units == "counts":
        total_time = sum({c.exposure_number: c.exposure.exposure_time for c in used}.values())
        _scale_observed(science, weight, total_time)
    rows, columns = grid.cell_shape or grid.shape
    statistics = mosaic_statistics(
        [c.runs for c in used], [c.chip.exposure_time for c in used], weight, rows * columns
    )
    return LayerMosaic(science, weight, engine.context, records, statistics)


def prepare_layer(
    members: Sequence[Exposure],
    grid: OutputGrid,
    parameters: CombinationParameters,
    *,
    progress: Progress | None = None,
) -> PreparedLayer:
    """Find where the chips fall, measure the sky and collect the static masks.

    Chips are read (one at a time) only if the sky or the static masks ask for it.

    Parameters
    ----------
    members : sequence of Exposure
        Exposures in order.
    grid : OutputGrid
        Output grid.
    parameters : CombinationParameters
        How to combine.
    progress : callable, optional
        See `combine_layer`.

    Returns
    -------
    PreparedLayer
        Chips, sky levels and static masks.

    Raises
    ------
    CombineError
        If a chip cannot be read or mapped, or no exposure falls in the grid.
    """
    chips = tuple(
        chip for number, exposure in enumerate(members) for chip in _place_chips(number, exposure, grid)
    )
    if not any(c.in_grid for c in chips):
        raise CombineError(
            f"{grid.sky_cell_id}: none of the {len(members)} exposures falls in the output grid of "
            f"{grid.shape[1]} x {grid.shape[0]} pixels. Choose the sky cells that they touch."
        )
    static_masks = StaticMasks(parameters.static_sig) if parameters.static else None
    meter = None
    if parameters.skysub:
        meter = SkyMeter(
            parameters.skymethod,
            _sky_statistic(parameters),
            len(members),
            grid.scale,
            patch_spacing(max(c.chip.nominal_scale for c in chips), grid.scale),
        )
    if meter is not None or static_masks is not None:
        _survey(chips, parameters, static_masks, meter, progress)
    return PreparedLayer(grid, chips, None if meter is None else meter.levels(), static_masks)


def drizzle_chips(
    layer: PreparedLayer,
    engine: Engine,
    parameters: CombinationParameters,
    *,
    progress: Progress | None = None,
) -> tuple[ChipRecord, ...]:
    """Feed the chips of a layer into an engine, in order.

    Parameters
    ----------
    layer : PreparedLayer
        The layer.
    engine : Engine
        What combines them.
    parameters : CombinationParameters
        How to combine.
    progress : callable, optional
        See `combine_layer`.

    Returns
    -------
    tuple of ChipRecord
        One record a chip.

    Raises
    ------
    CombineError
        If a chip cannot be read.
    """
    total = _number_of_steps(layer.chips, parameters)
    records = []
    for number, item in enumerate(layer.chips):
        if item.in_grid:
            _report(progress, f"Drizzling {item.name}", total - len(layer.chips) + number, total)
        records.append(_drizzle_chip(layer, number, engine, parameters))
    _report(progress, "Combined", total, total)
    return tuple(records)


def _drizzle_chip(
    layer: PreparedLayer, number: int, engine: Engine, parameters: CombinationParameters
) -> ChipRecord:
    """Mask, weigh and drizzle one chip with its sky taken off."""
    item = layer.chips[number]
    level, measured, group = _sky_of(layer, item)
    n_static = n_good = n_used = 0
    if item.in_grid:
        science, data_quality = _read(item)
        good = good_pixel_mask(data_quality, parameters.final_bits, science)
        if data_quality.all() and good_pixel_mask(_EVERY_FLAG, parameters.final_bits).all():
            # Where flags are let pass, a chip that is flagged all over still says nothing.
            good[...] = False
        if layer.static_masks is not None:
            n_static = layer.static_masks.apply(item.signature, good)
        weight = exposure_weights(good, weight_per_pixel(item.chip.exposure_time, parameters.final_wt_scl))
        n_good = int(np.count_nonzero(weight))
        blank_unweighted(science, weight)
        science -= np.float32(level)
        n_used = _add(engine, item, science, weight, layer.grid.scale / item.chip.nominal_scale, number)
    else:
        _LOG.info("%s does not overlap the output grid: it contributes nothing.", item.name)
    return ChipRecord(
        filename=item.exposure.filename,
        rootname=item.chip.rootname,
        extver=item.chip.extver,
        chip_id=item.chip.chip_id,
        exposure_time=item.chip.exposure_time,
        in_grid=item.in_grid,
        sky_level=level,
        sky_measured=measured,
        sky_group=group,
        n_static=n_static,
        n_good_pixels=n_good,
        n_used=n_used,
    )


def _survey(
    chips: Sequence[PreparedChip],
    parameters: CombinationParameters,
    static_masks: StaticMasks | None,
    meter: SkyMeter | None,
    progress: Progress | None,
) -> None:
    """Read the chips once for the static masks and the sky."""
    total = _number_of_steps(chips, parameters)
    for number, item in enumerate(chips):
        if item.pixel_map is None or (meter is None and not item.in_grid):
            continue
        _report(progress, f"Measuring {item.name}", number, total)
        science, data_quality = _read(item)
        low = None
        if static_masks is not None:
            good = good_pixel_mask(data_quality, parameters.final_bits, science)
            low = static_masks.add(item.signature, science, good)
        if meter is not None:
            usable = good_pixel_mask(data_quality, parameters.sky_bits, science)
            if low is not None and parameters.use_static:
                usable &= ~low
            meter.add_chip(
                item.exposure_number,
                science,
                usable,
                item.pixel_map,
                item.chip.nominal_scale,
                _file_unit(item.chip),
            )


def _place_chips(number: int, exposure: Exposure, grid: OutputGrid) -> list[PreparedChip]:
    """Map the chips of an exposure onto the grid."""
    from shapely import box

    from multivisit.exposures.pixel_map import PixelMap
    from multivisit.sky.footprint import POINTS_PER_EDGE, sky_polygon_in_plane

    rows, columns = grid.shape
    frame = box(-0.5, -0.5, columns - 0.5, rows - 0.5)
    try:
        outlines = [sky_polygon_in_plane(*chip.outline(POINTS_PER_EDGE), grid.wcs) for chip in exposure.chips]
    except MultivisitError as error:
        raise _chip_error(exposure, exposure.chips[0], error) from error
    touches = [outline.intersection(frame).area > _SMALLEST_AREA for outline in outlines]
    placed = []
    for chip, outline, in_grid in zip(exposure.chips, outlines, touches, strict=True):
        pixel_map = None
        # Chips beside the grid are mapped too if another one of their exposure is in it: they tell its sky.
        if any(touches) and not outline.is_empty:
            try:
                pixel_map = PixelMap.fit(chip.wcs(), chip.shape, grid.wcs)
            except MultivisitError as error:
                raise _chip_error(exposure, chip, error) from error
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


def _sky_statistic(parameters: CombinationParameters) -> SkyStatistic:
    return SkyStatistic(
        statistic=parameters.skystat,
        n_clips=parameters.skyclip,
        lower_sigma=parameters.skylsigma,
        upper_sigma=parameters.skyusigma,
        bin_width=parameters.skywidth,
        lower=parameters.skylower,
        upper=parameters.skyupper,
    )


def _sky_of(layer: PreparedLayer, item: PreparedChip) -> tuple[float, bool, int]:
    """Give a chip's sky level per native pixel, whether it was measured, and its group."""
    if layer.sky is None:
        return 0.0, False, 0
    number = item.exposure_number
    level = float(layer.sky.brightness[number]) * item.chip.nominal_scale**2
    return level, layer.sky.measured[number], layer.sky.groups[number]


def _file_unit(chip: Chip) -> float:
    """Give the electrons/s in one unit of a chip's file."""
    return chip.gain if chip.units.endswith("/S") else chip.gain / chip.exposure_time


def _read(item: PreparedChip) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    try:
        # Values beyond all measure may overflow in the unit: good_pixel_mask leaves them out.
        with np.errstate(over="ignore", invalid="ignore"):
            return item.chip.read_science(), item.chip.read_data_quality()
    except (MultivisitError, OSError, ValueError) as error:
        raise _chip_error(item.exposure, item.chip, error) from error


def _add(
    engine: Engine,
    item: PreparedChip,
    science: NDArray[np.float32],
    weight: NDArray[np.float32],
    scale_ratio: float,
    number: int,
) -> int:
    if item.pixel_map is None:
        raise CombineError(f"{item.name}: has no pixel map though it overlaps the output grid.")
    try:
        return engine.add_chip(science, weight, item.pixel_map, scale_ratio, number)
    except ValueError as error:
        raise _chip_error(item.exposure, item.chip, error) from error


def _chip_error(exposure: Exposure, chip: Chip, error: Exception) -> CombineError:
    return CombineError(
        f"{exposure.path}[SCI,{chip.extver}]: cannot be combined: {error} Mend the file or leave it out."
    )


def _number_of_steps(chips: Sequence[PreparedChip], parameters: CombinationParameters) -> int:
    """Count the steps of a layer: each chip once, twice where it is surveyed first."""
    return len(chips) * (2 if parameters.skysub or parameters.static else 1)


def _report(progress: Progress | None, message: str, done: int, total: int) -> None:
    if progress is not None:
        progress(message, done, total)


def _scale_observed(science: NDArray[np.float32], weight: NDArray[np.float32], factor: float) -> None:
    """Multiply the science plane where it has weight, in place."""
    for first in range(0, science.shape[0], _SCALE_ROWS):
        rows = slice(first, first + _SCALE_ROWS)
        science[rows][weight[rows] != 0.0] *= np.float32(factor)
