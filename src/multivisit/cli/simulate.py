"""The command that makes exposures with a known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from multivisit.cli.options import JsonOption
from multivisit.cli.output import print_json

__all__ = ["simulate"]


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
    cosmic_ray_truth: Annotated[
        bool,
        typer.Option(
            "--cosmic-ray-truth", help="Also write what cosmic rays left in each exposure's pixels."
        ),
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

        made = run_simulation(
            field,
            output,
            ra=ra,
            dec=dec,
            seed=seed,
            noiseless=noiseless,
            cosmic_ray_truth=cosmic_ray_truth,
            progress=follow,
        )
    if as_json:
        print_json({"files": [str(path) for path in made.files], "truth_catalog": str(made.truth_path)})
        return
    for path in made.files:
        typer.echo(str(path))
    typer.echo(f"truth catalog: {made.truth_path}")
