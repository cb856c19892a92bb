"""What learners of action values keep of a segment, and what they learn from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing.learning import normalisation
from marl_pricing.learning.action_values.heads import best_value, split_values
from marl_pricing.learning.action_values.learner import ValueNetwork
from marl_pricing.learning.advantage import generalised_advantage, one_step_target
from marl_pricing.learning.batch import take
from marl_pricing.learning.networks import Parameters, unroll
from marl_pricing.learning.normalisation import ValueStatistics
from marl_pricing.learning.trajectory import Segment

Array = jax.Array
Sum = Callable[[Any], Any]


class Transitions(struct.PyTreeNode):
    """A segment without what nobody values; [T, E, ...]."""

    local: Array  # [T, E, S, O] before the step
    order_mask: Array | None  # [T, E, S, P, Q]
    next_local: Array  # after it and before any reset
    next_order_mask: Array | None
    first: Array  # [T, E] bool
    indices: list[Array]  # [T, E, S, P] of each head
    reward: Array  # [T, E, S] that is learned from
    terminated: Array  # [T, E, S] bool
    done: Array  # [T, E, S] bool
    live: Array  # [T, E, S] bool
    memory: Array  # [E, S, M] before the segment
    log_prob: Array | None = None  # [T, E, S] of the choices; None where all count alike


class Batch(struct.PyTreeNode):
    """Transitions with their targets, as the loss sees them."""

    transitions: Transitions
    target: Array  # [T, E, S] in the network's units
    live: Array  # [T, E, S] 1.0 where the step counts
    weight: Array  # [T, E, S] of a step in the loss

    def select(self, index: Array) -> Batch:
        """The environments `index` [B], whole segments of them."""
        return Batch(
            select(self.transitions, index),
            take(self.target, index, 1),
            take(self.live, index, 1),
            take(self.weight, index, 1),
        )


def select(own: Transitions, index: Array) -> Transitions:
    """The environments `index` [B] of transitions."""
    return take(own.replace(memory=None), index, 1).replace(memory=take(own.memory, index, 0))


def transitions_of(learner: ValueNetwork, segment: Segment, memory: Array) -> Transitions:
    """What is kept of a segment.

    Args:
        memory: [E, S, M] of the network before it.
    """
    now, then, happened = segment.observation, segment.following, segment.outcome
    return Transitions(
        now.local, now.order_mask, then.local, then.order_mask, segment.first, segment.indices, happened.learning,
        happened.terminated, segment.done, segment.live, memory,
        None if learner.settings.frequency_bound is None else segment.log_prob,
    )  # fmt: skip


def targets(
    learner: ValueNetwork, parameters: Parameters, statistics: ValueStatistics, own: Transitions, trace: float
) -> tuple[Array, Array]:
    """λ-returns of the greedy policy (Peng and Williams 1996): G_t = r_t + γ [(1 − λ) max Q(s_{t+1}) + λ G_{t+1}].

    With λ = 0 they are Q-learning's one-step targets. Nothing flows back across the end of an episode; a truncated one
    bootstraps from its last real state.

    Args:
        parameters: of the network that values.  trace: λ.

    Returns:
        (targets [T, E, S], values of the best choices at each step [T, E, S]), in the reward's units.
    """
    outputs, then, _ = unroll(learner.actor, parameters, own.local, own.next_local, own.memory, own.first)

    def best(outputs: Array, mask: Array | None) -> Array:
        value = best_value(split_values(learner.shape, outputs, mask))
        return value if learner.settings.value_normalisation == "none" else normalisation.denormalise(statistics, value)

    gamma, value = learner.settings.gamma, best(outputs, own.order_mask)
    one_step = one_step_target(own.reward, best(then, own.next_order_mask), own.terminated, gamma)
    # A λ-return is a value and its generalised advantage, where the value is that of the best choice.
    return generalised_advantage(one_step, value, own.done, gamma, trace)[1], value


def weights(learner: ValueNetwork, own: Transitions, total: Sum) -> Array:
    """Weight of every step in the loss [T, E, S], one on average over live steps."""
    live = own.live.astype(jnp.float32)
    bound = learner.settings.frequency_bound
    if bound is None or own.log_prob is None:
        return live
    weight = jnp.minimum(1.0, bound * jnp.exp(-own.log_prob)) * live
    return weight * total(live.sum()) / jnp.maximum(total(weight.sum()), 1e-8)
