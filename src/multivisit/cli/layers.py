"""The command that tells what a run would make."""

from __future__ import annotations

from pathlib import Path

import typer

from multivisit.cli.options import (
    ConditionsOption,
    CteOption,
    FilesArgument,
    FolderOption,
    JsonOption,
    LayerMethodOption,
    RatioOption,
    SkyCellOption,
    SmallOption,
    TrimOption,
    run_options,
)
from multivisit.cli.output import print_json

__all__ = ["layers"]


def layers(
    files: FilesArgument,
    input_folder: FolderOption = Path(),
    sky_cell: SkyCellOption = None,
    layer_method: LayerMethodOption = "all",
    exposure_time_ratio: RatioOption = 2.0,
    include_small: SmallOption = True,
    only_cte: CteOption = False,
    published_conditions: ConditionsOption = False,
    trim: TrimOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what a run would make, from what, and how big; nothing is written."""
    from multivisit.run.report import layers_as_text, plan_as_dict
    from multivisit.run.sequencer import plan_run

    options = run_options(
        files,
        Path(),
        input_folder=input_folder,
        sky_cells=tuple(sky_cell or ()),
        layer_method=layer_method,
        exposure_time_ratio=exposure_time_ratio,
        include_small=include_small,
        only_cte_corrected=only_cte,
        published_conditions=published_conditions,
        trim=trim,
    )
    plan = plan_run(options)
    if as_json:
        print_json(plan_as_dict(plan))
    else:
        typer.echo(layers_as_text(plan))
    if plan.return_code:
        raise typer.Exit(int(plan.return_code))
