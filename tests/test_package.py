"""The package as it is installed: its version, what importing it costs, what its wheel carries."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import multivisit

REPOSITORY = Path(__file__).resolve().parents[1]
HEAVY = ("astropy", "scipy", "pydantic", "shapely", "drizzle", "PIL")


def modules_after(code: str) -> set[str]:
    """Names of the top-level modules that a fresh interpreter holds after `code`."""
    report = (
        "import json, sys; print('modules:' + json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout.rpartition("modules:")[2]))


def test_version_is_that_of_the_distribution() -> None:
    assert multivisit.__version__ == importlib.metadata.version("multivisit")
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", multivisit.__version__)


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = modules_after("import multivisit")
    assert "multivisit" in loaded
    assert not loaded.intersection([*HEAVY, "numpy"])


def test_the_help_of_the_command_loads_nothing_heavy() -> None:
    loaded = modules_after(
        "import sys\n"
        "from multivisit.cli import main\n"
        "sys.argv = ['mvm', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
    )
    assert "multivisit" in loaded
    assert not loaded.intersection(HEAVY)


def test_the_wheel_carries_every_data_file(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.pyc")
    shutil.copytree(REPOSITORY / "src", source / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path]
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, source],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("multivisit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        carried = {name for name in archive.namelist() if name.startswith("multivisit/")}
    files = (REPOSITORY / "src" / "multivisit").rglob("*")
    wanted = {
        file.relative_to(REPOSITORY / "src").as_posix()
        for file in files
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert carried == wanted
