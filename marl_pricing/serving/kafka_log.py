"""The log in topics of a broker that speaks Kafka's protocol, and a copy of it in SQLite that is read from.

The topics are the log; the copy can be thrown away and comes again, to the bit. Each record says in which life of the
service it was written, and as which of that life's: by (life, number) partitions come back into one order. A life
begins with a mark in every partition. What an earlier life had under way, and arrives after the mark, counts for
nobody, so that what is in the log up to the marks is settled (the fencing of zombies of Kafka's transactions, KIP-98,
without transactions). A batch is acknowledged once all its records are where the service expects them to be: nobody
else writes between them.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from marl_pricing.serving.kafka_wire import PATIENCE, BrokerError, Incoming, Kafka, Outgoing, Place, Wire
from marl_pricing.serving.log import CONTROL, TOPICS, Entry, LogError, Record
from marl_pricing.serving.sqlite_log import SqliteLog, Survives

T = TypeVar("T")
_ALL = (*TOPICS, CONTROL)
_AGAIN = 1.0  # seconds after which a broker that did not answer is asked again
_READING = 600.0  # seconds that reading the whole log again may take
_TABLES = """
create table if not exists kafka_positions (
    topic text not null, partition integer not null, position integer not null, life integer not null,
    primary key (topic, partition)
) strict;
create table if not exists kafka_places (
    offset integer primary key, topic text not null, partition integer not null, position integer not null
) strict;
create index if not exists kafka_places_by_partition on kafka_places (topic, partition, offset);
"""


class _NoLifeError(BrokerError):
    """Nothing can be sent before a life has begun."""


def _outgoing(kafka: Kafka, entry: Entry, life: int, number: int) -> Outgoing:
    told = {"at": f"{life}.{number}", "stamp": entry.stamp, "received": entry.received}
    headers = [(name, str(value).encode()) for name, value in told.items()]
    if entry.identity is not None:
        headers.append(("identity", entry.identity))
    return Outgoing(
        kafka.prefix + entry.topic, None, entry.key.encode(), entry.body.encode(), headers, max(entry.received, 0)
    )


class _ElsewhereError(BrokerError):
    """Something stands where the batch was to stand; the next life finds out what."""


class _Settled:
    """What records of partitions come to: those that count, in their one order.

    Attributes:
        lives: the last mark of each partition.  marks: (life, writer) of all marks met.
    """

    def __init__(self, prefix: str, lives: dict[Place, int]) -> None:
        self.prefix, self.lives = prefix, defaultdict(int, lives)
        self.marks: set[tuple[int, str]] = set()
        self.found: list[tuple[tuple[int, int], Place, int, Entry]] = []

    def take(self, place: Place, records: Sequence[Incoming]) -> None:
        """Records of one partition, in their order. What others wrote there is passed over."""
        for own in records:
            if (begins := own.headers.get("begins")) is not None:
                life = int(begins)
                self.marks.add((life, own.headers.get("writer", b"").decode()))
                self.lives[place] = max(self.lives[place], life)
            elif (at := own.headers.get("at")) is not None:
                of, _, number = at.decode().partition(".")
                if int(of) == self.lives[place]:
                    self.found.append(((int(of), int(number)), place, own.position, self._entry(place, own)))

    def _entry(self, place: Place, own: Incoming) -> Entry:
        return Entry(
            place[0].removeprefix(self.prefix), (own.key or b"").decode(), int(own.headers["stamp"]),
            int(own.headers["received"]), own.headers.get("identity"), own.value.decode(),
        )  # fmt: skip

    def in_order(self) -> list[tuple[Place, int, Entry]]:
        """Those that count. A record that a producer sent twice is there once."""
        order: dict[tuple[int, int], tuple[Place, int, Entry]] = {}
        for at, place, position, entry in sorted(self.found, key=lambda own: (own[0], own[2])):
            order.setdefault(at, (place, position, entry))
        return list(order.values())


class KafkaLog(SqliteLog):
    """An `EventLog`: one writer, which keeps the copy. Whoever only reads opens the copy, a `SqliteLog`."""

    def __init__(self, path: Path | str, survives: Survives, kafka: Kafka) -> None:
        """Open the copy; the broker is asked when there is something to write."""
        super().__init__(path, survives)
        with self._told():
            self._db.executescript(_TABLES)
        self._kafka = kafka
        self._check_copy()
        self._wire = Wire(kafka, self._topics())
        self._writer = uuid.uuid4().hex
        self._life: int | None = None  # that is going on
        self._had = 0  # the last one that this process began
        self._number = 0
        self._next: dict[Place, int] = {}  # position of the next record of each partition
        self._pending: list[tuple[int, Entry]] = []
        self._commits: dict[str, int] = {}
        self._connecting: Future[None] | None = None
        self._again = 0.0
        self._trouble: str | None = None
        self._answers = True  # the broker did, when it was last asked
        self._for_good = False

    def _check_copy(self) -> None:
        with self._told():
            topics = {row[0] for row in self._db.execute("select distinct topic from kafka_positions")}
        if not topics and self.end():
            raise LogError(f"log='kafka': accepted is sqlite for a folder that holds a log in SQLite ({self.path})")
        if topics and topics != set(self._topics()):
            old = min(topics).removesuffix(min(_ALL))
            raise LogError(f"kafka_prefix={self._kafka.prefix!r}: accepted is {old!r}, of which {self.path} is a copy")

    def _topics(self) -> list[str]:
        return [self._kafka.prefix + name for name in _ALL]

    def close(self) -> None:
        """Let go of the broker and of the copy."""
        self._wire.close()
        super().close()

    def trouble(self) -> str | None:
        """Why nothing can be written now."""
        return self._trouble

    def append(self, batch: Sequence[Entry]) -> list[int | None]:
        """Keep a batch; see `EventLog.append`."""
        if not self._db.in_transaction:
            return self.transact(lambda: self.append(batch))
        if self._life is None:
            raise _NoLifeError("kafka: no life has begun")
        found = super().append(batch)
        self._pending += [(offset, own) for offset, own in zip(found, batch, strict=True) if offset is not None]
        return found

    def commit(self, consumer: str, offset: int) -> None:
        """Up to where a consumer has come; its group at the broker is told soon after."""
        self._commits[consumer] = offset
        super().commit(consumer, offset)

    def transact(self, work: Callable[[], T]) -> T:
        """As `SqliteLog.transact`; what is appended is acknowledged by the broker first."""
        try:
            done = self._attempt(work)
        except _NoLifeError:
            self._begin()
            done = self._attempt(work)
        self._tell_groups()
        return done

    def _attempt(self, work: Callable[[], T]) -> T:
        self._pending = []

        def whole() -> T:
            done = work()
            if self._pending:
                self._send()
            return done

        try:
            return super().transact(whole)
        except _NoLifeError:
            raise
        except BaseException:
            if self._pending:  # it may be in the topics, and is not in the copy
                self._life = None
            raise

    def _send(self) -> None:
        assert self._life is not None
        first = self._number + 1
        self._number += len(self._pending)
        batch = [_outgoing(self._kafka, own, self._life, first + n) for n, (_, own) in enumerate(self._pending)]
        try:
            places = self._wire.wait(self._wire.send(batch), PATIENCE)
            for place, position in sorted(places):
                if position != self._next.get(place):
                    raise _ElsewhereError(f"kafka: {place[0]}/{place[1]}: others write there too")
                self._next[place] += 1
        except BrokerError as error:
            self._fail(error)
            raise
        with self._told():
            self._db.executemany(
                "insert into kafka_places values (?,?,?,?)",
                [(offset, *place, at) for (offset, _), (place, at) in zip(self._pending, places, strict=True)],
            )
        self._keep_positions(self._next, dict.fromkeys(self._next, self._life))

    def _keep_positions(self, positions: dict[Place, int], lives: dict[Place, int]) -> None:
        with self._told():
            self._db.executemany(
                "insert or replace into kafka_positions values (?,?,?,?)",
                [(*place, at, lives[place]) for place, at in positions.items()],
            )

    def _fail(self, error: LogError) -> None:
        self._life, self._trouble = None, str(error)
        self._answers = isinstance(error, _ElsewhereError)
        self._again = time.monotonic() + (0.0 if self._answers else _AGAIN)

    def _begin(self) -> None:
        """Begin a life: reach the broker, mark all partitions, take in what is before the marks.

        Raises:
            BrokerError: at once where the broker did not answer a moment ago.
        """
        if self._trouble and (self._for_good or time.monotonic() < self._again):
            raise BrokerError(self._trouble)
        try:
            self._reach()
            self._settle()
        except LogError as error:
            self._fail(error)
            raise
        self._trouble, self._answers = None, True

    def _reach(self) -> None:
        """A connection. It is waited for where the broker answered last, else it is made in the background."""
        if self._connecting is None:
            self._connecting = self._wire.submit(self._wire.connect())
        try:
            self._connecting.result(PATIENCE if self._answers else 0.05)
        except FutureTimeout:
            raise BrokerError(f"kafka={self._kafka.servers!r}: no answer") from None
        except BaseException:
            self._connecting = None
            raise
        self._connecting = None

    def _settle(self) -> None:
        with self._told():
            rows = self._db.execute("select topic, partition, position, life from kafka_positions").fetchall()
        kept: dict[Place, int] = {(own[0], own[1]): own[2] for own in rows}
        lives: dict[Place, int] = {(own[0], own[1]): own[3] for own in rows}
        # Later than any before: a life's name is when it began, at least.
        life = max(time.time_ns() // 1_000_000, self._had + 1, *lives.values(), 1)
        while True:
            marks = self._mark(life)
            if gone := [place for place in kept if marks.get(place, -1) < kept[place]]:
                place = min(gone)
                self._for_good = True
                raise BrokerError(
                    f"kafka={self._kafka.servers!r}: {place[0]}/{place[1]} ends at {marks.get(place, 0)} where "
                    f"{kept[place]} records were acknowledged: the broker has lost records; accepted is another "
                    "kafka_prefix with another out"
                )
            settled = _Settled(self._kafka.prefix, lives)
            starts = {place: kept.get(place, 0) for place in marks}
            for place, records in self._wire.wait(self._wire.read(starts, marks), _READING).items():
                settled.take(place, records)
            self._check_alone(settled.marks)
            latest = max((number for number, _ in settled.marks), default=0)
            if latest < life:
                break
            life = latest + 1
        self._take_in(settled, marks, life)
        self._life = self._had = life
        self._number = 0
        self._next = {place: at + 1 for place, at in marks.items()}

    def _mark(self, life: int) -> dict[Place, int]:
        """Write the marks of a life; where they are."""
        headers = [("begins", str(life).encode()), ("writer", self._writer.encode())]
        now = time.time_ns() // 1_000_000
        batch = [Outgoing(topic, part, b"", b"", headers, now) for topic, part in self._wire.places]
        return dict(self._wire.wait(self._wire.send(batch), PATIENCE))

    def _check_alone(self, marks: set[tuple[int, str]]) -> None:
        """Refuse to go on where another service has begun since this one did."""
        others = [life for life, writer in marks if writer != self._writer and life > self._had]
        if self._had and others:
            self._for_good = True
            raise BrokerError(
                f"kafka={self._kafka.servers!r}: another service writes to the topics of "
                f"kafka_prefix={self._kafka.prefix!r}: accepted is one"
            )

    def _take_in(self, settled: _Settled, marks: dict[Place, int], life: int) -> None:
        """Copy what counts and is not there yet."""

        def work() -> None:
            for place, position, entry in settled.in_order():
                (offset,) = SqliteLog.append(self, [entry])
                if offset is not None:
                    with self._told():
                        self._db.execute("insert into kafka_places values (?,?,?,?)", (offset, *place, position))
            self._keep_positions({place: at + 1 for place, at in marks.items()}, dict.fromkeys(marks, life))

        super().transact(work)

    def _tell_groups(self) -> None:
        """Commit at the broker what consumers have dealt with. The copy's word counts; this is for who watches lags."""
        commits, self._commits = self._commits, {}
        if self._life is None:
            return
        for consumer, offset in commits.items():
            positions = {}
            for topic, part in self._next:
                with self._told():
                    row = self._db.execute(
                        "select position from kafka_places where topic = ? and partition = ? and offset <= ? "
                        "order by offset desc limit 1", (topic, part, offset),
                    ).fetchone()  # fmt: skip
                if row is not None:
                    positions[topic, part] = row[0] + 1
            if positions:
                self._wire.submit(_quietly(self._wire.commit(f"{self._kafka.prefix}{consumer}", positions)))


async def _quietly(work: Any) -> None:
    with suppress(Exception):  # the next commit says it again
        await work


def read_topics(kafka: Kafka) -> list[Record]:
    """The whole log from the topics alone, as the copy has it.

    Raises:
        BrokerError: where they cannot be read.
    """
    wire = Wire(kafka, [kafka.prefix + name for name in _ALL])
    try:
        wire.wait(wire.find(), PATIENCE)
        settled = _Settled(kafka.prefix, {})
        found = wire.wait(wire.read(dict.fromkeys(wire.places, 0), None), _READING)
    finally:
        wire.close()
    for place, records in found.items():
        settled.take(place, records)
    seen: set[bytes] = set()
    whole: list[Record] = []
    for _, _, own in settled.in_order():
        if own.identity is None or own.identity not in seen:
            seen.add(own.identity or b"")
            whole.append(Record(len(whole) + 1, own.topic, own.key, own.stamp, own.received, own.body))
    return whole
