"""Recurrent DQN (Mnih et al. 2015; Hausknecht and Stone 2015): Q-learning from a ring of segments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import optax
from pydantic import Field

from marl_pricing.learning import normalisation
from marl_pricing.learning.action_values.heads import EpsilonGreedy
from marl_pricing.learning.action_values.learner import ValueNetwork, epsilon
from marl_pricing.learning.action_values.settings import ValueNetworkSettings
from marl_pricing.learning.action_values.step import gradient_step
from marl_pricing.learning.action_values.targets import Batch, Transitions, targets, transitions_of, weights
from marl_pricing.learning.batch import minibatch_index
from marl_pricing.learning.dqn import replay
from marl_pricing.learning.learner import Own, next_segment, update_keys
from marl_pricing.learning.losses import explained_variance
from marl_pricing.learning.measures import segment_measures
from marl_pricing.learning.networks import Parameters
from marl_pricing.learning.schedule import learning_rate
from marl_pricing.learning.settings import Count
from marl_pricing.learning.state import Learnable, SelfPlayState, TrainState
from marl_pricing.learning.trajectory import RolloutState
from marl_pricing.market import MarketParams

Array = jax.Array
Sum = Callable[[Any], Any]


class DqnSettings(ValueNetworkSettings, frozen=True):
    """DQN (Mnih et al. 2015); a replayed piece is a whole segment, so that networks with a memory can learn from it."""

    algorithm: Literal["dqn"] = "dqn"
    replay_segments: Count = 4
    gradient_steps_per_update: Annotated[int, Field(ge=1, le=10_000)] = 12
    num_minibatches: Count = 4  # a gradient step takes one part in so many of a replayed segment
    target_every: Count = 1  # updates between moves of the target network
    # τ: the network that plays, gives targets and is kept is an average of the one that learns (Polyak and Juditsky
    # 1992): it goes τ of the way there at each move. None: the network that learns plays, and is copied.
    averaging: Annotated[float, Field(gt=0, le=1)] | None = None


class ReplayState(TrainState):
    """A training's state with the segments that are kept."""

    replay: Transitions  # [E, R, T, ...]


class SelfPlayReplayState(SelfPlayState):
    """The same of a learner that plays against its past selves."""

    replay: Transitions  # [E, R, T, ...]


@dataclass(frozen=True)
class Dqn(ValueNetwork):
    """DQN: one-step targets of a target network, on segments drawn from a ring.

    `Learnable.actor` plays. `Learnable.critic` is the target network; with `averaging`, where the average both plays
    and gives targets, it is the network that learns.
    """

    settings: DqnSettings

    def first_learnable(self, actor_key: Array, critic_key: Array) -> Learnable:
        """The network before the first update, and its copy."""
        actor = self.actor.init(actor_key)
        return self.with_optimisers(actor, actor)

    def kind_of_state(self) -> tuple[type[TrainState], dict[str, Own]]:
        """The class of its states, and the fields that only some learners have."""
        kind, more = super().kind_of_state()
        with_ring = ReplayState if kind is TrainState else SelfPlayReplayState
        return with_ring, more | {"replay": Own(_first_ring, by_environment=True)}

    def update(
        self, state: TrainState, params: MarketParams, env_index: Array, total: Sum = lambda x: x
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update; see `Learner.update`."""
        assert isinstance(state, (ReplayState, SelfPlayReplayState))
        own = self.settings
        chance, rate = epsilon(own, state.update), learning_rate(own, state.update)
        before, params, after, segment = next_segment(self, state, params, env_index, EpsilonGreedy(chance))
        played = transitions_of(self, segment, before.rollout.actor_memory)
        ring = replay.put(state.replay, state.update % own.replay_segments, played)
        learnable = _other_roles(own, before.learnable)
        judge: Parameters = learnable.critic
        target, value = targets(self, judge, before.statistics, played, 0.0)
        live, statistics = played.live.astype(jnp.float32), before.statistics
        measures = segment_measures(self.shape, params, segment, total)
        measures |= {
            "explained_variance": explained_variance(value, target, live, total),
            "learning_rate": rate,
            "epsilon": chance,
        }
        if own.value_normalisation != "none":
            statistics = normalisation.update(statistics, target, live, total)
        key = update_keys(state)[1]

        def step(learnable: Learnable, number: Array) -> tuple[Learnable, dict[str, Array]]:
            slot_key, part_key = jax.random.split(jax.random.fold_in(key, number))
            slot = jax.random.randint(slot_key, (), 0, jnp.minimum(state.update + 1, own.replay_segments))
            index = minibatch_index(part_key, env_index, own.num_minibatches)[0]
            drawn = replay.pick(ring, slot, index)
            target = targets(self, judge, before.statistics, drawn, 0.0)[0]
            if own.value_normalisation != "none":
                target = normalisation.normalise(statistics, target)
            batch = Batch(drawn, target, drawn.live.astype(jnp.float32), weights(self, drawn, total))
            return gradient_step(self, total, rate, learnable, batch, jnp.arange(index.size))

        learnable, sums = jax.lax.scan(step, learnable, jnp.arange(own.gradient_steps_per_update))
        count = jnp.maximum(sums.pop("live").sum(), 1.0)
        measures |= {name: each.sum() / count for name, each in sums.items()}
        due = (state.update + 1) % own.target_every == 0
        aim = learnable.actor
        if own.averaging is not None:
            aim = optax.incremental_update(aim, judge, own.averaging)
        judge = jax.tree.map(lambda new, old: jnp.where(due, new, old), aim, judge)
        learnable = _other_roles(own, learnable.replace(critic=judge))
        return after.replace(learnable=learnable, statistics=statistics, replay=ring, update=after.update + 1), measures


def _other_roles(own: DqnSettings, networks: Learnable) -> Learnable:
    """Who learns as `actor`, who gives targets as `critic`, of networks as they are kept; and the other way round."""
    return networks if own.averaging is None else networks.replace(actor=networks.critic, critic=networks.actor)


def _first_ring(learner: Dqn, _: Learnable, rollout: RolloutState) -> Transitions:
    own = learner.settings
    return replay.empty(learner.shape, own.replay_segments, own.num_steps, rollout, own.frequency_bound is not None)
