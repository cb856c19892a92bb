"""The best constant prices in a seat of learned sellers, by search under given shoppers."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from marl_pricing.evaluation.behaviour.challengers import BATCH, CONSTANT, Challenger, Judge
from marl_pricing.evaluation.behaviour.responders import Place
from marl_pricing.market import MarketParams, MarketShape

Array = np.ndarray

FACTOR_GRID = 15  # constant prices that are tried where a price action is no level
FINALISTS = 3  # that are played under all of the shoppers


def price_grid(shape: MarketShape, params: MarketParams) -> Array:
    """Constant prices [N, K] to be tried: the levels, or an even grid of what may be posted."""
    if shape.prices.map == "levels":
        return np.asarray(params.prices.levels)
    low, high = (np.asarray(end)[:, None] for end in (params.prices.low, params.prices.high))
    return low + (high - low) * np.linspace(0.0, 1.0, FACTOR_GRID, dtype=np.float32)


def _means(judge: Judge, key: jax.Array, places: Sequence[Place], prices: Array, episodes: int) -> Array:
    """Mean reward [W, C] of prices [W, C, N]."""
    count = prices.shape[1]
    seats = [(place.seed, place.seller) for place in places for _ in range(count)]
    challengers = [Challenger(CONSTANT, prices=own) for own in prices.reshape(-1, prices.shape[-1])]
    rewards = judge.rewards(key, seats, challengers, episodes).reshape(len(places), count, 2, 2, episodes)
    return np.stack([rewards[n, :, int(place.objective == "raw"), 0].mean(-1) for n, place in enumerate(places)])


def best_constants(
    judge: Judge,
    key: jax.Array,
    shape: MarketShape,
    params: MarketParams,
    places: Sequence[Place],
    episodes: int,
) -> list[tuple[Array, Array]]:
    """The best constant prices in each place.

    All products of a seller first stand on the same level of their grids; then one product after the other is moved
    along its own, and where prices are continuous once more, a grid step to either side. That is done under a batch of
    shoppers; the best few are then played under all.

    Args:
        key: of the shoppers.  episodes: of them.

    Returns:
        (prices [N], rewards [E] per epoch under the place's objective), one a place.
    """
    grid = price_grid(shape, params)
    num_offers, count = grid.shape
    tried = np.broadcast_to(grid.T, (len(places), count, num_offers))
    means = _means(judge, key, places, tried, BATCH)
    products = range(shape.num_products)
    stages = [(product, False) for product in products if shape.num_products > 1]
    stages += [(product, True) for product in products if shape.prices.continuous]
    for product, nearby in stages:
        best = tried[np.arange(len(places)), means.argmax(1)]
        tried = np.repeat(best[:, None], count, 1)
        for number, place in enumerate(places):
            offer = place.seller * shape.num_products + product
            near = best[number, offer] + (grid[offer, 1] - grid[offer, 0]) * np.linspace(-1.0, 1.0, count)
            tried[number, :, offer] = np.clip(near, grid[offer, 0], grid[offer, -1]) if nearby else grid[offer]
        means = _means(judge, key, places, tried, BATCH)
    order = np.argsort(-means, axis=1)[:, :FINALISTS]
    last = np.take_along_axis(tried, order[..., None], 1)
    finalists = last.shape[1]
    seats = [(place.seed, place.seller) for place in places for _ in range(finalists)]
    challengers = [Challenger(CONSTANT, prices=own) for own in last.reshape(-1, num_offers)]
    rewards = judge.rewards(key, seats, challengers, episodes).reshape(len(places), finalists, 2, 2, episodes)
    found = []
    for number, place in enumerate(places):
        own = rewards[number, :, int(place.objective == "raw"), 0]
        best_one = own.mean(-1).argmax()
        found.append((last[number, best_one], own[best_one]))
    return found
