"""Diagnostic files: what they say of where exposures fall, how deep the mosaic is, and what was done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from regions import Regions

from multivisit.hapmultisequencer import run_mvm_processing
from multivisit.run.diagnostics import depth_map
from multivisit.run.options import RunOptions
from multivisit.run.sequencer import plan_run

CELL = "skycell-p1889x10y12"
KINDS = {
    "footprints.reg",
    "footprints.json",
    "depth.fits",
    "sky.ecsv",
    "parameters.json",
    "static_masks.fits",
}


@pytest.fixture(scope="module")
def made(tiny_exposures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("diagnostics")
    code = run_mvm_processing(
        list(tiny_exposures), diagnostic_mode=True, log_level=50, output_folder=folder, context=True
    )
    assert code == 0
    return folder


def test_all_files_are_in_their_folder_and_in_the_manifest(made):
    folder = made / f"{CELL}_diagnostics"
    found = {path.name for path in folder.iterdir()}
    bases = [
        f"hst_{CELL}_{name}"
        for name in ("acs_wfc_f606w_all", "wfc3_ir_f160w_all", "wfc3_ir_f160w_coarse-all")
    ]
    assert found == {f"{base}_{kind}" for base in bases for kind in KINDS}
    listed = (made / f"{CELL}_manifest.txt").read_text().split()
    assert {name for name in listed if "/" in name} == {f"{folder.name}/{name}" for name in found}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 40e6
    assert "DEBUG" in (made / f"hst_{CELL}_acs_wfc_f606w_all_trl.txt").read_text()


def test_the_depth_map_counts_the_chips_of_the_context(made):
    product = made / f"hst_{CELL}_wfc3_ir_f160w_all_drz.fits"
    depth = made / f"{CELL}_diagnostics" / f"hst_{CELL}_wfc3_ir_f160w_all_depth.fits"
    context = fits.getdata(product, "CTX")
    chips = sum((context >> bit) & 1 for bit in range(4)).squeeze()
    with fits.open(depth) as hdus:
        number, time = hdus["NEXP"].data, hdus["EXPTIME"].data
        assert hdus["NEXP"].header["STEP"] == 1
        # The map counts pixel centres, the context every pixel that is touched, and not bad ones.
        assert (number == chips).mean() > 0.98
        np.testing.assert_array_equal(time, number * np.float32(400.0))
        of_map, of_product = WCS(hdus["NEXP"].header), WCS(fits.getheader(product, "SCI"))
    np.testing.assert_allclose(of_map.wcs_pix2world(3, 7, 0), of_product.wcs_pix2world(3, 7, 0), atol=1e-12)


def test_large_maps_are_samples_with_a_wcs_of_their_own(tiny_exposures):
    from multivisit.combine.mosaic import prepare_layer

    item = plan_run(RunOptions(inputs=tiny_exposures)).layers[0]
    parameters = item.parameters.replace(skysub=False, static=False)
    prepared = prepare_layer([member.exposure for member in item.layer.members], item.grid, parameters)
    whole, _, one = depth_map(prepared, 4096)
    sampled, _, step = depth_map(prepared, 200)
    assert (one, step) == (1, -(-max(item.grid.shape) // 200))
    np.testing.assert_array_equal(sampled, whole[step // 2 :: step, step // 2 :: step])


def test_footprints_are_those_of_the_chips_own_wcs(made, tiny_exposures):
    folder = made / f"{CELL}_diagnostics"
    document = json.loads((folder / f"hst_{CELL}_acs_wfc_f606w_all_footprints.json").read_text())
    wcs = WCS(fits.getheader(made / document["product"], "SCI"))
    path = next(path for path in tiny_exposures if path.name == "jsim0101q_flc.fits")
    with fits.open(path) as hdus:
        shape = hdus["SCI", 1].shape
        corners = WCS(hdus["SCI", 1].header, fobj=hdus).all_pix2world(
            [-0.5, shape[1] - 0.5, shape[1] - 0.5, -0.5], [-0.5, -0.5, shape[0] - 0.5, shape[0] - 0.5], 0
        )
    outline = next(each for each in document["outlines"] if each["name"] == "jsim0101q_flc.fits[SCI,1]")
    assert len(outline["ra_dec"]) == 64
    np.testing.assert_allclose(outline["ra_dec"][::16], np.transpose(corners), atol=2e-8)
    np.testing.assert_allclose(
        outline["pixels"][::16], np.transpose(wcs.wcs_world2pix(*corners, 0)), atol=0.01
    )
    regions = Regions.read(folder / f"hst_{CELL}_acs_wfc_f606w_all_footprints.reg", format="ds9")
    colours = [region.visual["facecolor"] for region in regions]
    assert (colours.count("green"), colours.count("red")) == (4, 4)


def test_sky_values_masks_and_parameters_are_those_of_the_product(made):
    base = made / f"{CELL}_diagnostics" / f"hst_{CELL}_acs_wfc_f606w_all"
    header = fits.getheader(made / f"hst_{CELL}_acs_wfc_f606w_all_drc.fits")
    sky = Table.read(f"{base}_sky.ecsv", format="ascii.ecsv")
    assert len(sky) == header["NDRIZIM"]
    assert (sky["sky_level"].min(), sky["sky_level"].max()) == pytest.approx(
        (header["SKYLOW"], header["SKYHIGH"])
    )
    assert json.loads(Path(f"{base}_parameters.json").read_text())["final_kernel"] == "square"
    with fits.open(f"{base}_static_masks.fits") as hdus:
        n_masked = {hdu.header["CCDCHIP"]: int(hdu.data.sum()) for hdu in hdus[1:]}
    assert all(n_masked[row["chip_id"]] >= row["n_static"] for row in sky)
    assert sum(n_masked.values()) > 0


def test_nothing_is_written_without_being_asked_for(tiny_exposures, tmp_path):
    assert run_mvm_processing([str(tiny_exposures[1])], log_level=50, output_folder=tmp_path) == 0
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
