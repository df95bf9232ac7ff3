"""Products of runs with cosmic-ray rejection, error planes and grids of one's own."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from drizzle.resample import Drizzle
from scipy.ndimage import map_coordinates

from multivisit.plan.layers import Layer
from multivisit.run.making import make_mosaic
from multivisit.run.options import RunOptions
from multivisit.run.sequencer import plan_run
from multivisit.simulate import (
    ExposureSpecification,
    FieldSpecification,
    SceneSpecification,
    Visit,
    simulate_field,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from multivisit.run.records import PlannedLayer

_REJECTION = {"driz_separate": True, "median": True, "blot": True, "driz_cr": True, "driz_sep_bits": "80"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Three small exposures."""
    dithers = ((0.0, 0.0), (1.49, 1.51), (-1.53, 2.02))
    visit = Visit(
        "01",
        "2010-06-11T03:00:00",
        40.0,
        (ExposureSpecification("acs_wfc", "f606w", 500.0, dithers, subarray=(120, 150)),),
    )
    field = FieldSpecification(
        "three", 180.26, 26.24, (visit,), scene=SceneSpecification(radius=15.0, n_stars=40, n_galaxies=5)
    )
    return simulate_field(field, tmp_path_factory.mktemp("three")).files


def _make(files: tuple[Path, ...], folder: Path, options: dict[str, Any], **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    run = RunOptions(files, output_folder=folder, previews=False, threads=1, **options)
    item: PlannedLayer = plan_run(run).layers[0]
    assert isinstance(item.layer, Layer)
    parameters = item.parameters.replace(**changes)
    from multivisit.plan.custom_grid import grid_for_parameters

    assert item.grid is not None
    grid = grid_for_parameters(item.grid, parameters)
    return make_mosaic(item.layer, grid, parameters, run, lambda *_: None).product


def test_products_have_an_error_plane_on_request(files: tuple[Path, ...], tmp_path: Path) -> None:
    product = _make(files, tmp_path, {"error_plane": True, "context": True}, final_wht_type="IVM")
    with fits.open(product, checksum=True) as file:
        assert [hdu.name for hdu in file] == ["PRIMARY", "SCI", "WHT", "CTX", "ERR", "HDRTAB"]
        assert file["ERR"].header["BUNIT"] == file["SCI"].header["BUNIT"] == "ELECTRONS/S"
        assert file["WHT"].header["BUNIT"] == "(ELECTRONS/S)**-2"
        np.testing.assert_array_equal(np.isnan(file["ERR"].data), file["WHT"].data == 0)


def test_cleaned_exposures_and_masks_are_written_on_request(files: tuple[Path, ...], tmp_path: Path) -> None:
    _make(files, tmp_path, {}, driz_cr_corr=True, crbit=8192, **_REJECTION)
    for path in files:
        root = path.name[:9]
        with fits.open(path) as exposure, fits.open(tmp_path / f"{root}_crclean.fits") as cleaned:
            for extver in (1, 2):
                mask = fits.getdata(tmp_path / f"{root}_sci{extver}_crmask.fits")
                hit = mask == 0
                before, after = exposure["SCI", extver].data, cleaned["SCI", extver].data
                np.testing.assert_array_equal(before[~hit], after[~hit])
                np.testing.assert_array_equal(cleaned["DQ", extver].data == 8192, hit)
                # Rays add light; the sky is 40 electrons or so.
                assert np.median(before[hit]) > 3.0 * np.median(after[hit])
    assert not list(tmp_path.glob("*tmp*"))


def test_scale_and_rotation_make_another_grid(files: tuple[Path, ...], tmp_path: Path) -> None:
    usual = _make(files, tmp_path / "usual", {})
    other = _make(files, tmp_path / "other", {}, final_scale=0.05, final_rot=25.0)
    with fits.open(usual) as one, fits.open(other) as two:
        header = two["SCI"].header
        assert np.hypot(header["CD1_1"], header["CD2_1"]) * 3600.0 == pytest.approx(0.05)
        assert header["ORIENTAT"] == pytest.approx(25.0)
        # All weight is in both mosaics, and at the same places of the sky.
        weights = [file["WHT"].data.astype(float) for file in (one, two)]
        assert weights[1].sum() == pytest.approx(weights[0].sum(), rel=1e-3)
        y, x = (axis[::5] for axis in np.nonzero(weights[0] > 0.5 * weights[0].max()))
        ra, dec = WCS(one["SCI"].header).all_pix2world(x, y, 0)
        u, v = (np.rint(axis).astype(int) for axis in WCS(header).all_world2pix(ra, dec, 0))
        assert np.mean(weights[1][v, u] > 0.25 * weights[1].max()) > 0.98
        # Surface brightness is the same: flux per pixel goes as the pixel's area.
        medians = [
            np.median(file["SCI"].data[weight > 0.5 * weight.max()])
            for file, weight in zip((one, two), weights, strict=True)
        ]
        assert medians[1] / medians[0] == pytest.approx((0.05 / 0.04) ** 2, rel=0.02)


def _positions(image_header: Any, exposure: Any, extver: int) -> NDArray[np.float64]:
    """Where a chip's pixels fall on an image, by astropy alone."""
    chip = WCS(exposure["SCI", extver].header, exposure)
    ny, nx = exposure["SCI", extver].shape
    y, x = np.mgrid[:ny, :nx].astype(float)
    u, v = WCS(image_header).all_world2pix(*chip.all_pix2world(x.ravel(), y.ravel(), 0), 0)
    return np.stack([u.reshape(ny, nx), v.reshape(ny, nx)], axis=-1)


def test_diagnostic_mode_keeps_what_is_made_on_the_way(files: tuple[Path, ...], tmp_path: Path) -> None:
    changes = {**_REJECTION, "driz_sep_bits": "65535", "driz_sep_kernel": "square", "skysub": False}
    changes |= {"static": False, "combine_type": "median", "combine_nhigh": 0, "median_newmasks": False}
    product = _make(
        files, tmp_path, {"diagnostics": True}, **changes, blot_interp="linear", driz_cr_corr=True
    )
    base = product.name.removesuffix("_drc.fits")
    (folder,) = tmp_path.glob("*_diagnostics")
    median, header = fits.getdata(folder / f"{base}_drc_med.fits", header=True, checksum=True)
    stack = np.full((len(files), *median.shape), np.nan)
    for number, path in enumerate(files):
        member = folder / f"{base}-{path.name[:8]}_flc"
        science, own = fits.getdata(f"{member}_single_sci.fits", header=True, checksum=True)
        weight = fits.getdata(f"{member}_single_wht.fits")
        left, low = (round(header[f"CRPIX{axis}"] - own[f"CRPIX{axis}"]) for axis in (1, 2))
        stack[number, low : low + science.shape[0], left : left + science.shape[1]] = science
        with fits.open(path) as exposure:
            drizzle = Drizzle(kernel="square", out_shape=science.shape, fillval="NAN")
            for extver in (1, 2):
                drizzle.add_image(
                    exposure["SCI", extver].data / 500.0,
                    exptime=500.0,
                    pixmap=_positions(own, exposure, extver),
                    weight_map=np.full(exposure["SCI", extver].shape, 500.0, dtype=np.float32),
                    in_units="cps",
                    iscale=1.0,
                )
                mask = fits.getdata(f"{member}_sci{extver}_crmask.fits")
                corrected = fits.getdata(tmp_path / f"{path.name[:9]}_sci{extver}_crmask.fits")
                np.testing.assert_array_equal(mask, corrected)
                assert (mask == 0).any()
                blot = fits.getdata(f"{member}_sci{extver}_blt.fits")
                x, y = np.moveaxis(_positions(header, exposure, extver), -1, 0)
                area = (0.05 / (3600.0 * np.hypot(header["CD1_1"], header["CD2_1"]))) ** 2
                expected = map_coordinates(median, [y, x], order=1, cval=np.nan) * 500.0 * area
                known = np.isfinite(expected)
                assert known.mean() > 0.9
                np.testing.assert_allclose(blot[known], expected[known], rtol=2e-3, atol=0.3)
        deep = (drizzle.out_wht > 50.0) & (weight > 50.0)
        assert deep.sum() > 0.9 * np.count_nonzero(weight)
        np.testing.assert_allclose(weight[deep], drizzle.out_wht[deep], rtol=0.01, atol=2.0)
        np.testing.assert_allclose(science[deep], drizzle.out_img[deep], rtol=0.01, atol=2e-3)
        np.testing.assert_array_equal(np.isnan(science), weight == 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        np.testing.assert_allclose(median, np.nanmedian(stack, axis=0), rtol=1e-5, atol=1e-7)
    listed = {path.name for path in folder.iterdir()}
    assert sum(name.endswith(("_single_sci.fits", "_single_wht.fits")) for name in listed) == 6
    assert sum(name.endswith(("_blt.fits", "_crmask.fits")) for name in listed) == 12
