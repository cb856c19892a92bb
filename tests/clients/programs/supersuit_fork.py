"""Environments in processes that SuperSuit forks."""

import supersuit

import marl_pricing

if __name__ == "__main__":
    env = supersuit.pettingzoo_env_to_vec_env_v1(marl_pricing.parallel_env())
    supersuit.concat_vec_envs_v1(env, 2, num_cpus=2, base_class="gymnasium").reset(seed=0)
