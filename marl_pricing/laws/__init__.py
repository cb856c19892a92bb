"""Sets of laws, and the worst expectation within them: numbers only, nothing of markets."""

from marl_pricing.laws.ball import PiecewiseLinear, ball_worst, stock_reward
from marl_pricing.laws.sets import SETS, SetName, demand_distances, worst_law, worst_value
from marl_pricing.laws.transport import sliced_distance, wasserstein_distance

__all__ = [
    "SETS",
    "PiecewiseLinear",
    "SetName",
    "ball_worst",
    "demand_distances",
    "sliced_distance",
    "stock_reward",
    "wasserstein_distance",
    "worst_law",
    "worst_value",
]
