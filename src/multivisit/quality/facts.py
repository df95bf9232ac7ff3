"""What the checks of a layer look at: plain facts of its exposures, where they fall and how they overlap."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.products.members import wcs_solution

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shapely import MultiPolygon, Polygon

    from multivisit.combine.records import ChipRecord, MosaicSummary
    from multivisit.exposures.model import Chip, Exposure
    from multivisit.exposures.pixel_map import PixelMap
    from multivisit.plan.layers import Layer
    from multivisit.plan.parameters import CombinationParameters
    from multivisit.sky.grid import OutputGrid

__all__ = ["LayerFacts", "Overlap", "frame_of", "visit_of"]

_POINTS_PER_EDGE = 4
_SMALLEST_OVERLAP = 100.0
"""Square pixels; less than this tells nothing."""


@dataclass(frozen=True)
class Overlap:
    """Two exposures of a layer that see the same sky."""

    first: int
    """Number of the one exposure in the layer."""

    second: int
    """Number of the other exposure, larger than `first`."""

    pixels: float
    """Area that both cover, in pixels of the mosaic."""


def visit_of(rootname: str) -> str:
    """Give instrument, program and visit of an exposure, as published (the first six characters).

    Parameters
    ----------
    rootname : str
        Rootname (``jbl70rtvq``).

    Returns
    -------
    str
        ``jbl70r``.
    """
    return rootname[:6]


def frame_of(chip: Chip) -> str:
    """Tell which frame the positions of a chip are tied to.

    Parameters
    ----------
    chip : Chip
        The chip.

    Returns
    -------
    str
        ``guide stars`` for the pointing as commanded, else the catalog: all releases of Gaia are one frame
        (they agree to a milliarcsecond), each other catalog is its own.
    """
    solution = wcs_solution(chip.wcs_name).upper()
    kind = str(chip.header.get("WCSTYPE") or "").upper()
    catalog = solution.rpartition("_")[2] if solution.startswith("FIT") else solution.rpartition("-")[2]
    if "GAIA" in solution or ("GAIA" in kind and "POSTERIORI" in kind):
        return "Gaia"
    if catalog in ("NONE", "UNNAMED", "OPUS", ""):
        return "guide stars"
    return catalog


@dataclass(frozen=True)
class LayerFacts:
    """A layer that has been made, and everything that is in memory about it."""

    layer: Layer
    """The layer."""

    grid: OutputGrid
    """The pixels of its mosaic."""

    parameters: CombinationParameters
    """How it was combined."""

    summary: MosaicSummary
    """Records of the chips, sky levels, statistics."""

    product: Path
    """The mosaic."""

    pixel_maps: Mapping[tuple[str, int], PixelMap] = field(default_factory=dict, repr=False)
    """Where the pixels of chips fall in the mosaic, by file name and EXTVER, as far as they are known."""

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """The exposures, in the order in which they were combined."""
        return tuple(member.exposure for member in self.layer.members)

    @cached_property
    def records(self) -> dict[tuple[str, int], ChipRecord]:
        """Record of each chip by file name and EXTVER."""
        return {(record.filename, record.extver): record for record in self.summary.chips}

    @cached_property
    def outlines(self) -> tuple[tuple[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]], ...], ...]:
        """Right ascension and declination around each chip of each exposure, degrees."""
        return tuple(
            tuple(chip.outline(_POINTS_PER_EDGE) for chip in exposure.chips) for exposure in self.exposures
        )

    @cached_property
    def polygons(self) -> tuple[Polygon | MultiPolygon, ...]:
        """What each exposure covers, in pixels of the mosaic."""
        from shapely import union_all

        from multivisit.sky.footprint import sky_polygon_in_plane

        return tuple(
            union_all([sky_polygon_in_plane(ra, dec, self.grid.wcs).buffer(0) for ra, dec in chips])
            for chips in self.outlines
        )

    @cached_property
    def overlaps(self) -> tuple[Overlap, ...]:
        """All pairs of exposures that overlap."""
        found = []
        for i, j in combinations(range(len(self.polygons)), 2):
            area = self.polygons[i].intersection(self.polygons[j]).area
            if area > _SMALLEST_OVERLAP:
                found.append(Overlap(i, j, float(area)))
        return tuple(found)

    @property
    def sky_was_matched(self) -> bool:
        """Whether the run has compared the skies of overlapping exposures."""
        return self.summary.sky is not None and bool(self.summary.sky.differences)

    def sky_brightness(self, number: int) -> float:
        """Give the sky that was taken off an exposure.

        Parameters
        ----------
        number : int
            Number of the exposure.

        Returns
        -------
        float
            Electrons/s per square arcsec.
        """
        exposure = self.exposures[number]
        for chip in exposure.chips:
            record = self.records.get((exposure.filename, chip.extver))
            if record is not None:
                return record.sky_level / chip.nominal_scale**2
        return 0.0

    def was_used(self, number: int) -> bool:
        """Tell whether an exposure has a good pixel in the mosaic.

        Parameters
        ----------
        number : int
            Number of the exposure.

        Returns
        -------
        bool
            Whether any of its chips was used.
        """
        exposure = self.exposures[number]
        return any(
            record.n_used > 0
            for chip in exposure.chips
            if (record := self.records.get((exposure.filename, chip.extver))) is not None
        )

    def describe_exposures(self) -> tuple[dict[str, Any], ...]:
        """Give the exposures as plain values, for the quality file.

        Returns
        -------
        tuple of dict
            One for each exposure.
        """
        return tuple(
            {
                "filename": exposure.filename,
                "rootname": exposure.rootname,
                "visit": visit_of(exposure.rootname),
                "exposure_time": exposure.exposure_time,
                "date": str(exposure.date_observed or ""),
                "wcs_names": sorted({chip.wcs_name or "" for chip in exposure.chips}),
                "frames": sorted({frame_of(chip) for chip in exposure.chips}),
                "sky_level": self.sky_brightness(number),
                "used": self.was_used(number),
                "chips": [
                    {"ra": np.round(ra, 7).tolist(), "dec": np.round(dec, 7).tolist()}
                    for ra, dec in self.outlines[number]
                ],
            }
            for number, exposure in enumerate(self.exposures)
        )
