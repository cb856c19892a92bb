"""The runs of a sweep, played by their greedy policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.evaluation.play import Record, play_episodes
from marl_pricing.market import MarketParams, MarketShape, Policy

Array = jax.Array


@dataclass(frozen=True)
class SweptRun:
    """A run and where it stands.

    Attributes:
        x: value of what is on the x axis.
        over: value of the second dimension; None without.
        policies: one a training seed, all of one kind.
    """

    name: str
    x: float
    over: int | float | str | None
    shape: MarketShape
    params: MarketParams
    policies: Sequence[Policy]


@partial(jax.jit, static_argnames=("shape", "act", "num_episodes"))
def _play_seeds(
    keys: Array, shape: MarketShape, params: MarketParams, act: Any, parameters: Any, memory: Any, num_episodes: int
) -> Record:
    def one(own: tuple[Array, Any]) -> Record:
        key, seed_parameters = own
        return play_episodes(key, shape, params, act, seed_parameters, memory, num_episodes)

    return jax.lax.map(one, (keys, parameters))


def play_run(run: SweptRun, episodes: int, seed: int) -> list[Record]:
    """Play whole episodes under the policy of every training seed.

    Args:
        episodes: E, of each seed.
        seed: of the shoppers; the k-th seed of every run meets the k-th set of them.

    Returns:
        Of each seed, in NumPy arrays.

    Raises:
        ValueError: for less than one episode, or no policies.
    """
    if episodes < 1:
        raise ValueError(f"episodes={episodes!r}: accepted is a whole number of at least 1")
    if not run.policies:
        raise ValueError(f"run {run.name!r}: has no learned policies")
    first = run.policies[0]
    parameters = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(policy.parameters for policy in run.policies))
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(len(run.policies)))
    played = _play_seeds(keys, run.shape, run.params, first.act, parameters, first.start(), episodes)
    whole = jax.tree.map(np.asarray, played)
    return [jax.tree.map(lambda x, number=number: x[number], whole) for number in range(len(run.policies))]
