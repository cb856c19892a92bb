"""Recurrent MAPPO (Yu et al. 2022): one update is a segment, its targets, epochs of minibatches. This file composes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from marl_pricing.learning.actor_critic.learner import ActorCritic
from marl_pricing.learning.actor_critic.step import gradient_step
from marl_pricing.learning.actor_critic.targets import prepare
from marl_pricing.learning.learner import epoch_index
from marl_pricing.learning.mappo.losses import actor_loss
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.state import Learnable, TrainState
from marl_pricing.market import MarketParams

Array = jax.Array
Sum = Callable[[Any], Any]


@dataclass(frozen=True)
class Mappo(ActorCritic):
    """MAPPO: a clipped policy gradient, several passes over a segment."""

    settings: LearnerSettings

    def update(
        self, state: TrainState, params: MarketParams, env_index: Array, total: Sum = lambda x: x
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update; see `update`."""
        return update(self, state, params, env_index, total)


def update(
    learner: Mappo, state: TrainState, params: MarketParams, env_index: Array, total: Sum = lambda x: x
) -> tuple[TrainState, dict[str, Array]]:
    """One update: what `prepare` does, then several epochs of gradient steps.

    Args:
        env_index: [E] numbers of these environments among all.
        total: sums a tree over devices; the identity on one.

    Returns:
        (state, measures): scalars and [S]-arrays of this update.
    """
    own = learner.settings
    batch, state, measures = prepare(learner, state, params, env_index, total)
    bonus, rate = measures["entropy_coefficient"], measures["learning_rate"]
    step = partial(gradient_step, learner, actor_loss, batch, total, bonus, rate)

    def minibatch(carry: tuple[Learnable, Array], index: Array):
        learnable, stopped = carry
        if own.target_kl is None:
            learnable, sums = step(learnable, index)
            return (learnable, stopped), sums
        shapes = jax.eval_shape(step, learnable, index)[1]
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        learnable, sums = jax.lax.cond(stopped, lambda: (learnable, nothing), lambda: step(learnable, index))
        far = sums["kl"] > 1.5 * own.target_kl * jnp.maximum(sums["live"], 1.0)
        return (learnable, stopped | far), sums

    def epoch(carry: tuple[Learnable, Array], number: Array):
        return jax.lax.scan(minibatch, carry, epoch_index(learner, state, env_index, number))

    (learnable, _), sums = jax.lax.scan(epoch, (state.learnable, jnp.zeros((), bool)), jnp.arange(own.num_epochs))
    count = jnp.maximum(sums.pop("live").sum(), 1.0)
    measures |= {name: value.sum() / count for name, value in sums.items()}
    return state.replace(learnable=learnable, update=state.update + 1), measures
