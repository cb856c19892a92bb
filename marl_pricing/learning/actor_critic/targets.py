"""From a segment to what its gradient steps need: values, robust targets, advantages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing.learning import normalisation
from marl_pricing.learning.actor_critic.learner import ActorCritic, seen
from marl_pricing.learning.advantage import generalised_advantage, one_step_target
from marl_pricing.learning.batch import take
from marl_pricing.learning.learner import next_segment
from marl_pricing.learning.losses import explained_variance
from marl_pricing.learning.measures import segment_measures
from marl_pricing.learning.networks import Parameters, unroll
from marl_pricing.learning.robust_critic import nothing_feared, robust_one_step
from marl_pricing.learning.schedule import entropy_coefficient, learning_rate
from marl_pricing.learning.state import TrainState
from marl_pricing.learning.trajectory import Segment
from marl_pricing.market import MarketParams

Array = jax.Array
Sum = Callable[[Any], Any]


class Batch(struct.PyTreeNode):
    """A segment as the losses see it; [T, E, ...]."""

    segment: Segment
    actor_memory: Array  # [E, S, M] before the segment
    critic_memory: Array  # [E, S or 1, M]
    value: Array  # [T, E, S] what the critic says before its first gradient step, in its own units
    target: Array  # [T, E, S] normalised
    advantage: Array  # [T, E, S]
    live: Array  # [T, E, S] 1.0 where the seller was in the market

    def select(self, index: Array) -> Batch:
        """The environments `index` [B] of a batch, whole segments of them."""
        memories = self.actor_memory, self.critic_memory
        actor_memory, critic_memory = take(memories, index, 0)
        rest = self.replace(actor_memory=None, critic_memory=None)
        return take(rest, index, 1).replace(actor_memory=actor_memory, critic_memory=critic_memory)


def critic_values(learner: ActorCritic, parameters: Parameters, segment: Segment, memory: Array):
    """The critic over a segment.

    Returns:
        (values [T, E, S], values of the real next states [T, E, S], memories after each step [T, E, …]), values
        normalised. The next states are one wide step from every memory of the segment: no second walk through time.
    """
    now, then = seen(learner, segment.observation), seen(learner, segment.following)
    values, following, memories = unroll(learner.critic, parameters, now, then, memory, segment.first)
    return values[..., 0], following[..., 0], memories


def make_batch(learner: ActorCritic, state: TrainState, segment: Segment, total: Sum) -> tuple[Batch, TrainState, dict]:
    """Values, robust targets, advantages and their normalisation.

    Args:
        state: as it was before the segment.

    Returns:
        (batch, state with what the critic remembers and the new statistics, measures).
    """
    own = learner.settings
    said, next_value, memories = critic_values(learner, state.learnable.critic, segment, state.rollout.critic_memory)
    critic_memory = memories[-1]
    value = said
    live = segment.live.astype(jnp.float32)
    statistics, learnable = state.statistics, state.learnable
    if own.value_normalisation != "none":
        value = normalisation.denormalise(statistics, value)
        next_value = normalisation.denormalise(statistics, next_value)
    one_step = one_step_target(segment.outcome.learning, next_value, segment.outcome.terminated, own.gamma)
    robust_measures: dict[str, Array] = {}
    worlds = None
    if segment.candidates is not None:
        one_step, worlds, robust_measures = robust_one_step(learner, state, segment, memories, one_step, total)
    elif learner.ambiguity is not None and not learner.ambiguity.frightens:
        robust_measures = nothing_feared(learner.ambiguity, state.update)
    advantage, target = generalised_advantage(one_step, value, segment.done, own.gamma, own.gae_lambda)
    measures = {"explained_variance": explained_variance(value, target, live, total)} | robust_measures
    if own.value_normalisation != "none":
        statistics = normalisation.update(state.statistics, target, live, total)
        target = normalisation.normalise(statistics, target)
    if own.value_normalisation == "popart":
        said = normalisation.normalise(statistics, value)  # the same money, as the rescaled layer says it
        out = normalisation.preserve_outputs(
            learnable.critic["out"], state.statistics, statistics, learner.critic.stacked
        )
        learnable = learnable.replace(critic={**learnable.critic, "out": out})
    if own.normalise_advantage:
        advantage = _standardise(advantage, live, total, by_seller=learner.actor.stacked)
    segment = segment.replace(candidates=None)  # the gradient steps need them no more
    batch = Batch(segment, state.rollout.actor_memory, state.rollout.critic_memory, said, target, advantage, live)
    after = state.replace(
        learnable=learnable,
        statistics=statistics,
        rollout=state.rollout.replace(critic_memory=critic_memory),
    )
    return batch, after if worlds is None else after.replace(worlds=worlds), measures


def _standardise(advantage: Array, live: Array, total: Sum, *, by_seller: bool) -> Array:
    """Mean 0 and spread 1 over live steps, by seller where each learns alone."""
    axes = (0, 1) if by_seller else (0, 1, 2)
    count = jnp.maximum(total(live.sum(axes)), 1.0)
    mean = total((advantage * live).sum(axes)) / count
    variance = total((((advantage - mean) ** 2) * live).sum(axes)) / count
    return (advantage - mean) / (jnp.sqrt(variance) + 1e-8)


def prepare(
    learner: ActorCritic, state: TrainState, params: MarketParams, env_index: Array, total: Sum = lambda x: x
) -> tuple[Batch, TrainState, dict[str, Array]]:
    """An update up to its gradient steps: a segment is rolled out, targets and advantages are computed.

    Args:
        env_index: [E] numbers of these environments among all.
        total: sums a tree over devices; the identity on one.

    Returns:
        (batch, state with what the segment changed, measures of the segment: scalars and [S]-arrays).
    """
    own = learner.settings
    own = learner.settings
    before, params, after, segment = next_segment(learner, state, params, env_index)
    memory, after_memory = before.rollout.actor_memory, after.rollout.actor_memory
    before = after.replace(rollout=after.rollout.replace(actor_memory=memory))
    batch, state, measures = make_batch(learner, before, segment, total)
    state = state.replace(rollout=state.rollout.replace(actor_memory=after_memory))
    measures |= segment_measures(learner.shape, params, segment, total)
    measures |= {
        "learning_rate": learning_rate(own, state.update),
        "entropy_coefficient": entropy_coefficient(own, state.update),
    }
    return batch, state, measures
