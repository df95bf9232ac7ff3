from typing import Any

import numpy as np
from numpy.typing import NDArray

def decode(raw: NDArray[Any], n: int, factor: float, science: NDArray[np.float32]) -> None: ...
def mark(
    science: NDArray[np.float32],
    flags: NDArray[Any],
    n: int,
    bad: int,
    low: float,
    high: float,
    good: NDArray[np.bool_],
) -> int: ...
def count_unflagged(flags: NDArray[Any], n: int) -> int: ...
def find_low(
    science: NDArray[np.float32], good: NDArray[np.bool_], n: int, limit: float, low: NDArray[np.bool_]
) -> int: ...
def take_off(
    science: NDArray[np.float32],
    good: NDArray[np.bool_],
    masked: NDArray[np.bool_] | None,
    n: int,
    sky: float,
) -> tuple[int, int]: ...
def sample(
    science: NDArray[np.float32],
    good: NDArray[np.bool_],
    rows: int,
    columns: int,
    step: int,
    out: NDArray[np.float32],
) -> int: ...
def clip(
    values: NDArray[np.float32], n: int, n_clips: int, sigma: float
) -> tuple[int, float, float, float, float]: ...
def histogram(
    values: NDArray[np.float32],
    n: int,
    edges: NDArray[np.float64],
    n_bins: int,
    counts: NDArray[np.int64],
) -> None: ...
def block_sums(
    science: NDArray[np.float32],
    usable: NDArray[np.bool_],
    width: int,
    rows: int,
    columns: int,
    block: int,
    level: NDArray[np.float64],
    per_level: int,
    limit: float,
    total: NDArray[np.float64],
    pixels: NDArray[np.float64],
    clipped: NDArray[np.float64],
) -> None: ...
def node_range(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    pixels: NDArray[np.float64],
    clipped: NDArray[np.float64],
    n: int,
    start: tuple[float, float],
    spacing: float,
) -> tuple[float, float, float, float] | None: ...
def add_to_nodes(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    total: NDArray[np.float64],
    pixels: NDArray[np.float64],
    clipped: NDArray[np.float64],
    n: int,
    start: tuple[float, float],
    spacing: float,
    first: tuple[float, float],
    rows: int,
    columns: int,
    sums: NDArray[np.float64],
) -> None: ...
def big_endian(words: NDArray[Any], n: int, out: NDArray[Any]) -> int: ...
def count_weights(
    weights: NDArray[np.float32],
    n: int,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    n_runs: int,
    histogram: NDArray[np.int64],
    first: int,
    exact: NDArray[np.uint32] | None,
    size: int,
) -> float: ...
def block_means(
    science: NDArray[np.float32],
    weight: NDArray[np.float32] | None,
    rows: int,
    columns: int,
    phase: int,
    factor: int,
    sums: NDArray[np.float64],
    counts: NDArray[np.int32],
    row_seen: NDArray[np.bool_],
    column_seen: NDArray[np.bool_],
) -> None: ...
