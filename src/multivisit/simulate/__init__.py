"""Exposures with a known truth, for tests, the demo and benchmarks."""

from __future__ import annotations

from multivisit.simulate.simulator import SimulatedField, run_simulation, simulate_field
from multivisit.simulate.specification import (
    ExposureSpecification,
    FieldSpecification,
    NoiseSpecification,
    SceneSpecification,
    Source,
    Visit,
    read_specification,
    write_specification,
)
from multivisit.simulate.standard_fields import STANDARD_FIELDS, standard_field

__all__ = [
    "STANDARD_FIELDS",
    "ExposureSpecification",
    "FieldSpecification",
    "NoiseSpecification",
    "SceneSpecification",
    "SimulatedField",
    "Source",
    "Visit",
    "read_specification",
    "run_simulation",
    "simulate_field",
    "standard_field",
    "write_specification",
]
