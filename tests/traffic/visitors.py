"""Markets with sessions, for tests."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import traffic
from marl_pricing.config import Market
from marl_pricing.traffic import Conditions, Traffic
from tests.markets import make

AGENT = {"scale": 0.1, "level_sensitivity": 0.0}


def with_sessions(model: str = "bank", sessions: int = 10, agent_share: float = 0.25, **settings: Any) -> Market:
    """The duopoly of `tests.markets.make`, visited by sessions; settings of the market go by name, `traffic` extra."""
    visitors = {"model": model, "sessions_per_epoch": sessions, "agent_share": agent_share, "bank": {"size": 4096}}
    return make(visitors | settings.pop("traffic", {}), **({"agent": AGENT} | settings))


def conditions(own: Market, prices: Any = None, level: Any = None) -> Conditions:
    """What a wave finds: middle prices, level 1, everything there."""
    count = own.shape.num_offers
    return Conditions(
        jnp.full(count, 1.6) if prices is None else jnp.asarray(prices, jnp.float32),
        jnp.ones(count) if level is None else jnp.asarray(level, jnp.float32),
        jnp.ones(count, bool),
        jnp.ones(()),
    )


@partial(jax.jit, static_argnums=(1, 3))
def _epochs(keys, shape, params, demand, demand_params, found, candidates) -> Traffic:
    def one(key: jax.Array) -> Traffic:
        return traffic.simulate(key, shape, params, demand, demand_params, found, candidates)

    return jax.vmap(one)(keys)


def epochs(own: Market, number: int, shares: Any = None, found: Conditions | None = None, seed: int = 0) -> Traffic:
    """`number` independent waves under each candidate share: Traffic with leading axes [number, C], as NumPy."""
    shape, params = own
    found = conditions(own) if found is None else found
    candidates = params.traffic.agent_share[None] if shares is None else jnp.asarray(shares, jnp.float32)
    keys = jax.random.split(jax.random.key(seed), number)
    got = _epochs(keys, shape.traffic, params.traffic, shape.demand, params.demand, found, candidates)
    return jax.tree.map(np.asarray, got)
