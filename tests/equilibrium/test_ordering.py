"""Rows "stock, exact" and "ordering" of the methodology's table: tables that grow, costs of orders, lead times."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from marl_pricing.config import ConfigError
from marl_pricing.equilibrium import backorders, replenishment
from marl_pricing.equilibrium.dynamic import PriceAndOrder, price_and_order
from marl_pricing.equilibrium.replenishment import Replenishment, poisson
from marl_pricing.evaluation.play import play
from marl_pricing.evaluation.stock_benchmarks import benchmarks_of, best_values, price_and_order_of
from marl_pricing.evaluation.stock_gap import discounted_value, stock_cost
from marl_pricing.market import Action, Policy, expect_variants, reset
from marl_pricing.market.observation import on_hand
from marl_pricing.policies.constant import constant
from tests.doors.compose import composed
from tests.markets import make, within


def geometric(mean: float = 5.0) -> np.ndarray:
    """Probabilities of 0, 1, … units, down to 1e-12."""
    more = mean / (1.0 + mean)
    law = (1.0 - more) * more ** np.arange(int(np.log(1e-12) / np.log(more)) + 1)
    return law / law.sum()


@pytest.mark.parametrize(("penalty", "known"), [(39.0, 23.8657), (99.0, None)])
def test_stock_exact(penalty: float, known: float | None) -> None:
    """Row "stock, exact". Bounds: the same demand without a lead time below, the best rule and backorders above."""
    own = Replenishment(geometric(), 1.0, penalty, 1)
    found = replenishment.best_cost(own)
    if known is not None:
        assert found == pytest.approx(known, abs=1e-4)
    assert found < replenishment.best_base_stock(own).cost
    assert found < backorders.base_stock(own).cost  # Janakiraman, Seshadri and Shanthikumar 2007
    assert found > backorders.base_stock(Replenishment(own.demand, 1.0, penalty, 0)).cost
    # A larger table than it needs says the same: an order of any size, demand's largest above the best level on hand.
    assert replenishment._solve(own, 120, 60, 1e-5)[0] == pytest.approx(found, abs=2e-5)


def test_a_largest_order_is_kept_to_and_stock_that_costs_nothing_has_no_optimum() -> None:
    own = Replenishment(poisson(2.0), 1.0, 9.0, 1)
    free, bound = replenishment.best_cost(own), replenishment.best_cost(own, most_ordered=2)
    assert free + 0.05 < bound < 2.0 * 9.0
    with pytest.raises(ValueError, match="holding=0"):
        replenishment.best_cost(Replenishment(poisson(2.0), 0.0, 9.0, 1))


@pytest.mark.parametrize(
    ("mean", "point", "level", "cost"), [(10, 6, 40, 35.0216), (20, 14, 62, 49.1730), (40, 33, 87, 64.5118)]
)
def test_ordering(mean: int, point: int, level: int, cost: float) -> None:
    """Row "ordering": h = 1, p = 9, K = 64. The literature's s orders at s or below, ours below."""
    found = backorders.best_min_max(Replenishment(poisson(float(mean)), 1.0, 9.0, 0, 64.0))
    assert found.point is not None
    assert (found.point - 1, found.level) == (point, level) and found.cost == pytest.approx(cost, abs=6e-5)


def test_ordering_for_nothing_is_the_base_stock_rule() -> None:
    for lead_time in (0, 2):
        own = Replenishment(poisson(5.0), 1.0, 9.0, lead_time)
        waiting, plain = backorders.best_min_max(own), backorders.base_stock(own)
        assert (waiting.point, waiting.level) == (plain.level, plain.level)
        assert waiting.cost == pytest.approx(plain.cost, abs=1e-8)


def test_the_best_cost_with_a_cost_of_placing_orders() -> None:
    """No rule is better than the optimum, and (s, S) comes near it; as K vanishes the cost is the old one."""
    own = Replenishment(poisson(3.0), 1.0, 9.0, 1, 12.0)
    found, rule = replenishment.best_cost(own), replenishment.best_min_max(own)
    assert rule.point is not None and rule.point < rule.level
    assert found <= rule.cost < 1.01 * found
    assert rule.cost == pytest.approx(replenishment.rule_cost(own, rule.level, point=rule.point), abs=1e-4)
    assert rule.cost < replenishment.best_base_stock(own).cost
    slight = Replenishment(own.demand, 1.0, 9.0, 1, 1e-6)
    assert replenishment.best_cost(slight) == pytest.approx(
        replenishment.best_cost(Replenishment(own.demand, 1.0, 9.0, 1)), abs=5e-5
    )


def ordering_market(**reward: float):
    """Poisson(10) at a given price without margin; (s, S) decides after an epoch's sales and is there in the next."""
    return make(
        {"sessions_per_epoch": 10}, num_sellers=1, demand={"model": "linear", "intercept": 1.0, "slope": 0.0},
        prices={"map": "levels", "levels": [1.0]},
        inventory={"rule": "s_S", "initial_stock": 40.0, "reorder_point": 7.0, "order_up_to": 40.0,
                   "single_order": False},
        reward={"unit_cost": 1.0, "holding_cost": 1.0, "stockout_penalty": 9.0, "order_cost": 64.0} | reward,
        episode_length=500,
    )  # fmt: skip


def test_ordering_costs_in_the_market_what_the_table_says() -> None:
    shape, params = ordering_market()
    record = play(jax.random.key(0), shape, params, constant(shape, params, jnp.ones(1)), 64)
    cost = stock_cost(record, params, 50)
    np.testing.assert_allclose(cost, -np.asarray(record.reward_raw)[:, 50:, 0].mean(1), rtol=1e-4)
    assert within(cost.mean(), 35.0216, cost.std(ddof=1) / 8.0) and cost.std(ddof=1) / 8.0 < 0.15
    found = benchmarks_of(shape, params).set_index("benchmark")
    assert found.loc["optimal", "cost"] == found.loc["s_S", "cost"] == pytest.approx(35.0216, abs=1e-3)
    assert found.loc["s_S", ["point", "level"]].tolist() == [7, 40]
    assert found.loc["base_stock", "cost"] > 64.0


def test_an_expected_epoch_pays_for_an_order_as_often_as_it_places_one() -> None:
    assert ordering_market(order_cost=0.0).params.reward.order_cost is None  # and the program is the one without it
    shape, params = ordering_market()
    expect = jax.jit(expect_variants, static_argnums=0)
    rewards = []
    for cost in (0.0, 64.0):
        own = params.replace(
            inventory=params.inventory.replace(initial_stock=jnp.full((1,), 10.0)),
            demand=params.demand.replace(scale=jnp.asarray(0.4)),  # counts of four units step by one
            reward=params.reward.replace(order_cost=jnp.full((1,), cost)),
        )
        state, _ = reset(jax.random.key(0), shape, own)
        seen = expect(shape, state, Action(jnp.zeros((1, 1), jnp.int32)), own, None, own.traffic.agent_share[None])
        rewards.append(float(seen.reward.mean()))
    chance = stats.poisson.sf(3, 4.0)  # four units gone of ten: below seven
    assert rewards[0] - rewards[1] == pytest.approx(64.0 * chance, rel=0.005)


def test_a_cost_of_ordering_needs_orders() -> None:
    with pytest.raises(ConfigError, match=r"market\.reward\.order_cost=1\.0: accepted is 0 with .*unlimited"):
        make(inventory={"rule": "unlimited"}, reward={"unit_cost": 1.0, "order_cost": 1.0})


def small(lead_time: int, order_cost: float) -> PriceAndOrder:
    prices = np.array([1.5, 2.0])
    demand = np.array([[0.2, 0.3, 0.5], [0.5, 0.4, 0.1]])
    return PriceAndOrder(demand, prices, np.array([0, 1, 3]), 1.0, 0.05, 0.3, 0.9, 9, lead_time, order_cost)


@pytest.mark.parametrize(("lead_time", "order_cost"), [(1, 0.5), (2, 0.0), (2, 0.5), (3, 0.2)])
def test_price_and_order_at_longer_lead_times(lead_time: int, order_cost: float) -> None:
    """Against a recursion that is written out: what comes later is a tuple of units, not an index."""
    own = small(lead_time, order_cost)
    found = price_and_order(own)
    at: dict[tuple[int, ...], float] = {
        (x, *due): 0.0 for x in range(10) for due in product((0, 1, 3), repeat=lead_time - 1)
    }

    def worth(state: tuple[int, ...], price: int, order: int) -> float:
        coming = (*state[1:], order)
        total = -float(order) - order_cost * (order > 0)
        for wanted, chance in enumerate(own.demand[price]):
            left = max(state[0] - wanted, 0)
            money = own.prices[price] * (state[0] - left) - 0.3 * max(wanted - state[0], 0) - 0.05 * left
            total += chance * (money + 0.9 * at[(min(left + coming[0], 9), *coming[1:])])
        return total

    for state in at:  # the fixed point: the solver's own values have to be it
        at[state] = float(found.value[(state[0], *((0, 1, 3).index(d) for d in state[1:]))])
    for state in at:
        place = (state[0], *((0, 1, 3).index(d) for d in state[1:]))
        best = max(worth(state, price, order) for price in (0, 1) for order in (0, 1, 3))
        assert at[state] == pytest.approx(best, abs=1e-7)
        mine = worth(state, int(np.searchsorted(own.prices, found.price[place])), int(found.order[place]))
        assert mine == pytest.approx(best, abs=1e-7)


def test_price_and_order_refuses_orders_without_nothing_and_tables_that_are_too_large() -> None:
    with pytest.raises(ValueError, match="begin with 0"):
        PriceAndOrder(np.ones((1, 1)), np.ones(1), np.array([1, 2]), 1.0, 0.0, 0.0, 0.9, 5)
    with pytest.raises(ValueError, match="too many for value iteration"):
        PriceAndOrder(np.ones((1, 1)), np.ones(1), np.arange(30), 1.0, 0.0, 0.0, 0.9, 50, 5)


@pytest.mark.slow
def test_a_price_and_an_order_two_epochs_ahead_earn_their_value_in_the_market() -> None:
    """The lead time of two is the market's: the optimal policy plays and earns what the table counts."""
    shape, params = composed(
        "experiment=price_and_order", "market.inventory.lead_time=2", "market.reward.order_cost=0.5"
    ).market
    best = price_and_order(price_and_order_of(shape, params, 0.95, 30))
    levels = np.abs(np.asarray(params.prices.levels[0])[:, None, None] - best.price).argmin(0)

    def act(parameters, key, memory, observation, state, params):
        due = state.pipeline[0, 1].astype(int)  # slot 0 has joined by the time the shoppers come
        price, order = parameters[:, on_hand(shape, state)[0].astype(int), due]
        return Action(price[None, None], order[None, None]), memory

    optimal = Policy("optimal", jnp.asarray([levels, best.order]), lambda: (), act)
    values = discounted_value(play(jax.random.key(3), replace(shape, episode_length=250), params, optimal, 1000), 0.95)
    start = int(params.inventory.initial_stock[0])
    exact = best_values(shape, params, 0.95, [start])[0]
    assert exact == pytest.approx(best.value[start, 0], rel=1e-6)
    error = values.std(ddof=1) / np.sqrt(values.size)
    assert error < 0.01 * exact and within(values.mean(), exact, error), (values.mean(), exact, error)
