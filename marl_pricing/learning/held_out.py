"""Play on held-out shoppers while training: what the policies earn as they are, greedy and sampled.

The shoppers are the same at every evaluation, for every seed and every run, and none of them is met in training. A
difference between two evaluations is one of the policies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise, product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from marl_pricing import market, traffic
from marl_pricing.learning import actions, parallel
from marl_pricing.learning.actions import Head
from marl_pricing.learning.learner import Learner
from marl_pricing.learning.networks import Parameters
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.seats import learners_of, without_past
from marl_pricing.learning.worlds import nominal
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState
from marl_pricing.market.types import epoch_share, vary

Array = jax.Array
Sums = dict[str, Array]
Deviations = dict[str, Array]  # as of `play_deviations`
Choose = Callable[[Array, Sequence[Head]], list[Array]]  # (key of an epoch, heads) → what is chosen of each [B, S, P]

EPISODES = 8  # of each kind of play
CHOOSING_EPISODES = 8  # of each constant price that a seller may deviate to
CONSTANT_PLACES = 15  # of a continuous price, evenly spread over its range
MEASURING_EPISODES = 24  # others, of the price that was best in those
# Deviations are played at an evaluation where their market epochs are at most this share of those that are trained on
# between two, and at the end of a run where they are at most that share of all of them.
DEVIATION_SHARE = 1 / 8
LAST_DEVIATION_SHARE = 1 / 2
# Seeds of runs are below 2**31: no training draws from the keys of this one.
_ROOT = np.uint32(3_141_592_653)
_LEAST = 1e-9


def has_one_objective(params: MarketParams) -> bool:
    """Whether all learners want the same: there is one, or ω is 0 for all."""
    omega = np.asarray(params.reward.omega)[learners_of(params)]
    return omega.size == 1 or bool((omega == 0.0).all())


def deviation_epochs(shape: MarketShape) -> int:
    """Market epochs that `play_deviations` plays for one seed.

    (Sellers × constant prices + 1 play without deviation) × episodes that choose, and (sellers + 1) × those that
    measure; × their length.
    """
    prices = _constants(shape).size ** shape.num_products
    choosing = (shape.num_sellers * prices + 1) * CHOOSING_EPISODES
    return (choosing + (shape.num_sellers + 1) * MEASURING_EPISODES) * shape.episode_length


def _constants(shape: MarketShape) -> np.ndarray:
    """What a deviation may set a product's price to all along [C]."""
    return actions.constant_prices(shape, CONSTANT_PLACES)


def _keys(what: int) -> Array:
    return jax.random.fold_in(jax.random.key(_ROOT), what)


def _episodes(
    learner: Learner,
    parameters: Parameters,
    params: MarketParams,
    numbers: Array,
    choose: Choose,
    step: Callable[..., tuple],
    *told: Array,
) -> Sums:
    """Sums over whole episodes, {name: [B, S]}, of epochs in which a seller was in the market.

    Args:
        numbers: [B] of the episodes' shoppers.
        choose: (key of the epoch, heads) → indices of each head [B, S, P].
        step: (key, state, action, what it is told …) → what `market.step` answers, for one market.
        told: [B, ...] each, what the step of every episode is told.
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
        heads = learner.heads(shape, logits, seen.order_mask)
        indices = choose(jax.random.fold_in(_keys(1), time), heads)
        action = actions.to_action(shape, params, heads, indices)
        keys = jax.vmap(lambda key: jax.random.fold_in(key, time + 1))(own_keys)
        state, seen, outcome = jax.vmap(step)(keys, state, action, *told)
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

    def choose(key: Array, heads: Sequence[Head]) -> list[Array]:
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


def best_constant(ahead: Array, over_devices: Callable[[Array], Array] = jnp.asarray) -> Array:
    """The constant price [...] that was best in the episodes of `ahead` [..., C, E], split over devices or not.

    Args:
        over_devices: the mean over devices of a mean over a device's episodes.
    """
    return over_devices(jnp.asarray(ahead).mean(-1)).argmax(-1)


def play_deviations(
    learner: Learner,
    parameters: Parameters,
    params: MarketParams,
    choosing: Array,
    measuring: Array,
    over_devices: Callable[[Array], Array] = jnp.asarray,
) -> Deviations:
    """What a constant price brings each seller more than its policy: each of its grid, or of places in its range.

    Where prices are set by relative changes (`adjust`) they go there from the first one on, as fast as they may.

    Shaped reward, a sum over the episode, of the same shoppers. All others play greedily, as they are; so does the
    seller itself with its orders. Some episodes choose the price that others measure: the best of many prices on its
    own episodes would be ahead by their noise alone.

    Args:
        choosing, measuring: [E], [M] numbers of the episodes' shoppers.
        over_devices: as of `best_constant`.

    Returns:
        {"ahead": [S, C, E] of every price, "chosen": [S] the price that was best, "measured": [S, M] of that price}.
    """
    shape = learner.shape
    grid = jnp.asarray(np.array(list(product(_constants(shape), repeat=shape.num_products))))
    step = _game_step(learner, params)

    def shaped(numbers: Array, choose: Choose, step: Callable[..., tuple] = step, *told: Array) -> Array:
        return _episodes(learner, parameters, params, numbers, choose, step, *told)["shaped"]

    def greedy(_: Array, heads: Sequence[Head]) -> list[Array]:
        return actions.greedy(heads)

    both = jnp.concatenate([choosing, measuring])
    as_is = shaped(both, greedy)

    def deviate(seller: Array) -> Deviations:
        own = (jnp.arange(shape.num_sellers) == seller)[:, None]

        def gains(prices: Array, numbers: Array, base: Array) -> Array:
            """[C, E] of constant prices [C, P] in episodes [E]."""
            wide = jnp.repeat(prices, numbers.size, axis=0)[:, None]

            def choose(_: Array, heads: Sequence[Head]) -> list[Array]:
                price, *orders = actions.greedy(heads)
                return [jnp.where(own, wide, price).astype(price.dtype), *orders]

            def towards(key: Array, state: MarketState, action: Action, place: Array) -> tuple:
                low, high = (end.reshape(own.size, -1) for end in (params.prices.low, params.prices.high))
                change = actions.between(low, high, place) / state.prices.reshape(own.size, -1) - 1.0
                return step(key, state, action.replace(price=jnp.where(own, change, action.price)))

            rows = jnp.tile(numbers, len(prices))
            relative = shape.prices.map == "adjust"
            earned = (shaped(rows, greedy, towards, wide) if relative else shaped(rows, choose))[:, seller]
            return earned.reshape(len(prices), numbers.size) - base[:, seller]

        ahead = gains(grid, choosing, as_is[: choosing.size])
        chosen = best_constant(ahead, over_devices)
        measured = gains(grid[chosen][None], measuring, as_is[choosing.size :])[0]
        return {"ahead": ahead, "chosen": chosen, "measured": measured}

    return jax.lax.map(deviate, jnp.arange(shape.num_sellers))


class HeldOut:
    """The programs that play held-out shoppers, for all seeds of a training program, episodes split over its mesh."""

    def __init__(self, program: Program) -> None:
        # Past selves are for training: who learns at times is played as it is now.
        self._program = program
        self._learner = replace(program.learner, game=nominal(without_past(program.learner.game)))

    def _jitted(self, play: Callable[..., Any], *episodes: int) -> jax.stages.Wrapped:
        """(actors [W, ...], params [W, ...]) → what `play` answers for each of W, the same on all devices.

        Args:
            play: (learner, actor, params, numbers of episodes …, mesh axis they are split over or None) → values.
            episodes: how many of each kind; kind after kind has the numbers that follow.
        """
        mesh, width = self._program.mesh, self._program.width
        axis = "env" if all(count % mesh.size == 0 for count in episodes) else None
        starts = np.cumsum([0, *episodes])

        def local(actors: Parameters, params: MarketParams, numbers: list[Array]) -> Any:
            return parallel.each_seed(
                lambda actor, own: play(self._learner, actor, self._refreshed(own), *numbers, axis), width
            )(actors, params)

        sharded = jax.shard_map(
            local, mesh=mesh, in_specs=(P(), P(), P("env") if axis else P()), out_specs=P(), check_vma=False
        )

        @partial(jax.jit, compiler_options=parallel.compiler_options())
        def run(actors: Parameters, params: MarketParams) -> Any:
            numbers = [jnp.arange(first, last) for first, last in pairwise(starts)]
            return sharded(actors, params, numbers)

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

        def play(
            learner: Learner, actor: Parameters, own: MarketParams, numbers: Array, axis: str | None
        ) -> dict[str, Sums]:
            sums = play_as_is(learner, actor, own, numbers)
            if learner.ambiguity is not None:
                sums["worlds"] = play_worlds(learner, actor, own, numbers)
            return jax.tree.map(lambda value: _gathered(value, axis, value.ndim - 2), sums)

        return self._jitted(play, EPISODES).lower(actors, params).compile()

    def compile_deviations(self, actors: Any, params: MarketParams) -> Callable:
        """The program of `play_deviations`: (actors, params) → {name: [W, ...]}."""

        def play(
            learner: Learner, actor: Parameters, own: MarketParams, choosing: Array, measuring: Array, axis: str | None
        ) -> Deviations:
            over_devices = partial(jax.lax.pmean, axis_name=axis) if axis else jnp.asarray
            found = play_deviations(learner, actor, own, choosing, measuring, over_devices)
            split = ("ahead", "measured")
            return found | {name: _gathered(found[name], axis, found[name].ndim - 1) for name in split}

        return self._jitted(play, CHOOSING_EPISODES, MEASURING_EPISODES).lower(actors, params).compile()


def _gathered(values: Array, mesh_axis: str | None, axis: int) -> Array:
    """Episodes of all devices one after the other."""
    return values if mesh_axis is None else jax.lax.all_gather(values, mesh_axis, axis=axis, tiled=True)


def gain_of(measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the best constant price brings more than the policy [...], money per episode, and its standard error.

    Below 0 where none is better.

    Args:
        measured: [..., M] of `play_deviations`.
    """
    gains = np.asarray(measured, np.float64)
    return gains.mean(-1), gains.std(-1, ddof=1) / np.sqrt(gains.shape[-1])


def figures_of(
    shape: MarketShape,
    sums: dict[str, dict[str, np.ndarray]],
    deviations: dict[str, np.ndarray] | None = None,
    learners: np.ndarray | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """Measures [R, S] of each kind of play out of the sums of one run.

    `profit` raw and `shaped` r' money per epoch of the whole episode; `price` money, a mean over products; `fill_rate`
    units sold over units demanded; `entropy` nats; of greedy play also `worst_world`, r' in the seller's worst
    candidate world, for a robust learner, `deviation_gain` and `deviation_error`, what `gain_of` says of it.

    Args:
        sums: of `HeldOut.compile_play`, [R, E, S].
        deviations: as of `play_deviations`, [R, ...]; None where none were played.
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
        gain, error = gain_of(deviations["measured"])
        found["greedy"]["deviation_gain"] = gain / shape.episode_length
        found["greedy"]["deviation_error"] = error / shape.episode_length
    if learners is not None and not learners.all():
        for own in found.values():
            for name in own.keys() & {"entropy", "deviation_gain", "deviation_error"}:
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
