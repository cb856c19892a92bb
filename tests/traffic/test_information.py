"""The cost of information: mark-up, level, leak, erosion."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.traffic import MarkupParams, information


@pytest.mark.parametrize("num_quotes", [1, 2, 10, 100, 10_000])
def test_the_cheapest_of_n_uniform_quotes(num_quotes: int) -> None:
    """E[p_(1)] = a + (b − a)/(N + 1); the estimate from a sample of prices, within its sampling error."""
    low, high = 2.0, 5.0
    size, repeats = 200_000, 40
    random = np.random.default_rng(num_quotes)
    got = [float(information.erosion(random.uniform(low, high, size), num_quotes)) for _ in range(repeats)]
    error = np.std(got) / np.sqrt(repeats)
    assert abs(np.mean(got) - (low + (high - low) / (num_quotes + 1))) <= 4 * error + 1e-9


def test_erosion_of_few_prices_is_exact() -> None:
    # Two prices: the lower one is seen unless all N quotes are the higher.
    np.testing.assert_allclose(information.erosion([1.0, 3.0], np.array([1, 2, 3])), [2.0, 1.5, 1.25])
    assert information.erosion([4.0], 7) == 4.0
    for bad in ([], [1.0, np.nan]):
        with pytest.raises(ValueError, match="prices"):
            information.erosion(bad, 2)
    with pytest.raises(ValueError, match="num_quotes"):
        information.erosion([1.0], 0)


def test_the_mark_up_of_a_session() -> None:
    params = MarkupParams(*(jnp.float32(x) for x in (0.25, 4.0, 1.25, 1.0, np.inf)))
    got = information.session_markup(jnp.array([4.0, -1e6, 1e6, 1.0]), params)
    np.testing.assert_allclose(got, [1.125, 1.0, 1.25, 1 + 0.25 / (1 + np.exp(3 / 1.25))], rtol=1e-6)


def test_level_and_leaks() -> None:
    assert information.coi_level([2.0, 4.0], [3.0, 1.0], [1.0, 1.0]) == pytest.approx(1.5)
    with pytest.raises(ValueError, match="nothing was sold"):
        information.coi_level([2.0], [0.0], [1.0])
    scores = jnp.array([0.5, 0.25])
    assert float(information.constant_tax(2.0, scores)) == pytest.approx(1.5)
    log_prob = jnp.log(jnp.array([0.5, 1.0]))
    np.testing.assert_allclose(information.revelation(2.0, scores, log_prob), [1.5 * np.log(2), 0.0], rtol=1e-6)
