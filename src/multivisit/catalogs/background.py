"""Background and noise of a mosaic, measured in boxes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from multivisit.catalogs import _pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from multivisit.catalogs.bands import Band
    from multivisit.plan.parameters import CatalogParameters

    Floats = NDArray[np.float64]
    Pixels = NDArray[np.float32]

__all__ = ["Background", "BoxStatistics", "make_background", "rows_looked_at", "survey_band"]

log = logging.getLogger(__name__)

_FIELDS = 5
_MEAN, _MEDIAN, _DEVIATION, _NOISE, _FRACTION = range(_FIELDS)
_LEAST_FRACTION = 0.4
"""Least part of a box that must have data and be left by clipping."""

_BOX_ITERATIONS = 10
_BOX_CLIP = 3.0
_CLIPPED_GAUSSIAN = 0.98658
"""Standard deviation of a normal distribution cut at three of them."""

_MODE_LIMIT = 0.3
_SAMPLE_STEP = 12
_LARGE_BOX = 20
_LARGE_DROP = 2.0
_ROOM = 2
"""Columns more than those that have data in the rows that are looked at."""


@dataclass(frozen=True)
class BoxStatistics:
    """What one band of a mosaic says about the background."""

    boxes: Floats = field(repr=False)
    """Mean, median, deviation, noise at weight 1, fraction of pixels that count; (down, across, 5)."""

    sample: Pixels = field(repr=False)
    """Some pixels with data, electrons/s."""

    sample_weight: Pixels = field(repr=False)
    """Their weights."""

    sample_rows: NDArray[np.int32] = field(repr=False)
    """Their rows in the mosaic."""

    sample_columns: NDArray[np.int32] = field(repr=False)
    """Their columns in the mosaic."""

    columns: tuple[int, int]
    """First column with data, and the one after the last; equal where there are no data."""


@dataclass(frozen=True)
class Background:
    """Background and noise of a mosaic on a mesh of boxes."""

    levels: Pixels = field(repr=False)
    """Background, electrons/s per pixel, at the centres of the boxes; (down, across)."""

    noises: Pixels = field(repr=False)
    """Standard deviation of a pixel of weight 1; at weight w, this over the root of w. (down, across)."""

    box: int
    """Pixels a side of a box."""

    kind: str
    """``zero``, ``constant`` or ``boxes``."""

    level: float
    """Median background, electrons/s per pixel."""

    deviation: float
    """Median standard deviation of a pixel, electrons/s."""

    def rows_of_mesh(
        self, first_row: int, columns: tuple[int, int], n_rows: int
    ) -> tuple[Pixels, Pixels, float]:
        """Give the mesh for a band, interpolated across.

        Parameters
        ----------
        first_row : int
            First row of the band in the mosaic.
        columns : tuple of int
            First column of the band and the one after the last.
        n_rows : int
            Rows of the band.

        Returns
        -------
        levels, noises : ndarray of float32
            Rows of the mesh, as wide as the band.
        first_knot : float
            Row of the band (not a whole number) at which the first row of the mesh lies; others follow at
            distances of a box.
        """
        centre = 0.5 * (self.box - 1)
        low = max(0, int((first_row - centre) // self.box))
        high = min(len(self.levels), max(low + 1, int((first_row + n_rows - centre) // self.box) + 2))
        low = min(low, high - 1)
        position = (np.arange(*columns) - centre) / self.box
        position = np.clip(position, 0.0, self.levels.shape[1] - 1.0)
        left = np.minimum(position.astype(np.intp), max(self.levels.shape[1] - 2, 0))
        right = np.minimum(left + 1, self.levels.shape[1] - 1)
        fraction = (position - left).astype(np.float32)

        def across(mesh: Pixels) -> Pixels:
            rows = mesh[low:high]
            before = rows.take(left, axis=1)
            result: Pixels = before + fraction * (rows.take(right, axis=1) - before)
            return result

        return across(self.levels), across(self.noises), low * self.box + centre - first_row

    def block(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[Pixels, Pixels]:
        """Give the background and the noise at weight 1 in a small part of the mosaic.

        Parameters
        ----------
        rows, columns : tuple of int
            First and last, the last one excluded.

        Returns
        -------
        levels, noises : ndarray of float32
            Interpolated between the centres of boxes.
        """
        levels, noises, first_knot = self.rows_of_mesh(rows[0], columns, rows[1] - rows[0])
        position = np.clip((np.arange(rows[1] - rows[0]) - first_knot) / self.box, 0.0, len(levels) - 1.0)
        knot = np.minimum(position.astype(np.intp), max(len(levels) - 2, 0))
        after = np.minimum(knot + 1, len(levels) - 1)
        fraction = (position - knot).astype(np.float32)[:, None]
        both = (mesh[knot] + fraction * (mesh[after] - mesh[knot]) for mesh in (levels, noises))
        return next(both), next(both)

    def at(self, x: Floats, y: Floats, *, noise: bool = False) -> Floats:
        """Give the background, or the noise at weight 1, at some places.

        Parameters
        ----------
        x, y : ndarray
            Positions in the mosaic, 0-based pixels.
        noise : bool
            Give the noise.

        Returns
        -------
        ndarray of float64
            Interpolated between the centres of boxes.
        """
        from scipy.ndimage import map_coordinates

        mesh = (self.noises if noise else self.levels).astype(np.float64)
        centre = 0.5 * (self.box - 1)
        places = np.array([(np.asarray(y) - centre) / self.box, (np.asarray(x) - centre) / self.box])
        values: Floats = map_coordinates(mesh, places, order=1, mode="nearest")
        return values


def rows_looked_at(parameters: CatalogParameters, drop: float) -> int:
    """Give how many rows and columns further the next pixel is that the background is measured on.

    Parameters
    ----------
    parameters : CatalogParameters
        Size of the boxes.
    drop : float
        Side of the drops, pixels.

    Returns
    -------
    int
        1 for all. Drizzled pixels share their noise with their neighbours: in large boxes a ninth of the
        pixels says it all, with large drops a quarter.
    """
    if parameters.bkg_box_size >= _LARGE_BOX:
        return 3
    return 2 if drop >= _LARGE_DROP else 1


def survey_band(
    band: Band,
    first_column: int,
    n_boxes: int,
    science: Pixels,
    weight: Pixels,
    parameters: CatalogParameters,
    skip: int,
) -> BoxStatistics:
    """Measure the boxes of one band.

    Parameters
    ----------
    band : Band
        Where it is; its rows are a whole number of boxes.
    first_column : int
        Column of its first pixel; a whole number of boxes.
    n_boxes : int
        Boxes across the whole mosaic.
    science, weight : ndarray of float32
        Its pixels, of every so many-th row.
    parameters : CatalogParameters
        Size of the boxes.
    skip : int
        How many rows further the next one is.

    Returns
    -------
    BoxStatistics
        Boxes, some pixels, and the columns with data.
    """
    box = parameters.bkg_box_size
    down = -(-(band.last - band.first) // box)
    every_box = np.full((down, n_boxes, _FIELDS), np.nan)
    every_box[..., _FRACTION] = 0.0
    if science.size == 0:
        nothing, nowhere = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int32)
        return BoxStatistics(every_box, nothing, nothing, nowhere, nowhere, (0, 0))
    boxes = np.empty((down, -(-science.shape[1] // box), _FIELDS))
    _pixels.box_statistics(science, weight, box, skip, _BOX_CLIP, _BOX_ITERATIONS, boxes)
    every_box[:, first_column // box : first_column // box + boxes.shape[1]] = boxes
    # A multiple of every skip, so that rows that have been read are taken.
    step = _SAMPLE_STEP if science.size * skip > 64 * _SAMPLE_STEP**2 else skip
    chosen = (slice(step // 2 // skip, None, step // skip), slice(step // 2, None, step))
    good = (weight[chosen] > 0.0) & np.isfinite(science[chosen])
    rows, columns = np.nonzero(good)
    with_data = np.flatnonzero(weight.max(axis=0) > 0.0)
    limits = (0, 0)
    if with_data.size:
        first, last = int(with_data[0]) - _ROOM, int(with_data[-1]) + 1 + _ROOM
        limits = (first_column + max(0, first), first_column + min(last, science.shape[1]))
    return BoxStatistics(
        every_box,
        science[chosen][good],
        weight[chosen][good],
        (rows * step + step // 2 // skip * skip + band.first).astype(np.int32),
        (columns * step + step // 2 + first_column).astype(np.int32),
        limits,
    )


def make_background(
    surveys: Sequence[BoxStatistics], parameters: CatalogParameters, *, detector: str, least_deviation: float
) -> Background | None:
    """Choose and make the background of a mosaic.

    As published, one level holds for the whole mosaic unless its pixels are skewed (many sources, or
    nebulosity) and the boxes have less noise than the whole and leave few negative pixels. The noise follows
    the boxes in any case: the published code takes it from regions of like weight.

    Parameters
    ----------
    surveys : sequence of BoxStatistics
        One for each band, in their order.
    parameters : CatalogParameters
        How to choose.
    detector : str
        Name of the detector in lower case.
    least_deviation : float
        Least standard deviation of a pixel, electrons/s; for mosaics without noise.

    Returns
    -------
    Background or None
        None where there are no data.
    """
    sample = np.concatenate([survey.sample for survey in surveys]).astype(np.float64)
    if sample.size == 0:
        return None
    weight = np.concatenate([survey.sample_weight for survey in surveys]).astype(np.float64)
    rows = np.concatenate([survey.sample_rows for survey in surveys])
    columns = np.concatenate([survey.sample_columns for survey in surveys])
    boxes = np.concatenate([survey.boxes for survey in surveys])
    box = parameters.bkg_box_size
    if detector == "sbc" and 100.0 * np.mean(sample == 0.0) > parameters.zero_percent:
        deviation = max(float(np.std(sample[sample > 0.0])) if (sample > 0.0).any() else 0.0, least_deviation)
        noise = deviation * float(np.sqrt(np.median(weight)))
        return _constant(boxes.shape[:2], box, "zero", 0.0, deviation, noise)
    mean, median, deviation = _clipped(sample, parameters.nsigma_clip, parameters.maxiters)
    skew = 3.0 * (mean - median) / deviation if deviation > 0.0 else 0.0
    least_noise = least_deviation * float(np.sqrt(np.median(weight)))
    good = (boxes[..., _FRACTION] >= _LEAST_FRACTION) & np.isfinite(boxes[..., _MEDIAN])
    if not good.any():
        noise = max(deviation * float(np.sqrt(np.median(weight))), least_noise)
        return _constant(boxes.shape[:2], box, "constant", median, max(deviation, least_deviation), noise)
    window = parameters.bkg_filter_size
    noises = np.maximum(_smooth(boxes[..., _NOISE] / _CLIPPED_GAUSSIAN, good, window), least_noise)
    box_deviation = float(np.median(boxes[..., _DEVIATION][good])) / _CLIPPED_GAUSSIAN
    whole = Background(
        np.full(noises.shape, median, dtype=np.float32),
        noises.astype(np.float32),
        box,
        "constant",
        median,
        max(box_deviation, least_deviation),
    )
    log.info("background %.4g, deviation %.4g, skew %.2f electrons/s", median, deviation, skew)
    if parameters.simple_bkg or skew <= parameters.bkg_skew_threshold or box_deviation > deviation:
        return whole
    levels = _smooth(_modes(boxes), good, window)
    local = Background(
        levels.astype(np.float32),
        whole.noises,
        box,
        "boxes",
        float(np.median(levels[good])),
        whole.deviation,
    )
    negative = sample - local.at(columns, rows) < -box_deviation
    share = 100.0 * float(np.mean(negative))
    log.info("background in boxes %.4g, %.1f per cent negative pixels", local.level, share)
    return whole if share > parameters.negative_percent else local


def _constant(
    shape: tuple[int, ...], box: int, kind: str, level: float, deviation: float, noise: float
) -> Background:
    levels = np.full(shape[:2], level, dtype=np.float32)
    return Background(levels, np.full(shape[:2], noise, dtype=np.float32), box, kind, level, deviation)


def _modes(boxes: Floats) -> Floats:
    """The mode of each box (Bertin & Arnouts 1996, A&AS 117, 393); the median where that is skewed."""
    mean, median, deviation = boxes[..., _MEAN], boxes[..., _MEDIAN], boxes[..., _DEVIATION]
    with np.errstate(invalid="ignore"):
        skewed = np.abs(mean - median) > _MODE_LIMIT * deviation
    return np.where(skewed, median, 2.5 * median - 1.5 * mean)


def _clipped(values: Floats, n_sigma: float, iterations: int) -> tuple[float, float, float]:
    """Mean, median and deviation after clipping about the median."""
    for _ in range(iterations):
        median, deviation = np.median(values), np.std(values)
        kept = values[np.abs(values - median) <= n_sigma * deviation]
        if kept.size in (0, values.size):
            break
        values = kept
    return float(np.mean(values)), float(np.median(values)), float(np.std(values))


def _smooth(mesh: Floats, good: NDArray[np.bool_], window: int) -> Floats:
    """Fill boxes that do not count with their nearest neighbour that does, and take medians over a window."""
    from scipy.ndimage import distance_transform_edt, median_filter

    if not good.all():
        nearest = distance_transform_edt(~good, return_distances=False, return_indices=True)
        mesh = mesh[tuple(nearest)]
    smooth: Floats = median_filter(mesh, size=window, mode="nearest")
    return smooth
