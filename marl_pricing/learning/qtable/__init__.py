"""Q-learning in a table."""

from marl_pricing.learning.qtable.learner import QTable, QTableSettings

__all__ = ["QTable", "QTableSettings"]
