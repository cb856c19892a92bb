"""Sales of a market whose parameters are known, in the schema that the calibration reads.

Prices move for no reason of demand, so that estimates from these sales can be compared with the market they come from.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from marl_pricing import market
from marl_pricing.market import MarketParams, MarketShape

Array = jax.Array


def wander(key: Array, num_prices: int, num_offers: int, periods: int, change: Array) -> Array:
    """Indices [T, N] of the price grid: each period an offer's price is drawn anew with probability `change`."""
    key_price, key_change = jax.random.split(key)
    drawn = jax.random.randint(key_price, (periods, num_offers), 0, num_prices)
    changes = jax.random.bernoulli(key_change, change, (periods, num_offers)).at[0].set(True)

    def hold(last: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        index = jnp.where(now[1], now[0], last)
        return index, index

    return jax.lax.scan(hold, drawn[0], (drawn, changes))[1]


@partial(jax.jit, static_argnums=(1, 3))
def play(key: Array, shape: MarketShape, params: MarketParams, periods: int, change: Array) -> tuple[Array, Array]:
    """(prices [T, N] money, units sold [T, N]) of one market under wandering prices; `vmap` it over keys or params."""
    key_prices, key_start, key_play = jax.random.split(key, 3)
    indices = wander(key_prices, shape.prices.num_levels, shape.num_offers, periods, change)
    state, _ = market.reset(key_start, shape, params)

    def epoch(state: market.MarketState, now: tuple[Array, Array]):
        own_key, index = now
        action = market.Action(index.reshape(shape.num_sellers, shape.num_products))
        state, _, outcome = market.step(own_key, shape, state, action, params)
        return state, (outcome.prices, outcome.sales)

    return jax.lax.scan(epoch, state, (jax.random.split(key_play, periods), indices))[1]


def sales_table(prices: np.ndarray, units: np.ndarray, num_sellers: int) -> pd.DataFrame:
    """Rows seller, product, period, units, price of prices and units [T, N]."""
    periods, num_offers = prices.shape
    offer = np.tile(np.arange(num_offers), periods)
    own = num_offers // num_sellers
    return pd.DataFrame(
        {
            "seller": [f"seller_{number // own}" for number in offer],
            "product": [f"product_{number}" for number in offer],
            "period": np.repeat(np.arange(periods), num_offers),
            "units": np.asarray(units, float).reshape(-1),
            "price": np.asarray(prices, float).reshape(-1).round(6),
        }
    )


def simulate_sales(
    shape: MarketShape, params: MarketParams, *, periods: int, seed: int = 0, change: float = 0.3
) -> pd.DataFrame:
    """Sales of one market: seller, product, period, units, price; a row an offer and period.

    Args:
        change: probability that an offer's price is drawn anew from its grid, each period.

    Raises:
        ValueError: for a market whose actions are no levels of a grid, or that sells what it has rather than what is
            wanted, so that units are no longer demand.
    """
    if shape.prices.map != "levels":
        raise ValueError(f"market.prices.map={shape.prices.map!r}: accepted is 'levels'")
    if not shape.inventory.unlimited:
        raise ValueError(f"market.inventory.rule={shape.inventory.rule!r}: accepted is 'unlimited'")
    prices, units = play(jax.random.key(seed), shape, params, periods, jnp.float32(change))
    return sales_table(np.asarray(prices), np.asarray(units), shape.num_sellers)
