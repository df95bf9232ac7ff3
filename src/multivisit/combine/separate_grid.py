"""The grid on which exposures are drizzled separately, relative to the output grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from multivisit.sky.grid import OutputGrid

if TYPE_CHECKING:
    from multivisit.exposures.pixel_map import PixelMap

__all__ = ["SeparateGrid"]


@dataclass(frozen=True)
class SeparateGrid:
    """A grid in the same tangent plane as the output grid, with pixels of another size or direction."""

    shape: tuple[int, int]
    """Rows and columns."""

    scale: float
    """Pixel scale, arcsec."""

    matrix: tuple[tuple[float, float], tuple[float, float]]
    """Turns steps (x, y) of the output grid into steps of this one."""

    shift: tuple[float, float]
    """Where the first pixel of the output grid lies, 0-based."""

    @classmethod
    def over(
        cls, shape: tuple[int, int], output_scale: float, scale: float, rotation: float = 0.0
    ) -> SeparateGrid:
        """Make the grid that covers an output grid.

        Parameters
        ----------
        shape : tuple of int
            Rows and columns of the output grid.
        output_scale : float
            Its pixel scale, arcsec.
        scale : float
            Pixel scale of the separate grid, arcsec.
        rotation : float
            Position angle of its y axis less that of the output grid, degrees.

        Returns
        -------
        SeparateGrid
            The smallest one that contains the output grid, with the same centre.
        """
        ratio, angle = output_scale / scale, math.radians(rotation)
        # East is on the left: a larger position angle turns the axes counterclockwise, and steps clockwise.
        cosine, sine = ratio * math.cos(angle), ratio * math.sin(angle)
        rows, columns = shape
        size = (
            math.ceil(columns * abs(cosine) + rows * abs(sine) - 1e-9),
            math.ceil(columns * abs(sine) + rows * abs(cosine) - 1e-9),
        )
        matrix = ((cosine, sine), (-sine, cosine))
        middle = ((columns - 1) / 2.0, (rows - 1) / 2.0)
        shift = tuple(
            (n - 1) / 2.0 - row[0] * middle[0] - row[1] * middle[1]
            for n, row in zip(size, matrix, strict=True)
        )
        return cls((max(size[1], 1), max(size[0], 1)), scale, matrix, (shift[0], shift[1]))

    def on_sky(self, grid: OutputGrid) -> OutputGrid:
        """Give this grid as one of the sky.

        Parameters
        ----------
        grid : OutputGrid
            The output grid that it belongs to.

        Returns
        -------
        OutputGrid
            A grid with the same tangent point.
        """
        matrix = np.array(self.matrix)
        crpix = matrix @ (np.array(grid.crpix) - 1.0) + self.shift + 1.0
        (a, b), (c, d) = (np.array(grid.cd) @ np.linalg.inv(matrix)).tolist()
        return OutputGrid(
            sky_cell_id=grid.sky_cell_id,
            scale=self.scale,
            crval=grid.crval,
            crpix=(float(crpix[0]), float(crpix[1])),
            shape=self.shape,
            cd_matrix=((a, b), (c, d)),
        )

    def map_of(self, pixel_map: PixelMap) -> PixelMap:
        """Turn a map onto the output grid into one onto this grid.

        Parameters
        ----------
        pixel_map : PixelMap
            From a chip to the output grid.

        Returns
        -------
        PixelMap
            From the chip to this grid.
        """
        matrix = np.array(self.matrix)
        coefficients = np.tensordot(matrix, pixel_map.coefficients, axes=1)
        coefficients[:, 0, 0] += self.shift
        return replace(
            pixel_map,
            coefficients=coefficients,
            residual=np.tensordot(matrix, pixel_map.residual, axes=1),
            error=pixel_map.error * float(np.abs(matrix).sum(axis=1).max()),
        )
