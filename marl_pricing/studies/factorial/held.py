"""The best prices that are held: what a platform comes to that goes to one level of prices and stays there.

Runs that were trained without a radius are measured by it: a learner that ends below it has something to learn yet. And
a policy that reacts to nothing tells what of the link between leak and level is the market's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from marl_pricing.config.factorial import Factorial
from marl_pricing.learning.parallel import compiler_options
from marl_pricing.market import MarketShape, MarketState, Observation
from marl_pricing.market.prices import post
from marl_pricing.presentation import pulse
from marl_pricing.studies.factorial.cells import Program
from marl_pricing.studies.factorial.game import DefenceGame, DefenceParams
from marl_pricing.studies.factorial.play import play_episodes
from marl_pricing.widths import float32, int32

Array = jax.Array
LEVELS = 25  # mean prices that are tried, from the lowest to the highest
KEYS = ("alpha", "lambda_coi", "action_levels")  # which market it is: neither learner nor radius changes that


def best_held(programs: Sequence[Program], study: Factorial) -> pd.DataFrame:
    """Of every market the level of prices whose reward is best at the nominal share of agents.

    The level is chosen on shoppers of its own; what it comes to is measured on those that the runs are played on.

    Returns:
        A row a market: `KEYS`, held_price (mean price that is gone to, money), and the measures of `play_episodes`.
    """
    markets: dict[tuple, tuple[MarketShape, DefenceParams]] = {}
    for program in programs:
        assert isinstance(program.learner.game, DefenceGame)
        for cell, params in program.markets.items():
            markets.setdefault(tuple(getattr(cell, name) for name in KEYS), (program.learner.game.market, params))
    play = jax.jit(partial(_play_level, study), static_argnums=0, compiler_options=compiler_options())
    rows = []
    for number, (market, (shape, params)) in enumerate(markets.items()):
        pulse.doing(f"looking for the best prices that are held: market {number + 1} of {len(markets)}")
        levels = np.linspace(float(np.mean(params.prices.low)), float(np.mean(params.prices.high)), LEVELS)
        at = partial(play, shape, params)
        tried = [float(at(float32(level), int32(study.play.seed + 1))["reward"]) for level in levels]
        best = float(levels[int(np.argmax(tried))])
        found = at(float32(best), int32(study.play.seed))
        told = {name: float(value) for name, value in found.items()}
        rows.append(dict(zip(KEYS, market, strict=True)) | {"held_price": best} | told)
    return pd.DataFrame(rows)


def _play_level(
    study: Factorial, shape: MarketShape, params: DefenceParams, level: Array, seed: Array
) -> dict[str, Array]:
    def go(memory: tuple, seen: Observation, state: MarketState) -> tuple[Array, tuple]:
        del seen
        return jax.vmap(partial(nearest_factor, shape, params, level))(state.prices), memory

    return play_episodes(DefenceGame(shape), params, study, go, (), seed)


def nearest_factor(shape: MarketShape, params: DefenceParams, level: Array, prices: Array) -> Array:
    """The number of the factor that brings the mean of `prices` [N] nearest to a level, as they would be posted."""

    def mean(factor: Array) -> Array:
        return post(shape.prices, params.prices, prices, jnp.broadcast_to(factor, prices.shape)).mean()

    moved = jax.vmap(mean)(jnp.arange(shape.prices.num_levels))
    return jnp.abs(moved - level).argmin().astype(jnp.int32)
