"""Measures of how prices move: dispersion, volatility, rigidity, cycles."""

from __future__ import annotations

import numpy as np

from marl_pricing.evaluation.metrics.parts import Parts

Array = np.ndarray
_SAME = 1e-6  # relative difference of prices that are one price
_REPEATS = 3  # times that a cycle has to be seen


def dispersion(prices: Array) -> Array:
    """Highest less lowest price of an epoch [E, T]: what a shopper saves by looking round.

    Args:
        prices: [E, T, S] money; NaN where a seller is not in the market.
    """
    with np.errstate(invalid="ignore"):
        return np.fmax.reduce(prices, -1) - np.fmin.reduce(prices, -1)


def volatility(prices: Array, live: Array) -> Parts:
    """Mean relative movement |p_t − p_{t−1}| / p_{t−1} (the UX index of the PHANTOM methodology).

    Args:
        prices: [E, T, N] money.  live: [E, T, N] 1.0 where the offer was in the market.

    Returns:
        Parts [E, N]: sum of movements over the number of steps between epochs.
    """
    both = live[:, 1:] * live[:, :-1]
    moved = np.abs(np.diff(prices, axis=1)) / np.maximum(prices[:, :-1], 1e-12)
    return Parts((moved * both).sum(1), both.sum(1))


def unchanged(prices: Array, live: Array) -> Parts:
    """Share of epochs whose price is that of the epoch before (price rigidity, Bils and Klenow 2004).

    Args and return as in `volatility`.
    """
    both = live[:, 1:] * live[:, :-1]
    same = np.abs(np.diff(prices, axis=1)) <= _SAME * np.abs(prices[:, :-1])
    return Parts((same * both).sum(1), both.sum(1))


def cycle_lengths(prices: Array) -> Array:
    """The period in which an episode's prices end up repeating, in epochs.

    It is the shortest period of which the last three repetitions agree in all prices: 1 where prices stand still.

    Args:
        prices: [E, T, N] money.

    Returns:
        [E] whole numbers; 0 where prices do not repeat (periods above T/3 are not seen).
    """
    episodes, epochs, _ = prices.shape
    found = np.zeros(episodes, int)
    for period in range(1, epochs // _REPEATS + 1):
        tail = prices[:, epochs - _REPEATS * period :]
        apart = np.abs(tail[:, period:] - tail[:, :-period])
        repeats = (apart <= _SAME * np.abs(tail[:, :-period])).all((1, 2))
        found = np.where((found == 0) & repeats, period, found)
    return found
