"""Simulated exposures whose headers are wrong by known amounts, and the truth about their pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from multivisit.align.alignment import ExposureToAlign, Reference, align_exposures
from multivisit.align.records import Alignment, AlignmentRecord
from multivisit.align.reference import ReferenceCatalog, read_reference_catalog
from multivisit.exposures.model import Exposure, read_exposure
from multivisit.plan.parameters import parameter_set
from multivisit.plan.parameters.alignment import AlignmentParameters
from multivisit.simulate import simulate_field
from multivisit.simulate.geometry import chip_wcs, detector_geometry
from multivisit.simulate.simulator import plan_exposures
from multivisit.simulate.specification import (
    ExposureSpecification,
    FieldSpecification,
    NoiseSpecification,
    SceneSpecification,
    Visit,
)

ACS = ExposureSpecification("acs_wfc", "f606w", 400.0, ((0.0, 0.0), (1.2, 1.3)), subarray=(400, 800))
IR = ExposureSpecification("wfc3_ir", "f160w", 300.0, subarray=(300, 300))

FIELD = FieldSpecification(
    name="wrong headers",
    ra=180.26,
    dec=26.24,
    scene=SceneSpecification(
        radius=34.0, n_stars=500, n_galaxies=10, star_magnitudes=(18.5, 23.5), minimum_separation=0.6
    ),
    visits=(
        Visit("01", "2010-06-11T03:00:00", 40.0, (ACS,), wcs_offset=(3.1, -2.4), wcs_rotation=0.05),
        Visit("02", "2010-06-20T17:30:00", 48.0, (replace(ACS, dithers=((0.0, 0.0),)), IR),
              wcs_offset=(-0.9, 0.35), wcs_rotation=-0.03),
    ),
)  # fmt: skip
"""Two visits of different pointing errors: three exposures with ACS/WFC and one with WFC3/IR."""


@dataclass(frozen=True)
class Case:
    """A simulated field."""

    specification: FieldSpecification
    files: tuple[Path, ...]
    stars: Table

    def exposure(self, rootname: str) -> Exposure:
        return read_exposure(next(path for path in self.files if path.name.startswith(rootname)))

    def exposures(self) -> list[Exposure]:
        return [read_exposure(path) for path in self.files]

    def catalog(self, brightest: int | None = None, name: str = "truth") -> ReferenceCatalog:
        """The true stars; the brightest so many."""
        stars = self.stars[np.argsort(self.stars["magnitude"])][:brightest]
        zero = np.zeros(len(stars))
        return ReferenceCatalog(
            name,
            np.array(stars["ra"]),
            np.array(stars["dec"]),
            zero,
            zero,
            zero + 2016.0,
            np.array(stars["magnitude"]),
        )


def simulate(specification: FieldSpecification, folder: Path) -> Case:
    field = simulate_field(specification, folder)
    truth = Table.read(field.truth_path)
    return Case(specification, tuple(sorted(field.files)), truth[truth["type"] == "star"])


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The field `FIELD`; tests must not change the files."""
    return simulate(FIELD, tmp_path_factory.mktemp("wrong"))


@pytest.fixture(scope="session")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Two exposures with a single faint galaxy and without a star."""
    scene = SceneSpecification(radius=30.0, n_stars=0, n_galaxies=1)
    visit = replace(FIELD.visits[0], exposures=(replace(ACS, subarray=(200, 400)),))
    return simulate(
        replace(FIELD, scene=scene, visits=(visit,), noise=NoiseSpecification()),
        tmp_path_factory.mktemp("sparse"),
    )


def largest_error(specification: FieldSpecification, exposure: Exposure) -> float:
    """Largest distance, in the exposure's pixels, of where it puts its pixels from where they are."""
    (planned,) = [p for p in plan_exposures(specification) if p.identity.rootname == exposure.rootname]
    geometry = detector_geometry(planned.detector.label)
    worst = 0.0
    for chip, truth, window in zip(exposure.chips, geometry.chips, planned.windows, strict=True):
        ny, nx = chip.shape
        x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0, nx - 1, 9), np.linspace(0, ny - 1, 9)))
        ra, dec = chip.wcs().all_pix2world(x, y, 0)
        true_ra, true_dec = chip_wcs(truth, planned.truth, window).all_pix2world(x, y, 0)
        east = (ra - true_ra) * np.cos(np.radians(true_dec)) * 3600.0
        worst = max(worst, float((np.hypot(east, (dec - true_dec) * 3600.0) / chip.nominal_scale).max()))
    return worst


def align(exposures: list[Exposure], *catalogs: ReferenceCatalog, **changes: dict[str, object]) -> Alignment:
    """Align exposures with the usual parameters, or some of a group changed."""
    items = []
    for exposure in exposures:
        usual = parameter_set(exposure.instrument, exposure.detector, exposure.filter_name, 2)
        parameters = usual.alignment
        for group, values in changes.items():
            parameters = parameters.replace(**{group: getattr(parameters, group).replace(**values)})
        items.append(ExposureToAlign(exposure, parameters, usual.astrodrizzle.final_bits or 0))
    return align_exposures(items, [Reference(each.name, each.within) for each in catalogs])


def by_name(alignment: Alignment) -> dict[str, AlignmentRecord]:
    return {record.filename[:9]: record for record in alignment.records}


__all__ = [
    "AlignmentParameters",
    "Case",
    "align",
    "by_name",
    "largest_error",
    "read_reference_catalog",
    "simulate",
]
