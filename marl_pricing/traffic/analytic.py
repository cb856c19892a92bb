"""The analytic model: no sessions, orders straight from the demand model."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.demand import DemandParams, DemandShape, propensities
from marl_pricing.traffic.draws import poisson
from marl_pricing.traffic.params import Array, TrafficShape
from marl_pricing.traffic.types import Conditions, Traffic


def class_shares(num_classes: int, agent_share: Array) -> Array:
    """[Y] shares of the sessions that are people's and agents'."""
    if num_classes == 1:
        return jnp.ones((1,))
    return jnp.stack([1.0 - agent_share, agent_share])


def expected_orders(
    shape: TrafficShape,
    demand: DemandShape,
    params: DemandParams,
    conditions: Conditions,
    agent_share: Array,
    purchase_rate: Array | float = 1.0,
) -> Array:
    """Expected units ordered [Y, N]: M · intensity · share of the class · its purchase rate · propensity.

    It holds for sessions as well (see `sessions`), unless some agents compare.

    Args:
        purchase_rate: [Y] purchases that a session comes to, `TrafficParams.purchase_rate`.
    """
    rate = propensities(demand, params, conditions.prices, conditions.level, conditions.available)
    share = class_shares(demand.num_classes, agent_share)
    return shape.sessions * conditions.intensity * (share * purchase_rate)[:, None] * rate


def simulate(
    key: Array,
    shape: TrafficShape,
    demand: DemandShape,
    params: DemandParams,
    conditions: Conditions,
    agent_shares: Array,
) -> Traffic:
    """Orders of one wave, for every candidate share of agents, from one draw.

    Args:
        agent_shares: [C] candidates for α.

    Returns:
        `Traffic` with a leading axis [C]. Prices paid are the posted ones, the proxy is the orders themselves,
        and there are no sessions to score.
    """

    def one(agent_share: Array) -> Traffic:
        orders = expected_orders(shape, demand, params, conditions, agent_share)
        if shape.random_orders:
            orders = poisson(key, orders)
        return Traffic(
            orders=orders,
            events=orders.sum(0),
            price_paid=conditions.prices,
            price_linked=conditions.prices,
            scores=jnp.zeros((0,)),
            visits=shape.sessions * conditions.intensity,
            views=orders.sum(),
        )

    return jax.vmap(one)(agent_shares)
