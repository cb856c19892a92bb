"""How often somebody may ask: a bucket of tokens for each address and for each key."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

BURST = 2.0  # seconds' worth of requests that may come at once
MOST_NAMES = 10_000  # that are remembered; who is forgotten begins with a full bucket
_FREE = ("/health",)  # whoever watches the service is not to be refused


class _Bucket(NamedTuple):
    left: float
    at: float  # seconds


class Buckets:
    """A token is a request; `rate` of them come in a second, up to `rate` · `BURST`."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        """All full."""
        self.rate, self.most, self._clock = rate, max(rate * BURST, 1.0), clock
        self._known: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, name: str) -> float | None:
        """Take a token; where there is none, how many seconds until there is."""
        now = self._clock()
        known = self._known.pop(name, None)
        left = self.most if known is None else min(self.most, known.left + (now - known.at) * self.rate)
        wait = None if left >= 1.0 else (1.0 - left) / self.rate
        self._known[name] = _Bucket(left - 1.0 if wait is None else left, now)
        if len(self._known) > MOST_NAMES:
            self._known.popitem(last=False)
        return wait


class LimitRates:
    """Middleware: an address that asks too often is answered 429, with Retry-After, before anything is read.

    A key that several addresses share is limited as one, too. Keys are not checked here, so that a wrong one is charged
    to its address alone.
    """

    def __init__(self, app: ASGIApp, rate: float, keys: frozenset[bytes], refuse: Callable[[float], Response]) -> None:
        """Args:
        keys: that are right.  refuse: from seconds to the answer.
        """
        self.app, self.keys, self.refuse = app, keys, refuse
        self.buckets = Buckets(rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "http" and scope["path"] not in _FREE:
            client = scope.get("client")
            waits = [self.buckets.take(f"address {client[0] if client else ''}")]
            given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")[2].strip()
            if given in self.keys:
                waits.append(self.buckets.take(f"key {given!r}"))
            if any(wait is not None for wait in waits):
                await self.refuse(max(wait or 0.0 for wait in waits))(scope, receive, send)
                return
        await self.app(scope, receive, send)


def seconds(wait: float) -> str:
    """As Retry-After has it: whole seconds, at least one."""
    return str(max(1, math.ceil(wait)))
