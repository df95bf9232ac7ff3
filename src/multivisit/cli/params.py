"""The commands about parameters: what they are, what a custom file changes, what a file may hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from multivisit.cli.layers import PLANNING
from multivisit.cli.options import JsonOption, is_fits, with_parameters_of
from multivisit.cli.output import fail, print_json
from multivisit.cli.run import options_of_run

if TYPE_CHECKING:
    from multivisit.plan.parameters import Pipeline
    from multivisit.plan.parameters.custom_file import ProductParameters

__all__ = ["params"]

params = typer.Typer(
    name="params",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Show the parameters of products, what a custom parameter file changes, and what a file may hold.\n\n"
        'To change some: `mvm params show POLLER --json > custom.json`, edit the sections "parameters", '
        "look at `mvm params diff custom.json POLLER`, then `mvm run POLLER --parameters custom.json`."
    ),
)

FilesOption = Annotated[
    list[Path] | None,
    typer.Argument(help="Exposure files, or one poller file: all their products.", show_default=False),
]
PipelineOption = Annotated[
    str, typer.Option("--pipeline", "-p", help="mvm (multi-visit) or svm (single-visit).")
]


@params.command()
@with_parameters_of(options_of_run, only=PLANNING)
def show(
    files: FilesOption = None,
    detector: Annotated[
        str | None, typer.Option("--detector", help="Instead of files: a detector, e.g. acs/wfc.")
    ] = None,
    filter_name: Annotated[str, typer.Option("--filter", help="With --detector: the filter.")] = "",
    exposures: Annotated[
        int, typer.Option("--exposures", help="With --detector: how many exposures the product has.", min=1)
    ] = 2,
    product: Annotated[
        str, typer.Option("--product", help="With --detector: filter (also a layer), total or exposure.")
    ] = "filter",
    date: Annotated[
        str | None, typer.Option("--date", help="With --detector: when the first exposure began, YYYY-MM-DD.")
    ] = None,
    pipeline: PipelineOption = "mvm",
    group: Annotated[
        list[str] | None, typer.Option("--group", "-g", help="Only this group (repeatable); not with --json.")
    ] = None,
    custom: Annotated[
        Path | None,
        typer.Option("--parameters", help="With files: custom parameter file to put into effect."),
    ] = None,
    as_json: JsonOption = False,
    **settings: Any,
) -> None:
    """Show the effective parameters of a detector and filter, or of all products of exposures.

    Parameters that multi-visit processing does not use are marked, with the reason. With --json the output is
    a custom parameter file.
    """
    from multivisit.plan.parameters.custom_file import file_layout
    from multivisit.plan.parameters.layout import GROUPS
    from multivisit.run.parameter_report import parameters_as_text

    kind = _pipeline(pipeline)
    for name in group or ():
        if name not in GROUPS:
            fail(f"--group {name}: expected one of {', '.join(GROUPS)}", 2)
    if detector is None:
        products = _products(files or [], kind, custom, settings)
    elif files or custom:
        fail("give either files or --detector, not both", 2)
    else:
        products = [_product_of(detector, filter_name, exposures, product, date, kind)]
    if as_json:
        print_json(file_layout(products, kind))
    else:
        typer.echo(parameters_as_text(products, kind, group or ()))


@params.command()
@with_parameters_of(options_of_run, only=PLANNING)
def diff(
    custom: Annotated[Path, typer.Argument(help="Custom parameter file.", show_default=False)],
    files: FilesOption = None,
    pipeline: PipelineOption = "mvm",
    as_json: JsonOption = False,
    **settings: Any,
) -> None:
    """Show what a custom parameter file changes.

    With files, it is checked and compared with the defaults of their products; without, its sections
    "parameters" and "default_values" are compared.
    """
    from multivisit.plan.parameters.custom_file import read_custom_file
    from multivisit.run.parameter_report import (
        changes_as_dict,
        changes_as_text,
        changes_of,
        sections_changes,
    )

    kind = _pipeline(pipeline)
    if files:
        changes = changes_of(_products(files, kind, custom, settings), kind)
    else:
        changes = sections_changes(dict(read_custom_file(custom).entries))
    if as_json:
        print_json(changes_as_dict(changes, kind))
    else:
        typer.echo(changes_as_text(changes, kind))


@params.command()
def schema(pipeline: PipelineOption = "mvm") -> None:
    """Print the JSON schema of custom parameter files, for editors and checks."""
    from multivisit.plan.parameters.schema import json_schema

    print_json(json_schema(_pipeline(pipeline)))


def _pipeline(name: str) -> Pipeline:
    """Check the name of a pipeline."""
    from multivisit.plan.parameters import PIPELINES

    found = next((pipeline for pipeline in PIPELINES if pipeline == name), None)
    return found or fail(f"--pipeline {name}: expected mvm or svm", 2)


def _products(
    files: list[Path], pipeline: Pipeline, custom: Path | None, settings: dict[str, Any]
) -> list[ProductParameters]:
    """Give the products of exposures, with a custom file in effect."""
    if not files:
        fail("give exposure files or a poller file, or --detector", 2)
    if pipeline == "svm":
        return _products_of_visits(files, custom, settings["input_folder"])
    from multivisit.run.sequencer import plan_run

    plan = plan_run(options_of_run(files=files, parameters=custom, **settings))
    if not plan.layers:
        fail(plan.message, int(plan.return_code))
    return [product for item in plan.layers for product in item.products]


def _products_of_visits(files: list[Path], custom: Path | None, folder: Path) -> list[ProductParameters]:
    """Give the single-visit products of exposures, with a custom file in effect."""
    from multivisit.plan.parameter_products import default_products
    from multivisit.plan.parameters.custom_file import customized, read_custom_file
    from multivisit.plan.poller import PollerRow, read_poller

    if len(files) == 1 and not is_fits(files[0]):
        rows = read_poller(files[0])
    else:
        rows = tuple(PollerRow(filename=str(path)) for path in files)
    products = default_products(rows, "svm", folder=folder)
    if custom is not None:
        products = customized(read_custom_file(custom), products, "svm").products
    return list(products)


def _product_of(
    detector: str, filter_name: str, exposures: int, product: str, date: str | None, pipeline: Pipeline
) -> ProductParameters:
    """Give a product by what decides its parameters."""
    from datetime import UTC, datetime

    from multivisit.plan.parameters import ProductKind, parameter_set
    from multivisit.plan.parameters.custom_file import ProductParameters

    kind = next((each for each in get_args(ProductKind) if each == product), None)
    if kind is None:
        fail(f"--product {product}: expected one of {', '.join(get_args(ProductKind))}", 2)
    instrument, _, name = detector.lower().partition("/")
    mjd = None
    if date is not None:
        try:
            moment = datetime.fromisoformat(date).replace(tzinfo=UTC)
        except ValueError:
            fail(f"--date {date}: expected YYYY-MM-DD", 2)
        mjd = moment.timestamp() / 86400 + 40587
    filter_name = filter_name.lower() or ("total" if kind == "total" else "")
    if not filter_name:
        fail("--detector needs --filter", 2)
    parameters = parameter_set(
        instrument, name, filter_name, exposures, pipeline=pipeline, product=kind, mjd=mjd
    )
    label = "_".join((instrument, name, filter_name))
    return ProductParameters(label, parameters, parameters, (instrument, name, filter_name), kind)
