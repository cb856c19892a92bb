"""The unbiased estimator of a worst expectation: every set, where draws are as noisy as worlds are apart."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.laws import worst_value
from tests.learning.multilevel import multilevel
from tests.sizes import at_once

WEIGHTS = np.full(5, 0.2, np.float32)
METRIC = jnp.abs(jnp.arange(5.0)[:, None] - jnp.arange(5.0))
RADII = {"interval": 0.2, "contamination": 0.3, "total_variation": 0.2, "kl": 0.1, "chi2": 0.2, "wasserstein": 0.5}


def worst_of(name: str):
    """[..., K] → [...] in NumPy."""
    run = jax.jit(lambda v: worst_value(name, v, jnp.asarray(WEIGHTS), jnp.float32(RADII[name]), METRIC))
    return lambda values: np.asarray(run(jnp.asarray(values, jnp.float32)), np.float64)


@pytest.mark.parametrize("name", at_once(RADII, 2))
def test_the_referee_is_unbiased_where_few_draws_are_not(name: str) -> None:
    """Three of five worlds are equally bad; draws are as noisy as the worlds are apart."""
    random, means = np.random.default_rng(0), np.array([1.0, 1.0, 1.0, 1.5, 2.0])
    worst, spread = worst_of(name), np.array([1.0, 0.5, 2.0, 1.0, 1.0])

    def draw(count: int) -> np.ndarray:
        return means + spread * random.normal(size=(count, 5))

    found = np.array([multilevel(draw, worst, random) for _ in range(3000)])
    error = found.std() / np.sqrt(len(found))
    exact = float(worst(means))
    assert abs(found.mean() - exact) < 4 * error and error < 0.02
    # As many draws as a level begins with are too few, and one is far too few.
    few = worst(np.stack([draw(16).mean(0) for _ in range(3000)]))
    assert few.mean() < exact - 3 * error
    assert worst(draw(3000)).mean() < few.mean()
