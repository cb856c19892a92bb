"""Which environments learn together, and in what parts."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from marl_pricing.learning.settings import NetworkSettings

Array = jax.Array


def take(tree: Any, index: Array, axis: int) -> Any:
    """Every leaf of a tree at `index` along an axis."""
    return jax.tree.map(lambda x: jnp.take(x, index, axis=axis), tree)


def num_blocks(num_envs: int, rows_per_env: int, rows: int | None) -> int:
    """Fewest parts of a minibatch that keep a part's matrices within `rows` rows, an environment at least."""
    return 1 if rows is None else -(-num_envs // max(1, rows // rows_per_env))


def rows_per_block(settings: NetworkSettings) -> int | None:
    """Rows of a gradient block: as set, else 16 on a CPU (`python -m benchmarks blocks`), all at once elsewhere."""
    if settings.rows_per_block is not None:
        return settings.rows_per_block
    return 16 if jax.default_backend() == "cpu" else None


def minibatch_index(key: Array, env_index: Array, num_minibatches: int) -> Array:
    """Which environments learn together: [M, E / M] local numbers.

    Every run of M neighbouring environments sends one to each minibatch, in random order. The order of a run depends on
    its first environment's number only, so that minibatches are the same however many devices share the environments.
    """
    runs = env_index.reshape(-1, num_minibatches)
    keys = jax.vmap(partial(jax.random.fold_in, key))(runs[:, 0])
    order = jax.vmap(lambda k: jax.random.permutation(k, num_minibatches))(keys)
    return (order + num_minibatches * jnp.arange(len(runs))[:, None]).T
