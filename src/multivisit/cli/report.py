"""The command that writes the report of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from multivisit.cli.options import JsonOption
from multivisit.cli.output import print_json

__all__ = ["report"]


def report(
    folder: Annotated[Path, typer.Argument(help="Output folder of a run.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The page (default: report.html in the folder).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML page about a run: previews, footprints, depth, checks, exposures. No network needed."""
    from multivisit.quality.report import write_report

    path = write_report(folder, output)
    if as_json:
        print_json({"report": str(path), "bytes": path.stat().st_size})
    else:
        typer.echo(str(path))
