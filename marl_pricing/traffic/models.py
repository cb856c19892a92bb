"""The models of sessions behind one function."""

from __future__ import annotations

from marl_pricing.demand import DemandParams, DemandShape
from marl_pricing.traffic import analytic, scripted, sessions
from marl_pricing.traffic.params import Array, TrafficParams, TrafficShape
from marl_pricing.traffic.types import Conditions, Traffic


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
