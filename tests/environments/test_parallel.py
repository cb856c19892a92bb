"""The PettingZoo environment: its contract, and its equality with the market."""

from __future__ import annotations

import types
from typing import Any

import jax
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from pettingzoo.test import api_test, max_cycles_test, parallel_api_test, parallel_seed_test

import marl_pricing
from marl_pricing import market
from marl_pricing.environments import PricingEnv
from tests.environments.kinds import BANKRUPT, KINDS, assert_same, bankrupt_env, env_of, sampled
from tests.markets import LEVELS, UNLIMITED, make

market_step = jax.jit(market.step, static_argnums=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:Agent's m:UserWarning")
@pytest.mark.filterwarnings("ignore:Action space for each agent probably:UserWarning")
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


def test_metadata_stands_on_the_class() -> None:
    assert PricingEnv.metadata["name"] == "marl_pricing_v0"
    assert PricingEnv.metadata["render_modes"] == ["ansi", "rgb_array"]
    assert PricingEnv.metadata["is_parallelizable"] is True


def test_action_spaces_are_what_the_market_decides() -> None:
    assert env_of("discrete").action_space("seller_0") == spaces.Discrete(8)
    assert env_of("scale").action_space("seller_0") == spaces.Discrete(5)
    assert env_of("several products").action_space("seller_0") == spaces.MultiDiscrete([8, 8])
    assert env_of("own orders").action_space("seller_1") == spaces.MultiDiscrete([8, 3])
    assert env_of("several products, own orders").action_space("seller_1") == spaces.MultiDiscrete([8, 8, 3, 3])
    assert env_of("continuous").action_space("seller_1") == spaces.Box(-0.3, 0.3, (1,), np.float32)
    assert env_of("any price").action_space("seller_0") == spaces.Box(0.0, 2.5, (1,), np.float32)
    assert env_of("any price").action_space("seller_1") == spaces.Box(0.0, 2.0, (1,), np.float32)


def test_views_have_the_sizes_of_their_spaces() -> None:
    env = env_of("different sellers")
    observations, _ = env.reset(seed=0)
    # Prices, demand, stock, pipeline of three epochs less the coming one, level; shock and time.
    assert env.state_space.shape == (3 * 6 + 2,)
    assert env.state().dtype == np.float32
    assert env.state_space.contains(env.state())
    assert len(env.observation_names) == env.observation_space("seller_2").shape[0]
    for agent, seen in observations.items():
        assert env.observation_space(agent).contains(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_episode_equals_the_market_played_by_hand(kind: str) -> None:
    env = env_of(kind)
    shape, params, num_products = env.shape, env.params, env.shape.num_products
    observations, _ = env.reset(seed=3)
    for agent in env.agents:
        env.action_space(agent).seed(int(agent[7:]))
    seed = np.uint32(np.random.default_rng(3).integers(2**32, dtype=np.uint64))
    key, reset_key = jax.random.split(jax.random.key(seed))
    state, seen = market.reset(reset_key, shape, params)
    for _ in range(shape.episode_length):
        for i, agent in enumerate(env.agents):
            np.testing.assert_allclose(observations[agent], seen.local[i], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(env.state(), seen.state, rtol=1e-5, atol=1e-6)
        actions = sampled(env)
        joint = np.array([np.atleast_1d(actions[agent]) for agent in env.possible_agents])
        observations, rewards, _, truncations, infos = env.step(actions)
        key, step_key = jax.random.split(key)
        order = joint[:, num_products:] if shape.chooses_orders else None
        action = market.Action(joint[:, :num_products], order)
        state, seen, outcome = market_step(step_key, shape, state, action, params)
        for i, agent in enumerate(env.possible_agents):
            assert rewards[agent] == pytest.approx(float(outcome.shaped[i]), rel=1e-5, abs=1e-5)
            assert infos[agent]["reward_raw"] == pytest.approx(float(outcome.reward[i]), rel=1e-5, abs=1e-5)
            assert infos[agent]["reward_learning"] == pytest.approx(float(outcome.learning[i]), rel=1e-5, abs=1e-5)
            for name in ("sales", "stock", "unmet", "demand", "prices", "on_order", "ordered", "arrivals"):
                expected = getattr(outcome, name)[i * num_products : (i + 1) * num_products]
                np.testing.assert_allclose(infos[agent][name], expected, rtol=1e-5)
    assert all(truncations.values())
    assert env.agents == []


def test_rewards_of_different_sellers_follow_from_their_own_numbers() -> None:
    env = env_of("different sellers")
    cost, penalty, holding = np.array([1.0, 1.3, 1.8]), np.array([0.5, 0.0, 1.0]), np.array([0.0, 0.1, 0.2])
    omega = np.array([1.0, 0.5, 0.0])
    env.reset(seed=2)
    while env.agents:
        _, rewards, _, _, infos = env.step(dict.fromkeys(env.agents, 7))
        got = {name: np.array([float(np.squeeze(infos[agent][name])) for agent in infos]) for name in infos["seller_0"]}
        np.testing.assert_allclose(got["prices"], [2.5, 2.4, 2.2], rtol=1e-6)
        left = got["stock"] - got["sales"]
        raw = (got["prices"] - cost) * got["sales"] - penalty * got["unmet"] - holding * left
        shaped = omega * raw + (1 - omega) * raw.sum()
        np.testing.assert_allclose(got["reward_raw"], raw, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(list(rewards.values()), shaped, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(got["reward_shaped"], shaped, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(got["reward_learning"], shaped / (1 + 2 * (1 - omega)), rtol=1e-5, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), plays=st.lists(st.integers(0, 7), min_size=48, max_size=48))
def test_units_balance_in_the_infos_whatever_is_played(seed: int, plays: list[int]) -> None:
    env = env_of("several products")
    env.reset(seed=seed)
    held, on_order, sold, bought = np.full(4, 12.0), np.zeros(4), np.zeros(4), np.zeros(4)
    for epoch in np.array(plays).reshape(12, 2, 2):
        _, _, _, _, infos = env.step(dict(zip(env.agents, epoch, strict=True)))
        got = {name: np.concatenate([infos[a][name] for a in env.possible_agents])
               for name in ("stock", "sales", "arrivals", "demand", "unmet", "ordered", "on_order")}  # fmt: skip
        np.testing.assert_array_equal(got["stock"], held + got["arrivals"])
        np.testing.assert_array_equal(got["sales"], np.minimum(got["stock"], got["demand"]))
        np.testing.assert_array_equal(got["demand"], got["sales"] + got["unmet"])
        np.testing.assert_array_equal(got["on_order"], on_order - got["arrivals"] + got["ordered"])
        held, on_order = got["stock"] - got["sales"], got["on_order"]
        sold, bought = sold + got["sales"], bought + got["ordered"]
        np.testing.assert_array_equal(12.0 + bought, sold + held + on_order)


def test_truncation_comes_exactly_at_the_horizon() -> None:
    env = env_of("discrete")
    env.reset(seed=0)
    for epoch in range(1, 13):
        _, _, terminations, truncations, _ = env.step(sampled(env))
        assert set(truncations.values()) == {epoch == 12}
        assert not any(terminations.values())


def test_bankrupt_seller_leaves_and_the_other_goes_on() -> None:
    env = bankrupt_env()
    env.reset(seed=0)
    while "seller_1" in env.agents:
        _, rewards, terminations, _, _ = env.step({agent: 0 for agent in env.agents})
    assert terminations == {"seller_0": False, "seller_1": True}
    assert rewards["seller_1"] < 0
    assert env.agents == ["seller_0"]
    while env.agents:
        observations, rewards, terminations, truncations, infos = env.step({"seller_0": 0})
        assert set(observations) == set(rewards) == set(terminations) == set(infos) == {"seller_0"}
    assert truncations == {"seller_0": True}
    assert terminations == {"seller_0": False}
    env.reset()
    assert env.agents == ["seller_0", "seller_1"]


def test_bankrupt_seller_leaves_the_turns_too() -> None:
    env, twin = marl_pricing.aec_env(make(**BANKRUPT)), bankrupt_env()
    env.reset(seed=0)
    twin.reset(seed=0)
    turns: dict[str, list[bool]] = {agent: [] for agent in env.agents}
    for agent in env.agent_iter():
        _, _, terminated, truncated, _ = env.last()
        turns[agent].append(terminated)
        env.step(None if terminated or truncated else 0)
    epochs = 0
    while "seller_1" in twin.agents:
        twin.step(dict.fromkeys(twin.agents, 0))
        epochs += 1
    assert turns["seller_1"] == [False] * epochs + [True]
    assert turns["seller_0"] == [False] * 13  # twelve epochs, and the turn on which it learns of the horizon


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
    samples = [env.action_space("seller_0").sample(mask=infos["seller_0"]["action_mask"]) for _ in range(30)]
    assert {sample[1] for sample in samples} == {0}
    _, _, _, _, infos = env.step({"seller_0": [0, 1], "seller_1": [0, 0]})
    assert infos["seller_0"]["ordered"].tolist() == [0.0]
    assert infos["seller_0"]["action_mask"][1].tolist() == [1, 1, 1]


def test_same_seed_same_episodes_and_none_goes_on() -> None:
    def demand_of_three_episodes(env) -> list[np.ndarray]:
        got = []
        for seed in (5, None, 5):
            env.reset(seed=seed)
            got.append(np.array([env.step({"seller_0": 0, "seller_1": 0})[4]["seller_0"]["demand"] for _ in range(6)]))
        return got

    a, b, c = demand_of_three_episodes(env_of("discrete"))
    np.testing.assert_array_equal(a, c)
    assert (a != b).any()
    for one, other in zip((a, b, c), demand_of_three_episodes(env_of("discrete")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_environments_do_not_touch_each_other() -> None:
    def play(env, epochs: int) -> list[Any]:
        return [env.step(dict.fromkeys(env.agents, 3)) for _ in range(epochs)]

    alone = env_of("discrete")
    alone.reset(seed=1)
    expected = play(alone, 6)
    one, other = env_of("discrete"), env_of("discrete")
    one.reset(seed=1)
    got = play(one, 2)
    other.reset(seed=2)
    play(other, 12)
    got += play(one, 2)
    other.reset()
    got += play(one, 2)
    for a, b in zip(got, expected, strict=True):
        assert_same(a, b)


def test_returned_arrays_are_the_callers() -> None:
    env, untouched = env_of("own orders"), env_of("own orders")
    answers = [env.reset(seed=0), untouched.reset(seed=0)]
    for epoch in range(4):
        kept, expected = answers
        before = env.state()
        # What the caller writes reaches nothing else: neither the environment nor what it answered to others.
        kept[0]["seller_0"][:] = -7.0
        kept[-1]["seller_0"]["action_mask"][0][:] = 0
        if epoch:
            kept[-1]["seller_0"]["stock"][:] = -7.0
        env.state()[:] = -7.0
        assert_same(kept[0]["seller_1"], expected[0]["seller_1"])
        assert_same(kept[-1]["seller_1"], expected[-1]["seller_1"])
        np.testing.assert_array_equal(env.state(), before)
        copy = kept[0]["seller_1"].copy()
        answers = [own.step({"seller_0": [7, 1], "seller_1": [0, 2]}) for own in (env, untouched)]
        assert_same(*answers)
        np.testing.assert_array_equal(kept[0]["seller_1"], copy)


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
    assert env.step({"seller_0": 0})[4]["seller_0"]["prices"].tolist() == [pytest.approx(1.1)]


def test_spaces_of_somebody_who_is_not_there_name_those_who_are() -> None:
    env = marl_pricing.parallel_env()
    for space in (env.observation_space, env.action_space):
        with pytest.raises(KeyError, match=r"agent='nobody': accepted is seller_0, seller_1"):
            space("nobody")


@pytest.mark.parametrize("kind", ["own orders", "several products, own orders"])
def test_flat_masks_are_the_heads_side_by_side(kind: str) -> None:
    envs = [env_of(kind), env_of(kind, flat_masks=True)]
    infos = [env.reset(seed=0)[1] for env in envs]
    action = np.ones(envs[0].action_space("seller_0").shape, int)
    for _ in range(3):
        for agent in envs[0].agents:
            flat = infos[1][agent]["action_mask"]
            assert flat.shape == (envs[0].action_space(agent).nvec.sum(),)
            assert flat.tolist() == np.concatenate(infos[0][agent]["action_mask"]).tolist()
        infos = [env.step(dict.fromkeys(env.agents, action))[4] for env in envs]
    assert not infos[1]["seller_0"]["action_mask"].all()
