"""The parameters of products: what they may be, their defaults, and custom parameter files."""

from __future__ import annotations

from multivisit.plan.parameters.alignment import AlignmentParameters
from multivisit.plan.parameters.catalog import CatalogParameters
from multivisit.plan.parameters.concentration import ConcentrationIndex, concentration_index
from multivisit.plan.parameters.conditions import ProductKind, condition_of
from multivisit.plan.parameters.model import CombinationParameters
from multivisit.plan.parameters.parameter_set import (
    PIPELINES,
    ParameterSet,
    combination_parameters,
    parameter_set,
)
from multivisit.plan.parameters.quality import QualityParameters
from multivisit.plan.parameters.usage import reason_not_used, used_combination_values
from multivisit.plan.parameters.values import Pipeline, parse_good_bits

__all__ = [
    "PIPELINES",
    "AlignmentParameters",
    "CatalogParameters",
    "CombinationParameters",
    "ConcentrationIndex",
    "ParameterSet",
    "Pipeline",
    "ProductKind",
    "QualityParameters",
    "combination_parameters",
    "concentration_index",
    "condition_of",
    "parameter_set",
    "parse_good_bits",
    "reason_not_used",
    "used_combination_values",
]
