"""Exposures as they should be, as they are in the wild, and as they must not be."""

from __future__ import annotations

import contextlib
import datetime
import gzip
import logging
import pickle
import random
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multivisit.errors import ExposureError, MissingFileError, MultivisitError
from multivisit.exposures.model import read_exposure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHAPE = (24, 40)
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
# Electrons per second for a unit of the synthetic files (100 s; WFPC2 gains of chips 1 to 4 at ATODGAIN 7).
FACTORS = {
    "wfc": [0.01, 0.01],
    "hrc": [0.01],
    "sbc": [0.01],
    "uvis": [0.01, 0.01],
    "ir": [1.0],
    "pc": [0.0712, 0.0712, 0.0690, 0.0710],
}


def pixels(extver: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return (np.arange(shape[0] * shape[1], dtype=np.float64) - 100.0).reshape(shape) * extver


@pytest.mark.parametrize("detector", list(FACTORS))
def test_every_detector_is_read(write_exposure: Callable[..., Path], detector: str) -> None:
    exposure = read_exposure(write_exposure(detector))
    instrument = {"uvis": "wfc3", "ir": "wfc3", "pc": "wfpc2"}.get(detector, "acs")
    assert (exposure.instrument, exposure.detector) == (instrument, detector)
    assert exposure.rootname == "jabc01xyq"
    assert exposure.exposure_time == 100.0
    assert (exposure.file_type, exposure.product_suffix) == ("flt", "drz")
    assert exposure.date_observed == datetime.date(2009, 6, 18)
    assert (exposure.start_mjd, exposure.proposal_id) == (55000.25, 12345)
    assert len(exposure.chips) == len(FACTORS[detector])
    for chip, factor in zip(exposure.chips, FACTORS[detector], strict=True):
        science, error, quality = chip.read_science(), chip.read_error(), chip.read_data_quality()
        assert science.dtype == np.float32
        assert science.flags.c_contiguous
        np.testing.assert_allclose(science, pixels(chip.extver) * factor, rtol=2e-7)
        assert error is not None
        np.testing.assert_allclose(error, 5.0 * factor, rtol=2e-7)
        assert quality.dtype == np.int32
        assert quality[1, 2] == 4096
        assert quality[3, 4] == 16 * chip.extver
        assert np.count_nonzero(quality) == 2


def test_chip_numbers_are_those_of_the_detector(write_exposure: Callable[..., Path]) -> None:
    assert [chip.chip_id for chip in read_exposure(write_exposure("uvis")).chips] == [2, 1]
    assert [chip.chip_id for chip in read_exposure(write_exposure("pc", name="u_c0m.fits")).chips] == [
        1,
        2,
        3,
        4,
    ]


@pytest.mark.parametrize(
    ("units", "factor"),
    [("ELECTRONS", 0.01), ("ELECTRONS/S", 1.0), ("COUNTS", 0.0155), ("DN/S", 1.55), ("", 0.01)],
)
def test_all_units_become_electrons_per_second(
    write_exposure: Callable[..., Path], units: str, factor: float
) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus["SCI", 1].header["BUNIT"] = units
        # Four amplifiers, one of which is not read.
        for letter, gain in zip("ABCD", (1.5, 1.6, 0.0, 1.55), strict=True):
            hdus[0].header[f"ATODGN{letter}"] = gain

    chip = read_exposure(write_exposure("hrc", change=change)).chips[0]
    np.testing.assert_allclose(chip.read_science(), pixels(1) * factor, rtol=2e-7)


def test_ccdgain_serves_where_no_amplifier_has_a_gain(write_exposure: Callable[..., Path]) -> None:
    path = write_exposure("uvis", change=lambda hdus: hdus["SCI", 1].header.update(BUNIT="COUNTS"))
    first, second = read_exposure(path).chips
    np.testing.assert_allclose(first.read_science(), pixels(1) * 0.02, rtol=2e-7)
    np.testing.assert_allclose(second.read_science(), pixels(2) * 0.01, rtol=2e-7)


def test_nan_and_infinity_stay(write_exposure: Callable[..., Path]) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus["SCI", 1].data[0, :3] = [np.nan, np.inf, -np.inf]

    science = read_exposure(write_exposure("hrc", change=change)).chips[0].read_science()
    np.testing.assert_array_equal(science[0, :3], [np.nan, np.inf, -np.inf])
    assert np.isfinite(science).sum() == science.size - 3


def test_gzipped_and_plain_files_are_the_same(write_exposure: Callable[..., Path], tmp_path: Path) -> None:
    plain = write_exposure("wfc", name="jabc01xyq_flc.fits")
    packed = tmp_path / "packed" / "jabc01xyq_flc.fits.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    one, other = read_exposure(plain), read_exposure(packed)
    assert other.filename == one.filename == "jabc01xyq_flc.fits"
    assert other.product_suffix == "drc"
    assert repr(one.primary) == repr(other.primary)
    for a, b in zip(one.chips, other.chips, strict=True):
        np.testing.assert_array_equal(a.read_science(), b.read_science())
        np.testing.assert_array_equal(a.read_data_quality(), b.read_data_quality())


def test_the_file_type_is_in_the_name_else_in_the_header(write_exposure: Callable[..., Path]) -> None:
    def corrected(hdus: fits.HDUList) -> None:
        hdus[0].header["PCTECORR"] = "COMPLETE"

    assert (
        read_exposure(write_exposure("wfc", name="jabc01xyq_flt.fits", change=corrected)).file_type == "flt"
    )
    assert read_exposure(write_exposure("wfc", name="mine.fits", change=corrected)).file_type == "flc"
    assert read_exposure(write_exposure("wfc", name="other.fits")).file_type == "flt"
    assert read_exposure(write_exposure("pc", name="wide.fits")).file_type == "c0m"


@pytest.mark.parametrize("packed", [False, True])
def test_wfpc2_takes_its_data_quality_from_the_c1m_file(
    write_exposure: Callable[..., Path], tmp_path: Path, packed: bool
) -> None:
    path = write_exposure("pc", name="u2eo0303t_c0m.fits", quality=False, error=False)
    flags = [fits.ImageHDU(np.full(SHAPE, 2 * v, dtype=np.int16), name="SCI", ver=v) for v in (1, 2, 3, 4)]
    beside = tmp_path / ("u2eo0303t_c1m.fits.gz" if packed else "u2eo0303t_c1m.fits")
    fits.HDUList([fits.PrimaryHDU(), *flags]).writeto(beside)
    linked = tmp_path / "elsewhere" / path.name
    linked.parent.mkdir()
    linked.symlink_to(path)
    for each in (path, linked):
        for chip in read_exposure(each).chips:
            assert (chip.read_data_quality() == 2 * chip.extver).all()
            assert chip.read_error() is None
            assert not chip.quality_problem


def test_wfpc2_without_its_data_quality_is_an_error(
    write_exposure: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_exposure("pc", name="u2eo0303t_c0m.fits", quality=False)
    with pytest.raises(ExposureError, match=rf"u2eo0303t_c1m\.fits \(plain or \.gz\) is not in {tmp_path}\."):
        read_exposure(path)
    with pytest.raises(ExposureError, match="has no data quality, expected DQ extensions"):
        read_exposure(write_exposure("pc", name="mine.fits", quality=False))
    # Of one chip only.
    flags = fits.ImageHDU(np.zeros(SHAPE, dtype=np.int16), name="SCI", ver=2)
    fits.HDUList([fits.PrimaryHDU(), flags]).writeto(tmp_path / "u2eo0303t_c1m.fits")
    problems = [chip.quality_problem for chip in read_exposure(path).chips]
    assert [bool(problem) for problem in problems] == [True, False, True, True]
    assert problems[0] == f"{tmp_path / 'u2eo0303t_c1m.fits'}: has no data quality of chip 1"


def test_files_that_go_with_exposures_are_none(write_exposure: Callable[..., Path]) -> None:
    with pytest.raises(ExposureError, match=r"the data quality file of u2eo0303t_c0m\.fits\.gz, not an"):
        read_exposure(write_exposure("pc", name="u2eo0303t_c1m.fits.gz"))
    with pytest.raises(ExposureError, match="FILETYPE is 'SDQ'"):
        read_exposure(write_exposure("pc", name="q.fits", change=set_primary(FILETYPE="SDQ")))
    with pytest.raises(ExposureError, match="association tables are not read; list their exposures"):
        read_exposure(write_exposure("hrc", name="jabc01010_asn.fits"))


def test_constant_images_of_the_hst_convention_are_read(write_exposure: Callable[..., Path]) -> None:
    def change(hdus: fits.HDUList) -> None:
        for name, value in (("SCI", 50.0), ("DQ", 0), ("ERR", 3.0)):
            old = hdus[name, 1]
            new = fits.ImageHDU(header=old.header, name=name, ver=1)
            new.data = None
            new.header.update(NPIX1=SHAPE[1], NPIX2=SHAPE[0], PIXVALUE=value)
            hdus[hdus.index_of((name, 1))] = new

    path = write_exposure("hrc", change=change)
    assert fits.getheader(path, "SCI", 1)["NAXIS"] == 0
    chip = read_exposure(path).chips[0]
    assert chip.shape == SHAPE
    np.testing.assert_allclose(chip.read_science(), np.full(SHAPE, 0.5))
    assert chip.read_data_quality().shape == SHAPE
    assert not chip.read_data_quality().any()


def test_without_data_quality_every_pixel_is_good(write_exposure: Callable[..., Path]) -> None:
    chip = read_exposure(write_exposure("ir", quality=False, error=False)).chips[0]
    np.testing.assert_array_equal(chip.read_data_quality(), np.zeros(SHAPE, dtype=np.int32))
    assert chip.read_error() is None


def test_a_subarray_of_one_chip_is_read(write_exposure: Callable[..., Path]) -> None:
    def change(hdus: fits.HDUList) -> None:
        for name in ("SCI", "ERR", "DQ"):
            del hdus[name, 1]
        hdus["SCI", 2].header.update(LTV1=-500.0, LTV2=-600.0)
        hdus[0].header["SUBARRAY"] = True

    (chip,) = read_exposure(write_exposure("uvis", change=change, shape=(7, 513))).chips
    assert (chip.extver, chip.chip_id, chip.shape) == (2, 1, (7, 513))
    assert chip.read_science().shape == (7, 513)


OPTIONAL = [
    "DATE-OBS", "EXPSTART", "EXPEND", "PROPOSID", "ROOTNAME", "TELESCOP", "FILENAME", "MTFLAG",
    "FILTER1", "FILTER2", "CCDGAIN",
]  # fmt: skip
OPTIONAL_SCIENCE = ["BUNIT", "IDCSCALE", "WCSNAME", "CCDCHIP"]


@pytest.mark.parametrize("blank", [False, True])
@pytest.mark.parametrize("keyword", [*OPTIONAL, *OPTIONAL_SCIENCE])
def test_optional_keywords_may_be_missing_or_blank(
    write_exposure: Callable[..., Path], keyword: str, blank: bool
) -> None:
    def change(hdus: fits.HDUList) -> None:
        for hdu in (hdus[0], hdus["SCI", 1], hdus["SCI", 2]):
            if keyword in (OPTIONAL if hdu is hdus[0] else OPTIONAL_SCIENCE):
                if blank:
                    hdu.header[keyword] = None if keyword == "PROPOSID" else "   "
                else:
                    hdu.header.remove(keyword, ignore_missing=True)

    exposure = read_exposure(write_exposure("wfc", change=change))
    assert len(exposure.chips) == 2
    assert exposure.rootname == "jabc01xyq"
    np.testing.assert_allclose(exposure.chips[1].read_science(), pixels(2) * 0.01, rtol=2e-7)
    assert exposure.chips[0].nominal_scale == 0.05


def test_what_takes_the_place_of_missing_keywords(write_exposure: Callable[..., Path]) -> None:
    def change(hdus: fits.HDUList) -> None:
        for keyword in ("EXPSTART", "EXPEND", "ROOTNAME", "PROPOSID"):
            del hdus[0].header[keyword]
        hdus[0].header["TIME-OBS"] = "06:00:00"

    exposure = read_exposure(
        write_exposure("hrc", name="hst_9019_06_acs_hrc_f606w_jabc01xy_flt.fits", change=change)
    )
    assert exposure.rootname == "jabc01xyq"
    assert exposure.proposal_id == 9019
    assert exposure.start_mjd == 55000.25
    assert exposure.end_mjd == pytest.approx(55000.25 + 100 / 86400)

    def no_dates(hdus: fits.HDUList) -> None:
        for keyword in ("EXPSTART", "EXPEND", "DATE-OBS", "ROOTNAME", "PROPOSID"):
            del hdus[0].header[keyword]

    exposure = read_exposure(write_exposure("hrc", name="mine.fits", change=no_dates))
    assert (exposure.start_mjd, exposure.end_mjd, exposure.date_observed) == (None, None, None)
    assert exposure.proposal_id is None
    assert exposure.rootname == "mine"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("1998-04-13", datetime.date(1998, 4, 13)),
        ("13/04/98", datetime.date(1998, 4, 13)),
        ("1998-04-13T23:00:00", datetime.date(1998, 4, 13)),
        ("soon", datetime.date(2009, 6, 18)),
        ("0001-01-01", datetime.date(2009, 6, 18)),
    ],
)
def test_dates_old_and_new(
    write_exposure: Callable[..., Path], content: str, expected: datetime.date
) -> None:
    path = write_exposure("pc", change=lambda hdus: hdus[0].header.set("DATE-OBS", content))
    assert read_exposure(path).date_observed == expected


def test_binned_pixels_without_idcscale_are_larger(write_exposure: Callable[..., Path]) -> None:
    def change(hdus: fits.HDUList) -> None:
        del hdus["SCI", 1].header["IDCSCALE"]
        hdus["SCI", 1].header["BINAXIS1"] = 2

    assert [c.nominal_scale for c in read_exposure(write_exposure("uvis", change=change)).chips] == [
        0.07924,
        0.03962,
    ]


def set_science(**cards: Any) -> Callable[[fits.HDUList], None]:
    def change(hdus: fits.HDUList) -> None:
        for keyword, value in cards.items():
            if value is ...:
                hdus["SCI", 1].header.remove(keyword)
            else:
                hdus["SCI", 1].header[keyword] = value

    return change


def set_primary(**cards: Any) -> Callable[[fits.HDUList], None]:
    def change(hdus: fits.HDUList) -> None:
        for keyword, value in cards.items():
            if value is ...:
                hdus[0].header.remove(keyword)
            else:
                hdus[0].header[keyword] = value

    return change


def remove_science(hdus: fits.HDUList) -> None:
    del hdus["SCI", 1]


def table_as_science(hdus: fits.HDUList) -> None:
    hdus["SCI", 1] = fits.BinTableHDU.from_columns([fits.Column("X", "E", array=[1.0])], name="SCI", ver=1)


def compress_science(hdus: fits.HDUList) -> None:
    hdus["SCI", 1] = fits.CompImageHDU(hdus["SCI", 1].data, header=hdus["SCI", 1].header, name="SCI")


def science_twice(hdus: fits.HDUList) -> None:
    hdus.append(hdus["SCI", 1].copy())


def empty_science(hdus: fits.HDUList) -> None:
    hdus["SCI", 1].data = None


def ask_for_table(hdus: fits.HDUList) -> None:
    hdus["SCI", 1].header["CPDIS1"] = "Lookup"
    hdus["SCI", 1].header["DP1.EXTVER"] = 3.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_primary(INSTRUME="STIS"), r"\[PRIMARY\]: INSTRUME is 'STIS' and DETECTOR is 'HRC'"),
        (set_primary(DETECTOR=...), "DETECTOR is ''"),
        (set_primary(EXPTIME=...), r"\[PRIMARY\]: EXPTIME is missing, expected the exposure time"),
        (set_primary(EXPTIME=-1.0), "EXPTIME is -1.0"),
        (set_primary(EXPTIME="long"), "EXPTIME is 'long'"),
        (
            set_primary(EXPTIME=1e300),
            r"EXPTIME is 1e\+300, expected the exposure time in seconds, 0 to 1e\+06",
        ),
        (set_primary(EXPTIME=1000001.0), "EXPTIME is 1000001.0"),
        (set_primary(FILTER1="../../x"), r"\[PRIMARY\]: FILTER1 is '../../x', expected the name of a filter"),
        (set_primary(FILTER2="/etc"), "FILTER2 is '/etc'"),
        (set_primary(FILTER1="--help"), "FILTER1 is '--help'"),
        (set_primary(FILTER1=".."), r"FILTER1 is '\.\.'"),
        (set_primary(FILTER1="F606W F814W"), "FILTER1 is 'F606W F814W'"),
        (set_primary(FILTER1="*"), r"FILTER1 is '\*'"),
        (set_science(EXTVER=10**9), r"\[SCI,1000000000\]"),
        (set_science(CRVAL1=720.5), "CRVAL1 is 720.5, expected a right ascension"),
        (set_science(CRVAL1=-1e300), r"CRVAL1 is -1e\+300"),
        (set_science(BUNIT="ergs/s"), r"\[SCI,1\]: BUNIT is 'ergs/s'"),
        (remove_science, r"no SCI extension \(found: \[PRIMARY\], \[ERR,1\], \[DQ,1\]\)"),
        (table_as_science, r"\[SCI,1\]: is a BINTABLE"),
        (compress_science, "funpack"),
        (science_twice, r"two extensions \[SCI,1\]"),
        (empty_science, r"\[SCI,1\]: is a IMAGE of shape \(\)"),
        (set_science(CTYPE1=...), r"\[SCI,1\]: no usable WCS: CTYPE1 is missing, expected 'RA---TAN'"),
        (set_science(CTYPE1="LINEAR", CTYPE2="LINEAR"), "CTYPE1 is 'LINEAR'"),
        (set_science(CTYPE2="DEC--SIN"), "CTYPE2 is 'DEC--SIN'"),
        (set_science(CRVAL1=...), "CRVAL1 is missing, expected a number"),
        (set_science(CRVAL2=""), "CRVAL2 is blank"),
        (set_science(CRVAL2=91.0), "CRVAL2 is 91.0"),
        (set_science(CRPIX2=...), "CRPIX2 is missing"),
        (set_science(CD1_1=0.0), r"matrix .* is singular"),
        (set_science(CD1_1=1e-5, CD1_2=2e-5, CD2_1=2e-5, CD2_2=4e-5), r"matrix .* is singular"),
        (set_science(CD1_1="one"), "CD1_1 is 'one', expected a number"),
        (set_science(CD1_1=..., CD1_2=..., CD2_1=..., CD2_2=...), "CD matrix"),
        (set_science(A_ORDER=4), "A_ORDER stands alone"),
        (set_science(A_ORDER=4, B_ORDER=40), "B_ORDER is 40"),
        (set_science(A_ORDER=4, B_ORDER=4, A_2_0="x"), "A_2_0 is 'x'"),
        (ask_for_table, r"\[SCI,1\]: no usable WCS: CPDIS1 asks for the lookup table \[WCSDVARR,3\]"),
        (set_science(D2IMDIS2="Polynomial"), "D2IMDIS2 is 'Polynomial'"),
    ],
)
def test_each_unusable_exposure_is_one_clear_error(
    write_exposure: Callable[..., Path], change: Callable[[fits.HDUList], None], message: str
) -> None:
    path = write_exposure("hrc", change=change)
    with pytest.raises(ExposureError, match=message) as caught:
        read_exposure(path)
    assert str(path) in str(caught.value)


def test_counts_without_a_known_gain_are_an_error(write_exposure: Callable[..., Path]) -> None:
    path = write_exposure("pc", name="u2eo0303t_c0m.fits", change=set_primary(ATODGAIN=8.0))
    with pytest.raises(ExposureError, match=r"ATODGAIN is 8\.0 for chip 1"):
        read_exposure(path)

    def change(hdus: fits.HDUList) -> None:
        hdus["SCI", 1].header["BUNIT"] = "COUNTS"
        del hdus[0].header["CCDGAIN"]

    with pytest.raises(ExposureError, match=r"none of ATODGNA, .* holds a gain"):
        read_exposure(write_exposure("hrc", change=change))


def test_absurd_gains_are_none(write_exposure: Callable[..., Path]) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus["SCI", 1].header["BUNIT"] = "COUNTS"
        hdus[0].header.update(ATODGNA=1e300, ATODGNB=1.5, CCDGAIN=1e300)

    assert read_exposure(write_exposure("hrc", change=change)).chips[0].gain == 1.5

    def no_other(hdus: fits.HDUList) -> None:
        change(hdus)
        hdus[0].header["ATODGNB"] = 0.0

    with pytest.raises(ExposureError, match="holds a gain, expected one, above 0 and up to 1000"):
        read_exposure(write_exposure("hrc", name="none_flt.fits", change=no_other))


@pytest.mark.parametrize("content", ["NaN", "inf", "1e-", "12s"])
def test_an_unreadable_card_is_shown(write_exposure: Callable[..., Path], content: str) -> None:
    path = write_exposure("hrc")
    damaged = path.read_bytes().replace(
        b"EXPTIME =                100.0", b"EXPTIME = " + content.encode().rjust(20), 1
    )
    path.write_bytes(damaged)
    with pytest.raises(ExposureError, match=rf"EXPTIME is unreadable \({content}\), expected the exposure"):
        read_exposure(path)


@pytest.mark.parametrize("name", ["F606W", "FR459M", "F130LP", "G800L", "FQ508N", "LRF", "FQCH4N", "POL0UV"])
def test_the_names_of_real_filters_are_taken(write_exposure: Callable[..., Path], name: str) -> None:
    path = write_exposure("hrc", change=set_primary(FILTER1=name, FILTER2="N/A"))
    assert read_exposure(path).filter_name == name.lower()


def test_absurd_numbers_and_names_count_as_missing(write_exposure: Callable[..., Path]) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus[0].header.update(PROPOSID=1e300, ROOTNAME="../x")
        hdus["SCI", 1].header.update(CCDCHIP=1e300, BINAXIS1=1000, IDCSCALE=20.0)

    exposure = read_exposure(write_exposure("hrc", name="jabc01xyq_flt.fits", change=change))
    assert (exposure.proposal_id, exposure.rootname) == (None, "jabc01xyq")
    assert (exposure.chips[0].chip_id, exposure.chips[0].nominal_scale) == (1, 0.025)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(0.0251, 0.0251), (0.0299, 0.0299), (0.031, 0.025), (0.019, 0.025), (1e300, 0.025)],
)
def test_idcscale_counts_where_it_can_be_right(
    write_exposure: Callable[..., Path], scale: float, expected: float
) -> None:
    path = write_exposure("hrc", change=set_science(IDCSCALE=scale))
    assert read_exposure(path).chips[0].nominal_scale == expected


def test_a_file_cut_between_two_extensions_is_noticed(write_exposure: Callable[..., Path]) -> None:
    def cut(n_left: int) -> Callable[[fits.HDUList], None]:
        def change(hdus: fits.HDUList) -> None:
            hdus[0].header["NEXTEND"] = 6
            del hdus[n_left + 1 :]

        return change

    for n_left in (1, 2, 3, 4, 5):
        path = write_exposure("wfc", name=f"cut{n_left}_flt.fits", change=cut(n_left))
        with pytest.raises(ExposureError, match=rf"truncated: {n_left} extensions found, NEXTEND says 6"):
            read_exposure(path)
    # Extensions that are not needed may be taken out.
    assert read_exposure(write_exposure("wfc", change=set_primary(NEXTEND=20))).chips


def test_zero_exposure_time_is_for_the_vetting_but_gives_no_rates(
    write_exposure: Callable[..., Path],
) -> None:
    exposure = read_exposure(write_exposure("hrc", change=set_primary(EXPTIME=0.0)))
    assert exposure.exposure_time == 0.0
    with pytest.raises(ExposureError, match=r"\[SCI,1\]: EXPTIME is 0.0"):
        exposure.chips[0].read_science()
    with pytest.raises(ExposureError, match=r"EXPTIME is 0.0"):
        exposure.chips[0].read_error()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 4), r"\[DQ,1\]: shape is \(3, 4\), expected \(24, 40\)"),
        ((960,), r"\[DQ,1\]: shape is \(960,\), expected \(24, 40\)"),
        ((2, 24, 40), r"\[DQ,1\]: is a IMAGE of shape \(2, 24, 40\), expected an image of two dimensions"),
    ],
)
def test_data_quality_of_another_shape_is_an_error(
    write_exposure: Callable[..., Path], shape: tuple[int, ...], message: str
) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus["DQ", 1].data = np.zeros(shape, dtype=np.int16)

    chip = read_exposure(write_exposure("hrc", change=change)).chips[0]
    assert re.search(message, chip.quality_problem)
    with pytest.raises(ExposureError, match=message):
        chip.read_data_quality()


@pytest.mark.parametrize(
    ("keyword", "card", "message"),
    [
        ("BSCALE", "'one'", r"BSCALE is 'one', expected a number other than 0"),
        ("BSCALE", "NaN", r"BSCALE is unreadable \(NaN\), expected a number other than 0"),
        ("BSCALE", "0.0", r"BSCALE is 0\.0, expected a number other than 0"),
        ("BZERO", "none", r"BZERO is unreadable \(none\), expected a number"),
    ],
)
def test_factors_that_are_none_are_found_in_the_headers(
    write_exposure: Callable[..., Path], keyword: str, card: str, message: str
) -> None:
    def change(hdus: fits.HDUList) -> None:
        for name in ("SCI", "DQ"):
            hdus[name, 1].header["MARK"] = name

    path = write_exposure("hrc", change=change)
    content = path.read_bytes()
    for name in (b"SCI", b"DQ"):
        mark = content.index(b"MARK    = '" + name)
        damaged = content[:mark] + f"{keyword:8}= {card}".encode().ljust(80) + content[mark + 80 :]
        path.write_bytes(damaged)
        if name == b"SCI":
            with pytest.raises(ExposureError, match=rf"\[SCI,1\]: {message}"):
                read_exposure(path)
        else:
            problem = read_exposure(path).chips[0].quality_problem
            assert re.search(rf"\[DQ,1\]: {message}", problem)


@pytest.mark.filterwarnings("error")
def test_values_beyond_all_measure_are_not_finite_and_flagged_without_a_warning(
    write_exposure: Callable[..., Path],
) -> None:
    def change(hdus: fits.HDUList) -> None:
        science = hdus["SCI", 1].data.astype(np.float64)
        science[0, :3] = [1e300, -1e300, 5.0]
        hdus["SCI", 1].data = science
        flags = np.zeros(SHAPE)
        flags[0, :8] = [np.nan, np.inf, 1e20, -1e20, 0.5, 65536.0, 4096.0, -32768.0]
        hdus["DQ", 1].data = flags
        hdus["ERR", 1].data = np.full(SHAPE, 1e300)

    chip = read_exposure(write_exposure("hrc", change=change)).chips[0]
    np.testing.assert_allclose(chip.read_science()[0, :3], [np.inf, -np.inf, 0.05])
    np.testing.assert_array_equal(chip.read_data_quality()[0, :9] & 0xFFFF, [*[0xFFFF] * 6, 4096, 0x8000, 0])
    assert np.isinf(chip.read_error()).all()

    def mark(hdus: fits.HDUList) -> None:
        for name in ("SCI", "DQ"):
            hdus[name, 1].data = np.full(SHAPE, 7, dtype=np.int32)
            hdus[name, 1].header["MARK"] = 0

    path = write_exposure("hrc", name="scaled_flt.fits", change=mark)
    path.write_bytes(
        path.read_bytes().replace(b"MARK    =                    0", b"BSCALE  =                1E308")
    )
    chip = read_exposure(path).chips[0]
    assert np.isinf(chip.read_science()).all()
    assert (chip.read_data_quality() == 0xFFFF).all()


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16, np.uint32, np.float32])
def test_flags_of_every_type_are_read(write_exposure: Callable[..., Path], dtype: type) -> None:
    flags = np.zeros(SHAPE, dtype=dtype)
    flags[0, :3] = [1, 4096, 65535]

    def change(hdus: fits.HDUList) -> None:
        hdus["DQ", 1].data = flags

    found = read_exposure(write_exposure("hrc", change=change)).chips[0].read_data_quality()
    np.testing.assert_array_equal(found, flags.astype(np.int64))


def constant(name: str, columns: int, rows: int) -> Callable[[fits.HDUList], None]:
    def change(hdus: fits.HDUList) -> None:
        new = fits.ImageHDU(header=hdus[name, 1].header, name=name, ver=1)
        new.data = None
        new.header.update(NPIX1=columns, NPIX2=rows, PIXVALUE=0)
        hdus[hdus.index_of((name, 1))] = new

    return change


def test_constant_images_of_absurd_size_are_errors(write_exposure: Callable[..., Path]) -> None:
    path = write_exposure("hrc", change=constant("SCI", 10**9, 10**9))
    with pytest.raises(ExposureError, match=r"\[SCI,1\]: its shape is .*, expected at most 20000 rows"):
        read_exposure(path)
    path = write_exposure("hrc", name="dq_flt.fits", change=constant("DQ", 10**9, 10**9))
    assert "at most 20000 rows" in read_exposure(path).chips[0].quality_problem


@pytest.mark.parametrize("columns", [10**5, 10**11, 10**18])
@pytest.mark.parametrize("packed", [False, True])
def test_lookup_tables_of_absurd_size_are_errors(
    write_exposure: Callable[..., Path], columns: int, packed: bool
) -> None:
    def change(hdus: fits.HDUList) -> None:
        ask_for_table(hdus)
        hdus.append(fits.ImageHDU(np.zeros((3, 4), dtype=np.float32), name="WCSDVARR", ver=3))

    path = write_exposure("hrc", change=change)
    content = path.read_bytes()
    at = content.index(b"NAXIS1", content.rindex(b"XTENSION"))
    content = content[:at] + f"NAXIS1  = {columns:>20}".encode().ljust(80) + content[at + 80 :]
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ExposureError, match=r"\[WCSDVARR,3\]: its shape is .*, expected at most 20000"):
        read_exposure(path)


def test_a_file_that_disappears_after_reading_its_headers(write_exposure: Callable[..., Path]) -> None:
    path = write_exposure("hrc")
    chip = read_exposure(path).chips[0]
    path.unlink()
    with pytest.raises(MissingFileError):
        chip.read_science()


def test_nothing_is_printed_or_logged(
    write_exposure: Callable[..., Path], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def change(hdus: fits.HDUList) -> None:
        # SIP without -SIP in CTYPE makes astropy talk; these dates and units make it warn.
        hdus["SCI", 1].header.update(A_ORDER=2, B_ORDER=2, A_2_0=1e-6, MJD_OBS="never", CUNIT1="degrees")
        hdus["SCI", 1].header["DATE-OBS"] = "13/04/98"

    with caplog.at_level(logging.DEBUG), caplog.filtering(logging.Filter()):
        logging.getLogger("astropy").addHandler(caplog.handler)
        try:
            read_exposure(write_exposure("hrc", change=change)).chips[0].outline()
        finally:
            logging.getLogger("astropy").removeHandler(caplog.handler)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@SHARED_FOLDER
@given(seed=st.integers(0, 2**32), detector=st.sampled_from(["wfc", "pc"]))
def test_damaged_headers_never_give_another_error(
    write_exposure: Callable[..., Path], tmp_path: Path, seed: int, detector: str
) -> None:
    whole = tmp_path / f"whole_{detector}_flt.fits"
    if not whole.exists():
        write_exposure(detector, name=whole.name)
    content = bytearray(whole.read_bytes())
    dice = random.Random(seed)
    for _ in range(dice.randint(1, 12)):
        # The first blocks: the primary header and the first SCI header.
        content[dice.randrange(9, 3 * 2880)] = dice.choice([dice.randrange(256), *b" '=/0E.-"])
    path = tmp_path / "damaged_flt.fits"
    path.write_bytes(content)
    # A warning would fail the test too.
    with contextlib.suppress(MultivisitError):
        for chip in read_exposure(path).chips:
            chip.outline()
            chip.read_science()


def test_many_threads_may_read_at_once(write_exposure: Callable[..., Path]) -> None:
    path = write_exposure("wfc", change=set_science(A_ORDER=2, B_ORDER=2, A_2_0=1e-6))
    expected = read_exposure(path).chips[0].outline()

    def work(_: int) -> bool:
        exposure = read_exposure(path)
        exposure.chips[0].read_science()
        return all(np.array_equal(a, b) for a, b in zip(exposure.chips[0].outline(), expected, strict=True))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(80)))


def test_exposures_can_be_sent_to_other_processes(write_exposure: Callable[..., Path]) -> None:
    exposure = read_exposure(write_exposure("wfc"))
    copy = pickle.loads(pickle.dumps(exposure))
    assert copy == exposure
    assert hash(copy) == hash(exposure)
    np.testing.assert_array_equal(copy.chips[1].outline(), exposure.chips[1].outline())
    np.testing.assert_array_equal(copy.chips[1].read_science(), exposure.chips[1].read_science())


def test_the_real_pair_of_47_tucanae(real_data: Path) -> None:
    first = read_exposure(real_data / "hrc_47tuc" / "j8bt06nyq_flt.fits")
    second = read_exposure(real_data / "hrc_47tuc" / "j8bt06o6q_flt.fits")
    for exposure, root in ((first, "j8bt06nyq"), (second, "j8bt06o6q")):
        assert (exposure.instrument, exposure.detector, exposure.filter_name) == ("acs", "hrc", "f606w")
        assert (exposure.rootname, exposure.exposure_time, exposure.proposal_id) == (root, 60.0, 9019)
        (chip,) = exposure.chips
        assert (chip.shape, chip.units, chip.nominal_scale) == ((1024, 1024), "ELECTRONS", 0.025)
        assert chip.wcs_name == "IDC_n721640fj"
        with fits.open(exposure.path) as hdus:
            np.testing.assert_allclose(chip.read_science(), hdus["SCI"].data / 60.0, rtol=2e-7)
            np.testing.assert_array_equal(chip.read_data_quality(), hdus["DQ"].data)


def test_real_headers_of_every_kind(real_data: Path) -> None:
    headers = real_data / "headers"
    uvis = read_exposure(headers / "wfc3_uvis_flc.fits")
    assert (uvis.detector, uvis.filter_name, uvis.product_suffix) == ("uvis", "f555w", "drc")
    assert [chip.chip_id for chip in uvis.chips] == [2, 1]
    assert [len(chip.lookup_tables) for chip in uvis.chips] == [4, 4]
    infrared = read_exposure(headers / "wfc3_ir_flt.fits")
    assert (infrared.detector, infrared.chips[0].units) == ("ir", "ELECTRONS/S")
    assert infrared.chips[0].nominal_scale == pytest.approx(0.12825, abs=1e-6)
    wfc = read_exposure(headers / "acs_wfc_flt.fits.gz")
    assert (wfc.detector, wfc.rootname, wfc.proposal_id) == ("wfc", "j94f05bgq", None)
    assert [chip.shape for chip in wfc.chips] == [(2048, 4096)] * 2
    assert [len(chip.lookup_tables) for chip in wfc.chips] == [3, 3]
