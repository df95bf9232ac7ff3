"""One mosaic from exposures to files: strips are combined, written and drawn as they come."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.combine.engines import context_planes
from multivisit.combine.mosaic import combine_strips, place_layer, survey_layer
from multivisit.errors import ProductError
from multivisit.products.cleaned import CleanedExposures
from multivisit.products.preview import PreviewMaker
from multivisit.products.stretch import observed_area
from multivisit.products.writer import LayerWriter
from multivisit.run.diagnostics import write_diagnostics
from multivisit.run.memory_shares import LayerShare, MemoryShares

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from multivisit.combine.mosaic import PreparedLayer
    from multivisit.combine.records import MosaicSummary
    from multivisit.plan.layers import Layer
    from multivisit.plan.parameters import CombinationParameters
    from multivisit.run.options import RunOptions
    from multivisit.sky.grid import OutputGrid

__all__ = ["MadeMosaic", "make_mosaic"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MadeMosaic:
    """The files of a mosaic and how it came about."""

    product: Path
    """The mosaic."""

    preview: Path | None
    """Its picture; None where none was wanted or it could not be written."""

    summary: MosaicSummary
    """Records of the chips, and statistics."""

    diagnostics: tuple[Path, ...] = ()
    """Diagnostic files, where they were asked for."""


class _Outputs:
    """Hands rows to the product and to the preview."""

    def __init__(self, writer: LayerWriter, preview: PreviewMaker | None) -> None:
        self._writer = writer
        self._preview = preview

    def write_rows(
        self,
        first_row: int,
        science: NDArray[np.float32],
        weight: NDArray[np.float32],
        context: NDArray[np.int32] | None,
    ) -> None:
        """Hand some rows on."""
        self._writer.write_rows(first_row, science, weight, context)
        if self._preview is not None:
            self._preview.add_rows(first_row, science, weight)

    def write_error(self, first_row: int, error: NDArray[np.float32]) -> None:
        """Hand some rows of the error plane on."""
        self._writer.write_error(first_row, error)

    def read_weight(self, first_row: int, last_row: int) -> NDArray[np.float32]:
        """Read weights back from the product."""
        return self._writer.read_weight(first_row, last_row)


def make_mosaic(
    layer: Layer,
    grid: OutputGrid,
    parameters: CombinationParameters,
    options: RunOptions,
    progress: Callable[[str, int, int], None],
    *,
    history: Sequence[str] = (),
    share: LayerShare | None = None,
) -> MadeMosaic:
    """Combine a layer's exposures and write its product and preview.

    Parameters
    ----------
    layer : Layer
        The layer.
    grid : OutputGrid
        The pixels it is combined on.
    parameters : CombinationParameters
        How it is combined.
    options : RunOptions
        Output folder, previews, threads, memory.
    progress : callable
        See `multivisit.combine.mosaic.combine_layer`.
    history : sequence of str, optional
        More lines for the product's HISTORY.
    share : LayerShare, optional
        The layer's share of the memory; by default it may take all that the options allow.

    Returns
    -------
    MadeMosaic
        Files and records.

    Raises
    ------
    CombineError, ParameterError, ProductError
        The mosaic cannot be combined, not within the memory, or not be written; nothing is left then.
    """
    exposures = [member.exposure for member in layer.members]
    share = share or MemoryShares(options.memory).of_layer()
    threads = options.threads or 1
    placed = place_layer(exposures, grid, parameters, error_plane=options.error_plane)
    plan = placed.sweep_plan(parameters)
    memory = share.ask(plan.least_memory(), plan.most_memory(threads))
    prepared = survey_layer(placed, parameters, threads=threads, memory=memory, progress=progress)
    # The survey may have left more behind than what is of use now.
    memory = share.left(prepared.nbytes)
    writer = LayerWriter(
        options.output_folder,
        layer,
        grid,
        parameters,
        prepared.expected_records(),
        context_planes=context_planes(len(prepared.chips)) if parameters.context else 0,
        error_plane=options.error_plane,
        history=history,
        compress=options.compress,
        threads=threads,
    )
    preview = _preview_of(prepared) if options.previews else None
    cleaned = CleanedExposures(options.output_folder, parameters.crbit)
    with writer, cleaned:
        summary = combine_strips(
            prepared,
            parameters,
            _Outputs(writer, preview),
            threads=threads,
            memory=memory,
            scratch_folder=options.output_folder,
            on_tested=cleaned.take if parameters.driz_cr_corr else None,
            progress=progress,
        )
        product = writer.finish(summary)
    diagnostics: tuple[Path, ...] = ()
    if options.diagnostics:
        diagnostics = write_diagnostics(options.output_folder, layer, prepared, parameters, summary)
    return MadeMosaic(product, _write_preview(preview, product, layer), summary, diagnostics)


def _preview_of(prepared: PreparedLayer) -> PreviewMaker:
    return PreviewMaker(prepared.grid, observed_area(*prepared.covered()).shape)


def _write_preview(preview: PreviewMaker | None, product: Path, layer: Layer) -> Path | None:
    """Write the preview; a mosaic without one is still a mosaic."""
    if preview is None:
        return None
    try:
        return preview.write(product.with_suffix(".png"), title=layer.product_basename)
    except ProductError as error:
        log.warning("no preview: %s", error)
        return None
