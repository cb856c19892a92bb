"""Value normalisation: critics predict returns in units of their running mean and spread."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

Array = jax.Array

_DECAY = 0.99  # per update; a mean over about the last hundred updates
_LEAST_SPREAD = 1e-2


class ValueStatistics(struct.PyTreeNode):
    """Running moments of the value targets; R is S, or 1 where one value head serves all sellers."""

    mean: Array  # [R] biased towards the zero it began with
    square: Array  # [R]
    weight: Array  # [] share of data in the two above, 1 − decay^n


def start(size: int) -> ValueStatistics:
    """No data yet."""
    return ValueStatistics(jnp.zeros((size,)), jnp.zeros((size,)), jnp.zeros(()))


def moments(statistics: ValueStatistics) -> tuple[Array, Array]:
    """(mean, standard deviation), both [R]; (0, 1) before any data."""
    weight = jnp.maximum(statistics.weight, 1e-8)
    mean, square = statistics.mean / weight, statistics.square / weight
    spread = jnp.sqrt(jnp.maximum(square - mean**2, _LEAST_SPREAD**2))
    fresh = statistics.weight == 0
    return jnp.where(fresh, 0.0, mean), jnp.where(fresh, 1.0, spread)


def normalise(statistics: ValueStatistics, value: Array) -> Array:
    """Returns [..., S] to the critic's units."""
    mean, spread = moments(statistics)
    return (value - mean) / spread


def denormalise(statistics: ValueStatistics, value: Array) -> Array:
    """The critic's units [..., S] to returns."""
    mean, spread = moments(statistics)
    return value * spread + mean


def update(statistics: ValueStatistics, target: Array, live: Array, total=lambda x: x) -> ValueStatistics:
    """Take in a batch of targets.

    Args:
        target: [T, E, S] returns.  live: [T, E, S].  total: sums over devices, the identity on one.
    """
    axes = (0, 1) if statistics.mean.size > 1 else (0, 1, 2)
    count = total(live.sum(axes)).reshape(statistics.mean.shape)
    mean = total((target * live).sum(axes)).reshape(statistics.mean.shape) / jnp.maximum(count, 1.0)
    square = total((target**2 * live).sum(axes)).reshape(statistics.mean.shape) / jnp.maximum(count, 1.0)
    # A seller without a single live step leaves its own figures as they are.
    old_mean, old_spread = moments(statistics)
    mean = jnp.where(count > 0, mean, old_mean)
    square = jnp.where(count > 0, square, old_spread**2 + old_mean**2)
    return ValueStatistics(
        _DECAY * statistics.mean + (1.0 - _DECAY) * mean,
        _DECAY * statistics.square + (1.0 - _DECAY) * square,
        _DECAY * statistics.weight + (1.0 - _DECAY),
    )


def preserve_outputs(out_layer: dict[str, Any], old: ValueStatistics, new: ValueStatistics, stacked: bool):
    """PopArt (van Hasselt et al. 2016): rescale the last layer so that denormalised values do not jump.

    Args:
        out_layer: `kernel` [..., H, R] and `bias` [..., R]; for a stack of critics [S, H, 1] and [S, 1].
    """
    old_mean, old_spread = moments(old)
    new_mean, new_spread = moments(new)
    if stacked:
        old_mean, old_spread, new_mean, new_spread = (x[:, None] for x in (old_mean, old_spread, new_mean, new_spread))
    scale = old_spread / new_spread
    kernel_scale = scale[:, None] if stacked else scale
    return {
        **out_layer,
        "kernel": out_layer["kernel"] * kernel_scale,
        "bias": out_layer["bias"] * scale + (old_mean - new_mean) / new_spread,
    }
