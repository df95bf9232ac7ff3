"""Diagnostic files: where exposures fall, how deep the mosaic is, what was masked, what sky was taken off.

They go into a folder of their own beside the mosaics, ``<beginning of the names>_diagnostics``. Their size is
bounded: outlines are polygons of 64 points a chip, depth maps have at most 2048 pixels a side, and masks are
those of the detectors' chips, compressed.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.atomic import atomic_path
from multivisit.errors import ProductError
from multivisit.plan.footprint_files import exposure_outlines, footprints_json, regions_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from multivisit.combine.mosaic import PreparedLayer
    from multivisit.combine.records import MosaicSummary
    from multivisit.plan.layers import Layer
    from multivisit.plan.parameters import CombinationParameters

__all__ = ["depth_map", "diagnostics_folder", "write_diagnostics"]

log = logging.getLogger(__name__)

_MOST_PIXELS = 2048
_IN_GRID, _OUTSIDE = "green", "red"


def diagnostics_folder(folder: Path, layer: Layer) -> Path:
    """Name the folder of the diagnostic files of a layer's sky cell or custom mosaic.

    Parameters
    ----------
    folder : Path
        The output folder.
    layer : Layer
        A layer.

    Returns
    -------
    Path
        ``<prefix>_diagnostics`` or ``<sky cell>_diagnostics`` in it.
    """
    return folder / f"{layer.prefix or layer.sky_cell_id}_diagnostics"


def write_diagnostics(
    folder: Path,
    layer: Layer,
    prepared: PreparedLayer,
    parameters: CombinationParameters,
    summary: MosaicSummary,
) -> tuple[Path, ...]:
    """Write the diagnostic files of a layer.

    Parameters
    ----------
    folder : Path
        The output folder, which gets a sub-folder.
    layer : Layer
        The layer.
    prepared : PreparedLayer
        Where its chips fall, and its static masks.
    parameters : CombinationParameters
        How it was combined.
    summary : MosaicSummary
        What became of the chips.

    Returns
    -------
    tuple of Path
        Files, all in the sub-folder: ``..._footprints.reg`` (DS9; chips of the layer green, other exposures
        of the run red), ``..._footprints.json``, ``..._depth.fits`` (number of chips and exposure time a
        pixel), ``..._static_masks.fits`` (where there are static masks), ``..._sky.ecsv`` (a row a chip) and
        ``..._parameters.json``. One that cannot be written is missing, with a warning in the log.
    """
    target = diagnostics_folder(folder, layer)
    writers: dict[str, Callable[[Path], object]] = {
        "footprints.reg": lambda path: path.write_text(_regions(layer), encoding="utf-8"),
        "footprints.json": lambda path: path.write_text(_footprints(layer, prepared), encoding="utf-8"),
        "depth.fits": lambda path: _write_depth(path, prepared),
        "sky.ecsv": lambda path: _write_sky(path, summary),
        "parameters.json": lambda path: path.write_text(
            json.dumps(parameters.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8"
        ),
    }
    if prepared.static_masks is not None:
        writers["static_masks.fits"] = lambda path: _write_static_masks(path, prepared)
    written = []
    for ending, write in writers.items():
        path = target / f"{layer.product_basename}_{ending}"
        try:
            target.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                write(temporary)
            written.append(path)
        except (ProductError, OSError) as error:
            # A mosaic without its diagnostic files is still a mosaic.
            log.warning("no diagnostic file: %s", error)
    return tuple(written)


def _regions(layer: Layer) -> str:
    own = [member.exposure for member in layer.members]
    paths = {exposure.path for exposure in own}
    others = [exposure for exposure in layer.all_exposures if exposure.path not in paths]
    return regions_text([*exposure_outlines(others, _OUTSIDE), *exposure_outlines(own, _IN_GRID)])


def _footprints(layer: Layer, prepared: PreparedLayer) -> str:
    outlines = exposure_outlines(member.exposure for member in layer.members)
    paths = [str(member.exposure.path) for member in layer.members]
    return footprints_json(outlines, prepared.grid, product=layer.product_filename, exposures=paths)


def depth_map(
    prepared: PreparedLayer, most_pixels: int = _MOST_PIXELS
) -> tuple[NDArray[np.int16], NDArray[np.float32], int]:
    """Map how many chips cover each pixel, and for how long.

    Parameters
    ----------
    prepared : PreparedLayer
        The chips and the output pixels that they cover.
    most_pixels : int, optional
        Most pixels of the maps along a side: larger mosaics are sampled at every n-th pixel.

    Returns
    -------
    number : ndarray of int16
        Number of chips.
    time : ndarray of float32
        Sum of their exposure times in seconds.
    step : int
        Distance of the sampled pixels; pixel (i, j) of the maps is pixel (i, j) * step + step // 2 of the
        mosaic.
    """
    rows, columns = prepared.grid.shape
    step = -(-max(rows, columns) // most_pixels)
    first = step // 2
    shape = tuple(max(1, -(-(length - first) // step)) for length in (rows, columns))
    number, time = np.zeros(shape, dtype=np.int16), np.zeros(shape, dtype=np.float32)
    for item in prepared.chips:
        runs = item.runs
        here = runs.row % step == first
        for row, start, stop in zip(
            (runs.row[here] // step).tolist(),
            (-((first - runs.start[here]) // step)).tolist(),
            (-((first - runs.stop[here]) // step)).tolist(),
            strict=True,
        ):
            number[row, max(0, start) : max(0, stop)] += 1
            time[row, max(0, start) : max(0, stop)] += item.chip.exposure_time
    return number, time, step


def _write_depth(path: Path, prepared: PreparedLayer) -> None:
    from astropy.io import fits

    number, time, step = depth_map(prepared)
    grid = prepared.grid
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    for axis in (0, 1):
        header[f"CRVAL{axis + 1}"] = grid.crval[axis]
        header[f"CRPIX{axis + 1}"] = (grid.crpix[axis] - 1.0 - step // 2) / step + 1.0
        for other in (0, 1):
            header[f"CD{axis + 1}_{other + 1}"] = grid.cd[axis][other] * step
    header["RADESYS"] = "ICRS"
    header["STEP"] = (step, "pixels of the mosaic from one to the next")
    hdus = [fits.PrimaryHDU(header=fits.Header([("STEP", step, "pixels of the mosaic a pixel")]))]
    for name, data, unit in (("NEXP", number, ""), ("EXPTIME", time, "s")):
        image = fits.ImageHDU(data, header, name=name)
        if unit:
            image.header["BUNIT"] = unit
        hdus.append(image)
    fits.HDUList(hdus).writeto(path, overwrite=True, checksum=True)


def _write_static_masks(path: Path, prepared: PreparedLayer) -> None:
    """Write an image for each chip of the detector: 1 where pixels are left out."""
    from astropy.io import fits

    hdus: list[Any] = [fits.PrimaryHDU()]
    masks = {} if prepared.static_masks is None else prepared.static_masks.masks
    for number, item in enumerate({chip.signature: chip for chip in prepared.chips}.values(), 1):
        mask = masks.get(item.signature)
        if mask is None:
            continue
        image = fits.CompImageHDU(mask.astype(np.uint8), name="MASK", compression_type="GZIP_1")
        image.header["EXTVER"] = number
        image.header["CCDCHIP"] = (item.chip.chip_id, "detector chip")
        image.header["NMASKED"] = (int(np.count_nonzero(mask)), "pixels left out in all exposures")
        hdus.append(image)
    fits.HDUList(hdus).writeto(path, overwrite=True)


def _write_sky(path: Path, summary: MosaicSummary) -> None:
    """Write what became of each chip as a table."""
    import dataclasses

    from astropy import units
    from astropy.table import Table

    from multivisit.combine.records import ChipRecord

    names = [column.name for column in dataclasses.fields(ChipRecord)]
    table = Table({name: [getattr(chip, name) for chip in summary.chips] for name in names})
    table["exposure_time"].unit = units.s
    table["sky_level"].unit = units.electron / units.s
    table.meta["content"] = "sky level taken off each chip (electrons/s per chip pixel), and its pixels"
    table.write(path, format="ascii.ecsv", overwrite=True)
