"""The log in SQLite: one file in WAL mode, one writer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from marl_pricing.config.errors import refuse
from marl_pricing.serving.log import CONTROL, Entry, LogError, Record, Refusal

T = TypeVar("T")
Survives = Literal["power_cut", "kill"]

_TOGETHER = 50_000  # records that a walk reads at once
_COLUMNS = "topic, key, stamp, received, identity, body"
_READ = "select offset, topic, key, stamp, received, body from records"
_TABLES = """
create table if not exists records (
    offset integer primary key, topic text not null, key text not null, stamp integer not null,
    received integer not null, identity blob unique, body text not null
) strict;
create index if not exists records_by_time on records (topic, stamp);
create table if not exists archives (
    first integer primary key, last integer not null, file text not null, sha256 text not null
) strict;
create table if not exists committed (consumer text primary key, offset integer not null) strict;
create table if not exists refused (
    id integer primary key, received integer not null, topic text not null, field text not null, reason text not null,
    body blob not null
) strict;
create table if not exists vectors (version integer primary key, ends integer not null, body text not null) strict;
create table if not exists snapshots (
    consumer text primary key, offset integer not null, body text not null
) strict;
create table if not exists quotes (
    id integer primary key, session text not null, product text not null, at integer not null, until integer not null,
    body text not null
) strict;
create index if not exists quotes_by_session on quotes (session, product);
create index if not exists quotes_by_end on quotes (until);
"""


# Audits are only ever added to, and records leave for an archive alone.
def _guard(table: str, verb: str) -> str:
    return (
        f"create trigger if not exists {table}_no_{verb} before {verb} on {table} "
        f"begin select raise(abort, '{table} is append-only'); end;"
    )


_APPEND_ONLY = "\n".join(
    _guard(table, verb) for table in ("records", "vectors", "quotes") for verb in ("update", "delete")
)


def log_file(folder: Path) -> Path:
    """Where a shop keeps its log.

    Raises:
        ConfigError: for a folder that has none.
    """
    path = folder / "events.sqlite"
    if not path.exists():
        raise refuse("out", str(folder), "a shop's folder, with events.sqlite")
    return path


class SqliteLog:
    """An `EventLog`, and the tables of what was made of it: vectors, quotes, snapshots.

    With survives="power_cut" a transaction is on the disk when it returns (synchronous=FULL: the WAL is synced at each
    commit); with "kill" it is with the operating system (NORMAL), so that the process may die, but not the machine.
    One object is one connection, for one thread at a time.
    """

    def __init__(self, path: Path | str, survives: Survives = "power_cut") -> None:
        self.path = str(path)
        self._archive: tuple[str, list[Record]] = ("", [])
        with self._told():
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10.0)
            if self._db.execute("pragma journal_mode=wal").fetchone()[0] != "wal":
                raise LogError(f"{self.path}: cannot be in WAL mode")
            self._db.execute(f"pragma synchronous={'full' if survives == 'power_cut' else 'normal'}")
            self._db.executescript(_TABLES + _APPEND_ONLY)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LogError(f"{self.path}: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def trouble(self) -> str | None:
        """Why nothing can be appended now, where the log knows beforehand."""
        return None

    def is_copy(self) -> bool:
        """Whether the records are a copy of topics."""
        with self._told():
            return bool(self._db.execute("select 1 from sqlite_master where name = 'kafka_positions'").fetchall())

    def transact(self, work: Callable[[], T]) -> T:
        """Do several of the methods below in one transaction.

        Raises:
            LogError: and nothing of it is kept.
        """
        with self._told():
            self._db.execute("begin immediate")
        try:
            done = work()
            with self._told():
                self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise
        return done

    def _within(self, work: Callable[[], T]) -> T:
        return work() if self._db.in_transaction else self.transact(work)

    def append(self, batch: Sequence[Entry]) -> list[int | None]:
        """Keep a batch; see `EventLog.append`."""

        def work() -> list[int | None]:
            found: list[int | None] = []
            with self._told():
                for own in batch:
                    done = self._db.execute(
                        f"insert into records ({_COLUMNS}) values (?,?,?,?,?,?) on conflict (identity) do nothing",
                        own,
                    )
                    found.append(done.lastrowid if done.rowcount else None)
            return found

        return self._within(work)

    def read(self, start: int, most: int) -> list[Record]:
        """Records from an offset on, those that were archived too."""
        with self._told():
            rows = self._db.execute(
                f"{_READ} where offset >= ? order by offset limit ?",
                (start, most),
            )
            found = [Record(*row) for row in rows]
            files = self._db.execute(
                "select file, sha256 from archives where last >= ? order by first", (start,)
            ).fetchall()
        return self._with_archived(found, files, start, most) if files else found

    def _with_archived(self, found: list[Record], files: list[Any], start: int, most: int) -> list[Record]:
        from marl_pricing.serving import archive

        old: list[Record] = []
        for name, digest in files:
            if len(old) >= most:
                break
            if self._archive[0] != digest:  # the last one that was read, as a log is read on and on
                self._archive = (digest, archive.read(Path(self.path).parent / name, digest))
            old += [record for record in self._archive[1] if record.offset >= start]
        return sorted([*old, *found], key=lambda record: record.offset)[:most]

    def walk(self, last: int) -> Iterator[Record]:
        """All records up to an offset, a part of them read at a time."""
        start = 1
        while start <= last and (records := self.read(start, min(_TOGETHER, last - start + 1))):
            yield from records
            start = records[-1].offset + 1

    def old(self, before: int, last: int, most: int) -> list[Record]:
        """The first records, but for control's, up to an offset and to one received at a moment or later."""
        with self._told():
            rows = self._db.execute(
                f"{_READ} where topic != ? and offset <= ? and offset < coalesce((select min(offset) from records "
                "where topic != ? and received >= ?), 9223372036854775807) order by offset limit ?",
                (CONTROL, last, CONTROL, before, most),
            )
            return [Record(*row) for row in rows]

    def let_go(self, first: int, last: int, file: str, digest: str) -> None:
        """Take records but control's out, which are in a file now."""

        def work() -> None:
            with self._told():
                self._db.execute("drop trigger records_no_delete")
                self._db.execute(
                    "delete from records where offset between ? and ? and topic != ?", (first, last, CONTROL)
                )
                self._db.execute(_guard("records", "delete"))
                self._db.execute("insert into archives values (?,?,?,?)", (first, last, file, digest))

        self._within(work)

    def end(self) -> int:
        """The last offset; 0 of an empty log."""
        with self._told():
            return self._db.execute("select coalesce(max(offset), 0) from records").fetchone()[0]

    def newest(self, topic: str, most: int, first: int | None = None, last: int | None = None) -> list[Record]:
        """The newest records of a topic, oldest first; of those stamped from `first` to `last`, ms since 1970."""
        with self._told():
            rows = self._db.execute(
                f"{_READ} where topic = ? and stamp between ? and ? order by offset desc limit ?",
                (topic, first if first is not None else -(2**62), last if last is not None else 2**62, most),
            ).fetchall()
        return [Record(*row) for row in reversed(rows)]

    def last_of(self, topic: str, key: str) -> Record | None:
        """The newest record of a topic and key."""
        with self._told():
            row = self._db.execute(
                f"{_READ} where topic = ? and key = ? order by offset desc limit 1",
                (topic, key),
            ).fetchone()
        return Record(*row) if row else None

    def commit(self, consumer: str, offset: int) -> None:
        """Up to where a consumer has come."""

        def work() -> None:
            with self._told():
                self._db.execute("insert or replace into committed values (?, ?)", (consumer, offset))

        self._within(work)

    def committed(self, consumer: str) -> int:
        """Up to where; 0 for a new consumer."""
        with self._told():
            row = self._db.execute("select offset from committed where consumer = ?", (consumer,)).fetchone()
        return row[0] if row else 0

    def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Keep what was not taken."""

        def work() -> None:
            with self._told():
                self._db.executemany(
                    "insert into refused (received, topic, field, reason, body) values (?,?,?,?,?)", refusals
                )

        self._within(work)

    def refused(self, most: int) -> list[Refusal]:
        """The newest of what was not taken, newest first."""
        with self._told():
            rows = self._db.execute(
                "select received, topic, field, reason, body from refused order by id desc limit ?", (most,)
            )
            return [Refusal(*row) for row in rows]

    def num_refused(self) -> int:
        """How much was not taken so far."""
        with self._told():
            return self._db.execute("select count(*) from refused").fetchone()[0]

    def keep_vector(self, version: int, ends: int, body: dict[str, Any]) -> None:
        """Keep a price vector for good; one that is there stays."""

        def work() -> None:
            with self._told():
                self._db.execute(
                    "insert into vectors values (?, ?, ?) on conflict (version) do nothing",
                    (version, ends, json.dumps(body)),
                )

        self._within(work)

    def vectors(self, first: int = 1, most: int = 1_000_000) -> list[dict[str, Any]]:
        """Price vectors from a version on."""
        with self._told():
            rows = self._db.execute(
                "select body from vectors where version >= ? order by version limit ?", (first, most)
            )
            return [json.loads(row[0]) for row in rows]

    def newest_vectors(self, most: int) -> list[dict[str, Any]]:
        """The newest price vectors, oldest first."""
        with self._told():
            rows = self._db.execute("select body from vectors order by version desc limit ?", (most,)).fetchall()
        return [json.loads(row[0]) for row in reversed(rows)]

    def last_vector(self) -> dict[str, Any] | None:
        """The newest price vector."""
        with self._told():
            row = self._db.execute("select body from vectors order by version desc limit 1").fetchone()
        return json.loads(row[0]) if row else None

    def keep_snapshot(self, consumer: str, offset: int, body: dict[str, Any]) -> None:
        """What a consumer needs to go on from an offset; in the same transaction as its commit."""

        def work() -> None:
            with self._told():
                self._db.execute(
                    "insert or replace into snapshots values (?, ?, ?)", (consumer, offset, json.dumps(body))
                )
            self.commit(consumer, offset)

        self._within(work)

    def snapshot(self, consumer: str) -> tuple[int, dict[str, Any]] | None:
        """The offset and the state of a consumer's snapshot."""
        with self._told():
            row = self._db.execute("select offset, body from snapshots where consumer = ?", (consumer,)).fetchone()
        return (row[0], json.loads(row[1])) if row else None

    def keep_quote(self, session: str, product: str, at: int, until: int, body: dict[str, Any]) -> None:
        """Keep what a session was told."""

        def work() -> None:
            with self._told():
                self._db.execute(
                    "insert into quotes (session, product, at, until, body) values (?,?,?,?,?)",
                    (session, product, at, until, json.dumps(body)),
                )

        self._within(work)

    def quotes_until(self, moment: int, most: int) -> list[dict[str, Any]]:
        """Quotes that last beyond a moment, oldest first."""
        with self._told():
            rows = self._db.execute(
                "select body from quotes where until > ? order by id desc limit ?", (moment, most)
            ).fetchall()
        return [json.loads(row[0]) for row in reversed(rows)]

    def quotes_of(self, session: str, product: str | None = None, most: int = 1000) -> list[dict[str, Any]]:
        """What a session was told, oldest first."""
        with self._told():
            rows = self._db.execute(
                "select body from quotes where session = ? and (? is null or product = ?) order by id desc limit ?",
                (session, product, product, most),
            ).fetchall()
        return [json.loads(row[0]) for row in reversed(rows)]

    def integrity(self) -> str:
        """`ok`, or what SQLite finds wrong with the file."""
        with self._told():
            return self._db.execute("pragma quick_check").fetchone()[0]
