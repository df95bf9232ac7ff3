"""Whole simulated fields: files that read as exposures, the truth beside them, specifications as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from multivisit.errors import MissingFileError, ParameterError, ProductError
from multivisit.exposures.model import read_exposure
from multivisit.simulate import (
    STANDARD_FIELDS,
    ExposureSpecification,
    FieldSpecification,
    NoiseSpecification,
    SceneSpecification,
    SimulatedField,
    Source,
    Visit,
    read_specification,
    run_simulation,
    simulate_field,
    standard_field,
    write_specification,
)
from multivisit.simulate.detectors import DETECTORS, detector_of
from multivisit.simulate.simulator import plan_exposures

NO_SOURCES = SceneSpecification(n_stars=0, n_galaxies=0)


def one_visit(*exposures: ExposureSpecification, **changes: object) -> Visit:
    visit = Visit("01", "2012-03-04T05:06:07", 77.0, exposures)
    return dataclasses.replace(visit, **changes)  # type: ignore[arg-type]


def field_of(*visits: Visit, **changes: object) -> FieldSpecification:
    field = FieldSpecification("test", 180.26, 26.24, visits, scene=NO_SOURCES)
    return dataclasses.replace(field, **changes)  # type: ignore[arg-type]


EVERY_DETECTOR = field_of(
    one_visit(
        ExposureSpecification("acs_wfc", "f814w", 340.0, subarray=(90, 110)),
        ExposureSpecification("acs_hrc", "f606w", 100.0, subarray=(80, 100)),
        ExposureSpecification("acs_sbc", "f125lp", 1000.0, subarray=(80, 100)),
        ExposureSpecification("wfc3_uvis", "f555w", 400.0, subarray=(90, 110)),
        ExposureSpecification("wfc3_ir", "f160w", 599.0, subarray=(80, 100)),
    ),
    noise=NoiseSpecification.none(),
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SimulatedField:
    return simulate_field(standard_field("tiny"), tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def every_detector(tmp_path_factory: pytest.TempPathFactory) -> SimulatedField:
    return simulate_field(EVERY_DETECTOR, tmp_path_factory.mktemp("every"))


def test_every_detectors_files_read_as_exposures_of_an_even_sky(every_detector: SimulatedField) -> None:
    found = []
    for path in every_detector.files:
        exposure = read_exposure(path)
        label = f"{exposure.instrument}_{exposure.detector}"
        found.append((label, exposure.filter_name, exposure.file_type, len(exposure.chips)))
        assert exposure.rootname == path.name[:9]
        assert exposure.exposure_time == fits.getval(path, "EXPTIME")
        assert exposure.end_mjd - exposure.start_mjd == pytest.approx(
            exposure.exposure_time / 86400.0, abs=1e-9
        )
        assert exposure.proposal_id in (99001, "99001")
        level = Table.read(every_detector.exposures_path)
        (sky,) = level["sky_level"][level["filename"] == path.name]
        for chip in exposure.chips:
            assert chip.read_data_quality().shape == chip.shape
            np.testing.assert_allclose(chip.read_science(), np.full(chip.shape, sky), rtol=1e-5)
    assert found == [
        ("acs_wfc", "f814w", "flc", 2),
        ("acs_hrc", "f606w", "flt", 1),
        ("acs_sbc", "f125lp", "flt", 1),
        ("wfc3_uvis", "f555w", "flc", 2),
        ("wfc3_ir", "f160w", "flt", 1),
    ]


def test_the_files_are_standard_fits(every_detector: SimulatedField) -> None:
    for path in every_detector.files:
        with fits.open(path) as hdus:
            hdus.verify("exception")
            assert hdus[0].header["NEXTEND"] == len(hdus) - 1
            assert hdus[0].header["SIMULATE"] is True
            names = [(hdu.name, hdu.ver) for hdu in hdus[1:]]
            assert len(set(names)) == len(names)
            assert ("TIME", 1) in names or hdus[0].header["DETECTOR"] != "IR"


def test_the_scale_is_the_one_that_the_flat_field_refers_to(every_detector: SimulatedField) -> None:
    for path in every_detector.files:
        for chip in read_exposure(path).chips:
            assert chip.nominal_scale == fits.getval(path, "IDCSCALE", ("SCI", chip.extver))


def test_stars_are_where_the_truth_says(tmp_path: Path) -> None:
    """Centroids in the file, through the exposure's own exact WCS, against the truth catalog."""
    visit = one_visit(
        ExposureSpecification("acs_wfc", "f606w", 500.0, subarray=(300, 600), sky_levels=(0.0,)),
        ExposureSpecification("wfc3_ir", "f160w", 500.0, subarray=(300, 300), sky_levels=(0.0,)),
    )
    scene = SceneSpecification(radius=25.0, n_stars=50, n_galaxies=0, minimum_separation=4.0)
    made = simulate_field(field_of(visit, scene=scene, noise=NoiseSpecification.none()), tmp_path)
    truth = Table.read(made.truth_path)
    n_measured = 0
    for path in made.files:
        for chip in read_exposure(path).chips:
            wcs, pixels = chip.wcs(), chip.read_science().astype(np.float64)
            x, y = wcs.all_world2pix(truth["ra"], truth["dec"], 0, quiet=True)
            half = 8
            for column, row in zip(x, y, strict=True):
                left, bottom = round(column) - half, round(row) - half
                if (
                    min(left, bottom) < 0
                    or left + 2 * half >= chip.shape[1]
                    or bottom + 2 * half >= chip.shape[0]
                ):
                    continue
                stamp = pixels[bottom : bottom + 2 * half + 1, left : left + 2 * half + 1]
                rows, columns = np.indices(stamp.shape)
                assert np.sum(stamp * columns) / stamp.sum() + left == pytest.approx(column, abs=0.01)
                assert np.sum(stamp * rows) / stamp.sum() + bottom == pytest.approx(row, abs=0.01)
                n_measured += 1
    assert n_measured > 20


def test_the_header_wcs_is_wrong_by_what_was_asked(tmp_path: Path) -> None:
    exposure = ExposureSpecification("wfc3_ir", "f125w", 100.0, subarray=(64, 64))
    right, wrong = (
        simulate_field(field_of(visit, noise=NoiseSpecification.none()), tmp_path / name)
        for name, visit in (
            ("right", one_visit(exposure)),
            ("wrong", one_visit(exposure, wcs_offset=(0.3, -0.4), wcs_rotation=0.02)),
        )
    )
    np.testing.assert_array_equal(fits.getdata(right.files[0], "SCI"), fits.getdata(wrong.files[0], "SCI"))
    places = []
    for made in (right, wrong):
        header = fits.getheader(made.files[0], 0), fits.getheader(made.files[0], "SCI")
        places.append(SkyCoord(header[1]["RA_APER"], header[1]["DEC_APER"], unit="deg"))
    east, north = places[0].spherical_offsets_to(places[1])
    assert east.arcsec == pytest.approx(0.3, abs=1e-6)
    assert north.arcsec == pytest.approx(-0.4, abs=1e-6)
    rolls = [fits.getval(made.files[0], "PA_V3") for made in (right, wrong)]
    assert rolls[1] - rolls[0] == pytest.approx(0.02, abs=1e-4)
    row = Table.read(wrong.exposures_path)[0]
    assert (row["wcs_offset_east"], row["wcs_offset_north"], row["wcs_rotation"]) == (0.3, -0.4, 0.02)
    assert row["ra"] == pytest.approx(places[0].ra.deg, abs=1e-12)


def test_the_truth_catalog_has_the_flux_of_every_filter(tiny: SimulatedField) -> None:
    truth = Table.read(tiny.truth_path)
    assert {"star", "galaxy"} == set(truth["type"])
    for name, zero_point in (("acs_wfc_f606w", 26.5), ("wfc3_ir_f160w", 25.95)):
        magnitude = zero_point - 2.5 * np.log10(truth[f"flux_{name}"])
        # Zero points as published, to a few hundredths.
        np.testing.assert_allclose(magnitude, truth[f"abmag_{name}"], atol=0.05)
    stars = truth[truth["type"] == "star"]
    places = SkyCoord(stars["ra"], stars["dec"])
    _, distance, _ = places.match_to_catalog_sky(places, nthneighbor=2)
    assert distance.arcsec.min() >= 0.999


def test_the_same_specification_gives_the_same_pixels(tiny: SimulatedField, tmp_path: Path) -> None:
    again = run_simulation("tiny", tmp_path / "again")
    other = run_simulation("tiny", tmp_path / "other", seed=2)
    for first, second, third in zip(tiny.files, again.files, other.files, strict=True):
        assert first.name == second.name == third.name
        assert first.read_bytes() == second.read_bytes()
        assert first.read_bytes() != third.read_bytes()
    assert tiny.truth_path.read_text() == again.truth_path.read_text()


def test_an_exposure_does_not_depend_on_the_others(tiny: SimulatedField, tmp_path: Path) -> None:
    field = standard_field("tiny")
    made = simulate_field(dataclasses.replace(field, visits=field.visits[1:]), tmp_path)
    for path in made.files:
        assert path.read_bytes() == (tiny.files[0].parent / path.name).read_bytes()


def test_the_written_specification_makes_the_same_field_again(tiny: SimulatedField, tmp_path: Path) -> None:
    assert read_specification(tiny.specification_path) == standard_field("tiny")
    again = run_simulation(str(tiny.specification_path), tmp_path)
    assert again.files[0].read_bytes() == tiny.files[0].read_bytes()


def test_a_field_can_be_moved_and_be_without_noise(tmp_path: Path) -> None:
    made = run_simulation("tiny", tmp_path, ra=0.0, dec=-89.9, noiseless=True)
    truth = Table.read(made.truth_path)
    separation = SkyCoord(truth["ra"], truth["dec"]).separation(SkyCoord(0.0, -89.9, unit="deg"))
    assert separation.arcsec.max() < 25.1
    assert not fits.getdata(made.files[0], "DQ").any()
    exposures = Table.read(made.exposures_path)
    assert fits.getdata(made.files[1], "SCI").min() >= exposures["sky_level"][1] * 0.999


def test_progress_is_told_and_nothing_else_is_left(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    exposure = ExposureSpecification("acs_hrc", "f606w", 10.0, ((0, 0), (1, 1)), subarray=(20, 20))
    folder = tmp_path / "new" / "folder"
    made = simulate_field(field_of(one_visit(exposure)), folder, progress=lambda *state: told.append(state))
    assert [(done, total) for _, done, total in told] == [(0, 2), (1, 2), (2, 2)]
    expected = {*made.files, made.truth_path, made.exposures_path, made.specification_path}
    assert set(folder.iterdir()) == expected


def test_names_are_those_of_the_pipeline_or_of_single_visit_products() -> None:
    visit = one_visit(
        ExposureSpecification("acs_wfc", "f606w", 1.0, ((0, 0),) * 36),
        ExposureSpecification("wfc3_ir", "f160w", 1.0),
    )
    pipeline = [item.identity.filename for item in plan_exposures(field_of(visit))]
    assert pipeline[0] == "jsim0101q_flc.fits"
    assert pipeline[35:] == ["jsim0110q_flc.fits", "isim0111q_flt.fits"]
    single = [item.identity.filename for item in plan_exposures(field_of(visit, file_naming="svm"))]
    assert single[0] == "hst_99001_01_acs_wfc_f606w_jsim0101_flc.fits"


@pytest.mark.parametrize("name", STANDARD_FIELDS)
def test_ready_made_fields_lie_well_inside_one_sky_cell(name: str) -> None:
    from multivisit.sky.cells import SkyCell

    field = standard_field(name)
    cell = SkyCell.from_name("skycell-p1889x10y12")
    for item in plan_exposures(field):
        x, y = cell.wcs.wcs_world2pix(item.truth.ra, item.truth.dec, 0)
        assert min(x, y, 21953 - x, 21953 - y) > 150.0 / 0.04


def test_the_eighteen_make_seven_layers() -> None:
    planned = plan_exposures(standard_field("eighteen"))
    counts: dict[tuple[str, str], int] = {}
    for item in planned:
        key = (item.detector.label, item.identity.filter_name)
        counts[key] = counts.get(key, 0) + 1
    assert len(planned) == 18
    assert sum(2 if label == "wfc3_ir" else 1 for label, _ in counts) == 7


def test_filters_sit_in_their_wheels() -> None:
    assert detector_of("acs_wfc").wheel_names("f606w") == ("F606W", "CLEAR2L")
    assert detector_of("acs_wfc").wheel_names("f814w") == ("CLEAR1L", "F814W")
    assert detector_of("acs_wfc").wheel_names("f606w-pol60v") == ("F606W", "POL60V")
    assert detector_of("WFC3/IR").wheel_names("f160w") == ("F160W",)
    assert len(DETECTORS) == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": 1}, "colour"),
        ({"ra": "north"}, "field.ra"),
        ({"visits": []}, "at least one"),
        ({"dec": 91.0}, "-90 to 90"),
        ({"seed": True}, "seed"),
        ({"ra": float("nan")}, "finite"),
        ({"scene": {"sources": [{"ra": 1.0, "dec": 2.0}]}}, r"sources\[0\]"),
    ],
)
def test_a_wrong_specification_is_refused_with_its_place(
    change: dict[str, object], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "field.json"
    write_specification(EVERY_DETECTOR, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ParameterError, match=words) as caught:
        read_specification(path)
    assert str(path) in str(caught.value)


EXPOSURE_PLACE = ("visits", 0, "exposures", 0)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("visits", 0, "date"), "9999-12-31T23:59:59", r"field\.visits\[0\].*date.*9999.*1990 to 2099"),
        (("visits", 0, "date"), "0001-01-01T00:00:00+14:00", r"field\.visits\[0\].*1990 to 2099"),
        ((*EXPOSURE_PLACE, "exposure_time"), 1e300, r"field\.visits\[0\]\.exposures\[0\].*1e\+300.*100000 s"),
        ((*EXPOSURE_PLACE, "exposure_time"), 10**400, r"field\.visits\[0\]\.exposures\[0\]\.exposure_time"),
        ((*EXPOSURE_PLACE, "sky_levels"), [-1.0], r"exposures\[0\].*sky_levels: found -1\.0, expected 0 to"),
        ((*EXPOSURE_PLACE, "sky_levels"), [1e300], r"exposures\[0\].*sky_levels"),
        ((*EXPOSURE_PLACE, "dithers"), [[1e300, 0]], r"exposures\[0\].*dithers.*1e\+300.*arcsec"),
        ((*EXPOSURE_PLACE, "subarray"), [0, 5], r"exposures\[0\].*subarray"),
        (("visits", 0, "wcs_name"), "IDC_é", r"field\.visits\[0\].*wcs_name.*IDC_é.*printable ASCII"),
        (("visits", 0, "wcs_name"), "IDC\nx", r"field\.visits\[0\].*wcs_name.*printable ASCII"),
        (("visits", 0, "wcs_name"), "I" * 69, r"field\.visits\[0\].*wcs_name.*at most 68"),
        (("visits", 0, "wcs_rotation"), 1e300, r"field\.visits\[0\].*wcs_rotation"),
        (("visits", 0, "proposal_id"), -1, r"field\.visits\[0\].*proposal_id"),
        (("name",), "two\nlines", r"name.*printable"),
        (("name",), "\udcfc", r"name.*printable"),
        (("seed",), 10**30, "seed"),
        (("scene", "n_stars"), 10**18, r"field\.scene.*n_stars.*10000000"),
        (("scene", "star_magnitudes"), [-1000.0, 20.0], r"field\.scene.*star_magnitudes"),
        (("scene", "galaxy_radii"), [0.0, 1.0], r"field\.scene.*galaxy_radii"),
        (("noise", "cosmic_rays"), -1.0, r"field\.noise.*cosmic_rays"),
        (("ra",), 1e300, r"\bra: found 1e\+300"),
    ],
)
def test_values_that_cannot_be_simulated_are_refused_with_their_place(
    place: tuple[str | int, ...], value: object, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "field.json"
    write_specification(EVERY_DETECTOR, path)
    content = json.loads(path.read_text())
    inside = content
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ParameterError, match=words) as caught:
        read_specification(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "found" in str(caught.value)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize("depth", [90, 950, 100_000])
def test_json_nested_deeply_is_refused(depth: int, tmp_path: Path) -> None:
    path = tmp_path / "field.json"
    path.write_text("[" * depth + "]" * depth)
    with pytest.raises(ParameterError, match="expected") as caught:
        read_specification(path)
    assert len(str(caught.value)) < 1000
    write_specification(EVERY_DETECTOR, path)
    text = path.read_text().rstrip().removesuffix("}")
    path.write_text(f'{text}, "colour": {"[" * depth}{"]" * depth}}}')
    with pytest.raises(ParameterError, match=r"field specification|colour"):
        read_specification(path)


def test_the_brightest_star_has_finite_pixels(tmp_path: Path) -> None:
    star = Source(180.26, 26.24, -5.0, spectral_slope=10.0)
    exposure = ExposureSpecification("wfc3_ir", "f160w", 1e5, subarray=(160, 160))
    scene = SceneSpecification(n_stars=0, n_galaxies=0, sources=(star,))
    field = field_of(one_visit(exposure), scene=scene, noise=NoiseSpecification(saturation=False))
    (path,) = simulate_field(field, tmp_path).files
    with fits.open(path) as hdus:
        assert np.isfinite(hdus["SCI"].data).all()
        assert hdus["SCI"].data.max() > 1e10


def test_the_example_in_the_documentation_is_a_specification(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "simulation.rst").read_text(encoding="utf-8")
    block = text.split(".. code-block:: json\n\n")[1].split("\n\nThe same from Python")[0]
    path = tmp_path / "field.json"
    path.write_text(block)
    field = read_specification(path)
    assert [visit.wcs_offset for visit in field.visits] == [(0.0, 0.0), (0.2, -0.1)]
    assert len(plan_exposures(field)) == 3


def test_a_start_with_a_time_zone_is_taken_to_utc() -> None:
    exposure = ExposureSpecification("acs_wfc", "f606w", 1.0)
    for date in ("2012-03-04T05:06:07", "2012-03-04T05:06:07Z", "2012-03-04T07:06:07+02:00"):
        assert one_visit(exposure, date=date).start().isoformat() == "2012-03-04T05:06:07"


def test_the_header_says_the_noise_that_was_put_in(every_detector: SimulatedField) -> None:
    for path in every_detector.files:
        header = fits.getheader(path)
        detector = detector_of(f"{header['INSTRUME']}_{header['DETECTOR']}")
        if detector.detector in ("wfc", "uvis"):
            assert [header[f"READNSE{amplifier}"] for amplifier in "ABCD"] == [detector.read_noise] * 4
        if detector.detector == "hrc":
            assert [header[f"READNSE{amplifier}"] for amplifier in "ABCD"] == [
                0.0,
                0.0,
                detector.read_noise,
                0.0,
            ]


def test_a_specification_that_is_no_json_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "field.json"
    with pytest.raises(MissingFileError, match=r"field\.json"):
        read_specification(path)
    path.write_text("{")
    with pytest.raises(ParameterError, match="JSON"):
        read_specification(path)


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(ParameterError, match="unknown detector"):
        ExposureSpecification("acs_xyz", "f606w", 1.0)
    with pytest.raises(ParameterError, match="no filter"):
        ExposureSpecification("acs_wfc", "f999w", 1.0)
    with pytest.raises(ParameterError, match="sky_levels"):
        ExposureSpecification("acs_wfc", "f606w", 1.0, sky_levels=(1.0, 2.0))
    with pytest.raises(ParameterError, match="file_type"):
        ExposureSpecification("wfc3_ir", "f160w", 1.0, file_type="flc")
    with pytest.raises(ParameterError, match="ISO 8601"):
        Visit("01", "yesterday", 0.0, (ExposureSpecification("acs_wfc", "f606w", 1.0),))
    with pytest.raises(ParameterError, match="visit_id"):
        field_of(*[one_visit(ExposureSpecification("acs_wfc", "f606w", 1.0))] * 2)
    with pytest.raises(ParameterError, match="sersic_index"):
        Source(1.0, 2.0, 20.0, sersic_index=9.0)
    with pytest.raises(ParameterError, match="subarray"):
        plan_exposures(
            field_of(one_visit(ExposureSpecification("wfc3_ir", "f160w", 1.0, subarray=(2000, 5))))
        )
    with pytest.raises(ParameterError, match="unknown field"):
        standard_field("big")


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProductError, match="file"):
        run_simulation("tiny", tmp_path / "file")
    with pytest.raises(ParameterError, match="unknown field 'big'"):
        run_simulation("big", tmp_path)


def test_the_truth_about_cosmic_rays_is_written_on_request(tmp_path: Path) -> None:
    exposures = one_visit(
        ExposureSpecification("acs_wfc", "f814w", 900.0, subarray=(90, 110), sky_levels=(0.05,))
    )
    noise = NoiseSpecification(
        cosmic_rays=3.0, unflagged_cosmic_rays=0.5, hot_pixels=False, bad_pixels=False, saturation=False
    )
    with_rays = simulate_field(field_of(exposures, noise=noise), tmp_path / "with", cosmic_ray_truth=True)
    assert not list(
        simulate_field(field_of(exposures), tmp_path / "plain").specification_path.parent.glob("*rays*")
    )
    rays = with_rays.files[0].with_name(f"{read_exposure(with_rays.files[0]).rootname}_rays.fits")
    n_unflagged = 0
    for extver in (1, 2):
        science, error, flags = (
            fits.getdata(with_rays.files[0], (name, extver)) for name in ("SCI", "ERR", "DQ")
        )
        truth = fits.getdata(rays, ("RAYS", extver))
        clean = science - truth
        # What is left without the rays is sky with its noise.
        assert abs(clean.mean() - 0.05 * 900.0) < 0.5
        np.testing.assert_allclose(clean.std(), np.sqrt(np.mean(error[truth == 0] ** 2)), rtol=0.05)
        assert (truth[(flags & 4096) != 0] > 0).all()
        n_unflagged += np.count_nonzero((truth > 0) & (flags & 4096 == 0))
    assert n_unflagged == Table.read(with_rays.exposures_path)["n_unflagged_pixels"][0]
    assert n_unflagged > 50
