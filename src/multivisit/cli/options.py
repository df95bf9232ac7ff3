"""Options that several commands share."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from multivisit.cli.output import fail

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output instead of text.")]
FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        help="Exposure files (FLT, FLC or C0M, plain or .gz), or one poller file.",
        show_default=False,
        # One that may not be read is refused like any other broken exposure, and the rest are combined.
        readable=False,
    ),
]
FolderOption = Annotated[
    Path,
    typer.Option("--input-folder", help="Where exposures named in a poller file are looked for first."),
]
SkyCellOption = Annotated[
    list[str] | None,
    typer.Option("--sky-cell", "-s", help="Only this sky cell, e.g. skycell-p1889x07y19 (repeatable)."),
]
LayerMethodOption = Annotated[
    str,
    typer.Option(
        "--layers",
        help="all: one layer a detector and filter; hard, kmeans: by exposure time and year as well.",
    ),
]
RatioOption = Annotated[
    float,
    typer.Option(
        "--exposure-time-ratio", help="kmeans splits only above this ratio of longest to shortest.", min=1.0
    ),
]
SmallOption = Annotated[
    bool | None,
    typer.Option(
        "--include-small/--no-include-small",
        help="Make layers of ACS/HRC and ACS/SBC exposures (default: MVM_INCLUDE_SMALL of the environment, "
        "or yes).",
    ),
]
CteOption = Annotated[
    bool | None,
    typer.Option(
        "--only-cte/--no-only-cte",
        help="Leave out ACS/WFC and WFC3/UVIS exposures that are not CTE-corrected (default: MVM_ONLY_CTE of "
        "the environment, or no).",
    ),
]
ConditionsOption = Annotated[
    bool,
    typer.Option(
        "--published-conditions",
        help="Choose parameters by the mean number of exposures a pixel, as drizzlepac does.",
    ),
]
TrimOption = Annotated[
    bool, typer.Option("--trim", help="Size each layer by its own members, not by all exposures.")
]


def is_fits(path: Path) -> bool:
    """Whether a name is one of an exposure rather than of a poller file."""
    return path.name.lower().removesuffix(".gz").endswith((".fits", ".fit"))


def run_options(files: list[Path], output: Path, **settings: Any) -> Any:
    """Build the run options from what the command line says."""
    from multivisit.plan.layers import LAYER_METHODS
    from multivisit.run.options import RunOptions

    fits_files = [path for path in files if is_fits(path)]
    if fits_files and len(fits_files) != len(files):
        other = next(path for path in files if not is_fits(path))
        fail(f"{other}: give either exposure files (.fits, .fits.gz) or one poller file, not both", 2)
    if not fits_files and len(files) != 1:
        fail(f"{len(files)} poller files were given; one run takes one", 2)
    if settings["layer_method"] not in LAYER_METHODS:
        fail(f"--layers {settings['layer_method']}: expected one of {', '.join(LAYER_METHODS)}", 2)
    inputs = tuple(files) if fits_files else files[0]
    return RunOptions(inputs=inputs, output_folder=output, **settings)


def switch(given: bool | None, variable: str, *, default: bool) -> bool:
    """Give what an option says, or else the environment; one that says neither on nor off is an error."""
    from multivisit.run.options import environment_switch

    return environment_switch(os.environ, variable, default=default) if given is None else given


_Command = TypeVar("_Command", bound=Callable[..., None])


def with_parameters_of(
    source: Callable[..., Any], *, only: Collection[str] | None = None, without: Collection[str] = ()
) -> Callable[[_Command], _Command]:
    """Give a command another function's parameters, which reach it as keywords.

    Options that commands have in common are declared once, in one function's signature.

    Parameters
    ----------
    source : callable
        The function whose parameters the command gets.
    only : collection of str, optional
        Names of those that it gets; all by default.
    without : collection of str, optional
        Names of those that it does not get.

    Returns
    -------
    callable
        A decorator for a command that takes ``**settings``.
    """

    def decorate(command: _Command) -> _Command:
        own = [p for p in _parameters(command) if p.kind is not p.VAR_KEYWORD]
        names = {parameter.name for parameter in own} | set(without)
        taken = [p for p in _parameters(source) if p.name not in names and (only is None or p.name in only)]
        # Arguments stay in front, and the help lists a command's own options first.
        together = [p.replace(kind=p.KEYWORD_ONLY) for p in (*own, *taken)]
        command.__signature__ = inspect.Signature(together)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in together}
        return command

    return decorate


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function, eval_str=True).parameters.values())
