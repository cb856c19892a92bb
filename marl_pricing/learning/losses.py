"""Losses of what values, as sums over live steps, so that parts of a batch add up to the whole."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array

# Of the value loss beside the policy's (Yu et al. 2022 have 1, others 0.5). The critic has an Adam of its own, whose
# steps do not depend on it; only where its gradient is clipped does.
VALUE_WEIGHT = 0.5


def value_loss(value: Array, old_value: Array, target: Array, live: Array, value_clip: float | None) -> Array:
    """Half the squared error, clipped around the old value (Yu et al. 2022), summed.

    Args:
        value, old_value, target: [...] in normalised units.  live: [...].
        value_clip: largest move from the old value that is rewarded; None for the plain error.
    """
    error = (value - target) ** 2
    if value_clip is not None:
        near = old_value + jnp.clip(value - old_value, -value_clip, value_clip)
        error = jnp.maximum(error, (near - target) ** 2)
    return 0.5 * (error * live).sum()


def explained_variance(value: Array, target: Array, live: Array, total=lambda x: x) -> Array:
    """1 − Var(target − value) / Var(target) over live steps; 0 where the target does not vary.

    Args:
        total: sums over devices, the identity on one.
    """
    count = jnp.maximum(total(live.sum()), 1.0)

    def variance(x: Array) -> Array:
        mean = total((x * live).sum()) / count
        return total((((x - mean) ** 2) * live).sum()) / count

    spread = variance(target)
    return jnp.where(spread > 1e-12, 1.0 - variance(target - value) / jnp.maximum(spread, 1e-12), 0.0)
