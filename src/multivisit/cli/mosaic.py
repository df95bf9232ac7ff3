"""The command that makes custom mosaics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from multivisit.cli.options import JsonOption, with_parameters_of
from multivisit.cli.output import fail
from multivisit.cli.run import make_and_tell, options_of_run

__all__ = ["mosaic"]


@with_parameters_of(options_of_run, without=("sky_cell", "trim"))
def mosaic(
    center: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="RA DEC",
            help="Middle of the mosaic: degrees, or sexagesimal such as 12:01:02.4 -26:14:24. Needs --size.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT", help="Its size with a unit: 90arcsec, 2x1.5arcmin, 0.1deg, 3000x2000pix."
        ),
    ] = None,
    region: Annotated[
        Path | None,
        typer.Option(help="DS9 region file: the mosaic holds its circles, ellipses, boxes and polygons."),
    ] = None,
    wcs: Annotated[
        str | None,
        typer.Option(
            metavar="HEADER",
            help="FITS image (image.fits, image.fits[SCI,1]) or text of a header: the mosaic gets its grid.",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="Arcsec per pixel of all mosaics (default: 0.04, and 0.12 for WFC3/IR and WFPC2)."),
    ] = None,
    as_json: JsonOption = False,
    **settings: Any,
) -> None:
    """Make custom mosaics: of any area, whatever sky cells it is in.

    The area is given by --center and --size, --region or --wcs; without any of them it is all that the
    exposures cover. Exposures beside it are left out. But for --wcs, mosaics lie North up on the grid of the
    projection cell nearest to the middle of the area, and go on beyond its edge.
    """
    options = options_of_run(**settings)
    make_and_tell(replace(options, area=_area(center, size, region, wcs, scale)), as_json=as_json)


def _area(
    center: tuple[str, str] | None,
    size: str | None,
    region: Path | None,
    wcs: str | None,
    scale: float | None,
) -> Any:
    """Give the area that the options ask for."""
    from multivisit.plan.area_input import grid_of_header, outlines_of_regions, parse_position, parse_size
    from multivisit.plan.custom_mosaic import ExposuresArea, GridArea, OutlinesArea, RectangleArea

    chosen = [
        name
        for name, value in (("--center", center), ("--region", region), ("--wcs", wcs))
        if value is not None
    ]
    if len(chosen) > 1:
        fail(f"{' and '.join(chosen)}: give one of them", 2)
    if (center is None) != (size is None):
        fail("--center and --size go together: give both", 2)
    if wcs is not None and scale is not None:
        fail("--scale: the header of --wcs has the scale; give one of them", 2)
    if center is not None and size is not None:
        lengths, in_pixels = parse_size(size)
        return RectangleArea(parse_position(*center), lengths, in_pixels, scale)
    if region is not None:
        return OutlinesArea(outlines_of_regions(region), f"the regions of {region}", scale)
    if wcs is not None:
        return GridArea(grid_of_header(wcs), f"the grid of {wcs}")
    return ExposuresArea(scale)
