"""Prices in Redis: a real server, stopped, paused and started again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from marl_pricing.serving import redis_prices
from marl_pricing.serving.trial.servers import Server, redis_server
from tests.serving.asking import Shop, shop

TWIN = "/api/hotel/price/hotel-twin"
GIVEN = {"surge_high": 4.0, "surge_low": 0.0, "prices": "redis"}
QUOTE = "shop:quote:3:one:hotel-twin"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with redis_server(tmp_path) as own:
        yield own


@pytest.fixture
def patient(monkeypatch) -> None:
    """A busy machine may take longer than a shopper should wait."""
    monkeypatch.setattr(redis_prices, "PATIENCE", 10.0)


def url(server: Server) -> str:
    return f"redis://{server.address}/0"


def reader(server: Server) -> redis.Redis:
    return redis.Redis(port=server.port, decode_responses=True)


def soon(true: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def surged(own: Shop) -> None:
    own.event("add_item_to_cart", 1, product="hotel-twin")
    own.until(300)


def test_vectors_and_sessions_prices_are_there_for_others(tmp_path: Path, server: Server, patient) -> None:
    there = reader(server)
    with shop(tmp_path / "shop", redis=url(server), **GIVEN) as own:
        surged(own)
        soon(lambda: there.exists("shop:vector"))
        vector = own.service.book.vector
        assert there.hgetall("shop:vector") == {
            "ends": str(vector["ends"]), "version": "1", "body": json.dumps(vector)
        } and there.get("shop:switches") == "{}"  # fmt: skip
        told = own.get(f"{TWIN}?sessionId=one").json
        kept = json.loads(there.get(QUOTE))
        assert (kept["price"], kept["model_version"], kept["valid_until"]) == (148.8, "surge", told["valid_until"])
        assert 1_700_000 < there.pttl(QUOTE) <= 1_800_000
        # Somebody else has told a session before.
        there.set("shop:quote:3:two:hotel-twin", json.dumps(kept | {"sessionId": "two", "price": 120.0}))
        there.set("shop:quote:3:bad:hotel-twin", json.dumps(kept | {"sessionId": "bad", "price": 9_999.0}))
        assert own.get(f"{TWIN}?sessionId=two").json["price"] == 120.0
        assert own.get(f"{TWIN}?sessionId=bad").json["price"] == 148.8  # it is above the cap
        assert not told["stale"] and own.get("/health").json["status"] == "ok"
        there.set("shop:quote:3:odd:hotel-twin", "no JSON")
        assert own.get(f"{TWIN}?sessionId=odd").json["price"] == 148.8
    with shop(tmp_path / "other", redis=url(server), **GIVEN) as own:  # it knows the session from Redis alone
        assert own.get(f"{TWIN}?sessionId=one").json["price"] == 148.8


def test_it_goes_and_comes_and_prices_go_on(tmp_path: Path, server: Server) -> None:
    with shop(tmp_path / "shop", redis=url(server), **GIVEN) as own:
        surged(own)
        server.kill()
        here = own.get(f"{TWIN}?sessionId=one").json
        assert here["price"] == 148.8 and here["stale"]
        health = own.get("/health").json
        assert health["status"] == "degraded" and health["fault"].startswith(f"redis://127.0.0.1:{server.port}: ")
        assert own.event("search", 301).status == 200  # events need no Redis
        assert [own.get(f"{TWIN}?sessionId={number}").status for number in range(20)] == [200] * 20
        server.start()  # it remembers nothing
        there = reader(server)
        soon(lambda: not own.get(TWIN).json["stale"])
        assert json.loads(there.get(QUOTE))["price"] == 148.8 and there.hget("shop:vector", "version") == "1"
        server.pause()  # it hangs: nobody waits for long, and only once
        began = time.perf_counter()
        answers = [own.get(f"{TWIN}?sessionId=late{number}").json for number in range(20)]
        assert time.perf_counter() - began < 20 * redis_prices.PATIENCE
        assert {answer["price"] for answer in answers} == {148.8} and answers[-1]["stale"]
        server.go_on()
        soon(lambda: not own.get(TWIN).json["stale"])
        assert there.exists("shop:quote:5:late3:hotel-twin")


def test_it_is_not_needed_to_begin_and_a_later_vector_stays(tmp_path: Path, server: Server, patient) -> None:
    server.kill()
    with shop(tmp_path / "shop", redis=url(server), **GIVEN) as own:
        surged(own)
        assert own.get(TWIN).json["price"] == 148.8 and own.get(TWIN).json["stale"]
        server.start()
        soon(lambda: not own.get(TWIN).json["stale"])
        there = reader(server)
        there.hset("shop:vector", mapping={"ends": 2**60, "version": 9, "body": "{}"})
        own.until(600)
        soon(lambda: own.get(TWIN).json["stale"])
        assert "holds a later vector than ours under redis_prefix='shop:'" in own.get("/health").json["fault"]
        assert there.hget("shop:vector", "version") == "9"
