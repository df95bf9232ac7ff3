"""The command that writes poller files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from multivisit.cli.options import JsonOption
from multivisit.cli.output import print_json

__all__ = ["poller"]


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
        print_json(
            {
                "poller_file": str(output),
                "rows": [row.filename for row in rows],
                "missing": list(rows.missing),
            }
        )
        return
    typer.echo(f"wrote {output}: {len(rows)} exposures")
    for name in rows.missing:
        typer.echo(f"left out, no exposure found: {name}")
