"""Plans and results in words for people, and as plain values for programs."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from multivisit.plan.parameters.usage import used_combination_values
from multivisit.run.aligning import alignment_as_list, alignment_as_text

if TYPE_CHECKING:
    from multivisit.combine.records import ChipRecord
    from multivisit.plan.vetting import Vetting
    from multivisit.run.options import RunOptions
    from multivisit.run.results import LayerResult, PlannedLayer, RunPlan, RunResult

__all__ = [
    "chip_in_words",
    "layers_as_text",
    "options_in_words",
    "plan_as_dict",
    "result_as_dict",
    "result_as_text",
]

_BYTES_PER_PIXEL = 8
"""SCI and WHT, four bytes each."""


def plan_as_dict(plan: RunPlan) -> dict[str, Any]:
    """Give a plan as plain values.

    Parameters
    ----------
    plan : RunPlan
        The plan.

    Returns
    -------
    dict
        Keys return_code, message, layers, exposures; ready for `json.dumps`.
    """
    return {
        "return_code": int(plan.exit_code),
        "message": plan.message,
        "layers": [_planned_as_dict(item) for item in plan.layers],
        "exposures": _vetting_as_list(plan.vetting),
    }


def _planned_as_dict(item: PlannedLayer) -> dict[str, Any]:
    layer, grid = item.layer, item.grid
    return {
        "product": layer.product_filename,
        "sky_cell": layer.sky_cell_id,
        "instrument": layer.instrument,
        "detector": layer.detector,
        "filter": layer.filter_name,
        "exposure_class": layer.exposure_class,
        "year": layer.year,
        "scale_arcsec": None if grid is None else grid.scale,
        "columns": None if grid is None else grid.shape[1],
        "rows": None if grid is None else grid.shape[0],
        "bytes": _n_bytes(item),
        "exposure_time": sum(member.exposure.exposure_time for member in layer.members),
        "members": [member.row.filename for member in layer.members],
        "wcs_solutions": list(layer.wcs_names),
        "parameters": used_combination_values(item.parameters),
        "left_alone": item.reason_left_alone,
    }


def _n_bytes(item: PlannedLayer) -> int:
    """Give the size of the product's pixels on disk."""
    if item.grid is None or item.reason_left_alone:
        return 0
    rows, columns = item.grid.shape
    return rows * columns * _BYTES_PER_PIXEL


def _vetting_as_list(vetting: Vetting) -> list[dict[str, Any]]:
    return [
        {
            "file": record.filename,
            "sky_cell": record.sky_cell_id,
            "status": record.status,
            "reason": record.reason,
            "keyword": record.keyword,
            "value": record.value,
        }
        for record in vetting.records
    ]


def layers_as_text(plan: RunPlan) -> str:
    """Give a plan in words: each layer, its size and its members, and which exposures were refused.

    Parameters
    ----------
    plan : RunPlan
        The plan.

    Returns
    -------
    str
        Lines of text.
    """
    lines: list[str] = []
    for item in plan.layers:
        lines.append(item.layer.product_filename)
        if item.reason_left_alone or item.grid is None:
            lines.append(f"    left alone: {item.reason_left_alone}")
        else:
            rows, columns = item.grid.shape
            lines.append(
                f"    {columns} x {rows} pixels of {item.grid.scale:g} arcsec, {_size(_n_bytes(item))}"
            )
        seconds = sum(member.exposure.exposure_time for member in item.layer.members)
        lines.append(f"    {_exposures(len(item.layer.members))}, {seconds:g} s:")
        lines += [f"        {member.row.filename}" for member in item.layer.members]
        if len(item.layer.wcs_names) > 1:
            lines.append(f"    note: mixed WCS solutions: {', '.join(item.layer.wcs_names)}")
    total = sum(_n_bytes(item) for item in plan.layers)
    made = sum(not item.reason_left_alone for item in plan.layers)
    lines.append(f"{made} layer{'s' * (made != 1)} to be made, {_size(total)}")
    lines += _refusals_as_text(plan.vetting)
    if plan.message:
        lines.append(plan.message)
    return "\n".join(lines)


def result_as_dict(result: RunResult) -> dict[str, Any]:
    """Give a result as plain values.

    Parameters
    ----------
    result : RunResult
        The result.

    Returns
    -------
    dict
        Keys return_code, message, output_folder, custom_mosaic (None for sky cells), layers, exposures,
        alignment (None without one), files; ready for `json.dumps`.
    """
    return {
        "return_code": int(result.return_code),
        "message": result.message,
        "output_folder": str(result.output_folder),
        "custom_mosaic": _custom_as_dict(result.vetting),
        "layers": [_layer_as_dict(layer) for layer in result.layers],
        "exposures": _vetting_as_list(result.vetting),
        "alignment": alignment_as_list(result.alignment),
        "files": [str(path) for path in result.files],
    }


def _custom_as_dict(vetting: Vetting) -> dict[str, Any] | None:
    custom = vetting.custom
    if custom is None:
        return None
    return {
        "prefix": custom.prefix,
        "area": custom.description,
        "projection_cell": custom.projection_cell,
        "cut_to_exposures": custom.is_cut,
    }


def _layer_as_dict(layer: LayerResult) -> dict[str, Any]:
    return {
        "name": layer.name,
        "sky_cell": layer.sky_cell_id,
        "status": layer.status,
        "reason": layer.reason,
        "product": _text(layer.product),
        "preview": _text(layer.preview),
        "catalogs": [str(path) for path in layer.catalogs],
        "catalog_problem": layer.catalog_problem,
        "trailer": _text(layer.trailer),
        "quality": layer.quality,
        "quality_files": [str(path) for path in layer.quality_files],
        "diagnostics": [str(path) for path in layer.diagnostics],
        "columns": None if layer.shape is None else layer.shape[1],
        "rows": None if layer.shape is None else layer.shape[0],
        "exposures": layer.n_exposures,
        "exposure_time": layer.exposure_time,
        "seconds": round(layer.seconds, 3),
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def result_as_text(result: RunResult) -> str:
    """Give a result in words: what was made and where, what failed, what was refused and why.

    Parameters
    ----------
    result : RunResult
        The result.

    Returns
    -------
    str
        Lines of text.
    """
    lines: list[str] = []
    for layer in result.layers:
        if layer.status == "made" and layer.product is not None and layer.shape is not None:
            rows, columns = layer.shape
            lines.append(
                f"made        {layer.product.name}  ({columns} x {rows}, {_exposures(layer.n_exposures)}, "
                f"{layer.exposure_time:g} s; {layer.seconds:.1f} s)"
            )
            if layer.catalog_problem:
                lines.append(f"no catalogs {layer.name}: {layer.catalog_problem}")
            if layer.quality in ("warn", "fail"):
                lines.append(f"    quality: {layer.quality}, see {layer.name}_quality.json")
        else:
            lines.append(f"{layer.status:<11} {layer.name}: {layer.reason}")
    lines += _refusals_as_text(result.vetting)
    lines += alignment_as_text(result.alignment)
    if result.message:
        lines.append(result.message)
    lines.append(f"products, previews and logs: {result.output_folder.resolve()}")
    lines += [f"    {path.name}" for path in result.files]
    return "\n".join(lines)


def _refusals_as_text(vetting: Vetting) -> list[str]:
    """Give a line for each exposure that was refused, or accepted with a remark; sky cells share a line."""
    lines: dict[str, None] = {}
    for record in vetting.records:
        detail = f" ({record.keyword} = {record.value})" if record.keyword and record.value else ""
        # Reasons that come from reading a file begin with its name already.
        named = (
            record.reason
            if record.reason.startswith(record.filename)
            else f"{record.filename}: {record.reason}"
        )
        if not record.accepted:
            lines[f"refused     {named}{detail}"] = None
        elif record.reason:
            lines[f"note        {named}{detail}"] = None
    return list(lines)


def _exposures(number: int) -> str:
    return f"{number} exposure" + "s" * (number != 1)


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def options_in_words(options: RunOptions) -> list[str]:
    """Give what a run was asked for, a line each.

    Parameters
    ----------
    options : RunOptions
        The options.

    Returns
    -------
    list of str
        Inputs first, then each option's name and value.
    """
    inputs = options.inputs if isinstance(options.inputs, tuple) else (options.inputs,)
    values = {field.name: getattr(options, field.name) for field in fields(options) if field.name != "inputs"}
    return [f"input {path}" for path in inputs] + [
        f"option {name} = {', '.join(value) if isinstance(value, tuple) else value}"
        for name, value in values.items()
    ]


def chip_in_words(chip: ChipRecord) -> str:
    """Give what became of a chip in a mosaic.

    Parameters
    ----------
    chip : ChipRecord
        The combination's record.

    Returns
    -------
    str
        One sentence.
    """
    name = f"{chip.filename}[SCI,{chip.extver}]"
    if not chip.in_grid:
        return f"{name} does not fall on the mosaic"
    sky = f"sky {chip.sky_level:.6g} electrons/s per pixel" if chip.sky_measured else "sky left alone"
    return (
        f"{name} chip {chip.chip_id}, {chip.exposure_time:g} s: {sky}, {chip.n_good_pixels} good pixels, "
        f"{chip.n_used} of them on the mosaic; {chip.n_static} left out by the static mask"
    )
