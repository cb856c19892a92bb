"""Sets of laws over a few worlds, and the worst expectation within them: numbers only, nothing of markets."""

from marl_pricing.laws.sets import SETS, SetName, demand_distances, worst_law, worst_value

__all__ = ["SETS", "SetName", "demand_distances", "worst_law", "worst_value"]
