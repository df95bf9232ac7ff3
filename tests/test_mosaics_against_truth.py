"""Whole runs on simulated exposures: what the mosaics show is what was put on the sky."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from multivisit.run.options import RunOptions
from multivisit.run.sequencer import run
from multivisit.simulate import simulate_field
from multivisit.simulate.specification import (
    ExposureSpecification,
    FieldSpecification,
    NoiseSpecification,
    SceneSpecification,
    Visit,
)

if TYPE_CHECKING:
    from multivisit.run.results import RunResult

CENTRE = (180.26, 26.24)
DITHERS = ((0.0, 0.0), (2.49, 2.51))
DARK = (0.0, 0.0)
HALF_BOX_ARCSEC = 1.5


class Made(NamedTuple):
    """A simulated field and its mosaics."""

    result: RunResult
    truth: Table
    exposures: Table


def make(specification: FieldSpecification, folder: Path) -> Made:
    field = simulate_field(specification, folder / "exposures")
    result = run(RunOptions(inputs=field.files, output_folder=folder / "mosaics"))
    assert result.return_code == 0
    return Made(
        result,
        Table.read(field.truth_path, format="ascii.ecsv"),
        Table.read(field.exposures_path, format="ascii.ecsv"),
    )


@pytest.fixture(scope="module")
def noiseless(tmp_path_factory) -> Made:
    """Two visits at different rolls; isolated stars on a dark, noiseless sky."""
    exposures = (
        ExposureSpecification("acs_wfc", "f606w", 500.0, DITHERS, sky_levels=DARK, subarray=(300, 600)),
        ExposureSpecification("wfc3_uvis", "f814w", 300.0, DITHERS, sky_levels=DARK, subarray=(300, 700)),
        ExposureSpecification("wfc3_ir", "f160w", 400.0, DITHERS, sky_levels=DARK, subarray=(256, 256)),
        ExposureSpecification("acs_hrc", "f606w", 200.0, DITHERS, sky_levels=DARK, subarray=(768, 768)),
        ExposureSpecification("acs_sbc", "f125lp", 300.0, DITHERS, sky_levels=DARK, subarray=(768, 768)),
    )
    return make(
        FieldSpecification(
            name="isolated stars",
            ra=CENTRE[0],
            dec=CENTRE[1],
            visits=(
                Visit("01", "2004-06-11T03:00:00", 40.0, exposures),
                Visit("02", "2006-02-20T17:30:00", 131.0, exposures),
            ),
            scene=SceneSpecification(
                radius=20.0, n_stars=70, n_galaxies=0, star_magnitudes=(19.0, 22.0), minimum_separation=3.2
            ),
            noise=NoiseSpecification.none(),
        ),
        tmp_path_factory.mktemp("noiseless"),
    )


LAYERS = {
    "acs_wfc_f606w_all": "flux_acs_wfc_f606w",
    "wfc3_uvis_f814w_all": "flux_wfc3_uvis_f814w",
    "wfc3_ir_f160w_all": "flux_wfc3_ir_f160w",
    "wfc3_ir_f160w_coarse-all": "flux_wfc3_ir_f160w",
    "acs_hrc_f606w_all": "flux_acs_hrc_f606w",
    "acs_sbc_f125lp_all": "flux_acs_sbc_f125lp",
}


@pytest.mark.parametrize(("layer", "column"), LAYERS.items())
def test_stars_are_where_they_are_and_as_bright_as_they_are(noiseless, layer, column):
    product = next(item.product for item in noiseless.result.layers if item.name.endswith(layer))
    with fits.open(product) as file:
        science, weight = file["SCI"].data.astype(np.float64), file["WHT"].data
        wcs = WCS(file["SCI"].header)
    scale = 3600.0 * wcs.wcs.cd[1, 1]
    half = round(HALF_BOX_ARCSEC / scale)
    offsets, ratios = [], []
    for star in noiseless.truth:
        x, y = (float(value) for value in wcs.all_world2pix(star["ra"], star["dec"], 0))
        column0, row0 = round(x), round(y)
        window = np.s_[row0 - half : row0 + half + 1, column0 - half : column0 + half + 1]
        box = science[window] if min(row0, column0) >= half else np.empty(0)
        if box.shape != (2 * half + 1, 2 * half + 1) or weight[window].min() <= 0.9 * weight[window].max():
            continue  # no data, or the border of an exposure runs through the star
        rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
        flux = box.sum()
        ratios.append(flux / star[column])
        offsets.append((column0 + (columns * box).sum() / flux - x, row0 + (rows * box).sum() / flux - y))
    assert len(offsets) >= 3
    rms = np.sqrt(np.mean(np.square(offsets), axis=0))
    assert (rms < 0.02).all(), f"positions are off by {rms} output pixels rms"
    assert np.abs(np.array(ratios) - 1.0).max() < 1e-3, f"fluxes are off: {ratios}"


def test_sky_levels_are_right_relative_to_each_other(tmp_path):
    levels = ((0.11, 0.125), (0.17, 0.142))
    specification = FieldSpecification(
        name="sky levels",
        ra=CENTRE[0],
        dec=CENTRE[1],
        visits=tuple(
            Visit(
                visit_id,
                date,
                roll,
                (
                    ExposureSpecification(
                        "acs_wfc", "f606w", 500.0, DITHERS, sky_levels=sky, subarray=(1100, 2200)
                    ),
                ),
            )
            for visit_id, date, roll, sky in (
                ("01", "2010-06-11T03:00:00", 40.0, levels[0]),
                ("02", "2013-02-20T17:30:00", 131.0, levels[1]),
            )
        ),
        scene=SceneSpecification(radius=80.0, n_stars=800, n_galaxies=120),
    )
    made = make(specification, tmp_path)
    with fits.open(made.result.layers[0].product) as file:
        table = file["HDRTAB"].data
        measured = {row["ROOTNAME"]: float(row["SKYLEVEL"]) for row in table}
    truth = {row["rootname"]: float(row["sky_level"]) for row in made.exposures}
    assert set(measured) == set(truth)
    names = sorted(truth)
    found = np.array([measured[name] for name in names])
    expected = np.array([truth[name] for name in names])
    assert found.min() == 0.0, "the lowest exposure keeps its level"
    # Pixel noise of the sky alone, from photon statistics; read noise would only make it larger.
    noise = np.sqrt(expected.min() / 500.0)
    error = (found - found.mean()) - (expected - expected.mean())
    assert np.abs(error).max() < 0.01 * noise, f"{error / noise} of the pixel noise"
