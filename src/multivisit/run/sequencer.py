"""What happens in what order: plan a run, make its layers, leave a record of all of it."""

from __future__ import annotations

import logging
import platform
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multivisit import __version__
from multivisit.errors import MultivisitError, NoViableDataError, ParameterError, ProductError
from multivisit.run.aligning import align_planned, alignment_history, check_alignment_options
from multivisit.run.cataloguing import catalog_layer
from multivisit.run.checking import QualityControl
from multivisit.run.logs import RunLog, layer_messages, run_log
from multivisit.run.memory_shares import MemoryShares
from multivisit.run.options import ReturnCode, RunOptions
from multivisit.run.parameters import (
    check_parameter_files,
    parameter_history,
    with_custom_parameters,
    write_parameters,
)
from multivisit.run.progress import NoProgress, Progress
from multivisit.run.records import prepare_folder, write_records, write_trailer
from multivisit.run.report import chip_in_words, options_in_words
from multivisit.run.resources import with_resources
from multivisit.run.results import LayerResult, PlannedLayer, RunPlan, RunResult
from multivisit.run.side_by_side import layers_in_work, make_side_by_side, work_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from multivisit.exposures.model import Exposure
    from multivisit.plan.custom_mosaic import CustomMosaic
    from multivisit.plan.layers import Layer
    from multivisit.plan.poller import PollerRow
    from multivisit.plan.vetting import Vetting, VettingRecord
    from multivisit.run.memory_shares import LayerShare
    from multivisit.run.side_by_side import StopSign
    from multivisit.sky.grid import OutputGrid

__all__ = ["plan_run", "run"]

log = logging.getLogger(__name__)


def plan_run(options: RunOptions, progress: Progress | None = None) -> RunPlan:
    """Read the input, vet the exposures, align them if asked and work out the layers; nothing is written.

    Parameters
    ----------
    options : RunOptions
        What is asked for.
    progress : Progress, optional
        Follows the work.

    Returns
    -------
    RunPlan
        Layers with their grids and parameters. Without any exposure that may be combined the layers
        are empty and the return code says why.

    Raises
    ------
    PollerError, MissingFileError, SkyCellError
        The input itself cannot be used.
    ParameterError
        The custom parameter file cannot be used, or the area or the prefix of a custom mosaic is impossible.
    ReferenceCatalogError
        The exposures are to be aligned, and there is no reference catalog to be had.
    """
    progress = progress or NoProgress()
    check_alignment_options(options)
    inputs = (options.inputs,) if isinstance(options.inputs, Path) else options.inputs
    check_parameter_files(options.custom_parameters, options.written_parameters, inputs)
    rows = _input_rows(options.inputs, options.input_folder)
    progress.stage("reading exposures", len(rows))
    plan = _plan(rows, options, progress, {})
    if not options.align or plan.return_code:
        return plan
    alignment = align_planned(plan.layers, options, progress)
    known = {each.exposure.path: each.exposure for each in (*plan.vetting.frame, *plan.vetting.accepted)}
    # Sky cells, areas and grids follow the new WCS solutions.
    plan = _plan(rows, options, NoProgress(), known | alignment.exposures)
    layers = [
        replace(item, alignment_history=alignment_history(item.layer, alignment)) for item in plan.layers
    ]
    return replace(plan, layers=tuple(layers), alignment=alignment)


def _plan(
    rows: Sequence[PollerRow | Path], options: RunOptions, progress: Progress, known: Mapping[Path, Exposure]
) -> RunPlan:
    """Vet the exposures and work out the layers; exposures that are known need not be read."""
    from multivisit.plan.names import checked_prefix
    from multivisit.plan.vetting import vet_exposures

    vetting = vet_exposures(
        rows,
        folder=options.input_folder,
        include_small=options.include_small,
        only_cte=options.only_cte_corrected,
        sky_cells=options.sky_cells,
        area=options.area,
        prefix=options.output_file_prefix,
        known=known,
        progress=lambda name: progress.advance(f"reading {Path(name).name}"),
    )
    prefix = checked_prefix(options.output_file_prefix) if vetting.custom is None else vetting.custom.prefix
    if not vetting.accepted:
        code = ReturnCode.ONLY_SMALL_DETECTORS if vetting.only_small_detectors else ReturnCode.NO_VIABLE_DATA
        return RunPlan(options, vetting, (), code, vetting.no_viable_reason, prefix)
    layers, vetting = _layers(vetting, options, prefix)
    grids = _Grids(vetting.custom, trim=options.trim)
    planned = with_custom_parameters(
        [_plan_layer(layer, grids, options) for layer in layers], options, tell=not known
    )
    planned = tuple(_with_grid_of_parameters(item) for item in planned)
    if all(item.reason_left_alone for item in planned):
        message = "all layers are left alone: " + "; ".join(sorted({p.reason_left_alone for p in planned}))
        return RunPlan(options, vetting, planned, ReturnCode.NO_VIABLE_DATA, message, prefix)
    return RunPlan(options, vetting, planned, prefix=prefix)


def run(options: RunOptions, progress: Progress | None = None, messages: RunLog | None = None) -> RunResult:
    """Make the mosaics: plan, combine and write the layers, some at a time, and leave the record of it.

    A layer that fails does not stop the others. An interruption (Ctrl-C) stops at once; files are
    complete or not there.

    Parameters
    ----------
    options : RunOptions
        What is asked for.
    progress : Progress, optional
        Follows the work.
    messages : RunLog, optional
        Where the messages go, when the caller collects them already (`multivisit.run.logs.run_log`).

    Returns
    -------
    RunResult
        What has been made, and the published return code.

    Raises
    ------
    PollerError, MissingFileError, SkyCellError, ProductError
        The input cannot be used at all, or the output folder cannot be written.
    ParameterError
        Fewer threads than one or less memory than a run needs are allowed.
    """
    from multivisit.combine.planes import release_planes

    progress = progress or NoProgress()
    started = time.perf_counter()
    collecting = run_log(options.log_level) if messages is None else nullcontext(messages)
    with collecting as messages:
        log.info("multivisit %s, Python %s", __version__, platform.python_version())
        for line in options_in_words(options):
            log.info("%s", line)
        options = with_resources(options)
        log.info("%d threads, at most %d MiB of memory", options.threads, (options.memory or 0) >> 20)
        plan = plan_run(options, progress)
        prepare_folder(options.output_folder)
        for line in plan.vetting.text().splitlines():
            log.info("vetting: %s", line)
        if plan.vetting.custom is not None:
            log.info("custom mosaic %s: %s", plan.prefix, plan.vetting.custom.description)
        if plan.message:
            log.error("%s", plan.message)
        written = []
        if options.written_parameters is not None and plan.layers:
            written.append(write_parameters(options.written_parameters, plan.layers))
        control = QualityControl(options)
        in_work = layers_in_work(sum(work_in(item) > 0 for item in plan.layers), options.threads or 1)
        shares = MemoryShares(options.memory, len(plan.layers), in_work)

        def make(item: PlannedLayer, threads: int, stop: StopSign) -> LayerResult:
            own = replace(options, threads=threads)
            with shares.of_layer() as share:
                follow = _Follower(progress, item.layer, stop)
                return _make_layer(item, own, messages, follow, control, share)

        try:
            results = control.finish(make_side_by_side(make, plan.layers, options.threads or 1))
        finally:
            release_planes()
        vetting = _with_unused(plan.vetting, results)
        code = _return_code(plan, vetting, results)
        log.info("%.1f s, return code %d (%s)", time.perf_counter() - started, code, code.name)
        message = plan.message
        files: list[Path] = []
        try:
            files = written + write_records(
                options.output_folder, vetting, results, messages, plan.prefix, plan.alignment
            )
            if options.report:
                from multivisit.quality.report import write_report

                files.append(write_report(options.output_folder))
        except ProductError as error:
            # What has been made is told all the same.
            log.error("%s", error)
            code, message = code or ReturnCode.ERROR, "; ".join(filter(None, (message, str(error))))
    return RunResult(
        code, options.output_folder, tuple(results), vetting, tuple(files), message, plan.alignment
    )


def _input_rows(inputs: Path | tuple[Path, ...], folder: Path) -> Sequence[PollerRow | Path]:
    """Give the rows of a poller file, or the exposure files themselves."""
    from multivisit.plan.associations import expand_associations
    from multivisit.plan.poller import read_poller

    if isinstance(inputs, Path):
        return read_poller(inputs)
    if not inputs:
        raise NoViableDataError("no input: give a poller file or at least one exposure file")
    return [Path(name) for name in expand_associations(inputs, (folder,))]


def _layers(vetting: Vetting, options: RunOptions, prefix: str) -> tuple[tuple[Layer, ...], Vetting]:
    """Divide the exposures into layers, with the names and scales of a custom mosaic where it is one."""
    from multivisit.plan.layers import make_layers

    if vetting.custom is None:
        layers, vetting = make_layers(vetting, options.layer_method, options.exposure_time_ratio)
    else:
        layers, vetting = make_layers(
            vetting,
            options.layer_method,
            options.exposure_time_ratio,
            scale_names=vetting.custom.scale_names,
        )
    cells = sorted({layer.sky_cell_id for layer in layers})
    if prefix and len(cells) > 1:
        raise ParameterError(
            f"output_file_prefix={prefix!r}: the mosaics of {len(cells)} sky cells ({', '.join(cells)}) "
            "would have the same names; choose one of the sky cells, or make a custom mosaic of all"
        )
    area = "" if vetting.custom is None else vetting.custom.description
    return tuple(replace(layer, prefix=prefix, area=area) for layer in layers), vetting


class _Grids:
    """Works out the layers' grids; layers of the same exposures, cell and scale share one."""

    def __init__(self, custom: CustomMosaic | None, *, trim: bool) -> None:
        self._custom = custom
        self._trim = trim
        self._outlines: dict[Path, list[Any]] = {}
        self._grids: dict[tuple[str, str, tuple[Path, ...]], OutputGrid | None] = {}

    def of(self, layer: Layer) -> OutputGrid | None:
        """Return the smallest sub-array of the sky cell that holds all exposures, or the layer's own.

        A custom mosaic has its own rules.
        """
        own = tuple(member.exposure for member in layer.members)
        exposures = own if self._trim else (layer.all_exposures or own)
        key = (layer.sky_cell_id, layer.scale_name, tuple(exposure.path for exposure in exposures))
        if key not in self._grids:
            outlines = [outline for exposure in exposures for outline in self._outlines_of(exposure)]
            self._grids[key] = self._grid(layer, outlines)
        return self._grids[key]

    def _grid(self, layer: Layer, outlines: list[Any]) -> OutputGrid | None:
        from multivisit.sky.cells import SkyCell
        from multivisit.sky.footprint import bounding_grid

        if self._custom is not None:
            return self._custom.grid(layer.scale_name, outlines)
        return bounding_grid(SkyCell.from_name(layer.sky_cell_id, scale=layer.scale_name), outlines)

    def mean_coverage(self, exposures: Sequence[Exposure], grid: OutputGrid) -> float:
        """Return the mean number of chips over the observed part of a grid."""
        from multivisit.sky.footprint import mean_coverage

        return mean_coverage([o for exposure in exposures for o in self._outlines_of(exposure)], grid)

    def _outlines_of(self, exposure: Exposure) -> list[Any]:
        if exposure.path not in self._outlines:
            self._outlines[exposure.path] = [chip.outline() for chip in exposure.chips]
        return self._outlines[exposure.path]


def _plan_layer(layer: Layer, grids: _Grids, options: RunOptions) -> PlannedLayer:
    """Choose a layer's grid and parameters, and whether there is anything to do."""
    from multivisit.plan.parameter_products import layer_products
    from multivisit.plan.parameters import parameter_set

    grid = grids.of(layer)
    exposures = [member.exposure for member in layer.members]
    mean_exposures = None
    if options.published_conditions and grid is not None:
        mean_exposures = grids.mean_coverage(exposures, grid) or None
    parameters = parameter_set(
        layer.instrument,
        layer.detector,
        layer.filter_name,
        len(exposures),
        published_conditions=options.published_conditions and mean_exposures is not None,
        mean_exposures=mean_exposures,
    )
    if options.context:
        parameters = parameters.replace(astrodrizzle=parameters.astrodrizzle.replace(context=True))
    reason = ""
    if not layer.has_new:
        reason = "all its exposures are OLD: they are in the mosaic already"
    elif grid is None:
        reason = "none of its exposures lies in the area"
    return PlannedLayer(layer, grid, layer_products(layer, parameters), reason)


def _with_grid_of_parameters(item: PlannedLayer) -> PlannedLayer:
    """Put a layer on the grid that its parameters ask for."""
    from multivisit.plan.custom_grid import grid_for_parameters

    if item.grid is None:
        return item
    return replace(item, grid=grid_for_parameters(item.grid, item.parameters))


class _Follower:
    """Tells a layer's steps to whoever follows the run, and tells the layer when the run stops."""

    def __init__(self, progress: Progress, layer: Layer, stop: StopSign) -> None:
        self._progress = progress
        self._task = layer.product_basename
        self._label = f"{layer.detector} {layer.filter_name} {layer.layer_label}"
        self._stop = stop

    def __call__(self, description: str, done: int, total: int) -> None:
        """Take note of a step. Raises `GivenUpError` if the run stops."""
        self._stop.check()
        if done == 0:
            self._progress.stage(f"{self._label}: {description}", total, self._task)
        else:
            self._progress.advance(f"{self._label}: {description}", self._task)

    def finish(self) -> None:
        """Take note that the layer has ended."""
        self._progress.finish(self._task)


def _make_layer(
    item: PlannedLayer,
    options: RunOptions,
    messages: RunLog,
    follow: _Follower,
    control: QualityControl,
    share: LayerShare,
) -> LayerResult:
    """Make one layer, whatever happens to it; only interruptions go through."""
    name = item.layer.product_basename
    started = time.perf_counter()
    base = LayerResult(name, item.layer.sky_cell_id, "made", n_exposures=len(item.layer.members))
    if item.grid is None or item.reason_left_alone:
        log.info("%s is left alone: %s", name, item.reason_left_alone)
        return replace(base, status="left alone", reason=item.reason_left_alone)
    with layer_messages(name):
        try:
            # Layers share grids, but what a grid's WCS is asked must not come from two threads.
            result = _combine_and_write(item, replace(item.grid), base, options, follow, control, share)
        except ProductError as error:
            log.error("%s failed: %s", name, error)
            result = replace(base, status="failed", reason=str(error), not_written=True)
        except MultivisitError as error:
            log.error("%s failed: %s", name, error)
            result = replace(base, status="failed", reason=str(error))
        except Exception as error:
            # The other layers must not be lost to an error that nobody foresaw.
            log.exception("%s failed unexpectedly", name)
            result = replace(base, status="failed", reason=f"unexpected {type(error).__name__}: {error}")
        finally:
            follow.finish()
        result = replace(result, seconds=time.perf_counter() - started)
        log.info("%s: %s in %.1f s", name, result.status, result.seconds)
    return replace(result, trailer=write_trailer(options.output_folder, name, messages))


def _combine_and_write(
    item: PlannedLayer,
    grid: OutputGrid,
    base: LayerResult,
    options: RunOptions,
    follow: _Follower,
    control: QualityControl,
    share: LayerShare,
) -> LayerResult:
    """Combine a layer's exposures, write its product and preview, and check it."""
    from multivisit.plan.parameters import used_combination_values
    from multivisit.run.making import make_mosaic

    layer = item.layer
    log.info("combining %d exposures on %d x %d pixels", len(layer.members), grid.shape[1], grid.shape[0])
    for name, value in used_combination_values(item.parameters).items():
        log.info("parameter %s = %s", name, value)
    history = [*parameter_history(item, options), *item.alignment_history]
    for line in history:
        log.info("%s", line)
    exposures = [member.exposure for member in layer.members]

    started = time.perf_counter()
    made = make_mosaic(layer, grid, item.parameters, options, follow, history=history, share=share)
    catalogs, problem = catalog_layer(item, made.product, options, follow, share.memory)
    mosaic = made.summary
    for chip in mosaic.chips:
        log.info("%s", chip_in_words(chip))
    for name, value in asdict(mosaic.statistics).items():
        log.info("%s: %.6g", name.replace("_", " "), value)
    in_mosaic = {chip.filename for chip in mosaic.chips if chip.n_used}
    used = [exposure for exposure in exposures if exposure.filename in in_mosaic]
    unused = tuple(m.row.filename for m in layer.members if m.exposure.filename not in in_mosaic)
    for filename in unused:
        log.warning("%s: no good pixel; it is not in the mosaic", filename)
    quality = control.check(item, made, time.perf_counter() - started, share.memory)
    return replace(
        base,
        product=made.product,
        preview=made.preview,
        quality=quality.verdict,
        quality_files=quality.files,
        diagnostics=made.diagnostics,
        catalogs=catalogs,
        catalog_problem=problem,
        shape=grid.shape,
        n_exposures=len(used),
        used=tuple(m.row.filename for m in layer.members if m.exposure.filename in in_mosaic),
        unused=unused,
        exposure_time=sum(exposure.exposure_time for exposure in used),
    )


def _with_unused(vetting: Vetting, results: Sequence[LayerResult]) -> Vetting:
    """Refuse, after the fact, the exposures that turned out to have no good pixel in any layer."""
    made = [result for result in results if result.status == "made"]
    members = {(result.sky_cell_id, name) for result in made for name in result.used}
    dead = {(result.sky_cell_id, name) for result in made for name in result.unused} - members

    def judged(record: VettingRecord) -> VettingRecord:
        if (record.sky_cell_id, record.filename) not in dead:
            return record
        reason = "no good pixel: all are flagged, not finite, or outside the sky cell"
        return replace(record, accepted=False, reason=reason, keyword="DQ", value="", is_broken=True)

    return replace(vetting, records=tuple(judged(record) for record in vetting.records))


def _return_code(plan: RunPlan, vetting: Vetting, results: Sequence[LayerResult]) -> ReturnCode:
    """Give the published exit code; broken files are an error even where everything else went well."""
    if plan.return_code:
        return plan.return_code
    failed = [result for result in results if result.status == "failed"]
    if failed and all(result.not_written for result in failed):
        return ReturnCode.KEYWORD_UPDATE_PROBLEM
    without_catalogs = any(result.catalog_problem for result in results)
    if failed or without_catalogs or any(record.is_broken for record in vetting.records):
        return ReturnCode.ERROR
    return ReturnCode.SUCCESS
