"""What all tests share: the real data, the hypothesis profile, and a working folder that must stay empty."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[1]

# On a busy machine a slow example is no failure; in continuous integration every run tries the same examples.
settings.register_profile("multivisit", deadline=None, print_blob=True)
settings.register_profile(
    "multivisit-ci", settings.get_profile("multivisit"), derandomize=True, database=None
)
settings.load_profile("multivisit-ci" if os.environ.get("CI") else "multivisit")


@pytest.fixture(scope="session")
def real_data(request: pytest.FixtureRequest) -> Path:
    """The folder of real data: ``MULTIVISIT_REAL_DATA``, else ``shared/real`` beside the repository."""
    named = os.environ.get("MULTIVISIT_REAL_DATA")
    folder = request.config.invocation_params.dir / named if named else REPOSITORY.parent / "shared" / "real"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: name their folder in the variable MULTIVISIT_REAL_DATA")
    return folder.resolve()


@pytest.fixture(scope="session", autouse=True)
def working_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder that every test has as its working folder."""
    folder = tmp_path_factory.mktemp("working_folder")
    with contextlib.chdir(folder):
        yield folder


@pytest.fixture(autouse=True)
def _nothing_lands_in_the_working_folder(working_folder: Path) -> Iterator[None]:
    """Fail a test that changed the working folder or left something there."""
    yield
    stayed = Path().exists() and Path().samefile(working_folder)
    os.chdir(working_folder)
    landed = sorted(working_folder.iterdir())
    for path in landed:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    assert stayed, "the test left the process in another working folder"
    assert not landed, f"the test left files in the working folder: {[path.name for path in landed]}"


@pytest.fixture(scope="session")
def tiny_exposures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Simulated exposures of the ready-made field `tiny`; tests must not change the files."""
    from multivisit.simulate import run_simulation

    return run_simulation("tiny", tmp_path_factory.mktemp("tiny")).files
