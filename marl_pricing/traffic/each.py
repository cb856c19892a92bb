"""Sessions one by one, as a log has them: who came, and what each ordered. Their sums are what `simulate` answers."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from marl_pricing.demand import DemandParams, DemandShape
from marl_pricing.traffic import analytic, sessions
from marl_pricing.traffic.params import Array, TrafficParams, TrafficShape
from marl_pricing.traffic.types import Conditions


class Each(NamedTuple):
    """What is known of the places of a wave. M places, N offers."""

    came: Array  # [M] bool, there was a session
    agent: Array  # [M] bool, it was an agent's
    orders: Array  # [M, N] units; 0 at a place where none came


def refuse_unlogged(shape: TrafficShape) -> None:
    """Raise ValueError for traffic that has no sessions to be told apart, or whose sessions see no one price."""
    if shape.model == "scripted":
        raise ValueError("traffic.model='scripted': accepted is analytic, chain or bank: it counts, and walks nobody")
    if shape.model == "analytic" and not (shape.random_orders and shape.order_law == "multinomial"):
        raise ValueError("traffic.order_law: accepted is multinomial with drawn orders, where sessions are told apart")
    if shape.pays_apart:
        raise ValueError("traffic.markup, quotes: accepted is none: a log has the one price that a session was shown")


def each_session(
    key: Array,
    shape: TrafficShape,
    params: TrafficParams,
    demand: DemandShape,
    demand_params: DemandParams,
    conditions: Conditions,
    agent_share: Array,
) -> Each:
    """The sessions of the wave that `simulate` draws from the same key at one share of agents [].

    Raises:
        ValueError: as `refuse_unlogged`.
    """
    refuse_unlogged(shape)
    if shape.model == "analytic":
        factor = params.visits_factor(agent_share)
        there, up_to, _ = analytic.one_unit_sessions(key, shape, demand, demand_params, conditions, agent_share, factor)
        agent = there[-1] if demand.num_classes > 1 else jnp.zeros(there.shape[-1], bool)
        orders = jnp.diff(up_to.any(0).astype(jnp.float32), axis=0, prepend=0.0).T
        return Each(there.any(0), agent, orders)
    found = sessions.wave(key, shape, params, demand, demand_params, conditions, agent_share[None])
    came = jnp.broadcast_to(found.present, found.agent.shape)[0]
    return Each(came, found.agent[0] & came, jnp.where(came[:, None], found.visits.orders, 0.0))
