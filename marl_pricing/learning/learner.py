"""What every learner is to the house: its static half, a first state, an update; nothing else is asked of one.

A learner is a folder beside this file with a subclass of `Learner`, and a line in `learners.LEARNERS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp

from marl_pricing import market, traffic
from marl_pricing.learning import actions, rollout
from marl_pricing.learning.actions import Heads
from marl_pricing.learning.batch import minibatch_index
from marl_pricing.learning.networks import Acting, NetworkSpec, Parameters
from marl_pricing.learning.normalisation import ValueStatistics
from marl_pricing.learning.rollout import Played, Player
from marl_pricing.learning.seats import SeatGame, SelfPlay, parts_of
from marl_pricing.learning.settings import CommonSettings
from marl_pricing.learning.state import Learnable, Networks, SelfPlayState, TrainState
from marl_pricing.learning.trajectory import Game, RolloutState, Segment
from marl_pricing.learning.worlds import moved
from marl_pricing.market import MarketParams, MarketShape, layout
from marl_pricing.robust import Ambiguity

Array = jax.Array
Sum = Callable[[Any], Any]


class Own(NamedTuple):
    """A field of a state that only some learners have.

    Attributes:
        start: (learner, learnable, rollout) → what it is before the first update.
        by_environment: its first axis are environments, which are split over devices.
    """

    start: Callable[[Any, Learnable, RolloutState], Any]
    by_environment: bool = False


class Sizes(NamedTuple):
    """Entries of what a seller observes, and of the global state."""

    local: int
    state: int


@dataclass(frozen=True)
class Learner(ABC):
    """The static half of a learner: settings, market shape, the network that acts, what is played.

    Attributes:
        ambiguity: what a robust critic is unsure of; None for the plain one.
    """

    settings: CommonSettings
    shape: MarketShape
    actor: Acting
    ambiguity: Ambiguity | None = None
    game: Game = market

    @classmethod
    @abstractmethod
    def make(
        cls,
        settings: Any,
        shape: MarketShape,
        params: MarketParams,
        *,
        game: Game = market,
    ) -> Self:
        """Size the networks for a market. Raises ValueError for what this learner cannot play, in one line.

        A learner with a critic takes an `ambiguity` too; `learners.make_learner` refuses it for the others.
        """

    @abstractmethod
    def first_learnable(self, actor_key: Array, critic_key: Array) -> Learnable:
        """Networks before the first update, with their optimisers' states."""

    @abstractmethod
    def with_optimisers(self, actor: Parameters, critic: Parameters) -> Learnable:
        """Networks with optimisers that have seen nothing."""

    @abstractmethod
    def first_statistics(self) -> ValueStatistics:
        """The units in which it values, before any data."""

    @abstractmethod
    def update(
        self, state: TrainState, params: MarketParams, env_index: Array, total: Sum
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update: a segment is played and learned from.

        Args:
            env_index: [E] numbers of these environments among all.
            total: sums a tree over devices; the identity on one.

        Returns:
            (state, measures): scalars and [S]-arrays of this update.
        """

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What its networks depend on beside the market, by the setting that decides it."""

    @property
    def heads(self) -> Heads:
        """How the outputs of the network that acts become probabilities, when the policy is played as it is."""
        return actions.split_heads

    @property
    def central(self) -> bool:
        """Whether what values sees the global state."""
        return False

    @property
    def critic_spec(self) -> NetworkSpec | None:
        """The network that values and remembers from segment to segment; None where there is none."""
        return None

    @property
    def self_play(self) -> SelfPlay | None:
        """How past selves play along; None where they do not."""
        return self.game.past if isinstance(self.game, SeatGame) else None

    def kind_of_state(self) -> tuple[type[TrainState], dict[str, Own]]:
        """The class of its states, and the fields that only some learners have."""
        return (TrainState, {}) if self.self_play is None else (SelfPlayState, {"pool": Own(first_pool)})


def first_pool(learner: Learner, learnable: Learnable, _: RolloutState) -> Parameters:
    """The pool of past selves [K, ...] before the first update."""
    past = learner.self_play
    assert past is not None
    return past.first(learnable.actor)


def sizes_of(shape: MarketShape, params: MarketParams, game: Game) -> Sizes:
    """Widths of what sellers observe in a game, and of its global state."""
    seen = jax.eval_shape(lambda p: game.reset(jax.random.key(0), shape, p)[1], params)
    local_size, state_size = seen.local.shape[-1], seen.state.shape[-1]
    if game is market or isinstance(game, SeatGame):  # another game says itself what its sellers see
        assert local_size == len(layout(shape))
    return Sizes(local_size, state_size)


def init(
    learner: Learner, seed: Array, params: MarketParams, env_index: Array, networks: Networks | None = None
) -> TrainState:
    """The state before the first update.

    Args:
        seed: [] int32.  env_index: [E] numbers of the environments to start.
        networks: to start from; None draws new ones. The environments are the same either way.
    """
    actor_key, critic_key, env_key = jax.random.split(jax.random.key(seed), 3)
    keys = jax.vmap(partial(jax.random.fold_in, env_key))(env_index)
    if networks is None:
        learnable, statistics = learner.first_learnable(actor_key, critic_key), learner.first_statistics()
    else:
        learnable, statistics = learner.with_optimisers(networks.actor, networks.critic), networks.statistics
    past = learner.self_play
    params = moved(params, jnp.zeros((), jnp.int32), learner.settings.scheduled_updates)
    if past is not None:
        params = past.meet(params, past.first(learnable.actor), jnp.zeros((), jnp.int32))
    state = TrainState(
        learnable=learnable,
        statistics=statistics,
        rollout=rollout.start(keys, learner.shape, params, learner.actor, learner.critic_spec, learner.game),
        seed=jnp.asarray(seed, jnp.int32),
        update=jnp.zeros((), jnp.int32),
    )
    # What only some learners have is no part of the others' states: their checkpoints keep their form.
    kind, more = learner.kind_of_state()
    return kind(**parts_of(state), **{name: own.start(learner, learnable, state.rollout) for name, own in more.items()})


def update_keys(state: TrainState) -> Array:
    """The random keys [3] of an update: for the rollout, the minibatches, the bank of sessions."""
    # 3: `init` splits the same key in three, and a split key i is that key with i folded in.
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(state.seed), 3), state.update)
    return jax.random.split(key, 3)


def epoch_index(learner: Learner, state: TrainState, env_index: Array, epoch: Array | int) -> Array:
    """Which environments learn together in an epoch of an update: [M, E / M] local numbers."""
    key = jax.random.fold_in(update_keys(state)[1], epoch)
    return minibatch_index(key, env_index, learner.settings.gradient_steps[1])


def next_segment(
    learner: Learner, state: TrainState, params: MarketParams, env_index: Array, heads: Heads | None = None
) -> tuple[TrainState, MarketParams, TrainState, Segment]:
    """Play the segment of an update.

    Args:
        env_index: [E] numbers of these environments among all.
        heads: how the network's outputs become probabilities while it learns; None: as when it is played as it is.

    Returns:
        (state before the segment, with what it met; the market's numbers in this update; the state after it, with the
        critic's memory as it was; the segment).
    """
    own = learner.settings
    roll_key, _, bank_key = update_keys(state)
    params = moved(params, state.update, own.scheduled_updates)
    if learner.shape.traffic.refresh:
        params = params.replace(traffic=traffic.refresh(bank_key, learner.shape.traffic, params.traffic))
    past = learner.self_play
    if past is not None:
        assert isinstance(state, SelfPlayState)
        state = state.replace(pool=past.refreshed(state.pool, state.learnable.actor, state.update))
        params = past.meet(params, state.pool, state.update)
    fearful = learner.ambiguity is not None and learner.ambiguity.frightens
    rolled, segment = rollout.rollout(
        roll_key,
        Played(
            learner.shape, params, learner.game, learner.ambiguity if fearful else None, state.update, learner.central
        ),
        Player(learner.actor, state.learnable.actor, learner.heads if heads is None else heads),
        state.rollout,
        env_index,
        own.num_steps,
    )
    return state, params, state.replace(rollout=rolled), segment
