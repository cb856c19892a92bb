"""A market of one shopper an epoch in which a sold-out seller draws none: the game of `dynamic.FiniteStock`."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.config import Market, market_from
from marl_pricing.config.errors import ConfigError
from marl_pricing.equilibrium import dynamic
from marl_pricing.equilibrium.dynamic import FiniteStock
from marl_pricing.market import Action
from marl_pricing.policies.episodes import run_episodes
from tests.markets import UNLIMITED, make, programs

EPISODES = 10_000
GAME = FiniteStock((2.0, 2.0), (1.0, 1.0), 0.25, 10, (3, 3))  # of the table of known answers
UNEQUAL = FiniteStock((2.0, 1.8), (1.0, 0.7), 0.3, 6, (3, 2))


def market_of(own: FiniteStock, sold_out: str = "passed_over") -> Market:
    settings = {
        "num_sellers": len(own.stock),
        "episode_length": own.slots,
        "sold_out": sold_out,
        "demand": {"model": "logit", "quality": list(own.quality), "outside": 0.0, "scale": own.scale},
        "prices": {"map": "adjust", "max_change": 0.99, "low": 0.1, "high": 20.0, "start": 2.0},
        "inventory": {"rule": "none", "initial_stock": [float(units) for units in own.stock]},
        "reward": {"unit_cost": list(own.cost)},
    }
    return market_from(settings, {"sessions_per_epoch": 1, "order_law": "multinomial"})


def follow(plan: Any, key: Any, memory: Any, seen: Any, state: market.MarketState, params: Any) -> tuple[Action, Any]:
    """Prices of a plan [T, S, n_1 + 1, n_2 + 1] at the stock that there is."""
    first, second = state.stock.astype(jnp.int32)
    wanted = plan[state.epoch, :, first, second]
    return Action((wanted / state.prices - 1.0)[:, None]), memory


@partial(jax.jit, static_argnums=0)
def play(shape: market.MarketShape, params: market.MarketParams, plan: jax.Array) -> jax.Array:
    """Rewards [E, S] of whole episodes."""
    numbers = jnp.arange(EPISODES)
    key = jax.random.key(0)
    return run_episodes(key, shape, params, follow, plan, (), numbers=numbers, keep=lambda o, live: o.reward).sum(1)


def earned(own: FiniteStock, together: bool, sold_out: str = "passed_over") -> np.ndarray:
    """Rewards [E, S] of the exact policies."""
    plan = jnp.asarray(dynamic.price_plan(own, together=together), jnp.float32)
    return np.asarray(play(*market_of(own, sold_out), plan), np.float64)


def off(sample: np.ndarray, expected: float) -> float:
    """Distance of a mean from what is expected, in standard errors."""
    return float((sample.mean() - expected) / (sample.std(ddof=1) / np.sqrt(sample.size)))


@pytest.mark.parametrize("own", [GAME, pytest.param(UNEQUAL, marks=pytest.mark.slow)], ids=["known answer", "unequal"])
def test_finite_stock_duopoly_markov_perfect_values_are_the_market_s(own: FiniteStock) -> None:
    exact, played = dynamic.markov_perfect(own).value, earned(own, together=False)
    for seller in (0, 1):
        assert abs(off(played[:, seller], exact[seller])) < 4.0
        assert played[:, seller].std(ddof=1) / np.sqrt(EPISODES) < 0.006 * exact[seller]


def test_finite_stock_duopoly_joint_value_is_the_market_s() -> None:
    exact = dynamic.joint_optimum(GAME).value[0]
    assert abs(off(earned(GAME, together=True).sum(1), exact)) < 4.0
    # Where shoppers ask for what is sold out, the same prices bring less: this is the rule that the values need.
    assert off(earned(GAME, together=True, sold_out="asked").sum(1), exact) < -7.0


def test_what_is_sold_out_draws_none_drawn_or_expected() -> None:
    stock = {"rule": "none", "initial_stock": [0.0, 500.0]}
    own = make({"random_orders": False}, inventory=stock, sold_out="passed_over")
    state, _ = programs.reset(jax.random.key(0), *own)
    action = Action(jnp.full((2, 1), 3))
    _, _, outcome = jax.jit(market.step, static_argnums=1)(jax.random.key(1), own.shape, state, action, own.params)
    expected = jax.jit(market.expect_variants, static_argnums=0)(
        own.shape, state, action, own.params, None, jnp.zeros(1)
    )
    alone = np.exp((2.0 - 1.7) / 0.25) / (1.0 + np.exp((2.0 - 1.7) / 0.25))
    np.testing.assert_allclose(outcome.demand, [0.0, 10.0 * alone], rtol=1e-5)
    np.testing.assert_allclose(expected.demand[0], outcome.demand, rtol=1e-5)
    assert float(outcome.unmet.sum()) == 0.0


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"sub_slots": 2}, "sub_slots"), ({"inventory": UNLIMITED}, "unlimited")],
    ids=["waves", "unlimited"],
)
def test_passing_over_is_refused_where_it_changes_nothing(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"market.sold_out='passed_over': accepted is 'asked'.*{named}"):
        make(sold_out="passed_over", **changes)
