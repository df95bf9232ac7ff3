from __future__ import annotations

import numpy as np
import pytest

from multivisit.combine.separate_grid import SeparateGrid


@pytest.mark.parametrize(("scale", "rotation"), [(0.04, 0.0), (0.05, 0.0), (0.128, 30.0), (0.03, -107.0)])
def test_the_grid_contains_the_output_grid_and_is_as_large_as_needed(scale: float, rotation: float) -> None:
    grid = SeparateGrid.over((300, 500), 0.04, scale, rotation)
    corners = np.array([[x, y] for x in (-0.5, 499.5) for y in (-0.5, 299.5)])
    there = corners @ np.array(grid.matrix).T + grid.shift
    low, high = there.min(axis=0) + 0.5, there.max(axis=0) + 0.5
    assert (low >= -1e-6).all()
    assert (high <= np.array(grid.shape[::-1]) + 1e-6).all()
    assert (np.array(grid.shape[::-1]) - (high - low) < 1.0 + 1e-6).all()
    np.testing.assert_allclose(low, np.array(grid.shape[::-1]) - high, atol=1e-6)
    np.testing.assert_allclose(abs(np.linalg.det(grid.matrix)), (0.04 / scale) ** 2)


def test_the_same_scale_gives_the_same_grid() -> None:
    grid = SeparateGrid.over((300, 500), 0.04, 0.04)
    assert grid.shape == (300, 500)
    np.testing.assert_allclose(grid.matrix, np.eye(2))
    np.testing.assert_allclose(grid.shift, 0.0, atol=1e-9)
