"""The static half of a learner with an actor and a critic, and how its networks begin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import jax

from marl_pricing import market
from marl_pricing.learning import expected_values, normalisation
from marl_pricing.learning.actions import HEADS, Heads
from marl_pricing.learning.expected_values import WorldFit
from marl_pricing.learning.gradient import network_wise, optimiser_of
from marl_pricing.learning.learner import Learner, Own, sizes_of
from marl_pricing.learning.networks import NetworkSpec, Parameters, actor_spec, critic_spec, head_sizes
from marl_pricing.learning.normalisation import ValueStatistics
from marl_pricing.learning.settings import ActorCriticSettings
from marl_pricing.learning.state import Learnable, TrainState
from marl_pricing.learning.trajectory import Game, RolloutState
from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.robust import Ambiguity

Array = jax.Array


class RobustState(TrainState):
    """The state of a learner whose critic expects something of its candidate worlds."""

    worlds: WorldFit  # what it has learned of them


@dataclass(frozen=True)
class ActorCritic(Learner):
    """A learner with an actor and a critic."""

    settings: ActorCriticSettings
    actor: NetworkSpec
    critic: NetworkSpec = field(kw_only=True)

    @classmethod
    def make(
        cls,
        settings: Any,
        shape: MarketShape,
        params: MarketParams,
        ambiguity: Ambiguity | None = None,
        game: Game = market,
    ) -> Self:
        """Size the networks for a market.

        Args:
            ambiguity: what a robust critic is unsure of; None for the plain one.
            game: what is played.

        Raises:
            ValueError: for a robust critic of another game than the market.
        """
        if ambiguity is not None and game is not market:
            raise ValueError("ambiguity: its candidate worlds are the market's; accepted with another game is None")
        size = sizes_of(shape, params, game)
        return cls(
            settings,
            shape,
            actor_spec(settings, shape.num_sellers, size.local, shape.num_products * sum(head_sizes(shape))),
            ambiguity,
            game,
            critic=critic_spec(settings, shape.num_sellers, size.local, size.state),
        )

    def first_learnable(self, actor_key: Array, critic_key: Array) -> Learnable:
        """Networks before the first update, with their optimisers' states."""
        return self.with_optimisers(self.actor.init(actor_key), self.critic.init(critic_key))

    def with_optimisers(self, actor: Parameters, critic: Parameters) -> Learnable:
        """Networks with optimisers that have seen nothing."""
        optimiser = optimiser_of(self.settings)
        return Learnable(
            actor,
            critic,
            network_wise(self.actor, optimiser.init)(actor),
            network_wise(self.critic, optimiser.init)(critic),
        )

    def first_statistics(self) -> ValueStatistics:
        """The units in which the critic speaks, before any data."""
        return normalisation.start(num_value_heads(self))

    @property
    def facts(self) -> dict[str, Any]:
        """What its networks depend on beside the market, by the setting that decides it."""
        own = self.settings
        return {
            "learner.algorithm": "one with a critic",
            "learner.cell": own.cell,
            "learner.num_layers": own.num_layers,
            "learner.hidden_size": own.hidden_size,
            "learner.sharing": own.sharing,
            "learner.critic": own.critic,
            "width of what a critic sees": self.critic.in_size,
            "learner.value_normalisation": "none" if own.value_normalisation == "none" else "running or popart",
            "learner.price_law": "" if self.shape.discrete_prices else own.price_law,
        }

    @property
    def heads(self) -> Heads:
        """The actor's outputs as probabilities, or as laws of continuous prices."""
        return HEADS[self.settings.price_law]

    @property
    def central(self) -> bool:
        """Whether the critic sees the global state."""
        return self.critic.central

    @property
    def critic_spec(self) -> NetworkSpec:
        """The critic."""
        return self.critic

    def kind_of_state(self) -> tuple[type[TrainState], dict[str, Own]]:
        """The class of its states, and the fields that only some learners have."""
        kind, more = super().kind_of_state()
        if not more and self.ambiguity is not None and self.ambiguity.expects:
            return RobustState, {"worlds": Own(_first_worlds)}
        return kind, more


def _first_worlds(learner: Learner, _: Learnable, __: RolloutState) -> WorldFit:
    assert learner.ambiguity is not None
    return expected_values.start(learner.ambiguity.num_candidates, learner.shape.num_sellers)


def num_value_heads(learner: ActorCritic) -> int:
    """Value heads that are normalised apart: one a seller, or one where a local critic serves all."""
    shared_local = learner.settings.critic == "local" and not learner.critic.stacked
    return 1 if shared_local else learner.critic.num_sellers


def seen(learner: ActorCritic, observation: Any) -> Array:
    """What the critic sees of an observation: the global state, or what each seller sees."""
    return observation.state if learner.critic.central else observation.local
