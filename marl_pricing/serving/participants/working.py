"""The verbs goals, assign and labelled."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from marl_pricing.config.errors import ConfigError, Settings, refuse

if TYPE_CHECKING:
    from marl_pricing.serving.participants.register import Assignment, Register


class RegisterSettings(Settings):
    """Where goals, runs and assignments are."""

    out: Annotated[str, Field(min_length=1, description="the shop's folder")] = "runs/shop"
    database: Annotated[
        str | None, Field(description="postgresql://user@host:5432/name; null: SQLite in the shop's folder")
    ] = None
    password_file: Annotated[
        str | None, Field(description="file with PostgreSQL's password; null: none, or the URL's")
    ] = None


class GoalsSettings(RegisterSettings):
    """What there is to be done."""

    add: Annotated[
        str | None, Field(description="CSV: mode, task_name, task_description, task_def_of_done; null: list them")
    ] = None


_RunName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="name of the experiment's run")]


class AssignSettings(RegisterSettings):
    """Who does it."""

    run: _RunName
    actor: Annotated[Literal["human", "agent"], Field(description="human or agent")]
    count: Annotated[int, Field(ge=1, le=10_000, description="participants")] = 1
    seed: Annotated[
        int | None, Field(ge=0, le=2**62, description="of the draw; null: 0 for a new run, else the run's own")
    ] = None
    to: Annotated[str | None, Field(description="CSV that is written; null: they are printed")] = None


class LabelledSettings(RegisterSettings):
    """What came of it."""

    run: _RunName
    to: Annotated[str, Field(min_length=1, description="file of JSON lines that is written, for traffic.log=")]


@contextmanager
def _open(own: RegisterSettings) -> Iterator[Register]:
    from marl_pricing.serving.participants.register import Register

    if own.password_file is not None and own.database is None:
        raise refuse("password_file", own.password_file, "null without database=postgresql://…")
    password = None
    if own.password_file is not None:
        try:
            password = Path(own.password_file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            told = getattr(error, "strerror", None) or "it is no text"
            raise ConfigError(f"password_file={own.password_file!r}: cannot be read, {told}") from None
    register = Register(own.out, own.database, password)
    try:
        yield register
    finally:
        register.close()


def _goals(own: GoalsSettings) -> list[str]:
    from marl_pricing.intake import IntakeError
    from marl_pricing.serving.participants.pool import read_goals
    from marl_pricing.shipped import found

    try:
        goals = read_goals(found(own.add)) if own.add is not None else []
    except IntakeError as error:
        raise ConfigError(str(error)) from None
    with _open(own) as register:
        new = register.add(goals)
        known = register.goals()
    if own.add is not None:
        return [f"{new} new of {len(goals)}, {len(known)} in all"]
    return [f"{goal.mode}: {goal.task_name}: {goal.task_description}" for goal in known] or ["there are none yet"]


def _table(assignments: list[Assignment]) -> str:
    into = io.StringIO()
    table = csv.writer(into, lineterminator="\n")
    table.writerow(["experiment_id", "run", "actor_type", "number", *assignments[0].goal._fields])
    for own in assignments:
        table.writerow([own.experiment_id, own.run, own.actor_type, own.number, *own.goal])
    return into.getvalue()


def _assign(own: AssignSettings) -> list[str]:
    from marl_pricing.presentation.files import write_atomically

    with _open(own) as register:
        found = register.assign(own.run, own.actor, own.count, own.seed)
    if own.to is None:
        return _table(found).splitlines()
    write_atomically(Path(own.to), _table(found))
    counts = Counter(f"{one.goal.mode}: {one.goal.task_name}" for one in found)
    return [f"{own.to}: {len(found)} participants", *(f"  {count} {name}" for name, count in sorted(counts.items()))]


def _labelled(own: LabelledSettings) -> list[str]:
    from marl_pricing.serving.participants.labelled import write_labelled
    from marl_pricing.serving.sqlite_log import SqliteLog, log_file

    path = log_file(Path(own.out))
    with _open(own) as register:
        assignments = register.assignments(own.run)
    log = SqliteLog(path)
    try:
        made = write_labelled(log, assignments, Path(own.to))
    finally:
        log.close()
    told = [f"{own.to}: {made.events} events"]
    for actor, sessions in made.sessions.items():
        silent = f", {made.silent[actor]} participants without any" if made.silent[actor] else ""
        told.append(f"  {actor}: {sessions} sessions{silent}")
    if made.shared:
        told.append(f"  left out: {made.shared} sessions with several participants' names")
    return told


def carry_out(own: RegisterSettings) -> list[str]:
    """Do what a verb's settings say; what there is to tell, in lines.

    Raises:
        ConfigError: for what cannot be done.
    """
    if isinstance(own, GoalsSettings):
        return _goals(own)
    if isinstance(own, AssignSettings):
        return _assign(own)
    assert isinstance(own, LabelledSettings)
    return _labelled(own)
