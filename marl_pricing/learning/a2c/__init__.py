"""Recurrent advantage actor-critic."""

from marl_pricing.learning.a2c.learner import A2c, A2cSettings

__all__ = ["A2c", "A2cSettings"]
