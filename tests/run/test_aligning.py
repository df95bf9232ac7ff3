"""Whole runs that align their exposures: what products and records say, and that nothing else changes."""

from __future__ import annotations

import json
import logging
from hashlib import sha256

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from tests.catalog_server import serving

from multivisit import make_custom_mosaic
from multivisit.errors import MissingFileError, ParameterError, ReferenceCatalogError
from multivisit.hapmultisequencer import run_mvm_processing
from multivisit.plan.custom_mosaic import ExposuresArea
from multivisit.run.options import RunOptions
from multivisit.run.report import result_as_dict, result_as_text
from multivisit.run.sequencer import plan_run, run
from multivisit.simulate import simulate_field
from multivisit.simulate.specification import (
    ExposureSpecification,
    FieldSpecification,
    SceneSpecification,
    Visit,
)

ACS = ExposureSpecification("acs_wfc", "f606w", 400.0, subarray=(300, 600))
FIELD = FieldSpecification(
    name="wrong headers",
    ra=180.26,
    dec=26.24,
    scene=SceneSpecification(
        radius=24.0, n_stars=300, n_galaxies=0, star_magnitudes=(19.5, 23.0), minimum_separation=0.8
    ),
    visits=(
        Visit("01", "2010-06-11T03:00:00", 40.0, (ACS,), wcs_offset=(2.0, -1.5), wcs_rotation=0.04),
        Visit("02", "2010-06-20T17:30:00", 44.0, (ACS,), wcs_offset=(-0.6, 0.3)),
    ),
)
NOWHERE = "http://127.0.0.1:1/services"


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    return simulate_field(FIELD, tmp_path_factory.mktemp("wrong"))


@pytest.fixture(scope="module")
def aligned(field, tmp_path_factory):
    """A run with alignment and what it made."""
    return run(_options(field, tmp_path_factory.mktemp("aligned")))


def _options(field, folder, **changes):
    given = {
        "inputs": field.files,
        "output_folder": folder,
        "align": True,
        "reference_catalog": field.truth_path,
        "phot_mode": "none",
        "previews": False,
    }
    return RunOptions(**(given | changes))


def star_offsets(path, truth_path):
    """Light-weighted middles of bright stars in a mosaic less where they are, arcsec, and their widths."""
    stars = Table.read(truth_path)
    stars = stars[(stars["magnitude"] > 20.0) & (stars["magnitude"] < 22.0)]
    with fits.open(path) as product:
        science, wcs = product["SCI"].data, WCS(product["SCI"].header)
    found = []
    for x, y in np.column_stack(wcs.all_world2pix(stars["ra"], stars["dec"], 0)):
        j, i = round(float(y)), round(float(x))
        stamp = science[max(j - 8, 0) : j + 9, max(i - 8, 0) : i + 9]
        if stamp.shape != (17, 17) or not np.isfinite(stamp).all():
            continue
        light = np.clip(stamp - np.median(stamp), 0.0, None)
        light[light < 0.05 * light.max()] = 0.0
        axis = np.arange(-8, 9)
        dx, dy = (light * axis).sum() / light.sum(), (light * axis[:, None]).sum() / light.sum()
        width = (light * ((axis - dx) ** 2 + (axis[:, None] - dy) ** 2)).sum() / light.sum()
        found.append((i + dx - x, j + dy - y, np.sqrt(0.5 * width)))
    return 0.04 * np.array(found)


def test_stars_are_where_they_are_and_sharp(field, aligned, tmp_path):
    assert aligned.return_code == 0
    (layer,) = aligned.layers
    offsets = star_offsets(layer.product, field.truth_path)
    assert len(offsets) > 20
    assert np.abs(np.median(offsets[:, :2], axis=0)).max() < 0.004
    (blurred,) = run(_options(field, tmp_path, align=False, reference_catalog=None)).layers
    before = star_offsets(blurred.product, field.truth_path)
    assert np.median(offsets[:, 2]) < 0.6 * np.median(before[:, 2])


def test_the_grid_follows_the_aligned_exposures(field, aligned):
    plan = plan_run(_options(field, aligned.output_folder))
    (item,) = plan.layers
    assert plan.alignment is not None
    assert len(plan.alignment.exposures) == 2
    plane = WCS(fits.getheader(aligned.layers[0].product, "SCI"))
    for member in item.layer.members:
        for chip in member.exposure.chips:
            x, y = plane.all_world2pix(*chip.outline(), 0)
            rows, columns = item.grid.shape
            assert x.min() > -0.5
            assert y.min() > -0.5
            assert x.max() < columns - 0.5
            assert y.max() < rows - 0.5


def test_products_say_what_they_were_aligned_to(aligned):
    with fits.open(aligned.layers[0].product) as product:
        assert product["SCI"].header["WCSNAME"] == "IDC_postsm4-FIT_REL_truthcatalog"
        assert product[0].header["WCSSOLN"] == "FIT_REL_truthcatalog"
        assert product[0].header["WCSMIXED"] is False
        history = " ".join(str(product[0].header["HISTORY"]).split())
        assert "Alignment: 2 of 2 members aligned to truthcatalog." in history
        assert "jsim0101q_flc.fits aligned to truthcatalog with group 1" in history
        rows = product["HDRTAB"].data
        assert set(rows["WCSNAME"]) == {"IDC_postsm4-FIT_REL_truthcatalog"}
        assert all("a posteriori" in text for text in rows["WCSTYPE"])


def test_the_record_has_every_exposure(field, aligned):
    folder = aligned.output_folder
    (path,) = folder.glob("*_alignment.ecsv")
    assert path in aligned.files
    table = Table.read(path)
    assert sorted(table["filename"]) == [file.name for file in sorted(field.files)]
    assert table["aligned"].all()
    assert (table["n_matches"] > 20).all()
    assert (table["rms"] < 5.0).all()
    (reference,) = folder.glob("*_truthcatalog_ref_cat.ecsv")
    assert len(Table.read(reference)) == len(Table.read(field.truth_path))
    trailer = aligned.layers[0].trailer.read_text()
    assert "aligned to truthcatalog with group 1" in trailer
    plain = json.loads(json.dumps(result_as_dict(aligned)))
    assert [record["method"] for record in plain["alignment"]] == ["REL", "REL"]
    assert "2 of 2 exposures to truthcatalog" in result_as_text(aligned)


def test_without_an_alignment_there_is_no_record_of_one(field, tmp_path):
    result = run(_options(field, tmp_path, align=False, reference_catalog=None))
    assert not list(tmp_path.glob("*align*"))
    assert result_as_dict(result)["alignment"] is None
    with fits.open(result.layers[0].product) as product:
        assert "Alignment" not in str(product[0].header["HISTORY"])


def test_a_catalog_that_fits_nothing_leaves_the_mosaic_as_it_was_and_says_so(field, tmp_path):
    stars = Table.read(field.truth_path)
    random = np.random.default_rng(3)
    stars["ra"] += random.uniform(-0.005, 0.005, len(stars))
    stars["dec"] += random.uniform(-0.005, 0.005, len(stars))
    stars.write(tmp_path / "wrong.ecsv")
    result = run(_options(field, tmp_path / "out", reference_catalog=tmp_path / "wrong.ecsv"))
    plain = run(_options(field, tmp_path / "plain", align=False, reference_catalog=None))
    assert result.return_code == 0
    assert "none of 2 exposures" in result_as_text(result)
    assert "keeps its WCS" in result.layers[0].trailer.read_text()
    with fits.open(result.layers[0].product) as one, fits.open(plain.layers[0].product) as other:
        np.testing.assert_array_equal(one["SCI"].data, other["SCI"].data)
        assert one["SCI"].header["WCSNAME"] == "IDC_postsm4"


def test_the_exposures_are_never_changed(field, tmp_path):
    before = [sha256(path.read_bytes()).hexdigest() for path in field.files]
    run(_options(field, tmp_path))
    assert [sha256(path.read_bytes()).hexdigest() for path in field.files] == before


def test_a_custom_mosaic_is_laid_around_the_aligned_exposures(field, tmp_path):
    result = run(_options(field, tmp_path, area=ExposuresArea()))
    assert result.return_code == 0
    offsets = star_offsets(result.layers[0].product, field.truth_path)
    assert np.abs(np.median(offsets[:, :2], axis=0)).max() < 0.004


def test_parameters_of_a_custom_file_take_effect(field, tmp_path, caplog):
    (name,) = [
        item.layer.product_basename
        for item in plan_run(_options(field, tmp_path, align=False, reference_catalog=None)).layers
    ]
    content = {name: {"parameters": {"alignment": {"general": {"MIN_FIT_MATCHES": 5000}}}}}
    custom = tmp_path / "custom.json"
    custom.write_text(json.dumps(content))
    plan = plan_run(_options(field, tmp_path, custom_parameters=custom))
    assert plan.alignment is not None
    assert all("at least 5000 are needed" in record.reason for record in plan.alignment.records)
    with caplog.at_level(logging.WARNING):
        plan_run(_options(field, tmp_path, align=False, reference_catalog=None, custom_parameters=custom))
    assert "alignment are without effect" in caplog.text


def test_the_published_function_aligns(field, tmp_path):
    code = run_mvm_processing(
        [str(path) for path in field.files],
        skip_gaia_alignment=False,
        reference_catalog=field.truth_path,
        phot_mode="none",
        output_folder=tmp_path,
        log_level=logging.ERROR,
    )
    assert code == 0
    (product,) = tmp_path.glob("*_drc.fits")
    assert fits.getval(product, "WCSNAME", "SCI") == "IDC_postsm4-FIT_REL_truthcatalog"


def test_custom_mosaics_align_by_default(field, tmp_path):
    code = make_custom_mosaic.perform(
        [str(path) for path in field.files],
        "error",
        reference_catalog=field.truth_path,
        phot_mode="none",
        output_folder=tmp_path,
    )
    assert code == 0
    (product,) = tmp_path.glob("*_drc.fits")
    assert fits.getval(product, "WCSNAME", "SCI") == "IDC_postsm4-FIT_REL_truthcatalog"


def test_without_network_nothing_is_made_and_one_error_says_what_to_do(field, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ASTROMETRIC_CATALOG_URL", NOWHERE)
    arguments = {"skip_gaia_alignment": False, "output_folder": tmp_path / "out"}
    assert run_mvm_processing([str(path) for path in field.files], **arguments) == 1
    text = capsys.readouterr().out
    assert "GAIAeDR3 cannot be fetched" in text
    assert "127.0.0.1:1" in text
    assert "reference_catalog" in text
    assert not (tmp_path / "out").exists()
    with pytest.raises(ReferenceCatalogError, match="GAIAeDR3"):
        run(_options(field, tmp_path, reference_catalog=None, catalog_service=NOWHERE))


def test_reference_stars_come_from_the_network(field, tmp_path, monkeypatch):
    stars = Table.read(field.truth_path)
    rows = "".join(f"{row['ra']:.9f},{row['dec']:.9f},0.0,0.0,2016.0,18.0\r\n" for row in stars)
    text = f"Objects found : {len(stars)}\r\nra,dec,pmra,pmdec,epoch,mag\r\n{rows}"
    with serving(text.encode()) as server:
        monkeypatch.setenv("ASTROMETRIC_CATALOG_URL", server.url)
        code = run_mvm_processing(
            [str(path) for path in field.files],
            skip_gaia_alignment=False,
            phot_mode="none",
            output_folder=tmp_path,
            log_level=logging.ERROR,
        )
        assert code == 0
        # One catalog is enough, and it is asked for once.
        (question,) = server.asked
        assert "CAT=GAIAedr3" in question
    (product,) = tmp_path.glob("*_drc.fits")
    assert fits.getval(product, "WCSNAME", "SCI") == "IDC_postsm4-FIT_REL_GAIAeDR3"
    assert np.abs(np.median(star_offsets(product, field.truth_path)[:, :2], axis=0)).max() < 0.004
    assert list(tmp_path.glob("*_GAIAeDR3_ref_cat.ecsv"))


def test_a_catalog_without_an_alignment_or_a_missing_one_is_refused(field, tmp_path):
    with pytest.raises(ParameterError, match="skip_gaia_alignment=False"):
        plan_run(_options(field, tmp_path, align=False))
    with pytest.raises(MissingFileError, match=r"none\.csv"):
        plan_run(_options(field, tmp_path, reference_catalog=tmp_path / "none.csv"))
