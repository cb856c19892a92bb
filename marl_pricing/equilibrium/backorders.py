"""What replenishment costs at best where unmet demand waits: base stock, and (s, S) with a cost of placing an order.

The timing is that of `replenishment`: an order is decided before the demand of a period and on hand `lead_time` periods
later, so that it has to cover L + 1 periods.
"""

from __future__ import annotations

import numpy as np

from marl_pricing.equilibrium.stock_problem import Replenishment, Rule


def _covered(own: Replenishment) -> np.ndarray:
    """Probabilities of 0, 1, … units of demand in L + 1 periods."""
    law = np.ones(1)
    for _ in range(own.lead_time + 1):
        law = np.convolve(law, own.demand)
    return law


def _position_cost(own: Replenishment, law: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Cost [M] of a period, L periods on, from each inventory position [M]: h E[(y - D)+] + p E[(D - y)+]."""
    over = positions[:, None] - np.arange(law.size)
    return (own.holding * np.maximum(over, 0) + own.penalty * np.maximum(-over, 0)) @ law


def base_stock(own: Replenishment) -> Rule:
    """The best base-stock level: the newsvendor of the L + 1 periods that an order has to cover.

    Its cost is h E[(S - D)+] + p E[(D - S)+], D the demand of L + 1 periods (Zipkin 2000, section 6.2), and the cost of
    placing an order in each period that follows one with demand.
    """
    law = _covered(own)
    if own.holding + own.penalty == 0:
        raise ValueError("holding=0, penalty=0: accepted is one above 0, else every level is as good")
    level = int(np.searchsorted(np.cumsum(law), own.penalty / (own.holding + own.penalty) - 1e-12))
    cost = float(_position_cost(own, law, np.array([level]))[0])
    return Rule("base_stock", level, cost + own.order_cost * float(1.0 - own.demand[0]))


def best_min_max(own: Replenishment) -> Rule:
    """The best (s, S), which no policy beats (Scarf 1960); exact, by the bounds of Zheng and Federgruen (1991).

    Their cost of a rule that orders up to S at s or below is (K + Σ_j m_j G(S - j)) / Σ_j m_j over j < S - s, with G
    the cost of a period by position and m the renewal density of demand. A best S has G(S) at most the best cost, and
    for a given S costs fall with s until G(s) exceeds them.

    Returns:
        The rule; `point` is s + 1, below which the market orders. It is 0 or less where it pays to wait for backlogs.

    Raises:
        ValueError: where holding or backlogs cost nothing, so that there is no best rule.
    """
    if own.holding == 0 or own.penalty == 0:
        raise ValueError(f"holding={own.holding:g}, penalty={own.penalty:g}: accepted are numbers above 0")
    law, lowest = _covered(own), base_stock(own).level
    best: tuple[float, int, int] = np.inf, lowest, lowest
    density = _renewal(own.demand, 64)
    level = lowest
    while _position_cost(own, law, np.array([level]))[0] <= best[0]:
        depth = level - lowest + 64
        while _position_cost(own, law, np.array([level - depth]))[0] < best[0] and np.isfinite(best[0]):
            depth *= 2
        while True:  # so deep that its last position costs more than any rule that was found
            density = density if density.size >= depth else _renewal(own.demand, 2 * depth)
            held = _position_cost(own, law, level - np.arange(depth))
            costs = (own.order_cost + np.cumsum(density[:depth] * held)) / np.cumsum(density[:depth])
            if held[-1] > costs.min():
                break
            depth *= 2
        gap = int(costs.argmin())
        if costs[gap] < best[0] - 1e-12:
            best = float(costs[gap]), level - gap, level
        level += 1
    return Rule("s_S", best[2], best[0], point=best[1])


def _renewal(demand: np.ndarray, size: int) -> np.ndarray:
    """Renewal density m_0 … m_{size - 1}: expected periods that a position j below the order-up-to level is held."""
    density = np.zeros(size)
    density[0] = 1.0 / (1.0 - demand[0])
    for j in range(1, size):
        reach = min(j, demand.size - 1)
        density[j] = density[0] * (demand[1 : reach + 1] @ density[j - reach : j][::-1])
    return density
