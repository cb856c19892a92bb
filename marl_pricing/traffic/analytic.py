"""The analytic model: no sessions, orders straight from the demand model."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.demand import DemandParams, DemandShape, propensities
from marl_pricing.traffic.draws import poisson
from marl_pricing.traffic.params import Array, TrafficParams, TrafficShape, class_shares
from marl_pricing.traffic.types import Conditions, Traffic


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
        purchase_rate: [Y] units that a session comes to, `TrafficParams.session_orders`.
    """
    rate = propensities(demand, params, conditions.prices, conditions.level, conditions.available, conditions.listed)
    share = class_shares(demand.num_classes, agent_share)
    return shape.sessions * conditions.intensity * (share * purchase_rate)[:, None] * rate


def one_unit_orders(
    key: Array,
    shape: TrafficShape,
    demand: DemandShape,
    params: DemandParams,
    conditions: Conditions,
    agent_share: Array,
    visits_factor: Array | float = 1.0,
) -> tuple[Array, Array]:
    """Orders of sessions that take one unit of one offer or nothing: multinomial, of a single offer binomial.

    Session m is an agent's where its first uniform is below α. It takes the offer in whose stretch of its class's
    choice probabilities its second one lies; nothing comes last. So one draw serves all candidates and all prices.

    Args:
        visits_factor: [] on the number of sessions.

    Returns:
        (units ordered [Y, N], sessions that came []: M · intensity · factor, rounded up or down at random).
    """
    count = shape.num_sessions
    uniform = jax.random.uniform(key, (2, count + 1))
    came = jnp.minimum(jnp.floor(shape.sessions * conditions.intensity * visits_factor + uniform[0, -1]), count)
    kind, choice = uniform[:, :count]
    agent = kind < agent_share
    belongs = jnp.stack([~agent, agent]) if demand.num_classes > 1 else jnp.ones((1, count), bool)
    there = belongs & (jnp.arange(count) < came)
    rate = propensities(demand, params, conditions.prices, conditions.level, conditions.available, conditions.listed)
    up_to = (choice < jnp.cumsum(rate, -1)[:, :, None]) & there[:, None]
    return jnp.diff(up_to.sum(-1).astype(jnp.float32), axis=-1, prepend=0.0), came


def simulate(
    key: Array,
    shape: TrafficShape,
    own: TrafficParams,
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
        factor = own.visits_factor(agent_share)
        visits = shape.sessions * conditions.intensity * factor
        if shape.order_law == "multinomial":
            orders, visits = one_unit_orders(key, shape, demand, params, conditions, agent_share, factor)
        else:
            rate = own.session_orders(agent_share)
            orders = expected_orders(shape, demand, params, conditions, agent_share, rate)
            orders = poisson(key, orders) if shape.random_orders else orders
        return Traffic(
            orders=orders,
            events=orders.sum(0),
            price_paid=conditions.prices,
            price_linked=conditions.prices,
            scores=jnp.zeros((0,)),
            visits=visits,
            views=orders.sum(),
        )

    return jax.vmap(one)(agent_shares)
