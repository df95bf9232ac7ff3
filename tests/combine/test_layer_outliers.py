"""Outlier rejection of whole layers, against the simulation's truth about cosmic rays and stars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from multivisit.combine.mosaic import combine_strips, prepare_layer
from multivisit.exposures.model import read_exposure
from multivisit.plan.parameters import CombinationParameters, parameter_set
from multivisit.simulate import (
    ExposureSpecification,
    FieldSpecification,
    NoiseSpecification,
    SceneSpecification,
    Visit,
    simulate_field,
)
from multivisit.sky.cells import SkyCell
from multivisit.sky.footprint import bounding_grid

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from multivisit.combine.placement import PreparedChip
    from multivisit.exposures.model import Exposure
    from multivisit.sky.grid import OutputGrid

_CELL = "skycell-p1889x10y12"
_STEPS = {"driz_separate": True, "median": True, "blot": True, "driz_cr": True}
_DITHERS = ((0.0, 0.0), (2.49, 2.51), (-2.53, 5.02), (-5.01, 2.48))


@dataclass(frozen=True)
class Case:
    """Simulated exposures and where they fall."""

    folder: Path
    exposures: tuple[Exposure, ...]
    grid: OutputGrid

    def parameters(self, **changes: Any) -> CombinationParameters:
        """Parameters with rejection on."""
        first = self.exposures[0]
        names = (first.instrument, first.detector, first.filter_name)
        return parameter_set(*names, len(self.exposures)).astrodrizzle.replace(
            **_STEPS, driz_sep_bits="80", **changes
        )


def _case(folder: Path, visits: tuple[Visit, ...], **noise: Any) -> Case:
    field = FieldSpecification(
        "rays",
        180.26,
        26.24,
        visits,
        scene=SceneSpecification(radius=40.0, n_stars=500, n_galaxies=60),
        noise=NoiseSpecification(unflagged_cosmic_rays=1.0, **noise),
        seed=3,
    )
    made = simulate_field(field, folder, cosmic_ray_truth=True)
    exposures = tuple(read_exposure(path) for path in made.files)
    outlines = [chip.outline() for exposure in exposures for chip in exposure.chips]
    grid = bounding_grid(SkyCell.from_name(_CELL, scale="fine"), outlines)
    assert grid is not None
    return Case(folder, exposures, grid)


@pytest.fixture(scope="module")
def rays(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Four exposures of ACS/WFC in two visits; no ray is flagged."""
    visits = tuple(
        Visit(
            name,
            date,
            roll,
            (ExposureSpecification("acs_wfc", "f606w", 500.0, _DITHERS[:2], subarray=(500, 700)),),
        )
        for name, date, roll in (("01", "2010-06-11T03:00:00", 40.0), ("02", "2013-02-20T17:30:00", 131.0))
    )
    return _case(tmp_path_factory.mktemp("rays"), visits)


def _masks(
    case: Case, parameters: CombinationParameters, **options: Any
) -> dict[tuple[str, int], NDArray[np.bool_]]:
    found: dict[tuple[str, int], NDArray[np.bool_]] = {}

    def take(item: PreparedChip, model: NDArray[np.float32], hit: NDArray[np.bool_]) -> None:
        found[item.chip.rootname, item.chip.extver] = hit.copy()

    layer = prepare_layer(case.exposures, case.grid, parameters)
    combine_strips(layer, parameters, _Nothing(case.grid.shape), on_tested=take, **options)
    return found


class _Nothing:
    """Keeps the weights alone."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.weight = np.zeros(shape, dtype=np.float32)

    def write_rows(self, first_row: int, science: Any, weight: NDArray[np.float32], context: Any) -> None:
        self.weight[first_row : first_row + len(weight)] = weight

    def write_error(self, first_row: int, error: Any) -> None:
        raise AssertionError("nobody asked for errors")

    def read_weight(self, first_row: int, last_row: int) -> NDArray[np.float32]:
        return self.weight[first_row:last_row]


def _depth(case: Case, chip: Any, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.int64]:
    """Count the exposures with a good pixel where given pixels of a chip are, by their WCS."""
    ra, dec = chip.wcs().all_pix2world(columns, rows, 0)
    depth = np.zeros(len(rows), dtype=np.int64)
    for exposure in case.exposures:
        seen = np.zeros(len(rows), dtype=bool)
        for other in exposure.chips:
            x, y = np.rint(other.wcs().all_world2pix(ra, dec, 0, quiet=True)).astype(int)
            inside = (x >= 2) & (y >= 2) & (x < other.shape[1] - 2) & (y < other.shape[0] - 2)
            good = (other.read_data_quality() & ~80) == 0
            seen[inside] |= good[y[inside], x[inside]]
        depth += seen
    return depth


def _rates(case: Case, masks: dict[tuple[str, int], NDArray[np.bool_]]) -> tuple[float, float, int, int]:
    """Give the shares of strong rays' pixels found and of star cores' pixels hit, and their numbers."""
    catalog = Table.read(case.folder / "truth_catalog.ecsv")
    stars = catalog[catalog["half_light_radius"] == 0.0]
    found = n_rays = touched = n_cores = 0
    for exposure in case.exposures:
        for chip in exposure.chips:
            truth = fits.getdata(case.folder / f"{exposure.rootname}_rays.fits", ("RAYS", chip.extver))
            error = fits.getdata(exposure.path, ("ERR", chip.extver))
            hit = masks[exposure.rootname, chip.extver]
            good = (chip.read_data_quality() & ~80) == 0
            # The simulated errors hold the rays' own noise; sigma is that of the pixel without them.
            sigma = np.sqrt(np.maximum(error**2 - truth, 1.0))
            strong = np.nonzero((truth > 10.0 * sigma) & good)
            deep = _depth(case, chip, *strong) >= 3
            found += np.count_nonzero(hit[strong][deep])
            n_rays += np.count_nonzero(deep)
            x, y = np.rint(chip.wcs().all_world2pix(stars["ra"], stars["dec"], 0, quiet=True)).astype(int)
            core = np.zeros(chip.shape, dtype=bool)
            for i, j in zip(x, y, strict=True):
                if 1 <= i < chip.shape[1] - 1 and 1 <= j < chip.shape[0] - 1:
                    core[j - 1 : j + 2, i - 1 : i + 2] = True
            places = np.nonzero(core & (truth == 0) & good)
            deep = _depth(case, chip, *places) >= 3
            touched += np.count_nonzero(hit[places][deep])
            n_cores += np.count_nonzero(deep)
    return found / n_rays, touched / n_cores, n_rays, n_cores


def test_strong_rays_are_found_and_stars_left_alone(rays: Case) -> None:
    masks = _masks(rays, rays.parameters(combine_type="median", combine_nhigh=1))
    found, touched, n_rays, n_cores = _rates(rays, masks)
    assert n_rays > 5000
    assert n_cores > 2000
    assert found > 0.99
    assert touched < 0.001


def test_three_exposures_are_enough(rays: Case) -> None:
    three = Case(rays.folder, rays.exposures[:3], rays.grid)
    found, touched, n_rays, n_cores = _rates(three, _masks(three, three.parameters(combine_type="median")))
    assert n_rays > 2000
    assert n_cores > 1500
    assert found > 0.99
    assert touched < 0.001
