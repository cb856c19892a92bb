"""The service as a process: it starts, answers, ends with Ctrl-C, and loses nothing when it is killed."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from marl_pricing.serving.pipeline import replay
from marl_pricing.serving.schemas import EVENTS
from marl_pricing.serving.sqlite_log import SqliteLog
from tests.serving.running import MOST, running


def _post_until(port: int, name: str, seed: int, ended: threading.Event, acknowledged: list[str]) -> None:
    """Posts as fast as it is answered; what was not answered is posted again later, as a client does."""
    drawn = random.Random(seed)
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    number = 0
    while not ended.is_set():
        number += 1
        data = {
            "sessionId": f"{name}-{number % 7}", "storeMode": "hotel", "eventName": drawn.choice(EVENTS), "page": "/",
            "ts": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "productId": drawn.choice(["hotel-twin", "hotel-suite"]), "metadata": {"own": f"{name}-{number}"},
        }  # fmt: skip
        try:
            connection.request("POST", "/api/kafka/ingest", json.dumps(data))
            answer = connection.getresponse()
            told = json.loads(answer.read())
        except (OSError, HTTPException, ValueError):
            return
        if answer.status == 200 and not told["duplicate"]:
            acknowledged.append(data["metadata"]["own"])


@pytest.mark.slow
def test_nothing_that_was_acknowledged_is_lost_when_it_is_killed(tmp_path: Path) -> None:
    settings = ("window=0.5", "lateness=0.1", "surge_high=60", "surge_low=20", "max_change=0.05")
    drawn, acknowledged = random.Random(0), list[str]()
    for life in range(8):
        with running(tmp_path, *settings) as own:
            ended = threading.Event()
            clients = [
                threading.Thread(
                    target=_post_until, args=(own.events, f"{life}-{client}", 10 * life + client, ended, acknowledged)
                )
                for client in range(4)
            ]
            for client in clients:
                client.start()
            time.sleep(drawn.uniform(0.1, 1.8))
            own.process.kill()
            ended.set()
            for client in clients:
                client.join()
    with running(tmp_path, *settings) as own:
        until = time.monotonic() + MOST
        while time.monotonic() < until:
            health = own.ask(own.prices, "GET", "/health")
            if not health["stale"] and health["vector_version"]:
                break
            time.sleep(0.1)
        assert health["fault"] is None
        assert own.end() == ""
    log = SqliteLog(tmp_path / "events.sqlite")
    assert log.integrity() == "ok"
    records = log.read(1, 10_000_000)
    assert [record.offset for record in records] == list(range(1, len(records) + 1))
    kept = Counter(
        json.loads(record.body)["metadata"]["own"] for record in records if record.topic == "user-interactions"
    )
    assert len(acknowledged) > 100
    assert set(acknowledged) <= kept.keys() and max(kept.values()) == 1
    vectors = log.vectors()
    assert len(vectors) > 5
    assert json.dumps(replay(records)[: len(vectors)]) == json.dumps(vectors)


def test_it_starts_answers_and_ends(tmp_path: Path) -> None:
    with running(tmp_path) as own:
        told = own.ask(own.prices, "GET", "/api/airline/price/air-jfk-lax-1800?sessionId=s")
        assert told["price"] == 690.0
        assert own.ask(own.events, "GET", "/api/products/hotel-suite")["base_price"] == 289.0
        refused = own.ask(own.events, "POST", "/api/kafka/ingest", "{}")
        assert refused == {"success": False, "field": "sessionId", "error": "sessionId: has to be given"}
        assert own.end() == ""
