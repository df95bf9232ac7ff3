"""Which engine combines the chips: the one place that chooses it, and what it needs in memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from multivisit.combine.kernel_engine import engine_of_kernel

if TYPE_CHECKING:
    from multivisit.combine.drizzle_engine import Engine
    from multivisit.plan.parameters import CombinationParameters

__all__ = ["context_planes", "engine_memory", "make_engine"]

_CONTEXT_BITS = 32
# Two sums, and the two planes that they are divided into.
_BYTES_PER_PIXEL = 16
# Coordinates, halo and copies of a block of 260 rows.
_SCRATCH_BYTES_PER_COLUMN = 260 * 80


def make_engine(
    shape: tuple[int, int],
    origin: tuple[int, int],
    parameters: CombinationParameters,
    context_chips: int = 0,
) -> Engine:
    """Make the engine for one window of the output grid.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the window.
    origin : tuple of int
        Column (x) and row (y) of its first pixel in the grid.
    parameters : CombinationParameters
        How to combine: kernel and pixfrac.
    context_chips : int
        Number of chips to keep a context for; 0 makes no context planes.

    Returns
    -------
    Engine
        An empty engine.

    Raises
    ------
    ParameterError
        For an unknown kernel or an impossible pixfrac.
    """
    return engine_of_kernel(
        shape,
        origin=origin,
        kernel=parameters.final_kernel,
        pixfrac=parameters.final_pixfrac,
        context_chips=context_chips,
    )


def engine_memory(shape: tuple[int, int], chip_columns: int, planes: int) -> int:
    """Estimate what an engine takes at most.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the window.
    chip_columns : int
        Columns of the widest chip.
    planes : int
        Number of context planes.

    Returns
    -------
    int
        Bytes.
    """
    return shape[0] * shape[1] * (_BYTES_PER_PIXEL + 4 * planes) + chip_columns * _SCRATCH_BYTES_PER_COLUMN


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
