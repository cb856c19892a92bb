"""Ambiguity sets against exact values, a linear program, and optimal transport."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from marl_pricing.laws import demand_distances
from marl_pricing.robust import SETS, Ambiguity, worst_law, worst_value

KNOWN = json.loads((Path(__file__).parents[1] / "known_answers" / "robust_operators.json").read_text())
EXPECTATION, CHAIN = KNOWN["expectation"], KNOWN["two_state_chain"]
NAMES = {
    "contamination": "contamination",
    "total_variation": "total_variation_half_l1",
    "kl": "kl",
    "chi2": "chi2",
    "wasserstein": "wasserstein1_ground_index_distance",
}


def line(count: int) -> jnp.ndarray:
    """Distances between points 0, 1, … on a line."""
    return jnp.abs(jnp.arange(count)[:, None] - jnp.arange(count)).astype(jnp.float32)


def worst(name: str, values, weights, radius) -> np.ndarray:
    values, weights = (jnp.asarray(x, jnp.float32) for x in (values, weights))
    run = jax.jit(worst_value, static_argnums=0)
    return np.asarray(run(name, values, weights, jnp.float32(radius), line(values.shape[-1])))


@pytest.mark.parametrize("name", NAMES)
def test_expectations_are_the_known_ones(name: str) -> None:
    for radius, exact in zip(EXPECTATION["radius"], EXPECTATION[NAMES[name]], strict=True):
        got = worst(name, EXPECTATION["values"], EXPECTATION["probabilities"], radius)
        assert got == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize(
    ("key", "name", "radius"),
    [
        ("contamination_0.1", "contamination", 0.1),
        ("kl_0.05", "kl", 0.05),
        ("total_variation_0.05", "total_variation", 0.05),
    ],
)
def test_robust_values_of_a_chain_are_the_known_ones(key: str, name: str, radius: float) -> None:
    """Robust value iteration, v = r + γ min over the set of P v; the set is around each row."""
    rows, reward = np.array(CHAIN["P"], np.float32), np.array(CHAIN["reward"], np.float32)
    gamma = CHAIN["gamma"]

    @jax.jit
    def sweep(value):
        following = jnp.stack([worst_value(name, value, row, jnp.float32(radius)) for row in jnp.asarray(rows)])
        return reward + gamma * following

    value = jnp.zeros(2)
    for _ in range(200):
        value = sweep(value)
    # 1e-5 of the expectation grows by 1 / (1 − γ) over the horizon.
    np.testing.assert_allclose(value, CHAIN[key], atol=1e-4)


def cases():
    size = st.integers(2, 9)
    return size.flatmap(
        lambda k: st.tuples(
            st.lists(st.integers(-400, 400).map(lambda n: n / 8), min_size=k, max_size=k),
            st.lists(st.floats(0.0625, 1.0, width=32), min_size=k, max_size=k),
            st.floats(0.0078125, 1.5, width=32),
        )
    )


@settings(max_examples=60, deadline=None)
@given(cases())
def test_sets_hold_what_they_promise(case) -> None:
    """No set is below the worst world or above the nominal mean; a larger radius is never better; 0 is the mean."""
    values, raw, radius = case
    weights = np.array(raw) / np.sum(raw)
    values = np.array(values)
    spread = np.ptp(values) + 1.0
    for name in SETS:
        radii = [0.0, 0.5 * radius, radius, 2 * radius]
        if name in ("contamination", "total_variation"):
            radii = [min(r, 1.0) for r in radii]
        got = [float(worst(name, values, weights, r)) for r in radii]
        size = 1.0 + np.abs(values).max()
        assert got[0] == pytest.approx(float(values @ weights), abs=1e-6 * size)
        assert all(b <= a + 3e-6 * (spread + size) for a, b in pairwise(got)), (name, got)
        assert got[-1] >= values.min() - 1e-5 * spread


@settings(max_examples=40, deadline=None)
@given(cases())
def test_total_variation_and_wasserstein_are_linear_programs(case) -> None:
    values, raw, radius = case
    weights, values = np.array(raw) / np.sum(raw), np.array(values)
    count = len(values)
    spread = np.ptp(values) + 1.0
    # A plan [i, j] moves mass of i to j; its cost is the distance (W₁) or whether it moves at all (total variation).
    for name, cost in (("wasserstein", np.asarray(line(count))), ("total_variation", 1.0 - np.eye(count))):
        bound = min(radius, 1.0) if name == "total_variation" else radius
        exact = linprog(
            np.tile(values, count), A_ub=cost.reshape(1, -1), b_ub=[bound],
            A_eq=np.kron(np.eye(count), np.ones(count)), b_eq=weights,
        ).fun  # fmt: skip
        assert float(worst(name, values, weights, bound)) == pytest.approx(exact, abs=3e-5 * spread), name


@pytest.mark.parametrize("name", ["kl", "chi2"])
def test_divergence_sets_are_convex_programs(name: str) -> None:
    from scipy.optimize import minimize

    random = np.random.default_rng(0)
    for _ in range(8):
        count = int(random.integers(2, 6))
        values, weights = random.normal(0, 3, count), random.dirichlet(np.full(count, 2.0))
        radius = float(random.uniform(0.01, 0.8))

        def divergence(q, weights=weights):
            if name == "chi2":
                return ((q - weights) ** 2 / weights).sum()
            return (q * np.log(np.maximum(q, 1e-15) / weights)).sum()

        best = min(
            minimize(
                lambda q, values=values: q @ values, start, bounds=[(0, 1)] * count, method="SLSQP",
                options={"maxiter": 500, "ftol": 1e-12},
                constraints=[
                    {"type": "eq", "fun": lambda q: q.sum() - 1},
                    {"type": "ineq", "fun": lambda q, radius=radius: radius - divergence(q)},
                ],
            ).fun
            for start in (weights, 0.5 * weights + 0.5 * np.eye(count)[values.argmin()])
        )  # fmt: skip
        assert float(worst(name, values, weights, radius)) == pytest.approx(best, abs=2e-4)


def test_sets_are_batched() -> None:
    values = np.random.default_rng(1).normal(size=(3, 4, 5))
    weights = np.full(5, 0.2)
    for name in SETS:
        together = worst(name, values, weights, 0.1)
        assert together.shape == (3, 4)
        np.testing.assert_allclose(together[1, 2], worst(name, values[1, 2], weights, 0.1), rtol=1e-6)


@pytest.mark.parametrize("name", SETS)
def test_the_worst_law_is_a_law_and_gives_the_worst_value(name: str) -> None:
    random = np.random.default_rng(3)
    shares = (0.0, 0.2, 0.5, 0.6)
    ambiguity = Ambiguity(name, "expected", 0.2, shares, False, (0.4, 0.3, 0.2, 0.1))
    weights, metric = jnp.asarray(ambiguity.weights, jnp.float32), ambiguity.metric()
    values = jnp.asarray(random.normal(size=(200, 4)), jnp.float32)
    for radius in (0.0, 0.05, 0.3):
        law = np.asarray(worst_law(name, values, weights, jnp.float32(radius), metric), np.float64)
        assert law.min() >= -1e-6
        np.testing.assert_allclose(law.sum(-1), 1.0, atol=1e-5)
        # Within the set: the divergence of each law is at most the radius.
        p = np.asarray(weights, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = {
                "contamination": 1 - (law / p).min(-1),
                "total_variation": 0.5 * np.abs(law - p).sum(-1),
                "kl": np.where(law > 0, law * np.log(law / p), 0.0).sum(-1),
                "chi2": ((law - p) ** 2 / p).sum(-1),
            }
        if name in far:
            assert far[name].max() <= radius + 1e-4
    # Worlds that are all alike, and a set that has shrunk to a point.
    for same in (jnp.zeros((1, 4)), jnp.full((1, 4), -3.0)):
        for radius in (0.0, 0.2):
            law = np.asarray(worst_law(name, same, weights, jnp.float32(radius), metric))
            assert np.all(np.isfinite(law)), (name, radius)
            assert (law * np.asarray(same)).sum() == pytest.approx(float(same[0, 0]), abs=1e-4)
    none = worst_law(name, values, weights, jnp.float32(0.0), metric)
    np.testing.assert_array_equal(none, np.tile(weights, (200, 1)))


def test_wasserstein_needs_a_metric() -> None:
    with pytest.raises(ValueError, match=r"robust\.metric=None"):
        worst_value("wasserstein", jnp.zeros(2), jnp.full(2, 0.5), jnp.float32(0.1))
    with pytest.raises(ValueError, match=r"robust\.metric of shape \(3, 3\): accepted is \(2, 2\)"):
        worst_value("wasserstein", jnp.zeros(2), jnp.full(2, 0.5), jnp.float32(0.1), line(3))


def test_the_wasserstein_law_is_as_far_away_as_pot_says() -> None:
    """The worst law's exact W₁ distance from the nominal one (POT's network simplex) is the radius, unless all mass
    already lies on the worst world; metrics on a line, in the plane, and of demand samples."""
    random = np.random.default_rng(5)
    plane, units = random.normal(size=(7, 2)), random.poisson(8.0, (7, 4))
    metrics = [
        np.asarray(line(7), np.float64),
        np.linalg.norm(plane[:, None] - plane, axis=-1),
        np.asarray(demand_distances(jnp.asarray(units, jnp.float32)), np.float64),
    ]
    for metric in metrics:
        for radius in (0.02, 0.3, 1.5):
            values, weights = random.normal(size=7), random.dirichlet(np.ones(7))
            law = worst_law(
                "wasserstein", jnp.asarray(values, jnp.float32), jnp.asarray(weights, jnp.float32),
                jnp.float32(radius), jnp.asarray(metric, jnp.float32),
            )  # fmt: skip
            law = np.asarray(law, np.float64) / np.asarray(law, np.float64).sum()
            apart = ot.emd2(weights, law, metric)
            furthest = ot.emd2(weights, np.eye(7)[values.argmin()], metric)
            assert apart == pytest.approx(min(radius, furthest), rel=2e-3, abs=1e-4)
            # No law on the way there is worse: the linear program over POT's couplings.
            exact = linprog(
                np.tile(values, 7), A_ub=metric.reshape(1, -1), b_ub=[radius],
                A_eq=np.kron(np.eye(7), np.ones(7)), b_eq=weights,
            ).fun  # fmt: skip
            assert law @ values == pytest.approx(exact, abs=1e-4)
