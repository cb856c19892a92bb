"""Small simulated logs for tests."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.virtual_market.answers import AnswerNetwork
from marl_pricing.virtual_market.fit import FitSettings, Fitted
from marl_pricing.virtual_market.memory import NUM_FEATURES
from marl_pricing.virtual_market.model import VirtualMarket
from marl_pricing.virtual_market.simulate import Simulated, SimulationSettings, simulate


@lru_cache(maxsize=8)
def a_log(customers: int = 1000, days: int = 60, seed: int = 0, **other: Any) -> Simulated:
    return simulate(SimulationSettings(out="unused", customers=customers, days=days, seed=seed, **other))


@lru_cache(maxsize=2)
def untrained(members: int = 2, width: int = 8) -> VirtualMarket:
    """Customers of networks that have learned nothing, with last layers that say something all the same."""

    def one(key: jax.Array):
        own = AnswerNetwork(width).init(key, jnp.zeros((1, NUM_FEATURES)), jnp.zeros((1, 2)), jnp.zeros(1), jnp.ones(3))
        last = own["params"]["Dense_2"]
        last["kernel"] = 0.5 * jax.random.normal(key, last["kernel"].shape)
        numbers = own["params"]["by_number"]
        own["params"]["by_number"] = 0.3 * jax.random.normal(jax.random.fold_in(key, 1), numbers.shape)
        return own

    networks = [one(key) for key in jax.random.split(jax.random.key(0), members)]
    customers = jax.tree.map(lambda *leaves: jnp.stack(leaves), *networks)
    usual, usual_fee = np.linspace(0.2, 0.8, 9, dtype=np.float32), np.array([2.8, 0.5, 4.5], np.float32)
    return VirtualMarket(
        FitSettings(members=members, width=width), Fitted(customers, {}, usual, usual_fee, np.zeros(2))
    )


def memories(customers: int, seed: int = 0) -> np.ndarray:
    """Memories [C, 21] as such numbers may be, without a log."""
    rng = np.random.default_rng(seed)
    days = rng.integers(0, 12, (customers, 9))
    taken = rng.binomial(days, 0.4)
    ordered = taken.sum(1)
    total = ordered + rng.binomial(ordered, 0.3)
    fee = np.where(ordered > 0, rng.uniform(5.0, 40.0, customers), 0.0)
    return np.concatenate([np.stack([total, total / np.maximum(ordered, 1), fee], axis=1), days, taken], axis=1)
