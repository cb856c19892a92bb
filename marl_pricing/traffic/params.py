"""What the traffic room needs to know: sizes and choices (static), numbers (traced)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
from flax import struct

Array = jax.Array
TrafficModel = Literal["analytic"]


@dataclass(frozen=True)
class TrafficShape:
    """Static half.

    Attributes:
        model: who draws the orders.
        sessions: M, shopper sessions in an epoch.
        random_orders: orders are drawn (Poisson); otherwise they are their expectation.
    """

    model: TrafficModel = "analytic"
    sessions: int = 1
    random_orders: bool = True


class TrafficParams(struct.PyTreeNode):
    """Traced half."""

    agent_share: Array  # [] α, probability that a session is an agent's
