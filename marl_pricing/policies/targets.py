"""From the price that a rule wants to the price action that comes nearest to it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.market.prices import post
from marl_pricing.traffic.params import Array

# Relative changes that a rule tries where the price action is continuous; odd, so that "no change" is one of them.
NUM_CHANGES = 41


def price_choices(shape: MarketShape, params: MarketParams) -> Array:
    """Price actions [K] that a rule chooses among: all of them, or a grid of changes for the map `adjust`."""
    if shape.discrete_prices:
        return jnp.arange(shape.prices.num_levels)
    return jnp.linspace(-1.0, 1.0, NUM_CHANGES) * params.prices.max_change


def candidate_prices(shape: MarketShape, params: MarketParams, last: Array) -> Array:
    """Prices [N, K] that the actions of `price_choices` would post after the prices `last` [N]."""

    def one(action: Array) -> Array:
        return post(shape.prices, params.prices, last, jnp.broadcast_to(action, last.shape))

    return jax.vmap(one, out_axes=1)(price_choices(shape, params))


def price_towards(shape: MarketShape, params: MarketParams, last: Array, target: Array) -> Array:
    """Price actions [S, P] that bring each price nearest to `target`.

    The nearest level (`levels`), the factor whose price is nearest (`scale`), or the relative change, clipped
    (`adjust`). Of two equally near prices the lower one is taken.

    Args:
        last: [N] money, prices of the last epoch.  target: [N] money.
    """
    if shape.discrete_prices:
        distance = jnp.abs(candidate_prices(shape, params, last) - target[:, None])
        action = distance.argmin(-1).astype(jnp.int32)
    else:
        limit = params.prices.max_change
        action = jnp.clip(target / last - 1.0, -limit, limit)
    return action.reshape(shape.num_sellers, shape.num_products)


def no_surprise(shape: MarketShape) -> Array | None:
    """Log-probability [S] of what a rule without chance does, where the reward asks for it: 0."""
    return jnp.zeros((shape.num_sellers,)) if shape.reward.information_value == "revelation" else None
