"""What outlier rejection makes on its way, kept as files: separate images, their median, blots and masks.

Files are simple FITS images, written some rows at a time. One that cannot be written is missing, with a
warning: the mosaic does not need it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

import numpy as np

from multivisit.atomic import atomic_path
from multivisit.errors import ProductError
from multivisit.products.direct_file import DirectFile
from multivisit.products.fits_stream import LARGEST_PIECE, FitsStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from astropy.io import fits
    from numpy.typing import NDArray

    from multivisit.combine.placement import PreparedChip
    from multivisit.combine.rejection import StackPart
    from multivisit.plan.layers import Layer
    from multivisit.sky.grid import OutputGrid

__all__ = ["IntermediateFiles"]

log = logging.getLogger(__name__)


class IntermediateFiles:
    """Writes the intermediate images of a layer under their published names.

    ``<member>_<flt or flc>_single_sci.fits`` and ``..._single_wht.fits`` hold an exposure drizzled by itself
    (electrons/s, NaN without data; seconds), as far as it reaches, on the grid of the stack;
    ``<product>_<drz or drc>_med.fits`` the combined stack; ``<member>_..._sci<n>_blt.fits`` what it says of a
    chip, in the units of its file; ``<member>_..._sci<n>_crmask.fits`` 0 for hit pixels and 1 for others.

    Parameters
    ----------
    folder : Path
        Where the files go.
    layer : Layer
        The layer.
    """

    def __init__(self, folder: Path, layer: Layer) -> None:
        self._folder = folder
        self._median_name = f"{layer.product_filename.removesuffix('.fits')}_med.fits"
        self._members = {
            member.exposure.path: f"{layer.member_basename(member)}_{member.exposure.file_type}"
            for member in layer.members
        }
        self._lock = threading.Lock()
        self._written: list[Path] = []

    @property
    def written(self) -> tuple[Path, ...]:
        """The files that are there, by name."""
        return tuple(sorted(self._written))

    def single(self, item: PreparedChip, grid: OutputGrid, parts: Sequence[StackPart]) -> None:
        """Write a separately drizzled exposure.

        Parameters
        ----------
        item : PreparedChip
            One of its chips.
        grid : OutputGrid
            Grid of the stack.
        parts : sequence of StackPart
            Its parts, from the first row to the last.
        """
        rows = (parts[0].first_row, parts[-1].first_row + parts[-1].shape[0])
        left = min(part.first_column for part in parts)
        right = max(part.first_column + part.shape[1] for part in parts)
        own = grid.sub_array(left, rows[0], right - left, rows[1] - rows[0])
        for kind, unit in (("sci", "ELECTRONS/S"), ("wht", "s")):
            header = _header(own.shape, unit, own)
            header["ROOTNAME"] = item.exposure.rootname
            header["EXPTIME"] = (item.exposure.exposure_time, "s")
            name = f"{self._members[item.exposure.path]}_single_{kind}.fits"
            self._write(name, header, _rows_of(parts, own.shape[1], (left, rows[0]), kind))

    def median(self, grid: OutputGrid, bands: Iterable[tuple[int, NDArray[np.float32]]]) -> None:
        """Write the combined stack.

        Parameters
        ----------
        grid : OutputGrid
            Its grid.
        bands : iterable of (int, ndarray of float32)
            First row and rows, electrons/s, NaN without data.
        """
        self._write(self._median_name, _header(grid.shape, "ELECTRONS/S", grid), bands)

    def tested(self, item: PreparedChip, model: NDArray[np.float32], hit: NDArray[np.bool_]) -> None:
        """Write what the stack says of a chip, and the chip's mask; from any thread.

        Parameters
        ----------
        item : PreparedChip
            The chip.
        model : ndarray of float32
            What its pixels should be, in the units of its file, sky included, shape (ny, nx); NaN where
            unknown.
        hit : ndarray of bool
            Its hit pixels.
        """
        from astropy.io import fits

        name = f"{self._members[item.exposure.path]}_sci{item.chip.extver}"
        header = _header(item.chip.shape, str(item.chip.header.get("BUNIT", "")).strip())
        self._write(f"{name}_blt.fits", header, [(0, model)])
        with self._keeping(f"{name}_crmask.fits") as path:
            fits.PrimaryHDU((~hit).view(np.uint8)).writeto(path, overwrite=True, checksum=True)

    def _write(
        self, name: str, header: fits.Header, bands: Iterable[tuple[int, NDArray[np.float32]]]
    ) -> None:
        with self._keeping(name) as path, DirectFile(path, LARGEST_PIECE) as file:
            stream = FitsStream(file, [header])
            for first, rows in bands:
                stream.write_rows(0, rows, first)
            stream.finish([header])

    @contextlib.contextmanager
    def _keeping(self, name: str) -> Iterator[Path]:
        """Give a temporary name; the file gets its own when all is well, and a warning is logged when not."""
        path = self._folder / name
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                yield temporary
        except (ProductError, OSError) as error:
            log.warning("no diagnostic file: %s", error)
        else:
            with self._lock:
                self._written.append(path)


def _header(shape: tuple[int, int], unit: str, grid: OutputGrid | None = None) -> fits.Header:
    """Give the header of a simple image, on a grid of the sky or on none."""
    from astropy.io import fits

    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"] = True, -32, 2
    header["NAXIS1"], header["NAXIS2"] = shape[1], shape[0]
    header["BUNIT"] = unit
    if grid is not None:
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
        header["RADESYS"] = "ICRS"
        for axis in (0, 1):
            header[f"CRVAL{axis + 1}"] = grid.crval[axis]
            header[f"CRPIX{axis + 1}"] = grid.crpix[axis]
            for other in (0, 1):
                header[f"CD{axis + 1}_{other + 1}"] = grid.cd[axis][other]
    return header


def _rows_of(
    parts: Iterable[StackPart], n_columns: int, origin: tuple[int, int], kind: str
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Give whole rows, from the first on, of the values (NaN without weight) or of the weights."""
    empty, done = np.float32(np.nan if kind == "sci" else 0.0), 0
    for part in parts:
        values, weights = part.read()
        first, left = part.first_row - origin[1], part.first_column - origin[0]
        rows = np.full((first - done + len(values), n_columns), empty, dtype=np.float32)
        to = rows[first - done :, left : left + values.shape[1]]
        to[...] = np.where(weights > 0.0, values, empty) if kind == "sci" else weights
        yield done, rows
        done = first + len(values)
