"""Areas as people write them: positions, sizes, region files, headers."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from multivisit.errors import MissingFileError, ParameterError
from multivisit.plan.area_input import grid_of_header, outlines_of_regions, parse_position, parse_size


@pytest.mark.parametrize(
    ("ra", "dec", "expected"),
    [
        ("180.25", "-26.5", (180.25, -26.5)),
        ("-0.5", "+0", (359.5, 0.0)),
        ("12:01:00", "-26:30:00", (180.25, -26.5)),
        ("12h01m00s", "-26d30m00s", (180.25, -26.5)),
        ("180.25deg", "-26.5deg", (180.25, -26.5)),
        ("00:24:05.67", "-00:00:01.8", (6.023625, -0.0005)),
        ("360", "90", (0.0, 90.0)),
    ],
)
def test_positions(ra, dec, expected):
    assert parse_position(ra, dec) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("ra", "dec", "word"),
    [
        ("north", "1", "right ascension"),
        ("1", "1:2:3:4:5", "declination"),
        ("1", "91", "-90 to 90"),
        ("400", "1", "0 to 360"),
        ("nan", "1", "right ascension"),
        ("1", "inf", "declination"),
        ("", "1", "right ascension"),
    ],
)
def test_what_is_no_position_is_refused(ra, dec, word):
    with pytest.raises(ParameterError, match=word):
        parse_position(ra, dec)


@pytest.mark.parametrize(
    ("text", "size", "in_pixels"),
    [
        ("90arcsec", (90.0, 90.0), False),
        ("2x1.5arcmin", (120.0, 90.0), False),
        ("2arcmin x 30arcsec", (120.0, 30.0), False),
        ("2arcmin,30 arcsec", (120.0, 30.0), False),
        (".1deg", (360.0, 360.0), False),
        ("3000x2000pix", (3000.0, 2000.0), True),
        ("300 Pixels", (300.0, 300.0), True),
    ],
)
def test_sizes(text, size, in_pixels):
    assert parse_size(text) == (pytest.approx(size), in_pixels)


@pytest.mark.parametrize(
    "text", ["", "90", "90x90", "-3arcsec", "0deg", "2.5pix", "3pixx4deg", "a", "3parsec", "nan"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ParameterError, match="size"):
        parse_size(text)


def extent(outline, centre: SkyCoord) -> tuple[float, float, float, float]:
    """Least and greatest offset in arcsec to the East and to the North of a position, by astropy."""
    east, north = centre.spherical_offsets_to(SkyCoord(*outline, unit="deg"))
    return tuple(float(v) for x in (east.arcsec, north.arcsec) for v in (x.min(), x.max()))


CENTRE = SkyCoord(180.26, 26.24, unit="deg")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('circle(180.26,26.24,30")', (-30, 30, -30, 30)),
        ("circle(12:01:02.4,+26:14:24,0.5')", (-30, 30, -30, 30)),
        ('box(180.26,26.24,60",20",0)', (-30, 30, -10, 10)),
        ('box(180.26,26.24,60",20",90)', (-10, 10, -30, 30)),
        ('ellipse(180.26,26.24,40",10",90)', (-10, 10, -40, 40)),
        ("polygon(180.26,26.24,180.27,26.24,180.27,26.25)", (0, 32.29, 0, 36.0)),
    ],
)
def test_shapes_of_a_region_file(tmp_path, line, expected):
    path = tmp_path / "area.reg"
    path.write_text(f"# Region file format: DS9 version 4.1\nicrs\n{line}\n")
    (outline,) = outlines_of_regions(path)
    assert extent(outline, CENTRE) == pytest.approx(expected, abs=0.02)


def test_galactic_regions_are_where_they_are_and_other_things_are_left_aside(tmp_path):
    path = tmp_path / "area.reg"
    place = CENTRE.galactic
    path.write_text(
        f'galactic\ncircle({place.l.deg},{place.b.deg},30")\n-circle({place.l.deg},{place.b.deg},90")\n'
        f"point({place.l.deg},{place.b.deg})\n"
    )
    (outline,) = outlines_of_regions(path)
    assert extent(outline, CENTRE) == pytest.approx((-30, 30, -30, 30), abs=0.02)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("image\ncircle(10,10,5)\n", "pixels"),
        ("icrs\npoint(10,10)\n", "point"),
        ("", "nothing"),
    ],
)
def test_region_files_without_an_area_on_the_sky_are_refused(tmp_path, text, word):
    path = tmp_path / "area.reg"
    path.write_text(text)
    with pytest.raises(ParameterError, match=word):
        outlines_of_regions(path)


def test_a_file_that_is_no_region_file_is_told_in_words(tmp_path):
    path = tmp_path / "broken.reg"
    path.write_bytes(b"\x9c\xff\x00" * 100)
    with pytest.raises(ParameterError, match=r"broken\.reg: found bytes that are no text, expected a DS9"):
        outlines_of_regions(path)
    path.write_text("fk5;circle(180.0")
    with pytest.raises(ParameterError, match=r"broken\.reg: cannot be read .* save it anew"):
        outlines_of_regions(path)
    with pytest.raises(MissingFileError, match="is a folder"):
        outlines_of_regions(tmp_path)
    with pytest.raises(MissingFileError, match="is a folder"):
        grid_of_header(tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"none\.reg"):
        outlines_of_regions(tmp_path / "none.reg")
    with pytest.raises(MissingFileError, match=r"none\.fits"):
        grid_of_header(tmp_path / "none.fits[SCI,1]")


def header_of(**changes: object) -> fits.Header:
    """A rotated image of 80 x 60 pixels of 0.1 arcsec."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [180.26, 26.24]
    wcs.wcs.crpix = [40.25, 30.75]
    angle = np.radians(20.0)
    wcs.wcs.cd = np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * 0.1 / 3600
    wcs.wcs.radesys = "ICRS"
    header = fits.ImageHDU(np.zeros((60, 80), "f4"), wcs.to_header()).header
    for key, value in changes.items():
        if value is None:
            header.remove(key, ignore_missing=True)
        else:
            header[key] = value
    return header


def check_same(grid, header) -> None:
    wcs = WCS(header)
    assert grid.shape == (60, 80)
    x, y = np.array([(0, 0), (79, 0), (79, 59), (12.5, 31.25)]).T
    np.testing.assert_allclose(
        grid.wcs.wcs_pix2world(x, y, 0), wcs.wcs_pix2world(x, y, 0), rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(
        grid.plane().sky(np.column_stack([x, y])), wcs.wcs_pix2world(x, y, 0), rtol=0, atol=1e-11
    )


def test_the_grid_of_an_image_is_taken_exactly(tmp_path):
    header = header_of()
    image = fits.ImageHDU(np.zeros((60, 80), "f4"), header, name="SCI")
    other = fits.ImageHDU(np.zeros((5, 6), "f4"), header, name="SCI")
    other.header["EXTVER"] = 2
    path = tmp_path / "image.fits"
    fits.HDUList([fits.PrimaryHDU(), image, other]).writeto(path)
    check_same(grid_of_header(path), header)
    check_same(grid_of_header(f"{path}[SCI,1]"), header)
    check_same(grid_of_header(f"{path}[1]"), header)
    assert grid_of_header(f"{path}[sci,2]").shape == (5, 6)
    compressed = tmp_path / "compressed.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image.data, header)]).writeto(compressed)
    check_same(grid_of_header(compressed), header)
    assert grid_of_header(path).scale == 0.1
    assert grid_of_header(path).orientation == pytest.approx(20.0)


@pytest.mark.parametrize("pad", [False, True])
def test_a_header_as_text_will_do(tmp_path, pad):
    header = header_of()
    path = tmp_path / "grid.hdr"
    if pad:
        header.totextfile(path)
    else:
        path.write_text("\n".join(f"{key} = {value!r}" for key, value in header.items()) + "\nEND\n")
    check_same(grid_of_header(path), header)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"}, "TAN"),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, "RA---TAN"),
        ({"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN"}, "cannot"),
        ({"LONPOLE": 150.0}, "LONPOLE"),
        ({"RADESYS": "FK4", "EQUINOX": 1950.0}, "FK4"),
        ({"PC1_1": 0.0, "PC1_2": 0.0, "PC2_1": 0.0, "PC2_2": 0.0}, "cannot be used"),
        (
            {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "A_2_0": 1e-4, "B_ORDER": 2},
            "TAN",
        ),
        ({"PV1_1": 1.0, "PV1_2": 0.01}, "WCS"),
        ({"CTYPE1": None, "CTYPE2": None}, "CTYPE1"),
    ],
)
def test_grids_that_a_mosaic_cannot_have_are_refused(tmp_path, changes, word):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((60, 80), "f4"), header_of(**changes)).writeto(path)
    with pytest.raises(ParameterError, match=word) as error:
        grid_of_header(path)
    assert "image.fits" in str(error.value)


def test_what_is_no_header_is_refused(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("dear diary\n")
    with pytest.raises(ParameterError, match=r"notes\.txt"):
        grid_of_header(text)
    image = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((60, 80), "f4"), header_of()).writeto(image)
    with pytest.raises(ParameterError, match=r"image\.fits"):
        grid_of_header(f"{image}[SCI,3]")


def test_lengths_of_regions_are_on_the_sky_at_any_declination(tmp_path):
    path = tmp_path / "area.reg"
    path.write_text('icrs\ncircle(10.0,-89.0,30")\n')
    (outline,) = outlines_of_regions(path)
    centre = SkyCoord(10.0, -89.0, unit="deg")
    distances = centre.separation(SkyCoord(*outline, unit="deg")).to_value(units.arcsec)
    np.testing.assert_allclose(distances, 30.0, atol=0.001)
