"""Gymnasium: its checker, and several environments at once."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import marl_pricing
from tests.clients.markets import said

NAMES = [f"MarlPricing/{name}-v0" for name in ("OneSeller", "PhantomDefence", "PhantomPrototype")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_its_checker_finds_nothing(name: str) -> None:
    check_env(gymnasium.make(name).unwrapped)


def test_a_space_samples_within_the_mask() -> None:
    env = marl_pricing.one_seller_env()
    _, info = env.reset(seed=0)
    env.step(env.action_space.sample(mask=info["action_mask"]))


@pytest.mark.parametrize("name", NAMES)
def test_several_in_this_process(name: str) -> None:
    env = gymnasium.make_vec(name, 2, "sync")
    env.reset(seed=0)
    assert np.isfinite(env.step(env.action_space.sample())[1]).all()


def test_several_in_spawned_processes_play_as_in_this_one() -> None:
    done = said("gymnasium_spawn")
    assert (done.returncode, done.stdout) == (0, "the same\n"), done.stderr


def test_a_fork_is_told_and_does_not_hang() -> None:
    done = said("gymnasium_fork")
    assert done.returncode != 0
    assert "was forked from one in which JAX ran" in done.stderr and "vector_kwargs={'context': 'spawn'}" in done.stderr
