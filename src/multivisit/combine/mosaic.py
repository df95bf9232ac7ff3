"""The mosaic of one layer: all exposures of one detector and filter on the grid of a sky cell.

``place_layer`` finds where the chips fall; ``survey_layer`` measures the sky and collects the static masks;
``combine_strips`` combines the chips strip by strip and hands the finished rows on;
``combine_layer`` does the whole and gives the planes.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from multivisit.combine import _pixels
from multivisit.combine.chip_cache import ChipPixels
from multivisit.combine.chip_noise import chip_noise, sky_statistic
from multivisit.combine.chip_parts import ChipCells, ChipParts
from multivisit.combine.coverage import COUNTING_BYTES, ObservedWeights, mosaic_statistics
from multivisit.combine.engines import context_planes
from multivisit.combine.layer_outliers import (
    missing_full_bits,
    rejection_chips,
    rejection_rule,
    separate_grid,
)
from multivisit.combine.placement import PreparedChip, place_chips
from multivisit.combine.planes import release_planes
from multivisit.combine.records import ChipRecord, LayerMosaic, MosaicSummary
from multivisit.combine.rejection import CosmicRayMasks, find_outliers
from multivisit.combine.sky_file import levels_of_sky_file
from multivisit.combine.sky_levels import SkyLevels, SkyMeter
from multivisit.combine.sky_samples import patch_memory, patch_spacing
from multivisit.combine.survey import (
    SURVEY_BYTES,
    SurveyMemory,
    file_unit,
    read_good_rows,
    read_prepared,
    survey_chips,
)
from multivisit.combine.sweep import SweepChip, SweepPlan, run_sweep
from multivisit.combine.weights import PixelTest, StaticMasks, weight_per_pixel
from multivisit.errors import CombineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from multivisit.combine.coverage import MosaicStatistics
    from multivisit.combine.rejection import StackPart
    from multivisit.combine.strips import RowSink
    from multivisit.combine.survey import SurveyedChips
    from multivisit.exposures.model import Exposure
    from multivisit.plan.parameters import CombinationParameters
    from multivisit.sky.grid import OutputGrid

    Progress = Callable[[str, int, int], None]
    TestedChip = Callable[[PreparedChip, NDArray[np.float32], NDArray[np.bool_]], None]

__all__ = [
    "IntermediateSink",
    "PreparedLayer",
    "combine_layer",
    "combine_strips",
    "place_layer",
    "prepare_layer",
    "survey_layer",
]

_LOG = logging.getLogger(__name__)


class IntermediateSink(Protocol):
    """Takes what outlier rejection makes on its way (`multivisit.products.intermediate`)."""

    def single(self, item: PreparedChip, grid: OutputGrid, parts: Sequence[StackPart]) -> None:
        """Take a separate image: one of the exposure's chips, the stack's grid, the parts by rows."""

    def median(self, grid: OutputGrid, bands: Iterable[tuple[int, NDArray[np.float32]]]) -> None:
        """Take the combined stack: its grid, first rows and rows."""


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

    surveyed: SurveyedChips | None = field(default=None, repr=False)
    """Chips that have been read and kept; None where nothing was read."""

    error_plane: bool = False
    """Whether an error plane is to be made."""

    @property
    def nbytes(self) -> int:
        """Bytes that the static masks and the chips take that have been kept."""
        masks = 0 if self.static_masks is None else self.static_masks.nbytes
        return masks + (0 if self.surveyed is None else self.surveyed.nbytes)

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

    def patch_memory(self, parameters: CombinationParameters) -> int:
        """Estimate the bytes that the sky's measurements take until the levels are known.

        Parameters
        ----------
        parameters : CombinationParameters
            How to combine.
        """
        if not (parameters.skysub and self.sky is None and "match" in parameters.skymethod):
            return 0
        n_pixels = sum(c.chip.shape[0] * c.chip.shape[1] for c in self.chips)
        return patch_memory(n_pixels, max(c.chip.nominal_scale for c in self.chips))

    def _survey_memory(self, parameters: CombinationParameters) -> int:
        """Give the bytes that the survey takes at least; 0 where there is none, or it has been made."""
        if self.surveyed is not None or not (parameters.static or (parameters.skysub and self.sky is None)):
            return 0
        largest = max(c.chip.shape[0] * c.chip.shape[1] for c in self.chips)
        return largest * SURVEY_BYTES + self.patch_memory(parameters)

    def _in_parts(self, item: PreparedChip, parameters: CombinationParameters) -> bool:
        """Tell whether a chip is read in parts: where its pixels share a weight that is known beforehand."""
        one_weight = parameters.final_wht_type == "EXP" and not self.error_plane and not parameters.driz_cr
        return one_weight and ChipParts.possible(item)

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
            SweepChip(
                number,
                item.chip.shape,
                item.pixel_map,
                self.grid.scale / item.chip.nominal_scale,
                in_parts=self._in_parts(item, parameters),
            )
            for number, item in enumerate(self.chips)
            if item.in_grid and item.pixel_map is not None
        ]
        context_chips = len(self.chips) if parameters.context else 0
        masked = (
            {c.signature: c.chip.shape[0] * c.chip.shape[1] for c in self.chips} if parameters.static else {}
        )
        # Masks of cosmic rays take a bit a pixel.
        hit = sum(chip.shape[0] * -(-chip.shape[1] // 8) for chip in chips) if parameters.driz_cr else 0
        return SweepPlan(
            self.grid.shape,
            chips,
            context_chips,
            parameters.final_kernel,
            held=sum(masked.values()) + hit + COUNTING_BYTES,
            survey=sum(masked.values()) + self._survey_memory(parameters),
            weight_planes=parameters.final_wht_type == "ERR",
            variance=self.error_plane,
        )


def combine_layer(
    members: Sequence[Exposure],
    grid: OutputGrid,
    parameters: CombinationParameters,
    *,
    error_plane: bool = False,
    threads: int = 1,
    memory: int | None = None,
    scratch_folder: Path | None = None,
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
    error_plane : bool
        Whether to make a plane of standard errors.
    threads, memory : int, optional
        See `combine_strips`; the mosaic's own planes come on top of the memory.
    scratch_folder : path, optional
        See `combine_strips`.
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
    layer = prepare_layer(
        members,
        grid,
        parameters,
        error_plane=error_plane,
        threads=threads,
        memory=memory,
        progress=progress,
    )
    n_context = context_planes(len(layer.chips)) if parameters.context else 0
    planes = _Planes(grid.shape, n_context, error_plane=error_plane)
    summary = combine_strips(
        layer,
        parameters,
        planes,
        threads=threads,
        memory=memory,
        scratch_folder=scratch_folder,
        progress=progress,
    )
    return LayerMosaic(
        planes.science, planes.weight, planes.context, summary.chips, summary.statistics, planes.error
    )


class _Planes:
    """Takes rows into whole planes."""

    def __init__(self, shape: tuple[int, int], n_context: int, *, error_plane: bool) -> None:
        self.error = np.empty(shape, dtype=np.float32) if error_plane else None
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

    def write_error(self, first_row: int, error: NDArray[np.float32]) -> None:
        """Copy some rows of the error plane."""
        if self.error is not None:
            self.error[first_row : first_row + len(error)] = error

    def read_weight(self, first_row: int, last_row: int) -> NDArray[np.float32]:
        """Give some rows of the weight plane."""
        return self.weight[first_row:last_row]


def prepare_layer(
    members: Sequence[Exposure],
    grid: OutputGrid,
    parameters: CombinationParameters,
    *,
    error_plane: bool = False,
    threads: int = 1,
    memory: int | None = None,
    progress: Progress | None = None,
) -> PreparedLayer:
    """Find where the chips fall, measure the sky and collect the static masks.

    Chips are read only if the sky or the static masks ask for it; they are kept for `combine_strips` as far
    as memory allows.

    Parameters
    ----------
    members : sequence of Exposure
        Exposures in order.
    grid : OutputGrid
        Output grid.
    parameters : CombinationParameters
        How to combine.
    error_plane : bool
        Whether an error plane is to be made.
    threads : int
        Most threads that may run.
    memory : int, optional
        Bytes that the survey, and then strips and chips may take; None for no limit.
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
    ParameterError
        If the memory is not enough.
    """
    layer = place_layer(members, grid, parameters, error_plane=error_plane)
    return survey_layer(layer, parameters, threads=threads, memory=memory, progress=progress)


def place_layer(
    members: Sequence[Exposure],
    grid: OutputGrid,
    parameters: CombinationParameters,
    *,
    error_plane: bool = False,
) -> PreparedLayer:
    """Find where the chips fall; no pixel is read.

    Parameters
    ----------
    members, grid, parameters, error_plane
        See `prepare_layer`.

    Returns
    -------
    PreparedLayer
        Chips, with sky levels only if a file gives them, and with static masks that are still empty.

    Raises
    ------
    CombineError
        If a chip cannot be mapped, or no exposure falls in the grid.
    """
    chips = tuple(
        chip for number, exposure in enumerate(members) for chip in place_chips(number, exposure, grid)
    )
    if not any(c.in_grid for c in chips):
        raise CombineError(
            f"{grid.sky_cell_id}: none of the {len(members)} exposures falls in the output grid of "
            f"{grid.shape[1]} x {grid.shape[0]} pixels. Choose the sky cells that they touch."
        )
    static_masks = StaticMasks(parameters.static_sig) if parameters.static else None
    sky = None
    if parameters.skysub and parameters.skyfile:
        sky = levels_of_sky_file(Path(parameters.skyfile), members)
    return PreparedLayer(grid, chips, sky, static_masks, error_plane=error_plane)


def survey_layer(
    layer: PreparedLayer,
    parameters: CombinationParameters,
    *,
    threads: int = 1,
    memory: int | None = None,
    progress: Progress | None = None,
) -> PreparedLayer:
    """Measure the sky and collect the static masks.

    Parameters
    ----------
    layer : PreparedLayer
        A layer that has been placed.
    parameters, threads, memory, progress
        See `prepare_layer`.

    Returns
    -------
    PreparedLayer
        The same with sky levels, and with the chips that have been kept.

    Raises
    ------
    CombineError
        If a chip cannot be read.
    ParameterError
        If the memory is not enough.
    """
    chips, grid, static_masks = layer.chips, layer.grid, layer.static_masks
    meter = None
    if parameters.skysub and layer.sky is None:
        meter = SkyMeter(
            parameters.skymethod,
            sky_statistic(parameters),
            len({c.exposure_number for c in chips}),
            grid.scale,
            patch_spacing(max(c.chip.nominal_scale for c in chips), grid.scale),
            # One lattice a projection cell: the levels do not depend on which part of it is made.
            grid.ltv,
        )
    if meter is None and static_masks is None:
        return layer
    plan = layer.sweep_plan(parameters)
    # Outlier rejection comes before the sweep and needs the memory itself.
    kept = 0 if parameters.driz_cr else plan.memory_for_kept(threads, memory)
    n_pixels = [c.chip.shape[0] * c.chip.shape[1] for c in chips]
    maps = sum(c.pixel_map.residual.nbytes for c in chips if c.pixel_map is not None)
    surveyed = survey_chips(
        chips,
        parameters,
        static_masks,
        meter,
        SurveyMemory.share(
            n_pixels, threads, memory, kept, maps=maps, patches=layer.patch_memory(parameters)
        ),
        lambda name, step: _report(progress, f"Measuring {name}", step, _number_of_steps(chips, parameters)),
    )
    return replace(layer, sky=layer.sky if meter is None else meter.levels(), surveyed=surveyed)


def combine_strips(
    layer: PreparedLayer,
    parameters: CombinationParameters,
    sink: RowSink,
    *,
    threads: int = 1,
    memory: int | None = None,
    scratch_folder: Path | None = None,
    on_tested: TestedChip | None = None,
    intermediate: IntermediateSink | None = None,
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
    scratch_folder : path, optional
        Where outlier rejection keeps its temporary file; by default the system's folder for such files.
    on_tested : callable, optional
        Called by outlier rejection with each chip, what the other exposures say that its pixels are (in the
        units of its file, sky included, NaN where unknown) and its hit pixels, from any thread.
    intermediate : IntermediateSink, optional
        Takes the separate images and their median.
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
    # What comes now takes other memory than planes of chips.
    release_planes()
    total = _number_of_steps(layer.chips, parameters)
    done = itertools.count(total - len(layer.chips))
    inside = [number for number, item in enumerate(layer.chips) if item.in_grid]
    masks = _reject_outliers(
        layer, parameters, scratch_folder, threads, memory, on_tested, intermediate, progress
    )
    _report(progress, f"Drizzling {layer.chips[inside[0]].name}", next(done), total)
    good_pixels: dict[int, tuple[int, int, int]] = {}

    def load(number: int) -> ChipPixels:
        pixels = _load_chip(layer, number, parameters, masks)
        n_good = pixels.n_good if np.float32(pixels.weight) else 0
        good_pixels[number] = (n_good, pixels.n_static, pixels.n_rejected)
        return pixels

    plan = layer.sweep_plan(parameters)
    parts = _chips_in_parts(layer, plan, parameters)

    def tell(number: int) -> None:
        if number in parts and number not in good_pixels:
            n_good, n_static = parts[number].finish()
            good_pixels[number] = (n_good if np.float32(parts[number].weight) else 0, n_static, 0)
        step = next(done)
        if step < total:
            _report(progress, f"Drizzled {layer.chips[number].name}", step, total)

    for number, item in enumerate(layer.chips):
        if not item.in_grid:
            _LOG.info("%s does not overlap the output grid: it contributes nothing.", item.name)
            tell(number)
    weights = _observed_weights(layer, inside, parameters)
    n_used = run_sweep(
        plan,
        parameters,
        load,
        _Counting(sink, weights),
        science_factor=_science_factor(layer, inside, parameters, masks),
        threads=threads,
        memory=memory,
        surveyed=layer.surveyed,
        parts=parts,
        on_chip=tell,
    )
    if not n_used.total():
        n_exposures = len({item.exposure_number for item in layer.chips})
        raise CombineError(
            f"{layer.grid.sky_cell_id}: none of the {n_exposures} exposures has a good pixel in the output "
            f"grid (good DQ bits: {parameters.final_bits}); expected at least one. Check their "
            "SCI extensions for values that are not finite, and their DQ extensions for flags."
        )
    records = tuple(
        replace(record, n_used=n_used[number], n_good_pixels=n_good, n_static=n_static, n_rejected=n_rejected)
        for number, record in enumerate(layer.expected_records())
        for n_good, n_static, n_rejected in (good_pixels.get(number, (0, 0, 0)),)
    )
    statistics = _statistics(layer, parameters, weights, [k for k in inside if n_used[k]], inside, sink)
    _report(progress, "Combined", total, total)
    return MosaicSummary(records, statistics, layer.sky)


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

    def write_error(self, first_row: int, error: NDArray[np.float32]) -> None:
        """Hand errors on."""
        self._sink.write_error(first_row, error)

    def read_weight(self, first_row: int, last_row: int) -> NDArray[np.float32]:
        """Read rows back."""
        return self._sink.read_weight(first_row, last_row)


def _observed_weights(
    layer: PreparedLayer, numbers: Sequence[int], parameters: CombinationParameters
) -> ObservedWeights:
    used = [layer.chips[number] for number in numbers]
    times = [item.chip.exposure_time for item in used]
    per_second = [
        weight_per_pixel(time, parameters.final_wt_scl)
        / time
        * (layer.grid.scale / item.chip.nominal_scale) ** 2
        for item, time in zip(used, times, strict=True)
        if time > 0.0 and parameters.final_wht_type == "EXP"
    ]
    return ObservedWeights(
        [item.runs for item in used],
        times,
        layer.grid.shape[1],
        sum(per_second) / len(per_second) if per_second else None,
    )


def _statistics(
    layer: PreparedLayer,
    parameters: CombinationParameters,
    weights: ObservedWeights,
    used: list[int],
    counted: list[int],
    sink: RowSink,
) -> MosaicStatistics:
    """Measure the statistics; a chip without any good pixel adds neither depth nor time."""
    if used != counted:
        again = _observed_weights(layer, used, parameters)
        again.add_all(sink.read_weight, weights)
        weights = again
    rows, columns = layer.grid.cell_shape or layer.grid.shape
    return mosaic_statistics(weights, sink.read_weight, rows * columns)


def _science_factor(
    layer: PreparedLayer, inside: Sequence[int], parameters: CombinationParameters, masks: CosmicRayMasks
) -> float:
    """Give the factor from electrons/s to the units asked for: the exposures' total time for electrons."""
    if parameters.final_units != "counts":
        return 1.0
    times: dict[int, float] = {}
    for number in inside:
        item = layer.chips[number]
        if item.exposure_number not in times and _has_good_pixel(
            layer, number, parameters, masks.get(number)
        ):
            times[item.exposure_number] = item.exposure.exposure_time
    return sum(times.values()) or 1.0


def _has_good_pixel(
    layer: PreparedLayer, number: int, parameters: CombinationParameters, hit: NDArray[np.bool_] | None
) -> bool:
    """Tell whether a chip has a pixel of weight whose centre falls in the grid; reads as far as needed."""
    item = layer.chips[number]
    test = PixelTest(parameters.combined_bits)
    masked = None if layer.static_masks is None else layer.static_masks.mask(item.signature)
    rows, columns = layer.grid.shape
    seen, has_unflagged = False, not test.passes_all_flags
    for first, good, unflagged in read_good_rows(item, test):
        has_unflagged |= unflagged
        if masked is not None:
            good &= ~masked[first : first + len(good)]
        if hit is not None:
            good &= ~hit[first : first + len(good)]
        if not seen and item.pixel_map is not None and good.any():
            u, v = np.moveaxis(item.pixel_map.evaluate(first, first + len(good)), -1, 0)[:, good]
            seen = bool(np.any((u >= -0.5) & (v >= -0.5) & (u < columns - 0.5) & (v < rows - 0.5)))
        if seen and has_unflagged:
            return True
    return False


def _chips_in_parts(
    layer: PreparedLayer, plan: SweepPlan, parameters: CombinationParameters
) -> dict[int, ChipParts]:
    """Give the chips that can be read in parts."""
    test = PixelTest(parameters.combined_bits)
    masks = layer.static_masks
    found = {}
    for number, chip in plan.chips.items():
        item = layer.chips[number]
        if chip.in_parts:
            found[number] = ChipParts(
                item,
                ChipCells.of(chip.pixel_map, chip.shape, chip.scale_ratio, layer.grid.shape[1]),
                test,
                None if masks is None else masks.mask(item.signature),
                _sky_of(layer, item)[0],
                weight_per_pixel(item.chip.exposure_time, parameters.final_wt_scl),
            )
    return found


def _load_chip(
    layer: PreparedLayer, number: int, parameters: CombinationParameters, masks: CosmicRayMasks
) -> ChipPixels:
    """Read a chip unless the survey has kept it, mask it, take its sky off and weigh its pixels."""
    item = layer.chips[number]
    test = PixelTest(parameters.combined_bits)
    raw = (layer.surveyed and layer.surveyed.take(number)) or read_prepared(item, test)
    if raw.all_flagged and test.passes_all_flags:
        # Where flags are let pass, a chip that is flagged all over still says nothing.
        raw.good[...] = False
    hit = masks.get(number)
    n_rejected = 0
    if hit is not None:
        hit &= raw.good
        n_rejected = int(np.count_nonzero(hit))
        raw.good[hit] = False
    masked = None if layer.static_masks is None else layer.static_masks.mask(item.signature)
    scale_ratio = layer.grid.scale / item.chip.nominal_scale
    noise = chip_noise(
        item, raw.science, raw.good, parameters, sky_statistic(parameters), scale_ratio, layer.error_plane
    )
    sky = _sky_of(layer, item)[0]
    n_good, n_static = _pixels.take_off(raw.science, raw.good, masked, raw.good.size, sky)
    plane = noise.weight_plane
    if plane is not None:
        plane[~raw.good] = 0.0
        n_good = int(np.count_nonzero(plane))
    return ChipPixels(
        raw.science, raw.good, noise.weight, n_good, n_static, n_rejected, plane, noise.variance
    )


@dataclass(frozen=True)
class _Keeper:
    """Hands the images of outlier rejection on, with their chips and their grid."""

    layer: PreparedLayer
    grid: OutputGrid
    sink: IntermediateSink

    def single(self, number: int, parts: Sequence[StackPart]) -> None:
        self.sink.single(self.layer.chips[number], self.grid, parts)

    def median(self, bands: Iterable[tuple[int, NDArray[np.float32]]]) -> None:
        self.sink.median(self.grid, bands)


def _reject_outliers(
    layer: PreparedLayer,
    parameters: CombinationParameters,
    folder: Path | None,
    threads: int,
    memory: int | None,
    on_tested: TestedChip | None,
    intermediate: IntermediateSink | None,
    progress: Progress | None,
) -> CosmicRayMasks:
    """Find the pixels that other exposures speak against; no masks where the parameters do not ask for it."""
    rule = rejection_rule(parameters)
    if rule is None:
        return CosmicRayMasks()
    if full := missing_full_bits((item.exposure for item in layer.chips), parameters):
        _LOG.warning(
            "driz_sep_bits: found %d, which leaves full pixels (DQ %d) out of the median; the cores of "
            "bright stars may be taken for cosmic rays. Use %d to keep them.",
            parameters.separate_bits or 0,
            full,
            (parameters.separate_bits or 0) | full,
        )
    steps = itertools.count(_steps_before_rejection(layer.chips, parameters))
    total = _number_of_steps(layer.chips, parameters)

    def load_good(number: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        item = layer.chips[number]
        raw = read_prepared(item, PixelTest(parameters.separate_bits))
        masked = None if layer.static_masks is None else layer.static_masks.mask(item.signature)
        _pixels.take_off(raw.science, raw.good, masked, raw.good.size, _sky_of(layer, item)[0])
        return raw.science, raw.good

    def load_all(number: int) -> NDArray[np.float32]:
        item = layer.chips[number]
        raw = read_prepared(item, PixelTest(None))
        raw.science[~raw.good] = np.nan
        raw.science -= np.float32(_sky_of(layer, item)[0])
        return raw.science

    def tell(step: str, number: int) -> None:
        _report(progress, f"{step} {layer.chips[number].name}", next(steps), total)

    def tested(number: int, model: NDArray[np.float32], hit: NDArray[np.bool_]) -> None:
        item = layer.chips[number]
        if on_tested is not None:
            sky = np.float32(_sky_of(layer, item)[0])
            on_tested(item, (model + sky) / np.float32(file_unit(item.chip)), hit)

    grid = separate_grid(layer.grid, parameters, max(item.chip.nominal_scale for item in layer.chips))
    sky_rates = [_sky_of(layer, item)[0] for item in layer.chips]
    static = {} if layer.static_masks is None else layer.static_masks.masks
    held = sum(mask.nbytes for mask in static.values())
    masks = find_outliers(
        grid,
        rejection_chips(layer.chips, sky_rates, grid, parameters),
        rule,
        load_good,
        load_all,
        folder=folder,
        threads=threads,
        memory=None if memory is None else memory - held,
        on_step=tell,
        on_tested=None if on_tested is None else tested,
        keeper=None if intermediate is None else _Keeper(layer, grid.on_sky(layer.grid), intermediate),
    )
    for number, item in enumerate(layer.chips):
        if item.in_grid:
            _LOG.info("%s: %d pixels are hit, as the other exposures tell.", item.name, masks.count(number))
    return masks


def _sky_of(layer: PreparedLayer, item: PreparedChip) -> tuple[float, bool, int]:
    """Give a chip's sky level per native pixel, whether it was measured, and its group."""
    if layer.sky is None:
        return 0.0, False, 0
    number = item.exposure_number
    brightness = layer.sky.of_chips.get((number, item.chip.extver), layer.sky.brightness[number])
    level = float(brightness) * item.chip.nominal_scale**2
    return level, layer.sky.measured[number], layer.sky.groups[number]


def _steps_before_rejection(chips: Sequence[PreparedChip], parameters: CombinationParameters) -> int:
    return len(chips) if parameters.skysub or parameters.static else 0


def _number_of_steps(chips: Sequence[PreparedChip], parameters: CombinationParameters) -> int:
    """Count the steps of a layer: each chip once, once more if it is surveyed, twice more if it is tested."""
    n_rejected = sum(item.in_grid for item in chips) if parameters.driz_cr else 0
    return len(chips) + _steps_before_rejection(chips, parameters) + 2 * n_rejected


def _report(progress: Progress | None, message: str, done: int, total: int) -> None:
    if progress is not None:
        progress(message, done, total)
