"""Finite stock, price and order, replenishment: exact solutions against tables of known answers."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize, special, stats

from marl_pricing.equilibrium import backorders, dynamic, replenishment
from marl_pricing.equilibrium.dynamic import FiniteStock, PriceAndOrder
from marl_pricing.equilibrium.replenishment import Replenishment, poisson

TABLES = Path(__file__).parents[1] / "known_answers"


def table(name: str) -> list[dict[str, float]]:
    with (TABLES / name).open() as file:
        return [{k: float(v) for k, v in row.items() if k != "demand"} for row in csv.DictReader(file)]


def duopoly(row: dict[str, float]) -> FiniteStock:
    return FiniteStock((2.0, 2.0), (1.0, 1.0), 0.25, int(row["slots"]), (int(row["stock1"]), int(row["stock2"])))


@pytest.mark.parametrize("row", table("finite_stock_duopoly.csv"), ids=lambda row: f"{row['slots']:.0f} slots")
def test_finite_stock_duopoly(row: dict[str, float]) -> None:
    perfect, joint = dynamic.markov_perfect(duopoly(row)), dynamic.joint_optimum(duopoly(row))
    np.testing.assert_allclose(perfect.value, [row["value1_mpe"], row["value2_mpe"]], atol=6e-7)
    np.testing.assert_allclose(perfect.first_prices, [row["price1_first_mpe"], row["price2_first_mpe"]], atol=6e-6)
    np.testing.assert_allclose(joint.value, row["value_joint_sum"], atol=6e-7)
    np.testing.assert_allclose(joint.first_prices, row["price_joint_first"], atol=6e-6)


UNEQUAL = FiniteStock((2.0, 1.8), (1.0, 0.7), 0.3, 4, (3, 2))
# Good offers and sharp demand: a step of the first-order conditions there is many times too long.
DEAR = FiniteStock((3.0, 2.0), (1.0, 1.0), 0.25, 3, (2, 2))
SHARP = FiniteStock((2.0, 2.0), (1.0, 1.0), 0.1, 3, (2, 2))
SHARPEST = FiniteStock((9.0, 2.0), (1.0, 1.0), 0.01, 2, (1, 1))


@pytest.mark.parametrize("own", [UNEQUAL, DEAR, SHARP, SHARPEST], ids=["unequal", "dear", "sharp", "sharpest"])
def test_stock_no_seller_gains_by_another_price_in_any_state(own: FiniteStock) -> None:
    """A one-step deviation never pays (the principle of one-shot deviations)."""
    before = replace(own, slots=own.slots - 1)
    for stock in product(*(range(1, units + 1) for units in own.stock)):
        found = dynamic.markov_perfect(replace(own, stock=stock))
        then = {
            sold: dynamic.markov_perfect(replace(before, stock=tuple(np.subtract(stock, sold)))).value
            for sold in ((0, 0), (1, 0), (0, 1))
        }
        for seller in (0, 1):

            def payoff(price: float, seller: int = seller, then=then, prices=found.first_prices) -> float:
                posted = prices.copy()
                posted[seller] = price
                chance = special.softmax([*(np.array(own.quality) - posted) / own.scale, 0.0])[:-1]
                gain = chance[seller] * (price - own.cost[seller])
                return gain + chance[0] * then[1, 0][seller] + chance[1] * then[0, 1][seller] + (
                    1.0 - chance.sum()
                ) * then[0, 0][seller]  # fmt: skip

            best = max(payoff(price) for price in np.linspace(own.cost[seller], own.quality[seller] + 2.0, 2001))
            assert payoff(found.first_prices[seller]) == pytest.approx(found.value[seller], abs=1e-9)
            assert best <= found.value[seller] + 1e-8


def test_stock_of_a_good_monopolist() -> None:
    """a = 4, μ = 0.25, three slots, two units: each slot's best price found by search."""
    own = FiniteStock((4.0,), (1.0,), 0.25, 3, (2,))
    after = np.zeros(3)  # of 0, 1 and 2 units
    for _ in range(3):
        now = after.copy()
        for units in (1, 2):

            def worth(price: float, units: int = units, after: np.ndarray = after) -> float:
                chance = 1.0 / (1.0 + np.exp((price - 4.0) / 0.25))
                return chance * (price - 1.0 + after[units - 1]) + (1.0 - chance) * after[units]

            now[units] = -optimize.minimize_scalar(
                lambda p, f=worth: -f(p), bounds=(1.0, 6.0), method="bounded", options={"xatol": 1e-9}
            ).fun
        after = now
    found, joint = dynamic.markov_perfect(own), dynamic.joint_optimum(own)
    assert found.value[0] == pytest.approx(after[2], abs=1e-8) == pytest.approx(joint.value[0], abs=1e-8)
    assert found.first_prices[0] == pytest.approx(joint.first_prices[0], abs=1e-7)


def test_stock_joint_optimum_is_at_least_the_equilibrium() -> None:
    for own in (UNEQUAL, DEAR, SHARP, SHARPEST):
        assert dynamic.joint_optimum(own).value[0] >= dynamic.markov_perfect(own).value.sum() - 1e-12


def test_a_seller_without_stock_sells_nothing() -> None:
    alone = dynamic.markov_perfect(FiniteStock((2.0,), (1.0,), 0.25, 6, (2,)))
    beside = dynamic.markov_perfect(FiniteStock((2.0, 2.0), (1.0, 1.0), 0.25, 6, (2, 0)))
    assert beside.value[0] == pytest.approx(alone.value[0], abs=1e-12) and beside.value[1] == 0
    assert np.isnan(beside.first_prices[1])
    # One seller's equilibrium is the joint optimum.
    assert dynamic.joint_optimum(FiniteStock((2.0,), (1.0,), 0.25, 6, (2,))).value[0] == pytest.approx(alone.value[0])


KNOWN = json.loads((TABLES / "single_seller_price_order.json").read_text())
PRICES = np.linspace(1.4, 2.4, 11)


def single_seller() -> PriceAndOrder:
    """10 shoppers, Binomial orders, logit a = 2, μ = 0.25; the rest as the table says."""
    chance = 1.0 / (1.0 + np.exp((PRICES - 2.0) / 0.25))
    demand = np.stack([stats.binom.pmf(np.arange(11), 10, own) for own in chance])
    return PriceAndOrder(demand, PRICES, np.arange(11), 1.0, 0.02, 0.3, 0.95, 20)


def test_a_seller_that_sets_price_and_order() -> None:
    found = dynamic.price_and_order(single_seller())
    for stock, value in KNOWN["value"].items():
        assert found.value[int(stock)] == pytest.approx(value, abs=6e-7)
    for stock, (price, order) in KNOWN["policy_price_order"].items():
        assert found.price[int(stock)] == pytest.approx(price) and found.order[int(stock)] == order


@pytest.mark.parametrize(
    "row", table("lost_sales.csv"), ids=lambda row: f"p={row['penalty']:.0f}, L={row['lead_time']:.0f}"
)
def test_lost_sales(row: dict[str, float]) -> None:
    own = Replenishment(poisson(5.0), row["holding"], row["penalty"], int(row["lead_time"]))
    assert replenishment.best_cost(own) == pytest.approx(row["optimal"], abs=1.1e-4)
    plain, capped = replenishment.best_base_stock(own), replenishment.best_capped_base_stock(own)
    assert plain.level == row["best_base_stock_level"]
    assert plain.cost == pytest.approx(row["best_base_stock_cost"], abs=1.1e-4)
    assert (capped.level, capped.cap) == (row["capped_level"], row["capped_order"])
    assert capped.cost == pytest.approx(row["capped_cost"], abs=1.1e-4)
    assert replenishment.best_cost(own) < capped.cost < plain.cost


@pytest.mark.parametrize(
    "row", table("backorder_base_stock.csv"), ids=lambda row: f"p={row['penalty']:.0f}, L={row['lead_time']:.0f}"
)
def test_backorders(row: dict[str, float]) -> None:
    found = backorders.base_stock(Replenishment(poisson(5.0), row["holding"], row["penalty"], int(row["lead_time"])))
    assert found.level == row["level"] and found.cost == pytest.approx(row["cost"], abs=6e-4)


def test_a_rule_with_an_order_point_waits() -> None:
    """s = S is the base-stock rule; a lower s orders more rarely and, without a cost of ordering, costs more."""
    own = Replenishment(poisson(5.0), 1.0, 4.0, 1)
    costs = [replenishment.rule_cost(own, 12, point=point) for point in (12, 9, 6)]
    assert costs[0] == pytest.approx(replenishment.rule_cost(own, 12), abs=1e-4)
    assert costs[0] < costs[1] < costs[2]
    found = replenishment.best_min_max(own)
    assert (found.point, found.level) == (12, 12) and found.cost == pytest.approx(costs[0], abs=1e-4)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: FiniteStock((2.0,), (1.0, 1.0), 0.25, 3, (1,)), "lists of one length"),
        (lambda: FiniteStock((2.0,), (1.0,), 0.0, 3, (1,)), "scale=0.0"),
        (lambda: FiniteStock((2.0,) * 4, (1.0,) * 4, 0.25, 3, (40,) * 4), "at most 200,000 combinations"),
        (lambda: Replenishment(np.array([0.5, 0.4]), 1.0, 4.0, 1), "probabilities of 0, 1"),
        (lambda: Replenishment(poisson(5.0), -1.0, 4.0, 1), "holding=-1.0"),
        (lambda: replenishment.best_cost(Replenishment(poisson(5.0), 1.0, 4.0, 0)), "at least 1 with lost sales"),
        (lambda: replenishment.best_cost(Replenishment(poisson(5.0), 1.0, 4.0, 9)), "too many for value iteration"),
        (lambda: PriceAndOrder(np.ones((2, 3)) / 3, PRICES, np.arange(3), 1, 0, 0, 0.9, 5), "a row a price, 11"),
    ],
)
def test_what_cannot_be_solved_is_refused(make, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()
