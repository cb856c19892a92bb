"""The best prices that are held: what a platform comes to that goes to one level of prices and stays there.

Runs that were trained without a radius are measured by it: a learner that ends below it has something to learn yet. And
a policy that reacts to nothing tells what of the link between leak and level is the market's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from marl_pricing.config.factorial import Factorial
from marl_pricing.learning.parallel import compiler_options
from marl_pricing.market import MarketShape, MarketState, Observation
from marl_pricing.presentation import pulse
from marl_pricing.studies.factorial.cells import Program
from marl_pricing.studies.factorial.game import DefenceGame, DefenceParams
from marl_pricing.studies.factorial.play import play_episodes

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
            market = tuple(getattr(cell, name) for name in KEYS)
            markets.setdefault(market, (program.learner.game.market, params.replace(radius=jnp.float32(0.0))))
    rows = []
    compiled: dict[MarketShape, Callable[..., dict[str, Array]]] = {}
    for number, (market, (shape, params)) in enumerate(markets.items()):
        pulse.doing(f"looking for the best prices that are held: market {number + 1} of {len(markets)}")
        levels = np.linspace(float(np.mean(params.prices.low)), float(np.mean(params.prices.high)), LEVELS)
        if shape not in compiled:
            compiled[shape] = jax.jit(partial(_play_levels, shape, study), compiler_options=compiler_options())
        play = compiled[shape]
        tried = np.asarray(play(params, jnp.float32(levels), study.play.seed + 1)["reward"])
        best = levels[[int(tried.argmax())]]
        found = play(params, jnp.float32(best), study.play.seed)
        told = {name: float(np.asarray(value)[0]) for name, value in found.items()}
        rows.append(dict(zip(KEYS, market, strict=True)) | {"held_price": float(best[0])} | told)
    return pd.DataFrame(rows)


def _play_levels(
    shape: MarketShape, study: Factorial, params: DefenceParams, levels: Array, seed: Array
) -> dict[str, Array]:
    def at(level: Array) -> dict[str, Array]:
        def go(memory: tuple, seen: Observation, state: MarketState) -> tuple[Array, tuple]:
            del seen
            return jax.vmap(partial(nearest_factor, params, level))(state.prices), memory

        return play_episodes(DefenceGame(shape), params, study, go, (), seed)

    return jax.lax.map(at, levels)


def nearest_factor(params: DefenceParams, level: Array, prices: Array) -> Array:
    """The number of the factor that brings the mean of `prices` [N] nearest to a level.

    Where a price stands at an end of its range, it is the price that would be posted that counts.
    """
    moved = jnp.clip(prices * params.prices.factors[:, None], params.prices.low, params.prices.high).mean(-1)
    return jnp.abs(moved - level).argmin().astype(jnp.int32)
