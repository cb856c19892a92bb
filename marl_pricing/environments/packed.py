"""Market calls that cost one dispatch and one transfer: everything that Python wants to see comes in one array."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import market
from marl_pricing.market import Action, MarketParams, MarketShape, Observation

Array = jax.Array
Carry = tuple[Array, Any]  # random key, market state; stays on the device

_OUTCOME = ("prices", "stock", "arrivals", "on_order", "ordered", "demand", "sales", "unmet",
            "reward", "shaped", "learning", "terminated")  # fmt: skip


def _flat(parts: list[Array]) -> Array:
    return jnp.concatenate([part.astype(jnp.float32).reshape(-1) for part in parts])


def _seen(observation: Observation) -> list[Array]:
    mask = [] if observation.order_mask is None else [observation.order_mask]
    return [observation.local, observation.state, *mask]


@partial(jax.jit, static_argnums=0)
def reset(shape: MarketShape, params: MarketParams, seed: Array) -> tuple[Carry, Array]:
    """Start an episode from a seed [] uint32; returns what is carried and the packed observation."""
    key, reset_key = jax.random.split(jax.random.key(seed))
    state, observation = market.reset(reset_key, shape, params)
    return (key, state), _flat(_seen(observation))


@partial(jax.jit, static_argnums=0)
def step(shape: MarketShape, params: MarketParams, carry: Carry, actions: Array) -> tuple[Carry, Array]:
    """One epoch; actions [S, heads] as the spaces order them. Returns what is carried and one packed array."""
    key, state = carry
    key, step_key = jax.random.split(key)
    price = actions[:, : shape.num_products]
    order = actions[:, shape.num_products :] if shape.chooses_orders else None
    state, observation, outcome = market.step(step_key, shape, state, Action(price, order), params)
    parts = [*_seen(observation), *(getattr(outcome, name) for name in _OUTCOME), outcome.truncated]
    return (key, state), _flat(parts)


@cache
def layout(shape: MarketShape, sizes: tuple[int, int]) -> dict[str, slice]:
    """Where each part stands in a packed array. sizes: widths (O, G) of the local and the global view."""
    num_sellers, num_offers = shape.num_sellers, shape.num_offers
    widths: dict[str, int] = {"local": num_sellers * sizes[0], "state": sizes[1]}
    if shape.chooses_orders:
        widths["order_mask"] = num_offers * shape.inventory.num_order_levels
    widths |= {name: num_offers for name in _OUTCOME[:8]}
    widths |= {name: num_sellers for name in _OUTCOME[8:]}
    widths["truncated"] = 1
    ends = np.cumsum(list(widths.values()))
    return {name: slice(int(end - width), int(end)) for (name, width), end in zip(widths.items(), ends, strict=True)}


def view_sizes(shape: MarketShape, params: MarketParams) -> tuple[int, int]:
    """Widths (O, G) of the local and the global view."""
    seen = jax.eval_shape(lambda p: market.reset(jax.random.key(0), shape, p)[1], params)
    return seen.local.shape[-1], seen.state.shape[-1]
