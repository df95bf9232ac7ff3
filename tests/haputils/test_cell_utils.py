from __future__ import annotations

import inspect
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from regions import Regions

from multivisit.haputils import cell_utils
from multivisit.sky import cells

if TYPE_CHECKING:
    from pathlib import Path


def test_the_signatures_are_the_published_ones() -> None:
    def arguments(function: object) -> list[tuple[str, object]]:
        parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
        return [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    none = inspect.Parameter.empty
    assert arguments(cell_utils.get_sky_cells) == [
        ("visit_input", none),
        ("input_path", None),
        ("scale", None),
        ("cell_size", None),
        ("diagnostic_mode", False),
    ]
    assert arguments(cell_utils.interpret_scells) == [("sky_cells", none)]
    assert arguments(cell_utils.ProjectionCell) == [
        ("index", None),
        ("band", None),
        ("scale", None),
        ("nxy", None),
        ("overlap", None),
    ]
    assert arguments(cell_utils.SkyCell) == [
        ("projection_cell", None),
        ("x", None),
        ("y", None),
        ("scale", "fine"),
    ]
    assert arguments(cell_utils.SkyCell.from_name) == [("name", none), ("scale", "fine")]


def test_the_names_are_the_published_ones() -> None:
    assert cell_utils.SUPPORTED_SCALES == {"fine": 0.04, "coarse": 0.12}
    assert cell_utils.SKYCELL_NAME_FMT.format(197, 18, 6) == "skycell-p0197x18y06"
    assert cell_utils.SkyCell is cells.SkyCell
    assert cell_utils.ProjectionCell is cells.ProjectionCell


def write_exposure(path: Path) -> Path:
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "WFC3", "DETECTOR": "IR", "FILTER": "F160W", "EXPTIME": 100.0})
    science = fits.ImageHDU(name="SCI", ver=1)
    science.header.update(
        {"NPIX1": 1014, "NPIX2": 1014, "PIXVALUE": 0.0, "BUNIT": "ELECTRONS/S", "WCSNAME": "IDC_test"}
    )
    science.header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 180.9, "CRVAL2": 27.9})
    science.header.update({"CRPIX1": 507.0, "CRPIX2": 507.0})
    science.header.update({"CD1_1": -3.6e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 3.6e-5})
    fits.HDUList([primary, science]).writeto(path)
    return path


def test_get_and_interpret_sky_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    names = ["ib0001aaq_flt.fits", "ib0002aaq_flt.fits"]
    for name in names:
        write_exposure(tmp_path / name)
    with monkeypatch.context() as context:
        context.chdir(tmp_path / "work")
        sky_cells = cell_utils.get_sky_cells(names, input_path=str(tmp_path), diagnostic_mode=True)
    assert list(sky_cells) == ["skycell-p1889x08y19", "skycell-p1970x16y02"]
    assert all(cell.members == names for cell in sky_cells.values())
    of_files = cell_utils.interpret_scells(sky_cells)
    assert of_files == {
        name: {**sky_cells, "id": "skycell-p1889x08y19;skycell-p1970x16y02"} for name in names
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "work"]
    written = tmp_path / "work" / "sky_cells_diagnostics"
    found = json.loads((written / "sky_cells.json").read_text())
    assert found["sky_cells"] == dict.fromkeys(sky_cells, names)
    of_cell = found["outlines"][0]
    assert of_cell["name"] == "skycell-p1889x08y19"
    np.testing.assert_allclose(of_cell["ra_dec"], sky_cells[of_cell["name"]].wcs.calc_footprint(), atol=1e-8)
    regions = Regions.read(written / "sky_cells.reg", format="ds9")
    assert len(regions) == 4
    np.testing.assert_allclose(
        regions[0].vertices.ra.deg, sky_cells[of_cell["name"]].wcs.calc_footprint()[:, 0], atol=1e-7
    )


def test_interpreting_nothing_gives_nothing() -> None:
    assert cell_utils.interpret_scells({}) == {}
    assert cell_utils.interpret_scells({"a": cell_utils.SkyCell.from_name("skycell-p0197x18y06")}) == {}


def test_the_scale_takes_effect(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "ib0001aaq_flt.fits")
    (first, *_) = cell_utils.get_sky_cells([str(path)], scale=0.12).values()
    assert first.wcs.pixel_shape == (7318, 7318)


@pytest.mark.parametrize("module", ["cell_utils", "which_skycell"])
def test_the_import_is_cheap(module: str) -> None:
    code = (
        f"import sys, multivisit.haputils.{module};"
        "heavy = {'astropy', 'shapely', 'scipy', 'drizzle', 'pydantic'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
