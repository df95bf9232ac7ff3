"""The small exposure files that the tests of planning use."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_PLANNING = Path(__file__).resolve().parents[1] / "plan" / "conftest.py"


@pytest.fixture
def hubble_file(tmp_path: Path) -> Callable[..., Path]:
    """Write an exposure into the test's folder, by name."""
    specification = importlib.util.spec_from_file_location("small_exposures", _PLANNING)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)

    def write(name: str = "jbl70rtvq_flc.fits", **settings: Any) -> Path:
        return Path(module.write_hubble_file(tmp_path / name, **settings))

    return write
