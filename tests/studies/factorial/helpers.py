"""Small factorial studies."""

from __future__ import annotations

from typing import Any

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
