"""Prices in Redis beside those in the process: for whoever else tells them, and for another process after this one.

Three kinds of keys, after a prefix: `vector`, a hash with `version`, `ends` and `body`, and `switches`, both written by
one script, so that nobody reads one without the other, and never replaced by an earlier one; `quote:N:session:product`
(N signs of session), what a session was told, which the first to tell it writes and nobody replaces while it lasts.
Values are JSON.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from marl_pricing.config.errors import refuse
from marl_pricing.serving.prices import PriceBook, Quote, quote_from, to_plain

PATIENCE = 0.25  # seconds for an answer
_AGAIN = 0.5  # seconds between two looks whether it is there, and still the same process
_TOGETHER = 1000  # quotes in a request
# Keys: vector, switches. Arguments: ends, version, body, switches.
_REPLACE = """
local ends = tonumber(redis.call('HGET', KEYS[1], 'ends') or '-inf')
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or '-inf')
if ends > tonumber(ARGV[1]) or (ends == tonumber(ARGV[1]) and version > tonumber(ARGV[2])) then return 0 end
redis.call('HSET', KEYS[1], 'ends', ARGV[1], 'version', ARGV[2], 'body', ARGV[3])
redis.call('SET', KEYS[2], ARGV[4])
return 1
"""


class RedisPrices:
    """Keeps Redis as the price book is. Nobody waits for it longer than `PATIENCE`, and once it is away not at all.

    Attributes:
        fault: why it is not as the book is; None where it is.
    """

    def __init__(self, url: str, prefix: str, book: PriceBook) -> None:
        """Nothing is asked yet.

        Raises:
            ConfigError: for an address that is none.
        """
        self._prefix, self._book = prefix, book
        parts = urlsplit(url)
        self._where = f"redis://{parts.hostname}:{parts.port or 6379}"  # a password is not to be told
        self._url = url
        self._given: dict[str, Any] = {
            "socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE, "decode_responses": True,
        }  # fmt: skip
        self._asked: tuple[Any, Any] | None = None  # an event loop, and the connections that are its own
        try:
            self._redis: Any = Redis.from_url(url, retry=Retry(NoBackoff(), 0), **self._given)
        except ValueError:
            raise refuse("redis", self._where, "an address as redis://localhost:6379/0") from None
        self.fault: str | None = f"{self._where}: not reached yet"
        self._process: str | None = None  # of Redis, that has all there is
        self._shown: tuple[Any, Any] | None = None
        self._news, self._ending = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="redis", daemon=True)

    def start(self) -> None:
        """Bring Redis up to date, if it answers, and keep it so from now on."""
        self._bring()
        self._thread.start()

    def close(self) -> None:
        """End; what is in Redis stays."""
        self._ending = True
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._redis.close()

    def notify(self) -> None:
        """There is another vector, or a switch was thrown."""
        self._news.set()

    def _run(self) -> None:
        while not self._ending:
            self._news.wait(_AGAIN)
            self._news.clear()
            if not self._ending:
                self._bring()

    def _bring(self) -> None:
        try:
            process = self._redis.info("server")["run_id"]
            if process != self._process or self.fault is not None:
                self._shown = None
                self._bring_quotes()
            if not self._bring_vector():
                self.fault = (
                    f"{self._where}: holds a later vector than ours under redis_prefix={self._prefix!r}: accepted is a "
                    "prefix that no other shop writes to"
                )
                return
            self._process, self.fault = process, None
        except (RedisError, OSError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.fault = f"{self._where}: {str(error) or type(error).__name__}"

    def _bring_vector(self) -> bool:
        """Write the latest vector where it is not there; whether Redis took it."""
        vector, switches = self._book.vector, self._book.switches
        if vector is None or self._shown == (vector["version"], switches):
            return True
        keys = (f"{self._prefix}vector", f"{self._prefix}switches")
        told = (vector["ends"], vector["version"], json.dumps(vector), json.dumps(switches))
        if not self._redis.eval(_REPLACE, 2, *keys, *told):
            return False
        self._shown = (vector["version"], switches)
        return True

    def _bring_quotes(self) -> None:
        """What sessions were told while Redis was away, or before it began."""
        now = time.time_ns() // 1_000_000
        known = [(*name, own) for name, own in list(self._book.quotes.items()) if own.until > now]
        for first in range(0, len(known), _TOGETHER):
            pipe = self._redis.pipeline(transaction=False)
            for session, product, own in known[first : first + _TOGETHER]:
                pipe.set(
                    self._key(session, product), self._told(session, product, own, now), px=own.until - now, nx=True
                )
            pipe.execute()

    def _key(self, session: str, product: str) -> str:
        return f"{self._prefix}quote:{len(session)}:{session}:{product}"

    def _told(self, session: str, product: str, quote: Quote, now: int) -> str:
        return json.dumps(to_plain(session, product, now, quote, self._book.pricing.version))

    def _of_loop(self) -> Any:
        """Connections of the event loop that asks: a thread would have to wait for its turn at every step."""
        loop = asyncio.get_running_loop()
        if self._asked is None or self._asked[0] is not loop:
            self._asked = loop, AsyncRedis.from_url(self._url, retry=AsyncRetry(NoBackoff(), 0), **self._given)
        return self._asked[1]

    async def claim(self, session: str, product: str, made: Quote, now: int) -> Quote:
        """The quote that holds for a session: this one, or that which somebody has told it before.

        Args:
            now: ms since 1970.
        """
        if self.fault is not None or made.until <= now:
            return made
        key = self._key(session, product)
        try:
            told = await self._of_loop().set(
                key, self._told(session, product, made, now), px=made.until - now, nx=True, get=True
            )
            return made if told is None else self._read(json.loads(told), made, now)
        except (RedisError, OSError) as error:
            self._fail(error)
        except (ValueError, TypeError, KeyError):
            self.fault = f"{self._where}: {key} is no quote"
        return made

    @staticmethod
    def _read(told: Mapping[str, Any], made: Quote, now: int) -> Quote:
        """Raises: ValueError and others for what is none."""
        found = quote_from(dict(told))
        if not isinstance(found.price, int | float) or not isinstance(found.model, str) or found.until <= now:
            raise ValueError(told)
        return found
