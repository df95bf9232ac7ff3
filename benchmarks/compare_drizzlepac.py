"""Compare `multivisit` with drizzlepac 3.11 on the same exposures, product by product.

drizzlepac is never a dependency: it lives in a virtual environment of its own::

    python3 -m venv /some/where/drizzlepac-env
    /some/where/drizzlepac-env/bin/pip install drizzlepac==3.11.0
    python -m benchmarks.compare_drizzlepac --drizzlepac-python /some/where/drizzlepac-env/bin/python \
        --field small --work /some/scratch/folder

Both systems get copies of the same simulated exposures and the same poller file. The script prints, for each
layer, whether the products lie on the same pixel grid and how WHT and SCI agree where both have data, 4
pixels from edges; and the wall time and peak memory of each system. It ends with exit code 1 if a limit is
broken.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image, ImageDraw
from scipy import ndimage

from benchmarks.measuring import BenchmarkError, Sample, run_measured

EDGE_PIXELS = 4
WEIGHT_BIAS_LIMIT = 1e-5
WEIGHT_TOLERANCE = 0.005
SCIENCE_NOISE_TOLERANCE = 0.05
SCIENCE_FLUX_TOLERANCE = 0.02
WANTED_FRACTION = 0.995

DRIZZLEPAC_PROGRAM = """
import sys
from drizzlepac import hapmultisequencer
sys.exit(int(hapmultisequencer.run_mvm_processing(sys.argv[1], skip_gaia_alignment=True)))
"""

_OUR_PROGRAM = """
import sys
from multivisit import hapmultisequencer
code = hapmultisequencer.run_mvm_processing(
    sys.argv[1], skip_gaia_alignment=True, log_level=40, published_conditions=True
)
sys.exit(int(code))
"""


@dataclass(frozen=True)
class SystemRun:
    """What one system did."""

    name: str
    sample: Sample
    products: tuple[str, ...]


@dataclass(frozen=True)
class LayerAgreement:
    """How one product agrees."""

    product: str
    grid_offset_pixels: tuple[float, float]
    whole_pixel_offset: bool
    compared_pixels: int
    weight_bias: float
    weight_ratio_of_sums: float
    weight_fraction_within: float
    science_constant: float
    sky_noise: float
    science_fraction_within: float
    passed: bool


def run_system(name: str, python: str, program: str, poller: Path, folder: Path) -> SystemRun:
    """Run one system in its own folder and measure it from outside."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MVM_")}
    log = folder.parent / f"{folder.name}.log"
    sample = run_measured([python, "-c", program, poller.name], folder, log, environment=environment)
    products = tuple(sorted(path.name for path in folder.glob("hst_skycell-*_dr[cz].fits")))
    return SystemRun(name, sample, products)


def prepare_folder(folder: Path, exposures: list[Path], poller: Path) -> Path:
    """Make a fresh folder with copies of the inputs; both systems may write where they run."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for path in [*exposures, poller]:
        shutil.copy(path, folder / path.name)
    return folder / poller.name


def write_poller(exposures: list[Path], path: Path) -> None:
    """Write the poller file that both systems read: all exposures on the sky cell that most of them touch."""
    from multivisit.haputils.cell_utils import get_sky_cells
    from multivisit.haputils.make_poller_files import generate_poller_file

    cells = get_sky_cells([str(exposure) for exposure in exposures])
    name = max(cells, key=lambda cell: (len(cells[cell].members), cell))
    members = sorted(str(member) for member in cells[name].members)
    generate_poller_file(members, poller_file_type="mvm", output_poller_filename=str(path), skycell_name=name)


def common_region(
    theirs: fits.Header, ours: fits.Header
) -> tuple[tuple[slice, slice], tuple[slice, slice], np.ndarray]:
    """Return the slices of both arrays that are the same sky, and the offset of the grids in pixels."""
    offset = np.array([ours[f"CRPIX{axis}"] - theirs[f"CRPIX{axis}"] for axis in (1, 2)])
    shift = np.rint(offset).astype(int)
    slices_theirs, slices_ours = [], []
    for axis in (2, 1):
        step = int(shift[axis - 1])
        start = max(0, -step)
        stop = min(theirs[f"NAXIS{axis}"], ours[f"NAXIS{axis}"] - step)
        slices_theirs.append(slice(start, stop))
        slices_ours.append(slice(start + step, stop + step))
    return tuple(slices_theirs), tuple(slices_ours), offset


def members_of(product: str, exposures: list[Path]) -> list[Path]:
    """Return the exposures whose instrument, detector and filter the product's name carries."""
    from multivisit.exposures.model import read_exposure

    found = []
    for path in exposures:
        exposure = read_exposure(path)
        if f"_{exposure.instrument}_{exposure.detector}_{exposure.filter_name}_" in product:
            found.append(path)
    return found


def near_chip_borders(exposures: list[Path], wcs: WCS, shape: tuple[int, int]) -> np.ndarray:
    """Return where a pixel is within the edge distance of any chip's border, drawn through the exact WCS."""
    from multivisit.exposures.model import read_exposure

    image = Image.new("1", (shape[1], shape[0]), 0)
    draw = ImageDraw.Draw(image)
    for path in exposures:
        for chip in read_exposure(path).chips:
            x, y = wcs.all_world2pix(*chip.outline(points_per_edge=65), 0)
            points = list(zip(x.tolist(), y.tolist(), strict=True))
            draw.line([*points, points[0]], fill=1, width=2 * EDGE_PIXELS + 1)
    return np.array(image)


def compare_layer(theirs_path: Path, ours_path: Path, exposures: list[Path]) -> LayerAgreement:
    """Compare one product of both systems where both have data, away from edges."""
    with fits.open(theirs_path, memmap=False) as theirs, fits.open(ours_path, memmap=False) as ours:
        region_theirs, region_ours, offset = common_region(theirs["SCI"].header, ours["SCI"].header)
        their_weight = theirs["WHT"].data[region_theirs].astype(np.float64)
        our_weight = ours["WHT"].data[region_ours].astype(np.float64)
        their_science = theirs["SCI"].data[region_theirs].astype(np.float64)
        our_science = ours["SCI"].data[region_ours].astype(np.float64)
        borders = near_chip_borders(exposures, WCS(ours["SCI"].header), ours["SCI"].shape)[region_ours]
    both = (their_weight > 0) & (our_weight > 0) & np.isfinite(their_science) & np.isfinite(our_science)
    inside = ndimage.binary_erosion(both, np.ones((3, 3), bool), iterations=EDGE_PIXELS) & ~borders
    weight_ratio = our_weight[inside] / their_weight[inside] - 1.0
    difference = our_science[inside] - their_science[inside]
    constant = float(np.median(difference))
    flux = their_science[inside]
    level = float(np.median(flux))
    noise = 1.4826 * float(np.median(np.abs(flux - level)))
    allowed = SCIENCE_NOISE_TOLERANCE * noise + SCIENCE_FLUX_TOLERANCE * np.abs(flux - level)
    weight_within = float(np.mean(np.abs(weight_ratio) <= WEIGHT_TOLERANCE))
    science_within = float(np.mean(np.abs(difference - constant) <= allowed))
    # Pixels that one system masks and the other does not are counted by the fraction, not by the bias.
    bias = float(np.mean(weight_ratio[np.abs(weight_ratio) <= WEIGHT_TOLERANCE]))
    whole = bool(np.all(np.abs(offset - np.rint(offset)) < 1e-6))
    passed = (
        whole
        and abs(bias) <= WEIGHT_BIAS_LIMIT
        and weight_within >= WANTED_FRACTION
        and science_within >= WANTED_FRACTION
    )
    return LayerAgreement(
        theirs_path.name,
        (float(offset[0]), float(offset[1])),
        whole,
        int(inside.sum()),
        bias,
        float(our_weight[inside].sum() / their_weight[inside].sum() - 1.0),
        weight_within,
        constant,
        noise,
        science_within,
        passed,
    )


def print_report(runs: list[SystemRun], agreements: list[LayerAgreement], missing: list[str]) -> None:
    """Print the comparison as a table."""
    for run in runs:
        print(
            f"{run.name:12s} {run.sample.wall_seconds:7.1f} s wall, "
            f"{run.sample.peak_rss_bytes / 2**20:7.0f} MiB peak, {len(run.products)} products"
        )
    theirs, ours = (run.sample.wall_seconds for run in runs)
    print(f"speed: {theirs / ours:.1f} times drizzlepac (wall, same run)")
    for name in missing:
        print(f"made by one system alone: {name}")
    for item in agreements:
        print(f"{item.product}")
        print(f"    grid offset {item.grid_offset_pixels} (whole pixels: {item.whole_pixel_offset})")
        print(
            f"    {item.compared_pixels} pixels; WHT within 0.5 %: "
            f"{100 * item.weight_fraction_within:.3f} %, bias of these {item.weight_bias:+.1e}, "
            f"ratio of the sums of all {item.weight_ratio_of_sums:+.1e}"
        )
        print(
            f"    SCI constant {item.science_constant:+.4g}, sky noise {item.sky_noise:.3g}, "
            f"within 5 % of it + 2 % of the flux: {100 * item.science_fraction_within:.3f} %   "
            f"{'ok' if item.passed else 'BROKEN'}"
        )


def main() -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--drizzlepac-python", required=True, help="python of the environment that has drizzlepac"
    )
    parser.add_argument("--field", default="small", help="ready-made simulated field (small, eighteen, ...)")
    parser.add_argument(
        "--exposures", type=Path, help="folder with exposures to use instead of a simulated field"
    )
    parser.add_argument("--work", type=Path, required=True, help="scratch folder")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    source = arguments.exposures
    if source is None:
        from multivisit.simulate import run_simulation

        source = work / f"exposures_{arguments.field}"
        if not source.exists():
            run_simulation(arguments.field, source)
    exposures = sorted(source.resolve().glob("*_fl[ct].fits"))
    poller = work / "comparison_poller.out"
    write_poller(exposures, poller)
    theirs_folder, ours_folder = work / "drizzlepac", work / "multivisit"
    theirs_poller = prepare_folder(theirs_folder, exposures, poller)
    ours_poller = prepare_folder(ours_folder, exposures, poller)
    python = arguments.drizzlepac_python
    try:
        runs = [
            run_system("drizzlepac", python, DRIZZLEPAC_PROGRAM, theirs_poller, theirs_folder),
            run_system("multivisit", sys.executable, _OUR_PROGRAM, ours_poller, ours_folder),
        ]
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    common = sorted(set(runs[0].products) & set(runs[1].products))
    missing = sorted(set(runs[0].products) ^ set(runs[1].products))
    agreements = [
        compare_layer(theirs_folder / name, ours_folder / name, members_of(name, exposures))
        for name in common
    ]
    print_report(runs, agreements, missing)
    if arguments.json:
        record = {"runs": [asdict(run) for run in runs], "layers": [asdict(item) for item in agreements]}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if common and not missing and all(item.passed for item in agreements) else 1


if __name__ == "__main__":
    sys.exit(main())
