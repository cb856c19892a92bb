"""Orders of the analytic model: their law, and their candidates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from marl_pricing import traffic
from marl_pricing.demand import propensities
from marl_pricing.traffic import Conditions
from marl_pricing.traffic.draws import poisson
from tests.markets import make, within

NUM = 40_000
LAWS = ["poisson", "multinomial"]


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


def visits(agent_shares, **settings):
    shape, params = make(settings, agent={"scale": 0.1})
    conditions = Conditions(jnp.array([1.5, 1.7]), jnp.ones(2), jnp.ones(2, bool), jnp.ones(()))
    return traffic.simulate(
        jax.random.key(0), shape.traffic, params.traffic, shape.demand, params.demand, conditions,
        jnp.asarray(agent_shares),
    )  # fmt: skip


@pytest.mark.parametrize("law", LAWS)
def test_a_candidate_is_the_same_alone_and_among_others(law: str) -> None:
    many = visits([0.0, 0.25, 0.5, 0.75, 1.0], order_law=law)
    for index, share in enumerate((0.0, 0.25, 0.5)):
        alone = visits([share], order_law=law)
        for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(many), strict=True):
            np.testing.assert_array_equal(one[0], other[index])


def test_expected_orders_are_linear_in_the_share_of_agents() -> None:
    orders = np.asarray(visits([0.0, 0.3, 1.0], random_orders=False).orders)
    np.testing.assert_allclose(orders[1], 0.7 * orders[0] + 0.3 * orders[2], rtol=1e-6)
    assert (orders[0][1] == 0).all()
    assert (orders[2][0] == 0).all()


@pytest.mark.parametrize("law", LAWS)
def test_more_agents_never_means_fewer_agents_orders(law: str) -> None:
    orders = np.asarray(visits(np.linspace(0, 1, 11), order_law=law).orders)
    assert (np.diff(orders[:, 1], axis=0) >= 0).all()
    assert (np.diff(orders[:, 0], axis=0) <= 0).all()


def test_answer_has_the_promised_shapes() -> None:
    got = visits([0.1, 0.2, 0.3])
    assert got.orders.shape == (3, 2, 2)
    assert got.events.shape == got.price_paid.shape == got.price_linked.shape == (3, 2)
    assert got.scores.shape == (3, 0)
    assert got.look_to_book.shape == (3,)


def test_sessions_that_take_one_unit_or_nothing() -> None:
    """Moments of the multinomial law: session m is one trial over (class, offer) and nothing."""
    shape, params = make({"order_law": "multinomial", "agent_share": 0.3}, agent={"scale": 0.1})
    everything = jnp.array([1.5, 1.7]), jnp.ones(2), jnp.ones(2, bool)

    def one(key, intensity):
        found = Conditions(*everything, intensity)
        got = traffic.simulate(key, shape.traffic, params.traffic, shape.demand, params.demand, found, jnp.array([0.3]))
        return got.orders[0].reshape(-1), got.visits[0]

    draw = jax.jit(jax.vmap(one, (0, None)))
    rate = np.asarray(propensities(shape.demand, params.demand, *everything), np.float64)
    chance = (np.array([0.7, 0.3])[:, None] * rate).reshape(-1)
    for mean in (10.0, 2.5):  # of the sessions: ten, or two or three of them
        orders, came = (np.asarray(x) for x in draw(jax.random.split(jax.random.key(1), NUM), mean / 10))
        assert (orders == np.round(orders)).all() and (orders.sum(1) <= came).all()
        assert within(came.mean(), mean, 0.5 / np.sqrt(NUM)) and set(came) <= {np.floor(mean), np.ceil(mean)}
        square = np.outer(chance, chance)
        covariance = mean * (np.diag(chance) - square) + came.var() * square
        assert within(orders.mean(0), mean * chance, np.sqrt(np.diag(covariance) / NUM))
        away = orders - mean * chance
        products = away[:, :, None] * away[:, None]
        assert within(products.mean(0), covariance, products.std(0) / np.sqrt(NUM))


def test_the_same_sessions_buy_less_of_what_costs_more() -> None:
    shape, params = make({"order_law": "multinomial"}, num_sellers=1)

    def orders(price):
        conditions = Conditions(price[None], jnp.ones(1), jnp.ones(1, bool), jnp.ones(()))
        keys = jax.random.split(jax.random.key(2), 200)
        answer = jax.vmap(
            lambda key: traffic.simulate(
                key, shape.traffic, params.traffic, shape.demand, params.demand, conditions, jnp.zeros(1)
            )
        )(keys)
        return answer.orders[:, 0, 0, 0]

    bought = np.asarray(jax.jit(jax.vmap(orders))(jnp.linspace(1.4, 2.4, 11)))
    assert (np.diff(bought, axis=0) <= 0).all() and bought[0].mean() > bought[-1].mean()
    assert bought.max() <= 10
