"""A small field with enough stars for every check, and ways to spoil one of its exposures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from astropy.io import fits

from multivisit.run.options import RunOptions
from multivisit.run.sequencer import run
from multivisit.simulate import simulate_field
from multivisit.simulate.specification import (
    ExposureSpecification,
    FieldSpecification,
    NoiseSpecification,
    SceneSpecification,
    Visit,
)

FIELD = FieldSpecification(
    name="stars",
    ra=180.26,
    dec=26.24,
    scene=SceneSpecification(
        radius=32.0, n_stars=500, n_galaxies=10, star_magnitudes=(18.5, 23.5), minimum_separation=0.6
    ),
    noise=NoiseSpecification(hot_pixels=False),
    visits=tuple(
        Visit(
            visit,
            date,
            roll,
            (ExposureSpecification("acs_wfc", "f606w", 400.0, dithers, subarray=(400, 800)),),
        )
        for visit, date, roll, dithers in (
            ("01", "2010-06-11T03:00:00", 40.0, ((0.0, 0.0), (1.2, 1.3))),
            ("02", "2013-02-20T17:30:00", 48.0, ((0.0, 0.0),)),
        )
    ),
)
"""Two visits, three exposures that overlap almost wholly; 800 x 800 pixels each."""


@pytest.fixture(scope="session")
def star_exposures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """The exposures; tests must not change the files."""
    return tuple(sorted(simulate_field(FIELD, tmp_path_factory.mktemp("stars")).files))


@pytest.fixture
def spoiled(star_exposures: tuple[Path, ...], tmp_path: Path) -> Callable[..., tuple[Path, ...]]:
    """Copy the exposures and change the last one, which is the only one of its visit."""

    def spoil(change: Callable[[fits.HDUList], None]) -> tuple[Path, ...]:
        copies = [Path(shutil.copy(path, tmp_path)) for path in star_exposures]
        with fits.open(copies[-1], mode="update") as exposure:
            change(exposure)
        return tuple(copies)

    return spoil


@pytest.fixture(scope="session")
def good_run(star_exposures: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a run over the good exposures, with quality tests."""
    folder = tmp_path_factory.mktemp("good")
    assert (
        run(
            RunOptions(phot_mode="none", inputs=star_exposures, output_folder=folder, quality_tests=True)
        ).return_code
        == 0
    )
    return folder
