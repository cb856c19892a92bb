"""Recurrent DQN."""

from marl_pricing.learning.dqn.learner import Dqn, DqnSettings

__all__ = ["Dqn", "DqnSettings"]
