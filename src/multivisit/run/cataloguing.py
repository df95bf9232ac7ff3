"""The source catalogs of a layer that has been made."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from multivisit.errors import MultivisitError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from multivisit.run.options import RunOptions
    from multivisit.run.results import PlannedLayer

__all__ = ["catalog_layer"]

log = logging.getLogger(__name__)


def catalog_layer(
    item: PlannedLayer,
    product: Path,
    options: RunOptions,
    progress: Callable[[str, int, int], None],
    memory: int | None = None,
) -> tuple[tuple[Path, ...], str]:
    """Write the catalogs of a mosaic; a mosaic without them is still a mosaic.

    Parameters
    ----------
    item : PlannedLayer
        The layer and its parameters.
    product : Path
        Its mosaic.
    options : RunOptions
        Which catalogs, threads, memory.
    progress : callable
        Called with a message, the number of steps done and their total number.
    memory : int, optional
        Bytes that cataloguing may take; None for no limit.

    Returns
    -------
    paths : tuple of Path
        The catalogs.
    problem : str
        Why there are none; empty where all went well.
    """
    if options.phot_mode == "none" or item.grid is None:
        return (), ""
    from multivisit.catalogs.making import make_catalogs

    try:
        made = make_catalogs(
            product,
            item.layer,
            item.grid,
            item.parameter_set.catalog_generation,
            item.parameter_set.quality_control,
            mode=options.phot_mode,
            threads=options.threads or 1,
            memory=memory,
            progress=progress,
        )
    except MultivisitError as error:
        log.error("%s has no catalogs: %s", item.layer.product_basename, error)
        return (), str(error)
    except Exception as error:
        # The mosaic is whole, whatever a catalog stumbles over.
        log.exception("%s has no catalogs", item.layer.product_basename)
        return (), f"unexpected {type(error).__name__}: {error}"
    return tuple(item.path for item in made), ""
