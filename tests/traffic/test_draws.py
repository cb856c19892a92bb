"""Gamma times: their law, and the random numbers that sessions in one place share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from marl_pricing.traffic.draws import gamma


@pytest.mark.parametrize("shape", [0.1, 0.4, 1.0, 1.5, 6.0, 80.0])
def test_gamma_times_follow_their_law(shape: float) -> None:
    drawn = np.asarray(gamma(jax.random.key(3), jnp.full((20_000,), shape)))
    assert (drawn >= 0).all()
    assert stats.kstest(drawn, stats.gamma(shape).cdf).pvalue > 1e-3


def test_gamma_times_in_one_place_share_their_numbers() -> None:
    shapes = jnp.broadcast_to(jnp.asarray([[0.7], [2.0], [2.0], [2.001]]), (4, 5_000))
    small, one, same, near = np.asarray(gamma(jax.random.key(0), shapes))
    assert (one == same).all()
    assert np.median(np.abs(near / one - 1.0)) < 1e-3
    assert np.corrcoef(small, one)[0, 1] > 0.5
