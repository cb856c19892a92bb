"""Constant prices: any, the one-shot Nash ones, the joint-profit ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct

from marl_pricing.equilibrium import static
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Policy
from marl_pricing.policies.expectations import RuleError, expected_demand, need_expectations
from marl_pricing.policies.orders import SAFETY, order_towards, order_up_to
from marl_pricing.policies.targets import no_surprise, price_towards
from marl_pricing.traffic.params import Array


class ConstantParameters(struct.PyTreeNode):
    """Numbers of a rule with constant prices."""

    prices: Array  # [N] money, wanted
    order_up_to: Array  # [N] units, level of the position where sellers choose orders


def nothing() -> tuple[()]:
    """Memory of a rule that remembers nothing."""
    return ()


# One function a shape, so that rules of one kind share one compiled program.
@lru_cache(maxsize=64)
def act_of(shape: MarketShape) -> Callable[..., tuple[Action, Any]]:
    """What a policy with `ConstantParameters` does in an epoch."""

    def act(
        parameters: ConstantParameters,
        key: Array,
        memory: Any,
        observation: Observation,
        state: MarketState,
        params: MarketParams,
    ) -> tuple[Action, Any]:
        price = price_towards(shape, params, state.prices, parameters.prices)
        order = order_towards(shape, params, state, observation, parameters.order_up_to)
        return Action(price, order, no_surprise(shape)), memory

    return act


def levels_at(shape: MarketShape, params: MarketParams, prices: Array, safety: float = SAFETY) -> Array:
    """Units [N] up to which sellers at prices [N] order where they choose orders; else 0."""
    if not shape.chooses_orders:
        return jnp.zeros_like(prices)
    return order_up_to(params, expected_demand(shape, params, prices), safety)


def constant(
    shape: MarketShape,
    params: MarketParams,
    prices: Array | np.ndarray,
    *,
    name: str = "constant",
    up_to: Array | np.ndarray | None = None,
    safety: float = SAFETY,
) -> Policy:
    """Every seller keeps its prices as near to `prices` as the market's price map allows.

    Args:
        prices: [N] money.
        up_to: [N] units, the position that orders aim at where sellers choose them; None takes `orders.order_up_to`
            of the demand expected at `prices`.
        safety: standard deviations of safety stock in that rule.

    Raises:
        RuleError: if there is not one price an offer.
    """
    wanted = jnp.asarray(prices, jnp.float32)
    if wanted.shape != (shape.num_offers,) or not bool(jnp.isfinite(wanted).all()):
        raise RuleError(f"prices of shape {wanted.shape}: accepted is one finite price for each of {shape.num_offers}")
    if shape.chooses_orders and up_to is not None:
        level = jnp.broadcast_to(jnp.asarray(up_to, jnp.float32), wanted.shape)
    else:
        if shape.chooses_orders:
            need_expectations(shape, name)
        level = levels_at(shape, params, wanted, safety)
    return Policy(name, ConstantParameters(wanted, level), nothing, act_of(shape))


def constant_nash(shape: MarketShape, params: MarketParams) -> Policy:
    """Constant at the one-shot Bertrand–Nash prices.

    Raises:
        equilibrium.static.NoEquilibriumError: where there are none.
    """
    return constant(shape, params, static.nash(shape, params).prices, name="constant_nash")


def constant_joint(shape: MarketShape, params: MarketParams) -> Policy:
    """Constant at the prices that maximise the sum of profits.

    Raises:
        equilibrium.static.NoEquilibriumError: where there are none.
    """
    return constant(shape, params, static.joint_profit(shape, params).prices, name="constant_joint")
