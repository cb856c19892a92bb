"""Old records leave the log for files, and a replay is what it was."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest

from marl_pricing.serving import archive as archiving
from marl_pricing.serving.__main__ import main
from marl_pricing.serving.archive import archive
from marl_pricing.serving.log import CONTROL, LogError
from marl_pricing.serving.pipeline import replay
from marl_pricing.serving.sqlite_log import SqliteLog
from tests.serving.asking import Shop, shop

GIVEN = {"surge_high": 4.0, "surge_low": 0.5}
LATER = 2**60  # ms since 1970: all is older


def windows(own: Shop, first: int, last: int) -> None:
    for window in range(first, last):
        for number in range(1 + window % 4):
            own.event("add_item_to_cart", 300 * window + number, f"{window}-{number}", product="hotel-twin")
        own.until(300 * (window + 1))


def test_a_log_with_archives_is_read_as_one_without(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(archiving, "MOST", 7)
    with shop(tmp_path, **GIVEN) as own:
        windows(own, 0, 8)
        time.sleep(1.1)  # a snapshot a second at most
        windows(own, 8, 9)
        before = own.service._reader.read(1, 1000)
        folded = own.service._reader.snapshot("pipeline")
        made = archive(tmp_path, LATER)  # while it is at work
        assert folded is not None and len(made) >= 3 and made[-1].last <= folded[0]
        assert sum(one.records for one in made) > 15
        windows(own, 9, 12)
        assert own.event("search", 5000, "again").status == 200
        own.service.settle()
        vectors, records = own.service._reader.vectors(), own.service._reader.read(1, 1000)
    assert [record.offset for record in records] == list(range(1, len(records) + 1))
    assert records[: len(before)] == before
    assert json.dumps(replay(records)) == json.dumps(vectors)
    log = SqliteLog(tmp_path / "events.sqlite")
    for start, most in ((1, 1), (3, 5), (6, 3), (len(before), 10), (1, 12)):
        assert log.read(start, most) == records[start - 1 : start - 1 + most]
    kept = sqlite3.connect(tmp_path / "events.sqlite")
    topics = {row[0] for row in kept.execute("select topic from records where offset <= ?", (made[-1].last,))}
    assert topics == {CONTROL}  # settings are looked up there
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        kept.execute("delete from records")
    # A state of another version's form is made again from the first record on.
    kept.execute("delete from snapshots")
    kept.commit()
    with shop(tmp_path, **GIVEN) as own:
        windows(own, 17, 18)
        assert own.service._reader.vectors()[: len(vectors)] == vectors
        assert own.get("/health").json["fault"] is None
        assert own.service.runner.pipeline.offset == own.service._reader.end()


def test_an_archive_that_is_gone_is_told(tmp_path: Path, capsys) -> None:
    assert main(["archive", f"out={tmp_path / 'none'}"]) == 2
    assert "accepted is a shop's folder, with events.sqlite" in capsys.readouterr().err
    with shop(tmp_path, **GIVEN) as own:
        windows(own, 0, 3)
    assert main(["archive", f"out={tmp_path}", "days=30"]) == 0
    assert capsys.readouterr().out == "nothing that the pipeline has folded in is older than 30 days\n"
    (made,) = archive(tmp_path, LATER)
    file = tmp_path / made.file
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    log = SqliteLog(tmp_path / "events.sqlite")
    with pytest.raises(LogError, match="is not the file that was archived"):
        log.read(1, 10)
    file.unlink()
    with pytest.raises(LogError, match="old records of the log are in it"):
        log.read(1, 10)
    assert log.read(made.last + 1, 10)  # what is in the log needs no file
