"""Blot: what an undistorted image looks like in the pixels of a chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from multivisit.combine import _outliers
from multivisit.combine.median import grown
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
    if interpolation != "spline3":
        _blot(image, positions, interpolation, sinc_scale, out)
        return out
    coefficients, empty = _spline_coefficients(image)
    _blot(coefficients, positions, interpolation, sinc_scale, out)
    # Coefficients are no values: where data are missing or end, the values themselves are interpolated.
    np.copyto(out, blot_image(image, positions, "linear"), where=_incomplete(empty, positions))
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


def _spline_coefficients(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Turn values into coefficients of cubic B-splines; also tell the pixels without data.

    These count as their nearest neighbours with data, so that no step is there to ring.
    """
    from scipy.ndimage import distance_transform_edt, spline_filter

    empty = np.isnan(image)
    if empty.all():
        return image, empty
    if empty.any():
        nearest = distance_transform_edt(empty, return_distances=False, return_indices=True)
        image = image[tuple(nearest)]
    coefficients: NDArray[np.float32] = spline_filter(image, order=3, output=np.float32, mode="mirror")
    return coefficients, empty


def _incomplete(empty: NDArray[np.bool_], positions: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell positions near pixels without data, or whose 4 x 4 pixels are not all in the image."""
    x, y = positions[..., 0], positions[..., 1]
    ny, nx = empty.shape
    inside: NDArray[np.bool_] = (x >= 1.0) & (y >= 1.0) & (x < nx - 2) & (y < ny - 2)
    touched = grown(empty, 2)
    i, j = (np.where(inside, axis, 0.0).astype(np.intp) for axis in (x, y))
    return ~inside | touched[j, i]
