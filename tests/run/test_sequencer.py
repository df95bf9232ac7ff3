"""Runs: what is made, what is refused, what fails, and what is left on the disk."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from multivisit.errors import MissingFileError, PollerError, ProductError
from multivisit.plan.poller import generate_poller_file
from multivisit.run import sequencer
from multivisit.run.options import ReturnCode, RunOptions
from multivisit.run.sequencer import plan_run, run

CELL = "skycell-p1889x10y12"


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def poller(tiny_exposures, tmp_path) -> Path:
    path = tmp_path / "poller.csv"
    names = [str(item) for item in tiny_exposures]
    generate_poller_file(names, poller_file_type="mvm", output_poller_filename=path, skycell_name=CELL)
    return path


def test_a_run_makes_each_layer_and_leaves_its_record(poller, tmp_path):
    folder = tmp_path / "out" / "deep"
    result = run(RunOptions(inputs=poller, output_folder=folder))
    assert result.return_code == ReturnCode.SUCCESS
    bases = {
        f"hst_{CELL}_acs_wfc_f606w_all": "drc",
        f"hst_{CELL}_wfc3_ir_f160w_all": "drz",
        f"hst_{CELL}_wfc3_ir_f160w_coarse-all": "drz",
    }
    expected = {f"{CELL}_manifest.txt", f"{CELL}_vetting.ecsv", f"{CELL}_trl.txt"}
    for base, suffix in bases.items():
        expected |= {f"{base}_{suffix}.fits", f"{base}_{suffix}.png", f"{base}_trl.txt"}
        expected |= {f"{base}_point-cat.ecsv", f"{base}_segment-cat.ecsv", f"{base}_quality.json"}
    assert names_in(folder) == expected
    listed = (folder / f"{CELL}_manifest.txt").read_text().split()
    assert set(listed) == {name for name in expected if name.startswith("hst_")}
    for base, suffix in bases.items():
        with fits.open(folder / f"{base}_{suffix}.fits", checksum=True) as product:
            science, weight = product["SCI"].data, product["WHT"].data
            assert np.array_equal(np.isnan(science), weight == 0)
            assert product[0].header["SCELLID"] == "p1889x10y12"
        assert "combining" in (folder / f"{base}_trl.txt").read_text()


def test_the_same_run_gives_the_same_pixels_from_files_and_from_a_poller(poller, tiny_exposures, tmp_path):
    one = run(RunOptions(inputs=poller, output_folder=tmp_path / "one"))
    other = run(RunOptions(inputs=tuple(tiny_exposures), output_folder=tmp_path / "other"))
    for first, second in zip(one.layers, other.layers, strict=True):
        for extension in ("SCI", "WHT"):
            np.testing.assert_array_equal(
                fits.getdata(first.product, extension), fits.getdata(second.product, extension)
            )


def test_a_layer_without_new_exposures_is_left_alone_and_old_ones_join_new_ones(poller, tmp_path):
    lines = poller.read_text().splitlines()
    infrared = [line.replace(",NEW,", ",OLD,") if ",IR," in line else line for line in lines]
    first_wfc = next(number for number, line in enumerate(infrared) if ",WFC," in line)
    infrared[first_wfc] = infrared[first_wfc].replace(",NEW,", ",OLD,")
    poller.write_text("\n".join(infrared) + "\n")
    result = run(RunOptions(inputs=poller, output_folder=tmp_path / "out", previews=False))
    assert result.return_code == ReturnCode.SUCCESS
    status = {layer.name.removeprefix(f"hst_{CELL}_"): layer for layer in result.layers}
    assert status["wfc3_ir_f160w_all"].status == "left alone"
    assert status["wfc3_ir_f160w_coarse-all"].status == "left alone"
    assert status["acs_wfc_f606w_all"].status == "made"
    assert status["acs_wfc_f606w_all"].n_exposures == 2


def test_everything_old_is_no_viable_data(poller, tmp_path):
    poller.write_text(poller.read_text().replace(",NEW,", ",OLD,"))
    result = run(RunOptions(inputs=poller, output_folder=tmp_path / "out"))
    assert result.return_code == ReturnCode.NO_VIABLE_DATA
    assert "OLD" in result.message
    assert (tmp_path / "out" / f"{CELL}_manifest.txt").read_text() == ""


def test_layers_of_one_detector_can_be_trimmed_to_their_own_members(poller):
    common = plan_run(RunOptions(inputs=poller))
    trimmed = plan_run(RunOptions(inputs=poller, trim=True))
    shapes = {item.layer.product_basename: item.grid.shape for item in common.layers}
    own = {item.layer.product_basename: item.grid.shape for item in trimmed.layers}
    fine = [shape for name, shape in shapes.items() if "coarse" not in name]
    assert len(set(fine)) == 1
    assert all(own[name][0] <= shapes[name][0] and own[name][1] <= shapes[name][1] for name in shapes)
    assert own != shapes


def test_published_conditions_choose_by_the_mean_number_of_exposures(tiny_exposures):
    files = tuple(tiny_exposures)
    ours = plan_run(RunOptions(inputs=files))
    published = plan_run(RunOptions(inputs=files, published_conditions=True))
    # Two small subarrays at different rolls hardly overlap: 1.x chips a pixel, rounded to one.
    wfc = [next(p for p in plan.layers if p.layer.detector == "wfc") for plan in (ours, published)]
    assert wfc[0].parameters.skysub
    assert wfc[0].parameters.final_bits != wfc[1].parameters.final_bits
    assert not wfc[1].parameters.skysub


def test_only_small_detectors_left_out_has_its_own_code(real_data, tmp_path):
    files = tuple(sorted((real_data / "hrc_47tuc").glob("*.fits")))
    result = run(RunOptions(inputs=files, output_folder=tmp_path / "out", include_small=False))
    assert result.return_code == ReturnCode.ONLY_SMALL_DETECTORS
    assert result.layers == ()


def test_a_broken_exposure_is_refused_with_its_reason_and_the_others_go_on(tiny_exposures, tmp_path):
    broken = tmp_path / "jsim0909q_flc.fits"
    broken.write_bytes(tiny_exposures[0].read_bytes()[:200_000])
    result = run(RunOptions(inputs=(*tiny_exposures, broken), output_folder=tmp_path / "out", previews=False))
    assert result.return_code == ReturnCode.ERROR
    assert all(layer.status == "made" for layer in result.layers)
    table = Table.read(tmp_path / "out" / f"{CELL}_vetting.ecsv", format="ascii.ecsv")
    refused = {row["filename"]: row["reason"] for row in table if not row["accepted"]}
    assert list(refused) == [str(broken)]
    assert "truncated" in refused[str(broken)].lower() or "bytes" in refused[str(broken)]


def test_a_layer_that_fails_does_not_lose_the_others(tiny_exposures, tmp_path):
    files = []
    for path in tiny_exposures:
        copy = tmp_path / path.name
        shutil.copy(path, copy)
        if "_flc" in path.name:
            with fits.open(copy, mode="update") as file:
                for number in (1, 2):
                    file["DQ", number].data[...] = 4
        files.append(copy)
    result = run(RunOptions(inputs=tuple(files), output_folder=tmp_path / "out", previews=False))
    assert result.return_code == ReturnCode.ERROR
    status = {layer.name.removeprefix(f"hst_{CELL}_"): layer for layer in result.layers}
    assert status["acs_wfc_f606w_all"].status == "failed"
    assert "good pixel" in status["acs_wfc_f606w_all"].reason
    assert status["wfc3_ir_f160w_all"].status == "made"
    assert "good pixel" in (tmp_path / "out" / f"hst_{CELL}_acs_wfc_f606w_all_trl.txt").read_text()
    assert not list((tmp_path / "out").glob("*wfc_f606w*.fits"))


def flagged_copy(path: Path, folder: Path, flag: int) -> Path:
    """Copy an exposure and flag every pixel of it."""
    copy = folder / path.name
    shutil.copy(path, copy)
    with fits.open(copy, mode="update") as file:
        for extension in file:
            if extension.name == "DQ":
                extension.data[...] = flag
    return copy


def test_an_exposure_without_a_good_pixel_adds_neither_time_nor_depth(tiny_exposures, tmp_path):
    infrared = [path for path in tiny_exposures if "_flt" in path.name]
    (tmp_path / "in").mkdir()
    dead = flagged_copy(infrared[0], tmp_path / "in", 4)
    options = {"published_conditions": False, "previews": False}
    whole = run(RunOptions(inputs=tuple(infrared[1:]), output_folder=tmp_path / "whole", **options))
    mixed = run(RunOptions(inputs=(dead, *infrared[1:]), output_folder=tmp_path / "mixed", **options))
    assert whole.return_code == ReturnCode.SUCCESS
    assert mixed.return_code == ReturnCode.ERROR
    assert [record.filename for record in mixed.vetting.refused] == [str(dead)]
    assert "no good pixel" in mixed.vetting.refused[0].reason
    for first, second in zip(whole.layers, mixed.layers, strict=True):
        assert second.n_exposures == first.n_exposures
        headers = [fits.getheader(layer.product) for layer in (first, second)]
        for keyword in ("EXPTIME", "NUMEXP", "EXPSTART", "EXPEND", "MEANEXPT", "MEDEXPT", "MEANNEXP"):
            assert headers[0][keyword] == pytest.approx(headers[1][keyword], rel=2e-2), keyword
        assert headers[0]["EXPTIME"] == headers[1]["EXPTIME"]
        assert headers[0]["NUMEXP"] == headers[1]["NUMEXP"]


def test_a_single_exposure_that_is_flagged_all_over_is_an_error(tiny_exposures, tmp_path):
    dead = flagged_copy(tiny_exposures[0], tmp_path, 4)
    result = run(RunOptions(inputs=(dead,), output_folder=tmp_path / "out"))
    assert result.return_code == ReturnCode.ERROR
    assert result.layers[0].status == "failed"
    assert "good pixel" in result.layers[0].reason


def test_sky_levels_that_could_not_be_compared_are_told(tmp_path):
    from multivisit.simulate import simulate_field
    from multivisit.simulate.specification import (
        ExposureSpecification,
        FieldSpecification,
        SceneSpecification,
        Visit,
    )

    small = ExposureSpecification("wfc3_ir", "f160w", 400.0, subarray=(64, 64))
    field = simulate_field(
        FieldSpecification(
            name="apart",
            ra=180.26,
            dec=26.24,
            visits=(
                Visit("01", "2010-06-11T03:00:00", 40.0, (small,)),
                Visit("02", "2010-07-11T03:00:00", 40.0, (small,), offset=(60.0, 0.0)),
            ),
            scene=SceneSpecification(radius=5.0, n_stars=3, n_galaxies=0),
        ),
        tmp_path / "in",
    )
    result = run(RunOptions(inputs=field.files, output_folder=tmp_path / "out", previews=False))
    assert result.return_code == ReturnCode.SUCCESS
    header = fits.getheader(result.layers[0].product)
    assert header["SKYDONE"] is False
    assert "sky level" in str(header["HISTORY"])
    assert "could not be measured or not be compared" in result.layers[0].trailer.read_text()


def test_an_unforeseen_error_in_one_layer_is_told_with_its_traceback(tiny_exposures, tmp_path, monkeypatch):
    original = sequencer._combine_and_write

    def sometimes(item, *arguments):
        if item.layer.detector == "wfc":
            raise ZeroDivisionError("made up")
        return original(item, *arguments)

    monkeypatch.setattr(sequencer, "_combine_and_write", sometimes)
    result = run(RunOptions(inputs=tuple(tiny_exposures), output_folder=tmp_path / "out", previews=False))
    assert result.return_code == ReturnCode.ERROR
    assert [layer.status for layer in result.layers] == ["failed", "made", "made"]
    trailer = (tmp_path / "out" / f"hst_{CELL}_acs_wfc_f606w_all_trl.txt").read_text()
    assert "Traceback" in trailer
    assert "made up" in trailer


def test_an_interruption_goes_through_and_leaves_nothing_half_written(tiny_exposures, tmp_path, monkeypatch):
    from multivisit.products.fits_stream import FitsStream

    def interrupted(self, *arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(FitsStream, "write_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(RunOptions(inputs=tuple(tiny_exposures), output_folder=tmp_path / "out"))
    assert names_in(tmp_path / "out") == set()


def test_a_full_disk_is_the_published_code_and_leaves_no_half_product(tiny_exposures, tmp_path, monkeypatch):
    from multivisit.products.fits_stream import FitsStream

    def full(self, *arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FitsStream, "write_rows", full)
    result = run(RunOptions(inputs=tuple(tiny_exposures), output_folder=tmp_path / "out"))
    assert result.return_code == ReturnCode.KEYWORD_UPDATE_PROBLEM
    assert all("No space left" in layer.reason for layer in result.layers)
    assert not list((tmp_path / "out").glob("*.fits"))
    assert not [name for name in names_in(tmp_path / "out") if name.startswith(".")]


def test_an_output_folder_that_cannot_be_is_one_clear_error(tiny_exposures, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(ProductError, match="output folder"):
        run(RunOptions(inputs=tuple(tiny_exposures), output_folder=in_the_way / "out"))


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("", PollerError, "empty"),
        ("just,three,columns\n", PollerError, "columns"),
        (None, MissingFileError, "poller.out"),
    ],
)
def test_a_poller_file_that_cannot_be_used_is_one_error_that_names_it(tmp_path, content, error, words):
    path = tmp_path / "poller.out"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=words) as caught:
        run(RunOptions(inputs=path, output_folder=tmp_path / "out"))
    assert str(path) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_inputs_are_not_changed(tiny_exposures, tmp_path):
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tiny_exposures[:2]}
    run(RunOptions(inputs=tuple(before), output_folder=tmp_path / "out", previews=False))
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before


def test_a_preview_that_cannot_be_written_does_not_lose_the_mosaic(tiny_exposures, tmp_path):
    in_the_way = tmp_path / "out" / f"hst_{CELL}_wfc3_ir_f160w_all_drz.png"
    in_the_way.mkdir(parents=True)
    result = run(RunOptions(inputs=tuple(tiny_exposures), output_folder=tmp_path / "out"))
    assert result.return_code == ReturnCode.SUCCESS
    assert all(layer.status == "made" for layer in result.layers)
    listed = (tmp_path / "out" / f"{CELL}_manifest.txt").read_text().split()
    assert f"hst_{CELL}_wfc3_ir_f160w_all_drz.fits" in listed
    assert in_the_way.name not in listed


def test_records_that_cannot_be_written_do_not_lose_the_report(tiny_exposures, tmp_path):
    (tmp_path / "out" / f"{CELL}_vetting.ecsv").mkdir(parents=True)
    result = run(RunOptions(inputs=tuple(tiny_exposures), output_folder=tmp_path / "out", previews=False))
    assert result.return_code == ReturnCode.ERROR
    assert f"{CELL}_vetting.ecsv" in result.message
    assert all(layer.status == "made" for layer in result.layers)
