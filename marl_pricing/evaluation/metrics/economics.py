"""Measures of a market's economics: gains against benchmarks, mark-ups, concentration, surplus."""

from __future__ import annotations

import numpy as np

from marl_pricing.evaluation.metrics.parts import Parts

Array = np.ndarray


def profit_gain(profit: Array, nash: Array, joint: Array) -> Array:
    """Δ = (π − π_N) / (π_M − π_N): 0 at Nash, 1 at joint profit (Calvano et al. 2020, eq. 9).

    Args:
        profit, nash, joint: money per epoch, of one seller or of all together; any shapes that broadcast.
    """
    return (profit - nash) / (joint - nash)


def relative_price_deviation(price: Array, nash: Array, joint: Array) -> Array:
    """RPD = (p − p_N) / (p_M − p_N): where a price lies between Nash and joint profit, as Δ does for profits.

    Args:
        price, nash, joint: money; any shapes that broadcast.
    """
    return (price - nash) / (joint - nash)


def lerner_index(price_paid: Array, unit_cost: Array, sales: Array) -> Parts:
    """Lerner index (p − c) / p (Lerner 1934), weighted by revenue: Σ (p − c) S over Σ p S.

    Args:
        price_paid, sales: [E, T, N].  unit_cost: [N], or [E, 1, N], money.

    Returns:
        Parts [E, N], money.
    """
    return Parts(((price_paid - unit_cost) * sales).sum(1), (price_paid * sales).sum(1))


def herfindahl(revenue: Array) -> Array:
    """Herfindahl–Hirschman index Σ_i s_i² of revenue shares: 1/S for equal sellers, 1 for a monopoly (Hirschman 1964).

    Args:
        revenue: [..., S] money, 0 or more.

    Returns:
        [...]; NaN where nobody sold anything.
    """
    total = revenue.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total[..., 0] > 0, ((revenue / total) ** 2).sum(-1), np.nan)


def consumer_surplus(surplus: Array, demand: Array, sales: Array) -> Array:
    """Surplus of the shoppers that were served, money per epoch [E, T].

    In logit demand those who buy gain the same on average whatever they buy (Small and Rosen 1981), so that of an
    epoch's surplus the share of units served is left.

    Args:
        surplus: [E, T] money, were all orders served (`surplus.of_epoch`).  demand, sales: [E, T, N] units.
    """
    wanted = demand.sum(-1)
    served = np.where(wanted > 0, sales.sum(-1) / np.where(wanted > 0, wanted, 1.0), 1.0)
    return surplus * served
