"""What replenishment can cost at best: one offer, lost sales, a lead time, a cost of placing an order.

The timing is the literature's (Zipkin 2008): an order is decided before the demand of a period and is on hand at the
start of the period `lead_time` later. A *chosen* quantity of the market has that lead time; a replenishment *rule*
decides after the sales of an epoch, so that the market's lead time is one more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from marl_pricing.equilibrium import backorders
from marl_pricing.equilibrium.stock_problem import Replenishment, Rule, largest_reach, poisson

__all__ = [
    "Replenishment",
    "Rule",
    "best_base_stock",
    "best_capped_base_stock",
    "best_cost",
    "best_min_max",
    "poisson",
    "rule_cost",
]

Array = jax.Array
_MOST_ENTRIES = 30_000_000
_MOST_STATES = 500_000
_MOST_SWEEPS = 20_000


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


def _average_cost(sweep: Callable[[Any], Any], value: Any, tolerance: float) -> tuple[float, Any]:
    """(average cost a period, relative values of all states) by sweeps from `value`.

    The cost is the middle of bounds that are `tolerance` apart (Odoni 1969).
    """
    for number in range(_MOST_SWEEPS):
        after = sweep(value)
        if number % 10 == 9:
            change = after - value
            low, high = float(change.min()), float(change.max())
            if high - low < tolerance:
                return 0.5 * (low + high), after
        value = after - after.ravel()[0]
    raise ValueError(f"value iteration did not settle in {_MOST_SWEEPS:,} sweeps")


@partial(jax.jit, static_argnames="orders")
def _by_order(value: Array, chances: Array, orders: int, order_cost: float) -> Array:
    """What comes after a period, [X, Q, …, Q]: by state, and by the order that is placed in it."""
    top = chances.shape[0] - 1
    # Next on hand: what is left plus what is due; cut at the top, which `best_cost` lays where nobody comes.
    place = jnp.minimum(jnp.arange(top + 1)[:, None] + jnp.arange(orders), top)
    # [x, due next, due after that, …, order]; at L = 1 the order itself is due next.
    return jnp.tensordot(chances, value[place], axes=1) + order_cost * (jnp.arange(orders) > 0)


@partial(jax.jit, static_argnames="orders")
def _best_sweep(value: Array, cost: Array, chances: Array, orders: int, order_cost: float) -> Array:
    """One step of value iteration over the states [X, Q, …], with the best of Q orders in each."""
    following = _by_order(value, chances, orders, order_cost)
    return cost.reshape(-1, *(1,) * (value.ndim - 1)) + following.min(-1)


def _solve(own: Replenishment, top: int, most: int, tolerance: float) -> tuple[float, tuple[int, int]]:
    """(average cost, `largest_reach` of the best policy) with up to `top` units on hand and orders of up to `most`."""
    shape = (top + 1, *(most + 1,) * (own.lead_time - 1))
    if max(np.prod(shape, dtype=float) * (most + 1), (top + 1.0) ** 2) > _MOST_ENTRIES:
        raise ValueError(
            f"lead_time={own.lead_time!r}: accepted is less with orders up to {most}: "
            f"{np.prod(shape, dtype=float):,.0f} states are too many for value iteration"
        )
    with jax.enable_x64(True):
        cost, chances = (jnp.asarray(part) for part in _period(own, top))
        found, value = _average_cost(
            lambda value: _best_sweep(value, cost, chances, most + 1, own.order_cost), jnp.zeros(shape), tolerance
        )
        order = np.asarray(_by_order(value, chances, most + 1, own.order_cost).argmin(-1))
    return found, largest_reach(order, np.arange(most + 1), len(own.demand) - 1)


def best_cost(own: Replenishment, *, most_ordered: int | None = None, tolerance: float = 2e-5) -> float:
    """Average cost a period of the best policy with lost sales, by relative value iteration.

    The table of states grows until its ends are beside the point: from an empty shop the best policy reaches neither
    the highest stock nor the largest order. Values are L♮-convex (Zipkin 2008), so that nothing beyond is better; where
    placing an order costs they are not, and a table half as large again has to say the same. The error is at most
    `tolerance`: half of it from the bounds on the cost, half from the growth.

    Args:
        most_ordered: largest order that is allowed; None: any.
        tolerance: how far apart the bounds on the cost may be, and the costs of two tables.

    Raises:
        ValueError: for a lead time of 0, a unit that costs nothing to hold, or a problem too large for value iteration.
    """
    if own.lead_time >= 1 and own.holding == 0:
        raise ValueError("holding=0: accepted is above 0, else there is no largest stock")
    most = int(np.searchsorted(np.cumsum(own.demand), 0.999))
    if own.order_cost:  # Harris 1913: what an order is worth without chance, and as much again
        most = max(most, int(2.0 * np.sqrt(2.0 * own.order_cost * own.mean / max(own.holding, 1e-9))))
    most = max(most, 1) if most_ordered is None else most_ordered
    horizon = own.mean * (own.lead_time + 1)
    top = int(np.ceil(horizon + 5.0 * np.sqrt(max(horizon, 1.0)))) + (most if own.order_cost else 0)
    before, free = np.inf, most_ordered is None
    while True:
        found, (stock, largest) = _solve(own, top, most, 0.5 * tolerance)
        short_stock, short_orders = stock >= top, free and largest >= most
        if short_stock or short_orders:
            before = np.inf
        elif not own.order_cost or abs(found - before) < 0.5 * tolerance:
            return found
        else:  # once more, further out
            before, short_stock, short_orders = found, True, free
        top = int(1.5 * top) + 1 if short_stock else top
        most = int(1.5 * most) + 1 if short_orders else most


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
    digits = known[:, None] // base % (level + 1)
    paid = cost[digits[:, 0]] + own.order_cost * (order(digits.sum(1)) > 0)
    return paid, sparse.csr_array((chance, place), shape=(known.size, known.size))


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
    return _average_cost(lambda value: cost + chances @ value, np.zeros(cost.size), tolerance)[0]


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

    The search begins at s = S, the best base-stock rule, which without a cost of placing an order is hard to beat;
    where there is one, at the best (s, S) were demand to wait.

    Raises:
        ValueError: as `rule_cost`.
    """

    @cache
    def cost(point: int, level: int) -> float:
        return rule_cost(own, level, point=point)

    if own.order_cost:
        waiting = backorders.best_min_max(own)
        assert waiting.point is not None
        best = max(waiting.point, 1), max(waiting.level, 1)
    else:
        best = (best_base_stock(own).level,) * 2
    while True:
        point, level = best
        near = [(point + down, level + up) for down in (-1, 0, 1) for up in (-1, 0, 1)]
        step = min((pair for pair in near if 1 <= pair[0] <= pair[1]), key=lambda pair: cost(*pair))
        if cost(*step) >= cost(*best):
            return Rule("s_S", level, cost(*best), point=point)
        best = step
