"""The log's sessions of a run's participants, with whose each was: what kernels are estimated from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from marl_pricing.presentation.files import replace_with
from marl_pricing.serving.log import INTERACTIONS, Record
from marl_pricing.serving.participants.register import ACTORS, Assignment
from marl_pricing.serving.sqlite_log import SqliteLog


class Labelled(NamedTuple):
    """What was written.

    Attributes:
        sessions: by class.  silent: participants by class of whom there is no session.
        shared: sessions that several participants' names stand in; left out.
    """

    events: int
    sessions: dict[str, int]
    silent: dict[str, int]
    shared: int


def write_labelled(log: SqliteLog, assignments: Sequence[Assignment], to: Path) -> Labelled:
    """Write P4P events as JSON lines, labelled as `traffic.log` reads them, in the log's order.

    A session is a participant's where one of its events has the participant's name as `experimentId`; the storefront's
    first events may come before it knows the name.
    """
    end = log.end()  # a shop may be at work meanwhile
    known = {own.experiment_id: own for own in assignments}
    owners: dict[str, set[str]] = {}
    for record in log.walk(end):
        if record.topic != INTERACTIONS:
            continue
        participant = json.loads(record.body).get("experimentId")
        if participant in known:
            owners.setdefault(record.key, set()).add(participant)
    whose = {session: known[next(iter(names))] for session, names in owners.items() if len(names) == 1}
    events = 0

    def write(path: Path) -> None:
        nonlocal events
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for record in log.walk(end):
                if record.topic == INTERACTIONS and (own := whose.get(record.key)) is not None:
                    file.write(_line(record, own))
                    events += 1

    replace_with(to, write)
    heard = {own.experiment_id for own in whose.values()}
    spoke = [own.actor_type for own in whose.values()]
    silent = [own.actor_type for own in assignments if own.experiment_id not in heard]
    sessions, without = ({str(actor): found.count(actor) for actor in ACTORS} for found in (spoke, silent))
    return Labelled(events, sessions, without, len(owners) - len(whose))


def _line(record: Record, whose: Assignment) -> str:
    body = json.loads(record.body)
    label = {"actor_type": whose.actor_type, "task_name": whose.goal.task_name}
    body |= {"experimentId": whose.experiment_id, "metadata": (body.get("metadata") or {}) | label}
    return json.dumps(body, ensure_ascii=False) + "\n"
