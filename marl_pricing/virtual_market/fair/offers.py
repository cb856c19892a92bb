"""What a day's offer for everybody brings and costs, expected; and the best that can be made of such a table.

An offer is a number of coupons and their depth, the same for all. Where a day's answer doesn't depend on the days
before, two tables by offer and weekday say all: every cycle of up to three days is then summed, none is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.virtual_market.fair.worlds import DayLaw, LearnedWorlds, TrueWorld, expected_money
from marl_pricing.virtual_market.levels import OFFERS
from marl_pricing.virtual_market.truth import hurdle

Array = jax.Array

LONGEST_CYCLE = 3
_STEPS = 60  # halvings of the multiplier's logarithm
_BINS = 4000


@dataclass(frozen=True)
class Plan:
    """Offers of a number of days, and what is expected of them.

    Attributes:
        offers: [D] rows of `OFFERS`.
        gmv, cost: money, of all customers and days.
    """

    offers: np.ndarray
    gmv: float
    cost: float

    @property
    def roi(self) -> float:
        """GMV over cost; infinite where nothing is spent."""
        return self.gmv / self.cost if self.cost > 0 else float("inf")


@jax.jit
def _true_day(world: TrueWorld, coupons: Array, discount: Array, weekday: Array) -> tuple[Array, Array]:
    own = world.truth, world.customers, coupons, discount, weekday
    return expected_money(DayLaw(*hurdle(*own), jnp.exp(world.customers.log_fee)), coupons, discount)


def true_tables(world: TrueWorld) -> tuple[np.ndarray, np.ndarray]:
    """Expected (GMV, cost) [41, 7, C] of every customer by offer and weekday, money; nothing is drawn."""
    found = [
        [_true_day(world, jnp.float32(count), jnp.float32(share), jnp.int32(day)) for day in range(7)]
        for count, share in OFFERS
    ]
    gmv, cost = (np.array([[np.asarray(day[part]) for day in row] for row in found], float) for part in (0, 1))
    return gmv, cost


def best_cycle(gmv: np.ndarray, cost: np.ndarray, first: int, days: int, threshold: float) -> Plan:
    """The cycle of one, two or three days with the largest GMV whose return on investment reaches the threshold.

    Args:
        gmv, cost: [41, 7] by offer and weekday, money of all customers.
        first: weekday of the first of `days` days.

    Returns:
        The best of all 41 + 41² + 41³ cycles; without coupons nothing is spent, so there always is one.
    """
    plans = [_best_of_length(gmv, cost, first, days, threshold, length) for length in range(1, LONGEST_CYCLE + 1)]
    return max(plans, key=lambda plan: plan.gmv)


def _place_sums(table: np.ndarray, first: int, days: int, length: int) -> list[np.ndarray]:
    """For each place of a cycle [41]: what an offer there sums to over the days."""
    weekday = (first + np.arange(days)) % 7
    return [table[:, weekday[place::length]].sum(1) for place in range(length)]


def _together(parts: list[np.ndarray]) -> np.ndarray:
    """[41, 41, …] sums over the places of all cycles."""
    total = np.zeros((1,) * len(parts))
    for axis, part in enumerate(parts):
        total = total + part.reshape(tuple(-1 if own == axis else 1 for own in range(len(parts))))
    return total


def _best_of_length(gmv: np.ndarray, cost: np.ndarray, first: int, days: int, threshold: float, length: int) -> Plan:
    gmvs = _together(_place_sums(gmv, first, days, length))
    costs = _together(_place_sums(cost, first, days, length))
    allowed = np.where(gmvs >= threshold * costs, gmvs, -np.inf)
    at = np.unravel_index(int(allowed.argmax()), allowed.shape)
    offers = np.resize(np.array(at), days)
    return Plan(offers, float(gmvs[at]), float(costs[at]))


def cycles_near(
    gmv: np.ndarray, cost: np.ndarray, first: int, days: int, threshold: float, slack: float, most: int
) -> np.ndarray:
    """[M, days] the cycles of three days, and so of one, of largest GMV whose ROI reaches the threshold less the slack.

    For tables that are nearly right: which of the best cycles is best is then seen by playing them.
    """
    gmvs = _together(_place_sums(gmv, first, days, LONGEST_CYCLE))
    costs = _together(_place_sums(cost, first, days, LONGEST_CYCLE))
    allowed = np.where(gmvs >= (threshold - slack) * costs, gmvs, -np.inf).reshape(-1)
    best = np.argsort(-allowed)[:most]
    places = np.stack(np.unravel_index(best[np.isfinite(allowed[best])], gmvs.shape), axis=-1)
    return np.stack([np.resize(own, days) for own in places])


def best_calendar(gmv: np.ndarray, cost: np.ndarray, first: int, days: int, threshold: float) -> Plan:
    """The best offers of all days, each day its own: dynamic programming over what is left above the threshold.

    A day's offer leaves GMV − threshold · cost above it; what days leave together must not be negative. Of all that
    leave as much, to a 4,000th of the range, the one of largest GMV goes on.

    Args:
        gmv, cost: [41, 7] by offer and weekday, money of all customers.
    """
    weekday = (first + np.arange(days)) % 7
    left = gmv - threshold * cost
    width = (left.max(0)[weekday].sum() - left.min(0)[weekday].sum()) / _BINS
    total, above, offers = np.zeros(1), np.zeros(1), np.zeros((1, 0), int)
    for day in weekday:
        totals, aboves = total[:, None] + gmv[:, day], above[:, None] + left[:, day]
        order = np.lexsort((aboves.ravel(), totals.ravel(), np.floor(aboves.ravel() / width)))
        last = np.append(np.diff(np.floor(aboves.ravel()[order] / width)) > 0, True)  # the best of each bin
        keep, taken = np.unravel_index(order[last], totals.shape)
        total, above = totals[keep, taken], aboves[keep, taken]
        offers = np.concatenate([offers[keep], taken[:, None]], axis=1)
    best = np.where(above >= 0, total, -np.inf).argmax()
    plan = offers[best]
    return Plan(plan, float(total[best]), float(cost[plan, weekday].sum()))


def personal_bound(gmv: np.ndarray, cost: np.ndarray, first: int, days: int, threshold: float) -> tuple[float, float]:
    """(GMV, cost) where every customer may be offered something else: what fairness is measured against.

    Σ GMV subject to Σ GMV ≥ threshold · Σ cost by Lagrange's multiplier λ: everybody gets, each day, the offer that
    maximises GMV + λ (GMV − threshold · cost), at the smallest λ that keeps the threshold. No choice that spends as
    much is better, and one customer's day is all that could be gained by spending more.

    Args:
        gmv, cost: [41, 7, C] by offer, weekday and customer.
    """
    weekday = (first + np.arange(days)) % 7

    def taken(multiplier: float) -> tuple[float, float]:
        best = (gmv + multiplier * (gmv - threshold * cost)).argmax(0)[None]
        day_gmv, day_cost = (np.take_along_axis(table, best, 0)[0] for table in (gmv, cost))
        return float(day_gmv[weekday].sum()), float(day_cost[weekday].sum())

    own = taken(0.0)
    if own[0] >= threshold * own[1]:
        return own
    low, high = 1e-6, 1e6
    for _ in range(_STEPS):
        middle = float(np.sqrt(low * high))
        own = taken(middle)
        low, high = (low, middle) if own[0] >= threshold * own[1] else (middle, high)
    return taken(high)


@jax.jit
def _learned_days(worlds: LearnedWorlds, memory: Array) -> tuple[Array, Array]:
    def day(network: Any, offer: Array, weekday: Array) -> tuple[Array, Array]:
        found = worlds.law(network, memory, offer, weekday)
        gmv, cost = expected_money(found[1], offer[0], offer[1])
        return gmv.sum(), cost.sum()

    def week(network: Any, offer: Array) -> tuple[Array, Array]:
        return jax.lax.map(lambda weekday: day(network, offer, weekday), jnp.arange(7))

    offers = jnp.asarray(OFFERS, jnp.float32)
    return jax.lax.map(lambda own: jax.lax.map(lambda offer: week(own, offer), offers), worlds.customers)


def learned_tables(worlds: LearnedWorlds, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expected (GMV, cost) [K, 41, 7] of all customers by world, offer and weekday, money.

    Args:
        memory: [21, C] after which the day comes; what a day adds to memories is not in it.
    """
    gmv, cost = _learned_days(worlds, jnp.asarray(memory, jnp.float32))
    return np.asarray(gmv, float), np.asarray(cost, float)


def mean_tables(worlds: LearnedWorlds, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`learned_tables` a customer, mean over the worlds: (GMV, cost) [41, 7], money."""
    gmv, cost = (table.mean(0) / memory.shape[-1] for table in learned_tables(worlds, memory))
    return gmv, cost
