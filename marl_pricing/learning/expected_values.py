"""What every candidate world is worth before anything is drawn: E[r_k + γ V(s'_k) | s, a], up to a common constant.

Two parts. The first has no noise at all: the rewards that are expected of the epoch in each world, in closed form, and
the critic's value of the state that an epoch as expected leads to (`market.expect_variants`). The second, what that
leaves out (the critic's curvature, mark-ups, scores, waves, laws of orders that are not Poisson), is learned: for every
world and seller a ridge regression of drawn less expected differences. Its regressors are the first part's differences,
and beside them how far the drawn orders were off their expectation: a control variate that takes out most of the noise
and has no say in what is predicted. Differences are from the mean of all worlds, which share their random numbers.

Worlds that are expected to be the same start exactly equal. What is learned counts only as far as it is significant
against its standard error, and it comes from earlier updates only, so that no draw has a say in the law that it is
judged by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing.market import Expectation, MarketParams, MarketShape
from marl_pricing.market.reward import learning_scale, shape_reward

Array = jax.Array
Sum = Callable[[Any], Any]

# Share of the earlier updates' weight that an update keeps: a memory of about twenty.
_DECAY = 0.95
# Regressors that predict, and those that explain noise.
_MEANS, _NOISES = 7, 5
# The constant begins with the weight of so many steps that say nothing of it.
_PRIOR_STEPS = 100.0
# A learned difference is cut by so many squared standard errors over itself.
_SIGNIFICANCE = 4.0


class WorldFit(struct.PyTreeNode):
    """Sums of products over the steps seen so far, of each world K and seller S. F regressors."""

    gram: Array  # [K, S, F, F]
    moment: Array  # [K, S, F] with what is to be explained
    square: Array  # [K, S] of what is to be explained
    count: Array  # [S] steps


def start(num_worlds: int, num_sellers: int) -> WorldFit:
    """Nothing seen yet."""
    size, each = _MEANS + _NOISES, (num_worlds, num_sellers)
    return WorldFit(
        jnp.zeros((*each, size, size)), jnp.zeros((*each, size)), jnp.zeros(each), jnp.zeros((num_sellers,))
    )


def _apart(values: Array) -> Array:
    """Differences of [T, E, K, ...] from the mean over worlds."""
    return values - values.mean(2, keepdims=True)


def _own_and_rivals(values: Array, num_sellers: int) -> tuple[Array, Array]:
    """[K, N] offers summed to each seller, and to its rivals: both [K, S]."""
    own = values.reshape(len(values), num_sellers, -1).sum(-1)
    return own, own.sum(-1, keepdims=True) - own


def regressors(
    shape: MarketShape, params: MarketParams, prices: Array, expected: Expectation, surplus: Array
) -> tuple[Array, Array]:
    """What explains the worlds' differences in one epoch of one market, in money.

    Args:
        prices: [N] posted.  surplus: [K, N] units ordered beyond their expectation.

    Returns:
        (known before the draw [K, S, 5], noise of mean 0 [K, S, 5]).
    """
    own, sellers = params.reward, shape.num_sellers
    margin = prices if shape.reward.pay_on_order else prices - own.unit_cost
    money = jnp.abs(margin).mean()
    worth = margin  # of one more order, at once: its margin where it is served, else the penalty
    if not shape.inventory.unlimited:
        worth = expected.served * (margin + own.stockout_penalty + own.holding_cost) - own.stockout_penalty
    scale = learning_scale(shape.reward, own.omega)
    raw = _own_and_rivals(worth * surplus, sellers)[0]
    at_once = jax.vmap(lambda r: shape_reward(r, own.omega) * scale)(raw)

    def units(of: Array) -> list[Array]:
        """Asked of the seller and of its rivals, and of both what is served."""
        return [*_own_and_rivals(money * of, sellers), *_own_and_rivals(money * expected.served * of, sellers)]

    return jnp.stack([expected.reward.mean(1), *units(expected.demand)], -1), jnp.stack([at_once, *units(surplus)], -1)


def _inverse(matrix: Array) -> Array:
    """Inverses of positive definite matrices [..., F, F], by Gauss and Jordan.

    Not `jnp.linalg`: batched LAPACK calls inside a program over several CPU devices can hang.
    """
    scale = jax.lax.rsqrt(jnp.maximum(jnp.diagonal(matrix, axis1=-2, axis2=-1), 1e-30))
    both = scale[..., :, None] * scale[..., None, :]
    size = matrix.shape[-1]

    def eliminate(pivot: Array, work: Array) -> Array:
        at = jnp.arange(size) == pivot
        row = jnp.where(at[:, None], work, 0.0).sum(-2)  # [..., F]
        centre = jnp.where(at, row, 0.0).sum(-1, keepdims=True)
        row = jnp.where(at, 1.0, row) / centre
        column = jnp.where(at, work, 0.0).sum(-1)
        rest = jnp.where(at, 0.0, work) - column[..., :, None] * row[..., None, :]
        return jnp.where(at[:, None], row[..., None, :], rest)

    return jax.lax.fori_loop(0, size, eliminate, matrix * both) * both


def solve(fit: WorldFit) -> tuple[Array, Array]:
    """What has been learned: (coefficients [K, S, 7], their covariances [K, S, 7, 7])."""
    count = jnp.maximum(fit.count, 1.0)
    spread = fit.square / count + 1e-12  # [K, S]
    # A coefficient of 1 on money is as much as there is to learn; the constant has to earn its place.
    size = fit.gram.shape[-1]
    prior = spread[..., None] * jnp.where(jnp.arange(size) == 0, 0.0, 1.0)
    prior += jnp.where(jnp.arange(size) == 0, _PRIOR_STEPS, 1e-6)
    inverse = _inverse(fit.gram + prior[..., None] * jnp.eye(size))
    beta = (inverse * fit.moment[..., None, :]).sum(-1)
    left = jnp.maximum(fit.square - (beta * fit.moment).sum(-1), 0.0) / count
    return beta[..., :_MEANS], (left[..., None, None] * inverse)[..., :_MEANS, :_MEANS]


def predict(fit: WorldFit, known: Array) -> Array:
    """The learned part of each world's value [T, E, K, S], as far as it is significant."""
    beta, covariance = solve(fit)
    learned = (known * beta).sum(-1)
    variance = jnp.einsum("teksf,ksfg,teksg->teks", known, covariance, known)
    sure = jnp.maximum(1.0 - _SIGNIFICANCE * variance / jnp.maximum(learned**2, 1e-30), 0.0)
    return jnp.where(fit.count > 0, learned * sure, 0.0)


def absorb(fit: WorldFit, known: Array, noise: Array, missed: Array, live: Array, total: Sum) -> WorldFit:
    """Take in a segment.

    Args:
        missed: [T, E, K, S] drawn less expected differences.  live: [T, E, S].
        total: sums over devices, the identity on one.
    """
    x = jnp.concatenate([known, noise], -1)
    weighted = x * live[:, :, None, :, None]
    new = WorldFit(
        jnp.einsum("teksf,teksg->ksfg", weighted, x),
        jnp.einsum("teksf,teks->ksf", weighted, missed),
        jnp.einsum("tes,teks->ks", live, missed**2),
        live.sum((0, 1)),
    )
    return jax.tree.map(lambda old, own: _DECAY * old + own, fit, total(new))


def expected_values(
    fit: WorldFit, means: Array, noises: Array, following: Array, drawn: Array, live: Array, total: Sum
) -> tuple[Array, WorldFit]:
    """(what every world is worth before the draw [T, E, K, S], up to a common constant; the fit after this segment).

    Args:
        means, noises: [T, E, K, S, 5] as `regressors` says.
        following: [T, E, K, S] γ V of the states that are expected.  drawn: [T, E, K, S] r_k + γ V(s'_k).
        live: [T, E, S].  total: sums over devices, the identity on one.
    """
    ones, following = jnp.ones_like(following)[..., None], _apart(following)
    means, noises = _apart(means), _apart(noises)
    known = jnp.concatenate([ones, following[..., None], means], -1)
    first = means[..., 0] + following
    return first + predict(fit, known), absorb(fit, known, noises, _apart(drawn) - first, live, total)
