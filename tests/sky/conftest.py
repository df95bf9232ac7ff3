"""The published grid of sky cells by exact astropy transforms: what the geometry is compared with."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.wcs import WCS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Cell = tuple[int, int, int]

STEP, SIZE, PROJECTION_SIZE = 21442, 21954, 450287


@dataclass
class PublishedGrid:
    """The published table and figures, and astropy: nothing of the package itself."""

    rings: list[dict[str, Any]]
    _wcs: dict[int, WCS] = field(default_factory=dict)

    @property
    def centres(self) -> Floats:
        """Projection cells in the order of their ids: right ascension and declination of the centre."""
        return np.array(
            [
                (k * 360.0 / ring["NBAND"], ring["DEC"])
                for ring in self.rings
                for k in range(int(ring["NBAND"]))
            ]
        )

    def projection_wcs(self, cell_id: int) -> WCS:
        """WCS of a projection cell from the published figures."""
        if cell_id not in self._wcs:
            wcs = WCS(naxis=2)
            wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
            wcs.wcs.crval = self.centres[cell_id]
            wcs.wcs.crpix = [PROJECTION_SIZE / 2 + 0.5] * 2
            wcs.wcs.cd = np.diag([-0.04 / 3600, 0.04 / 3600])
            wcs.wcs.set()
            self._wcs[cell_id] = wcs
        return self._wcs[cell_id]

    def near(self, ra: float, dec: float, radius: float) -> list[int]:
        """Projection cells whose centre is within `radius` degrees."""
        centres = np.radians(self.centres)
        a, d = np.radians(ra), np.radians(dec)
        # haversine formula
        haversine = (
            np.sin((centres[:, 1] - d) / 2) ** 2
            + np.cos(centres[:, 1]) * np.cos(d) * np.sin((centres[:, 0] - a) / 2) ** 2
        )
        return np.flatnonzero(2 * np.arcsin(np.sqrt(haversine)) < np.radians(radius)).tolist()

    def cells_hit(self, ra: Floats, dec: Floats, margin: float, radius: float = 5.0) -> set[Cell]:
        """Sky cells that any of some close positions falls in, each cell grown by `margin` fine pixels."""
        hit = set()
        for cell_id in self.near(float(ra[0]), float(dec[0]), radius):
            x, y = self.projection_wcs(cell_id).wcs_world2pix(ra, dec, 0)
            low, high = -0.5 - margin, PROJECTION_SIZE - 0.5 + margin
            inside = (x >= low) & (x < high) & (y >= low) & (y < high)
            if not inside.any():
                continue
            for column in range(1, 22):
                first = (column - 1) * STEP
                in_column = (x >= first - 0.5 - margin) & (x < first + SIZE - 0.5 + margin)
                if not in_column.any():
                    continue
                for row in range(1, 22):
                    low = (row - 1) * STEP
                    if (in_column & (y >= low - 0.5 - margin) & (y < low + SIZE - 0.5 + margin)).any():
                        hit.add((cell_id, column, row))
        return hit


@pytest.fixture(scope="session")
def published_grid() -> PublishedGrid:
    """The published grid."""
    with (Path(__file__).parent / "data" / "skycell_rings.csv").open() as file:
        rings = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return PublishedGrid(rings)
