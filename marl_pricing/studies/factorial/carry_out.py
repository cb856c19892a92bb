"""Carrying a factorial study out: group after group, what is missing only, then its tables.

The launcher says who computes groups: this process (`here`), a Ray cluster's tasks (`on_ray`), or a batch system's
commands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from marl_pricing.config import ConfigError
from marl_pricing.config.errors import refuse
from marl_pricing.config.launcher import Commands, Local, Ray
from marl_pricing.config.study import SETTINGS, Plan, plan_to_yaml
from marl_pricing.doors import how_to
from marl_pricing.learning import runs
from marl_pricing.learning.training import finish_first
from marl_pricing.presentation.files import replace_with
from marl_pricing.studies.factorial import store
from marl_pricing.studies.factorial.cells import Group, groups_of, programs_of, runs_of
from marl_pricing.studies.factorial.claims import holder_of
from marl_pricing.studies.factorial.here import compute_one, in_turn
from marl_pricing.studies.factorial.progress import Progress
from marl_pricing.studies.factorial.report import write_report
from marl_pricing.studies.factorial.store import Store
from marl_pricing.studies.study_folder import new_folder

Launcher = Local | Ray | Commands
_HERE = Local()


def start_factorial(plan: Plan, folder: Path, provenance: Mapping[str, Any], launcher: Launcher = _HERE) -> bool:
    """Make a study's folder and carry it out; see `continue_factorial`.

    Raises:
        ConfigError: before anything is written. RunError: for a folder that is in use. OSError: for one that cannot be.
    """
    if isinstance(launcher, Commands) and launcher.group is not None:
        raise ConfigError(f"launcher.group={launcher.group}: accepted is null for a new study; beside resume, a number")
    groups = plan_groups(plan)
    told = {**provenance, SETTINGS: plan.data, store.PLACE: launcher.store}
    with new_folder(plan, folder, told, f"{store.ROWS}/*.parquet"):
        return _carry_out(groups, folder, plan, launcher)


def continue_factorial(plan: Plan, folder: Path, launcher: Launcher = _HERE) -> bool:
    """Compute the groups that have not ended, then the tables; or as the launcher says.

    Returns:
        Whether it came to its end; False where it was interrupted.

    Raises:
        ConfigError, RunError: for what cannot be, or what others are computing at this moment.
    """
    began = runs.read_provenance(folder).get(store.PLACE)
    if launcher.store not in (None, began):
        raise refuse("launcher.store", launcher.store, f"{began or 'null'}, as when the study began")
    return _carry_out(plan_groups(plan), folder, plan, launcher)


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


def _carry_out(groups: Sequence[Group], folder: Path, plan: Plan, launcher: Launcher) -> bool:
    kept = store_of(folder)
    kept.begin(plan_to_yaml(plan))
    if isinstance(launcher, Commands):
        if launcher.group is None:
            print_commands(groups, folder)
            return True
        if launcher.group >= len(groups):
            accepted = f"at most {len(groups) - 1}, the study's last group"
            raise ConfigError(f"launcher.group={launcher.group}: accepted is {accepted}")
        compute_one(plan, groups[launcher.group], kept)
        return True
    study = plan.study.factorial
    assert study is not None
    with runs.only_writer(folder), finish_first() as interrupted:
        missing = [group for group in groups if kept.read(group) is None]
        progress = Progress(len(runs_of(study)), missing, study.steps)
        print(progress.said_first(), flush=True)
        if isinstance(launcher, Ray):
            from marl_pricing.studies.factorial.on_ray import on_cluster

            ended = on_cluster(plan, missing, kept, launcher, progress, interrupted)
        else:
            ended = in_turn(plan, missing, kept, progress, interrupted)
    if ended:
        print(f"report: {_report(groups, folder, plan)}", flush=True)
    return ended


def print_commands(groups: Sequence[Group], folder: Path) -> None:
    """Print a line a group, which computes it alone, and a last one, which makes the tables and the page of all."""
    place = folder.absolute()
    for group in groups:
        print(how_to("train", resume=place, launcher="commands", **{"launcher.group": group.number}))
    print(how_to("evaluate", run=place), flush=True)


def store_of(folder: Path) -> Store:
    """Where the rows of the study in a folder are kept."""
    return Store(folder, runs.read_provenance(folder).get(store.PLACE))


def evaluate_factorial(plan: Plan, folder: Path) -> Path:
    """What a study that has ended comes to, told again; the path of its page.

    Raises:
        ConfigError, RunError: as `plan_groups` and `write_table`.
    """
    return _report(plan_groups(plan), folder, plan)


def _report(groups: Sequence[Group], folder: Path, plan: Plan) -> Path:
    table = write_table(groups, folder)
    command = str(runs.read_provenance(folder).get("command", ""))
    return write_report(plan, table, [group.program for group in groups], folder / "evaluation", command)


def write_table(groups: Sequence[Group], folder: Path) -> pd.DataFrame:
    """All rows of a study that has ended, as one table in its folder, by run.

    Raises:
        RunError: where groups are missing.
    """
    kept = store_of(folder)
    found = {group.number: kept.read(group) for group in groups}
    missing = [number for number, part in found.items() if part is None]
    if missing:
        held = [f"group {number}: {own.told}" for number in missing[:10] if (own := holder_of(folder, number))]
        first = (
            f"{folder}: {len(missing)} of {len(groups)} groups are missing; go on with: python train.py resume={folder}"
        )
        raise runs.RunError("\n".join([first, *held]))
    table = pd.concat([part for part in found.values() if part is not None]).sort_values("run", ignore_index=True)
    replace_with(folder / store.TABLE, lambda path: table.to_parquet(path, index=False))
    return table
