"""Exposures with wrong headers aligned, against where their pixels are."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from tests.align.conftest import ACS, FIELD, align, by_name, largest_error, simulate

from multivisit.align.reference import ReferenceCatalog, read_reference_catalog
from multivisit.exposures.model import read_exposure
from multivisit.simulate.specification import (
    ExposureSpecification,
    FieldSpecification,
    SceneSpecification,
    Source,
    Visit,
)

LARGEST_ERROR = 0.1
"""Pixels, anywhere on a chip."""


def errors(case, alignment):
    return {
        exposure.rootname: largest_error(case.specification, alignment.exposures.get(exposure.path, exposure))
        for exposure in case.exposures()
    }


def test_errors_of_several_arcsec_and_rotations_are_taken_off(case):
    before = [largest_error(case.specification, exposure) for exposure in case.exposures()]
    assert min(before) > 5.0
    assert max(before) > 75.0
    alignment = align(case.exposures(), case.catalog())
    assert max(errors(case, alignment).values()) < 0.02
    records = by_name(alignment)
    assert {record.method for record in records.values()} == {"REL"}
    assert {record.group for record in records.values()} == {1}
    assert records["jsim0101q"].wcs_name == "IDC_postsm4-FIT_REL_truth"
    assert records["jsim0101q"].offset_east == pytest.approx(-3.1, abs=0.02)
    assert records["jsim0101q"].offset_north == pytest.approx(2.4, abs=0.02)
    assert records["jsim0101q"].rotation == pytest.approx(-0.05, abs=0.001)
    assert records["isim0202q"].rotation == pytest.approx(0.03, abs=0.001)
    assert all(record.aligned and record.rms < 2.0 for record in records.values())
    assert all(record.n_matches > 50 and record.n_common > 50 for record in records.values())


def test_the_files_stay_as_they_are(case):
    before = [sha256(path.read_bytes()).hexdigest() for path in case.files]
    align(case.exposures()[:2], case.catalog())
    assert [sha256(path.read_bytes()).hexdigest() for path in case.files] == before


@pytest.mark.parametrize(("brightest", "geometry"), [(60, "rscale"), (25, "rshift")])
def test_few_reference_stars_are_enough_for_all_exposures_together(case, brightest, geometry):
    alignment = align(case.exposures(), case.catalog(brightest))
    records = by_name(alignment)
    assert {record.geometry for record in records.values()} == {geometry}
    assert all(record.n_fit < 25 for record in records.values())
    # Of the brightest stars most are saturated: an exposure may go with the others without any of its own.
    assert (min(record.n_matches for record in records.values()) == 0) == (brightest == 25)
    assert max(errors(case, alignment).values()) < LARGEST_ERROR


def test_single_exposures_are_fitted_by_themselves(case):
    for exposure in case.exposures():
        alignment = align([exposure], case.catalog())
        (record,) = alignment.records
        assert (record.method, record.group) == ("IMG", 0)
        assert record.wcs_name.endswith("-FIT_IMG_truth")
        assert largest_error(case.specification, alignment.exposures[exposure.path]) < LARGEST_ERROR


def test_without_relative_fits_every_exposure_is_fitted_by_itself(case):
    alignment = align(case.exposures(), case.catalog(), run_align={"mosaic_fit_list": ("match_2dhist_fit",)})
    assert {record.method for record in alignment.records} == {"IMG"}
    assert max(errors(case, alignment).values()) < LARGEST_ERROR


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"match_relative_fit": {"fitgeom": "general"}},
        {"generate_source_catalogs": {"centering_mode": "segmentation"}},
    ],
)
def test_parameters_that_change_the_way_lead_to_the_same_place(case, changes):
    alignment = align(case.exposures(), case.catalog(), **changes)
    assert max(errors(case, alignment).values()) < LARGEST_ERROR


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"general": {"MIN_FIT_MATCHES": 1000}}, "at least 1000 are needed"),
        ({"determine_fit_quality": {"MIN_FIT_MATCHES": 1000}}, "at least 1000 are needed"),
        ({"determine_fit_quality": {"MAX_FIT_LIMIT": 0.1}}, "at most 0.1 allowed"),
        ({"determine_fit_quality": {"MIN_CATALOG_THRESHOLD": 5000}}, "at least 5000 are needed"),
        ({"determine_fit_quality": {"MIN_OBSERVABLE_THRESHOLD": 5000}}, "sources found, at least 5000"),
        ({"determine_fit_quality": {"GOOD_FIT_QUALITY_VALUES": (3, 4)}}, "grade 1"),
        ({"run_align": {"mosaic_fit_list": ()}}, "no fit is asked for"),
        (
            {
                "match_relative_fit": {"searchrad": 1.0},
                "match_2dhist_fit": {"searchrad": 1.0},
                "match_default_fit": {"tolerance": 1.0},
            },
            "matched",
        ),
        ({"generate_astrometric_catalog": {"gaia_only": True}}, "no reference catalog"),
    ],
)  # fmt: skip
def test_limits_decide_whether_a_solution_is_taken(case, changes, reason):
    alignment = align([case.exposure("jsim0101q"), case.exposure("jsim0102q")], case.catalog(), **changes)
    assert not alignment.exposures
    for record in alignment.records:
        assert not record.aligned
        assert reason in record.reason
        assert record.wcs_name == record.old_wcs_name == "IDC_postsm4"


def test_catalogs_are_tried_in_turn(case):
    empty = case.catalog(name="empty").chosen(np.arange(0))
    alignment = align(case.exposures(), empty, case.catalog(), case.catalog(name="third"))
    assert {record.catalog for record in alignment.records} == {"truth"}
    assert [each.name for each in alignment.references] == ["truth"]


@pytest.mark.parametrize("seed", range(5))
def test_a_wrong_catalog_is_not_believed(case, seed):
    truth = case.catalog()
    random = np.random.default_rng(seed)
    wrong = replace(truth, ra=truth.ra + random.uniform(-0.01, 0.01, len(truth)),
                    dec=truth.dec + random.uniform(-0.01, 0.01, len(truth)))  # fmt: skip
    alignment = align(case.exposures(), wrong)
    assert not alignment.exposures
    assert all("matched" in record.reason for record in alignment.records)


def test_a_catalog_of_another_place_is_said(case):
    truth = case.catalog()
    alignment = align(case.exposures(), replace(truth, dec=truth.dec - 5.0))
    assert not alignment.exposures
    assert all("0 reference sources" in record.reason for record in alignment.records)


def test_an_error_beyond_the_search_radius_is_left_alone(case):
    truth = case.catalog()
    alignment = align([case.exposure("jsim0101q")], replace(truth, dec=truth.dec + 60.0 / 3600.0))
    assert not alignment.exposures


def test_exposures_without_stars_keep_their_wcs(sparse):
    alignment = align(sparse.exposures(), ReferenceCatalog("none", *(np.arange(20.0),) * 6))
    assert not alignment.exposures
    for record in alignment.records:
        assert "keeps its WCS IDC_postsm4" in record.in_words()


def test_an_exposure_that_cannot_be_read_does_not_stop_the_others(case, tmp_path):
    broken = tmp_path / case.files[1].name
    broken.write_bytes(case.files[1].read_bytes())
    exposure = read_exposure(broken)
    broken.unlink()
    others = [each for each in case.exposures() if each.rootname != exposure.rootname]
    alignment = align([exposure, *others], case.catalog())
    assert not alignment.records[0].aligned
    assert str(broken) in alignment.records[0].reason
    assert len(alignment.exposures) == len(others)


def test_fields_that_do_not_touch_are_aligned_each_for_itself(case, tmp_path):
    far = simulate(
        replace(FIELD, ra=181.5, dec=26.5, seed=9, visits=(replace(FIELD.visits[0], visit_id="09"),)),
        tmp_path,
    )
    both = case.catalog(), far.catalog()
    names = ("ra", "dec", "pmra", "pmdec", "epoch", "magnitude")
    together = replace(both[0], **{n: np.concatenate([getattr(c, n) for c in both]) for n in names})
    alignment = align([*case.exposures(), *far.exposures()], together)
    records = by_name(alignment)
    assert records["jsim0101q"].group == 1
    assert records["jsim0901q"].group == 2
    assert max(errors(case, alignment).values()) < LARGEST_ERROR
    assert max(errors(far, alignment).values()) < LARGEST_ERROR


def epochs(tmp_path, *, moves_all: bool):
    """Two visits 12 years apart of stars that move; all of them alike, or one in four, as among galaxies."""
    random = np.random.default_rng(4)
    n = 240
    radius, angle = 30.0 * np.sqrt(random.uniform(0.0, 1.0, n)), random.uniform(0.0, 2.0 * np.pi, n)
    dec = FIELD.dec + radius * np.sin(angle) / 3600.0
    ra = FIELD.ra + radius * np.cos(angle) / 3600.0 / np.cos(np.radians(FIELD.dec))
    magnitude = random.uniform(19.5, 22.5, n)
    known = np.arange(n) % 4 == 0
    pmra = np.where(known | moves_all, 9.0 + random.normal(0.0, 0.3, n), 0.0)
    pmdec = np.where(known | moves_all, -7.0 + random.normal(0.0, 0.3, n), 0.0)
    if not moves_all:
        pmra[known] += random.normal(0.0, 6.0, known.sum())
    zero = np.zeros(known.sum())
    catalog = ReferenceCatalog(
        "gaia", ra[known], dec[known], pmra[known], pmdec[known], zero + 2016.0, magnitude[known]
    )
    every = ReferenceCatalog("all", ra, dec, pmra, pmdec, np.full(n, 2016.0), magnitude)
    cases = []
    for visit, date, mjd, offset in (
        ("01", "2004-01-01T00:00:00", 53005.0, (0.8, -0.5)),
        ("02", "2016-01-01T00:00:00", 57388.0, (-0.4, 0.7)),
    ):
        at_ra, at_dec = every.at(mjd)
        stars = tuple(
            Source(float(a), float(d), float(m)) for a, d, m in zip(at_ra, at_dec, magnitude, strict=True)
        )
        visit_there = replace(
            FIELD.visits[0],
            visit_id=visit,
            date=date,
            exposures=(replace(ACS, dithers=((0.0, 0.0),)),),
            wcs_offset=offset,
            wcs_rotation=0.0,
        )
        specification = replace(
            FIELD,
            scene=SceneSpecification(n_stars=0, n_galaxies=0, sources=stars),
            visits=(visit_there,),
        )
        cases.append(simulate(specification, tmp_path))
    return cases, catalog


def test_stars_that_move_among_sources_that_do_not_are_carried_to_each_date(tmp_path):
    cases, catalog = epochs(tmp_path, moves_all=False)
    files = {path for case in cases for path in case.files}
    alignment = align([read_exposure(path) for path in sorted(files)], catalog)
    assert {record.method for record in alignment.records} == {"REL"}
    for case in cases:
        # Both visits are where they are: what does not move tells, and the stars where they were.
        (exposure,) = (e for e in alignment.exposures.values() if e.path in case.files)
        assert largest_error(case.specification, exposure) < LARGEST_ERROR
    assert all(record.n_fit >= 20 and record.rms < 2.0 for record in alignment.records)
    # Without their proper motions, stars of 2004 are not where the catalog of 2016 has them.
    still = replace(catalog, pmra=0.0 * catalog.pmra, pmdec=0.0 * catalog.pmdec)
    unmoved = by_name(align([read_exposure(path) for path in sorted(files)], still))
    assert unmoved["jsim0101q"].n_matches < 10


def test_stars_that_all_move_alike_stay_sharp_and_are_where_they_were_in_the_middle(tmp_path):
    cases, catalog = epochs(tmp_path, moves_all=True)
    files = {path for case in cases for path in case.files}
    alignment = align([read_exposure(path) for path in sorted(files)], catalog)
    assert {record.method for record in alignment.records} == {"REL"}
    assert all(record.rms < 3.0 and record.rms_common < 4.0 for record in alignment.records)
    shifts = []
    for case in cases:
        (exposure,) = (e for e in alignment.exposures.values() if e.path in case.files)
        shifts.append(largest_error(case.specification, exposure) * 0.05)
    # Half of 12 years at 11.4 mas each: one visit is put that much ahead, the other behind.
    np.testing.assert_allclose(shifts, 0.5 * 12.0 * 0.0114, atol=0.004)


def test_a_pair_of_real_exposures_is_aligned_to_each_other(real_data):
    """Two ACS/HRC exposures of 47 Tucanae whose headers disagree by about (-0.15, +0.57) pixel."""
    first, second = (
        read_exposure(real_data / "hrc_47tuc" / f"{name}_flt.fits") for name in ("j8bt06nyq", "j8bt06o6q")
    )
    # The stars of the first make a catalog: what the second is moved by is their disagreement.
    catalog = stars_of(first)
    alignment = align([second], catalog)
    (record,) = alignment.records
    assert record.aligned
    assert record.n_matches > 40
    assert record.rms < 5.0
    assert record.false_alarm < 1e-20
    new, old = alignment.exposures[second.path].chips[0].wcs(), second.chips[0].wcs()
    middle = [[400.0, 600.0], [400.0, 600.0]]
    moved = np.subtract(old.all_world2pix(*new.all_pix2world(*middle, 0), 0), middle).mean(axis=1)
    # Where the new solution puts a pixel, the old one had another.
    np.testing.assert_allclose(np.abs(moved), [0.15, 0.57], atol=0.15)


def stars_of(exposure):
    from multivisit.align.sources import find_chip_sources
    from multivisit.plan.parameters import parameter_set

    usual = parameter_set(exposure.instrument, exposure.detector, exposure.filter_name, 2)
    (chip,) = exposure.chips
    found = find_chip_sources(
        chip, usual.astrodrizzle.final_bits, usual.alignment.generate_source_catalogs, 250
    )
    ra, dec = chip.wcs().all_pix2world(found.x, found.y, 0)
    zero = np.zeros(len(ra))
    return ReferenceCatalog("pair", ra, dec, zero, zero, zero + 2016.0, zero)


def test_a_real_exposure_without_reference_stars_keeps_its_wcs(real_data):
    catalog = read_reference_catalog(real_data / "catalogs" / "gaia_dr3_47tuc.csv")
    files = sorted((real_data / "hrc_47tuc").glob("*.fits"))
    alignment = align([read_exposure(path) for path in files], catalog)
    assert not alignment.exposures
    for record in alignment.records:
        assert record.n_common > 40
        assert "reference sources in the field" in record.reason


def test_real_gaia_stars_with_their_motions_put_exposures_of_47_tucanae_in_place(real_data, tmp_path):
    """Simulated exposures of the real Gaia stars of a field of 47 Tucanae, at the places of two dates."""
    catalog = read_reference_catalog(real_data / "catalogs" / "gaia_dr3_47tuc.csv")
    ra, dec = 6.10654, -71.96961
    near = catalog.within(ra, dec, 60.0 / 3600.0)
    cases = []
    for visit, date, mjd, offset in (
        ("01", "2005-03-10T00:00:00", 53439.0, (1.4, -0.9)),
        ("02", "2005-03-20T00:00:00", 53449.0, (-0.7, 2.2)),
    ):
        stars = tuple(
            Source(float(a), float(d), float(m))
            for a, d, m in zip(*near.at(mjd), near.magnitude, strict=True)
        )
        exposures = (ExposureSpecification("acs_wfc", "f606w", 20.0, subarray=(500, 1000)),)
        visits = (Visit(visit, date, 30.0, exposures, wcs_offset=offset, wcs_rotation=0.02),)
        # Besides the catalog's stars there are many fainter ones.
        scene = SceneSpecification(
            radius=40.0, n_stars=500, n_galaxies=0, star_magnitudes=(19.0, 25.0), sources=stars
        )
        cases.append(simulate(FieldSpecification("47tuc", ra, dec, visits, scene), tmp_path))
    files = sorted({path for case in cases for path in case.files})
    alignment = align([read_exposure(path) for path in files], catalog)
    assert {record.method for record in alignment.records} == {"REL"}
    assert all(record.catalog == "gaiadr347tuc" and record.n_fit >= 8 for record in alignment.records)
    for case in cases:
        (exposure,) = (e for e in alignment.exposures.values() if e.path in case.files)
        assert largest_error(case.specification, exposure) < LARGEST_ERROR
