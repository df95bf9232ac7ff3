"""The catalogs of one mosaic, from the file of the product to the files beside it."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from multivisit.catalogs.apertures import AperturePhotometry, aperture_settings
from multivisit.catalogs.background import make_background, rows_looked_at, survey_band
from multivisit.catalogs.bands import divide, in_order, workers_within
from multivisit.catalogs.columns import POINT_COLUMNS, SEGMENT_COLUMNS
from multivisit.catalogs.coverage import exposure_coverage, saturated_pixels
from multivisit.catalogs.detection import (
    connect,
    cut_large,
    find,
    gaussian_smoothing,
    ricker_smoothing,
)
from multivisit.catalogs.flags import NO_COSMIC_RAYS, FlagContext, SourceFlag, flag_sources
from multivisit.catalogs.mosaic_file import MosaicFile
from multivisit.catalogs.noise import drizzled_correlation, measure_correlation
from multivisit.catalogs.segments import Measurer, SegmentShapes, ellipse_axes, groups_of
from multivisit.catalogs.tables import catalog_meta, catalog_path, write_catalog
from multivisit.plan.parameters import concentration_index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from multivisit.catalogs.apertures import ApertureSettings
    from multivisit.catalogs.background import Background, BoxStatistics
    from multivisit.catalogs.bands import Band
    from multivisit.catalogs.coverage import ExposureCoverage
    from multivisit.catalogs.detection import Components, Detection, Smoothing
    from multivisit.catalogs.mosaic_file import MosaicReader
    from multivisit.catalogs.noise import NoiseCorrelation
    from multivisit.plan.layers import Layer
    from multivisit.plan.parameters import CatalogParameters, QualityParameters
    from multivisit.sky.grid import OutputGrid

    Floats = NDArray[np.float64]
    Progress = Callable[[str, int, int], None]

__all__ = ["CatalogFile", "PhotometryMode", "make_catalogs"]

log = logging.getLogger(__name__)

PhotometryMode = Literal["aperture", "segment", "both", "none"]
"""Which catalogs are made."""

_KERNEL_AREA = 121
"""Pixels of the published kernel: smaller components are not separated."""

_MARGIN = 3


@dataclass(frozen=True)
class CatalogFile:
    """A catalog that has been written."""

    path: Path
    """The file."""

    kind: str
    """``aperture`` or ``segment``."""

    n_sources: int
    """Its rows."""


@dataclass(frozen=True)
class _Work:
    """What the steps share."""

    reader: MosaicReader
    bands: list[Band]
    workers: int
    parameters: CatalogParameters
    quality: QualityParameters
    layer: Layer
    coverage: ExposureCoverage
    progress: Callable[[], None]

    @property
    def mosaic(self) -> MosaicFile:
        return self.reader.mosaic

    @property
    def fwhm(self) -> float:
        """Width of a star, pixels."""
        return self.parameters.psf_fwhm / self.mosaic.scale


@dataclass(frozen=True)
class _Found:
    """What stands out, and from what."""

    background: Background
    smoothing: Smoothing
    correlation: NoiseCorrelation
    detection: Detection
    components: Components
    threshold: float
    is_crowded: bool
    deblend: bool
    apertures: ApertureSettings


def make_catalogs(
    product: Path,
    layer: Layer,
    grid: OutputGrid,
    parameters: CatalogParameters,
    quality: QualityParameters,
    *,
    mode: PhotometryMode = "both",
    threads: int = 1,
    memory: int | None = None,
    progress: Progress | None = None,
) -> list[CatalogFile]:
    """Find and measure the sources of a mosaic, and write the catalogs beside it.

    The mosaic is read in bands of rows, and only where there are data. Both catalogs share the background,
    the noise and the detection. The results are the same, bit by bit, for any threads and any memory.

    Parameters
    ----------
    product : Path
        The mosaic: a file with SCI and WHT.
    layer : Layer
        What was combined; its members' flags tell what was saturated.
    grid : OutputGrid
        Its pixels.
    parameters : CatalogParameters
        How sources are found and measured.
    quality : QualityParameters
        How they are flagged.
    mode : {'both', 'aperture', 'segment', 'none'}
        Which catalogs.
    threads : int
        Most threads that may run.
    memory : int, optional
        Bytes that bands may take; None for no limit.
    progress : callable, optional
        Called with a message, the number of steps done and their total number.

    Returns
    -------
    list of CatalogFile
        What has been written; a mosaic without sources has catalogs without rows.

    Raises
    ------
    ProductError
        The mosaic cannot be read, or a catalog not be written.
    """
    kinds = [kind for kind in ("aperture", "segment") if mode in (kind, "both")]
    if not kinds:
        return []
    mosaic = MosaicFile.open(product)
    bands = divide(mosaic.shape, parameters.bkg_box_size)
    workers = workers_within(mosaic.shape, parameters.bkg_box_size, threads, memory)
    with mosaic.reading() as reader:
        exposures = [member.exposure for member in layer.members]
        coverage = exposure_coverage(exposures, grid)
        work = _Work(
            reader,
            bands,
            workers,
            parameters,
            quality,
            layer,
            coverage,
            _steps(progress, layer, 3 * len(bands)),
        )
        found = _find_sources(work)
        measured = _measure(work, found, kinds) if found is not None else None
    tables = dict.fromkeys(kinds)
    context = _flag_context(work, grid, found) if found is not None else None
    written = []
    for kind in tables:
        columns = POINT_COLUMNS if kind == "aperture" else SEGMENT_COLUMNS
        values: dict[str, NDArray[Any]] = {column.name: np.empty(0) for column in columns}
        if found is not None and measured is not None and context is not None:
            x, y, photometry, shapes = measured[kind]
            values = _columns(work, grid, found, context, kind, x, y, photometry, shapes)
        path = catalog_path(product, layer.product_basename, kind)
        write_catalog(path, columns, values, _meta(work, found, kind))
        written.append(CatalogFile(path, kind, len(values[columns[0].name])))
        log.info("%s: %d sources", path.name, written[-1].n_sources)
    return written


def _steps(progress: Progress | None, layer: Layer, total: int) -> Callable[[], None]:
    """Count steps, from any thread."""
    done = 0
    lock = threading.Lock()
    if progress is not None:
        progress("Finding sources", 0, total)

    def step() -> None:
        nonlocal done
        with lock:
            done += 1
            if progress is not None and done <= total:
                progress("Finding sources", done, total)

    return step


def _find_sources(work: _Work) -> _Found | None:
    """Measure background and noise, and find segments and peaks; None without data."""
    mosaic, parameters = work.mosaic, work.parameters

    box = parameters.bkg_box_size
    skip = rows_looked_at(parameters, mosaic.pixfrac / mosaic.scale_ratio)
    reached = work.coverage.columns_of(work.bands, mosaic.shape)

    def survey(number: int) -> BoxStatistics:
        band, (left, right) = work.bands[number], reached[number]
        left = left // box * box
        rows = (band.first, band.last if right > left else band.first)
        pixels = work.reader.read(rows, (left, right), skip)
        result = survey_band(band, left, -(-mosaic.shape[1] // box), *pixels, parameters, skip)
        work.progress()
        return result

    surveys = list(in_order(survey, range(len(work.bands)), work.workers))
    background = make_background(
        surveys,
        parameters,
        detector=work.layer.detector,
        least_deviation=_least_deviation(mosaic),
    )
    if background is None:
        log.warning("%s: no pixel has data; its catalogs are empty", mosaic.path.name)
        return None
    columns = [item.columns for item in surveys]
    expected = drizzled_correlation(mosaic.pixfrac, mosaic.scale_ratio)
    smoothing = gaussian_smoothing(work.fwhm)
    sourcex = parameters.sourcex
    peak = max(
        parameters.nsigma * _response(smoothing),
        parameters.dao.bkgsig_sf * expected.filtered_deviation(smoothing.kernel),
    )
    threshold = sourcex.segm_nsigma

    def search(smoothing: Smoothing, threshold: float, peak: float) -> Detection:
        return find(
            work.reader,
            work.bands,
            columns,
            background,
            smoothing,
            segment=threshold,
            peak=peak,
            workers=work.workers,
            done=work.progress,
        )

    detection = search(smoothing, threshold, peak)
    components = connect(detection.runs, sourcex.source_box)
    observed = _observed_pixels(mosaic)
    correlation = measure_correlation(
        work.reader,
        background,
        detection,
        [(band.first, band.last, *limits) for band, limits in zip(work.bands, columns, strict=True)],
        expected,
    )
    biggest, whole = _fractions(components, observed)
    is_crowded = (
        biggest > sourcex.rw2d_biggest_source
        or whole > sourcex.rw2d_source_fraction
        or (sourcex.rw2d_biggest_pixels is not None and biggest * observed > sourcex.rw2d_biggest_pixels)
    )
    log.info(
        "%d components, %.2f per cent of the mosaic, the biggest %.3f; %d peaks; "
        "noise of large areas x %.2f (%d blocks)",
        len(components),
        100.0 * whole,
        100.0 * biggest,
        len(detection.peaks),
        np.sqrt(correlation.large_scale),
        correlation.n_blocks,
    )
    if is_crowded:
        # Crowded or nebulous: a filter without response to levels takes it apart; it is kept if it helps.
        ricker = ricker_smoothing(work.fwhm, sourcex.rw2d_size)
        again = search(ricker, sourcex.rw2d_nsigma, np.inf)
        apart = connect(again.runs, sourcex.source_box)
        biggest_apart, whole_apart = _fractions(apart, observed)
        if (
            biggest_apart * sourcex.ratio_bigsource_limit < biggest
            or biggest_apart <= sourcex.rw2d_biggest_source
        ):
            components, smoothing, threshold = apart, ricker, sourcex.rw2d_nsigma
            biggest, whole = biggest_apart, whole_apart
            log.info(
                "crowded: %d components with the Ricker wavelet, the biggest %.3f per cent",
                len(apart),
                100 * biggest,
            )
    deblend = (
        biggest <= sourcex.biggest_source_deblend_limit and whole <= sourcex.source_fraction_deblend_limit
    )
    components = cut_large(components, work.bands)
    return _Found(
        background,
        smoothing,
        correlation,
        detection,
        components,
        threshold,
        is_crowded,
        deblend,
        aperture_settings(parameters, mosaic, correlation),
    )


def _least_deviation(mosaic: MosaicFile) -> float:
    """Least noise of a pixel, electrons/s: that of reading the exposures out, or of a single electron."""
    time = max(mosaic.number("TEXPTIME"), 1e-3)
    read_noise = mosaic.number("READNSEA") * np.sqrt(max(mosaic.number("NUMEXP"), 1.0))
    # Drizzling spreads an input pixel, so a smaller output pixel has less of its noise, area by area.
    return float(0.1 * max(read_noise, 1.0) / time * mosaic.scale_ratio**2)


def _response(smoothing: Smoothing) -> float:
    """Height of a filtered star over the height of the star, for stars of the filter's own shape."""
    kernel = smoothing.kernel
    return float((kernel**2).sum() / kernel.max())


def _observed_pixels(mosaic: MosaicFile) -> float:
    """Number of pixels with data, from the fraction of the sky cell that the header tells."""
    rows, columns = mosaic.shape
    cell = 21954.0 * 0.04 / mosaic.scale
    return min(mosaic.number("NPIXFRAC", 1.0) * cell**2, float(rows) * columns) or 1.0


def _fractions(components: Components, observed: float) -> tuple[float, float]:
    """Parts of the mosaic that the biggest component and all of them cover."""
    if len(components) == 0:
        return 0.0, 0.0
    return float(components.areas.max() / observed), float(components.areas.sum() / observed)


Sources = tuple["Floats", "Floats", AperturePhotometry, SegmentShapes]


def _measure(work: _Work, found: _Found, kinds: list[str]) -> dict[str, Sources] | None:
    """Measure all sources; None without any."""
    mosaic, parameters = work.mosaic, work.parameters
    apertures = found.apertures
    measurer = Measurer(
        work.reader,
        found.background,
        found.smoothing,
        found.components,
        found.detection.peaks,
        apertures,
        found.correlation,
        parameters,
        work.fwhm,
        found.deblend,
        _KERNEL_AREA,
        "aperture" in kinds,
        "segment" in kinds,
    )
    margin = int(np.ceil(max(*apertures.annulus, *apertures.radii))) + found.smoothing.half + _MARGIN
    groups = groups_of(work.bands, found.components, found.detection.peaks, margin, mosaic.shape)

    def measure(group: Any) -> Any:
        result = measurer.measure(group)
        work.progress()
        return result

    parts = list(in_order(measure, groups, work.workers))
    if not parts:
        return None
    shapes = SegmentShapes.joined([part.shapes for part in parts])
    x = np.concatenate([part.x for part in parts])
    y = np.concatenate([part.y for part in parts])
    return {
        "aperture": (x, y, AperturePhotometry.joined([part.points for part in parts]), shapes),
        "segment": (shapes.x, shapes.y, AperturePhotometry.joined([part.segments for part in parts]), shapes),
    }


def _flag_context(work: _Work, grid: OutputGrid, found: _Found) -> FlagContext:
    exposures = [member.exposure for member in work.layer.members]
    mosaic = work.mosaic
    return FlagContext(
        work.coverage,
        saturated_pixels(exposures, grid, work.workers),
        work.layer.detector,
        work.parameters.aperture_2 / mosaic.scale,
        mosaic.scale,
        mosaic.number("TEXPTIME"),
        found.background.level,
        0.0 if work.layer.detector in NO_COSMIC_RAYS else found.apertures.narrowest,
    )


def _columns(
    work: _Work,
    grid: OutputGrid,
    found: _Found,
    context: FlagContext,
    kind: str,
    x: Floats,
    y: Floats,
    photometry: AperturePhotometry,
    shapes: SegmentShapes,
) -> dict[str, NDArray[Any]]:
    """Work out a catalog's columns, and leave out what is near the edge of the mosaic."""
    p, mosaic, parameters = photometry, work.mosaic, work.parameters
    limits = work.quality.ci_filter.aperture if kind == "aperture" else work.quality.ci_filter.segment
    magnitude_1, error_1 = _magnitudes(p.flux_1, p.error_1, mosaic.zero_point)
    magnitude_2, error_2 = _magnitudes(p.flux_2, p.error_2, mosaic.zero_point)
    with np.errstate(divide="ignore", invalid="ignore"):
        index = np.where((p.flux_1 > 0.0) & (p.flux_2 > 0.0), 2.5 * np.log10(p.flux_2 / p.flux_1), np.nan)
    flags = flag_sources(x, y, p, index, limits, work.quality.swarm_filter, context)
    inside = context.coverage.is_inside(x, y, parameters.sourcex.border)
    _tell_of_flags(kind, flags, inside)
    ra, dec = grid.plane().sky(np.column_stack([x, y]))
    background = found.background.at(x, y)
    values: dict[str, Any] = {
        "RA": ra,
        "DEC": dec,
        "MagAp1": magnitude_1,
        "MagErrAp1": error_1,
        "FluxAp1": p.flux_1,
        "FluxErrAp1": p.error_1,
        "MagAp2": magnitude_2,
        "MagErrAp2": error_2,
        "FluxAp2": p.flux_2,
        "FluxErrAp2": p.error_2,
        "MSkyAp2": p.sky + background,
        "StdevAp2": p.deviation,
        "CI": index,
        "Flags": flags,
    }
    if kind == "aperture":
        values |= {"X-Center": x, "Y-Center": y}
    else:
        values |= {
            "X-Centroid": x,
            "Y-Centroid": y,
            "Bck": background,
            **_shape_columns(shapes, mosaic.zero_point),
        }
    values = {name: array[inside] for name, array in values.items()}
    values["ID"] = np.arange(1, int(inside.sum()) + 1)
    return values


def _shape_columns(shapes: SegmentShapes, zero_point: float | None) -> dict[str, Floats]:
    s = shapes
    major, minor, theta = ellipse_axes(s.xx, s.yy, s.xy)
    determinant = s.xx * s.yy - s.xy**2
    elongation = major / minor
    return {
        "Area": s.area,
        "FWHM": 2.0 * np.sqrt(np.log(2.0) * (major**2 + minor**2)),
        "MagSegment": _magnitudes(s.flux, s.flux_error, zero_point)[0],
        "FluxSegment": s.flux,
        "FluxSegmentErr": s.flux_error,
        "KronRadius": s.kron_radius,
        "Xmin": s.x_min,
        "Ymin": s.y_min,
        "Xmax": s.x_max,
        "Ymax": s.y_max,
        "X2": s.xx,
        "Y2": s.yy,
        "XY": s.xy,
        "CXX": s.yy / determinant,
        "CYY": s.xx / determinant,
        "CXY": -2.0 * s.xy / determinant,
        "Elongation": elongation,
        "Ellipticity": 1.0 - 1.0 / elongation,
        "Theta": theta,
    }


def _magnitudes(flux: Floats, error: Floats, zero_point: float | None) -> tuple[Floats, Floats]:
    """AB magnitudes and their errors; NaN for no positive flux, or without a zero point."""
    positive = (flux > 0.0) if zero_point is not None else np.zeros(len(flux), dtype=bool)
    safe = np.where(positive, flux, np.nan)
    return -2.5 * np.log10(safe) + (zero_point or 0.0), 2.5 / np.log(10.0) * error / safe


def _tell_of_flags(kind: str, flags: NDArray[np.int64], inside: NDArray[np.bool_]) -> None:
    counts = {flag.name: int(np.sum((flags & flag != 0) & inside)) for flag in SourceFlag}
    log.info(
        "%s: %d sources, %d left out near the edge; flags: %s",
        kind,
        len(flags),
        int(np.sum(~inside)),
        ", ".join(f"{name} {number}" for name, number in counts.items() if number) or "none",
    )


def _meta(work: _Work, found: _Found | None, kind: str) -> dict[str, Any]:
    layer, parameters = work.layer, work.parameters
    index = concentration_index(layer.instrument, layer.detector, layer.filter_name)
    notes = []
    if found is None:
        notes.append("The mosaic has no data.")
    else:
        notes.append(
            "The sky is that of an annulus from "
            + " to ".join(f"{radius * work.mosaic.scale:.4g}" for radius in found.apertures.annulus)
            + " arcsec."
        )
        notes.append(
            f"Errors hold the correlation of the pixels' noise: that of a large area is "
            f"{np.sqrt(found.correlation.large_scale):.3f} times that of independent pixels."
        )
        if found.is_crowded and kind == "segment":
            notes.append("The field is crowded or nebulous: segments may hold several sources.")
    return catalog_meta(
        work.mosaic,
        parameters,
        work.quality.ci_filter.aperture if kind == "aperture" else work.quality.ci_filter.segment,
        kind=kind,
        threshold=parameters.nsigma if kind == "aperture" or found is None else found.threshold,
        aperture_correction=None if index is None else index.aperture_correction,
        notes=notes,
    )
