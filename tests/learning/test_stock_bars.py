"""Learned ordering, and learned price and order, come to the exact optimum."""

from __future__ import annotations

import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.evaluation.stock_gap import StockRun, stock_gap
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from tests.doors.compose import composed

TABLE = Path(__file__).parents[1] / "known_answers" / "lost_sales.csv"


def trained(experiment, stacked):
    """The greedy policy of every seed, each trained in its own market [seeds, ...]."""
    program = Program(experiment.learner)
    state, _ = program.train(program.init(stacked), stacked, experiment.settings.learner.num_updates)
    actors = jax.device_get(state.learnable.actor)
    number = experiment.settings.learner.num_seeds
    own = [jax.tree.map(lambda leaf, seed=seed: leaf[seed], actors) for seed in range(number)]
    return [learned_policy(experiment.learner, actor, greedy=True) for actor in own]


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
def test_learned_orders_cost_at_most_three_per_cent_more_than_the_best_and_no_more_than_a_base_stock() -> None:
    """Two rows of the table, one seed each, in one program; docs/stock.md has all of them with five seeds each."""
    cases = [("4", "2"), ("9", "3")]
    experiment = composed(
        "experiment=lost_sales", "market.inventory.lead_time=3", f"learner.num_seeds={len(cases)}",
        "learner.num_updates=160",
    )  # fmt: skip
    shape, params = experiment.market
    markets = [
        params.replace(
            inventory=params.inventory.replace(lead_time=jnp.full((1,), int(lead_time))),
            reward=params.reward.replace(stockout_penalty=jnp.full((1,), float(penalty))),
        )
        for penalty, lead_time in cases
    ]
    policies = trained(experiment, jax.tree.map(lambda *leaves: jnp.stack(leaves), *markets))
    runs = [StockRun("orders", shape, own, [policy], 0.97) for own, policy in zip(markets, policies, strict=True)]
    found = stock_gap(runs, episodes=128, epochs=1000, stocks=[], seed=7)
    with TABLE.open() as file:
        known = {(row["penalty"], row["lead_time"]): float(row["optimal"]) for row in csv.DictReader(file)}
    for case, (_, row) in zip(cases, found.iterrows(), strict=True):
        assert row["optimal"] == pytest.approx(known[case], abs=1.1e-4)
        assert row["error"] < 0.005 and 1.0 - 4 * row["error"] < row["ratio"] <= 1.03, row
        assert row["learned"] <= row["base_stock"], row


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
def test_a_seller_that_learns_price_and_order_earns_97_per_cent_of_the_optimum() -> None:
    experiment = composed("experiment=price_and_order", "learner.num_seeds=3", "learner.num_updates=50")
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), experiment.market.params)
    run = StockRun("both", *experiment.market, trained(experiment, stacked), 0.95)
    found = stock_gap([run], episodes=512, epochs=0, stocks=[0, 5, 10], seed=7)
    np.testing.assert_allclose(found["optimal"], [92.610207, 102.266327, 108.487389], rtol=1e-6)
    assert (found["worst"] >= 0.97).all() and (found["ratio"] <= 1.0 + 4 * found["error"]).all(), found
