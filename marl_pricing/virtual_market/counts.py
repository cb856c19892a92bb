"""How orders of a day are drawn: a hurdle (any at all), then one and Poisson's more."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array

MOST_MORE = 12  # orders beyond the first; of a mean of 2 more come once in 10⁷


def draw_orders(any_orders: Array, more: Array, uniform_any: Array, uniform_more: Array) -> Array:
    """Orders, 0 or 1 + Poisson(more), by inverting both distributions.

    Args:
        any_orders: probability of at least one.  more: mean of those beyond it.  Any shape, the same for all.
        uniform_any, uniform_more: uniform draws.
    """
    mass = jnp.exp(-more)
    below = mass
    beyond = jnp.zeros_like(more)
    for k in range(1, MOST_MORE + 1):
        beyond += uniform_more > below
        mass = mass * more / k
        below += mass
    return jnp.where(uniform_any < any_orders, 1.0 + beyond, 0.0)


def expected_orders(any_orders: Array, more: Array) -> Array:
    """Mean of `draw_orders`, its cut aside."""
    return any_orders * (1.0 + more)
