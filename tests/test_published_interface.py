"""A script that uses every function, class, argument, variable and flag of the published interface.

The names and defaults below are those of the published text (HST's multi-visit processing, version 3.11): a
user's script for it works when its import says ``multivisit``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from multivisit import hapmultisequencer
from multivisit.haputils import (
    cell_utils,
    generate_custom_svm_mvm_param_file,
    make_poller_files,
    poller_utils,
    product,
)

CELL = "skycell-p1889x10y12"
NEEDED = inspect.Parameter.empty

SIGNATURES = {
    "hapmultisequencer.run_mvm_processing": {
        "input_filename": NEEDED,
        "skip_gaia_alignment": True,
        "diagnostic_mode": False,
        "use_defaults_configs": True,
        "input_custom_pars_file": None,
        "output_custom_pars_file": None,
        "phot_mode": "both",
        "custom_limits": None,
        "output_file_prefix": None,
        "log_level": 20,
    },
    "haputils.cell_utils.get_sky_cells": {
        "visit_input": NEEDED,
        "input_path": None,
        "scale": None,
        "cell_size": None,
        "diagnostic_mode": False,
    },
    "haputils.cell_utils.interpret_scells": {"sky_cells": NEEDED},
    "haputils.cell_utils.ProjectionCell": {
        "index": None,
        "band": None,
        "scale": None,
        "nxy": None,
        "overlap": None,
    },
    "haputils.cell_utils.SkyCell": {"projection_cell": None, "x": None, "y": None, "scale": "fine"},
    "haputils.make_poller_files.generate_poller_file": {
        "input_list": NEEDED,
        "poller_file_type": "svm",
        "output_poller_filename": "poller_file.out",
        "skycell_name": None,
    },
    "haputils.poller_utils.interpret_mvm_input": {
        "results": NEEDED,
        "log_level": NEEDED,
        "layer_method": "all",
        "exp_limit": 2.0,
        "user_table": None,
        "include_small": True,
        "only_cte": False,
    },
    "haputils.product.SkyCellExposure": dict.fromkeys(
        (
            "prop_id",
            "obset_id",
            "instrument",
            "detector",
            "aperture_from_poller",
            "filename",
            "layer",
            "filetype",
            "log_level",
        ),
        NEEDED,
    ),
    "haputils.product.SkyCellProduct": dict.fromkeys(
        (
            "prop_id",
            "obset_id",
            "instrument",
            "detector",
            "aperture_from_poller",
            "skycell_name",
            "layer",
            "filetype",
            "log_level",
        ),
        NEEDED,
    ),
    "haputils.generate_custom_svm_mvm_param_file.make_svm_input_file": {
        "input_filename": NEEDED,
        "hap_pipeline_name": "svm",
        "output_custom_pars_file": "custom_parameters.json",
        "clobber": False,
        "log_level": 20,
    },
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_have_their_published_names_order_and_defaults(name):
    module, _, attribute = name.rpartition(".")
    offered = inspect.signature(
        getattr(importlib.import_module(f"multivisit.{module}"), attribute)
    ).parameters
    published = SIGNATURES[name]
    found = {key: value.default for key, value in list(offered.items())[: len(published)]}
    needed_more = [key for key in list(offered)[len(published) :] if offered[key].default is NEEDED]
    assert list(found) == list(published)
    assert not [key for key in needed_more if offered[key].kind is not inspect.Parameter.VAR_KEYWORD]
    for key, default in published.items():
        # A default more than published does no harm.
        assert default is NEEDED or found[key] == default, key


@pytest.fixture
def desk(tmp_path, tiny_exposures, monkeypatch):
    """A user's working folder with the exposures and a multi-visit poller file in it."""
    for name in ("MVM_INCLUDE_SMALL", "MVM_ONLY_CTE", "MVM_QUALITY_TESTING", "DATA_PATH"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "desk"
    folder.mkdir()
    for path in tiny_exposures:
        shutil.copy(path, folder)
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        Path("list.txt").write_text("\n".join(path.name for path in tiny_exposures) + "\n")
        make_poller_files.generate_poller_file(
            "list.txt", poller_file_type="mvm", output_poller_filename="mvm.out", skycell_name=CELL
        )
        yield folder


def program(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the package as a program in the working folder."""
    return subprocess.run(
        [sys.executable, "-m", f"multivisit.{module}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def images(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: fits.getdata(path, "SCI") for path in sorted(folder.glob("hst_*_dr[cz].fits"))}


# run_mvm_processing ----------------------------------------------------------------------------------------


def test_a_plain_run_makes_mosaics_and_both_catalogs_in_the_working_folder(desk):
    assert hapmultisequencer.run_mvm_processing("mvm.out", log_level=logging.WARNING) == 0
    products = sorted(desk.glob("hst_*_dr[cz].fits"))
    assert {path.name for path in products} == {
        f"hst_{CELL}_acs_wfc_f606w_all_drc.fits",
        f"hst_{CELL}_wfc3_ir_f160w_all_drz.fits",
        f"hst_{CELL}_wfc3_ir_f160w_coarse-all_drz.fits",
    }
    for path in products:
        layer = path.name.removesuffix(path.name[-9:])
        assert Path(f"{layer}_trl.txt").stat().st_size > 0
        for kind in ("point", "segment"):
            catalogs = list(desk.glob(f"{layer}_*{kind}-cat.ecsv"))
            assert len(catalogs) == 1, (layer, kind)
            Table.read(catalogs[0])
    named = Path(f"{CELL}_manifest.txt").read_text().split()
    assert {path.name for path in products} <= set(named)


@pytest.mark.parametrize(
    ("mode", "made"), [("aperture", {"point"}), ("segment", {"segment"}), ("none", set())]
)
def test_phot_mode_chooses_the_catalogs(desk, mode, made):
    arguments = {"phot_mode": mode, "log_level": logging.ERROR}
    assert hapmultisequencer.run_mvm_processing("mvm.out", **arguments) == 0
    found = {path.stem.rsplit("_", 1)[-1].removesuffix("-cat") for path in desk.glob("*-cat.ecsv")}
    assert found == made


def test_alignment_to_gaia_without_a_network_is_an_error_told_and_nothing_is_made(desk, capsys, monkeypatch):
    monkeypatch.setenv("ASTROMETRIC_CATALOG_URL", "http://127.0.0.1:1/webservices")
    assert hapmultisequencer.run_mvm_processing("mvm.out", skip_gaia_alignment=False) == 1
    text = capsys.readouterr().out
    assert "GAIAeDR3 cannot be fetched" in text
    assert "skip_gaia_alignment=True" in text
    assert not list(desk.glob("hst_*"))


def test_diagnostic_mode_keeps_more_and_changes_no_product(desk):
    run = hapmultisequencer.run_mvm_processing
    assert run("mvm.out", phot_mode="none", output_folder="plain", log_level=logging.ERROR) == 0
    assert run("mvm.out", True, True, phot_mode="none", output_folder="kept", log_level=logging.ERROR) == 0
    plain, kept = images(Path("plain")), images(Path("kept"))
    assert list(plain) == list(kept)
    for name, image in plain.items():
        np.testing.assert_array_equal(image, kept[name])

    def names(folder):
        return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}

    assert names("kept") > names("plain")


def test_parameter_files_are_written_and_what_is_edited_takes_effect(desk):
    run = hapmultisequencer.run_mvm_processing
    quiet = {"phot_mode": "none", "log_level": logging.ERROR}
    assert run("mvm.out", output_custom_pars_file="all.json", output_folder="first", **quiet) == 0
    parameters = json.loads(Path("all.json").read_text())
    name = f"hst_{CELL}_acs_wfc_f606w_all"
    (edited,) = [key for key in parameters if key.startswith(name) and "-j" not in key]
    assert parameters[edited]["parameters"] == parameters[edited]["default_values"]
    parameters[edited]["parameters"]["astrodrizzle"]["final_pixfrac"] = 0.5
    Path("mine.json").write_text(json.dumps(parameters))
    assert run("mvm.out", input_custom_pars_file="mine.json", output_folder="second", **quiet) == 0
    # The name of a custom file makes `use_defaults_configs` of no account, as published.
    assert (
        run(
            "mvm.out",
            use_defaults_configs=False,
            input_custom_pars_file="mine.json",
            output_folder="third",
            **quiet,
        )
        == 0
    )
    first, second, third = (images(Path(name)) for name in ("first", "second", "third"))
    changed = [key for key in first if not np.array_equal(first[key], second[key], equal_nan=True)]
    assert changed == [f"{name}_drc.fits"]
    for key, image in second.items():
        np.testing.assert_array_equal(image, third[key])
    same = {"input_custom_pars_file": "mine.json", "output_custom_pars_file": "mine.json"}
    assert run("mvm.out", output_folder="fourth", **same, **quiet) == 1


def test_custom_limits_and_a_prefix_make_a_custom_mosaic(desk):
    run = hapmultisequencer.run_mvm_processing
    quiet = {"phot_mode": "none", "log_level": logging.ERROR}
    assert run("mvm.out", output_folder="cell", **quiet) == 0
    name = f"hst_{CELL}_acs_wfc_f606w_all_drc.fits"
    with fits.open(Path("cell") / name) as whole:
        science, header = whole["SCI"].data, whole["SCI"].header
    cell = cell_utils.SkyCell.from_name(CELL)
    # Limits are pixels of the projection cell; the middle of the mosaic has data in every row and column.
    centre = cell.projection_cell.wcs.wcs.crpix
    row, column = science.shape[0] // 2 - 50, science.shape[1] // 2 - 75
    x0, y0 = round(centre[0] - header["CRPIX1"]) + column, round(centre[1] - header["CRPIX2"]) + row
    limits = [x0, x0 + 150, y0, y0 + 100]
    assert run("mvm.out", custom_limits=limits, output_file_prefix="mine", output_folder="mine", **quiet) == 0
    (made,) = Path("mine").glob("mine*_acs_wfc_f606w_all_drc.fits")
    with fits.open(made) as part:
        ny, nx = part["SCI"].shape
        assert ny in (100, 101)
        assert nx in (150, 151)
        assert part["SCI"].header["CRPIX1"] == header["CRPIX1"] - column
        assert part["SCI"].header["CRPIX2"] == header["CRPIX2"] - row
        expected = science[row : row + ny, column : column + nx]
        np.testing.assert_array_equal(part["SCI"].data, expected)
        assert np.isfinite(expected).mean() > 0.5
    assert run("mvm.out", custom_limits=limits, output_folder="automatic", **quiet) == 0
    assert list(Path("automatic").glob("hst_skycell-p1889-ra180d*-decn26d*_acs_wfc_f606w_all_drc.fits"))


def test_log_level_is_that_of_the_screen(desk, capsys):
    run = hapmultisequencer.run_mvm_processing
    assert run("mvm.out", phot_mode="none", log_level=logging.ERROR) == 0
    assert "INFO" not in capsys.readouterr().out
    assert run("mvm.out", phot_mode="none", log_level=logging.INFO) == 0
    assert "return code 0" in capsys.readouterr().out


def test_variables_leave_out_small_detectors_and_exposures_without_cte_correction(desk, monkeypatch):
    infrared_only = [line for line in Path("mvm.out").read_text().splitlines() if ",IR," in line]
    Path("ir.out").write_text("\n".join(infrared_only) + "\n")
    monkeypatch.setenv("MVM_INCLUDE_SMALL", "off")
    monkeypatch.setenv("MVM_ONLY_CTE", "on")
    quiet = {"phot_mode": "none", "log_level": logging.ERROR}
    assert hapmultisequencer.run_mvm_processing("ir.out", **quiet) == 0
    assert len(images(desk)) == 2


def test_quality_testing_writes_json(desk, monkeypatch):
    monkeypatch.setenv("MVM_QUALITY_TESTING", "on")
    quiet = {"phot_mode": "none", "log_level": logging.ERROR}
    assert hapmultisequencer.run_mvm_processing("mvm.out", **quiet) == 0
    results = list(desk.glob("*_mvm_*.json"))
    assert any(path.name.endswith("_mvm_wcsname.json") for path in results)
    for path in results:
        assert json.loads(path.read_text())


# cell_utils ------------------------------------------------------------------------------------------------


def test_sky_cells_are_found_by_list_and_by_poller_file(desk, tiny_exposures):
    names = [path.name for path in tiny_exposures]
    found = cell_utils.get_sky_cells(names)
    assert list(found) == [CELL]
    assert sorted(found[CELL].members) == sorted(names)
    assert list(cell_utils.get_sky_cells("mvm.out", diagnostic_mode=True)) == [CELL]
    elsewhere = cell_utils.get_sky_cells(
        names, input_path=str(tiny_exposures[0].parent), scale=0.08, cell_size=4.2
    )
    assert {cell.scale for cell in elsewhere.values()} == {0.08}
    of_exposure = cell_utils.interpret_scells(found)
    assert {of_exposure[name]["id"] for name in names} == {CELL}


def test_cells_are_made_both_published_ways():
    one = cell_utils.SkyCell.from_name("skycell-p0197x18y16")
    other = cell_utils.SkyCell(projection_cell=cell_utils.ProjectionCell(index=197), x=18, y=16)
    for cell in (one, other):
        assert cell.sky_cell_id == "skycell-p0197x18y16"
        assert isinstance(cell.wcs, WCS)
        assert np.shape(cell.corners)[1] == 2
        assert cell.projection_cell.cell_id == 197
        assert cell.mask is not None
    np.testing.assert_array_equal(one.wcs.wcs.crpix, other.wcs.wcs.crpix)
    coarse = cell_utils.SkyCell.from_name("skycell-p0197x18y16", scale="coarse")
    assert coarse.wcs.pixel_shape == (7318, 7318)
    assert cell_utils.SUPPORTED_SCALES == {"fine": 0.04, "coarse": 0.12}
    assert cell_utils.SkyCell(cell_utils.ProjectionCell(index=197), 18, 16, scale=0.1).scale == 0.1
    # A row of the published table of rings.
    ring = {"ZONE": 8, "PROJCELL": 190, "NBAND": 50, "DEC": -58.0, "XCELL": 450287, "YCELL": 450287}
    projection = cell_utils.ProjectionCell(index=7, band=ring, scale=0.04, nxy=21, overlap=256)
    assert projection.cell_id == 197
    np.testing.assert_array_equal(projection.wcs.wcs.crval, one.projection_cell.wcs.wcs.crval)
    assert np.shape(projection.footprint)[1] == np.shape(projection.corners)[1] == 2
    assert isinstance(projection.wcs, WCS)


# make_poller_files -----------------------------------------------------------------------------------------


def test_poller_files_of_both_kinds_have_their_published_columns(desk):
    make_poller_files.generate_poller_file("list.txt")
    rows = [line.split(",") for line in Path("poller_file.out").read_text().splitlines()]
    assert {len(row) for row in rows} == {8}
    rows = [line.split(",") for line in Path("mvm.out").read_text().splitlines()]
    assert {len(row) for row in rows} == {10}
    assert {row[7] for row in rows} == {CELL}
    assert {row[8] for row in rows} <= {"NEW", "OLD"}
    assert all(Path(row[9]).is_file() for row in rows)


def test_poller_files_are_made_from_the_command_line_with_every_flag(desk):
    done = program("haputils.make_poller_files", "list.txt", "-o", "by_flag.out", "-s", CELL, "-t", "mvm")
    assert done.returncode == 0, done.stderr
    assert Path("by_flag.out").read_text() == Path("mvm.out").read_text()
    assert program("haputils.make_poller_files", "list.txt").returncode == 0
    assert Path("poller_file.out").is_file()


def test_rootnames_are_found_in_the_online_cache(desk, tmp_path, monkeypatch, tiny_exposures):
    root = tiny_exposures[0].name[:9]
    cache = tmp_path / "cache" / root[:4] / root
    cache.mkdir(parents=True)
    shutil.move(tiny_exposures[0].name, cache)
    monkeypatch.setenv("DATA_PATH", str(tmp_path / "cache"))
    Path("one.txt").write_text(root + "\n")
    make_poller_files.generate_poller_file("one.txt", "svm", "one.out")
    assert str(cache) in Path("one.out").read_text()


# poller_utils and product ----------------------------------------------------------------------------------


def test_poller_files_are_interpreted_with_every_argument(desk):
    layers, products = poller_utils.interpret_mvm_input("mvm.out", logging.ERROR)
    assert list(layers) == [f"layer {number:02d}" for number in range(len(layers))]
    assert f"{CELL} wfc3 ir f160w all all 1 drz coarse" in {item["info"] for item in layers.values()}
    assert {type(item) for item in products} == {product.SkyCellProduct}
    by_time, _ = poller_utils.interpret_mvm_input(
        "mvm.out", logging.ERROR, layer_method="hard", exp_limit=None, include_small=False, only_cte=True
    )
    assert len(by_time) >= len(layers)
    table = poller_utils.build_poller_table("mvm.out", logging.ERROR, poller_type="mvm")
    edited, _ = poller_utils.interpret_mvm_input("mvm.out", logging.ERROR, user_table=table[:1])
    assert len(edited) < len(layers)
    clustered, _ = poller_utils.interpret_mvm_input("mvm.out", logging.ERROR, layer_method="kmeans")
    assert clustered


def test_products_are_made_by_their_published_constructors(desk, tiny_exposures):
    name = next(path.name for path in tiny_exposures if path.name.endswith("_flc.fits"))
    exposure = product.SkyCellExposure(
        prop_id="9019",
        obset_id="01",
        instrument="acs",
        detector="wfc",
        aperture_from_poller="",
        filename=name,
        layer=["f606w", "fine", "all", "all"],
        filetype="flc",
        log_level=logging.ERROR,
    )
    mosaic = product.SkyCellProduct(
        prop_id="9019",
        obset_id="01",
        instrument="acs",
        detector="wfc",
        aperture_from_poller="",
        skycell_name=CELL,
        layer=["f606w", "fine", "all", "all"],
        filetype="drc",
        log_level=logging.ERROR,
    )
    mosaic.add_member(exposure)
    mosaic.add_all_mvm_exposures_list([name])
    assert mosaic.product_basename == f"hst_{CELL}_acs_wfc_f606w_all"
    assert isinstance(mosaic.generate_metawcs(), WCS)


# generate_custom_svm_mvm_param_file ------------------------------------------------------------------------


def test_parameter_files_are_generated_for_both_pipelines(desk):
    make = generate_custom_svm_mvm_param_file.make_svm_input_file
    make_poller_files.generate_poller_file("list.txt", "svm", "svm.out")
    make("svm.out")
    single = json.loads(Path("custom_parameters.json").read_text())
    make(
        "mvm.out",
        hap_pipeline_name="mvm",
        output_custom_pars_file="multi.json",
        clobber=True,
        log_level=logging.ERROR,
    )
    multi = json.loads(Path("multi.json").read_text())
    for parameters in (single, multi):
        for section in parameters.values():
            assert set(section) == {"parameters", "default_values"}
            assert set(section["parameters"]) == {
                "alignment",
                "astrodrizzle",
                "catalog generation",
                "quality control",
            }
    assert any("total" in key for key in single)


def test_parameter_files_are_generated_from_the_command_line_with_every_flag(desk):
    module = "haputils.generate_custom_svm_mvm_param_file"
    flags = ("-c", "-l", "error", "-o", "flagged.json", "-p", "mvm")
    done = program(module, "mvm.out", *flags)
    assert done.returncode == 0, done.stderr
    assert program(module, "mvm.out", *flags).returncode == 0
    assert program(module, "mvm.out", *flags[1:]).returncode != 0
    assert json.loads(Path("flagged.json").read_text())


# The programs that come with it ----------------------------------------------------------------------------


def test_the_run_program_takes_every_flag(desk):
    make = generate_custom_svm_mvm_param_file.make_svm_input_file
    make("mvm.out", "mvm", "multi.json", log_level=logging.ERROR)
    done = program("runmultihap", "mvm.out", "-c", "multi.json", "-d", "-l", "error", "-s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(images(desk)) == 3


def test_the_custom_mosaic_program_takes_every_flag(desk):
    done = program("make_custom_mosaic", "*_fl?.fits", "-l", "error", "-o", "my_mosaic", "-s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(desk.glob("my_mosaic*_acs_wfc_f606w_all_drc.fits"))


def test_the_sky_cell_program_names_cells(desk):
    done = program("haputils.which_skycell", "-i", "list.txt")
    assert done.returncode == 0, done.stderr
    assert CELL in done.stdout
