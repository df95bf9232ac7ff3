"""Pictures inside the page: previews made smaller, maps of exposure time."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = ["DepthMap", "depth_map", "embedded_picture"]

_STOPS = np.array(
    [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], dtype=np.float64
)
"""Dark violet to yellow: brightness grows evenly, and colour-blind eyes see it grow."""

_LARGEST_PICTURE = 200_000_000


@dataclass(frozen=True)
class DepthMap:
    """Exposure time over the sky."""

    uri: str
    """A PNG as a data URI, North up, transparent where nothing was observed."""

    deepest: float
    """Largest exposure time, s."""


def embedded_picture(path: Path, longest: int) -> tuple[str, tuple[int, int]]:
    """Make a picture small enough and put it into a data URI.

    Parameters
    ----------
    path : Path
        A picture.
    longest : int
        Pixels along the longer side at most.

    Returns
    -------
    uri : str
        A JPEG as a data URI.
    size : tuple of int
        Its width and height.

    Raises
    ------
    OSError, ValueError
        It is no picture, or an absurdly large one.
    """
    from PIL import Image

    with Image.open(path) as picture:
        if picture.width * picture.height > _LARGEST_PICTURE:
            raise ValueError(f"{picture.width} x {picture.height} pixels are too many for a preview")
        small = picture.convert("RGB")
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return _uri(small, "JPEG"), small.size


def depth_map(
    outlines: Sequence[tuple[float, NDArray[np.float64]]],
    box: tuple[float, float, float, float],
    columns: int = 240,
) -> DepthMap:
    """Draw how long each place was exposed.

    Parameters
    ----------
    outlines : sequence of (float, ndarray)
        Exposure time and outline (shape (n, 2)) of each chip.
    box : tuple of float
        Left, top, right and bottom in the outlines' unit, y downwards.
    columns : int
        Pixels from left to right.

    Returns
    -------
    DepthMap
        The picture.
    """
    import shapely
    from PIL import Image

    left, top, right, bottom = box
    step = (right - left) / columns
    rows = max(1, round((bottom - top) / step))
    x = left + (np.arange(columns) + 0.5) * step
    y = top + (np.arange(rows) + 0.5) * (bottom - top) / rows
    depth = np.zeros((rows, columns))
    for time, outline in outlines:
        polygon = shapely.polygons(outline)
        shapely.prepare(polygon)
        i = np.flatnonzero((x >= outline[:, 0].min()) & (x <= outline[:, 0].max()))
        j = np.flatnonzero((y >= outline[:, 1].min()) & (y <= outline[:, 1].max()))
        if len(i) and len(j):
            grid_x, grid_y = np.meshgrid(x[i], y[j])
            depth[np.ix_(j, i)] += time * shapely.contains_xy(polygon, grid_x, grid_y)
    deepest = float(depth.max())
    place = depth / deepest * (len(_STOPS) - 1) if deepest > 0.0 else depth
    colours = np.stack(
        [np.interp(place, np.arange(len(_STOPS)), _STOPS[:, k]) for k in range(3)]
        + [np.where(depth > 0.0, 255.0, 0.0)],
        axis=-1,
    )
    picture = Image.fromarray(np.rint(colours).astype(np.uint8), "RGBA")
    return DepthMap(_uri(picture, "PNG"), deepest)


def _uri(picture: Image, kind: str) -> str:
    stream = io.BytesIO()
    if kind == "JPEG":
        picture.save(stream, kind, quality=84, optimize=True)
    else:
        picture.save(stream, kind, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
