"""Custom mosaics as a whole: their names, their pixels, and where the stars are in them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from multivisit import make_custom_mosaic
from multivisit.hapmultisequencer import run_mvm_processing
from multivisit.plan.custom_mosaic import GridArea, LimitsArea, RectangleArea
from multivisit.plan.poller import generate_poller_file
from multivisit.run.options import ReturnCode, RunOptions
from multivisit.run.sequencer import plan_run, run
from multivisit.simulate import simulate_field
from multivisit.simulate.specification import (
    ExposureSpecification,
    FieldSpecification,
    NoiseSpecification,
    SceneSpecification,
    Visit,
)
from multivisit.sky.cells import SkyCell
from multivisit.sky.grid import OutputGrid

CELL = "skycell-p1889x10y12"
PREFIX = "hst_skycell-p1889-ra180d2608-decn26d2404"
LINE = ((0.0, 0.0), (2.49, 2.51))


def field_of(ra: float, dec: float) -> FieldSpecification:
    """Isolated stars without noise, a visit with two detectors."""
    exposures = (
        ExposureSpecification("acs_wfc", "f606w", 500.0, LINE, sky_levels=(0.0, 0.0), subarray=(300, 600)),
        ExposureSpecification("wfc3_ir", "f160w", 400.0, LINE, sky_levels=(0.0, 0.0), subarray=(200, 200)),
    )
    return FieldSpecification(
        name="custom",
        ra=ra,
        dec=dec,
        visits=(Visit("01", "2012-06-11T03:00:00", 40.0, exposures),),
        scene=SceneSpecification(
            radius=20.0, n_stars=60, n_galaxies=0, star_magnitudes=(19.0, 21.0), minimum_separation=3.2
        ),
        noise=NoiseSpecification.none(),
    )


def offsets_of_stars(product: Path, truth: Table, half_box: float = 1.2) -> np.ndarray:
    """Distances in arcsec of the covered stars' light from where astropy puts them in the mosaic."""
    with fits.open(product) as hdus:
        science, weight, header = hdus["SCI"].data, hdus["WHT"].data, hdus["SCI"].header
        wcs = WCS(header)
    scale = np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600.0
    half = int(np.ceil(half_box / scale))
    found = []
    for star in truth:
        x, y = wcs.all_world2pix(star["ra"], star["dec"], 0)
        i, j = round(float(x)), round(float(y))
        rows, columns = slice(j - half, j + half + 1), slice(i - half, i + half + 1)
        box = science[rows, columns] if i >= half and j >= half else np.empty((0, 0))
        if box.shape != (2 * half + 1, 2 * half + 1) or not (weight[rows, columns] > 0).all():
            continue
        v, u = np.mgrid[rows, columns]
        light = box.sum(dtype=float)
        found.append(np.hypot((u * box).sum() / light - x, (v * box).sum() / light - y) * scale)
    return np.array(found)


@pytest.fixture(scope="module")
def whole_cell(tiny_exposures, tmp_path_factory):
    """The sky cell's own mosaics."""
    return run(
        RunOptions(inputs=tiny_exposures, output_folder=tmp_path_factory.mktemp("cell"), previews=False)
    )


def test_perform_makes_one_mosaic_of_all_exposures(tiny_exposures, tmp_path, capsys):
    folder = tiny_exposures[0].parent
    pattern = str(folder / "*_fl?.fits")
    code = make_custom_mosaic.perform(pattern, "error", skip_gaia_alignment=True, output_folder=tmp_path)
    assert code == 0
    bases = {
        f"{PREFIX}_acs_wfc_f606w_all": "drc",
        f"{PREFIX}_wfc3_ir_f160w_all": "drz",
        f"{PREFIX}_wfc3_ir_f160w_coarse-all": "drz",
    }
    expected = {f"{PREFIX}_manifest.txt", f"{PREFIX}_vetting.ecsv", f"{PREFIX}_trl.txt"}
    for base, suffix in bases.items():
        expected |= {f"{base}_{suffix}.fits", f"{base}_{suffix}.png", f"{base}_trl.txt"}
        expected |= {f"{base}_{kind}-cat.ecsv" for kind in ("point", "segment")}
        expected.add(f"{base}_quality.json")
    assert {path.name for path in tmp_path.iterdir()} == expected
    listed = set((tmp_path / f"{PREFIX}_manifest.txt").read_text().split())
    assert listed == {name for base in bases for name in expected if name.startswith(f"{base}_")}
    for base, suffix in bases.items():
        header = fits.getheader(tmp_path / f"{base}_{suffix}.fits")
        assert header["SCELLID"] == "p1889"
        assert "x from 192978 to 214931, y from 235862 to 257815" in " ".join(header["HISTORY"])
        assert header["FILENAME"] == f"{base}_{suffix}.fits"
        assert header["DRIZPARS"] == f"{base}_trl.txt"
    # NPIXFRAC is of the rectangle of sky cells that the exposures touch: here one, as drizzlepac 3.11 has it.
    assert fits.getheader(tmp_path / f"{PREFIX}_wfc3_ir_f160w_all_drz.fits")["NPIXFRAC"] == pytest.approx(
        7.048e-4, rel=0.02
    )


def test_a_text_file_names_the_exposures_and_the_prefix_is_the_users(tiny_exposures, tmp_path, monkeypatch):
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join(str(path) for path in tiny_exposures if "isim01" in path.name) + "\n")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert make_custom_mosaic.main([str(listing), "-s", "-o", "mine_", "-l", "critical"]) == 0
    monkeypatch.undo()
    names = {path.name for path in (tmp_path / "work").iterdir()}
    assert names == {
        *(
            f"mine_wfc3_ir_f160w_{label}_drz.{end}"
            for label in ("all", "coarse-all")
            for end in ("fits", "png")
        ),
        *(
            f"mine_wfc3_ir_f160w_{label}_{end}"
            for label in ("all", "coarse-all")
            for end in ("trl.txt", "point-cat.ecsv", "segment-cat.ecsv", "quality.json")
        ),
        *(f"mine_{end}" for end in ("manifest.txt", "vetting.ecsv", "trl.txt")),
    }


@pytest.mark.parametrize(
    ("source", "word"),
    [("nothing-*.fits", "no exposures found"), (7, "expected a pattern"), ([], "no exposures")],
)
def test_no_exposures_is_an_error_told(source, word, capsys, tmp_path):
    assert make_custom_mosaic.perform(source, output_folder=tmp_path) == 1
    assert word in capsys.readouterr().out


def test_alignment_without_a_network_is_an_error_told(tiny_exposures, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ASTROMETRIC_CATALOG_URL", "http://127.0.0.1:1/webservices")
    assert make_custom_mosaic.perform([str(tiny_exposures[0])], output_folder=tmp_path) == 1
    assert "skip_gaia_alignment" in capsys.readouterr().out
    assert make_custom_mosaic.perform([str(tiny_exposures[0])], "loud", output_folder=tmp_path) == 1


def test_limits_in_a_cell_give_the_cells_own_pixels(tiny_exposures, whole_cell, tmp_path):
    """The same grid: bit by bit what the sky cell's mosaic has there."""
    cell = SkyCell.from_name(CELL)
    product = next(layer.product for layer in whole_cell.layers if layer.name.endswith("ir_f160w_all"))
    with fits.open(product) as hdus:
        header = hdus["SCI"].header
        # A part of the mosaic, in pixels of the projection cell, to which LTV leads.
        left, low = 200 - int(header["LTV1"]), 300 - int(header["LTV2"])
        expected = {name: hdus[name].data[300:700, 200:600] for name in ("SCI", "WHT")}
    poller = tmp_path / "poller.out"
    names = [str(path) for path in tiny_exposures]
    generate_poller_file(names, poller_file_type="mvm", output_poller_filename=poller, skycell_name=CELL)
    code = run_mvm_processing(
        str(poller),
        custom_limits=[left, left + 399, low, low + 399],
        output_file_prefix="part",
        log_level=50,
        output_folder=tmp_path / "part",
    )
    assert code == 0
    assert np.isfinite(expected["SCI"]).mean() > 0.3
    with fits.open(tmp_path / "part" / "part_wfc3_ir_f160w_all_drz.fits") as hdus:
        for name, pixels in expected.items():
            np.testing.assert_array_equal(hdus[name].data, pixels)
        assert hdus[0].header["NPIXFRAC"] == pytest.approx(np.mean(expected["WHT"] > 0), abs=2e-3)
        ra, dec = WCS(hdus["SCI"].header).wcs_pix2world(0, 0, 0)
    np.testing.assert_allclose(cell.projection_cell.wcs.wcs_world2pix(ra, dec, 0), [left, low], atol=1e-4)


def test_a_coarse_part_of_a_cell_on_the_projection_cells_grid_is_the_same_too(tmp_path):
    """Sky cells of the columns and rows 1, 4, 7, ... share the projection cell's coarse grid."""
    cell = SkyCell.from_name("skycell-p1889x10y13")
    ra, dec = cell.wcs.wcs_pix2world(10977.0, 10977.0, 0)
    files = simulate_field(field_of(float(ra), float(dec)), tmp_path / "exposures").files
    files = tuple(path for path in files if path.name.startswith("i"))
    whole = run(RunOptions(inputs=files, output_folder=tmp_path / "cell", previews=False))
    custom = run(
        RunOptions(
            inputs=files,
            output_folder=tmp_path / "custom",
            area=LimitsArea((192978, 214931, 257304, 279257)),
            previews=False,
        )
    )
    for one, other in zip(whole.layers, custom.layers, strict=True):
        for extension in ("SCI", "WHT"):
            np.testing.assert_array_equal(
                fits.getdata(one.product, extension), fits.getdata(other.product, extension)
            )


def test_a_mosaic_over_the_edge_of_a_projection_cell_is_not_clipped(tmp_path):
    """Limits of the cell beyond whose edge the exposures reach: every star is there, where it belongs."""
    cell = SkyCell.from_name("skycell-p1889x10y21")
    whole = cell.projection_cell.wcs
    edge = cell.projection_cell.layout.projection_pixels
    ra, dec = (float(value) for value in whole.wcs_pix2world(205000.0, edge - 0.5, 0))
    field = simulate_field(field_of(ra, dec), tmp_path / "exposures")
    truth = Table.read(field.truth_path, format="ascii.ecsv")
    poller = tmp_path / "poller.out"
    names = [str(path) for path in field.files]
    generate_poller_file(
        names, poller_file_type="mvm", output_poller_filename=poller, skycell_name=cell.sky_cell_id
    )
    result = run(
        RunOptions(
            inputs=poller,
            output_folder=tmp_path / "out",
            area=LimitsArea((200000, 210000, edge - 5000, edge + 5000)),
            previews=False,
        )
    )
    assert result.return_code == ReturnCode.SUCCESS
    for layer in result.layers:
        with fits.open(layer.product) as hdus:
            science, header = hdus["SCI"].data, hdus["SCI"].header
            assert hdus[0].header["SCELLID"] == "p1889"
        assert tuple(header["CRVAL*"].values()) == tuple(whole.wcs.crval)
        # The edge of the projection cell runs through the mosaic, and both sides have data.
        scale = 0.12 if "coarse" in layer.name else 0.04
        row = int((edge * 0.04 / scale) + header["LTV2"])
        assert 0.2 * len(science) < row < 0.8 * len(science)
        covered = np.isfinite(science)
        assert covered[row - 20 : row + 20].any(axis=1).all()
        assert covered[row:].sum() > 0.15 * covered.sum()
        offsets = offsets_of_stars(layer.product, truth)
        assert len(offsets) >= 5
        assert offsets.max() < 0.1 * scale + 0.002


def test_perform_over_several_sky_cells_is_one_mosaic(tmp_path):
    """Exposures on the corner of four sky cells."""
    cell = SkyCell.from_name(CELL)
    ra, dec = (float(value) for value in cell.wcs.wcs_pix2world(21700.0, 21700.0, 0))
    field = simulate_field(field_of(ra, dec), tmp_path / "exposures")
    truth = Table.read(field.truth_path, format="ascii.ecsv")
    files = [str(path) for path in field.files]
    code = make_custom_mosaic.perform(
        files, "error", "corner", skip_gaia_alignment=True, output_folder=tmp_path / "out"
    )
    assert code == 0
    product = tmp_path / "out" / "corner_acs_wfc_f606w_all_drc.fits"
    offsets = offsets_of_stars(product, truth)
    assert len(offsets) >= 5
    assert offsets.max() < 0.006
    plan = plan_run(RunOptions(inputs=tuple(field.files)))
    assert len({item.layer.sky_cell_id for item in plan.layers}) == 4


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_rotated_grid_is_met_exactly_and_has_the_stars_in_place(tmp_path, mirrored):
    """Rotated by 73 degrees, 0.07 arcsec, also mirrored; sizes and positions by astropy."""
    field = simulate_field(field_of(180.26, 26.24), tmp_path / "exposures")
    truth = Table.read(field.truth_path, format="ascii.ecsv")
    angle, scale = np.radians(73.0), 0.07 / 3600
    sign = 1.0 if mirrored else -1.0
    cd = (
        (float(sign * scale * np.cos(angle)), float(scale * np.sin(angle))),
        (float(-sign * scale * np.sin(angle)), float(scale * np.cos(angle))),
    )
    grid = OutputGrid("", 0.07, (180.261, 26.239), (300.25, 280.75), (560, 600), cd_matrix=cd)
    result = run(
        RunOptions(
            inputs=tuple(field.files), output_folder=tmp_path / "out", area=GridArea(grid), previews=True
        )
    )
    assert result.return_code == ReturnCode.SUCCESS
    assert {layer.name.split("_")[-1] for layer in result.layers} == {"all"}
    for layer in result.layers:
        with fits.open(layer.product, checksum=True) as hdus:
            for name in ("SCI", "WHT"):
                header = hdus[name].header
                assert (header["NAXIS1"], header["NAXIS2"]) == (600, 560)
                np.testing.assert_array_equal(WCS(header).wcs.cd, cd)
                assert tuple(WCS(header).wcs.crpix) == (300.25, 280.75)
            assert hdus[0].header["SCELLID"] == "custom"
            assert hdus[0].header["NPIXFRAC"] == pytest.approx(np.mean(hdus["WHT"].data > 0), rel=0.01)
        offsets = offsets_of_stars(layer.product, truth)
        assert len(offsets) >= 5
        assert offsets.max() < 0.009
        assert layer.preview.is_file()


def test_exposures_beside_the_area_are_left_out_and_told(tiny_exposures, tmp_path):
    """An area that the first visit's infrared exposures do not touch."""
    header = fits.getheader(tiny_exposures[0], "SCI")
    centre = WCS(header, fobj=fits.open(tiny_exposures[0])).all_pix2world(-60.0, 60.0, 0)
    area = RectangleArea((float(centre[0]), float(centre[1])), (2.0, 2.0))
    result = run(RunOptions(inputs=tiny_exposures, output_folder=tmp_path, area=area, previews=False))
    refused = [record for record in result.vetting.records if not record.accepted]
    assert tiny_exposures[0].name in {Path(record.filename).name for record in refused}
    assert {record.reason for record in refused} == {"does not overlap the area of the mosaic"}
    assert not any(record.is_broken for record in refused)


def test_an_area_without_exposures_is_no_viable_data(tiny_exposures, tmp_path):
    area = RectangleArea((10.0, -40.0), (20.0, 20.0))
    result = run(RunOptions(inputs=tiny_exposures, output_folder=tmp_path, area=area))
    assert result.return_code == ReturnCode.NO_VIABLE_DATA
    assert all("does not overlap" in record.reason for record in result.vetting.records)
    (manifest,) = tmp_path.glob("hst_skycell-p*-ra010d0000-decs40d0000_manifest.txt")
    assert manifest.read_text() == ""


def test_a_prefix_renames_the_mosaics_of_one_sky_cell_and_not_of_several(tiny_exposures, tmp_path, capsys):
    arguments = {"output_file_prefix": "mine_", "log_level": 40}
    assert run_mvm_processing(list(tiny_exposures), output_folder=tmp_path, **arguments) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert {"mine_acs_wfc_f606w_all_drc.fits", "mine_manifest.txt"} <= names
    assert not any("skycell" in name for name in names)
    with fits.open(tmp_path / "mine_acs_wfc_f606w_all_drc.fits") as hdus:
        assert hdus[0].header["SCELLID"] == "p1889x10y12"


def test_limits_that_make_no_sense_are_refused_and_said(tiny_exposures, tmp_path, capsys):
    for limits in ([0, 1, 2], [5, 1, 0, 10], "abcd"):
        code = run_mvm_processing(list(tiny_exposures), custom_limits=limits, output_folder=tmp_path / "out")
        assert code == 1
        assert "custom_limits" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_the_program_has_the_published_flags(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["make_custom_mosaic", "--help"])
    with pytest.raises(SystemExit) as leaving:
        make_custom_mosaic.main()
    assert leaving.value.code == 0
    out = capsys.readouterr().out
    for flag in ("-l", "--log_level", "-o", "--output_file_prefix", "-s", "--skip_gaia_alignment"):
        assert flag in out
