"""Products as files: each layer is one FITS file, written once and atomically."""

from __future__ import annotations

import contextlib
import datetime
import logging
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from multivisit.atomic import atomic_path
from multivisit.combine.coverage import MosaicStatistics
from multivisit.combine.records import MosaicSummary
from multivisit.products.compress import compress_images
from multivisit.products.direct_file import DirectFile
from multivisit.products.fits_stream import LARGEST_PIECE, FitsStream
from multivisit.products.header import (
    ProductDescription,
    primary_header,
    sky_warnings,
)
from multivisit.products.header_table import header_table
from multivisit.products.image_header import error_header, image_header, science_header, weight_header
from multivisit.products.members import combined_chips, combined_photometry, wcs_solutions

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from types import TracebackType

    from astropy.io import fits
    from numpy.typing import NDArray

    from multivisit.combine.records import ChipRecord, LayerMosaic
    from multivisit.plan.layers import Layer
    from multivisit.plan.parameters import CombinationParameters
    from multivisit.products.members import CombinedChip
    from multivisit.sky.grid import OutputGrid

__all__ = ["LayerWriter", "product_s_region", "write_layer"]

log = logging.getLogger(__name__)

_SCIENCE, _WEIGHT, _CONTEXT = 1, 2, 3
_NO_STATISTICS = MosaicStatistics(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def write_layer(
    folder: str | os.PathLike[str],
    layer: Layer,
    mosaic: LayerMosaic,
    grid: OutputGrid,
    parameters: CombinationParameters,
    *,
    history: Sequence[str] = (),
    s_region: str | None = None,
    written: datetime.date | None = None,
) -> Path:
    """Write the mosaic of a layer as one FITS file: PRIMARY, SCI, WHT, CTX where there is one, and HDRTAB.

    Parameters
    ----------
    folder : path
        Where the file goes; it must exist. A file of that name is replaced when the new one is complete.
    layer : Layer
        What was combined; names the file.
    mosaic : LayerMosaic
        The pixels, of the shape of `grid`, and the records of the chips. They are not changed.
    grid : OutputGrid
        Where the pixels are.
    parameters : CombinationParameters
        How they were combined.
    history : sequence of str, optional
        More lines for the PRIMARY header's HISTORY.
    s_region : str, optional
        Footprint for S_REGION. By default it is made from the members' outlines on the grid.
    written : datetime.date, optional
        Date for the header: today (UTC) by default. The same input at the same date gives the same bytes.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ProductError
        If the file cannot be written (no such folder, not writable, disk full); nothing is left then. Or if
        the mosaic has other chips or another shape than the layer and the grid.
    """
    _check_shapes(Path(folder) / layer.product_filename, mosaic, grid)
    planes = 0 if mosaic.context is None else math.prod(mosaic.context.shape[:-2])
    writer = LayerWriter(
        folder,
        layer,
        grid,
        parameters,
        mosaic.chips,
        context_planes=planes,
        error_plane=mosaic.error is not None,
        history=history,
        s_region=s_region,
        written=written,
    )
    with writer:
        writer.write_rows(0, mosaic.science, mosaic.weight, mosaic.context)
        if mosaic.error is not None:
            writer.write_error(0, mosaic.error)
        return writer.finish(mosaic)


class LayerWriter:
    """Writes the mosaic of a layer row by row, in any order and from any thread, as one FITS file.

    A context manager: the file takes its place when the block ends after `finish`; when it ends by an
    exception nothing is left. The bytes are those that `write_layer` gives for the whole mosaic.

    Parameters
    ----------
    folder, layer, grid, parameters, history, s_region, written
        See `write_layer`.
    expected : sequence of ChipRecord
        The records of the chips as far as they are known. Space for the headers is left by them; where it
        turns out too small or too large, the data are moved in the end.
    context_planes : int
        Number of planes of CTX; 0 for no CTX.
    error_plane : bool
        Whether there is an ERR extension.
    compress : bool
        Whether the images are tile-compressed in the end.
    threads : int
        Threads that compress.

    Raises
    ------
    ProductError
        Out of the block: see `write_layer`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        layer: Layer,
        grid: OutputGrid,
        parameters: CombinationParameters,
        expected: Sequence[ChipRecord],
        *,
        context_planes: int = 0,
        error_plane: bool = False,
        history: Sequence[str] = (),
        s_region: str | None = None,
        written: datetime.date | None = None,
        compress: bool = False,
        threads: int = 1,
    ) -> None:
        self.path = Path(folder) / layer.product_filename
        self._layer = layer
        self._grid = grid
        self._parameters = parameters
        self._planes = context_planes
        self._error_plane = error_plane
        self._history = tuple(history)
        self._s_region = s_region
        self._written = written or datetime.datetime.now(datetime.UTC).date()
        self._expected = MosaicSummary(tuple(expected), _NO_STATISTICS)
        self._s_regions: dict[tuple[bool, ...], str] = {}
        self._exit = contextlib.ExitStack()
        self._fits: FitsStream | None = None
        self._finished = False
        self._compress = compress
        self._threads = threads

    def __enter__(self) -> Self:
        """Make the temporary file and lay it out."""
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            stack.push(partial(self._compress_file, temporary))
            file = stack.enter_context(DirectFile(temporary, LARGEST_PIECE))
            self._fits = FitsStream(file, self._headers(self._describe(self._expected)))
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Give the file its name, or remove it."""
        if kind is None and not self._finished:
            self._exit.push(_raise_unfinished)
        return self._exit.__exit__(kind, error, traceback)

    def _compress_file(self, temporary: Path, kind: object, error: object, traceback: object) -> None:
        """Compress what has been written whole, before the file gets its name."""
        if self._compress and kind is None:
            compress_images(temporary, self._threads)

    def write_rows(
        self,
        first_row: int,
        science: NDArray[np.float32],
        weight: NDArray[np.float32],
        context: NDArray[np.int32] | None,
    ) -> None:
        """Write some whole rows; each row once.

        Parameters
        ----------
        first_row : int
            First row, from 0.
        science, weight : ndarray of float32
            Shape (rows, columns).
        context : ndarray of int32, optional
            Shape (planes, rows, columns), or (rows, columns) where there is one plane.
        """
        self._open.write_rows(_SCIENCE, science, first_row)
        self._open.write_rows(_WEIGHT, weight, first_row)
        if context is not None:
            for plane, rows in enumerate(context if context.ndim > 2 else context[np.newaxis]):
                self._open.write_rows(_CONTEXT, rows, first_row, plane)

    def write_error(self, first_row: int, error: NDArray[np.float32]) -> None:
        """Write some whole rows of ERR; each row once.

        Parameters
        ----------
        first_row : int
            First row, from 0.
        error : ndarray of float32
            Standard errors in the units of SCI, shape (rows, columns).
        """
        self._open.write_rows(_CONTEXT + 1 if self._planes else _CONTEXT, error, first_row)

    def read_weight(self, first_row: int, last_row: int) -> NDArray[np.float32]:
        """Read weights back.

        Parameters
        ----------
        first_row, last_row : int
            Rows, the last one excluded.

        Returns
        -------
        ndarray of float32
            Shape (rows, columns).
        """
        return self._open.read_rows(_WEIGHT, first_row, last_row)

    def finish(self, mosaic: LayerMosaic | MosaicSummary) -> Path:
        """Write the headers and HDRTAB, when all rows have been written.

        Parameters
        ----------
        mosaic : LayerMosaic or MosaicSummary
            Records of the same chips, in the same order, and the statistics.

        Returns
        -------
        pathlib.Path
            The file that there will be at the end of the block.
        """
        product = self._describe(mosaic)
        self._open.finish(self._headers(product), [header_table(product.layer, product.chips)])
        self._finished = True
        _warn(product)
        return self.path

    @property
    def _open(self) -> FitsStream:
        if self._fits is None:
            raise ValueError(f"{self.path} is not open: use the writer in a with statement.")
        return self._fits

    def _describe(self, mosaic: LayerMosaic | MosaicSummary) -> ProductDescription:
        return ProductDescription(
            layer=self._layer,
            mosaic=mosaic,
            grid=self._grid,
            parameters=self._parameters,
            written=self._written,
            s_region=self._region(mosaic),
            history=self._history,
        )

    def _region(self, mosaic: LayerMosaic | MosaicSummary) -> str:
        """The footprint, made once for the same chips."""
        if self._s_region is not None:
            return self._s_region
        used = tuple(bool(record.n_used) for record in mosaic.chips)
        if used not in self._s_regions:
            self._s_regions[used] = product_s_region(combined_chips(self._layer, mosaic.chips), self._grid)
        return self._s_regions[used]

    def _headers(self, product: ProductDescription) -> list[fits.Header]:
        """The headers of PRIMARY, SCI, WHT, and of CTX and ERR where they are there."""
        images = [science_header(product), weight_header(product)]
        if self._planes:
            images.append(image_header(product, "CTX", (self._planes, *self._grid.shape), bits=32))
        if self._error_plane:
            images.append(error_header(product))
        return [primary_header(product, len(images) + 1), *images]


def _raise_unfinished(kind: object, error: object, traceback: object) -> None:
    raise ValueError("The rows were written but not the final headers: finish() was not called.")


def product_s_region(chips: Sequence[CombinedChip], grid: OutputGrid) -> str:
    """The footprint of the chips that are in a mosaic, as S_REGION holds it.

    Parameters
    ----------
    chips : sequence of CombinedChip
        The chips; those without a good pixel are left out.
    grid : OutputGrid
        The pixel grid.

    Returns
    -------
    str
        ``POLYGON ICRS ...``; empty if no chip has pixels on the grid.
    """
    from multivisit.sky.footprint import s_region

    return s_region([chip.chip.outline() for chip in chips if chip.record.n_used], grid)


def _check_shapes(path: Path, mosaic: LayerMosaic, grid: OutputGrid) -> None:
    """Refuse pixels that are not the grid's."""
    from multivisit.errors import ProductError

    planes = {"SCI": mosaic.science.shape, "WHT": mosaic.weight.shape}
    if mosaic.context is not None:
        planes["CTX"] = mosaic.context.shape[-2:]
    if mosaic.error is not None:
        planes["ERR"] = mosaic.error.shape
    for name, shape in planes.items():
        if shape != grid.shape:
            raise ProductError(
                f"{path}[{name}]: the mosaic is {shape}, the grid {grid.shape} (rows, columns): "
                "expected the same"
            )


def _warn(product: ProductDescription) -> None:
    """Say in the log what the HISTORY warns of."""
    name = product.layer.product_filename
    solutions = wcs_solutions(product.chips)
    if len(solutions) > 1:
        listed = ", ".join(f"{solution} ({number} chips)" for solution, number in solutions.items())
        log.warning("%s: members with different WCS solutions are combined: %s", name, listed)
    for note in (*combined_photometry(product.chips).notes, *sky_warnings(product)):
        log.warning("%s: %s", name, note)
