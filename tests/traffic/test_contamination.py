"""The share of agents: processes and mixtures."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.config import ConfigError
from marl_pricing.market import Action
from marl_pricing.traffic import contamination
from tests.markets import programs, within
from tests.traffic.visitors import with_sessions


def shares(own, steps: int, markets: int = 64, seed: int = 0) -> np.ndarray:
    def one(key):
        def step(share, key):
            share = contamination.advance_share(key, own.shape.traffic, own.params.traffic, share)
            return share, share

        return jax.lax.scan(step, own.params.traffic.agent_share, jax.random.split(key, steps))[1]

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(seed), markets)))


def test_a_drift_is_a_walk_between_its_bounds() -> None:
    own = with_sessions("bank", traffic={"process": {"kind": "drift", "low": 0.1, "high": 0.5, "step": 0.01}})
    got = shares(own, 4000)
    assert got.min() >= 0.1 - 1e-6 and got.max() <= 0.5 + 1e-6
    # Early steps do not reach the bounds: a plain walk, whose variance grows with time.
    assert got[:, 9].std() == pytest.approx(0.01 * np.sqrt(10), rel=0.35)
    # A reflected walk is uniform in the long run.
    late = got[:, 2000::500].ravel()
    assert abs(late.mean() - 0.3) < 4 * 0.4 / np.sqrt(12 * late.size) * 1.5


def test_a_huge_step_stays_inside() -> None:
    own = with_sessions("bank", traffic={"process": {"kind": "drift", "low": 0.2, "high": 0.3, "step": 5.0}})
    got = shares(own, 200)
    assert got.min() >= 0.2 - 1e-6 and got.max() <= 0.3 + 1e-6


def test_bursts_are_a_two_state_chain() -> None:
    process = {"kind": "burst", "high": 0.8, "start_probability": 0.1, "stop_probability": 0.3}
    got = shares(with_sessions("bank", traffic={"process": process}), 2000)
    assert set(np.unique(np.round(got, 4))) == {np.float32(0.25), np.float32(0.8)}
    bursting = got > 0.5
    # The long-run share of a two-state chain is start / (start + stop); means of whole markets are independent.
    by_market = bursting[:, 100:].mean(1)
    assert within(by_market.mean(), 0.25, by_market.std() / np.sqrt(len(by_market)))
    starts = bursting[:, 1:][~bursting[:, :-1]].mean()
    assert starts == pytest.approx(0.1, abs=0.01)


def test_the_market_draws_its_sessions_with_the_moving_share() -> None:
    process = {"kind": "burst", "high": 1.0, "start_probability": 0.5, "stop_probability": 0.5}
    own = with_sessions("bank", sessions=40, agent_share=0.0, traffic={"process": process}, episode_length=200)

    def play(key):
        state, _ = market.reset(key, *own)

        def epoch(state, key):
            state, _, out = market.step(key, own.shape, state, Action(jnp.full((2, 1), 2)), own.params)
            return state, (out.agent_share, out.orders.sum(-1))

        return jax.lax.scan(epoch, state, jax.random.split(key, 200))[1]

    share, orders = jax.jit(play)(jax.random.key(0))
    share, orders = np.asarray(share), np.asarray(orders)
    assert share[0] == 0.0 and set(np.unique(share)) == {0.0, 1.0}
    assert orders[share == 0.0][:, 1].sum() == 0 and orders[share == 1.0][:, 0].sum() == 0
    assert orders[share == 1.0][:, 1].sum() > 0


def test_sellers_do_not_see_the_true_share_unless_asked() -> None:
    process = {"kind": "drift", "low": 0.0, "high": 0.5, "step": 0.1}
    hidden = with_sessions("bank", traffic={"process": process})
    told = with_sessions("bank", traffic={"process": process}, observe_alpha=True)
    assert "agent_share" not in hidden.shape.features and "agent_share" in told.shape.features
    _, seen = programs.reset(jax.random.key(0), *told)
    at = market.layout(told.shape).index("share of agents of the coming epoch (0 to 1)")
    np.testing.assert_allclose(seen.local[:, at], 0.25)
    with pytest.raises(ConfigError, match=r"agent_share needs market\.observe_alpha=true"):
        with_sessions("bank", features=["own_price", "agent_share"])


def test_mixtures_have_the_wanted_share() -> None:
    people, agents = list(range(300)), ["a", "b"]
    for share in (0.0, 0.1, 0.5, 0.9):
        got = contamination.mix(people, agents, share, seed=1)
        assert sum(label for _, label in got) / len(got) == pytest.approx(share, abs=0.5 / len(got) + 1e-9)
        assert sorted(session for session, label in got if not label) == people
    assert contamination.mix(people, agents, 0.3, seed=1) == contamination.mix(people, agents, 0.3, seed=1)
    for arguments, told in (
        ((people, agents, 1.0), "share=1.0"),
        ((people, agents, -0.1), "share=-0.1"),
        (([], agents, 0.1), "people"),
        ((people, [], 0.1), "agents"),
    ):
        with pytest.raises(ValueError, match=told):
            contamination.mix(*arguments)


@pytest.mark.parametrize("nominal", [0.0, 0.05, 0.3, 0.95, 1.0])
@pytest.mark.parametrize("radius", [0.1, 0.3, 1.0])
def test_candidates_are_evenly_spaced_between_the_cut_ends_and_none_comes_twice(nominal: float, radius: float) -> None:
    offsets = np.linspace(-radius, radius, 5)
    got = np.asarray(contamination.shares_around(jnp.float32(nominal), jnp.asarray(offsets, jnp.float32)))
    expected = np.linspace(max(0.0, nominal - radius), min(1.0, nominal + radius), 5)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert len(set(got.tolist())) == 5
    alone = contamination.shares_around(jnp.float32(nominal), jnp.zeros(1))
    np.testing.assert_array_equal(alone, np.float32([nominal]))
