"""A service: the log, the pipeline, the prices and the two APIs, put together."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from filelock import FileLock, Timeout

from marl_pricing.config.errors import ConfigError, refuse
from marl_pricing.intake import IntakeError
from marl_pricing.serving.board import build_board_app
from marl_pricing.serving.catalogue import Catalogue, read_catalogue
from marl_pricing.serving.catalogue import to_plain as catalogue_to_plain
from marl_pricing.serving.event_api import build_event_app, now_ms
from marl_pricing.serving.judging import Judge, read_judge
from marl_pricing.serving.learned import ShopPolicy, keep_policy, policies_in
from marl_pricing.serving.log import CONTROL, Entry, LogError
from marl_pricing.serving.pipeline import SETTINGS, SWITCHES, TICK, Vector
from marl_pricing.serving.price_api import build_price_app
from marl_pricing.serving.pricers import Pricing
from marl_pricing.serving.prices import MOST_QUOTES, PriceBook, Quote, quote_from, to_plain
from marl_pricing.serving.registry import PROMOTED, active
from marl_pricing.serving.runner import Runner
from marl_pricing.serving.schemas import RefusedError
from marl_pricing.serving.settings import ServeSettings, check_together, read_key
from marl_pricing.serving.sqlite_log import SqliteLog
from marl_pricing.serving.telemetry import Telemetry
from marl_pricing.serving.writer import GroupWriter
from marl_pricing.shipped import found

if TYPE_CHECKING:
    from marl_pricing.serving.redis_prices import RedisPrices

T = TypeVar("T")
_MOST_SECONDS = 30.0  # that a service waits for its own log when it starts


class Keys(NamedTuple):
    """Bearer keys; None: none is asked, or, for admin, what it opens is off."""

    ingest: bytes | None
    price: bytes | None
    admin: bytes | None


def pricing_of(own: ServeSettings, policy: str | None = None) -> Pricing:
    """The settings that prices depend on; `policy` is the SHA-256 of the policy's file."""
    return Pricing(
        own.pricer, round(own.window * 1000), round(own.lateness * 1000), own.clock, own.surge_high, own.surge_low,
        own.markup_strength, own.markup_threshold, own.markup_temperature, own.withhold_above, own.max_change,
        own.max_change_day, own.ending, tuple(own.frozen), own.kill, own.shadow, policy, own.policy_seller,
        tuple(own.policy_products), own.experiment, tuple(own.arms.items()),
    )  # fmt: skip


def _catalogue(own: ServeSettings) -> Catalogue:
    try:
        return read_catalogue(found(own.catalogue))
    except IntakeError as error:
        raise ConfigError(f"catalogue: {error}") from None


class Service:
    """Everything but the sockets. `start` it before its apps are asked, `close` it after."""

    def __init__(self, settings: ServeSettings) -> None:
        """Read what is there.

        Raises:
            ConfigError: for settings, files or a folder that cannot be had.
            LogError: for a log that cannot be opened.
        """
        self.settings = settings
        self.catalogue = _catalogue(settings)
        check_together(settings, set(self.catalogue))
        self.keys = Keys(
            read_key(settings.ingest_key_file, "ingest_key_file"), read_key(settings.price_key_file, "price_key_file"),
            read_key(settings.admin_key_file, "admin_key_file"),
        )  # fmt: skip
        self.judge: Judge | None = read_judge(settings.kernels, settings.prior) if settings.kernels else None
        folder = Path(settings.out)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / "serving.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise refuse("out", settings.out, "a folder that no other service is at work in") from None
        self._path = folder / "events.sqlite"
        try:
            self._compose()
        except BaseException:
            self._lock.release()
            raise

    def _compose(self) -> None:
        settings = self.settings
        folder = Path(settings.out)
        find, policy = policies_in(folder), None
        self.policy: ShopPolicy | None = None
        if settings.policy is not None:
            policy = self._policy_to_play()
            self.policy = ShopPolicy(find(policy), settings.policy_seller, settings.policy_products)
        self.telemetry = Telemetry()
        self._reader, self._reading = self._open(), threading.Lock()
        self.writer = GroupWriter(self._open_to_write, self._written)
        self.book = PriceBook(
            self.catalogue, pricing_of(settings, policy), self.judge, settings.quote_lifetime * 1000, now_ms(),
        )  # fmt: skip
        self.runner = Runner(self._open, self.writer, find, self._show, self._tell)
        self.shared = self._open_shared()
        self.book.broken = self._broken
        self.book.session_of = lambda name: self.runner.pipeline.sessions.get(name)
        self.book.keep = self._keep_quote
        self._remember()
        self._gauges()
        self.event_app, self.price_app = build_event_app(self), build_price_app(self)
        self.board_app = build_board_app(self)

    def _policy_to_play(self) -> str:
        """SHA-256 of the policy that the settings name, kept in the service's folder."""
        own, folder = self.settings, Path(self.settings.out)
        assert own.policy is not None
        if own.policy != PROMOTED:
            return keep_policy(str(found(own.policy)), folder)
        if (name := active(folder)) is None:
            raise refuse(
                "policy", own.policy, "a policy file, until one was promoted (python -m marl_pricing.serving promote)"
            )
        return name

    def _open(self) -> SqliteLog:
        return SqliteLog(self._path, self.settings.survives)

    def _open_to_write(self) -> SqliteLog:
        own = self.settings
        if own.log == "sqlite":
            log = self._open()
            if log.is_copy():
                log.close()
                raise LogError(f"log='sqlite': accepted is kafka for a folder that copies topics ({self._path})")
            return log
        from marl_pricing.serving.kafka_log import Kafka, KafkaLog

        assert own.kafka is not None
        kafka = Kafka(own.kafka, own.kafka_prefix, own.kafka_partitions, own.kafka_idempotent, own.kafka_replicas)
        return KafkaLog(self._path, own.survives, kafka)

    def _open_shared(self) -> RedisPrices | None:
        """Prices in Redis, where they are asked for."""
        own = self.settings
        if own.redis is None:
            return None
        from marl_pricing.serving.redis_prices import RedisPrices

        return RedisPrices(own.redis, own.redis_prefix, self.book)

    def _broken(self) -> str | None:
        return self.writer.fault or (self.shared.fault if self.shared is not None else None)

    def _written(self) -> None:
        if hasattr(self, "runner"):
            self.runner.notify()

    def _show(self, vector: Vector) -> None:
        self.book.vector = vector
        if self.shared is not None:
            self.shared.notify()

    def _tell(self, fault: str | None) -> None:
        self.book.fault = fault

    def _keep_quote(self, session: str, product: str, at: int, quote: Quote) -> None:
        told = to_plain(session, product, at, quote, self.book.pricing.version)
        try:
            self.writer.submit(lambda log: log.keep_quote(session, product, at, quote.until, told))
        except LogError:
            self.book.fault = "quotes cannot be written down"

    def _remember(self) -> None:
        """What was served before this process was there."""
        self.book.vector = self._reader.last_vector()
        now = now_ms()
        for told in self._reader.quotes_until(now, MOST_QUOTES):
            self.book.remember(told["sessionId"], told["productId"], quote_from(told), now)
        self._recall_switches()

    def _recall_switches(self) -> None:
        last = self._reader.last_of(CONTROL, SWITCHES)
        if last is not None:
            self.book.switches = json.loads(last.body)

    def _gauges(self) -> None:
        add = self.telemetry.gauge
        add("stale", "1 where prices may be out of date", lambda: float(self.book.stale(now_ms())))
        add("quotes", "prices that sessions are kept to", lambda: float(len(self.book.quotes)))
        add("folded_offset", "up to where the pipeline has read", lambda: float(self.runner.pipeline.offset))
        add("late_events", "events too late for their window", lambda: float(self.runner.pipeline.late))
        add("vector_version", "of the prices served", lambda: float((self.book.vector or {}).get("version", 0)))

    def start(self) -> None:
        """Write the settings into the log where they are new, and let the pipeline work.

        Raises:
            LogError: for a log that cannot be written.
        """
        self._settle_settings()
        self._recall_switches()  # of a log that was copied again just now
        if self.shared is not None:
            self.shared.start()
        self.runner.start()

    def _control(self, kind: str, stamp: int, body: str = "{}") -> Entry:
        return Entry(CONTROL, kind, stamp, now_ms(), None, body)

    def _settle_settings(self) -> None:
        told = {
            "pricing": self.book.pricing.to_plain(), "catalogue": catalogue_to_plain(self.catalogue),
            "judge": self.judge and self.judge.to_plain(),
        }  # fmt: skip
        body = json.dumps(told, separators=(",", ":"))

        def work(log: SqliteLog) -> None:
            last = log.last_of(CONTROL, SETTINGS)
            if last is None or last.body != body:
                log.append([self._control(SETTINGS, now_ms(), body)])

        self.writer.submit(work).result(_MOST_SECONDS)

    def close(self) -> None:
        """Finish what is begun and let go of the folder."""
        self.runner.close()
        if self.shared is not None:
            self.shared.close()
        self.writer.close()
        self._reader.close()
        self._lock.release()

    async def write(self, work: Callable[[SqliteLog], T]) -> T:
        """Have work done on the log, together with what others ask for at the same time; it is on disk then.

        Raises:
            LogError: it is not.
        """
        return await asyncio.wrap_future(self.writer.submit(work))

    async def read(self, work: Callable[[SqliteLog], T]) -> T:
        """Read from the log without holding up anybody.

        Raises:
            LogError: where it cannot be read.
        """

        def locked() -> T:
            with self._reading:
                return work(self._reader)

        return await asyncio.to_thread(locked)

    async def tick(self, stamp: int) -> None:
        """Say in the log that it is so late, so that windows without events end too."""
        await self.write(lambda log: log.append([self._control(TICK, stamp)]))

    async def keep_time(self) -> None:
        """Tick at the end of every window, for ever. A log that cannot be written is waited for."""
        length, lateness = self.book.pricing.window, self.book.pricing.lateness
        number = (now_ms() - lateness) // length
        while True:
            wait = (number * length + lateness - now_ms()) / 1000
            if wait > 0:
                await asyncio.sleep(wait)
            try:
                await self.tick(number * length)
            except LogError:
                await asyncio.sleep(1.0)
            number = max(number + 1, (now_ms() - lateness) // length)

    async def feed(self, kind: str, body: dict[str, Any]) -> None:
        """Write down stock or rivals' prices, which policies see.

        Raises:
            LogError: it is not.
        """
        await self.write(lambda log: log.append([self._control(kind, now_ms(), json.dumps(body))]))

    async def switch(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Switch, at once and in the log; the switches as they are then."""

        def work(log: SqliteLog) -> dict[str, Any]:
            last = log.last_of(CONTROL, SWITCHES)
            whole = (json.loads(last.body) if last else {}) | wanted
            log.append([self._control(SWITCHES, now_ms(), json.dumps(whole))])
            return whole

        if wanted.get("kill"):  # before anything that could fail
            self.book.switches = self.book.switches | {"kill": True}
        self.book.switches = await self.write(work)
        if self.shared is not None:
            self.shared.notify()
        return self.book.switches

    async def reload(self) -> dict[str, Any]:
        """Take up what the catalogue's file says now, and the policy that is promoted.

        Raises:
            RefusedError: for a file that cannot be used; the old one holds.
            LogError: where it cannot be written down; the old one holds.
        """
        try:
            new = await asyncio.to_thread(_catalogue, self.settings)
        except ConfigError as error:
            raise RefusedError("catalogue", str(error)) from None
        try:
            policy, pricing = await asyncio.to_thread(self._promoted)
        except ConfigError as error:
            raise RefusedError("policy", str(error)) from None
        old = self.catalogue, self.policy, self.book.pricing
        changed = (new, pricing) != (old[0], old[2])
        if changed:
            self.catalogue, self.policy, self.book.pricing = new, policy, pricing
            try:
                await asyncio.to_thread(self._settle_settings)
            except BaseException:
                self.catalogue, self.policy, self.book.pricing = old
                raise
            self.book.catalogue = new
        told = {"success": True, "changed": changed, "products": len(new)}
        return told if pricing.policy is None else told | {"policy": pricing.policy}

    def _promoted(self) -> tuple[ShopPolicy | None, Pricing]:
        """The policy and the pricing that hold from now on: others only where another policy was promoted."""
        own, pricing = self.settings, self.book.pricing
        if own.policy != PROMOTED or (name := self._policy_to_play()) == pricing.policy:
            return self.policy, pricing
        seat = ShopPolicy(policies_in(own.out)(name), own.policy_seller, own.policy_products)
        return seat, pricing_of(own, name)

    async def audit(self, session: str, product: str | None, at: int | None) -> list[dict[str, Any]]:
        """What a session was told, each with the line of the vector that it came from."""

        def work(log: SqliteLog) -> list[dict[str, Any]]:
            rows = log.quotes_of(session, product)
            if at is not None:
                rows = [row for row in rows if row["at"] <= at < row["valid_until"]]
            for row in rows:
                vector = log.vectors(row["vector_version"], 1) if row.get("vector_version") else []
                row["line"] = vector[0]["lines"].get(row["productId"]) if vector else None
            return rows

        return await self.read(work)

    def health(self) -> dict[str, Any]:
        """How it goes: `ok`, or `degraded` with the reason; prices are told in either case."""
        now, vector = now_ms(), self.book.vector
        fault = self.book.fault or self._broken()
        stale = self.book.stale(now)
        return {
            "status": "degraded" if fault or stale else "ok", "fault": fault, "stale": stale,
            "products": len(self.catalogue), "pricer": self.book.pricing.version,
            "vector_version": vector["version"] if vector else 0, "vector_ends": vector["ends"] if vector else None,
            "folded_offset": self.runner.pipeline.offset, "late_events": self.runner.pipeline.late,
        }  # fmt: skip

    def settle(self, most: float = 60.0) -> None:
        """Wait until the pipeline has read all there is.

        Raises:
            TimeoutError: if it has not after so many seconds.
        """
        until = time.monotonic() + most
        while True:
            with self._reading:
                end = self._reader.end()
            if self.runner.idle_at(end):
                return
            if time.monotonic() > until:
                raise TimeoutError(f"the pipeline is at {self.runner.pipeline.offset} of {end}: {self.book.fault}")
            time.sleep(0.002)
