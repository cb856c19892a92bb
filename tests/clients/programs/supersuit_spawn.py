"""Environments in processes that SuperSuit spawns."""

import multiprocessing

import numpy as np
import supersuit

import marl_pricing

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    env = supersuit.pettingzoo_env_to_vec_env_v1(marl_pricing.parallel_env())
    env = supersuit.concat_vec_envs_v1(env, 2, num_cpus=2, base_class="gymnasium")
    seen, _ = env.reset(seed=0)
    assert seen.shape[0] == env.num_envs == 6
    rewards = env.step(np.zeros(6, int))[1]
    assert np.isfinite(rewards).all()
    print("played")
    env.close()
