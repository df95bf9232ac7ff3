"""Reading FITS files: equal to astropy on good ones, one clear error on bad ones."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from multivisit.errors import ExposureError, MissingFileError
from multivisit.exposures.fits_file import read_extensions, read_image

if TYPE_CHECKING:
    from collections.abc import Callable

SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@SHARED_FOLDER
@given(
    hnp.arrays(
        dtype=st.sampled_from([np.uint8, np.int16, np.int32, np.int64, np.float32, np.float64, np.uint16]),
        shape=hnp.array_shapes(min_dims=2, max_dims=2, max_side=60),
    )
)
def test_images_are_read_as_astropy_reads_them(tmp_path: Path, image: np.ndarray) -> None:
    path = tmp_path / "image.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI", ver=2)]).writeto(path, overwrite=True)
    found = read_image(path, "SCI", 2)
    assert found is not None
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, image)
    assert read_image(path, "SCI", 1) is None


def test_scaled_integers_are_read_as_astropy_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "scaled.fits"
    hdu = fits.ImageHDU(np.arange(12, dtype=np.int16).reshape(3, 4), name="SCI", ver=1)
    hdu.header.update(BSCALE=0.25, BZERO=-3.5)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(read_image(path, "SCI", 1), hdus[1].data)


def test_headers_names_and_shapes_equal_astropys(real_data: Path) -> None:
    for path in sorted(real_data.glob("*/*.fits*")):
        with fits.open(path) as hdus:
            extensions = read_extensions(path)
            assert len(extensions) == len(hdus)
            for extension, hdu in zip(extensions, hdus, strict=True):
                assert extension.name == hdu.name
                assert repr(extension.header) == repr(hdu.header)
                if isinstance(hdu, fits.ImageHDU) and hdu.header["NAXIS"]:
                    assert extension.shape == hdu.shape


def test_a_constant_image_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "constant.fits"
    hdu = fits.ImageHDU(name="DQ", ver=1)
    hdu.header.update(NPIX1=7, NPIX2=5, PIXVALUE=16)
    empty = fits.ImageHDU(name="DQ", ver=2)
    fits.HDUList([fits.PrimaryHDU(), hdu, empty]).writeto(path)
    found = read_image(path, "DQ", 1)
    assert found is not None
    assert found.shape == (5, 7)
    assert (found == 16).all()
    assert read_image(path, "DQ", 2) is None


def test_extensions_without_extver_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "unnumbered.fits"
    hdus = [fits.ImageHDU(np.full((2, 2), value), name="SCI") for value in (1, 2)]
    for hdu in hdus:
        hdu.header.remove("EXTVER", ignore_missing=True)
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    found = read_image(path, "SCI", 2)
    assert found is not None
    assert (found == 2).all()


@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_cut_anywhere_is_called_truncated(
    write_exposure: Callable[..., Path], tmp_path: Path, zipped: bool
) -> None:
    whole = write_exposure("wfc")
    content = whole.read_bytes()
    with fits.open(whole) as hdus:
        data_ends = [hdu.fileinfo()["datLoc"] + hdu.size for hdu in hdus]
        unit_ends = [hdu.fileinfo()["datLoc"] + hdu.fileinfo()["datSpan"] for hdu in hdus]
    path = tmp_path / "cut_flt.fits"
    if zipped:
        content = gzip.compress(content, 1)
        ends = range(2, len(content), 97)
    else:
        # A cut between two units, or in the padding of the last block of one, leaves a whole, shorter file.
        gaps = list(zip(data_ends, unit_ends, strict=True))
        ends = [end for end in range(100, len(content), 997) if not any(a <= end <= b for a, b in gaps)]
        ends += [end - 1 for end in data_ends[1:]]
    for end in ends:
        path.write_bytes(content[:end])
        with pytest.raises(ExposureError, match=r"cut_flt\.fits.*truncated"):
            read_extensions(path)


def test_missing_padding_at_the_end_does_no_harm(write_exposure: Callable[..., Path], tmp_path: Path) -> None:
    content = write_exposure("wfc").read_bytes()
    path = tmp_path / "short_flt.fits"
    path.write_bytes(content[: len(content) - 2880 + (24 * 40 * 2) % 2880])
    assert len(read_extensions(path)) == 7
    path.write_bytes(content + b"\0" * 5000)
    assert len(read_extensions(path)) == 7


def test_a_damaged_gzip_file_is_an_error(write_exposure: Callable[..., Path], tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(write_exposure("ir").read_bytes()))
    packed[-6] ^= 0xFF
    path = tmp_path / "damaged_flt.fits.gz"
    path.write_bytes(packed)
    with pytest.raises(ExposureError, match="gzip"):
        read_extensions(path)


@pytest.mark.parametrize("junk", [b"junk", b"\0" * 100 + b"more", b"\x1f\x8c"])
def test_what_follows_a_whole_gzip_stream_does_no_harm(
    write_exposure: Callable[..., Path], tmp_path: Path, junk: bytes
) -> None:
    whole = write_exposure("ir")
    path = tmp_path / "longer_flt.fits.gz"
    path.write_bytes(gzip.compress(whole.read_bytes()) + junk)
    assert len(read_extensions(path)) == len(read_extensions(whole))
    np.testing.assert_array_equal(read_image(path, "DQ", 1), read_image(whole, "DQ", 1))


def with_card(content: bytes, extension: bytes, keyword: str, value: int) -> bytes:
    """Change a card of the extension of this name."""
    name = content.index(b"EXTNAME = '" + extension)
    at = content.index(f"{keyword:8}=".encode(), content.rindex(b"XTENSION", 0, name))
    return content[:at] + f"{keyword:8}= {value:>20}".encode().ljust(80) + content[at + 80 :]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("GCOUNT", 0, r"\[SCI\]: GCOUNT is 0, expected 1 for an image"),
        ("PCOUNT", 9, r"\[SCI\]: PCOUNT is 9, expected 0 for an image"),
        ("BITPIX", 7, r"\[SCI\]: BITPIX is 7, expected one of -64, -32, 8, 16, 32, 64 for an image"),
        ("BITPIX", -64, r"\[SCI,1\]: no extension follows where its data end .*\(BITPIX -64, data 40 x 24\)"),
        ("BITPIX", 8, r"\[SCI,1\]: no extension follows where its data end .*\(BITPIX 8, data 40 x 24\)"),
    ],
)
def test_a_header_that_does_not_fit_its_data_is_not_called_truncated(
    write_exposure: Callable[..., Path], keyword: str, value: int, message: str, packed: bool
) -> None:
    path = write_exposure("hrc", change=lambda hdus: hdus[0].header.update(NEXTEND=3))
    content = with_card(path.read_bytes(), b"SCI", keyword, value)
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ExposureError, match=message) as caught:
        read_extensions(path)
    assert "truncated" not in str(caught.value)
    assert "again" not in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
def test_no_more_memory_is_asked_for_than_the_file_holds(
    write_exposure: Callable[..., Path], packed: bool
) -> None:
    path = write_exposure("hrc")
    content = path.read_bytes()
    for keyword in ("NAXIS1", "NAXIS2"):
        content = with_card(content, b"DQ", keyword, 20000)
    path.write_bytes(gzip.compress(content) if packed else content)
    tracemalloc.start()
    with pytest.raises(ExposureError, match=r"\[DQ,1\]: truncated.*800000000 expected"):
        read_image(path, "DQ", 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe_flt.fits"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(MissingFileError, match="is a device or a pipe"):
            read_extensions(path)
    with pytest.raises(MissingFileError, match="no such file"):
        read_extensions(tmp_path / "a\0b_flt.fits")


@SHARED_FOLDER
@given(st.binary(max_size=6000), st.sampled_from([b"", b"SIMPLE  =", b"\x1f\x8b\x08\x00"]))
def test_anything_else_is_no_fits_file(tmp_path: Path, content: bytes, start: bytes) -> None:
    path = tmp_path / "anything.fits"
    path.write_bytes(start + content)
    with pytest.raises(ExposureError, match=r"anything\.fits"):
        read_extensions(path)


def test_a_file_that_is_not_there_a_folder_and_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.fits: there is no such file"):
        read_extensions(tmp_path / "nowhere.fits")
    with pytest.raises(MissingFileError, match="is a folder"):
        read_extensions(tmp_path)
    (tmp_path / "empty.fits").touch()
    with pytest.raises(ExposureError, match=r"empty\.fits: is empty \(0 bytes\)"):
        read_extensions(tmp_path / "empty.fits")
    with pytest.raises(MissingFileError, match="cannot be read"):
        read_extensions(tmp_path / "empty.fits" / "below.fits")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.fits"
    path.write_bytes(b"SIMPLE")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(MissingFileError, match="permission"):
        read_extensions(path)
