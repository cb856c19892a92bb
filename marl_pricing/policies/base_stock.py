"""Cost plus a fixed mark-up, with orders up to a base-stock level."""

from __future__ import annotations

import numpy as np

from marl_pricing.market import MarketParams, MarketShape, Policy
from marl_pricing.policies.constant import constant
from marl_pricing.policies.expectations import RuleError
from marl_pricing.policies.orders import SAFETY

# Half the cost on top, a third of the price: the order of retail gross margins. It knows nothing of the market's
# equilibrium, which is why it is worth comparing with.
MARK_UP = 0.5


def base_stock(
    shape: MarketShape,
    params: MarketParams,
    mark_up: float | np.ndarray = MARK_UP,
    order_up_to: float | np.ndarray | None = None,
    safety: float = SAFETY,
) -> Policy:
    """Price = unit cost · (1 + mark-up); orders, where sellers choose them, up to a level.

    Args:
        mark_up: share of the unit cost, a number or [N].
        order_up_to: units, a number or [N]; None takes mean demand over lead_time + 1 epochs at these prices plus
            `safety` times its root (`orders.order_up_to`).

    Raises:
        RuleError: if a unit costs nothing (a mark-up on nothing is no price), or the mark-up is negative.
    """
    cost = np.asarray(params.reward.unit_cost, np.float64)
    if np.any(cost <= 0):
        raise RuleError("base_stock: a mark-up needs a unit cost above 0 (market.reward.unit_cost)")
    if np.any(np.asarray(mark_up) < 0):
        raise RuleError(f"mark_up={mark_up!r}: accepted is a number of at least 0")
    up_to = None if order_up_to is None else np.broadcast_to(np.asarray(order_up_to, np.float64), cost.shape)
    return constant(shape, params, cost * (1.0 + mark_up), name="base_stock", up_to=up_to, safety=safety)
