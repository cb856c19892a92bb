"""Sweeps as settings: the runs that they mean, and what is refused."""

from __future__ import annotations

import pytest

from marl_pricing.config import ConfigError
from marl_pricing.config.study import plan_study
from tests.doors.compose import settings


def test_the_omega_sweep_is_seven_omegas_of_two_and_three_sellers() -> None:
    plan = plan_study(settings("experiment=omega_sweep"))
    omegas = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]
    assert plan.study.sweep is not None
    assert [(point.over, point.x) for point in plan.study.sweep.points] == [(n, w) for n in (2, 3) for w in omegas]
    for point, run, own in zip(plan.study.sweep.points, plan.runs, plan.settings, strict=True):
        assert (own.market.num_sellers, own.market.reward.omega) == (point.over, point.x)
        assert run.name == own.name == f"num_sellers_{point.over}_omega_{point.x}"
        assert own.learner.gamma == 0.0 and own.learner.num_seeds == 8
    assert len({own.learner for own in plan.settings}) == 1


@pytest.mark.parametrize("name", ["seller_count", "lead_time", "contamination"])
def test_the_other_sweeps_change_their_field_only(name: str) -> None:
    plan = plan_study(settings(f"experiment={name}"))
    bare = plan_study(settings(f"experiment={name}", "study.sweep.over=null"))
    sweep = bare.study.sweep
    assert sweep is not None and all(own.learner.num_seeds >= 5 for own in plan.settings)
    first = bare.settings[0].model_dump()
    for value, own in zip(sweep.values, bare.settings, strict=True):
        mine = own.model_dump()
        *groups, last = sweep.field.split(".")
        place, other = mine, first
        for group in groups:
            place, other = place[group], other[group]
        assert place[last] == value
        place[last] = other[last]
        assert mine | {"name": ""} == first | {"name": ""}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("study.sweep=null", "study.sweep=None: accepted is a field and its values with study.evaluation=sweep"),
        ("study.sweep.values=[]", "study.sweep.values=[]: accepted is a list of at least 1"),
        ("study.sweep.values=[0.1,0.1]", "study.sweep.values=[0.1, 0.1]: accepted is a list of different values"),
        ("study.sweep.values=[a]", "study.sweep.values[0]='a': accepted is a whole number or a number"),
        ("study.sweep.values=[2]", "study run num_sellers_2_omega_2: market.reward.omega=2: accepted is a number of"),
        ("study.sweep.field=name", "study.sweep.field='name': accepted is a setting of market, traffic, robust, learn"),
        ("study.sweep.field=market.reward.mood", "study run num_sellers_2_mood_0.0: market.reward.mood=0.0: there"),
        ("study.sweep.over.field=run.folder", "study.sweep.over.field='run.folder': accepted is a setting of market"),
        ("study.sweep.over.field=market.reward.omega", "accepted is another setting than study.sweep.field"),
        ("study.sweep.over.values=[2.5]", "study run num_sellers_2.5_omega_0.0: market.num_sellers=2.5: accepted is"),
        ("+study.runs=[{name:a}]", "accepted is nothing with study.evaluation=sweep"),
        ("+study.trials={delays:[1]}", "accepted is nothing with study.evaluation=sweep"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(override: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_study(settings("experiment=omega_sweep", override))
    assert told in str(caught.value)
