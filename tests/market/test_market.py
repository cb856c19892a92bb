"""A market step against the documents: order of an epoch, stock, reward, endings."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl_pricing import market
from marl_pricing.market import Action, layout
from tests.market.reference import simulate
from tests.markets import LEVELS, LOGIT, THRESHOLD, UNLIMITED, make, programs

ORDERS = [0.0, 3.0, 6.0]


# One program a shape, whatever the numbers.
@partial(jax.jit, static_argnums=0)
def _play(shape, params, state, key, actions, orders):
    def step(state, at):
        time, price, order = at
        state, _, outcome = market.step(jax.random.fold_in(key, time), shape, state, Action(price, order), params)
        return state, outcome

    return jax.lax.scan(step, state, (jnp.arange(len(actions)), actions, orders))


def play(own, actions: np.ndarray, chosen: np.ndarray | None = None, seed: int = 0):
    """Outcomes [T, ...] and final state of given price levels [T, S, P] (and order levels)."""
    state, _ = programs.reset(jax.random.key(seed), *own)
    orders = None if chosen is None else jnp.asarray(chosen)
    state, outcomes = _play(*own, state, jax.random.key(seed + 1), jnp.asarray(actions), orders)
    return jax.tree.map(np.asarray, outcomes), jax.tree.map(np.asarray, state)


def inventory(rule: str, single: bool, lead_time: Any) -> dict[str, Any]:
    base = {"rule": rule, "initial_stock": [9.0, 14.0], "lead_time": lead_time, "single_order": single}
    return (
        base
        | {
            "threshold": {"reorder_point": 8.0, "order_quantity": 7.0},
            "s_S": {"reorder_point": 8.0, "order_up_to": 15.0},
            "base_stock": {"order_up_to": 4.5},
            "chosen": {"order_levels": ORDERS},
        }[rule]
    )


@pytest.mark.parametrize("rule", ["threshold", "s_S", "base_stock", "chosen"])
@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("lead_time", [1, 4, [4, 1]])  # two shapes
def test_trajectories_equal_the_plain_market(rule: str, single: bool, lead_time: Any) -> None:
    own = make(
        {"random_orders": False},
        inventory=inventory(rule, single, lead_time),
        reward={"unit_cost": [1.0, 0.8], "stockout_penalty": 0.4, "holding_cost": 0.05, "omega": 0.3},
    )
    rng = np.random.default_rng(0)
    actions, chosen = rng.integers(8, size=(40, 2)), rng.integers(3, size=(40, 2))
    expected = simulate(
        np.asarray(own.params.prices.levels, float), actions, quality=2.0, scale=0.25, sessions=10, rule=rule,
        stock=np.array([9.0, 14.0]), lead_time=np.broadcast_to(lead_time, 2), reorder_point=8.0, order_quantity=7.0,
        order_up_to={"s_S": 15.0, "base_stock": 4.5}.get(rule, 0.0), order_levels=ORDERS, chosen=chosen,
        single_order=single, cost=np.array([1.0, 0.8]), penalty=0.4, holding=0.05, omega=0.3,
    )  # fmt: skip
    got, _ = play(own, actions[..., None], chosen[..., None] if rule == "chosen" else None)
    for name in expected[0]:
        want = np.array([row[name] for row in expected])
        np.testing.assert_allclose(getattr(got, name), want, rtol=2e-4, atol=2e-4, err_msg=name)
    assert (got.unmet > 0).any()


@st.composite
def balances(draw) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Settings of a market with counted demand; few shapes, any numbers."""
    rule = draw(st.sampled_from(["threshold", "base_stock", "chosen"]))
    lead_time = draw(st.lists(st.integers(1, 4), min_size=4, max_size=4))
    lead_time[0] = 4  # one length of the pipeline, one compilation
    units = st.integers(0, 40).map(float)
    own = {"rule": rule, "initial_stock": draw(st.lists(units, min_size=4, max_size=4)), "lead_time": lead_time,
           "single_order": draw(st.booleans())}  # fmt: skip
    if rule == "threshold":
        own |= {"reorder_point": draw(units), "order_quantity": draw(units) + 1}
    elif rule == "base_stock":
        own |= {"order_up_to": draw(units) + 1}
    else:
        own |= {"order_levels": [0.0, draw(units) + 1, 60.0]}
    of_32_bits = partial(st.floats, 0, width=32, allow_subnormal=False)
    reward = {"unit_cost": 1.0, "omega": draw(of_32_bits(1)), "stockout_penalty": draw(of_32_bits(3))}
    return own, reward, draw(st.integers(0, 10_000))


@settings(max_examples=40, deadline=None)
@given(balances())
def test_units_in_are_units_sold_and_held_and_on_the_way_and_shaping_sums_up(case) -> None:
    own_inventory, reward, seed = case
    own = make(num_products=2, inventory=own_inventory, reward=reward)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(3, size=(25, 2, 2)) if own_inventory["rule"] == "chosen" else None
    got, state = play(own, rng.integers(8, size=(25, 2, 2)), chosen, seed)
    into = np.asarray(own.params.inventory.initial_stock, np.float64) + got.ordered.astype(np.float64).sum(0)
    out = got.sales.astype(np.float64).sum(0) + state.stock + state.pipeline.astype(np.float64).sum(1)
    np.testing.assert_array_equal(into, out)
    assert (got.stock >= 0).all()
    assert (state.stock >= 0).all()
    np.testing.assert_array_equal(got.demand, got.sales + got.unmet)
    held = np.concatenate([np.asarray(own.params.inventory.initial_stock)[None], (got.stock - got.sales)[:-1]])
    np.testing.assert_array_equal(got.stock, held + got.arrivals)
    omega = np.float64(np.float32(reward["omega"]))
    factor = omega + 2 * (1 - omega)
    np.testing.assert_allclose(got.shaped.sum(1), factor * got.reward.sum(1), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(got.learning, got.shaped / (1 + (1 - omega)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lead_time", [1, 2, 3, 4])
def test_an_order_of_epoch_t_can_be_sold_from_epoch_t_plus_lead_time_on(lead_time: int) -> None:
    own = make(
        {"random_orders": False},
        inventory={"rule": "base_stock", "initial_stock": 0.0, "order_up_to": 5.0, "lead_time": lead_time},
    )
    got, _ = play(own, np.zeros((6, 2, 1), int))
    assert (got.ordered[0] == 5.0).all()
    assert np.flatnonzero(got.arrivals[:, 0]).min() == lead_time
    assert (got.sales[:lead_time] == 0).all()
    assert (got.sales[lead_time] > 0).all()


def test_observation_shows_stock_with_what_is_due_now() -> None:
    own = make(inventory=THRESHOLD | {"initial_stock": 0.0, "lead_time": 1})
    shape, params = own
    state, first = programs.reset(jax.random.key(0), shape, params)
    _, after, outcome = programs.step(jax.random.key(1), shape, state, Action(jnp.zeros((2, 1), int)), params)
    column, way = (next(i for i, n in enumerate(layout(shape)) if n.startswith(own)) for own in ("stock", "units on"))
    assert (first.local[:, column] == 0).all()
    assert (outcome.ordered == 10).all()
    np.testing.assert_allclose(after.local[:, column], 10 / 18, rtol=1e-6)  # of reorder point + quantity
    assert (after.local[:, way] == 0).all()


def test_observation_shows_what_comes_when() -> None:
    """Two products, three epochs of lead time: orders of epochs 0 and 1 come in two and in one more epoch."""
    levels = [0.0, 1.0, 2.0, 3.0, 4.0]
    own = make(
        num_products=2, features=["stock", "on_order", "pipeline"],
        inventory={"rule": "chosen", "initial_stock": 0.0, "lead_time": 3, "order_levels": levels},
    )  # fmt: skip
    shape, params = own
    state, _ = programs.reset(jax.random.key(0), shape, params)
    for order in ([[1, 2], [0, 0]], [[3, 4], [0, 1]]):
        action = Action(jnp.zeros((2, 2), int), jnp.array(order))
        state, seen, _ = programs.step(jax.random.key(0), shape, state, action, params)
    names = layout(shape)
    wanted = {"that come in 1 epoch": ([1, 2], [0, 0]), "that come in 2 epochs": ([3, 4], [0, 1]),
              "units on the way": ([4, 6], [0, 1]), "stock": ([0, 0], [0, 0])}  # fmt: skip
    for name, units in wanted.items():
        columns = [next(i for i, n in enumerate(names) if name in n and f"product {k}" in n) for k in range(2)]
        np.testing.assert_allclose(seen.local[:, columns], np.array(units) / 4.0, rtol=1e-6)
    # With a lead time of one epoch nothing is on the way that is not due now.
    alone = make(features=["stock", "pipeline"], inventory=THRESHOLD | {"lead_time": 1})
    assert layout(alone.shape) == ["stock (share of the largest position)"]
    assert programs.reset(jax.random.key(0), *alone)[1].local.shape == (2, 1)


def test_layout_names_every_entry() -> None:
    features = ("own_price", "rival_price", "all_rival_prices", "stock", "on_order", "pipeline", "demand", "events",
                "time", "shock", "cash")  # fmt: skip
    own = make(
        num_sellers=3, num_products=2, features=list(features), inventory=THRESHOLD | {"lead_time": 3},
        shocks={"probability": 0.1, "duration": 2, "scale": 2.0}, bankruptcy={"initial_cash": 5.0, "cash_limit": 0.0},
        level={"persistence": 0.5, "volatility": 0.3},
    )  # fmt: skip
    _, seen = programs.reset(jax.random.key(0), *own)
    names = layout(own.shape)
    assert seen.local.shape == (3, len(names))
    assert len(set(names)) == len(names)
    assert not any("latent" in name for name in names)


def test_rivals_are_seen_as_they_are() -> None:
    own = make(num_sellers=3, features=["own_price", "rival_price", "all_rival_prices"])
    shape, params = own
    state, _ = programs.reset(jax.random.key(0), shape, params)
    _, seen, _ = programs.step(jax.random.key(0), shape, state, Action(jnp.array([[0], [3], [7]])), params)
    price = np.array([-1.0, -1 + 2 * 3 / 7, 1.0])
    for seller in range(3):
        others = [(seller + 1) % 3, (seller + 2) % 3]
        want = [price[seller], price[others].mean(), *price[others]]
        np.testing.assert_allclose(seen.local[seller], want, atol=1e-5)


PENALTIES = {
    "volatility": lambda p, last: np.abs((p - last) / last).mean(-1),
    "upward_volatility": lambda p, last: np.maximum((p - last) / last, 0).mean(-1),
    "supra_competitive": lambda p, last: np.maximum(p / 1.5 - 1, 0).mean(-1),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_is_its_formula_and_costs_nothing_when_off(name: str) -> None:
    common = {"unit_cost": 1.0, "anchor": 1.5}
    actions = np.random.default_rng(0).integers(8, size=(10, 2, 2))
    plain, fined = (
        make({"random_orders": False}, num_products=2, reward=common | {name: weight}) for weight in (0.0, 2.0)
    )
    without, _ = play(plain, actions)
    with_it, _ = play(fined, actions)
    last = np.concatenate([np.asarray(plain.params.prices.start_low)[None], without.prices[:-1]])
    fine = 2.0 * PENALTIES[name](without.prices.reshape(10, 2, 2), last.reshape(10, 2, 2))
    np.testing.assert_allclose(without.reward - with_it.reward, fine, rtol=1e-3, atol=1e-4)
    assert plain.shape.reward.penalties == ()
    assert fined.shape.reward.penalties == (name,)


def test_penalties_of_sessions_are_their_formulas() -> None:
    own = make().params.reward.replace(
        coi_leakage=jnp.float32(2.0), information_cost=jnp.float32(0.5), estimate_error=jnp.float32(3.0)
    )
    from marl_pricing.market.reward import RewardShape, penalties

    prices = jnp.ones(2)
    got = penalties(
        RewardShape(penalties=("coi_leakage", "estimate_error")), own, 2, prices=prices, last_prices=prices,
        people=jnp.array([4.0, 0.0]), events=jnp.array([1.0, 0.0]), leaked=jnp.zeros(2),
        scores=jnp.array([0.5, 0.25, 1.0]), log_prob=None,
    )  # fmt: skip
    leak = 2.0 * 0.5 * 1.75 / 2
    np.testing.assert_allclose(got, [leak + 3.0 * 3 / 5, leak], rtol=1e-6)


def test_units_paid_for_when_ordered() -> None:
    reward = {"unit_cost": 1.0, "pay_on_order": True}
    got, _ = play(make(reward=reward), np.full((12, 2, 1), 3))
    np.testing.assert_allclose(got.reward, got.prices * got.sales - got.ordered, rtol=1e-5, atol=1e-4)
    assert (got.ordered > 0).any()


def test_a_bankrupt_seller_leaves_the_market_to_its_rival() -> None:
    own = make(
        {"random_orders": False}, reward={"unit_cost": [1.0, 3.0], "omega": 0.5}, inventory=UNLIMITED,
        bankruptcy={"initial_cash": [0.0, 25.0], "cash_limit": 0.0},
    )  # fmt: skip
    got, state = play(own, np.zeros((8, 2, 1), int))
    gone = int(np.flatnonzero(got.terminated[:, 1])[0])
    assert 0 < gone < 7
    assert got.terminated.sum() == 1
    assert got.acted[: gone + 1].all()
    assert not got.acted[gone + 1 :, 1].any()
    assert got.acted[:, 0].all()
    after = slice(gone + 1, None)
    assert (got.demand[after, 1] == 0).all()
    assert (got.reward[after, 1] == 0).all()
    assert (got.shaped[after, 1] == 0).all()
    assert (got.demand[after, 0] > got.demand[0, 0] * 1.5).all()
    np.testing.assert_allclose(got.shaped[after, 0], got.reward[after, 0], rtol=1e-6)
    np.testing.assert_allclose(state.cash[1], 25.0 + got.reward[:, 1].sum(), rtol=1e-5)


def test_collapse_comes_after_its_patience_and_demand_starts_the_count_again() -> None:
    own = make(demand_scale=0.0, collapse_patience=3)
    got, _ = play(own, np.zeros((3, 2, 1), int))
    assert got.terminated.tolist() == [[False, False], [False, False], [True, True]]
    alive, state = play(make(collapse_patience=3), np.zeros((5, 2, 1), int))
    assert not alive.terminated.any()
    assert state.quiet_epochs == 0


def test_the_horizon_truncates() -> None:
    got, _ = play(make(), np.zeros((12, 2, 1), int))
    assert got.truncated.tolist() == [False] * 11 + [True]


def test_waves_send_shoppers_of_a_stockout_to_the_rival() -> None:
    own = {"rule": "none", "initial_stock": [1.0, 100.0]}
    one, two = (
        play(make({"random_orders": False}, inventory=own, sub_slots=n), np.zeros((1, 2, 1), int))[0] for n in (1, 2)
    )
    np.testing.assert_allclose(one.demand[0, 0], one.demand[0, 1], rtol=1e-5)
    # First wave: half of everybody, by the duopoly's shares; second wave: half, by the monopoly's share.
    weight = np.exp((2.0 - 1.1) / 0.25)
    duopoly, monopoly = weight / (1 + 2 * weight), weight / (1 + weight)
    np.testing.assert_allclose(two.demand[0], [5 * duopoly, 5 * duopoly + 5 * monopoly], rtol=1e-4)
    np.testing.assert_allclose(two.sales[0], [1.0, 5 * duopoly + 5 * monopoly], rtol=1e-4)
    np.testing.assert_allclose(two.unmet[0], [5 * duopoly - 1.0, 0.0], rtol=1e-4, atol=1e-4)


def test_price_maps() -> None:
    low_high = {"low": 1.0, "high": 2.0}
    scale = make(prices={"map": "scale", "factors": [0.5, 1.1], "start": 1.5} | low_high, inventory=UNLIMITED)
    got, _ = play(scale, np.array([[[0], [1]], [[1], [1]], [[1], [1]], [[1], [1]]]))
    np.testing.assert_allclose(got.prices[:, 0], [1.0, 1.1, 1.21, 1.331], rtol=1e-5)
    np.testing.assert_allclose(got.prices[:, 1], [1.65, 1.815, 1.9965, 2.0], rtol=1e-5)
    adjust = make(prices={"map": "adjust", "max_change": 0.2, "start": 1.5} | low_high, inventory=UNLIMITED)
    got, _ = play(adjust, np.array([[[0.1], [-0.5]], [[0.2], [-0.5]]], np.float32))
    np.testing.assert_allclose(got.prices, [[1.65, 1.2], [1.98, 1.0]], rtol=1e-5)
    anywhere = make(prices={"map": "range", "low": [1.0, 1.2], "high": 2.0}, inventory=UNLIMITED)
    got, _ = play(anywhere, np.array([[[1.234], [1.999]], [[0.5], [0.5]], [[3.0], [3.0]]], np.float32))
    np.testing.assert_allclose(got.prices, [[1.234, 1.999], [1.0, 1.2], [2.0, 2.0]], rtol=1e-6)
    levels = make(prices={"map": "levels", "levels": [1.0, 1.3, 2.0]}, inventory=UNLIMITED)
    got, _ = play(levels, np.array([[[0], [2]], [[1], [1]]]))
    np.testing.assert_allclose(got.prices, [[1.0, 2.0], [1.3, 1.3]], rtol=1e-6)


def test_a_range_may_be_laid_around_the_equilibrium() -> None:
    around = {"num_sellers": 2, "inventory": UNLIMITED}
    grid = make(prices={"map": "levels", "around_equilibrium": 0.1}, **around).params.prices.levels
    own = make(prices={"map": "range", "around_equilibrium": 0.1}, **around).params.prices
    np.testing.assert_allclose((own.low, own.high), (grid[:, 0], grid[:, -1]), rtol=1e-6)


def test_random_first_prices_fill_the_range() -> None:
    shape, params = make(prices=LEVELS | {"start": "random"})
    states, _ = jax.vmap(lambda key: programs.reset(key, shape, params))(jax.random.split(jax.random.key(0), 2000))
    prices = np.asarray(states.prices)
    assert prices.min() < 1.12
    assert prices.max() > 2.48
    assert abs(prices.mean() - 1.8) < 4 * 1.4 / np.sqrt(12 * 4000)


def everything_on():
    return make(
        inventory=THRESHOLD, level={"persistence": 0.9, "volatility": 0.2}, types={"spread": 0.2, "nodes": 5},
        shocks={"probability": 0.1, "duration": 2, "scale": 2.0}, bankruptcy={"initial_cash": 5.0, "cash_limit": -9.0},
        collapse_patience=4, agent={"scale": 0.1}, traffic={"agent_share": 0.25},
    )  # fmt: skip


def test_a_step_keeps_the_types_of_the_state_and_uses_no_float64() -> None:
    shape, params = everything_on()
    state, seen = programs.reset(jax.random.key(0), shape, params)
    after, seen_after, outcome = programs.step(
        jax.random.key(0), shape, state, Action(jnp.zeros((2, 1), jnp.int32)), params
    )

    def kinds(tree: Any) -> list[Any]:
        return [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]

    assert kinds(state) == kinds(after)
    assert kinds(seen) == kinds(seen_after)
    assert all(leaf.dtype in (jnp.float32, jnp.int32, jnp.bool_) for leaf in jax.tree.leaves((after, outcome)))


def test_a_batch_of_parameters_equals_the_loop_and_compiles_once() -> None:
    shape, params = everything_on()
    traces = []

    def reward(key: Any, params: Any) -> Any:
        traces.append(1)
        state, _ = market.reset(key, shape, params)
        return market.step(key, shape, state, Action(jnp.full((2, 1), 3)), params)[2].reward

    variants = [
        params.replace(
            reward=params.reward.replace(omega=jnp.full((2,), omega), unit_cost=jnp.full((2,), 1.0 + omega)),
            traffic=params.traffic.replace(agent_share=jnp.float32(omega)),
        )
        for omega in (0.0, 0.3, 1.0)
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *variants)
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(reward))(keys, stacked)
    one = jax.jit(reward)
    traces.clear()
    apart = jnp.stack([one(key, own) for key, own in zip(keys, variants, strict=True)])
    assert len(traces) == 1
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-5)


def test_candidates_share_the_draw_and_one_candidate_is_the_step() -> None:
    shape, params = everything_on()
    state, _ = programs.reset(jax.random.key(0), shape, params)
    action = Action(jnp.full((2, 1), 2))
    shares = jnp.array([0.0, 0.25, 0.5])
    worlds = programs.step_candidates(jax.random.key(3), shape, state, action, params, shares)
    alone = programs.step(jax.random.key(3), shape, state, action, params)
    for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(worlds), strict=True):
        np.testing.assert_allclose(one, many[1], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(worlds[2].orders)[1], alone[2].orders)
    orders = np.asarray(worlds[2].orders)
    assert (np.diff(orders[:, 0], axis=0) <= 0).all()
    assert (np.diff(orders[:, 1], axis=0) >= 0).all()


@pytest.mark.slow
def test_candidates_of_an_epoch_in_waves_share_their_draws_too() -> None:
    shape, params = everything_on()
    state, _ = programs.reset(jax.random.key(0), shape, params)
    action, shares = Action(jnp.full((2, 1), 2)), jnp.array([0.0, 0.25, 0.5])
    waves = replace(shape, sub_slots=2)
    several = programs.step_candidates(jax.random.key(3), waves, state, action, params, shares)
    single = programs.step(jax.random.key(3), waves, state, action, params)
    np.testing.assert_array_equal(np.asarray(several[2].sales)[1], single[2].sales)


def test_sellers_that_change_places_change_their_outcomes() -> None:
    def outcome(order: list[int]):
        demand = LOGIT | {"quality": [[2.0, 1.8, 2.2][i] for i in order]}
        own = make(
            {"random_orders": False}, num_sellers=3, demand=demand,
            reward={"unit_cost": [[1.0, 0.9, 1.1][i] for i in order], "omega": 0.4},
        )  # fmt: skip
        levels = np.random.default_rng(0).integers(8, size=(6, 3))
        return play(own, levels[:, order][..., None])[0]

    straight, turned = outcome([0, 1, 2]), outcome([2, 0, 1])
    for name in ("sales", "reward", "shaped", "stock"):
        np.testing.assert_allclose(getattr(straight, name)[:, [2, 0, 1]], getattr(turned, name), rtol=1e-5, atol=1e-5)
