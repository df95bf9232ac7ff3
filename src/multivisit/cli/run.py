"""The command that makes the mosaics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    with_parameters_of,
)
from multivisit.cli.output import fail, print_json

__all__ = ["make_and_tell", "options_of_run", "run"]


def options_of_run(
    files: FilesArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for the products; made if missing.")
    ] = Path(),
    input_folder: FolderOption = Path(),
    prefix: Annotated[
        str | None,
        typer.Option("--prefix", help="Beginning of the names of all files, in the place of hst_SKYCELL."),
    ] = None,
    sky_cell: SkyCellOption = None,
    layer_method: LayerMethodOption = "all",
    exposure_time_ratio: RatioOption = 2.0,
    include_small: SmallOption = True,
    only_cte: CteOption = False,
    published_conditions: ConditionsOption = False,
    trim: TrimOption = False,
    context: Annotated[
        bool, typer.Option("--context", help="Add a CTX extension: which chips are in each pixel.")
    ] = False,
    error_plane: Annotated[
        bool, typer.Option("--error-plane", help="Add an ERR extension: the standard error of each pixel.")
    ] = False,
    compress: Annotated[
        bool,
        typer.Option("--compress", help="Tile-compress the products without loss: smaller, but slower."),
    ] = False,
    parameters: Annotated[
        Path | None,
        typer.Option("--parameters", help="Custom parameter file whose section 'parameters' is used."),
    ] = None,
    write_parameters: Annotated[
        Path | None,
        typer.Option("--write-parameters", help="Write all parameters of all products to this file."),
    ] = None,
    previews: Annotated[
        bool, typer.Option("--previews/--no-previews", help="Write a PNG of each mosaic.")
    ] = True,
    catalogs: Annotated[
        str, typer.Option(help="Source catalogs of each mosaic: aperture, segment, both or none.")
    ] = "both",
    quality_tests: Annotated[
        bool,
        typer.Option(
            "--quality-tests/--no-quality-tests",
            envvar="MVM_QUALITY_TESTING",
            help="Check offsets, PSF and outliers in the pixels too; write the published quality files.",
        ),
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write report.html, one page about everything that was made.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads that combine mosaics (default: one a core, 8 at most).", min=1),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Most memory that the run takes, e.g. 2GiB (default: half of what is free)."),
    ] = None,
    log_level: Annotated[
        str, typer.Option(help="Messages in the trailer files: debug, info, warning or error.")
    ] = "info",
    diagnostics: Annotated[
        bool,
        typer.Option(
            "--diagnostics", help="Write footprints, masks, depth maps and sky values beside the mosaics."
        ),
    ] = False,
) -> Any:
    """Give the options of a run; commands that make or plan mosaics have them all, or some of them."""
    import logging

    from multivisit.run.options import PHOTOMETRY_MODES
    from multivisit.run.resources import parse_memory

    level = logging.getLevelNamesMapping().get(log_level.upper())
    if level is None:
        fail(f"--log-level {log_level}: expected debug, info, warning, error or critical", 2)
    if catalogs not in PHOTOMETRY_MODES:
        fail(f"--catalogs {catalogs}: expected one of {', '.join(PHOTOMETRY_MODES)}", 2)
    return run_options(
        files,
        output,
        input_folder=input_folder,
        sky_cells=tuple(sky_cell or ()),
        layer_method=layer_method,
        exposure_time_ratio=exposure_time_ratio,
        include_small=include_small,
        only_cte_corrected=only_cte,
        published_conditions=published_conditions,
        trim=trim,
        context=context,
        error_plane=error_plane,
        compress=compress,
        custom_parameters=parameters,
        written_parameters=write_parameters,
        previews=previews,
        phot_mode=catalogs,
        quality_tests=quality_tests,
        report=report,
        threads=threads,
        memory=None if memory is None else parse_memory(memory),
        log_level=min(level, logging.DEBUG) if diagnostics else level,
        output_file_prefix=prefix,
        diagnostics=diagnostics,
    )


@with_parameters_of(options_of_run)
def run(as_json: JsonOption = False, **settings: Any) -> None:
    """Make the mosaics: one FITS file a detector, filter and sky cell, with preview, trailer and manifest."""
    make_and_tell(options_of_run(**settings), as_json=as_json)


def make_and_tell(options: Any, *, as_json: bool) -> None:
    """Make mosaics, print what became of them, and leave with the published code if it is not 0."""
    from multivisit.run.report import result_as_dict, result_as_text
    from multivisit.run.sequencer import run as run_sequencer
    from multivisit.run.terminal import progress_on_terminal

    with progress_on_terminal() as progress:
        result = run_sequencer(options, progress=progress)
    if as_json:
        print_json(result_as_dict(result))
    else:
        typer.echo(result_as_text(result))
    if result.return_code:
        raise typer.Exit(int(result.return_code))
