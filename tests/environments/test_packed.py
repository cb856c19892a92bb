"""One call and one transfer a step, and programs that are compiled once."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marl_pricing
from marl_pricing.environments import packed
from tests.environments.kinds import assert_same, env_of
from tests.markets import make


def test_words_keep_every_bit() -> None:
    tree = {
        "float": jnp.array([[1.5, -0.0], [jnp.inf, 1e-40]], jnp.float32),  # 1e-40 is subnormal
        "nan with a message": np.array([0x7FC12345], np.uint32).view(np.float32),
        "int": jnp.array([-1, 2**31 - 1], jnp.int32),
        "word": jnp.array(2**32 - 1, jnp.uint32),
        "truth": jnp.array([True, False, True]),
        "none": None,
        "empty": jnp.zeros((0, 3)),
    }
    form = packed.form_of(tree)
    words = packed.to_words(tree)
    assert words.shape == (form.num_words,) == (4 + 1 + 2 + 1 + 3,)
    back = packed.from_words(form, words)
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    for name in ("float", "nan with a message", "int", "word", "truth", "empty"):
        assert back[name].dtype == tree[name].dtype
        assert np.asarray(back[name]).tobytes() == np.asarray(tree[name]).tobytes()


def test_slices_cover_the_packed_array_in_order() -> None:
    env = env_of("several products, own orders")
    env.reset(seed=0)
    env.step({agent: [0, 0, 0, 0] for agent in env.agents})
    ends = [part.stop for part in env._slices.values()]
    assert [part.start for part in env._slices.values()] == [0, *ends[:-1]]
    assert ends[-1] == env._packed.size


def test_a_step_is_one_call_of_two_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    env = env_of("several products, own orders")
    env.reset(seed=0)
    calls, step = [], packed.step

    def spy(own, params, bank, carry, actions):
        assert bank is None
        calls.append((params, carry, actions))
        answer = step(own, params, bank, carry, actions)
        assert [leaf.ndim for leaf in jax.tree.leaves(answer)] == [1, 1]
        return answer

    monkeypatch.setattr(packed, "step", spy)
    for _ in range(3):
        env.step({agent: [0, 0, 0, 0] for agent in env.agents})
    assert len(calls) == 3
    for params, carry, actions in calls:
        assert isinstance(params, jax.Array) and isinstance(carry, jax.Array)
        assert isinstance(actions, np.ndarray)


def test_equal_shapes_compile_once() -> None:
    def play(env) -> dict[str, float]:
        env.reset(seed=0)
        return env.step({"seller_0": 0, "seller_1": 0})[1]

    first = env_of("discrete")
    rewards = [play(first)]
    before = packed.step._cache_size(), packed.reset._cache_size()
    for cost in (0.7, 0.8):
        rewards.append(play(marl_pricing.parallel_env(make(reward={"unit_cost": cost, "stockout_penalty": 0.1}))))
    play(copy.deepcopy(first))
    play(pickle.loads(pickle.dumps(first)))
    assert (packed.step._cache_size(), packed.reset._cache_size()) == before
    # The new numbers count, though nothing was compiled for them.
    assert len({reward["seller_0"] for reward in rewards}) == 3
    play(marl_pricing.parallel_env(make(), max_cycles=7))
    assert packed.step._cache_size() == before[0] + 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_as_the_original(copied) -> None:
    env = env_of("different sellers")
    env.reset(seed=0)
    env.step(dict.fromkeys(env.agents, 2))
    twin = copied(env)
    for _ in range(3):
        assert_same(env.step(dict.fromkeys(env.agents, 2)), twin.step(dict.fromkeys(twin.agents, 2)))
    assert_same(env.reset(), twin.reset())


def test_params_cannot_be_replaced_behind_the_packed_ones() -> None:
    env = env_of("discrete")
    with pytest.raises(AttributeError):
        env.params = env.params


def test_imports_are_lazy() -> None:
    code = (
        "import sys, marl_pricing; assert not {'jax', 'pettingzoo'} & set(sys.modules);"
        "env = marl_pricing.parallel_env(); env.reset(seed=0); env.step(dict.fromkeys(env.agents, 0));"
        "assert 'matplotlib' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
