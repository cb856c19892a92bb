"""What is known of a customer: orders in total, mean orders, mean fee, and how a day changes them.

Two forms. `document`: the promotion document's formula, in which every day moves both means. `order_days`: the means
run over days with an order only, as the challenge's published kit has it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

StateForm = Literal["order_days", "document"]
STATE_NAMES = ("total_num", "average_num", "average_fee")


def next_state(state: Any, action: Any, form: StateForm = "order_days", xp: Any = np) -> Any:
    """States of the next day.

    Args:
        state: [..., 3] total orders, mean orders a day, mean fee.  action: [..., 2] the day's orders and average fee.
        form: `document` is its transition rule, operation by operation; `order_days` moves the means where there was
            an order.
        xp: numpy or jax.numpy.
    """
    total, mean_num, mean_fee = state[..., 0], state[..., 1], state[..., 2]
    orders, fee = action[..., 0], action[..., 1]
    size = xp.where(mean_num > 0, total / xp.where(mean_num > 0, mean_num, 1.0), 0.0)
    moves = 1.0 if form == "document" else 1.0 * (orders > 0)
    return xp.stack(
        [
            total + orders,
            mean_num + moves * (1 / (size + 1) * (orders - mean_num)),
            mean_fee + moves * (1 / (size + 1) * (fee - mean_fee)),
        ],
        axis=-1,
    )


def first_state(orders: np.ndarray, fee: np.ndarray, form: StateForm = "order_days") -> np.ndarray:
    """States [C, 3] after a history of orders and average fees [C, D].

    `document` takes both means over all days, `order_days` over days with an order; 0 where there are none.
    """
    orders, fee = np.asarray(orders, float), np.asarray(fee, float)
    days = np.full(len(orders), orders.shape[1]) if form == "document" else (orders > 0).sum(1)
    count = np.maximum(days, 1)
    return np.stack([orders.sum(1), orders.sum(1) / count, fee.sum(1) / count], axis=-1)


def roll_states(orders: np.ndarray, fee: np.ndarray, start: np.ndarray, form: StateForm = "order_days") -> np.ndarray:
    """States [C, D + 1, 3] before each of D days and after the last, from `start` [C, 3]."""
    states = [np.asarray(start, float)]
    for day in range(orders.shape[1]):
        action = np.stack([orders[:, day], fee[:, day]], axis=-1).astype(float)
        states.append(next_state(states[-1], action, form))
    return np.stack(states, axis=1)
