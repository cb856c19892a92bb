"""SuperSuit: sellers side by side, here and in other processes."""

from __future__ import annotations

import numpy as np
import pytest
import supersuit

from tests.clients.markets import env_of, said


@pytest.mark.parametrize("form", ["discrete", "several products", "continuous"])
def test_sellers_are_environments_side_by_side(form: str) -> None:
    env = supersuit.pettingzoo_env_to_vec_env_v1(env_of(form))
    env = supersuit.concat_vec_envs_v1(env, 2, base_class="gymnasium")
    seen, _ = env.reset(seed=0)
    assert seen.shape[0] == 4
    actions = np.stack([env.action_space.sample() for _ in range(4)])
    assert np.isfinite(env.step(actions)[1]).all()


def test_wrappers_lie_over_the_market() -> None:
    env = supersuit.frame_stack_v2(supersuit.dtype_v0(env_of("discrete"), np.float16), 3)
    seen, _ = env.reset(seed=0)
    assert seen["seller_0"].dtype == np.float16


def test_in_spawned_processes_it_plays() -> None:
    done = said("supersuit_spawn")
    assert (done.returncode, done.stdout) == (0, "played\n"), done.stderr


def test_a_fork_is_told_and_does_not_hang() -> None:
    done = said("supersuit_fork")
    assert done.returncode != 0
    assert "was forked from one in which JAX ran" in done.stderr and "set_start_method('spawn')" in done.stderr
