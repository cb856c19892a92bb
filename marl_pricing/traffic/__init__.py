"""Who visits: one interface, several models of the sessions behind it (`models`).

A model is a function `simulate(key, shape, params, demand, demand_params, conditions, agent_shares) -> Traffic`; it
answers for all candidate shares of agents from one draw.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marl_pricing.traffic.analytic import expected_traffic, knows_orders
    from marl_pricing.traffic.bank import refresh
    from marl_pricing.traffic.contamination import advance_share
    from marl_pricing.traffic.models import simulate
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
    "Array",
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

# Fetched when asked for: the vocabulary of events (`traffic.events`) needs no JAX, which takes seconds to import.
_PLACES = {
    "expected_traffic": "analytic",
    "knows_orders": "analytic",
    "refresh": "bank",
    "advance_share": "contamination",
    "simulate": "models",
    "Conditions": "types",
    "Traffic": "types",
    "combine": "types",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES.get(name, 'params')}"), name)
