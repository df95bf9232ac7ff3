"""The JSON schema of custom parameter files, and the parameters as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from multivisit.plan.parameters.layout import is_published
from multivisit.plan.parameters.parameter_set import ParameterSet
from multivisit.plan.parameters.usage import reason_not_used
from multivisit.plan.parameters.values import ParameterModel, Pipeline

__all__ = ["ParameterDescription", "described_parameters", "json_schema"]


@dataclass(frozen=True)
class ParameterDescription:
    """What a parameter is."""

    path: tuple[str, ...]
    """Published names from the group down."""

    meaning: str
    """What it does."""

    reason_not_used: str
    """Why multi-visit processing does not use it; empty where it does."""


def described_parameters(
    pipeline: Pipeline, model: type[ParameterModel] = ParameterSet, path: tuple[str, ...] = ()
) -> Iterator[ParameterDescription]:
    """Give all parameters of a pipeline's files, in their order.

    Parameters
    ----------
    pipeline : {'mvm', 'svm'}
        The pipeline.
    model : type
        Group at which to begin.
    path : tuple of str
        Its place.

    Yields
    ------
    ParameterDescription
        One parameter after the other.
    """
    for name, field in model.model_fields.items():
        if not is_published(model, name, pipeline):
            continue
        place = (*path, field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, ParameterModel):
            yield from described_parameters(pipeline, field.annotation, place)
        else:
            reason = reason_not_used(place) if pipeline == "mvm" else ""
            yield ParameterDescription(place, " ".join((field.description or "").split()), reason)


def json_schema(pipeline: Pipeline) -> dict[str, Any]:
    """Give the JSON schema (2020-12) of a pipeline's custom parameter files.

    Parameters
    ----------
    pipeline : {'mvm', 'svm'}
        The pipeline.

    Returns
    -------
    dict
        The schema. Its key ``x-not-used`` tells why parameters are not used by multi-visit processing.
    """
    schema = ParameterSet.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs")
    definitions["ParameterSet"] = schema
    for model in _models(ParameterSet):
        definition = definitions[model.__name__]
        # What a file leaves out keeps its default.
        definition.pop("required", None)
        for name, field in model.model_fields.items():
            if not is_published(model, name, pipeline):
                del definition["properties"][field.alias or name]
    described = described_parameters(pipeline)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Custom parameter file ({pipeline})",
        "description": "Parameters by product basename; 'parameters' is what is used.",
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": {
                "parameters": {"$ref": "#/$defs/ParameterSet"},
                "default_values": {"type": "object", "description": "Not used; for comparison."},
            },
            "required": ["parameters"],
            "additionalProperties": False,
        },
        "x-not-used": {
            "/".join(each.path): each.reason_not_used for each in described if each.reason_not_used
        },
        "$defs": definitions,
    }


def _models(model: type[ParameterModel]) -> Iterator[type[ParameterModel]]:
    """Give a group and all the groups within it."""
    yield model
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, ParameterModel):
            yield from _models(field.annotation)
