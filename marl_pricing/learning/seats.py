"""A market in which frozen policies hold some of the seats: learners meet the others as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing import market
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Outcome, Policy

Array = jax.Array


class Holder(struct.PyTreeNode):
    """A frozen policy's numbers, and where it sits."""

    parameters: Any
    seats: Array  # [S] bool


class SeatParams(MarketParams):
    """A market's numbers, and who holds seats in it. A seat that nobody holds is a learner's."""

    holders: tuple[Holder, ...] = ()


class SeatState(MarketState):
    """A market's state, and what each frozen policy remembers."""

    memories: tuple[Any, ...] = ()


@dataclass(frozen=True)
class SeatGame:
    """The market as its learners find it: the other seats are held by frozen policies.

    Attributes:
        starts, acts: of each frozen `market.Policy`, in the order of `SeatParams.holders`.
    """

    starts: tuple[Callable[[], Any], ...]
    acts: tuple[Callable[..., tuple[Action, Any]], ...]

    def reset(self, key: Array, shape: MarketShape, params: MarketParams) -> tuple[SeatState, Observation]:
        """A fresh market, in which the frozen policies remember nothing."""
        state, observation = market.reset(key, shape, params)
        return SeatState(**parts_of(state), memories=tuple(start() for start in self.starts)), observation

    def step(
        self, key: Array, shape: MarketShape, state: MarketState, action: Action, params: MarketParams
    ) -> tuple[MarketState, Observation, Outcome]:
        """One epoch. Only learners count as having acted, so that nothing else enters a loss."""
        assert isinstance(state, SeatState) and isinstance(params, SeatParams)
        seen = market.observe(shape, params, state)
        memories = []
        for number, (act, holder) in enumerate(zip(self.acts, params.holders, strict=True)):
            # The market splits this key in four, and a split key i is that key with i folded in: 4 is the first free.
            own_key = jax.random.fold_in(key, 4 + number)
            theirs, memory = act(holder.parameters, own_key, state.memories[number], seen, state, params)
            memories.append(memory)
            action = put(theirs, action, holder.seats)
        after, observation, outcome = market.step(key, shape, state.replace(memories=tuple(memories)), action, params)
        return after, observation, outcome.replace(acted=outcome.acted & learning_seats(params))


def put(theirs: Action, ours: Action, seats: Array) -> Action:
    """Their action in these seats [S], ours in the others."""
    return jax.tree.map(lambda a, b: jnp.where(seats.reshape(-1, *(1,) * (a.ndim - 1)), a, b), theirs, ours)


def learning_seats(params: SeatParams) -> Array:
    """Seats [S] that nobody holds."""
    return ~reduce(jnp.logical_or, (holder.seats for holder in params.holders))


def seat_game(policies: Sequence[Policy]) -> SeatGame:
    """The game against frozen policies, one a holder."""
    return SeatGame(tuple(own.start for own in policies), tuple(own.act for own in policies))


def seat_params(params: MarketParams, holders: Sequence[Holder]) -> SeatParams:
    """A market's numbers with seats that are held.

    Args:
        holders: at least one.
    """
    return SeatParams(**parts_of(params), holders=tuple(holders))


def parts_of(node: Any) -> dict[str, Any]:
    """The fields of a node by name, for one of a class that has more."""
    return {part.name: getattr(node, part.name) for part in fields(node)}
