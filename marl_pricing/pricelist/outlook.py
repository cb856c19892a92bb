"""What a list of prices is expected to bring, with what the estimates leave open."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from marl_pricing.pricelist.demand import Demand

Array = np.ndarray
_FURTHEST, _STEP = 4.0, 0.25  # shifts of elasticities that are tried


@dataclass(frozen=True)
class Spread:
    """A mean over draws with its 95 % interval; numbers or [N]."""

    mean: Array
    low: Array
    high: Array

    @staticmethod
    def of(draws: Array) -> Spread:
        """Of draws [D, …]."""
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        return Spread(draws.mean(0), low, high)


@dataclass(frozen=True)
class Outlook:
    """The next period, by product [N] and in all.

    Attributes:
        units_today, units: sold at today's prices and at those proposed.
        profit_today, profit: likewise.
        gain: profit less that at today's prices.
        total_today, total_gain: of all products.
        total_chance: share of draws in which the whole gains.
    """

    units_today: Spread
    units: Spread
    profit_today: Spread
    profit: Spread
    gain: Spread
    total_today: Spread
    total_gain: Spread
    total_chance: float


def forecast(demand: Demand, cost: Array, prices: Array, answered: Demand | None = None) -> Outlook:
    """At today's prices and at others [N].

    Args:
        demand: as it is where today's prices stay.
        answered: as it is at the others, where rivals answer to them; None: the same.
    """
    before, after = demand.sold(demand.today), (answered or demand).sold(prices)
    profit_before, profit_after = (demand.today - cost) * before, (prices - cost) * after
    gain = profit_after - profit_before
    return Outlook(
        Spread.of(before),
        Spread.of(after),
        Spread.of(profit_before),
        Spread.of(profit_after),
        Spread.of(gain),
        Spread.of(profit_before.sum(1)),
        Spread.of(gain.sum(1)),
        float((gain.sum(1) > 0).mean()),
    )


def break_even(demand: Demand, cost: Array, prices: Array, answered: Demand | None = None) -> tuple[float, float]:
    """Shifts of all elasticities, the nearest below and above 0, at which a list is expected to bring nothing.

    What no interval holds: prices that followed demand, or a promotion that is not in the file, shift all estimates the
    same way. Infinite where no shift of at most 4 takes the whole gain.

    Args:
        As `forecast`.
    """

    def gain(shift: float) -> float:
        before, after = (replace(own, own=own.own + shift) for own in (demand, answered or demand))
        profit = (prices - cost) * after.sold(prices) - (demand.today - cost) * before.sold(demand.today)
        return float(profit.sum(1).mean())

    if gain(0.0) <= 0.0:
        return 0.0, 0.0
    found = []
    for side in (-1.0, 1.0):
        shifts = side * np.arange(_STEP, _FURTHEST + _STEP / 2, _STEP)
        lost = next((shift for shift in shifts if gain(shift) <= 0.0), None)
        found.append(side * np.inf if lost is None else float(optimize.brentq(gain, lost - side * _STEP, lost)))
    return found[0], found[1]
