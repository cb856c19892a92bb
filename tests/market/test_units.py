"""The scales that go with an exported policy are those of the market's observation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.market import Action
from marl_pricing.market.units import entries
from tests.learning.helpers import CHOSEN, QUICK
from tests.markets import make, programs
from tests.traffic.visitors import with_sessions


def raw_figures(shape: Any, state: Any, features: tuple[str, ...]) -> np.ndarray:
    """What a shop's system would count [S, O], in money and units."""
    sellers = (shape.num_sellers, shape.num_products)
    prices, stock = (np.asarray(own).reshape(sellers) for own in (state.prices, state.stock + state.pipeline[:, 0]))
    events = np.asarray(state.events)
    figures = {
        "own_price": prices,
        "rival_price": (prices.sum(0) - prices) / (shape.num_sellers - 1),
        "all_rival_prices": np.concatenate([np.roll(prices, -k, 0) for k in range(1, shape.num_sellers)], 1),
        "stock": stock,
        "on_order": np.asarray(state.pipeline[:, 1:].sum(-1)).reshape(sellers),
        "pipeline": np.asarray(state.pipeline[:, 1:]).reshape(shape.num_sellers, -1),
        "demand": np.asarray(state.demand).reshape(sellers),
        "events": events.reshape(sellers),
        "proxy_share": (events / max(events.sum(), 1e-6)).reshape(sellers),
        "time": np.full((shape.num_sellers, 1), state.epoch),
        "cash": None if state.cash is None else np.asarray(state.cash)[:, None],
        "suspicion": np.full((shape.num_sellers, 1), 0.0 if state.suspicion is None else state.suspicion),
        "shock": np.full((shape.num_sellers, 1), state.shock_remaining is not None and state.shock_remaining > 0),
    }
    return np.concatenate([np.asarray(figures[name], float) for name in features], 1)


MARKETS = {
    "own orders, two products, cash": lambda: make(
        num_sellers=3, num_products=2, inventory=CHOSEN,
        bankruptcy={"initial_cash": [30.0, 20.0, 50.0], "cash_limit": 5.0},
        features=["own_price", "rival_price", "all_rival_prices", "stock", "on_order", "pipeline", "demand", "time",
                  "cash"],
    ),
    "sessions": lambda: with_sessions(
        "bank", sessions=40, shocks={"probability": 0.5, "duration": 2, "scale": 2.0},
        features=["own_price", "stock", "demand", "events", "proxy_share", "suspicion", "shock"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MARKETS)
def test_raw_figures_are_shown_as_the_market_shows_them(name: str) -> None:
    own = MARKETS[name]()
    shape, params = own
    told = entries(shape, params)
    assert [entry.name for entry in told] == market.layout(shape)
    offset, scale = (np.array([getattr(entry, part) for entry in told]).T for part in ("offset", "scale"))
    state, seen = programs.reset(jax.random.key(0), *own)
    step = jax.jit(lambda key, state, action: market.step(key, shape, state, action, params), compiler_options=QUICK)
    for time in range(5):
        raw = raw_figures(shape, state, shape.features)
        np.testing.assert_allclose((raw - offset) / scale, seen.local, rtol=1e-5, atol=1e-5)
        levels = jnp.full((shape.num_sellers, shape.num_products), time, jnp.int32)
        state, seen, _ = step(jax.random.key(time), state, Action(levels, levels % 3 if shape.chooses_orders else None))


def test_a_mean_of_rivals_with_unlike_ranges_is_no_sum_of_money() -> None:
    prices = {"map": "levels", "low": [1.0, 2.0, 1.0], "high": 3.0, "num_price_levels": 4}
    shape, params = make(num_sellers=3, prices=prices, features=["own_price", "rival_price"])
    own, rival = entries(shape, params)
    assert own == (
        "own price of the last epoch (-1 lowest, 1 highest)",
        "own_price",
        "money",
        (2.0, 2.5, 2.0),
        (1.0, 0.5, 1.0),
    )
    assert rival.unit == "mean of the rivals' prices, each shown on the range of its own"
    assert set(rival.offset + rival.scale) == {0.0, 1.0}
