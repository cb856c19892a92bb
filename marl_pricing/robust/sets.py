"""Ambiguity sets: the worst expectation over all laws near a nominal one, for a few candidate worlds.

Every set answers one question: given the value of each of K candidate worlds and their nominal probabilities, what is
the smallest expectation that a law within the radius can have? All are exact for these K worlds (Rahimian and Mehrotra
2019 review them; sources of the duals stand with each). A radius of 0 is the nominal expectation, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp

Array = jax.Array
SetName = Literal["interval", "contamination", "total_variation", "kl", "chi2", "wasserstein"]
SETS: tuple[SetName, ...] = get_args(SetName)
# Halvings of an interval in a one-dimensional dual: to the last bits of a float32.
_HALVINGS = 40


def nominal(values: Array, weights: Array) -> Array:
    """E[v] under the nominal law. values [..., K], weights [K] that sum to one; returns [...]."""
    return (values * weights).sum(-1)


def interval(values: Array, weights: Array, radius: Array) -> Array:
    """The worst of the candidates, whatever the radius: their grid already spans it."""
    del weights, radius
    return values.min(-1)


def contamination(values: Array, weights: Array, radius: Array) -> Array:
    """R-contamination: (1 − R) E[v] + R min v (Huber 1964)."""
    return (1.0 - radius) * nominal(values, weights) + radius * values.min(-1)


def total_variation(values: Array, weights: Array, radius: Array) -> Array:
    """½ Σ |q − p| ≤ R: a mass of R moves from the best worlds to the worst one."""
    order = jnp.argsort(-values, axis=-1)
    best_first = jnp.take_along_axis(values, order, -1)
    mass = jnp.take_along_axis(jnp.broadcast_to(weights, values.shape), order, -1)
    before = jnp.cumsum(mass, -1) - mass
    taken = jnp.clip(radius - before, 0.0, mass)
    lowest = values.min(-1, keepdims=True)
    return nominal(values, weights) - (taken * (best_first - lowest)).sum(-1)


def _unit(values: Array) -> tuple[Array, Array, Array]:
    """Values from 0 to 1, with the shift and the scale [..., 1] that undo it."""
    low = values.min(-1, keepdims=True)
    scale = jnp.maximum(values.max(-1, keepdims=True) - low, 1e-30)
    return (values - low) / scale, low, scale


def _bisect(low: Array, high: Array, is_low: Callable[[Array], Array]) -> Array:
    """The point of [low, high] up to which `is_low(point)` holds; it holds on a left part only."""

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        left = is_low(middle)
        return jnp.where(left, middle, low), jnp.where(left, high, middle)

    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, (low, high))
    return 0.5 * (low + high)


def kl(values: Array, weights: Array, radius: Array) -> Array:
    """KL(q ‖ p) ≤ R, by its dual sup_β −β log E[e^{−v/β}] − β R (Hu and Hong 2013, theorem 1).

    The supremum is where the tilted law q ∝ p e^{−v/β} has just KL(q ‖ p) = R; β is found by halving its logarithm.
    """
    unit, low, scale = _unit(values)

    def tilted(log_beta: Array) -> tuple[Array, Array]:
        """(−log E[e^{−v/β}], E_q[v]/β), both to full precision for a large β."""
        exponent = -unit * jnp.exp(-log_beta)
        mean = (weights * jnp.expm1(exponent)).sum(-1, keepdims=True)
        law = weights * jnp.exp(exponent) / (1.0 + mean)
        return -jnp.log1p(mean), -(law * exponent).sum(-1, keepdims=True)

    def too_small(log_beta: Array) -> Array:
        # KL(q ‖ p) = −E_q[v]/β − log E[e^{−v/β}] falls as β rises.
        log_mean, ratio = tilted(log_beta)
        return log_mean - ratio > radius

    start = jnp.full_like(low, -12.0), jnp.full_like(low, 12.0)
    log_beta = _bisect(*start, too_small)
    log_mean, _ = tilted(log_beta)
    value = jnp.exp(log_beta) * (log_mean - radius)
    return (low + scale * jnp.clip(value, 0.0, 1.0))[..., 0]


def chi2(values: Array, weights: Array, radius: Array) -> Array:
    """Σ (q − p)²/p ≤ R, by its dual sup_η η − √(1 + R) √E[(η − v)₊²] (Duchi and Namkoong 2021, lemma 1)."""
    unit, low, scale = _unit(values)
    root = jnp.sqrt(1.0 + radius)

    def moments(eta: Array) -> tuple[Array, Array]:
        short = jnp.maximum(eta - unit, 0.0)
        return (weights * short).sum(-1, keepdims=True), (weights * short**2).sum(-1, keepdims=True)

    def rising(eta: Array) -> Array:
        mean, square = moments(eta)
        return jnp.sqrt(square) > root * mean

    # Beyond this η no value is above it, and the maximum has a closed form; halving is for those below.
    mean = (weights * unit).sum(-1, keepdims=True)
    variance = (weights * (unit - mean) ** 2).sum(-1, keepdims=True)
    whole = mean - jnp.sqrt(radius * variance)
    inside = mean + jnp.sqrt(variance / jnp.maximum(radius, 1e-30)) >= 1.0
    eta = _bisect(jnp.zeros_like(low), jnp.ones_like(low), rising)
    cut = eta - root * jnp.sqrt(moments(eta)[1])
    value = jnp.where(inside, whole, cut)
    return (low + scale * jnp.clip(value, 0.0, 1.0))[..., 0]


def wasserstein(values: Array, weights: Array, radius: Array, metric: Array) -> Array:
    """W₁(q, p) ≤ R on the candidates: sup_{λ ≥ 0} Σ_i p_i min_j (v_j + λ D_ij) − λ R (Kuhn et al. 2019, theorem 7).

    The dual is concave and linear between the slopes (v_i − v_j)/D_ij, so it is largest at one of them; the sign of
    its derivative is found by halving.

    Args:
        metric: [K, K] distances D, 0 on the diagonal.
    """
    unit, low, scale = _unit(values)
    width = jnp.where(metric > 0, metric, jnp.inf).min()
    highest = 1.0 / width  # beyond it no mass moves

    def moved(price: Array) -> tuple[Array, Array]:
        """(Σ p_i min_j (v_j + λ D_ij), mean distance that mass moves)."""
        cost = unit[..., None, :] + price[..., None] * metric
        # Of equally good places the farthest: the slope to the right of a corner is the steeper one.
        least = cost.min(-1)
        far = jnp.where(cost <= least[..., None] + 1e-7, metric, 0.0).max(-1)
        return (weights * least).sum(-1, keepdims=True), (weights * far).sum(-1, keepdims=True)

    def rising(price: Array) -> Array:
        return moved(price)[1] > radius

    price = _bisect(jnp.zeros_like(low), jnp.full_like(low, highest), rising)
    value = moved(price)[0] - price * radius
    return (low + scale * jnp.clip(value, 0.0, 1.0))[..., 0]


def worst_value(name: SetName, values: Array, weights: Array, radius: Array, metric: Array | None = None) -> Array:
    """The smallest expectation within the set; the nominal one where the radius is 0.

    Args:
        values: [..., K] value of each candidate world.  weights: [K] nominal probabilities.
        radius: [] ≥ 0.  metric: [K, K], for `wasserstein`.

    Returns:
        [...].
    """
    plain = nominal(values, weights)
    if name == "wasserstein":
        if metric is None:
            raise ValueError("robust.metric=None: accepted are distances [K, K] between the worlds for 'wasserstein'")
        worst = wasserstein(values, weights, radius, metric)
    else:
        functions = {
            "interval": interval,
            "contamination": contamination,
            "total_variation": total_variation,
            "kl": kl,
            "chi2": chi2,
        }
        worst = functions[name](values, weights, radius)
    return jnp.where(radius > 0, jnp.minimum(worst, plain), plain)
