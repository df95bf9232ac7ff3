"""The truth: stars and galaxies at fixed places on the sky, as sums of Gaussians."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Table
    from numpy.typing import NDArray

    from multivisit.simulate.detectors import Detector
    from multivisit.simulate.specification import FieldSpecification, SceneSpecification

__all__ = ["Scene", "make_scene", "sersic_mixture", "truth_table"]

_REFERENCE_WAVELENGTH = 6000.0


@dataclass(frozen=True)
class Scene:
    """Arrays with one entry a source; see `multivisit.simulate.specification.Source` for the meaning."""

    ra: NDArray[np.float64]
    """Right ascension in degrees."""

    dec: NDArray[np.float64]
    """Declination in degrees."""

    magnitude: NDArray[np.float64]
    """AB magnitude at 6000 Angstrom."""

    spectral_slope: NDArray[np.float64]
    """Power of the wavelength in the flux per unit frequency."""

    half_light_radius: NDArray[np.float64]
    """Arcsec; 0 for stars."""

    axis_ratio: NDArray[np.float64]
    """Minor over major axis."""

    position_angle: NDArray[np.float64]
    """Degrees, East of North."""

    sersic_index: NDArray[np.float64]
    """Sersic index."""

    def __len__(self) -> int:
        return self.ra.size

    @property
    def is_star(self) -> NDArray[np.bool_]:
        """Which sources are points."""
        points: NDArray[np.bool_] = self.half_light_radius == 0.0
        return points

    def ab_magnitudes(self, detector: Detector, filter_name: str) -> NDArray[np.float64]:
        """AB magnitude of each source through a filter, at its pivot wavelength."""
        wavelength = detector.bandpass(filter_name).photplam
        color: NDArray[np.float64] = self.spectral_slope * np.log10(wavelength / _REFERENCE_WAVELENGTH)
        return self.magnitude - 2.5 * color

    def fluxes(self, detector: Detector, filter_name: str) -> NDArray[np.float64]:
        """Electrons per second of each source through a filter."""
        zero_point = detector.bandpass(filter_name).ab_zero_point
        flux: NDArray[np.float64] = 10.0 ** (-0.4 * (self.ab_magnitudes(detector, filter_name) - zero_point))
        return flux


def make_scene(specification: FieldSpecification) -> Scene:
    """Draw the sources of a field.

    Stars come first, then galaxies, then the ones that the specification gives. Positions are uniform in a
    circle of the tangent plane at the field's centre.
    """
    scene = specification.scene
    random = np.random.default_rng([specification.seed, 0])
    stars = _star_positions(scene, random)
    galaxies = _uniform_in_circle(scene.radius, scene.n_galaxies, random)
    offsets = np.concatenate([stars, galaxies])
    ra, dec = _deproject(offsets, specification.ra, specification.dec)
    n_stars, n_galaxies = len(stars), len(galaxies)
    magnitudes = [
        _magnitudes(scene.star_magnitudes, scene.count_slope, n_stars, random),
        _magnitudes(scene.galaxy_magnitudes, scene.count_slope, n_galaxies, random),
    ]
    slopes = [random.normal(0.0, 1.0, n_stars), random.normal(0.7, 0.7, n_galaxies)]
    low, high = np.log(scene.galaxy_radii)
    radii = np.exp(random.uniform(low, high, n_galaxies))
    ratios = random.uniform(0.3, 1.0, n_galaxies)
    angles = random.uniform(0.0, 180.0, n_galaxies)
    given = scene.sources
    indices = random.choice(np.array([0.5, 1.0, 1.5]), n_galaxies)

    def joined(*parts: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        return np.concatenate(
            [*parts, np.array([getattr(source, name) for source in given], dtype=np.float64)]
        )

    zeros, ones = np.zeros(n_stars), np.ones(n_stars)
    return Scene(
        ra=joined(ra, name="ra"),
        dec=joined(dec, name="dec"),
        magnitude=joined(*magnitudes, name="magnitude"),
        spectral_slope=joined(*slopes, name="spectral_slope"),
        half_light_radius=joined(zeros, radii, name="half_light_radius"),
        axis_ratio=joined(ones, ratios, name="axis_ratio"),
        position_angle=joined(zeros, angles, name="position_angle"),
        sersic_index=joined(ones, indices, name="sersic_index"),
    )


def _uniform_in_circle(radius: float, number: int, random: np.random.Generator) -> NDArray[np.float64]:
    distance = radius * np.sqrt(random.uniform(size=number))
    angle = random.uniform(0.0, 2.0 * np.pi, number)
    return np.column_stack([distance * np.cos(angle), distance * np.sin(angle)])


def _star_positions(scene: SceneSpecification, random: np.random.Generator) -> NDArray[np.float64]:
    """Positions at least the minimum separation apart: who comes too near an earlier star is drawn again."""
    positions = _uniform_in_circle(scene.radius, scene.n_stars, random)
    if scene.minimum_separation <= 0.0:
        return positions
    from scipy.spatial import KDTree

    for _ in range(200):
        pairs = KDTree(positions).query_pairs(scene.minimum_separation, output_type="ndarray")
        if len(pairs) == 0:
            return positions
        again = np.unique(pairs.max(axis=1))
        positions[again] = _uniform_in_circle(scene.radius, again.size, random)
    raise ParameterError(
        f"SceneSpecification: {scene.n_stars} stars do not fit into {scene.radius} arcsec at least "
        f"{scene.minimum_separation} arcsec apart; ask for fewer stars or a smaller separation"
    )


def _magnitudes(
    limits: tuple[float, float], slope: float, number: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Magnitudes with counts that go as 10**(slope m), by inversion of the cumulated counts."""
    bright, faint = limits
    uniform = random.uniform(size=number)
    if slope == 0.0 or bright == faint:
        return bright + (faint - bright) * uniform
    low, high = 10.0 ** (slope * bright), 10.0 ** (slope * faint)
    magnitudes: NDArray[np.float64] = np.log10(low + (high - low) * uniform) / slope
    return magnitudes


def _deproject(
    offsets: NDArray[np.float64], ra: float, dec: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right ascension and declination of offsets (East, North; arcsec) in the tangent plane at a point."""
    xi, eta = np.radians(offsets / 3600.0).T
    alpha, delta = np.radians([ra, dec])
    cosine, sine = np.cos(delta), np.sin(delta)
    # The direction is r + xi E + eta N; its components along the meridian, East and the pole:
    meridian = cosine - eta * sine
    north = sine + eta * cosine
    right_ascension = np.degrees(alpha + np.arctan2(xi, meridian)) % 360.0
    declination = np.degrees(np.arctan2(north, np.hypot(meridian, xi)))
    return right_ascension, declination


@lru_cache(maxsize=32)
def sersic_mixture(index: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A Sersic profile as a sum of round Gaussians (in the manner of Hogg & Lang 2013, PASP 125, 719).

    The sum is the truth of a simulated galaxy; it follows the Sersic profile to about a percent of its light.

    Parameters
    ----------
    index : float
        Sersic index, 0.5 to 2.

    Returns
    -------
    fractions : tuple of float
        Fractions of the light; they sum to 1.
    sigmas : tuple of float
        Standard deviations in units of the half-light radius of the Sersic profile.
    """
    if index == 0.5:
        return (1.0,), (float(1.0 / np.sqrt(2.0 * np.log(2.0))),)
    from scipy.optimize import nnls
    from scipy.special import gammaincinv

    width = gammaincinv(2.0 * index, 0.5)
    radius = np.linspace(0.01, 5.0, 400)
    profile = np.exp(-width * radius ** (1.0 / index))
    sigmas = np.geomspace(0.05, 2.5, 9)
    # Each ring counts by its light: both sides times the square root of the radius times the profile's scale.
    gaussians = np.exp(-0.5 * (radius[:, None] / sigmas) ** 2) / (2.0 * np.pi * sigmas**2)
    weight = np.sqrt(radius / np.sqrt(profile))
    amplitudes, _ = nnls(gaussians * weight[:, None], profile * weight)
    used = amplitudes > 1e-6 * amplitudes.sum()
    fractions = amplitudes[used] / amplitudes[used].sum()
    return tuple(fractions.tolist()), tuple(sigmas[used].tolist())


def truth_table(scene: Scene, filters: Sequence[tuple[Detector, str]]) -> Table:
    """The truth catalog: positions, shapes, and AB magnitude and flux for every detector and filter."""
    from astropy import units
    from astropy.table import Column, Table

    table = Table()
    table["id"] = np.arange(1, len(scene) + 1)
    table["type"] = np.where(scene.is_star, "star", "galaxy")
    table["ra"] = Column(scene.ra, unit=units.deg, description="right ascension (ICRS)")
    table["dec"] = Column(scene.dec, unit=units.deg, description="declination (ICRS)")
    table["magnitude"] = Column(scene.magnitude, unit=units.mag, description="AB magnitude at 6000 Angstrom")
    table["spectral_slope"] = Column(scene.spectral_slope, description="power of the wavelength in f_nu")
    table["half_light_radius"] = Column(
        scene.half_light_radius, unit=units.arcsec, description="along the major axis, before the PSF"
    )
    table["axis_ratio"] = Column(scene.axis_ratio, description="minor over major axis")
    table["position_angle"] = Column(scene.position_angle, unit=units.deg, description="East of North")
    table["sersic_index"] = Column(scene.sersic_index, description="Sersic index")
    for detector, filter_name in filters:
        name = f"{detector.label}_{filter_name}"
        table[f"abmag_{name}"] = Column(scene.ab_magnitudes(detector, filter_name), unit=units.mag)
        table[f"flux_{name}"] = Column(
            scene.fluxes(detector, filter_name), unit=units.electron / units.s, description="whole light"
        )
    return table
