"""Known costs of base-stock policies, by simulation in this market: they pin its timing."""

from __future__ import annotations

import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.market import Action
from tests.markets import make, within

TABLE = Path(__file__).parents[1] / "known_answers" / "lost_sales.csv"
REPLICATIONS, WARM_UP, EPOCHS = 256, 200, 1500


def rows() -> list[dict[str, float]]:
    with TABLE.open() as file:
        return [{k: float(v) for k, v in row.items() if k != "demand"} for row in csv.DictReader(file)]


def single_seller(row: dict[str, float]):
    """One seller whose demand is Poisson(5) at any price. A rule orders after the sales of epoch t, so that the table's
    lead time is one less than the market's."""
    return make(
        {"sessions_per_epoch": 5},
        num_sellers=1,
        demand={"model": "linear", "intercept": 1.0, "slope": 0.0},
        prices={"map": "levels", "levels": [0.0, 1.0]},
        reward={"unit_cost": 0.0, "holding_cost": row["holding"], "stockout_penalty": row["penalty"]},
        inventory={
            "rule": "base_stock",
            "initial_stock": row["best_base_stock_level"],
            "order_up_to": row["best_base_stock_level"],
            "lead_time": int(row["lead_time"]) + 1,
        },
        episode_length=10_000,
    )


@pytest.mark.slow
@pytest.mark.parametrize("row", rows(), ids=lambda row: f"p={row['penalty']:.0f}, L={row['lead_time']:.0f}")
def test_best_base_stock_cost_of_lost_sales(row: dict[str, float]) -> None:
    shape, params = single_seller(row)
    action = Action(jnp.zeros((1, 1), jnp.int32))

    def average(key):
        state, _ = market.reset(key, shape, params)

        def step(state, time):
            state, _, outcome = market.step(jax.random.fold_in(key, time), shape, state, action, params)
            return state, -outcome.reward[0]

        _, cost = jax.lax.scan(step, state, jnp.arange(WARM_UP + EPOCHS))
        return cost[WARM_UP:].mean()

    costs = np.asarray(jax.jit(jax.vmap(average))(jax.random.split(jax.random.key(0), REPLICATIONS)))
    # The table gives four decimals.
    error = costs.std(ddof=1) / np.sqrt(REPLICATIONS)
    assert error < 0.02
    assert within(costs.mean(), row["best_base_stock_cost"], error + 5e-5 / 4), (costs.mean(), error)
