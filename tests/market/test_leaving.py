"""A seller that has left the market: nothing that it does or did moves anybody any more."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.demand import propensities
from marl_pricing.market import Action, layout
from marl_pricing.policies.expectations import expected_demand, in_market
from tests.markets import LEVELS, UNLIMITED, make, programs

EVERY_PRICE = ["own_price", "rival_price", "all_rival_prices"]
LINEAR = {"model": "linear", "intercept": 1.0, "slope": 0.4, "cross_slope": 0.3}
POWER = {
    "model": "power", "base": 0.2, "popularity": 1.0, "elasticity": -2.0, "reference_price": 1.5,
    "cross_elasticity": 0.8,
}  # fmt: skip
DEMAND = {"logit": {"model": "logit", "quality": 2.0, "scale": 0.25}, "linear": LINEAR, "power": POWER}
PRICES = {
    "levels": LEVELS,
    "scale": {"map": "scale", "factors": [0.8, 1.0, 1.25], "low": 1.1, "high": 2.5, "start": 1.6},
}


def a_market(demand: str, prices: str = "levels", num_sellers: int = 3) -> Any:
    """The last seller loses money on every unit and is gone after one epoch."""
    cost = [1.0] * (num_sellers - 1) + [9.0]
    return make(
        {"random_orders": False}, num_sellers=num_sellers, demand=DEMAND[demand], prices=PRICES[prices],
        reward={"unit_cost": cost, "omega": 0.5}, inventory=UNLIMITED, features=EVERY_PRICE,
        bankruptcy={"initial_cash": [99.0] * (num_sellers - 1) + [0.0], "cash_limit": 0.0},
    )  # fmt: skip


def played(own: Any, actions: np.ndarray) -> tuple[Any, Any, Any]:
    """(states, observations, outcomes) [T, ...] of price actions [T, S]."""
    start, _ = programs.reset(jax.random.key(0), *own)

    def epoch(state: Any, at: Any) -> Any:
        key, price = at
        state, seen, outcome = market.step(key, own.shape, state, Action(price[:, None]), own.params)
        return state, (state, seen, outcome)

    keys = jax.random.split(jax.random.key(1), len(actions))
    found = jax.jit(lambda a: jax.lax.scan(epoch, start, (keys, a))[1])(jnp.asarray(actions, jnp.int32))
    return jax.tree.map(np.asarray, found)


@pytest.mark.parametrize("prices", PRICES)
@pytest.mark.parametrize("demand", DEMAND)
def test_what_a_seller_that_left_would_do_moves_nothing(demand: str, prices: str) -> None:
    own = a_market(demand, prices)
    calm = np.ones((6, 3), int)
    wild = calm.copy()
    wild[1:, 2] = [0, 2, 0, 2, 2]
    (states, seen, one), (_, seen_other, other) = played(own, calm), played(own, wild)
    assert one.terminated[0].tolist() == [False, False, True] and one.terminated[1:].sum() == 0
    for left, right in zip(jax.tree.leaves((seen, one)), jax.tree.leaves((seen_other, other)), strict=True):
        np.testing.assert_array_equal(left, right)
    # The price stays where it was when the seller left.
    assert (one.prices[:, 2] == one.prices[0, 2]).all() and (states.prices[:, 2] == one.prices[0, 2]).all()
    assert (one.demand[1:, 2] == 0).all() and (one.demand[1:, :2] > one.demand[0, :2]).all()


@pytest.mark.parametrize("demand", DEMAND)
def test_the_price_at_which_a_seller_left_is_not_remembered_by_demand(demand: str) -> None:
    shape, params = a_market(demand)
    state, _ = programs.reset(jax.random.key(0), shape, params)
    action, after = Action(jnp.full((3, 1), 3)), []
    for price in (1.1, 2.5):
        here = state.replace(active=jnp.array([True, True, False]), prices=state.prices.at[2].set(price))
        after.append(programs.step(jax.random.key(1), shape, here, action, params)[2].demand)
        prices = jnp.array([1.7, 1.7, price])
        after.append(expected_demand(shape, params, prices, in_market(shape, here)))
    np.testing.assert_array_equal(after[0], after[2])
    np.testing.assert_array_equal(after[1], after[3])
    np.testing.assert_allclose(after[0], after[1], rtol=1e-6)


def test_linear_demand_for_those_who_stay_is_that_of_a_rival_at_its_choke_price() -> None:
    shape, params = a_market("linear", num_sellers=2)
    there, level = jnp.array([True, False]), jnp.ones(2)
    got = propensities(shape.demand, params.demand, jnp.array([1.6, 1.2]), level, there, there)[0, 0]
    # Seller 1 sells nothing at p with 1 − 0.4 p + 0.3 · 1.6 = 0, a price below the common ceiling 1 / (0.4 − 0.3).
    choke = (1.0 + 0.3 * 1.6) / 0.4
    assert float(got) == pytest.approx(1.0 - 0.4 * 1.6 + 0.3 * choke, rel=1e-6)


def test_an_offer_that_is_sold_out_still_shows_its_price() -> None:
    shape, params = a_market("linear", num_sellers=2)
    there, level = jnp.array([True, False]), jnp.ones(2)
    low, high = (
        propensities(shape.demand, params.demand, jnp.array([1.6, price]), level, there)[0, 0] for price in (1.2, 1.4)
    )
    assert float(high - low) == pytest.approx(0.3 * 0.2, rel=1e-4)


def test_rivals_see_the_mean_price_of_those_who_stay_and_nothing_of_who_left() -> None:
    own = a_market("logit")
    levels = np.array([[2, 5, 0], [3, 6, 7], [1, 4, 7]])
    _, seen, outcome = played(own, levels)
    scaled = 2.0 * (outcome.prices - 1.1) / 1.4 - 1.0
    names = layout(own.shape)
    mean = seen.local[..., names.index("rivals' mean price of the last epoch (-1 lowest, 1 highest)")]
    for epoch in range(3):
        # What is seen after epoch 0 is seen by those who are left.
        np.testing.assert_allclose(mean[epoch], [scaled[epoch, 1], scaled[epoch, 0], 0.0], atol=1e-5)
    every = seen.local[..., 2:]
    np.testing.assert_allclose(every[:, 0], np.stack([scaled[:, 1], np.zeros(3)], 1), atol=1e-5)
    np.testing.assert_allclose(every[:, 1], np.stack([np.zeros(3), scaled[:, 0]], 1), atol=1e-5)
    # The central critic's prices of those who left are 0 as well.
    np.testing.assert_allclose(seen.state[:, :3], scaled * [1, 1, 0], atol=1e-5)


def test_a_seller_whose_rivals_have_all_left_sees_no_price_of_theirs() -> None:
    own = a_market("logit", num_sellers=2)
    _, seen, outcome = played(own, np.full((3, 2), 6))
    assert outcome.acted[1:, 1].sum() == 0
    np.testing.assert_allclose(seen.local[0, 0], [2.0 * (outcome.prices[0, 0] - 1.1) / 1.4 - 1.0, 0.0, 0.0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["bank", "scripted"])
def test_sessions_do_not_look_at_offers_that_left(model: str) -> None:
    from tests.traffic.visitors import with_sessions

    own = with_sessions(
        model, sessions=60, num_sellers=3, num_products=2, inventory=UNLIMITED,
        reward={"unit_cost": 1.0}, bankruptcy={"initial_cash": 5.0, "cash_limit": 0.0},
    )  # fmt: skip
    state, _ = programs.reset(jax.random.key(0), *own)
    state = state.replace(active=jnp.array([True, True, False]))
    action = Action(jnp.full((3, 2), 2))
    outcome = programs.step(jax.random.key(1), own.shape, state, action, own.params)[2]
    events = np.asarray(outcome.events)
    assert (events[4:] == 0).all() and (events[:4] > 0).all()
    nobody = state.replace(active=jnp.zeros(3, bool))
    outcome = programs.step(jax.random.key(1), own.shape, nobody, action, own.params)[2]
    assert float(outcome.events.sum()) == 0.0 == float(outcome.demand.sum())
