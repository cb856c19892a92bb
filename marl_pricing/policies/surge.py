"""PHANTOM's background heuristic: dearer where many look, cheaper where few do."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
from flax import struct

from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Policy
from marl_pricing.market.observation import demand_scale
from marl_pricing.policies.constant import levels_at, nothing
from marl_pricing.policies.expectations import RuleError, need_expectations
from marl_pricing.policies.orders import order_towards
from marl_pricing.policies.targets import no_surprise, price_towards
from marl_pricing.traffic.params import Array

SURGE, DISCOUNT = 1.2, 0.9  # the document's typical factors
HIGH, LOW = 1.5, 0.5  # of the events that an equal share of the sessions brings; the document leaves them open


class SurgeParameters(struct.PyTreeNode):
    """Numbers of the rule."""

    base: Array  # [N] money
    high: Array  # [N] weighted events of an epoch
    low: Array  # [N] weighted events of an epoch
    factors: Array  # [2] above `high`, below `low`
    order_up_to: Array  # [N] units, level of the position where sellers choose orders


@lru_cache(maxsize=64)
def _act_of(shape: MarketShape) -> Callable[..., tuple[Action, Any]]:
    def act(
        own: SurgeParameters,
        key: Array,
        memory: Any,
        observation: Observation,
        state: MarketState,
        params: MarketParams,
    ) -> tuple[Action, Any]:
        factor = jnp.where(
            state.events >= own.high, own.factors[0], jnp.where(state.events <= own.low, own.factors[1], 1.0)
        )
        # Before the first epoch nobody could look.
        wanted = own.base * jnp.where(state.epoch > 0, factor, 1.0)
        price = price_towards(shape, params, state.prices, wanted)
        return Action(
            price, order_towards(shape, params, state, observation, own.order_up_to), no_surprise(shape)
        ), memory

    return act


def surge(
    shape: MarketShape,
    params: MarketParams,
    high: float = HIGH,
    low: float = LOW,
    up: float = SURGE,
    down: float = DISCOUNT,
) -> Policy:
    """Base price × `up` where the last epoch's demand proxy q̂ ≥ ϱ_high, × `down` where q̂ ≤ ϱ_low, else the base price.

    the PHANTOM methodology, Online Dynamic Pricing. The base price is the middle of the prices that an episode begins
    with. Orders, where sellers choose them, go up to the level for the demand expected at base prices.

    Args:
        high, low: ϱ as multiples of the events that an equal share of the epoch's sessions brings.
        up, down: factors.

    Raises:
        RuleError: for thresholds that are not 0 <= low < high, or factors that are not above 0.
    """
    if not 0 <= low < high:
        raise RuleError(f"low={low!r}, high={high!r}: accepted is 0 <= low < high")
    if not (up > 0 and down > 0):
        raise RuleError(f"up={up!r}, down={down!r}: accepted are factors above 0")
    offers = jnp.zeros((shape.num_offers,), jnp.float32)
    base = offers + (params.prices.start_low + params.prices.start_high) / 2.0
    each = offers + demand_scale(shape) * params.traffic.event_scale
    if shape.chooses_orders:
        need_expectations(shape, "surge")
    factors = jnp.asarray([up, down], jnp.float32)
    numbers = SurgeParameters(base, high * each, low * each, factors, levels_at(shape, params, base))
    return Policy("surge", numbers, nothing, _act_of(shape))
