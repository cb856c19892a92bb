"""Ambiguity about the world: sets of candidate worlds and the worst value that they allow."""

from marl_pricing.robust.sets import SETS, SetName, worst_value

__all__ = ["SETS", "SetName", "worst_value"]
