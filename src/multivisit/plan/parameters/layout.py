"""The published layout of parameters in files: names, groups, and how values are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from multivisit.plan.parameters.parameter_set import ParameterSet
from multivisit.plan.parameters.values import GoodBits, Pair, ParameterModel, Pipeline, Published

__all__ = ["GROUPS", "flattened", "is_published", "published_layout"]

GROUPS = ("alignment", "astrodrizzle", "catalog generation", "quality control")
"""The published names of the groups, in the order of the files."""


def published_layout(parameters: ParameterSet, pipeline: Pipeline) -> dict[str, Any]:
    """Give parameters as the published files have them.

    Parameters
    ----------
    parameters : ParameterSet
        The parameters.
    pipeline : {'mvm', 'svm'}
        Whose files; some parameters are in those of one pipeline alone.

    Returns
    -------
    dict
        Four groups; ready for `json.dumps`. Flags and pairs of numbers are text, flags as their sum.
    """
    return _as_published(parameters, pipeline)


def _as_published(model: ParameterModel, pipeline: Pipeline) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if not is_published(type(model), name, pipeline, has_value=value is not None):
            continue
        if isinstance(value, ParameterModel):
            written: Any = _as_published(value, pipeline)
        elif isinstance(value, tuple) and _is(field.metadata, Pair):
            written = " ".join(str(item) for item in value)
        elif isinstance(value, tuple):
            written = list(value)
        elif isinstance(value, int) and _is(field.metadata, GoodBits):
            written = str(value)
        else:
            written = dict(value) if isinstance(value, dict) else value
        values[field.alias or name] = written
    return values


def _is(metadata: list[Any], kind: Any) -> bool:
    """Whether a field has the marks of an annotated type."""
    return all(mark in metadata for mark in kind.__metadata__)


def is_published(
    model: type[ParameterModel], name: str, pipeline: Pipeline, *, has_value: bool = True
) -> bool:
    """Tell whether a pipeline's files have a parameter.

    Parameters
    ----------
    model : type
        The group.
    name : str
        Its field.
    pipeline : {'mvm', 'svm'}
        The pipeline.
    has_value : bool
        Whether the parameter has a value other than None.

    Returns
    -------
    bool
        False for the other pipeline's parameters, and for those that are left out without a value.
    """
    marks = [mark for mark in model.model_fields[name].metadata if isinstance(mark, Published)]
    return all(pipeline in mark.pipelines and (has_value or not mark.omitted_when_none) for mark in marks)


def flattened(layout: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give all parameters of a layout by their path, such as ('catalog generation', 'dao', 'bkgsig_sf').

    Parameters
    ----------
    layout : dict
        As `published_layout` gives it.
    path : tuple of str
        Where the layout begins.

    Yields
    ------
    tuple
        Path and value.
    """
    for name, value in layout.items():
        if isinstance(value, dict) and not name.startswith("mosaic_"):
            yield from flattened(value, (*path, name))
        else:
            yield (*path, name), value
