"""The static half of a learner whose network values actions, and how it explores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import jax
import optax

from marl_pricing import market
from marl_pricing.learning import normalisation
from marl_pricing.learning.action_values.heads import EpsilonGreedy
from marl_pricing.learning.action_values.settings import ExplorationSettings, ValueNetworkSettings
from marl_pricing.learning.actions import Heads
from marl_pricing.learning.gradient import network_wise, optimiser_of
from marl_pricing.learning.learner import Learner, sizes_of
from marl_pricing.learning.networks import NetworkSpec, Parameters, actor_spec, head_sizes
from marl_pricing.learning.normalisation import ValueStatistics
from marl_pricing.learning.schedule import linear
from marl_pricing.learning.state import Learnable
from marl_pricing.learning.trajectory import Game
from marl_pricing.market import MarketParams, MarketShape

Array = jax.Array


def epsilon(own: ExplorationSettings, update: Array) -> Array:
    """Chance of an arbitrary choice at an update: linear from its start to its end, then there."""
    return linear(own.epsilon_start, own.epsilon_end, update, own.exploration * own.scheduled_updates)


@dataclass(frozen=True)
class ValueNetwork(Learner):
    """A learner with one network, whose outputs are values of actions. `Learnable.critic` is what only some have."""

    settings: ValueNetworkSettings
    actor: NetworkSpec
    layer_norm: ClassVar[bool] = False

    @classmethod
    def make(
        cls,
        settings: Any,
        shape: MarketShape,
        params: MarketParams,
        *,
        game: Game = market,
    ) -> Self:
        """Size the network for a market."""
        size = sizes_of(shape, params, game)
        actor = actor_spec(settings, shape.num_sellers, size.local, shape.num_products * sum(head_sizes(shape)))
        return cls(settings, shape, replace(actor, layer_norm=cls.layer_norm), game=game)

    def first_learnable(self, actor_key: Array, critic_key: Array) -> Learnable:
        """The network before the first update, with its optimiser's state."""
        return self.with_optimisers(self.actor.init(actor_key), None)

    def with_optimisers(self, actor: Parameters, critic: Parameters) -> Learnable:
        """A network with an optimiser that has seen nothing."""
        start: optax.OptState = network_wise(self.actor, optimiser_of(self.settings).init)(actor)
        return Learnable(actor, critic, start, None)

    def first_statistics(self) -> ValueStatistics:
        """The units in which the network values, before any data."""
        return normalisation.start(self.shape.num_sellers if self.actor.stacked else 1)

    @property
    def heads(self) -> Heads:
        """Policies are played as they explore at the end."""
        return EpsilonGreedy(self.settings.epsilon_end)

    @property
    def facts(self) -> dict[str, Any]:
        """What its network depends on beside the market, by the setting that decides it."""
        own = self.settings
        return {
            "learner.algorithm": own.algorithm,
            "learner.cell": own.cell,
            "learner.num_layers": own.num_layers,
            "learner.hidden_size": own.hidden_size,
            "learner.sharing": own.sharing,
            "learner.value_normalisation": own.value_normalisation,
        }
