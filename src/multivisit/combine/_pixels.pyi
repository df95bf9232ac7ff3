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
def take_off(
    science: NDArray[np.float32],
    good: NDArray[np.bool_],
    masked: NDArray[np.bool_] | None,
    n: int,
    sky: float,
) -> tuple[int, int]: ...
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
def small_holes(
    image: NDArray[np.float32], rows: int, columns: int, most: int, places: NDArray[np.int64], room: int
) -> int: ...
