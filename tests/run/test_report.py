"""Plans and results in words."""

from __future__ import annotations

from pathlib import Path

from multivisit.combine.records import ChipRecord
from multivisit.run.options import RunOptions
from multivisit.run.report import chip_in_words, layers_as_text, options_in_words, result_as_text
from multivisit.run.sequencer import plan_run, run


def record(**changes) -> ChipRecord:
    values = {
        "filename": "jsim0101q_flc.fits",
        "rootname": "jsim0101q",
        "extver": 2,
        "chip_id": 1,
        "exposure_time": 500.0,
        "in_grid": True,
        "sky_level": 0.0125,
        "sky_measured": True,
        "sky_group": 0,
        "n_static": 7,
        "n_good_pixels": 1000,
        "n_used": 900,
    }
    return ChipRecord(**(values | changes))


def test_a_chip_is_told_in_a_sentence():
    sentence = chip_in_words(record())
    for word in ("jsim0101q_flc.fits[SCI,2]", "500 s", "0.0125", "1000 good", "900 of them", "7 left out"):
        assert word in sentence
    assert "sky left alone" in chip_in_words(record(sky_measured=False))
    assert "does not fall" in chip_in_words(record(in_grid=False))


def test_options_are_told_a_line_each():
    lines = options_in_words(
        RunOptions(inputs=(Path("a_flt.fits"), Path("b_flt.fits")), sky_cells=("x", "y"))
    )
    assert lines[:2] == ["input a_flt.fits", "input b_flt.fits"]
    assert "option sky_cells = x, y" in lines


def test_the_same_refusal_in_several_sky_cells_is_told_once(real_data, tmp_path):
    files = tuple(sorted((real_data / "hrc_47tuc").glob("*.fits")))
    options = RunOptions(inputs=files, output_folder=tmp_path / "out", include_small=False)
    plan_text, result_text = layers_as_text(plan_run(options)), result_as_text(run(options))
    for text in (plan_text, result_text):
        assert text.count(f"refused     {files[0]}") == 1
    assert len(plan_run(options).vetting.refused) == 8


def test_a_broken_file_is_named_once(tmp_path):
    empty = tmp_path / "empty_flt.fits"
    empty.touch()
    text = result_as_text(run(RunOptions(inputs=(empty,), output_folder=tmp_path / "out")))
    assert text.splitlines()[0].startswith(f"refused     {empty}: is empty (0 bytes)")
