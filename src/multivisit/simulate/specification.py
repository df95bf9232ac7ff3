"""What is to be simulated, as plain values: the field, its visits and exposures; read and written as JSON."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import reprlib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multivisit.errors import MissingFileError, ParameterError
from multivisit.simulate.detectors import detector_of

__all__ = [
    "ExposureSpecification",
    "FieldSpecification",
    "NoiseSpecification",
    "SceneSpecification",
    "Source",
    "Visit",
    "read_specification",
    "write_specification",
]

LONGEST_EXPOSURE = 1e5
"""Seconds; Hubble's longest exposures last an hour."""

_MAGNITUDES = (-5.0, 60.0)
_MOST_SOURCES = 10_000_000
_HALF_TURN = 648_000.0
_YEARS = (1990, 2099)
_LONGEST_NAME = 68
_LARGEST_WHOLE_NUMBER = 10**300

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlevel = 3


@dataclass(frozen=True)
class Source:
    """One star or galaxy, fixed on the sky."""

    ra: float
    """Right ascension in degrees (ICRS)."""

    dec: float
    """Declination in degrees (ICRS)."""

    magnitude: float
    """AB magnitude at 6000 Angstrom."""

    spectral_slope: float = 0.0
    """Slope of the spectrum: flux per unit frequency goes as wavelength to this power."""

    half_light_radius: float = 0.0
    """Radius in arcsec of the ellipse with half the light, along the major axis; 0 for a star."""

    axis_ratio: float = 1.0
    """Minor over major axis of a galaxy."""

    position_angle: float = 0.0
    """Position angle of the major axis in degrees, East of North."""

    sersic_index: float = 1.0
    """Sersic index of a galaxy, 0.5 (Gaussian) to 2."""

    def __post_init__(self) -> None:
        _require_between("Source.ra", self.ra, -360.0, 360.0, "degrees")
        _require(-90.0 <= self.dec <= 90.0, "Source.dec", self.dec, "-90 to 90 degrees")
        _require_between("Source.magnitude", self.magnitude, *_MAGNITUDES)
        _require_between("Source.spectral_slope", self.spectral_slope, -10.0, 10.0)
        _require_between("Source.half_light_radius", self.half_light_radius, 0.0, 1000.0, "arcsec")
        _require_between("Source.position_angle", self.position_angle, -360.0, 360.0, "degrees")
        _require(0.0 < self.axis_ratio <= 1.0, "Source.axis_ratio", self.axis_ratio, "over 0, at most 1")
        _require(0.5 <= self.sersic_index <= 2.0, "Source.sersic_index", self.sersic_index, "0.5 to 2")


@dataclass(frozen=True)
class SceneSpecification:
    """The stars and galaxies of a field, drawn at random within a circle, plus any given ones."""

    radius: float = 110.0
    """Radius in arcsec of the circle that is filled."""

    n_stars: int = 1500
    """Number of stars."""

    star_magnitudes: tuple[float, float] = (18.0, 26.0)
    """Brightest and faintest AB magnitude of the stars."""

    n_galaxies: int = 200
    """Number of galaxies."""

    galaxy_magnitudes: tuple[float, float] = (20.0, 25.5)
    """Brightest and faintest AB magnitude of the galaxies."""

    galaxy_radii: tuple[float, float] = (0.15, 0.7)
    """Smallest and largest half-light radius in arcsec."""

    count_slope: float = 0.2
    """Logarithmic slope of the number of sources per magnitude."""

    minimum_separation: float = 0.0
    """No two stars are closer than this, in arcsec (isolated stars for photometry)."""

    sources: tuple[Source, ...] = ()
    """Sources that are there besides the random ones."""

    def __post_init__(self) -> None:
        name = "SceneSpecification"
        _require(0.0 < self.radius <= 36_000.0, f"{name}.radius", self.radius, "over 0, at most 36000 arcsec")
        _require_between(f"{name}.n_stars", self.n_stars, 0, _MOST_SOURCES)
        _require_between(f"{name}.n_galaxies", self.n_galaxies, 0, _MOST_SOURCES)
        for kind in ("star", "galaxy"):
            for magnitude in getattr(self, f"{kind}_magnitudes"):
                _require_between(f"{name}.{kind}_magnitudes", magnitude, *_MAGNITUDES)
        for radius in self.galaxy_radii:
            _require_between(f"{name}.galaxy_radii", radius, 1e-6, 1000.0, "arcsec")
        _require_between(f"{name}.count_slope", self.count_slope, -2.0, 2.0)
        _require_between(f"{name}.minimum_separation", self.minimum_separation, 0.0, 36_000.0, "arcsec")


@dataclass(frozen=True)
class NoiseSpecification:
    """Noise and blemishes; each can be switched off by itself."""

    photon_noise: bool = True
    """Poisson noise of sources and sky."""

    read_noise: bool = True
    """Gaussian read noise of the detector."""

    cosmic_rays: float = 1.0
    """Cosmic-ray hits, as a multiple of the detector's usual rate."""

    unflagged_cosmic_rays: float = 0.02
    """Fraction of the cosmic-ray hits that DQ does not flag (4096)."""

    hot_pixels: bool = True
    """Hot (16) and warm (64) pixels, with the noise of their dark current."""

    bad_pixels: bool = True
    """Meaningless values: dead pixels (4) and bad columns (128)."""

    saturation: bool = True
    """Pixels over the full well are clipped there and flagged (256)."""

    def __post_init__(self) -> None:
        name = "NoiseSpecification"
        _require_between(f"{name}.cosmic_rays", self.cosmic_rays, 0.0, 100.0)
        _require_between(f"{name}.unflagged_cosmic_rays", self.unflagged_cosmic_rays, 0.0, 1.0)

    @classmethod
    def none(cls) -> NoiseSpecification:
        """No noise and no blemish at all: the expected values."""
        return cls(
            photon_noise=False,
            read_noise=False,
            cosmic_rays=0.0,
            hot_pixels=False,
            bad_pixels=False,
            saturation=False,
        )


@dataclass(frozen=True)
class ExposureSpecification:
    """A set of exposures of one visit through one filter, one for each dither position."""

    detector: str
    """``acs_wfc``, ``acs_hrc``, ``acs_sbc``, ``wfc3_uvis`` or ``wfc3_ir``."""

    filter_name: str
    """Filter in lower case, for example ``f606w``."""

    exposure_time: float
    """Seconds of each exposure."""

    dithers: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    """Offsets of the exposures from the visit's pointing, in arcsec along V2 and V3."""

    sky_levels: tuple[float, ...] | None = None
    """Sky level of each exposure in electrons per second per pixel; by default drawn around the usual one."""

    subarray: tuple[int, int] | None = None
    """Rows and columns that are read of each chip; by default all. Centred in x; of two chips, the rows next
    to the gap, of one chip, the rows around the middle."""

    file_type: str | None = None
    """``flc`` or ``flt``; by default what is usual for the detector."""

    def __post_init__(self) -> None:
        detector = detector_of(self.detector)
        detector.bandpass(self.filter_name)
        name = f"ExposureSpecification({self.detector})"
        _require_between(f"{name}.exposure_time", self.exposure_time, 0.0, LONGEST_EXPOSURE, "s")
        _require(len(self.dithers) > 0, f"{name}.dithers", self.dithers, "at least one position")
        for dither in self.dithers:
            _require_offset(f"{name}.dithers", dither)
        if self.sky_levels is not None:
            wanted = f"as many levels as dithers ({len(self.dithers)})"
            _require(len(self.sky_levels) == len(self.dithers), f"{name}.sky_levels", self.sky_levels, wanted)
            for level in self.sky_levels:
                _require_between(f"{name}.sky_levels", level, 0.0, 1e6, "electrons per second")
        if self.subarray is not None:
            _require(min(self.subarray) > 0, f"{name}.subarray", self.subarray, "rows and columns over 0")
        if self.file_type is not None:
            wanted = " or ".join(detector.file_types)
            _require(self.file_type in detector.file_types, f"{name}.file_type", self.file_type, wanted)


@dataclass(frozen=True)
class Visit:
    """Exposures taken one after the other at one roll."""

    visit_id: str
    """Two characters, unique in the field for each instrument: the ``ss`` of the rootnames."""

    date: str
    """Start in UTC, ISO 8601: ``2011-03-05T10:20:00``."""

    roll: float
    """Position angle of the V3 axis (PA_V3) in degrees."""

    exposures: tuple[ExposureSpecification, ...]
    """What is taken."""

    offset: tuple[float, float] = (0.0, 0.0)
    """Pointing relative to the field's centre in arcsec, to the East and North."""

    proposal_id: int = 99001
    """PROPOSID."""

    program_id: str = "sim"
    """Three characters: the ``ppp`` of the rootnames."""

    wcs_offset: tuple[float, float] = (0.0, 0.0)
    """Error of the WCS in the headers: what they say minus the truth, in arcsec to the East and North."""

    wcs_rotation: float = 0.0
    """Error of the roll in the headers, in degrees."""

    wcs_name: str | None = None
    """WCSNAME in the headers; by default that of the distortion solution, not fitted to any catalog."""

    def __post_init__(self) -> None:
        name = f"Visit({self.visit_id})"
        _require(_is_base36(self.visit_id, 2), "Visit.visit_id", self.visit_id, "two letters or digits")
        _require(
            _is_base36(self.program_id, 3), f"{name}.program_id", self.program_id, "three letters or digits"
        )
        _require(len(self.exposures) > 0, f"{name}.exposures", self.exposures, "at least one")
        _require_between(f"{name}.roll", self.roll, -360.0, 360.0, "degrees")
        _require_between(f"{name}.proposal_id", self.proposal_id, 0, 99_999_999)
        _require_offset(f"{name}.offset", self.offset)
        _require_offset(f"{name}.wcs_offset", self.wcs_offset)
        _require_between(f"{name}.wcs_rotation", self.wcs_rotation, -360.0, 360.0, "degrees")
        if self.wcs_name is not None:
            wanted = f"at most {_LONGEST_NAME} printable ASCII characters"
            _require(_fits_header(self.wcs_name), f"{name}.wcs_name", self.wcs_name, wanted)
        self.start()

    def start(self) -> datetime.datetime:
        """Start of the visit (UTC)."""
        try:
            start = datetime.datetime.fromisoformat(self.date)
        except ValueError:
            raise ParameterError(
                f"Visit({self.visit_id}).date: found {_SHORT.repr(self.date)}, expected ISO 8601: "
                "2011-03-05T10:20:00"
            ) from None
        wanted = f"a year from {_YEARS[0]} to {_YEARS[1]}"
        _require(_YEARS[0] <= start.year <= _YEARS[1], f"Visit({self.visit_id}).date", self.date, wanted)
        return start if start.tzinfo is None else start.astimezone(datetime.UTC).replace(tzinfo=None)


@dataclass(frozen=True)
class FieldSpecification:
    """A field on the sky and all that is observed of it."""

    name: str
    """Name of the field."""

    ra: float
    """Right ascension of its centre in degrees (ICRS)."""

    dec: float
    """Declination of its centre in degrees (ICRS)."""

    visits: tuple[Visit, ...]
    """The visits."""

    scene: SceneSpecification = field(default_factory=SceneSpecification)
    """Stars and galaxies."""

    noise: NoiseSpecification = field(default_factory=NoiseSpecification)
    """Noise and blemishes."""

    seed: int = 1
    """Start of all the random numbers: the same specification gives the same pixels."""

    wing_fraction: float = 0.10
    """Fraction of a star's light in the wings of its image."""

    wing_width: float = 3.5
    """Width of the wings as a multiple of the core's."""

    file_naming: str = "pipeline"
    """Names of the files: ``pipeline`` (jsim0101q_flc.fits), or ``svm`` as single-visit products are named
    (hst_99001_01_acs_wfc_f606w_jsim0101_flc.fits)."""

    def __post_init__(self) -> None:
        _require(self.name.isprintable(), "FieldSpecification.name", self.name, "one line of printable text")
        _require(-90.0 <= self.dec <= 90.0, "FieldSpecification.dec", self.dec, "-90 to 90 degrees")
        _require_between("FieldSpecification.ra", self.ra, -360.0, 360.0, "degrees")
        _require(len(self.visits) > 0, "FieldSpecification.visits", self.visits, "at least one")
        _require_between("FieldSpecification.seed", self.seed, 0, 2**64 - 1)
        _require(
            0 <= self.wing_fraction < 1, "FieldSpecification.wing_fraction", self.wing_fraction, "0 to 1"
        )
        wanted = "over 0, at most 100"
        _require(0 < self.wing_width <= 100, "FieldSpecification.wing_width", self.wing_width, wanted)
        wanted = "'pipeline' or 'svm'"
        _require(
            self.file_naming in ("pipeline", "svm"),
            "FieldSpecification.file_naming",
            self.file_naming,
            wanted,
        )
        identities = [(visit.program_id, visit.visit_id) for visit in self.visits]
        repeated = sorted({"".join(item) for item in identities if identities.count(item) > 1})
        _require(
            not repeated,
            "FieldSpecification.visits",
            repeated,
            "no two visits of one program with one visit_id",
        )


def read_specification(path: Path) -> FieldSpecification:
    """Read a field from a JSON file: an object with the names of `FieldSpecification`, nested.

    Raises
    ------
    MissingFileError
        If the file is not there or may not be read.
    ParameterError
        If it is no JSON, or has an unknown or missing name, or a value of the wrong type.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFileError(f"{path}: the field specification cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ParameterError(f"{path}: expected a field specification in JSON: {error}") from error
    except RecursionError:
        raise ParameterError(
            f"{path}: found JSON nested hundreds of levels deep, expected a field specification: "
            "a field with visits, these with exposures"
        ) from None
    try:
        return typing.cast("FieldSpecification", _build(FieldSpecification, content, "field"))
    except ParameterError as error:
        raise ParameterError(f"{path}: {error}") from error


def write_specification(specification: FieldSpecification, path: Path) -> None:
    """Write a field as JSON, complete with all defaults, in the form that `read_specification` reads."""
    from multivisit.atomic import atomic_path

    text = json.dumps(dataclasses.asdict(specification), indent=2) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _require(condition: bool, name: str, found: object, expected: str) -> None:
    if not condition:
        raise ParameterError(f"{name}: found {_SHORT.repr(found)}, expected {expected}")


def _require_between(name: str, found: float, low: float, high: float, unit: str = "") -> None:
    _require(low <= found <= high, name, found, f"{low:.8g} to {high:.8g} {unit}".rstrip())


def _require_offset(name: str, offset: tuple[float, float]) -> None:
    for value in offset:
        _require_between(name, value, -_HALF_TURN, _HALF_TURN, "arcsec")


def _fits_header(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and text.isascii() and text.isprintable()


def _is_base36(text: str, length: int) -> bool:
    return len(text) == length and text.isascii() and text.isalnum()


def _build(kind: Any, value: Any, place: str) -> Any:
    """Make a value of an annotated type from what JSON gave."""
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, place)
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (kind,) = (option for option in typing.get_args(kind) if option is not types.NoneType)
        return _build(kind, value, place)
    if origin is tuple:
        return _build_tuple(typing.get_args(kind), value, place)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        _require(abs(value) < _LARGEST_WHOLE_NUMBER, place, value, "a number that is not as large")
        return float(value)
    if kind is float and isinstance(value, float):
        _require(math.isfinite(value), place, value, "a finite number")
    _require(
        isinstance(value, kind) and (kind is bool or not isinstance(value, bool)), place, value, kind.__name__
    )
    return value


def _build_dataclass(kind: Any, value: Any, place: str) -> Any:
    _require(isinstance(value, dict), place, value, f"an object ({kind.__name__})")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(value) - set(hints))
    _require(not unknown, place, unknown, f"only names of {kind.__name__}: {', '.join(hints)}")
    fields = dataclasses.fields(kind)
    no_default = dataclasses.MISSING
    needed = {
        item.name for item in fields if item.default is no_default and item.default_factory is no_default
    }
    missing = sorted(needed - set(value))
    _require(not missing, place, sorted(value), f"also {', '.join(missing)}")
    values = {name: _build(hints[name], item, f"{place}.{name}") for name, item in value.items()}
    try:
        return kind(**values)
    except ParameterError as error:
        raise ParameterError(f"{place}: {error}") from error


def _build_tuple(kinds: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    _require(isinstance(value, list), place, value, "a list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_build(kinds[0], item, f"{place}[{index}]") for index, item in enumerate(value))
    _require(len(value) == len(kinds), place, value, f"{len(kinds)} values")
    return tuple(
        _build(kind, item, f"{place}[{index}]")
        for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )
