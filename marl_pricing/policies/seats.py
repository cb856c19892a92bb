"""Several policies at one table: a guest sits in one seller's seat, a host in all others."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from marl_pricing.market import Action, MarketParams, MarketState, Observation, Policy
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

        def choose(theirs: Array, ours: Array) -> Array:
            return jnp.where(parameters[2].reshape(-1, *(1,) * (ours.ndim - 1)), theirs, ours)

        return jax.tree.map(choose, other, own), (host_memory, guest_memory)

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
