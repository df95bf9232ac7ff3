"""The files that are made for the benchmarks, against astropy and the simulator."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from benchmarks.chip_files import fit_tpv, write_chip_files
from benchmarks.fields import SKY_CELL, growth_specification, write_fast_field, write_growth_poller
from benchmarks.growth import FULL_REACH
from benchmarks.swarp import grid_text

from multivisit.simulate.geometry import Pointing, chip_wcs, detector_geometry
from multivisit.simulate.simulator import plan_exposures
from multivisit.sky.cells import SkyCell

if TYPE_CHECKING:
    from pathlib import Path

SUBARRAY = (64, 128)


def test_fast_exposures_have_the_simulators_wcs_and_sound_files(tmp_path: Path) -> None:
    specification = growth_specification(2, 30.0, subarray=SUBARRAY)
    field = write_fast_field(specification, tmp_path)
    planned = {item.identity.filename: item for item in plan_exposures(specification)}
    assert len(field.exposures) == len(field.anchors) == 2
    assert len({path.name for path in (*field.exposures, *field.anchors)}) == 4
    for path in (*field.exposures, *field.anchors):
        exposure = planned[path.name]
        with fits.open(path) as file:
            file.verify("exception")
            assert [hdu.name for hdu in file[:7]] == ["PRIMARY", *["SCI", "ERR", "DQ"] * 2]
            for index, chip in enumerate(detector_geometry("acs_wfc").chips):
                image = file["SCI", index + 1]
                assert image.data.shape == file["DQ", index + 1].data.shape == SUBARRAY
                exact = chip_wcs(chip, exposure.identity.pointing, exposure.windows[index])
                pixels = ([0.0, 127.0, 64.0], [0.0, 63.0, 31.0])
                np.testing.assert_allclose(
                    WCS(image.header, file).all_pix2world(*pixels, 0),
                    exact.all_pix2world(*pixels, 0),
                    rtol=0,
                    atol=1e-12,
                )
                flagged = file["DQ", index + 1].data == 4096
                assert np.median(image.data[flagged]) > 10 * np.median(image.data[~flagged])
        assert path.stat().st_size % 2880 == 0


def test_two_exposures_of_a_field_share_no_noise(tmp_path: Path) -> None:
    field = write_fast_field(growth_specification(2, 30.0, subarray=SUBARRAY), tmp_path)
    first, second = (fits.getdata(path, ("SCI", 1)) for path in field.exposures)
    assert not np.any(first == second)


def test_the_anchors_of_the_full_field_reach_all_sides_of_the_sky_cell() -> None:
    cell = SkyCell.from_name(SKY_CELL)
    planned = plan_exposures(growth_specification(1, FULL_REACH))[1:]
    assert len(planned) == 2
    x, y = [], []
    for exposure in planned:
        for chip in detector_geometry("acs_wfc").chips:
            wcs = chip_wcs(chip, exposure.identity.pointing)
            edge = np.arange(0.0, 4096.0, 64.0)
            for columns, rows in (
                (edge, 0 * edge),
                (edge, 0 * edge + 2047),
                (0 * edge, edge / 2),
                (0 * edge + 4095, edge / 2),
            ):
                u, v = cell.wcs.all_world2pix(*wcs.all_pix2world(columns, rows, 0), 0)
                x.append(u)
                y.append(v)
    for values in (np.concatenate(x), np.concatenate(y)):
        assert values.min() < 0
        assert values.max() > 21953


def test_a_growth_poller_holds_new_exposures_and_old_anchors(tmp_path: Path) -> None:
    field = write_fast_field(growth_specification(3, 30.0, subarray=SUBARRAY), tmp_path)
    write_growth_poller(field.exposures[:2], field.anchors, tmp_path / "poller.out")
    rows = [line.split(",") for line in (tmp_path / "poller.out").read_text().splitlines()]
    assert {row[7] for row in rows} == {SKY_CELL}
    assert sorted(row[0] for row in rows if row[8] == "NEW") == [path.name for path in field.exposures[:2]]
    assert sorted(row[0] for row in rows if row[8] == "OLD") == [path.name for path in field.anchors]


@pytest.mark.parametrize(("detector", "limit"), [("wfc3_ir", 1e-6), ("acs_wfc", 0.2), ("wfc3_uvis", 0.2)])
def test_tpv_polynomials_are_close_to_the_exact_wcs_by_astropy(detector: str, limit: float) -> None:
    chip = detector_geometry(detector).chips[0]
    exact = chip_wcs(chip, Pointing(150.1, 2.2, 33.0))
    cards, residual = fit_tpv(exact, chip.shape)
    tpv = WCS(fits.Header(cards))
    random = np.random.default_rng(1)
    x, y = random.uniform(0, chip.shape[1] - 1, 500), random.uniform(0, chip.shape[0] - 1, 500)
    u, v = tpv.all_world2pix(*exact.all_pix2world(x, y, 0), 0)
    largest = float(max(np.abs(u - x).max(), np.abs(v - y).max()))
    assert largest < limit
    assert residual < limit


def test_tpv_polynomials_hold_sip_alone_exactly() -> None:
    chip = detector_geometry("acs_wfc").chips[0]
    exact = chip_wcs(chip, Pointing(150.1, 2.2, 33.0))
    exact.cpdis1 = exact.cpdis2 = exact.det2im1 = exact.det2im2 = None
    assert fit_tpv(exact, chip.shape)[1] < 1e-7


def test_chip_files_hold_rates_and_weigh_good_pixels_by_exposure_time(tmp_path: Path) -> None:
    field = write_fast_field(growth_specification(1, 30.0, subarray=SUBARRAY), tmp_path)
    chips = write_chip_files(field.exposures[0], tmp_path)
    assert len(chips) == 2
    with fits.open(field.exposures[0]) as file:
        counts, flags = file["SCI", 1].data, file["DQ", 1].data
    science, weight = fits.getdata(chips[0].path), fits.getdata(chips[0].path.with_suffix(".weight.fits"))
    np.testing.assert_array_equal(weight, np.where(flags == 4096, 0.0, 500.0))
    np.testing.assert_allclose(science[flags == 0], counts[flags == 0] / 500.0, rtol=1e-6)
    assert np.all(science[flags != 0] == 0)


def test_the_grid_that_swarp_reads_is_the_products_own() -> None:
    cell = SkyCell.from_name(SKY_CELL)
    header = cell.wcs.to_header()
    header["NAXIS1"], header["NAXIS2"] = 300, 200
    header["CD1_1"], header["CD2_2"] = -0.04 / 3600, 0.04 / 3600
    text = grid_text(header)
    assert text.rstrip().endswith("END")
    again = fits.Header.fromstring(re.sub(r"END\s*$", "", text), sep="\n")
    assert (again["NAXIS1"], again["NAXIS2"]) == (300, 200)
    np.testing.assert_allclose(
        WCS(again).all_pix2world([0, 299], [0, 199], 0), cell.wcs.all_pix2world([0, 299], [0, 199], 0)
    )
