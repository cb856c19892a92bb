"""Groups as programs: what a run comes to is its own."""

from __future__ import annotations

import pandas as pd
import pytest

from marl_pricing.config.study import plan_study
from marl_pricing.learning.runs import RunError
from marl_pricing.studies.factorial import store
from marl_pricing.studies.factorial.carry_out import plan_groups
from marl_pricing.studies.factorial.training import GIB, LINK, Trainer
from tests.studies.factorial.helpers import tiny

NETWORKS = (
    "study.factorial.factors.algorithm=[ppo]", "study.factorial.factors.epsilon_alpha=[0.2]",
    "study.factorial.learners.ppo.num_envs=2", "study.factorial.learners.ppo.num_steps=10",
    "study.factorial.learners.ppo.num_epochs=1", "study.factorial.learners.ppo.num_minibatches=1",
    "study.factorial.learners.ppo.hidden_size=8",
)  # fmt: skip


def done(*overrides: str) -> tuple[Trainer, pd.DataFrame]:
    plan = plan_study(tiny(*NETWORKS, *overrides))
    group = plan_groups(plan)[0]
    trainer = Trainer(group.program, plan.study.factorial)
    return trainer, store.table_of(group, trainer.compute(group))


@pytest.mark.slow
def test_a_run_comes_to_the_same_whatever_runs_beside_it() -> None:
    _, together = done("study.factorial.side_by_side=4", "study.factorial.runs_per_group=8")
    three = ("study.factorial.side_by_side=3", "study.factorial.runs_per_group=3")  # the first three alone
    trainer, few = done(*three)
    assert len(together) == 8 and len(few) == 3
    pd.testing.assert_frame_equal(together[:3], few, rtol=1e-3, atol=1e-5)
    # Runs differ by their seeds and by their numbers, which are traced.
    assert together["train_last"].nunique() == 8
    by_share = together.groupby("alpha")["suspicion"].mean()
    assert by_share[0.6] > by_share[0.1]
    assert set(LINK) <= set(together) and (together["link_xx"] >= 0).all()
    assert together["ux"].between(0, 1).all() and together["revenue_more"].mean() < together["revenue_fewer"].mean()
    # With less memory than they take side by side, they are computed one by one; with next to none, not at all.
    assert trainer.width == 3
    narrow, one_by_one = done(*three, f"study.factorial.memory={0.95 * trainer.memory / GIB}")
    assert narrow.width == 1 and narrow.memory < trainer.memory
    pd.testing.assert_frame_equal(one_by_one, few, rtol=1e-3, atol=1e-5)
    with pytest.raises(RunError, match=r"a group takes .* even run by run, and study\.factorial\.memory is 1e-06 GiB"):
        done(*three, "study.factorial.memory=0.000001")
