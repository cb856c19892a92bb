"""Several policies at one table: guests sit in some sellers' seats, a host in all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from marl_pricing.market import Action, MarketParams, MarketState, Observation, Policy, take
from marl_pricing.traffic.params import Array


@lru_cache(maxsize=256)
def _start(host: Callable[[], Any], guest: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: (host(), guest())


@lru_cache(maxsize=256)
def _act(host: Callable[..., Any], guest: Callable[..., Any]) -> Callable[..., tuple[Action, Any]]:
    def act(
        parameters: tuple[Any, Any, Array],
        key: Array,
        memory: tuple[Any, Any],
        observation: Observation,
        state: MarketState,
        params: MarketParams,
    ) -> tuple[Action, Any]:
        # The host's key is the one it would have alone, so that a guest changes nothing of the others' chance.
        own, host_memory = host(parameters[0], key, memory[0], observation, state, params)
        other, guest_memory = guest(parameters[1], jax.random.fold_in(key, 1), memory[1], observation, state, params)

        return take(other, own, parameters[2]), (host_memory, guest_memory)

    return act


def seat(host: Policy, guest: Policy, seller: int, num_sellers: int) -> Policy:
    """The host plays all sellers but one, in whose seat the guest sits.

    Args:
        seller: index of the guest's seat.

    Raises:
        ValueError: for a seat that the market does not have.
    """
    if not 0 <= seller < num_sellers:
        raise ValueError(f"seller={seller!r}: accepted is a whole number from 0 to {num_sellers - 1}")
    taken = jnp.arange(num_sellers) == seller
    parameters = (host.parameters, guest.parameters, taken)
    start = _start(host.start, guest.start)
    return Policy(f"{host.name}, {guest.name} as seller {seller}", parameters, start, _act(host.act, guest.act))


@lru_cache(maxsize=64)
def _start_table(starts: tuple[Callable[[], Any], ...]) -> Callable[[], Any]:
    return lambda: tuple(start() for start in starts)


@lru_cache(maxsize=64)
def _act_table(host: Callable[..., Any], guests: tuple[Callable[..., Any], ...]) -> Callable[..., tuple[Action, Any]]:
    def act(
        parameters: tuple[Any, tuple[Any, ...], tuple[Array, ...]],
        key: Array,
        memory: tuple[Any, ...],
        observation: Observation,
        state: MarketState,
        params: MarketParams,
    ) -> tuple[Action, Any]:
        action, after = host(parameters[0], key, memory[0], observation, state, params)
        memories = [after]
        for number, (guest, own, seats) in enumerate(zip(guests, *parameters[1:], strict=True)):
            own_key = jax.random.fold_in(key, _FIRST_GUEST + number)
            theirs, after = guest(own, own_key, memory[1 + number], observation, state, params)
            action = take(theirs, action, seats)
            memories.append(after)
        return action, tuple(memories)

    return act


# `seat` folds in 1, also where its host is a table.
_FIRST_GUEST = 16


def table(host: Policy, guests: Sequence[Policy], seats: Sequence[Array]) -> Policy:
    """The host plays all sellers but those in whose seats guests sit.

    Args:
        seats: [S] bool of each guest.
    """
    return Policy(
        host.name,
        (host.parameters, tuple(own.parameters for own in guests), tuple(jnp.asarray(own) for own in seats)),
        _start_table((host.start, *(own.start for own in guests))),
        _act_table(host.act, tuple(own.act for own in guests)),
    )
