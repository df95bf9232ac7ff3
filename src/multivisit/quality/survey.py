"""One look at the pixels of a layer's exposures: sources, skies, and which pixels are bright."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine.chip_reader import read_chip
from multivisit.combine.sky_samples import SkyPatches, chip_patches, merge_patches, patch_spacing
from multivisit.combine.weights import PixelTest
from multivisit.errors import MultivisitError
from multivisit.quality.sources import find_sources, measure_background

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from multivisit.exposures.model import Chip
    from multivisit.exposures.pixel_map import PixelMap
    from multivisit.quality.facts import LayerFacts

    Floats = NDArray[np.float64]

__all__ = ["ChipLook", "ExposureLook", "PixelSet", "best_partners", "look_at_exposures"]

log = logging.getLogger(__name__)

_BRIGHT_SIGMA = 8.0
_THERE_SIGMA = 2.5
_PEAK_SIGMA = 5.0
_MOST_SAMPLED = 5000
_LATTICE = 53
_INVERSE_STEPS = 4
_BYTES_PER_PIXEL = 40
"""What a chip takes while it is looked at, all intermediate arrays included."""


@dataclass(frozen=True)
class PixelSet:
    """A set of pixels of a chip, a bit each."""

    shape: tuple[int, int]
    """Rows and columns of the chip."""

    bits: NDArray[np.uint8] = field(repr=False)
    """Eight pixels a byte, rows padded to whole bytes."""

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> PixelSet:
        """Pack a mask.

        Parameters
        ----------
        mask : ndarray of bool
            The pixels.

        Returns
        -------
        PixelSet
            The set.
        """
        return cls((mask.shape[0], mask.shape[1]), np.packbits(mask, axis=1))

    def has(self, y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Tell which pixels are in the set.

        Parameters
        ----------
        y, x : ndarray of int
            Rows and columns, inside the chip.

        Returns
        -------
        ndarray of bool
            One for each pixel.
        """
        bits: NDArray[np.uint8] = self.bits[y, x >> 3] >> (7 - (x & 7)).astype(np.uint8)
        return (bits & 1).astype(np.bool_)


@dataclass(frozen=True)
class ChipLook:
    """What one chip shows."""

    chip: Chip
    """The chip."""

    pixel_map: PixelMap
    """Where its pixels fall in the mosaic."""

    position: Floats = field(repr=False)
    """Sources in pixels of the mosaic, shape (n, 2)."""

    flux: Floats = field(repr=False)
    """Their fluxes in electrons/s, corrected for the pixel area."""

    signal_to_noise: Floats = field(repr=False)
    """Their signal to noise."""

    width: Floats = field(repr=False)
    """Their widths in arcsec (standard deviation)."""

    patches: SkyPatches | None = field(repr=False)
    """Sky in patches; None where the run has compared the skies already."""

    good: PixelSet = field(repr=False)
    """Pixels that count."""

    there: PixelSet = field(repr=False)
    """Pixels with something (2.5 sigma) in them or beside them."""

    bright: Floats = field(repr=False)
    """Positions (u, v) in the mosaic of bright pixels (8 sigma), at most 5000 of them, drawn evenly."""

    n_bright: int
    """Number of bright pixels."""

    lattice: Floats = field(repr=False)
    """Positions (u, v) in the mosaic of an even sample of good pixels."""

    lattice_weight: float
    """Number of good pixels that each sample stands for."""

    def pixels_of(self, position: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
        """Find the pixels of this chip at positions in the mosaic.

        Parameters
        ----------
        position : ndarray of float64
            Positions (u, v), shape (n, 2).

        Returns
        -------
        y, x : ndarray of int
            Rows and columns; 0 for positions outside.
        inside : ndarray of bool
            Whether the position is on the chip.
        """
        x, y = _invert(self.pixel_map, position)
        ny, nx = self.chip.shape
        column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
        inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
        return np.where(inside, row, 0), np.where(inside, column, 0), inside


@dataclass(frozen=True)
class ExposureLook:
    """What one exposure shows: its chips together."""

    number: int
    """Number of the exposure in the layer."""

    rootname: str
    """Its rootname."""

    chips: tuple[ChipLook, ...]
    """Its chips; empty if none could be read."""

    @property
    def position(self) -> Floats:
        """All sources in pixels of the mosaic, shape (n, 2)."""
        return np.concatenate([np.empty((0, 2)), *(chip.position for chip in self.chips)])

    def together(self, name: str) -> Floats:
        """Give a column of all chips' sources.

        Parameters
        ----------
        name : str
            ``flux``, ``signal_to_noise`` or ``width``.

        Returns
        -------
        ndarray of float64
            In the order of `position`.
        """
        return np.concatenate([np.empty(0), *(getattr(chip, name) for chip in self.chips)])

    @property
    def patches(self) -> SkyPatches | None:
        """Sky patches of all chips."""
        known = [chip.patches for chip in self.chips if chip.patches is not None]
        return merge_patches(known) if known else None


def look_at_exposures(
    facts: LayerFacts, *, threads: int = 1, memory: int | None = None
) -> list[ExposureLook]:
    """Read the exposures of a layer once and keep the little that the checks need.

    Parameters
    ----------
    facts : LayerFacts
        The layer.
    threads : int
        Most chips at a time.
    memory : int, optional
        Bytes that they may take together; at least one chip is read at a time.

    Returns
    -------
    list of ExposureLook
        One for each exposure; the result does not depend on threads and memory. A chip that cannot be read is
        left out, with a warning in the log.
    """
    from multivisit.exposures.pixel_map import PixelMap

    tasks: list[tuple[int, Chip, PixelMap]] = []
    for number, exposure in enumerate(facts.exposures):
        for chip in exposure.chips:
            try:
                known = facts.pixel_maps.get((exposure.filename, chip.extver))
                fitted = known or PixelMap.fit(chip.wcs(), chip.shape, facts.grid.wcs)
                tasks.append((number, chip, fitted))
            except MultivisitError as error:
                log.warning("quality: %s[SCI,%d] is left out: %s", exposure.filename, chip.extver, error)
    if not tasks:
        return []
    largest = max(chip.shape[0] * chip.shape[1] for _, chip, _ in tasks) * _BYTES_PER_PIXEL
    workers = max(1, min(threads, len(tasks), threads if memory is None else memory // largest))
    spacing = patch_spacing(max(chip.nominal_scale for _, chip, _ in tasks), facts.grid.scale)
    with ThreadPoolExecutor(workers, thread_name_prefix="multivisit-quality") as pool:
        looks = list(
            pool.map(lambda task: copy_context().run(_look, facts, task[1], task[2], spacing), tasks)
        )
    found: dict[int, list[ChipLook]] = {}
    for (number, _, _), look in zip(tasks, looks, strict=True):
        if look is not None:
            found.setdefault(number, []).append(look)
    return [
        ExposureLook(number, exposure.rootname, tuple(found.get(number, ())))
        for number, exposure in enumerate(facts.exposures)
    ]


def _look(facts: LayerFacts, chip: Chip, pixel_map: PixelMap, spacing: float) -> ChipLook | None:
    """Look at one chip."""
    bits = facts.parameters.final_bits
    # Where every flag is let pass (single exposures) flagged pixels still tell nothing about quality.
    test = PixelTest(facts.parameters.sky_bits if bits is None else bits)
    try:
        raw = read_chip(chip, test)
    except MultivisitError as error:
        log.warning("quality: %s[SCI,%d] is left out: %s", chip.path.name, chip.extver, error)
        return None
    science, good = raw.science, raw.good
    science[~good] = 0.0
    background = measure_background(science, good)
    sources = find_sources(science, good, background, background.brighter(science, _PEAK_SIGMA))
    u, v = pixel_map.at(sources.x, sources.y)
    patches = None
    if not facts.sky_was_matched:
        patches = chip_patches(science, good, pixel_map, chip.nominal_scale, facts.grid.scale, spacing)
    bright = np.flatnonzero(background.brighter(science, _BRIGHT_SIGMA) & good)
    there = background.brighter(science, _THERE_SIGMA) & good
    return ChipLook(
        chip=chip,
        pixel_map=pixel_map,
        position=np.column_stack([u, v]),
        flux=sources.flux * _pixel_area(pixel_map, sources.x, sources.y, chip, facts.grid.scale),
        signal_to_noise=sources.signal_to_noise,
        width=sources.width * chip.nominal_scale,
        patches=patches,
        good=PixelSet.of(good),
        there=PixelSet.of(_grown(there)),
        bright=_positions(pixel_map, _evenly(bright, _MOST_SAMPLED), chip.shape[1]),
        n_bright=len(bright),
        lattice=_positions(pixel_map, _lattice(good), chip.shape[1]),
        lattice_weight=float(_lattice_step(good)),
    )


def _lattice(good: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Give the good ones of an even sample of pixels."""
    sample = np.arange(0, good.size, _lattice_step(good), dtype=np.intp)
    return sample[good.reshape(-1)[sample]]


def _lattice_step(good: NDArray[np.bool_]) -> int:
    """Every how many pixels one is taken: an odd number, so that columns do not repeat."""
    return max(_LATTICE, good.size // 4000 | 1)


def _evenly(numbers: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    if len(numbers) <= most:
        return numbers
    return numbers[np.linspace(0, len(numbers) - 1, most).astype(np.intp)]


def _positions(pixel_map: PixelMap, place: NDArray[np.intp], columns: int) -> Floats:
    y, x = np.divmod(place, columns)
    return np.column_stack(pixel_map.at(x, y))


def _pixel_area(pixel_map: PixelMap, x: Floats, y: Floats, chip: Chip, scale: float) -> Floats:
    """Give the area of pixels over the nominal one: flat-fielded fluxes of points go as its inverse."""
    ny, nx = chip.shape
    x0, x1 = np.clip(x - 0.5, -0.5, nx - 0.5), np.clip(x + 0.5, -0.5, nx - 0.5)
    y0, y1 = np.clip(y - 0.5, -0.5, ny - 0.5), np.clip(y + 0.5, -0.5, ny - 0.5)
    ux, vx = (b - a for a, b in zip(pixel_map.at(x0, y), pixel_map.at(x1, y), strict=True))
    uy, vy = (b - a for a, b in zip(pixel_map.at(x, y0), pixel_map.at(x, y1), strict=True))
    return np.abs(ux * vy - uy * vx) * (scale / chip.nominal_scale) ** 2


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Add the eight neighbours of each pixel."""
    wide = mask.copy()
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    out = wide.copy()
    out[1:] |= wide[:-1]
    out[:-1] |= wide[1:]
    return out


def _invert(pixel_map: PixelMap, position: Floats) -> tuple[Floats, Floats]:
    """Find chip positions by steps of the map's linear part; those that run away are sent far outside."""
    a = pixel_map.coefficients
    matrix = np.array(
        [[a[k, 0, 1] / pixel_map.half_size[0], a[k, 1, 0] / pixel_map.half_size[1]] for k in (0, 1)]
    )
    inverse = np.linalg.inv(matrix)
    ny, nx = pixel_map.shape
    target = position.T
    start = np.array([[a[0, 0, 0]], [a[1, 0, 0]]])
    x, y = inverse @ (target - start) + np.array([[pixel_map.centre[0]], [pixel_map.centre[1]]])
    for _ in range(_INVERSE_STEPS):
        # Held near the chip: beyond it the polynomial means nothing.
        held_x, held_y = np.clip(x, -0.5, nx - 0.5), np.clip(y, -0.5, ny - 0.5)
        u, v = pixel_map.at(held_x, held_y)
        step = inverse @ (target - np.stack([u, v]))
        x, y = held_x + step[0], held_y + step[1]
    return x, y


def best_partners(looks: Sequence[ExposureLook], facts: LayerFacts) -> dict[int, int]:
    """Give each exposure the one that overlaps it most.

    Parameters
    ----------
    looks : sequence of ExposureLook
        The exposures.
    facts : LayerFacts
        The layer.

    Returns
    -------
    dict of int to int
        Numbers of exposures; those that overlap none are missing.
    """
    readable = {look.number for look in looks if look.chips}
    best: dict[int, tuple[float, int]] = {}
    for overlap in facts.overlaps:
        for one, other in ((overlap.first, overlap.second), (overlap.second, overlap.first)):
            if one in readable and other in readable:
                best[one] = max(best.get(one, (0.0, other)), (overlap.pixels, other))
    return {one: other for one, (_, other) in best.items()}
