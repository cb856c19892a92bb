"""Wasserstein distances against POT; the ball against a linear program that may move mass anywhere."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from marl_pricing.laws import ball_worst, sliced_distance, stock_reward, wasserstein_distance


def samples(size: int, dimensions: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.poisson(4.0, (size, dimensions)).astype(float), random.gamma(2.0, 2.5, (size, dimensions))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("size", "dimensions"), [(1, 1), (200, 1), (150, 2), (120, 6)])
def test_distances_are_those_of_pot(size: int, dimensions: int, order: int) -> None:
    first, second = samples(size, dimensions, size + dimensions)
    metric = "euclidean" if order == 1 else "sqeuclidean"
    expected = ot.emd2(ot.unif(size), ot.unif(size), ot.dist(first, second, metric)) ** (1 / order)
    assert wasserstein_distance(first, second, order) == pytest.approx(expected, rel=1e-9)
    drawn = np.random.default_rng(7).standard_normal((dimensions, 50))
    directions = drawn / np.linalg.norm(drawn, axis=0)
    sliced = ot.sliced_wasserstein_distance(first, second, projections=directions, p=order)
    assert sliced_distance(first, second, order, directions) == pytest.approx(float(sliced), rel=1e-9)
    assert sliced_distance(first, second, order) <= wasserstein_distance(first, second, order) + 1e-12


def test_a_sample_is_no_distance_from_itself_and_a_shift_is_its_length() -> None:
    first, _ = samples(80, 3, 0)
    for order in (1, 2):
        assert wasserstein_distance(first, first[::-1], order) == pytest.approx(0.0, abs=1e-12)
        assert wasserstein_distance(first, first + np.array([3.0, 0.0, 4.0]), order) == pytest.approx(5.0, rel=1e-12)
    with pytest.raises(ValueError, match="one shape"):
        wasserstein_distance(first, first[:-1])
    with pytest.raises(ValueError, match="order=3"):
        wasserstein_distance(first, first, 3)


def program(sample: np.ndarray, places: np.ndarray, reward: np.ndarray, weight: np.ndarray, radius: float) -> float:
    """min Σ π_iv r(v) with Σ_v π_iv = 1/n and Σ π_iv d(D_i, v) ≤ ε, over plans to any of `places` [V, N]."""
    count, number = len(sample), len(places)
    distance = (weight * np.abs(sample[:, None] - places)).sum(-1).reshape(-1)
    columns = np.arange(count * number)
    mass = coo_matrix((np.ones(count * number), (columns // number, columns)))
    found = linprog(
        np.tile(reward, count), coo_matrix(distance[None]), [radius], mass, np.full(count, 1 / count), method="highs"
    )
    assert found.status == 0
    return float(found.fun)


RADII = [0.0, 0.01, 0.3, 1.0, 3.0, 50.0]


def ball(reward, sample, weight, radius) -> float:
    with jax.enable_x64(True):
        own = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), reward)
        return float(jax.jit(ball_worst)(own, jnp.asarray(sample), jnp.asarray(weight), jnp.asarray(radius)))


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("kind", ["unlimited", "stock", "loss"])
def test_the_ball_is_its_linear_program(kind: str, radius: float) -> None:
    """Two offers; the program may move mass to every whole and half unit of both, kinks included."""
    random = np.random.default_rng(3)
    sample = random.poisson(3.0, (25, 2)).clip(0, 8).astype(float)
    weight, most = np.array([1.0, 0.6]), np.array([8.0, 8.0])
    margin = np.array([0.5, -0.2]) if kind == "loss" else np.array([0.5, 0.8])
    stock = None if kind == "unlimited" else np.array([4.0, 2.5])
    missing, left = (0.0, 0.0) if kind == "unlimited" else (np.array([0.3, 1.1]), np.array([0.05, 0.02]))
    axis = np.arange(0.0, 8.01, 0.5)
    places = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)

    def plain(demand: np.ndarray) -> np.ndarray:
        if stock is None:
            return (margin * demand).sum(-1)
        sold = np.minimum(demand, stock)
        return (margin * sold - missing * (demand - sold) - left * (stock - sold)).sum(-1)

    reward = stock_reward(
        *(jnp.asarray(x) for x in (margin, most)), None if stock is None else jnp.asarray(stock), missing, left
    )
    np.testing.assert_allclose(reward(jnp.asarray(places, jnp.float32)), plain(places), atol=1e-5)
    expected = program(sample, places, plain(places), weight, radius)
    assert ball(reward, sample, weight, radius) == pytest.approx(expected, abs=1e-6)
    if radius == 0.0:
        assert expected == pytest.approx(plain(sample).mean())


def test_mass_moves_off_the_points_of_the_sample() -> None:
    """With unlimited stock the ball takes the radius off the dearest margin; reweighting the points could not."""
    sample = np.array([[2.0, 5.0], [2.0, 5.0]])
    reward = stock_reward(jnp.asarray([0.5, 0.8]), jnp.full(2, 10.0))
    got = ball(reward, sample, np.ones(2), 1.5)
    assert got == pytest.approx(0.5 * 2 + 0.8 * 5 - 0.8 * 1.5, abs=1e-6)
    assert ball(reward, sample, np.ones(2), 100.0) == pytest.approx(0.0, abs=1e-6)
