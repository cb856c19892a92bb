"""The log: kept or not, once, in order; what waits together is written together."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from marl_pricing.serving.log import INTERACTIONS, Entry, LogError, Refusal
from marl_pricing.serving.sqlite_log import SqliteLog
from marl_pricing.serving.writer import GroupWriter


def entry(number: int) -> Entry:
    return Entry(INTERACTIONS, f"s{number}", number, number, number.to_bytes(16, "big"), f'{{"n":{number}}}')


def test_offsets_have_no_gaps_and_repetitions_none(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    assert log.append([entry(1), entry(2), entry(1)]) == [1, 2, None]
    assert log.append([entry(2), entry(3)]) == [None, 3]
    assert [(own.offset, own.body) for own in log.read(2, 10)] == [(2, '{"n":2}'), (3, '{"n":3}')]
    assert log.read(4, 10) == [] and log.end() == 3
    assert log.committed("a") == 0
    log.commit("a", 2)
    log.commit("b", 3)
    assert (log.committed("a"), log.committed("b")) == (2, 3)
    log.close()
    assert SqliteLog(tmp_path / "log.sqlite").committed("a") == 2


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    bad = entry(3)._replace(body=None)  # type: ignore[arg-type]
    with pytest.raises(LogError):
        log.append([entry(1), bad])
    assert log.end() == 0
    assert log.append([entry(1)]) == [1]


def test_what_is_audited_can_be_added_to_only(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    log.append([entry(1)])
    log.keep_quote("s", "p", 1, 2, {"price": 1.0})
    log.keep_vector(1, 1, {"a": 1})
    log.keep_vector(1, 1, {"a": 2})  # the first stays
    assert log.vectors() == [{"a": 1}]
    other = sqlite3.connect(tmp_path / "log.sqlite")
    for table in ("records", "quotes", "vectors"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute(f"delete from {table}")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        other.execute("update quotes set at = 0")


def test_how_much_is_synced_is_as_it_is_asked_for(tmp_path: Path) -> None:
    for survives, level in (("power_cut", 2), ("kill", 1)):
        log = SqliteLog(tmp_path / survives, survives)  # type: ignore[arg-type]
        assert log._db.execute("pragma synchronous").fetchone()[0] == level
        assert log._db.execute("pragma journal_mode").fetchone()[0] == "wal"


def test_a_writer_puts_what_waits_into_one_transaction(tmp_path: Path) -> None:
    transactions = []
    writer = GroupWriter(lambda: SqliteLog(tmp_path / "log.sqlite"), lambda: transactions.append(1))
    gate = threading.Event()
    first = writer.submit(lambda log: gate.wait(60))
    waiting = [writer.submit(lambda log, number=number: log.append([entry(number)])) for number in range(1, 401)]
    gate.set()
    assert first.result(60) and [own.result(60) for own in waiting] == [[number] for number in range(1, 401)]
    assert len(transactions) <= 3
    writer.close()


def test_work_that_fails_fails_alone_and_a_full_disk_is_told(tmp_path: Path) -> None:
    writer = GroupWriter(lambda: SqliteLog(tmp_path / "log.sqlite"))
    gate = threading.Event()
    writer.submit(lambda log: gate.wait(60))
    good = writer.submit(lambda log: log.append([entry(1)]))
    bad = writer.submit(lambda log: 1 / 0)
    gate.set()
    assert good.result(60) == [1]
    with pytest.raises(LogError, match="ZeroDivisionError"):
        bad.result(60)

    writer._log._db.execute("pragma max_page_count=20")  # as a full disk answers: SQLITE_FULL
    large = Refusal(1, INTERACTIONS, "body", "too large", b"x" * 1_000_000)
    with pytest.raises(LogError, match="full"):
        writer.submit(lambda log: log.refuse([large])).result(60)
    assert "full" in str(writer.fault)
    writer._log._db.execute("pragma max_page_count=1000000")
    assert writer.submit(lambda log: log.append([entry(2)])).result(60) == [2]
    assert writer.fault is None
    writer.close()
