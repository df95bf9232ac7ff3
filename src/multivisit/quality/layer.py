"""The quality of one layer, put together and written."""

from __future__ import annotations

import dataclasses
import platform
from typing import TYPE_CHECKING, Any

from multivisit.plan.parameters import used_combination_values
from multivisit.quality.basic import basic_checks
from multivisit.quality.limits import CHECKS
from multivisit.quality.pixels import pixel_checks, unrun_pixel_checks
from multivisit.quality.result import Check, LayerQuality, quality_name, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from multivisit.quality.facts import LayerFacts
    from multivisit.quality.survey import ExposureLook

__all__ = ["assess_layer", "write_quality"]


def assess_layer(
    facts: LayerFacts, looks: Sequence[ExposureLook] | None, run: dict[str, Any] | None = None
) -> LayerQuality:
    """Make all checks of a layer.

    Parameters
    ----------
    facts : LayerFacts
        The layer.
    looks : sequence of ExposureLook, optional
        What its exposures show; None to leave out the checks that need pixels.
    run : dict, optional
        Facts of the run: time, memory.

    Returns
    -------
    LayerQuality
        Checks in the order of `multivisit.quality.limits.CHECKS`, facts and footprints.
    """
    from multivisit import __version__

    more = unrun_pixel_checks() if looks is None else pixel_checks(facts, looks)
    # What was measured in the pixels takes the place of what the run knew.
    by_name: dict[str, Check] = {check.name: check for check in (*basic_checks(facts), *more)}
    layer, grid = facts.layer, facts.grid
    return LayerQuality(
        product=facts.product.name,
        sky_cell=layer.sky_cell_id,
        description={
            "instrument": layer.instrument,
            "detector": layer.detector,
            "filter": layer.filter_name,
            "label": layer.layer_label,
            "exposure_time": sum(exposure.exposure_time for exposure in facts.exposures),
            "n_exposures": len(facts.exposures),
        },
        grid={
            "scale": grid.scale,
            "crval": grid.crval,
            "crpix": grid.crpix,
            "shape": grid.shape,
            "offset": grid.offset,
            "cell_shape": grid.cell_shape,
        },
        statistics=dataclasses.asdict(facts.summary.statistics),
        exposures=facts.describe_exposures(),
        checks=tuple(by_name[name] for name in CHECKS if name in by_name),
        parameters=used_combination_values(facts.parameters),
        run={"multivisit": __version__, "python": platform.python_version(), **(run or {})},
    )


def write_quality(quality: LayerQuality, folder: Path, product_basename: str) -> Path:
    """Write a layer's quality file.

    Parameters
    ----------
    quality : LayerQuality
        The checks.
    folder : Path
        Where to.
    product_basename : str
        The product's name without suffix.

    Returns
    -------
    Path
        ``<basename>_quality.json``.

    Raises
    ------
    ProductError
        It cannot be written.
    """
    return write_json(folder / quality_name(product_basename), quality.as_dict())
