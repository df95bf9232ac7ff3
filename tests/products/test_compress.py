"""Tile compression against astropy's reader: every bit, every keyword, both sums."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits

from multivisit.errors import ProductError
from multivisit.products import compress
from multivisit.products.compress import compress_images
from multivisit.products.writer import LayerWriter, write_layer

if TYPE_CHECKING:
    from pathlib import Path

DATE = datetime.date(2026, 1, 2)


def same_bits(one: Any, other: Any) -> bool:
    one, other = (array.astype(array.dtype.newbyteorder("=")) for array in (one, other))
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("tile_pixels", [1, 1000, 1 << 17])
def test_a_compressed_product_is_the_plain_one(
    tmp_path: Path, make_case: Any, monkeypatch: pytest.MonkeyPatch, tile_pixels: int
) -> None:
    monkeypatch.setattr(compress, "_TILE_PIXELS", tile_pixels)
    case = make_case()
    plain = write_layer(tmp_path, *case.arguments(), written=DATE)
    packed = tmp_path / "packed.fits"
    packed.write_bytes(plain.read_bytes())
    compress_images(packed, threads=3)
    with fits.open(plain) as expected, fits.open(packed, checksum=True) as found:
        assert [hdu.name for hdu in found] == [hdu.name for hdu in expected]
        for one, other in zip(expected, found, strict=True):
            if isinstance(one, fits.ImageHDU):
                assert isinstance(other, fits.CompImageHDU)
                assert same_bits(other.data, one.data)
            for keyword in set(one.header) - {"CHECKSUM", "DATASUM", "XTENSION", ""}:
                assert str(other.header[keyword]) == str(one.header[keyword])
    with fits.open(packed, disable_image_compression=True, checksum=True) as raw:
        for hdu in raw:
            assert hdu.verify_checksum() == hdu.verify_datasum() == 1
        raw.verify("exception")
    again = tmp_path / "again.fits"
    again.write_bytes(plain.read_bytes())
    compress_images(again, threads=1)
    assert again.read_bytes() == packed.read_bytes()


def test_the_writer_compresses_what_it_has_written(tmp_path: Path, make_case: Any) -> None:
    case = make_case()
    writer = LayerWriter(
        tmp_path, case.layer, case.grid, case.parameters, case.mosaic.chips, context_planes=1, compress=True
    )
    context = np.arange(case.mosaic.weight.size, dtype=np.int32).reshape(1, *case.mosaic.weight.shape)
    with writer:
        writer.write_rows(0, case.mosaic.science, case.mosaic.weight, context)
        path = writer.finish(case.mosaic)
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(hdus["WHT"].data, case.mosaic.weight)
        np.testing.assert_array_equal(hdus["CTX"].data, context)
    assert [file.name for file in tmp_path.glob("*hst_*")] == [path.name]


def test_what_cannot_be_compressed_stays(
    tmp_path: Path, make_case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_layer(tmp_path, *make_case().arguments(), written=DATE)
    before = path.read_bytes()

    def full(*anything: object) -> bytes:
        raise OSError("disk full")

    monkeypatch.setattr(compress, "_pack", full)
    with pytest.raises(ProductError, match="disk full"):
        compress_images(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.glob("*hst_*")] == [path.name]
