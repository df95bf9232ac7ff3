from __future__ import annotations

import gzip
import logging
import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits

from multivisit.errors import (
    ExposureError,
    MissingFileError,
    MultivisitError,
    ParameterError,
    PollerError,
    SkyCellError,
)
from multivisit.exposures.model import read_exposure
from multivisit.plan.coverage import cells_of_exposure, find_sky_cells
from multivisit.sky.cells import SkyCell

if TYPE_CHECKING:
    from pathlib import Path

IN_1889 = (180.9, 27.9)
WEST_OF_RA_0 = (357.9, -22.0)


def write_exposure(path: Path, pointing: tuple[float, float] = IN_1889, **keywords: object) -> Path:
    """Write a WFC3/IR exposure of constant pixels: headers only, as `find_sky_cells` reads."""
    primary = fits.PrimaryHDU()
    primary.header.update(
        {
            "TELESCOP": "HST",
            "INSTRUME": "WFC3",
            "DETECTOR": "IR",
            "FILTER": "F160W",
            "ROOTNAME": path.name[:9],
            "EXPTIME": 100.0,
            "EXPSTART": 55000.0,
            "EXPEND": 55000.1,
            "DATE-OBS": "2009-06-18",
            "PROPOSID": 12345,
        }
    )
    science = fits.ImageHDU(name="SCI", ver=1)
    scale = 0.128 / 3600
    science.header.update(
        {
            "NPIX1": 1014,
            "NPIX2": 1014,
            "PIXVALUE": 0.0,
            "BUNIT": "ELECTRONS/S",
            "WCSAXES": 2,
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRVAL1": pointing[0],
            "CRVAL2": pointing[1],
            "CRPIX1": 507.0,
            "CRPIX2": 507.0,
            "CD1_1": -scale,
            "CD1_2": 0.0,
            "CD2_1": 0.0,
            "CD2_2": scale,
            "WCSNAME": "IDC_test",
        }
    )
    for keyword, value in keywords.items():
        if value is None:
            del science.header[keyword]
        else:
            science.header[keyword] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([primary, science]).writeto(path)
    return path


def names_and_members(cells: dict[str, SkyCell]) -> dict[str, list[str]]:
    return {name: cell.members for name, cell in cells.items()}


def test_the_cells_of_a_list_of_files(tmp_path: Path) -> None:
    one = str(write_exposure(tmp_path / "ib0001aaq_flt.fits"))
    two = str(write_exposure(tmp_path / "ib0002aaq_flt.fits", WEST_OF_RA_0))
    again = str(write_exposure(tmp_path / "ib0003aaq_flt.fits"))
    cells = find_sky_cells([one, two, again])
    assert names_and_members(cells) == {
        "skycell-p1889x08y19": [one, again],
        "skycell-p1970x16y02": [one, again],
        "skycell-p0796x19y11": [two],
        "skycell-p0879x02y11": [two],
        "skycell-p0879x03y11": [two],
    }
    assert all(isinstance(cell, SkyCell) and cell.sky_cell_id == name for name, cell in cells.items())
    assert {cell.scale for cell in cells.values()} == {0.04}


def test_a_single_file_and_paths_will_do(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "ib0001aaq_flt.fits")
    expected = names_and_members(find_sky_cells([str(path)]))
    assert names_and_members(find_sky_cells(path)) == expected
    assert names_and_members(find_sky_cells(str(path))) == expected
    assert names_and_members(find_sky_cells((path,))) == expected


def test_compressed_files_are_read_in_place(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "ib0001aaq_flt.fits")
    expected = list(find_sky_cells(path))
    compressed = tmp_path / "ib0001aaq_flt.fits.gz"
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert list(find_sky_cells(compressed)) == expected
    # named without .gz, as in a poller file
    assert names_and_members(find_sky_cells([str(path)])) == {name: [str(path)] for name in expected}


def test_exposures_are_found_in_the_input_path_and_nothing_is_copied(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_exposure(folder / "ib0001aaq_flt.fits")
    before = sorted(folder.iterdir())
    cells = find_sky_cells(["ib0001aaq_flt.fits"], input_path=folder)
    assert cells["skycell-p1889x08y19"].members == ["ib0001aaq_flt.fits"]
    assert sorted(folder.iterdir()) == before


def test_poller_files_of_both_layouts(tmp_path: Path) -> None:
    one = write_exposure(tmp_path / "data" / "ib0001aaq_flt.fits")
    write_exposure(tmp_path / "data" / "ib0002aaq_flt.fits", WEST_OF_RA_0)
    expected = {
        "skycell-p1889x08y19": ["ib0001aaq_flt.fits"],
        "skycell-p1970x16y02": ["ib0001aaq_flt.fits"],
        "skycell-p0796x19y11": ["ib0002aaq_flt.fits"],
        "skycell-p0879x02y11": ["ib0002aaq_flt.fits"],
        "skycell-p0879x03y11": ["ib0002aaq_flt.fits"],
    }
    single_visit = tmp_path / "svm.out"
    multi_visit = tmp_path / "mvm.out"
    names = tmp_path / "names.txt"
    row = "{name},12345,B00,01,100.0,F160W,IR,{cell}{path}\n"
    files = ["ib0001aaq_flt.fits", "ib0002aaq_flt.fits"]
    single_visit.write_text("".join(row.format(name=n, cell="", path=one.parent / n) for n in files))
    cell = "skycell-p1889x08y19,NEW,"
    multi_visit.write_text("".join(row.format(name=n, cell=cell, path=one.parent / n) for n in files))
    names.write_text("".join(f"{n}\n" for n in files))
    assert names_and_members(find_sky_cells(single_visit)) == expected
    assert names_and_members(find_sky_cells(str(multi_visit))) == expected
    assert names_and_members(find_sky_cells(names, input_path=one.parent)) == expected


def test_an_exposure_named_twice_is_one_member(tmp_path: Path) -> None:
    one = write_exposure(tmp_path / "ib0001aaq_flt.fits")
    indirect = tmp_path / "." / ".." / tmp_path.name / one.name
    cells = find_sky_cells([one, one, indirect])
    assert all(cell.members == [str(one)] for cell in cells.values())


def test_scale_and_cell_size_take_effect(tmp_path: Path) -> None:
    one = write_exposure(tmp_path / "ib0001aaq_flt.fits")
    cells = find_sky_cells(one, scale=0.1, cell_size=4.2)
    for cell in cells.values():
        assert (cell.scale, cell.wcs.pscale) == (0.1, 0.1)
        assert cell.projection_cell.wcs.pixel_shape == (151200, 151200)
    assert list(find_sky_cells(one, scale="coarse")) == list(find_sky_cells(one))


@pytest.mark.parametrize(
    "options", [{"scale": -1.0}, {"scale": 0.0}, {"cell_size": -4.0}, {"cell_size": float("nan")}]
)
def test_impossible_sizes_are_errors_before_any_file_is_read(options: dict[str, float]) -> None:
    with pytest.raises(SkyCellError):
        find_sky_cells(["not_there_flt.fits"], **options)  # type: ignore[arg-type]


def test_a_missing_file_is_one_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"ib0009aaq_flt\.fits: exposure not found in "):
        find_sky_cells(["ib0009aaq_flt.fits"], input_path=tmp_path)
    with pytest.raises(MissingFileError, match=r"nothing\.out"):
        find_sky_cells(tmp_path / "nothing.out")


@pytest.mark.parametrize("missing", ["CTYPE1", "CRVAL1", "CD1_1"])
def test_an_exposure_without_a_wcs_is_an_error_that_names_it(tmp_path: Path, missing: str) -> None:
    good = write_exposure(tmp_path / "ib0001aaq_flt.fits")
    bad = write_exposure(tmp_path / "ib0002aaq_flt.fits", IN_1889, **{missing: None})
    with pytest.raises(ExposureError, match=r"ib0002aaq_flt\.fits"):
        find_sky_cells([good, bad])


def test_an_exposure_that_is_not_on_the_sky_is_an_error_that_names_it(tmp_path: Path) -> None:
    bad = write_exposure(tmp_path / "ib0002aaq_flt.fits", (10.0, 95.0))
    with pytest.raises(ExposureError, match=r"ib0002aaq_flt\.fits"):
        find_sky_cells([bad])


@pytest.mark.parametrize("degrees", [1.0, 1e-9])
def test_an_impossible_scale_is_an_error_at_once(tmp_path: Path, degrees: float) -> None:
    bad = write_exposure(tmp_path / "ib0002aaq_flt.fits", CD1_1=-degrees, CD2_2=degrees)
    start = time.perf_counter()
    with pytest.raises(ExposureError, match=r"ib0002aaq_flt\.fits: unusable WCS .* expected about 0\.1283"):
        find_sky_cells([bad])
    assert time.perf_counter() - start < 3.0


def test_data_quality_files_are_skipped_with_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = str(write_exposure(tmp_path / "ib0001aaq_flt.fits"))
    other = str(write_exposure(tmp_path / "u2eq0201t_c1m.fits"))
    assert names_and_members(find_sky_cells([one, other])) == names_and_members(find_sky_cells([one]))
    assert f"{other} is left out: the data quality file of u2eq0201t_c0m.fits" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), "visit_input: found None"),
        ((5,), "visit_input: found 5"),
        (([None],), "visit_input: found None"),
        (([], None, [1]), r"scale: found \[1\]"),
        (([], None, None, "a"), "cell_size: found 'a'"),
    ],
)
def test_arguments_of_impossible_types_are_errors(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        find_sky_cells(*arguments)


def test_impossible_names_are_missing_files(tmp_path: Path) -> None:
    for name in ("a\0b", ["a\0b_flt.fits"], [""]):
        with pytest.raises(MissingFileError):
            find_sky_cells(name)
    (tmp_path / "x_flt.fits").mkdir()
    with pytest.raises(MissingFileError, match="is a folder, expected an exposure file"):
        find_sky_cells([tmp_path / "x_flt.fits"])


def test_one_error_names_all_bad_exposures(tmp_path: Path) -> None:
    truncated = write_exposure(tmp_path / "ib0001aaq_flt.fits")
    truncated.write_bytes(truncated.read_bytes()[:1000])
    no_fits = tmp_path / "ib0002aaq_flt.fits"
    no_fits.write_text("hello")
    missing = tmp_path / "ib0003aaq_flt.fits"
    with pytest.raises(MultivisitError) as caught:
        find_sky_cells([truncated, no_fits, missing])
    message = str(caught.value)
    assert message.startswith("3 exposures cannot be used\n")
    assert all(path.name in message for path in (truncated, no_fits, missing))


def test_a_bad_poller_file_is_an_error(tmp_path: Path) -> None:
    poller = tmp_path / "poller.out"
    poller.write_text("a,b,c\n")
    with pytest.raises(PollerError, match=r"poller\.out"):
        find_sky_cells(poller)


def test_no_exposures_have_no_cells() -> None:
    assert find_sky_cells([]) == {}


def test_diagnostics_go_to_the_log_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = write_exposure(tmp_path / "data" / "ib0001aaq_flt.fits")
    caplog.set_level(logging.INFO, logger="multivisit")
    find_sky_cells(one)
    assert caplog.text == ""
    find_sky_cells(one, diagnostic=True)
    assert "ib0001aaq_flt.fits covers skycell-p1889x08y19" in caplog.text
    assert list(one.parent.iterdir()) == [one]


def test_the_real_distortion_of_acs(real_data: Path, tmp_path: Path) -> None:
    """Cells of a real ACS/WFC exposure against all its pixel positions through its own full WCS."""
    path = shutil.copy(real_data / "headers" / "acs_wfc_flt.fits.gz", tmp_path)
    exposure = read_exposure(path)
    cells = {cell.sky_cell_id: cell for cell in cells_of_exposure(exposure)}
    assert list(find_sky_cells(path)) == list(cells)
    neighbours = {
        f"skycell-p{cell.projection_cell.cell_id:04d}x{x:02d}y{y:02d}"
        for cell in cells.values()
        for x in range(max(1, cell.x_index - 1), min(21, cell.x_index + 1) + 1)
        for y in range(max(1, cell.y_index - 1), min(21, cell.y_index + 1) + 1)
    }
    hit = set()
    for chip in exposure.chips:
        ny, nx = chip.shape
        x, y = np.meshgrid(np.linspace(-0.5, nx - 0.5, 500), np.linspace(-0.5, ny - 0.5, 250))
        ra, dec = chip.wcs().all_pix2world(x.ravel(), y.ravel(), 0)
        for name in neighbours:
            u, v = SkyCell.from_name(name).wcs.wcs_world2pix(ra, dec, 0)
            if ((u > -0.5) & (u < 21953.5) & (v > -0.5) & (v < 21953.5)).any():
                hit.add(name)
    assert set(cells) == hit


def test_the_real_pair_of_47_tucanae(real_data: Path) -> None:
    files = sorted((real_data / "hrc_47tuc").glob("*_flt.fits"))
    cells = find_sky_cells(files)
    everyone = [str(path) for path in files]
    # RA 6.02, Dec -72.08: the ring at -74 (p0046) and the one at -70 (p0073), each with its own cells
    assert {name.split("x")[0] for name in cells} >= {"skycell-p0046", "skycell-p0073"}
    assert all(cell.members == [file for file in everyone if file in cell.members] for cell in cells.values())
    assert {member for cell in cells.values() for member in cell.members} == set(everyone)


def test_an_input_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"input_path: .*nowhere: there is no such folder"):
        find_sky_cells([], input_path=tmp_path / "nowhere")
