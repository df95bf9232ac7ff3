"""Files are complete or not there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
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


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "table.txt"
    if kind == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to("/dev/null")
    with pytest.raises(ProductError, match=r"table\.txt.*a device or a pipe"), atomic_path(target):
        pytest.fail("the block must not run")
    assert names_in(tmp_path) == ["table.txt"]
    assert not target.is_file()


def test_a_link_to_a_file_is_replaced(tmp_path: Path) -> None:
    old, target = tmp_path / "old.txt", tmp_path / "table.txt"
    old.write_text("old")
    target.symlink_to(old)
    with atomic_path(target) as temporary:
        temporary.write_text("new")
    assert (old.read_text(), target.read_text()) == ("old", "new")


@pytest.mark.parametrize("when", ["open", "close"])
def test_an_interrupt_while_the_file_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    real = getattr(os, when)

    def interrupted(*arguments: object) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, when, interrupted)
        with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "table.txt"):
            pytest.fail("the block must not run")
    assert names_in(tmp_path) == []


KILLED = """
import os, signal, sys
from multivisit.atomic import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_leaves_is_removed_by_the_next_one(tmp_path: Path) -> None:
    target = tmp_path / "product.fits.gz"
    for name in (target, tmp_path / "product.txt"):
        subprocess.run([sys.executable, "-c", KILLED, str(name)], check=False, timeout=60)
    leftovers = names_in(tmp_path)
    assert len(leftovers) == 2
    with atomic_path(tmp_path / "other.fits.gz"):
        pass
    assert set(leftovers) < set(names_in(tmp_path))
    with atomic_path(target), atomic_path(target):
        # Files of running processes stay, those of this one too; so do those of other targets.
        assert len(names_in(tmp_path)) == 4
    (left,) = (name for name in names_in(tmp_path) if name.startswith("."))
    assert left in leftovers
    assert left.endswith(".txt")


def test_leftovers_of_other_machines_stay(tmp_path: Path) -> None:
    elsewhere = tmp_path / ".table.00000000-999999999-01234567.txt"
    elsewhere.touch()
    with atomic_path(tmp_path / "table.txt"):
        pass
    assert elsewhere.exists()
