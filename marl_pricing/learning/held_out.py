"""Play on held-out shoppers while training: what the policies earn as they are, greedy and sampled.

The shoppers are the same at every evaluation, for every seed and every run, and none of them is met in training. A
difference between two evaluations is one of the policies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from marl_pricing import market, traffic
from marl_pricing.learning import actions, parallel
from marl_pricing.learning.mappo import Learner
from marl_pricing.learning.networks import Parameters
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.seats import learners_of, without_past
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState
from marl_pricing.market.types import epoch_share, vary

Array = jax.Array
Sums = dict[str, Array]

EPISODES = 8  # of each kind of play
DEVIATION_EPISODES = 8  # of each constant price that a seller deviates to
# Deviations are played where their market epochs are at most this share of those that are trained on.
DEVIATION_SHARE = 1 / 8
# Seeds of runs are below 2**31: no training draws from the keys of this one.
_ROOT = np.uint32(3_141_592_653)
_LEAST = 1e-9


def has_one_objective(params: MarketParams) -> bool:
    """Whether all learners want the same: there is one, or ω is 0 for all."""
    omega = np.asarray(params.reward.omega)[learners_of(params)]
    return omega.size == 1 or bool((omega == 0.0).all())


def deviation_epochs(shape: MarketShape) -> int:
    """Market epochs that `Deviations` plays for one seed: sellers × constant prices × episodes × their length."""
    prices = shape.prices.num_levels**shape.num_products
    return shape.num_sellers * prices * DEVIATION_EPISODES * shape.episode_length


def _keys(what: int) -> Array:
    return jax.random.fold_in(jax.random.key(_ROOT), what)


def _episodes(
    learner: Learner,
    parameters: Parameters,
    params: MarketParams,
    numbers: Array,
    choose: Callable[[Array, list[Array]], list[Array]],
    step: Callable[[Array, MarketState, Action], tuple],
) -> Sums:
    """Sums over whole episodes, {name: [B, S]}, of epochs in which a seller was in the market.

    Args:
        numbers: [B] of the episodes' shoppers.
        choose: (key of the epoch, heads) → indices of each head [B, S, P].
        step: (key, state, action) → what `market.step` answers, for one market.
    """
    shape, game = learner.shape, learner.game
    own_keys = jax.vmap(partial(jax.random.fold_in, _keys(0)))(numbers)
    state, seen = jax.vmap(lambda key: game.reset(jax.random.fold_in(key, 0), shape, params))(own_keys)
    size = numbers.size
    nothing = jnp.zeros((size, shape.num_sellers))
    sums = dict.fromkeys(("profit", "shaped", "price", "live", "sales", "demand", "entropy"), nothing)

    def by_seller(values: Array) -> Array:
        return values.reshape(size, shape.num_sellers, shape.num_products).sum(-1)

    def epoch(carry: tuple, time: Array) -> tuple[tuple, None]:
        state, seen, memory, gone, sums = carry
        logits, memory = learner.actor.step(parameters, seen.local, memory)
        heads = actions.split_heads(shape, logits, seen.order_mask)
        indices = choose(jax.random.fold_in(_keys(1), time), heads)
        action = actions.to_action(shape, heads, indices)
        keys = jax.vmap(lambda key: jax.random.fold_in(key, time + 1))(own_keys)
        state, seen, outcome = jax.vmap(step)(keys, state, action)
        live = (outcome.acted & ~gone).astype(jnp.float32)
        row = {
            "profit": outcome.reward,
            "shaped": outcome.shaped,
            "price": by_seller(outcome.prices) / shape.num_products,
            "live": jnp.ones_like(live),
            "sales": by_seller(outcome.sales),
            "demand": by_seller(outcome.demand),
            "entropy": actions.entropy(heads),
        }
        sums = {name: sums[name] + jnp.where(live > 0, value, 0.0) for name, value in row.items()}
        return (state, seen, memory, gone | outcome.terminated, sums), None

    first = (state, seen, learner.actor.start(size), jnp.zeros((size, shape.num_sellers), bool), sums)
    return jax.lax.scan(epoch, first, jnp.arange(shape.episode_length))[0][-1]


def _game_step(learner: Learner, params: MarketParams) -> Callable[[Array, MarketState, Action], tuple]:
    return lambda key, state, action: learner.game.step(key, learner.shape, state, action, params)


def play_as_is(learner: Learner, parameters: Parameters, params: MarketParams, numbers: Array) -> dict[str, Sums]:
    """Greedy and sampled play of one seed's policies; {"greedy", "sampled"}: sums [E, S] as `_episodes`."""
    greedy = jnp.repeat(jnp.array([True, False]), numbers.size)

    def choose(key: Array, heads: list[Array]) -> list[Array]:
        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.tile(numbers, 2))
        drawn = jax.vmap(actions.sample)(keys, heads)
        best = actions.greedy(heads)
        return [jnp.where(greedy[:, None, None], a, b) for a, b in zip(best, drawn, strict=True)]

    # One batch of both: the same shoppers twice.
    sums = _episodes(learner, parameters, params, jnp.tile(numbers, 2), choose, _game_step(learner, params))
    halves = {name: value.reshape(2, numbers.size, -1) for name, value in sums.items()}
    return {kind: {name: value[n] for name, value in halves.items()} for n, kind in enumerate(("greedy", "sampled"))}


def play_worlds(learner: Learner, parameters: Parameters, params: MarketParams, numbers: Array) -> Sums:
    """Greedy play in each candidate world of a robust learner, held for whole episodes: sums [K, E, S].

    The worlds are those at the full radius.
    """
    ambiguity, shape = learner.ambiguity, learner.shape
    assert ambiguity is not None
    full = jnp.int32(ambiguity.anneal_updates)
    count = len(ambiguity.shares)

    def world(number: Array) -> Sums:
        own = params
        if params.variants is not None:
            variants = ambiguity.variants(params, full)
            own = vary(params, jax.tree.map(lambda leaf: leaf[number // count], variants))

        def step(key: Array, state: MarketState, action: Action) -> tuple:
            share = ambiguity.candidates(epoch_share(params, state), full)[number % count]
            worlds = market.step_candidates(key, shape, state, action, own, share[None])
            return jax.tree.map(lambda leaf: leaf[0], worlds)

        return _episodes(learner, parameters, own, numbers, lambda _, heads: actions.greedy(heads), step)

    return jax.lax.map(world, jnp.arange(ambiguity.num_candidates))


def play_deviations(learner: Learner, parameters: Parameters, params: MarketParams, numbers: Array) -> Array:
    """Shaped reward [S, C, E], a sum over the episode, of each seller at each of C constant prices of its grid.

    All others play greedily, as they are; so does the seller itself with its orders.
    """
    shape = learner.shape
    grid = np.array(list(product(range(shape.prices.num_levels), repeat=shape.num_products)))
    prices = jnp.repeat(jnp.asarray(grid, jnp.int32), numbers.size, axis=0)  # [C·E, P]

    def deviate(seller: Array) -> Array:
        own = (jnp.arange(shape.num_sellers) == seller)[:, None]

        def choose(_: Array, heads: list[Array]) -> list[Array]:
            price, *orders = actions.greedy(heads)
            return [jnp.where(own, prices[:, None], price).astype(price.dtype), *orders]

        wide = jnp.tile(numbers, len(grid))
        sums = _episodes(learner, parameters, params, wide, choose, _game_step(learner, params))
        return sums["shaped"][:, seller].reshape(len(grid), numbers.size)

    return jax.lax.map(deviate, jnp.arange(shape.num_sellers))


class HeldOut:
    """The programs that play held-out shoppers, for all seeds of a training program, episodes split over its mesh."""

    def __init__(self, program: Program) -> None:
        # Past selves are for training: who learns at times is played as it is now.
        self._program = program
        self._learner = replace(program.learner, game=without_past(program.learner.game))

    def _jitted(self, play: Callable[..., Any], num_episodes: int) -> jax.stages.Wrapped:
        """(actors [W, ...], params [W, ...]) → sums [W, ...], the same on all devices."""
        mesh, width = self._program.mesh, self._program.width
        split = num_episodes % mesh.size == 0

        def local(actors: Parameters, params: MarketParams, numbers: Array) -> Any:
            sums = parallel.each_seed(
                lambda actor, own: play(self._learner, actor, self._refreshed(own), numbers), width
            )(actors, params)
            # The axis of episodes is the last but one, or the last of deviations.
            axis = (lambda x: x.ndim - 1) if play is play_deviations else (lambda x: x.ndim - 2)
            gather = partial(jax.lax.all_gather, axis_name="env", tiled=True)
            return jax.tree.map(lambda x: gather(x, axis=axis(x)), sums) if split else sums

        sharded = jax.shard_map(
            local, mesh=mesh, in_specs=(P(), P(), P("env") if split else P()), out_specs=P(), check_vma=False
        )

        @partial(jax.jit, compiler_options=parallel.compiler_options())
        def run(actors: Parameters, params: MarketParams) -> Any:
            return sharded(actors, params, jnp.arange(num_episodes))

        return run

    def _refreshed(self, params: MarketParams) -> MarketParams:
        """A bank of sessions that no training plays from."""
        if not self._learner.shape.traffic.refresh:
            return params
        fresh = traffic.refresh(_keys(2), self._learner.shape.traffic, params.traffic)
        return params.replace(traffic=fresh)

    def compile_play(self, actors: Any, params: MarketParams) -> Callable:
        """The program of `play_as_is` and, for a robust learner, `play_worlds`, from shapes of its arguments.

        Returns:
            (actors [W, ...], params [W, ...]) → {"greedy", "sampled", "worlds"}: sums [W, E, S], worlds [W, K, E, S].
        """

        def play(learner: Learner, actor: Parameters, own: MarketParams, numbers: Array) -> dict[str, Sums]:
            sums = play_as_is(learner, actor, own, numbers)
            if learner.ambiguity is not None:
                sums["worlds"] = play_worlds(learner, actor, own, numbers)
            return sums

        return self._jitted(play, EPISODES).lower(actors, params).compile()

    def compile_deviations(self, actors: Any, params: MarketParams) -> Callable:
        """The program of `play_deviations`: (actors, params) → shaped rewards [W, S, C, E]."""
        return self._jitted(play_deviations, DEVIATION_EPISODES).lower(actors, params).compile()


def gain_of_constants(deviations: np.ndarray, base: np.ndarray) -> np.ndarray:
    """What the best constant price brings more than the policy [R, S], money per episode; below 0 where none is better.

    Each half of the episodes chooses the price that is measured on the other half: the best of many prices on its own
    episodes would be ahead by their noise alone.

    Args:
        deviations: [R, S, C, E] at each of C constant prices.  base: [R, E, S] of the policy in the same episodes.
    """
    played = np.asarray(deviations, np.float64)
    halves = [np.arange(played.shape[-1]) % 2 == half for half in (0, 1)]
    measured = np.empty(played[..., 0, :].shape)
    for own, other in (halves, halves[::-1]):
        best = played[..., own].mean(-1).argmax(-1)[..., None, None]
        measured[..., other] = np.take_along_axis(played, best, 2)[:, :, 0, other]
    return measured.mean(-1) - np.asarray(base, np.float64).mean(1)


def figures_of(
    shape: MarketShape,
    sums: dict[str, dict[str, np.ndarray]],
    deviations: np.ndarray | None = None,
    learners: np.ndarray | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """Measures [R, S] of each kind of play out of the sums of one run.

    `profit` raw and `shaped` r' money per epoch of the whole episode; `price` money, a mean over products; `fill_rate`
    units sold over units demanded; `entropy` nats; of greedy play also `worst_world`, r' in the seller's worst
    candidate world, for a robust learner, and `deviation_gain`, what `gain_of_constants` says of it.

    Args:
        sums: of `HeldOut.compile_play`, [R, E, S].  deviations: [R, S, C, E]; None where none were played.
        learners: [S] bool; of others there is neither entropy nor deviation. None: all.
    """
    found = {}
    for kind in ("greedy", "sampled"):
        per_episode = {name: np.asarray(value, np.float64) for name, value in sums[kind].items()}
        total = {name: value.sum(1) for name, value in per_episode.items()}
        epochs = per_episode["profit"].shape[1] * shape.episode_length
        live = np.maximum(total["live"], 1.0)
        found[kind] = {
            "profit": total["profit"] / epochs,
            "shaped": total["shaped"] / epochs,
            "price": total["price"] / live,
            "fill_rate": total["sales"] / np.maximum(total["demand"], _LEAST),
            "entropy": total["entropy"] / live,
        }
    if "worlds" in sums:
        worlds = np.asarray(sums["worlds"]["shaped"], np.float64)
        found["greedy"]["worst_world"] = worlds.mean(2).min(1) / shape.episode_length
    if deviations is not None:
        base = np.asarray(sums["greedy"]["shaped"], np.float64)[:, : deviations.shape[-1]]
        found["greedy"]["deviation_gain"] = gain_of_constants(deviations, base) / shape.episode_length
    if learners is not None and not learners.all():
        for own in found.values():
            for name in own.keys() & {"entropy", "deviation_gain"}:
                own[name] = np.where(learners, own[name], np.nan)
    return found


def scores_of(
    shape: MarketShape, sums: dict[str, dict[str, np.ndarray]], learners: np.ndarray | None = None
) -> np.ndarray:
    """What the best state of each seed [R] goes by where there is one objective: money per epoch of all sellers.

    Greedy play; for a robust learner that in the worst candidate world.

    Args:
        learners: [S] bool; where others hold seats it is r' of those that learn. None: all learn.
    """
    if learners is not None and not learners.all():
        shaped = np.asarray(sums["greedy"]["shaped"], np.float64)[..., learners]
        return shaped.sum(-1).mean(-1) / shape.episode_length
    if "worlds" in sums:
        return np.asarray(sums["worlds"]["profit"], np.float64).sum(-1).mean(-1).min(-1) / shape.episode_length
    return np.asarray(sums["greedy"]["profit"], np.float64).sum(-1).mean(-1) / shape.episode_length
