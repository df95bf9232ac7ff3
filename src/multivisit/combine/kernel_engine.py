"""The project's own drizzle kernel: square, turbo and point drops, many times faster than `drizzle`.

The kernel is written in C (``_kernel.c``). It works out the pixel map on the way, from the arrays of a
`multivisit.exposures.pixel_map.PixelMap`, so that no table of positions is ever made, and releases the
global interpreter lock. The sums of an output pixel do not depend on the window in which it is kept: threads
that own windows of their own make the same bits as one window for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from multivisit.combine import _kernel
from multivisit.combine.kernels import checked_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "FAST_KERNELS",
    "INSTRUCTION_SETS",
    "KernelEngine",
    "PolynomialMap",
    "WindowSums",
    "add_chip_to_rows",
]

FAST_KERNELS = ("square", "point", "turbo")
"""Kernels of this engine."""

INSTRUCTION_SETS = _kernel.INSTRUCTION_SETS
"""Builds of the kernel that this processor can run, best first; their results differ in the last bits."""

_CONTEXT_BITS = 32


class PolynomialMap(Protocol):
    """The arrays of a `multivisit.exposures.pixel_map.PixelMap`; see there."""

    @property
    def centre(self) -> tuple[float, float]:
        """Chip position (x, y) about which the polynomial is expanded."""
        ...

    @property
    def half_size(self) -> tuple[float, float]:
        """Unit (x, y) of the polynomial's arguments in pixels."""
        ...

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """Polynomial coefficients (axis, power of y, power of x)."""
        ...

    @property
    def x_knots(self) -> NDArray[np.float64]:
        """Columns at which the residual is given; none, or two and more."""
        ...

    @property
    def y_knots(self) -> NDArray[np.float64]:
        """Rows at which the residual is given."""
        ...

    @property
    def residual(self) -> NDArray[np.floating]:
        """Residual at the knots (axis, y knot, x knot)."""
        ...


@dataclass(frozen=True, eq=False)
class WindowSums:
    """The sums over chips in a window of the output grid, all starting from 0.

    With the weight `w`, the value `d` times the squared scale ratio and the variance `v` times its fourth
    power of each input pixel, and the share `a` of its drop that falls on the output pixel.
    """

    sums: NDArray[np.float32] = field(repr=False)
    """``sum(w a d)`` and ``sum(w a)``, shape (rows, columns, 2)."""

    origin: tuple[int, int] = (0, 0)
    """Column (x) and row (y) of the window's first pixel in the grid to which the pixel maps lead."""

    context: NDArray[np.int32] | None = field(default=None, repr=False)
    """Context planes (planes, rows, columns), where bit k of plane p is chip 32 p + k; None if not kept."""

    variance: NDArray[np.float32] | None = field(default=None, repr=False)
    """``sum(w^2 a^2 v)``, shape (rows, columns); over ``sum(w a)^2`` the variance. None if not kept."""

    quality: NDArray[np.int32] | None = field(default=None, repr=False)
    """All DQ flags of the input pixels that fall here, shape (rows, columns); None if not kept."""

    touched: NDArray[np.int32] | None = field(default=None, repr=False)
    """First column of each row that was added to and the one after the last, shape (rows, 2): outside of them
    all is 0. None if not kept."""

    @classmethod
    def zeros(
        cls,
        shape: tuple[int, int],
        origin: tuple[int, int] = (0, 0),
        *,
        context_chips: int = 0,
        variance: bool = False,
        quality: bool = False,
    ) -> WindowSums:
        """Make an empty window.

        Parameters
        ----------
        shape : tuple of int
            Rows and columns.
        origin : tuple of int
            See the attribute.
        context_chips : int
            Number of chips to keep a context for; 0 keeps none.
        variance, quality : bool
            Whether to keep these planes.
        """
        planes = math.ceil(context_chips / _CONTEXT_BITS)
        touched = np.empty((shape[0], 2), dtype=np.int32)
        touched[...] = shape[1], 0
        return cls(
            np.zeros((*shape, 2), dtype=np.float32),
            origin,
            np.zeros((planes, *shape), dtype=np.int32) if planes else None,
            np.zeros(shape, dtype=np.float32) if variance else None,
            np.zeros(shape, dtype=np.int32) if quality else None,
            touched,
        )

    def emptied(self, shape: tuple[int, int], origin: tuple[int, int]) -> WindowSums:
        """Begin another window in the memory of this one.

        Parameters
        ----------
        shape : tuple of int
            Rows and columns; no more rows than this one has, and as many columns.
        origin : tuple of int
            See the attribute.

        Returns
        -------
        WindowSums
            An empty window; this one is of no use any more.
        """
        rows = shape[0]
        context = None if self.context is None else self.context[:, :rows]
        window = WindowSums(
            self.sums[:rows],
            origin,
            context,
            None if self.variance is None else self.variance[:rows],
            None if self.quality is None else self.quality[:rows],
            None if self.touched is None else self.touched[:rows],
        )
        # Only what was touched: new memory costs its clearing when it is touched first, and may never be.
        for plane in (window.sums, window.variance, window.quality, *(() if context is None else context)):
            if plane is not None:
                _kernel.clear(plane, window.touched)
        if window.touched is not None:
            window.touched[...] = shape[1], 0
        return window

    def finish_rows(
        self, first_row: int, fill_value: float, science: NDArray[np.float32], weight: NDArray[np.float32]
    ) -> None:
        """Divide the sums of some rows.

        Parameters
        ----------
        first_row : int
            The first of them in the window.
        fill_value : float
            Value of science pixels of weight 0 (NaN for none).
        science, weight : ndarray of float32
            What is filled, shape (rows, columns), contiguous; see `finish`.
        """
        rows = slice(first_row, first_row + len(science))
        touched = None if self.touched is None else self.touched[rows]
        _kernel.divide(self.sums[rows], touched, fill_value, science, weight)

    def finish(self, fill_value: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Divide the sums.

        Parameters
        ----------
        fill_value : float
            Value of science pixels of weight 0 (NaN for none).

        Returns
        -------
        science, weight : ndarray of float32
            ``sum(w a d) / sum(w a)`` and ``sum(w a)``, shape (rows, columns) each.
        """
        shape = self.sums.shape[:2]
        science, weight = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        self.finish_rows(0, fill_value, science, weight)
        return science, weight

    def variance_of_mean(self) -> NDArray[np.float32] | None:
        """Divide the sums of variances.

        Returns
        -------
        ndarray of float32 or None
            ``sum(w^2 a^2 v) / sum(w a)^2``, the variance of the science plane, shape (rows, columns), 0 where
            there is no weight; None if the window keeps no variance.
        """
        if self.variance is None:
            return None
        total = self.sums[..., 1]
        weighted = total > 0.0
        result = np.divide(self.variance, total, out=np.zeros_like(self.variance), where=weighted)
        return np.divide(result, total, out=result, where=weighted)


def add_chip_to_rows(
    science: NDArray[np.float32],
    weight: NDArray[np.float32] | NDArray[np.bool_],
    pixel_map: PolynomialMap,
    window: WindowSums,
    *,
    scale_ratio: float,
    unit_weight: float = 1.0,
    kernel: str = "square",
    pixfrac: float = 1.0,
    chip_number: int = 0,
    variance: NDArray[np.float32] | None = None,
    quality: NDArray[np.int32] | None = None,
    instruction_set: str | None = None,
) -> int:
    """Add a chip to a window of the output grid.

    Threads may do this at the same time for different windows with the same chip: the global interpreter lock
    is released. The parts of the chip that cannot reach the window cost next to nothing. What an output pixel
    receives, and in what order, does not depend on the window's place and size, to the last bit.

    Parameters
    ----------
    science : ndarray of float32
        Pixels, shape (ny, nx); wherever `weight` is not 0, finite, and so in single precision their products
        with weight and squared scale ratio; any value elsewhere.
    weight : ndarray of float32 or bool
        Weights, same shape, 0 for pixels that do not count, or which pixels count.
    pixel_map : PolynomialMap
        Where the pixels fall in the grid.
    window : WindowSums
        What is added to, in place.
    scale_ratio : float
        Output pixel scale over the chip's nominal pixel scale. Its square multiplies the values.
    unit_weight : float
        Factor of the weights; the weight of the pixels that count where `weight` tells only that.
    kernel : str
        ``square``: a drop's corners lie half a `pixfrac` from the pixel's centre along both chip axes and are
        carried over by the map. ``turbo``: drops are upright squares of side ``pixfrac / scale_ratio``.
        ``point``: all of a pixel goes where its centre falls.
    pixfrac : float
        Size of the drop in input pixels, above 0, at most 1.
    chip_number : int
        Number of the chip in the context, from 0.
    variance, quality : ndarray, optional
        Variances (float32) and DQ flags (int32) of the pixels, shape (ny, nx), if the window keeps them.
    instruction_set : str, optional
        One of `INSTRUCTION_SETS`, by default the first.

    Returns
    -------
    int
        Number of pixels of weight other than 0 whose centres fall in the window.

    Raises
    ------
    ValueError
        If an array has a wrong type or shape, or a number is out of range.
    """
    n_planes = 0 if window.context is None else len(window.context)
    if n_planes and not 0 <= chip_number < n_planes * _CONTEXT_BITS:
        message = f"chip_number: found {chip_number}, expected 0 to {n_planes * _CONTEXT_BITS - 1}"
        raise ValueError(message)
    plane, bit = divmod(chip_number, _CONTEXT_BITS)
    return _kernel.add_chip(
        np.ascontiguousarray(science, dtype=np.float32),
        np.ascontiguousarray(weight, dtype=None if weight.dtype == np.bool_ else np.float32),
        np.ascontiguousarray(pixel_map.coefficients),
        np.ascontiguousarray(pixel_map.x_knots),
        np.ascontiguousarray(pixel_map.y_knots),
        np.ascontiguousarray(pixel_map.residual, dtype=np.float64),
        pixel_map.centre,
        pixel_map.half_size,
        window.sums,
        window.origin,
        kernel,
        pixfrac,
        scale_ratio,
        unit_weight=unit_weight,
        touched=window.touched,
        context=None if window.context is None else window.context[plane],
        context_bit=1 << bit,
        variance=variance if window.variance is not None else None,
        variance_sums=window.variance,
        quality=quality if window.quality is not None else None,
        quality_flags=window.quality,
        instruction_set=instruction_set,
    )


class KernelEngine:
    """Combine chips with the project's own kernel; see `DrizzleEngine` for what the planes mean.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the window.
    origin : tuple of int
        Column (x) and row (y) of the window's first pixel in the grid to which the pixel maps lead.
    kernel : str
        One of `FAST_KERNELS`.
    pixfrac : float
        Size of the drop in input pixels, 0 to 1; at 0.001 and less the kernel is ``point``.
    context_chips : int
        Number of chips to keep a context for; 0 makes no context planes.
    variance : bool
        Whether to keep a variance plane; then all chips need variances.
    memory : WindowSums, optional
        A window that is done with, of as many columns, at least as many rows and the same planes, whose
        memory is used.

    Raises
    ------
    ParameterError
        For an unknown kernel or an impossible pixfrac.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        origin: tuple[int, int] = (0, 0),
        kernel: str = "square",
        pixfrac: float = 1.0,
        context_chips: int = 0,
        variance: bool = False,
        memory: WindowSums | None = None,
    ) -> None:
        self._kernel, self._pixfrac = checked_kernel(kernel, pixfrac, FAST_KERNELS)
        self._window = (
            WindowSums.zeros(shape, origin, context_chips=context_chips, variance=variance)
            if memory is None
            else memory.emptied(shape, origin)
        )

    @property
    def context(self) -> NDArray[np.int32] | None:
        """Context planes (planes, ny, nx), where bit k of plane p is chip 32 p + k; None if not kept."""
        return self._window.context

    @property
    def variance(self) -> NDArray[np.float32] | None:
        """Variance of the science plane (ny, nx), 0 where there is no weight; None if not kept."""
        return self._window.variance_of_mean()

    def add_chip(
        self,
        science: NDArray[np.float32],
        weight: NDArray[np.float32] | NDArray[np.bool_],
        pixel_map: PolynomialMap,
        scale_ratio: float,
        chip_number: int,
        *,
        unit_weight: float = 1.0,
        variance: NDArray[np.float32] | None = None,
    ) -> int:
        """Add a chip to the window.

        Parameters
        ----------
        science : ndarray of float32
            Pixels, shape (ny, nx); finite wherever `weight` is not 0, any value elsewhere.
        weight : ndarray of float32 or bool
            Weights, same shape, 0 for pixels that do not count, or which pixels count.
        pixel_map : PolynomialMap
            Where the pixels fall in the grid.
        scale_ratio : float
            Output pixel scale over the chip's nominal pixel scale.
        chip_number : int
            Number of the chip in the context, from 0.
        unit_weight : float
            Factor of the weights; the weight of the pixels that count where `weight` tells only that.
        variance : ndarray of float32, optional
            Variances of the pixels, shape (ny, nx), for an engine with a variance plane; others ignore it.

        Returns
        -------
        int
            Number of weighted pixels whose centres fall in the window.

        Raises
        ------
        ValueError
            If the engine has a variance plane and there are no variances.
        """
        return add_chip_to_rows(
            science,
            weight,
            pixel_map,
            self._window,
            scale_ratio=scale_ratio,
            unit_weight=unit_weight,
            kernel=self._kernel,
            pixfrac=self._pixfrac,
            chip_number=chip_number,
            variance=variance,
        )

    def finish(self, fill_value: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give the science and the weight plane; see `WindowSums.finish`."""
        return self._window.finish(fill_value)

    def finish_rows(
        self, first_row: int, fill_value: float, science: NDArray[np.float32], weight: NDArray[np.float32]
    ) -> None:
        """Give some rows of both planes; see `WindowSums.finish_rows`."""
        self._window.finish_rows(first_row, fill_value, science, weight)
