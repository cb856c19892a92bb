"""A broker that speaks Kafka's protocol, from threads: send and be sure, read between positions, commit offsets.

aiokafka lives in an event loop; here it has one of its own, in a thread of its own, and callers wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, UnknownError, for_code

from marl_pricing.serving.log import LogError

# Several lines a second while a broker is away; what is wrong is told once, as an error.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

T = TypeVar("T")
REQUEST = 3.0  # seconds that the broker has for an answer
PATIENCE = 5.0  # seconds after which a batch counts as not acknowledged
_QUIET_MS = 500  # after which nothing more is taken to come
_MOST_BYTES = 1 << 26  # of a record; the broker's own bound is message.max.bytes
_EXISTS = 36

Place = tuple[str, int]  # topic and partition


class BrokerError(LogError):
    """The broker does not answer, or what it answers cannot be."""


class Kafka(NamedTuple):
    """Where a log is kept."""

    servers: str  # host:port, several with commas
    prefix: str = ""  # before each topic's name
    partitions: int = 4  # of topics that are made
    idempotent: bool = True
    replicas: int = 1  # of topics that are made


class Outgoing(NamedTuple):
    """A record to be sent."""

    topic: str
    partition: int | None  # None: by the key
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]
    stamp: int  # ms since 1970


class Incoming(NamedTuple):
    """A record that was read."""

    position: int
    key: bytes | None
    value: bytes
    headers: dict[str, bytes]


class Wire:
    """Connections to a broker. Every method raises `BrokerError` where the broker does not do its part."""

    def __init__(self, kafka: Kafka, topics: Sequence[str]) -> None:
        """Nothing is opened yet.

        Args:
            topics: with their prefix.
        """
        self.kafka, self.topics = kafka, tuple(topics)
        self.places: list[Place] = []
        self._producer: AIOKafkaProducer | None = None
        self._groups: dict[str, AIOKafkaConsumer] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kafka", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Have something done in the loop's thread."""
        return asyncio.run_coroutine_threadsafe(self._told(work), self._loop)

    async def _told(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerError(f"kafka={self.kafka.servers!r}: {error or type(error).__name__}") from error

    def wait(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Have something done, and wait for it so long."""
        future = self.submit(work)
        try:
            return future.result(seconds)
        except FutureTimeout:
            future.cancel()
            raise BrokerError(f"kafka={self.kafka.servers!r}: no answer within {seconds:g} s") from None

    def close(self) -> None:
        """Let go of the connections and end the thread."""
        with suppress(BrokerError):
            self.wait(self._end(), PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        await self.disconnect()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for own in left:
            own.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _given(self) -> dict[str, Any]:
        return {"bootstrap_servers": self.kafka.servers, "request_timeout_ms": round(REQUEST * 1000)}

    async def find(self, make: bool = False) -> None:
        """Find the topics' partitions; make topics that are missing, or not."""
        admin = AIOKafkaAdminClient(**self._given())
        try:
            await admin.start()
            if make:
                await self._make_topics(admin)
            told = await admin.describe_topics(list(self.topics))
        finally:
            await admin.close()
        self.places = sorted((own["topic"], part["partition"]) for own in told for part in own["partitions"])
        if missing := set(self.topics) - {topic for topic, _ in self.places}:
            raise BrokerError(f"kafka={self.kafka.servers!r}: there is no topic {min(missing)}")

    async def connect(self) -> None:
        """Make the topics that are missing, and a producer. What an earlier one had under way is given up."""
        await self.disconnect()
        await self.find(make=True)
        producer = AIOKafkaProducer(
            **self._given(), acks="all", enable_idempotence=self.kafka.idempotent, max_request_size=_MOST_BYTES,
        )  # fmt: skip
        try:
            await producer.start()
        except UnknownError:
            await producer.stop()
            raise BrokerError(
                f"kafka={self.kafka.servers!r}: it hands out no producer ids: accepted is kafka_idempotent=false"
            ) from None
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    async def _make_topics(self, admin: AIOKafkaAdminClient) -> None:
        """For good: what the log holds is what prices are made of."""
        kept = {"retention.ms": "-1", "retention.bytes": "-1"}
        new = [NewTopic(name, self.kafka.partitions, self.kafka.replicas, topic_configs=kept) for name in self.topics]
        answer = await admin.create_topics(new)
        for topic, code, *_ in answer.topic_errors:
            if code not in (0, _EXISTS):
                raise BrokerError(f"kafka={self.kafka.servers!r}: topic {topic}: {for_code(code).__name__}")

    async def disconnect(self) -> None:
        """Let go of all connections; what is under way is given up."""
        producer, self._producer = self._producer, None
        groups, self._groups = self._groups, {}
        for own in (producer, *groups.values()):
            if own is not None:
                with suppress(KafkaError, OSError, TimeoutError):
                    await asyncio.wait_for(own.stop(), 1.0)

    async def send(self, batch: Sequence[Outgoing]) -> list[tuple[Place, int]]:
        """Send records; where each of them is once all replicas have them."""
        producer = self._producer
        if producer is None:
            raise BrokerError(f"kafka={self.kafka.servers!r}: not connected")
        under_way = [
            await producer.send(
                own.topic, own.value, key=own.key, partition=own.partition, timestamp_ms=own.stamp,
                headers=own.headers,
            )
            for own in batch
        ]  # fmt: skip
        done: list[Any] = await asyncio.gather(*under_way, return_exceptions=True)
        for own in done:
            if isinstance(own, BaseException):
                raise own
        return [((own.topic, own.partition), own.offset) for own in done]

    async def read(self, starts: Mapping[Place, int], ends: Mapping[Place, int] | None) -> dict[Place, list[Incoming]]:
        """Records of each partition from a position on, up to and without another; None: to where they end.

        Raises:
            BrokerError: also where the first of them are gone.
        """
        found: dict[Place, list[Incoming]] = {place: [] for place in starts}
        if ends is not None and all(starts[place] >= ends[place] for place in starts):
            return found
        consumer = AIOKafkaConsumer(
            **self._given(), enable_auto_commit=False, auto_offset_reset="none", max_partition_fetch_bytes=_MOST_BYTES,
            fetch_max_bytes=_MOST_BYTES, fetch_max_wait_ms=100,
        )  # fmt: skip
        try:
            await consumer.start()
            parts = {place: TopicPartition(*place) for place in starts}
            consumer.assign(list(parts.values()))
            if ends is None:
                told = await consumer.end_offsets(list(parts.values()))
                wanted = {place: told[part] for place, part in parts.items()}
            else:
                wanted = {place: ends[place] for place in starts}
            for place, part in parts.items():
                consumer.seek(part, starts[place])
                if ends is not None and starts[place] >= wanted[place]:
                    consumer.pause(part)
            while True:
                got = await consumer.getmany(timeout_ms=_QUIET_MS)
                for part, records in got.items():
                    place = (part.topic, part.partition)
                    for own in records:
                        if ends is None or own.offset < wanted[place]:
                            headers = {name: value for name, value in own.headers}
                            found[place].append(Incoming(own.offset, own.key, own.value or b"", headers))
                    if ends is not None and await consumer.position(part) >= wanted[place]:
                        consumer.pause(part)
                at = {place: await consumer.position(part) for place, part in parts.items()}
                if all(at[place] >= wanted[place] for place in parts) and (ends is not None or not got):
                    break
            return found
        except OffsetOutOfRangeError:
            raise BrokerError(
                f"kafka={self.kafka.servers!r}: its topics do not hold all records any more "
                "(retention.ms=-1 keeps them): accepted is another kafka_prefix with another out"
            ) from None
        finally:
            await _stop(consumer)

    async def commit(self, group: str, positions: Mapping[Place, int]) -> None:
        """Say in a consumer group which record of each partition is the next."""
        consumer = self._groups.get(group)
        if consumer is None:
            consumer = AIOKafkaConsumer(**self._given(), group_id=group, enable_auto_commit=False)
            await consumer.start()
            self._groups[group] = consumer
        parts = {TopicPartition(*place): position for place, position in positions.items()}
        consumer.assign(list(parts))
        await consumer.commit(parts)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Let go of a consumer. One that is stopped before its first task has run raises its task's cancellation."""
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
