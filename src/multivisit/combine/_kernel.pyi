import numpy as np
from numpy.typing import NDArray

INSTRUCTION_SETS: tuple[str, ...] = ...

def add_chip(
    science: NDArray[np.float32],
    weight: NDArray[np.float32] | NDArray[np.bool_],
    coefficients: NDArray[np.float64],
    x_knots: NDArray[np.float64],
    y_knots: NDArray[np.float64],
    residual: NDArray[np.float64],
    centre: tuple[float, float],
    half_size: tuple[float, float],
    sums: NDArray[np.float32],
    origin: tuple[int, int],
    kernel: str,
    pixfrac: float,
    scale_ratio: float,
    unit_weight: float = 1.0,
    touched: NDArray[np.int32] | None = None,
    context: NDArray[np.int32] | None = None,
    context_bit: int = 0,
    variance: NDArray[np.float32] | None = None,
    variance_sums: NDArray[np.float32] | None = None,
    quality: NDArray[np.int32] | None = None,
    quality_flags: NDArray[np.int32] | None = None,
    instruction_set: str | None = None,
) -> int: ...
def clear(plane: NDArray[np.generic], touched: NDArray[np.int32] | None) -> None: ...
def divide(
    sums: NDArray[np.float32],
    touched: NDArray[np.int32] | None,
    fill_value: float,
    science: NDArray[np.float32],
    weight: NDArray[np.float32],
) -> None: ...
