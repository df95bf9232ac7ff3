from __future__ import annotations

import numpy as np
import pytest

from multivisit.combine.cosmic_rays import CosmicRayTest, find_cosmic_rays


def _published(science, model, test, time, sky, read_noise):
    """Follow the published definition pixel by pixel, in electrons."""
    ny, nx = science.shape
    loose, stringent = np.zeros((ny, nx), bool), np.zeros((ny, nx), bool)
    for j, i in np.ndindex(ny, nx):
        beside = [(j - 1, i), (j + 1, i), (j, i - 1), (j, i + 1)]
        slope = max(
            [abs(model[j, i] - model[p]) for p in beside if 0 <= p[0] < ny and 0 <= p[1] < nx], default=0.0
        )
        noise = np.sqrt(abs((model[j, i] + sky) * time) + read_noise**2)
        away = abs(science[j, i] - model[j, i]) * time
        loose[j, i] = away > test.scale[0] * slope * time + test.snr[0] * noise
        stringent[j, i] = away > test.scale[1] * slope * time + test.snr[1] * noise
    hit = np.zeros((ny, nx), bool)
    for j, i in np.ndindex(ny, nx):
        g = test.grow
        hit[j, i] = stringent[j, i] and loose[max(j - g, 0) : j + g + 1, max(i - g, 0) : i + g + 1].any()
    return hit


@pytest.mark.parametrize("grow", [0, 1, 2])
def test_follows_the_published_definition(grow: int) -> None:
    random = np.random.default_rng(8)
    model = random.uniform(0.0, 0.6, (30, 41)).astype(np.float32)
    science = (model + random.normal(0.0, 0.15, model.shape)).astype(np.float32)
    science[random.uniform(size=model.shape) < 0.1] += 0.7
    test = CosmicRayTest(snr=(3.5, 2.0), scale=(0.6, 0.3), grow=grow)
    found = find_cosmic_rays(science, model, test, exposure_time=300.0, sky_rate=0.05, read_noise=5.0)
    expected = _published(science.astype(float), model.astype(float), test, 300.0, 0.05, 5.0)
    np.testing.assert_array_equal(found, expected)
    assert 10 < found.sum() < found.size // 2


def test_unknown_pixels_are_not_hit() -> None:
    model = np.zeros((9, 9), dtype=np.float32)
    science = np.full((9, 9), 100.0, dtype=np.float32)
    model[2, 3] = np.nan
    science[6, 6] = np.nan
    found = find_cosmic_rays(
        science, model, CosmicRayTest(), exposure_time=100.0, sky_rate=0.0, read_noise=3.0
    )
    assert not found[2, 3]
    assert not found[6, 6]
    assert found.sum() == 79


@pytest.mark.parametrize(("direction", "rows"), [(1, [3, 4, 5]), (-1, [5, 6, 7]), (0, [5])])
def test_trails_lie_away_from_the_amplifier(direction: int, rows: list[int]) -> None:
    science = np.zeros((10, 8), dtype=np.float32)
    science[5, 4] = 1000.0
    found = find_cosmic_rays(
        science,
        np.zeros_like(science),
        CosmicRayTest(cte_grow=2),
        exposure_time=10.0,
        sky_rate=0.1,
        read_noise=3.0,
        cte_direction=direction,
    )
    assert [tuple(place) for place in np.argwhere(found)] == [(row, 4) for row in rows]
