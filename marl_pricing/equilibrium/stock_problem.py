"""A stock problem of one offer: demand, what units cost that are left or missing, a lead time; a rule for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

_TAIL = 1e-10


@dataclass(frozen=True)
class Replenishment:
    """A single-offer stock problem.

    Attributes:
        demand: [D] probabilities of 0, 1, … units in a period, independent of each other.
        holding: money per unit left at the end of a period.
        penalty: money per unit of demand that was not served in a period.
        lead_time: periods, at least 1 with lost sales.
        order_cost: money for placing an order, whatever its size.
    """

    demand: np.ndarray
    holding: float
    penalty: float
    lead_time: int
    order_cost: float = 0.0

    def __post_init__(self) -> None:
        own = np.asarray(self.demand, float)
        if own.ndim != 1 or own.size < 2 or np.any(own < 0) or abs(own.sum() - 1.0) > 1e-6:
            raise ValueError("demand: accepted are probabilities of 0, 1, … units that sum to 1")
        for name in ("holding", "penalty", "order_cost"):
            value = getattr(self, name)
            if not np.isfinite(value) or value < 0:
                raise ValueError(f"{name}={value!r}: accepted is a number of at least 0")
        if self.lead_time < 0:
            raise ValueError(f"lead_time={self.lead_time!r}: accepted is a whole number of at least 0")

    @property
    def mean(self) -> float:
        """Units a period."""
        return float(self.demand @ np.arange(len(self.demand)))


def poisson(rate: float) -> np.ndarray:
    """Probabilities of a Poisson law, cut where less than 1e-10 is left."""
    top = int(stats.poisson.isf(_TAIL, rate)) + 1
    chances = stats.poisson.pmf(np.arange(top + 1), rate)
    return chances / chances.sum()


@dataclass(frozen=True)
class Rule:
    """A rule and what it costs.

    Attributes:
        name: base_stock, capped_base_stock or s_S.
        level: order-up-to level S, units of on hand plus on order.
        cost: money a period, on average.
        cap: largest order of a capped rule.  point: s, an order is placed where the position is below it.
    """

    name: str
    level: int
    cost: float
    cap: int | None = None
    point: int | None = None


def largest_reach(
    choice: np.ndarray, orders: np.ndarray, longest: int, starts: Sequence[int] = (0,)
) -> tuple[int, int]:
    """How far a policy goes from shops with these units and nothing on the way.

    Args:
        choice: [X, Q, …] index of the order in each state: x on hand, orders due next, after that, … by index.
        orders: [Q] units of each index, 0 first.  longest: most units that a period may ask for.

    Returns:
        (most units on hand, were nothing cut at X - 1; largest index of an order) that come up.
    """
    known = np.zeros(choice.shape, bool)
    fresh = np.zeros((len(starts), choice.ndim), np.int64)
    fresh[:, 0] = starts
    known[tuple(fresh.T)] = True
    most, largest = max(starts), 0
    while len(fresh):
        placed = choice[tuple(fresh.T)]
        coming = np.concatenate([fresh[:, 1:], placed[:, None]], axis=1)
        due, later = orders[coming[:, 0]], coming[:, 1:]
        most, largest = max(most, int((fresh[:, 0] + due).max())), max(largest, int(placed.max()))
        reached = np.zeros_like(known)
        for wanted in range(min(longest, int(fresh[:, 0].max())) + 1):
            left = np.minimum(np.maximum(fresh[:, 0] - wanted, 0) + due, len(choice) - 1)
            reached[(left, *later.T)] = True
        fresh = np.argwhere(reached & ~known)
        known |= reached
    return most, largest
