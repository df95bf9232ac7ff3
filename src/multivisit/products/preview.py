"""Pictures of mosaics: PNG, North up, with a title, a scale bar and a compass."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.atomic import atomic_path
from multivisit.products.stretch import (
    BlockMeans,
    PictureArea,
    Stretch,
    fill_small_holes,
    find_stretch,
    observed_area,
    reduction_factor,
)

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    from multivisit.sky.grid import OutputGrid

    Font = FreeTypeFont | ImageFont

__all__ = ["MAXIMUM_SIZE", "PreviewMaker", "compass_directions", "draw_preview", "scale_bar", "write_preview"]

MAXIMUM_SIZE = 1600
"""Pixels along the longer side of a picture, title and scale bar not counted."""

_LEAST_SIZE = 480
_ROWS = 32
_NO_DATA = (38, 42, 50)
_CANVAS = (14, 16, 20)
_TEXT = (225, 228, 232)

# Pictures have a palette, which makes their files small and quick to write: grey levels, the colour for no
# data, and the shades from the canvas to the text, which the edges of letters need.
_GREYS = 224
_NO_DATA_INDEX = _GREYS
_CANVAS_INDEX, _TEXT_INDEX = _GREYS + 1, 255
_QUIET_TEXT_INDEX = _CANVAS_INDEX + 2 * (_TEXT_INDEX - _CANVAS_INDEX) // 3
_RUN_LENGTHS = 3
"""zlib's strategy Z_RLE: noise has no repetitions worth looking for but those of a single value."""

_BAR_FRACTION = 0.2
_ROUND_ARCSEC = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000)


def write_preview(
    path: str | os.PathLike[str],
    science: NDArray[Any],
    grid: OutputGrid,
    *,
    title: str = "",
    units: str = "electrons/s",
    maximum_size: int = MAXIMUM_SIZE,
    observed: NDArray[Any] | None = None,
) -> Path:
    """Write a picture of a mosaic.

    Parameters
    ----------
    path : path
        The PNG file; its folder must exist.
    science : ndarray
        Image, shape (ny, nx), in rows from South to North; NaN where there are no data.
    grid : OutputGrid
        Where the pixels are.
    title : str, optional
        Text above the picture.
    units : str, optional
        Units of the pixels, written behind the limits.
    maximum_size : int, optional
        Pixels along the longer side of the picture at most.
    observed : ndarray, optional
        Anything but 0 where there are data, shape (ny, nx): the weights. For mosaics that have a number, not
        NaN, where there are no data.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ProductError
        If the file cannot be written; nothing is left then.
    """
    means = _means_of(science, grid, maximum_size, observed)
    return _save(_draw(means, grid, title, units, maximum_size), path)


def draw_preview(
    science: NDArray[Any],
    grid: OutputGrid,
    *,
    title: str = "",
    units: str = "electrons/s",
    maximum_size: int = MAXIMUM_SIZE,
    observed: NDArray[Any] | None = None,
) -> Image:
    """Draw a picture of a mosaic.

    The part with data is averaged over blocks of pixels (small mosaics are enlarged instead), stretched by
    the inverse hyperbolic sine between robust limits, and put between a line of text and a scale bar with a
    compass. Holes of a few pixels (saturated cores of stars) are filled from their surroundings.

    Parameters
    ----------
    science : ndarray
        Image, shape (ny, nx), in rows from South to North; NaN where there are no data.
    grid : OutputGrid
        Where the pixels are.
    title : str, optional
        Text above the picture.
    units : str, optional
        Units of the pixels, written behind the limits.
    maximum_size : int, optional
        Pixels along the longer side of the picture at most.
    observed : ndarray, optional
        Anything but 0 where there are data, shape (ny, nx): the weights. For mosaics that have a number, not
        NaN, where there are no data.

    Returns
    -------
    PIL.Image.Image
        RGB picture.
    """
    means = _means_of(science, grid, maximum_size, observed)
    return _draw(means, grid, title, units, maximum_size).convert("RGB")


def _means_of(
    science: NDArray[Any], grid: OutputGrid, maximum_size: int, observed: NDArray[Any] | None
) -> BlockMeans:
    """Average the blocks of a whole mosaic."""
    has_data = np.isfinite(science) if observed is None else np.isfinite(science) & (observed != 0)
    area = observed_area(has_data.any(axis=1), has_data.any(axis=0))
    means = BlockMeans(grid.shape, reduction_factor(area.shape, maximum_size))
    means.add_rows(0, science, observed)
    return means


class PreviewMaker:
    """Makes the preview of a mosaic from its rows, in any order and any thread.

    Parameters
    ----------
    grid : OutputGrid
        Where the pixels are.
    expected : tuple of int
        Rows and columns of the part with data, as far as they are known before.
    maximum_size : int, optional
        Pixels along the longer side of the picture at most.
    """

    def __init__(self, grid: OutputGrid, expected: tuple[int, int], maximum_size: int = MAXIMUM_SIZE) -> None:
        self._grid = grid
        self._maximum_size = maximum_size
        self._means = BlockMeans(grid.shape, reduction_factor(expected, maximum_size))

    def add_rows(self, first_row: int, science: NDArray[Any], weight: NDArray[Any]) -> None:
        """Add some whole rows, each row once.

        Parameters
        ----------
        first_row : int
            First row.
        science, weight : ndarray
            Pixels and weights, shape (rows, columns); there are no data where the weight is 0.
        """
        self._means.add_rows(first_row, science, weight)

    def write(self, path: str | os.PathLike[str], *, title: str = "", units: str = "electrons/s") -> Path:
        """Write the picture when all rows have been added.

        Parameters
        ----------
        path, title, units
            See `write_preview`.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        ProductError
            If the file cannot be written; nothing is left then.
        """
        return _save(_draw(self._means, self._grid, title, units, self._maximum_size), path)


def _save(picture: Image, path: str | os.PathLike[str]) -> Path:
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", compress_level=1, compress_type=_RUN_LENGTHS)
    return Path(path)


def _draw(block_means: BlockMeans, grid: OutputGrid, title: str, units: str, maximum_size: int) -> Image:
    """Draw the picture of a mosaic from the means of its blocks, with a palette."""
    from PIL import Image

    means, area = block_means.means()
    enlargement = max(1, min(_LEAST_SIZE, maximum_size) // max(area.shape))
    stretch = find_stretch(means)
    picture = Image.fromarray(_indices(fill_small_holes(means), stretch))
    if enlargement > 1:
        size = (picture.width * enlargement, picture.height * enlargement)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    limits = f"{stretch.black:.3g} to {stretch.white:.3g} {units}"
    return _framed(picture, grid, area, grid.scale * block_means.factor / enlargement, title, limits)


def _indices(image: NDArray[np.float32], stretch: Stretch) -> NDArray[np.uint8]:
    """Turn pixels into places in the palette, in rows from the top."""
    indices = np.empty(image.shape, dtype=np.uint8)
    upwards = image[::-1]
    # Some rows at a time stay in the processor's cache.
    for first in range(0, len(image), _ROWS):
        rows = slice(first, first + _ROWS)
        grey = stretch.brightness(upwards[rows]) * np.float32(_GREYS - 1) + np.float32(0.5)
        grey[np.isnan(grey)] = _NO_DATA_INDEX
        indices[rows] = grey
    return indices


def _palette() -> list[int]:
    """Give red, green and blue of all places in the palette."""
    greys = np.repeat(np.rint(np.linspace(0, 255, _GREYS)), 3)
    shades = np.rint(np.linspace(_CANVAS, _TEXT, _TEXT_INDEX - _CANVAS_INDEX + 1))
    return [int(value) for value in (*greys, *_NO_DATA, *shades.ravel())]


def _framed(
    picture: Image, grid: OutputGrid, area: PictureArea, scale: float, title: str, limits: str
) -> Image:
    """Put the picture on a canvas with text above and a scale bar and a compass below."""
    from PIL import Image, ImageDraw, ImageFont

    width = max(picture.width, _LEAST_SIZE)
    text_size = max(12, min(22, width // 50))
    font = ImageFont.load_default(text_size)
    edge = text_size
    head, foot = 2 * text_size + edge // 2, 5 * text_size
    canvas = Image.new("P", (width + 2 * edge, head + picture.height + foot), _CANVAS_INDEX)
    canvas.putpalette(_palette())
    left = edge + (width - picture.width) // 2
    canvas.paste(picture, (left, head))
    draw = ImageDraw.Draw(canvas)
    # Letters get soft edges: what is between the places of canvas and text are shades.
    draw.fontmode = "L"
    draw.text((edge, head // 2), _shortened(draw, title, font, width), _TEXT_INDEX, font=font, anchor="lm")
    bar_right = _draw_scale_bar(draw, font, (edge, head + picture.height), text_size, width, scale)
    compass_left = _draw_compass(
        draw, font, (edge + width, head + picture.height), text_size, compass_directions(grid, area)
    )
    room = compass_left - bar_right - 4 * text_size
    if draw.textlength(limits, font=font) <= room:
        middle = (bar_right + compass_left) // 2, head + picture.height + foot // 2
        draw.text(middle, limits, _QUIET_TEXT_INDEX, font=font, anchor="mm")
    return canvas


def _shortened(draw: ImageDraw, text: str, font: Font, width: int) -> str:
    """The text, or as much of its beginning as fits."""
    text = text.encode("ascii", "replace").decode("ascii").replace("\n", " ")
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "...", font=font) > width:
        text = text[:-1]
    return text + "..."


def scale_bar(scale: float, width: float) -> tuple[float, str]:
    """Choose a scale bar with a round length.

    Parameters
    ----------
    scale : float
        Arcsec per pixel of the picture.
    width : float
        Pixels that the bar may take at most.

    Returns
    -------
    pixels : float
        Length of the bar.
    label : str
        Its length in words.
    """
    fitting = [length for length in _ROUND_ARCSEC if length / scale <= width]
    length = fitting[-1] if fitting else width * scale
    if length >= 3600:
        label = f"{length / 3600:g} deg"
    elif length >= 60:
        label = f"{length / 60:g} arcmin"
    else:
        label = f"{length:.3g} arcsec"
    return length / scale, label


def _draw_scale_bar(
    draw: ImageDraw, font: Font, corner: tuple[int, int], text_size: int, width: int, scale: float
) -> int:
    """Draw the scale bar below the picture's lower left corner; give the column where it ends."""
    length, label = scale_bar(scale, width * _BAR_FRACTION)
    x, y = corner[0], corner[1] + 2 * text_size
    end, tick = x + round(length), text_size // 3
    line = max(1, text_size // 9)
    draw.line([(x, y), (end, y)], _TEXT_INDEX, line)
    for place in (x, end):
        draw.line([(place, y - tick), (place, y + tick)], _TEXT_INDEX, line)
    draw.text((x, y + text_size), label, _TEXT_INDEX, font=font, anchor="lt")
    return int(max(end, x + draw.textlength(label, font=font)))


def compass_directions(grid: OutputGrid, area: PictureArea) -> dict[str, tuple[float, float]]:
    """Directions of North and East in the middle of a picture.

    Parameters
    ----------
    grid : OutputGrid
        The pixel grid.
    area : PictureArea
        The part of it in the picture.

    Returns
    -------
    dict of str to (float, float)
        Unit vectors (right, up) for ``N`` and ``E``.
    """
    x = area.first_column + (area.shape[1] - 1) / 2
    y = area.first_row + (area.shape[0] - 1) / 2
    cd = np.array(grid.cd)
    # Offsets from the tangent point on the plane, in radians: xi to the East, eta to the North.
    xi, eta = np.radians(cd @ np.array([x + 1 - grid.crpix[0], y + 1 - grid.crpix[1]]))
    declination = math.radians(grid.crval[1])
    # The pole lies on the plane at xi = 0, eta = cot(declination), and North points straight to it (from it,
    # South of the equator). Multiplied by the sine, so that neither poles nor equator are an exception.
    north = np.array([-xi * math.sin(declination), math.cos(declination) - eta * math.sin(declination)])
    if math.hypot(*north) < 1e-9:
        north = np.array([0.0, 1.0])
    return {
        name: _unit_pixels(cd, direction)
        for name, direction in (("N", north), ("E", np.array([north[1], -north[0]])))
    }


def _unit_pixels(cd: NDArray[np.float64], direction: NDArray[np.float64]) -> tuple[float, float]:
    """Turn a direction on the plane into one of length 1 in pixels."""
    right, up = np.linalg.solve(cd, direction)
    length = math.hypot(right, up)
    return float(right / length), float(up / length)


def _draw_compass(
    draw: ImageDraw,
    font: Font,
    corner: tuple[int, int],
    text_size: int,
    directions: dict[str, tuple[float, float]],
) -> int:
    """Draw the compass below the picture's lower right corner; give the column where it begins."""
    arm, line = 1.5 * text_size, max(1, text_size // 9)
    # The centre is put so that both arrows and their letters stay in a box in the corner.
    rights = [1.5 * right for right, _ in directions.values()]
    ups = [1.5 * up for _, up in directions.values()]
    x = corner[0] - text_size / 2 - arm * max(0.0, *rights)
    y = corner[1] + 2.5 * text_size + arm * (max(0.0, *ups) + min(0.0, *ups)) / 2
    for letter, (right, up) in directions.items():
        tip = (x + arm * right, y - arm * up)
        draw.line([(x, y), tip], _TEXT_INDEX, line)
        for side in (-0.35, 0.35):
            barb = (right * 0.8 - up * side * 0.5, up * 0.8 + right * side * 0.5)
            draw.line([tip, (x + arm * barb[0], y - arm * barb[1])], _TEXT_INDEX, line)
        draw.text((x + arm * 1.4 * right, y - arm * 1.4 * up), letter, _TEXT_INDEX, font=font, anchor="mm")
    return int(x + arm * min(0.0, *rights) - text_size)
