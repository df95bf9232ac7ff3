"""SWarp on the same exposures: the same layers on the same grids, as a reader would make them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cases import RUN_MEMORY, Setup, eighteen_case, fresh_folder, log_of, our_contender
from benchmarks.chip_files import ChipFile, write_chip_files
from benchmarks.compare_drizzlepac import members_of
from benchmarks.measuring import (
    BenchmarkError,
    Contender,
    Sample,
    in_words,
    measure_in_turns,
    run_measured,
    total,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CONFIGURATION = {
    "COMBINE_TYPE": "WEIGHTED",
    "WEIGHT_TYPE": "MAP_WEIGHT",
    "RESCALE_WEIGHTS": "N",
    "FSCALE_KEYWORD": "NONE",
    "SUBTRACT_BACK": "Y",
    "MEM_MAX": "1024",
    "COMBINE_BUFSIZE": "1024",
    "NTHREADS": "0",
    "WRITE_XML": "N",
    "VERBOSE_TYPE": "QUIET",
}
"""What differs from SWarp's defaults; the background is subtracted as by default, NTHREADS 0 is all cores."""

RESAMPLINGS = {"SWarp LANCZOS3": "LANCZOS3", "SWarp BILINEAR": "BILINEAR"}
_GRID_KEYWORDS = ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")
_BLOCK = 32
_BRIGHT_BLOCKS = 200


@dataclass(frozen=True)
class _Layer:
    """A layer as SWarp makes it."""

    name: str
    """Its product's name, without suffix."""

    grid: str
    """The ``.head`` file's text that fixes the output grid."""

    chips: tuple[ChipFile, ...]
    """What is combined."""


def measure_swarp(setup: Setup) -> dict[str, Any]:
    """Measure SWarp and this package in turns on the same layers."""
    if setup.swarp is None:
        raise BenchmarkError("SWarp is not installed here (on Debian or Ubuntu: apt install swarp)")
    case = eighteen_case(setup)
    ours, chip_folder = setup.scratch / "multivisit_layers", setup.scratch / "swarp_chips"
    our_run = our_contender(case, ours, repeats=1 if setup.quick else 3, warm_ups=0)
    setup.report(f"multivisit (warm-up): {in_words(our_run.run())}")
    fresh_folder(chip_folder)
    setup.report("writing the chips for SWarp")
    chips = {path: write_chip_files(path, chip_folder) for path in case.exposures}
    layers = _layers(ours, chips)
    folders = {name: setup.scratch / name.replace(" ", "_").lower() for name in RESAMPLINGS}
    contenders = [our_run] + [
        Contender(name, partial(_run_layers, setup.swarp, layers, resampling, folders[name]), 1)
        for name, resampling in RESAMPLINGS.items()
    ]
    turns = measure_in_turns(contenders, setup.report, warmed_bytes=setup.warmed_bytes)
    flux = {
        name: {layer.name: _flux_ratio(folders[name], ours, layer.name) for layer in layers}
        for name in RESAMPLINGS
    }
    return {
        "exposures": len(case.exposures),
        "layers": len(layers),
        "memory": RUN_MEMORY,
        "configuration": CONFIGURATION,
        "run": turns,
        "worst_map_residual_pixels": max(chip.residual_pixels for item in chips.values() for chip in item),
        "flux_over_multivisit": flux,
    }


def _layers(products: Path, chips: dict[Path, list[ChipFile]]) -> list[_Layer]:
    from astropy.io import fits

    layers = []
    for product in sorted(products.glob("hst_skycell-*_dr[cz].fits")):
        header = fits.getheader(product, "SCI")
        members = members_of(product.name, list(chips))
        used = tuple(chip for path in members for chip in chips[path])
        layers.append(_Layer(product.stem, grid_text(header), used))
    return layers


def grid_text(header: Any) -> str:
    """Write a product's grid as SWarp reads it from a ``.head`` file."""
    from astropy.io import fits

    grid = fits.Header()
    grid["NAXIS"] = 2
    for axis in (1, 2):
        grid[f"NAXIS{axis}"] = header[f"NAXIS{axis}"]
    for keyword in _GRID_KEYWORDS:
        grid[keyword] = header[keyword]
    for row in (1, 2):
        for column in (1, 2):
            grid[f"CD{row}_{column}"] = header.get(f"CD{row}_{column}", 0.0)
    return "\n".join(str(card) for card in grid.cards) + "\nEND     \n"


def _run_layers(swarp: str, layers: list[_Layer], resampling: str, folder: Path) -> Sample:
    """Make all layers, one call of SWarp each."""
    fresh_folder(folder)
    samples = []
    for layer in layers:
        (folder / f"{layer.name}.head").write_text(layer.grid)
        (folder / f"{layer.name}.list").write_text("".join(f"{chip.path}\n" for chip in layer.chips))
        options = {
            **CONFIGURATION,
            "RESAMPLING_TYPE": resampling,
            "IMAGEOUT_NAME": f"{layer.name}.fits",
            "WEIGHTOUT_NAME": f"{layer.name}.weight.fits",
        }
        words = [word for key, value in options.items() for word in (f"-{key}", value)]
        command = [swarp, f"@{layer.name}.list", "-c", "/dev/null", *words]
        samples.append(run_measured(command, folder, log_of(folder)))
    return total(samples)


def _flux_ratio(swarp_folder: Path, our_folder: Path, name: str) -> float:
    """Compare the flux of bright parts of the sky: SWarp's over ours, the median over blocks of pixels.

    That both did the same work shows in this: same place, same units, same flux.
    """
    from astropy.io import fits

    with fits.open(swarp_folder / f"{name}.fits") as file:
        theirs = np.asarray(file[0].data)
    with fits.open(our_folder / f"{name}.fits") as file:
        ours = np.asarray(file["SCI"].data)
    if theirs.shape != ours.shape:
        raise BenchmarkError(f"{name}: SWarp made {theirs.shape} pixels, expected {ours.shape}")
    with fits.open(swarp_folder / f"{name}.weight.fits") as file:
        seen = np.asarray(file[0].data) > 0
    good = np.isfinite(ours) & seen
    ours = _blocks(np.where(good, ours - np.median(ours[good][::97]), 0.0))
    theirs = _blocks(np.where(good, theirs - np.median(theirs[good][::97]), 0.0))
    full = _blocks(good.astype(np.float32)) == _BLOCK**2
    bright = np.argsort(np.where(full, ours, -np.inf).ravel())[-_BRIGHT_BLOCKS:]
    bright = bright[full.ravel()[bright]]
    return float(np.median(theirs.ravel()[bright] / ours.ravel()[bright])) if bright.size else float("nan")


def _blocks(values: NDArray[Any]) -> NDArray[Any]:
    ny, nx = (size // _BLOCK for size in values.shape)
    cut = values[: ny * _BLOCK, : nx * _BLOCK]
    return cut.reshape(ny, _BLOCK, nx, _BLOCK).sum(axis=(1, 3), dtype=np.float64)
