"""What replenishment can cost at best: one offer, lost sales or backorders, a lead time.

The timing is the literature's (Zipkin 2008): an order is decided before the demand of a period and is on hand at the
start of the period `lead_time` later. A *chosen* quantity of the market has that lead time; a replenishment *rule*
decides after the sales of an epoch, so that the market's lead time is one more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse, stats

Array = jax.Array
_TAIL = 1e-10
_MOST_ENTRIES = 30_000_000
_MOST_STATES = 500_000
_MOST_SWEEPS = 20_000


@dataclass(frozen=True)
class Replenishment:
    """A single-offer stock problem.

    Attributes:
        demand: [D] probabilities of 0, 1, … units in a period, independent of each other.
        holding: money per unit left at the end of a period.
        penalty: money per unit of demand that was not served in a period.
        lead_time: periods, at least 1 with lost sales.
    """

    demand: np.ndarray
    holding: float
    penalty: float
    lead_time: int

    def __post_init__(self) -> None:
        own = np.asarray(self.demand, float)
        if own.ndim != 1 or own.size < 2 or np.any(own < 0) or abs(own.sum() - 1.0) > 1e-6:
            raise ValueError("demand: accepted are probabilities of 0, 1, … units that sum to 1")
        for name in ("holding", "penalty"):
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


# Lost sales. The state is (on hand, due next, due after that, …): stock x and L - 1 orders that are on the way.


def _period(own: Replenishment, top: int) -> tuple[np.ndarray, np.ndarray]:
    """(cost [X] of a period that starts with x on hand, chances [X, X] of what is left of x), X = top + 1."""
    if own.lead_time < 1:
        raise ValueError(f"lead_time={own.lead_time!r}: accepted is at least 1 with lost sales")
    units, demand = np.arange(top + 1), np.arange(len(own.demand))
    left = np.maximum(units[:, None] - demand, 0)
    unmet = np.maximum(demand - units[:, None], 0)
    cost = (own.demand * (own.holding * left + own.penalty * unmet)).sum(1)
    chances = np.zeros((top + 1, top + 1))
    np.add.at(chances, (np.repeat(units, demand.size), left.ravel()), np.tile(own.demand, units.size))
    return cost, chances


def _average_cost(sweep: Callable[[Any], Any], value: Any, tolerance: float) -> float:
    """Average cost a period by sweeps over the values of all states, from `value`.

    It is the middle of bounds that are `tolerance` apart (Odoni 1969).
    """
    for number in range(_MOST_SWEEPS):
        after = sweep(value)
        if number % 10 == 9:
            change = after - value
            low, high = float(change.min()), float(change.max())
            if high - low < tolerance:
                return 0.5 * (low + high)
        value = after - after.ravel()[0]
    raise ValueError(f"value iteration did not settle in {_MOST_SWEEPS:,} sweeps")


@partial(jax.jit, static_argnames="orders")
def _best_sweep(value: Array, cost: Array, chances: Array, orders: int) -> Array:
    """One step of value iteration over the states [X, Q, …], with the best of Q orders in each."""
    top = chances.shape[0] - 1
    # Next on hand: what is left plus what is due; cut at the top, which no sensible policy reaches.
    place = jnp.minimum(jnp.arange(top + 1)[:, None] + jnp.arange(orders), top)
    # [x, due next, due after that, …, order]; at L = 1 the order itself is due next.
    following = jnp.tensordot(chances, value[place], axes=1)
    return cost.reshape(-1, *(1,) * (value.ndim - 1)) + following.min(-1)


def best_cost(own: Replenishment, *, most_ordered: int | None = None, tolerance: float = 2e-5) -> float:
    """Average cost a period of the best policy with lost sales, by relative value iteration.

    Args:
        most_ordered: largest order that is considered; None takes the demand's 99.9 % point.
        tolerance: how far apart the bounds on the cost may be.

    Raises:
        ValueError: for a lead time of 0, or a problem too large for value iteration.
    """
    most = int(np.searchsorted(np.cumsum(own.demand), 0.999)) if most_ordered is None else most_ordered
    horizon = own.mean * (own.lead_time + 1)
    top = int(np.ceil(horizon + 5.0 * np.sqrt(max(horizon, 1.0))))
    shape = (top + 1, *(most + 1,) * (own.lead_time - 1))
    if np.prod(shape) * (most + 1) > _MOST_ENTRIES:
        raise ValueError(
            f"lead_time={own.lead_time!r}: accepted is less with orders up to {most}: {np.prod(shape):,} states are "
            "too many for value iteration"
        )
    with jax.enable_x64(True):
        cost, chances = (jnp.asarray(part) for part in _period(own, top))
        return _average_cost(lambda value: _best_sweep(value, cost, chances, most + 1), jnp.zeros(shape), tolerance)


def _follow(own: Replenishment, level: int, order: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, Any]:
    """The chain of a rule that never lets the position above `level`.

    Args:
        order: positions [M] to units ordered [M].

    Returns:
        (cost [M] of a period in each state that comes up from the empty one, sparse chances [M, M] of the next state).
    """
    cost, chances = _period(own, level)
    # A state is written as one number, to the base level + 1; its digits are (on hand, due next, …).
    base = (level + 1) ** np.arange(own.lead_time)
    known = fresh = np.zeros(1, np.int64)
    moves: list[tuple[np.ndarray, ...]] = []
    while fresh.size:
        digits = fresh[:, None] // base % (level + 1)
        ordered = order(digits.sum(1))
        following = np.concatenate([digits[:, 1:], ordered[:, None]], axis=1)
        reached = []
        for left in range(level + 1):  # of what is on hand
            can = digits[:, 0] >= left
            after = following[can] @ base + left
            moves.append((fresh[can], after, chances[digits[can, 0], left]))
            reached.append(after)
        fresh = np.setdiff1d(np.concatenate(reached), known)
        known = np.union1d(known, fresh)
        if known.size > _MOST_STATES:
            raise ValueError(
                f"lead_time={own.lead_time!r}: accepted is less: more than {_MOST_STATES:,} states come up"
            )
    source, target, chance = (np.concatenate(part) for part in zip(*moves, strict=True))
    place = (np.searchsorted(known, source), np.searchsorted(known, target))
    return cost[known % (level + 1)], sparse.csr_array((chance, place), shape=(known.size, known.size))


def rule_cost(
    own: Replenishment, level: int, *, cap: int | None = None, point: int | None = None, tolerance: float = 2e-5
) -> float:
    """Average cost with lost sales of ordering up to a level, at most `cap` units, where the position is below `point`.

    Raises:
        ValueError: for a lead time of 0, or too many states.
    """

    def order(position: np.ndarray) -> np.ndarray:
        wanted = np.clip(level - position, 0, cap)
        return wanted if point is None else np.where(position < point, wanted, 0)

    cost, chances = _follow(own, level, order)
    return _average_cost(lambda value: cost + chances @ value, np.zeros(cost.size), tolerance)


def _best_level(own: Replenishment, level: int, cap: int | None = None) -> tuple[int, float]:
    """(level, cost) of the level from which a unit more or less costs more, searched from `level`."""

    @cache
    def cost(level: int) -> float:
        return rule_cost(own, level, cap=cap)

    while level > 1 and cost(level - 1) < cost(level):
        level -= 1
    while cost(level + 1) < cost(level):
        level += 1
    return level, cost(level)


def best_base_stock(own: Replenishment) -> Rule:
    """The best order-up-to level with lost sales; its cost is convex in the level (Janakiraman and Roundy 2004).

    Raises:
        ValueError: as `best_cost`.
    """
    return Rule("base_stock", *_best_level(own, round(own.mean * (own.lead_time + 1))))


def best_capped_base_stock(own: Replenishment) -> Rule:
    """The best level and largest order with lost sales (Xin 2021), by search over caps from the mean demand up.

    Raises:
        ValueError: as `best_cost`.
    """
    level = best_base_stock(own).level
    best: Rule | None = None
    for cap in range(max(1, int(own.mean)), len(own.demand)):
        level, cost = _best_level(own, level, cap)
        if best is not None and cost >= best.cost:
            break
        best = Rule("capped_base_stock", level, cost, cap)
    assert best is not None
    return best


def best_min_max(own: Replenishment) -> Rule:
    """The best (s, S) with lost sales: no step of a unit in s, in S or in both costs less.

    The search begins at s = S, the best base-stock rule, which without a cost of placing an order is hard to beat.

    Raises:
        ValueError: as `rule_cost`.
    """

    @cache
    def cost(point: int, level: int) -> float:
        return rule_cost(own, level, point=point)

    level = best_base_stock(own).level
    best = level, level
    while True:
        point, level = best
        near = [(point + down, level + up) for down in (-1, 0, 1) for up in (-1, 0, 1)]
        step = min((pair for pair in near if 1 <= pair[0] <= pair[1]), key=lambda pair: cost(*pair))
        if cost(*step) >= cost(*best):
            return Rule("s_S", level, cost(*best), point=point)
        best = step


def backorder_base_stock(own: Replenishment) -> Rule:
    """The best base-stock level where demand waits: the newsvendor of the L + 1 periods that an order has to cover.

    Its cost is h E[(S - D)+] + p E[(D - S)+], D the demand of L + 1 periods (Zipkin 2000, section 6.2).
    """
    law = np.ones(1)
    for _ in range(own.lead_time + 1):
        law = np.convolve(law, own.demand)
    if own.holding + own.penalty == 0:
        raise ValueError("holding=0, penalty=0: accepted is one above 0, else every level is as good")
    level = int(np.searchsorted(np.cumsum(law), own.penalty / (own.holding + own.penalty) - 1e-12))
    units = np.arange(law.size)
    cost = own.holding * np.maximum(level - units, 0) + own.penalty * np.maximum(units - level, 0)
    return Rule("base_stock", level, float(law @ cost))
