"""A policy gradient without a critic (Williams 1992, REINFORCE): the example of a learner in docs/architecture.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp

from marl_pricing import market
from marl_pricing.learning import actions, normalisation
from marl_pricing.learning.advantage import generalised_advantage
from marl_pricing.learning.gradient import apply, mean_over_live, network_wise, optimiser_of
from marl_pricing.learning.learner import Learner, next_segment, sizes_of
from marl_pricing.learning.measures import segment_measures
from marl_pricing.learning.networks import NetworkSpec, Parameters, actor_spec, head_sizes
from marl_pricing.learning.normalisation import ValueStatistics
from marl_pricing.learning.schedule import learning_rate
from marl_pricing.learning.settings import NetworkSettings
from marl_pricing.learning.state import Learnable, TrainState
from marl_pricing.learning.trajectory import Game
from marl_pricing.market import MarketParams, MarketShape

Array = jax.Array


class ToySettings(NetworkSettings, frozen=True):
    """Nothing beside what a learner with a network has."""

    algorithm: Literal["toy"] = "toy"


@dataclass(frozen=True)
class Toy(Learner):
    """The return of every step, less the mean over environments, weighs its log probability."""

    settings: ToySettings
    actor: NetworkSpec

    @classmethod
    def make(
        cls,
        settings: Any,
        shape: MarketShape,
        params: MarketParams,
        *,
        game: Game = market,
    ) -> Self:
        """Size the network."""
        choices = shape.num_products * sum(head_sizes(shape))
        actor = actor_spec(settings, shape.num_sellers, sizes_of(shape, params, game).local, choices)
        return cls(settings, shape, actor, game=game)

    def first_learnable(self, actor_key: Array, critic_key: Array) -> Learnable:
        """The network and its optimiser."""
        return self.with_optimisers(self.actor.init(actor_key), None)

    def with_optimisers(self, actor: Parameters, critic: Parameters) -> Learnable:
        """A network with an optimiser that has seen nothing."""
        return Learnable(actor, critic, network_wise(self.actor, optimiser_of(self.settings).init)(actor), None)

    def first_statistics(self) -> ValueStatistics:
        """None are taken."""
        return normalisation.start(1)

    @property
    def facts(self) -> dict[str, Any]:
        """What its network depends on."""
        return {"learner.algorithm": "toy", "learner.hidden_size": self.settings.hidden_size}

    def update(
        self, state: TrainState, params: MarketParams, env_index: Array, total: Callable[[Any], Any]
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update: a segment, its returns, one gradient step."""
        before, params, after, segment = next_segment(self, state, params, env_index)
        live, nothing = segment.live.astype(jnp.float32), jnp.zeros_like(segment.outcome.learning)
        # With values of nothing and λ = 1, what is left of an advantage is the return.
        returns, _ = generalised_advantage(segment.outcome.learning, nothing, segment.done, self.settings.gamma, 1.0)
        centre = total((returns * live).sum()) / jnp.maximum(total(live.sum()), 1.0)

        def loss(parameters: Parameters) -> Array:
            seen, memory = segment.observation, before.rollout.actor_memory
            logits, _ = self.actor.sequence(parameters, seen.local, memory, segment.first)
            said = actions.log_prob(actions.split_heads(self.shape, logits, seen.order_mask), segment.indices)
            return -(said * (returns - centre) * live).sum()

        learnable, rate = before.learnable, learning_rate(self.settings, state.update)
        value, slope = total(jax.value_and_grad(loss)(learnable.actor))
        each = total(live.sum((0, 1)))
        slope = mean_over_live(self.actor, slope, each, jnp.maximum(each.sum(), 1.0))
        actor, optimiser = apply(
            self.actor, optimiser_of(self.settings), learnable.actor, learnable.actor_optimiser, slope, rate
        )
        measures = segment_measures(self.shape, params, segment, total)
        measures |= {"policy_loss": value / jnp.maximum(each.sum(), 1.0), "learning_rate": rate}
        learnable = learnable.replace(actor=actor, actor_optimiser=optimiser)
        return after.replace(learnable=learnable, update=after.update + 1), measures
