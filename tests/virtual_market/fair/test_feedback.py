"""Offers by what is left: against exhaustive search, where tables are right, and where they are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from marl_pricing.virtual_market.fair.feedback import by_what_is_left
from marl_pricing.virtual_market.fair.offers import best_calendar
from marl_pricing.virtual_market.levels import OFFERS

DAYS, FIRST, THRESHOLD = 14, 3, 6.5


def _tables(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(GMV, cost) [41, 7] of customers who order more where it is cheaper, on some weekdays more than on others."""
    draws = np.random.default_rng(seed)
    count, share = OFFERS.T
    orders = 0.3 + 0.9 * np.minimum(count, 2) ** 0.5 * (1.0 - np.exp(-6.0 * (1.0 - share))) + draws.uniform(0, 0.05, 41)
    week = draws.uniform(0.7, 1.4, 7)
    cost = 20.0 * (1.0 - share) * np.minimum(orders, count)
    return (20.0 * orders - cost)[:, None] * week, cost[:, None] * week


def _played(plan, gmv: np.ndarray, cost: np.ndarray) -> tuple[float, float]:
    """(GMV, cost) of all days, each as the tables have it."""
    total, spent = 0.0, 0.0
    for day in range(DAYS):
        place = plan.offer(day, total, spent), (FIRST + day) % 7
        total, spent = total + gmv[place], spent + cost[place]
    return total, spent


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_tables_are_right_it_brings_what_the_best_calendar_does(seed: int) -> None:
    gmv, cost = _tables(seed)
    plan = by_what_is_left(gmv, cost, FIRST, DAYS, THRESHOLD, doubt=0.0)
    total, spent = _played(plan, gmv, cost)
    best = best_calendar(gmv, cost, FIRST, DAYS, THRESHOLD)
    # Between two places of the grid the cliff at nought is a slope.
    assert total >= (THRESHOLD - 1e-3) * spent and total == pytest.approx(best.gmv, rel=5e-3)


@pytest.mark.parametrize("wrong", [0.9, 1.1])
def test_what_tables_misjudge_is_made_up_for(wrong: float) -> None:
    """All days cost a tenth more than the tables say, or less: the return ends above the goal, and near it."""
    gmv, cost = _tables()
    plan = by_what_is_left(gmv, cost, FIRST, DAYS, THRESHOLD)
    total, spent = _played(plan, gmv, wrong * cost)
    calendar = best_calendar(gmv, cost, FIRST, DAYS, THRESHOLD)
    assert (calendar.gmv / (wrong * calendar.cost) < THRESHOLD) == (wrong > 1.0)
    assert THRESHOLD <= total / spent < 1.05 * THRESHOLD
    assert (total > calendar.gmv) == (wrong < 1.0)


def test_the_first_of_two_days_is_the_best_by_exhaustive_search() -> None:
    gmv, cost = _tables()
    left, doubt = gmv - THRESHOLD * cost, 0.1
    plan = by_what_is_left(gmv, cost, FIRST, 2, THRESHOLD, doubt)
    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    weights = weights / weights.sum()
    today, tomorrow = FIRST, FIRST + 1
    missing = 2.0 * (gmv[:, today].max() + gmv[:, tomorrow].max())

    def brought(start: float, offer: int) -> float:
        """Expected of both days from so much that is left, the second day at its best."""
        first = start + left[offer, today] + doubt * gmv[offer, today] * nodes
        ends = first[:, None, None] + left[:, tomorrow, None] + doubt * gmv[:, tomorrow, None] * nodes
        second = (gmv[:, tomorrow] - missing * ((ends < 0) @ weights)).max(1)
        return float(gmv[offer, today] + weights @ second)

    for start in (-15.0, -3.0, 0.0, 8.0, 40.0):
        every = [brought(start, offer) for offer in range(len(OFFERS))]
        assert every[plan.offer(0, start, 0.0)] >= max(every) - 0.02 * missing


def test_a_threshold_that_no_coupon_reaches_leaves_none() -> None:
    gmv, cost = _tables()
    plan = by_what_is_left(gmv, cost + 1e3 * (OFFERS[:, :1] > 0), FIRST, DAYS, THRESHOLD)
    assert {plan.offer(day, 0.0, 0.0) for day in range(DAYS)} == {0}
