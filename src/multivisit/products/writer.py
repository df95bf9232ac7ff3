"""Products as files: each layer is one FITS file, written once and atomically."""

from __future__ import annotations

import datetime
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.atomic import atomic_path
from multivisit.products.fits_stream import FitsUnit, write_units
from multivisit.products.header import (
    ProductDescription,
    primary_header,
    sky_warnings,
)
from multivisit.products.header_table import header_table
from multivisit.products.image_header import image_header, science_header, weight_header
from multivisit.products.members import combined_chips, combined_photometry, wcs_solutions

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from multivisit.combine.mosaic import LayerMosaic
    from multivisit.plan.layers import Layer
    from multivisit.plan.parameters import CombinationParameters
    from multivisit.products.members import CombinedChip
    from multivisit.sky.grid import OutputGrid

__all__ = ["product_s_region", "write_layer"]

log = logging.getLogger(__name__)


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
    path = Path(folder) / layer.product_filename
    product = ProductDescription(
        layer=layer,
        mosaic=mosaic,
        grid=grid,
        parameters=parameters,
        written=written or datetime.datetime.now(datetime.UTC).date(),
        s_region=product_s_region(combined_chips(layer, mosaic.chips), grid)
        if s_region is None
        else s_region,
        history=tuple(history),
    )
    _check_shapes(path, product)
    units = product_units(product)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        write_units(stream, units)
    _warn(product)
    return path


def product_units(product: ProductDescription) -> list[FitsUnit]:
    """Make the header-data units of a product.

    Parameters
    ----------
    product : ProductDescription
        What the file will hold.

    Returns
    -------
    list of FitsUnit
        PRIMARY, SCI, WHT, CTX where there is one, HDRTAB; the pixels are the mosaic's own arrays.
    """
    mosaic = product.mosaic
    extensions = [
        FitsUnit(science_header(product), mosaic.science),
        FitsUnit(weight_header(product), mosaic.weight),
    ]
    if mosaic.context is not None:
        extensions.append(
            FitsUnit(image_header(product, "CTX", mosaic.context.shape, bits=32), mosaic.context)
        )
    extensions.append(header_table(product.layer, product.chips))
    return [FitsUnit(primary_header(product, len(extensions))), *extensions]


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


def _check_shapes(path: Path, product: ProductDescription) -> None:
    """Refuse pixels that are not the grid's."""
    from multivisit.errors import ProductError

    mosaic = product.mosaic
    planes = {"SCI": mosaic.science.shape, "WHT": mosaic.weight.shape}
    if mosaic.context is not None:
        planes["CTX"] = mosaic.context.shape[-2:]
    for name, shape in planes.items():
        if shape != product.grid.shape:
            raise ProductError(
                f"{path}[{name}]: the mosaic is {shape}, the grid {product.grid.shape} (rows, columns): "
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
