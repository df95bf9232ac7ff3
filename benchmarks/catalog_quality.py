"""Compare source catalogs with the simulated truth, and draw what comes out for the documentation.

Exposures of one field are simulated and combined with both catalogs; the figures are of the stars that no
other source is near. One in fifty cosmic-ray hits is left in the pixels without a flag, as the simulation
does by default, or none with ``--all-flagged``. Purity is that of the sources with a concentration index as
a star's.
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

    Floats = NDArray[np.float64]

DEFAULT_OUTPUT = Path(__file__).parent.parent / "docs" / "images"
LAYERS = {"acs_wfc_f814w_all": "ACS/WFC F814W", "wfc3_ir_f160w_coarse-all": "WFC3/IR F160W coarse"}
_BINS = (3.0, 5.0, 7.0, 10.0, 14.0, 20.0, 40.0, 80.0, 200.0, 1000.0)
_ISOLATION = 1.0
_RADIUS = 2.0
_NEAR = 0.3
_INDEX_WIDTH = 0.06
_BAD = 2 | 4 | 64 | 128


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

    catalog_magnitude: Floats
    """Magnitudes of the sources in the catalog that have no such flag and a star's concentration index."""

    catalog_significance: Floats
    """Flux over error of these."""

    is_true: NDArray[np.bool_]
    """Whether a simulated source is there."""


def compare(folder: Path, name: str, truth: Table) -> Comparison:
    """Match a catalog with the truth."""
    from astropy.io import fits
    from astropy.table import Table
    from astropy.wcs import WCS
    from scipy.spatial import KDTree

    path = next(folder.glob(f"*_{name}_point-cat.ecsv"))
    catalog = Table.read(path, format="ascii.ecsv")
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
    flux_column = "flux_" + "_".join(name.split("_")[:3])
    true_flux, places = np.array(truth[flux_column])[stars][inside], places[inside]
    rows = np.column_stack([catalog["X-Center"], catalog["Y-Center"]])
    flux, error = np.array(catalog["FluxAp2"]), np.array(catalog["FluxErrAp2"])
    clean = (np.array(catalog["Flags"]) & _BAD) == 0
    distance, nearest = KDTree(rows).query(places)
    found = distance < _RADIUS
    bright = found & clean[nearest] & (flux[nearest] > 100.0 * error[nearest])
    index = np.array(catalog["CI"])
    index_error = np.hypot(catalog["MagErrAp1"], catalog["MagErrAp2"])
    star_index = np.median(index[nearest][bright])
    stellar = clean & (np.abs(index - star_index) < np.maximum(_INDEX_WIDTH, 2.0 * index_error))
    true_flux = true_flux * np.median(flux[nearest][bright] / true_flux[bright])
    faint_error = np.median(error[clean & (flux < 10.0 * error)])
    expected_error = np.sqrt(faint_error**2 + true_flux / primary["TEXPTIME"])
    zero = float(catalog.meta["AB Zero Point"])
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = -2.5 * np.log10(flux[nearest] / true_flux)
        magnitudes = zero - 2.5 * np.log10(flux)
    return Comparison(
        zero - 2.5 * np.log10(true_flux),
        true_flux / expected_error,
        found,
        found & clean[nearest],
        difference,
        (flux[nearest] - true_flux) / error[nearest],
        magnitudes[stellar],
        (flux / error)[stellar],
        (KDTree(everything).query(rows)[0] * scale < _NEAR)[stellar],
    )


def binned(comparison: Comparison) -> list[dict[str, float]]:
    """Work out the figures in bins of signal to noise."""
    found = []
    for low, high in itertools.pairwise(_BINS):
        these = (comparison.significance >= low) & (comparison.significance < high)
        good = these & comparison.is_clean
        listed = (comparison.catalog_significance >= low) & (comparison.catalog_significance < high)
        if good.sum() < 10:
            continue
        low_pull, high_pull = np.percentile(comparison.pull[good], [15.87, 84.13])
        found.append(
            {
                "low": low,
                "high": high,
                "stars": int(these.sum()),
                "magnitude": float(np.median(comparison.magnitude[these])),
                "completeness": float(comparison.found[these].mean()),
                "purity": float(comparison.is_true[listed].mean()) if listed.any() else float("nan"),
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
    colours = {"acs_wfc_f814w_all": "#1f5fa8", "wfc3_ir_f160w_coarse-all": "#b5482a"}
    for name, bins in results.items():
        magnitude = [item["magnitude"] for item in bins]
        style = {"color": colours[name], "label": LAYERS[name]}
        panels[0, 0].plot(magnitude, [item["completeness"] for item in bins], "o-", **style)
        panels[0, 0].plot(magnitude, [item["purity"] for item in bins], "s:", color=colours[name], mfc="none")
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
        pulls = comparisons[name].pull[good & (comparisons[name].significance < 200)]
        panels[1, 1].hist(pulls, np.linspace(-5, 5, 41), density=True, histtype="step", lw=1.6, **style)
        ten = np.interp(10.0, [item["low"] for item in bins], magnitude)
        for panel in (panels[0, 0], panels[0, 1], panels[1, 0]):
            panel.axvline(ten, color=colours[name], lw=0.6, ls="--")
    panels[0, 0].axhline(0.95, color="0.6", lw=0.8)
    panels[0, 0].set(ylim=(0, 1.05), ylabel="completeness (filled), purity (open)")
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
    run(RunOptions(inputs=made.files, output_folder=folder, previews=False))


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, print and draw."""
    from astropy.table import Table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    parser.add_argument(
        "--work", type=Path, help="folder that holds the exposures' truth and the mosaics already"
    )
    parser.add_argument("--truth", type=Path, help="truth catalog, where it is not in the work folder")
    parser.add_argument("--all-flagged", action="store_true", help="flag all cosmic rays")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.work or Path(temporary)
        if options.work is None:
            simulate_and_combine(folder, all_flagged=options.all_flagged)
        truth = Table.read(options.truth or folder / "truth_catalog.ecsv", format="ascii.ecsv")
        comparisons = {name: compare(folder, name, truth) for name in LAYERS}
    results: dict[str, Any] = {name: binned(comparison) for name, comparison in comparisons.items()}
    print(json.dumps(results, indent=1))
    draw(results, comparisons, options.output / "catalogs_against_truth.png")


if __name__ == "__main__":
    main()
