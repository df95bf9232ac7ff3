"""Each check sees the fault that it is there for, and a good field passes all of them."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from multivisit.quality.basic import basic_checks
from multivisit.quality.facts import LayerFacts
from multivisit.quality.limits import CHECKS
from multivisit.run.checking import QualityControl
from multivisit.run.making import make_mosaic
from multivisit.run.options import RunOptions
from multivisit.run.resources import with_resources
from multivisit.run.sequencer import plan_run, run


def checks_of(folder: Path) -> dict:
    (path,) = folder.glob("*_quality.json")
    return {check["name"]: check for check in json.loads(path.read_text())["checks"]}


def check_run(files: tuple[Path, ...], folder: Path, *, tests: bool = True) -> dict:
    run(RunOptions(inputs=files, output_folder=folder, quality_tests=tests, previews=False))
    return checks_of(folder)


def made_layer(files: tuple[Path, ...], folder: Path, **parameters: object):
    """Make the one layer with other parameters than the default ones."""
    folder.mkdir()
    options = with_resources(
        RunOptions(inputs=files, output_folder=folder, previews=False, quality_tests=True)
    )
    (item,) = plan_run(options).layers
    combination = item.parameters.replace(**parameters)
    changed = item.parameter_set.model_copy(update={"astrodrizzle": combination})
    own = dataclasses.replace(item.products[0], parameters=changed)
    item = dataclasses.replace(item, products=(own, *item.products[1:]))
    made = make_mosaic(item.layer, item.grid, item.parameters, options, lambda *_: None)
    return options, item, made


def science(exposure: fits.HDUList) -> list[fits.ImageHDU]:
    return [hdu for hdu in exposure if hdu.name == "SCI"]


def test_a_good_field_passes_every_check(good_run):
    checks = checks_of(good_run)
    assert list(checks) == list(CHECKS)
    assert {name: check["verdict"] for name, check in checks.items()} == dict.fromkeys(CHECKS, "pass")
    assert all(check["explanation"].endswith(".") for check in checks.values())
    # Three exposures, three pairs, hundreds of stars: a tenth of a pixel would be 5 mas.
    offsets = checks["relative_offsets"]["details"]
    assert len(offsets) == 3
    assert all(pair["sources"] > 50 for pair in offsets)
    assert all(math.hypot(pair["east_mas"], pair["north_mas"]) < 2.0 for pair in offsets)


def test_without_quality_tests_the_checks_of_pixels_say_how_to_run_them(star_exposures, tmp_path):
    checks = check_run(star_exposures, tmp_path / "out", tests=False)
    for name, kind in CHECKS.items():
        assert checks[name]["verdict"] == ("not run" if kind.needs_pixels else "pass"), name
        assert ("--quality-tests" in checks[name]["explanation"]) == kind.needs_pixels
    assert not list((tmp_path / "out").glob("*_mvm_*.json"))


def test_an_exposure_shifted_by_50_mas_is_measured_and_fails(spoiled, tmp_path):
    def shift(exposure: fits.HDUList) -> None:
        for hdu in science(exposure):
            hdu.header["CRVAL1"] += 0.030 / 3600.0 / math.cos(math.radians(hdu.header["CRVAL2"]))
            hdu.header["CRVAL2"] += 0.040 / 3600.0

    check = check_run(spoiled(shift), tmp_path / "out")["relative_offsets"]
    assert check["verdict"] == "fail"
    assert "jsim0201q" in check["explanation"]
    shifted = [pair for pair in check["details"] if pair["second"] == "jsim0201q"]
    assert len(shifted) == 2
    for pair in shifted:
        assert pair["east_mas"] == pytest.approx(30.0, abs=2.0)
        assert pair["north_mas"] == pytest.approx(40.0, abs=2.0)


def test_another_wcs_solution_is_seen_without_reading_pixels(spoiled, tmp_path):
    def rename(exposure: fits.HDUList) -> None:
        for hdu in science(exposure):
            hdu.header["WCSNAME"] = "IDC_postsm4-FIT_SVM_GAIAeDR3"

    checks = check_run(spoiled(rename), tmp_path / "out", tests=False)
    assert checks["wcs_solutions"]["verdict"] == "warn"
    assert checks["wcs_solutions"]["value"] == 2
    assert checks["wcs_frames"]["verdict"] == "fail"
    assert "Gaia" in checks["wcs_frames"]["explanation"]
    assert "align" in checks["wcs_frames"]["what_to_do"]


def test_a_sky_that_is_not_taken_off_is_seen(spoiled, tmp_path):
    def brighten(exposure: fits.HDUList) -> None:
        for hdu in science(exposure):
            # 40 electrons in 400 s: 0.1 electrons/s a pixel, 40 in a square arcsec.
            hdu.data += 40.0

    files = spoiled(brighten)
    options, item, made = made_layer(files, tmp_path / "out", skysub=False)
    assert QualityControl(options).check(item, made, 1.0).verdict == "fail"
    check = checks_of(tmp_path / "out")["sky_seams"]
    assert check["verdict"] == "fail"
    differences = [pair["difference"] for pair in check["details"] if pair["second"] == "jsim0201q"]
    levels = [float(np.median(fits.getdata(path, "SCI")[::5, ::5])) / 400.0 / 0.05**2 for path in files]
    for difference, level in zip(differences, levels[:2], strict=True):
        assert difference == pytest.approx(level - levels[2], rel=0.05)


def test_the_same_sky_passes_once_it_is_matched(spoiled, tmp_path):
    def brighten(exposure: fits.HDUList) -> None:
        for hdu in science(exposure):
            hdu.data += 40.0

    assert check_run(spoiled(brighten), tmp_path / "out", tests=False)["sky_seams"]["verdict"] == "pass"


def test_a_blurred_exposure_is_seen(spoiled, tmp_path):
    def blur(exposure: fits.HDUList) -> None:
        for hdu in science(exposure):
            hdu.data = ndimage.gaussian_filter(hdu.data, 0.9)

    check = check_run(spoiled(blur), tmp_path / "out")["psf_members"]
    assert check["verdict"] == "fail"
    widest = max(check["details"], key=lambda row: row["ratio"])
    assert widest["rootname"] == "jsim0201q"
    # A profile of 0.77 pixel (FWHM 0.091 arcsec) convolved with one of 0.9 is 1.5 times as wide.
    assert widest["ratio"] == pytest.approx(math.hypot(0.77, 0.9) / 0.77, rel=0.12)


def test_a_wrong_exposure_time_is_seen_by_its_times_and_by_its_fluxes(spoiled, tmp_path):
    def lengthen(exposure: fits.HDUList) -> None:
        exposure[0].header["EXPTIME"] = 600.0

    checks = check_run(spoiled(lengthen), tmp_path / "out")
    assert checks["exposure_times"]["verdict"] == "fail"
    assert checks["exposure_times"]["value"] == pytest.approx((200.0 - 5.0) / 600.0, rel=1e-3)
    assert checks["flux_scale"]["verdict"] == "fail"
    ratios = [pair["ratio"] for pair in checks["flux_scale"]["details"] if pair["second"] == "jsim0201q"]
    assert ratios == pytest.approx([400.0 / 600.0] * 2, rel=0.02)


def test_weights_that_do_not_follow_the_exposure_time_are_seen(star_exposures, tmp_path):
    _, item, made = made_layer(star_exposures, tmp_path / "out")
    statistics = made.summary.statistics
    for factor, verdict in ((1.0, "pass"), (1.2, "warn"), (0.5, "fail")):
        doctored = dataclasses.replace(statistics, median_weight=factor * statistics.median_weight)
        summary = dataclasses.replace(made.summary, statistics=doctored)
        facts = LayerFacts(item.layer, item.grid, item.parameters, summary, made.product)
        checks = {check.name: check.verdict for check in basic_checks(facts)}
        assert checks["weights"] == verdict


@pytest.mark.parametrize("changes", [{"final_pixfrac": 0.5}, {"final_kernel": "point"}])
def test_small_drops_are_no_wrong_weights(star_exposures, tmp_path, changes):
    _, item, made = made_layer(star_exposures, tmp_path / "out", **changes)
    facts = LayerFacts(item.layer, item.grid, item.parameters, made.summary, made.product)
    checks = {check.name: check for check in basic_checks(facts)}
    assert checks["weights"].value < 0.05


def test_flagged_pixels_and_a_lost_member_are_seen(spoiled, tmp_path):
    def flag(exposure: fits.HDUList) -> None:
        for hdu in exposure:
            if hdu.name == "DQ":
                hdu.data[...] = 1

    checks = check_run(spoiled(flag), tmp_path / "out", tests=False)
    assert checks["members"]["verdict"] == "warn"
    assert checks["members"]["value"] == pytest.approx(1 / 3)
    assert "jsim0201q" in checks["members"]["explanation"]


def test_holes_in_the_mosaic_are_seen(star_exposures, tmp_path):
    one = star_exposures[:2]
    for path in one:
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
        with fits.open(copy, mode="update") as exposure:
            for hdu in exposure:
                if hdu.name == "DQ":
                    hdu.data[:, 200:600] = 1
    checks = check_run(tuple(tmp_path / path.name for path in one), tmp_path / "out", tests=False)
    assert checks["covered_area"]["verdict"] == "fail"
    with fits.open(next((tmp_path / "out").glob("*drc.fits"))) as product:
        filled = np.count_nonzero(product["WHT"].data)
        observed = product[0].header["NPIXFRAC"] * 21954**2
    assert checks["covered_area"]["value"] == pytest.approx(filled / observed, abs=0.01)


def test_unflagged_cosmic_rays_are_counted(spoiled, tmp_path):
    rng = np.random.default_rng(7)
    share = 0.02

    def hit(exposure: fits.HDUList) -> None:
        for hdu in science(exposure):
            hit = rng.random(hdu.data.shape) < share
            hdu.data[hit] += 3000.0

    check = check_run(spoiled(hit), tmp_path / "out")["outliers"]
    assert check["verdict"] == "fail"
    (row,) = [row for row in check["details"] if row["rootname"] == "jsim0201q"]
    # Hits on or beside what the other exposure shows too (stars, its own noise at 2.5 sigma) are not counted.
    assert 0.7 * share < row["share"] < 1.05 * share


def test_a_check_that_breaks_takes_no_mosaic_away(star_exposures, tmp_path, monkeypatch):
    monkeypatch.setattr("multivisit.quality.layer.basic_checks", lambda facts: 1 / 0)
    result = run(RunOptions(inputs=star_exposures[:1], output_folder=tmp_path / "out", previews=False))
    assert result.return_code == 0
    assert result.layers[0].quality == "not run"
    assert "ZeroDivisionError" in (result.layers[0].trailer).read_text()


def test_results_do_not_depend_on_threads(star_exposures, good_run, tmp_path):
    run(
        RunOptions(
            inputs=star_exposures, output_folder=tmp_path, quality_tests=True, previews=False, threads=1
        )
    )
    assert checks_of(tmp_path) == checks_of(good_run)
