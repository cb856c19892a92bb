"""One of several policies, drawn anew for each episode: an opponent out of a league, or out of a run's seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from marl_pricing.market import Action, MarketParams, MarketState, Observation, Policy
from marl_pricing.traffic.params import Array

# Of the key of an episode's first decision: policies split or fold in small numbers only.
_DRAW = 2**31 - 1


class DrawnParameters(struct.PyTreeNode):
    """Numbers of M policies of G kinds.

    Attributes:
        kinds: G stacks of parameters [M_g, ...].
        kind: [M] int32, of which kind each policy is.  place: [M] int32, where it lies in its stack.
        share: [M] probability of each.
    """

    kinds: tuple[Any, ...]
    kind: Array
    place: Array
    share: Array


@lru_cache(maxsize=64)
def _start(starts: tuple[Callable[[], Any], ...]) -> Callable[[], Any]:
    return lambda: (jnp.zeros((), jnp.int32), tuple(start() for start in starts))


@lru_cache(maxsize=64)
def _act(acts: tuple[Callable[..., Any], ...]) -> Callable[..., tuple[Action, Any]]:
    def act(
        own: DrawnParameters,
        key: Array,
        memory: tuple[Array, tuple[Any, ...]],
        observation: Observation,
        state: MarketState,
        params: MarketParams,
    ) -> tuple[Action, Any]:
        drawn = jax.random.choice(jax.random.fold_in(key, _DRAW), own.share.size, p=own.share).astype(jnp.int32)
        number = jnp.where(state.epoch == 0, drawn, memory[0])
        action, after = None, []
        for kind, (one, stack) in enumerate(zip(acts, own.kinds, strict=True)):
            here = own.kind[number] == kind
            place = jnp.where(here, own.place[number], 0)
            parameters = jax.tree.map(lambda leaf, place=place: leaf[place], stack)
            theirs, remembered = one(parameters, key, memory[1][kind], observation, state, params)
            action = theirs if action is None else jax.tree.map(
                lambda new, old, here=here: jnp.where(here, new, old), theirs, action
            )  # fmt: skip
            after.append(remembered)
        assert action is not None
        return action, (number, tuple(after))

    return act


def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)


def drawn(name: str, policies: Sequence[Policy], shares: Sequence[float] | None = None) -> Policy:
    """A policy that is one of these for a whole episode, for all the seats that it plays.

    Which one is drawn from the key of the episode's first decision. Policies of one kind share their arithmetic. The
    policy that is drawn acts on the key that it would have alone; one policy is itself.

    Args:
        shares: probability of each; None: the same for all.

    Raises:
        ValueError: for no policies.
    """
    if not policies:
        raise ValueError("policies=[]: accepted is at least one")
    if len(policies) == 1:
        return Policy(name, policies[0].parameters, policies[0].start, policies[0].act)
    kinds: dict[Any, list[Policy]] = {}
    kind, place = [], []
    for own in policies:
        sort = own.start, own.act, jax.tree.structure(own.parameters)
        same = kinds.setdefault(sort, [])
        kind.append(list(kinds).index(sort))
        place.append(len(same))
        same.append(own)
    given = np.ones(len(policies)) if shares is None else np.asarray(shares, np.float64)
    parameters = DrawnParameters(
        kinds=tuple(_stacked([own.parameters for own in same]) for same in kinds.values()),
        kind=jnp.array(kind, jnp.int32),
        place=jnp.array(place, jnp.int32),
        share=jnp.asarray(given / given.sum(), jnp.float32),
    )
    firsts = [own[0] for own in kinds.values()]
    return Policy(name, parameters, _start(tuple(own.start for own in firsts)), _act(tuple(own.act for own in firsts)))
