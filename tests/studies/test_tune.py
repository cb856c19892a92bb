"""The search for the learner's settings: trials are trainings like any other, share a program, and are kept."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from marl_pricing.config import ConfigError
from marl_pricing.evaluation.guests import deviations
from marl_pricing.learning.held_out import has_one_objective
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from marl_pricing.studies import tune
from marl_pricing.studies.tune_trials import TRACED, NumberedProgram, Trials, constants
from tests.doors.compose import composed

TINY = [
    "experiment=logit_duopoly", "learner.num_envs=4", "learner.num_steps=8", "learner.hidden_size=8",
    "learner.num_updates=6", "learner.devices=1", "market.episode_length=4", "market/prices=levels",
    "market.prices.num_price_levels=4",
]  # fmt: skip
OURS = ["trials=3", "episodes=2", "updates=2"]
OVERRIDES = TINY[1:4] + TINY[5:]


class Traced(NumberedProgram):
    """Counts how often its training is traced."""

    traces = 0

    def _local_train(self, *own):
        self.traces += 1
        return super()._local_train(*own)


@pytest.mark.slow
def test_numbers_that_come_with_the_parameters_train_as_settings_do() -> None:
    """One program, two settings: each trains what a program of its own would."""
    base = composed(*TINY)
    numbered = Traced(base.learner)
    for gamma, rate in ((0.0, 0.005), (0.6, 0.02)):
        settings = base.learner.settings.model_copy(update={"gamma": gamma, "learning_rate": rate})
        plain = Program(replace(base.learner, settings=settings))
        params = plain.stack(base.market.params)
        numbers = {name: jnp.full((1,), getattr(settings, name), jnp.float32) for name in TRACED}
        theirs, _ = plain.train(plain.init(params), params, 6)
        ours, _ = numbered.train(numbered.init((params, numbers)), (params, numbers), 6)
        for one, other in zip(jax.tree.leaves(theirs.learnable), jax.tree.leaves(ours.learnable), strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)
    assert numbered.traces == 1


@pytest.mark.slow
def test_a_trial_is_scored_by_its_objective() -> None:
    """Selfish sellers: minus what the best constant gains in a seat, less the distance of sampled from greedy play."""
    base = composed(*TINY)
    assert not has_one_objective(base.market.params)
    trials = Trials(episodes=2, seed=7)
    score = trials.run(base)
    assert score.compiled and not trials.run(base).compiled
    program = Program(base.learner)
    params = program.stack(base.market.params)
    state, _ = program.train(program.init(params), params, 6)
    actor = jax.tree.map(lambda leaf: leaf[0], state.learnable.actor)
    guests = {str(number): own for number, own in enumerate(constants(*base.market))}
    table = deviations(
        jax.random.key(7), *base.market, [learned_policy(base.learner, actor, greedy=True)], guests, episodes=2
    )
    best = table[table["seller"] != "all"].groupby("seller")[["guest", "learned"]].max()
    assert score.deviation == pytest.approx(float((best["guest"] / best["learned"] - 1.0).mean()), abs=1e-5)
    assert score.value <= -score.deviation
    same = composed(*TINY, "market.reward.omega=0.0")
    assert has_one_objective(same.market.params)
    score = Trials(episodes=2, seed=7).run(same)
    assert score.value == min(score.greedy, score.sampled)
    assert np.isnan(score.deviation)


def searched(folder: Path, *more: str) -> int:
    return tune.main([f"out={folder}", "experiment=logit_duopoly", *OURS, *OVERRIDES, *more])


@pytest.mark.slow
def test_a_search_goes_on_where_it_stopped_and_says_what_won(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert searched(tmp_path) == 0
    first = pd.read_csv(tmp_path / "trials.csv")
    assert len(first) == 3 and first["score"].is_monotonic_decreasing
    assert first["compiled"].sum() == 1
    capsys.readouterr()
    assert searched(tmp_path, "trials=5") == 0
    both = pd.read_csv(tmp_path / "trials.csv")
    assert len(both) == 5
    same = both.set_index("trial").loc[first["trial"]].reset_index()
    pd.testing.assert_frame_equal(same, first)
    assert len(both["learner.learning_rate"].unique()) == 5
    assert (tmp_path / "trials.png").stat().st_size > 10_000
    told = capsys.readouterr().out
    command = shlex.split(told.split("the best: ")[1])
    own = composed(*command[2:]).learner.settings
    assert own.num_updates == 2
    assert own.learning_rate == pytest.approx(both["learner.learning_rate"][0], rel=1e-3)
    with pytest.raises(SystemExit):
        searched(tmp_path, "learner.hidden_size=16")
    assert "holds another search" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("space.learner.colour.low=1", "space"),
        ("space.market.num_sellers.choices=[1,2]", "space='market.num_sellers': accepted is a setting of learner"),
        ("space.learner.gamma.choices=[0.9,1.0]", "learner.gamma=1.0: accepted is a number below 1"),
        ("space.learner.num_minibatches.choices=[2,3]", "learner.num_envs=4: accepted is a multiple of"),
        ("space.learner.learning_rate={low: 0.0, high: 0.1, log: true}", "accepted is a number above 0 with log"),
        ("learner=torch_mappo", "learner.algorithm='torch_mappo': accepted is mappo for a search"),
        ("experiment=nothing", "nothing"),
        ("trials=0", "trials=0: accepted is a number of at least 1"),
        ("colour=red", "colour='red': there is no such setting"),
    ],
)
def test_what_cannot_be_searched_is_refused(argument: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        tune.read([f"out={tmp_path}", "experiment=logit_duopoly", *OURS, *OVERRIDES, argument])
    assert told in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit):
        searched(tmp_path / "search")
    assert capsys.readouterr().err == "error: optuna is not installed: pip install 'marl-pricing[tune]'\n"
    assert not (tmp_path / "search").exists()
