"""Goals in a CSV file: mode, task_name, task_description, task_def_of_done."""

from __future__ import annotations

from pathlib import Path

from marl_pricing.intake import IntakeError, shown
from marl_pricing.serving.catalogue import MODES
from marl_pricing.serving.participants.register import Goal
from marl_pricing.serving.table import read_rows

_MOST = 10_000


def read_goals(path: str | Path) -> list[Goal]:
    """Goals, in the file's order. Other columns (an export has id and created_at) are passed over.

    Raises:
        IntakeError: naming the line, the column, the value and what is accepted.
    """
    found: dict[tuple[str, str], Goal] = {}
    for place, row in read_rows(path, Goal._fields):
        goal = _goal(row, place)
        if (goal.mode, goal.task_name) in found:
            raise IntakeError(f"{place}: task_name={shown(goal.task_name)} is there twice for {goal.mode}")
        if len(found) == _MOST:
            raise IntakeError(f"{path}: accepted are at most {_MOST:,} goals")
        found[goal.mode, goal.task_name] = goal
    if not found:
        raise IntakeError(f"{path}: there is no goal")
    return list(found.values())


def _goal(row: dict[str, str | None], place: str) -> Goal:
    texts = []
    for name in Goal._fields:
        text = (row[name] or "").strip()
        if not text:
            raise IntakeError(f"{place}: {name}: has to be given")
        if "\0" in text:  # PostgreSQL's texts cannot hold it
            raise IntakeError(f"{place}: {name}={shown(text)}: accepted is text without the sign 0")
        texts.append(text)
    goal = Goal(*texts)
    if goal.mode not in MODES:
        raise IntakeError(f"{place}: mode={shown(goal.mode)}: accepted is {' or '.join(MODES)}")
    return goal
