"""`experiment=fair_promotion`: refused before anything is written, done once, gone on with where it was stopped."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from marl_pricing.commands.fair_promotion import (
    continue_promotion,
    evaluate_promotion,
    refuse_other_markets,
    start_promotion,
    steps_of,
)
from marl_pricing.config import ConfigError
from marl_pricing.config.study import Plan, plan_study
from marl_pricing.learning.runs import RunError
from tests.doors.compose import settings


def plan_of(*changed: str) -> Plan:
    data = settings("experiment=fair_promotion", *changed)
    data.pop("launcher", None)
    return plan_study(data)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("study.promotion.fit.members=0", "study.promotion.fit.members=0: accepted is a number of at least 1"),
        ("+study.promotion.fit.epoch=3", "study.promotion.fit.epoch=3: there is no such setting; did you mean"),
        ("+study.promotion.page.out=x", "study.promotion.page.out='x': accepted is nothing: the study's folder"),
        (
            "study.promotion.policy.kind=plan +study.promotion.policy.updates=3",
            "updates=3: says nothing with kind=plan",
        ),
        ("study.promotion=null", "study.promotion=None: accepted is a group of settings"),
        ("+study.episodes=3", "study.episodes=3: accepted is nothing with study.evaluation=fair_promotion"),
        ("study.evaluation=robustness", "study.promotion='...': accepted is nothing with study.evaluation=robustness"),
    ],
)
def test_settings_that_a_part_does_not_take_are_refused(changed: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        start_promotion(plan_of(*changed.split()), tmp_path / "study", {})
    assert message in str(told.value)
    assert not any(tmp_path.iterdir())


def test_what_is_typed_and_says_nothing_is_refused() -> None:
    simulated, own = (plan_of(*log).study.promotion for log in ((), ("study.promotion.log=a.csv",)))
    assert simulated is not None and own is not None
    refuse_other_markets(["experiment=fair_promotion", "study.promotion.simulate.days=30", "run.folder=x"], simulated)
    with pytest.raises(ConfigError, match=r"learner\.seed=1: says nothing with study\.evaluation=fair_promotion"):
        refuse_other_markets(["learner.seed=1"], simulated)
    with pytest.raises(ConfigError, match=r"simulate\.days=30: says nothing with study\.promotion\.log='a\.csv'"):
        refuse_other_markets(["study.promotion.simulate.days=30"], own)
    with pytest.raises(ConfigError, match=r"mapping='m\.yaml': accepted is null without"):
        refuse_other_markets([], simulated.model_copy(update={"mapping": "m.yaml"}))


def test_a_log_of_ones_own_is_read_where_another_is_simulated(tmp_path: Path) -> None:
    assert [step.verb for step in steps_of(plan_of(), tmp_path)] == [
        "simulate", "fit", "fit", "train", "export", "page",
    ]  # fmt: skip
    first, held_out, *_, page = steps_of(
        plan_of("study.promotion.log=a.csv", "study.promotion.mapping=m.yaml"), tmp_path
    )
    told: Any = first.settings
    assert (first.verb, told.log, told.mapping, told.members) == ("fit", "a.csv", "m.yaml", 5)
    others: Any = held_out.settings
    shown: Any = page.settings
    assert (told.holdout, others.holdout) == (0, 14)  # a policy learns from all days
    assert shown.truth is None and shown.model == told.out and shown.held_out == others.out
    assert [step.verb for step in steps_of(plan_of("study.promotion.fit.holdout=0"), tmp_path)].count("fit") == 1


@pytest.mark.slow
def test_a_study_that_was_stopped_goes_on_with_the_verb_that_had_not_ended(tmp_path: Path, capsys) -> None:
    plan = plan_of(
        *(f"study.promotion.{own}" for own in ("simulate.customers=60", "simulate.days=20", "fit.members=1")),
        *(f"study.promotion.{own}" for own in ("fit.holdout=4", "policy.kind=plan", "policy.days=4")),
        *(f"+study.promotion.fit.{own}" for own in ("epochs=1", "width=8")), "study.promotion.page.episodes=2",
    )  # fmt: skip
    folder = tmp_path / "study"
    assert start_promotion(plan, folder, {"command": "", "versions": {}})
    left = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {"promotions", "customers", "policy", "submission", "page"} <= {path.parts[0] for path in left}
    capsys.readouterr()
    for name in ("policy", "submission", "page"):
        shutil.rmtree(folder / name)
    with pytest.raises(RunError, match=r"train, export has not ended; go on with: python train\.py resume="):
        evaluate_promotion(plan, folder)
    assert continue_promotion(plan, folder)
    said = capsys.readouterr().out
    assert "simulate: has ended before" in said and "fit: has ended before" in said and "train: " not in said
    for name in ("policy/policy.npz", "submission/policy.npz", "page/scores.csv"):
        assert (folder / name).read_bytes() == left[Path(name)], name
    with pytest.raises(RunError, match="is not empty; continue a study with resume="):
        start_promotion(plan, folder, {})
    assert evaluate_promotion(plan, folder) == folder / "page" / "page.html"
