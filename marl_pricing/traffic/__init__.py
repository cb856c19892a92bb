"""Who visits: one interface, several models of the sessions behind it.

A model is a function `simulate(key, shape, params, demand, demand_params, conditions, agent_shares) -> Traffic`; it
answers for all candidate shares of agents from one draw.
"""

from __future__ import annotations

from marl_pricing.demand import DemandParams, DemandShape
from marl_pricing.traffic import analytic, scripted, sessions
from marl_pricing.traffic.analytic import expected_traffic, knows_orders
from marl_pricing.traffic.bank import refresh
from marl_pricing.traffic.contamination import advance_share
from marl_pricing.traffic.params import (
    Array,
    BrowsingParams,
    IdentityParams,
    MarkupParams,
    ProcessParams,
    QuoteParams,
    Rows,
    ScriptParams,
    SessionParams,
    TimeParams,
    TrafficParams,
    TrafficShape,
)
from marl_pricing.traffic.types import Conditions, Traffic, combine

__all__ = [
    "BrowsingParams",
    "Conditions",
    "IdentityParams",
    "MarkupParams",
    "ProcessParams",
    "QuoteParams",
    "Rows",
    "ScriptParams",
    "SessionParams",
    "TimeParams",
    "Traffic",
    "TrafficParams",
    "TrafficShape",
    "advance_share",
    "combine",
    "expected_traffic",
    "knows_orders",
    "refresh",
    "simulate",
]


def simulate(
    key: Array,
    shape: TrafficShape,
    params: TrafficParams,
    demand: DemandShape,
    demand_params: DemandParams,
    conditions: Conditions,
    agent_shares: Array,
) -> Traffic:
    """One wave of sessions for each candidate share of agents [C]; see `Traffic` for the answer."""
    if shape.model == "analytic":
        return analytic.simulate(key, shape, params, demand, demand_params, conditions, agent_shares)
    model = scripted if shape.model == "scripted" else sessions
    return model.simulate(key, shape, params, demand, demand_params, conditions, agent_shares)
