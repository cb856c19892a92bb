"""Demand models against their formulas."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.config import ConfigError
from marl_pricing.demand import propensities
from tests.markets import make, within


def rates(own, prices: Any, level: Any = None, available: Any = None) -> np.ndarray:
    shape, params = own
    num = shape.num_offers
    level = jnp.ones(num) if level is None else jnp.asarray(level)
    available = jnp.ones(num, bool) if available is None else jnp.asarray(available)
    return np.asarray(propensities(shape.demand, params.demand, jnp.asarray(prices, jnp.float32), level, available))


def softmax(quality: Any, prices: Any, scale: float, level: Any = 1.0, outside: float = 0.0) -> np.ndarray:
    weight = np.asarray(level) * np.exp((np.asarray(quality) - np.asarray(prices)) / scale)
    return weight / (weight.sum() + np.exp(outside / scale))


def test_logit_is_a_softmax_with_an_outside_option() -> None:
    demand = {"model": "logit", "quality": [2.0, 1.7], "scale": 0.25, "outside": 0.3}
    own = make(demand=demand, agent={"scale": 0.1, "quality": 1.9, "outside": 0.0})
    prices, level = [1.5, 1.3], [1.2, 0.8]
    got = rates(own, prices, level)
    np.testing.assert_allclose(got[0], softmax([2.0, 1.7], prices, 0.25, level, 0.3), rtol=2e-5)
    np.testing.assert_allclose(got[1], softmax([1.9, 1.9], prices, 0.1, level), rtol=2e-5)
    assert (got.sum(1) < 1).all()


@pytest.mark.parametrize("prices", [[0.0, 0.0], [1e4, 1e4], [0.0, 1e4]])
def test_logit_survives_extreme_prices(prices: list[float]) -> None:
    got = rates(make(demand={"model": "logit", "quality": 100.0, "scale": 0.01}), prices)
    assert np.isfinite(got).all()
    assert (got >= 0).all()
    assert got.sum() <= 1 + 1e-6


def test_an_offer_that_is_not_available_sends_its_shoppers_to_the_rest() -> None:
    got = rates(make(), [1.5, 1.5], available=[True, False])[0]
    assert got[1] == 0
    np.testing.assert_allclose(got[0], softmax([2.0], [1.5], 0.25)[0], rtol=2e-5)


def test_power_is_constant_elasticity_times_popularity_with_a_cap() -> None:
    demand = {"model": "power", "base": 0.08, "popularity": [1.0, 3.0], "elasticity": -1.2, "reference_price": 5.0}
    own = make(demand=demand, agent={"base": 0.05, "elasticity": -0.6})
    prices, level = np.array([1.0, 2.0]), np.array([1.0, 0.5])
    expected = 0.08 * np.array([1, 3]) * level * (prices / 5) ** -1.2
    np.testing.assert_allclose(rates(own, prices, level)[0], expected, rtol=1e-5)
    np.testing.assert_allclose(rates(own, prices)[1], 0.05 * np.array([1, 3]) * (prices / 5) ** -0.6, rtol=1e-5)
    assert rates(own, [1e-3, 1.0])[0, 0] == pytest.approx(0.95)


def test_linear_answers_to_the_rivals_mean_price_only_where_it_should() -> None:
    settings = {"num_sellers": 3, "num_products": 2}
    demand = {"model": "linear", "intercept": 2.0, "slope": 0.5, "cross_slope": 0.3}
    prices = np.array([1.0, 1.2, 1.4, 1.6, 1.8, 2.0])
    rival = np.array([(prices.sum() - prices[2 * i : 2 * i + 2].sum()) / 4 for i in (0, 0, 1, 1, 2, 2)])
    got = rates(make(demand=demand, **settings), prices)[0]
    np.testing.assert_allclose(got, 2.0 - 0.5 * prices + 0.3 * rival, rtol=1e-5)
    alone = rates(make(demand=demand | {"cross_slope": 0.0}, **settings), prices)[0]
    np.testing.assert_allclose(alone, 2.0 - 0.5 * prices, rtol=1e-5)
    assert rates(make(demand=demand, **settings), prices * 100)[0].min() == 0.0


def test_a_single_seller_has_no_rivals_in_linear_demand() -> None:
    demand = {"model": "linear", "intercept": 2.0, "slope": 0.5, "cross_slope": 0.3}
    got = rates(make(num_sellers=1, demand=demand), [1.0])[0]
    np.testing.assert_allclose(got, [1.5], rtol=1e-6)


def test_quadrature_over_types_equals_monte_carlo() -> None:
    own = make(types={"spread": 0.4, "nodes": 15})
    prices = [1.6, 1.9]
    log_theta = np.random.default_rng(0).normal(-0.5 * 0.4**2, 0.4, 200_000)
    utility = (np.exp(log_theta)[:, None] * 2.0 - np.array(prices)) / 0.25
    weight = np.exp(utility)
    sample = weight / (1 + weight.sum(1, keepdims=True))
    assert within(sample.mean(0), rates(own, prices)[0], sample.std(0) / np.sqrt(len(sample)))
    assert abs(rates(own, prices)[0] - rates(make(), prices)[0]).max() > 0.01


def test_gradients_of_the_logit_are_finite_where_offers_are_missing() -> None:
    shape, params = make()
    available = jnp.array([True, False])

    def total(prices):
        return propensities(shape.demand, params.demand, prices, jnp.ones(2), available).sum()

    gradient = jax.grad(total)(jnp.array([1.5, 1.5]))
    assert np.isfinite(gradient).all()
    assert gradient[1] == 0


def test_a_nest_is_berrys_formula() -> None:
    """One nest (Berry 1994, eq. 24): within-nest shares times the nest's share against the outside option."""
    demand = {"model": "logit", "quality": [2.0, 1.7], "scale": 0.25, "outside": 0.3, "nesting": 0.6}
    got = rates(make(demand=demand), [1.5, 1.3], [1.2, 0.8])[0]
    utility = (np.array([2.0, 1.7]) - [1.5, 1.3]) / 0.25 + np.log([1.2, 0.8])
    within_nest = np.exp(utility / 0.4)
    nest = within_nest.sum() ** 0.4
    exact = within_nest / within_nest.sum() * nest / (nest + np.exp(0.3 / 0.25))
    np.testing.assert_allclose(got, exact, rtol=2e-5)
    plain = rates(make(demand=demand | {"nesting": 0.0}), [1.5, 1.3], [1.2, 0.8])[0]
    np.testing.assert_allclose(plain, softmax([2.0, 1.7], [1.5, 1.3], 0.25, [1.2, 0.8], 0.3), rtol=2e-5)
    # A nest of one offer is no nest, and one that nobody can buy from sells nothing.
    alone = rates(make(demand=demand), [1.5, 1.3], available=[True, False])[0]
    np.testing.assert_allclose(alone, [softmax([2.0], [1.5], 0.25, outside=0.3)[0], 0.0], rtol=2e-5)
    np.testing.assert_array_equal(rates(make(demand=demand), [1.5, 1.3], available=[False, False])[0], [0.0, 0.0])


def test_agents_may_have_a_nest_of_their_own() -> None:
    demand = {"model": "logit", "quality": [2.0, 1.7], "scale": 0.25}
    own = rates(make(demand=demand, agent={"nesting": 0.5}), [1.5, 1.3])
    np.testing.assert_allclose(own[0], softmax([2.0, 1.7], [1.5, 1.3], 0.25), rtol=2e-5)
    assert own[1, 0] / own[1, 1] == pytest.approx((own[0, 0] / own[0, 1]) ** 2, rel=1e-4)


def test_each_offer_may_have_its_own_elasticity() -> None:
    demand = {"model": "power", "base": 0.05, "elasticity": [-1.2, -3.0], "reference_price": 2.0}
    own = make(demand=demand, agent={"elasticity": -4.0})
    price = jnp.array([2.2, 1.8])
    found = propensities(own.shape.demand, own.params.demand, price, jnp.ones(2), jnp.ones(2, bool))
    expected = 0.05 * np.array([[1.1**-1.2, 0.9**-3.0], [1.1**-4.0, 0.9**-4.0]])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(ConfigError, match=r"market\.demand\.elasticity=\[-1\.0, -2\.0, -3\.0\]: accepted is a number"):
        make(demand=demand | {"elasticity": [-1.0, -2.0, -3.0]})


def test_cross_elasticity_is_in_the_others_mean_log_price() -> None:
    demand = {"model": "power", "base": 0.05, "elasticity": -2.0, "cross_elasticity": 0.8, "reference_price": 2.0}
    own = make(demand=demand, num_sellers=3)
    prices = np.array([2.0, 2.6, 1.5])
    logs = np.log(prices / 2.0)
    others = (logs.sum() - logs) / 2
    exact = 0.05 * np.exp(-2.0 * logs + 0.8 * others)
    np.testing.assert_allclose(rates(own, prices)[0], exact, rtol=1e-5)
    # Beyond half and twice the reference another's price says no more.
    np.testing.assert_allclose(rates(own, [2.0, 4.0, 2.0])[0, 0], rates(own, [2.0, 40.0, 2.0])[0, 0], rtol=1e-6)
