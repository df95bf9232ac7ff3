"""Blot: what an undistorted image looks like in the pixels of a chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine import _outliers
from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["INTERPOLATIONS", "blot_image", "stencil_reach"]

INTERPOLATIONS = ("nearest", "linear", "poly3", "poly5", "spline3", "sinc")
"""Values of blot_interp."""

_REACH = {"nearest": 1, "linear": 1, "poly3": 2, "poly5": 3, "spline3": 16, "sinc": 8}


def stencil_reach(interpolation: str) -> int:
    """Give how far from a position, in pixels, an interpolation looks at an image.

    Parameters
    ----------
    interpolation : str
        One of `INTERPOLATIONS`.

    Returns
    -------
    int
        Pixels; for ``spline3``, beyond which a pixel counts for less than a part in 10^8.

    Raises
    ------
    ParameterError
        For an unknown interpolation.
    """
    if interpolation not in INTERPOLATIONS:
        raise ParameterError(
            f"blot_interp: found {interpolation!r}, expected one of {', '.join(INTERPOLATIONS)}."
        )
    return _REACH[interpolation]


def blot_image(
    image: NDArray[np.float32],
    positions: NDArray[np.float64],
    interpolation: str = "poly5",
    sinc_scale: float = 1.0,
) -> NDArray[np.float32]:
    """Interpolate an image at any positions.

    ``nearest`` takes the pixel in which a position lies, ``linear`` is bilinear, ``poly3`` and ``poly5`` are
    polynomials through the 4 x 4 and 6 x 6 nearest pixels (Lagrange), ``spline3`` is the cubic spline through
    all pixels, ``sinc`` a sinc function of 15 x 15 pixels under a squared cosine, normalised to 1. Where
    pixels without data or the image's edge lie in the way, the mean of the four nearest pixels with data
    is taken, weighted by distance, as long as the nearest has data.

    Parameters
    ----------
    image : ndarray of float32
        Values, shape (ny, nx); NaN for no data.
    positions : ndarray of float64
        x and y, 0-based, pixel centres at integers, shape (..., 2).
    interpolation : str
        One of `INTERPOLATIONS`.
    sinc_scale : float
        Factor of distances in ``sinc`` (blot_sinscl).

    Returns
    -------
    ndarray of float32
        Values, shape (...); NaN where there is no data.

    Raises
    ------
    ParameterError
        For an unknown interpolation.
    """
    stencil_reach(interpolation)
    image = np.ascontiguousarray(image, dtype=np.float32)
    out = np.empty(positions.shape[:-1], dtype=np.float32)
    _blot(_spline_coefficients(image) if interpolation == "spline3" else image, positions, interpolation, sinc_scale, out)
    if interpolation == "spline3":
        # Coefficients are no values: where data are missing or end, the values themselves are interpolated.
        np.copyto(out, blot_image(image, positions, "linear"), where=np.isnan(out) | _near_edge(image, positions))
    return out


def _blot(
    image: NDArray[np.float32],
    positions: NDArray[np.float64],
    interpolation: str,
    sinc_scale: float,
    out: NDArray[np.float32],
) -> None:
    _outliers.blot(
        image,
        image.shape[0],
        image.shape[1],
        np.ascontiguousarray(positions, dtype=np.float64),
        interpolation,
        sinc_scale,
        out,
    )


def _spline_coefficients(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn values into coefficients of cubic B-splines; NaN where a pixel within the stencil has no data."""
    from scipy.ndimage import spline_filter

    empty = np.isnan(image)
    coefficients: NDArray[np.float32] = spline_filter(
        np.where(empty, np.float32(0.0), image), order=3, output=np.float32, mode="mirror"
    )
    coefficients[empty] = np.nan
    return coefficients


def _near_edge(image: NDArray[np.float32], positions: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell positions whose stencil of 4 x 4 pixels is not wholly in the image."""
    x, y = positions[..., 0], positions[..., 1]
    ny, nx = image.shape
    inside: NDArray[np.bool_] = (x >= 1.0) & (y >= 1.0) & (x < nx - 2) & (y < ny - 2)
    return ~inside
