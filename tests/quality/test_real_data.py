"""The checks of real exposures: two of 47 Tucanae, of which is known what is wrong with them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from multivisit.run.options import RunOptions
from multivisit.run.sequencer import run


@pytest.fixture(scope="module")
def checks(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The checks of the pair's mosaic, by name."""
    folder = tmp_path_factory.mktemp("real")
    files = tuple(sorted((real_data / "hrc_47tuc").glob("*.fits")))
    options = RunOptions(
        phot_mode="none",
        inputs=files,
        output_folder=folder,
        quality_tests=True,
        previews=False,
        sky_cells=("skycell-p0046x03y19",),
    )
    assert run(options).return_code == 0
    (path,) = folder.glob("*_quality.json")
    return {check["name"]: check for check in json.loads(path.read_text())["checks"]}


def test_nothing_that_is_well_is_warned_of(checks: dict[str, dict[str, Any]]) -> None:
    assert {name for name, check in checks.items() if check["verdict"] != "pass"} == {"relative_offsets"}


def test_weights_follow_the_true_area_of_the_pixels(checks: dict[str, dict[str, Any]]) -> None:
    """ACS/HRC pixels are rhombi of 0.0284 by 0.0248 arcsec, not squares of 0.025."""
    assert checks["weights"]["value"] < 0.01


def test_the_offset_between_the_exposures_is_seen(checks: dict[str, dict[str, Any]]) -> None:
    """By stars measured in the exposures themselves the second lies (-0.15, 0.57) pixels off, scatter 0.1."""
    (row,) = checks["relative_offsets"]["details"]
    expected = math.hypot(0.15 * 28.4, 0.57 * 24.8)
    assert math.hypot(row["east_mas"], row["north_mas"]) == pytest.approx(expected, abs=2.5)
    assert checks["relative_offsets"]["verdict"] == "warn"


def test_the_missing_flat_is_seen_in_the_fluxes(checks: dict[str, dict[str, Any]]) -> None:
    """Over the whole frame the second exposure is about 8 % low."""
    (row,) = checks["flux_scale"]["details"]
    assert 0.90 < row["ratio"] < 0.96
