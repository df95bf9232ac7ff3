"""Exposures and chips: what a calibrated Hubble file holds, read from its headers and checked.

``read_exposure`` reads headers and the small lookup tables only; a chip's pixels are read when asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.errors import ExposureError
from multivisit.exposures import keywords
from multivisit.exposures.chip_wcs import LookupTable, build_wcs, read_lookup_tables, wcs_problem
from multivisit.exposures.fits_file import ImageExtension, image_problem, read_extensions, read_image
from multivisit.exposures.headers import number, text, value
from multivisit.exposures.instruments import Detector, normalise_units
from multivisit.exposures.quality import (
    association_problem,
    find_quality_extension,
    find_quality_file,
    quality_extension_names,
    quality_file_problem,
)
from multivisit.exposures.stored_image import StoredImage
from multivisit.sky.footprint import POINTS_PER_EDGE, outline_pixels

if TYPE_CHECKING:
    import datetime
    import os

    from astropy.io import fits
    from astropy.wcs import WCS
    from numpy.typing import NDArray

__all__ = ["Chip", "Exposure", "read_exposure"]

_TABLE_EXTENSIONS = ("WCSDVARR", "D2IMARR")
_LARGEST_EXTVER = 999
# Hubble's flags have 16 bits; the highest of them makes a 16-bit number negative.
_ALL_FLAGS = 0xFFFF
# BITPIX of the pixels and of the flags as the calibration pipelines write them.
_SCIENCE_BITS, _QUALITY_BITS = -32, 16


@dataclass(frozen=True)
class Chip:
    """One chip of an exposure: a SCI extension with its data quality and errors.

    Holds no pixels and no open file, so it is small and can be sent to other processes.
    """

    path: Path
    """The file that holds the chip."""

    rootname: str
    """Rootname of the exposure, 9 characters, lower case."""

    extver: int
    """EXTVER of its SCI, DQ and ERR extensions."""

    chip_id: int
    """Number of the detector chip: CCDCHIP, for WFPC2 DETECTOR (1 is the PC), else `extver`."""

    shape: tuple[int, int]
    """Rows (y) and columns (x) of its image."""

    header: fits.Header = field(compare=False, repr=False)
    """The complete SCI header."""

    exposure_time: float
    """Seconds by which electrons are divided to give electrons per second (EXPTIME)."""

    units: str
    """Units of the pixels in the file: ``ELECTRONS``, ``ELECTRONS/S``, ``COUNTS`` or ``COUNTS/S``."""

    gain: float
    """Electrons for each unit of the file: 1 unless the pixels are in counts."""

    nominal_scale: float
    """Nominal pixel scale in arcsec: IDCSCALE, or the detector's where that is missing or far from it.

    The flat field leaves a uniform sky uniform, so a pixel's rate is the surface brightness times this scale
    squared, whatever the pixel's true area on the sky."""

    wcs_name: str | None
    """WCSNAME, the name of the WCS solution."""

    lookup_tables: tuple[LookupTable, ...] = field(default=(), compare=False, repr=False)
    """Lookup tables of its WCS."""

    quality_path: Path | None = field(default=None, compare=False, repr=False)
    """File that holds its data quality if that is not `path` (WFPC2: the c1m file)."""

    quality_problem: str = field(default="", compare=False, repr=False)
    """Why its data quality cannot be read, as far as headers tell; for the vetting to refuse."""

    stored_science: StoredImage | None = field(default=None, compare=False, repr=False)
    """Where its pixels stand in the file, if they can be read from there some rows at a time."""

    stored_quality: StoredImage | None = field(default=None, compare=False, repr=False)
    """The same of its data quality."""

    def wcs(self) -> WCS:
        """Build the full WCS of the chip: TAN, SIP, NPOL and D2IM tables.

        Returns
        -------
        WCS
            A fresh object each time: `astropy.wcs` objects should not be shared between threads.
        """
        return build_wcs(self.header, self.shape, self.lookup_tables)

    def read_science(self) -> NDArray[np.float32]:
        """Read the pixels.

        Returns
        -------
        ndarray
            Electrons per second, shape `shape`, float32. NaN and infinities stay as they are; what is too
            large for float32 becomes infinite.

        Raises
        ------
        ExposureError
            If the file cannot be read, or the exposure time is 0 and the pixels are no rates.
        """
        return _scaled(self._image("SCI"), self.electrons_per_second())

    def read_data_quality(self) -> NDArray[np.int32]:
        """Read the data-quality flags.

        Returns
        -------
        ndarray
            Flags, shape `shape`, int32; zeros (all good) if the exposure has no data quality. What is no
            flag (not finite, no whole number, or beyond 16 bits) becomes all flags.

        Raises
        ------
        ExposureError
            If the file cannot be read or the flags have another shape than the pixels.
        """
        for name in quality_extension_names(own=self.quality_path is None):
            quality = self._optional_image(name, self.quality_path)
            if quality is not None:
                return _flags(quality)
        return np.zeros(self.shape, dtype=np.int32)

    def read_error(self) -> NDArray[np.float32] | None:
        """Read the pixels' standard errors.

        Returns
        -------
        ndarray or None
            Electrons per second, shape `shape`, float32; None if the exposure has no ERR extension.

        Raises
        ------
        ExposureError
            If the file cannot be read, the shape differs from that of the pixels, or the exposure time is 0
            and the pixels are no rates.
        """
        error = self._optional_image("ERR")
        if error is None:
            return None
        return _scaled(error, self.electrons_per_second())

    def outline(
        self, points_per_edge: int = POINTS_PER_EDGE
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Carry the chip's outer pixel edges to the sky through the full WCS.

        Parameters
        ----------
        points_per_edge : int
            Number of equal pieces that each of the four edges is divided into.

        Returns
        -------
        ra, dec : ndarray
            Degrees, shape ``(4 * points_per_edge,)`` each, around the chip from its first pixel, not closed.
        """
        known = self._outlines.get(points_per_edge)
        if known is None:
            x, y = outline_pixels(self.shape, points_per_edge).T
            known = np.asarray(self.wcs().all_pix2world(x, y, 0), dtype=np.float64)
            self._outlines[points_per_edge] = known
        ra, dec = known.copy()
        return ra, dec

    @cached_property
    def _outlines(self) -> dict[int, NDArray[np.float64]]:
        """Outlines that have been worked out, by their points per edge."""
        return {}

    def electrons_per_second(self) -> float:
        """Give the factor from the file's units to electrons per second.

        Raises
        ------
        ExposureError
            If the exposure time is 0 and the pixels are no rates.
        """
        if self.units.endswith("/S"):
            return self.gain
        if self.exposure_time <= 0.0:
            raise ExposureError(
                f"{self._label('SCI')}: EXPTIME is {self.exposure_time}, expected more than 0 to turn "
                f"{self.units} into electrons per second. Leave this exposure out."
            )
        return self.gain / self.exposure_time

    def _label(self, name: str) -> str:
        return f"{self.path}[{name},{self.extver}]"

    def _image(self, name: str) -> NDArray[Any]:
        image = self._optional_image(name)
        if image is None:
            raise ExposureError(
                f"{self._label(name)}: not found, though it was there before. Has the file changed?"
            )
        return image

    def _optional_image(self, name: str, path: Path | None = None) -> NDArray[Any] | None:
        image = read_image(path or self.path, name, self.extver)
        if image is not None and image.shape != self.shape:
            raise ExposureError(
                f"{path or self.path}[{name},{self.extver}]: shape is {image.shape}, expected {self.shape} "
                "(rows, columns) as in SCI."
            )
        return image


def _scaled(image: NDArray[Any], factor: float) -> NDArray[np.float32]:
    """Give an image times a factor, in its own memory if it is of float32 already.

    What float32 cannot hold becomes infinite without a warning.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.asarray(image, dtype=np.float32, order="C")
        if factor != 1.0:
            scaled *= np.float32(factor)
    return scaled


def _flags(image: NDArray[Any]) -> NDArray[np.int32]:
    """Give an image as flags; a value that is none becomes all of them, which no one takes for good."""
    if image.dtype.itemsize <= 2:
        return np.array(image, dtype=np.int32, order="C")
    flags = np.full(image.shape, _ALL_FLAGS, dtype=np.int32)
    with np.errstate(invalid="ignore"):
        is_flag = (image >= -(_ALL_FLAGS // 2) - 1) & (image <= _ALL_FLAGS)
        if image.dtype.kind == "f":
            is_flag &= image == np.floor(image)
    flags[is_flag] = image[is_flag]
    return flags


@dataclass(frozen=True)
class Exposure:
    """One calibrated exposure: a file with one or more chips."""

    path: Path
    """The file, as it was asked for."""

    filename: str
    """Name of the file without folder and without ``.gz``."""

    rootname: str
    """Observation rootname, 9 characters, lower case (``jbl70rtvq``)."""

    instrument: str
    """``acs``, ``wfc3`` or ``wfpc2``."""

    detector: str
    """``wfc``, ``hrc``, ``sbc``, ``uvis``, ``ir`` or ``pc``."""

    filter_name: str
    """Filter name as products carry it (``f775w``, ``f606w-pol60v``, ``clear``)."""

    exposure_time: float
    """EXPTIME in seconds; 0 is possible and for the vetting to refuse."""

    start_mjd: float | None
    """Start of the exposure (EXPSTART, else DATE-OBS and TIME-OBS), MJD."""

    end_mjd: float | None
    """End of the exposure (EXPEND, else start plus exposure time), MJD."""

    date_observed: datetime.date | None
    """Date of the exposure's start (DATE-OBS, else from EXPSTART)."""

    proposal_id: int | None
    """Proposal number (PROPOSID, else from a single-visit file name)."""

    file_type: str
    """``flt``, ``flc`` or ``c0m``."""

    primary: fits.Header = field(compare=False, repr=False)
    """The complete primary header."""

    chips: tuple[Chip, ...]
    """The chips in the order of the file."""

    @property
    def product_suffix(self) -> str:
        """Suffix of products made of such exposures: ``drc`` for CTE-corrected ones (FLC), else ``drz``."""
        return "drc" if self.file_type == "flc" else "drz"


def read_exposure(path: str | os.PathLike[str]) -> Exposure:
    """Read the headers of an exposure and check all that the combination needs.

    Parameters
    ----------
    path : str or path
        A calibrated exposure (FLT, FLC or C0M), plain or gzipped.

    Returns
    -------
    Exposure
        Headers, chips and lookup tables; no pixels.

    Raises
    ------
    MissingFileError
        If the file is not there or may not be read.
    ExposureError
        If the file is no FITS file, is truncated, has no SCI extension or lacks what is needed: INSTRUME and
        DETECTOR of a known detector, EXPTIME, known units, a gain for pixels in counts, a TAN WCS with
        CTYPE, CRVAL, CRPIX and an invertible CD matrix, and the lookup tables that the WCS asks for. Also
        if the C1M file of a WFPC2 exposure is missing.

    Notes
    -----
    All other keywords may be missing or blank; the fields of `Exposure` and `Chip` say what takes their
    place.
    """
    path = Path(path)
    if problem := association_problem(path.name):
        raise ExposureError(f"{path}: {problem}.")
    extensions = read_extensions(path, images_of=_TABLE_EXTENSIONS)
    primary = extensions[0].header
    if problem := quality_file_problem(path.name, primary):
        raise ExposureError(f"{path}: {problem}.")
    filename = path.name.removesuffix(".gz")
    detector = keywords.detector_of(path, primary)
    file_type = keywords.file_type(filename, primary, detector)
    science = _science_extensions(path, extensions)
    _check_complete(path, extensions, detector)
    first = next(iter(science.values())).header
    exposure_time = keywords.exposure_time(path, primary, first)
    start = keywords.start_mjd(primary, first)
    rootname = keywords.rootname(filename, primary)
    quality_path = find_quality_file(path, extensions, science) if file_type == "c0m" else None
    qualities = _qualities(path, quality_path, extensions, science)
    tables = {(e.name, 1 if e.version is None else e.version): e for e in extensions if e.image is not None}
    chips = []
    for extver, extension in science.items():
        header = extension.header
        chip_id = keywords.chip_number(header, detector, extver)
        units = _units(path, extver, header, detector)
        counted = units.startswith("COUNTS")
        chips.append(
            Chip(
                path=path,
                rootname=rootname,
                extver=extver,
                chip_id=chip_id,
                shape=(extension.shape[0], extension.shape[1]),
                header=header,
                exposure_time=exposure_time,
                units=units,
                gain=keywords.electrons_per_count(path, primary, detector, chip_id) if counted else 1.0,
                nominal_scale=keywords.nominal_scale(header, detector, chip_id),
                wcs_name=text(header, "WCSNAME") or None,
                lookup_tables=_checked_tables(path, extver, header, tables),
                quality_path=quality_path,
                quality_problem=qualities[extver][0],
                stored_science=_of_kind(extension.stored, _SCIENCE_BITS),
                stored_quality=qualities[extver][1],
            )
        )
    return Exposure(
        path=path,
        filename=filename,
        rootname=rootname,
        instrument=detector.instrument,
        detector=detector.name,
        filter_name=keywords.filter_name(path, primary, detector),
        exposure_time=exposure_time,
        start_mjd=start,
        end_mjd=keywords.end_mjd(primary, first, start, exposure_time),
        date_observed=keywords.date_observed(primary, first, start),
        proposal_id=keywords.proposal_id(filename, primary),
        file_type=file_type,
        primary=primary,
        chips=tuple(chips),
    )


def _science_extensions(path: Path, extensions: tuple[ImageExtension, ...]) -> dict[int, ImageExtension]:
    """Find the SCI extensions by their numbers."""
    science: dict[int, ImageExtension] = {}
    for extension in extensions[1:]:
        if extension.name != "SCI":
            continue
        extver = len(science) + 1 if extension.version is None else extension.version
        if not 0 <= extver <= _LARGEST_EXTVER:
            raise ExposureError(f"{path}: has an extension [SCI,{extver}], expected EXTVER 1, 2, ...")
        if extver in science:
            raise ExposureError(f"{path}: has two extensions [SCI,{extver}], expected one of each EXTVER.")
        kind = text(extension.header, "XTENSION")
        if kind != "IMAGE" or len(extension.shape) != 2 or 0 in extension.shape:
            hint = " Unpack it with funpack." if "ZIMAGE" in extension.header else ""
            raise ExposureError(
                f"{path}[SCI,{extver}]: is a {kind} of shape {extension.shape}, "
                f"expected an IMAGE of two dimensions with pixels.{hint}"
            )
        if problem := image_problem(extension):
            raise ExposureError(f"{path}[SCI,{extver}]: {problem}.")
        science[extver] = extension
    if not science:
        names = ", ".join(extension.label for extension in extensions)
        raise ExposureError(
            f"{path}: has no SCI extension (found: {names}). Expected a calibrated FLT, FLC or C0M file."
        )
    return science


def _check_complete(path: Path, extensions: tuple[ImageExtension, ...], detector: Detector) -> None:
    """Notice a file that was cut between two extensions: fewer than NEXTEND, and a chip or its DQ missing."""
    primary = extensions[0].header
    expected = number(primary, "NEXTEND") or 0.0
    if len(extensions) - 1 >= expected:
        return
    n_science = sum(extension.name == "SCI" for extension in extensions)
    n_quality = sum(extension.name == "DQ" for extension in extensions)
    chip_missing = n_science < detector.n_chips and value(primary, "SUBARRAY") is not True
    if chip_missing or (n_quality < n_science and detector.instrument != "wfpc2"):
        raise ExposureError(
            f"{path}: truncated: {len(extensions) - 1} extensions found, NEXTEND says {expected:.0f}, "
            "and a SCI or DQ extension is missing. Fetch the file again."
        )


def _qualities(
    path: Path,
    quality_path: Path | None,
    extensions: tuple[ImageExtension, ...],
    science: dict[int, ImageExtension],
) -> dict[int, tuple[str, StoredImage | None]]:
    """Find by the headers why a chip's data quality cannot be read (empty if it can), and where it stands."""
    if quality_path is not None:
        path, extensions = quality_path, read_extensions(quality_path)
    found: dict[int, tuple[str, StoredImage | None]] = {}
    for extver, chip in science.items():
        quality = find_quality_extension(extensions, extver, own=quality_path is None)
        if quality is None:
            problem = "" if quality_path is None else f"{path}: has no data quality of chip {extver}"
            found[extver] = problem, None
            continue
        problem = image_problem(quality) or ""
        if not problem and quality.shape != chip.shape:
            problem = f"shape is {quality.shape}, expected {chip.shape} (rows, columns) as in SCI"
        if problem:
            found[extver] = f"{path}[{quality.name},{extver}]: {problem}", None
        else:
            found[extver] = "", _of_kind(quality.stored, _QUALITY_BITS)
    return found


def _of_kind(stored: StoredImage | None, bits: int) -> StoredImage | None:
    """An image that can be read as it stands, if its pixels are of a kind."""
    return stored if stored is not None and stored.bits == bits else None


def _units(path: Path, extver: int, header: fits.Header, detector: Detector) -> str:
    """Give the units of the pixels: BUNIT, else those in which the detector's calibrated files come."""
    found_units = text(header, "BUNIT") or detector.native_units
    units = normalise_units(found_units)
    if units is None:
        raise ExposureError(
            f"{path}[SCI,{extver}]: BUNIT is '{found_units}', expected ELECTRONS, ELECTRONS/S, COUNTS or "
            "COUNTS/S. Use an exposure as the calibration pipeline makes it."
        )
    return units


def _checked_tables(
    path: Path, extver: int, header: fits.Header, tables: dict[tuple[str, int], ImageExtension]
) -> tuple[LookupTable, ...]:
    """Check the WCS of a chip and collect the lookup tables that it asks for."""
    problem = wcs_problem(header)
    if problem is not None:
        raise ExposureError(f"{path}[SCI,{extver}]: no usable WCS: {problem}.")
    try:
        return read_lookup_tables(header, tables)
    except ExposureError as error:
        raise ExposureError(f"{path}[SCI,{extver}]: no usable WCS: {error}.") from error
