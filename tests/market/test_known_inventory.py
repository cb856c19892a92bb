"""Known costs of replenishment policies, by simulation in this market: they pin its timing."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.policies.constant import constant
from tests.markets import make, within

TABLES = Path(__file__).parents[1] / "known_answers"
REPLICATIONS, WARM_UP, EPOCHS = 128, 100, 1200
NEVER = 1e6  # no cap


def table(name: str) -> list[dict[str, float]]:
    with (TABLES / name).open() as file:
        return [{k: float(v) for k, v in row.items() if k != "demand"} for row in csv.DictReader(file)]


def rules() -> list[dict[str, float]]:
    """Every rule that this market can play: all that lose sales, and the one with backorders at lead time 0.

    There the order that serves a backorder would come before the next demand, so that both cost the same. With a longer
    lead time backorders are another market than this one, which loses sales.
    """
    rows = []
    for row in table("lost_sales.csv"):
        same = {name: row[name] for name in ("penalty", "lead_time")}
        rows.append(same | {"level": row["best_base_stock_level"], "cap": NEVER, "cost": row["best_base_stock_cost"]})
        rows.append(same | {"level": row["capped_level"], "cap": row["capped_order"], "cost": row["capped_cost"]})
    waiting = [row for row in table("backorder_base_stock.csv") if row["lead_time"] == 0]
    return rows + [row | {"cap": NEVER} for row in waiting]


def single_seller(inventory: dict[str, Any]):
    """One seller at a given price that is its cost; Poisson(5) demand, holding cost 1, five epochs of pipeline."""
    return make(
        {"sessions_per_epoch": 5},
        num_sellers=1,
        demand={"model": "linear", "intercept": 1.0, "slope": 0.0},
        prices={"map": "levels", "levels": [1.0]},
        reward={"unit_cost": 1.0, "holding_cost": 1.0, "stockout_penalty": 1.0},
        inventory={"initial_stock": 0.0, "lead_time": 5} | inventory,
        episode_length=10_000,
    )


def costs_of(shape, params, rows: list[dict[str, float]], extra: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean cost an epoch of each row and its standard error, all rows in one program.

    Args:
        extra: epochs that the market's lead time is longer than the table's.
    """
    # Its numbers are replaced row by row; the price and the level of a rule that orders by itself are not looked at.
    policy = constant(shape, params, jnp.ones(1), up_to=jnp.zeros(1))

    def average(row: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        inventory = params.inventory.replace(
            initial_stock=row["level"][None],
            order_up_to=row["level"][None],
            order_cap=row["cap"][None],
            lead_time=row["lead_time"][None].astype(jnp.int32) + extra,
        )
        own = params.replace(inventory=inventory, reward=params.reward.replace(stockout_penalty=row["penalty"][None]))
        state, seen = market.reset(key, shape, own)
        parameters = policy.parameters.replace(order_up_to=row["level"][None])

        def step(carry, time):
            state, seen = carry
            action, _ = policy.act(parameters, key, (), seen, state, own)
            state, seen, outcome = market.step(jax.random.fold_in(key, time), shape, state, action, own)
            return (state, seen), -outcome.reward[0]

        return jax.lax.scan(step, (state, seen), jnp.arange(WARM_UP + EPOCHS))[1][WARM_UP:].mean()

    stacked = {name: jnp.array([row[name] for row in rows]) for name in ("penalty", "lead_time", "level", "cap")}
    keys = jax.random.split(jax.random.key(0), REPLICATIONS)
    found = np.asarray(jax.jit(jax.vmap(jax.vmap(average, (None, 0)), (0, None)))(stacked, keys))
    return found.mean(1), found.std(1, ddof=1) / np.sqrt(REPLICATIONS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inventory", "extra"),
    [
        # A rule orders after the sales of an epoch, so that the table's lead time is one less than the market's.
        ({"rule": "base_stock", "order_up_to": 1.0}, 1),
        # A chosen quantity is decided with the price, before the demand of the epoch: the lead times agree.
        ({"rule": "chosen", "order_levels": list(map(float, range(28)))}, 0),
    ],
    ids=["rule", "chosen"],
)
def test_costs_of_base_stock_and_capped_base_stock(inventory: dict[str, Any], extra: int) -> None:
    rows = [row for row in rules() if row["lead_time"] + extra >= 1]
    assert len(rows) == 14 + 2 * extra
    found, error = costs_of(*single_seller(inventory), rows, extra)
    for row, cost, own in zip(rows, found, error, strict=True):
        # The tables give four decimals, or three. An epoch of lead time more or less costs 0.4 and more.
        assert own < 0.02 and within(cost, row["cost"], own + 5e-4 / 4), (row, cost, own)
