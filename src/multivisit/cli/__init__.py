"""The `mvm` command: everything a person or a script does without writing Python."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

from multivisit.cli.cells import cells
from multivisit.cli.layers import layers
from multivisit.cli.mosaic import mosaic
from multivisit.cli.output import print_json
from multivisit.cli.params import params
from multivisit.cli.poller import poller
from multivisit.cli.report import report
from multivisit.cli.run import run
from multivisit.cli.simulate import simulate
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
        "`mvm mosaic` makes one of any area, over the borders of sky cells.\n\n"
        "No data at hand? `mvm simulate demo -o exposures` makes some."
    ),
)

_BROKEN_PIPE = 141
_OBJECTS_BETWEEN_COLLECTIONS = 20_000


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


for _command in (cells, poller, layers, run, mosaic, report, simulate):
    app.command()(_command)
app.add_typer(params)


def _report_error(message: str, code: int) -> NoReturn:
    """Say what went wrong in one line, as JSON on standard output too where that was asked for, and leave."""
    if "--json" in sys.argv:
        print_json({"error": message, "exit_code": code})
    typer.echo(f"mvm: error: {message}", err=True)
    sys.exit(code)


def _stop_cleanly(number: int, _frame: object) -> NoReturn:
    """Turn a signal into an exit, so that temporary files are removed on the way out."""
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line; every failure is one line and an exit code, never a traceback."""
    # The packages and headers that are read make many objects, among which there is no garbage to be found.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
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
