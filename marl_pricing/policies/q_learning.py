"""Q-learning of many sessions at once, as one program.

A session is S sellers who price the same game again and again, each with a table Q_i(z, a) of its own:

    Q_i(z, a_i) ← (1 − α) Q_i(z, a_i) + α [π_i(a) + δ max_b Q_i(z', b)],   z' = a

(Calvano et al. 2020, section II), all other entries unchanged. In period t a seller explores with probability
exp(−β t) and then takes every level alike; otherwise it takes its best one.

Speed. Sessions are the last and wide axis of everything, so that the maxima over K levels are K elementwise operations
on S·B numbers. The K values of the state in hand are carried from period to period: a period reads one row of
the tables and writes one entry of each. Whether a strategy changed is seen from that row, never from the table.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from marl_pricing.compiler import EMITTERS, LEVEL
from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.policies.expectations import RuleError
from marl_pricing.policies.tabular_q import PricingGame, QLearningSettings, first_values, pricing_game

Array = jax.Array

CHUNK = 128  # periods whose random bits are drawn at once
_BLOCK = 4_000_000  # market steps between two reports to the host
_LEAST = 32  # fewer sessions than this are no faster
_LARGEST = 2**29  # table entries, 2 GiB


class Numbers(struct.PyTreeNode):
    """What the program is told: new numbers never recompile."""

    payoffs: Array  # [S, Z] money per period
    learning_rate: Array  # [] α
    exploration_decay: Array  # [] β
    discount: Array  # [] δ
    patience: Array  # [] int32 periods
    max_periods: Array  # [] int32


class Sessions(struct.PyTreeNode):
    """B sessions while they learn."""

    values: Array  # [B, Z, S, K] Q_i(z, a)
    state: Array  # [B] int32, z
    row: Array  # [K, S, B] Q_i(z, ·) at the present state
    best: Array  # [S, B] int32, the level that each seller thinks best there
    unchanged: Array  # [B] int32 periods since a greedy strategy changed
    periods: Array  # [B] int32 periods learned


@dataclass(frozen=True)
class Learned:
    """What B sessions learned.

    Attributes:
        game: that they learned in.
        values: [B, Z, S, K] Q_i(z, a), money, discounted.
        greedy: [B, Z, S] int32, the best level of each seller by state; of equal ones the lowest.
        state: [B] where learning ended.
        periods: [B] that it took.
        converged: [B] bool; False where `max_periods` ended it.
    """

    game: PricingGame
    values: np.ndarray
    greedy: np.ndarray
    state: np.ndarray
    periods: np.ndarray
    converged: np.ndarray


@dataclass(frozen=True)
class Progress:
    """How far the learning is.

    Attributes:
        period: that the sessions which took longest have reached.
        finished: sessions that have ended.
        steps: market steps so far, one for every period of every session.
        seconds: since the first of them began; compilation not counted.
    """

    period: int
    finished: int
    steps: int
    seconds: float


def draw_uniform(key: Array, chunk: Array | int, num_sellers: int) -> Array:
    """Numbers [128, S] in [0, 1) that one session uses in a chunk of periods."""
    bits = jax.random.bits(jax.random.fold_in(key, chunk), (CHUNK, num_sellers))
    return (bits >> 8).astype(jnp.float32) * 2.0**-24


def choose(uniform: Array, epsilon: Array, best: Array, num_levels: int) -> Array:
    """Levels taken: with probability ε any, otherwise the best.

    One uniform number decides both: below ε a seller explores, and uniform/ε is again uniform.

    Args:
        uniform: [...] in [0, 1).  epsilon: [].  best: [...] int32.
    """
    explored = jnp.minimum((uniform * (num_levels / epsilon)).astype(jnp.int32), num_levels - 1)
    return jnp.where(uniform < epsilon, explored, best)


def _best(row: Array) -> tuple[Array, Array]:
    """Largest value and its first index along the first axis."""
    most = row.max(0)
    # Two plain reductions are a fifth faster than one argmax, which carries pairs.
    index = jnp.arange(row.shape[0], dtype=jnp.int32).reshape(-1, *(1,) * most.ndim)
    return most, jnp.where(row == most, index, row.shape[0]).min(0)


def _period(numbers: Numbers, own: Sessions, uniform: Array, now: Array) -> Sessions:
    """One period of all sessions; those that have ended stay as they are.

    Args:
        uniform: [S, B] in [0, 1).  now: [] int32, t.
    """
    num_sessions, num_states, num_sellers, num_levels = own.values.shape
    seller = jnp.arange(num_sellers, dtype=jnp.int32)[:, None]
    level = jnp.arange(num_levels, dtype=jnp.int32)[:, None, None]
    first = jnp.arange(num_sessions, dtype=jnp.int32) * (num_states * num_sellers) + seller
    live = (own.unchanged < numbers.patience) & (now < numbers.max_periods)

    taken = choose(uniform, jnp.exp(-numbers.exploration_decay * now), own.best, num_levels)
    state = (taken * num_levels ** (num_sellers - 1 - seller)).sum(0)
    rows = own.values.reshape(-1, num_levels)
    row = rows.at[first + state * num_sellers].get(mode="promise_in_bounds").transpose(2, 0, 1)
    most, best = _best(row)
    payoff = numbers.payoffs.reshape(-1).at[seller * num_states + state].get(mode="promise_in_bounds")
    target = payoff + numbers.discount * most

    hit = level == taken
    rate = numbers.learning_rate
    learned = jnp.where(hit & live, (1.0 - rate) * own.row + rate * target, own.row)
    entry = (first + own.state * num_sellers, taken)
    rows = rows.at[entry].set(jnp.where(hit, learned, 0.0).sum(0), unique_indices=True, mode="promise_in_bounds")
    _, best_here = _best(learned)
    changed = (best_here != own.best).any(0)

    state = jnp.where(live, state, own.state)
    here = state == own.state
    return Sessions(
        values=rows.reshape(own.values.shape),
        state=state,
        row=jnp.where(here, learned, row),
        best=jnp.where(here, best_here, best),
        unchanged=jnp.where(live, jnp.where(changed, 0, own.unchanged + 1), own.unchanged),
        periods=own.periods + live,
    )


# On a CPU, XLA would split the gather and the scatter of a few kilobytes between threads, and wait for them twice a
# period: half the speed for twice the cores. This one program runs for minutes: it is worth all of the compiler's care,
# whatever XLA_FLAGS say. Newer compilers always have the emitters, and know no such option.
_COMPILER: dict[str, str | int | bool] = {"xla_disable_hlo_passes": "cpu-parallel-task-assigner", LEVEL: 3}
if EMITTERS in os.environ.get("XLA_FLAGS", ""):
    _COMPILER[EMITTERS] = True


@partial(jax.jit, donate_argnums=1, compiler_options=_COMPILER)
def learn_block(numbers: Numbers, own: Sessions, keys: Array, first: Array, last: Array) -> Sessions:
    """Chunks `first` to `last` (not included) of 128 periods, or fewer where all sessions end before.

    Args:
        keys: [B], one a session; a session draws the same numbers whoever learns beside it.
    """
    num_sellers = own.best.shape[0]

    def chunk(carry: tuple[Sessions, Array]) -> tuple[Sessions, Array]:
        own, number = carry
        uniform = jax.vmap(lambda key: draw_uniform(key, number, num_sellers), out_axes=2)(keys)

        def period(own: Sessions, inputs: tuple[Array, Array]) -> tuple[Sessions, None]:
            return _period(numbers, own, *inputs), None

        times = number * CHUNK + jnp.arange(CHUNK)
        return jax.lax.scan(period, own, (uniform, times))[0], number + 1

    def more(carry: tuple[Sessions, Array]) -> Array:
        own, number = carry
        return (number < last) & (own.unchanged < numbers.patience).any()

    return jax.lax.while_loop(more, chunk, (own, first))[0]


def start(game: PricingGame, settings: QLearningSettings, keys: Array) -> tuple[Numbers, Sessions]:
    """The program's numbers, and sessions [B] that have learned nothing yet, in states drawn alike.

    Args:
        keys: [B], one a session.
    """
    shape = (len(keys), game.num_states, game.num_sellers, game.num_levels)
    first = jnp.asarray(first_values(game, settings.discount), jnp.float32)
    state = jax.vmap(lambda key: jax.random.randint(key, (), 0, game.num_states))(keys)
    row = jnp.broadcast_to(first.T[:, :, None], (game.num_levels, game.num_sellers, len(keys)))
    numbers = Numbers(
        payoffs=jnp.asarray(game.payoffs.T, jnp.float32),
        learning_rate=jnp.float32(settings.learning_rate),
        exploration_decay=jnp.float32(settings.exploration_decay),
        discount=jnp.float32(settings.discount),
        patience=jnp.int32(settings.patience),
        max_periods=jnp.int32(settings.max_periods),
    )
    # Each leaf has a buffer of its own, because the program takes them over.
    sessions = Sessions(
        values=jnp.array(jnp.broadcast_to(first, shape)),
        state=state,
        row=jnp.array(row),
        best=_best(row)[1],
        unchanged=jnp.zeros(len(keys), jnp.int32),
        periods=jnp.zeros(len(keys), jnp.int32),
    )
    return numbers, sessions


def _select(own: Sessions, which: np.ndarray) -> Sessions:
    """Only some of the sessions."""
    return Sessions(
        values=own.values[which],
        state=own.state[which],
        row=own.row[..., which],
        best=own.best[..., which],
        unchanged=own.unchanged[which],
        periods=own.periods[which],
    )


def learn(
    key: Array,
    shape: MarketShape,
    params: MarketParams,
    settings: QLearningSettings,
    num_sessions: int,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Learned:
    """Let sessions learn until each has converged or reached the limit.

    Sessions do not touch each other: the first ones are the same however many are learned.

    Args:
        tell: called after every four million market steps or so.

    Raises:
        RuleError: for a market that is no repeated game (`tabular_q.pricing_game`), or tables that are too large.
        ValueError: for less than one session, and as `equilibrium.static.grid_payoffs`.
    """
    if num_sessions < 1:
        raise ValueError(f"sessions={num_sessions!r}: accepted is a whole number of at least 1")
    game = pricing_game(shape, params)
    entries = game.num_states * game.num_sellers * game.num_levels
    if num_sessions * entries > _LARGEST:
        raise RuleError(
            f"sessions={num_sessions!r}: {entries:,} table entries each in this market; accepted is at most "
            f"{_LARGEST // entries}"
        )
    keys = jax.vmap(lambda number: jax.random.split(jax.random.fold_in(key, number)))(jnp.arange(num_sessions))
    numbers, own = start(game, settings, keys[:, 0])
    keys = keys[:, 1]
    left, gone = np.arange(num_sessions), []
    chunk, last_chunk = 0, -(-settings.max_periods // CHUNK)
    steps, seconds = 0, 0.0
    own = learn_block(numbers, own, keys, 0, 0)  # compiles
    while left.size:
        begin = time.perf_counter()
        last = min(chunk + max(1, _BLOCK // (CHUNK * left.size)), last_chunk)
        own = jax.block_until_ready(learn_block(numbers, own, keys, chunk, last))
        seconds += time.perf_counter() - begin
        chunk = last
        over = (np.asarray(own.unchanged) >= settings.patience) | (chunk == last_chunk)
        learned = steps + int(np.asarray(own.periods, np.int64).sum())
        tell(Progress(int(own.periods.max()), num_sessions - int((~over).sum()), learned, seconds))
        # Sessions that have ended still cost their share; half as many are worth a compilation.
        if over.all() or _LEAST <= (~over).sum() <= left.size // 2:
            gone.append((left[over], jax.device_get(_select(own, over))))
            steps += int(gone[-1][1].periods.sum(dtype=np.int64))
            own, keys, left = _select(own, ~over), keys[~over], left[~over]
            if left.size:
                own = learn_block(numbers, own, keys, 0, 0)
    order = np.argsort(np.concatenate([places for places, _ in gone]))

    def gather(name: str) -> np.ndarray:
        return np.concatenate([getattr(own, name) for _, own in gone])[order]

    values = gather("values")
    return Learned(
        game=game,
        values=values,
        greedy=values.argmax(-1).astype(np.int32),
        state=gather("state"),
        periods=gather("periods"),
        converged=gather("unchanged") >= settings.patience,
    )
