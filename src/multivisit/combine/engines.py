"""Which engine combines the chips: the one place that chooses it, and what it needs in memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from multivisit.combine.drizzle_engine import DrizzleEngine
from multivisit.combine.kernel_engine import FAST_KERNELS, KernelEngine

if TYPE_CHECKING:
    from multivisit.combine.drizzle_engine import Engine
    from multivisit.combine.kernel_engine import WindowSums

__all__ = ["context_planes", "engine_memory", "make_engine"]

_CONTEXT_BITS = 32
# The two sums of an output pixel, or the planes that `DrizzleEngine` keeps instead.
_SUMS_BYTES = 8
# Variances: the sums, and what they are divided into.
_VARIANCE_BYTES = 8
# `DrizzleEngine`: coordinates, halo and copies of a block of 260 rows.
_SCRATCH_BYTES_PER_COLUMN = 260 * 80


def make_engine(
    shape: tuple[int, int],
    *,
    origin: tuple[int, int] = (0, 0),
    kernel: str = "square",
    pixfrac: float = 1.0,
    context_chips: int = 0,
    variance: bool = False,
    memory: WindowSums | None = None,
) -> Engine:
    """Make the engine for one window of the output grid: `KernelEngine` for the kernels that it knows.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the window.
    origin : tuple of int
        Column (x) and row (y) of its first pixel in the grid.
    kernel : str
        One of `drizzle_engine.KERNELS`.
    pixfrac : float
        Size of the drop in input pixels, 0 to 1.
    context_chips : int
        Number of chips to keep a context for; 0 makes no context planes.
    variance : bool
        Whether to keep a variance plane; then all chips need variances.
    memory : WindowSums, optional
        A window that is done with, of as many columns, at least as many rows and the same planes, whose
        memory a `KernelEngine` uses.

    Returns
    -------
    Engine
        An empty engine.

    Raises
    ------
    ParameterError
        For an unknown kernel or an impossible pixfrac.
    """
    if kernel in FAST_KERNELS:
        return KernelEngine(
            shape,
            origin=origin,
            kernel=kernel,
            pixfrac=pixfrac,
            context_chips=context_chips,
            variance=variance,
            memory=memory,
        )
    return DrizzleEngine(
        shape,
        origin=origin,
        kernel=kernel,
        pixfrac=pixfrac,
        context_chips=context_chips,
        variance=variance,
    )


def engine_memory(
    shape: tuple[int, int], chip_columns: int, planes: int, *, kernel: str = "square", variance: bool = False
) -> int:
    """Estimate what an engine takes at most.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the window.
    chip_columns : int
        Columns of the widest chip.
    planes : int
        Number of context planes.
    kernel, variance
        As for `make_engine`.

    Returns
    -------
    int
        Bytes.
    """
    per_pixel = _SUMS_BYTES + 4 * planes + (_VARIANCE_BYTES if variance else 0)
    if kernel in FAST_KERNELS:
        return shape[0] * shape[1] * per_pixel
    return shape[0] * shape[1] * per_pixel + chip_columns * _SCRATCH_BYTES_PER_COLUMN


def context_planes(n_chips: int) -> int:
    """Give the number of context planes that hold a bit for each of some chips.

    Parameters
    ----------
    n_chips : int
        Number of chips.

    Returns
    -------
    int
        Number of planes of 32 bits.
    """
    return math.ceil(n_chips / _CONTEXT_BITS)
