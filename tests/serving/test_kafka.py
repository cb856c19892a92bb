"""The log in a broker's topics: a real broker, its pauses, its losses, and a shop on it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from marl_pricing.serving import kafka_log, kafka_wire
from marl_pricing.serving.kafka_log import KafkaLog, read_topics
from marl_pricing.serving.kafka_wire import BrokerError, Kafka, Outgoing, Wire
from marl_pricing.serving.log import INTERACTIONS, PRICES, Entry, LogError
from marl_pricing.serving.pipeline import replay
from marl_pricing.serving.service import Service
from marl_pricing.serving.settings import ServeSettings
from marl_pricing.serving.sqlite_log import SqliteLog
from marl_pricing.serving.trial.servers import Server, broker
from tests.serving.asking import shop

TWIN = "/api/hotel/price/hotel-twin"


@pytest.fixture(autouse=True)
def patient(monkeypatch) -> None:
    """A broker on a busy machine may take longer than a shop should wait."""
    monkeypatch.setattr(kafka_log, "PATIENCE", 60.0)
    monkeypatch.setattr(kafka_wire, "REQUEST", 30.0)


def entry(number: int) -> Entry:
    topic, identity = PRICES if number % 3 == 0 else INTERACTIONS, number.to_bytes(16, "big")
    return Entry(topic, f"s{number % 5}", number, number, identity, f'{{"n":{number},"t":"é"}}')


def told(server: Server, prefix: str) -> Kafka:
    """Tansu hands out producer ids from version 3 of the request on; aiokafka 0.14 speaks version 0."""
    return Kafka(server.address, prefix, 3, idempotent=False)


def test_topics_are_the_log_and_the_copy_comes_again(tmp_path: Path, kafka: Server) -> None:
    own = told(kafka, "copy-")
    log = KafkaLog(tmp_path / "one", "kill", own)
    assert log.append([entry(1), entry(2), entry(1)]) == [1, 2, None]
    assert log.append([entry(2), *map(entry, range(3, 203))]) == [None, *range(3, 203)]
    log.keep_snapshot("pipeline", 100, {"some": "state"})
    for number in range(203, 210):
        log.append([entry(number)])
    log.close()
    log = KafkaLog(tmp_path / "one", "kill", own)  # a second life
    assert log.append([entry(4), entry(300)]) == [None, 210]
    whole = log.read(1, 1000)
    assert [record.offset for record in whole] == list(range(1, 211))
    assert [record.body for record in whole] == [entry(n).body for n in [*range(1, 210), 300]]
    assert read_topics(own) == whole
    log.close()
    other = KafkaLog(tmp_path / "two", "kill", own)
    assert other.append([entry(300), entry(301)]) == [None, 211]
    assert other.read(1, 210) == whole == SqliteLog(tmp_path / "one").read(1, 1000)
    other.close()


def test_keys_have_one_partition_and_groups_are_told_how_far(tmp_path: Path, kafka: Server) -> None:
    own = told(kafka, "keys-")
    log = KafkaLog(tmp_path / "log", "kill", own)
    log.append([entry(number) for number in range(1, 101)])
    log.commit("pipeline", 60)
    wire = Wire(own, [f"keys-{INTERACTIONS}", f"keys-{PRICES}"])
    wire.wait(wire.connect(), 60)
    found = wire.wait(wire.read(dict.fromkeys(wire.places, 0), None), 60)
    keys = [(place, record.key) for place, records in found.items() for record in records if record.key]
    assert len(keys) == 100 and len(set(keys)) == len({(place[0], key) for place, key in keys})

    async def committed() -> int:
        from aiokafka import AIOKafkaConsumer

        consumer = AIOKafkaConsumer(bootstrap_servers=own.servers, group_id="keys-pipeline", enable_auto_commit=False)
        await consumer.start()
        try:
            parts = [TopicPartition(*place) for place in wire.places]
            at = {(part.topic, part.partition): await consumer.committed(part) or 0 for part in parts}
        finally:
            await consumer.stop()
        return sum(own.position < at[place] and "at" in own.headers for place, all in found.items() for own in all)

    until = time.monotonic() + 60
    while (done := wire.wait(committed(), 60)) != 60 and time.monotonic() < until:
        time.sleep(0.05)
    assert done == 60 == log.committed("pipeline")
    wire.close()
    log.close()


def test_what_arrives_after_its_life_counts_for_nobody(tmp_path: Path, kafka: Server) -> None:
    own = told(kafka, "late-")
    first = KafkaLog(tmp_path / "one", "kill", own)
    first.append([entry(1)])
    life, number = first._life, first._number
    assert life is not None
    under_way = kafka_log._outgoing(own, entry(2), life, number + 1)  # sent, and never answered
    first._wire.wait(first._wire.send([under_way]), 60)
    first.close()
    second = KafkaLog(tmp_path / "one", "kill", own)
    assert second.append([entry(2), entry(3)]) == [None, 3]  # it was there before the mark
    late = kafka_log._outgoing(own, entry(4), life, number + 2)
    stranger = Outgoing(f"late-{INTERACTIONS}", None, b"s", b"{}", [], 1)
    second._wire.wait(second._wire.send([late, stranger]), 60)
    with pytest.raises(BrokerError, match="others write there too"):
        second.append([entry(number) for number in range(5, 25)])
    assert second.append([entry(4)]) == [24]  # 5 to 24 had come before it was noticed
    assert second.append([entry(5)]) == [None]
    assert read_topics(own) == second.read(1, 100)
    second.close()


def test_one_service_at_a_time(tmp_path: Path, kafka: Server) -> None:
    own = told(kafka, "two-")
    first = KafkaLog(tmp_path / "one", "kill", own)
    first.append([entry(1)])
    second = KafkaLog(tmp_path / "two", "kill", own)
    assert second.append([entry(2)]) == [2]
    with pytest.raises(BrokerError):
        first.append([entry(3)])
    with pytest.raises(BrokerError, match="another service writes to the topics of kafka_prefix='two-'"):
        first.append([entry(3)])
    first.close()
    assert [record.body for record in read_topics(own)] == [entry(1).body, entry(2).body]
    second.close()


def test_a_broker_that_forgot_is_not_written_to(tmp_path: Path) -> None:
    with broker(tmp_path) as server:
        log = KafkaLog(tmp_path / "log", "kill", told(server, ""))
        assert log.append([entry(1)]) == [1]
        server.kill()
        server.start()
        until, why = time.monotonic() + 60, ""
        while "lost records" not in why and time.monotonic() < until:
            with pytest.raises(BrokerError) as error:
                log.append([entry(2)])
            why = str(error.value)
            time.sleep(0.05)
        assert "the broker has lost records; accepted is another kafka_prefix with another out" in why
        assert [record.body for record in log.read(1, 10)] == [entry(1).body]
        log.close()


@pytest.fixture
def producer_ids(monkeypatch):
    """aiokafka asks for producer ids as Tansu takes it: version 3, with the fields of KIP-360."""
    from aiokafka.protocol import transaction
    from aiokafka.protocol.api import RequestStruct, Response
    from aiokafka.protocol.types import CompactString, Int16, Int32, Int64, Schema, TaggedFields

    class Answer(Response):
        API_KEY, API_VERSION, FLEXIBLE_VERSION = 22, 3, True
        SCHEMA = Schema(
            ("throttle_time_ms", Int32), ("error_code", Int16), ("producer_id", Int64), ("producer_epoch", Int16),
            ("tags", TaggedFields),
        )  # fmt: skip

    class Question(RequestStruct):
        API_KEY, API_VERSION, FLEXIBLE_VERSION, RESPONSE_TYPE = 22, 3, True, Answer
        SCHEMA = Schema(
            ("transactional_id", CompactString("utf-8")), ("transaction_timeout_ms", Int32), ("producer_id", Int64),
            ("producer_epoch", Int16), ("tags", TaggedFields),
        )  # fmt: skip

    asked = transaction.InitProducerIdRequest
    monkeypatch.setattr(asked, "_CLASSES", (Question,))
    monkeypatch.setattr(
        asked, "build", lambda own, kind: kind(own._transactional_id, own._transaction_timeout_ms, -1, -1, {})
    )


def test_a_producer_with_an_id(tmp_path: Path, kafka: Server, producer_ids) -> None:
    own = told(kafka, "id-")._replace(idempotent=True)
    log = KafkaLog(tmp_path / "log", "kill", own)
    for number in range(0, 60, 20):
        log.append([entry(n) for n in range(number, number + 20)])
    assert log._wire._producer is not None and log._wire._producer._txn_manager.has_pid()
    assert read_topics(own) == log.read(1, 100) and log.end() == 60
    log.close()


def test_a_broker_without_producer_ids_is_told_by_name(tmp_path: Path, kafka: Server) -> None:
    log = KafkaLog(tmp_path / "log", "kill", told(kafka, "none-")._replace(idempotent=True))
    with pytest.raises(BrokerError, match="hands out no producer ids: accepted is kafka_idempotent=false"):
        log.append([entry(1)])
    log.close()


def test_a_folder_keeps_to_its_log(tmp_path: Path, kafka: Server) -> None:
    SqliteLog(tmp_path / "sqlite").append([entry(1)])
    with pytest.raises(LogError, match="log='kafka': accepted is sqlite for a folder that holds a log in SQLite"):
        KafkaLog(tmp_path / "sqlite", "kill", told(kafka, "kinds-"))
    log = KafkaLog(tmp_path / "copy", "kill", told(kafka, "kinds-"))
    log.append([entry(1)])
    log.close()
    with pytest.raises(LogError, match="kafka_prefix='other-': accepted is 'kinds-'"):
        KafkaLog(tmp_path / "copy", "kill", told(kafka, "other-"))
    (tmp_path / "shop").mkdir()
    (tmp_path / "copy").rename(tmp_path / "shop" / "events.sqlite")
    with pytest.raises(LogError, match="log='sqlite': accepted is kafka for a folder that copies topics"):
        Service(ServeSettings(out=str(tmp_path / "shop")))


def test_a_shop_on_a_broker_that_pauses(tmp_path: Path, monkeypatch) -> None:
    """Prices go on, marked; events are refused and not lost; it recovers alone; the topics replay to the bit."""
    given = {"surge_high": 4.0, "surge_low": 0.0, "log": "kafka", "kafka_idempotent": False}
    with broker(tmp_path) as server:
        with shop(tmp_path / "shop", kafka=server.address, **given) as own:
            own.event("add_item_to_cart", 1, product="hotel-twin")
            own.until(300)
            assert own.get(TWIN).json["price"] == 148.8 and not own.get(TWIN).json["stale"]
            monkeypatch.setattr(kafka_log, "PATIENCE", 0.5)
            server.pause()
            for number in range(3):
                refused = own.event("search", 301 + number, "waits")
                assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            here = own.get(f"{TWIN}?sessionId=now").json
            assert here["price"] == 148.8 and here["stale"]
            assert own.get("/health").json["status"] == "degraded"
            own.service.writer.submit(lambda log: log.end()).result(10)  # the quote is written down all the same
            assert own.service._reader.quotes_of("now")
            server.go_on()
            monkeypatch.setattr(kafka_log, "PATIENCE", 60.0)
            until = time.monotonic() + 60
            while own.event("search", 301, "waits").status != 200 and time.monotonic() < until:
                time.sleep(0.1)
            assert own.event("search", 301, "waits").json["duplicate"]
            own.event("add_item_to_cart", 302, product="hotel-twin")
            own.until(600)
            assert not own.get(TWIN).json["stale"]
            vectors = own.service._reader.vectors()
        with shop(tmp_path / "shop", kafka=server.address, **given) as own:
            own.event("add_item_to_cart", 601, product="hotel-twin")
            own.until(900)
            vectors = own.service._reader.vectors()
            records = own.service._reader.read(1, 1000)
        topics = read_topics(Kafka(server.address))
        assert topics == records and len(vectors) == 3
        assert json.dumps(replay(topics)) == json.dumps(vectors)
