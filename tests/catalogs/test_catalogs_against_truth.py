"""What catalogs say of simulated stars is what was put on the sky."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy.spatial import KDTree

LAYERS = {
    "acs_wfc_f606w_all": "flux_acs_wfc_f606w",
    "wfc3_ir_f160w_coarse-all": "flux_wfc3_ir_f160w",
}


class Match:
    """Stars that are whole in a mosaic, and the catalog's rows at their places."""

    def __init__(self, field, layer, kind):
        names = {"point": ("X-Center", "Y-Center"), "segment": ("X-Centroid", "Y-Centroid")}[kind]
        self.catalog = field.catalog(layer, kind)
        product = next(item.product for name, item in field.layers.items() if name.endswith(layer))
        with fits.open(product) as file:
            weight, wcs = file["WHT"].data, WCS(file["SCI"].header)
        self.x, self.y = wcs.all_world2pix(field.truth["ra"], field.truth["dec"], 0)
        inside = []
        full = np.median(weight[weight > 0])
        for x, y in zip(self.x, self.y, strict=True):
            box = weight[max(round(y) - 14, 0) : round(y) + 15, max(round(x) - 14, 0) : round(x) + 15]
            inside.append(box.size == 29 * 29 and box.min() > 0.4 * full)
        self.inside = np.array(inside)
        places = np.column_stack([self.catalog[name] for name in names])
        self.distance, self.row = KDTree(places).query(np.column_stack([self.x, self.y]))
        self.of_catalog = KDTree(np.column_stack([self.x, self.y])).query(places)[0]
        self.flux = np.array(field.truth[LAYERS[layer]])

    def column(self, name):
        return np.array(self.catalog[name], dtype=float)[self.row]


@pytest.mark.parametrize("layer", LAYERS)
def test_stars_are_found_and_their_errors_are_honest(stars, layer):
    match = Match(stars, layer, "point")
    flux, error = match.column("FluxAp2"), match.column("FluxErrAp2")
    clean = (match.column("Flags").astype(int) & (2 | 4 | 64 | 128)) == 0
    found = match.inside & (match.distance < 1.5)
    bright = found & clean & (flux > 100.0 * error)
    enclosed = np.median(flux[bright] / match.flux[bright])
    assert 0.9 < enclosed < 1.0
    # A star's expected error: the noise of the faint ones, and its own photons.
    faint_error = np.median(error[found & (flux < 12.0 * error)])
    expected = match.flux * enclosed
    time = {"acs": 2000.0, "wfc": 1600.0}[layer[:3]]
    significance = expected / np.sqrt(faint_error**2 + expected / time)
    visible = match.inside & (significance > 10.0)
    assert visible.sum() > 20
    assert (match.distance[visible] < 1.5).mean() > 0.95
    good = visible & found & clean
    difference = -2.5 * np.log10(flux[good] / expected[good])
    assert abs(np.median(difference)) < 0.02
    for part in (good & (significance < 80.0), good & (significance > 80.0)):
        pulls = (flux[part] - expected[part]) / error[part]
        low, high = np.percentile(pulls, [15.87, 84.13])
        assert 0.8 < 0.5 * (high - low) < 1.2
    # Everything that stands out is a star.
    rows = np.array(match.catalog["FluxAp2"]) > 10.0 * np.array(match.catalog["FluxErrAp2"])
    assert (match.of_catalog[rows] < 3.0).mean() > 0.95


def test_segments_hold_the_light_of_their_stars(stars):
    match = Match(stars, "acs_wfc_f606w_all", "segment")
    good = match.inside & (match.distance < 1.0) & (match.column("Flags").astype(int) & ~(1 | 16) == 0)
    flux, error = match.column("FluxSegment"), match.column("FluxSegmentErr")
    bright = good & (flux > 100.0 * error)
    assert bright.sum() > 30
    part = np.median(flux[bright] / match.flux[bright])
    assert 0.9 < part < 1.02
    # Round stars: no ellipticity to speak of, and the width of the simulated star on the mosaic's pixels.
    assert np.median(match.column("Ellipticity")[bright]) < 0.1
    area = match.column("Area")[bright]
    box = (match.column("Xmax") - match.column("Xmin") + 1) * (
        match.column("Ymax") - match.column("Ymin") + 1
    )
    assert (area <= box[bright]).all()


def test_magnitudes_follow_from_fluxes_and_the_header(stars):
    for layer in LAYERS:
        catalog = stars.catalog(layer, "point")
        product = next(item.product for name, item in stars.layers.items() if name.endswith(layer))
        header = fits.getheader(product, "SCI")
        zero = -2.5 * np.log10(header["PHOTFLAM"]) - 21.1 - 5.0 * np.log10(header["PHOTPLAM"]) + 18.6921
        bright = catalog["FluxAp2"] > 5.0
        expected = zero - 2.5 * np.log10(catalog["FluxAp2"][bright])
        np.testing.assert_allclose(catalog["MagAp2"][bright], expected, atol=1e-3)
        index = catalog["MagAp1"][bright] - catalog["MagAp2"][bright]
        np.testing.assert_allclose(catalog["CI"][bright], index, atol=2e-3)


def test_places_in_pixels_and_on_the_sky_agree(stars):
    catalog = stars.catalog("acs_wfc_f606w_all", "point")
    product = next(item.product for name, item in stars.layers.items() if "acs" in name)
    x, y = WCS(fits.getheader(product, "SCI")).all_world2pix(catalog["RA"], catalog["DEC"], 0)
    np.testing.assert_allclose(catalog["X-Center"], x, atol=0.01)
    np.testing.assert_allclose(catalog["Y-Center"], y, atol=0.01)


def test_apertures_are_those_of_photutils(stars):
    photutils = pytest.importorskip("photutils.aperture")
    catalog = stars.catalog("acs_wfc_f606w_all", "point")
    product = next(item.product for name, item in stars.layers.items() if "acs" in name)
    science = np.nan_to_num(fits.getdata(product, "SCI")).astype(float)
    clean = (np.array(catalog["Flags"]) & 128) == 0
    places = np.column_stack([catalog["X-Center"], catalog["Y-Center"]])[clean]
    for number, radius in ((1, 1.25), (2, 3.75)):
        table = photutils.aperture_photometry(science, photutils.CircularAperture(places, radius))
        sky = np.array(catalog["MSkyAp2"])[clean] * np.pi * radius**2
        # Positions and sky are rounded to a thousandth in the catalog.
        flux = np.array(catalog[f"FluxAp{number}"])[clean]
        np.testing.assert_allclose(flux, table["aperture_sum"] - sky, rtol=2e-3, atol=0.5e-3 * 45)
