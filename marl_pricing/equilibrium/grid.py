"""The one-shot game on the price grid: every joint choice, and where nobody gains from another one."""

from __future__ import annotations

from itertools import product

import numpy as np

from marl_pricing.market import MarketShape

Array = np.ndarray

_LARGEST_GAME = 4_000_000


def actions_of(shape: MarketShape) -> Array:
    """A seller's price vectors [A, P] as indices of levels, A = K^P, last product fastest."""
    return np.array(list(product(range(shape.prices.num_levels), repeat=shape.num_products)))


def joint_prices(shape: MarketShape, levels: Array) -> Array:
    """Prices [A^S, N] of every joint choice.

    Args:
        levels: [N, K] money.

    Raises:
        ValueError: if the market has no grid, or the game has more than four million entries.
    """
    if shape.prices.map != "levels":
        raise ValueError(f"market.prices.map={shape.prices.map!r}: a grid game needs 'levels'")
    own = shape.prices.num_levels**shape.num_products
    if own**shape.num_sellers > _LARGEST_GAME:
        raise ValueError(
            f"the game on this grid has {own**shape.num_sellers:,} entries; at most {_LARGEST_GAME:,} are enumerated"
        )
    joint = np.indices((own,) * shape.num_sellers).reshape(shape.num_sellers, -1).T
    choice = actions_of(shape)[joint].reshape(len(joint), shape.num_offers)
    return np.asarray(levels)[np.arange(shape.num_offers), choice]


def as_game(shape: MarketShape, payoffs: Array) -> Array:
    """Payoffs [A^S, S] with one axis a seller, [A, …, A, S]."""
    own = shape.prices.num_levels**shape.num_products
    return payoffs.reshape((own,) * shape.num_sellers + payoffs.shape[1:])


def pure_equilibria(shape: MarketShape, payoffs: Array, tolerance: float = 1e-12) -> Array:
    """All joint choices from which no seller gains by another choice of its own.

    Args:
        payoffs: [A, …, A, S].  tolerance: gains up to this, relative to payoffs above 1, are none.

    Returns:
        [E, N] int indices of price levels, one row an equilibrium; no row where none exists.
    """
    stable = np.ones(payoffs.shape[:-1], bool)
    for seller in range(shape.num_sellers):
        own = payoffs[..., seller]
        best = own.max(axis=seller, keepdims=True)
        stable &= own >= best - tolerance * np.maximum(np.abs(best), 1.0)
    return actions_of(shape)[np.argwhere(stable)].reshape(-1, shape.num_offers)
