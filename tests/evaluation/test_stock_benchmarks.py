"""Exact benchmarks of stock: what the market's settings mean to them, and what is played beside them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.equilibrium.dynamic import price_and_order
from marl_pricing.evaluation.play import play
from marl_pricing.evaluation.stock_benchmarks import (
    NoStockBenchmarkError,
    benchmarks_of,
    best_values,
    demand_law,
    price_and_order_of,
    why_no_replenishment,
)
from marl_pricing.evaluation.stock_gap import StockRun, discounted_value, stock_cost, stock_gap
from marl_pricing.market import Action, Policy
from marl_pricing.market.observation import on_hand
from marl_pricing.policies.constant import constant
from tests.doors.compose import composed
from tests.markets import make, within

TABLES = Path(__file__).parents[1] / "known_answers"
KNOWN = json.loads((TABLES / "single_seller_price_order.json").read_text())
STOCKS = [int(stock) for stock in KNOWN["value"]]


def lost_sales(penalty: float = 4.0, lead_time: int = 2, *more: str):
    return composed(
        "experiment=lost_sales", f"market.reward.stockout_penalty={penalty}",
        f"market.inventory.lead_time={lead_time}", *more,
    ).market  # fmt: skip


@pytest.fixture(scope="module")
def both():
    return composed("experiment=price_and_order").market


def test_a_lost_sales_market_has_the_tables_benchmarks() -> None:
    with (TABLES / "lost_sales.csv").open() as file:
        row = next(r for r in csv.DictReader(file) if (r["penalty"], r["lead_time"]) == ("9", "2"))
    found = benchmarks_of(*lost_sales(9.0, 2)).set_index("benchmark")
    for name, column in (("optimal", "optimal"), ("base_stock", "best_base_stock_cost"),
                         ("capped_base_stock", "capped_cost")):  # fmt: skip
        assert found.loc[name, "cost"] == pytest.approx(float(row[column]), abs=1.1e-4)
    assert found.loc["base_stock", "level"] == int(row["best_base_stock_level"])
    assert found.loc["capped_base_stock", ["level", "cap"]].tolist() == [19, 6]
    assert found.loc["s_S", ["level", "point"]].tolist() == [19, 19]
    # Where demand waits (backorder_base_stock.csv).
    assert found.loc["base_stock_backorders", "level"] == 20
    assert found.loc["base_stock_backorders", "cost"] == pytest.approx(7.123, abs=6e-4)


def by_rule(lead_time: int, **reward: float):
    return make(
        {"sessions_per_epoch": 5}, num_sellers=1, demand={"model": "linear", "intercept": 1.0, "slope": 0.0},
        prices={"map": "levels", "levels": [1.5]},
        inventory={"rule": "base_stock", "initial_stock": 12.0, "order_up_to": 12.0, "lead_time": lead_time},
        reward={"unit_cost": 1.0, "holding_cost": 1.0, "stockout_penalty": 3.5} | reward, episode_length=300,
    )  # fmt: skip


def test_a_rules_lead_time_is_one_less_and_a_lost_margin_is_a_penalty() -> None:
    chosen, rule = benchmarks_of(*lost_sales(4.0, 1)), benchmarks_of(*by_rule(2))
    np.testing.assert_allclose(rule["cost"], chosen["cost"], atol=1e-4)
    newsvendor = benchmarks_of(*by_rule(1)).set_index("benchmark")["cost"]
    assert newsvendor["optimal"] == newsvendor["base_stock"] == pytest.approx(3.277, abs=6e-4)


def test_cost_is_what_a_sellers_profit_lacks_to_the_margin_of_all_demand() -> None:
    shape, params = by_rule(2)
    record = play(jax.random.key(0), shape, params, constant(shape, params, jnp.ones(1)), 64)
    cost = stock_cost(record, params, 50)
    lacking = 0.5 * record.demand[:, 50:, 0].mean(1) - record.reward_raw[:, 50:, 0].mean(1)
    np.testing.assert_allclose(cost, lacking, rtol=1e-4)
    assert within(cost.mean(), 4.1628, cost.std(ddof=1) / 8)  # lost_sales.csv, p = 4, L = 1, level 12


def test_price_and_order_are_worth_what_the_table_says(both) -> None:
    # The market's own numbers are float32.
    np.testing.assert_allclose(best_values(*both, 0.95, STOCKS), list(KNOWN["value"].values()), rtol=1e-6)


@pytest.mark.slow
def test_the_optimal_policy_earns_its_value_in_this_market(both) -> None:
    """What the market pays is what the dynamic programme counts: demand, timing, costs and discount."""
    shape, params = both
    best = price_and_order(price_and_order_of(shape, params, 0.95, 20))
    levels = np.abs(np.asarray(params.prices.levels[0])[:, None] - best.price).argmin(0)

    def act(parameters: Any, key: Any, memory: Any, observation: Any, state: Any, params: Any) -> tuple[Action, Any]:
        price, order = parameters[:, on_hand(shape, state)[0].astype(int)]
        return Action(price[None, None], order[None, None]), memory

    optimal = Policy("optimal", jnp.asarray([levels, best.order]), lambda: (), act)
    longer = replace(shape, episode_length=250)
    for stock, value in KNOWN["value"].items():
        own = params.replace(inventory=params.inventory.replace(initial_stock=jnp.full((1,), float(stock))))
        values = discounted_value(play(jax.random.key(3), longer, own, optimal, 2000), 0.95)
        error = values.std(ddof=1) / np.sqrt(2000)
        assert error < 0.005 * value and within(values.mean(), value, error), (stock, values.mean(), error)


def test_the_gap_of_rules_that_are_known(both) -> None:
    """Constant orders up to a level in both markets: costs of the table, and a value below the optimum."""
    shape, params = lost_sales(4.0, 1)
    levels = [constant(shape, params, jnp.ones(1), up_to=jnp.full(1, level)) for level in (12.0, 12.0, 9.0)]
    dear = constant(*both, jnp.full(1, 2.4), up_to=jnp.full(1, 9.0))
    told: list[int] = []
    found = stock_gap(
        [StockRun("orders", shape, params, levels, 0.97), StockRun("both", *both, [dear], 0.95)],
        episodes=64, epochs=400, stocks=[0, 10], seed=1, tell=lambda: told.append(1),
    )  # fmt: skip
    assert len(told) == 4
    assert found["figure"].tolist() == ["cost, p = 4, L = 1", "value from 0 units", "value from 10 units"]
    cost = found.iloc[0]
    assert (cost["optimal"], cost["base_stock"]) == (pytest.approx(4.0407, abs=1e-4), pytest.approx(4.1628, abs=1e-4))
    assert cost["worst"] > cost["ratio"] > 4.1628 / 4.0407 and cost["low"] < cost["learned"] < cost["high"]
    assert (found["ratio"][1:] < 0.95).all() and found["low"][1:].isna().all()
    np.testing.assert_allclose(found["optimal"][1:], [KNOWN["value"]["0"], KNOWN["value"]["10"]], rtol=1e-6)


def test_the_law_of_an_epochs_orders() -> None:
    chance = 1.0 / (1.0 + np.exp((1.8 - 2.0) / 0.25))
    for scale in (1.0, 0.25):  # ten sessions, or two or three
        shape, params = make({"order_law": "multinomial"}, num_sellers=1, demand_scale=scale)
        law, mean = demand_law(shape, params, 1.8), 10 * scale
        units = np.arange(law.size)
        assert law.sum() == pytest.approx(1.0) and law @ units == pytest.approx(mean * chance, rel=1e-5)
        spread = mean * chance * (1 - chance) + (mean % 1) * (1 - mean % 1) * chance**2
        assert law @ units**2 - (law @ units) ** 2 == pytest.approx(spread, rel=1e-4)


STOCKED = {"rule": "base_stock", "initial_stock": 5.0, "order_up_to": 5.0, "lead_time": 2}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"num_sellers": 2}, "one seller of one product"),
        ({"inventory": {"rule": "none", "initial_stock": 3.0}}, "stock that is replenished"),
        ({"inventory": STOCKED | {"single_order": True}}, "single_order=false"),
        ({"level": {"persistence": 0.5, "volatility": 0.1}}, "the same in every epoch"),
        ({"sub_slots": 2}, "market.sub_slots=1"),
        ({"collapse_patience": 3}, "an end of its own"),
        ({"reward": {"unit_cost": 1.0, "volatility": 1.0}}, "without penalties"),
        ({}, "a price that is given"),
        ({"prices": {"map": "levels", "levels": [1.5]}, "reward": {"unit_cost": 1.0}}, "something to hold (here 0)"),
    ],
)
def test_a_market_without_a_benchmark_says_why(settings: dict[str, Any], told: str) -> None:
    own = make(**({"num_sellers": 1, "inventory": STOCKED} | settings))
    assert told in (why_no_replenishment(*own) or "")
    with pytest.raises(NoStockBenchmarkError):
        benchmarks_of(*own)


def test_drawn_orders_are_needed_and_a_chosen_price_without_chosen_orders_has_no_value(both) -> None:
    certain = make({"random_orders": False}, num_sellers=1, inventory=STOCKED)
    assert "drawn orders" in (why_no_replenishment(*certain) or "")
    assert why_no_replenishment(*lost_sales()) is None
    with pytest.raises(NoStockBenchmarkError, match="chosen orders"):
        best_values(*make(num_sellers=1, inventory=STOCKED), 0.95, [0])
    shape, params = both
    late = replace(shape, reward=replace(shape.reward, pay_on_order=False))
    with pytest.raises(NoStockBenchmarkError, match="pay_on_order=true"):
        best_values(late, params, 0.95, [0])
