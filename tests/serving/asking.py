"""A service in this process, asked through ASGI: no sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marl_pricing.serving.service import Service
from marl_pricing.serving.settings import ServeSettings

T0 = 1_800_000_000_000  # ms since 1970, the beginning of a window of 300 s


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def request(app: Any, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
    """One request; headers with underscores for hyphens."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
        "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "scheme": "http",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 5000),
    }  # fmt: skip
    chunks = [body[i : i + 65536] for i in range(0, len(body), 65536)] or [b""]
    sent: list[Any] = []

    async def receive() -> Any:
        chunk = chunks.pop(0) if chunks else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], told, b"".join(own.get("body", b"") for own in sent[1:]))


@dataclass
class Shop:
    service: Service

    def get(self, target: str, **headers: str) -> Answer:
        """Of the provider, or of the event API where the path is its own."""
        return asyncio.run(request(self._app(target), "GET", target, **headers))

    def post(self, target: str, data: Any, **headers: str) -> Answer:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        return asyncio.run(request(self._app(target), "POST", target, body, **headers))

    def _app(self, target: str) -> Any:
        of_events = target.startswith(("/api/kafka", "/api/products", "/api/stock", "/api/rivals"))
        return self.service.event_app if of_events else self.service.price_app

    def event(self, name: str, seconds: float = 0.0, session: str = "s1", **others: Any) -> Answer:
        return self.post("/api/kafka/ingest", interaction(name, seconds, session, **others))

    def until(self, seconds: float) -> None:
        """An event that lets all windows before it end, and what comes of it."""
        self.event("search", seconds, "clock")
        self.service.settle()


def stamp(seconds: float) -> str:
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp((T0 + round(seconds * 1000)) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def interaction(name: str, seconds: float = 0.0, session: str = "s1", **others: Any) -> dict[str, Any]:
    """As the storefront posts it; product= and metadata= are those of the contract."""
    own = {"sessionId": session, "storeMode": "hotel", "eventName": name, "page": "/rooms", "ts": stamp(seconds)}
    return own | {"metadata": {}} | {{"product": "productId"}.get(key, key): value for key, value in others.items()}


@contextmanager
def shop(folder: Path, **settings: Any) -> Iterator[Shop]:
    """A service whose time is that of its events; survives a kill only, so that tests wait for no disk."""
    given = {"out": str(folder), "clock": "events", "survives": "kill", "lateness": 0.0} | settings
    service = Service(ServeSettings(**given))
    try:
        service.start()
        yield Shop(service)
    finally:
        service.close()
