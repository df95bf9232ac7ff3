"""The detectors that can be simulated: what they deliver, how noisy and how sensitive they are.

Photometric numbers are rounded values of the kind that exposure headers carry (``PHOTFLAM``, ``PHOTPLAM``,
``PHOTBW``); they set the scale of the fluxes and are no calibration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DETECTORS", "Bandpass", "Detector", "detector_of"]

_TELESCOPE_DIAMETER = 2.4
"""Aperture of the telescope in metres."""

_FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


@dataclass(frozen=True)
class Bandpass:
    """A filter of one detector, with the keywords that say how bright a source appears through it."""

    photflam: float
    """Inverse sensitivity in erg / cm2 / Angstrom / electron."""

    photplam: float
    """Pivot wavelength in Angstrom."""

    photbw: float
    """RMS width of the bandpass in Angstrom."""

    @property
    def ab_zero_point(self) -> float:
        """AB magnitude of a source of one electron per second (from PHOTFLAM and PHOTPLAM)."""
        return -2.5 * math.log10(self.photflam) - 21.10 - 5.0 * math.log10(self.photplam) + 18.6921

    @property
    def photfnu(self) -> float:
        """Inverse sensitivity in Jy second / electron."""
        return float(10.0 ** (-0.4 * (self.ab_zero_point - 8.9)))


@dataclass(frozen=True)
class Detector:
    """One detector of Hubble."""

    instrument: str
    """Instrument in lower case: ``acs`` or ``wfc3``."""

    detector: str
    """Detector in lower case: ``wfc``, ``hrc``, ``sbc``, ``uvis`` or ``ir``."""

    root_letter: str
    """First letter of its exposures' rootnames."""

    units: str
    """BUNIT of its calibrated exposures."""

    file_types: tuple[str, ...]
    """Kinds of calibrated exposure that it has; the first is the usual one."""

    gain: float
    """Electrons per data number."""

    read_noise: float
    """RMS read noise in electrons (WFC3/IR: of the fit up the ramp)."""

    full_well: float
    """Electrons at which a pixel saturates; infinite where the detector counts photons."""

    blur: float
    """FWHM in arcsec of everything but diffraction that widens a star (charge diffusion, jitter)."""

    sky_rate: float
    """Usual sky level in electrons per second per pixel."""

    cosmic_ray_rate: float
    """Cosmic-ray hits per second per pixel that are left in a calibrated exposure."""

    hot_fraction: float
    """Fraction of pixels flagged hot (DQ 16)."""

    warm_fraction: float
    """Fraction of pixels flagged warm (DQ 64)."""

    dead_fraction: float
    """Fraction of pixels flagged bad (DQ 4), whose value means nothing."""

    bad_columns: int
    """Number of bad partial columns a chip (DQ 128)."""

    bandpasses: Mapping[str, Bandpass]
    """Its filters, by name in lower case."""

    second_wheel: frozenset[str] = frozenset()
    """Filters that sit in the second of two wheels (FILTER2)."""

    clear_names: tuple[str, str] = ("", "")
    """What FILTER1 and FILTER2 say when nothing is in the beam; empty for a single wheel (FILTER)."""

    @property
    def label(self) -> str:
        """Instrument and detector joined: ``acs_wfc``."""
        return f"{self.instrument}_{self.detector}"

    def bandpass(self, filter_name: str) -> Bandpass:
        """The bandpass of a filter; of two filters joined by ``-``, the first one's.

        Parameters
        ----------
        filter_name : str
            Name in lower case: ``f606w`` or ``f606w-pol60v``.

        Raises
        ------
        ParameterError
            If the detector has no such filter here.
        """
        try:
            return self.bandpasses[filter_name.split("-")[0]]
        except KeyError:
            known = ", ".join(self.bandpasses)
            raise ParameterError(
                f"the simulation has no filter {filter_name!r} for {self.label}; choose one of: {known}"
            ) from None

    def wheel_names(self, filter_name: str) -> tuple[str, ...]:
        """Values of FILTER, or of FILTER1 and FILTER2, for a filter name."""
        names = [part.upper() for part in filter_name.split("-")]
        if not any(self.clear_names):
            return (names[0],)
        if len(names) > 1:
            return (names[0], names[1])
        if filter_name in self.second_wheel:
            return (self.clear_names[0], names[0])
        return (names[0], self.clear_names[1])

    def core_sigma(self, filter_name: str) -> float:
        """Standard deviation in arcsec of a star's Gaussian core on the sky, before it falls on pixels.

        The width is that of the diffraction pattern (1.03 wavelength / diameter) and `blur` in quadrature.
        """
        wavelength = self.bandpass(filter_name).photplam * 1e-10
        diffraction = math.degrees(1.03 * wavelength / _TELESCOPE_DIAMETER) * 3600.0
        return math.hypot(diffraction, self.blur) / _FWHM_PER_SIGMA


def _bandpasses(**values: tuple[float, float, float]) -> Mapping[str, Bandpass]:
    return MappingProxyType({name: Bandpass(*numbers) for name, numbers in values.items()})


_ACS_WFC = Detector(
    instrument="acs",
    detector="wfc",
    root_letter="j",
    units="ELECTRONS",
    file_types=("flc", "flt"),
    gain=2.0,
    read_noise=4.2,
    full_well=84000.0,
    blur=0.060,
    sky_rate=0.10,
    cosmic_ray_rate=3.0e-6,
    hot_fraction=0.004,
    warm_fraction=0.008,
    dead_fraction=0.0002,
    bad_columns=4,
    bandpasses=_bandpasses(
        f435w=(3.1e-19, 4329.9, 293.5),
        f475w=(1.81e-19, 4746.2, 420.1),
        f555w=(1.95e-19, 5361.0, 360.2),
        f606w=(7.9064521e-20, 5917.6797, 672.31146),
        f625w=(1.2e-19, 6311.8, 415.5),
        f658n=(1.97e-18, 6584.0, 37.0),
        f775w=(9.97e-20, 7693.5, 434.4),
        f814w=(7.05e-20, 8045.5, 652.0),
        f850lp=(1.5e-19, 9033.1, 525.7),
    ),
    second_wheel=frozenset({"f435w", "f814w"}),
    clear_names=("CLEAR1L", "CLEAR2L"),
)

_ACS_HRC = Detector(
    instrument="acs",
    detector="hrc",
    root_letter="j",
    units="ELECTRONS",
    file_types=("flt",),
    gain=2.2160001,
    read_noise=4.71,
    full_well=155000.0,
    blur=0.035,
    sky_rate=0.025,
    cosmic_ray_rate=3.0e-6,
    hot_fraction=0.004,
    warm_fraction=0.004,
    dead_fraction=0.0002,
    bad_columns=1,
    bandpasses=_bandpasses(
        f435w=(5.4e-19, 4311.0, 310.0),
        f475w=(3.0e-19, 4776.0, 420.0),
        f555w=(3.0e-19, 5356.0, 357.0),
        f606w=(1.2781042e-19, 5887.9316, 664.8866),
        f775w=(1.96e-19, 7665.1, 433.0),
        f814w=(1.3e-19, 8115.3, 701.0),
    ),
    second_wheel=frozenset({"f435w", "f814w"}),
    clear_names=("CLEAR1S", "CLEAR2S"),
)

_ACS_SBC = Detector(
    instrument="acs",
    detector="sbc",
    root_letter="j",
    units="COUNTS",
    file_types=("flt",),
    gain=1.0,
    read_noise=0.0,
    full_well=math.inf,
    blur=0.060,
    sky_rate=0.002,
    cosmic_ray_rate=0.0,
    hot_fraction=0.0,
    warm_fraction=0.0,
    dead_fraction=0.0002,
    bad_columns=0,
    bandpasses=_bandpasses(
        f115lp=(1.4e-17, 1406.1, 101.0),
        f122m=(1.3e-16, 1273.7, 49.0),
        f125lp=(1.7e-17, 1437.5, 95.0),
        f140lp=(2.7e-17, 1528.0, 87.0),
        f150lp=(3.2e-17, 1610.7, 83.0),
        f165lp=(1.3e-16, 1757.9, 62.0),
    ),
    clear_names=("N/A", "N/A"),
)

_WFC3_UVIS = Detector(
    instrument="wfc3",
    detector="uvis",
    root_letter="i",
    units="ELECTRONS",
    file_types=("flc", "flt"),
    gain=1.5599999,
    read_noise=3.1,
    full_well=68000.0,
    blur=0.050,
    sky_rate=0.050,
    cosmic_ray_rate=3.0e-6,
    hot_fraction=0.004,
    warm_fraction=0.008,
    dead_fraction=0.0002,
    bad_columns=4,
    bandpasses=_bandpasses(
        f275w=(3.2e-18, 2709.7, 164.4),
        f336w=(1.28e-18, 3354.5, 158.4),
        f390w=(5.0e-19, 3923.7, 291.3),
        f438w=(6.7e-19, 4326.2, 197.3),
        f475w=(2.5e-19, 4773.1, 421.3),
        f555w=(1.8379346e-19, 5308.4307, 517.49445),
        f606w=(1.15e-19, 5889.2, 656.4),
        f775w=(2.1e-19, 7648.3, 419.7),
        f814w=(1.5e-19, 8039.1, 666.8),
    ),
)

_WFC3_IR = Detector(
    instrument="wfc3",
    detector="ir",
    root_letter="i",
    units="ELECTRONS/S",
    file_types=("flt",),
    gain=2.3399999,
    read_noise=14.0,
    full_well=75000.0,
    blur=0.080,
    sky_rate=0.80,
    cosmic_ray_rate=1.0e-7,
    hot_fraction=0.003,
    warm_fraction=0.0,
    dead_fraction=0.003,
    bad_columns=0,
    bandpasses=_bandpasses(
        f098m=(6.05e-20, 9864.1, 500.8),
        f105w=(3.04e-20, 10551.0, 845.6),
        f110w=(1.5318e-20, 11534.459, 1428.4883),
        f125w=(2.24e-20, 12486.1, 866.3),
        f140w=(1.47e-20, 13922.9, 1132.4),
        f160w=(1.92e-20, 15369.2, 826.3),
    ),
)

DETECTORS: Mapping[str, Detector] = MappingProxyType(
    {detector.label: detector for detector in (_ACS_WFC, _ACS_HRC, _ACS_SBC, _WFC3_UVIS, _WFC3_IR)}
)
"""Every detector that can be simulated, by its label (``acs_wfc``)."""


def detector_of(label: str) -> Detector:
    """The detector of a label such as ``acs_wfc``, ``wfc3_ir`` (or ``acs/wfc``, in any case).

    Raises
    ------
    ParameterError
        If there is no such detector.
    """
    try:
        return DETECTORS[label.strip().lower().replace("/", "_")]
    except KeyError:
        raise ParameterError(
            f"unknown detector {label!r} in the simulation; choose one of: {', '.join(DETECTORS)}"
        ) from None
