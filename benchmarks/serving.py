"""Look-ups and events a second of a live shop over HTTP, in processes of their own: how long answers take.

The client keeps to a timetable: an answer's time counts from when its question was due, so that a server that stalls is
charged for all who waited (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from marl_pricing.presentation.output import run_command

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


async def _both(ports: tuple[int, int], lookups: float, events: float, seconds: float) -> list[Any]:
    await _load(ports[1], _price, lookups / 4, 1.0)  # imports and first quotes
    return await asyncio.gather(
        _load(ports[1], _price, lookups, seconds), _load(ports[0], _event, events, seconds)
    )  # fmt: skip


def measure(lookups: float, events: float, seconds: float, settings: Sequence[str] = ()) -> dict[str, Any]:
    """p50 and p99 of both kinds of answers [ms], errors, and the server's memory [MiB].

    Args:
        settings: of the shop, as log=kafka.
    """
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "marl_pricing.serving", f"out={folder}", *_PORTS, "window=5", *settings],
            cwd=_TOP, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(_TOP)},
        )  # fmt: skip
        try:
            assert process.stdout is not None
            first, second = (int(process.stdout.readline().rpartition(":")[2]) for _ in range(2))
            found = asyncio.run(_both((first, second), lookups, events, seconds))
            status = Path(f"/proc/{process.pid}/status").read_text()
            memory = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        finally:
            process.terminate()
            process.wait()
    told: dict[str, Any] = {"memory_mib": memory}
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
    """`python -m benchmarks.serving [look-ups a second] [events a second] [seconds] [setting=value …]`: one run."""
    settings = [own for own in sys.argv[1:] if "=" in own]
    given = [float(own) for own in sys.argv[1:] if "=" not in own][:3]
    print(json.dumps(measure(*(given + [LOOKUPS, EVENTS, SECONDS][len(given) :]), settings), indent=1))
    return 0


if __name__ == "__main__":
    run_command(main)
