"""What a day of coupons brings and costs: the challenge's two sums and their ratio."""

from __future__ import annotations

from typing import Any

import numpy as np


def day_cost(coupons: Any, discount: Any, orders: Any, fee: Any, xp: Any = np) -> Any:
    """(1 − discount) · min(orders, coupons) · fee: what the discounted orders of a customer's day cost, in money.

    Args:
        coupons: handed out.  discount: share of the price that is paid.  fee: average of the day's orders, before it.
        xp: numpy or jax.numpy. All arrays broadcast.
    """
    return (1.0 - discount) * xp.minimum(orders, coupons) * fee


def day_gmv(coupons: Any, discount: Any, orders: Any, fee: Any, xp: Any = np) -> Any:
    """orders · fee − cost: the gross merchandise value of a customer's day, in money. Arguments as `day_cost`."""
    return orders * fee - day_cost(coupons, discount, orders, fee, xp)


def return_on_investment(gmv: float, cost: float) -> float:
    """Σ GMV / Σ cost; infinite where nothing was spent."""
    return gmv / cost if cost > 0 else float("inf")
