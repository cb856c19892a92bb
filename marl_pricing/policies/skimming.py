"""Price skimming: a monopolist's path of prices for shoppers who may wait and know it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax.numpy as jnp

from marl_pricing.equilibrium.one_shot import NoEquilibriumError
from marl_pricing.equilibrium.patience import skimming_of
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Policy
from marl_pricing.policies.constant import nothing
from marl_pricing.policies.expectations import RuleError
from marl_pricing.policies.targets import no_surprise, price_towards
from marl_pricing.traffic.params import Array


@lru_cache(maxsize=64)
def _act_of(shape: MarketShape) -> Callable[..., tuple[Action, Any]]:
    def act(
        path: Array,
        key: Array,
        memory: Any,
        observation: Observation,
        state: MarketState,
        params: MarketParams,
    ) -> tuple[Action, Any]:
        price = price_towards(shape, params, state.prices, path[state.epoch])
        return Action(price, None, no_surprise(shape)), memory

    return act


def price_skimming(shape: MarketShape, params: MarketParams) -> Policy:
    """Each epoch's price of `equilibrium.patience.skimming`, as near to it as the price map allows.

    Raises:
        RuleError: in markets of which that path is not known.
    """
    try:
        path = skimming_of(shape, params).prices
    except NoEquilibriumError as error:
        raise RuleError(str(error)) from None
    prices = jnp.asarray(path[:, None], jnp.float32)
    return Policy("price_skimming", prices, nothing, _act_of(shape))
