"""The shock feature against the epochs whose demand a shock moves."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.market import Action, layout
from tests.markets import UNLIMITED, make, programs, within


def played(probability: float, duration: int, episodes: int = 40, steps: int = 30) -> tuple[np.ndarray, ...]:
    """(shock as seen before each epoch, demand of each epoch over its demand without, critic's entry) [E, T]."""
    own = make(
        {"random_orders": False}, inventory=UNLIMITED, features=["own_price", "shock"], episode_length=steps,
        shocks={"probability": probability, "duration": duration, "scale": 3.0},
    )  # fmt: skip
    shape, params = own
    quiet = make({"random_orders": False}, inventory=UNLIMITED, episode_length=steps)
    still = Action(jnp.full((2, 1), 4))
    usual = programs.step(
        jax.random.key(0), quiet.shape, programs.reset(jax.random.key(0), *quiet)[0], still, quiet.params
    )
    entry = layout(shape).index(next(name for name in layout(shape) if name.startswith("shock")))

    def episode(key):
        state, seen = programs.reset(key, shape, params)

        def epoch(carry, own_key):
            state, seen = carry
            state, after, outcome = market.step(own_key, shape, state, still, params)
            ratio = outcome.demand[0] / usual[2].demand[0]
            return (state, after), (seen.local[0, entry], ratio, seen.state[-2])

        return jax.lax.scan(epoch, (state, seen), jax.random.split(jax.random.fold_in(key, 1), steps))[1]

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(2), episodes)))


@pytest.mark.parametrize("duration", [1, 2, 4])
def test_a_shock_is_seen_in_every_epoch_that_it_moves_and_in_no_other(duration: int) -> None:
    seen, ratio, left = played(0.15, duration)
    assert set(np.unique(ratio.round(3))) == {1.0, 3.0}
    np.testing.assert_array_equal(seen, ratio > 2)
    # The critic sees how much of it is left, the coming epoch included.
    np.testing.assert_array_equal(left > 0, ratio > 2)
    assert set(np.unique((left * duration).round(3))) == set(map(float, range(duration + 1)))


def test_the_first_epoch_is_as_likely_to_start_a_shock_as_any_other() -> None:
    seen, _, _ = played(0.3, 1, episodes=2000, steps=3)
    for epoch in range(3):
        assert within(seen[:, epoch].mean(), 0.3, np.sqrt(0.3 * 0.7 / 2000))


def test_shocks_that_never_come_change_nothing() -> None:
    seen, ratio, left = played(1e-12, 2)
    assert seen.max() == 0 == left.max() and (ratio.round(5) == 1).all()
