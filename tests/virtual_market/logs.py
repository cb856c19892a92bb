"""Small simulated logs for tests."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from marl_pricing.virtual_market.simulate import Simulated, SimulationSettings, simulate


@lru_cache(maxsize=8)
def a_log(customers: int = 1000, days: int = 60, seed: int = 0, **other: Any) -> Simulated:
    return simulate(SimulationSettings(out="unused", customers=customers, days=days, seed=seed, **other))
