"""The sources of a mosaic, measured: peaks in apertures, segments pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from multivisit.catalogs import _pixels
from multivisit.catalogs.apertures import AperturePhotometry, measure_apertures
from multivisit.catalogs.joining import Columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from multivisit.catalogs.apertures import ApertureSettings
    from multivisit.catalogs.background import Background
    from multivisit.catalogs.bands import Band
    from multivisit.catalogs.detection import Components, Smoothing
    from multivisit.catalogs.mosaic_file import MosaicReader
    from multivisit.catalogs.noise import NoiseCorrelation
    from multivisit.plan.parameters import CatalogParameters

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int32]

__all__ = ["Group", "Measured", "Measurer", "SegmentShapes", "groups_of"]

_TALLEST = 192
"""Rows of a component above which it is read by itself."""

_SEGMENT_FIELDS = 12
_KRON_REACH = 6.0
_REACH_OF_PEAKS = 1.5
_FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


@dataclass(frozen=True)
class Group:
    """What is measured in one go: the components and the peaks of some rows."""

    rows: tuple[int, int]
    """First row that is read, and the one after the last."""

    columns: tuple[int, int]
    """First column that is read, and the one after the last."""

    components: Integers = field(repr=False)
    """Numbers of the components."""

    peaks: Integers = field(repr=False)
    """Numbers of the peaks."""


@dataclass(frozen=True)
class SegmentShapes(Columns):
    """What the pixels of segments say; positions are those of the mosaic, 0-based."""

    x: Floats = field(repr=False)
    """Centre of light, column."""

    y: Floats = field(repr=False)
    """Centre of light, row."""

    area: Floats = field(repr=False)
    """Pixels."""

    flux: Floats = field(repr=False)
    """Sum over the pixels, electrons/s."""

    flux_error: Floats = field(repr=False)
    """Its standard deviation."""

    xx: Floats = field(repr=False)
    """Variance of the light along x, pixel2."""

    yy: Floats = field(repr=False)
    """Variance along y."""

    xy: Floats = field(repr=False)
    """Covariance."""

    x_min: Floats = field(repr=False)
    """First column."""

    x_max: Floats = field(repr=False)
    """Last column."""

    y_min: Floats = field(repr=False)
    """First row."""

    y_max: Floats = field(repr=False)
    """Last row."""

    kron_radius: Floats = field(repr=False)
    """First moment of the light's distance, pixels."""


@dataclass(frozen=True)
class Measured:
    """The sources of a group."""

    x: Floats = field(repr=False)
    """Column of each point source in the mosaic, 0-based."""

    y: Floats = field(repr=False)
    """Row of each point source."""

    points: AperturePhotometry
    """Apertures about the point sources."""

    shapes: SegmentShapes
    """The segments."""

    segments: AperturePhotometry
    """Apertures about the segments' centres."""


def groups_of(
    bands: Sequence[Band],
    components: Components,
    peaks: Integers,
    margin: int,
    shape: tuple[int, int],
) -> list[Group]:
    """Choose what is measured together: a band's components and peaks, and tall components by themselves.

    Parameters
    ----------
    bands : sequence of Band
        The bands.
    components : Components
        Connected pixels.
    peaks : ndarray of int32
        Rows and columns of peaks, in the order of rows; (n, 2).
    margin : int
        Pixels that a measurement needs around a source.
    shape : tuple of int
        Rows and columns of the mosaic.

    Returns
    -------
    list of Group
        Groups that are not empty, from the first row on.
    """
    limits = components.limits
    tall = limits[:, 1] - limits[:, 0] > _TALLEST
    numbers = np.arange(len(components), dtype=np.int32)
    edges = np.array([band.first for band in bands] + [shape[0]])
    home = np.searchsorted(edges, limits[:, 0], side="right") - 1
    peak_edges = np.searchsorted(peaks[:, 0], edges)
    groups = []
    for number in range(len(bands)):
        mine = numbers[(home == number) & ~tall]
        points = np.arange(peak_edges[number], peak_edges[number + 1], dtype=np.int32)
        groups.append(_group(limits[mine], peaks[points], mine, points, margin, shape))
        groups += [
            _group(limits[one], peaks[:0], one, points[:0], margin, shape)
            for one in numbers[(home == number) & tall][:, None]
        ]
    return [group for group in groups if group is not None]


def _group(
    limits: Integers,
    peaks: Integers,
    components: Integers,
    points: Integers,
    margin: int,
    shape: tuple[int, int],
) -> Group | None:
    if not (len(components) or len(points)):
        return None
    rows = np.concatenate([limits[:, :2].ravel(), peaks[:, 0], peaks[:, 0] + 1])
    columns = np.concatenate([limits[:, 2:].ravel(), peaks[:, 1], peaks[:, 1] + 1])
    return Group(
        (max(0, int(rows.min()) - margin), min(shape[0], int(rows.max()) + margin)),
        (max(0, int(columns.min()) - margin), min(shape[1], int(columns.max()) + margin)),
        components,
        points,
    )


class _Mesh(NamedTuple):
    """The background of a group; see `Background.rows_of_mesh`."""

    levels: NDArray[np.float32]
    noises: NDArray[np.float32]
    first_knot: float


@dataclass(frozen=True)
class Measurer:
    """Measures groups of sources; may be used by several threads."""

    reader: MosaicReader
    """The mosaic."""

    background: Background
    """Background and noise."""

    smoothing: Smoothing
    """The filter that the components were found with."""

    components: Components
    """All components."""

    peaks: Integers
    """All peaks, rows and columns; (n, 2)."""

    apertures: ApertureSettings
    """The apertures."""

    correlation: NoiseCorrelation
    """Correlation of the noise."""

    parameters: CatalogParameters
    """How sources are separated."""

    fwhm: float
    """Full width at half maximum of a star, pixels."""

    deblend: bool
    """Whether components are separated into sources."""

    least_deblended: int
    """Pixels of a component from which on it is separated."""

    want_points: bool = True
    """Measure the peaks."""

    want_segments: bool = True
    """Measure the segments."""

    def measure(self, group: Group) -> Measured:
        """Measure a group.

        Parameters
        ----------
        group : Group
            What to measure.

        Returns
        -------
        Measured
            Its sources.
        """
        science, weight = self.reader.read(group.rows, group.columns)
        levels, noises, knot = self.background.rows_of_mesh(group.rows[0], group.columns, science.shape[0])
        values = np.empty_like(science)
        smoothing = self.smoothing
        _pixels.filter_band(
            science,
            weight,
            levels,
            noises,
            smoothing.across,
            smoothing.down,
            knot,
            self.background.box,
            values,
            None,
        )
        corner = np.array([group.columns[0], group.rows[0]], dtype=np.float64)
        positions = np.empty((0, 2))
        if self.want_points:
            positions = self.peaks[group.peaks][:, ::-1].astype(np.float64) - corner
            positions = np.ascontiguousarray(positions)
            _pixels.refine_positions(values, positions, self.fwhm / _FWHM_PER_SIGMA, _REACH_OF_PEAKS)
        points = self._apertures(values, weight, positions, corner)
        mesh = _Mesh(levels, noises, knot)
        shapes = self._shapes(values, science, weight, mesh, group) if self.want_segments else _no_shapes()
        centres = np.column_stack([shapes.x, shapes.y]) - corner
        segments = self._apertures(values, weight, centres, corner)
        # Missing pixels matter in the cores of sources, which apertures and segments share.
        shapes = replace(shapes, flux_error=np.hypot(shapes.flux_error, segments.sampling))
        places = positions + corner
        return Measured(places[:, 0], places[:, 1], points, shapes, segments)

    def _apertures(
        self, values: NDArray[np.float32], weight: NDArray[np.float32], positions: Floats, corner: Floats
    ) -> AperturePhotometry:
        places = positions + corner
        noises = self.background.at(places[:, 0], places[:, 1], noise=True)
        return measure_apertures(values, weight, positions, noises, self.apertures)

    def _shapes(
        self,
        values: NDArray[np.float32],
        science: NDArray[np.float32],
        weight: NDArray[np.float32],
        mesh: _Mesh,
        group: Group,
    ) -> SegmentShapes:
        """Label the group's components, separate the large ones, and measure what comes out."""
        import sep

        n = len(group.components)
        if n == 0:
            return _no_shapes()
        labels = self._labels(values.shape, group)
        if self.deblend:
            n = self._separate(labels, science, weight, mesh, group)
        sums = np.empty((n, _SEGMENT_FIELDS))
        _pixels.measure_segments(values, weight, labels, sums)
        area, flux, weights, x, y, xx, yy, xy, x_min, x_max, y_min, y_max = sums.T
        xx, yy, xy = _regular(xx, yy, xy)
        major, minor, theta = ellipse_axes(xx, yy, xy)
        kron, _ = sep.kron_radius(
            values,
            x,
            y,
            major,
            minor,
            theta,
            _KRON_REACH,
            seg_id=np.arange(1, n + 1, dtype=np.int32),
            segmap=labels,
        )
        kron = np.maximum(np.nan_to_num(kron), self.parameters.sourcex.kron_minimum_radius)
        left, top = group.columns[0], group.rows[0]
        noises = self.background.at(x + left, y + top, noise=True)
        mean_weight = np.maximum(weights / area, 1e-30)
        variance = area * noises**2 / mean_weight * self.correlation.variance_factors(area)
        variance += np.maximum(flux, 0.0) / (mean_weight * self.apertures.seconds_per_weight)
        return SegmentShapes(
            x + left,
            y + top,
            area,
            flux,
            np.sqrt(variance),
            xx,
            yy,
            xy,
            x_min + left,
            x_max + left,
            y_min + top,
            y_max + top,
            kron,
        )

    def _labels(self, shape: tuple[int, ...], group: Group) -> Integers:
        """Number the pixels of the group's components from 1; those of others are negative."""
        all_runs, owners = self.components.runs, self.components.labels
        first, last = np.searchsorted(all_runs[:, 0], group.rows)
        numbers = np.full(len(self.components), -1, dtype=np.int32)
        numbers[group.components] = np.arange(1, len(group.components) + 1, dtype=np.int32)
        labels = np.zeros(shape, dtype=np.int32)
        runs = np.ascontiguousarray(all_runs[first:last])
        _pixels.paint_runs(runs, numbers[owners[first:last]], labels, group.rows[0], group.columns[0])
        return labels

    def _separate(
        self,
        labels: Integers,
        science: NDArray[np.float32],
        weight: NDArray[np.float32],
        mesh: _Mesh,
        group: Group,
    ) -> int:
        """Give sources that touch labels of their own; give the number of labels."""
        n = len(group.components)
        margin, sourcex = self.smoothing.half, self.parameters.sourcex
        for label, component in enumerate(group.components, start=1):
            if self.components.areas[component] < self.least_deblended:
                continue
            first, last, left, right = self.components.limits[component]
            rows = slice(max(0, first - group.rows[0] - margin), last - group.rows[0] + margin)
            columns = slice(max(0, left - group.columns[0] - margin), right - group.columns[0] + margin)
            part = np.ascontiguousarray(labels[rows, columns])
            filtered = self._filtered(science, weight, mesh, rows, columns)
            objects = np.empty_like(part)
            found = _pixels.deblend(
                filtered, part, label, sourcex.source_box, sourcex.contrast, sourcex.nlevels, objects
            )
            if found > 1:
                later = objects > 0
                labels[rows, columns][later] = objects[later] + n
                n += found - 1
        return n

    def _filtered(
        self,
        science: NDArray[np.float32],
        weight: NDArray[np.float32],
        mesh: _Mesh,
        rows: slice,
        columns: slice,
    ) -> NDArray[np.float32]:
        """The filtered pixels around a component."""
        part = np.ascontiguousarray(science[rows, columns])
        filtered = np.empty_like(part)
        _pixels.filter_band(
            part,
            np.ascontiguousarray(weight[rows, columns]),
            np.ascontiguousarray(mesh.levels[:, columns]),
            np.ascontiguousarray(mesh.noises[:, columns]),
            self.smoothing.across,
            self.smoothing.down,
            mesh.first_knot - rows.start,
            self.background.box,
            np.empty_like(part),
            filtered,
        )
        return filtered


def ellipse_axes(xx: Floats, yy: Floats, xy: Floats) -> tuple[Floats, Floats, Floats]:
    """Give the axes of the ellipse that second moments make.

    Parameters
    ----------
    xx, yy, xy : ndarray
        Variances and covariance, pixel2.

    Returns
    -------
    major, minor : ndarray
        Standard deviations along the axes, pixels.
    theta : ndarray
        Angle from the x axis to the major one, radians.
    """
    middle, half = 0.5 * (xx + yy), 0.5 * (xx - yy)
    root = np.hypot(half, xy)
    theta = 0.5 * np.arctan2(xy, half)
    return np.sqrt(middle + root), np.sqrt(np.maximum(middle - root, 1e-12)), theta


def _regular(xx: Floats, yy: Floats, xy: Floats) -> tuple[Floats, Floats, Floats]:
    """Give thin segments the width that a pixel has (Bertin & Arnouts 1996)."""
    pixel = 1.0 / 12.0
    thin = xx * yy - xy * xy < pixel**2
    return np.where(thin, xx + pixel, xx), np.where(thin, yy + pixel, yy), xy


def _no_shapes() -> SegmentShapes:
    return SegmentShapes(*(np.empty(0) for _ in fields(SegmentShapes)))
