"""Uniform actions: what is earned without thinking."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Policy
from marl_pricing.market.prices import action_ends
from marl_pricing.policies.constant import nothing
from marl_pricing.policies.targets import no_surprise
from marl_pricing.traffic.params import Array


@lru_cache(maxsize=64)
def _act(shape: MarketShape) -> Callable[..., tuple[Action, Any]]:
    size = (shape.num_sellers, shape.num_products)

    def act(
        parameters: Any,
        key: Array,
        memory: Any,
        observation: Observation,
        state: MarketState,
        params: MarketParams,
    ) -> tuple[Action, Any]:
        key_price, key_order = jax.random.split(key)
        if shape.discrete_prices:
            price = jax.random.randint(key_price, size, 0, shape.prices.num_levels)
        else:
            low, high = action_ends(shape.prices, params.prices)
            price = jax.random.uniform(key_price, size, minval=low.reshape(size), maxval=high.reshape(size))
        surprise = no_surprise(shape)
        if surprise is not None:  # then there is a grid
            surprise -= shape.num_products * jnp.log(float(shape.prices.num_levels))
        order = None
        if shape.chooses_orders:
            assert observation.order_mask is not None
            order = jax.random.categorical(key_order, jnp.where(observation.order_mask, 0.0, -jnp.inf))
        return Action(price, order, surprise), memory

    return act


def random(shape: MarketShape, params: MarketParams) -> Policy:
    """Each price action is drawn uniformly, and each order uniformly among the levels allowed now."""
    return Policy("random", (), nothing, _act(shape))
