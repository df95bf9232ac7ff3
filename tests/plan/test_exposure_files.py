"""Where exposure files are looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from multivisit.errors import MissingFileError
from multivisit.plan.exposure_files import find_exposure_file, locate_exposures
from multivisit.plan.poller import PollerRow


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_the_working_folder_comes_first_then_the_pathname_then_the_tree(tmp_path: Path) -> None:
    name = "jbl70rtvq_flc.fits"
    in_tree = touch(tmp_path / "tree" / "jbl7" / "jbl70rtvq" / name)
    places = {
        "folder": tmp_path / "here",
        "data_path": tmp_path / "tree",
        "pathname": str(tmp_path / "there"),
    }
    assert find_exposure_file(name, **places) == in_tree
    there = touch(tmp_path / "there" / name)
    assert find_exposure_file(name, **places) == there
    here = touch(tmp_path / "here" / name)
    assert find_exposure_file(name, **places) == here


def test_the_pathname_may_be_the_file_itself_under_another_name(tmp_path: Path) -> None:
    path = touch(tmp_path / "other_name.fits")
    assert find_exposure_file("jbl70rtvq_flc.fits", tmp_path, pathname=str(path)) == path


def test_a_relative_pathname_starts_at_the_folder(tmp_path: Path) -> None:
    path = touch(tmp_path / "sub" / "x_flt.fits")
    assert find_exposure_file("x_flt.fits", tmp_path, pathname="sub/x_flt.fits") == path
    assert find_exposure_file("x_flt.fits", tmp_path, pathname="sub") == path


def test_compressed_files_are_found(tmp_path: Path) -> None:
    path = touch(tmp_path / "x_flt.fits.gz")
    assert find_exposure_file("x_flt.fits", tmp_path) == path
    assert find_exposure_file("x_flt.fits.gz", tmp_path) == path


def test_rootnames_find_flc_before_flt(tmp_path: Path) -> None:
    flt = touch(tmp_path / "jbl70rtvq_flt.fits")
    assert find_exposure_file("JBL70RTVQ", tmp_path) == flt
    flc = touch(tmp_path / "jbl70rtvq_flc.fits.gz")
    assert find_exposure_file("jbl70rtvq", tmp_path) == flc


def test_rootnames_are_found_in_the_tree(tmp_path: Path) -> None:
    path = touch(tmp_path / "ib46" / "ib4606c5q" / "ib4606c5q_flt.fits")
    assert find_exposure_file("ib4606c5q", tmp_path / "none", tmp_path) == path
    assert find_exposure_file("ib4606c5q_flt.fits", tmp_path / "none", tmp_path) == path


def test_folders_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "x_flt.fits").mkdir()
    assert find_exposure_file("x_flt.fits", tmp_path) is None


def test_empty_names_are_missing_files(tmp_path: Path) -> None:
    assert find_exposure_file("", tmp_path) is None
    assert find_exposure_file("x_flt.fits", ".", pathname=".") is None
    assert find_exposure_file("a\0b_flt.fits", tmp_path) is None
    with pytest.raises(MissingFileError, match="an empty name: not in the folder"):
        locate_exposures([PollerRow("", pathname=".")], tmp_path)


def test_what_is_no_file_has_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "folder_flt.fits").mkdir()
    (tmp_path / "loop_flt.fits").symlink_to("loop_flt.fits")
    (tmp_path / "link_flt.fits").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe_flt.fits")
    expected = {
        "folder": "is a folder",
        "loop": "is a link that leads back to itself",
        "link": "is a link to a file that is not there",
        "pipe": "is a device or a pipe",
    }
    rows = [PollerRow(f"{name}_flt.fits") for name in expected]
    with pytest.raises(MissingFileError) as error:
        locate_exposures(rows, tmp_path)
    lines = str(error.value).splitlines()
    assert lines[0] == "4 exposure files cannot be read"
    assert [line.strip() for line in lines[1:]] == [
        f"{name}_flt.fits: {words}, expected an exposure file" for name, words in expected.items()
    ]
    with pytest.raises(MissingFileError, match=r"2 exposure files cannot be read\n.*gone.*\n.*is a folder"):
        locate_exposures([rows[0], PollerRow("gone_flt.fits")], tmp_path)


def test_all_missing_files_are_in_one_error(tmp_path: Path) -> None:
    touch(tmp_path / "x_flt.fits")
    rows = [
        PollerRow("x_flt.fits", line_number=1),
        PollerRow("y_flt.fits", line_number=2, pathname="/far"),
        *(PollerRow(f"z{number}_flt.fits") for number in range(30)),
    ]
    with pytest.raises(MissingFileError) as error:
        locate_exposures(rows, tmp_path)
    lines = str(error.value).splitlines()
    assert lines[0] == "31 exposure files missing"
    assert lines[1].strip() == f"y_flt.fits (line 2): not in the folder {tmp_path} and not at /far"
    assert lines[-1].strip() == "... and 11 more"
    assert locate_exposures(rows[:1], tmp_path) == (tmp_path / "x_flt.fits",)
