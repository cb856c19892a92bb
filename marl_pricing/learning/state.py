"""What a training carries from update to update, whoever learns, and what is kept of it."""

from __future__ import annotations

import jax
import optax
from flax import struct

from marl_pricing.learning.networks import Parameters
from marl_pricing.learning.normalisation import ValueStatistics
from marl_pricing.learning.trajectory import RolloutState

Array = jax.Array


class Learnable(struct.PyTreeNode):
    """What gradient steps change."""

    actor: Parameters
    critic: Parameters
    actor_optimiser: optax.OptState
    critic_optimiser: optax.OptState


class Networks(struct.PyTreeNode):
    """What a training has learned, without its optimisers: enough to start another one from."""

    actor: Parameters
    critic: Parameters
    statistics: ValueStatistics  # the units that the critic speaks in


class TrainState(struct.PyTreeNode):
    """Everything that the next update depends on."""

    learnable: Learnable
    statistics: ValueStatistics
    rollout: RolloutState  # [E, ...]
    seed: Array  # [] int32
    update: Array  # [] int32, updates done


class SelfPlayState(TrainState):
    """The same of a learner that plays against its past selves."""

    pool: Parameters  # [K, ...] actors


def networks_of(state: TrainState) -> Networks:
    """What a state has learned."""
    return Networks(state.learnable.actor, state.learnable.critic, state.statistics)
