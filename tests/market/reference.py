"""The market once more, in plain Python: one market, expected logit demand, written from the documents alone."""

from __future__ import annotations

from typing import Any

import numpy as np


def simulate(
    levels: np.ndarray, actions: np.ndarray, *, quality: float, scale: float, sessions: int, rule: str,
    stock: np.ndarray, lead_time: np.ndarray, reorder_point: float, order_quantity: float, order_up_to: float,
    order_levels: list[float], chosen: np.ndarray | None, single_order: bool, cost: np.ndarray, penalty: float,
    holding: float, omega: float,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row an epoch; `actions` [T, N] are price levels, `chosen` [T, N] order levels. One product a seller."""
    num = actions.shape[1]
    stock = stock.astype(float).copy()
    on_the_way: list[tuple[int, int, float]] = []  # (due epoch, offer, units)
    rows = []
    for t, action in enumerate(actions):
        arrivals = np.zeros(num)
        for due, offer, units in on_the_way:
            if due == t:
                arrivals[offer] += units
        on_the_way = [own for own in on_the_way if own[0] > t]
        stock += arrivals
        price = levels[np.arange(num), action]
        weight = np.exp((quality - price) / scale)
        demand = sessions * weight / (1.0 + weight.sum())
        sales = np.minimum(stock, demand)
        unmet = np.maximum(demand - stock, 0.0)
        left = stock - sales
        ordered = np.zeros(num)
        for offer in range(num):
            waiting = sum(units for _, o, units in on_the_way if o == offer)
            position = left[offer] + waiting
            if rule == "threshold" and position < reorder_point:
                ordered[offer] = order_quantity
            elif rule == "s_S" and position < reorder_point:
                ordered[offer] = order_up_to - position
            elif rule == "base_stock":
                ordered[offer] = max(order_up_to - position, 0.0)
            elif rule == "chosen":
                assert chosen is not None
                ordered[offer] = order_levels[chosen[t, offer]]
            if single_order and waiting > 0:
                ordered[offer] = 0.0
            if ordered[offer] > 0:
                on_the_way.append((t + int(lead_time[offer]), offer, ordered[offer]))
        reward = (price - cost) * sales - penalty * unmet - holding * left
        shaped = omega * reward + (1 - omega) * reward.sum()
        rows.append(
            {"stock": stock.copy(), "arrivals": arrivals, "demand": demand, "sales": sales, "unmet": unmet,
             "ordered": ordered, "reward": reward, "shaped": shaped, "prices": price}
        )  # fmt: skip
        stock = left
    return rows
