"""A shop is killed under load, again and again: is every event there that it acknowledged, and there once?"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from marl_pricing.serving.log import CONTROL, INTERACTIONS, PRICES, Record
from marl_pricing.serving.pipeline import replay
from marl_pricing.serving.schemas import EVENTS
from marl_pricing.serving.sqlite_log import SqliteLog
from marl_pricing.serving.trial.process import ShopProcess, until

SETTINGS = ("window=0.5", "lateness=0.1", "surge_high=60", "surge_low=20", "max_change=0.05")
_PRODUCTS = ("hotel-twin", "hotel-suite")
_EARLY = 0.2  # share of lives that end while the shop starts
_PATHS = {INTERACTIONS: "/api/kafka/ingest", PRICES: "/api/kafka/price-log"}

Name = tuple[str, str, str]  # topic, session, stamp: no two events share it


class Killed(NamedTuple):
    """What came of it.

    Attributes:
        acknowledged: events that were answered 200.  again: those that were posted again, for want of an answer.
        lost: acknowledged and not there.  twice: there more than once.  gaps: offsets that are missing.
        vectors: price vectors that were kept.  differ: those that a replay from the first record has otherwise.
        integrity: what SQLite says of its file.
    """

    lives: int
    acknowledged: int
    again: int
    kept: int
    lost: int
    twice: int
    gaps: int
    vectors: int
    differ: int
    integrity: str


class Client:
    """Posts as fast as it is answered. What had no answer is posted again in the next life, as a client does."""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self._drawn = name, random.Random(seed)
        self.acknowledged: set[Name] = set()
        self.again, self._number, self._stamp = 0, 0, 0
        self._open: tuple[Name, str] | None = None  # without an answer

    def _next(self) -> tuple[Name, str]:
        drawn = self._drawn
        self._number += 1
        self._stamp = max(self._stamp + 1, time.time_ns() // 1_000_000)
        moment = datetime.fromtimestamp(self._stamp / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
        session, product = f"{self.name}-{self._number % 7}", drawn.choice(_PRODUCTS)
        data: dict[str, Any] = {
            "sessionId": session,
            "storeMode": "hotel",
            "ts": moment.replace("+00:00", "Z"),
            "productId": product,
        }
        topic = PRICES if drawn.random() < 0.2 else INTERACTIONS
        data |= {"price": 124.0} if topic == PRICES else {"eventName": drawn.choice(EVENTS), "page": "/"}
        return (topic, session, data["ts"]), json.dumps(data)

    def post_until(self, port: int, ended: threading.Event) -> None:
        """Until the end of a life, or of the connection."""
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        while not ended.is_set():
            self.again += self._open is not None
            self._open = self._open or self._next()
            name, body = self._open
            try:
                connection.request("POST", _PATHS[name[0]], body)
                answer = connection.getresponse()
                answer.read()
            except (OSError, HTTPException):
                break
            if answer.status == 200:
                self.acknowledged.add(name)
                self._open = None
            else:
                time.sleep(0.05)
        connection.close()


def kill(
    folder: Path,
    settings: Sequence[str],
    times: int,
    seed: int,
    read_again: Callable[[], list[Record]] | None = None,
    tell: Callable[[int], None] = lambda life: None,
) -> Killed:
    """Kill a shop at so many random moments, four clients posting, and compare what is there.

    Args:
        folder: an empty one.  settings: beside `SETTINGS`.
        read_again: the log from elsewhere than the folder; its records have to be the folder's.
    """
    drawn = random.Random(seed)
    clients = [Client(f"c{number}", seed * 100 + number) for number in range(4)]
    out = folder / "shop"
    for life in range(times):
        tell(life)
        own = ShopProcess(out, *SETTINGS, *settings)
        if drawn.random() < _EARLY:
            time.sleep(drawn.uniform(0.3, 2.0))
            own.kill()
            continue
        own.ready()
        ended = threading.Event()
        threads = [threading.Thread(target=client.post_until, args=(own.events, ended)) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(drawn.uniform(0.1, 1.8))
        own.kill()
        ended.set()
        for thread in threads:
            thread.join()
    _quietly_once(out, settings, clients)
    return _compare(out, clients, times, read_again)


def _quietly_once(out: Path, settings: Sequence[str], clients: Sequence[Client]) -> None:
    """A last life that ends as it should: what was open is posted again, all is folded."""
    own = ShopProcess(out, *SETTINGS, *settings).ready()
    try:
        ended = threading.Event()
        threads = [threading.Thread(target=client.post_until, args=(own.events, ended)) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        ended.set()
        for thread in threads:
            thread.join()

        def folded() -> bool:
            health = json.loads(own.ask(own.prices, "GET", "/health")[1])
            return not health["stale"] and health["fault"] is None and health["vector_version"] > 0

        until(folded)
    finally:
        own.end()


def _name(record: Record) -> Name:
    body = json.loads(record.body)
    return record.topic, body["sessionId"], body["ts"]


def _compare(out: Path, clients: Sequence[Client], times: int, read_again: Callable[[], list[Record]] | None) -> Killed:
    log = SqliteLog(out / "events.sqlite")
    try:
        records, vectors, integrity = log.read(1, 100_000_000), log.vectors(), log.integrity()
    finally:
        log.close()
    again = records if read_again is None else read_again()
    kept = Counter(_name(record) for record in again if record.topic != CONTROL)
    acknowledged = set[Name]().union(*(client.acknowledged for client in clients))
    made = replay(again)
    differ = sum(json.dumps(one) != json.dumps(other) for one, other in zip(vectors, made, strict=False))
    return Killed(
        times, len(acknowledged), sum(client.again for client in clients), sum(kept.values()),
        len(acknowledged - kept.keys()), sum(count - 1 for count in kept.values()),
        sum(one.offset != number for number, one in enumerate(records, 1)) + (again != records),
        len(vectors), differ + max(len(vectors) - len(made), 0), integrity,
    )  # fmt: skip
