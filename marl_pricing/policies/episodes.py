"""Whole episodes of one policy, to be part of a compiled program: what evaluations record and fits add up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from marl_pricing import market
from marl_pricing.market import MarketParams, MarketShape, Outcome
from marl_pricing.traffic.params import Array

Keep = Callable[[Outcome, Array], Any]


def run_episodes(
    key: Array,
    shape: MarketShape,
    params: MarketParams,
    act: Callable[..., Any],
    parameters: Any,
    memory: Any,
    *,
    numbers: Array,
    keep: Keep,
) -> Any:
    """Play episodes of a policy given by its parts, each from its reset to its end.

    Random numbers are common: the market's depend on `key`, the episode's number and the epoch only, so that two
    policies meet the same shoppers. A policy draws from keys of its own.

    Args:
        act, parameters, memory: of a `market.Policy`; `memory` is what its `start` gives.
        numbers: [E] int32, which episodes.
        keep: (outcome of an epoch, live [S] bool: who was in a market that had not ended) → what is kept of it.

    Returns:
        What was kept, with leading axes [E, T].
    """
    key_market, key_policy = jax.random.split(key)

    def episode(number: Array) -> Any:
        own_market, own_policy = (jax.random.fold_in(k, number) for k in (key_market, key_policy))
        state, observation = market.reset(jax.random.fold_in(own_market, 0), shape, params)

        def epoch(carry: tuple, time: Array) -> tuple[tuple, Any]:
            state, observation, memory, gone = carry
            action, memory = act(parameters, jax.random.fold_in(own_policy, time), memory, observation, state, params)
            state, observation, outcome = market.step(
                jax.random.fold_in(own_market, time + 1), shape, state, action, params
            )
            live = outcome.acted & ~gone
            return (state, observation, memory, gone | outcome.terminated), keep(outcome, live)

        gone = jnp.zeros((shape.num_sellers,), bool)
        first = (state, observation, memory, gone)
        return jax.lax.scan(epoch, first, jnp.arange(shape.episode_length))[1]

    return jax.vmap(episode)(numbers)
