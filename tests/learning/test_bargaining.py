"""A seller learns how long to stay tough: against the best fixed exponent, found by playing each."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.evaluation.play import play
from marl_pricing.market import Action, MarketParams, MarketShape, Policy
from tests.doors.compose import composed
from tests.learning.test_stock_bars import trained

# One seller at what is one price, one supplier, a demand that does not move.
ALONE = [
    "experiment=procurement", "market.num_sellers=1", "market.level.volatility=0", "market.prices.low=1.6",
    "market.prices.high=1.6001", "market.prices.num_price_levels=2", "learner.num_updates=100",
    "market.inventory.suppliers=[{unit_cost:0.8,rush_cost:0.4,toughness:2.0}]",
]  # fmt: skip


def always(shape: MarketShape, exponent: int) -> Policy:
    """One exponent, whatever happens."""
    price = jnp.zeros((shape.num_sellers, shape.num_products), jnp.int32)

    def act(parameters, key, memory, seen, state, params: MarketParams):
        return Action(price, jnp.full_like(price, parameters)), memory

    return Policy(f"always {exponent}", jnp.int32(exponent), tuple, act)


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
def test_learned_toughness_earns_98_per_cent_of_the_best_fixed_exponent() -> None:
    experiment = composed(*ALONE)
    shape, params = experiment.market
    key, episodes = jax.random.key(11), 128
    fixed = [
        play(key, shape, params, always(shape, number), episodes).reward_raw.sum((1, 2)).mean()
        for number in range(shape.inventory.num_order_levels)
    ]
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 5), params)
    learned = [
        play(key, shape, params, policy, episodes).reward_raw.sum((1, 2)).mean()
        for policy in trained(experiment, stacked)
    ]
    assert max(fixed) > 1.05 * np.median(fixed)  # there is something to learn
    assert min(learned) >= 0.98 * max(fixed), (learned, fixed)
