"""Exposures and chips: what a calibrated Hubble file holds, read from its headers and checked.

``read_exposure`` reads headers and the small lookup tables only. Pixels are read chip by chip when they are asked for.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.errors import ExposureError
from multivisit.exposures.chip_wcs import (
    LookupTable,
    build_wcs,
    linear_scale,
    read_lookup_tables,
    wcs_problem,
)
from multivisit.exposures.fits_file import ImageExtension, file_is_there, read_extensions, read_image
from multivisit.exposures.instruments import (
    WFPC2_GAINS,
    Detector,
    find_detector,
    normalise_filter,
    normalise_units,
    parse_exposure_filename,
)

if TYPE_CHECKING:
    import os

    from astropy.io import fits
    from astropy.wcs import WCS
    from numpy.typing import NDArray

__all__ = ["Chip", "Exposure", "read_exposure"]

_FILE_TYPES = ("flt", "flc", "c0m")
_SECONDS_PER_DAY = 86400.0
_MJD_EPOCH = datetime.date(1858, 11, 17)


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
    """Number of the detector chip: CCDCHIP, for WFPC2 DETECTOR (1 is the PC); `extver` where neither is there."""

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
    """Nominal pixel scale in arcsec: IDCSCALE, or the detector's where that is missing. A pixel's count rate becomes
    surface brightness through this scale, whatever the pixel's true area, since flat fields make it so."""

    wcs_name: str | None
    """WCSNAME, the name of the WCS solution."""

    lookup_tables: tuple[LookupTable, ...] = field(default=(), compare=False, repr=False)
    """Lookup tables of its WCS."""

    quality_path: Path | None = field(default=None, compare=False, repr=False)
    """File that holds its data quality if that is not `path` (WFPC2: the c1m file)."""

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
            Electrons per second, shape `shape`, float32. NaN and infinities stay as they are.

        Raises
        ------
        ExposureError
            If the file cannot be read, or the exposure time is 0 and the pixels are no rates.
        """
        factor = self.gain
        if not self.units.endswith("/S"):
            if self.exposure_time <= 0.0:
                raise ExposureError(
                    f"{self._label('SCI')}: EXPTIME is {self.exposure_time}, expected a positive number to turn "
                    f"{self.units} into electrons per second. Leave this exposure out."
                )
            factor /= self.exposure_time
        science = np.array(self._image("SCI"), dtype=np.float32, order="C")
        if factor != 1.0:
            science *= np.float32(factor)
        return science

    def read_data_quality(self) -> NDArray[np.int32]:
        """Read the data-quality flags.

        Returns
        -------
        ndarray
            Flags, shape `shape`, int32; zeros (all good) if the exposure has no data quality.

        Raises
        ------
        ExposureError
            If the file cannot be read or the flags have another shape than the pixels.
        """
        if self.quality_path is None:
            quality = self._optional_image("DQ")
        else:
            quality = self._optional_image("DQ", self.quality_path)
            for name in ("SCI", "SDQ"):
                if quality is None:
                    quality = self._optional_image(name, self.quality_path)
        if quality is None:
            return np.zeros(self.shape, dtype=np.int32)
        return np.array(quality, dtype=np.int32, order="C")

    def read_error(self) -> NDArray[np.float32] | None:
        """Read the pixels' standard errors.

        Returns
        -------
        ndarray or None
            Electrons per second, shape `shape`, float32; None if the exposure has no ERR extension.

        Raises
        ------
        ExposureError
            If the file cannot be read, the shape differs, or the exposure time is 0 and the pixels are no rates.
        """
        error = self._optional_image("ERR")
        if error is None:
            return None
        factor = self.gain
        if not self.units.endswith("/S"):
            if self.exposure_time <= 0.0:
                raise ExposureError(
                    f"{self._label('ERR')}: EXPTIME is {self.exposure_time}, expected more than 0."
                )
            factor /= self.exposure_time
        return np.array(error, dtype=np.float32, order="C") * np.float32(factor)

    def outline(self, points_per_edge: int = 16) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Carry the chip's outer pixel edges to the sky through the full WCS.

        Parameters
        ----------
        points_per_edge : int
            Vertices on each of the four edges (a corner belongs to one edge only).

        Returns
        -------
        ra, dec : ndarray
            Degrees (ICRS), shape ``(4 * points_per_edge,)`` each, along the outline, not closed.
        """
        x, y = _outline_pixels(self.shape, points_per_edge)
        ra, dec = self.wcs().all_pix2world(x, y, 0)
        return np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)

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
        CTYPE, CRVAL, CRPIX and an invertible CD matrix, and the lookup tables that the WCS asks for.

    Notes
    -----
    All other keywords may be missing or blank; the fields of `Exposure` and `Chip` say what takes their place.
    """
    path = Path(path)
    extensions = read_extensions(path)
    primary = extensions[0].header
    detector = _detector(path, primary)
    filename = path.name.removesuffix(".gz")
    file_type = _file_type(filename, primary, detector)
    rootname = _rootname(filename, primary)
    science = _science_extensions(path, extensions)
    exposure_time = _exposure_time(path, primary, science[0][1].header)
    start = _start_mjd(primary, science[0][1].header)
    quality_path = _quality_path(path) if file_type == "c0m" else None
    chips = tuple(
        _chip(path, rootname, extver, extension, extensions, detector, primary, exposure_time, quality_path)
        for extver, extension in science
    )
    return Exposure(
        path=path,
        filename=filename,
        rootname=rootname,
        instrument=detector.instrument,
        detector=detector.name,
        filter_name=normalise_filter(*(_text(primary, keyword) for keyword in detector.filter_keywords)),
        exposure_time=exposure_time,
        start_mjd=start,
        end_mjd=_end_mjd(primary, start, exposure_time),
        date_observed=_date_observed(primary, science[0][1].header, start),
        proposal_id=_proposal_id(filename, primary),
        file_type=file_type,
        primary=primary,
        chips=chips,
    )


def _outline_pixels(
    shape: tuple[int, int], points_per_edge: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give points along the outer pixel edges, counter-clockwise from the lower left corner."""
    ny, nx = shape
    along = np.arange(points_per_edge) / points_per_edge
    zero, one = np.zeros(points_per_edge), np.ones(points_per_edge)
    x = np.concatenate([along, one, 1.0 - along, zero]) * nx - 0.5
    y = np.concatenate([zero, along, one, 1.0 - along]) * ny - 0.5
    return x, y


def _value(header: fits.Header, keyword: str) -> Any:
    """Give a keyword's value, None where it is missing, blank or an unreadable card."""
    from astropy.io.fits.card import Undefined
    from astropy.io.fits.verify import VerifyError

    try:
        value = header.get(keyword)
    except VerifyError:
        return None
    if isinstance(value, Undefined) or (isinstance(value, str) and not value.strip()):
        return None
    return value


def _text(header: fits.Header, keyword: str) -> str:
    value = _value(header, keyword)
    return "" if value is None else str(value).strip()


def _number(header: fits.Header, keyword: str) -> float | None:
    """Give a keyword that holds a finite number (also one written as a string), else None."""
    value = _value(header, keyword)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None


def _detector(path: Path, primary: fits.Header) -> Detector:
    instrument, name = _text(primary, "INSTRUME"), _text(primary, "DETECTOR")
    detector = find_detector(instrument, name)
    if detector is None:
        raise ExposureError(
            f"{path}[PRIMARY]: INSTRUME is '{instrument}' and DETECTOR is '{name}', expected ACS with WFC, HRC or SBC, "
            "WFC3 with UVIS or IR, or WFPC2."
        )
    return detector


def _file_type(filename: str, primary: fits.Header, detector: Detector) -> str:
    """Give the file type by the file's name, else by the header."""
    suffix = filename.lower().removesuffix(".fits").rpartition("_")[2]
    if suffix in _FILE_TYPES:
        return suffix
    if detector.instrument == "wfpc2":
        return "c0m"
    return "flc" if _text(primary, "PCTECORR").upper() == "COMPLETE" else "flt"


def _rootname(filename: str, primary: fits.Header) -> str:
    """Give the 9-character rootname by the header, else by the file's name."""
    rootname = _text(primary, "ROOTNAME").lower()
    if len(rootname) == 9 and rootname.isalnum():
        return rootname
    parsed = parse_exposure_filename(filename)
    if parsed is not None:
        rootname = parsed.rootname
    # Names with 8 characters leave out the last one, which is q for all but a few.
    return rootname if len(rootname) != 8 else f"{rootname}q"


def _science_extensions(
    path: Path, extensions: tuple[ImageExtension, ...]
) -> list[tuple[int, ImageExtension]]:
    """Find the SCI extensions and their numbers."""
    science: dict[int, ImageExtension] = {}
    for extension in extensions[1:]:
        if extension.name != "SCI":
            continue
        extver = len(science) + 1 if extension.version is None else extension.version
        if extver in science:
            raise ExposureError(f"{path}: has two extensions [SCI,{extver}], expected one of each EXTVER.")
        if len(extension.shape) != 2 or 0 in extension.shape:
            raise ExposureError(
                f"{path}[SCI,{extver}]: the shape of its data is {extension.shape}, expected an image of two dimensions."
            )
        science[extver] = extension
    if not science:
        names = ", ".join(extension.label for extension in extensions)
        raise ExposureError(
            f"{path}: has no SCI extension (found: {names}). Expected a calibrated FLT, FLC or C0M file."
        )
    return list(science.items())


def _exposure_time(path: Path, primary: fits.Header, science: fits.Header) -> float:
    """Give EXPTIME, as AstroDrizzle takes it; it stands in the primary header of calibrated exposures."""
    for header in (primary, science):
        value = _number(header, "EXPTIME")
        if value is not None and value >= 0.0:
            return value
    raise ExposureError(
        f"{path}[PRIMARY]: EXPTIME is {_value(primary, 'EXPTIME')!r}, expected the exposure time in seconds."
    )


def _start_mjd(primary: fits.Header, science: fits.Header) -> float | None:
    """Give EXPSTART, else the time of DATE-OBS and TIME-OBS."""
    for header in (primary, science):
        if start := _number(header, "EXPSTART"):
            return start
    date = _date(_text(primary, "DATE-OBS"))
    if date is None:
        return None
    try:
        time = datetime.time.fromisoformat(_text(primary, "TIME-OBS") or "00:00:00")
    except ValueError:
        time = datetime.time()
    seconds = time.hour * 3600 + time.minute * 60 + time.second + time.microsecond * 1e-6
    return (date - _MJD_EPOCH).days + seconds / _SECONDS_PER_DAY


def _end_mjd(primary: fits.Header, start: float | None, exposure_time: float) -> float | None:
    if end := _number(primary, "EXPEND"):
        return end
    return None if start is None else start + exposure_time / _SECONDS_PER_DAY


def _date_observed(primary: fits.Header, science: fits.Header, start: float | None) -> datetime.date | None:
    for header in (primary, science):
        if date := _date(_text(header, "DATE-OBS")):
            return date
    if start is None or not 0.0 <= start < 1e6:
        return None
    return _MJD_EPOCH + datetime.timedelta(days=int(start))


def _date(text: str) -> datetime.date | None:
    """Read ``2002-04-13``, with or without a time after it, or the ``13/04/98`` of old WFPC2 headers."""
    formats = ("%Y-%m-%d", "%d/%m/%y")
    for form in formats:
        try:
            return datetime.datetime.strptime(text.partition("T")[0], form).date()  # noqa: DTZ007
        except ValueError:
            continue
    return None


def _proposal_id(filename: str, primary: fits.Header) -> int | None:
    proposal = _number(primary, "PROPOSID")
    if proposal is not None:
        return int(proposal)
    parsed = parse_exposure_filename(filename)
    return None if parsed is None else parsed.proposal_id


def _quality_path(path: Path) -> Path | None:
    """Find the c1m file beside a c0m file, plain or gzipped."""
    plain = path.name.removesuffix(".gz").replace("_c0m", "_c1m")
    for name in (plain, f"{plain}.gz"):
        if name != path.name and file_is_there(candidate := path.with_name(name)):
            return candidate
    return None


def _chip(
    path: Path,
    rootname: str,
    extver: int,
    extension: ImageExtension,
    extensions: tuple[ImageExtension, ...],
    detector: Detector,
    primary: fits.Header,
    exposure_time: float,
    quality_path: Path | None,
) -> Chip:
    header = extension.header
    place = f"{path}[SCI,{extver}]"
    problem = wcs_problem(header)
    if problem is not None:
        raise ExposureError(f"{place}: no usable WCS: {problem}.")
    chip_id = _chip_id(header, detector, extver)
    found_units = _text(header, "BUNIT") or detector.native_units
    units = normalise_units(found_units)
    if units is None:
        raise ExposureError(
            f"{place}: BUNIT is '{found_units}', expected ELECTRONS, ELECTRONS/S, COUNTS or COUNTS/S. Use an exposure as "
            "the calibration pipeline makes it."
        )
    try:
        tables = read_lookup_tables(header, _table_reader(path, extensions))
    except ExposureError as error:
        raise ExposureError(f"{place}: {error}.") from error
    return Chip(
        path=path,
        rootname=rootname,
        extver=extver,
        chip_id=chip_id,
        shape=(extension.shape[0], extension.shape[1]),
        header=header,
        exposure_time=exposure_time,
        units=units,
        gain=_gain(path, primary, detector, chip_id) if units.startswith("COUNTS") else 1.0,
        nominal_scale=_nominal_scale(header, detector, chip_id),
        wcs_name=_text(header, "WCSNAME") or None,
        lookup_tables=tables,
        quality_path=quality_path,
    )


def _chip_id(header: fits.Header, detector: Detector, extver: int) -> int:
    chip = _number(header, "DETECTOR" if detector.instrument == "wfpc2" else "CCDCHIP")
    # Detectors of one chip may carry -999.
    return int(chip) if chip is not None and chip > 0 else extver


def _gain(path: Path, primary: fits.Header, detector: Detector, chip_id: int) -> float:
    """Give electrons per count: the mean of the amplifiers' gains, for WFPC2 the measured gain of the chip."""
    if not detector.gain_keywords:
        return 1.0
    if detector.instrument == "wfpc2":
        commanded = _number(primary, "ATODGAIN")
        gains = WFPC2_GAINS.get(int(commanded)) if commanded is not None else None
        if gains is None or not 1 <= chip_id <= len(gains):
            raise ExposureError(
                f"{path}[PRIMARY]: ATODGAIN is {commanded} (chip {chip_id}), expected {sorted(WFPC2_GAINS)} "
                "to turn counts into electrons."
            )
        return gains[chip_id - 1]
    *amplifiers, whole = detector.gain_keywords
    values = [value for keyword in amplifiers if (value := _number(primary, keyword))]
    if not values and (value := _number(primary, whole)):
        values = [value]
    if not values:
        raise ExposureError(
            f"{path}[PRIMARY]: none of {', '.join(detector.gain_keywords)} holds a gain, "
            "expected one to turn counts into electrons."
        )
    return sum(values) / len(values)


def _nominal_scale(header: fits.Header, detector: Detector, chip_id: int) -> float:
    scale = _number(header, "IDCSCALE")
    if scale is not None and scale > 0.0:
        return scale
    binning = _number(header, "BINAXIS1") or 1.0
    return detector.nominal_scale(chip_id) * binning


def _table_reader(path: Path, extensions: tuple[ImageExtension, ...]) -> Any:
    """Make the function that finds and reads a lookup table of this file."""
    headers = {(e.name, 1 if e.version is None else e.version): e.header for e in extensions[1:]}

    def read_table(name: str, version: int) -> tuple[fits.Header, NDArray[np.float32]] | None:
        header = headers.get((name, version))
        image = None if header is None else read_image(path, name, version)
        if header is None or image is None:
            return None
        return header, np.atleast_2d(np.asarray(image, dtype=np.float32))

    return read_table
