import numpy as np
from numpy.typing import NDArray

def clip(
    science: NDArray[np.float32],
    good: NDArray[np.bool_],
    rows: int,
    columns: int,
    step: int,
    n_clips: int,
    sigma: float,
    values: NDArray[np.float32],
) -> tuple[int, float, float, float, float]: ...
def histogram(
    values: NDArray[np.float32],
    n: int,
    low: float,
    high: float,
    edges: NDArray[np.float64],
    n_bins: int,
    counts: NDArray[np.int64],
) -> None: ...
def find_low(
    science: NDArray[np.float32],
    good: NDArray[np.bool_],
    n: int,
    limit: float,
    places: NDArray[np.int64],
    room: int,
) -> tuple[int, int]: ...
def local_levels(
    science: NDArray[np.float32],
    usable: NDArray[np.bool_],
    width: int,
    rows: int,
    columns: int,
    block: int,
    level: NDArray[np.float64],
    per_level: int,
    differences: NDArray[np.float64],
) -> int: ...
def median(values: NDArray[np.float64], n: int, deviation: bool) -> float: ...
def add_blocks(
    science: NDArray[np.float32],
    usable: NDArray[np.bool_],
    width: int,
    rows: int,
    columns: int,
    block: int,
    level: NDArray[np.float64],
    per_level: int,
    limit: float,
    row_places: NDArray[np.float64],
    n_row_places: int,
    column_places: NDArray[np.float64],
    n_column_places: int,
    positions: NDArray[np.float64],
    start: tuple[float, float],
    spacing: float,
    first: tuple[float, float],
    node_rows: int,
    node_columns: int,
    sums: NDArray[np.float64],
) -> None: ...
