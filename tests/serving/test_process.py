"""The service as a process: it starts, answers, ends with Ctrl-C; killed or without a disk it loses nothing."""

from __future__ import annotations

import json
import resource
from contextlib import nullcontext
from pathlib import Path

import pytest

from marl_pricing.serving.kafka_log import Kafka, read_topics
from marl_pricing.serving.sqlite_log import SqliteLog
from marl_pricing.serving.trial.__main__ import main
from marl_pricing.serving.trial.process import ShopProcess, until
from marl_pricing.serving.trial.servers import broker
from tests.serving.asking import interaction
from tests.serving.running import running


@pytest.mark.slow
@pytest.mark.parametrize("log", ["sqlite", "kafka"])
def test_nothing_that_was_acknowledged_is_lost_when_it_is_killed(log: str, capsys) -> None:
    assert main(["kills", "times=4", f"log={log}", "seed=3"]) == 0
    told = capsys.readouterr().out
    assert f"{log}: lives 4" in told and "lost 0, twice 0, gaps 0" in told
    figures = dict(part.split() for part in told.strip().removeprefix(f"{log}: ").split(", "))
    assert int(figures["acknowledged"]) > 100 and int(figures["vectors"]) > 3 and int(figures["differ"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("log", ["sqlite", "kafka"])
def test_a_full_disk_is_told_and_got_over(log: str, tmp_path: Path) -> None:
    """A file that may not grow answers as a full disk does (EFBIG for ENOSPC), and can be let grow again."""
    with broker(tmp_path) if log == "kafka" else nullcontext() as server:
        given = [f"log={log}", "clock=events", "lateness=0", "surge_high=4", "surge_low=0"]
        given += [f"kafka={server.address}", "kafka_idempotent=false"] if server is not None else []
        own = ShopProcess(tmp_path / "shop", *given).ready()

        def post(number: int) -> int:
            event = interaction("add_item_to_cart", number, product="hotel-twin")
            return own.ask(own.events, "POST", "/api/kafka/ingest", json.dumps(event))[0]

        def price() -> dict:
            status, body = own.ask(own.prices, "GET", "/api/hotel/price/hotel-twin")
            assert status == 200
            return json.loads(body)

        try:
            assert until(lambda: post(1) == 200) and until(lambda: post(301) == 200)
            assert until(lambda: price()["price"] == 148.8)
            _, hard = resource.prlimit(own.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(own.process.pid, resource.RLIMIT_FSIZE, (1, hard))
            assert [post(number) for number in range(302, 306)] == [503] * 4
            assert price()["price"] == 148.8 and price()["stale"]
            resource.prlimit(own.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            assert until(lambda: post(310) == 200)
            assert until(lambda: not price()["stale"])
            assert post(601) == 200
        finally:
            own.end()
        kept = SqliteLog(tmp_path / "shop" / "events.sqlite")
        records = kept.read(1, 1000)
        stamps = [json.loads(own.body)["ts"][11:19] for own in records if own.topic == "user-interactions"]
        # What was refused may be there, where a broker had it already; what was acknowledged is, and once.
        acknowledged = [json.loads(json.dumps(interaction("search", s)))["ts"][11:19] for s in (1, 301, 310, 601)]
        assert len(stamps) == len(set(stamps)) and set(acknowledged) <= set(stamps)
        assert kept.integrity() == "ok"
        if server is not None:
            assert read_topics(Kafka(server.address)) == records
        else:
            assert len(stamps) == 4


def test_it_starts_answers_and_ends(tmp_path: Path) -> None:
    with running(tmp_path) as own:
        told = own.ask(own.prices, "GET", "/api/airline/price/air-jfk-lax-1800?sessionId=s")
        assert told["price"] == 690.0
        assert own.ask(own.events, "GET", "/api/products/hotel-suite")["base_price"] == 289.0
        refused = own.ask(own.events, "POST", "/api/kafka/ingest", "{}")
        assert refused == {"success": False, "field": "sessionId", "error": "sessionId: has to be given"}
        assert own.end() == ""
