"""Clients that bring much with them: RLlib, BenchMARL, Tianshou. `make clients-all` installs and tries them."""

from __future__ import annotations

import numpy as np
import pytest

import marl_pricing
from tests.clients.markets import FORMS, env_of
from tests.environments.kinds import KINDS
from tests.markets import make

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("form", FORMS)
def test_rllibs_wrapper_plays(form: str) -> None:
    from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv

    env = ParallelPettingZooEnv(env_of(form))
    seen, infos = env.reset(seed=0)
    for _ in range(12):
        masks = {agent: {"mask": own["action_mask"]} if "action_mask" in own else {} for agent, own in infos.items()}
        spaces = {agent: env.get_action_space(agent) for agent in seen}
        actions = {agent: space.sample(**masks[agent]) for agent, space in spaces.items()}
        seen, rewards, _, truncations, infos = env.step(actions)
        assert np.isfinite(list(rewards.values())).all()
    assert truncations["__all__"]


def test_rllibs_ppo_trains() -> None:
    import ray
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
    from ray.tune.registry import register_env

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        register_env("market", lambda _: ParallelPettingZooEnv(env_of("discrete")))
        own = PPOConfig().environment("market").env_runners(num_env_runners=0)
        own = own.training(train_batch_size_per_learner=48, minibatch_size=24, num_epochs=1)
        own = own.multi_agent(policies={"seller"}, policy_mapping_fn=lambda *_, **__: "seller")
        algorithm = own.build_algo()
        assert algorithm.train()["env_runners"]["num_env_steps_sampled"] >= 48
        algorithm.stop()
    finally:
        ray.shutdown()


@pytest.mark.parametrize(("form", "continuous"), [("discrete", False), ("continuous", True)])
def test_benchmarls_mappo_trains(form: str, continuous: bool, tmp_path) -> None:
    from benchmarl.algorithms import MappoConfig
    from benchmarl.experiment import Experiment, ExperimentConfig
    from benchmarl.models.mlp import MlpConfig

    from tests.clients.benchmarl_tasks import Tasks

    own = ExperimentConfig.get_from_yaml()
    own.max_n_frames, own.max_n_iters, own.loggers, own.evaluation, own.save_folder = None, 2, [], False, str(tmp_path)
    own.on_policy_collected_frames_per_batch = own.on_policy_minibatch_size = 24
    own.on_policy_n_envs_per_worker, own.on_policy_n_minibatch_iters = 1, 1
    own.prefer_continuous_actions, own.sampling_device, own.train_device = continuous, "cpu", "cpu"
    network = MlpConfig.get_from_yaml()
    task = Tasks[form.upper()].get_task({})
    experiment = Experiment(
        task=task, algorithm_config=MappoConfig.get_from_yaml(), model_config=network,
        critic_model_config=network, seed=0, config=own,
    )  # fmt: skip
    experiment.run()
    assert experiment.total_frames == 48


def test_tianshous_wrapper_plays() -> None:
    from tianshou.env import PettingZooEnv

    env = PettingZooEnv(marl_pricing.aec_env(make(**KINDS["discrete"])))
    seen, _ = env.reset(seed=0)
    assert set(seen) >= {"agent_id", "obs"}
    for _ in range(24):
        seen, rewards, ended, cut, _ = env.step(int(env.action_space.sample()))
        assert np.isfinite(rewards).all()
    assert ended or cut
