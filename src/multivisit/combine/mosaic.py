"""The mosaic of one layer: all exposures of one detector and filter on the grid of a sky cell.

``prepare_layer`` finds where the chips fall, measures the sky and collects the static masks;
``combine_strips`` combines the chips strip by strip and hands the finished rows on;
``combine_layer`` does the whole and gives the planes.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine.chip_cache import ChipPixels
from multivisit.combine.coverage import (
    MosaicStatistics,
    ObservedWeights,
    PixelRuns,
    mosaic_statistics,
    polygon_runs,
)
from multivisit.combine.engines import context_planes
from multivisit.combine.sky_levels import SkyLevels, SkyMeter
from multivisit.combine.sky_samples import SkyStatistic, patch_spacing
from multivisit.combine.sweep import SweepChip, SweepPlan, run_sweep
from multivisit.combine.weights import StaticMasks, good_pixel_mask, weight_per_pixel
from multivisit.errors import CombineError, MultivisitError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from shapely import MultiPolygon, Polygon

    from multivisit.combine.strips import RowSink
    from multivisit.exposures.model import Chip, Exposure
    from multivisit.exposures.pixel_map import PixelMap
    from multivisit.plan.parameters import CombinationParameters
    from multivisit.sky.grid import OutputGrid

    Progress = Callable[[str, int, int], None]

__all__ = [
    "ChipRecord",
    "LayerMosaic",
    "MosaicStatistics",
    "MosaicSummary",
    "PreparedChip",
    "PreparedLayer",
    "combine_layer",
    "combine_strips",
    "prepare_layer",
]

_LOG = logging.getLogger(__name__)

# Areas below this are rounding noise of outlines that only touch the grid, in square pixels.
_SMALLEST_AREA = 1e-5
_BLOCK_ROWS = 256
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
class MosaicSummary:
    """How the planes of a layer came about, without the planes."""

    chips: tuple[ChipRecord, ...]
    """One record a chip, in the order of combination."""

    statistics: MosaicStatistics
    """Statistics over the observed pixels."""


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

    def expected_records(self) -> tuple[ChipRecord, ...]:
        """Give the records as far as they are known before combination.

        Returns
        -------
        tuple of ChipRecord
            Chips that overlap the grid count as used, with one pixel.
        """
        return tuple(self._expected_record(item) for item in self.chips)

    def covered(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Tell which rows and which columns of the grid some chip covers.

        Returns
        -------
        rows, columns : ndarray of bool
            Shapes (ny,) and (nx,).
        """
        rows = np.zeros(self.grid.shape[0], dtype=bool)
        steps = np.zeros(self.grid.shape[1] + 1, dtype=np.int64)
        for item in self.chips:
            rows[item.runs.row] = True
            np.add.at(steps, item.runs.start, 1)
            np.add.at(steps, item.runs.stop, -1)
        return rows, np.cumsum(steps)[:-1] > 0

    def _expected_record(self, item: PreparedChip) -> ChipRecord:
        level, measured, group = _sky_of(self, item)
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
            n_static=0,
            n_good_pixels=int(item.in_grid),
            n_used=int(item.in_grid),
        )

    def sweep_plan(self, parameters: CombinationParameters) -> SweepPlan:
        """Divide the work into strips.

        Parameters
        ----------
        parameters : CombinationParameters
            How to combine.

        Returns
        -------
        SweepPlan
            Strips, the chips that they need, and the memory that they take.
        """
        chips = [
            SweepChip(number, item.chip.shape, item.pixel_map, self.grid.scale / item.chip.nominal_scale)
            for number, item in enumerate(self.chips)
            if item.in_grid and item.pixel_map is not None
        ]
        context_chips = len(self.chips) if parameters.context else 0
        return SweepPlan(self.grid.shape, chips, context_chips, parameters.final_kernel)


def combine_layer(
    members: Sequence[Exposure],
    grid: OutputGrid,
    parameters: CombinationParameters,
    *,
    threads: int = 1,
    memory: int | None = None,
    progress: Progress | None = None,
) -> LayerMosaic:
    """Combine the exposures of a layer and keep the whole mosaic in memory.

    Parameters
    ----------
    members : sequence of Exposure
        Exposures in the order in which they are combined and numbered in the context.
    grid : OutputGrid
        Output grid: a sky cell or a part of it.
    parameters : CombinationParameters
        How to combine.
    threads, memory : int, optional
        See `combine_strips`; the mosaic's own planes come on top of the memory.
    progress : callable, optional
        Called with a message, the number of steps done and their total number, a step being a chip.

    Returns
    -------
    LayerMosaic
        Planes, records and statistics.

    Raises
    ------
    CombineError
        If a chip cannot be read or mapped, no exposure falls in the grid, or no good pixel does.
    ParameterError
        If the parameters are impossible, or the memory is not enough.
    """
    layer = prepare_layer(members, grid, parameters, progress=progress)
    planes = _Planes(grid.shape, context_planes(len(layer.chips)) if parameters.context else 0)
    summary = combine_strips(layer, parameters, planes, threads=threads, memory=memory, progress=progress)
    return LayerMosaic(planes.science, planes.weight, planes.context, summary.chips, summary.statistics)


class _Planes:
    """Takes rows into whole planes."""

    def __init__(self, shape: tuple[int, int], n_context: int) -> None:
        self.science = np.empty(shape, dtype=np.float32)
        self.weight = np.empty(shape, dtype=np.float32)
        self.context = np.empty((n_context, *shape), dtype=np.int32) if n_context else None

    def write_rows(
        self,
        first_row: int,
        science: NDArray[np.float32],
        weight: NDArray[np.float32],
        context: NDArray[np.int32] | None,
    ) -> None:
        """Copy some rows."""
        rows = slice(first_row, first_row + len(science))
        self.science[rows], self.weight[rows] = science, weight
        if self.context is not None and context is not None:
            self.context[:, rows] = context

    def read_weight(self, first_row: int, last_row: int) -> NDArray[np.float32]:
        """Give some rows of the weight plane."""
        return self.weight[first_row:last_row]


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
            # One lattice a projection cell: the levels do not depend on which part of it is made.
            grid.ltv,
        )
    if meter is not None or static_masks is not None:
        _survey(chips, parameters, static_masks, meter, progress)
    return PreparedLayer(grid, chips, None if meter is None else meter.levels(), static_masks)


def combine_strips(
    layer: PreparedLayer,
    parameters: CombinationParameters,
    sink: RowSink,
    *,
    threads: int = 1,
    memory: int | None = None,
    progress: Progress | None = None,
) -> MosaicSummary:
    """Combine the chips of a layer strip by strip and hand the finished rows on.

    Each chip is read when the first strip needs it. The results are the same, bit by bit, for any number of
    threads and any memory.

    Parameters
    ----------
    layer : PreparedLayer
        The layer.
    parameters : CombinationParameters
        How to combine.
    sink : RowSink
        Takes the rows, from several threads if there are any.
    threads : int
        Most threads that may run.
    memory : int, optional
        Bytes that strips and chips may take; None for no limit.
    progress : callable, optional
        See `combine_layer`.

    Returns
    -------
    MosaicSummary
        Records and statistics.

    Raises
    ------
    CombineError
        If a chip cannot be read, or no good pixel falls in the grid.
    ParameterError
        If the parameters are impossible, or the memory is not enough.
    """
    total = _number_of_steps(layer.chips, parameters)
    done = itertools.count(total - len(layer.chips))
    inside = [number for number, item in enumerate(layer.chips) if item.in_grid]
    _report(progress, f"Drizzling {layer.chips[inside[0]].name}", next(done), total)
    good_pixels: dict[int, tuple[int, int]] = {}

    def load(number: int) -> ChipPixels:
        pixels = _load_chip(layer, number, parameters)
        n_good = int(np.count_nonzero(pixels.good)) if np.float32(pixels.weight) else 0
        good_pixels[number] = (n_good, pixels.n_static)
        return pixels

    def tell(number: int) -> None:
        step = next(done)
        if step < total:
            _report(progress, f"Drizzled {layer.chips[number].name}", step, total)

    for number, item in enumerate(layer.chips):
        if not item.in_grid:
            _LOG.info("%s does not overlap the output grid: it contributes nothing.", item.name)
            tell(number)
    weights = _observed_weights(layer.chips, inside, layer.grid)
    n_used = run_sweep(
        layer.sweep_plan(parameters),
        parameters,
        load,
        _Counting(sink, weights),
        science_factor=_science_factor(layer, inside, parameters),
        threads=threads,
        memory=memory,
        on_chip=tell,
    )
    if not n_used.total():
        n_exposures = len({item.exposure_number for item in layer.chips})
        raise CombineError(
            f"{layer.grid.sky_cell_id}: none of the {n_exposures} exposures has a good pixel in the output "
            f"grid (good DQ bits: {parameters.final_bits}); expected at least one. Check their DQ extensions."
        )
    records = tuple(
        replace(record, n_used=n_used[number], n_good_pixels=n_good, n_static=n_static)
        for number, record in enumerate(layer.expected_records())
        for n_good, n_static in (good_pixels.get(number, (0, 0)),)
    )
    statistics = _statistics(layer, weights, [k for k in inside if n_used[k]], inside, sink)
    _report(progress, "Combined", total, total)
    return MosaicSummary(records, statistics)


class _Counting:
    """Counts the weights of rows on their way."""

    def __init__(self, sink: RowSink, weights: ObservedWeights) -> None:
        self._sink = sink
        self._weights = weights

    def write_rows(
        self,
        first_row: int,
        science: NDArray[np.float32],
        weight: NDArray[np.float32],
        context: NDArray[np.int32] | None,
    ) -> None:
        """Count the weights and hand the rows on."""
        self._weights.add_rows(first_row, weight)
        self._sink.write_rows(first_row, science, weight, context)

    def read_weight(self, first_row: int, last_row: int) -> NDArray[np.float32]:
        """Read rows back."""
        return self._sink.read_weight(first_row, last_row)


def _observed_weights(
    chips: Sequence[PreparedChip], numbers: Sequence[int], grid: OutputGrid
) -> ObservedWeights:
    used = [chips[number] for number in numbers]
    return ObservedWeights([c.runs for c in used], [c.chip.exposure_time for c in used], grid.shape[1])


def _statistics(
    layer: PreparedLayer, weights: ObservedWeights, used: list[int], counted: list[int], sink: RowSink
) -> MosaicStatistics:
    """Measure the statistics; a chip without any good pixel adds neither depth nor time."""
    if used != counted:
        again = _observed_weights(layer.chips, used, layer.grid)
        again.add_all(sink.read_weight, weights)
        weights = again
    rows, columns = layer.grid.cell_shape or layer.grid.shape
    return mosaic_statistics(weights, sink.read_weight, rows * columns)


def _science_factor(layer: PreparedLayer, inside: Sequence[int], parameters: CombinationParameters) -> float:
    """Give the factor from electrons/s to the units asked for: the exposures' total time for electrons."""
    if parameters.final_units != "counts":
        return 1.0
    times: dict[int, float] = {}
    for number in inside:
        item = layer.chips[number]
        if item.exposure_number not in times and _has_good_pixel(layer, number, parameters):
            times[item.exposure_number] = item.exposure.exposure_time
    return sum(times.values()) or 1.0


def _has_good_pixel(layer: PreparedLayer, number: int, parameters: CombinationParameters) -> bool:
    """Tell whether a chip has a pixel of weight whose centre falls in the grid."""
    item = layer.chips[number]
    good = _load_chip(layer, number, parameters).good
    rows, columns = layer.grid.shape
    for first in range(0, len(good), _BLOCK_ROWS):
        block = good[first : first + _BLOCK_ROWS]
        if item.pixel_map is not None and block.any():
            u, v = np.moveaxis(item.pixel_map.evaluate(first, first + len(block)), -1, 0)[:, block]
            if np.any((u >= -0.5) & (v >= -0.5) & (u < columns - 0.5) & (v < rows - 0.5)):
                return True
    return False


def _load_chip(layer: PreparedLayer, number: int, parameters: CombinationParameters) -> ChipPixels:
    """Read a chip, mask it and take its sky off."""
    item = layer.chips[number]
    science, data_quality = _read(item)
    good = np.empty(science.shape, dtype=np.bool_)
    for first in range(0, len(good), _BLOCK_ROWS):
        # A block of rows at a time, so that no plane of intermediate results takes memory.
        rows = slice(first, first + _BLOCK_ROWS)
        good[rows] = good_pixel_mask(data_quality[rows], parameters.final_bits, science[rows])
    if data_quality.all() and good_pixel_mask(_EVERY_FLAG, parameters.final_bits).all():
        # Where flags are let pass, a chip that is flagged all over still says nothing.
        good[...] = False
    n_static = 0 if layer.static_masks is None else layer.static_masks.apply(item.signature, good)
    # No NaN or infinity may spread from pixels of no weight.
    science[~good] = 0.0
    science -= np.float32(_sky_of(layer, item)[0])
    return ChipPixels(
        science, good, weight_per_pixel(item.chip.exposure_time, parameters.final_wt_scl), n_static
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
