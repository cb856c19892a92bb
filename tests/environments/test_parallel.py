"""The PettingZoo environment: its contract, its equality with the market, and what it refuses."""

from __future__ import annotations

import types
from typing import Any

import jax
import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo.test import api_test, max_cycles_test, parallel_api_test, parallel_seed_test

import marl_pricing
from marl_pricing import market
from marl_pricing.environments import packed
from tests.markets import LEVELS, THRESHOLD, UNLIMITED, make

CHOSEN = {"rule": "chosen", "initial_stock": 5.0, "lead_time": 2, "order_levels": [0.0, 3.0, 6.0], "single_order": True}
KINDS: dict[str, dict[str, Any]] = {
    "discrete": {},
    "several products": {"num_products": 2, "inventory": THRESHOLD | {"lead_time": [1, 2, 3, 1]}},
    "own orders": {"inventory": CHOSEN},
    "continuous": {"prices": {"map": "adjust", "low": 1.1, "high": 2.5, "max_change": 0.3}},
    "scale": {"prices": {"map": "scale", "low": 1.1, "high": 2.5}},
}


def env_of(kind: str, **more: Any):
    return marl_pricing.parallel_env(make(**KINDS[kind]), **more)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:Agent's m:UserWarning")
def test_pettingzoo_contract_holds(kind: str) -> None:
    parallel_api_test(env_of(kind), 60)
    parallel_seed_test(lambda: env_of(kind), 30)
    api_test(marl_pricing.aec_env(make(**KINDS[kind])), 60)


def test_max_cycles_are_kept() -> None:
    own = make()
    module = types.SimpleNamespace(
        parallel_env=lambda max_cycles: marl_pricing.parallel_env(own, max_cycles=max_cycles),
        env=lambda max_cycles: marl_pricing.aec_env(own, max_cycles=max_cycles),
    )
    max_cycles_test(module)


def test_action_spaces_are_what_the_market_decides() -> None:
    assert env_of("discrete").action_space("seller_0") == spaces.Discrete(8)
    assert env_of("several products").action_space("seller_0") == spaces.MultiDiscrete([8, 8])
    assert env_of("own orders").action_space("seller_1") == spaces.MultiDiscrete([8, 3])
    assert env_of("continuous").action_space("seller_1") == spaces.Box(-0.3, 0.3, (1,), np.float32)


def sampled(env) -> dict[str, Any]:
    return {agent: env.action_space(agent).sample() for agent in env.agents}


@pytest.mark.parametrize("kind", ["discrete", "own orders", "continuous"])
def test_episode_equals_the_market_played_by_hand(kind: str) -> None:
    env = env_of(kind)
    shape, params = env.shape, env.params
    observations, _ = env.reset(seed=3)
    for agent in env.agents:
        env.action_space(agent).seed(int(agent[7:]))
    seed = np.uint32(np.random.default_rng(3).integers(2**32, dtype=np.uint64))
    key, reset_key = jax.random.split(jax.random.key(seed))
    state, seen = market.reset(reset_key, shape, params)
    for _ in range(shape.episode_length):
        for i, agent in enumerate(env.agents):
            np.testing.assert_allclose(observations[agent], seen.local[i], rtol=1e-6)
        np.testing.assert_allclose(env.state(), seen.state, rtol=1e-6)
        actions = sampled(env)
        joint = np.array([np.atleast_1d(actions[agent]) for agent in env.possible_agents])
        observations, rewards, _, truncations, infos = env.step(actions)
        key, step_key = jax.random.split(key)
        order = joint[:, 1:] if shape.chooses_orders else None
        state, seen, outcome = market.step(step_key, shape, state, market.Action(joint[:, :1], order), params)
        for i, agent in enumerate(env.possible_agents):
            assert rewards[agent] == pytest.approx(float(outcome.shaped[i]), rel=1e-6)
            assert infos[agent]["reward_raw"] == pytest.approx(float(outcome.reward[i]), rel=1e-6)
            for name in ("sales", "stock", "unmet", "demand", "prices", "on_order"):
                np.testing.assert_allclose(infos[agent][name], getattr(outcome, name)[i : i + 1], rtol=1e-6)
    assert all(truncations.values())
    assert env.agents == []


def test_units_balance_in_the_infos() -> None:
    env = env_of("several products")
    env.reset(seed=1)
    held = np.full(4, 12.0)
    while env.agents:
        _, _, _, _, infos = env.step(sampled(env))
        got = {name: np.concatenate([infos[a][name] for a in env.possible_agents]) for name in infos["seller_0"]
               if name in ("stock", "sales", "arrivals", "demand", "unmet")}  # fmt: skip
        np.testing.assert_array_equal(got["stock"], held + got["arrivals"])
        np.testing.assert_array_equal(got["demand"], got["sales"] + got["unmet"])
        held = got["stock"] - got["sales"]


def test_truncation_comes_exactly_at_the_horizon() -> None:
    env = env_of("discrete")
    env.reset(seed=0)
    for epoch in range(1, 13):
        _, _, terminations, truncations, _ = env.step(sampled(env))
        assert set(truncations.values()) == {epoch == 12}
        assert not any(terminations.values())


def test_bankrupt_seller_leaves_and_the_other_goes_on() -> None:
    # Seller 1 pays 3 for what it sells at 2.5 at most, and can lose nothing.
    own = make(
        reward={"unit_cost": [1.0, 3.0]}, inventory=UNLIMITED, bankruptcy={"initial_cash": 0.0, "cash_limit": 0.0}
    )
    env = marl_pricing.parallel_env(own)
    env.reset(seed=0)
    while "seller_1" in env.agents:
        _, rewards, terminations, _, _ = env.step({agent: 0 for agent in env.agents})
    assert terminations == {"seller_0": False, "seller_1": True}
    assert rewards["seller_1"] < 0
    assert env.agents == ["seller_0"]
    observations, rewards, _, _, infos = env.step({"seller_0": 0})
    assert set(observations) == set(rewards) == set(infos) == {"seller_0"}
    with pytest.raises(ValueError, match=r"actions\['seller_1'\]: accepted are actions of seller_0"):
        env.step({"seller_0": 0, "seller_1": 0})


def test_collapse_terminates_all() -> None:
    own = make(demand_scale=0.0, collapse_patience=3)
    env = marl_pricing.parallel_env(own)
    env.reset(seed=0)
    for epoch in range(1, 4):
        _, _, terminations, truncations, _ = env.step(sampled(env))
        assert set(terminations.values()) == {epoch == 3}
        assert not any(truncations.values())
    assert env.agents == []


def test_mask_forbids_orders_while_one_is_on_the_way_and_the_market_ignores_them() -> None:
    env = env_of("own orders")
    _, infos = env.reset(seed=0)
    assert [m.tolist() for m in infos["seller_0"]["action_mask"]] == [[1] * 8, [1, 1, 1]]
    _, _, _, _, infos = env.step({"seller_0": [0, 2], "seller_1": [0, 0]})
    assert infos["seller_0"]["ordered"].tolist() == [6.0]
    # Two epochs of lead time: the order is still on the way for the next decision, and joins at the one after.
    assert infos["seller_0"]["action_mask"][1].tolist() == [1, 0, 0]
    assert infos["seller_1"]["action_mask"][1].tolist() == [1, 1, 1]
    _, _, _, _, infos = env.step({"seller_0": [0, 1], "seller_1": [0, 0]})
    assert infos["seller_0"]["ordered"].tolist() == [0.0]
    assert infos["seller_0"]["action_mask"][1].tolist() == [1, 1, 1]


def test_same_seed_same_episodes_and_none_goes_on() -> None:
    def first_observations(env) -> list[np.ndarray]:
        got = []
        for seed in (5, None, 5):
            env.reset(seed=seed)
            got.append(np.array([env.step({"seller_0": 0, "seller_1": 0})[4]["seller_0"]["demand"] for _ in range(6)]))
        return got

    a, b, c = first_observations(env_of("discrete"))
    np.testing.assert_array_equal(a, c)
    assert (a != b).any()
    for one, other in zip((a, b, c), first_observations(env_of("discrete")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_returned_arrays_do_not_change_later() -> None:
    env = env_of("discrete")
    observations, _ = env.reset(seed=0)
    _, _, _, _, infos = env.step({"seller_0": 7, "seller_1": 7})
    kept = [observations["seller_0"], env.state(), infos["seller_0"]["stock"]]
    copies = [array.copy() for array in kept]
    env.step({"seller_0": 0, "seller_1": 0})
    for array, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_new_parameter_values_do_not_recompile() -> None:
    env_of("discrete").reset(seed=0)
    before = packed.step._cache_size()
    for cost in (0.7, 0.8):
        env = marl_pricing.parallel_env(make(reward={"unit_cost": cost, "stockout_penalty": 0.1}))
        env.reset(seed=0)
        env.step({"seller_0": 0, "seller_1": 0})
    assert packed.step._cache_size() <= before + 1


BAD = {
    "out of range": ("discrete", 8, r"actions\['seller_1'\]=8: accepted is a whole number from 0 to 7"),
    "negative": ("discrete", -1, r"actions\['seller_1'\]=-1: accepted is a whole number from 0 to 7"),
    "fraction": ("discrete", 1.5, r"actions\['seller_1'\]=1.5: accepted is a whole number"),
    "shape": ("several products", [1], r"actions\['seller_1'\]=\[1\]: accepted is an array of shape \(2,\)"),
    "one head out of range": ("own orders", [0, 3], r"accepted is whole numbers from 0 to below \[8, 3\]"),
    "nan": ("continuous", [float("nan")], r"actions\['seller_1'\]=\[nan\]: accepted is finite numbers"),
    "nan where discrete": ("discrete", float("nan"), r"actions\['seller_1'\]=nan: accepted is a whole number"),
    "too far": ("continuous", [0.5], r"accepted is numbers between -0.3 and 0.3"),
    "text": ("continuous", "up", r"actions\['seller_1'\]='up': accepted is an array of shape"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_action_is_named_and_changes_nothing(case: str) -> None:
    kind, action, message = BAD[case]
    env = env_of(kind)
    env.reset(seed=0)
    good = {agent: env.action_space(agent).sample() for agent in env.agents}
    before = env.state()
    with pytest.raises(ValueError, match=message):
        env.step(good | {"seller_1": action})
    np.testing.assert_array_equal(env.state(), before)
    other = env_of(kind)
    other.reset(seed=0)
    assert env.step(good)[1] == other.step(good)[1]


def test_bad_calls_are_named() -> None:
    env = env_of("discrete")
    with pytest.raises(ValueError, match="has not been reset"):
        env.step({})
    with pytest.raises(ValueError, match="has not been reset"):
        env.state()
    with pytest.raises(ValueError, match="seed=-1: accepted is None or a whole number"):
        env.reset(seed=-1)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="there is none of 'seller_1'"):
        env.step({"seller_0": 0})
    with pytest.raises(ValueError, match=r"actions\['seller_9'\]"):
        env.step({"seller_0": 0, "seller_1": 0, "seller_9": 0})
    while env.agents:
        env.step(sampled(env))
    with pytest.raises(ValueError, match="the episode is over"):
        env.step({})
    with pytest.raises(ValueError, match="render_mode='human': accepted is None, 'ansi', 'rgb_array'"):
        env_of("discrete", render_mode="human")
    with pytest.raises(ValueError, match="max_cycles=0"):
        env_of("discrete", max_cycles=0)


def test_rendering_shows_the_epoch() -> None:
    env = env_of("discrete", render_mode="ansi")
    env.reset(seed=0)
    _, _, _, _, infos = env.step({"seller_0": 0, "seller_1": 7})
    text = env.render()
    assert "epoch 1 of 12" in text
    for value in (infos["seller_0"]["sales"][0], infos["seller_1"]["prices"][0], infos["seller_0"]["reward_raw"]):
        assert f"{value:.2f}" in text
    picture_env = env_of("discrete", render_mode="rgb_array")
    picture_env.reset(seed=0)
    picture_env.step({"seller_0": 0, "seller_1": 7})
    first = picture_env.render()
    picture_env.step({"seller_0": 7, "seller_1": 0})
    second = picture_env.render()
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert first.shape[2] == 3
    assert (first != second).any()


def test_default_market_and_settings_both_make_an_environment() -> None:
    assert marl_pricing.parallel_env().possible_agents == ["seller_0", "seller_1", "seller_2"]
    settings = {
        "num_sellers": 1,
        "demand": {"model": "linear", "intercept": 1.0, "slope": 0.5},
        "prices": LEVELS,
        "inventory": UNLIMITED,
    }
    env = marl_pricing.parallel_env(settings, traffic={"sessions_per_epoch": 4})
    env.reset(seed=0)
    env.step({"seller_0": 0})
