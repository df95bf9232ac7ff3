import numpy as np
from numpy.typing import NDArray

def combine_stack(
    values: NDArray[np.float32],
    bad: NDArray[np.bool_],
    n_images: int,
    n_low: int,
    n_high: int,
    mean: bool,
    value: NDArray[np.float32],
    lowest: NDArray[np.float32],
    count: NDArray[np.int32],
    /,
) -> None: ...
def blot(
    image: NDArray[np.float32],
    rows: int,
    columns: int,
    positions: NDArray[np.float64],
    interpolation: str,
    sinc_scale: float,
    out: NDArray[np.float32],
    /,
) -> None: ...
def test_pixels(
    science: NDArray[np.float32],
    model: NDArray[np.float32],
    rows: int,
    columns: int,
    time: float,
    background: float,
    variance: float,
    snr: tuple[float, float],
    scale: tuple[float, float],
    flags: NDArray[np.uint8],
    /,
) -> None: ...
