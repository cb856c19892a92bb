"""Elasticities of products, each drawn towards its category's, and those of categories towards the shop's.

β_i of a product is normal around its category's mean with spread τ, that around the shop's with spread σ; what is
measured is β_i with a known error (Gelman and others, Bayesian Data Analysis, 3rd edition, 5.4, with one level more).
Given σ and τ all else is normal and known in closed form, so that two numbers are left: they are drawn from a grid. No
chain has to converge, and the same draws come out everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

# What is believed before the data: of the shop's mean (mean and spread), and of σ and τ (half-normal spreads).
OWN_PRIOR, CROSS_PRIOR = (-2.0, 2.0), (0.3, 1.0)
_SPREAD = 1.0
_GRID = (np.arange(80) + 0.5) * 0.04  # of σ and of τ: to 3.2


@dataclass(frozen=True)
class Posterior:
    """Draws of elasticities.

    Attributes:
        products: [D, N].  categories: [D, C] of their means.
        among, within: [D] spreads, of categories (σ) and of the products of one (τ).
    """

    products: Array
    categories: Array
    among: Array
    within: Array


def sample(
    estimate: Array,
    error: Array,
    category: Array,
    *,
    prior: tuple[float, float] = OWN_PRIOR,
    draws: int = 1000,
    seed: int = 0,
) -> Posterior:
    """Posterior of every product's elasticity.

    Args:
        estimate, error: [N]; NaN of a product that has none, which then is its category's alone.
        category: [N] numbers from 0.
        prior: mean and spread of the shop's.
    """
    seen = np.isfinite(estimate) & np.isfinite(error)
    value, variance, group = estimate[seen], error[seen] ** 2, category[seen]
    count = int(category.max()) + 1
    random = np.random.default_rng([seed, 1])
    # Per τ [T, C]: what a category's products say of its mean, as one number of a known precision.
    wide = variance + _GRID[:, None] ** 2
    told = np.stack([np.bincount(group, 1.0 / row, count) for row in wide])
    middle = np.stack([np.bincount(group, value / row, count) for row in wide]) / np.where(told > 0, told, 1.0)
    known = told[0] > 0
    inside = -0.5 * (np.log(wide) + value**2 / wide).sum(1)
    inside += 0.5 * (told * middle**2 - np.log(np.where(known, told, 1.0))).sum(1)
    # Per τ and σ [T, S, C]: the same beside the shop's mean, which is integrated out too.
    weight = np.where(known, 1.0 / (_GRID[:, None] ** 2 + 1.0 / np.where(known, told, 1.0)[:, None]), 0.0)
    centre = middle[:, None]
    precision = weight.sum(-1) + prior[1] ** -2
    shop = ((weight * centre).sum(-1) + prior[0] * prior[1] ** -2) / precision
    beyond = 0.5 * (np.log(np.where(known, weight, 1.0)) - weight * centre**2).sum(-1)
    beyond += 0.5 * (shop**2 * precision - np.log(precision))
    half_normal = -0.5 * (_GRID / _SPREAD) ** 2
    log_weight = inside[:, None] + beyond + half_normal[:, None] + half_normal
    chance = np.exp(log_weight - log_weight.max())
    cell = random.choice(chance.size, draws, p=(chance / chance.sum()).ravel())
    t, s = np.unravel_index(cell, chance.shape)
    within, among = _GRID[t], _GRID[s]
    mean = shop[t, s] + random.standard_normal(draws) / np.sqrt(precision[t, s])

    def normal(precision: Array, weighted: Array) -> Array:
        return weighted / precision + random.standard_normal(precision.shape) / np.sqrt(precision)

    own = told[t]
    around = among[:, None] ** -2
    categories = normal(own + around, own * middle[t] + around * mean[:, None])
    measured = np.where(seen, 1.0 / np.where(seen, error, 1.0) ** 2, 0.0)
    around = within[:, None] ** -2
    products = normal(measured + around, measured * np.where(seen, estimate, 0.0) + around * categories[:, category])
    return Posterior(products, categories, among, within)
