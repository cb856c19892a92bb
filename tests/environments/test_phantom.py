"""The Gymnasium environments of one seller."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import marl_pricing
from marl_pricing.config import ConfigError
from tests.markets import make
from tests.traffic.visitors import with_sessions

KEYS = {
    "t", "revenue_observed", "revenue_oracle", "agent_loss", "ux_volatility", "mean_internal_error", "look_to_book",
    "mean_sale_price", "true_human_purchases_total", "true_agent_purchases_total",
}  # fmt: skip


@pytest.fixture(scope="module")
def prototype():
    return marl_pricing.phantom_prototype_env()


@pytest.fixture(scope="module")
def defence():
    return marl_pricing.phantom_defence_env()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_both_pass_gymnasiums_checker() -> None:
    marl_pricing.register_gymnasium()
    for name in ("MarlPricing/PhantomPrototype-v0", "MarlPricing/PhantomDefence-v0"):
        check_env(gymnasium.make(name).unwrapped, skip_render_check=True)


def test_the_prototypes_spaces_and_infos(prototype) -> None:
    assert prototype.action_space == gymnasium.spaces.Box(-0.3, 0.3, (100,), np.float32)
    seen, _ = prototype.reset(seed=42)
    price = seen["elasticity"]["price"]
    assert price.shape == (100,) and 60 <= price.min() < 70 and 130 < price.max() <= 140
    assert seen["elasticity"]["demand"].sum() == 0
    after, reward, terminated, truncated, info = prototype.step(np.full(100, 0.1, np.float32))
    assert set(info) == KEYS | {"relative_error_raw"}
    np.testing.assert_allclose(after["elasticity"]["price"], price * 1.1, rtol=1e-5)
    assert info["ux_volatility"] == pytest.approx(0.1, rel=1e-4)
    assert not terminated and not truncated
    told = info["revenue_observed"] - info["agent_loss"] - 5.0 * info["ux_volatility"]
    assert reward == pytest.approx(told - 0.25 * info["mean_internal_error"], rel=1e-4)
    assert 0 <= info["mean_internal_error"] <= 1 < info["relative_error_raw"]


def test_the_prototype_ends_after_its_horizon(prototype) -> None:
    prototype.reset(seed=1)
    for epoch in range(200):
        *_, terminated, truncated, _ = prototype.step(np.zeros(100, np.float32))
        assert not terminated and truncated == (epoch == 199)
    with pytest.raises(ValueError, match="the episode is over"):
        prototype.step(np.zeros(100, np.float32))


def test_the_defence_of_the_prototype_lowers_the_proxy() -> None:
    totals = []
    for on in (False, True):
        env = marl_pricing.phantom_prototype_env(use_defense=on)
        env.reset(seed=3)
        totals.append(env.step(np.zeros(100, np.float32))[0]["elasticity"]["demand"].sum())
    assert totals[1] < totals[0] - 100


def test_the_defence_picks_the_worst_candidate(defence) -> None:
    seen, _ = defence.reset(seed=0)
    assert defence.observation_space.contains(seen)
    shares = set()
    for epoch in range(60):
        seen, reward, _, _, info = defence.step(epoch % 5)
        assert defence.observation_space.contains(seen)
        assert seen[:10].sum() == pytest.approx(100.0, abs=1e-3)
        rewards = info["candidate_rewards"]
        assert reward == pytest.approx(rewards.min()) and info["candidate"] == rewards.argmin()
        assert info["alpha_star"] == pytest.approx(0.05 + 0.1 * info["candidate"], abs=1e-5)
        shares.add(info["candidate"])
    # Agents buy less, so the largest share is usually the worst, but not always.
    assert len(shares) > 1 and 4 in shares


def test_radius_zero_is_the_nominal_market() -> None:
    env = marl_pricing.phantom_defence_env(radius=0.0)
    env.reset(seed=0)
    info = env.step(2)[-1]
    assert info["candidate_rewards"].shape == (1,) and info["alpha_star"] == pytest.approx(0.25)


@pytest.mark.slow
def test_an_even_number_of_candidates_has_its_nominal_profit_between_the_middle_two() -> None:
    env = marl_pricing.phantom_defence_env(radius=0.2, num_candidates=4)
    env.reset(seed=0)
    info = env.step(2)[-1]
    assert info["profit_nominal"] == pytest.approx(info["candidate_rewards"][1:3].mean(), rel=1e-6)


def test_a_larger_radius_is_never_better(defence) -> None:
    wide = marl_pricing.phantom_defence_env(radius=0.25, num_candidates=11)
    for env in (defence, wide):
        env.reset(seed=5)
    near, far = (
        env.step(2)[1] for env in (marl_pricing.phantom_defence_env(radius=0.0), wide) if not env.reset(seed=5)[1]
    )
    assert far <= near


def test_rises_cost_more_than_falls(defence) -> None:
    rewards = {}
    for action in (1, 3):
        defence.reset(seed=9)
        info = defence.step(action)[-1]
        rewards[action] = info["upward_volatility"]
    assert rewards[1] == 0 and rewards[3] == pytest.approx(0.03, rel=1e-3)


def test_a_market_without_demand_collapses() -> None:
    own = with_sessions(
        "bank", num_sellers=1, prices={"map": "levels", "low": 50.0, "high": 60.0, "num_price_levels": 3},
        inventory={"rule": "unlimited"}, collapse_patience=3,
    )  # fmt: skip
    env = marl_pricing.phantom_defence_env(market=own)
    env.reset(seed=0)
    assert [env.step(0)[2] for _ in range(3)] == [False, False, True]
    with pytest.raises(ValueError, match="the episode is over"):
        env.step(0)


def test_the_same_seed_gives_the_same_episode(defence) -> None:
    runs = []
    for _ in range(2):
        defence.reset(seed=11)
        runs.append([defence.step(2)[1] for _ in range(5)])
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (np.zeros(99, np.float32), r"action of shape \(99,\)"),
        (np.full(100, 0.5, np.float32), "action=0.5"),
        (np.full(100, np.nan, np.float32), "action=nan"),
        ("up", "action='up'"),
    ],
)
def test_bad_actions_of_the_prototype_are_refused(prototype, action, told: str) -> None:
    prototype.reset(seed=0)
    with pytest.raises(ValueError, match=told):
        prototype.step(action)


def test_what_does_not_fit_is_refused(defence) -> None:
    defence.reset(seed=0)
    for action in (5, -1, 1.5, None):
        with pytest.raises(ValueError, match="accepted is a whole number from 0 to 4"):
            defence.step(action)
    with pytest.raises(ValueError, match="not been reset"):
        marl_pricing.phantom_defence_env().step(0)
    with pytest.raises(ValueError, match="num_sellers=2: accepted is 1"):
        marl_pricing.phantom_defence_env(market=with_sessions("bank"))
    with pytest.raises(ValueError, match="radius=2"):
        marl_pricing.phantom_defence_env(radius=2)
    with pytest.raises(ValueError, match="num_candidates=0"):
        marl_pricing.phantom_defence_env(num_candidates=0)
    with pytest.raises(ValueError, match="num_candidates=1: accepted are at least 2"):
        marl_pricing.phantom_defence_env(num_candidates=1)
    with pytest.raises(ValueError, match=r"traffic.model='analytic'"):
        marl_pricing.phantom_defence_env(market=make(num_sellers=1))
    with pytest.raises(ConfigError, match="agent_share=2"):
        marl_pricing.phantom_prototype_env(traffic={"agent_share": 2})


@pytest.mark.parametrize("name", ["Prototype", "Defence"])
def test_a_render_mode_is_refused_in_a_line(name: str) -> None:
    with pytest.raises(ValueError, match=r"^render_mode='ansi': accepted is None; marl_pricing.parallel_env draws"):
        gymnasium.make(f"MarlPricing/Phantom{name}-v0", render_mode="ansi")
