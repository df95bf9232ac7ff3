"""Streamed FITS against astropy's reader: headers, pixels, checksums, memory, failures."""

from __future__ import annotations

import contextlib
import io
import tempfile
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from multivisit.products import fits_stream
from multivisit.products.direct_file import DirectFile
from multivisit.products.fits_stream import LARGEST_PIECE, FitsStream, FitsUnit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def primary() -> FitsUnit:
    return FitsUnit(fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)]))


def image(data: NDArray[np.generic], name: str = "SCI") -> FitsUnit:
    """The unit that astropy's own header makes of an image."""
    hdu = fits.ImageHDU(np.zeros(data.shape, data.dtype), name=name)
    return FitsUnit(hdu.header, data)


@contextlib.contextmanager
def empty_file() -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(suffix=".fits") as file:
        yield Path(file.name)


def write_units(path: Path, units: list[FitsUnit]) -> None:
    """Write images one after another, whole."""
    with DirectFile(path, LARGEST_PIECE) as file:
        headers = [unit.header for unit in units if not isinstance(unit.header, str)]
        stream = FitsStream(file, headers)
        for number, unit in enumerate(units):
            if unit.data is not None:
                planes = unit.data if unit.data.ndim > 2 else unit.data[np.newaxis]
                for plane, pixels in enumerate(planes):
                    stream.write_rows(number, pixels, plane=plane)
        stream.finish(headers)


def written(*units: FitsUnit) -> fits.HDUList:
    with empty_file() as path:
        write_units(path, [primary(), *units])
        return fits.open(io.BytesIO(path.read_bytes()), checksum=True)


@pytest.mark.parametrize(
    "data",
    [
        np.random.default_rng(1).normal(size=(37, 53)).astype(np.float32),
        np.random.default_rng(1).normal(size=(37, 53)).astype(">f4"),
        np.full((5, 7), np.nan, dtype=np.float32),
        np.random.default_rng(2).integers(-(2**31), 2**31, size=(3, 20, 31)).astype(np.int32),
        np.random.default_rng(1).normal(size=(40, 60)).astype(np.float32)[::2, 5:50:3],
        np.asfortranarray(np.arange(600, dtype=np.float32).reshape(20, 30)),
        np.zeros((1, 1), dtype=np.float32),
    ],
    ids=["float", "big-endian", "nan", "cube", "strided", "fortran", "one pixel"],
)
@pytest.mark.parametrize("block_bytes", [100, 5000, 8 * 1024 * 1024])
def test_pixels_come_back_and_checksums_hold(
    data: NDArray[np.generic], block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits_stream, "LARGEST_PIECE", max(block_bytes, 400))
    before = data.copy()
    hdus = written(image(data))
    np.testing.assert_array_equal(hdus["SCI"].data, before)
    np.testing.assert_array_equal(data, before)
    assert hdus["SCI"].verify_checksum() == 1
    assert hdus["SCI"].verify_datasum() == 1
    assert hdus[0].verify_checksum() == 1


def test_data_sum_and_file_size_are_astropys(tmp_path: Path) -> None:
    data = np.random.default_rng(5).normal(size=(301, 203)).astype(np.float32)
    hdus = written(image(data), image(data[:7], "WHT"))
    reference = fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(data, name="SCI"), fits.ImageHDU(data[:7], name="WHT")]
    )
    reference.writeto(tmp_path / "reference.fits", checksum=True)
    with fits.open(tmp_path / "reference.fits") as expected:
        for name in ("SCI", "WHT"):
            assert hdus[name].header["DATASUM"] == expected[name].header["DATASUM"]


def test_headers_given_are_not_changed() -> None:
    unit = image(np.ones((4, 4), dtype=np.float32))
    before = unit.header.tostring()
    written(unit)
    assert unit.header.tostring() == before


def test_pixels_of_another_size_are_refused() -> None:
    with empty_file() as path, pytest.raises(TypeError, match="float64"):
        write_units(path, [image(np.ones((4, 4)))])


def test_a_plane_is_written_without_a_copy_of_it(tmp_path: Path) -> None:
    data = np.ones((5000, 5000), dtype=np.float32)
    unit = image(data[:1])
    unit.header["NAXIS2"] = 5000
    path = tmp_path / "plane.fits"
    path.touch()
    tracemalloc.start()
    write_units(path, [primary(), FitsUnit(unit.header, data)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < data.nbytes / 3


def lengthened(header: fits.Header, n_lines: int) -> fits.Header:
    header = header.copy()
    for line in range(n_lines):
        header.add_history(f"line {line}")
    return header


@given(
    before=st.tuples(*[st.integers(0, 120)] * 4),
    after=st.tuples(*[st.integers(0, 120)] * 4),
    block_bytes=st.sampled_from([100, 3000, 10**7]),
    order=st.permutations(range(5)),
)
def test_headers_may_change_their_length_in_the_end(
    before: tuple[int, ...], after: tuple[int, ...], block_bytes: int, order: list[int]
) -> None:
    random = np.random.default_rng(3)
    planes = [random.normal(size=(35, 41)).astype(np.float32) for _ in range(2)]
    cube = random.integers(0, 9, (2, 10, 11)).astype(np.int32)
    planes[1][:20] = 0.0
    units = [primary(), *(image(data) for data in (*planes, cube))]
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(fits_stream, "LARGEST_PIECE", max(block_bytes, 200))
        path, at_once = (stack.enter_context(empty_file()) for _ in range(2))
        direct = stack.enter_context(DirectFile(path, fits_stream.LARGEST_PIECE))
        file = FitsStream(direct, [lengthened(u.header, n) for u, n in zip(units, before, strict=True)])
        for piece in order:
            rows = slice(7 * piece, 7 * piece + 7)
            for number, plane in enumerate(planes, start=1):
                file.write_rows(number, plane[rows], rows.start)
            for plane in range(2):
                file.write_rows(3, cube[plane, 2 * piece : 2 * piece + 2], 2 * piece, plane)
        np.testing.assert_array_equal(file.read_rows(1, 3, 30), planes[0][3:30])
        np.testing.assert_array_equal(file.read_rows(3, 0, 99, plane=1), cube[1])
        final = [lengthened(u.header, n) for u, n in zip(units, after, strict=True)]
        file.finish(final)
        write_units(at_once, [FitsUnit(h, u.data) for h, u in zip(final, units, strict=True)])
        content = path.read_bytes()
        assert content == at_once.read_bytes()
    with fits.open(io.BytesIO(content), checksum=True) as hdus:
        for hdu, data in zip(hdus[1:], (*planes, cube), strict=True):
            np.testing.assert_array_equal(hdu.data, data)
            assert hdu.verify_checksum() == hdu.verify_datasum() == 1
