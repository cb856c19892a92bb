"""Advantage actor-critic (A2C; Mnih et al. 2016), recurrent: MAPPO's targets, one gradient step a segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from marl_pricing.learning.a2c.losses import actor_loss
from marl_pricing.learning.actor_critic.learner import ActorCritic
from marl_pricing.learning.actor_critic.step import gradient_step
from marl_pricing.learning.actor_critic.targets import prepare
from marl_pricing.learning.settings import ActorCriticSettings
from marl_pricing.learning.state import TrainState
from marl_pricing.market import MarketParams

Array = jax.Array
Sum = Callable[[Any], Any]


class A2cSettings(ActorCriticSettings, frozen=True):
    """Advantage actor-critic (Mnih et al. 2016): each segment is learned from once, and forgotten."""

    algorithm: Literal["a2c"] = "a2c"


@dataclass(frozen=True)
class A2c(ActorCritic):
    """A2C: the plain policy gradient, one pass over a segment."""

    settings: A2cSettings

    def update(
        self, state: TrainState, params: MarketParams, env_index: Array, total: Sum = lambda x: x
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update; see `Learner.update`."""
        batch, state, measures = prepare(self, state, params, env_index, total)
        bonus, rate = measures["entropy_coefficient"], measures["learning_rate"]
        everyone = jnp.arange(env_index.size)
        learnable, sums = gradient_step(self, actor_loss, batch, total, bonus, rate, state.learnable, everyone)
        count = jnp.maximum(sums.pop("live"), 1.0)
        measures |= {name: value / count for name, value in sums.items()}
        return state.replace(learnable=learnable, update=state.update + 1), measures
