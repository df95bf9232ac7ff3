"""Compare source catalogs with the simulated truth, and draw what comes out for the documentation.

Exposures of one field are simulated and combined with both catalogs; the figures are of the stars that no
other source is near. One in fifty cosmic-ray hits is left in the pixels without a flag, as the simulation
does by default, or none with ``--all-flagged``. Purity is that of all sources, and of those without flags.
Simulated stars are sharper than those in the sky, so the limits of the concentration index, which are
published for the latter, are set about the index of the simulated stars, as wide as the published ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Table
    from numpy.typing import NDArray

    from multivisit.run.results import PlannedLayer

    Floats = NDArray[np.float64]

DEFAULT_OUTPUT = Path(__file__).parent.parent / "docs" / "images"
LAYERS = {
    "acs_wfc_f814w_all": "ACS/WFC F814W",
    "wfc3_uvis_f336w_all": "WFC3/UVIS F336W",
    "wfc3_ir_f160w_coarse-all": "WFC3/IR F160W coarse",
}
_COLOURS = ("#1f5fa8", "#5b8c3a", "#b5482a")
_BINS = (3.0, 5.0, 7.0, 10.0, 14.0, 20.0, 40.0, 80.0, 200.0, 1000.0)
_ISOLATION = 1.0
_RADIUS = 2.0
_NEAR = 0.3
_BAD = 2 | 4 | 64 | 128
_FLAGS_OF_FALSE = 2 | 4 | 16 | 32 | 64 | 128


class Comparison(NamedTuple):
    """Isolated stars of one layer, and the rows of the catalog."""

    magnitude: Floats
    """True magnitude in the outer aperture."""

    significance: Floats
    """Expected flux over expected error."""

    found: NDArray[np.bool_]
    """Whether the catalog has a source there."""

    is_clean: NDArray[np.bool_]
    """Whether that has no flag of bad pixels, saturation or edges."""

    difference: Floats
    """Magnitude found less the true one."""

    pull: Floats
    """Difference of the fluxes over the error."""

    is_kept: NDArray[np.bool_]
    """Whether it has no flag of what is no star or galaxy, either."""

    catalog_significance: Floats
    """Flux over error of the sources in the catalog."""

    catalog_kept: NDArray[np.bool_]
    """Whether they have no such flag."""

    is_true: NDArray[np.bool_]
    """Whether a simulated source is there."""


def compare(folder: Path, name: str, truth: Table, item: PlannedLayer) -> Comparison:
    """Make the catalogs of a layer with the limits of its stars, and match them with the truth."""
    from astropy.io import fits
    from astropy.table import Table
    from astropy.wcs import WCS
    from scipy.spatial import KDTree

    from multivisit.catalogs.coverage import exposure_coverage

    product = next(folder.glob(f"*_{name}_dr?.fits"))
    with fits.open(product) as file:
        weight, wcs, primary = file["WHT"].data, WCS(file["SCI"].header), file[0].header
    scale = float(primary["PIXSCALE"])
    everything = np.column_stack(wcs.all_world2pix(truth["ra"], truth["dec"], 0))
    stars = np.array(truth["type"]) == "star"
    places = everything[stars]
    column, row = np.round(places).astype(int).T
    inside = (column > 20) & (row > 20) & (column < weight.shape[1] - 20) & (row < weight.shape[0] - 20)
    inside[inside] = weight[row[inside], column[inside]] > 0.3 * np.median(weight[weight > 0])
    inside &= KDTree(everything).query(places, k=2)[0][:, 1] * scale > _ISOLATION
    # What is near the edge of the mosaic is left out of catalogs.
    border = item.parameter_set.catalog_generation.sourcex.border + 1.0
    assert item.grid is not None
    coverage = exposure_coverage([member.exposure for member in item.layer.members], item.grid)
    inside &= coverage.is_inside(places[:, 0], places[:, 1], border)
    flux_column = "flux_" + "_".join(name.split("_")[:3])
    true_flux, places = np.array(truth[flux_column])[stars][inside], places[inside]

    def matched(catalog: Table) -> tuple[Floats, NDArray[np.intp], NDArray[np.bool_]]:
        rows = np.column_stack([catalog["X-Center"], catalog["Y-Center"]])
        distance, nearest = KDTree(rows).query(places)
        clean = (np.array(catalog["Flags"])[nearest] & _BAD) == 0
        snr = np.array(catalog["FluxAp2"] / catalog["FluxErrAp2"])[nearest]
        return distance, nearest, (distance < _RADIUS) & clean & (snr > 100.0)

    catalog = Table.read(remake(product, item, None), format="ascii.ecsv")
    _, nearest, bright = matched(catalog)
    index = float(np.median(np.array(catalog["CI"])[nearest[bright]]))
    catalog = Table.read(remake(product, item, index), format="ascii.ecsv")
    distance, nearest, bright = matched(catalog)
    rows = np.column_stack([catalog["X-Center"], catalog["Y-Center"]])
    flux, error = np.array(catalog["FluxAp2"]), np.array(catalog["FluxErrAp2"])
    flags = np.array(catalog["Flags"])
    clean = (flags & _BAD) == 0
    kept = (flags & _FLAGS_OF_FALSE) == 0
    found = distance < _RADIUS
    true_flux = true_flux * np.median(flux[nearest][bright] / true_flux[bright])
    faint_error = np.median(error[clean & (flux < 10.0 * error)])
    expected_error = np.sqrt(faint_error**2 + true_flux / primary["TEXPTIME"])
    zero = float(catalog.meta["AB Zero Point"])
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = -2.5 * np.log10(flux[nearest] / true_flux)
    return Comparison(
        zero - 2.5 * np.log10(true_flux),
        true_flux / expected_error,
        found,
        found & clean[nearest],
        difference,
        (flux[nearest] - true_flux) / error[nearest],
        found & kept[nearest],
        flux / error,
        kept,
        KDTree(everything).query(rows)[0] * scale < _NEAR,
    )


def remake(product: Path, item: PlannedLayer, index: float | None) -> Path:
    """Make a layer's catalog of point sources; limits about a concentration index, or the published ones."""
    from multivisit.catalogs.making import make_catalogs

    quality, grid = item.parameter_set.quality_control, item.grid
    assert grid is not None
    if index is not None:
        limits = quality.ci_filter.aperture
        half = 0.5 * (limits.ci_upper_limit - limits.ci_lower_limit)
        limits = limits.replace(ci_lower_limit=index - half, ci_upper_limit=index + half)
        quality = quality.replace(ci_filter=quality.ci_filter.replace(aperture=limits))
    made = make_catalogs(
        product, item.layer, grid, item.parameter_set.catalog_generation, quality, mode="aperture", threads=2
    )
    return made[0].path


def binned(comparison: Comparison) -> list[dict[str, float]]:
    """Work out the figures in bins of signal to noise."""
    found = []
    for low, high in itertools.pairwise(_BINS):
        these = (comparison.significance >= low) & (comparison.significance < high)
        good = these & comparison.is_clean
        listed = (comparison.catalog_significance >= low) & (comparison.catalog_significance < high)
        if good.sum() < 10:
            continue
        kept = listed & comparison.catalog_kept
        low_pull, high_pull = np.percentile(comparison.pull[good], [15.87, 84.13])
        found.append(
            {
                "low": low,
                "high": high,
                "stars": int(these.sum()),
                "magnitude": float(np.median(comparison.magnitude[these])),
                "completeness": float(comparison.found[these].mean()),
                "kept": float(comparison.is_kept[these].mean()),
                "purity": float(comparison.is_true[kept].mean()) if kept.any() else float("nan"),
                "purity_of_all": float(comparison.is_true[listed].mean()) if listed.any() else float("nan"),
                "bias": float(np.median(comparison.difference[good])),
                "scatter": float(np.std(comparison.difference[good])),
                "pull": float(np.median(comparison.pull[good])),
                "width": 0.5 * float(high_pull - low_pull),
            }
        )
    return found


def draw(results: dict[str, list[dict[str, float]]], comparisons: dict[str, Comparison], path: Path) -> None:
    """Draw the figures by magnitude."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
    colours = dict(zip(LAYERS, _COLOURS, strict=True))
    for name, bins in results.items():
        magnitude = [item["magnitude"] for item in bins]
        style = {"color": colours[name], "label": LAYERS[name]}
        panels[0, 0].plot(magnitude, [item["completeness"] for item in bins], "o-", **style)
        for key, line in (("purity", "s:"), ("purity_of_all", "x:")):
            values = [item[key] for item in bins]
            panels[0, 0].plot(magnitude, values, line, color=colours[name], mfc="none", lw=1, ms=5)
        good = comparisons[name].is_clean & (np.abs(comparisons[name].difference) < 0.4)
        panels[0, 1].plot(
            comparisons[name].magnitude[good],
            comparisons[name].difference[good],
            ".",
            ms=2,
            alpha=0.3,
            **style,
        )
        panels[0, 1].plot(magnitude, [item["bias"] for item in bins], "o-", color=colours[name])
        panels[1, 0].plot(magnitude, [item["width"] for item in bins], "o-", **style)
        pulls = comparisons[name].pull[good]
        panels[1, 1].hist(pulls, np.linspace(-5, 5, 41), density=True, histtype="step", lw=1.6, **style)
        ten = np.interp(10.0, [item["low"] for item in bins], magnitude)
        for panel in (panels[0, 0], panels[0, 1], panels[1, 0]):
            panel.axvline(ten, color=colours[name], lw=0.6, ls="--")
    panels[0, 0].axhline(0.95, color="0.6", lw=0.8)
    panels[0, 0].set(
        ylim=(0, 1.05), ylabel="completeness (dots), purity of all (x)\nand without flags (squares)"
    )
    panels[0, 1].set(ylim=(-0.3, 0.3), ylabel="magnitude found - true")
    panels[1, 0].axhspan(0.8, 1.2, color="0.9")
    panels[1, 0].set(ylim=(0, 2), ylabel="width of the pulls")
    x = np.linspace(-5, 5, 201)
    panels[1, 1].plot(x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), color="0.5", lw=1)
    panels[1, 1].set(xlabel="(flux found - true) / error", ylabel="stars")
    for panel in (panels[0, 0], panels[0, 1], panels[1, 0]):
        panel.set_xlabel("AB magnitude in the outer aperture")
    panels[1, 1].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=80)


def plan(exposures: Sequence[Path], folder: Path) -> dict[str, PlannedLayer]:
    """Plan the layers of exposures, by the ends of their names."""
    from multivisit.run.options import RunOptions
    from multivisit.run.sequencer import plan_run

    planned = plan_run(RunOptions(inputs=tuple(sorted(exposures)), output_folder=folder)).layers
    return {name: item for item in planned for name in LAYERS if item.layer.product_basename.endswith(name)}


def simulate_and_combine(folder: Path, *, all_flagged: bool) -> None:
    """Make the exposures and their mosaics in a folder."""
    from multivisit.run.options import RunOptions
    from multivisit.run.sequencer import run
    from multivisit.simulate import simulate_field
    from multivisit.simulate.standard_fields import standard_field

    field = standard_field("eighteen")
    if all_flagged:
        field = dataclasses.replace(field, noise=dataclasses.replace(field.noise, unflagged_cosmic_rays=0.0))
    made = simulate_field(field, folder)
    run(RunOptions(inputs=made.files, output_folder=folder, previews=False, phot_mode="none"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, print and draw."""
    from astropy.table import Table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    parser.add_argument("--work", type=Path, help="folder that holds the mosaics already")
    parser.add_argument(
        "--exposures", type=Path, help="folder of exposures and truth, where it is another one"
    )
    parser.add_argument("--all-flagged", action="store_true", help="flag all cosmic rays")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.work or Path(temporary)
        if options.work is None:
            simulate_and_combine(folder, all_flagged=options.all_flagged)
        exposures = options.exposures or folder
        truth = Table.read(exposures / "truth_catalog.ecsv", format="ascii.ecsv")
        planned = plan([*exposures.glob("*_flc.fits"), *exposures.glob("*_flt.fits")], folder)
        comparisons = {name: compare(folder, name, truth, planned[name]) for name in LAYERS}
    results: dict[str, Any] = {name: binned(comparison) for name, comparison in comparisons.items()}
    print(json.dumps(results, indent=1))
    draw(results, comparisons, options.output / "catalogs_against_truth.png")


if __name__ == "__main__":
    main()
