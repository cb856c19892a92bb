"""Small factorial studies."""

from __future__ import annotations

from typing import Any

from marl_pricing.studies.factorial.cells import Group
from tests.doors.compose import settings

PROVENANCE = {"command": "python train.py", "versions": {}, "revision": "test"}
# One program of eight runs in four groups; tables compile fastest.
TINY = (
    "experiment=factorial", "study.factorial.factors.algorithm=[qtable]", "study.factorial.factors.alpha=[0.1,0.6]",
    "study.factorial.factors.epsilon_alpha=[0.0]", "study.factorial.factors.action_levels=[5]",
    "study.factorial.seeds=2", "study.factorial.steps=40", "study.factorial.play.episodes=2",
    "study.factorial.side_by_side=2", "study.factorial.runs_per_group=2", "market.episode_length=8",
    "market.num_products=3", "traffic.sessions_per_epoch=10", "traffic.bank.size=256",
    "study.factorial.learners.qtable.num_envs=2", "study.factorial.learners.qtable.num_steps=10",
    "study.factorial.learners.qtable.bins=5",
)  # fmt: skip


def tiny(*overrides: str) -> dict[str, Any]:
    return settings(*TINY, *overrides)


class FakeTrainer:
    """Rows without a training; it writes down what it was asked for."""

    asked: list[int] = []  # noqa: RUF012
    until = 1000

    def __init__(self, program: Any, study: Any) -> None:
        self.program = program

    def compile(self, num_runs: int) -> None:
        """Nothing to do."""

    def compute(self, group: Group) -> list[dict[str, float]]:
        """The same rows for the same runs; Ctrl-C after so many groups."""
        if len(self.asked) >= self.until:
            raise KeyboardInterrupt
        self.asked.append(group.number)
        return [{"revenue": float(run.number), "train_finite": 1.0} for run in group.runs]
