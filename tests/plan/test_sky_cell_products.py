"""The published classes of layers and members."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from multivisit.errors import MissingFileError, NotOfferedError, ParameterError, SkyCellError
from multivisit.plan.layers import make_layers
from multivisit.plan.poller import PollerRow
from multivisit.plan.sky_cell_products import (
    SkyCellExposure,
    SkyCellProduct,
    layer_descriptions,
    products_of_layers,
)
from multivisit.plan.vetting import vet_exposures
from multivisit.sky.cells import SkyCell

CELL = "skycell-p1889x11y11"
MakeFile = Callable[..., Path]


def product(*layer: str, detector: str = "ir", filetype: str = "drz") -> SkyCellProduct:
    instrument = "wfc3" if detector == "ir" else "acs"
    return SkyCellProduct("0", "0", instrument, detector, "empty_aperture", CELL, layer, filetype, 20)


def member(filename: str, *layer: str, filetype: str = "drz") -> SkyCellExposure:
    return SkyCellExposure("1889", "x11y11", "wfc3", "ir", "empty_aperture", filename, layer, filetype, 20)


def test_a_product_has_the_published_names() -> None:
    coarse = product("f160w", "coarse", "all", "all")
    basename = f"hst_{CELL}_wfc3_ir_f160w_coarse-all"
    assert coarse.product_basename == coarse.info == basename
    assert coarse.drizzle_filename == f"{basename}_drz.fits"
    assert coarse.trl_filename == f"{basename}_trl.txt"
    assert coarse.trl_logname == f"{basename}_trl.log"
    assert coarse.refname == f"{basename}_ref_cat.ecsv"
    assert coarse.manifest_name == f"{CELL}_manifest.txt"
    assert (coarse.cell_id, coarse.exposure_name, coarse.haplevel) == ("p1889x11y11", CELL, 4)
    assert (coarse.prop_id, coarse.obset_id, coarse.filters) == ("00000", "0", "f160w")
    assert coarse.skycell.wcs.pixel_shape == (7318, 7318)
    assert coarse.edp_list == []
    assert coarse.new_to_layer == 0
    fine = product("f775w", "fine", "short", "2011", detector="wfc", filetype="drc")
    assert fine.drizzle_filename == f"hst_{CELL}_acs_wfc_f775w_short-2011_drc.fits"
    assert product("f160w", "fine", "all").product_basename.endswith("_all")


def test_an_exposure_has_the_published_names_and_nothing_is_copied_or_read() -> None:
    """The file is not there at all."""
    name = "hst_11665_06_wfc3_ir_f160w_ib4606cp_flt.fits"
    exposure = member(name, "f160w", "coarse", "all", "all")
    basename = f"hst_{CELL}_wfc3_ir_f160w_coarse-all-ib4606cp"
    assert exposure.product_basename == basename
    assert exposure.full_filename == f"{basename}_flt.fits"
    assert exposure.drizzle_filename == f"{basename}_drz.fits"
    assert exposure.headerlet_filename == f"{basename}_hlet.fits"
    assert exposure.trl_filename == f"{basename}_trl.txt"
    assert exposure.basename == f"hst_{CELL}_wfc3_ir_"
    assert exposure.svm_exposure_name == "hst_11665_06_wfc3_ir_f160w_ib4606cp"
    assert (exposure.exposure_name, exposure.prop_id, exposure.haplevel) == ("ib4606cp", "01889", 1)
    fine = member("ib4606cpq_flt.fits", "f160w", "fine", "all", "all")
    assert fine.full_filename == f"hst_{CELL}_wfc3_ir_f160w_all-ib4606cp_flt.fits"
    with pytest.raises(MissingFileError):
        _ = fine.exptime


def test_an_exposures_times_come_from_its_header(hubble_file: MakeFile) -> None:
    path = hubble_file(
        "ib4606cpq_flt.fits", detector="IR", exposure_time=699.0, EXPSTART=55611.1, DATE="2024-01-01"
    )
    exposure = member(str(path), "f160w", "fine", "all", "all")
    assert (exposure.exptime, exposure.mjdutc, exposure.svm_gendate) == (699.0, 55611.1, "2024-01-01")


def test_wfpc2_is_named_pc() -> None:
    layer = ("f606w", "fine", "all", "all")
    wfpc2 = SkyCellProduct("0", "0", "wfpc2", "wfpc2", "empty_aperture", CELL, layer, "drz", 20)
    assert wfpc2.product_basename == f"hst_{CELL}_wfpc2_pc_f606w_all"


def test_members_are_added_found_and_verified() -> None:
    layer = product("f160w", "fine", "all", "all")
    first = member("ib4606cpq_flt.fits", "f160w", "fine", "all", "all")
    second = member("ib4606crq_flt.fits", "f160w", "fine", "all", "all")
    second.new_process = False
    layer.add_member(first)
    layer.add_member(second)
    assert layer.new_to_layer == 1
    assert layer.find_member(layer.drizzle_filename) is layer
    assert layer.find_member(second.drizzle_filename) is second
    assert layer.find_member("nothing") is None
    assert first.find_member(first.drizzle_filename) is first
    assert first.find_member("nothing") is None
    second.input_updated = True
    assert layer.verify_members() == [first.full_filename, ""]


def test_impossible_layers_are_errors() -> None:
    with pytest.raises(ParameterError, match="layer"):
        product("f160w")
    with pytest.raises(SkyCellError):
        product("f160w", "medium", "all", "all")
    with pytest.raises(NotOfferedError, match="run_mvm_processing"):
        product("f160w", "fine", "all", "all").wcs_drizzle_product(None)


# ---------------------------------------------------------------------------------------- out of layers


def test_layers_become_products_and_descriptions(hubble_file: MakeFile) -> None:
    paths = [
        str(hubble_file("ib4606cpq_flt.fits", detector="IR")),
        str(hubble_file("ib4606crq_flt.fits", detector="IR")),
        str(hubble_file("jbl70rtvq_flc.fits")),
        str(hubble_file("jbl70rtwq_flc.fits", filters=("F606W", "CLEAR2L"))),
    ]
    rows = [PollerRow(path, sky_cell_id=CELL, is_new="jbl70rtw" not in path) for path in paths]
    layers, _ = make_layers(vet_exposures(rows))
    described = layer_descriptions(layers)
    assert described == {
        "layer 00": {"info": f"{CELL} acs wfc f775w all all 1 drc fine", "files": [paths[2]]},
        "layer 01": {"info": f"{CELL} wfc3 ir f160w all all 1 drz coarse", "files": paths[:2]},
        "layer 02": {"info": f"{CELL} wfc3 ir f160w all all 1 drz fine", "files": paths[:2]},
    }
    products = products_of_layers(layers, 10)
    made = [layer for layer in layers if layer.has_new]
    assert [p.drizzle_filename for p in products] == [layer.product_filename for layer in made]
    assert [len(p.edp_list) for p in products] == [1, 2, 2]
    assert [edp.is_singleton for p in products for edp in p.edp_list] == [True, False, False, False, False]
    assert products[0].log_level == products[0].edp_list[0].log_level == 10
    assert products[1].edp_list[0].full_filename == f"hst_{CELL}_wfc3_ir_f160w_coarse-all-ib4606cp_flt.fits"
    assert products[2].edp_list[0].full_filename == f"hst_{CELL}_wfc3_ir_f160w_all-ib4606cp_flt.fits"
    assert products[0].new_to_layer == 1
    assert sorted(products[0].all_mvm_exposures) == sorted(paths)


# -------------------------------------------------------------------------------------------- the grid


def corners_in(product_wcs: object, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Outer corners of the exposure's pixels, in the product's 0-based pixels, by astropy alone."""
    from astropy.io import fits
    from astropy.wcs import WCS

    header = fits.getheader(path, 1)
    edges = np.array([-0.5, header["NAXIS1"] - 0.5])
    x, y = np.meshgrid(edges, edges)
    ra, dec = WCS(header).all_pix2world(x.ravel(), y.ravel(), 0)
    return product_wcs.all_world2pix(ra, dec, 0)  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("scale", ["fine", "coarse"])
def test_the_bounded_grid_just_contains_all_exposures(hubble_file: MakeFile, scale: str) -> None:
    first = hubble_file("ib4606cpq_flt.fits", detector="IR")
    second = hubble_file("ib4606crq_flt.fits", detector="IR", position=(180.005, 26.003))
    layer = product("f160w", scale, "all", "all")
    layer.add_all_mvm_exposures_list([str(first), str(second)])
    wcs = layer.generate_metawcs()
    assert wcs is not None
    assert layer.meta_bounded_wcs is wcs
    assert layer.meta_wcs.wcs.crpix == pytest.approx(SkyCell.from_name(CELL, scale).wcs.wcs.crpix)  # type: ignore[union-attr]
    x, y = np.concatenate([np.array(corners_in(wcs, path)) for path in (first, second)], axis=1)
    nx, ny = wcs.pixel_shape
    assert -0.5 <= x.min() < 0.5
    assert -0.5 <= y.min() < 0.5
    assert nx - 1.5 <= x.max() <= nx - 0.5
    assert ny - 1.5 <= y.max() <= ny - 0.5
    offset = np.array(SkyCell.from_name(CELL, scale).wcs.wcs.crpix) - np.array(wcs.wcs.crpix)
    np.testing.assert_allclose(offset, np.rint(offset), atol=1e-9)


def test_exposures_off_the_sky_cell_give_no_grid(hubble_file: MakeFile) -> None:
    layer = product("f160w", "fine", "all", "all")
    assert layer.generate_metawcs() is None
    layer.add_all_mvm_exposures_list([str(hubble_file(position=(10.0, -70.0)))])
    assert layer.generate_metawcs() is None
    layer.add_all_mvm_exposures_list(["nowhere_flt.fits"])
    with pytest.raises(MissingFileError, match="nowhere"):
        layer.generate_metawcs()


@pytest.mark.parametrize(("scale", "ratio"), [("fine", 1.0), ("coarse", 3.0)])
def test_the_grid_of_a_custom_mosaic(hubble_file: MakeFile, scale: str, ratio: float) -> None:
    """Limits around the tangent point, in pixels of the projection cell at 0.04 arcsec."""
    path = hubble_file("ib4606cpq_flt.fits", detector="IR")
    centre = 450287 / 2
    limits = [centre - 3000, centre + 6000, centre - 1500, centre + 1500]
    layer = product("f160w", scale, "all", "all")
    layer.add_all_mvm_exposures_list([str(path)])
    wcs = layer.generate_metawcs(custom_limits=limits)
    assert wcs is not None
    assert layer.meta_wcs is not None
    assert layer.meta_wcs.pixel_shape == pytest.approx((9000 / ratio + 1, 3000 / ratio + 1), abs=1)
    assert np.abs(np.array(layer.meta_wcs.wcs.crpix) - np.array([3000, 1500]) / ratio).max() <= 1.5
    assert wcs.wcs.crval == pytest.approx((180.0, 26.0))
    x, y = corners_in(wcs, path)
    nx, ny = wcs.pixel_shape
    assert -0.5 <= x.min() < 0.5
    assert -0.5 <= y.min() < 0.5
    assert nx - 1.5 <= x.max() <= nx - 0.5
    assert ny - 1.5 <= y.max() <= ny - 0.5
    assert layer.bounding_box is not None


@pytest.mark.parametrize("limits", [[1, 2, 3], [2, 1, 0, 5], [0, 5, 5, 5], [0, float("nan"), 0, 5]])
def test_impossible_limits_are_errors(limits: list[float]) -> None:
    with pytest.raises(ParameterError, match="custom_limits"):
        product("f160w", "fine", "all", "all").generate_metawcs(custom_limits=limits)


def test_a_custom_mosaic_without_exposures_has_no_grid(hubble_file: MakeFile) -> None:
    layer = product("f160w", "fine", "all", "all")
    layer.add_all_mvm_exposures_list([str(hubble_file())])
    assert layer.generate_metawcs(custom_limits=[0, 100, 0, 100]) is None
