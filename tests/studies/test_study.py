"""A study: all of its runs, then the page; stopped and continued, it ends the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from marl_pricing.config import ConfigError
from marl_pricing.config.study import STUDY, is_study, open_study, plan_study
from marl_pricing.learning import parallel, runs
from marl_pricing.studies import study, together
from tests.doors.compose import settings
from tests.learning.helpers import QUICK

TINY = [
    "traffic.model=analytic", "market.num_sellers=2", "market.num_products=1", "market.episode_length=6",
    "learner.num_seeds=2",
    "learner.num_envs=4", "learner.num_steps=6", "learner.num_updates=2", "learner.num_minibatches=2",
    "learner.num_epochs=1", "learner.hidden_size=8", "learner.devices=1", "run.tensorboard=false",
    "run.checkpoint_every=1", "run.report_every=1", "study.episodes=2",
    "study.trials.agent_shares=[0.0,0.8]", "study.trials.unheld_shares=[]",
    "study.trials.processes=[]", "study.trials.demand_scales=[]",
    "study.trials.mimicry=[]", "study.trials.perturbations=[]", "study.trials.delays=[]",
]  # fmt: skip
TWO = (
    "study.runs=[{name:plain,change:{market:{reward:{omega:0.0}}}},"
    "{name:robust,against:plain,change:{market:{reward:{omega:0.0}},robust:{set:interval,radius:0.2}}}]"
)
PROVENANCE = {"command": "python train.py", "versions": {}, "revision": "test"}


def small(*overrides: str) -> dict:
    return settings("experiment=robustness_study", *TINY, *overrides)


def test_the_robustness_study_is_nominal_and_robust_sellers_of_both_kinds() -> None:
    plan = plan_study(settings("experiment=robustness_study"))
    found = plan.settings
    by_name = {run.name: settings for run, settings in zip(plan.runs, found, strict=True)}
    assert len(found) == 9
    assert by_name["one_interval"].robust.sellers == [0]
    for name, one in by_name.items():
        assert one.name == name
        assert one.learner.num_seeds == 10 and one.traffic.process.kind == "static"
        assert one.market.reward.omega == (0.0 if name.startswith("cooperative") else 1.0)
        assert (one.robust.set == "none") == (name in ("cooperative", "competitive"))
    budgets = {one.learner.model_dump_json() for one in found}
    assert len(budgets) == 1


@pytest.mark.slow
def test_a_study_stopped_half_way_goes_on_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "compiler_options", lambda: QUICK)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert study.start_study(plan_study(small(TWO)), whole, PROVENANCE)
    shutil.copytree(whole, broken)
    for name in ("robust", "evaluation"):  # as a stop in the middle leaves it
        shutil.rmtree(broken / name)
    calls: list[str] = []
    real = together.train
    plan = open_study(broken)
    monkeypatch.setattr(together, "train", lambda *given, **more: (None, False))
    assert not study.continue_study(plan, broken)  # Ctrl-C in the second run
    assert not (broken / "evaluation").exists()
    with pytest.raises(runs.RunError, match=r"robust: is not trained to its end; go on with: python train.py resume="):
        study.evaluate_study(plan, broken)

    def told(program, members, *given, **more):
        calls.extend(member.folder.name for member in members)
        return real(program, members, *given, **more)

    monkeypatch.setattr(together, "train", told)
    assert study.continue_study(plan, broken)
    assert calls == ["robust"]  # what was trained is not trained again
    for name in ("plain", "robust"):
        pd.testing.assert_frame_equal(*(pd.read_csv(f / name / runs.METRICS) for f in (whole, broken)))
    one, other = (pd.read_csv(folder / "evaluation" / "summary.csv") for folder in (whole, broken))
    pd.testing.assert_frame_equal(one, other)
    assert (whole / "evaluation" / "robustness.html").is_file()
    gains = one[one["measure"] == "worst_gain"]
    assert gains["run"].tolist() == ["robust"] and gains["against"].tolist() == ["plain"] and gains["seeds"].item() == 2
    with pytest.raises(runs.RunError, match=r"is not empty; continue a study with resume="):
        study.start_study(plan, whole, PROVENANCE)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("study.runs=[]", "study.runs"),
        ("study.runs=[{name:a},{name:a}]", "study.runs=['a', 'a']: accepted is different names"),
        ("study.runs=[{name:a,against:b},{name:b}]", "study.runs[0].against='b': accepted is a run before it"),
        ("study.runs=[{name:a,change:{market:{sellers:3}}}]", "study run a: market.sellers=3"),
        ("study.runs=[{name:a,change:{robust:{set:interval,radius:-1}}}]", "study run a: robust.radius=-1"),
        ("study.runs=[{name:'../a'}]", "study.runs[0].name='../a': accepted is a text like"),
        ("study.episodes=0", "study.episodes=0"),
        ("study.evaluation=weather", "study.evaluation='weather'"),
        ("study.trials.agent_shares=[2]", "study.trials.agent_shares"),
        ("run.distributed=true", "run.distributed=True: accepted is false in a study"),
        ("study.evaluation=sweep", "study.sweep=None: accepted is a field and its values with study.evaluation=sweep"),
        (
            "+study.sweep={field:market.reward.omega,values:[0]}",
            "study.sweep='market.reward.omega': accepted is nothing",
        ),
    ],
)
def test_studies_that_cannot_be_are_refused_before_anything_is_written(override: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_study(small(override))
    assert told in str(caught.value)


def test_a_run_whose_lists_do_not_fit_is_named_before_anything_is_written(tmp_path: Path) -> None:
    more = "study.runs=[{name:two},{name:three,change:{market:{num_sellers:3}}}]"
    plan = plan_study(small(more, "market.reward.unit_cost=[1.0,1.1]"))
    with pytest.raises(ConfigError, match=r"study run three: market\.reward\.unit_cost=\[1.0, 1.1\]: accepted is"):
        study.start_study(plan, tmp_path / "study", PROVENANCE)
    assert not (tmp_path / "study").exists()


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / STUDY).write_text("name: x\n")
    assert is_study(tmp_path) and not is_study(tmp_path / "other")
    with pytest.raises(ConfigError, match=r"study\.yaml: is no study"):
        open_study(tmp_path)


@pytest.mark.parametrize("trained", [False, True])
def test_a_study_that_is_interrupted_before_it_trained_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: bool
) -> None:
    folder = tmp_path / "study"

    def interrupted(plan: object, experiments: object, own: Path) -> bool:
        (own / "plain").mkdir()
        if trained:
            (own / "plain" / runs.METRICS).write_text("update\n")
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "_build", lambda plan, own: [])
    monkeypatch.setattr(study, "_carry_out", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study.start_study(plan_study(small(TWO)), folder, PROVENANCE)
    assert folder.exists() == trained
