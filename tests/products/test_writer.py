"""Products as files: complete, checked by other programs, or not there at all."""

from __future__ import annotations

import dataclasses
import datetime
import errno
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits

from multivisit.errors import ProductError
from multivisit.products import fits_stream
from multivisit.products.direct_file import DirectFile
from multivisit.products.fits_stream import FitsStream
from multivisit.products.writer import LayerWriter, write_layer

if TYPE_CHECKING:
    from collections.abc import Callable

FITSVERIFY = shutil.which("fitsverify")
NAME = "hst_skycell-p1889x07y19_acs_wfc_f775w_all_drc.fits"


def context_of(shape: tuple[int, int], planes: int = 1) -> Any:
    return np.random.default_rng(4).integers(0, 2**31, (planes, *shape)).astype(np.int32)


def test_the_file_holds_the_mosaic(tmp_path: Path, make_case: Callable[..., Any]) -> None:
    case = make_case()
    path = write_layer(tmp_path, *case.arguments(), history=["Made for a test."])
    assert path == tmp_path / NAME
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "WHT", "HDRTAB"]
        np.testing.assert_array_equal(hdus["SCI"].data, case.mosaic.science)
        np.testing.assert_array_equal(hdus["WHT"].data, case.mosaic.weight)
        assert hdus["SCI"].data.dtype == np.dtype(">f4")
        assert len(hdus["HDRTAB"].data) == 2
        assert hdus[0].header["NEXTEND"] == 3
        assert hdus["SCI"].header["S_REGION"].startswith("POLYGON ICRS ")
        assert hdus["WHT"].header["CRPIX1"] == hdus["SCI"].header["CRPIX1"] == case.grid.crpix[0]
        assert "Made for a test." in list(hdus[0].header["HISTORY"])
        for hdu in hdus:
            assert hdu.verify_checksum() == hdu.verify_datasum() == 1


@pytest.mark.parametrize("planes", [1, 2])
def test_the_context_is_written_where_there_is_one(tmp_path: Path, make_case: Any, planes: int) -> None:
    context = context_of((130, 110), planes)
    path = write_layer(tmp_path, *make_case(context=context).arguments())
    with fits.open(path, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "WHT", "CTX", "HDRTAB"]
        np.testing.assert_array_equal(hdus["CTX"].data, context)
        assert hdus["CTX"].header["BITPIX"] == 32


@pytest.mark.skipif(FITSVERIFY is None, reason="the program fitsverify is not installed")
@pytest.mark.parametrize("planes", [0, 1, 2])
def test_fitsverify_finds_no_error(tmp_path: Path, make_case: Any, make_exposure: Any, planes: int) -> None:
    exposures = [
        make_exposure("jsim0101q"),
        make_exposure("jsim0201q", {"TARGNAME": "A-TARGET-OF-MANY-LETTERS " * 3, "SUBARRAY": None}),
    ]
    context = context_of((130, 110), planes) if planes else None
    path = write_layer(tmp_path, *make_case(exposures, context=context).arguments())
    assert FITSVERIFY is not None
    report = subprocess.run([FITSVERIFY, str(path)], capture_output=True, text=True, check=False).stdout
    problems = [line for line in report.splitlines() if line.startswith("***")]
    # Two of the published column names have a hyphen, which the standard allows but does not recommend.
    recommended = [line for line in problems if 'Name "DATE-OBS"' in line or 'Name "TIME-OBS"' in line]
    assert len(recommended) == 2
    rest = [line for line in problems if line not in recommended]
    assert rest == ["**** Verification found 2 warning(s) and 0 error(s). ****"], report


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, make_case: Any) -> None:
    case = make_case()
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        date = datetime.date(2026, 1, 2)
        files.append(write_layer(tmp_path / name, *case.arguments(), written=date).read_bytes())
    assert files[0] == files[1]


def test_an_existing_product_is_replaced(tmp_path: Path, make_case: Any) -> None:
    (tmp_path / NAME).write_text("an old product")
    path = write_layer(tmp_path, *make_case().arguments())
    assert fits.getval(path, "HAPLEVEL") == 4
    assert products_in(tmp_path) == [NAME]


@pytest.mark.parametrize("name", ["ü_flt.fits", "bad\udcfc_flt.fits", "two\nlines_flt.fits"])
def test_exposures_may_have_any_name(tmp_path: Path, make_case: Any, make_exposure: Any, name: str) -> None:
    exposure = dataclasses.replace(make_exposure(), filename=name)
    path = write_layer(tmp_path, *make_case([exposure]).arguments(), history=[f"{name}: \udcfc\x07"])
    plain = re.sub("[^a-z_.]", "?", name)
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
        assert hdus[0].header["D001DATA"] == f"{plain}[sci,1]"
        assert ": ??" in str(hdus[0].header["HISTORY"])
        assert hdus["HDRTAB"].data["FILENAME"][0] == plain
        assert hdus["HDRTAB"].data["SVMROOTNAME"][0] == plain.rpartition("_")[0]


def products_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("jsim"))


@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt, MemoryError, OSError(errno.ENOSPC, "No space left on device")]
)
@pytest.mark.parametrize("old", [False, True])
def test_an_interrupted_write_leaves_what_was_there(
    tmp_path: Path, make_case: Any, monkeypatch: pytest.MonkeyPatch, failure: Any, old: bool
) -> None:
    case = make_case()
    if old:
        (tmp_path / NAME).write_text("an old product")
    whole = FitsStream.write_rows

    def fails_at_the_weights(self: FitsStream, number: int, rows: Any, *place: int) -> None:
        if rows is case.mosaic.weight:
            raise failure
        whole(self, number, rows, *place)

    monkeypatch.setattr(FitsStream, "write_rows", fails_at_the_weights)
    expected = ProductError if isinstance(failure, OSError) else failure
    with pytest.raises(expected):
        write_layer(tmp_path, *case.arguments())
    assert products_in(tmp_path) == ([NAME] if old else [])
    if old:
        assert (tmp_path / NAME).read_text() == "an old product"


def test_a_full_disk_is_one_clear_error(
    tmp_path: Path, make_case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temporary file's bytes go to a device that is always full."""
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("there is no device /dev/full here")
    really_write = DirectFile.write

    def write_to_the_full_device(self: DirectFile, offset: int, content: Any) -> None:
        with full.open("wb") as device:
            os.dup2(device.fileno(), self._plain)
        really_write(self, offset, content)

    monkeypatch.setattr(DirectFile, "write", write_to_the_full_device)
    with pytest.raises(ProductError, match=rf"{NAME}.*[Nn]o space left"):
        write_layer(tmp_path, *make_case().arguments())
    assert products_in(tmp_path) == []


@pytest.mark.parametrize("place", ["missing", "a_file", "/proc"])
def test_a_folder_that_cannot_be_written_is_one_clear_error(
    tmp_path: Path, make_case: Any, place: str
) -> None:
    (tmp_path / "a_file").write_text("not a folder")
    with pytest.raises(ProductError, match=NAME):
        write_layer(tmp_path / place, *make_case().arguments())


def test_a_folder_without_permission_is_one_clear_error(
    tmp_path: Path, make_case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The permission is refused by a stand-in: bits in the folder's mode do not bind the superuser."""
    case = make_case()
    really_open = os.open

    def refuse(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really_open(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ProductError, match=f"{NAME}.*Permission denied"):
        write_layer(tmp_path, *case.arguments())


def test_pixels_of_another_shape_are_refused(tmp_path: Path, make_case: Any) -> None:
    case = make_case()
    case = case.with_mosaic(weight=case.mosaic.weight[:-1])
    with pytest.raises(ProductError, match=r"WHT.*\(129, 110\).*\(130, 110\)"):
        write_layer(tmp_path, *case.arguments())
    assert products_in(tmp_path) == []


def test_warnings_come_in_the_log(
    tmp_path: Path, make_case: Any, make_exposure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    exposures = [
        make_exposure("jsim0101q"),
        make_exposure("jsim0201q", None, [{"WCSNAME": "IDC_4bb1536oj", "PHOTFLAM": 2e-19}]),
    ]
    write_layer(tmp_path, *make_case(exposures).arguments())
    assert "different WCS solutions" in caplog.text
    assert "differ in PHOTFLAM" in caplog.text


@pytest.mark.parametrize("planes", [0, 1, 2])
@pytest.mark.parametrize("fill_value", [np.nan, 0.0])
def test_rows_in_any_order_give_the_same_bytes(
    tmp_path: Path, make_case: Any, make_exposure: Any, planes: int, fill_value: float
) -> None:
    exposures = [make_exposure("jsim0101q"), make_exposure("jsim0201q")]
    case = make_case(exposures, context=context_of((130, 110), planes) if planes else None)
    mosaic = case.mosaic
    mosaic.science[mosaic.weight == 0] = fill_value
    date = datetime.date(2026, 1, 2)
    expected = write_layer(tmp_path, *case.arguments(), written=date).read_bytes()
    (tmp_path / "rows").mkdir()
    arguments = (tmp_path / "rows", case.layer, case.grid, case.parameters, mosaic.chips)
    with LayerWriter(*arguments, context_planes=planes, written=date) as writer:
        for first in (104, 13, 0, 52, 91, 26, 65, 39, 78, 117):
            rows = slice(first, first + 13)
            context = None if mosaic.context is None else mosaic.context[:, rows]
            writer.write_rows(first, mosaic.science[rows], mosaic.weight[rows], context)
        np.testing.assert_array_equal(writer.read_weight(20, 70), mosaic.weight[20:70])
        np.testing.assert_array_equal(writer.read_weight(120, 999), mosaic.weight[120:])
        path = writer.finish(mosaic)
    assert path.read_bytes() == expected


def test_records_that_come_out_otherwise_than_expected_change_no_byte(
    tmp_path: Path, make_case: Any, make_exposure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    exposures = [make_exposure("jsim0101q"), make_exposure("jsim0201q", {"TARGNAME": "OTHER"})]
    case = (
        make_case(exposures, context=context_of((130, 110), 2)).with_chip(2, n_used=0).with_chip(3, n_used=0)
    )
    date = datetime.date(2026, 1, 2)
    expected = write_layer(tmp_path, *case.arguments(), written=date).read_bytes()
    guesses = tuple(dataclasses.replace(record, n_used=1, n_good_pixels=1) for record in case.mosaic.chips)
    really_describe = LayerWriter._describe

    def describe(self: LayerWriter, mosaic: Any) -> Any:
        # A longer header to begin with, so that the data must be moved.
        product = really_describe(self, mosaic)
        guessed = mosaic.chips == guesses
        return dataclasses.replace(product, history=("a guess",) * 200) if guessed else product

    monkeypatch.setattr(LayerWriter, "_describe", describe)
    monkeypatch.setattr(fits_stream, "LARGEST_PIECE", 5000)
    writer = LayerWriter(
        tmp_path, case.layer, case.grid, case.parameters, guesses, context_planes=2, written=date
    )
    with writer:
        writer.write_rows(0, case.mosaic.science, case.mosaic.weight, case.mosaic.context)
        path = writer.finish(case.mosaic)
    assert path.read_bytes() == expected


def test_rows_of_zeros_take_no_space_on_the_disk(tmp_path: Path, make_case: Any) -> None:
    shape = (6000, 1500)
    case = make_case(shape=shape)
    case.mosaic.weight[...] = 0.0
    path = write_layer(tmp_path, *case.arguments())
    if not hasattr(path.stat(), "st_blocks"):
        pytest.skip("the system does not tell how much space a file takes")
    assert path.stat().st_blocks * 512 < path.stat().st_size - 0.9 * 4 * shape[0] * shape[1]
    with fits.open(path, checksum=True) as hdus:
        assert not hdus["WHT"].data.any()
        assert hdus["WHT"].verify_datasum() == 1


def test_a_writer_that_is_not_finished_leaves_nothing(tmp_path: Path, make_case: Any) -> None:
    case = make_case()
    arguments = (tmp_path, case.layer, case.grid, case.parameters, case.mosaic.chips)
    with pytest.raises(ValueError, match="finish"), LayerWriter(*arguments) as writer:
        writer.write_rows(0, case.mosaic.science, case.mosaic.weight, None)
    with pytest.raises(ValueError, match="not open"):
        LayerWriter(*arguments).write_rows(0, case.mosaic.science, case.mosaic.weight, None)
    assert products_in(tmp_path) == []
