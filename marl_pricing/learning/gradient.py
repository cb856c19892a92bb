"""Gradients of losses that are sums over live steps, and steps along them, network by network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax

from marl_pricing.learning.networks import NetworkSpec, Parameters
from marl_pricing.learning.settings import NetworkSettings

Array = jax.Array


class Part(Protocol):
    """A batch of which some environments can be taken: `live` [T, E, S] is 1.0 where a step counts."""

    live: Array

    def select(self, index: Array) -> Any:
        """The environments `index` [B], whole segments of them."""


def optimiser_of(own: NetworkSettings) -> optax.GradientTransformation:
    """Clipping by global norm, then Adam without its step size: that one follows the schedule over updates."""
    return optax.chain(optax.clip_by_global_norm(own.max_grad_norm), optax.scale_by_adam(eps=own.adam_epsilon))


def network_wise(spec: NetworkSpec, function: Callable) -> Callable:
    """Apply an optimiser to each network of a stack by itself, as if its seller trained alone."""
    return jax.vmap(function) if spec.stacked else function


def gradient(loss: Callable, parameters: Parameters, batch: Part, index: Array, num_blocks: int):
    """Gradient and sums over the environments `index` [B], block by block.

    The loss is a sum over live steps, so the parts add up exactly, and where they are not equal the last one repeats an
    environment of which no step is live. A part small enough for the cache makes the backward pass through time up to
    twice as fast on a CPU.
    """

    def one(index: Array, counts: Array | None = None):
        part = batch.select(index)
        if counts is not None:
            part = part.replace(live=part.live * counts[:, None])
        return jax.grad(loss, has_aux=True)(parameters, part)

    if num_blocks == 1:
        return one(index)

    def add(carry, part: tuple[Array, ...]):
        return jax.tree.map(jnp.add, carry, one(*part)), None

    missing = -index.size % num_blocks
    parts = [index]
    if missing:
        counts = jnp.arange(index.size + missing) < index.size
        parts = [jnp.pad(index, (0, missing), mode="edge"), counts.astype(batch.live.dtype)]
    blocks = tuple(part.reshape(num_blocks, -1) for part in parts)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, *(own[0] for own in blocks)))
    return jax.lax.scan(add, zeros, blocks)[0]


def mean_over_live(spec: NetworkSpec, gradient: Parameters, live: Array, count: Array) -> Parameters:
    """A sum over live steps as a mean: each seller's own where it has its own network, as if it trained alone.

    Args:
        live: [S] live steps of each seller.  count: [] of all.
    """
    own = jnp.maximum(live, 1.0)
    share = (lambda g: g / own.reshape(-1, *(1,) * (g.ndim - 1))) if spec.stacked else (lambda g: g / count)
    return jax.tree.map(share, gradient)


def apply(
    spec: NetworkSpec, optimiser, parameters: Parameters, state: optax.OptState, gradient: Parameters, rate: Array
):
    """One step of so much rate along a gradient: (parameters, optimiser's state)."""
    updates, state = network_wise(spec, optimiser.update)(gradient, state)
    return jax.tree.map(lambda p, u: p - rate * u, parameters, updates), state
