"""Rivals that answer: every seller in turn to its best prices, until nobody moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from marl_pricing.pricelist.choose import Choice, Constraints, choose_prices
from marl_pricing.pricelist.demand import Demand

Array = np.ndarray
_ROUNDS = 30


@dataclass(frozen=True)
class Settled:
    """Where answers lead.

    Attributes:
        prices: [N] of everybody's products.  choice: the shop's, of everybody's products.
        rounds: until nobody moved; None where prices still went round after the last.
    """

    prices: Array
    choice: Choice
    rounds: int | None


def settle(everybody: Demand, cost: Array, seller: Array, ours: int, rules: Sequence[Constraints]) -> Settled:
    """Best responses in turn, the shop first, from today's prices; each seller counts its own profit alone.

    Args:
        everybody: demand for all sellers' products.
        cost: [N].  seller: [N] numbers from 0, `ours` the shop's.
        rules: of each seller; what is not its own is held whatever they say.
    """
    prices = everybody.today.astype(float).copy()
    order = [ours, *(number for number in range(len(rules)) if number != ours)]
    for played in range(1, _ROUNDS + 1):
        before = prices.copy()
        for number in order:
            found = choose_prices(everybody, cost, rules[number], prices, seller == number)
            prices = found.prices.copy()
            if number == ours:
                choice = found
        if np.array_equal(prices, before):
            return Settled(prices, choice, played)
    return Settled(prices, choice, None)
