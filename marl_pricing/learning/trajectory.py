"""What is played, what is carried on from segment to segment, and what a segment leaves: the same for every learner."""

from __future__ import annotations

from typing import Any, Protocol

import jax
from flax import struct

from marl_pricing import market
from marl_pricing.learning.candidate_worlds import Candidates
from marl_pricing.market import MarketParams, MarketShape, MarketState, Observation, Outcome

Array = jax.Array


class Game(Protocol):
    """What is played: the market itself, one in which someone else holds some of the seats, or another one.

    Another game has a state of its own kind; its sellers decide what the shape says, and are told an `Outcome`.
    """

    def reset(self, key: Array, shape: MarketShape, params: MarketParams) -> tuple[Any, Observation]:
        """As `market.reset`."""

    def step(
        self, key: Array, shape: MarketShape, state: Any, action: market.Action, params: MarketParams
    ) -> tuple[Any, Observation, Outcome]:
        """As `market.step`."""


class RolloutState(struct.PyTreeNode):
    """What is carried from one segment to the next. E environments."""

    market: MarketState  # [E, ...]
    observation: Observation  # [E, ...] at the start of the coming epoch
    first: Array  # [E] bool, the coming epoch begins an episode
    actor_memory: Array  # [E, S, M]
    critic_memory: Array  # [E, S or 1, M]


class Segment(struct.PyTreeNode):
    """What a segment leaves for learning; every array [T, E, ...]."""

    observation: Observation  # before the step
    following: Observation  # after the step and before any reset: what a truncated step bootstraps from
    first: Array  # [T, E] bool
    indices: list[Array]  # chosen index, or place of a continuous price, of each head [T, E, S, P]
    log_prob: Array  # [T, E, S]
    outcome: Outcome
    done: Array  # [T, E, S] bool, the seller's episode ended with this step
    candidates: Candidates | None  # what would have happened in other worlds, for a robust critic
    restarted: Array  # [T, E] bool, the market was reset after this step
    learns: Array | None = None  # [T, E, S] bool, seats of learners; None: all of them

    @property
    def live(self) -> Array:
        """Steps [T, E, S] bool that are learned from: the seller was in the market, and a learner decided for it."""
        return self.outcome.acted if self.learns is None else self.outcome.acted & self.learns
