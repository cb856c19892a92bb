"""A ring of the last segments, each with the memory that the network had before it (Kapturowski et al. 2019)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from marl_pricing.learning.action_values.targets import Transitions
from marl_pricing.learning.networks import head_sizes
from marl_pricing.learning.trajectory import RolloutState
from marl_pricing.market import MarketShape

Array = jax.Array


def empty(
    shape: MarketShape, num_segments: int, num_steps: int, rollout: RolloutState, weighed: bool = False
) -> Transitions:
    """Room for R segments of T steps: arrays [E, R, T, ...], and memories [E, R, S, M].

    Environments come first: they are split over devices.
    """
    seen, num_envs = rollout.observation, rollout.first.size
    by_seller = (shape.num_sellers,)

    def room(each: tuple[int, ...], kind: Any) -> Array:
        return jnp.zeros((num_envs, num_segments, num_steps, *each), kind)

    mask = None if seen.order_mask is None else room(seen.order_mask.shape[1:], bool)
    local = room(seen.local.shape[1:], seen.local.dtype)
    indices = [room((*by_seller, shape.num_products), jnp.int32) for _ in head_sizes(shape)]
    flags = {name: room(by_seller, bool) for name in ("terminated", "done", "live")}
    memory = rollout.actor_memory
    return Transitions(
        local=local, order_mask=mask, next_local=local, next_order_mask=mask, first=room((), bool), indices=indices,
        reward=room(by_seller, jnp.float32), **flags,
        memory=jnp.zeros((num_envs, num_segments, *memory.shape[1:]), memory.dtype),
        log_prob=room(by_seller, jnp.float32) if weighed else None,
    )  # fmt: skip


def put(ring: Transitions, slot: Array, own: Transitions) -> Transitions:
    """The ring with a segment in a slot [], in place of what was there."""
    turned = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), own.replace(memory=None)).replace(memory=own.memory)
    return jax.tree.map(lambda kept, new: kept.at[:, slot].set(new), ring, turned)


def pick(ring: Transitions, slot: Array, index: Array) -> Transitions:
    """The environments `index` [B] of the segment in a slot: [T, B, ...]."""
    found = jax.tree.map(lambda kept: kept[:, slot][index], ring)
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), found.replace(memory=None)).replace(memory=found.memory)
