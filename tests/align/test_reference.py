"""Reference catalogs from files, and their proper motions."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from multivisit.align.reference import read_reference_catalog
from multivisit.errors import MissingFileError, ReferenceCatalogError

ROWS = {
    "source_id": [11, 12, 13],
    "ra": [359.999, 10.5, 200.25],
    "dec": [-72.1, 89.99, 0.5],
    "pmra": [5.25, 300.0, np.nan],
    "pmdec": [-2.5, -150.0, np.nan],
    "phot_g_mean_mag": [15.5, 16.0, 17.25],
}


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".ecsv", ".fits", ".vot", ".xml"])
def test_files_of_every_kind_hold_the_same_catalog(tmp_path, suffix):
    path = tmp_path / f"my_stars{suffix}"
    table = Table(ROWS)
    if suffix.startswith(".csv"):
        lines = [
            ",".join(ROWS),
            *(",".join("" if v != v else str(v) for v in row) for row in zip(*ROWS.values(), strict=True)),
        ]
        content = ("\n".join(lines) + "\n").encode()
        path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    else:
        kind = {".ecsv": "ascii.ecsv", ".fits": "fits"}.get(suffix, "votable")
        table.write(path, format=kind)
    catalog = read_reference_catalog(path)
    assert catalog.name == "mystars"
    np.testing.assert_allclose(catalog.ra, ROWS["ra"])
    np.testing.assert_allclose(catalog.dec, ROWS["dec"])
    np.testing.assert_allclose(catalog.pmra, [5.25, 300.0, 0.0])
    np.testing.assert_allclose(catalog.pmdec, [-2.5, -150.0, 0.0])
    np.testing.assert_allclose(catalog.epoch, 2016.0)
    np.testing.assert_allclose(catalog.magnitude, ROWS["phot_g_mean_mag"])


def test_proper_motions_carry_stars_as_astropy_does(tmp_path):
    path = tmp_path / "stars.ecsv"
    Table(ROWS).write(path, format="ascii.ecsv")
    catalog = read_reference_catalog(path)
    date = Time("2002-04-13")
    ra, dec = catalog.at(date.mjd)
    stars = SkyCoord(
        ROWS["ra"] * units.deg, ROWS["dec"] * units.deg, distance=1000 * units.pc,
        pm_ra_cosdec=catalog.pmra * units.mas / units.yr, pm_dec=catalog.pmdec * units.mas / units.yr,
        obstime=Time(2016.0, format="jyear", scale="tcb"),
    )  # fmt: skip
    moved = stars.apply_space_motion(date)
    separation = SkyCoord(ra * units.deg, dec * units.deg).separation(SkyCoord(moved.ra, moved.dec))
    assert separation.to_value("mas").max() < 0.01
    np.testing.assert_array_equal(catalog.at(None), [catalog.ra, catalog.dec])


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("ref_epoch", [2015.5, 2015.5]),
        ("epoch", [57205.5, 57205.5]),
        ("jdate", [2457206.0, 2457206.0]),
    ],
)
def test_epochs_may_be_years_or_days(tmp_path, column, values):
    path = tmp_path / "c.ecsv"
    Table({"RA": [1.0, 2.0], "DEC": [3.0, 4.0], column: values}).write(path, format="ascii.ecsv")
    np.testing.assert_allclose(read_reference_catalog(path).epoch, 2015.5, atol=0.002)


def test_sources_without_a_position_are_left_out(tmp_path):
    path = tmp_path / "c.ecsv"
    ra = MaskedColumn([1.0, 2.0, 3.0], mask=[False, True, False])
    Table({"ra": ra, "dec": [1.0, 1.0, np.nan]}).write(path, format="ascii.ecsv")
    assert read_reference_catalog(path).ra.tolist() == [1.0]


def test_a_circle_on_the_sky_holds_what_is_in_it(tmp_path):
    path = tmp_path / "c.ecsv"
    Table({"ra": [359.9, 0.1, 0.5, 180.0], "dec": [0.0, 0.0, 0.0, 0.0]}).write(path, format="ascii.ecsv")
    catalog = read_reference_catalog(path)
    assert catalog.within(0.0, 0.0, 0.11).ra.tolist() == [359.9, 0.1]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "", "no heading"),
        ("a.csv", "x,y\n1,2\n", "no heading with the columns ra and dec"),
        ("a.csv", "ra,dec\n1,north\n", "north"),
        ("a.txt", "ra,dec\n1,2\n", "expected a file"),
        ("a.ecsv", "not a table", "a.ecsv"),
        ("a.fits", "not FITS", "a.fits"),
        ("a.vot", "<VOTABLE", "VOTable"),
    ],
)
def test_a_file_that_is_no_catalog_is_named_with_the_reason(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises((ReferenceCatalogError, MissingFileError), match=words) as caught:
        read_reference_catalog(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(MissingFileError, match="not found"):
        read_reference_catalog(tmp_path / "none.csv")


def test_gaia_stars_of_omega_centauri(real_data):
    catalog = read_reference_catalog(real_data / "catalogs" / "gaia_dr3_omegacen.csv")
    assert len(catalog) == 124
    assert catalog.name == "gaiadr3omegacen"
    first = (catalog.ra[0], catalog.dec[0], catalog.pmra[0], catalog.pmdec[0], catalog.magnitude[0])
    assert first == (201.80503864476, -47.52889350144, -2.572, -7.728, 15.619798)
