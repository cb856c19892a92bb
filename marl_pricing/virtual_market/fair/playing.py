"""Calendars, plans and trained policies, played day by day in worlds: what they offer, bring and cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.learning import actions
from marl_pricing.learning.networks import NetworkSpec
from marl_pricing.market import Action, MarketShape, Observation
from marl_pricing.virtual_market.fair.feedback import Feedback
from marl_pricing.virtual_market.fair.game import PromotionGame, PromotionParams, PromotionState, observe
from marl_pricing.virtual_market.levels import OFFERS
from marl_pricing.widths import float32, int32

Array = jax.Array
_AT_ONCE = 20_000  # customers in one matrix: what a core's own memory holds of their features


class Played(NamedTuple):
    """R episodes of D days; money a customer."""

    gmv: np.ndarray  # [R, D]
    cost: np.ndarray  # [R, D]
    orders: np.ndarray  # [R, D] a customer
    offers: np.ndarray  # [R, D, 2] coupons, share of the price that is paid

    def total_roi(self) -> np.ndarray:
        """[R] Σ GMV / Σ cost of each episode; infinite where nothing was spent."""
        gmv, cost = self.gmv.sum(1, dtype=float), self.cost.sum(1, dtype=float)
        return np.divide(gmv, cost, out=np.full(len(gmv), np.inf), where=cost > 0)

    def score(self, zero_gmv: float | np.ndarray) -> np.ndarray:
        """[R] GMV over that of as many days without coupons, `zero_gmv` a customer and day."""
        return self.gmv.sum(1, dtype=float) / (np.asarray(zero_gmv) * self.gmv.shape[1])


def _at_once(start: tuple[Array, Array]) -> int:
    """Episodes that are played at once."""
    return max(1, _AT_ONCE // start[0].shape[-1])


def _episode(
    game: PromotionGame, shape: MarketShape, params: PromotionParams, decide: Callable, memory: Any,
    start: tuple[Array, Array], world: Array, key: Array, doubt: Array,
) -> tuple[Array, ...]:  # fmt: skip
    """decide(memory, observation, state) → (action, memory)."""
    first = game.begin(*start, world, doubt)

    def day(carry: Any, own_key: Array) -> Any:
        state, seen, memory = carry
        action, memory = decide(memory, seen, state)
        after, seen, _ = game.step(own_key, shape, state, action, params)
        told = after.gmv - state.gmv, after.cost - state.cost, after.orders, action.price[0, 0]
        return (after, seen, memory), told

    carry = (first, observe(params, first, game.days), memory)
    return jax.lax.scan(day, carry, jax.random.split(key, game.days))[1]


@partial(jax.jit, static_argnames=("game", "shape"))
def _calendars(
    game: PromotionGame, shape: MarketShape, params: PromotionParams, start: tuple[Array, Array], worlds: Array,
    keys: Array, plans: Array,
) -> tuple[Array, ...]:  # fmt: skip
    def one(own: tuple[Array, Array, Array]) -> tuple[Array, ...]:
        world, key, plan = own

        def decide(memory: Any, _: Observation, state: PromotionState) -> tuple[Action, Any]:
            return Action(price=plan[state.day].reshape(1, 1)), memory

        return _episode(game, shape, params, decide, (), start, world, key, jnp.zeros(len(OFFERS)))

    return jax.lax.map(one, (worlds, keys, plans), batch_size=_at_once(start))


@partial(jax.jit, static_argnames=("game", "shape"))
def _feedback(
    game: PromotionGame, shape: MarketShape, params: PromotionParams, start: tuple[Array, Array], worlds: Array,
    keys: Array, grid: Array, offers: Array, threshold: Array, doubts: Array,
) -> tuple[Array, ...]:  # fmt: skip
    def decide(memory: Any, _: Observation, state: PromotionState) -> tuple[Action, Any]:
        place = jnp.searchsorted(grid, state.gmv - threshold * state.cost, side="right") - 1
        return Action(price=offers[state.day, jnp.maximum(place, 0)].reshape(1, 1)), memory

    def one(own: tuple[Array, Array, Array]) -> tuple[Array, ...]:
        return _episode(game, shape, params, decide, (), start, *own)

    return jax.lax.map(one, (worlds, keys, doubts), batch_size=_at_once(start))


@partial(jax.jit, static_argnames=("game", "shape", "actor"))
def _actor(
    game: PromotionGame, shape: MarketShape, actor: NetworkSpec, params: PromotionParams, start: tuple[Array, Array],
    worlds: Array, keys: Array, parameters: Any, lots: Array,
    doubts: Array,
) -> tuple[Array, ...]:  # fmt: skip
    def one(own: tuple[Array, Array, Array, Array]) -> tuple[Array, ...]:
        world, key, lot, doubt = own

        def decide(memory: Array, seen: Observation, state: PromotionState) -> tuple[Action, Array]:
            logits, memory = actor.step(parameters, seen.local[None], memory)
            said = actions.split_heads(shape, logits[0], None)
            assert isinstance(said[0], jax.Array)  # of a grid
            heads = [said[0] + lot[state.day]]
            return actions.to_action(shape, params, heads, actions.greedy(heads)), memory

        return _episode(game, shape, params, decide, actor.start(1), start, world, key, doubt)

    return jax.lax.map(one, (worlds, keys, lots, doubts), batch_size=_at_once(start))


def _played(found: tuple[Array, ...]) -> Played:
    gmv, cost, orders = (np.asarray(part, np.float64) for part in found[:3])
    return Played(gmv, cost, orders, OFFERS[np.asarray(found[3])])


def _start(params: PromotionParams) -> tuple[Array, Array]:
    assert params.starts is not None and params.weekdays is not None
    return params.starts[-1], params.weekdays[-1]


def _keys(worlds: np.ndarray, seed: int) -> tuple[Array, Array]:
    # The number of an episode says its draws, whatever is played: policies are compared over the same ones.
    return int32(worlds), jax.random.split(jax.random.key(seed), len(worlds))


def play_calendars(
    game: PromotionGame, shape: MarketShape, params: PromotionParams, plans: np.ndarray, worlds: np.ndarray, seed: int
) -> Played:
    """Episodes of fixed offers from the last state to start from.

    Args:
        plans: [R, D] rows of `OFFERS`, or [D], the same in all.  worlds: [R] numbers.
    """
    own = int32(np.broadcast_to(plans, (len(worlds), game.days)))
    return _played(_calendars(game, shape, params, _start(params), *_keys(worlds, seed), own))


def play_feedback(
    game: PromotionGame, shape: MarketShape, params: PromotionParams, plan: Feedback, worlds: np.ndarray, seed: int,
    doubts: np.ndarray | None = None,
) -> Played:  # fmt: skip
    """Episodes of offers by what is left, as `play_calendars`; the plan in money a customer, doubts as `play_actor`."""
    own = float32(plan.grid), int32(plan.offers), float32(plan.threshold), float32(_doubts(doubts, len(worlds)))
    return _played(_feedback(game, shape, params, _start(params), *_keys(worlds, seed), *own))


def play_actor(
    game: PromotionGame, shape: MarketShape, params: PromotionParams, actor: NetworkSpec, parameters: Any,
    worlds: np.ndarray, seed: int, lots: np.ndarray, doubts: np.ndarray | None = None,
) -> Played:  # fmt: skip
    """Episodes of a trained actor, as `play_calendars`.

    Args:
        lots: [R, D, 41] or [D, 41] what is added to the log probabilities of each day's offers before the largest is
            taken. Noughts: the likeliest; fixed draws of Gumbel's law: a fixed draw of the policy (the Gumbel-max
            trick). The same observations are answered with the same offers either way.
        doubts: [R, 41] of each episode; None: none.
    """
    count = len(worlds)
    own = float32(np.broadcast_to(lots, (count, *lots.shape[-2:]))), float32(_doubts(doubts, count))
    return _played(_actor(game, shape, actor, params, _start(params), *_keys(worlds, seed), parameters, *own))


def _doubts(doubts: np.ndarray | None, count: int) -> np.ndarray:
    return np.zeros((count, len(OFFERS))) if doubts is None else doubts


def measure_zero_gmv(
    game: PromotionGame, shape: MarketShape, params: PromotionParams, draws: int, seed: int
) -> np.ndarray:
    """[K] GMV a customer and day without coupons in each world, money: the mean of so many episodes."""
    count = params.world.count
    worlds = np.repeat(np.arange(count), draws)
    played = play_calendars(game, shape, params, np.zeros(game.days, int), worlds, seed)
    return played.gmv.reshape(count, -1).mean(1)
