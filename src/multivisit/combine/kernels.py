"""What all drizzle engines ask of a kernel and its pixfrac."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["checked_kernel"]

_SMALLEST_PIXFRAC = 1e-3


def checked_kernel(kernel: str, pixfrac: float, offered: Collection[str]) -> tuple[str, float]:
    """Check a kernel and its pixfrac; pixels that have shrunk to nothing are points.

    Parameters
    ----------
    kernel : str
        Name of the kernel.
    pixfrac : float
        Side of the shrunk pixel over that of the pixel, from 0 to 1.
    offered : collection of str
        Kernels that the engine has.

    Returns
    -------
    kernel : str
        The kernel to use.
    pixfrac : float
        The pixfrac to use.

    Raises
    ------
    ParameterError
        If the engine has no such kernel, or the pixfrac is impossible.
    """
    if kernel not in offered:
        raise ParameterError(f"final_kernel: found {kernel!r}, expected one of {', '.join(offered)}.")
    if not 0.0 <= pixfrac <= 1.0:
        raise ParameterError(f"final_pixfrac: found {pixfrac!r}, expected a number from 0 to 1.")
    return ("point", 1.0) if pixfrac <= _SMALLEST_PIXFRAC else (kernel, pixfrac)
