"""Linear fits against transformations that are known."""

from __future__ import annotations

import numpy as np
import pytest

from multivisit.align.linear import Transform, fit_best, fit_linear, geometry_for

FEWEST = {"rscale": 12, "general": 25}


def turned(degrees: float, scale: float = 1.0) -> np.ndarray:
    angle = np.radians(degrees)
    return scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.fixture
def positions() -> np.ndarray:
    return np.random.default_rng(1).uniform(-100.0, 100.0, (60, 2)) + np.array([500.0, -20.0])


@pytest.mark.parametrize(
    ("geometry", "matrix"),
    [
        ("shift", np.identity(2)),
        ("rshift", turned(0.3)),
        ("rscale", turned(-0.2, 1.0003)),
        ("general", np.array([[1.0002, 0.0004], [-0.0001, 0.9997]])),
    ],
)
def test_every_kind_is_recovered_and_outliers_do_not_matter(positions, geometry, matrix):
    truth = Transform(matrix, np.array([3.2, -1.7]))
    moved = truth(positions)
    moved[:5] += [4.0, 9.0]
    noise = np.random.default_rng(2).normal(0.0, 1e-3, moved.shape)
    fit = fit_linear(positions, moved + noise, geometry)
    assert not fit.used[:5].any()
    assert fit.n >= 52
    assert np.abs(fit.transform(positions) - truth(positions)).max() < 1.5e-3
    assert fit.rms_distance == pytest.approx(1e-3 * np.sqrt(2.0), rel=0.2)


def test_a_rotation_is_told_with_its_sign_and_a_scale():
    transform = Transform(turned(0.25, 1.01))
    assert transform.rotation == pytest.approx(0.25)
    assert transform.scale == pytest.approx(1.01)


def test_one_transformation_after_another(positions):
    first, second = (
        Transform(turned(10.0), np.array([1.0, 2.0])),
        Transform(turned(-4.0, 2.0), np.array([5.0, 0.0])),
    )
    np.testing.assert_allclose(second.after(first)(positions), second(first(positions)))


@pytest.mark.parametrize(
    ("wanted", "n", "chosen"),
    [
        ("rscale", 12, "rscale"),
        ("rscale", 11, "shift"),
        ("rscale", 90, "rscale"),
        ("general", 25, "general"),
        ("general", 24, "rscale"),
        ("shift", 90, "shift"),
    ],
)
def test_fewer_sources_allow_a_simpler_kind(wanted, n, chosen):
    assert geometry_for(wanted, n, FEWEST) == chosen


def test_few_sources_turn_only_where_they_insist_on_it():
    random = np.random.default_rng(5)
    kinds = []
    for _ in range(200):
        first = random.uniform(-40.0, 40.0, (7, 2))
        kinds.append(
            fit_best(first, first + random.normal(0.0, 0.01, first.shape), "rscale", FEWEST).geometry
        )
    assert kinds.count("shift") >= 195
    first = random.uniform(-40.0, 40.0, (7, 2))
    second = Transform(turned(0.1))(first) + random.normal(0.0, 0.002, first.shape)
    fit = fit_best(first, second, "rscale", FEWEST)
    assert fit.geometry == "rshift"
    assert fit.transform.rotation == pytest.approx(0.1, abs=0.01)
    assert fit_best(first, second, "shift", FEWEST).geometry == "shift"


def test_a_single_pair_gives_a_shift():
    fit = fit_linear(np.array([[1.0, 2.0]]), np.array([[4.0, 1.0]]), "general")
    assert (fit.geometry, fit.n) == ("shift", 1)
    np.testing.assert_allclose(fit.transform.shift, [3.0, -1.0])
