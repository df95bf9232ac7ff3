import numpy as np
from numpy.typing import NDArray

_Source = tuple[int, int, int, int, float, int, float, float]
_Layout = tuple[NDArray[np.int64], int, NDArray[np.int64], int, NDArray[np.int64], int]
_Target = tuple[
    NDArray[np.bool_] | None,
    float,
    NDArray[np.float32] | None,
    NDArray[np.bool_] | None,
    NDArray[np.int32],
]

def read_parts(source: _Source, layout: _Layout, target: _Target) -> None: ...
