"""Q(λ) without a replay buffer."""

from marl_pricing.learning.pqn.learner import Pqn, PqnSettings

__all__ = ["Pqn", "PqnSettings"]
