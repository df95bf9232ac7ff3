"""Stars found in simulated chips, against where they are."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from multivisit.align.sources import find_chip_sources, find_sources
from multivisit.plan.parameters import parameter_set
from multivisit.plan.parameters.alignment import SourceFindingParameters
from multivisit.simulate.geometry import chip_wcs, detector_geometry
from multivisit.simulate.simulator import plan_exposures


def true_pixels(case, rootname, number):
    """Where the stars are on a chip."""
    (planned,) = [p for p in plan_exposures(case.specification) if p.identity.rootname == rootname]
    geometry = detector_geometry(planned.detector.label)
    wcs = chip_wcs(geometry.chips[number], planned.truth, planned.windows[number])
    x, y = wcs.all_world2pix(case.stars["ra"], case.stars["dec"], 0, quiet=True)
    ny, nx = planned.windows[number].shape
    on = (x > 10) & (x < nx - 11) & (y > 10) & (y < ny - 11)
    return np.column_stack([x, y])[on], np.array(case.stars["magnitude"])[on]


@pytest.mark.parametrize(
    ("rootname", "mode", "largest_median"),
    [
        ("jsim0101q", "starfind", 0.03),
        ("jsim0101q", "segmentation", 0.03),
        ("isim0202q", "starfind", 0.06),
    ],
)
def test_stars_are_found_where_they_are(case, rootname, mode, largest_median):
    exposure = case.exposure(rootname)
    usual = parameter_set(exposure.instrument, exposure.detector, exposure.filter_name, 2)
    parameters = usual.alignment.generate_source_catalogs.replace(centering_mode=mode)
    for number, chip in enumerate(exposure.chips):
        found = find_chip_sources(chip, usual.astrodrizzle.final_bits, parameters, 250)
        truth, magnitude = true_pixels(case, rootname, number)
        distance = np.hypot(found.x[:, None] - truth[:, 0], found.y[:, None] - truth[:, 1])
        nearest = distance[: len(truth) // 2].min(axis=1)
        # Besides the stars there are ten galaxies in the field, and stars near the edges.
        assert (nearest < 0.5).mean() > 0.85
        assert np.median(nearest[nearest < 0.5]) < largest_median
        fine = (magnitude > 20.5) & (magnitude < 22.0)
        assert (distance.min(axis=0)[fine] < 0.3).mean() > 0.85
        assert (np.diff(found.flux) <= 0.0).all()


def test_cosmic_rays_that_no_flag_tells_of_are_left_out(case):
    chip = case.exposure("jsim0101q").chips[0]
    parameters = SourceFindingParameters()
    all_good = 0xFFFF
    truth, _ = true_pixels(case, "jsim0101q", 0)

    def share_of_stars(classify):
        found = find_chip_sources(chip, all_good, parameters.replace(classify=classify), None)
        return (
            np.hypot(found.x[:, None] - truth[:, 0], found.y[:, None] - truth[:, 1]).min(axis=1) < 1.0
        ).mean()

    assert share_of_stars(classify=True) > share_of_stars(classify=False) + 0.2


def test_only_so_many_are_kept_the_brightest(case):
    chip = case.exposure("jsim0101q").chips[0]
    every = find_chip_sources(chip, 80, SourceFindingParameters(), None)
    few = find_chip_sources(chip, 80, SourceFindingParameters(), 20)
    assert len(few) == 20
    np.testing.assert_array_equal(few.x, every.x[:20])


def test_saturated_stars_are_left_out(case):
    chip = case.exposure("jsim0101q").chips[0]
    found = find_chip_sources(chip, 80, SourceFindingParameters(), None)
    with fits.open(chip.path) as exposure:
        saturated = (exposure["DQ", 1].data & 256) != 0
    assert saturated.any()
    assert not saturated[np.rint(found.y).astype(int), np.rint(found.x).astype(int)].any()


@pytest.mark.parametrize("shape", [(5, 5), (64, 64)])
@pytest.mark.parametrize("kind", ["zero", "constant", "bad", "noise"])
def test_pixels_without_stars_have_none(shape, kind):
    science = np.zeros(shape, dtype=np.float32)
    bad = np.zeros(shape, dtype=np.bool_)
    if kind == "constant":
        science += 7.0
    if kind == "bad":
        bad[:] = True
    if kind == "noise":
        science = np.random.default_rng(1).normal(0.0, 1.0, shape).astype(np.float32)
    assert len(find_sources(science, bad, SourceFindingParameters(nsigma=5.0), 2.0, 100)) == 0
