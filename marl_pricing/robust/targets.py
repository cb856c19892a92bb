"""Robust one-step targets: the worst expectation of r_k + γ V(s'_k) over an ambiguity set of worlds.

All candidates start from the same state with the same random numbers, so that they differ by what they are. The robust
Bellman operator (Iyengar 2005; Nilim and El Ghaoui 2005) is a γ-contraction for a rectangular set, which `per_seller`
and `nature` are: the choice is made anew in every state. `fixed_world` is not rectangular: its targets are those of one
world for the whole episode, a heuristic that is less pessimistic. λ-returns built from robust one-step targets are a
heuristic in all modes: beyond one step they follow the path that was played.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.laws import demand_distances, worst_law
from marl_pricing.robust.ambiguity import Ambiguity

Array = jax.Array


def robust_targets(
    ambiguity: Ambiguity, values: Array, radius: Array, episodes: Array, demand: Array | None = None
) -> tuple[Array, Array]:
    """Targets of every step, and the law behind them.

    Args:
        values: [T, E, K, S] r_k + γ V(s'_k) of each candidate and seller, in units of the learner's reward.
        radius: [].
        episodes: [T, E] int32, number of the step's episode within the segment, from 0 to at most T.
        demand: [T, E, K, N] units in each world, for an ambiguity with `demand_metric`.

    Returns:
        (targets [T, E, S], laws [T, E, K, S] over the candidates).
    """
    weights = jnp.asarray(ambiguity.weights, jnp.float32)

    metric = None
    if ambiguity.set == "wasserstein":
        metric = ambiguity.metric() if demand is None else demand_distances(demand)

    def worst(values: Array, metric: Array | None = metric) -> Array:
        return worst_law(ambiguity.set, values, weights, radius, metric)

    if ambiguity.mode == "per_seller":
        by_seller = metric[:, :, None] if metric is not None and metric.ndim > 2 else metric
        law = jnp.moveaxis(worst(jnp.moveaxis(values, -2, -1), by_seller), -1, -2)
    else:
        together = values.sum(-1)  # [T, E, K]: nature is against the sum of all
        if ambiguity.mode == "fixed_world":
            together = _episode_sums(together, episodes)
        law = jnp.broadcast_to(worst(together)[..., None], values.shape)
    return (law * values).sum(-2), law


def _episode_sums(values: Array, episodes: Array) -> Array:
    """Each step's value replaced by the sum over its episode [T, E, K]."""
    num_steps = values.shape[0]

    def one(values: Array, numbers: Array) -> Array:
        return jax.ops.segment_sum(values, numbers, num_steps + 1)[numbers]

    return jax.vmap(one, in_axes=1, out_axes=1)(values, episodes)
