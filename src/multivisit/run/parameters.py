"""The parameters of a run's products: custom files read and written, and what was changed, in words."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from multivisit.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from multivisit.plan.parameters.custom_file import Customized
    from multivisit.run.options import RunOptions
    from multivisit.run.results import PlannedLayer

__all__ = [
    "check_parameter_files",
    "parameter_history",
    "with_custom_parameters",
    "write_parameters",
]

log = logging.getLogger(__name__)


def check_parameter_files(read: Path | None, written: Path | None, inputs: Sequence[Path] = ()) -> None:
    """Refuse to write the file that is read, or over an input of the run.

    Parameters
    ----------
    read, written : Path, optional
        Custom parameter files.
    inputs : sequence of Path
        The poller file, or the exposures.

    Raises
    ------
    ParameterError
        Both are the same file, or the one that is written is an input or another FITS file.
    """
    from multivisit.plan.exposure_files import refuse_to_replace

    if written is None:
        return
    refuse_to_replace(written, "the parameter file that is written", inputs)
    if read is None:
        return
    same = read.resolve() == written.resolve() or (
        written.exists() and read.exists() and read.samefile(written)
    )
    if same:
        raise ParameterError(
            f"{read} is both the custom parameter file that is read and the one that is written: "
            "give another name to the one that is written"
        )


def with_custom_parameters(
    planned: Sequence[PlannedLayer], options: RunOptions, *, tell: bool = True
) -> tuple[PlannedLayer, ...]:
    """Put the parameters of the run's custom file and options into effect.

    Parameters
    ----------
    planned : sequence of PlannedLayer
        The layers with their default parameters.
    options : RunOptions
        The custom file, and whether a CTX extension is asked for.
    tell : bool, optional
        Log what of the file is without effect.

    Returns
    -------
    tuple of PlannedLayer
        The layers with their parameters.

    Raises
    ------
    MissingFileError, ParameterError
        The file is missing or wrong.
    """
    from multivisit.plan.parameters.custom_file import customized, read_custom_file

    if options.custom_parameters is not None:
        file = read_custom_file(options.custom_parameters)
        made = [item for item in planned if not item.reason_left_alone]
        result = customized(file, [product for item in made for product in item.products], "mvm")
        if tell:
            _tell_what_is_idle(result, options)
        by_name = {product.name: product for product in result.products}
        planned = [
            replace(item, products=tuple(by_name.get(product.name, product) for product in item.products))
            for item in planned
        ]
        unknown = sorted(set(file.entries) - {product.name for item in planned for product in item.products})
        if unknown and tell:
            log.info("%s: of products that are not made here: %s", file.path, ", ".join(unknown))
    return tuple(_with_context(item) for item in planned) if options.context else tuple(planned)


def _tell_what_is_idle(customized: Customized, options: RunOptions) -> None:
    """Log which changed parameters are without effect."""
    for warning in customized.warnings:
        log.warning("%s", warning)
    changed = [
        product.name
        for product in customized.products
        if product.parameters.alignment != product.defaults.alignment
    ]
    if changed and not options.align:
        log.warning(
            "parameters of the group alignment are without effect, since no alignment is asked for (%s)",
            ", ".join(changed),
        )


def _with_context(item: PlannedLayer) -> PlannedLayer:
    """Ask for a CTX extension."""
    product, *members = item.products
    combination = product.parameters.astrodrizzle.replace(context=True)
    product = replace(product, parameters=product.parameters.replace(astrodrizzle=combination))
    return replace(item, products=(product, *members))


def write_parameters(path: Path, planned: Sequence[PlannedLayer]) -> Path:
    """Write all parameters of all products and exposures of a run.

    Parameters
    ----------
    path : Path
        The custom parameter file.
    planned : sequence of PlannedLayer
        The layers.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ProductError
        It cannot be written.
    """
    from multivisit.plan.parameters.custom_file import write_custom_file

    log.info("writing the parameters of all products to %s", path)
    return write_custom_file(path, [product for item in planned for product in item.products], "mvm")


def parameter_history(item: PlannedLayer, options: RunOptions) -> list[str]:
    """Say where a layer's parameters are from, and which of them are not the defaults.

    Parameters
    ----------
    item : PlannedLayer
        The layer.
    options : RunOptions
        The custom file.

    Returns
    -------
    list of str
        Lines; the changed parameters with their values and defaults.
    """
    from multivisit.plan.parameters import reason_not_used
    from multivisit.plan.parameters.custom_file import changed_values

    source = f"custom file {options.custom_parameters.name}" if options.custom_parameters else "defaults"
    changes = changed_values(item.products[0], "mvm")
    lines = [f"Parameters: {source}, {len(changes) or 'none'} changed."]
    for path, (before, after) in changes.items():
        is_idle = path[0] == "alignment" and not options.align
        remark = ", not used" if is_idle or reason_not_used(path) else ""
        lines.append(f"  {'/'.join(path)} = {after} (default {before}{remark})")
    return lines
