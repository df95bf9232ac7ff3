"""A mosaic on disk, read a few rows at a time."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.catalogs import _pixels
from multivisit.errors import ProductError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.io import fits
    from numpy.typing import NDArray

    Rows = NDArray[np.float32]

__all__ = ["MosaicFile", "MosaicReader", "ab_zero_point"]

_AB_ST_OFFSET = 18.6921


def ab_zero_point(photflam: float, photplam: float, photzpt: float = -21.1) -> float | None:
    """AB magnitude of one electron per second (Sirianni et al. 2005, PASP 117, 1049).

    Parameters
    ----------
    photflam : float
        Inverse sensitivity, erg / cm2 / Angstrom / electron.
    photplam : float
        Pivot wavelength, Angstrom.
    photzpt : float
        Zero point of ST magnitudes.

    Returns
    -------
    float or None
        None if the mosaic is not calibrated.
    """
    if not (photflam > 0.0 and photplam > 0.0):
        return None
    return float(-2.5 * np.log10(photflam) + photzpt - 5.0 * np.log10(photplam) + _AB_ST_OFFSET)


@dataclass(frozen=True)
class MosaicFile:
    """What the headers of a product say."""

    path: Path
    """The file."""

    shape: tuple[int, int]
    """Rows and columns."""

    primary: fits.Header
    """Header of PRIMARY."""

    science: fits.Header
    """Header of SCI."""

    starts: tuple[int, int] | None
    """Bytes at which the pixels of SCI and WHT begin; None where they are compressed."""

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> MosaicFile:
        """Read the headers of a product.

        Parameters
        ----------
        path : path
            The product.

        Returns
        -------
        MosaicFile
            What it says.

        Raises
        ------
        ProductError
            It cannot be read, or has no SCI and WHT of one shape.
        """
        from astropy.io import fits

        try:
            with fits.open(path, memmap=False) as file:
                science, weight = file["SCI"], file["WHT"]
                if len(science.shape) != 2 or science.shape != weight.shape:
                    raise ProductError(
                        f"{path}: SCI is {science.shape}, WHT {weight.shape}; expected images of one shape"
                    )
                plain = all(
                    type(hdu) is fits.ImageHDU and hdu.header["BITPIX"] == -32 for hdu in (science, weight)
                )
                first, second = (int(hdu.fileinfo()["datLoc"]) if plain else 0 for hdu in (science, weight))
                return cls(
                    Path(path),
                    (int(science.shape[0]), int(science.shape[1])),
                    file[0].header,
                    science.header,
                    (first, second) if plain else None,
                )
        except KeyError as error:
            raise ProductError(
                f"{path}: no catalog can be made: {error}; expected extensions SCI and WHT"
            ) from error
        except OSError as error:
            if isinstance(error, ProductError):
                raise
            raise ProductError(f"{path}: cannot be read: {error}") from error

    def number(self, keyword: str, default: float = 0.0) -> float:
        """Give a number out of the headers, SCI before PRIMARY.

        Parameters
        ----------
        keyword : str
            The keyword.
        default : float
            What it is where no header has a number.

        Returns
        -------
        float
            The number.
        """
        for header in (self.science, self.primary):
            value: Any = header.get(keyword)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return float(value)
        return default

    def text(self, keyword: str) -> str:
        """Give a text out of the headers, SCI before PRIMARY; empty where there is none.

        Parameters
        ----------
        keyword : str
            The keyword.

        Returns
        -------
        str
            The text.
        """
        for header in (self.science, self.primary):
            if keyword in header:
                return str(header[keyword]).strip()
        return ""

    @property
    def scale(self) -> float:
        """Arcsec per pixel."""
        return float(3600.0 * np.hypot(self.number("CD1_1"), self.number("CD2_1"))) or self.number(
            "PIXSCALE", 0.04
        )

    @property
    def scale_ratio(self) -> float:
        """Pixel scale over that of the exposures."""
        return self.number("D001SCAL", 1.0) / self.number("D001ISCL", 1.0)

    @property
    def pixfrac(self) -> float:
        """Side of the drops in pixels of the exposures."""
        return self.number("D001PIXF", 1.0)

    @property
    def zero_point(self) -> float | None:
        """AB magnitude of one electron per second; None if the mosaic is not calibrated."""
        return ab_zero_point(self.number("PHOTFLAM"), self.number("PHOTPLAM"), self.number("PHOTZPT", -21.1))

    @property
    def to_rate(self) -> float:
        """Factor from the pixels' units to electrons/s."""
        time = self.number("TEXPTIME") or self.number("EXPTIME")
        return 1.0 / time if not self.text("BUNIT").upper().endswith("/S") and time > 0.0 else 1.0

    @property
    def seconds_per_weight(self) -> float:
        """Exposure time of a pixel over its weight, from the means over the mosaic."""
        time, weight = self.number("MEANEXPT"), self.number("MEANWHT")
        return time / weight if time > 0.0 and weight > 0.0 else 1.0

    @contextmanager
    def reading(self) -> Iterator[MosaicReader]:
        """Open the pixels.

        Yields
        ------
        MosaicReader
            Gives rows; may be used by several threads.

        Raises
        ------
        ProductError
            The file cannot be read.
        """
        try:
            if self.starts is None:
                from astropy.io import fits

                with fits.open(self.path, memmap=False) as file:
                    yield MosaicReader(self, planes=(file["SCI"].section, file["WHT"].section))
            else:
                descriptor = os.open(self.path, os.O_RDONLY)
                try:
                    yield MosaicReader(self, descriptor=descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            if isinstance(error, ProductError):
                raise
            raise ProductError(f"{self.path}: cannot be read: {error}") from error


class MosaicReader:
    """Gives rows of SCI and WHT.

    Parameters
    ----------
    mosaic : MosaicFile
        The product.
    descriptor : int
        The open file.
    planes : tuple of ndarray, optional
        Sections of the planes, for files whose pixels are compressed.
    """

    def __init__(
        self, mosaic: MosaicFile, descriptor: int = -1, planes: tuple[Any, Any] | None = None
    ) -> None:
        self.mosaic = mosaic
        self._descriptor = descriptor
        self._planes = planes
        self._factor = np.float32(mosaic.to_rate)
        self._kept = threading.local()
        self._lock = threading.Lock()

    def read(
        self, rows: tuple[int, int], columns: tuple[int, int] | None = None, step: int = 1
    ) -> tuple[Rows, Rows]:
        """Read a part of the mosaic.

        Parameters
        ----------
        rows, columns : tuple of int
            First and last, the last one excluded; all columns by default.
        step : int
            Read every so many-th row only.

        Returns
        -------
        science, weight : ndarray of float32
            In electrons/s, and as they are; of the machine's own byte order. They are good until the same
            thread reads again.
        """
        columns = columns or (0, self.mosaic.shape[1])
        science = self._plane(0, rows, columns, step)
        if self._factor != 1.0:
            science *= self._factor
        return science, self._plane(1, rows, columns, step)

    def _plane(self, number: int, rows: tuple[int, int], columns: tuple[int, int], step: int) -> Rows:
        shape = (max(0, -(-(rows[1] - rows[0]) // step)), max(0, columns[1] - columns[0]))
        out = self._buffer(number, shape)
        if out.size == 0:
            return out
        if self._planes is not None:
            with self._lock:
                out[:] = self._planes[number][slice(*rows), slice(*columns)][::step]
            return out
        assert self.mosaic.starts is not None
        width = self.mosaic.shape[1]
        start = self.mosaic.starts[number] + 4 * (rows[0] * width + columns[0])
        if not _pixels.read_rows(self._descriptor, start, 4 * step * width, out):
            raise ProductError(f"{self.mosaic.path}: ends before its last pixel; has it changed?")
        return out

    def _buffer(self, number: int, shape: tuple[int, int]) -> Rows:
        """Give memory of the thread for rows of a plane, the same each time: fresh pages take time."""
        kept: dict[int, Rows] = self._kept.__dict__.setdefault("planes", {})
        size = shape[0] * shape[1]
        if number not in kept or kept[number].size < size:
            kept[number] = np.empty(size, dtype=np.float32)
        return kept[number][:size].reshape(shape)
