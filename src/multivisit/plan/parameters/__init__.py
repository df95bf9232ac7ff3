"""The parameters by which layers are combined: what they may be, and their defaults."""

from __future__ import annotations

from multivisit.plan.parameters.defaults import combination_parameters, condition_of
from multivisit.plan.parameters.model import CombinationParameters, parse_good_bits

__all__ = ["CombinationParameters", "combination_parameters", "condition_of", "parse_good_bits"]
