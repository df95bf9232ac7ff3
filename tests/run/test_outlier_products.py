"""Products of runs with cosmic-ray rejection, error planes and grids of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

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
