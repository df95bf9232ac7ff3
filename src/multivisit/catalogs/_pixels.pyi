import numpy as np
from numpy.typing import NDArray

def box_statistics(
    science: NDArray[np.float32],
    weight: NDArray[np.float32],
    box: int,
    step: int,
    n_sigma: float,
    iterations: int,
    out: NDArray[np.float64],
) -> None: ...
def connect_runs(runs: NDArray[np.int32], labels: NDArray[np.int32]) -> int: ...
def deblend(
    filtered: NDArray[np.float32],
    labels: NDArray[np.int32],
    label: int,
    least_area: int,
    contrast: float,
    n_levels: float,
    objects: NDArray[np.int32],
) -> int: ...
def filter_band(
    science: NDArray[np.float32],
    weight: NDArray[np.float32],
    levels: NDArray[np.float32],
    noises: NDArray[np.float32],
    across: NDArray[np.float32],
    down: NDArray[np.float32],
    first_knot: float,
    knot_spacing: float,
    subtracted: NDArray[np.float32],
    filtered: NDArray[np.float32] | None,
) -> None: ...
def find_flagged(flags: NDArray[np.int16], mask: int, first_row: int) -> bytes: ...
def find_pixels(
    science: NDArray[np.float32],
    weight: NDArray[np.float32],
    levels: NDArray[np.float32],
    noises: NDArray[np.float32],
    across: NDArray[np.float32],
    down: NDArray[np.float32],
    first_knot: float,
    knot_spacing: float,
    first: int,
    last: int,
    segment: float,
    peak: float,
) -> tuple[bytes, bytes]: ...
def format_rows(values: NDArray[np.float64], decimals: NDArray[np.int32]) -> bytes: ...
def measure_segments(
    values: NDArray[np.float32],
    weight: NDArray[np.float32],
    labels: NDArray[np.int32],
    out: NDArray[np.float64],
) -> None: ...
def measure_surroundings(
    values: NDArray[np.float32],
    weight: NDArray[np.float32],
    positions: NDArray[np.float64],
    radius_1: float,
    radius_2: float,
    inner: float,
    outer: float,
    n_sigma: float,
    iterations: int,
    sigma: float,
    out: NDArray[np.float64],
) -> None: ...
def paint_runs(
    runs: NDArray[np.int32],
    labels: NDArray[np.int32],
    image: NDArray[np.int32],
    row: int,
    column: int,
) -> None: ...
def read_rows(descriptor: int, start: int, stride: int, out: NDArray[np.float32]) -> bool: ...
def refine_positions(
    values: NDArray[np.float32],
    positions: NDArray[np.float64],
    sigma: float,
    reach: float,
) -> None: ...
