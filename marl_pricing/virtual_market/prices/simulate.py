"""Logs of prices shown and orders with known truth: the market's own sessions, a shop whose prices follow demand."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from marl_pricing import market
from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.market.market import open_epoch
from marl_pricing.presentation.files import write_atomically
from marl_pricing.traffic.each import Each, each_session
from marl_pricing.virtual_market.prices.log import NOTHING, PriceLog, write_log
from marl_pricing.virtual_market.prices.truth import TRUTH, TrueMarket, TruthSettings, told_of, true_market
from marl_pricing.virtual_market.settings import FirstDay

Array = jax.Array
_LOG = "price_log.csv"


class SimulationSettings(TruthSettings):
    """What is simulated."""

    out: str = Field(description=f"folder for {_LOG} and {TRUTH}")
    days: Annotated[int, Field(ge=1, le=1000)] = Field(60, description="of the log")
    epochs: Annotated[int, Field(ge=1, le=1440)] = Field(6, description="a day; prices may differ between them")
    start: FirstDay = Field("2021-03-01", description="first day, yyyy-mm-dd")
    agents: Literal["told", "untold"] = Field("told", description="whether the log says which sessions are agents'")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="of prices, sessions and orders")


class Simulated(NamedTuple):
    """A log and the market that it is of."""

    log: PriceLog
    truth: TrueMarket
    level: np.ndarray  # [N] geometric mean of the level of demand over the log


class Moves(NamedTuple):
    """How the shop's prices move, in halves of the range."""

    low: Array  # [N] money
    high: Array  # [N] money
    daily: Array  # []
    within: Array  # []
    confounding: Array  # []


@partial(jax.jit, static_argnames=("shape", "days", "epochs"))
def play_log(
    key: Array, shape: MarketShape, params: MarketParams, moves: Moves, days: int, epochs: int
) -> tuple[Array, Array, Each]:
    """(prices [T, N] money, level of demand [T, N], sessions [T, M, …]) of T = days · epochs epochs.

    A day's prices are the middle of the range, moved by what demand was above or below its mean as the day began, and
    by luck; from epoch to epoch they move around that by luck alone.
    """
    key_start, key_prices, key_play = jax.random.split(key, 3)
    state, _ = market.reset(key_start, shape, params)
    middle, half = 0.5 * (moves.low + moves.high), 0.5 * (moves.high - moves.low)
    spread = jnp.sqrt(params.demand.level_volatility**2 / (1.0 - params.demand.level_persistence**2))

    def day(state: market.MarketState, keys: tuple[Array, Array]):
        own, playing = keys
        level = jnp.zeros_like(middle) if state.log_level is None else state.log_level / jnp.maximum(spread, 1e-9)
        luck = jax.random.normal(jax.random.fold_in(own, 0), middle.shape)
        base = middle + half * (moves.confounding * level + moves.daily * luck)

        def epoch(state: market.MarketState, keys: tuple[Array, Array]):
            luck = moves.within * jax.random.normal(keys[0], (shape.num_offers,))
            prices = jnp.clip(base + half * luck, moves.low, moves.high)
            action = market.Action(prices.reshape(shape.num_sellers, shape.num_products))
            found = open_epoch(shape, params, state, action, keys[1]).found
            # As `step_candidates` draws them, so that what is logged is what the market sold.
            share = params.traffic.agent_share if state.agent_share is None else state.agent_share
            key_traffic = jax.random.split(keys[1], 4)[2]
            each = each_session(key_traffic, shape.traffic, params.traffic, shape.demand, params.demand, found, share)
            state, _, _ = market.step(keys[1], shape, state, action, params)
            return state, (prices, found.level, each)

        return jax.lax.scan(epoch, state, (jax.random.split(jax.random.fold_in(own, 1), epochs), playing))

    playing = jax.random.split(key_play, days * epochs).reshape(days, epochs)
    _, found = jax.lax.scan(day, state, (jax.random.split(key_prices, days), playing))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)


def simulate(own: SimulationSettings) -> Simulated:
    """A log and its truth. Raises ConfigError."""
    truth = true_market(own)
    numbers = (truth.low, truth.high, own.daily, own.within, own.confounding)
    moves = Moves(*(jnp.asarray(number, jnp.float32) for number in numbers))
    prices, level, each = play_log(jax.random.key(own.seed), truth.shape, truth.params, moves, own.days, own.epochs)
    came, agent, orders = (np.asarray(part) for part in each)
    epoch, place = np.nonzero(came)
    ordered = orders[epoch, place]
    bought = np.where(ordered.any(1), ordered.argmax(1), NOTHING)
    has_agents = truth.shape.demand.num_classes > 1 and own.agents == "told"
    log = PriceLog(
        truth.offers,
        np.datetime64(own.start) + np.arange(own.days),
        np.arange(len(epoch)).astype(str),
        epoch // own.epochs,
        np.asarray(prices, float)[epoch].round(4),
        bought,
        ordered.sum(1).astype(float),
        agent[epoch, place] if has_agents else None,
    )
    return Simulated(log, truth, np.exp(np.log(np.asarray(level, float)).mean(0)))


def leave(own: SimulationSettings, found: Simulated) -> list[Path]:
    """Write the log, and the settings and curves that are true of it."""
    folder = Path(own.out)
    folder.mkdir(parents=True, exist_ok=True)
    told = told_of(own.model_dump(exclude={"out"}), found.truth, found.level)
    return [
        write_log(folder / _LOG, found.log),
        write_atomically(folder / TRUTH, json.dumps(told, indent=1) + "\n"),
    ]
