"""Trained networks as policies that can be played."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax

from marl_pricing.learning import actions
from marl_pricing.learning.actions import Heads
from marl_pricing.learning.learner import Learner
from marl_pricing.learning.networks import Acting
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Policy

Array = jax.Array


@lru_cache(maxsize=64)
def _functions(
    actor: Acting, shape: MarketShape, heads_of: Heads, greedy: bool
) -> tuple[Callable[[], Any], Callable[..., Any]]:
    # Cached, so that policies of one network and market are one static argument and share a compiled program.
    def start() -> Array:
        return actor.start(1)[0]

    def act(
        parameters: Any, key: Array, memory: Array, observation: Observation, state: MarketState, params: MarketParams
    ) -> tuple[Action, Array]:
        logits, memories = actor.step(parameters, observation.local[None], memory[None])
        heads = heads_of(shape, logits[0], observation.order_mask)
        indices = actions.greedy(heads) if greedy else actions.sample(key, heads)
        return actions.to_action(shape, params, heads, indices), memories[0]

    return start, act


def learned_policy(learner: Learner, parameters: Any, *, greedy: bool) -> Policy:
    """The actor of one seed as a policy for all sellers.

    Args:
        parameters: the actor's, without an axis of seeds.
        greedy: the most probable action, of a continuous price its law's centre; otherwise a draw.
    """
    start, act = _functions(learner.actor, learner.shape, learner.heads, greedy)
    return Policy(f"learned ({'greedy' if greedy else 'sampled'})", parameters, start, act)
