"""A simulated field with isolated stars, its mosaics and their catalogs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from astropy.table import Table

from multivisit.run.options import RunOptions
from multivisit.run.sequencer import plan_run, run
from multivisit.simulate import simulate_field
from multivisit.simulate.specification import (
    ExposureSpecification,
    FieldSpecification,
    NoiseSpecification,
    SceneSpecification,
    Visit,
)

DITHERS = ((0.0, 0.0), (2.49, 2.51))


class Field(NamedTuple):
    """A field, what a run made of it, and what was planned."""

    truth: Table
    folder: Path
    files: tuple[Path, ...]
    layers: dict[str, Any]
    plan: dict[str, Any]

    def catalog(self, layer: str, kind: str) -> Table:
        name = next(item.name for key, item in self.layers.items() if key.endswith(layer))
        return Table.read(self.folder / f"{name}_{kind}-cat.ecsv", format="ascii.ecsv")


@pytest.fixture(scope="session")
def stars(tmp_path_factory) -> Field:
    """Two visits at different rolls: isolated stars on a noisy sky, all cosmic rays flagged."""
    folder = tmp_path_factory.mktemp("stars")
    exposures = (
        ExposureSpecification("acs_wfc", "f606w", 500.0, DITHERS, subarray=(900, 1300)),
        ExposureSpecification("wfc3_ir", "f160w", 400.0, DITHERS, subarray=(256, 256)),
    )
    field = simulate_field(
        FieldSpecification(
            name="isolated stars",
            ra=180.26,
            dec=26.24,
            visits=(
                Visit("01", "2004-06-11T03:00:00", 40.0, exposures),
                Visit("02", "2006-02-20T17:30:00", 131.0, exposures),
            ),
            scene=SceneSpecification(
                radius=30.0, n_stars=420, n_galaxies=0, star_magnitudes=(20.0, 28.2), minimum_separation=1.8
            ),
            noise=NoiseSpecification(unflagged_cosmic_rays=0.0),
        ),
        folder / "exposures",
    )
    options = RunOptions(
        inputs=field.files, output_folder=folder / "mosaics", previews=False, threads=2, trim=True
    )
    result = run(options)
    assert result.return_code == 0
    plan = {item.layer.product_basename: item for item in plan_run(options).layers}
    return Field(
        Table.read(field.truth_path, format="ascii.ecsv"),
        folder / "mosaics",
        field.files,
        {item.name: item for item in result.layers},
        plan,
    )
