"""What a run starts from: another run's networks."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from marl_pricing.config import ConfigError, Experiment
from marl_pricing.learning.state import Networks
from marl_pricing.market import layout


def market_facts(own: Experiment) -> dict[str, Any]:
    """What an actor depends on beside its own size, by the setting that decides it."""
    shape = own.market.shape
    orders = shape.inventory.num_order_levels if shape.chooses_orders else 0
    return {
        "market.num_sellers": shape.num_sellers,
        "market.num_products": shape.num_products,
        "market.prices.map": shape.prices.map,
        "market.prices.num_price_levels": shape.prices.num_levels,
        "number of market.inventory.order_levels": orders,
        "market.features": ", ".join(shape.features),
        "number of observed entries": len(layout(shape)),
    }


def _facts(own: Experiment) -> dict[str, Any]:
    """What networks depend on, by the setting that decides it."""
    return market_facts(own) | own.learner.facts


def check_start(folder: str, there: Experiment, here: Experiment) -> None:
    """Refuse a run whose networks cannot start another one.

    Raises:
        ConfigError: saying which setting decides it, its value there and here.
    """
    ours = _facts(here)
    for name, value in _facts(there).items():
        if value != ours.get(name):
            raise ConfigError(
                f"init_from={folder!r}: accepted is a run of the same {name}, which is {value!r} there and "
                f"{ours.get(name)!r} here"
            )
    count, seeds = there.settings.learner.num_seeds, here.settings.learner.num_seeds
    if count not in (1, seeds):
        accepted = "a run of one seed" if seeds == 1 else f"a run of 1 or {seeds} seeds"
        raise ConfigError(f"init_from={folder!r}: accepted is {accepted}; learner.num_seeds is {count} there")


def spread(networks: Networks, seeds: int) -> Networks:
    """Networks [R, ...] for so many seeds: seed k's for seed k, or those of the only seed for all."""
    return jax.tree.map(lambda leaf: np.broadcast_to(leaf, (seeds, *leaf.shape[1:])), networks)
