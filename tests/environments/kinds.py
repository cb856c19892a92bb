"""One market of every kind that an environment has to serve."""

from __future__ import annotations

from typing import Any

import numpy as np

import marl_pricing
from marl_pricing.environments import PricingEnv
from tests.markets import THRESHOLD, UNLIMITED, make

CHOSEN = {"rule": "chosen", "initial_stock": 5.0, "lead_time": 2, "order_levels": [0.0, 3.0, 6.0], "single_order": True}
KINDS: dict[str, dict[str, Any]] = {
    "discrete": {},
    "several products": {"num_products": 2, "inventory": THRESHOLD | {"lead_time": [1, 2, 3, 1]}},
    "own orders": {"inventory": CHOSEN},
    "several products, own orders": {"num_products": 2, "inventory": CHOSEN},
    "continuous": {"prices": {"map": "adjust", "low": 1.1, "high": 2.5, "max_change": 0.3}},
    "any price": {
        "prices": {"map": "range", "low": [0.0, 0.0], "high": [2.5, 2.0]}
    },  # from 0: PettingZoo's own test plays it
    "scale": {"prices": {"map": "scale", "low": 1.1, "high": 2.5}},
    "different sellers": {
        "num_sellers": 3,
        "prices": {"map": "levels", "low": [1.1, 1.5, 2.0], "high": [2.5, 2.4, 2.2], "num_price_levels": 8},
        "inventory": THRESHOLD | {"initial_stock": [12.0, 3.0, 6.0], "lead_time": [1, 2, 3]},
        "level": {"persistence": 0.8, "volatility": 0.3},
        "shocks": {"probability": 0.3, "duration": 2, "scale": 2.0},
        "reward": {
            "unit_cost": [1.0, 1.3, 1.8],
            "stockout_penalty": [0.5, 0.0, 1.0],
            "holding_cost": [0.0, 0.1, 0.2],
            "omega": [1.0, 0.5, 0.0],
        },
    },
}
# Seller 1 pays 3 for what it sells at 2.5 at most, and can lose nothing.
BANKRUPT: dict[str, Any] = {
    "reward": {"unit_cost": [1.0, 3.0]},
    "inventory": UNLIMITED,
    "bankruptcy": {"initial_cash": 0.0, "cash_limit": 0.0},
}


def env_of(kind: str, **more: Any) -> PricingEnv:
    """A parallel environment of a kind."""
    return marl_pricing.parallel_env(make(**KINDS[kind]), **more)


def bankrupt_env(**more: Any) -> PricingEnv:
    """Two sellers, of which the second soon leaves."""
    return marl_pricing.parallel_env(make(**BANKRUPT), **more)


def sampled(env: PricingEnv) -> dict[str, Any]:
    """An action of every agent, from its space."""
    return {agent: env.action_space(agent).sample() for agent in env.agents}


def assert_same(one: Any, other: Any) -> None:
    """Whether two answers of an environment are equal, value by value."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        np.testing.assert_array_equal(one, other)
