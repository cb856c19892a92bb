"""Playing a segment: every environment for T epochs under the current policy, resetting where an episode ends."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marl_pricing import market
from marl_pricing.learning import actions
from marl_pricing.learning.actions import Heads
from marl_pricing.learning.candidate_worlds import candidate_worlds, expect_worlds
from marl_pricing.learning.networks import Acting, NetworkSpec, Parameters
from marl_pricing.learning.seats import SeatState
from marl_pricing.learning.trajectory import Game, RolloutState, Segment
from marl_pricing.market import MarketParams, MarketShape, MarketState, Observation
from marl_pricing.robust import Ambiguity

Array = jax.Array


class Played(NamedTuple):
    """What is played.

    Attributes:
        game: with `ambiguity` it is the market.
        ambiguity: other worlds to look into at each step; None for the plain learner.
        update: [] int32, for a radius that grows.
        central: the critic sees the global state, so that is what is kept of the candidates.
    """

    shape: MarketShape
    params: MarketParams
    game: Game = market
    ambiguity: Ambiguity | None = None
    update: Array | int = 0
    central: bool = True


class Player(NamedTuple):
    """Who plays: a network, its numbers, and how its outputs become probabilities of every choice."""

    network: Acting
    parameters: Parameters
    heads: Heads = actions.split_heads


def start(
    keys: Array,
    shape: MarketShape,
    params: MarketParams,
    actor: Acting,
    critic: NetworkSpec | None,
    game: Game = market,
) -> RolloutState:
    """Fresh episodes, one a key [E].

    Without a critic a zero stands for its memory: checkpoints keep no empty arrays.
    """
    state, observation = jax.vmap(lambda key: game.reset(key, shape, params))(keys)
    num_envs = keys.shape[0]
    return RolloutState(
        market=state,
        observation=observation,
        first=jnp.ones((num_envs,), bool),
        actor_memory=actor.start(num_envs),
        critic_memory=jnp.zeros((num_envs, 1, 1)) if critic is None else critic.start(num_envs),
    )


def _restart(
    keys: Array,
    shape: MarketShape,
    params: MarketParams,
    game: Game,
    over: Array,
    state: MarketState,
    seen: Observation,
) -> tuple[MarketState, Observation]:
    """Reset the markets whose episode is over [E]; nothing is computed in a step in which none is."""

    def reset() -> tuple[MarketState, Observation]:
        fresh = jax.vmap(lambda key: game.reset(key, shape, params))(keys)

        def pick(new: Array, old: Array) -> Array:
            return jnp.where(over.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

        return jax.tree.map(pick, fresh, (state, seen))

    return jax.lax.cond(over.any(), reset, lambda: (state, seen))


def rollout(
    key: Array, played: Played, player: Player, state: RolloutState, env_index: Array, num_steps: int
) -> tuple[RolloutState, Segment]:
    """Play T = `num_steps` epochs.

    Args:
        key: of this segment. Each environment's draws depend on it, on the step and on the environment's own number
            only, so that splitting environments over devices changes nothing.
        env_index: [E] numbers of these environments among all.

    Returns:
        (state after the segment, with the critic's memory as it was, the segment).
    """
    shape, params, game, ambiguity, update, central = played

    def play(key: Array, own: MarketState, action: market.Action):
        if ambiguity is None:
            return *game.step(key, shape, own, action, params), None
        return candidate_worlds(key, shape, params, own, action, ambiguity, update, central)

    expects = ambiguity is not None and ambiguity.expects

    def step(state: RolloutState, time: Array) -> tuple[RolloutState, tuple[Segment, MarketState | None, Any]]:
        step_key = jax.random.fold_in(key, time)
        keys = jax.vmap(lambda index: jax.random.split(jax.random.fold_in(step_key, index), 3))(env_index)
        memory = jnp.where(state.first[:, None, None], 0.0, state.actor_memory)
        logits, memory = player.network.step(player.parameters, state.observation.local, memory)
        heads = player.heads(shape, logits, state.observation.order_mask)
        indices = jax.vmap(actions.sample)(keys[:, 0], heads)
        action = actions.to_action(shape, params, heads, indices)
        after, following, outcome, candidates = jax.vmap(play)(keys[:, 1], state.market, action)
        done = outcome.terminated | outcome.truncated[:, None]
        learns = state.market.learns if isinstance(state.market, SeatState) else None
        deciding = outcome.acted if learns is None else outcome.acted & learns
        over = outcome.truncated | ~(deciding & ~outcome.terminated).any(-1)
        restarted, seen = _restart(keys[:, 2], shape, params, game, over, after, following)
        segment = Segment(
            observation=state.observation,
            following=following,
            first=state.first,
            indices=indices,
            log_prob=actions.log_prob(heads, indices),
            outcome=outcome,
            done=done,
            restarted=over,
            candidates=candidates,
            learns=learns,
        )
        before = (state.market, action) if expects else (None, None)
        state = state.replace(market=restarted, observation=seen, first=over, actor_memory=memory)
        return state, (segment, *before)

    state, (segment, before, chosen) = jax.lax.scan(step, state, jnp.arange(num_steps))
    if expects:
        assert ambiguity is not None and segment.candidates is not None and before is not None
        # All steps at once: a loop of small pieces takes twice as long.
        found = partial(expect_worlds, shape, params, ambiguity, update)
        worlds = jax.vmap(jax.vmap(found))(before, chosen, segment.outcome, segment.candidates)
        segment = segment.replace(candidates=worlds)
    return state, segment
