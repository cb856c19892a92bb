"""From the price that a rule wants to the price action that comes nearest to it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.market.prices import action_ends, post
from marl_pricing.traffic.params import Array

# What a rule tries where the price action is continuous: relative changes, odd, so that "no change" is one of them, and
# prices of a range.
NUM_CHANGES, NUM_PRICES = 41, 101


def price_choices(shape: MarketShape, params: MarketParams) -> Array:
    """Price actions [N, K] that a rule chooses among: all of them, or an even grid where they are continuous."""
    if shape.discrete_prices:
        return jnp.broadcast_to(jnp.arange(shape.prices.num_levels), (shape.num_offers, shape.prices.num_levels))
    low, high = action_ends(shape.prices, params.prices)
    return jnp.linspace(low, high, NUM_CHANGES if shape.prices.map == "adjust" else NUM_PRICES, axis=1)


def candidate_prices(shape: MarketShape, params: MarketParams, last: Array) -> Array:
    """Prices [N, K] that the actions of `price_choices` would post after the prices `last` [N]."""

    return jax.vmap(lambda action: post(shape.prices, params.prices, last, action), 1, 1)(price_choices(shape, params))


def price_towards(shape: MarketShape, params: MarketParams, last: Array, target: Array) -> Array:
    """Price actions [S, P] that bring each price nearest to `target`.

    The nearest level (`levels`), the factor whose price is nearest (`scale`), the price itself (`range`) or the
    relative change (`adjust`), clipped. Of two equally near prices the lower one is taken.

    Args:
        last: [N] money, prices of the last epoch.  target: [N] money.
    """
    if shape.discrete_prices:
        distance = jnp.abs(candidate_prices(shape, params, last) - target[:, None])
        action = distance.argmin(-1).astype(jnp.int32)
    else:
        wanted = target / last - 1.0 if shape.prices.map == "adjust" else target
        action = jnp.clip(wanted, *action_ends(shape.prices, params.prices))
    return action.reshape(shape.num_sellers, shape.num_products)


def no_surprise(shape: MarketShape) -> Array | None:
    """Log-probability [S] of what a rule without chance does, where the reward asks for it: 0."""
    return jnp.zeros((shape.num_sellers,)) if shape.reward.information_value == "revelation" else None
