"""Catalogs of mosaics of every sort, and by any number of threads."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import shapely
from astropy.io import fits
from astropy.table import Column as TableColumn
from astropy.table import Table
from astropy.wcs import WCS
from scipy.ndimage import distance_transform_edt

from multivisit.catalogs import bands
from multivisit.catalogs.apertures import AperturePhotometry
from multivisit.catalogs.columns import POINT_COLUMNS, SEGMENT_COLUMNS
from multivisit.catalogs.coverage import (
    ExposureCoverage,
    SaturatedPixels,
    exposure_coverage,
    saturated_pixels,
)
from multivisit.catalogs.flags import FlagContext, SourceFlag, flag_sources, swarm_members
from multivisit.catalogs.making import make_catalogs
from multivisit.catalogs.tables import write_catalog
from multivisit.errors import ProductError
from multivisit.exposures.model import read_exposure

# fmt: off
PUBLISHED_POINT = [
    "X-Center", "Y-Center", "RA", "DEC", "ID", "MagAp1", "MagErrAp1", "FluxAp1", "FluxErrAp1",
    "MagAp2", "MagErrAp2", "MSkyAp2", "StdevAp2", "FluxAp2", "FluxErrAp2", "CI", "Flags",
]
PUBLISHED_SEGMENT = [
    "X-Centroid", "Y-Centroid", "RA", "DEC", "ID", "CI", "Flags", "MagAp1", "MagErrAp1", "FluxAp1",
    "FluxErrAp1", "MagAp2", "MagErrAp2", "FluxAp2", "FluxErrAp2", "MSkyAp2", "Bck", "Area", "FWHM",
    "MagSegment", "FluxSegment", "FluxSegmentErr", "KronRadius", "Xmin", "Ymin", "Xmax", "Ymax",
    "X2", "Y2", "XY", "CXX", "CYY", "CXY", "Elongation", "Ellipticity", "Theta",
]
# fmt: on


@pytest.fixture
def coarse(stars, tmp_path):
    """A copy of a small mosaic, and what is needed to make its catalogs."""
    name, item = next((n, i) for n, i in stars.plan.items() if "coarse" in n)
    product = tmp_path / stars.layers[name].product.name
    shutil.copyfile(stars.layers[name].product, product)
    return product, item


def catalogs_of(product, item, **options):
    made = make_catalogs(
        product,
        item.layer,
        item.grid,
        item.parameter_set.catalog_generation,
        item.parameter_set.quality_control,
        **options,
    )
    return {part.kind: Table.read(part.path, format="ascii.ecsv") for part in made}


def test_columns_and_units_are_the_published_ones(stars):
    assert [column.name for column in POINT_COLUMNS] == PUBLISHED_POINT
    assert [column.name for column in SEGMENT_COLUMNS] == PUBLISHED_SEGMENT
    point, segment = (stars.catalog("acs_wfc_f606w_all", kind) for kind in ("point", "segment"))
    assert point.colnames == PUBLISHED_POINT
    assert segment.colnames == PUBLISHED_SEGMENT
    assert str(point["MagAp2"].unit) == "mag(AB)"
    assert str(point["FluxAp2"].unit) == "electron / s"
    assert str(point["RA"].unit) == "deg"
    assert str(segment["Area"].unit) == "pix2"
    assert str(segment["Theta"].unit) == "rad"
    assert point.meta["Aper2 (arcsec)"] == 0.15
    assert point.meta["Number of sources"] == len(point)


def test_catalogs_are_the_tables_that_astropy_would_write(tmp_path):
    random = np.random.default_rng(2)
    values = {c.name: random.normal(size=4).round(c.decimals) for c in SEGMENT_COLUMNS}
    values |= {"ID": np.arange(4), "Flags": np.arange(4), "MagAp2": np.array([np.nan, 1.0, np.inf, 2.0])}
    meta = {"text": 'a "b": c # d', "number": "99001", "small": 1e-5, "none": np.nan, "list": ["- a", 2, 0.5]}
    written = Table.read(write_catalog(tmp_path / "a.ecsv", SEGMENT_COLUMNS, values, meta))
    values["MagAp2"] = np.array([-9999.0, 1.0, -9999.0, 2.0])
    table = Table(
        [
            TableColumn(
                values[c.name], c.name, unit=c.unit or None, format=c.format, description=c.description
            )
            for c in SEGMENT_COLUMNS
        ],
        meta={**meta, "Number of sources": 4},
    )
    table.write(tmp_path / "b.ecsv")
    expected = Table.read(tmp_path / "b.ecsv")
    assert written.colnames == expected.colnames
    for name in expected.colnames:
        np.testing.assert_array_equal(written[name], expected[name])
        for what in ("unit", "format", "description", "dtype"):
            assert getattr(written[name], what) == getattr(expected[name], what)
    assert list(written.meta) == list(expected.meta)
    assert str(dict(written.meta)) == str(dict(expected.meta))


def test_bands_threads_and_memory_do_not_matter(coarse, monkeypatch):
    product, item = coarse
    texts = []
    # Bands of any height, too: nothing is lost or found twice at their borders.
    for pixels, threads, memory in (
        (1 << 21, 1, None),
        (1 << 21, 3, 1),
        (20_000, 1, None),
        (20_000, 3, None),
    ):
        monkeypatch.setattr(bands, "_PIXELS", pixels)
        catalogs_of(product, item, threads=threads, memory=memory)
        texts.append([path.read_text() for path in sorted(product.parent.glob("*cat.ecsv"))])
    assert texts[0] == texts[1]
    assert texts[2] == texts[3]
    one, other = (Table.read(text[0], format="ascii.ecsv") for text in (texts[0], texts[2]))
    assert abs(len(one) - len(other)) <= 2


@pytest.mark.parametrize("mode", ["aperture", "segment", "none"])
def test_only_the_catalogs_that_are_asked_for_are_made(coarse, mode):
    product, item = coarse
    assert set(catalogs_of(product, item, mode=mode)) == {mode} - {"none"}
    assert len(list(product.parent.glob("*cat.ecsv"))) == (mode != "none")


def test_a_mosaic_without_data_has_empty_catalogs(coarse):
    product, item = coarse
    with fits.open(product, mode="update") as file:
        file["SCI"].data[:] = np.nan
        file["WHT"].data[:] = 0.0
    catalogs = catalogs_of(product, item)
    assert [len(table) for table in catalogs.values()] == [0, 0]
    assert catalogs["aperture"].colnames == PUBLISHED_POINT


def test_a_mosaic_without_sources_has_next_to_none(coarse):
    product, item = coarse
    with fits.open(product, mode="update") as file:
        noise = np.random.default_rng(1).normal(0.5, 0.02, file["SCI"].data.shape)
        file["SCI"].data[:] = np.where(file["WHT"].data > 0, noise, np.nan)
    for table in catalogs_of(product, item).values():
        assert (table["FluxAp2"] > 8.0 * table["FluxErrAp2"]).sum() == 0


def test_a_constant_mosaic_and_one_of_a_single_pixel_have_no_sources(coarse):
    product, item = coarse
    with fits.open(product, mode="update") as file:
        file["SCI"].data[:] = np.where(file["WHT"].data > 0, 0.5, np.nan)
    assert [len(table) for table in catalogs_of(product, item).values()] == [0, 0]
    with fits.open(product) as file:
        pixel = np.ones((1, 1), np.float32)
        small = [fits.ImageHDU(pixel, file[name].header) for name in ("SCI", "WHT")]
        fits.HDUList([file[0].copy(), *small]).writeto(product.with_name("one.fits"))
    assert [len(table) for table in catalogs_of(product.with_name("one.fits"), item).values()] == [0, 0]


def test_a_fill_value_and_units_of_electrons_change_nothing(coarse):
    product, item = coarse
    expected = catalogs_of(product, item)
    with fits.open(product, mode="update") as file:
        time = file[0].header["TEXPTIME"]
        # A power of two is exact in the pixels.
        file[0].header["TEXPTIME"] = 1024.0
        file["SCI"].data *= 1024.0
        file["SCI"].header["BUNIT"] = "ELECTRONS"
        file["SCI"].data[file["WHT"].data == 0] = -7777.0
    found = catalogs_of(product, item)
    assert time != 1024.0
    for kind, table in expected.items():
        for name in ("FluxAp1", "FluxAp2", "FluxErrAp2", "MagAp2", "RA", "CI"):
            np.testing.assert_array_equal(found[kind][name], table[name])


def test_an_uncalibrated_mosaic_has_fluxes_and_no_magnitudes(coarse):
    product, item = coarse
    expected = catalogs_of(product, item)["aperture"]
    with fits.open(product, mode="update") as file:
        file["SCI"].header["PHOTFLAM"] = 0.0
    found = catalogs_of(product, item)["aperture"]
    np.testing.assert_array_equal(found["FluxAp2"], expected["FluxAp2"])
    assert (found["MagAp1"] == -9999.0).all()
    np.testing.assert_array_equal(found["CI"], expected["CI"])


def test_saturated_pixels_are_found_where_they_are_on_the_mosaic(stars, tmp_path):
    name, item = next((n, i) for n, i in stars.plan.items() if "acs" in n)
    source = item.layer.members[0].exposure.path
    path = tmp_path / source.name
    shutil.copyfile(source, path)
    with fits.open(path, mode="update") as file:
        file["DQ", 1].data[:] &= ~np.int16(256)
        file["DQ", 1].data[400, 300] |= 256
        file["DQ", 1].data[500, 700:703] |= 256 | 4
    exposure = read_exposure(path)
    full = saturated_pixels([exposure], item.grid, workers=2)
    assert len(full.positions) == 4
    sky = exposure.chips[0].wcs().pixel_to_world_values([300, 701], [400, 500])
    x, y = WCS(fits.getheader(stars.layers[name].product, "SCI")).all_world2pix(*sky, 0)
    np.testing.assert_allclose(full.positions[0], (x[0], y[0]), atol=1e-3)
    counts = full.most_in_one_exposure(np.append(x, 5.0), np.append(y, 5.0), 4.0)
    np.testing.assert_array_equal(counts, [1, 3, 0])


def test_flags_say_what_is_wrong(stars):
    item = next(i for n, i in stars.plan.items() if "acs" in n)
    quality = item.parameter_set.quality_control
    exposures = [member.exposure for member in item.layer.members]
    middle = exposure_coverage(exposures, item.grid)
    centre = shapely.intersection_all(list(middle.exposures)).centroid
    # A star; a faint one; a sharp one; a wide one; one with a hole; one by a full pixel; one far outside;
    # one that has a star's index but is narrow.
    x = np.full(8, centre.x) + np.array([0.0, 300.0, -300.0, 0.0, 0.0, 30.0, 1e5, 60.0])
    y = np.full(8, centre.y) + np.array([0.0, 0.0, 0.0, 40.0, -40.0, 30.0, 0.0, 0.0])
    index = np.array([1.05, 1.05, 0.3, 2.0, 1.05, 1.05, 1.05, 1.05])
    flux_2 = np.array([10.0, 0.5, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0])
    small = np.full(8, 0.2)
    photometry = AperturePhotometry(
        flux_2 * 10.0 ** (-0.4 * index),
        0.2 * small,
        flux_2,
        small,
        0.0 * x,
        0.0 * x,
        small,
        np.ones(8),
        np.ones(8),
        np.array([0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0]),
        np.array([0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.2]),
    )
    saturated = SaturatedPixels(np.array([[x[5], y[5]], [x[5] + 1, y[5]]]), np.array([0, 0], np.int32))
    context = FlagContext(middle, saturated, "wfc", 3.75, 0.04, 2000.0, 0.05, 0.25)
    limits = quality.ci_filter.aperture
    flags = flag_sources(x, y, photometry, index, limits, quality.swarm_filter, context)
    assert flags[0] == 0
    assert flags[1] & SourceFlag.FAINT
    assert flags[2] == SourceFlag.HOT_PIXEL
    assert flags[3] == SourceFlag.EXTENDED
    assert flags[4] == SourceFlag.BAD_PIXELS
    assert flags[5] == SourceFlag.SATURATED_PIXELS
    assert flags[6] == SourceFlag.EDGE
    assert flags[7] == SourceFlag.HOT_PIXEL


def test_swarms_about_a_bright_star_are_flagged_and_its_equals_are_not(stars):
    swarm = next(iter(stars.plan.values())).parameter_set.quality_control.swarm_filter
    context = FlagContext(ExposureCoverage(()), SaturatedPixels(np.empty((0, 2)), np.empty(0, np.int32)),
                          "wfc", 3.75, 0.05, 1000.0, 0.05, 0.25)  # fmt: skip
    # A star of 4e6 electrons a pixel; faint ones at 12 and 300 pixels; a bright one at 12 pixels.
    x = np.array([500.0, 512.0, 800.0, 500.0])
    y = np.array([500.0, 500.0, 500.0, 512.0])
    flux = np.array([4e6, 10.0, 10.0, 2e5]) * np.pi * 3.75**2 / 1000.0
    np.testing.assert_array_equal(swarm_members(x, y, flux, context, swarm), [False, True, False, False])


def test_sources_near_the_edge_of_the_exposures_are_left_out(stars):
    table = stars.catalog("acs_wfc_f606w_all", "point")
    product = next(item.product for name, item in stars.layers.items() if "acs" in name)
    depth = distance_transform_edt(np.pad(fits.getdata(product, "WHT") > 0, 1))[1:-1, 1:-1]
    depth = depth[np.round(table["Y-Center"]).astype(int), np.round(table["X-Center"]).astype(int)]
    unholed = (np.array(table["Flags"]) & 128) == 0
    assert depth[unholed].min() > 5


def test_files_that_are_no_mosaics_are_refused(coarse, tmp_path):
    item = coarse[1]
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(ProductError, match="SCI and WHT"):
        catalogs_of(tmp_path / "empty.fits", item)
    (tmp_path / "text.fits").write_text("nothing")
    with pytest.raises(ProductError, match=r"text\.fits: cannot be read"):
        catalogs_of(tmp_path / "text.fits", item)


def test_parameters_take_effect(coarse):
    product, item = coarse
    parameters = item.parameter_set.catalog_generation
    plain = catalogs_of(product, item)

    def with_parameters(**values):
        changed = parameters.replace(**values)
        made = make_catalogs(product, item.layer, item.grid, changed, item.parameter_set.quality_control)
        return {part.kind: Table.read(part.path, format="ascii.ecsv") for part in made}

    high = with_parameters(nsigma=50.0, sourcex=parameters.sourcex.replace(segm_nsigma=50.0))
    assert len(high["aperture"]) < 0.7 * len(plain["aperture"])
    assert len(high["segment"]) < 0.7 * len(plain["segment"])
    wide = with_parameters(aperture_2=0.6)
    assert wide["aperture"]["FluxErrAp2"].min() > plain["aperture"]["FluxErrAp2"].min()
