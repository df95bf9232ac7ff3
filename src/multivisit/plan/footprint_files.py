"""Footprints as files: DS9 regions to look at, JSON to compute with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.sky.footprint import sky_polygon_in_plane

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from multivisit.exposures.model import Exposure
    from multivisit.sky.footprint import Outline
    from multivisit.sky.grid import OutputGrid

__all__ = ["NamedOutline", "exposure_outlines", "footprints_json", "regions_text"]

# Pieces of a chip's edge: the outline is then good to a few hundredths of a pixel of ACS/WFC.
_PIECES = 16


@dataclass(frozen=True)
class NamedOutline:
    """An outline on the sky with a name, for a file."""

    name: str
    """What it is."""

    ra: tuple[float, ...]
    """Right ascension of its points, degrees."""

    dec: tuple[float, ...]
    """Declination of its points, degrees."""

    colour: str = "green"
    """DS9's name of a colour."""

    @classmethod
    def of(cls, name: str, outline: Outline, colour: str = "green") -> NamedOutline:
        """Make one of arrays of right ascension and declination."""
        ra, dec = (tuple(np.asarray(values, dtype=float).ravel().tolist()) for values in outline)
        return cls(name, ra, dec, colour)


def exposure_outlines(exposures: Iterable[Exposure], colour: str = "green") -> list[NamedOutline]:
    """Give the outlines of the chips of exposures.

    Parameters
    ----------
    exposures : iterable of Exposure
        The exposures.
    colour : str, optional
        DS9's name of a colour.

    Returns
    -------
    list of NamedOutline
        One a chip, named ``<file>[SCI,<extver>]``.
    """
    return [
        NamedOutline.of(f"{exposure.filename}[SCI,{chip.extver}]", chip.outline(_PIECES), colour)
        for exposure in exposures
        for chip in exposure.chips
    ]


def regions_text(outlines: Sequence[NamedOutline]) -> str:
    """Write outlines as a DS9 region file.

    Parameters
    ----------
    outlines : sequence of NamedOutline
        The outlines.

    Returns
    -------
    str
        The text: a polygon a line, in ICRS degrees.
    """
    lines = ["# Region file format: DS9 version 4.1", "icrs"]
    for outline in outlines:
        points = ",".join(f"{ra:.8f},{dec:.8f}" for ra, dec in zip(outline.ra, outline.dec, strict=True))
        # A closing brace would end DS9's text.
        name = outline.name.replace("}", ")")
        lines.append(f"polygon({points}) # color={outline.colour} text={{{name}}}")
    return "\n".join(lines) + "\n"


def footprints_json(outlines: Sequence[NamedOutline], grid: OutputGrid | None = None, **more: Any) -> str:
    """Write outlines as JSON.

    Parameters
    ----------
    outlines : sequence of NamedOutline
        The outlines.
    grid : OutputGrid, optional
        An image: the outlines are given in its 0-based pixels as well.
    **more
        More values for the document.

    Returns
    -------
    str
        The document: ``{"grid": {...}, "outlines": [{"name", "ra_dec", "pixels", "pixels_in_grid"}]}``.
    """
    document: dict[str, Any] = dict(more)
    if grid is not None:
        document["grid"] = {
            "crval": grid.crval,
            "crpix": grid.crpix,
            "cd": grid.cd,
            "columns": grid.shape[1],
            "rows": grid.shape[0],
            "scale_arcsec": grid.scale,
        }
    document["outlines"] = [_as_dict(outline, grid) for outline in outlines]
    # A key a line: outlines would be thousands of lines otherwise.
    lines = [f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in document.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _as_dict(outline: NamedOutline, grid: OutputGrid | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": outline.name,
        "ra_dec": [[round(ra, 9), round(dec, 9)] for ra, dec in zip(outline.ra, outline.dec, strict=True)],
    }
    if grid is None:
        return found
    from shapely import box

    plane = grid.plane()
    pixels = plane.pixels(outline.ra, outline.dec)
    polygon = sky_polygon_in_plane(outline.ra, outline.dec, plane)
    frame = box(-0.5, -0.5, grid.shape[1] - 0.5, grid.shape[0] - 0.5)
    if np.isfinite(pixels).all():
        found["pixels"] = np.round(pixels, 3).tolist()
    found["pixels_in_grid"] = round(float(polygon.intersection(frame).area), 1)
    return found
