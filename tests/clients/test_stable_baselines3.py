"""Stable-Baselines3 and its masked PPO (sb3-contrib)."""

from __future__ import annotations

import numpy as np
import pytest
import supersuit
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env

import marl_pricing
from tests.clients.markets import env_of
from tests.environments.kinds import CHOSEN
from tests.markets import make

SHORT = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "device": "cpu"}


@pytest.mark.parametrize("maker", [marl_pricing.one_seller_env, marl_pricing.phantom_defence_env])
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_its_checker_finds_nothing(maker) -> None:
    check_env(maker())


def test_ppo_learns_in_a_market_of_one_seller() -> None:
    model = PPO("MlpPolicy", marl_pricing.phantom_defence_env(), **SHORT).learn(32)
    action, _ = model.predict(np.zeros(model.observation_space.shape, np.float32))
    assert model.action_space.contains(int(action))


@pytest.mark.parametrize("form", ["discrete", "continuous"])
def test_one_ppo_for_all_sellers(form: str) -> None:
    env = supersuit.pettingzoo_env_to_vec_env_v1(env_of(form))
    side_by_side = supersuit.concat_vec_envs_v1(env, 2, base_class="stable_baselines3")  # has no seed() for PPO's
    assert PPO("MlpPolicy", side_by_side, **SHORT).learn(64).num_timesteps == 64


def test_masked_ppo_orders_nothing_that_is_forbidden() -> None:
    env = marl_pricing.one_seller_env(make(num_sellers=1, inventory=CHOSEN))
    orders = env.action_space.nvec[-1]
    taken, forbidden = [], 0
    step = env.step

    def spied(action):
        nonlocal forbidden
        mask = env.action_masks()[-orders:]
        forbidden += not mask.all()
        taken.append(mask[action[-1]])
        return step(action)

    env.step = spied
    model = MaskablePPO("MlpPolicy", env, **SHORT).learn(96)
    assert all(taken) and forbidden > 0  # something was forbidden, and it kept to it
    seen, _ = env.reset(seed=1)
    action, _ = model.predict(seen, action_masks=env.action_masks())
    assert env.action_space.contains(action)
