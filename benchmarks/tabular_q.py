"""Market steps per second of tabular Q-learning on one core, beside the same rule as a plain NumPy loop.

Seconds are those that the process had the core, so that others on the machine count as little as they can.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from statistics import median
from typing import Any

import jax
import numpy as np

from marl_pricing.config import Market, market_from
from marl_pricing.policies import q_learning
from marl_pricing.policies.tabular_q import PricingGame, QLearningSettings, first_values, pricing_game
from marl_pricing.studies.tabular_q import MARKET, TRAFFIC

NUM_SESSIONS, NUM_CHUNKS, NUM_PERIODS = 64, 400, 20_000
LATE = 2_000_000  # periods, when sellers of the default settings have all but stopped to explore


def calvano_market(num_sellers: int) -> Market:
    """The logit market of Calvano et al. (2020) with so many sellers."""
    return market_from(MARKET | {"num_sellers": num_sellers}, TRAFFIC)


def numpy_periods(
    game: PricingGame, settings: QLearningSettings, uniform: np.ndarray, state: int, first_period: int = 0
) -> Iterator[tuple[np.ndarray, int]]:
    """One session of `q_learning`, a period after the other.

    Args:
        uniform: [T, S] in [0, 1), which the periods use.  state: that it begins in.

    Yields:
        (values [Z, S, K], state) after each period; the array is always the same.
    """
    sellers, count = np.arange(game.num_sellers), game.num_levels
    values = np.tile(first_values(game, settings.discount), (game.num_states, 1, 1))
    payoffs, strides = game.payoffs, count ** sellers[::-1]
    for period, drawn in enumerate(uniform, first_period):
        epsilon = np.exp(-settings.exploration_decay * period)
        explored = np.minimum((drawn * (count / epsilon)).astype(int), count - 1)
        taken = np.where(drawn < epsilon, explored, values[state].argmax(-1))
        following = int(taken @ strides)
        target = payoffs[following] + settings.discount * values[following].max(-1)
        values[state, sellers, taken] += settings.learning_rate * (target - values[state, sellers, taken])
        state = following
        yield values, state


def _program_seconds(game: PricingGame, first_chunk: int, repeats: int) -> tuple[float, float]:
    """(median seconds of `NUM_CHUNKS` chunks from a chunk on, seconds to compile)."""
    keys = jax.random.split(jax.random.key(0), NUM_SESSIONS)
    # Nobody converges, so that every session learns in every period.
    numbers, own = q_learning.start(game, QLearningSettings(patience=2**31 - 1), keys)
    begin = time.process_time()
    own = q_learning.learn_block(numbers, own, keys, 0, 0)
    compile_seconds = time.process_time() - begin
    seconds = []
    for number in range(repeats + 1):
        begin = time.process_time()
        chunk = first_chunk + number * NUM_CHUNKS
        own = jax.block_until_ready(q_learning.learn_block(numbers, own, keys, chunk, chunk + NUM_CHUNKS))
        seconds.append(time.process_time() - begin)
    return median(seconds[1:]), compile_seconds


def _loop_seconds(game: PricingGame, first_period: int, repeats: int) -> float:
    seconds = []
    for number in range(repeats):
        uniform = np.random.default_rng(number).random((NUM_PERIODS, game.num_sellers))
        begin = time.process_time()
        deque(numpy_periods(game, QLearningSettings(), uniform, 0, first_period), maxlen=0)
        seconds.append(time.process_time() - begin)
    return median(seconds)


def rows(repeats: int = 5) -> list[dict[str, Any]]:
    """Two and three sellers, 15 prices, 64 sessions: while they explore and when they no longer do."""
    where = "all cores"
    if hasattr(os, "sched_setaffinity"):  # before JAX starts its threads
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        where = "one core"
    table = []
    for num_sellers in (2, 3):
        own = calvano_market(num_sellers)
        game = pricing_game(own.shape, own.params)
        for phase, period in (("exploring", 0), ("exploring no more", LATE)):
            seconds, compile_seconds = _program_seconds(game, period // q_learning.CHUNK, repeats)
            rate = NUM_SESSIONS * NUM_CHUNKS * q_learning.CHUNK / seconds
            loop = NUM_PERIODS / _loop_seconds(game, period, repeats)
            row = {
                "name": f"tabular Q: {num_sellers} sellers, {phase}",
                "value": rate,
                "unit": "market steps/s",
                "note": f"{NUM_SESSIONS} sessions, {where}; {rate / loop:.0f} times the NumPy loop's {loop:,.0f}",
            }
            # Both phases run the same program.
            table.append(row if period else row | {"compile_seconds": compile_seconds})
    return table
