"""The chip's WCS equals the one that astropy builds from the whole file."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from multivisit.errors import ExposureError
from multivisit.exposures.model import read_exposure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHAPE = (24, 40)


def astropy_sky(path: Path, extver: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Positions through the WCS that astropy builds from the open file."""
    with fits.open(path) as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.array(WCS(hdus["SCI", extver].header, hdus).all_pix2world(x, y, 0))


def positions(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    corners_x, corners_y = np.meshgrid([-0.5, 0.0, shape[1] - 1.0, shape[1] - 0.5], [-0.5, shape[0] - 0.5])
    x = np.concatenate([corners_x.ravel(), random.uniform(-0.5, shape[1] - 0.5, 300)])
    y = np.concatenate([corners_y.ravel(), random.uniform(-0.5, shape[0] - 0.5, 300)])
    return x, y


def add_sip(hdus: fits.HDUList) -> None:
    for extver in (1, 2):
        header = hdus["SCI", extver].header
        header.update(A_ORDER=3, B_ORDER=2, A_2_0=3e-5, A_1_2=-4e-8, B_1_1=2e-5, B_0_2=-1e-5)
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"


def add_tables(hdus: fits.HDUList, *, transposed: bool = False) -> None:
    """Add NPOL tables (coarse) and D2IM tables (a column each, a row each) for chip 1."""
    random = np.random.default_rng(3)
    header = hdus["SCI", 1].header
    tables = [("WCSDVARR", 1, (4, 6), 8.0), ("WCSDVARR", 2, (4, 6), 8.0)]
    tables += [("D2IMARR", 1, (1, SHAPE[1]), 1.0), ("D2IMARR", 2, (SHAPE[0], 1), 1.0)]
    for name, axis, shape, step in tables:
        kind, record = ("CPDIS", "DP") if name == "WCSDVARR" else ("D2IMDIS", "D2IM")
        values = random.uniform(-0.1, 0.1, shape).astype(np.float32)
        table = fits.ImageHDU(values.T if transposed else values, name=name, ver=axis)
        table.header.update(CRPIX1=1.0, CRVAL1=1.0, CDELT1=step, CRPIX2=0.0, CRVAL2=-2.0, CDELT2=step)
        hdus.append(table)
        header[f"{kind}{axis}"] = "Lookup"
        header[f"{record}{axis}"] = f"EXTVER: {axis}"
        header[f"{record}{axis}"] = "NAXES: 2"
        for i in (1, 2):
            header[f"{record}{axis}"] = f"AXIS.{i}: {3 - i if transposed else i}"


def remove_suffix(hdus: fits.HDUList) -> None:
    for extver in (1, 2):
        hdus["SCI", extver].header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN")


def cd_to_pc(hdus: fits.HDUList) -> None:
    header = hdus["SCI", 1].header
    header.update(CDELT1=header["CD1_1"], CDELT2=header["CD2_2"], PC1_2=0.1, PC2_1=-0.2)
    for keyword in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        del header[keyword]


CHANGES: dict[str, list[Callable[[fits.HDUList], None]]] = {
    "plain": [],
    "pc": [cd_to_pc],
    "sip": [add_sip],
    "sip without the suffix": [add_sip, remove_suffix],
    "suffix without sip": [
        lambda hdus: hdus["SCI", 1].header.update(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP")
    ],
    "sip of order 1": [lambda hdus: hdus["SCI", 1].header.update(A_ORDER=1, B_ORDER=1, A_0_1=0.5)],
    "tables": [add_tables],
    "transposed tables": [lambda hdus: add_tables(hdus, transposed=True)],
    "sip and tables": [add_sip, add_tables],
}


@pytest.mark.parametrize("case", list(CHANGES))
def test_the_wcs_of_a_synthetic_chip_equals_astropys(write_exposure: Callable[..., Path], case: str) -> None:
    def change(hdus: fits.HDUList) -> None:
        for one in CHANGES[case]:
            one(hdus)

    path = write_exposure("wfc", change=change)
    for chip in read_exposure(path).chips:
        x, y = positions(chip.shape)
        found = np.array(chip.wcs().all_pix2world(x, y, 0))
        np.testing.assert_allclose(found, astropy_sky(path, chip.extver, x, y), rtol=0, atol=2e-13)


def test_the_old_one_row_detector_table_is_used(write_exposure: Callable[..., Path]) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus["SCI", 1].header["AXISCORR"] = 1
        row = np.random.default_rng(1).uniform(-0.1, 0.1, SHAPE[1]).astype(np.float32)
        table = fits.ImageHDU(row, name="D2IMARR", ver=1)
        table.header.update(CRPIX1=20.0, CRVAL1=20.0, CDELT1=1.0)
        hdus.append(table)

    path = write_exposure("hrc", change=change)
    (chip,) = read_exposure(path).chips
    x, y = positions(chip.shape)
    found = np.array(chip.wcs().all_pix2world(x, y, 0))
    np.testing.assert_allclose(found, astropy_sky(path, 1, x, y), rtol=0, atol=2e-13)
    assert len(chip.lookup_tables) == 1


def test_the_wcs_of_real_chips_equals_astropys(real_data: Path) -> None:
    for path in sorted([*real_data.glob("hrc_47tuc/*.fits"), *real_data.glob("headers/*fl[tc].fits*")]):
        for chip in read_exposure(path).chips:
            x, y = positions((1014, 2000))
            found = np.array(chip.wcs().all_pix2world(x, y, 0))
            np.testing.assert_allclose(found, astropy_sky(path, chip.extver, x, y), rtol=0, atol=2e-13)


def test_each_wcs_is_a_fresh_object(write_exposure: Callable[..., Path]) -> None:
    chip = read_exposure(write_exposure("wfc", change=add_tables)).chips[0]
    one, other = chip.wcs(), chip.wcs()
    one.wcs.crval = [0.0, 0.0]
    one.cpdis1 = None
    assert list(other.wcs.crval) == [150.0, 2.0]
    assert other.cpdis1 is not None
    assert chip.header["CRVAL1"] == 150.0


def test_the_knots_are_where_astropy_has_the_tables_elements(write_exposure: Callable[..., Path]) -> None:
    chip = read_exposure(write_exposure("wfc", change=add_tables)).chips[0]
    wcs = chip.wcs()
    for table in chip.lookup_tables:
        if table.kind != "CPDIS":
            continue
        lookup = wcs.cpdis1 if table.axis == 1 else wcs.cpdis2
        x, y = table.knots(1), table.knots(2)
        inside = [lookup.get_offset(x[i] + 1, y[j] + 1) for j in range(len(y)) for i in range(len(x))]
        np.testing.assert_allclose(np.reshape(inside, table.values.shape), table.values, atol=1e-7)


def test_damaged_tables_are_an_error(write_exposure: Callable[..., Path]) -> None:
    def change(hdus: fits.HDUList) -> None:
        add_tables(hdus)
        hdus["WCSDVARR", 2].data[1, 1] = np.nan

    with pytest.raises(
        ExposureError, match=r"\[SCI,1\]: no usable WCS: the lookup table \[WCSDVARR,2\] is damaged"
    ):
        read_exposure(write_exposure("wfc", change=change))


def test_the_outline_follows_the_outer_edges(write_exposure: Callable[..., Path]) -> None:
    path = write_exposure("hrc")
    (chip,) = read_exposure(path).chips
    ra, dec = chip.outline(points_per_edge=8)
    assert ra.shape == dec.shape == (32,)
    corners = astropy_sky(path, 1, np.array([-0.5, 39.5, 39.5, -0.5]), np.array([-0.5, -0.5, 23.5, 23.5]))
    np.testing.assert_allclose(np.array([ra, dec])[:, ::8], corners, rtol=0, atol=1e-12)
    x, y = chip.wcs().all_world2pix(ra, dec, 0)
    on_an_edge = np.isclose(x, -0.5) | np.isclose(x, 39.5) | np.isclose(y, -0.5) | np.isclose(y, 23.5)
    assert on_an_edge.all()
