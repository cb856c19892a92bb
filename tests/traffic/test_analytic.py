"""Orders of the analytic model: their law, and their candidates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from marl_pricing import traffic
from marl_pricing.traffic import Conditions
from marl_pricing.traffic.draws import poisson
from tests.markets import make, within

NUM = 40_000


@pytest.fixture(scope="module")
def draw():
    return jax.jit(lambda key, rate: poisson(key, jnp.broadcast_to(rate, (NUM,))))


@pytest.mark.parametrize("rate", [1e-3, 0.3, 3.0, 12.0, 40.0, 45.0, 200.0, 1000.0])
def test_counts_follow_poissons_law(draw, rate: float) -> None:
    counts = np.asarray(draw(jax.random.key(int(rate * 1000)), rate))
    assert (counts == np.round(counts)).all()
    assert within(counts.mean(), rate, np.sqrt(rate / NUM))
    # Var(s²) ≈ (μ₄ − σ⁴)/n, and μ₄ = λ + 3λ² for Poisson.
    assert within(counts.var(), rate, np.sqrt((rate + 2 * rate**2) / NUM))
    edges = np.unique(stats.poisson.ppf(np.linspace(0.02, 0.98, 25), rate))
    observed = np.histogram(counts, np.concatenate([[-1], edges, [np.inf]]) + 0.5)[0]
    cdf = np.concatenate([[0], stats.poisson.cdf(edges, rate), [1]])
    expected = np.diff(cdf) * NUM
    keep = expected > 5
    if keep.sum() > 2:
        statistic = ((observed - expected)[keep] ** 2 / expected[keep]).sum()
        assert stats.chi2.sf(statistic, keep.sum() - 1) > 1e-4


def test_no_rate_no_count(draw) -> None:
    assert (np.asarray(draw(jax.random.key(0), 0.0)) == 0).all()


def test_counts_never_fall_as_the_rate_rises() -> None:
    rates = jnp.concatenate([jnp.linspace(0.0, 60.0, 150), jnp.linspace(60.0, 400.0, 50)])
    draws = jax.jit(jax.vmap(lambda key: jax.vmap(lambda rate: poisson(key, rate[None])[0])(rates)))
    counts = np.asarray(draws(jax.random.split(jax.random.key(0), 200)))
    # Rounding of the running sum may move a count by one where a uniform falls on a step.
    assert (np.diff(counts, axis=1) >= -1).all()
    assert (np.diff(counts, axis=1) < 0).mean() < 1e-3


def visits(agent_shares, *, random_orders: bool = True):
    shape, params = make({"random_orders": random_orders}, agent={"scale": 0.1})
    conditions = Conditions(jnp.array([1.5, 1.7]), jnp.ones(2), jnp.ones(2, bool), jnp.ones(()))
    return traffic.simulate(
        jax.random.key(0), shape.traffic, params.traffic, shape.demand, params.demand, conditions,
        jnp.asarray(agent_shares),
    )  # fmt: skip


def test_a_candidate_is_the_same_alone_and_among_others() -> None:
    many = visits([0.0, 0.25, 0.5, 0.75, 1.0])
    for index, share in enumerate((0.0, 0.25, 0.5)):
        alone = visits([share])
        for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(many), strict=True):
            np.testing.assert_array_equal(one[0], other[index])


def test_expected_orders_are_linear_in_the_share_of_agents() -> None:
    orders = np.asarray(visits([0.0, 0.3, 1.0], random_orders=False).orders)
    np.testing.assert_allclose(orders[1], 0.7 * orders[0] + 0.3 * orders[2], rtol=1e-6)
    assert (orders[0][1] == 0).all()
    assert (orders[2][0] == 0).all()


def test_more_agents_never_means_fewer_agents_orders() -> None:
    orders = np.asarray(visits(np.linspace(0, 1, 11)).orders)
    assert (np.diff(orders[:, 1], axis=0) >= 0).all()
    assert (np.diff(orders[:, 0], axis=0) <= 0).all()


def test_answer_has_the_promised_shapes() -> None:
    got = visits([0.1, 0.2, 0.3])
    assert got.orders.shape == (3, 2, 2)
    assert got.events.shape == got.price_paid.shape == got.price_linked.shape == (3, 2)
    assert got.scores.shape == (3, 0)
    assert got.look_to_book.shape == (3,)
