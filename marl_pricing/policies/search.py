"""The cross-entropy method on a box (Rubinstein 1999; de Boer, Kroese, Mannor and Rubinstein 2005)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.traffic.params import Array

_ELITE = 4  # one in so many candidates shapes the next generation
_NARROWEST = 0.01  # of the box: what a coordinate still moves by when the best agree


def next_generation(key: Array, points: Array, values: Array) -> Array:
    """Points [C, D] around the best of a generation, as wide as these differ, within [0, 1]^D.

    The best one comes again, as the first, so that a search never ends below where it began.

    Args:
        points: [C, D] of the present generation.  values: [C], more is better.
    """
    count, dims = points.shape
    best = points[jnp.argsort(-values)[: max(count // _ELITE, 2)]]
    spread = jnp.maximum(best.std(0), _NARROWEST)
    drawn = best.mean(0) + spread * jax.random.normal(key, (count - 1, dims))
    return jnp.concatenate([best[:1], jnp.clip(drawn, 0.0, 1.0)])
