"""Measures that an operations planner reads: service, turns, cover, costs of stock, bullwhip."""

from __future__ import annotations

import numpy as np

from marl_pricing.evaluation.metrics.parts import Parts

Array = np.ndarray


def fill_rate(sales: Array, demand: Array) -> Parts:
    """Share of units wanted that are sold, from flows (type 2 service; Silver, Pyke and Thomas 2017, section 6.6).

    Args:
        sales, demand: [E, T, N] units.

    Returns:
        Parts [E, N].
    """
    return Parts(sales.sum(1), demand.sum(1))


def cycle_service(arrivals: Array, unmet: Array) -> Parts:
    """Share of replenishment cycles without a stockout (type 1 service; Silver, Pyke and Thomas 2017, section 6.6).

    A cycle ends with the epoch before an order arrives; the first begins with the episode, and the last, which no
    arrival ends, does not count.

    Args:
        arrivals, unmet: [E, T, N] units.

    Returns:
        Parts [E, N]: cycles without unmet demand over cycles.
    """
    begins = (arrivals > 0) & (np.arange(arrivals.shape[1]) > 0)[:, None]
    cycle = begins.cumsum(1)
    cycles = cycle[:, -1]
    # A cycle has a stockout if any of its epochs has: count the first such epoch of each.
    out = unmet > 0
    before = np.zeros_like(out)
    for epoch in range(1, out.shape[1]):
        before[:, epoch] = np.where(begins[:, epoch], False, before[:, epoch - 1] | out[:, epoch - 1])
    first = out & ~before & (cycle < cycles[:, None])
    return Parts((cycles - first.sum(1)).astype(float), cycles.astype(float))


def turns(sales: Array, stock: Array, unit_cost: Array) -> Parts:
    """Inventory turns an epoch: cost of goods sold over the mean value of stock, before and after sales.

    Args:
        sales, stock: [E, T, N] units; `stock` when the shoppers come.  unit_cost: [N], or [E, 1, N], money.

    Returns:
        Parts [E, N], money.
    """
    return Parts((unit_cost * sales).sum(1), (unit_cost * (stock - 0.5 * sales)).sum(1))


def cover(sales: Array, stock: Array, demand: Array) -> Parts:
    """Epochs of demand that the stock left would last: mean stock after sales over mean demand (days of cover).

    Args:
        sales, stock, demand: [E, T, N] units.

    Returns:
        Parts [E, N], units.
    """
    return Parts((stock - sales).sum(1), demand.sum(1))


def bullwhip(ordered: Array, demand: Array, live: Array) -> Parts:
    """Bullwhip ratio: variance of orders over variance of demand (Lee, Padmanabhan and Whang 1997; Chen et al. 2000).

    Variances are over the epochs of an episode, unbiased.

    Args:
        ordered, demand: [E, T, N] units.  live: [E, T, N] 1.0 where the offer was in the market.

    Returns:
        Parts [E, N], units².
    """
    count = live.sum(1)

    def variance(values: Array) -> Array:
        mean = (values * live).sum(1) / np.maximum(count, 1.0)
        squares = (((values - mean[:, None]) * live) ** 2).sum(1)
        return np.where(count > 1, squares / np.maximum(count - 1.0, 1.0), 0.0)

    top, bottom = variance(ordered), variance(demand)
    # Rounding is no variance: expected demand at a constant price differs in the last digit.
    scale = (demand * live).sum(1) / np.maximum(count, 1.0)
    moves = bottom > 1e-9 * scale**2
    return Parts(np.where(moves, top, 0.0), np.where(moves, bottom, 0.0))
