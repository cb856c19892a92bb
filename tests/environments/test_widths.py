"""Where JAX is set to 64 bits: environments play the same, commands and learners say what they do."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import marl_pricing
from marl_pricing.config import ConfigError
from tests.environments.kinds import assert_same, env_of
from tests.processes import ROOT


@pytest.mark.parametrize("kind", ["several products, own orders", "different sellers"])
def test_an_environment_plays_the_same_in_64_bits(kind: str) -> None:
    def play() -> list:
        env = env_of(kind)
        answers = [env.reset(seed=5)]
        action = 2 if kind == "different sellers" else np.array([1, 2, 0, 1])
        answers += [env.step(dict.fromkeys(env.agents, action)) for _ in range(4)]
        return [*answers, env.state()]

    narrow = play()
    with jax.enable_x64(True):
        for one, other in zip(narrow, play(), strict=True):
            assert_same(one, other)


def test_environments_of_one_seller_play_the_same_in_64_bits() -> None:
    def play() -> list:
        env = marl_pricing.phantom_defence_env()
        seen, _ = env.reset(seed=5)
        return [seen, *(part for _ in range(3) for part in env.step(3))]

    narrow = play()
    with jax.enable_x64(True):
        for one, other in zip(narrow, play(), strict=True):
            assert_same(one, other)


def test_numbers_of_64_bits_are_narrowed() -> None:
    shape, params = marl_pricing.parallel_env().shape, marl_pricing.parallel_env().params
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64) if leaf.dtype.kind == "f" else leaf, params)
        env = marl_pricing.environments.parallel_env(shape, jax.tree.map(jax.numpy.asarray, wide))
    assert {leaf.dtype.itemsize for leaf in jax.tree.leaves(env.params)} == {2, 4}


def test_learners_refuse_64_bits() -> None:
    with jax.enable_x64(True), pytest.raises(ConfigError, match=r"^jax_enable_x64=True: accepted is False, because"):
        marl_pricing.train(changes={"learner.num_updates": 1})


def test_a_command_computes_in_32_bits_and_says_so() -> None:
    code = (
        "import sys; from marl_pricing.presentation.output import say_ends; say_ends();"
        "import jax; assert not jax.config.jax_enable_x64"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=os.environ | {"JAX_ENABLE_X64": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "note: JAX_ENABLE_X64=1 is left aside: markets and learners compute in 32 bits\n"
