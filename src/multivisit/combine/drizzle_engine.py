"""The one adapter to the `drizzle` package: chips in, science, weight and context planes out.

Another engine takes its place by offering what `Engine` asks for. An engine owns a window of the output grid
(all of it, or a strip of rows) and takes the chips one after another.
"""

from __future__ import annotations

import math
import threading
import warnings
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from multivisit.combine.kernels import checked_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from multivisit.exposures.pixel_map import PixelMap

__all__ = ["KERNELS", "DrizzleEngine", "Engine", "PixelCoordinates"]

KERNELS = ("square", "point", "turbo", "gaussian", "lanczos2", "lanczos3")
"""Kernels of the `drizzle` package; the last three do not conserve flux exactly."""

_REACH = {"square": 1.0, "point": 1.0, "turbo": 1.0, "gaussian": 3.0, "lanczos2": 3.0, "lanczos3": 4.0}
"""Farthest that a pixel's flux goes from its centre, in input pixels."""

_LOSSY = frozenset({"gaussian", "lanczos2", "lanczos3"})
# Their shares of an input pixel sum to its area in output pixels, those of all others to 1.
_BY_AREA = frozenset({"lanczos2", "lanczos3"})
_FILTERS_LOCK = threading.Lock()

_BLOCK_ROWS = 256
_HALO = 2
_CONTEXT_BITS = 32
_LATTICE = 33
_LATTICE_MARGIN = 8.0


class PixelCoordinates(Protocol):
    """Where the pixels of a chip fall in the output grid: `multivisit.exposures.pixel_map.PixelMap`."""

    def evaluate(self, first_row: int = 0, last_row: int | None = None) -> NDArray[np.float64]:
        """Give the output pixel (x, y), 0-based, of each pixel centre of some rows, shape (rows, nx, 2)."""
        ...

    def at(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the output pixel x and y of any positions on the chip."""
        ...


class Engine(Protocol):
    """What combines chips into one window of the output grid."""

    def add_chip(
        self,
        science: NDArray[np.float32],
        weight: NDArray[np.float32] | NDArray[np.bool_],
        pixel_map: PixelMap,
        scale_ratio: float,
        chip_number: int,
        *,
        unit_weight: float = 1.0,
        variance: NDArray[np.float32] | None = None,
    ) -> int:
        """Add a chip and give the number of its weighted pixels whose centres fall in the window.

        `weight` may be a mask of the pixels that count, whose weight is `unit_weight`, the factor of weights.
        `variance` has the variances of the pixels, which an engine with a variance plane needs.
        """
        ...

    def finish_rows(
        self, first_row: int, fill_value: float, science: NDArray[np.float32], weight: NDArray[np.float32]
    ) -> None:
        """Fill two arrays with some rows of the science and the weight plane."""
        ...

    @property
    def context(self) -> NDArray[np.int32] | None:
        """Context planes, or None."""
        ...

    @property
    def variance(self) -> NDArray[np.float32] | None:
        """Variance of the science plane, 0 where there is no weight; None if not kept."""
        ...


class DrizzleEngine:
    """Combine chips with the kernels of the `drizzle` package.

    The science plane is the weighted mean ``sum(w a d) / sum(w a)`` times the squared ratio of the output to
    the nominal input scale, the weight plane is ``sum(w a)``; `a` is the share of an input pixel that falls
    on the output pixel (Fruchter & Hook 2002, PASP 114, 144, equations 3 to 5). Chips are passed in blocks
    of rows, so that memory is small and an interrupt is heeded soon.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the window.
    origin : tuple of int
        Column (x) and row (y) of the window's first pixel in the grid to which the pixel maps lead.
    kernel : str
        One of `KERNELS`.
    pixfrac : float
        Size of the drop in input pixels, 0 to 1; at 0.001 and less the kernel is ``point``.
    context_chips : int
        Number of chips to keep a context for; 0 makes no context planes.
    variance : bool
        Whether to keep a variance plane; then all chips need variances.

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
    ) -> None:
        self._kernel, self._pixfrac = checked_kernel(kernel, pixfrac, KERNELS)
        self._shape = shape
        self._origin = origin
        self._science = np.zeros(shape, dtype=np.float32)
        self._weight = np.zeros(shape, dtype=np.float32)
        planes = math.ceil(context_chips / _CONTEXT_BITS)
        self._context = np.zeros((planes, *shape), dtype=np.int32) if planes else None
        self._variance = np.zeros(shape, dtype=np.float32) if variance else None

    @property
    def context(self) -> NDArray[np.int32] | None:
        """Context planes (planes, ny, nx), where bit k of plane p is chip 32 p + k; None if not kept."""
        return self._context

    @property
    def variance(self) -> NDArray[np.float32] | None:
        """Variance of the science plane (ny, nx), 0 where there is no weight; None if not kept."""
        return self._variance

    def add_chip(
        self,
        science: NDArray[np.float32],
        weight: NDArray[np.float32] | NDArray[np.bool_],
        pixel_map: PixelCoordinates,
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
        pixel_map : PixelCoordinates
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
            Number of pixels of weight above 0 whose centres fall in the window.

        Raises
        ------
        ValueError
            If the engine has a variance plane and there are no variances.
        """
        if self._variance is not None and variance is None:
            raise ValueError("variance: found None, expected an array for an engine with a variance plane")
        n_used = 0
        ny = science.shape[0]
        margin = 1.0 + _REACH[self._kernel] * 1.5 / scale_ratio
        for first in range(0, ny, _BLOCK_ROWS):
            last = min(first + _BLOCK_ROWS, ny)
            if not weight[first:last].any() or self._misses(pixel_map, science.shape, first, last, margin):
                continue
            start, stop = max(first - _HALO, 0), min(last + _HALO, ny)
            coordinates = pixel_map.evaluate(start, stop)
            if self._origin != (0, 0):
                coordinates = coordinates - np.array(self._origin, dtype=np.float64)
            rows, columns = self._reaching(coordinates[first - start : last - start], margin)
            if rows.start >= rows.stop:
                continue
            block = (slice(first + rows.start, first + rows.stop), columns)
            weights = np.multiply(weight[block], np.float32(unit_weight), dtype=np.float32)
            n_used += self._count_inside(
                coordinates[block[0].start - start : block[0].stop - start, columns], weights
            )
            self._drizzle(
                science[block],
                weights,
                _with_halo(coordinates, (block[0].start - start, block[0].stop - start), columns, pixel_map),
                scale_ratio,
                chip_number,
                None if variance is None else variance[block],
            )
        return n_used

    def finish(self, fill_value: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give the planes.

        Parameters
        ----------
        fill_value : float
            Value of science pixels of weight 0 (NaN for none).

        Returns
        -------
        science, weight : ndarray of float32
            Shape `shape` each.
        """
        science, weight = np.empty_like(self._science), np.empty_like(self._weight)
        self.finish_rows(0, fill_value, science, weight)
        return science, weight

    def finish_rows(
        self, first_row: int, fill_value: float, science: NDArray[np.float32], weight: NDArray[np.float32]
    ) -> None:
        """Give some rows of both planes.

        Parameters
        ----------
        first_row : int
            The first of them.
        fill_value : float
            Value of science pixels of weight 0 (NaN for none).
        science, weight : ndarray of float32
            What is filled, shape (rows, columns).
        """
        rows = slice(first_row, first_row + len(science))
        science[...], weight[...] = self._science[rows], self._weight[rows]
        science[weight == 0.0] = fill_value

    def _misses(
        self, pixel_map: PixelCoordinates, shape: tuple[int, int], first: int, last: int, margin: float
    ) -> bool:
        """Tell from a few positions of a block of rows whether it lies wholly outside the window."""
        x = np.linspace(-0.5, shape[1] - 0.5, _LATTICE)
        y = np.array([first - 0.5, 0.5 * (first + last - 1), last - 0.5])
        u, v = pixel_map.at(np.tile(x, 3), np.repeat(y, _LATTICE))
        u, v = u - self._origin[0], v - self._origin[1]
        margin += _LATTICE_MARGIN
        rows, columns = self._shape
        return bool(
            u.max() < -margin
            or v.max() < -margin
            or u.min() > columns - 1 + margin
            or v.min() > rows - 1 + margin
        )

    def _reaching(self, coordinates: NDArray[np.float64], margin: float) -> tuple[slice, slice]:
        """Give the rows and columns of a block between which all pixels lie that can reach the window."""
        rows, columns = self._shape
        u, v = coordinates[..., 0], coordinates[..., 1]
        if (
            u.min() > -margin
            and v.min() > -margin
            and u.max() < columns - 1 + margin
            and v.max() < rows - 1 + margin
        ):
            return slice(0, u.shape[0]), slice(0, u.shape[1])
        inside = (u > -margin) & (v > -margin) & (u < columns - 1 + margin) & (v < rows - 1 + margin)
        return _span(np.any(inside, axis=1)), _span(np.any(inside, axis=0))

    def _count_inside(self, coordinates: NDArray[np.float64], weight: NDArray[np.float32]) -> int:
        u, v = coordinates[..., 0], coordinates[..., 1]
        inside = (
            (u >= -0.5) & (v >= -0.5) & (u < self._shape[1] - 0.5) & (v < self._shape[0] - 0.5) & (weight > 0)
        )
        return int(np.count_nonzero(inside))

    def _drizzle(
        self,
        science: NDArray[np.float32],
        weight: NDArray[np.float32],
        coordinates: NDArray[np.float64],
        scale_ratio: float,
        chip_number: int,
        variance: NDArray[np.float32] | None,
    ) -> None:
        """Drizzle a block whose coordinates have a halo of 2 pixels all around.

        `drizzle` looks for the pixels that reach the output by carrying its four corners back into the input
        with an approximate search. That loses pixels where the output clips the chip and large parts of
        blocks of few rows. A corner of the coordinates that is no number makes it look at all the pixels;
        the halo keeps that corner away from the pixels, and gives them their neighbours' positions across
        the borders of blocks.
        """
        from drizzle import cdrizzle

        padded = coordinates.shape[:2]
        inner = (slice(_HALO, padded[0] - _HALO), slice(_HALO, padded[1] - _HALO))

        def with_halo(values: NDArray[np.float32]) -> NDArray[np.float32]:
            plane = np.zeros(padded, dtype=np.float32)
            np.copyto(plane[inner], values, where=weight != 0.0)
            return plane

        data = with_halo(science)
        # Lists: with single arrays `drizzle` 3.0 ends the process.
        squared = {}
        if self._variance is not None and variance is not None:
            squared = {"input2": [with_halo(variance)], "output2": [self._variance]}
        weights = np.zeros(padded, dtype=np.float32)
        weights[inner] = weight
        if self._kernel in _BY_AREA:
            weights *= np.float32(scale_ratio**2)
        coordinates[0, 0] = np.nan
        plane, bit = divmod(chip_number, _CONTEXT_BITS)
        with _flux_warnings_off() if self._kernel in _LOSSY else nullcontext():
            cdrizzle.tdriz(
                input=data,
                weights=weights,
                pixmap=coordinates,
                output=self._science,
                counts=self._weight,
                context=None if self._context is None else self._context[plane],
                uniqid=bit + 1,
                xmin=0,
                xmax=padded[1] - 1,
                ymin=0,
                ymax=padded[0] - 1,
                iscale=scale_ratio**2,
                pscale_ratio=scale_ratio,
                pixfrac=self._pixfrac,
                kernel=self._kernel,
                in_units="cps",
                expscale=1.0,
                wtscale=1.0,
                fillstr="INDEF",
                fillstr2="INDEF",
                **squared,
            )


@contextmanager
def _flux_warnings_off() -> Iterator[None]:
    """Suppress a warning for each block that these kernels do not conserve flux; the documentation says so.

    Filters of warnings belong to the whole process: one thread at a time may change them.
    """
    with _FILTERS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _span(flags: NDArray[Any]) -> slice:
    """Give the shortest slice that holds all true flags, an empty one if there are none."""
    where = np.flatnonzero(flags)
    return slice(int(where[0]), int(where[-1]) + 1) if where.size else slice(0, 0)


def _with_halo(
    coordinates: NDArray[np.float64],
    rows: tuple[int, int],
    columns: slice,
    pixel_map: PixelCoordinates,
) -> NDArray[np.float64]:
    """Cut some rows and columns out with a halo of 2 pixels.

    Beyond the chip the halo is extrapolated linearly, as `drizzle` does.

    Parameters
    ----------
    coordinates : ndarray of float64
        Output positions, shape (n, nx, 2): all columns of the chip.
    rows : tuple of int
        First row wanted and the one after the last.
    columns : slice
        Columns wanted.
    pixel_map : PixelCoordinates
        Gives the slope where the chip has one row or one column only.

    Returns
    -------
    ndarray of float64
        A new array, 4 rows and 4 columns larger than what is wanted.
    """
    n, nx = coordinates.shape[:2]
    top, bottom = max(rows[0] - _HALO, 0), min(rows[1] + _HALO, n)
    left, right = max(columns.start - _HALO, 0), min(columns.stop + _HALO, nx)
    result = np.empty((rows[1] - rows[0] + 2 * _HALO, columns.stop - columns.start + 2 * _HALO, 2))
    before = (top - rows[0] + _HALO, left - columns.start + _HALO)
    after = (before[0] + bottom - top, before[1] + right - left)
    result[before[0] : after[0], before[1] : after[1]] = coordinates[top:bottom, left:right]
    # The slopes of a single row or column come from the map itself: its neighbours do not exist.
    slope = (
        _unit_step(pixel_map, 0, 1) if n == 1 else None,
        _unit_step(pixel_map, 1, 0) if nx == 1 else None,
    )
    body = result[before[0] : after[0]]
    _extrapolate(body.swapaxes(0, 1), before[1], after[1], slope[1])
    _extrapolate(result, before[0], after[0], slope[0])
    return result


def _unit_step(pixel_map: PixelCoordinates, dx: int, dy: int) -> NDArray[np.float64]:
    u, v = pixel_map.at(np.array([0.0, float(dx)]), np.array([0.0, float(dy)]))
    return np.array([u[1] - u[0], v[1] - v[0]])


def _extrapolate(
    array: NDArray[np.float64], first: int, last: int, slope: NDArray[np.float64] | None
) -> None:
    """Continue rows ``first`` to ``last`` of an array linearly to its ends, in place."""
    low = array[first + 1] - array[first] if slope is None else slope
    high = array[last - 1] - array[last - 2] if slope is None else slope
    for row in range(first - 1, -1, -1):
        array[row] = array[row + 1] - low
    for row in range(last, array.shape[0]):
        array[row] = array[row - 1] + high
