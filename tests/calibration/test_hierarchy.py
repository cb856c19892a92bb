"""The posterior of elasticities beside integrals done in another way, and beside truths it has to hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from marl_pricing.calibration.hierarchy import OWN_PRIOR, sample


def test_the_posterior_is_that_of_brute_importance_sampling() -> None:
    """Five products of two categories: draws of the prior, weighted with the likelihood of what was measured."""
    estimate, error = np.array([-1.0, -2.5, -3.5, np.nan, -4.0]), np.array([0.4, 0.6, 0.5, np.nan, 0.8])
    category = np.array([0, 0, 1, 1, 1])
    random, count = np.random.default_rng(0), 500_000
    among, within = np.abs(random.standard_normal((2, count)))
    shop = random.normal(*OWN_PRIOR, count)
    means = shop[:, None] + among[:, None] * random.standard_normal((count, 2))
    products = means[:, category] + within[:, None] * random.standard_normal((count, 5))
    seen = np.isfinite(estimate)
    weight = np.exp(stats.norm.logpdf(estimate[seen], products[:, seen], error[seen]).sum(1))
    weight /= weight.sum()
    found = sample(estimate, error, category, draws=20_000)
    for own, other in (
        (found.products, products), (found.categories, means), (found.among[:, None], among[:, None]),
        (found.within[:, None], within[:, None]),
    ):  # fmt: skip
        mean = weight @ other
        np.testing.assert_allclose(own.mean(0), mean, atol=0.05)
        np.testing.assert_allclose(own.std(0), np.sqrt(weight @ (other - mean) ** 2), rtol=0.05)


def test_intervals_hold_the_truth_and_lie_nearer_than_either_extreme() -> None:
    random, inside, errors = np.random.default_rng(1), [], []
    for number in range(40):
        category = np.repeat(np.arange(6), 5)
        true = -2.2 + 0.5 * random.normal(size=6)[category] + 0.4 * random.normal(size=30)
        error = random.uniform(0.2, 1.5, 30)
        measured = true + error * random.normal(size=30)
        found = sample(measured, error, category, draws=600, seed=number).products
        low, high = np.quantile(found, [0.025, 0.975], axis=0)
        inside.append(((low <= true) & (true <= high)).mean())
        pooled = np.average(measured, weights=error**-2.0)
        errors.append([np.sqrt(((other - true) ** 2).mean()) for other in (found.mean(0), measured, pooled)])
    reach = stats.t.ppf(0.995, 39) * np.std(inside, ddof=1) / np.sqrt(40)
    assert abs(np.mean(inside) - 0.95) < reach + 0.005
    own, alone, pooled = np.mean(errors, axis=0)
    assert own < 0.9 * min(alone, pooled)


def test_a_product_without_an_estimate_is_its_categorys_and_one_seen_exactly_its_own() -> None:
    estimate = np.array([-1.0, -1.1, -0.9, np.nan, -3.0])
    found = sample(estimate, np.array([0.05, 0.05, 0.05, np.nan, 1e-3]), np.array([0, 0, 0, 0, 1]), draws=4000)
    assert found.products[:, 3].mean() == pytest.approx(-1.0, abs=0.1)
    assert found.products[:, 3].std() > 2 * found.products[:, 0].std()
    assert found.products[:, 4].mean() == pytest.approx(-3.0, abs=0.01)


def test_the_same_seed_gives_the_same_draws() -> None:
    own = [np.array([-1.0, -2.0]), np.array([0.5, 0.5]), np.array([0, 1])]
    first, again, other = sample(*own, seed=3), sample(*own, seed=3), sample(*own, seed=4)
    np.testing.assert_array_equal(first.products, again.products)
    assert not np.array_equal(first.products, other.products)
