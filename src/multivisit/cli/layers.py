"""The command that tells what a run would make."""

from __future__ import annotations

from typing import Any

import typer

from multivisit.cli.options import JsonOption, with_parameters_of
from multivisit.cli.output import print_json
from multivisit.cli.run import options_of_run

__all__ = ["PLANNING", "layers"]

# What decides on layers, their grids and parameters; the rest of a run's options is about making them.
PLANNING = (
    "files",
    "input_folder",
    "prefix",
    "sky_cell",
    "layer_method",
    "exposure_time_ratio",
    "include_small",
    "only_cte",
    "published_conditions",
    "trim",
)


@with_parameters_of(options_of_run, only=(*PLANNING, "parameters"))
def layers(as_json: JsonOption = False, **settings: Any) -> None:
    """Tell what a run would make, from what, and how big; nothing is written."""
    from multivisit.run.report import layers_as_text, plan_as_dict
    from multivisit.run.sequencer import plan_run

    plan = plan_run(options_of_run(**settings))
    if as_json:
        print_json(plan_as_dict(plan))
    else:
        typer.echo(layers_as_text(plan))
    if plan.exit_code:
        raise typer.Exit(int(plan.exit_code))
