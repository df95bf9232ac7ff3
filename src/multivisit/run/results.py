"""The values that a run hands on: its plan, and what became of each layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from multivisit.run.options import ReturnCode, RunOptions

if TYPE_CHECKING:
    from multivisit.align.records import Alignment
    from multivisit.plan.layers import Layer
    from multivisit.plan.parameters import CombinationParameters, ParameterSet
    from multivisit.plan.parameters.custom_file import ProductParameters
    from multivisit.plan.vetting import Vetting
    from multivisit.sky.grid import OutputGrid

__all__ = ["LayerResult", "LayerStatus", "PlannedLayer", "RunPlan", "RunResult"]

LayerStatus = Literal["made", "left alone", "failed"]
"""What can become of a layer."""


@dataclass(frozen=True)
class PlannedLayer:
    """A layer and everything that is needed to make it."""

    layer: Layer
    """What is combined."""

    grid: OutputGrid | None
    """The pixels it is combined on; None where no exposure lies in the sky cell."""

    products: tuple[ProductParameters, ...]
    """Its parameters, and those of its members; the layer's own come first."""

    reason_left_alone: str = ""
    """Why nothing is made; empty for a layer that will be made."""

    alignment_history: tuple[str, ...] = ()
    """What the alignment did with its members, in lines; empty where there was none."""

    @property
    def parameter_set(self) -> ParameterSet:
        """How it is combined, and how its sources are measured."""
        return self.products[0].parameters

    @property
    def parameters(self) -> CombinationParameters:
        """How it is combined."""
        return self.parameter_set.astrodrizzle


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

    message: str = ""
    """Why nothing can be made; empty otherwise."""

    prefix: str = ""
    """Beginning of all names where it is not ``hst_<sky cell>``."""

    alignment: Alignment | None = None
    """What the alignment found; None where none was asked for."""

    @property
    def exit_code(self) -> ReturnCode:
        """Why nothing can be made, or ERROR where broken files are among the exposures, as in a run."""
        if self.return_code:
            return self.return_code
        is_broken = any(record.is_broken for record in self.vetting.records)
        return ReturnCode.ERROR if is_broken else ReturnCode.SUCCESS


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

    not_written: bool = False
    """It failed because the product could not be written."""

    product: Path | None = None
    """The mosaic."""

    preview: Path | None = None
    """Its picture."""

    catalogs: tuple[Path, ...] = ()
    """Its source catalogs."""

    catalog_problem: str = ""
    """Why it has no catalogs though they were asked for."""

    trailer: Path | None = None
    """Its messages."""

    quality: str = "not run"
    """The worst verdict of its quality checks: pass, warn, fail or not run."""

    quality_files: tuple[Path, ...] = ()
    """The files of the quality checks."""

    diagnostics: tuple[Path, ...] = ()
    """Diagnostic files, where they were asked for."""

    shape: tuple[int, int] | None = None
    """Rows and columns."""

    n_exposures: int = 0
    """Number of members in the mosaic."""

    used: tuple[str, ...] = ()
    """Their files as given."""

    unused: tuple[str, ...] = ()
    """Members that have no good pixel in the mosaic."""

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

    vetting: Vetting
    """Which exposures were combined, and why the others were not."""

    files: tuple[Path, ...]
    """Manifests, vetting table and the run's own trailer."""

    message: str = ""
    """Why a run made nothing; empty otherwise."""

    alignment: Alignment | None = None
    """What the alignment found; None where none was asked for."""
