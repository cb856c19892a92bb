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


def expected_taken(any_orders: Array, more: Array, coupons: Array) -> Array:
    """Mean of min(orders, coupons): the orders that a coupon is used for.

    E min(1 + X, n) = Σ_{j = 0}^{n − 1} P(X ≥ j), X Poisson's.

    Args:
        any_orders, more: as `draw_orders`.  coupons: 0 … 5, [] or of their shape.
    """
    mass = jnp.exp(-more)
    above = jnp.ones_like(more)  # P(X ≥ j)
    total = jnp.zeros_like(more)
    for j in range(5):
        total += jnp.where(j < coupons, above, 0.0)
        above = above - mass
        mass = mass * more / (j + 1)
    return any_orders * total
