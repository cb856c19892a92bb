"""Ambiguity about the world: candidate worlds, sets of laws over them, and the worst targets that they allow."""

from marl_pricing.laws import SETS, SetName, worst_law, worst_value
from marl_pricing.robust.ambiguity import ADVERSARIES, MODES, Adversary, Ambiguity, Mode
from marl_pricing.robust.targets import robust_targets
from marl_pricing.robust.world import World

__all__ = [
    "ADVERSARIES",
    "MODES",
    "SETS",
    "Adversary",
    "Ambiguity",
    "Mode",
    "SetName",
    "World",
    "robust_targets",
    "worst_law",
    "worst_value",
]
