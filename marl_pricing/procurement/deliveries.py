"""What several supply contracts are worth together to who buys: its utility of a set of deliveries.

`negotiation.utilities` values one contract. Of several, every unit can serve whoever asks after it has come, so

    U(A) = (p + h + b)·E[sales of x and A] − Σ_A (paid + h·q) − h·x − b·E[D],

where the expected sales follow the stock from delivery to delivery. What a further contract adds falls with what is
agreed already (U is submodular: sales are the largest matching of units with the shoppers that come after them), so
that whoever bargains for a contract as if all that it has on offer elsewhere were accepted is never worse off for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import poisson

from marl_pricing.negotiation.outcomes import LEAD_TIME, PAYMENT_DELAY, QUANTITY, OutcomeSpace
from marl_pricing.negotiation.utilities import paid


@lru_cache(maxsize=256)
def _drawn_down(mean: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(P(left = j | stock k) [k, j], E[min(k, D)] [k]) for Poisson demand and stocks of 0 … size units."""
    stock = np.arange(size + 1)
    used = stock[:, None] - stock
    left = np.where(used >= 0, poisson.pmf(np.maximum(used, 0), mean), 0.0)
    left[:, 0] = poisson.sf(stock - 1, mean)
    return left, np.concatenate([[0.0], np.cumsum(poisson.sf(stock, mean))[:-1]])


def expected_sales(stock: int, deliveries: Sequence[tuple[int, int]], demand: float, horizon: int) -> float:
    """Units sold within the horizon.

    Args:
        stock: units on hand.  deliveries: (units, epochs until they come), in any order.
        demand: units per epoch, Poisson.
    """
    size = stock + sum(units for units, _ in deliveries)
    here = np.zeros(size + 1)
    here[stock] = 1.0
    sold, now = 0.0, 0
    for units, wait in sorted(deliveries, key=lambda own: own[1]):
        left, served = _drawn_down(demand * (wait - now), size)
        sold += float(here @ served)
        here = np.concatenate([np.zeros(units), (here @ left)[: size + 1 - units]])
        now = wait
    return sold + float(here @ _drawn_down(demand * (horizon - now), size)[1])


@dataclass(frozen=True)
class Need:
    """Who buys, and where it stands.

    Attributes:
        stock: units on hand and on order.  price: money per unit that it sells at.
        demand: units per epoch that it expects.  horizon: epochs that it looks ahead.
        holding_cost, shortage_cost: money per unit left at their end, per unit of demand not served.
        capital_cost: share of a payment that one epoch's delay is worth.
    """

    space: OutcomeSpace
    stock: int
    price: float
    demand: float
    horizon: int
    holding_cost: float
    shortage_cost: float
    capital_cost: float = 0.0

    def worth(self, agreed: Sequence[int] = ()) -> float:
        """U of contracts, outcomes of the space by number; of none, what it has without any."""
        return float(_tabulated(self, tuple(sorted(agreed)))[-1])

    def worths(self, agreed: Sequence[int] = ()) -> np.ndarray:
        """U of those contracts and one more, for each outcome [O]."""
        return _tabulated(self, tuple(sorted(agreed)))[:-1]

    def joint(self, beside: Sequence[tuple], outcomes: Sequence[tuple]) -> np.ndarray:
        """U of contracts and one more, for each of some outcomes; (): none more. Outcomes are values of the issues."""
        table = _tabulated(self, tuple(sorted(self.space.index(own) for own in beside)))
        return table[[self.space.index(own) if own else -1 for own in outcomes]]

    def delivery(self, number: int) -> tuple[int, int]:
        """(units, epochs until they come) of an outcome."""
        return int(self.space.column(QUANTITY)[number]), int(self.space.column(LEAD_TIME)[number])

    def value(self, deliveries: Sequence[tuple[int, int]]) -> float:
        """The utility of deliveries before they are paid for."""
        sold = expected_sales(self.stock, deliveries, self.demand, self.horizon)
        units = self.stock + sum(own for own, _ in deliveries)
        asked = self.demand * self.horizon
        return self.price * sold - self.holding_cost * (units - sold) - self.shortage_cost * (asked - sold)


@lru_cache(maxsize=512)
def _tabulated(need: Need, agreed: tuple[int, ...]) -> np.ndarray:
    """U of contracts and one more [O + 1]; last, of those contracts alone."""
    space = need.space
    due = paid(space) * (1.0 - need.capital_cost * space.column(PAYMENT_DELAY, 0.0))
    beside = [need.delivery(number) for number in agreed]
    kinds, kind = np.unique(np.stack([space.column(QUANTITY), space.column(LEAD_TIME)]), axis=1, return_inverse=True)
    values = np.array([need.value([*beside, (int(units), int(wait))]) for units, wait in kinds.T])
    return np.append(values[kind.reshape(-1)] - due, need.value(beside)) - due[list(agreed)].sum()
