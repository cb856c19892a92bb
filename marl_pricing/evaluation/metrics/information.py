"""Measures of what prices give away and what agents take: the cost of information, its leak and its erosion."""

from __future__ import annotations

import numpy as np

from marl_pricing.evaluation.metrics.parts import Parts
from marl_pricing.traffic import information

Array = np.ndarray
QUOTES = 5


def coi_level(price_paid: Array, unit_cost: Array, sales: Array) -> Parts:
    """COI level: mean price paid less the lowest viable one, the unit cost (the PHANTOM methodology, definition 1).

    Args:
        price_paid, sales: [E, T, N].  unit_cost: [N], or [E, 1, N], money.

    Returns:
        Parts [E, N]: money over units.
    """
    return Parts(((price_paid - unit_cost) * sales).sum(1), sales.sum(1))


def agent_loss(price_linked: Array, price_paid: Array, sales: Array) -> Array:
    """Money that is lost to agents that came back in a clean session, max(0, linked − paid revenue), [E, T, N].

    PHANTOM's prototype, `agent_loss`.

    Args:
        price_linked, price_paid: [E, T, N] money per unit.  sales: [E, T, N] units.
    """
    return np.maximum((price_linked - price_paid) * sales, 0.0)


def coi_leak(cost: float, suspicion: Array, visits: Array) -> Array:
    """COI leak Σ_m f_m · c_info, money per epoch [E, T] (the PHANTOM methodology, r_t with a constant InfoValue).

    Args:
        cost: money per session.  suspicion: [E, T] mean score.  visits: [E, T] sessions that came.
    """
    return cost * suspicion * visits


def erosion(prices: Array, unit_cost: float, quotes: int = QUOTES) -> Parts:
    """COI erosion: the share of the COI level that the cheapest of N independent quotes takes away.

    (E[p] − E[p_(1)]) over (E[p] − c), of the prices of an episode (the PHANTOM methodology, theorem 1).

    Args:
        prices: [E, M] money, all prices posted in an episode; NaN where there was none.  unit_cost: money.
        quotes: N.

    Returns:
        Parts [E], money.
    """
    kept = [row[np.isfinite(row)] for row in prices]
    mean = np.array([row.mean() for row in kept])
    cheapest = np.array([information.erosion(row, quotes) for row in kept])
    return Parts(mean - cheapest, mean - unit_cost)
