"""A world that sellers are tried in."""

from __future__ import annotations

from dataclasses import dataclass

from marl_pricing.market import MarketParams, MarketShape


@dataclass(frozen=True)
class World:
    """A market like the one that sellers were trained for, but for one thing.

    Attributes:
        factor: what differs: trained (nothing), agent_share, process, demand_scale, kernels or lead_time.
        value: of the factor, on an axis; 0 for a process.
        label: for tables.
        shape, params: the market.
    """

    factor: str
    value: float
    label: str
    shape: MarketShape
    params: MarketParams
