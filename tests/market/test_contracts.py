"""Supply that is bargained for: the books balance to the unit and the cent; what is signed is what was tabulated."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl_pricing import market, negotiation
from marl_pricing.config import ConfigError, Market, market_from
from marl_pricing.market import layout
from marl_pricing.market.units import entries
from tests.markets import programs

ISSUES = {"quantities": [1, 2, 3], "pack_size": 2, "cost_low": 0.8, "cost_high": 1.4, "cost_levels": 4,
          "lead_times": [1, 3]}  # fmt: skip
SUPPLIERS = [{"unit_cost": 0.8, "rush_cost": 0.2, "default_probability": 0.3, "default_penalty": 0.4},
             {"unit_cost": 0.9, "rush_cost": 0.0, "toughness": 0.5, "default_probability": 0.2}]  # fmt: skip
SETTINGS: dict[str, Any] = {
    "num_sellers": 2,
    "episode_length": 30,
    "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
    "prices": {"map": "levels", "low": 1.1, "high": 2.5, "num_price_levels": 4},
    "reward": {"unit_cost": 1.0, "stockout_penalty": 0.5, "holding_cost": 0.01},
    "bankruptcy": {"initial_cash": 1000.0, "cash_limit": -1000.0},
}
RULE: dict[str, Any] = {"initial_stock": 5.0, "reorder_point": 6.0, "issues": ISSUES, "suppliers": SUPPLIERS,
                        "rounds": 20, "horizon": 4}  # fmt: skip
CONTRACT = {"rule": "contract"} | RULE
CHOSEN = {"rule": "contract_chosen", "exponents": [0.5, 2.0]} | RULE


def built(inventory: dict[str, Any], **changed: Any) -> Market:
    return market_from(SETTINGS | {"inventory": inventory} | changed, {"sessions_per_epoch": 4, "random_orders": True})


MARKETS = {
    "on delivery": CONTRACT,
    "on signing": CHOSEN | {"payment": "signing", "single_order": False},
}


@lru_cache(maxsize=8)
def market_of(name: str) -> Market:
    return built(MARKETS[name])


@partial(jax.jit, static_argnums=0)
def play(shape: market.MarketShape, params: market.MarketParams, key: jax.Array) -> tuple:
    """Random play of an episode: outcomes [T, ...] and the state after each epoch."""
    start, _ = market.reset(key, shape, params)
    size = (shape.num_sellers, shape.num_products)

    def step(state, key):
        key_price, key_order, key = jax.random.split(key, 3)
        order = jax.random.randint(key_order, size, 0, shape.inventory.num_order_levels)
        action = market.Action(
            jax.random.randint(key_price, size, 0, shape.prices.num_levels), order if shape.chooses_orders else None
        )
        state, seen, outcome = market.step(key, shape, state, action, params)
        return state, (outcome, state, seen)

    return jax.lax.scan(step, start, jax.random.split(key, shape.episode_length))[1]


def cents(value: Any) -> np.ndarray:
    return np.round(np.asarray(value, float), 2)


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(sorted(MARKETS)),
    seed=st.integers(0, 2**31 - 1),
    stock=st.integers(0, 12),
    trigger=st.integers(1, 6),
    share=st.floats(0.0, 0.99),
    probability=st.floats(0.0, 1.0),
)
def test_units_and_money_balance_in_random_markets(
    name: str, seed: int, stock: int, trigger: int, share: float, probability: float
) -> None:
    shape, params = market_of(name)
    inventory, own = params.inventory, params.contracts
    assert own is not None
    params = params.replace(
        inventory=inventory.replace(
            initial_stock=jnp.full_like(inventory.initial_stock, stock),
            reorder_point=jnp.full_like(inventory.reorder_point, trigger),
        ),
        contracts=own.replace(
            delivered_share=jnp.full_like(own.delivered_share, share),
            default_probability=jnp.full_like(own.default_probability, probability),
        ),
    )
    outcome, state, _ = jax.tree.map(np.asarray, play(shape, params, jax.random.key(seed)))
    made = outcome.supplied
    epochs, offers = outcome.sales.shape
    for n in range(offers):
        value, held, cash = stock * 1.0, float(stock), 0.0
        missing = fined = 0.0
        for t in range(epochs):
            due = [s for s in range(t) if made.quantity[s, n] and s + made.lead_time[s, n] == t]
            promised = sum(made.quantity[s, n] for s in due)
            kept = {s: (made.quantity[s, n], np.floor(made.quantity[s, n] * np.float32(share))) for s in due}
            # Each of the contracts that are due is delivered whole, or in part by a supplier in default.
            ways = [(0.0, 0.0)]
            for s in due:
                cost = float(made.unit_cost[s, n])
                ways = [(units + own, money + own * cost) for units, money in ways for own in kept[s]]
            fitting = [money for units, money in ways if units == outcome.arrivals[t, n]]
            assert fitting, (t, ways, outcome.arrivals[t, n])
            value_before = value
            paid_for = min(
                fitting, key=lambda money: abs(value_before + money - made.cost_of_sales[t, n] - made.value[t, n])
            )
            missing += promised - outcome.arrivals[t, n]
            held += outcome.arrivals[t, n]
            assert held == outcome.stock[t, n]
            value += paid_for
            sold = value / held * outcome.sales[t, n] if held else 0.0
            assert made.cost_of_sales[t, n] == pytest.approx(sold, abs=2e-4)
            value, held = value - sold, held - outcome.sales[t, n]
            assert made.value[t, n] == pytest.approx(value, abs=5e-4)
            fined += made.fines[t, n]
            cash += made.paid[t, n]
        signed = made.quantity[:, n].sum()
        on_order = outcome.on_order[-1, n]
        assert signed == outcome.arrivals[:, n].sum() + missing + on_order
        assert stock + outcome.arrivals[:, n].sum() == outcome.sales[:, n].sum() + held
        # Money: what was paid is what came at its agreed cost, and, where it is paid at once, what is on the way.
        came = value + made.cost_of_sales[:, n].sum() - stock * 1.0
        ahead = made.due[-1, n] if shape.contracts.pay_on_signing else 0.0
        assert cents(cash) == pytest.approx(cents(came + ahead), abs=0.011)
        assert fined <= 0.4 * missing + 1e-4 and (fined > 0) <= (probability > 0)
    margin = outcome.price_paid * outcome.sales - made.cost_of_sales + made.fines
    costs = 0.5 * outcome.unmet + 0.01 * (outcome.stock - outcome.sales)
    np.testing.assert_allclose(outcome.reward, margin - costs, atol=1e-4)
    # The till: what customers paid less what suppliers were paid.
    till = 1000.0 + np.cumsum(outcome.price_paid * outcome.sales - costs + made.fines - made.paid, 0)
    np.testing.assert_allclose(state.cash, till, atol=1e-2)


def test_what_is_signed_is_the_tables_agreement_and_nobody_else_bargains() -> None:
    for name in MARKETS:
        shape, params = market_of(name)
        outcome, state, _ = play(shape, params, jax.random.key(3))
        made = outcome.supplied
        left = outcome.stock - outcome.sales
        waiting = outcome.on_order - made.quantity
        wants = left + waiting < 6
        if shape.inventory.single_order:
            wants &= waiting == 0
        np.testing.assert_array_equal(made.asked, wants)
        forecast = np.asarray(params.contracts.first_forecast)
        seen = 0
        for t in range(shape.episode_length):
            forecast = 0.9 * forecast + 0.1 * np.asarray(outcome.demand[t])
            np.testing.assert_allclose(state.contracts.forecast[t], forecast, rtol=1e-5)
            codes = [
                negotiation.look_up(
                    params.contracts.table, left[t] + waiting[t], outcome.prices[t], jnp.asarray(forecast, jnp.float32),
                    jnp.full(2, e, jnp.int32),
                )
                for e in range(shape.inventory.num_order_levels)
            ]  # fmt: skip
            for n in np.flatnonzero(made.asked[t]):
                possible = {(int(own.outcome[n]), int(own.supplier[n]), float(own.quantity[n])) for own in codes}
                assert (int(made.outcome[t, n]), int(made.supplier[t, n]), float(made.quantity[t, n])) in possible
                seen += 1
        assert seen > 5


def test_without_an_agreement_nothing_comes_and_the_seller_asks_again() -> None:
    shape, params = market_of("on delivery")
    table = params.contracts.table
    never = params.replace(contracts=params.contracts.replace(table=table.replace(code=jnp.full_like(table.code, -1))))
    outcome, *_ = play(shape, never, jax.random.key(0))
    made = outcome.supplied
    assert float(outcome.arrivals.sum()) == float(made.paid.sum()) == float(made.quantity.sum()) == 0.0
    first = np.asarray(made.asked).argmax(0)
    assert all(np.asarray(made.asked)[first[n] :, n].all() for n in range(2))
    assert bool((made.supplier == -1).all())


def test_a_supplier_in_default_delivers_its_share_pays_and_says_nothing_before() -> None:
    shape, params = market_of("on delivery")
    own = params.contracts
    failing = params.replace(
        contracts=own.replace(
            default_probability=jnp.ones_like(own.default_probability),
            delivered_share=jnp.full_like(own.delivered_share, 0.5),
            default_penalty=jnp.full_like(own.default_penalty, 0.4),
        )
    )
    whole = params.replace(contracts=own.replace(default_probability=jnp.zeros_like(own.default_probability)))
    key = jax.random.key(1)
    bad, _, seen_bad = jax.tree.map(np.asarray, play(shape, failing, key))
    good, _, seen_good = jax.tree.map(np.asarray, play(shape, whole, key))
    for n in range(2):
        signed = np.flatnonzero(bad.supplied.quantity[:, n])[0]
        due = signed + bad.supplied.lead_time[signed, n]
        quantity = bad.supplied.quantity[signed, n]
        assert bad.arrivals[due, n] == quantity // 2
        assert bad.supplied.fines[due, n] == pytest.approx(0.4 * (quantity - quantity // 2))
        assert bad.supplied.paid[due, n] == pytest.approx(quantity // 2 * bad.supplied.unit_cost[signed, n], abs=1e-5)
        assert good.arrivals[due, n] == quantity and good.supplied.fines[due, n] == 0
        # Until then nobody can tell: what the seller observes is the same.
        np.testing.assert_array_equal(seen_bad.local[:due, n], seen_good.local[:due, n])
        assert not np.array_equal(seen_bad.local[due, n], seen_good.local[due, n])


def test_what_a_seller_sees_of_its_contracts() -> None:
    shape, params = market_of("on delivery")
    names = layout(shape)
    outcome, state, seen = jax.tree.map(np.asarray, play(shape, params, jax.random.key(2)))
    made, local = outcome.supplied, seen.local
    assert local.shape[-1] == len(names)
    column = {name.split(" (")[0]: local[..., place] for place, name in enumerate(names)}
    low, high = 0.8, 1.4
    signed = np.flatnonzero(made.quantity[:, 0])
    t = signed[1]
    assert column["average cost of what is on the way"][t, 0] == pytest.approx(
        (made.unit_cost[t, 0] - low) / (high - low), abs=1e-5
    )
    assert column["units of the last agreement"][t, 0] == pytest.approx(made.quantity[t, 0] / 6)
    assert column["unit cost of the last agreement"][t, 0] == pytest.approx(
        (made.unit_cost[t, 0] - low) / (high - low), abs=1e-5
    )
    assert column["lead time of the last agreement"][t, 0] == pytest.approx(made.lead_time[t, 0] / 3)
    assert (column["units of the last agreement"][: signed[0], 0] == -1).all()
    stock = state.stock[t, 0]
    average = (state.contracts.value[t, 0] / stock - low) / (high - low) if stock else -1.0
    assert column["average cost of the stock"][t, 0] == pytest.approx(average, abs=1e-5)


def test_scales_outside_of_the_market_are_those_inside() -> None:
    shape, params = market_of("on delivery")
    outcome, _, seen = jax.tree.map(np.asarray, play(shape, params, jax.random.key(2)))
    t = np.flatnonzero(outcome.supplied.quantity[:, 0])[0]
    made = outcome.supplied
    raw = {
        "ordered_cost": [made.unit_cost[t, 0]],
        "last_agreement": [made.quantity[t, 0], made.unit_cost[t, 0], made.lead_time[t, 0]],
    }
    for number, entry in enumerate(entries(shape, params)):
        if entry.feature in raw:
            shown = (raw[entry.feature].pop(0) - entry.offset[0]) / entry.scale[0]
            assert seen.local[t, 0, number] == pytest.approx(shown, abs=1e-5)
    assert not any(raw.values())


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"issues": ISSUES | {"lead_times": [1, 9]}}, "lead_times=[1, 9]: accepted is at most market.inventory"),
        ({"max_lead_time": 2}, "lead_times=[1, 3]: accepted is at most max_lead_time=2, the length of the pipeline"),
        ({"suppliers": [{"capacity": 1.0}]}, "suppliers[0].capacity=1.0: accepted is at least the smallest quantity"),
        ({"suppliers": [{"capacity": 0.0}]}, "capacity=0.0: accepted is"),
        ({"suppliers": [{"unit_cost": 1.5}]}, "cost_high=1.4: accepted is a cost above market.inventory.suppliers"),
        ({"suppliers": [{"unit_cost": [0.8, 0.9, 1.0]}]}, "suppliers[0].unit_cost=[0.8, 0.9, 1.0]: accepted is"),
        ({"suppliers": []}, "suppliers=[]: accepted is a list of at least 1"),
        ({"suppliers": [{"rush_cost": 50.0}]}, "can come to no agreement at any price, stock and demand"),
        ({"issues": ISSUES | {"payment_delays": [0.0, 1.0]}}, "issues.payment_delays=[0.0, 1.0]: accepted is null"),
        ({"reorder_point": 1e7}, "reorder_point=10000000.0: accepted is a lower one"),
        ({"issues": ISSUES | {"cost_levels": 10**9}}, "outcomes: accepted are 200000 at most"),
        ({"issues": ISSUES | {"cost_low": 2.0}}, "issues.cost_high=1.4: accepted is a cost above"),
    ],
)  # fmt: skip
def test_contracts_that_cannot_be_are_refused_by_name(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        built(CONTRACT | changed)
    assert told in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("inventory", "changed", "told"),
    [
        (CHOSEN | {"exponents": [2.0, 1.0]}, {}, "exponents=[2.0, 1.0]: accepted is an increasing list"),
        (CHOSEN, {"prices": {"map": "adjust", "low": 1.0, "high": 2.0}}, "market.prices.map='adjust'"),
        (CONTRACT, {"reward": {"unit_cost": 1.0, "pay_on_order": True}}, "market.reward.pay_on_order=True"),
        ({"rule": "threshold", "initial_stock": 5.0, "reorder_point": 3.0, "order_quantity": 3.0},
         {"features": ["stock", "held_cost"]}, "held_cost needs contracts"),
    ],
)  # fmt: skip
def test_combinations_that_cannot_be_are_refused_by_name(
    inventory: dict[str, Any], changed: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        built(inventory, **changed)
    assert told in str(refused.value)


def test_the_second_action_of_the_environment_is_the_exponent() -> None:
    from marl_pricing.environments import PricingEnv

    env = PricingEnv(*market_of("on signing"))
    env.reset(seed=0)
    agent = env.agents[0]
    assert list(env.action_space(agent).nvec) == [4, 2]
    observations, rewards, *_ = env.step({name: np.array([1, 1]) for name in env.agents})
    assert set(observations) == set(rewards) == set(env.possible_agents)


def worlds_of(market_: Market, **robust: Any) -> tuple:
    from marl_pricing.config.errors import validate
    from marl_pricing.config.robust import Robust
    from marl_pricing.config.traffic_settings import Traffic
    from marl_pricing.config.worlds import build_ambiguity

    own = validate(Robust, {"set": "contamination", "radius": 0.5, "mode": "per_draw"} | robust, "robust")
    return build_ambiguity(own, market_, None, Traffic.model_validate({"sessions_per_epoch": 4}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "suppliers"),
    [
        ("supplier_cost", [{"unit_cost": 1.0, "rush_cost": 0.25}, {"unit_cost": 1.125}]),
        ("supplier_capacity", [{"capacity": 4.0}, {"capacity": 4.0}]),
    ],
)
def test_worlds_of_suppliers_are_markets_with_such_suppliers(factor: str, suppliers: list[dict]) -> None:
    value = {"supplier_cost": 1.25, "supplier_capacity": 2 / 3}[factor]
    shape, params = market_of("on signing")
    (shape, params), ambiguity = worlds_of(Market(shape, params), worlds=[{"factor": factor, "values": [1.0, value]}])
    assert ambiguity.labels == (f"{factor.replace('_', ' ')} x1", f"{factor.replace('_', ' ')} x{value:g}")
    otherwise = [own | changed for own, changed in zip(SUPPLIERS, suppliers, strict=True)]
    there = built(CHOSEN | {"payment": "signing", "single_order": False, "suppliers": otherwise})
    key = jax.random.key(4)
    # A state with stock below the trigger, so that sellers bargain.
    _, states, _ = play(shape, params, key)
    state = jax.tree.map(lambda leaf: leaf[6], states)
    action = market.Action(jnp.ones((2, 1), jnp.int32), jnp.ones((2, 1), jnp.int32))
    shares = ambiguity.candidates(params.traffic.agent_share, 0)
    found = programs.step_variants(key, shape, state, action, params, ambiguity.variants(params, 0), shares)
    for world, own in enumerate((params, there.params)):
        one = programs.step(key, shape, state, action, own.replace(variants=None))
        for got, expected in zip(jax.tree.leaves(found), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(got[world], expected, rtol=1e-5, atol=1e-5)
    costs = np.asarray(found[2].supplied.unit_cost)
    assert found[2].supplied.asked.any()
    if factor == "supplier_cost":
        assert (costs[1] > costs[0]).any()
    else:
        assert np.asarray(found[2].supplied.quantity)[1].max() <= 4.0


@pytest.mark.slow
def test_learners_fear_suppliers_that_cost_more() -> None:
    from marl_pricing.learning import mappo
    from marl_pricing.learning.settings import LearnerSettings
    from tests.learning.helpers import TINY, started, update_of

    own, ambiguity = worlds_of(market_of("on signing"), worlds=[{"factor": "supplier_cost", "values": [1.0, 1.4]}])
    learner = mappo.make_learner(LearnerSettings(**TINY), *own, ambiguity)
    state, measures = update_of(learner, own)(started(learner, own))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.learnable))
    assert float(measures["pessimism"]) > 0 and float(measures["candidate_1"]) > float(measures["candidate_0"])


@pytest.mark.parametrize(
    ("robust", "told"),
    [
        ({"mode": "expected"}, "robust.mode='expected': accepted is per_draw or algorithm_1 with market.inventory."),
        ({"worlds": [{"factor": "lead_time", "values": [0, 1]}]}, "lead times are agreed upon"),
        ({"worlds": [{"factor": "supplier_cost", "values": [1, 9]}]}, "supplier_cost=9.0: offer 0 can come to no"),
        ({"worlds": [{"factor": "supplier_cost", "values": [0, 1]}]}, "accepted is different factors above 0"),
        ({"worlds": [{"factor": name, "values": [1, 1.1]} for name in ("supplier_cost", "supplier_capacity")]},
         "accepted is one of them"),
        ({"set": "accept", "worlds": [{"factor": "supplier_cost", "values": [1, 1.1]}]}, "one factor that moves"),
    ],
)  # fmt: skip
def test_robust_settings_that_mean_nothing_beside_contracts_are_refused(robust: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        worlds_of(market_of("on signing"), **robust)
    assert told in str(refused.value) and "\n" not in str(refused.value)


def test_worlds_of_suppliers_need_contracts() -> None:
    bare = built({"rule": "threshold", "initial_stock": 5.0, "reorder_point": 3.0, "order_quantity": 3.0})
    with pytest.raises(
        ConfigError, match=r"supplier_cost': accepted is other factors with market\.inventory\.rule=thres"
    ):
        worlds_of(bare, worlds=[{"factor": "supplier_cost", "values": [1, 2]}])
