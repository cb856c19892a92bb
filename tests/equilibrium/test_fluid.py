"""Row "stock" of the methodology's table: benchmarks of any market that know of its stock."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.equilibrium import static
from marl_pricing.equilibrium.fluid import fluid_equilibrium, supply_rate
from marl_pricing.evaluation.benchmarks import static_benchmarks, with_stock
from marl_pricing.evaluation.play import play
from marl_pricing.evaluation.report import paths
from marl_pricing.policies.constant import constant
from tests.markets import make, within


def scarce(units: Any, **settings: Any):
    """Twelve epochs of ten shoppers, and no more units than these."""
    return make(**({"inventory": {"rule": "none", "initial_stock": units}} | settings))


def test_stock_of_a_monopolist_is_sold_out_evenly() -> None:
    """Its price is where demand is the supply: p = a − μ log(u / (10 − u))."""
    shape, params = scarce(30.0, num_sellers=1)
    found = fluid_equilibrium(shape, params, together=False)
    assert found is not None
    assert found.at.prices[0] == pytest.approx(2.0 - 0.25 * np.log(2.5 / 7.5), abs=1e-7)
    assert found.at.demand[0] == pytest.approx(2.5, rel=1e-6) and found.at.residual < 1e-6
    # What one more unit an epoch is worth is the slope of the profit.
    more = fluid_equilibrium(*scarce(30.012, num_sellers=1), together=False)
    assert more is not None
    slope = (more.at.profits.sum() - found.at.profits.sum()) / (more.supply[0] - found.supply[0])
    assert slope == pytest.approx(found.worth[0], rel=1e-2)


def test_stock_that_binds_one_seller() -> None:
    """It asks what sells its supply, the other answers freely; no price that can be served is better for either."""
    shape, params = scarce([20.0, 200.0])
    found = fluid_equilibrium(shape, params, together=False)
    assert found is not None
    assert found.worth[0] > 0.1 and found.worth[1] == pytest.approx(0.0, abs=1e-9)
    assert found.at.demand[0] == pytest.approx(20.0 / 12.0, rel=1e-6)

    def demand(prices: np.ndarray) -> np.ndarray:
        weights = np.exp((2.0 - prices) / 0.25)
        return 10.0 * weights / (1.0 + weights.sum())

    for seller in (0, 1):
        for price in np.linspace(1.0, 3.0, 2001):
            prices = found.at.prices.copy()
            prices[seller] = price
            wanted = demand(prices)[seller]
            if wanted <= found.supply[seller] * (1.0 + 1e-6):
                assert (price - 1.0) * wanted <= found.at.profits[seller] + 1e-6


def test_stock_that_is_enough_leaves_the_static_benchmarks() -> None:
    own = scarce(200.0)
    assert fluid_equilibrium(*own, together=False) is None is fluid_equilibrium(*own, together=True)


@pytest.mark.parametrize(
    ("inventory", "most"),
    [
        ({"rule": "threshold", "initial_stock": 12.0, "reorder_point": 8.0, "order_quantity": 10.0, "lead_time": 2},
         12 + 5 * 10),  # of twelve epochs, orders come in the third, fifth, …, eleventh
        ({"rule": "base_stock", "initial_stock": 4.0, "order_up_to": 6.0, "lead_time": 3}, 4 + 3 * 6),
        ({"rule": "base_stock", "initial_stock": 4.0, "order_up_to": 6.0, "lead_time": 1}, 4 + 11 * 6),
        ({"rule": "s_S", "initial_stock": 4.0, "reorder_point": 2.0, "order_up_to": 9.0, "lead_time": 4}, 4 + 2 * 9),
        ({"rule": "chosen", "initial_stock": 4.0, "order_levels": [0.0, 5.0, 8.0], "order_cap": 6.0, "lead_time": 2},
         4 + 10 * 5),
    ],
    ids=["threshold", "base stock", "base stock, at once", "s_S", "chosen"],
)  # fmt: skip
def test_stock_that_rules_can_bring(inventory: dict[str, Any], most: float) -> None:
    shape, params = make(num_sellers=1, inventory=inventory)
    assert supply_rate(shape, params)[0] == pytest.approx(most / 12.0)


@pytest.mark.slow
def test_stock_aware_benchmarks_are_told_apart() -> None:
    own = scarce([20.0, 200.0])
    found = with_stock(*own, static_benchmarks(*own))
    names = list(paths.benchmark_prices(found, 2))
    assert names == [
        "Nash price",
        "joint-profit price",
        "Nash price given the stock",
        "joint-profit price given the stock",
    ]
    assert "ignores stock" in found.label and "ignores stock" not in found.stock_label and "fluid" in found.stock_label
    assert (
        paths.benchmark_profits(found)["joint profit given the stock"] < paths.benchmark_profits(found)["joint profit"]
    )
    unlimited = make(inventory={"rule": "unlimited"})
    bare = static_benchmarks(*unlimited)
    assert with_stock(*unlimited, bare) is bare


@pytest.mark.slow
def test_no_constant_prices_earn_more_than_the_stock_allows() -> None:
    grid = [1.3, 1.6, 1.9, 2.1, 2.2, 2.4]
    shape, params = scarce(30.0, prices={"map": "levels", "levels": grid}, reward={"unit_cost": 1.0})
    most = fluid_equilibrium(shape, params, together=True)
    assert most is not None and static.joint_profit(shape, params).profits.sum() > most.at.profits.sum()
    earned = []
    for price in grid:
        record = play(jax.random.key(2), shape, params, constant(shape, params, jnp.full((2,), price)), 400)
        profit = np.asarray(record.reward_raw, float).sum(-1).mean(1)
        earned.append(profit.mean())
        assert profit.mean() <= most.at.profits.sum() + 4.0 * profit.std(ddof=1) / 20.0
    assert max(earned) > 0.85 * most.at.profits.sum()  # and the bound is near
    assert within(earned[0], 2 * 2.5 * 0.3, 0.01)  # sold out early, at a price far too low
