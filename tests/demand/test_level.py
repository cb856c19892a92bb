"""The latent level and the shocks against their closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.demand import level
from tests.markets import UNLIMITED, make, within

PATHS, STEPS = 4000, 60


@pytest.fixture(scope="module")
def paths() -> np.ndarray:
    """Log levels [PATHS, STEPS, 2], each path from its stationary start."""
    params = make(level={"persistence": [0.9, 0.5], "volatility": [0.2, 0.3]}).params.demand

    def path(key):
        keys = jax.random.split(key, STEPS)

        def step(x, key):
            after = level.advance_log_level(key, x, params)
            return after, x

        return jax.lax.scan(step, level.draw_log_level(keys[0], params), keys)[1]

    return np.asarray(jax.jit(jax.vmap(path))(jax.random.split(jax.random.key(0), PATHS)))


VARIANCE = np.array([0.2**2 / (1 - 0.9**2), 0.3**2 / (1 - 0.5**2)])


@pytest.mark.parametrize("time", [0, STEPS - 1])
def test_the_log_level_is_stationary(paths: np.ndarray, time: int) -> None:
    now = paths[:, time]
    assert within(now.mean(0), 0.0, np.sqrt(VARIANCE / PATHS))
    # The variance of a normal sample's variance is 2 σ⁴ / n.
    assert within(now.var(0), VARIANCE, VARIANCE * np.sqrt(2 / PATHS))


def test_its_lag_one_correlation_is_the_persistence(paths: np.ndarray) -> None:
    before, after = paths[:, 10], paths[:, 11]
    for offer, rho in enumerate((0.9, 0.5)):
        got = np.corrcoef(before[:, offer], after[:, offer])[0, 1]
        assert within(got, rho, (1 - rho**2) / np.sqrt(PATHS))


def test_its_factor_has_mean_one(paths: np.ndarray) -> None:
    params = make(level={"persistence": [0.9, 0.5], "volatility": [0.2, 0.3]}).params.demand
    factor = np.asarray(level.level_factor(jnp.asarray(paths[:, -1]), params))
    assert within(factor.mean(0), 1.0, np.sqrt((np.exp(VARIANCE) - 1) / PATHS))


def test_without_volatility_there_is_no_level_in_the_state() -> None:
    assert make().shape.demand.moving_level is False
    assert make(level={"persistence": 0.5, "volatility": [0.0, 0.1]}).shape.demand.moving_level is True


def shocked(probability: float, duration: int, steps: int, num: int) -> np.ndarray:
    params = make(shocks={"probability": probability, "duration": duration, "scale": 3.0}).params.demand

    def path(key):
        def step(remaining, key):
            remaining = level.advance_shock(key, remaining, params)
            return remaining, level.shock_factor(remaining, params)

        return jax.lax.scan(step, jnp.zeros((), jnp.int32), jax.random.split(key, steps))[1]

    return np.asarray(jax.vmap(path)(jax.random.split(jax.random.key(1), num)))


def test_a_shock_lasts_exactly_its_duration() -> None:
    factor = shocked(0.05, 4, 200, 50)
    assert set(np.unique(factor)) == {1.0, 3.0}
    for path in factor:
        on = np.flatnonzero(np.diff(np.concatenate([[1.0], path, [1.0]])) != 0)
        lengths = on[1::2] - on[::2]
        # One may follow another at once, and the last may be cut by the end.
        inside = lengths[:-1] if path[-1] == 3.0 else lengths
        assert (inside % 4 == 0).all()
        assert (inside > 0).all()


def test_the_share_of_shocked_epochs_is_the_renewal_ratio() -> None:
    # A cycle is a wait for the next start (a geometric number of epochs, 1/p − 1 of them quiet on average) and d
    # shocked epochs, so the share is d / (1/p − 1 + d) = p d / (1 + p (d − 1)).
    probability, duration = 0.1, 5
    factor = shocked(probability, duration, 400, 400)[:, 100:] > 1
    expected = probability * duration / (1 + probability * (duration - 1))
    by_path = factor.mean(1)
    assert within(by_path.mean(), expected, by_path.std() / np.sqrt(len(by_path)))


def test_a_certain_shock_never_ends_and_an_impossible_one_never_begins() -> None:
    assert (shocked(1.0, 1, 20, 4) == 3.0).all()
    assert make(shocks={"probability": 0.0, "duration": 3, "scale": 3.0}).shape.demand.shocks is False


def test_a_season_is_its_harmonics() -> None:
    season = {"period": 26.0, "start": 5.0, "cosine": [0.3, 0.1], "sine": [-0.2, 0.0]}
    own = make(season=season)
    assert own.shape.demand.season and own.shape.demand.level_moves
    epochs = np.arange(60)
    angle = 2 * np.pi * (epochs + 5.0) / 26.0
    exact = np.exp(0.3 * np.cos(angle) - 0.2 * np.sin(angle) + 0.1 * np.cos(2 * angle))
    got = level.season_factor(jnp.asarray(epochs), own.params.demand.season)
    np.testing.assert_allclose(got, exact, rtol=1e-4)
    assert make().params.demand.season is None


def test_noise_has_mean_one_and_does_not_last() -> None:
    own = make(level={"noise": [0.3, 0.0]})
    assert own.shape.demand.noisy_level and not own.shape.demand.moving_level
    keys = jax.random.split(jax.random.key(2), 20_000)
    drawn = np.asarray(jax.vmap(lambda key: level.noise_factor(key, own.params.demand))(keys))
    spread = np.sqrt(np.exp(0.3**2) - 1)
    assert within(drawn[:, 0].mean(), 1.0, spread / np.sqrt(20_000))
    assert within(np.log(drawn[:, 0]).std(), 0.3, 0.3 / np.sqrt(40_000))
    np.testing.assert_array_equal(drawn[:, 1], 1.0)


def test_season_and_noise_move_the_markets_demand() -> None:
    """Mean orders of an epoch follow the season; with noise their variance is above Poisson's by (mean)² (e^ν² − 1)."""
    own = make(
        season={"period": 8.0, "cosine": [0.5], "sine": [0.0]}, level={"noise": 0.3}, inventory=UNLIMITED,
        demand={"model": "power", "base": 0.1, "elasticity": -2.0, "reference_price": 1.1},
        traffic={"model": "analytic", "sessions_per_epoch": 100}, episode_length=8,
    )  # fmt: skip
    action = market.Action(jnp.zeros((2, 1), jnp.int32))  # the lowest price is the reference

    def one(key):
        state, _ = market.reset(key, *own)

        def epoch(state, key):
            state, _, outcome = market.step(key, own.shape, state, action, own.params)
            return state, outcome.demand[0]

        return jax.lax.scan(epoch, state, jax.random.split(key, 8))[1]

    demand = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), PATHS)))
    mean = 10.0 * np.exp(0.5 * np.cos(2 * np.pi * np.arange(8) / 8))
    variance = mean + mean**2 * (np.exp(0.09) - 1)
    assert within(demand.mean(0), mean, np.sqrt(variance / PATHS))
    np.testing.assert_allclose(demand.var(0), variance, rtol=0.12)
