"""Goals, runs and assignments in a database: SQLite, or PostgreSQL by URL."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from marl_pricing.config.errors import ConfigError, did_you_mean, refuse
from marl_pricing.serving.participants.drawing import draw

Actor = Literal["human", "agent"]
ACTORS: tuple[Actor, ...] = ("human", "agent")
_GIVEN = {"timeout": 60}  # seconds for an answer, or until others have written
URLS = "postgresql://user@host:5432/name"

_TABLES = sa.MetaData()
# Their columns are the methodology's; times are ms since 1970, as in the log.
_GOALS = sa.Table(
    "goals", _TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("task_name", sa.Text, nullable=False),
    sa.Column("task_description", sa.Text, nullable=False),
    sa.Column("task_def_of_done", sa.Text, nullable=False),
    sa.UniqueConstraint("mode", "task_name"),
)  # fmt: skip
_RUNS = sa.Table(
    "runs", _TABLES,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("last_goal", sa.Integer, nullable=False),  # that it draws from: later ones are for later runs
)  # fmt: skip
_ASSIGNMENTS = sa.Table(
    "assignments", _TABLES,
    sa.Column("experiment_id", sa.Text, primary_key=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("run", sa.Text, sa.ForeignKey("runs.name"), nullable=False),
    sa.Column("actor_type", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("goal", sa.Integer, sa.ForeignKey("goals.id"), nullable=False),
    sa.UniqueConstraint("run", "actor_type", "number"),
)  # fmt: skip


class Goal(NamedTuple):
    """A job to be done in the shop.

    Attributes:
        mode: hotel or airline.
        task_def_of_done: by what one sees that it is done.
    """

    mode: str
    task_name: str
    task_description: str
    task_def_of_done: str


class Assignment(NamedTuple):
    """Who does what."""

    experiment_id: str
    run: str
    actor_type: Actor
    number: int  # among those of the run and class, from 0
    goal: Goal


def _now() -> int:
    return time.time_ns() // 1_000_000


class Register:
    """Goals, runs and assignments. Several processes may assign at the same time."""

    def __init__(self, folder: Path | str, url: str | None = None, password: str | None = None) -> None:
        """Open it; tables that are missing are made.

        Args:
            folder: the shop's; without `url` it has the register, as participants.sqlite.
            url: of a PostgreSQL, as postgresql://user@host:5432/name.

        Raises:
            ConfigError: where it cannot be opened.
        """
        if url is None:
            path = Path(folder) / "participants.sqlite"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._where = str(path)
            self._engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), connect_args=_GIVEN)
            sa.event.listen(self._engine, "connect", lambda own, _: own.execute("pragma foreign_keys=on"))
        else:
            own = _postgres(url)
            self._where = f"database={own.render_as_string()!r}"
            # A server that asks for a password is told an empty one, and says so, where there is none.
            given = _GIVEN | {"password": password or own.password or ""}
            self._engine = sa.create_engine(own.set(drivername="postgresql+pg8000"), connect_args=given)
        with self._told():
            try:
                _TABLES.create_all(self._engine)
            except (IntegrityError, DBAPIError):  # somebody else made them at the same moment
                _TABLES.create_all(self._engine)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise ConfigError(f"{self._where}: {_reason(error)}") from error

    @contextmanager
    def _work(self) -> Iterator[sa.Connection]:
        with self._told(), self._engine.begin() as own:
            yield own

    def close(self) -> None:
        """Let go of it."""
        self._engine.dispose()

    def add(self, goals: Sequence[Goal]) -> int:
        """Take in goals; one that is there, word for word, stays. How many are new.

        Raises:
            ConfigError: for another wording of a name that is there: participants have worked to it.
        """
        new = 0
        with self._work() as own:
            for goal in goals:
                known = own.execute(
                    sa.select(_GOALS).where(_GOALS.c.mode == goal.mode, _GOALS.c.task_name == goal.task_name)
                ).one_or_none()
                if known is None:
                    own.execute(_GOALS.insert().values(created_at=_now(), **goal._asdict()))
                    new += 1
                elif _goal(known) != goal:
                    raise refuse("task_name", goal.task_name, f"a new name: another goal of {goal.mode} has this one")
        return new

    def goals(self) -> list[Goal]:
        """All, in the order in which they came."""
        with self._work() as own:
            return [_goal(row) for row in own.execute(sa.select(_GOALS).order_by(_GOALS.c.id))]

    def assign(self, run: str, actor: Actor, count: int, seed: int | None = None) -> list[Assignment]:
        """Give goals to further participants. A run begins with its first; it draws from the goals there are then.

        Args:
            seed: of the draw, 0 by default; a run keeps its own.

        Raises:
            ConfigError: where there is no goal, or the run has another seed.
        """
        with self._told():
            try:
                return self._assign(run, actor, count, seed)
            except IntegrityError:  # another process began the run at the same moment
                return self._assign(run, actor, count, seed)

    def _assign(self, run: str, actor: Actor, count: int, seed: int | None) -> list[Assignment]:
        with self._engine.begin() as own:
            # A row that is written is held until the end: whoever assigns in the same run waits here.
            if not own.execute(_RUNS.update().where(_RUNS.c.name == run).values(seed=_RUNS.c.seed)).rowcount:
                self._begin(own, run, seed or 0)
            row = own.execute(sa.select(_RUNS).where(_RUNS.c.name == run)).one()
            if seed is not None and seed != row.seed:
                raise refuse("seed", seed, f"{row.seed}, which run={run} began with, or another run")
            pools: dict[str, list[int]] = {}
            goals = {}
            for goal in own.execute(sa.select(_GOALS).where(_GOALS.c.id <= row.last_goal)):
                pools.setdefault(goal.mode, []).append(goal.id)
                goals[goal.id] = _goal(goal)
            before = sa.select(sa.func.count()).where(_ASSIGNMENTS.c.run == run, _ASSIGNMENTS.c.actor_type == actor)
            first = own.execute(before).scalar_one()
            found = []
            for number in range(first, first + count):
                _, chosen = draw(pools, row.seed, number)
                name = str(uuid.uuid4())  # that nobody can guess: it is what a participant's page knows
                own.execute(
                    _ASSIGNMENTS.insert().values(
                        experiment_id=name, created_at=_now(), run=run, actor_type=actor, number=number, goal=chosen
                    )
                )
                found.append(Assignment(name, run, actor, number, goals[chosen]))
        return found

    def _begin(self, own: sa.Connection, run: str, seed: int) -> None:
        last = own.execute(sa.select(sa.func.max(_GOALS.c.id))).scalar()
        if last is None:
            raise ConfigError("goals: there are none to draw from: accepted is `goals add=FILE.csv` first")
        own.execute(_RUNS.insert().values(name=run, created_at=_now(), seed=seed, last_goal=last))

    def runs(self) -> list[str]:
        """Their names, in the order in which they began."""
        with self._work() as own:
            return list(own.execute(sa.select(_RUNS.c.name).order_by(_RUNS.c.created_at, _RUNS.c.name)).scalars())

    def assignments(self, run: str) -> list[Assignment]:
        """Of a run, people first, in their order.

        Raises:
            ConfigError: where there is no such run.
        """
        names = self.runs()
        if run not in names:
            raise refuse("run", run, f"{', '.join(names) or 'none yet: assign begins one'}{did_you_mean(run, names)}")
        both = _ASSIGNMENTS.join(_GOALS)
        columns = (_ASSIGNMENTS.c.experiment_id, _ASSIGNMENTS.c.actor_type, _ASSIGNMENTS.c.number)
        with self._work() as own:
            rows = own.execute(
                sa.select(*columns, *(_GOALS.c[name] for name in Goal._fields))
                .select_from(both)
                .where(_ASSIGNMENTS.c.run == run)
                .order_by(_ASSIGNMENTS.c.actor_type.desc(), _ASSIGNMENTS.c.number)
            )
            return [Assignment(row.experiment_id, run, row.actor_type, row.number, _goal(row)) for row in rows]


def _goal(row: Any) -> Goal:
    return Goal(*(getattr(row, name) for name in Goal._fields))


def _reason(error: SQLAlchemyError) -> str:
    """What the database said, in a line."""
    cause = getattr(error, "orig", None) or error
    told = str(cause)
    if cause.args and isinstance(cause.args[0], dict):  # pg8000 hands the server's fields on: M is the message
        told = str(cause.args[0].get("M", told))
    if told.startswith("Can't create a connection"):
        told = "nobody answers there"
    return told.splitlines()[0] if told else type(error).__name__


def _postgres(url: str) -> sa.URL:
    try:
        own = sa.make_url(url)
    except (SQLAlchemyError, ValueError):
        raise ConfigError(f"database: accepted is {URLS}") from None  # what was given may hold a password
    if own.drivername not in ("postgresql", "postgres") or not own.username or not own.database or own.query:
        raise refuse("database", own.render_as_string(), URLS)
    if find_spec("pg8000") is None:
        raise ConfigError("database: PostgreSQL needs the extra postgres")
    return own.set(drivername="postgresql")
