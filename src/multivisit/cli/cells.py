"""The command that names sky cells."""

from __future__ import annotations

from typing import Annotated

import typer

from multivisit.cli.options import FilesArgument, JsonOption, is_fits
from multivisit.cli.output import print_json

__all__ = ["cells"]


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
    source: str | list[str] = names[0] if len(names) == 1 and not is_fits(files[0]) else names
    found = find_sky_cells(source, scale=scale, cell_size=cell_size)
    if as_json:
        print_json(
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
