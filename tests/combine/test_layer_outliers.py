"""Outlier rejection of whole layers, against the simulation's truth about cosmic rays and stars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from multivisit.combine.layer_outliers import chip_read_noise, rejection_rule
from multivisit.combine.mosaic import combine_layer, combine_strips, prepare_layer
from multivisit.errors import ParameterError
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
    from multivisit.combine.records import LayerMosaic
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
        bits = {"wfc3_ir": "784"}.get(f"{first.instrument}_{first.detector}", "336")
        return parameter_set(*names, len(self.exposures)).astrodrizzle.replace(
            **{**_STEPS, "driz_sep_bits": bits, **changes}
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


def _two_visits(folder: Path, *arguments: Any, cosmic_rays: float = 1.0, **options: Any) -> Case:
    """Exposures of two visits at two rolls; no ray is flagged."""
    visits = tuple(
        Visit(name, date, roll, (ExposureSpecification(*arguments, **options),))
        for name, date, roll in (("01", "2010-06-11T03:00:00", 40.0), ("02", "2013-02-20T17:30:00", 131.0))
    )
    return _case(folder, visits, cosmic_rays=cosmic_rays)


@pytest.fixture(scope="module")
def rays(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Four exposures of ACS/WFC."""
    folder = tmp_path_factory.mktemp("rays")
    return _two_visits(folder, "acs_wfc", "f606w", 500.0, _DITHERS[:2], subarray=(500, 700))


@pytest.fixture(scope="module")
def ultraviolet_rays(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Eight exposures of WFC3/UVIS."""
    folder = tmp_path_factory.mktemp("uvis")
    return _two_visits(folder, "wfc3_uvis", "f606w", 500.0, _DITHERS, subarray=(400, 500))


@pytest.fixture(scope="module")
def infrared_rays(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Four exposures of WFC3/IR; its ramps leave few rays, so that there are ten times the usual number."""
    folder = tmp_path_factory.mktemp("ir")
    return _two_visits(folder, "wfc3_ir", "f160w", 500.0, _DITHERS[:2], cosmic_rays=10.0)


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
            # The simulated errors hold the rays' own noise; sigma is that of the pixel without them. Files of
            # rates hold electrons divided by the time.
            unit = exposure.exposure_time if chip.header["BUNIT"].endswith("/S") else 1.0
            sigma = np.sqrt(np.maximum((error * unit) ** 2 - truth * unit, 1.0))
            strong = np.nonzero((truth * unit > 10.0 * sigma) & good)
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


@pytest.mark.parametrize("combine_type", ["median", "minmed"])
@pytest.mark.parametrize(
    ("name", "n_high", "least"),
    [("rays", 1, (10000, 2500)), ("ultraviolet_rays", 2, (15000, 3000)), ("infrared_rays", 1, (7000, 15000))],
)
def test_strong_rays_are_found_and_stars_left_alone(
    name: str, n_high: int, least: tuple[int, int], combine_type: str, request: pytest.FixtureRequest
) -> None:
    case = request.getfixturevalue(name)
    masks = _masks(case, case.parameters(combine_type=combine_type, combine_nhigh=n_high))
    found, touched, n_rays, n_cores = _rates(case, masks)
    assert n_rays > least[0]
    assert n_cores > least[1]
    assert found > 0.99
    assert touched < 0.001


def test_it_is_told_that_the_median_lacks_full_pixels(rays: Case, caplog: pytest.LogCaptureFixture) -> None:
    few = Case(rays.folder, rays.exposures[:1], rays.grid)
    _masks(few, few.parameters(driz_sep_bits="80"))
    assert "driz_sep_bits: found 80" in caplog.text
    assert "Use 336" in caplog.text
    caplog.clear()
    _masks(few, few.parameters())
    assert "driz_sep_bits" not in caplog.text


def test_three_exposures_are_enough(rays: Case) -> None:
    three = Case(rays.folder, rays.exposures[:3], rays.grid)
    found, touched, n_rays, n_cores = _rates(three, _masks(three, three.parameters(combine_type="median")))
    assert n_rays > 2000
    assert n_cores > 1500
    assert found > 0.99
    assert touched < 0.001


def test_masks_do_not_depend_on_threads_or_memory(rays: Case) -> None:
    parameters = rays.parameters(combine_type="minmed")
    one = _masks(rays, parameters)
    several = _masks(rays, parameters, threads=3, memory=150 << 20)
    assert one.keys() == several.keys()
    for key, mask in one.items():
        np.testing.assert_array_equal(several[key], mask)


def _combine(case: Case, parameters: CombinationParameters, **options: Any) -> LayerMosaic:
    return combine_layer(case.exposures, case.grid, parameters, **options)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Four exposures of different times; no cosmic rays, hot or bad pixels."""
    visits = tuple(
        Visit(
            name,
            date,
            roll,
            tuple(
                ExposureSpecification(
                    "acs_wfc", "f606w", time, (dither,), subarray=(200, 300), sky_levels=(sky,)
                )
                for time, dither, sky in ((300.0, _DITHERS[0], 0.05), (700.0, _DITHERS[1], 0.11))
            ),
        )
        for name, date, roll in (("01", "2010-06-11T03:00:00", 40.0), ("02", "2013-02-20T17:30:00", 40.0))
    )
    return _case(
        tmp_path_factory.mktemp("clean"),
        visits,
        cosmic_rays=0.0,
        hot_pixels=False,
        bad_pixels=False,
        saturation=False,
    )


def _plain(case: Case, **changes: Any) -> CombinationParameters:
    return case.parameters(static=False, skymethod="localmin").replace(driz_cr=False, **changes)


def _inside(mosaic: LayerMosaic, share: float = 0.7) -> NDArray[np.bool_]:
    """Pixels that are covered by all."""
    return mosaic.weight > share * mosaic.weight.max()


@pytest.mark.parametrize("kind", ["IVM", "ERR"])
def test_weights_are_inverse_variances_of_the_mosaic(clean: Case, kind: str) -> None:
    parameters = _plain(clean, final_wht_type=kind, final_kernel="point")
    mosaic = _combine(clean, parameters)
    deep = _inside(mosaic)
    # With the kernel `point` pixels are independent: the scatter about the sky, in units of what WHT says.
    sky = np.median(mosaic.science[deep])
    pulls = (mosaic.science[deep] - sky) * np.sqrt(mosaic.weight[deep])
    spread = 0.5 * (np.percentile(pulls, 84.13) - np.percentile(pulls, 15.87))
    # Faint sources widen it, which ERR knows of and IVM does not.
    assert 0.97 < spread < (1.05 if kind == "ERR" else 1.25)
    assert mosaic.science.shape == mosaic.weight.shape == clean.grid.shape


def test_inverse_variance_weights_follow_time_sky_and_read_noise(clean: Case) -> None:
    for exposure, time, sky in zip(clean.exposures, (300.0, 700.0), (0.05, 0.11), strict=False):
        one = Case(clean.folder, (exposure,), clean.grid)
        mosaic = _combine(one, _plain(one, final_wht_type="IVM", final_kernel="point"))
        chip = exposure.chips[0]
        read_noise = chip_read_noise(exposure, chip, _plain(one))
        variance = (sky * time + float(chip.header["MEANDARK"]) + read_noise**2) / time**2
        # A pixel that no other shares, in the units of an output pixel.
        expected = 1.0 / (variance * (clean.grid.scale / 0.05) ** 4)
        assert np.median(mosaic.weight[mosaic.weight > 0]) == pytest.approx(expected, rel=0.02)


def test_error_planes_tell_the_scatter(clean: Case) -> None:
    mosaic = _combine(clean, _plain(clean, final_kernel="point"), error_plane=True)
    assert mosaic.error is not None
    np.testing.assert_array_equal(np.isnan(mosaic.error), mosaic.weight == 0)
    deep = _inside(mosaic)
    pulls = (mosaic.science[deep] - np.median(mosaic.science[deep])) / mosaic.error[deep]
    spread = 0.5 * (np.percentile(pulls, 84.13) - np.percentile(pulls, 15.87))
    assert 0.97 < spread < 1.05


def test_error_planes_are_in_the_units_of_the_mosaic(clean: Case) -> None:
    rate = _combine(clean, _plain(clean), error_plane=True)
    counts = _combine(clean, _plain(clean, final_units="counts"), error_plane=True)
    assert rate.error is not None
    assert counts.error is not None
    np.testing.assert_allclose(counts.error, rate.error * np.float32(2000.0), rtol=1e-5)


def test_reset_flags_are_no_flags(clean: Case, tmp_path: Path) -> None:
    path = tmp_path / clean.exposures[0].filename
    path.write_bytes(clean.exposures[0].path.read_bytes())
    with fits.open(path, mode="update") as file:
        file["DQ", 1].data[50:100, 50:100] = 4096
    one = Case(tmp_path, (read_exposure(path),), clean.grid)
    kept, reset = (
        _combine(one, _plain(one, final_bits="0", resetbits=bits)).chips[0].n_good_pixels
        for bits in (0, 4096)
    )
    assert reset - kept == 2500


def test_sky_files_set_the_levels(clean: Case, tmp_path: Path) -> None:
    path = tmp_path / "sky.txt"
    path.write_text("".join(f"{e.filename} {10.0 * k}\n" for k, e in enumerate(clean.exposures, start=1)))
    mosaic = _combine(clean, _plain(clean, skyfile=str(path)))
    levels = [chip.sky_level * chip.exposure_time for chip in mosaic.chips]
    assert levels == pytest.approx([10.0, 10.0, 20.0, 20.0, 30.0, 30.0, 40.0, 40.0])


def test_steps_that_are_needed_are_named() -> None:
    with pytest.raises(ParameterError, match="driz_separate and blot off"):
        rejection_rule(CombinationParameters(driz_cr=True, median=True))
    assert rejection_rule(CombinationParameters(driz_separate=True, median=True, blot=True)) is None


@pytest.mark.parametrize("text", ["five", "-1", "nan"])
def test_read_noise_must_be_a_number(text: str) -> None:
    with pytest.raises(ParameterError, match="rdnoise"):
        chip_read_noise(None, None, CombinationParameters(rdnoise=text))  # type: ignore[arg-type]
