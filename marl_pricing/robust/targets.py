"""Robust one-step targets: the worst expectation of r_k + γ V(s'_k) over an ambiguity set of worlds.

min over laws q of Σ_k q_k E[r_k + γ V(s'_k) | s, a]: the expectation comes first, the choice after it (Iyengar 2005;
Nilim and El Ghaoui 2005). So a law is chosen by what every world is worth on average (`known`), and the target is that
law's mean of what was drawn: given the law it is unbiased, and errors of `known` make it less pessimistic, never more.
Where `known` are the drawn values themselves (`per_draw`), the smallest of several noisy numbers is taken, and the
noise is feared with the worlds.

The operator is a γ-contraction for a rectangular set, which `per_seller` and `nature` are: the choice is made anew in
every state. `fixed_world` is not rectangular: its targets are those of one world for the whole episode, a heuristic
that is less pessimistic. λ-returns built from robust one-step targets are a heuristic in all cases: beyond one step
they follow the path that was played.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.laws import demand_distances, worst_law
from marl_pricing.robust.ambiguity import Ambiguity

Array = jax.Array

# Worlds whose values differ by less than this share of their size are alike: rounding.
_ALIKE = 1e-5


def robust_targets(
    ambiguity: Ambiguity,
    values: Array,
    radius: Array,
    episodes: Array,
    demand: Array | None = None,
    known: Array | None = None,
    plain: Array | None = None,
) -> tuple[Array, Array]:
    """Targets of every step, and the law behind them.

    Where all worlds are known to be worth the same, the worst law is every law, and what was drawn in the nominal world
    is as good a target as any: there the robust learner is the plain one.

    Args:
        values: [T, E, K, S] r_k + γ V(s'_k) of each candidate and seller, as drawn, in units of the learner's reward.
        radius: [].
        episodes: [T, E] int32, number of the step's episode within the segment, from 0 to at most T.
        demand: [T, E, K, N] units in each world, for an ambiguity with `demand_metric`.
        known: [T, E, K, S] what the adversary goes by, up to what is the same in all worlds; None: the drawn values.
        plain: [T, E, S] the plain targets, beside `known`.

    Returns:
        (targets [T, E, S], laws [T, E, K, S] over the candidates).
    """
    weights = jnp.asarray(ambiguity.weights, jnp.float32)
    feared = values if known is None else known
    metric = None
    if ambiguity.set == "wasserstein":
        metric = ambiguity.metric() if demand is None else demand_distances(demand)

    def worst(values: Array, metric: Array | None = metric) -> Array:
        return worst_law(ambiguity.set, values, weights, radius, metric)

    if ambiguity.adversary == "per_seller":
        by_seller = metric[:, :, None] if metric is not None and metric.ndim > 2 else metric
        law = jnp.moveaxis(worst(jnp.moveaxis(feared, -2, -1), by_seller), -1, -2)
    else:
        together = feared.sum(-1)  # [T, E, K]: nature is against the sum of all
        if ambiguity.adversary == "fixed_world":
            together = _episode_sums(together, episodes)
        law = jnp.broadcast_to(worst(together)[..., None], values.shape)
    targets = (law * values).sum(-2)
    if known is None or plain is None:
        return targets, law
    alike = jnp.ptp(known, axis=-2) <= _ALIKE * jnp.abs(values).mean(-2)  # [T, E, S]
    if ambiguity.adversary != "per_seller":  # nature looks at all sellers
        alike = jnp.broadcast_to(alike.all(-1, keepdims=True), alike.shape)
    return jnp.where(alike, plain, targets), jnp.where(alike[:, :, None], weights[:, None], law)


def _episode_sums(values: Array, episodes: Array) -> Array:
    """Each step's value replaced by the sum over its episode [T, E, K]."""
    num_steps = values.shape[0]

    def one(values: Array, numbers: Array) -> Array:
        return jax.ops.segment_sum(values, numbers, num_steps + 1)[numbers]

    return jax.vmap(one, in_axes=1, out_axes=1)(values, episodes)
