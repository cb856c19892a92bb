"""Look-ups and events a second of a live shop over HTTP, in processes of their own: how long answers take.

The client keeps to a timetable: an answer's time counts from when its question was due, so that a server that stalls is
charged for all who waited (no coordinated omission).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from marl_pricing.presentation.output import run_command
from marl_pricing.serving.trial.servers import redis_server

LOOKUPS, EVENTS, SECONDS = 1000, 500, 10.0
_CONNECTIONS = 16  # of each kind
_PORTS = ("event_port=0", "price_port=0", "board_port=null")
_TOP = Path(__file__).parents[1]


class Client:
    """One connection that is kept."""

    async def open(self, port: int) -> Client:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        return self

    async def ask(self, request: bytes) -> int:
        """The status of the answer."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await self.reader.readexactly(length)
        return int(head[9:12])


def _price(number: int) -> bytes:
    path = f"/api/hotel/price/hotel-twin?sessionId=s{number % 5000}"
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n".encode()


def _event(number: int) -> bytes:
    data = {
        "sessionId": f"s{number % 5000}", "storeMode": "hotel", "eventName": "view_item_page", "page": "/rooms",
        "ts": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"), "productId": "hotel-twin",
        "metadata": {"price": 124.0, "n": number}, "userAgent": "benchmark",
    }  # fmt: skip
    body = json.dumps(data).encode()
    return b"POST /api/kafka/ingest HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def _load(port: int, make: Any, rate: float, seconds: float) -> tuple[list[float], int]:
    """Times of answers [s], sorted, and how many were no 200."""
    clients = [await Client().open(port) for _ in range(_CONNECTIONS)]
    begun, times, wrong = time.perf_counter() + 0.1, [], 0
    due = iter(range(int(rate * seconds)))

    async def work(client: Client) -> None:
        nonlocal wrong
        for number in due:
            at = begun + number / rate
            wait = at - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            wrong += await client.ask(make(number)) != 200
            times.append(time.perf_counter() - at)

    await asyncio.gather(*(work(client) for client in clients))
    return sorted(times), wrong


def _memory(pid: int) -> float:
    """MiB that a process holds now."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


async def _watch(pid: int, held: list[float]) -> None:
    while True:
        held.append(_memory(pid))
        await asyncio.sleep(1.0)


def _growth(held: Sequence[float]) -> float:
    """MiB a minute: the slope of a line through the second half, by when what is kept for a while is there."""
    late = np.asarray(held[len(held) // 2 :])
    return float(np.polyfit(np.arange(len(late)) / 60.0, late, 1)[0]) if len(late) > 2 else float("nan")


async def _both(own: Shop, lookups: float, events: float, seconds: float) -> tuple[list[Any], list[float]]:
    held: list[float] = []
    watching = asyncio.create_task(_watch(own.pid, held))
    found = await asyncio.gather(
        _load(own.prices, _price, lookups, seconds), _load(own.events, _event, events, seconds)
    )  # fmt: skip
    watching.cancel()
    return list(found), held


class Shop(NamedTuple):
    """A service's process and its ports."""

    pid: int
    events: int
    prices: int

    def status(self) -> str:
        """ok or degraded, as it says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.prices}/health") as told:
            return json.load(told)["status"]


@contextmanager
def _shop(folder: str, settings: Sequence[str]) -> Iterator[Shop]:
    process = subprocess.Popen(
        [sys.executable, "-m", "marl_pricing.serving", f"out={folder}/shop", *_PORTS, "window=5", *settings],
        cwd=_TOP, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(_TOP)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        events, prices = (int(process.stdout.readline().rpartition(":")[2]) for _ in range(2))
        yield Shop(process.pid, events, prices)
    finally:
        process.terminate()
        process.wait()


def measure(
    lookups: float, events: float, seconds: float, settings: Sequence[str] = (), without: str | None = None
) -> dict[str, Any]:
    """p50 and p99 of both kinds of answers [ms], errors, the server's memory [MiB] and its growth [MiB a minute].

    Args:
        settings: of the shop, as log=kafka.
        without: redis: it is killed before the load begins, and prices come from what the process kept.
    """
    with ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory())
        if without == "redis":
            server = opened.enter_context(redis_server(Path(folder)))
            settings = [*settings, "prices=redis", f"redis=redis://{server.address}/0"]
        own = opened.enter_context(_shop(folder, settings))
        asyncio.run(_load(own.prices, _price, lookups / 4, 1.0))  # imports and first quotes
        if without == "redis":
            server.kill()
        found, held = asyncio.run(_both(own, lookups, events, seconds))
        if (status := own.status()) != ("ok" if without is None else "degraded"):
            raise SystemExit(f"error: the shop says that it is {status}")
    told: dict[str, Any] = {"memory_mib": max(held), "growth_mib_a_minute": _growth(held)}
    for name, (times, wrong) in zip(("lookups", "events"), found, strict=True):
        told[name] = {
            "count": len(times), "wrong": wrong, "p50_ms": 1000 * times[len(times) // 2],
            "p99_ms": 1000 * times[int(0.99 * len(times))], "most_ms": 1000 * times[-1],
        }  # fmt: skip
    return told


def rows(repeats: int = 3) -> list[dict[str, Any]]:
    """The run with the median p99 of look-ups."""
    runs = sorted((measure(LOOKUPS, EVENTS, SECONDS) for _ in range(repeats)), key=lambda own: own["lookups"]["p99_ms"])
    own = runs[len(runs) // 2]
    rate = f"{LOOKUPS} look-ups and {EVENTS} events a second, {SECONDS:g} s"
    table = []
    for name in ("lookups", "events"):
        for figure in ("p50_ms", "p99_ms"):
            note = f"{rate}; {own[name]['wrong']} errors; server {own['memory_mib']:.0f} MiB"
            label = f"{'look-ups' if name == 'lookups' else 'events'}, {figure[:3]}"
            table.append({"name": label, "value": own[name][figure], "unit": "ms", "note": note})
    return table


def main() -> int:
    """One run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("lookups", type=float, nargs="?", default=LOOKUPS, help="a second")
    parser.add_argument("events", type=float, nargs="?", default=EVENTS, help="a second")
    parser.add_argument("seconds", type=float, nargs="?", default=SECONDS)
    parser.add_argument("--without", choices=["redis"], help="prices are kept in it, and it is killed before the load")
    parser.add_argument("--set", nargs="*", default=[], metavar="SETTING=VALUE", help="of the shop, as log=kafka")
    own = parser.parse_args()
    print(json.dumps(measure(own.lookups, own.events, own.seconds, own.set, own.without), indent=1))
    return 0


if __name__ == "__main__":
    run_command(main)
