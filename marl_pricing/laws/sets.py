"""Ambiguity sets: the worst law over a few candidate worlds among all laws near a nominal one.

Every set answers one question: given the value of each of K candidate worlds and their nominal probabilities p, under
which law q within the radius is the expectation smallest? Each solves its convex program exactly, by the law that its
dual variable stands for (Rahimian and Mehrotra 2019 review the duals). A radius of 0 gives the nominal law, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp

Array = jax.Array
SetName = Literal["interval", "contamination", "total_variation", "kl", "chi2", "wasserstein", "accept"]
SETS: tuple[SetName, ...] = get_args(SetName)
# Halvings of an interval in a one-dimensional dual: to the last bits of a float32, or of a float64.
_HALVINGS, _HALVINGS_64 = 40, 64


def _lowest(values: Array) -> Array:
    """All mass on the worst world; on the first of several."""
    return jax.nn.one_hot(values.argmin(-1), values.shape[-1])


def interval(values: Array, weights: Array, radius: Array) -> Array:
    """The worst of the candidates, whatever the radius: their grid already spans it."""
    del weights, radius
    return _lowest(values)


def contamination(values: Array, weights: Array, radius: Array) -> Array:
    """R-contamination: (1 − R) p + R on the worst world (Huber 1964)."""
    return (1.0 - radius) * weights + radius * _lowest(values)


def total_variation(values: Array, weights: Array, radius: Array) -> Array:
    """½ Σ |q − p| ≤ R: a mass of R moves from the best worlds to the worst one."""
    best_first = jnp.argsort(-values, axis=-1)
    mass = jnp.take_along_axis(jnp.broadcast_to(weights, values.shape), best_first, -1)
    before = jnp.cumsum(mass, -1) - mass
    taken = jnp.clip(radius - before, 0.0, mass)
    given_back = jnp.take_along_axis(taken, jnp.argsort(best_first, axis=-1), -1)
    return weights - given_back + taken.sum(-1, keepdims=True) * _lowest(values)


def _unit(values: Array) -> Array:
    """Values moved and scaled to 0 … 1; zeros where all are equal."""
    low = values.min(-1, keepdims=True)
    spread = values.max(-1, keepdims=True) - low
    return (values - low) / jnp.where(spread > 0, spread, 1.0)


def _bisect(low: Array, high: Array, is_low: Callable[[Array], Array]) -> tuple[Array, Array]:
    """Both ends of a tiny interval around the point of [low, high] up to which `is_low(point)` holds."""

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        left = is_low(middle)
        return jnp.where(left, middle, low), jnp.where(left, high, middle)

    count = _HALVINGS_64 if low.dtype == jnp.float64 else _HALVINGS
    return jax.lax.fori_loop(0, count, halve, (low, high))


def kl(values: Array, weights: Array, radius: Array) -> Array:
    """KL(q ‖ p) ≤ R: the tilted law q ∝ p e^{−v/β} with just that divergence (Hu and Hong 2013, theorem 1).

    Where even the law on the worst world alone is within the radius, β goes to 0 and that law comes out.
    """
    unit = _unit(values)

    def tilted(log_beta: Array) -> tuple[Array, Array]:
        """(law, its divergence), both to full precision for a large β."""
        exponent = -unit * jnp.exp(-log_beta)
        mean = (weights * jnp.expm1(exponent)).sum(-1, keepdims=True)
        law = weights * jnp.exp(exponent) / (1.0 + mean)
        return law, (law * exponent).sum(-1, keepdims=True) - jnp.log1p(mean)

    low, high = (jnp.full_like(unit[..., :1], end) for end in (-12.0, 12.0))
    low, high = _bisect(low, high, lambda log_beta: tilted(log_beta)[1] > radius)
    return tilted(high)[0]


def chi2(values: Array, weights: Array, radius: Array) -> Array:
    """Σ (q − p)²/p ≤ R: q ∝ p (η − v)₊ with just that divergence (Duchi and Namkoong 2021, lemma 1).

    Where no value is above η it is the mean plus the standard deviation over √R; below that it is found by halving.
    """
    unit = _unit(values)
    mean = (weights * unit).sum(-1, keepdims=True)
    deviation = jnp.sqrt((weights * (unit - mean) ** 2).sum(-1, keepdims=True))
    whole = mean + deviation / jnp.sqrt(jnp.maximum(radius, 1e-30))

    def short(eta: Array) -> Array:
        return jnp.maximum(eta - unit, 0.0)

    def too_far(eta: Array) -> Array:
        below = short(eta)
        return (weights * below**2).sum(-1, keepdims=True) > (1.0 + radius) * (weights * below).sum(
            -1, keepdims=True
        ) ** 2

    # As η falls to the lowest value the law goes to the worst world alone, the farthest that there is.
    _, high = _bisect(jnp.zeros_like(mean), jnp.ones_like(mean), too_far)
    law = weights * short(jnp.where(whole >= 1.0, whole, high))
    total = law.sum(-1, keepdims=True)
    alike = deviation <= 1e-12
    return jnp.where(alike, weights, law / jnp.where(total > 0, total, 1.0))


def wasserstein(values: Array, weights: Array, radius: Array, metric: Array) -> Array:
    """W₁(q, p) ≤ R on the candidates: at a price λ of distance, world i sends its mass to argmin_j v_j + λ D_ij.

    The dual sup_{λ ≥ 0} Σ_i p_i min_j (v_j + λ D_ij) − λ R (Kuhn et al. 2019, theorem 7) is largest where the mean
    distance falls through R; the plans on both sides are mixed to travel just R.

    Args:
        metric: [..., K, K] distances D, 0 on the diagonal.
    """
    unit = _unit(values)
    count = values.shape[-1]

    def plan(price: Array) -> tuple[Array, Array]:
        """(law after moving, mean distance travelled)."""
        to = (unit[..., None, :] + price[..., None] * metric).argmin(-1)
        moved = jax.nn.one_hot(to, count)
        distance = (moved * metric).sum(-1)
        return (weights[:, None] * moved).sum(-2), (weights * distance).sum(-1, keepdims=True)

    nearest = jnp.where(metric > 0, metric, jnp.inf).min((-2, -1))[..., None]
    low = jnp.zeros_like(unit[..., :1])
    # Beyond 1 / the least distance no mass moves.
    low, high = _bisect(
        low, low + jnp.where(jnp.isfinite(nearest), 1.001 / nearest, 1.0), lambda price: plan(price)[1] > radius
    )
    (far, far_distance), (near, near_distance) = plan(low), plan(high)
    gap = far_distance - near_distance
    share = jnp.clip((radius - near_distance) / jnp.where(gap > 0, gap, 1.0), 0.0, 1.0)
    return jnp.where(gap > 0, share * far + (1.0 - share) * near, far)


def worst_law(name: SetName, values: Array, weights: Array, radius: Array, metric: Array | None = None) -> Array:
    """The law within the set under which the expectation is smallest; the nominal one where the radius is 0.

    Args:
        values: [..., K] value of each candidate world.  weights: [K] nominal probabilities, above 0, sum one.
        radius: [] ≥ 0.  metric: [..., K, K], for `wasserstein`.

    Returns:
        [..., K] probabilities. No gradient flows through them.
    """
    values = jax.lax.stop_gradient(values)
    if name == "wasserstein":
        if metric is None:
            raise ValueError("robust.metric=None: accepted are distances [K, K] between the worlds for 'wasserstein'")
        if metric.shape[-2:] != (weights.size, weights.size):
            raise ValueError(f"robust.metric of shape {metric.shape}: accepted is {(weights.size, weights.size)}")
        law = wasserstein(values, weights, radius, metric)
    else:
        functions = {
            "interval": interval,
            "accept": interval,  # which candidates there are has been decided by their distances
            "contamination": contamination,
            "total_variation": total_variation,
            "kl": kl,
            "chi2": chi2,
        }
        law = functions[name](values, weights, radius)
    return jnp.where(radius > 0, law, jnp.broadcast_to(weights, law.shape))


def worst_value(name: SetName, values: Array, weights: Array, radius: Array, metric: Array | None = None) -> Array:
    """The smallest expectation [...] within the set; arguments as in `worst_law`."""
    return (worst_law(name, values, weights, radius, metric) * values).sum(-1)


def demand_distances(demand: Array) -> Array:
    """Ground metric [..., K, K] over demand samples: Σ_j |D_kj − D_lj| over the worlds' mean total demand.

    Args:
        demand: [..., K, N] units.
    """
    apart = jnp.abs(demand[..., :, None, :] - demand[..., None, :, :]).sum(-1)
    return apart / jnp.maximum(demand.sum(-1).mean(-1), 1e-6)[..., None, None]
