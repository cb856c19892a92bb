"""A market in which frozen policies hold some of the seats: learners meet the others as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from marl_pricing import market
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Outcome, Policy, take

Array = jax.Array


class Holder(struct.PyTreeNode):
    """A frozen policy's numbers, and where it sits."""

    parameters: Any
    seats: Array  # [S] bool


class Past(struct.PyTreeNode):
    """Seats that learn in some episodes and are held by the learner's past selves in the others.

    Attributes:
        seats: [S] bool.
        newest: [] probability that an episode's past selves are the newest snapshot; else any of the pool.
        actors: [K, ...] the pool, a ring of snapshots.  taken: [] int32, how many were taken so far. None until it is
            played: they belong to the learner's state.
    """

    seats: Array
    newest: Array
    actors: Any = None
    taken: Array | None = None


class SeatParams(MarketParams):
    """A market's numbers, and who holds seats in it. A seat that nobody holds is a learner's."""

    holders: tuple[Holder, ...] = ()
    past: Past | None = None


class SeatState(MarketState):
    """A market's state, and what belongs to the seats.

    Attributes:
        memories: what each frozen policy remembers.
        learns: [S] bool, seats that learn in this episode.
        snapshot: [] int32, the one of the pool that holds the past selves' seats.  past: what it remembers.
    """

    memories: tuple[Any, ...] = ()
    learns: Array | None = None
    snapshot: Array | None = None
    past: Any = None


@dataclass(frozen=True)
class SelfPlay:
    """How past selves act, and how many there are.

    Attributes:
        start, act: of the learner's `market.Policy`, which draws its actions.
        size: K, snapshots in the pool; the oldest goes.  refresh: updates between two of them.
    """

    start: Callable[[], Any]
    act: Callable[..., tuple[Action, Any]]
    size: int
    refresh: int

    def first(self, actor: Any) -> Any:
        """The pool [K, ...] before the first update: every place holds the actor that begins."""
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self.size, *leaf.shape)), actor)

    def refreshed(self, pool: Any, actor: Any, update: Array) -> Any:
        """The pool with this actor as its newest, where a snapshot is due before an update."""
        due, place = update % self.refresh == 0, update // self.refresh % self.size
        return jax.tree.map(lambda kept, now: kept.at[place].set(jnp.where(due, now, kept[place])), pool, actor)

    def meet(self, params: MarketParams, pool: Any, update: Array) -> SeatParams:
        """A market's numbers with the pool that an update is played against."""
        assert isinstance(params, SeatParams) and params.past is not None
        return params.replace(past=params.past.replace(actors=pool, taken=update // self.refresh + 1))

    def draw(self, key: Array, past: Past) -> Array:
        """The snapshot [] that an episode's past selves are: the newest, or each of the pool with the same chance."""
        taken = jnp.int32(1) if past.taken is None else past.taken
        key_newest, key_any = jax.random.split(key)
        anyone = jax.random.randint(key_any, (), 0, jnp.minimum(taken, self.size))
        newest = jax.random.uniform(key_newest) < past.newest
        return jnp.where(newest, (taken - 1) % self.size, anyone).astype(jnp.int32)


# Of the key of a reset, which the market splits.
_DRAW = 2**31 - 1


@dataclass(frozen=True)
class SeatGame:
    """The market as its learners find it: the other seats are held by frozen policies.

    With `SelfPlay` one of the seats that are not frozen is drawn to learn in each episode; of the others those of
    `Past` are held by past selves. The past selves of an episode are one snapshot; each plays its own seat as it did
    then. A seat that is not of `Past` learns always. Where a snapshot's place in the pool is taken by a newer one, an
    episode that runs goes on with the newer.

    Attributes:
        starts, acts: of each frozen `market.Policy`, in the order of `SeatParams.holders`.
        past: None where nobody plays against past selves.
    """

    starts: tuple[Callable[[], Any], ...]
    acts: tuple[Callable[..., tuple[Action, Any]], ...]
    past: SelfPlay | None = None

    def reset(self, key: Array, shape: MarketShape, params: MarketParams) -> tuple[SeatState, Observation]:
        """A fresh market, in which the frozen policies remember nothing."""
        assert isinstance(params, SeatParams)
        state, observation = market.reset(key, shape, params)
        learns, own = learning_seats(params), {}
        if self.past is not None:
            assert params.past is not None
            key_seat, key_snapshot = jax.random.split(jax.random.fold_in(key, _DRAW))
            chosen = jax.random.choice(key_seat, learns.size, p=learns / learns.sum())
            learns = learns & (~params.past.seats | (jnp.arange(learns.size) == chosen))
            own = {"snapshot": self.past.draw(key_snapshot, params.past), "past": self.past.start()}
        memories = tuple(start() for start in self.starts)
        return SeatState(**parts_of(state), memories=memories, learns=learns, **own), observation

    def step(
        self, key: Array, shape: MarketShape, state: MarketState, action: Action, params: MarketParams
    ) -> tuple[MarketState, Observation, Outcome]:
        """One epoch. `SeatState.learns` says whose decisions count."""
        assert isinstance(state, SeatState) and isinstance(params, SeatParams)
        seen = market.observe(shape, params, state)
        memories, past = [], state.past
        for number, (act, holder) in enumerate(zip(self.acts, params.holders, strict=True)):
            # The market splits this key in four, and a split key i is that key with i folded in: 4 is the first free.
            own_key = jax.random.fold_in(key, 4 + number)
            theirs, memory = act(holder.parameters, own_key, state.memories[number], seen, state, params)
            memories.append(memory)
            action = take(theirs, action, holder.seats)
        if self.past is not None:
            assert params.past is not None and state.learns is not None
            snapshot = jax.tree.map(lambda leaf: leaf[state.snapshot], params.past.actors)
            own_key = jax.random.fold_in(key, 4 + len(self.acts))
            theirs, past = self.past.act(snapshot, own_key, state.past, seen, state, params)
            action = take(theirs, action, params.past.seats & ~state.learns)
        return market.step(key, shape, state.replace(memories=tuple(memories), past=past), action, params)


def learners_of(params: MarketParams) -> np.ndarray:
    """Sellers [S] bool that learn, in some episodes at least: those whose seats no frozen policy holds."""
    count = np.size(params.reward.omega)
    if not isinstance(params, SeatParams):
        return np.ones(count, bool)
    return ~reduce(np.logical_or, (np.asarray(holder.seats) for holder in params.holders), np.zeros(count, bool))


def without_past(game: Any) -> Any:
    """The game in which all seats that learn at times learn always: what is learned, as it is."""
    return replace(game, past=None) if isinstance(game, SeatGame) else game


def learning_seats(params: SeatParams) -> Array:
    """Seats [S] that no frozen policy holds."""
    nobody = jnp.zeros(jnp.shape(params.reward.omega), bool)
    return ~reduce(jnp.logical_or, (holder.seats for holder in params.holders), nobody)


def seat_game(policies: Sequence[Policy]) -> SeatGame:
    """The game against frozen policies, one a holder."""
    return SeatGame(tuple(own.start for own in policies), tuple(own.act for own in policies))


def seat_params(params: MarketParams, holders: Sequence[Holder], past: Past | None = None) -> SeatParams:
    """A market's numbers with seats that are held."""
    return SeatParams(**parts_of(params), holders=tuple(holders), past=past)


def parts_of(node: Any) -> dict[str, Any]:
    """The fields of a node by name, for one of a class that has more."""
    return {part.name: getattr(node, part.name) for part in fields(node)}
