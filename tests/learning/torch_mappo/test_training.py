"""Whole updates, runs and folders of the torch learner beside the flax one."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
import torch

from marl_pricing.config import ConfigError
from marl_pricing.learning import mappo, runs, training
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.torch_mappo import learner as torch_learner
from marl_pricing.learning.torch_mappo.program import TorchProgram
from marl_pricing.learning.training import Member, Schedule
from marl_pricing.studies.single import program_of, train_run
from tests.doors.compose import composed
from tests.learning.helpers import TINY, learner_of, market_of
from tests.learning.test_robust import GRID, INTERVAL, a_market
from tests.learning.torch_mappo.twins import apart
from tests.processes import python


def trained(kind: type[Program], market: Any, updates: int, **settings: Any):
    """(learnable before, state after, measures) of one learner."""
    program = kind(learner_of(market, **settings))
    params = program.stack(market.params)
    before = program.init(params)
    start = jax.device_get(before.learnable)
    state, measures = program.train(before, params, updates)
    return start, jax.device_get(state), jax.device_get(measures)


@pytest.mark.slow
def test_twenty_updates_of_sgd_end_at_the_same_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both play their own segments; seeds are the same, so what they play is, as long as their networks are."""

    def sgd(settings: LearnerSettings) -> optax.GradientTransformation:
        # Adam's state stays where it is and is not used, so that both training states are like those of Adam.
        same = optax.GradientTransformation(
            optax.scale_by_adam().init, lambda gradient, state, _=None: (gradient, state)
        )
        return optax.chain(optax.clip_by_global_norm(settings.max_grad_norm), same)

    monkeypatch.setattr("marl_pricing.learning.actor_critic.step.optimiser_of", sgd)
    monkeypatch.setattr(torch_learner, "make_optimiser", lambda own, weights: torch.optim.SGD(weights, lr=1.0))
    market = market_of("own orders, two products")
    rates = {"learning_rate": 0.3, "learning_rate_end": 0.1, "max_grad_norm": 0.5, "num_updates": 20}
    start, flax, expected = trained(Program, market, 20, **rates)
    _, own, measures = trained(TorchProgram, market, 20, algorithm="torch_mappo", **rates)
    np.testing.assert_array_equal(expected["price_counts"], measures["price_counts"])  # the same batches
    networks = [(tree.actor, tree.critic) for tree in (start, flax.learnable, own.learnable)]
    moved, drift = (
        max(float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, pair), strict=True))
        for pair in (networks[:2], networks[1:])
    )
    print(f"parameter drift after 20 updates of SGD: {drift:.1e}; they moved by up to {moved:.2f}")
    assert drift < 1e-4
    assert moved > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"num_seeds": 2, "value_normalisation": "popart", "target_kl": 1e-6, "learning_rate": 0.01},
        {"sharing": "per_seller", "critic": "local", "cell": "lstm", "schedule": "cosine", "rows_per_block": 2},
    ],
    ids=["two seeds, popart, stopped early", "per seller, lstm, in blocks"],
)
def test_updates_of_adam_are_the_flax_learners(settings: dict[str, Any]) -> None:
    market = market_of("stock")
    _, flax, expected = trained(Program, market, 3, **settings)
    _, own, measures = trained(TorchProgram, market, 3, algorithm="torch_mappo", **settings)
    assert jax.tree.structure(flax) == jax.tree.structure(own)
    assert set(expected) == set(measures)
    for name, value in expected.items():
        np.testing.assert_allclose(measures[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    assert apart(flax.learnable, own.learnable) < 1e-3
    steps = [np.asarray(tree.learnable.actor_optimiser[1].count) for tree in (flax, own)]
    np.testing.assert_array_equal(*steps)
    every = 3 * 2 * 2  # updates, epochs, minibatches
    assert (steps[0] < every).all() if "target_kl" in settings else (steps[0] == every).all()


@pytest.mark.slow
@pytest.mark.parametrize("ambiguity", [INTERVAL, pytest.param(GRID, marks=pytest.mark.slow)], ids=["interval", "kl"])
def test_robust_updates_are_the_flax_learners(ambiguity: Any) -> None:
    """The same worlds learned of, laws and pessimism to 1e-5, as long as the networks are the same."""
    market = a_market()
    states, measures = [], []
    for kind, name in ((Program, "mappo"), (TorchProgram, "torch_mappo")):
        program = kind(mappo.make_learner(LearnerSettings(**TINY, algorithm=name), *market, ambiguity))
        params = program.stack(market.params)
        state, table = program.train(program.init(params), params, 2)
        states.append(jax.device_get(state))
        measures.append(jax.device_get(table))
    assert {"pessimism", "candidate_0", "radius"} <= set(measures[0]) == set(measures[1])
    for name, value in measures[0].items():
        np.testing.assert_allclose(measures[1][name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    for one, other in zip(*(jax.tree.leaves(own.worlds) for own in states), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5 * np.abs(one).max())
        assert np.abs(one).max() > 0
    assert apart(states[0].learnable, states[1].learnable) < 1e-3


def run_in(folder: Path, market: Any, *, resume: bool = False, stop_after: int | None = None, **settings: Any):
    """Train into a folder; a signal comes after some updates."""
    folder.mkdir(exist_ok=True)
    program = TorchProgram(learner_of(market, algorithm="torch_mappo", num_updates=6, num_seeds=2, **settings))
    report = training.Monitor.report

    def then_stop(self: Any, own: training.Report) -> None:
        report(self, own)
        if own.update == stop_after:
            signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Monitor, "report", then_stop)
        return training.train(program, [Member(folder, market.params)], Schedule(2, 2), resume=resume, quiet=True)


@pytest.mark.slow
def test_a_stopped_and_resumed_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    market = market_of("stock")
    state, complete = run_in(tmp_path / "whole", market)
    assert complete
    _, complete = run_in(tmp_path / "stopped", market, stop_after=2)
    assert not complete
    resumed, complete = run_in(tmp_path / "stopped", market, resume=True)
    assert complete
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    metrics = [(tmp_path / name / runs.METRICS).read_bytes() for name in ("whole", "stopped")]
    assert metrics[0] == metrics[1]
    assert metrics[0].count(b"\n") == 1 + 6 * 2
    assert list((tmp_path / "whole" / runs.TENSORBOARD).iterdir())


@pytest.mark.slow
def test_four_devices_learn_what_one_does() -> None:
    code = """
        import jax, numpy as np
        from tests.learning.helpers import learner_of, market_of
        from marl_pricing.learning.torch_mappo.program import TorchProgram
        assert jax.device_count() == 4
        own, ends = market_of("stock"), []
        for devices in (1, 4):
            program = TorchProgram(learner_of(own, algorithm="torch_mappo", devices=devices, num_envs=16, num_seeds=2))
            params = program.stack(own.params)
            state = program.init(params)
            step = program.compiled(state, params, 2)
            before = jax.device_get(state.learnable.actor)
            state, _ = step(state, params)
            state, measures = step(state, params)
            ends.append(jax.device_get((state.learnable, measures["return_raw"], state.rollout.actor_memory)))
        moved = max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (before, ends[0][0].actor))))
        apart = max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, ends)))
        assert moved > 1e-3 and apart < 2e-5, (moved, apart)
        print("same")
    """
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    done = python(code, set(), XLA_FLAGS=flags)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "same" in done.stdout


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["learner=torch_mappo", "run.distributed=true"], "run.distributed=True: accepted is false with learner.algo"),
        (
            ["learner.algorithm=torch"],
            "learner.algorithm='torch': accepted is 'mappo', 'torch_mappo', 'ippo', 'a2c', 'dqn', 'pqn', 'qtable'",
        ),
        (["+learner.compile=true"], "learner.compile=True: accepted is false with learner.algorithm=mappo"),
    ],
)
def test_what_the_torch_learner_cannot_do_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        composed(*overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "nowhere")
    experiment = composed("learner=torch_mappo", "learner.compile=true")
    with pytest.raises(ConfigError, match=r"learner.compile=True: accepted is false where there is no C\+\+ compiler"):
        program_of(experiment.learner)


@pytest.mark.slow
def test_a_run_of_the_torch_learner_is_trained_named_and_loaded_without_torch(tmp_path: Path) -> None:
    """Training needs torch and says so; what was trained is played without it."""
    settings = composed(
        "learner=torch_mappo", "learner.num_envs=4", "learner.num_steps=4", "learner.hidden_size=8",
        "learner.num_updates=1", "learner.num_epochs=1", "market.episode_length=5", "traffic=analytic",
        "market.agent=null",
    ).settings  # fmt: skip
    folder = tmp_path / "run"
    assert train_run(settings, folder, {"command": "", "versions": {}, "revision": ""})
    code = """
        from pathlib import Path
        from marl_pricing import config
        from marl_pricing.studies.loading import load_run
        from marl_pricing.studies.single import train_run

        run = load_run(Path(sys.argv[1]), "latest")
        assert run.settings.learner.algorithm == "torch_mappo"
        print(run.policies(greedy=True)[0].name, "torch" in sys.modules)
        try:
            train_run(run.settings, Path(sys.argv[1] + "_again"), {})
        except config.ConfigError as error:
            print(error)
        try:
            import marl_pricing.learning.torch_mappo.environments
        except ModuleNotFoundError as error:
            print(error)
    """
    done = python(code, {"torch"}, str(folder))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-3:] == [
        "learned (greedy) False",
        "learner.algorithm='torch_mappo': torch is not installed: pip install 'marl-pricing[torch]'",
        "torch is not installed: pip install 'marl-pricing[torch]'",
    ]
    assert not Path(f"{folder}_again").exists()
