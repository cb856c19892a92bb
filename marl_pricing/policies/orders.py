"""The base-stock rule for sellers that choose their orders.

A pricing rule needs some stock to sell, so every rule of this room that says nothing of orders orders by this one.
"""

from __future__ import annotations

import jax.numpy as jnp

from marl_pricing.market import MarketParams, MarketShape, MarketState, Observation
from marl_pricing.market.observation import on_hand
from marl_pricing.traffic.params import Array

# Standard deviations of safety stock: 95 % of lead times without a stockout, were demand normal.
SAFETY = 1.645


def order_up_to(params: MarketParams, demand: Array, safety: float | Array = SAFETY) -> Array:
    """Level [N] of the inventory position: m + z √m, with m the mean demand over lead_time + 1 epochs.

    A chosen order is decided before the epoch's shoppers come and joins `lead_time` epochs later, so the position has
    to last until the next epoch's order arrives. The spread √m is Poisson's (a base-stock level by the normal
    approximation of lead-time demand, Zipkin 2000); a moving latent level and shocks are not in it.

    Args:
        demand: [N] units per epoch expected.  safety: z, standard deviations.
    """
    over_lead_time = demand * (params.inventory.lead_time + 1)
    return over_lead_time + safety * jnp.sqrt(over_lead_time)


def order_towards(
    shape: MarketShape, params: MarketParams, state: MarketState, observation: Observation, level: Array
) -> Array | None:
    """Order levels [S, P] that bring the position nearest to `level` [N]; None where sellers choose no orders.

    A seller that chooses how to bargain instead takes the exponent nearest to 1: it gives way evenly.

    The position is what can be sold in the coming epoch plus what is on the way; only levels that the market allows
    now are taken.
    """
    if not shape.chooses_orders:
        return None
    if params.contracts is not None:
        even = jnp.abs(jnp.log(params.contracts.exponents)).argmin(-1).astype(jnp.int32)
        return even.reshape(shape.num_sellers, shape.num_products)
    assert state.pipeline is not None and observation.order_mask is not None
    position = on_hand(shape, state) + state.pipeline[:, 1:].sum(-1)
    wanted = jnp.maximum(level - position, 0.0).reshape(shape.num_sellers, shape.num_products, 1)
    distance = jnp.abs(params.inventory.order_levels - wanted)
    return jnp.where(observation.order_mask, distance, jnp.inf).argmin(-1).astype(jnp.int32)
