"""What happens in what order: plan a run, make its layers one after another, leave a record of all of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from multivisit.run.options import ReturnCode, RunOptions
from multivisit.run.progress import NoProgress, Progress

if TYPE_CHECKING:
    from multivisit.plan.layers import Layer
    from multivisit.plan.parameters import CombinationParameters
    from multivisit.plan.vetting import Vetting
    from multivisit.sky.grid import OutputGrid

__all__ = ["LayerResult", "PlannedLayer", "RunPlan", "RunResult", "plan_run", "run"]

log = logging.getLogger(__name__)

LayerStatus = Literal["made", "left alone", "failed"]


@dataclass(frozen=True)
class PlannedLayer:
    """A layer and everything that is needed to make it."""

    layer: Layer
    """What is combined."""

    grid: OutputGrid | None
    """The pixels it is combined on; None where no exposure lies in the sky cell."""

    parameters: CombinationParameters
    """How it is combined."""

    reason_left_alone: str = ""
    """Why nothing is made; empty for a layer that will be made."""


@dataclass(frozen=True)
class RunPlan:
    """What a run is going to make."""

    options: RunOptions
    """What was asked for."""

    vetting: Vetting
    """Which exposures may be combined, and why the others may not."""

    layers: tuple[PlannedLayer, ...]
    """The layers, in the order in which they are made."""

    return_code: ReturnCode = ReturnCode.SUCCESS
    """Not SUCCESS where nothing can be made."""


@dataclass(frozen=True)
class LayerResult:
    """What became of one layer."""

    name: str
    """Product basename."""

    sky_cell_id: str
    """The sky cell."""

    status: LayerStatus
    """Made, left alone or failed."""

    reason: str = ""
    """Why it was left alone or failed."""

    product: Path | None = None
    """The mosaic."""

    preview: Path | None = None
    """Its picture."""

    trailer: Path | None = None
    """Its messages."""

    shape: tuple[int, int] | None = None
    """Rows and columns."""

    n_exposures: int = 0
    """Number of members."""

    exposure_time: float = 0.0
    """Sum of the members' exposure times in seconds."""

    seconds: float = 0.0
    """Wall time."""


@dataclass(frozen=True)
class RunResult:
    """What a run has made."""

    return_code: ReturnCode
    """The published exit code."""

    output_folder: Path
    """Where everything is."""

    layers: tuple[LayerResult, ...]
    """One for each layer of the plan."""

    vetting: Vetting | None
    """Which exposures were combined; None where the input could not be read."""

    files: tuple[Path, ...]
    """Manifest, vetting table and the run's own trailer."""

    message: str = ""
    """Why a run made nothing; empty otherwise."""


def plan_run(options: RunOptions, progress: Progress | None = None) -> RunPlan:
    """Read the input, vet the exposures and work out the layers; nothing is written.

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
    """
    from multivisit.plan.layers import make_layers
    from multivisit.plan.vetting import vet_exposures

    progress = progress or NoProgress()
    rows = _input_rows(options)
    progress.stage("reading exposures", len(rows))
    vetting = vet_exposures(
        rows,
        folder=options.input_folder,
        include_small=options.include_small,
        only_cte=options.only_cte_corrected,
        progress=progress.advance,
    )
    if not vetting.accepted:
        code = ReturnCode.ONLY_SMALL_DETECTORS if vetting.only_small_detectors else ReturnCode.NO_VIABLE_DATA
        return RunPlan(options, vetting, (), code)
    layers, vetting = make_layers(vetting, options.layer_method, options.exposure_time_ratio)
    finder = _GridFinder(options.trim)
    planned = tuple(_plan_layer(layer, finder, options) for layer in layers)
    code = (
        ReturnCode.SUCCESS
        if any(not item.reason_left_alone for item in planned)
        else ReturnCode.NO_VIABLE_DATA
    )
    return RunPlan(options, vetting, planned, code)
