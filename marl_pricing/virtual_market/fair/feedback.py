"""Offers by what is left above the threshold: the best plan of the days to come, made anew each day from what came.

A calendar is made once, from tables that are nearly right; where they are wrong by five in a hundred, so is its return
on investment. Here a day's offer depends on GMV − threshold · cost so far, which the platform knows: what the tables
misjudged is made up for on the days that are left. Dynamic programming backwards over a grid of what is left (Bellman
1957); a day leaves what its table says, give or take a share of its GMV that is drawn for each day by itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from marl_pricing.virtual_market.levels import OFFERS

DOUBT = 0.1  # of a day's GMV, standard deviation of what it leaves beside the tables
_BINS = 3001
ROW = 10  # every tenth place of the grid is one at which it is told what other offers would lose
_NODES = 7  # of Gauss and Hermite
_SMALL = 1e-9


class Feedback(NamedTuple):
    """What to offer by day and by what is left."""

    grid: np.ndarray  # [B] money, what is left above the threshold's share of the cost so far
    offers: np.ndarray  # [D, B] rows of `OFFERS`
    threshold: float

    def offer(self, day: int, gmv: float, cost: float) -> int:
        """The row of `OFFERS` for a day (0 is the first), after so much GMV and cost."""
        below = int(np.searchsorted(self.grid, gmv - self.threshold * cost, side="right")) - 1
        return int(self.offers[day, max(below, 0)])


def by_what_is_left(
    gmv: np.ndarray, cost: np.ndarray, first: int, days: int, threshold: float, doubt: float = DOUBT
) -> Feedback:
    """The offers of largest expected GMV of those that end with nothing missing below the threshold.

    Args:
        gmv, cost: [41, 7] by offer and weekday, money; days are played in the same unit (a customer, or all).
        first: weekday of the first of `days` days.
        doubt: standard deviation of what a day leaves, in shares of its GMV. The larger, the more is kept for the end.
    """
    return with_losses(gmv, cost, first, days, threshold, doubt)[0]


def with_losses(
    gmv: np.ndarray, cost: np.ndarray, first: int, days: int, threshold: float, doubt: float = DOUBT
) -> tuple[Feedback, np.ndarray]:
    """`by_what_is_left`, and [D, R, 41] what each offer is expected to bring less than the best one, money.

    R rows are every `ROW`-th place of the grid.
    """
    weekday = (first + np.arange(days)) % 7
    left = gmv - threshold * cost
    # No plan is ever further off than all days together; nothing that is brought makes up for an end below nought.
    reach = np.abs(left).max(0)[weekday].sum()
    grid = _fine_near_nought(reach)
    value = np.where(grid >= 0, 0.0, -2.0 * gmv.max(0)[weekday].sum())
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = weights / weights.sum()
    offers = np.zeros((days, len(grid)), int)
    losses = np.zeros((days, len(grid[::ROW]), len(OFFERS)))
    for day in range(days - 1, -1, -1):
        today = weekday[day]
        best = np.full(len(grid), -np.inf)
        for number in range(len(OFFERS)):
            after = grid[:, None] + left[number, today] + doubt * gmv[number, today] * nodes
            brings = gmv[number, today] + np.interp(after, grid, value) @ weights
            losses[day, :, number] = -brings[::ROW]
            better = brings > best + _SMALL
            best, offers[day] = np.where(better, brings, best), np.where(better, number, offers[day])
        value = best
        losses[day] += best[::ROW, None]
    return Feedback(grid, offers, threshold), np.maximum(losses, 0.0)


def _fine_near_nought(reach: float) -> np.ndarray:
    """[B] from −reach to reach, closest to each other around nought, where the end is decided."""
    even = np.linspace(-1.0, 1.0, _BINS)
    return reach * even * np.abs(even)
