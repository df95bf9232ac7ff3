"""Layers and their members, under their published names."""

from __future__ import annotations

from multivisit.plan.sky_cell_products import SkyCellExposure, SkyCellProduct

__all__ = ["SkyCellExposure", "SkyCellProduct"]
