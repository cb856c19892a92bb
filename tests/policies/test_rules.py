"""Rules choose what they say, under every price map and for several products."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from marl_pricing.equilibrium import static
from marl_pricing.market.prices import post
from marl_pricing.policies import (
    RULES,
    RuleError,
    base_stock,
    constant,
    constant_joint,
    constant_nash,
    myopic,
    random,
    surge,
)
from tests.doors.compose import composed
from tests.markets import programs
from tests.sizes import at_once

# Made markets have no sales behind them, and nobody who waits.
PLAYED = [name for name in RULES if name not in ("observed", "price_skimming")]
MAPS = {
    "levels": {"map": "levels", "low": 1.0, "high": 2.2, "num_price_levels": 25},
    "scale": {"map": "scale", "low": 1.0, "high": 2.2},
    "range": {"map": "range", "low": 1.0, "high": 2.2},
    "adjust": {"map": "adjust", "low": 1.0, "high": 2.2, "max_change": 0.2},
}
CONTINUOUS = {"adjust": (-0.2, 0.2), "range": (1.0, 2.2)}  # what an action may be


def play(made, policy, epochs, key=None):
    """Prices [T, N], actions and states of one episode."""
    key = jax.random.key(0) if key is None else key
    state, seen = programs.reset(key, made.shape, made.params)
    act = jax.jit(lambda *inputs: policy.act(policy.parameters, *inputs, made.params))
    memory, prices, actions, states = policy.start(), [], [], []
    for t in range(epochs):
        action, memory = act(jax.random.fold_in(key, 2 * t), memory, seen, state)
        states.append(state)
        state, seen, outcome = programs.step(jax.random.fold_in(key, 2 * t + 1), made.shape, state, action, made.params)
        prices.append(np.asarray(outcome.prices))
        actions.append(action)
    return np.array(prices), actions, states


@pytest.mark.parametrize("name", ["constant_nash", "constant_joint"])
def test_constant_takes_the_nearest_level(make_market, name):
    made = make_market()
    solve = {"constant_nash": static.nash, "constant_joint": static.joint_profit}[name]
    wanted = solve(made.shape, made.params).prices
    levels = np.asarray(made.params.prices.levels)
    nearest = levels[np.arange(2), np.abs(levels - wanted[:, None]).argmin(-1)]
    prices, _, _ = play(made, RULES[name](made.shape, made.params), 3)
    np.testing.assert_array_equal(prices, np.tile(nearest, (3, 1)))


def test_scale_takes_the_factor_that_comes_nearest(make_market):
    made = make_market(prices=MAPS["scale"] | {"start": 2.0})
    prices, actions, _ = play(made, constant(made.shape, made.params, [1.2, 1.9]), 6)
    last = np.array([2.0, 2.0])
    for posted, action in zip(prices, actions, strict=True):
        choices = np.clip(last[:, None] * np.asarray(made.params.prices.factors), 1.0, 2.2)
        best = np.abs(choices - [[1.2], [1.9]]).argmin(-1)
        np.testing.assert_array_equal(np.asarray(action.price)[:, 0], best)
        np.testing.assert_allclose(posted, choices[[0, 1], best], rtol=1e-6)
        last = posted
    assert abs(prices[-1][0] - 1.2) < 0.05 * 1.2


def test_adjust_is_clipped_then_exact(make_market):
    made = make_market(prices=MAPS["adjust"] | {"start": 2.2})
    prices, actions, _ = play(made, constant(made.shape, made.params, [1.3, 2.0]), 4)
    np.testing.assert_allclose(np.asarray(actions[0].price)[:, 0], [-0.2, 2.0 / 2.2 - 1.0], rtol=1e-6)
    np.testing.assert_allclose(prices[-1], [1.3, 2.0], rtol=1e-6)


def test_any_price_of_a_range_is_posted_as_it_is(make_market):
    made = make_market(prices=MAPS["range"] | {"start": 2.2})
    prices, _, _ = play(made, constant(made.shape, made.params, [1.317, 3.0]), 2)
    np.testing.assert_allclose(prices, [[1.317, 2.2]] * 2, rtol=1e-6)


def test_myopic_answers_settle_at_the_equilibrium_of_any_price(make_market):
    made = make_market(prices=MAPS["range"], inventory={"rule": "unlimited"})
    prices, _, _ = play(made, myopic(made.shape, made.params), 12)
    np.testing.assert_allclose(prices[-1], static.nash(made.shape, made.params).prices, atol=1.2 / 100)


@pytest.mark.parametrize("price_map", at_once(MAPS))
@pytest.mark.parametrize("num_products", at_once([1, 2]))
def test_every_rule_plays_under_every_map(make_market, price_map, num_products):
    made = make_market(prices=MAPS[price_map], num_products=num_products)
    state, seen = programs.reset(jax.random.key(1), made.shape, made.params)
    for name in PLAYED:
        policy = RULES[name](made.shape, made.params)
        assert policy.name == name
        action, _ = policy.act(policy.parameters, jax.random.key(2), policy.start(), seen, state, made.params)
        assert action.price.shape == (2, num_products)
        assert action.price.dtype == (jnp.float32 if price_map in CONTINUOUS else jnp.int32)
        assert action.order is None
        _, _, outcome = programs.step(jax.random.key(3), made.shape, state, action, made.params)
        assert np.all((np.asarray(outcome.prices) >= 1.0 - 1e-6) & (np.asarray(outcome.prices) <= 2.2 + 1e-6))


def test_myopic_settles_in_an_equilibrium_of_the_grid(make_market):
    made = make_market()
    prices, actions, _ = play(made, myopic(made.shape, made.params), 12)
    settled = np.asarray(actions[-1].price).reshape(-1)
    np.testing.assert_array_equal(prices[-1], prices[-2])
    assert settled.tolist() in static.grid_equilibria(made.shape, made.params).tolist()


def test_every_equilibrium_of_the_grid_is_kept_by_myopic(make_market):
    made = make_market()
    policy = myopic(made.shape, made.params)
    state, seen = programs.reset(jax.random.key(0), made.shape, made.params)
    for levels in static.grid_equilibria(made.shape, made.params):
        at = state.replace(prices=made.params.prices.levels[jnp.arange(2), levels])
        action, _ = policy.act(policy.parameters, jax.random.key(0), (), seen, at, made.params)
        payoff = static.grid_payoffs(made.shape, made.params)
        own = [payoff[:, levels[1], 0], payoff[levels[0], :, 1]]
        for seller, values in enumerate(own):
            # float32 may choose another level that is as good; it may not choose a worse one.
            assert values[int(action.price[seller, 0])] >= values.max() - 1e-5


def test_myopic_sets_all_products_of_a_seller_best(make_market):
    grid = MAPS["levels"] | {"num_price_levels": 7}
    made = make_market(num_products=2, prices=grid, reward={"unit_cost": [1.0, 1.1, 1.05, 1.2]})
    state, seen = programs.reset(jax.random.key(0), made.shape, made.params)
    policy = myopic(made.shape, made.params)
    action, _ = policy.act(policy.parameters, jax.random.key(0), (), seen, state, made.params)
    levels = np.asarray(made.params.prices.levels, np.float64)
    start = np.asarray(state.prices, np.float64)
    for seller in range(2):
        best = -np.inf
        for first in range(7):
            for second in range(7):
                prices = start.copy()
                own = [2 * seller, 2 * seller + 1]
                prices[own] = levels[own[0], first], levels[own[1], second]
                best = max(best, static.profits_at(made.shape, made.params, prices)[seller])
        prices[own] = levels[own, np.asarray(action.price[seller])]
        prices[[2 - 2 * seller, 3 - 2 * seller]] = start[[2 - 2 * seller, 3 - 2 * seller]]
        assert static.profits_at(made.shape, made.params, prices)[seller] == pytest.approx(best, rel=1e-5)


def test_myopic_asks_more_when_stock_is_short(make_market):
    stocked = {"rule": "threshold", "initial_stock": [1.0, 50.0], "reorder_point": 1.0, "order_quantity": 5.0}
    made = make_market(inventory=stocked)
    prices, _, _ = play(made, myopic(made.shape, made.params), 1)
    assert prices[0, 0] > prices[0, 1]


def test_surge_is_dear_where_many_look_and_cheap_where_few_do(make_market):
    made = make_market(prices=MAPS["adjust"] | {"start": 1.5, "max_change": 0.5})
    policy = RULES["surge"](made.shape, made.params)
    state, seen = programs.reset(jax.random.key(0), made.shape, made.params)
    each = made.shape.traffic.sessions / 2 * float(made.params.traffic.event_scale)
    for epoch, shares, wanted in (
        (0, [9.0, 0.0], [1.5, 1.5]), (1, [1.5, 0.5], [1.8, 1.35]), (1, [1.49, 0.51], [1.5, 1.5]),
        (3, [0.0, 9.0], [1.35, 1.8]),
    ):  # fmt: skip
        at = state.replace(epoch=jnp.asarray(epoch), events=each * jnp.asarray(shares))
        action, _ = policy.act(policy.parameters, jax.random.key(0), (), seen, at, made.params)
        posted = post(made.shape.prices, made.params.prices, at.prices, action.price.reshape(-1))
        np.testing.assert_allclose(posted, wanted, rtol=1e-5)
    with pytest.raises(RuleError, match=r"^low=2, high=1: accepted is 0 <= low < high$"):
        surge(made.shape, made.params, high=1, low=2)
    with pytest.raises(RuleError, match=r"^up=0, down=1: accepted are factors above 0$"):
        surge(made.shape, made.params, up=0, down=1)


@pytest.mark.parametrize("price_map", MAPS)
def test_random_actions_are_uniform(make_market, price_map):
    made = make_market(prices=MAPS[price_map])
    state, seen = programs.reset(jax.random.key(0), made.shape, made.params)
    policy = random(made.shape, made.params)
    draw = jax.vmap(lambda key: policy.act((), key, (), seen, state, made.params)[0].price)
    actions = np.asarray(draw(jax.random.split(jax.random.key(3), 4000))).reshape(-1)
    if price_map in CONTINUOUS:
        ends = CONTINUOUS[price_map]
        assert actions.min() >= ends[0] and actions.max() <= ends[1]
        counts, _ = np.histogram(actions, 10, ends)
    else:
        counts = np.bincount(actions, minlength=made.shape.prices.num_levels)
    expected = actions.size / counts.size
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_base_stock_adds_the_mark_up(make_market):
    made = make_market(reward={"unit_cost": [1.0, 1.2]})
    policy = base_stock(made.shape, made.params, mark_up=0.5)
    np.testing.assert_allclose(policy.parameters.prices, [1.5, 1.8], rtol=1e-6)


def test_base_stock_refuses_a_unit_that_costs_nothing(make_market):
    made = make_market(reward={"unit_cost": 0.0})
    with pytest.raises(RuleError, match="unit_cost"):
        base_stock(made.shape, made.params)


def test_no_equilibrium_propagates(make_market):
    power = {"model": "power", "base": 0.1, "elasticity": -0.9, "reference_price": 1.0}
    made = make_market(demand=power)
    for build in (constant_nash, constant_joint):
        with pytest.raises(static.NoEquilibriumError):
            build(made.shape, made.params)


def test_constant_refuses_prices_that_are_not_one_an_offer(make_market):
    made = make_market()
    with pytest.raises(RuleError, match="each of 2"):
        constant(made.shape, made.params, [1.0, 1.1, 1.2])


CHOSEN = {"rule": "chosen", "initial_stock": 9.0, "order_levels": [0.0, 2.0, 4.0, 8.0, 16.0], "lead_time": 2}


def test_chosen_orders_bring_the_position_to_the_level(make_market):
    levels = [float(quantity) for quantity in range(40)]
    made = make_market(inventory=CHOSEN | {"order_levels": levels}, reward={"unit_cost": 1.0, "stockout_penalty": 0.5})
    policy = base_stock(made.shape, made.params, order_up_to=25.0)
    _, actions, states = play(made, policy, 8)
    for action, state in zip(actions, states, strict=True):
        position = np.asarray(state.stock + state.pipeline.sum(-1))
        ordered = np.asarray(made.params.inventory.order_levels)[np.asarray(action.order).reshape(-1)]
        # Whole units are ordered, so the level is met to within half a unit.
        assert np.all(np.abs(position + ordered - 25.0) <= 0.5 + 1e-4)


def test_default_order_level_is_lead_time_demand_and_safety(make_market):
    made = make_market(inventory=CHOSEN)
    policy = constant(made.shape, made.params, [1.5, 1.5], safety=2.0)
    weight = np.exp((2.0 - 1.5) / 0.25)
    mean = 3 * 10 * weight / (2 * weight + 1)
    np.testing.assert_allclose(policy.parameters.order_up_to, mean + 2.0 * np.sqrt(mean), rtol=1e-5)


@pytest.mark.parametrize("name", PLAYED)
def test_rules_order_only_what_is_allowed(make_market, name):
    single = CHOSEN | {"single_order": True, "order_cap": 8.0}
    made = make_market(inventory=single, num_products=2)
    policy = RULES[name](made.shape, made.params)
    _, actions, states = play(made, policy, 6)
    for action, state in zip(actions, states, strict=True):
        quantity = np.asarray(made.params.inventory.order_levels)[np.asarray(action.order).reshape(-1)]
        due = np.asarray(state.pipeline[:, 1:].sum(-1))
        assert quantity.max() <= 8.0
        assert np.all((due == 0) | (quantity == 0))
    assert any(np.asarray(action.order).max() > 0 for action in actions)


def test_rules_of_one_kind_share_their_function(make_market):
    made = make_market()
    first, second = constant(made.shape, made.params, [1.4, 1.4]), constant_nash(made.shape, made.params)
    assert first.act is second.act and first.start is second.start


def test_the_observed_prices_are_those_of_the_sales():
    """Mean prices come from the file of sales by pandas; none is more than half a level away."""
    made = composed("experiment=grocery", "traffic=analytic").market
    sales = pd.read_csv("examples/grocery/sales.csv", dtype={"product_id": str})
    products = composed("experiment=grocery").settings.market.calibration.products
    mean = [sales[sales["product_id"].eq(product.split()[0])]["price"].mean() for product in products]
    np.testing.assert_allclose(made.params.observed, mean, rtol=1e-3)
    prices, _, _ = play(made, RULES["observed"](made.shape, made.params), 2)
    step = np.diff(np.asarray(made.params.prices.levels), axis=-1).max(-1)
    assert np.all(np.abs(prices - mean) <= 0.5 * step + 1e-3 * np.asarray(mean))


def test_without_sales_no_price_was_observed(make_market):
    made = make_market()
    with pytest.raises(RuleError, match=r"market\.calibration=None: observed prices are those of the sales"):
        RULES["observed"](made.shape, made.params)
