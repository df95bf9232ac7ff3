"""The pixel map: from the pixels of a chip to those of an output image, without a table of all pixels.

A chip's full WCS is a smooth function (SIP polynomials and two gnomonic projections) plus small lookup tables
that are interpolated bilinearly. The map keeps this form: one polynomial for the smooth part, and the
difference of the exact transform from the smooth one at the lookup tables' own knots, interpolated bilinearly
between them. Sampling at the knots is what makes it exact: the differences are bilinear in between, up to the
slow change of the distortion across one interval.
"""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from multivisit.errors import ExposureError, ParameterError

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike, NDArray

__all__ = ["PixelMap"]

LARGEST_ERROR = 1e-3
"""Error in output pixels above which a map is refused."""

_SMOOTH_ERROR = 1e-5
# In chip pixels; knots of several tables may coincide but for rounding.
_CLOSEST_KNOTS = 1e-6
_DEGREES = range(5, 13)
# Half a degree above the horizon of the tangent plane: beyond it output pixels grow without bound.
_LOWEST_COSINE = 0.01
_BLOCK_ROWS = 64
# OpenBLAS multiplies smaller matrices in the calling thread. Its own threads gain little here and cost much
# where several processes or threads share the cores.
_ONE_THREAD_PRODUCT = 262144
_CHECK_POINTS = 400

_COPY_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class PixelMap:
    """A map from chip pixels to output pixels: polynomial plus bilinear residual, plain arrays only.

    With ``s = (x - centre[0]) / half_size[0]`` and ``t = (y - centre[1]) / half_size[1]``, output axis ``a``
    is::

        sum over j, i of coefficients[a, j, i] * t**j * s**i  +  residual[a] interpolated at (x, y)

    All positions are 0-based, pixel centres at integers, here and in the output.
    """

    shape: tuple[int, int]
    """Rows and columns of the chip."""

    centre: tuple[float, float]
    """Chip position (x, y) about which the polynomial is expanded."""

    half_size: tuple[float, float]
    """Half the chip's size in pixels (x, y), the unit of the polynomial's arguments."""

    coefficients: NDArray[np.float64] = field(repr=False)
    """Polynomial coefficients in output pixels, (2, degree + 1, degree + 1): axis, power of y, power of x."""

    x_knots: NDArray[np.float64] = field(repr=False)
    """Columns (increasing) at which the residual is given; empty where the WCS has no lookup tables."""

    y_knots: NDArray[np.float64] = field(repr=False)
    """Rows (increasing) at which the residual is given; empty where the WCS has no lookup tables."""

    residual: NDArray[np.floating] = field(repr=False)
    """Exact minus smooth transform at the knots in output pixels, shape (2, y knots, x knots).

    A few tenths of a pixel: as float32, which `fit` gives, they are good to 1e-8 pixel in half the memory."""

    error: float
    """Largest difference from the exact transform found at the check positions, in output pixels."""

    @classmethod
    def fit(cls, chip_wcs: WCS, shape: tuple[int, int], output_wcs: WCS) -> PixelMap:
        """Fit the map of one chip onto one output image.

        Parameters
        ----------
        chip_wcs : WCS
            Full WCS of the chip.
        shape : tuple of int
            Rows and columns of the chip.
        output_wcs : WCS
            WCS of the output image: a gnomonic (TAN) projection without distortion.

        Returns
        -------
        PixelMap
            The map, good to `LARGEST_ERROR` and usually to 1e-5 output pixel.

        Raises
        ------
        ExposureError
            If part of the chip lies on the far side of the output's tangent plane, or the WCS cannot be
            followed to the required accuracy.
        ParameterError
            If the output WCS has distortions or is no TAN projection.
        """
        _check_output(output_wcs)
        exact = _Transform(chip_wcs, output_wcs)
        ny, nx = shape
        centre = ((nx - 1) / 2.0, (ny - 1) / 2.0)
        half_size = (nx / 2.0, ny / 2.0)
        smooth = exact.without_tables()
        coefficients = _fit_smooth(smooth, centre, half_size)
        nothing = np.empty(0)
        polynomial = cls(
            shape, centre, half_size, coefficients, nothing, nothing, np.empty((2, 0, 0)), np.inf
        )
        unchecked = _with_residual(polynomial, exact)
        x, y = _check_positions(shape, _CHECK_POINTS)
        error = float(np.abs(np.stack(unchecked.at(x, y)) - exact(x, y)).max())
        if not error <= LARGEST_ERROR:
            raise ExposureError(
                f"the pixel map of a chip of shape {shape} differs from its WCS by {error:.2g} output pixel, "
                f"expected at most {LARGEST_ERROR}. Are its lookup tables damaged?"
            )
        # Images of one plane have the same map but for this shift, to the last bit.
        coefficients = unchecked.coefficients.copy()
        coefficients[:, 0, 0] += np.asarray(output_wcs.wcs.crpix) - 1.0
        return replace(unchecked, coefficients=coefficients, error=error)

    @property
    def degree(self) -> int:
        """Degree of the polynomial."""
        return int(self.coefficients.shape[1]) - 1

    def evaluate(self, first_row: int = 0, last_row: int | None = None) -> NDArray[np.float64]:
        """Map the centres of whole chip rows.

        Parameters
        ----------
        first_row, last_row : int
            Rows of the chip, the last one excluded; by default all.

        Returns
        -------
        ndarray
            Output pixel (x, y) of each chip pixel, shape (rows, columns, 2), float64.
        """
        ny, nx = self.shape
        last_row = ny if last_row is None else last_row
        if not 0 <= first_row <= last_row <= ny:
            raise ParameterError(f"rows {first_row} to {last_row} of a chip of {ny} rows were asked for.")
        columns = np.arange(nx, dtype=np.float64)
        powers = np.vander((columns - self.centre[0]) / self.half_size[0], self.degree + 1, increasing=True)
        # One row for each power of y (and below for each knot row), columns x0 y0 x1 y1 ...: a block of chip
        # rows is then a single matrix product.
        polynomial = np.stack([c @ powers.T for c in self.coefficients], axis=-1).reshape(
            self.degree + 1, 2 * nx
        )
        column_weights = _interpolation(self.x_knots, columns)
        out = np.empty((last_row - first_row, 2 * nx))
        for start in range(first_row, last_row, _BLOCK_ROWS):
            rows = np.arange(start, min(start + _BLOCK_ROWS, last_row), dtype=np.float64)
            left = np.vander((rows - self.centre[1]) / self.half_size[1], self.degree + 1, increasing=True)
            right = polynomial
            if len(self.y_knots):
                weights, residual = self._residual_rows(rows, column_weights)
                left = np.hstack([left, weights])
                right = np.vstack([polynomial, residual])
            _multiply(left, right, out[start - first_row : start - first_row + len(rows)])
        return out.reshape(last_row - first_row, nx, 2)

    def at(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Map any positions on the chip.

        Parameters
        ----------
        x, y : array_like
            Chip positions, 0-based, from -0.5 to size - 0.5; they are broadcast together.

        Returns
        -------
        u, v : ndarray
            Output pixel positions, 0-based, float64, of the broadcast shape.
        """
        x, y = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        s = (x - self.centre[0]) / self.half_size[0]
        t = (y - self.centre[1]) / self.half_size[1]
        output = np.polynomial.polynomial.polyval2d(t, s, np.moveaxis(self.coefficients, 0, -1))
        if len(self.x_knots):
            i, fx = _interpolation(self.x_knots, x)
            j, fy = _interpolation(self.y_knots, y)
            r = self.residual
            lower = r[:, j, i] * (1.0 - fx) + r[:, j, i + 1] * fx
            upper = r[:, j + 1, i] * (1.0 - fx) + r[:, j + 1, i + 1] * fx
            output = output + lower * (1.0 - fy) + upper * fy
        return output[0], output[1]

    def measured_error(self, chip_wcs: WCS, output_wcs: WCS, n: int = 1000, seed: int = 0) -> float:
        """Compare the map with astropy's transforms.

        Parameters
        ----------
        chip_wcs, output_wcs : WCS
            As given to `fit`.
        n : int
            Number of random chip positions, besides the corners.
        seed : int
            Seed of the positions.

        Returns
        -------
        float
            Largest difference of a coordinate in output pixels.
        """
        with _COPY_LOCK:
            chip_wcs, output_wcs = chip_wcs.deepcopy(), output_wcs.deepcopy()
        x, y = _check_positions(self.shape, n, seed)
        expected = output_wcs.wcs_world2pix(*chip_wcs.all_pix2world(x, y, 0), 0)
        return float(np.abs(np.stack(self.at(x, y)) - expected).max())

    def _polynomial_on(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the polynomial alone in all columns x of all rows y, shape (2, rows, columns)."""
        s, t = (x - self.centre[0]) / self.half_size[0], (y - self.centre[1]) / self.half_size[1]
        grid = np.polynomial.polynomial.polygrid2d(t, s, np.moveaxis(self.coefficients, 0, -1))
        return np.asarray(grid, dtype=np.float64)

    def _residual_rows(
        self, rows: NDArray[np.float64], column_weights: tuple[NDArray[np.intp], NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the knot rows that some chip rows need, interpolated along x, and the weights to use them."""
        j, fy = _interpolation(self.y_knots, rows)
        first, last = int(j[0]), int(j[-1]) + 2
        i, fx = column_weights
        knot_rows = self.residual[:, first:last]
        along_x = knot_rows[:, :, i] * (1.0 - fx) + knot_rows[:, :, i + 1] * fx
        weights = np.zeros((len(rows), last - first))
        at = np.arange(len(rows))
        weights[at, j - first] = 1.0 - fy
        weights[at, j - first + 1] = fy
        return weights, np.moveaxis(along_x, 0, -1).reshape(last - first, -1)


class _Transform:
    """The exact transform from chip pixels to output pixels as seen from the tangent point; has its own WCS.

    Both projections are gnomonic, and a gnomonic plane is carried into another one by a projective map: a
    matrix takes (x, y, 1) on the one plane, distortions taken off, to a multiple of (u, v, 1) on the other.
    No angle is ever needed.
    """

    def __init__(self, chip_wcs: WCS, output_wcs: WCS) -> None:
        # astropy changes WCS objects while it uses them, so shared ones are copied first.
        with _COPY_LOCK:
            self.chip_wcs, output_wcs = chip_wcs.deepcopy(), output_wcs.deepcopy()
        self._to_sky = _pixels_to_sky(self.chip_wcs)
        self._towards = _rotation(output_wcs)[:, 2] @ self._to_sky
        output_wcs.wcs.crpix = [1.0, 1.0]
        self._matrix = np.linalg.inv(_pixels_to_sky(output_wcs)) @ self._to_sky

    def __call__(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map positions; shape (2, n). Raises ExposureError beyond the horizon of the output's plane."""
        x, y = self.chip_wcs.pix2foc(x, y, 0)
        direction = [row[0] * x + row[1] * y + row[2] for row in self._to_sky]
        length = np.sqrt(direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2)
        cosine = (self._towards[0] * x + self._towards[1] * y + self._towards[2]) / length
        if not np.all(cosine > _LOWEST_COSINE):
            away = np.degrees(np.arccos(np.clip(np.min(cosine), -1.0, 1.0)))
            raise ExposureError(
                f"part of the chip is {away:.1f} degrees from the output image's tangent point, expected "
                "less than 89. It cannot be projected there; choose sky cells that the exposure touches."
            )
        u, v, w = (row[0] * x + row[1] * y + row[2] for row in self._matrix)
        return np.stack([u / w, v / w])

    def without_tables(self) -> _Transform:
        """Give the same transform with the lookup tables left out."""
        smooth = copy.copy(self)
        smooth.chip_wcs = self.chip_wcs.deepcopy()
        smooth.chip_wcs.cpdis1 = smooth.chip_wcs.cpdis2 = None
        smooth.chip_wcs.det2im1 = smooth.chip_wcs.det2im2 = None
        return smooth

    def table_knots(self, axis: int) -> NDArray[np.float64]:
        """Give the 0-based chip positions of all tables' elements along axis 0 (x) or 1 (y)."""
        wcs = self.chip_wcs
        tables = [table for table in (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2) if table is not None]
        if not tables:
            return np.empty(0)
        return np.concatenate([
            (np.arange(1, table.data.shape[1 - axis] + 1) - table.crpix[axis]) * table.cdelt[axis]
            + table.crval[axis]
            - 1.0
            for table in tables
        ])  # fmt: skip


def _pixels_to_sky(wcs: WCS) -> NDArray[np.float64]:
    """Matrix from (x, y, 1), 0-based pixels without distortion, to directions of any length on the sky."""
    matrix = np.radians(wcs.pixel_scale_matrix)
    to_plane = np.identity(3)
    to_plane[:2, :2] = matrix
    to_plane[:2, 2] = matrix @ (1.0 - np.asarray(wcs.wcs.crpix))
    return _rotation(wcs) @ to_plane


def _rotation(wcs: WCS) -> NDArray[np.float64]:
    """Directions of a gnomonic plane's axes x and y and of its tangent point, as columns.

    From Calabretta & Greisen (2002, A&A 395, 1077), equations 2, 12, 13 and 54: at native longitude phi, a
    point is at (sin phi, -cos phi) cot theta on the plane.
    """
    wcs.wcs.set()
    longitude, latitude = np.radians(wcs.wcs.crval)
    pole = np.radians(wcs.wcs.lonpole)
    east = np.array([-np.sin(longitude), np.cos(longitude), 0.0])
    tangent = np.array([
        np.cos(latitude) * np.cos(longitude),
        np.cos(latitude) * np.sin(longitude),
        np.sin(latitude),
    ])  # fmt: skip
    north = np.cross(tangent, east)
    return np.stack([
        np.sin(pole) * north - np.cos(pole) * east,
        -np.cos(pole) * north - np.sin(pole) * east,
        tangent,
    ], axis=1)  # fmt: skip


def _check_output(output_wcs: WCS) -> None:
    ctype = tuple(output_wcs.wcs.ctype)
    if ctype != ("RA---TAN", "DEC--TAN") or output_wcs.has_distortion:
        raise ParameterError(
            f"the output WCS has CTYPE {ctype}{' and distortions' if output_wcs.has_distortion else ''}, "
            "expected RA---TAN, DEC--TAN without distortions."
        )


def _fit_smooth(
    smooth: _Transform, centre: tuple[float, float], half_size: tuple[float, float]
) -> NDArray[np.float64]:
    """Fit polynomials of rising degree to the smooth transform until the error is small enough."""
    error = np.inf
    for degree in _DEGREES:
        s, t = _chebyshev_grid(2 * (degree + 1))
        s_check, t_check = _chebyshev_grid(2 * degree + 5, ends=True)
        origin = smooth(np.array([centre[0]]), np.array([centre[1]]))
        target = smooth(centre[0] + half_size[0] * s, centre[1] + half_size[1] * t) - origin
        coefficients = _least_squares(s, t, target, degree)
        expected = smooth(centre[0] + half_size[0] * s_check, centre[1] + half_size[1] * t_check) - origin
        found = np.polynomial.polynomial.polyval2d(t_check, s_check, np.moveaxis(coefficients, 0, -1))
        error = float(np.abs(found - expected).max())
        if error <= _SMOOTH_ERROR:
            coefficients[:, 0, 0] += origin[:, 0]
            return coefficients
    raise ExposureError(
        f"a polynomial of degree {_DEGREES[-1]} follows the chip's WCS to {error:.2g} output pixel only, "
        f"expected {_SMOOTH_ERROR}. Are its SIP coefficients damaged?"
    )


def _chebyshev_grid(n: int, *, ends: bool = False) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give n x n Chebyshev nodes in the square from -1 to 1, with or without its edges."""
    nodes = np.cos(np.pi * (np.arange(n) / (n - 1) if ends else (np.arange(n) + 0.5) / n))
    s, t = np.meshgrid(nodes, nodes)
    return s.ravel(), t.ravel()


def _least_squares(
    s: NDArray[np.float64], t: NDArray[np.float64], target: NDArray[np.float64], degree: int
) -> NDArray[np.float64]:
    """Fit both axes' polynomials of a total degree; shape (2, degree + 1, degree + 1)."""
    j, i = (index.ravel() for index in np.indices((degree + 1, degree + 1)))
    j, i = j[j + i <= degree], i[j + i <= degree]
    solution = np.linalg.lstsq(t[:, None] ** j * s[:, None] ** i, target.T, rcond=None)[0]
    coefficients = np.zeros((2, degree + 1, degree + 1))
    coefficients[:, j, i] = solution.T
    return coefficients


def _with_residual(polynomial: PixelMap, exact: _Transform) -> PixelMap:
    """Add exact minus polynomial at all knots of the lookup tables that lie on the chip, and at its edges."""
    knots = []
    for axis, size in ((0, polynomial.shape[1]), (1, polynomial.shape[0])):
        positions = exact.table_knots(axis)
        if len(positions) == 0:
            return polynomial
        knots.append(_distinct_knots(positions, -0.5, size - 0.5))
    x, y = (grid.ravel() for grid in np.meshgrid(*knots))
    residual = exact(x, y).reshape(2, len(knots[1]), len(knots[0])) - polynomial._polynomial_on(*knots)
    return replace(polynomial, x_knots=knots[0], y_knots=knots[1], residual=residual.astype(np.float32))


def _distinct_knots(positions: NDArray[np.float64], first: float, last: float) -> NDArray[np.float64]:
    """Give knots from the first to the last one; of those that differ by rounding only, one is left."""
    inside = np.unique(positions[(positions > first + _CLOSEST_KNOTS) & (positions < last - _CLOSEST_KNOTS)])
    apart = np.diff(inside, prepend=-np.inf) > _CLOSEST_KNOTS
    return np.concatenate([[first], inside[apart], [last]])


def _multiply(left: NDArray[np.float64], right: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Write the matrix product into `out`, a group of columns at a time."""
    step = max(_ONE_THREAD_PRODUCT // left.size, 1)
    for first in range(0, right.shape[1], step):
        columns = slice(first, first + step)
        np.matmul(left, right[:, columns], out=out[:, columns])


def _interpolation(
    knots: NDArray[np.float64], positions: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Give each position's interval and how far along it is (0 to 1); beyond the ends, the end."""
    if len(knots) == 0:
        return np.zeros(positions.shape, dtype=np.intp), np.zeros(positions.shape)
    interval = np.clip(np.searchsorted(knots, positions, side="right") - 1, 0, len(knots) - 2)
    fraction = (positions - knots[interval]) / (knots[interval + 1] - knots[interval])
    return interval, np.clip(fraction, 0.0, 1.0)


def _check_positions(
    shape: tuple[int, int], n: int, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the chip's corners and n random positions on it."""
    ny, nx = shape
    random = np.random.default_rng(seed)
    x = np.concatenate([[-0.5, nx - 0.5, -0.5, nx - 0.5], random.uniform(-0.5, nx - 0.5, n)])
    y = np.concatenate([[-0.5, -0.5, ny - 0.5, ny - 0.5], random.uniform(-0.5, ny - 0.5, n)])
    return x, y
