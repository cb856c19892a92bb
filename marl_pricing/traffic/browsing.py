"""How demand shapes what sessions do: how many come at a price level, and which of them take what they meant to buy.

The PHANTOM methodology, oracle loop: prices → demand → trajectories → proxy. Orders keep their closed form: fewer
sessions then hold as many that buy.
"""

from __future__ import annotations

import jax.numpy as jnp

from marl_pricing.traffic.params import Array, TrafficParams, TrafficShape
from marl_pricing.traffic.types import Conditions


def shown(conditions: Conditions) -> Array:
    """Offers [N] bool that sessions look at: those that can be had, or all that are listed where none can."""
    available = conditions.available
    listed = jnp.ones_like(available) if conditions.listed is None else conditions.listed
    return jnp.where(available.any(), available, listed)


def visiting(shape: TrafficShape, params: TrafficParams, conditions: Conditions, inside: Array) -> Array:
    """Share [Y] of a class's sessions that come at today's prices: (price index / reference)^−elasticity, at most 1.

    The index is the geometric mean of the shown offers' prices over their references, so that all prices times k mean
    the index times k. Who buys at these prices comes: the share is at least the likeliest latent type's chance to.

    Args:
        inside: [G, Y] units that a purchase event of a latent type orders on average.
    """
    if not shape.price_visits:
        return jnp.ones(inside.shape[-1:])
    own = params.browsing
    assert own is not None
    there = shown(conditions)
    logs = jnp.where(there, jnp.log(jnp.maximum(conditions.prices, 1e-30) / own.reference), 0.0)
    index = logs.sum() / jnp.maximum(there.sum(), 1)
    stated = jnp.exp(jnp.minimum(-own.elasticity * index, 0.0))
    # A session takes a unit at most where it would have taken one at most had all come.
    return jnp.maximum(stated, jnp.minimum(inside.max(0), 1.0))


def accepting(inside: Array, type_weights: Array) -> Array:
    """Chance [Y] that a session takes what its purchase events mean: that ⌊inside + u⌋ is above 0.

    Args:
        inside: [G, Y] units of a purchase event, on average.  type_weights: [G] how common each latent type is.
    """
    return jnp.tensordot(type_weights, jnp.minimum(inside, 1.0), axes=1)
