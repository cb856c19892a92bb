"""Parallelised Q-learning (PQN; Gallici et al. 2024): Q(λ) on fresh segments, with layer norm in place of a buffer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import Field

from marl_pricing.learning import normalisation
from marl_pricing.learning.action_values.heads import EpsilonGreedy
from marl_pricing.learning.action_values.learner import ValueNetwork, epsilon
from marl_pricing.learning.action_values.settings import ValueNetworkSettings
from marl_pricing.learning.action_values.step import gradient_step
from marl_pricing.learning.action_values.targets import Batch, targets, transitions_of, weights
from marl_pricing.learning.learner import epoch_index, next_segment
from marl_pricing.learning.losses import explained_variance
from marl_pricing.learning.measures import segment_measures
from marl_pricing.learning.schedule import learning_rate
from marl_pricing.learning.settings import Count, Share
from marl_pricing.learning.state import Learnable, TrainState
from marl_pricing.market import MarketParams

Array = jax.Array
Sum = Callable[[Any], Any]


class PqnSettings(ValueNetworkSettings, frozen=True):
    """Parallelised Q-learning (Gallici et al. 2024)."""

    algorithm: Literal["pqn"] = "pqn"
    num_epochs: Annotated[int, Field(ge=1, le=10_000)] = 2
    num_minibatches: Count = 4
    q_lambda: Share = 0.65


@dataclass(frozen=True)
class Pqn(ValueNetwork):
    """PQN: λ-returns of the greedy policy, several passes over a segment, no buffer and no target network."""

    settings: PqnSettings
    layer_norm: ClassVar[bool] = True

    def update(
        self, state: TrainState, params: MarketParams, env_index: Array, total: Sum = lambda x: x
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update; see `Learner.update`."""
        own = self.settings
        chance, rate = epsilon(own, state.update), learning_rate(own, state.update)
        before, params, after, segment = next_segment(self, state, params, env_index, EpsilonGreedy(chance))
        played = transitions_of(self, segment, before.rollout.actor_memory)
        target, value = targets(self, before.learnable.actor, before.statistics, played, own.q_lambda)
        live, statistics = played.live.astype(jnp.float32), before.statistics
        measures = segment_measures(self.shape, params, segment, total)
        measures |= {
            "explained_variance": explained_variance(value, target, live, total),
            "learning_rate": rate,
            "epsilon": chance,
        }
        if own.value_normalisation != "none":
            statistics = normalisation.update(statistics, target, live, total)
            target = normalisation.normalise(statistics, target)
        batch = Batch(played, target, live, weights(self, played, total))

        def step(learnable: Learnable, index: Array) -> tuple[Learnable, dict[str, Array]]:
            return gradient_step(self, total, rate, learnable, batch, index)

        def epoch(learnable: Learnable, number: Array) -> tuple[Learnable, dict[str, Array]]:
            return jax.lax.scan(step, learnable, epoch_index(self, before, env_index, number))

        learnable, sums = jax.lax.scan(epoch, before.learnable, jnp.arange(own.num_epochs))
        count = jnp.maximum(sums.pop("live").sum(), 1.0)
        measures |= {name: each.sum() / count for name, each in sums.items()}
        return after.replace(learnable=learnable, statistics=statistics, update=after.update + 1), measures
