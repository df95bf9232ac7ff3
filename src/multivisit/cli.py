"""The `mvm` command: everything a person or a script does without writing Python."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from multivisit.errors import MultivisitError

__all__ = ["app", "main"]

app = typer.Typer(
    name="mvm",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help=(
        "Multi-visit mosaics from Hubble exposures.\n\n"
        "A usual session:\n\n"
        "1. `mvm cells *_fl[ct].fits` tells which sky cells the exposures fall on;\n\n"
        "2. `mvm layers *_fl[ct].fits` tells which mosaics would be made, and how big;\n\n"
        "3. `mvm run *_fl[ct].fits -o mosaics` makes them.\n\n"
        "No data at hand? `mvm simulate demo -o exposures` makes some."
    ),
)

_BROKEN_PIPE = 141

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output instead of text.")]
FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        help="Exposure files (FLT, FLC or C0M, plain or .gz), or one poller file.", show_default=False
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
    bool,
    typer.Option(
        "--include-small/--no-include-small",
        envvar="MVM_INCLUDE_SMALL",
        help="Make layers of ACS/HRC and ACS/SBC exposures.",
    ),
]
CteOption = Annotated[
    bool,
    typer.Option(
        "--only-cte/--no-only-cte",
        envvar="MVM_ONLY_CTE",
        help="Leave out ACS/WFC and WFC3/UVIS exposures that are not CTE-corrected.",
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


def _print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    typer.echo(json.dumps(value, indent=2, default=str, allow_nan=False))


def _fail(message: str, code: int = 1) -> NoReturn:
    """Print one clear line on standard error and leave."""
    typer.echo(f"mvm: error: {message}", err=True)
    raise typer.Exit(code)


def _version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        from multivisit import __version__

        typer.echo(f"mvm {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Take the options that come before a command."""


@app.command()
def cells(
    files: FilesArgument,
    scale: Annotated[
        float | None, typer.Option(help="Pixel scale of the grid in arcsec (default 0.04).", min=1e-3)
    ] = None,
    cell_size: Annotated[
        float | None,
        typer.Option(help="Size of a projection cell in degrees (default: the grid's own).", min=1e-3),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell which sky cells the exposures fall on."""
    from multivisit.plan.coverage import find_sky_cells

    names = [str(path) for path in files]
    source: str | list[str] = names[0] if len(names) == 1 and not _is_fits(files[0]) else names
    found = find_sky_cells(source, scale=scale, cell_size=cell_size)
    if as_json:
        _print_json(
            {
                name: {
                    "members": list(cell.members),
                    "scale_arcsec": cell.scale,
                    "corners_ra_dec": [[float(ra), float(dec)] for ra, dec in cell.corners[:4]],
                    "size_pixels": list(cell.wcs.pixel_shape),
                }
                for name, cell in found.items()
            }
        )
        return
    for name, cell in found.items():
        typer.echo(f"{name}: {len(cell.members)} exposure{'s' if len(cell.members) != 1 else ''}")
        for member in cell.members:
            typer.echo(f"    {member}")


def _is_fits(path: Path) -> bool:
    """Whether a name is one of an exposure rather than of a poller file."""
    return path.name.lower().removesuffix(".gz").endswith((".fits", ".fit"))


@app.command()
def poller(
    input_list: Annotated[Path, typer.Argument(help="Text file with one exposure file or rootname a line.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Poller file to write.")] = Path(
        "poller_file.out"
    ),
    sky_cell: Annotated[
        str | None, typer.Option("-s", "--sky-cell", help="Sky cell of the layers; needed for -t mvm.")
    ] = None,
    kind: Annotated[
        str, typer.Option("-t", "--type", help="svm (single visit) or mvm (multi-visit).")
    ] = "mvm",
    data_path: Annotated[
        Path | None,
        typer.Option(
            envvar="DATA_PATH", help="Archive folder for rootnames that are not in the working folder."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a poller file from a list of exposures or rootnames."""
    from multivisit.plan.poller import generate_poller_file

    rows = generate_poller_file(
        str(input_list),
        poller_file_type=kind,
        output_poller_filename=str(output),
        skycell_name=sky_cell,
        data_path=data_path,
    )
    if as_json:
        _print_json({"poller_file": str(output), "rows": [row.filename for row in rows]})
    else:
        typer.echo(f"wrote {output}: {len(rows)} exposures")


def _options(files: list[Path], output: Path, **settings: Any) -> Any:
    """Build the run options from what the command line says."""
    from multivisit.plan.layers import LAYER_METHODS
    from multivisit.run.options import RunOptions

    fits_files = [path for path in files if _is_fits(path)]
    if fits_files and len(fits_files) != len(files):
        other = next(path for path in files if not _is_fits(path))
        _fail(f"{other}: give either exposure files (.fits, .fits.gz) or one poller file, not both", 2)
    if not fits_files and len(files) != 1:
        _fail(f"{len(files)} poller files were given; one run takes one", 2)
    if settings["layer_method"] not in LAYER_METHODS:
        _fail(f"--layers {settings['layer_method']}: expected one of {', '.join(LAYER_METHODS)}", 2)
    inputs = tuple(files) if fits_files else files[0]
    return RunOptions(inputs=inputs, output_folder=output, **settings)


@app.command()
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

    options = _options(
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
        _print_json(plan_as_dict(plan))
    else:
        typer.echo(layers_as_text(plan))
    if plan.return_code:
        raise typer.Exit(int(plan.return_code))


@app.command()
def run(
    files: FilesArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for the products; made if missing.")
    ] = Path(),
    input_folder: FolderOption = Path(),
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
    previews: Annotated[
        bool, typer.Option("--previews/--no-previews", help="Write a PNG of each mosaic.")
    ] = True,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads that combine a mosaic (default: one a core, 8 at most).", min=1),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Most memory that the run takes, e.g. 2GiB (default: half of what is free)."),
    ] = None,
    log_level: Annotated[
        str, typer.Option(help="Messages in the trailer files: debug, info, warning or error.")
    ] = "info",
    as_json: JsonOption = False,
) -> None:
    """Make the mosaics: one FITS file a detector, filter and sky cell, with preview, trailer and manifest."""
    import logging

    from multivisit.run.options import refuse_quality_testing
    from multivisit.run.report import result_as_dict, result_as_text
    from multivisit.run.resources import parse_memory
    from multivisit.run.sequencer import run as run_sequencer
    from multivisit.run.terminal import progress_on_terminal

    refuse_quality_testing(os.environ)
    level = logging.getLevelNamesMapping().get(log_level.upper())
    if level is None:
        _fail(f"--log-level {log_level}: expected debug, info, warning, error or critical", 2)
    options = _options(
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
        previews=previews,
        threads=threads,
        memory=None if memory is None else parse_memory(memory),
        log_level=level,
    )
    with progress_on_terminal() as progress:
        result = run_sequencer(options, progress=progress)
    if as_json:
        _print_json(result_as_dict(result))
    else:
        typer.echo(result_as_text(result))
    if result.return_code:
        raise typer.Exit(int(result.return_code))


@app.command()
def simulate(
    field: Annotated[
        str, typer.Argument(help="A ready-made field (demo, tiny, small, eighteen) or a JSON specification.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the exposures.")] = Path(
        "exposures"
    ),
    ra: Annotated[float | None, typer.Option(help="Right ascension of the field's centre, degrees.")] = None,
    dec: Annotated[
        float | None, typer.Option(help="Declination of the field's centre, degrees.", min=-90, max=90)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.", min=0)] = None,
    noiseless: Annotated[
        bool, typer.Option("--noiseless", help="No noise, cosmic rays or bad pixels.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make exposures with a known truth, and the truth catalog beside them."""
    from multivisit.run.terminal import progress_on_terminal
    from multivisit.simulate import run_simulation

    with progress_on_terminal() as progress:

        def follow(name: str, done: int, total: int) -> None:
            if done == 0:
                progress.stage(f"simulating {name}", total)
            else:
                progress.advance(f"simulating {name}" if name else None)

        made = run_simulation(field, output, ra=ra, dec=dec, seed=seed, noiseless=noiseless, progress=follow)
    if as_json:
        _print_json({"files": [str(path) for path in made.files], "truth_catalog": str(made.truth_path)})
        return
    for path in made.files:
        typer.echo(str(path))
    typer.echo(f"truth catalog: {made.truth_path}")


def _report_error(message: str, code: int) -> NoReturn:
    """Say what went wrong in one line, as JSON on standard output too where that was asked for, and leave."""
    if "--json" in sys.argv:
        _print_json({"error": message, "exit_code": code})
    typer.echo(f"mvm: error: {message}", err=True)
    sys.exit(code)


def _stop_cleanly(number: int, _frame: object) -> NoReturn:
    """Turn a signal into an exit, so that temporary files are removed on the way out."""
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line; every failure is one line and an exit code, never a traceback."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _stop_cleanly)
    try:
        app()
    except MultivisitError as error:
        _report_error(str(error), 1)
    except SystemExit as leaving:
        # Typer turns Ctrl-C into exit code 130 without a word.
        if isinstance(leaving.code, int) and leaving.code > 128 and leaving.code != _BROKEN_PIPE:
            typer.echo("mvm: interrupted; nothing is half written", err=True)
        raise
    except BrokenPipeError:
        # Whoever read the output has left; Python must not try to flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(_BROKEN_PIPE)
    except Exception as error:
        if os.environ.get("MULTIVISIT_TRACEBACK"):
            raise
        text = f"{type(error).__name__}: {error}; MULTIVISIT_TRACEBACK=1 in the environment shows where"
        _report_error(f"unexpected {text}", 1)
