"""Small markets for tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from marl_pricing import market
from marl_pricing.config import Market, market_from

LOGIT = {"model": "logit", "quality": 2.0, "scale": 0.25}
LEVELS = {"map": "levels", "low": 1.1, "high": 2.5, "num_price_levels": 8}
UNLIMITED = {"rule": "unlimited"}
THRESHOLD = {"rule": "threshold", "initial_stock": 12.0, "reorder_point": 8.0, "order_quantity": 10.0, "lead_time": 2}

# The market as one program each: called operation by operation, an epoch compiles two hundred of them.
programs = SimpleNamespace(
    **{
        name: jax.jit(getattr(market, name), static_argnames="shape")
        for name in ("reset", "step", "step_candidates", "step_variants", "observe", "global_state")
    }
)


def make(traffic: dict[str, Any] | None = None, **settings: Any) -> Market:
    """A duopoly with stock; settings replace whole groups."""
    base: dict[str, Any] = {
        "num_sellers": 2,
        "episode_length": 12,
        "demand": LOGIT,
        "prices": LEVELS,
        "inventory": THRESHOLD,
        "reward": {"unit_cost": 1.0, "stockout_penalty": 0.5},
    }
    return market_from(base | settings, {"sessions_per_epoch": 10} | (traffic or {}))


def one_shot(num_sellers: int = 2, quality: Any = 2.0, cost: Any = 1.0, omega: Any = 1.0, **settings: Any) -> Market:
    """The logit market of Calvano et al. (2020): unlimited stock, money per session."""
    prices = {"map": "levels", "low": 1.0, "high": 2.2, "num_price_levels": 5}
    base = {
        "num_sellers": num_sellers,
        "demand": {"model": "logit", "quality": quality, "scale": 0.25},
        "inventory": UNLIMITED,
        "reward": {"unit_cost": cost, "omega": omega},
        "prices": prices,
    }
    agents = settings.pop("agent_share", 0.0)
    return market_from(base | settings, {"sessions_per_epoch": 1, "random_orders": False, "agent_share": agents})


def within(sample_mean: Any, expected: Any, standard_error: Any, errors: float = 4.0) -> bool:
    """Whether a Monte Carlo mean is within so many standard errors of what is expected."""
    return bool(np.all(np.abs(np.asarray(sample_mean) - expected) <= errors * np.asarray(standard_error) + 1e-12))


def duopoly(random_orders: bool = False, **changes) -> Market:
    """A logit duopoly with unlimited stock and expected demand; keyword arguments replace its settings."""
    settings = {
        "num_sellers": 2,
        "episode_length": 12,
        "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
        "prices": {"map": "levels", "low": 1.0, "high": 2.2, "num_price_levels": 25},
        "inventory": {"rule": "unlimited"},
        "reward": {"unit_cost": 1.0},
    }
    return market_from(settings | changes, {"sessions_per_epoch": 10, "random_orders": random_orders})
