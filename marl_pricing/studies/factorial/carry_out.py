"""Carrying a factorial study out: group after group, what is missing only, then its tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from marl_pricing.config import ConfigError
from marl_pricing.config.study import SETTINGS, Plan
from marl_pricing.learning import runs
from marl_pricing.learning.training import finish_first
from marl_pricing.presentation import pulse
from marl_pricing.presentation.files import replace_with
from marl_pricing.studies.factorial import store
from marl_pricing.studies.factorial.cells import Group, groups_of, programs_of, runs_of
from marl_pricing.studies.factorial.report import write_report
from marl_pricing.studies.factorial.training import Trainer
from marl_pricing.studies.study_folder import new_folder


def start_factorial(plan: Plan, folder: Path, provenance: Mapping[str, Any]) -> bool:
    """Make a study's folder and carry it out; see `continue_factorial`.

    Raises:
        ConfigError: before anything is written. RunError: for a folder that is in use. OSError: for one that cannot be.
    """
    groups = plan_groups(plan)
    told = {**provenance, SETTINGS: plan.data}
    with new_folder(plan, folder, told, f"{store.ROWS}/*.parquet"):
        store.check_writable(folder)
        return _carry_out(groups, folder, plan)


def continue_factorial(plan: Plan, folder: Path) -> bool:
    """Compute the groups that have not ended, then the tables.

    Returns:
        Whether it came to its end; False where it was interrupted.
    """
    groups = plan_groups(plan)
    store.check_writable(folder)
    return _carry_out(groups, folder, plan)


def plan_groups(plan: Plan) -> list[Group]:
    """The groups of a study, all of it checked.

    Raises:
        ConfigError: for markets and learners that cannot be, or where the analysis lacks its library.
    """
    study = plan.study.factorial
    assert study is not None
    if find_spec("statsmodels") is None:
        raise ConfigError(
            "study.evaluation='factorial': its analysis of variance needs statsmodels, which is not installed: "
            "pip install 'marl-pricing[calibration]'"
        )
    return groups_of(study, programs_of(plan.base, study))


def _carry_out(groups: Sequence[Group], folder: Path, plan: Plan) -> bool:
    study = plan.study.factorial
    assert study is not None
    with runs.only_writer(folder), finish_first() as interrupted:
        missing = [group for group in groups if store.read(folder, group) is None]
        count = len(runs_of(study))
        progress = _Progress(count, missing, study.steps)
        print(progress.said_first(), flush=True)
        trainer: Trainer | None = None
        for group in missing:
            if interrupted:
                return False
            if trainer is None or trainer.program is not group.program:
                pulse.doing(f"compiling {group.program.name}")
                trainer = Trainer(group.program, study)
                began = time.monotonic()
                trainer.compile(len(group.runs))
                progress.compiled(time.monotonic() - began)
            pulse.doing(f"{group.program.name}: group {group.number + 1} of {len(groups)}")
            began = time.monotonic()
            store.write(folder, group, trainer.compute(group))
            print(progress.said_of(group, time.monotonic() - began), flush=True)
    print(f"report: {_report(groups, folder, plan)}", flush=True)
    return True


def evaluate_factorial(plan: Plan, folder: Path) -> Path:
    """What a study that has ended comes to, told again; the path of its page.

    Raises:
        ConfigError, RunError: as `plan_groups` and `write_table`.
    """
    return _report(plan_groups(plan), folder, plan)


def _report(groups: Sequence[Group], folder: Path, plan: Plan) -> Path:
    table = write_table(groups, folder)
    command = str(runs.read_provenance(folder).get("command", ""))
    return write_report(plan, table, folder / "evaluation", command)


def write_table(groups: Sequence[Group], folder: Path) -> pd.DataFrame:
    """All rows of a study that has ended, as one table in its folder, by run.

    Raises:
        RunError: where groups are missing.
    """
    found = [store.read(folder, group) for group in groups]
    parts = [part for part in found if part is not None]
    if len(parts) < len(groups):
        raise runs.RunError(
            f"{folder}: {len(groups) - len(parts)} of {len(groups)} groups are missing; go on with: python train.py "
            f"resume={folder}"
        )
    table = pd.concat(parts).sort_values("run", ignore_index=True)
    replace_with(folder / store.TABLE, lambda path: table.to_parquet(path, index=False))
    return table


class _Progress:
    """What is said: what is done, how fast, how long the rest will take, compilations included."""

    def __init__(self, count: int, missing: Sequence[Group], steps: int) -> None:
        self._count, self._groups, self._steps = count, len(missing), steps
        self._left = sum(len(group.runs) for group in missing)
        self._programs = len({id(group.program) for group in missing})
        self._seconds, self._done = 0.0, 0
        self._compiling: list[float] = []

    def said_first(self) -> str:
        """Before anything is computed."""
        return (
            f"{self._count} runs, of which {self._count - self._left} are done; the others in {self._groups} "
            f"group(s) of {self._programs} program(s)"
        )

    def compiled(self, seconds: float) -> None:
        """A program was compiled."""
        self._compiling.append(seconds)
        self._programs -= 1

    def said_of(self, group: Group, seconds: float) -> str:
        """After a group has been written."""
        self._seconds += seconds
        self._done += len(group.runs)
        self._left -= len(group.runs)
        eta = self._seconds / self._done * self._left + self._programs * sum(self._compiling) / len(self._compiling)
        rate = len(group.runs) * self._steps / max(seconds, 1e-9)
        return (
            f"{group.program.name}: {len(group.runs)} runs in {seconds:.0f} s, {rate:,.0f} market steps/s; "
            f"{self._count - self._left} of {self._count} runs, ETA {_said(eta)}"
        )


def _said(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
