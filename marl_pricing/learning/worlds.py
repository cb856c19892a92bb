"""The market in a world that every episode of every environment draws for itself (domain randomisation), or that moves.

Tobin et al. (2017) randomise what a simulator's numbers are; here what a market's are, by a law of each. A central
critic is told the world in full, as training may be; what sellers see of it is the market's features. What moves with
the updates is the same in all environments, and nobody is told more of it than of the market as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing import market
from marl_pricing.learning.schedule import linear
from marl_pricing.learning.seats import parts_of
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Outcome, Variants, vary

Array = jax.Array
# Of the key of a reset, which the market splits.
_DRAW = 2**31 - 3


class Range(struct.PyTreeNode):
    """Any number between two, evenly."""

    low: Array  # []
    high: Array  # []

    def draw(self, key: Array) -> Array:
        """One number []."""
        return self.low + (self.high - self.low) * jax.random.uniform(key)


class Values(struct.PyTreeNode):
    """Any of some numbers, each with the same chance."""

    values: Array  # [K]

    def draw(self, key: Array) -> Array:
        """One number []."""
        return self.values[jax.random.randint(key, (), 0, self.values.shape[0])]


class Laws(struct.PyTreeNode):
    """What a world is drawn from; None: as the market has it."""

    agent_share: Range | Values | None = None  # α
    omega: Range | Values | None = None  # ω, the same for all sellers of an episode
    variants: Variants | None = None  # [G] any of them, each with the same chance
    coordinates: Array | None = None  # [G, C] where they lie, as a critic is told


class Start(struct.PyTreeNode):
    """Where a number begins; over a share of the scheduled updates it goes to what the market has, and stays there."""

    value: Array  # []
    over: Array  # [] share of the scheduled updates, above 0

    def at(self, end: Array, update: Array, scheduled: int) -> Array:
        """The number at an update; `end`, to the bit, from the end of its way on.

        Args:
            end: what the market has; any shape.
            update: [] updates done before this one.
            scheduled: updates over which what is scheduled moves.
        """
        length = self.over * scheduled
        # A condition is not fused with what follows: the rest is compiled as if the number had been handed in.
        return jax.lax.cond(update >= length, lambda: end, lambda: linear(self.value, end, update, length))


class Moves(struct.PyTreeNode):
    """What moves with the updates; None: as the market has it all along."""

    agent_share: Start | None = None  # α
    omega: Start | None = None  # ω: all sellers begin at one number, and each goes to its own


class World(struct.PyTreeNode):
    """What an episode drew."""

    agent_share: Array | None = None  # []
    omega: Array | None = None  # []
    variant: Array | None = None  # [] int32


class WorldParams(MarketParams):
    """A market's numbers, the laws of those that differ between worlds, and how others move with the updates."""

    laws: Laws = Laws()
    moves: Moves = Moves()


class WorldState(MarketState):
    """A market's state, and the world that it is in."""

    world: World = World()


@dataclass(frozen=True)
class WorldGame:
    """The market, in a world that is drawn when an episode begins and stays until it ends."""

    def reset(self, key: Array, shape: MarketShape, params: MarketParams) -> tuple[WorldState, Observation]:
        """A fresh market in a fresh world."""
        assert isinstance(params, WorldParams)
        world = draw(jax.random.fold_in(key, _DRAW), params.laws)
        state, seen = market.reset(key, shape, in_world(params, world))
        return WorldState(**parts_of(state), world=world), _told(seen, params.laws, world)

    def step(
        self, key: Array, shape: MarketShape, state: MarketState, action: Action, params: MarketParams
    ) -> tuple[MarketState, Observation, Outcome]:
        """One epoch in the episode's world."""
        assert isinstance(state, WorldState) and isinstance(params, WorldParams)
        after, seen, outcome = market.step(key, shape, state, action, in_world(params, state.world))
        return after, _told(seen, params.laws, state.world), outcome


def draw(key: Array, laws: Laws) -> World:
    """The world of an episode."""
    share_key, omega_key, variant_key = jax.random.split(key, 3)
    variant = None
    if laws.coordinates is not None:
        variant = jax.random.randint(variant_key, (), 0, laws.coordinates.shape[0])
    return World(
        agent_share=None if laws.agent_share is None else laws.agent_share.draw(share_key),
        omega=None if laws.omega is None else laws.omega.draw(omega_key),
        variant=variant,
    )


def in_world(params: WorldParams, world: World) -> MarketParams:
    """The market's numbers in one world."""
    own: MarketParams = params
    if world.variant is not None:
        own = vary(own, jax.tree.map(lambda leaf: leaf[world.variant], params.laws.variants))
    if world.agent_share is not None:
        own = own.replace(traffic=own.traffic.replace(agent_share=world.agent_share))
    if world.omega is not None:
        omega = jnp.broadcast_to(world.omega, own.reward.omega.shape)
        own = own.replace(reward=own.reward.replace(omega=omega))
    return own


def _told(seen: Observation, laws: Laws, world: World) -> Observation:
    """With the world at the end of the global state: α, ω, the variant's coordinates."""
    parts = [seen.state, *(own[None] for own in (world.agent_share, world.omega) if own is not None)]
    if laws.coordinates is not None:
        parts.append(laws.coordinates[world.variant])
    return seen.replace(state=jnp.concatenate(parts))


def moved(params: MarketParams, update: Array, scheduled: int) -> MarketParams:
    """The market's numbers at an update.

    Args:
        update: [] updates done before this one.
        scheduled: updates over which what is scheduled moves.
    """
    if not isinstance(params, WorldParams):
        return params
    own, moves = params, params.moves
    if moves.agent_share is not None:
        share = moves.agent_share.at(own.traffic.agent_share, update, scheduled)
        own = own.replace(traffic=own.traffic.replace(agent_share=share))
    if moves.omega is not None:
        omega = moves.omega.at(own.reward.omega, update, scheduled)
        own = own.replace(reward=own.reward.replace(omega=omega))
    return own


def moving(params: MarketParams) -> dict[str, Array]:
    """What moves with the updates, as these numbers have it: `agent_share` [], `omega` [S]; only what does move."""
    if not isinstance(params, WorldParams):
        return {}
    told = {"agent_share": params.traffic.agent_share, "omega": params.reward.omega}
    return {name: value for name, value in told.items() if getattr(params.moves, name) is not None}


def world_params(params: MarketParams, laws: Laws, moves: Moves | None = None) -> WorldParams:
    """A market's numbers with laws of what differs between worlds, and with what moves."""
    return WorldParams(**parts_of(params), laws=laws, moves=Moves() if moves is None else moves)


def game_in(params: MarketParams) -> Any:
    """The game in which these numbers are played: the market itself where no episode draws anything."""
    return WorldGame() if isinstance(params, WorldParams) and jax.tree.leaves(params.laws) else market


def nominal(game: Any) -> Any:
    """The game as policies are judged in it: the market itself where worlds are drawn in training."""
    return market if isinstance(game, WorldGame) else game
