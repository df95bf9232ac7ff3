"""Files are complete or not there."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from multivisit.atomic import atomic_path
from multivisit.errors import ProductError


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def write_half_and_raise(target: Path, problem: type[BaseException]) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise problem


def test_the_file_appears_under_its_own_name_and_nothing_else_stays(tmp_path: Path) -> None:
    target = tmp_path / "product.fits.gz"
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".fits.gz")
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert names_in(tmp_path) == ["product.fits.gz"]


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, SystemExit])
def test_any_failure_leaves_the_old_file_and_no_temporary(
    tmp_path: Path, problem: type[BaseException]
) -> None:
    target = tmp_path / "table.txt"
    target.write_text("old")
    with pytest.raises(problem):
        write_half_and_raise(target, problem)
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["table.txt"]


def test_a_full_disk_is_a_product_error_that_names_the_file(tmp_path: Path) -> None:
    target = tmp_path / "table.txt"
    with pytest.raises(ProductError, match=r"table\.txt.*No space left"), atomic_path(target):
        raise OSError(28, "No space left on device")
    assert names_in(tmp_path) == []


def test_a_block_that_removes_its_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"table\.txt"), atomic_path(tmp_path / "table.txt") as temporary:
        temporary.unlink()


def test_a_missing_folder_is_a_product_error(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="nowhere"), atomic_path(tmp_path / "nowhere" / "table.txt"):
        pytest.fail("the block must not run")


def test_a_folder_in_place_of_the_file_is_a_product_error(tmp_path: Path) -> None:
    (tmp_path / "table.txt").mkdir()
    with pytest.raises(ProductError, match="folder of this name"), atomic_path(tmp_path / "table.txt"):
        pytest.fail("the block must not run")


def test_a_product_error_of_the_block_passes_unchanged(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"^my own$"), atomic_path(tmp_path / "table.txt"):
        raise ProductError("my own")


def test_permissions_are_those_of_a_new_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("")
    with atomic_path(tmp_path / "atomic.txt") as temporary:
        temporary.write_text("")
    assert stat.S_IMODE((tmp_path / "atomic.txt").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_really_full_device(tmp_path: Path) -> None:
    with (
        pytest.raises(ProductError, match="No space left"),
        atomic_path(tmp_path / "a.txt"),
        Path("/dev/full").open("w") as file,
    ):
        file.write("x")
    assert names_in(tmp_path) == []
