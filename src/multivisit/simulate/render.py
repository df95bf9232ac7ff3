"""Sources to expected pixel values, through the full WCS, with the light conserved.

A calibrated exposure is flat-fielded so that an evenly bright sky gives even pixel values, whatever the area
of each pixel on the sky. A pixel's value is therefore the light that falls into it divided by its area in
units of the nominal pixel scale squared, and the light of a source is the sum of values times areas.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from multivisit.simulate.geometry import Pointing, Window, chip_wcs, detector_geometry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from multivisit.simulate.scene import Scene

__all__ = ["LocalFrame", "local_frames", "pixel_areas", "render_scene", "sky_to_pixel"]

_ROWS_AT_A_TIME = 128
_LOST_LIGHT = 1e-7
"""Fraction of a source's light that its stamp may leave outside."""
_VALUES_AT_A_TIME = 4_000_000


@lru_cache(maxsize=6)
def pixel_areas(label: str, extver: int, window: Window) -> NDArray[np.float32]:
    """Area of each pixel on the sky in units of the nominal pixel's, from its corners through the full WCS.

    The pixel's four corners are carried to the focal plane (SIP and lookup tables), the area of their
    quadrilateral to the tangent plane by the determinant of the linear terms, and to the sky by the cube of
    the cosine of the distance from the tangent point. The pointing does not matter.

    Parameters
    ----------
    label : str
        Detector, for example ``acs_wfc``.
    extver : int
        Version of the chip's SCI extension.
    window : Window
        The part of the chip.

    Returns
    -------
    ndarray, float32
        Of the window's shape; read-only, since it is kept for the next exposure.
    """
    (chip,) = (chip for chip in detector_geometry(label).chips if chip.extver == extver)
    wcs = chip_wcs(chip, Pointing(0.0, 0.0, 0.0), window)
    ny, nx = window.shape
    areas = np.empty((ny, nx), dtype=np.float32)
    columns = np.arange(nx + 1) - 0.5
    unit = abs(np.linalg.det(chip.cd)) * (3600.0 / chip.nominal_scale) ** 2
    origin = np.asarray(wcs.wcs.crpix) - 1.0
    for first in range(0, ny, _ROWS_AT_A_TIME):
        rows = np.arange(first, min(first + _ROWS_AT_A_TIME, ny) + 1) - 0.5
        x, y = np.meshgrid(columns, rows)
        u, v = (np.reshape(values, x.shape) for values in wcs.pix2foc(x.ravel(), y.ravel(), 0))
        du1, dv1 = u[1:, 1:] - u[:-1, :-1], v[1:, 1:] - v[:-1, :-1]
        du2, dv2 = u[1:, :-1] - u[:-1, 1:], v[1:, :-1] - v[:-1, 1:]
        xi, eta = np.radians(np.tensordot(chip.cd, [u[1:, 1:] - origin[0], v[1:, 1:] - origin[1]], axes=1))
        foreshortening = (1.0 + xi**2 + eta**2) ** -1.5
        areas[first : first + len(rows) - 1] = 0.5 * np.abs(du1 * dv2 - du2 * dv1) * unit * foreshortening
    areas.setflags(write=False)
    return areas


def sky_to_pixel(
    wcs: WCS, ra: NDArray[np.float64], dec: NDArray[np.float64], margin: float, shape: tuple[int, int]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Pixel positions of the directions that fall on a chip or near it, through the full WCS inverted.

    The distortion moves a pixel by far less than it is away from the reference pixel, so repeating
    ``pixel += wanted - distorted(pixel)`` converges; it is run to 1e-9 pixel.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Full WCS of the chip.
    ra, dec : ndarray, float64
        Directions in degrees.
    margin : float
        How far outside the chip a position is still wanted, in pixels.
    shape : tuple of int
        Rows and columns of the chip.

    Returns
    -------
    index : ndarray of int
        Which directions are on the chip or within the margin.
    x, y : ndarray, float64
        Their pixel positions, 0-based.
    """
    ny, nx = shape
    near = np.flatnonzero(_angular_distance(ra, dec, *wcs.wcs.crval) < _reach(wcs, shape, margin))
    if near.size == 0:
        return near, np.empty(0), np.empty(0)
    wanted = np.array(wcs.wcs_world2pix(ra[near], dec[near], 0))
    position = wanted.copy()
    for _ in range(60):
        step = wanted - np.array(wcs.pix2foc(position[0], position[1], 0))
        position += step
        if np.abs(step).max() < 1e-9:
            break
    x, y = position
    inside = (x > -0.5 - margin) & (x < nx - 0.5 + margin) & (y > -0.5 - margin) & (y < ny - 0.5 + margin)
    # Far outside the chip the polynomial means nothing and may not converge; on it, it always does.
    inside &= np.abs(step).max(axis=0) < 1e-6
    return near[inside], x[inside], y[inside]


def _reach(wcs: WCS, shape: tuple[int, int], margin: float) -> float:
    """Angle in degrees within which everything on a chip lies, seen from its reference direction."""
    corners = np.array([[x, y] for x in (0, shape[1]) for y in (0, shape[0])]) - np.asarray(wcs.wcs.crpix)
    farthest = np.hypot(*corners.T).max() * 1.1 + margin
    return float(farthest * np.sqrt(np.abs(np.linalg.det(wcs.wcs.cd))) * 1.2)


def _angular_distance(
    ra: NDArray[np.float64], dec: NDArray[np.float64], ra0: float, dec0: float
) -> NDArray[np.float64]:
    half_dec, half_ra = np.radians(dec - dec0) / 2.0, np.radians(ra - ra0) / 2.0
    haversine = (
        np.sin(half_dec) ** 2 + np.cos(np.radians(dec)) * np.cos(np.radians(dec0)) * np.sin(half_ra) ** 2
    )
    distance: NDArray[np.float64] = np.degrees(2.0 * np.arcsin(np.sqrt(np.clip(haversine, 0.0, 1.0))))
    return distance


@dataclass(frozen=True)
class LocalFrame:
    """Positions on a chip and what a small step on the sky is there in pixels."""

    index: NDArray[np.intp]
    """Which sources these are."""

    x: NDArray[np.float64]
    """Column, 0-based."""

    y: NDArray[np.float64]
    """Row, 0-based."""

    jacobian: NDArray[np.float64]
    """(n, 2, 2): pixels (x, y) by arcsec (East, North)."""


def local_frames(
    wcs: WCS, ra: NDArray[np.float64], dec: NDArray[np.float64], margin: float, shape: tuple[int, int]
) -> LocalFrame:
    """Where directions fall on a chip, with the local Jacobian of the WCS over 16 pixels."""
    index, x, y = sky_to_pixel(wcs, ra, dec, margin, shape)
    step = 8.0
    along_x = np.array(wcs.pix2foc(x + step, y, 0)) - np.array(wcs.pix2foc(x - step, y, 0))
    along_y = np.array(wcs.pix2foc(x, y + step, 0)) - np.array(wcs.pix2foc(x, y - step, 0))
    focal_by_pixel = np.stack([along_x, along_y], axis=-1) / (2.0 * step)  # (2, n, 2)
    # North at the source, not at the chip's reference pixel: a step of one arcsec along the meridian.
    arcsec = 1.0 / 3600.0
    sign = np.where(dec[index] > 0.0, -1.0, 1.0)
    here = np.array(wcs.wcs_world2pix(ra[index], dec[index], 0))
    there = np.array(wcs.wcs_world2pix(ra[index], dec[index] + sign * arcsec, 0))
    tangent = (np.asarray(wcs.wcs.cd) * 3600.0) @ ((there - here) * sign)
    north = tangent / np.hypot(*tangent)
    east = np.array([north[1], -north[0]])
    axes = np.stack([east, north], axis=-1)  # (2, n, 2): (xi, eta) by (East, North)
    focal_by_sky = np.einsum("ij,jnk->nik", np.linalg.inv(np.asarray(wcs.wcs.cd) * 3600.0), axes)
    jacobian = (
        np.linalg.solve(np.moveaxis(focal_by_pixel, 1, 0), focal_by_sky) if index.size else focal_by_sky
    )
    return LocalFrame(index, x, y, jacobian)


def render_scene(
    scene: Scene,
    fluxes: NDArray[np.float64],
    wcs: WCS,
    shape: tuple[int, int],
    core_sigma: float,
    wing_fraction: float,
    wing_width: float,
) -> NDArray[np.float64]:
    """Light of all sources that falls into each pixel.

    Parameters
    ----------
    scene : Scene
        The sources.
    fluxes : ndarray, float64
        Whole light of each source, in electrons per second.
    wcs : astropy.wcs.WCS
        True WCS of the chip.
    shape : tuple of int
        Rows and columns.
    core_sigma : float
        Standard deviation of a star's core on the sky, arcsec.
    wing_fraction : float
        Fraction of the light in the wings.
    wing_width : float
        Width of the wings as a multiple of the core's.

    Returns
    -------
    ndarray, float64
        Electrons per second that fall into each pixel, of `shape`.
    """
    from multivisit.simulate.scene import sersic_mixture

    image = np.zeros(shape)
    widest = 6.0 * max(core_sigma * wing_width, 2.5 * float(scene.half_light_radius.max(initial=0.0)))
    margin = widest / (3600.0 * np.sqrt(abs(np.linalg.det(wcs.wcs.cd)))) * 1.3 + 2.0
    frame = local_frames(wcs, scene.ra, scene.dec, margin, shape)
    psf = [(1.0 - wing_fraction, core_sigma), (wing_fraction, core_sigma * wing_width)]
    radius, index = scene.half_light_radius[frame.index], scene.sersic_index[frame.index]
    for star_or_index in (None, *np.unique(index[radius > 0.0])):
        chosen = radius == 0.0 if star_or_index is None else (radius > 0.0) & (index == star_or_index)
        profile = ((1.0,), (0.0,)) if star_or_index is None else sersic_mixture(float(star_or_index))
        members = frame.index[chosen]
        shapes = _ellipses(scene, members)
        for fraction, sigma in zip(*profile, strict=True):
            for psf_fraction, psf_sigma in psf:
                on_sky = shapes * sigma**2 + np.eye(2) * psf_sigma**2
                jacobian = frame.jacobian[chosen]
                covariance = jacobian @ on_sky @ np.swapaxes(jacobian, 1, 2)
                share = fraction * psf_fraction
                if share > 0.0:
                    _add_gaussians(
                        image, frame.x[chosen], frame.y[chosen], fluxes[members] * share, covariance, share
                    )
    return image


def _ellipses(scene: Scene, members: NDArray[np.intp]) -> NDArray[np.float64]:
    """Covariances (East, North) in arcsec2 of elliptical Gaussians one half-light radius wide; (n, 2, 2)."""
    angle = np.radians(scene.position_angle[members])
    major = np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    minor = np.stack([np.cos(angle), -np.sin(angle)], axis=-1)
    radius = scene.half_light_radius[members][:, None, None]
    ratio = scene.axis_ratio[members][:, None, None]
    outer_major = major[:, :, None] * major[:, None, :]
    outer_minor = minor[:, :, None] * minor[:, None, :]
    covariance: NDArray[np.float64] = radius**2 * (outer_major + ratio**2 * outer_minor)
    return covariance


def _add_gaussians(
    image: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    covariance: NDArray[np.float64],
    share: float,
) -> None:
    """Add elliptical Gaussians, integrated over the pixels, to an image in place."""
    ny, nx = image.shape
    if x.size == 0:
        return
    largest = np.sqrt(np.linalg.eigvalsh(covariance)[:, 1])
    # The light of a two-dimensional Gaussian beyond r sigma is exp(-r2 / 2).
    reach = np.sqrt(2.0 * np.log(max(share / _LOST_LIGHT, np.e)))
    half = np.ceil(largest * reach).astype(np.intp) + 1
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    for members, size in _batches(half, covariance):
        stamps = _stamps(x[members] - column[members], y[members] - row[members], covariance[members], size)
        stamps *= flux[members][:, None, None]
        for stamp, left, bottom in zip(stamps, column[members] - size, row[members] - size, strict=True):
            first_row, last_row = max(bottom, 0), min(bottom + 2 * size + 1, ny)
            first_column, last_column = max(left, 0), min(left + 2 * size + 1, nx)
            if first_row < last_row and first_column < last_column:
                image[first_row:last_row, first_column:last_column] += stamp[
                    first_row - bottom : last_row - bottom, first_column - left : last_column - left
                ]


def _batches(
    half: NDArray[np.intp], covariance: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Groups of sources that share a stamp size, small enough to be held in memory."""
    order = np.argsort(half, kind="stable")
    start = 0
    while start < order.size:
        smallest = int(half[order[start]])
        stop = int(np.searchsorted(half[order], smallest * 1.15 + 1.0, side="right"))
        size = int(half[order[stop - 1]])
        nodes = _nodes(float(covariance[order[start:stop], 1, 1].min()))
        most = max(1, _VALUES_AT_A_TIME // ((2 * size + 1) * (2 * size + 2) * nodes))
        stop = min(stop, start + most)
        yield order[start:stop], size
        start = stop


def _nodes(variance: float) -> int:
    """Quadrature points a pixel that are exact to 1e-6 for a Gaussian of this variance (pixels squared)."""
    return 8 if variance < 0.25 else 5 if variance < 1.0 else 3 if variance < 4.0 else 2


def _stamps(
    dx: NDArray[np.float64], dy: NDArray[np.float64], covariance: NDArray[np.float64], half: int
) -> NDArray[np.float64]:
    """Pixel-integrated Gaussians of unit light, (n, 2 half + 1, 2 half + 1), (dx, dy) off the middle pixel.

    In y by Gauss-Legendre quadrature over each pixel, scaled so that the rows hold exactly the differences of
    the cumulative function; in x, at each node, exactly, by the conditional Gaussian's cumulative function.
    """
    from scipy.special import ndtr

    edges = np.arange(-half, half + 2) - 0.5
    var_y, cov_xy = covariance[:, 1, 1], covariance[:, 0, 1]
    slope = cov_xy / var_y
    sigma_x = np.sqrt(covariance[:, 0, 0] - cov_xy * slope)
    sigma_y = np.sqrt(var_y)
    nodes, weights = np.polynomial.legendre.leggauss(_nodes(float(var_y.min())))
    at = (np.arange(-half, half + 1)[:, None] + 0.5 * nodes)[None] - dy[:, None, None]
    # Exponents relative to each pixel's own smallest, so that the shares stay defined far out.
    exponent = -0.5 * (at / sigma_y[:, None, None]) ** 2
    density = np.exp(exponent - exponent.max(axis=2, keepdims=True)) * weights
    in_row = np.diff(ndtr((edges - dy[:, None]) / sigma_y[:, None]), axis=1)
    density *= (in_row / density.sum(axis=2))[:, :, None]
    offset = edges - dx[:, None]
    scaled = (offset[:, None, None, :] - (slope[:, None, None] * at)[..., None]) / sigma_x[
        :, None, None, None
    ]
    shares = np.diff(ndtr(scaled), axis=3)
    stamps: NDArray[np.float64] = np.einsum("nyk,nykx->nyx", density, shares)
    return stamps
