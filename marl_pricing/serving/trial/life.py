"""A policy in its simulated market and behind a live shop, over HTTP: the same figures an epoch, the same inputs."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from marl_pricing.config import Market
from marl_pricing.export.reading import ExportedPolicy
from marl_pricing.market import reset
from marl_pricing.serving.client import Client
from marl_pricing.serving.learned import policies_in
from marl_pricing.serving.pipeline import replay
from marl_pricing.serving.sqlite_log import SqliteLog
from marl_pricing.serving.trial.process import ShopProcess
from marl_pricing.serving.trial.simulated import MEASURES, Crowd, Visitor, shown_in_training, simulate
from marl_pricing.traffic.events import canonical, weight

WINDOW = 300  # seconds
_BEGIN = 1_800_000_000  # seconds since 1970, the start of a window
_CONNECTIONS = 16
_MOST = 60.0  # seconds that a vector may take
CLOSE = 1e-6  # between a policy's inputs here and there


class Compared(NamedTuple):
    """A measure, an epoch's mean. `error` is the standard error of the difference."""

    name: str
    live: float
    simulated: float
    error: float

    @property
    def distance(self) -> float:
        """In standard errors."""
        difference = self.live - self.simulated
        return difference / self.error if self.error > 0 else math.copysign(math.inf, difference) if difference else 0.0


class Lived(NamedTuple):
    """What came of it.

    Attributes:
        inputs: largest difference between what the policy was shown live and the training's observation of that state.
        requests: that were posted.  seconds: that it took.
    """

    measures: list[Compared]
    inputs: float
    requests: int
    seconds: float


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def write_catalogue(path: Path, made: Market, start: Sequence[float]) -> list[str]:
    """Products of a market's only seller, in their order; the prices before the first epoch are the base prices."""
    _, params = made
    names = [f"p{number}" for number in range(len(start))]
    low, high = np.reshape(params.prices.low, -1), np.reshape(params.prices.high, -1)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "mode", "name", "base_price", "cost", "floor", "cap", "stock"))
        for name, base, least, most in zip(names, start, low, high, strict=True):
            bounds = (min(least, base), max(most, base))
            rows.writerow((name, "hotel", name, f"{base:.6f}", 0, *(f"{bound:.6f}" for bound in bounds), ""))
    return names


class _Live:
    """A shop at work, and what was sent to it."""

    def __init__(self, own: ShopProcess, names: Sequence[str], crowd: Crowd) -> None:
        self.shop, self.names, self.crowd = own, list(names), crowd
        self.prices: list[list[float]] = []  # by epoch
        self.orders: list[list[float]] = []
        self.proxies: list[list[float]] = []
        self.requests = 0

    def _body(self, session: str, stamp: int, product: str, **others: Any) -> bytes:
        told = {"sessionId": session, "storeMode": "hotel", "ts": _iso(stamp), "productId": product}
        return json.dumps(told | others).encode()

    async def play(self, epochs: int, tell: Callable[[int], None]) -> None:
        """One epoch after the other: its price, its sessions, its end."""
        events = [Client(f"http://127.0.0.1:{self.shop.events}") for _ in range(_CONNECTIONS)]
        prices = Client(f"http://127.0.0.1:{self.shop.prices}")
        try:
            await self._turn(events[0], prices, 0)
            for epoch in range(epochs):
                tell(epoch)
                await self._turn(events[0], prices, epoch + 1)
                paid = [(await self._ask(prices, "GET", f"/api/hotel/price/{name}"))["price"] for name in self.names]
                self.prices.append(paid)
                await self._visit(events, epoch, self.crowd.come(paid))
            await self._turn(events[0], prices, epochs + 1)
        finally:
            for client in (*events, prices):
                await client.close()

    async def _ask(self, client: Client, method: str, path: str, body: bytes | None = None) -> Any:
        status, told = await client.ask(method, path, body)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status}, {told}")
        return told

    async def _turn(self, events: Client, prices: Client, window: int) -> None:
        """Into a window: something of its time is logged, and the vector before it is waited for."""
        stamp = (_BEGIN + window * WINDOW) * 1000
        body = self._body("clock", stamp, self.names[0], price=0.0)  # no price that was shown, a time
        await self._ask(events, "POST", "/api/kafka/price-log", body)
        until = time.monotonic() + _MOST
        while (health := await self._ask(prices, "GET", "/health"))["vector_version"] < window:
            if time.monotonic() > until:
                raise RuntimeError(f"the shop made no vector of window {window}: {health}")
            await asyncio.sleep(0.002)

    async def _visit(self, clients: Sequence[Client], epoch: int, visitors: Sequence[Visitor]) -> None:
        size = len(self.names)
        orders, proxies = [0.0] * size, [0.0] * size
        begin, left = (_BEGIN + (epoch + 1) * WINDOW) * 1000 + 1, iter(enumerate(visitors))

        async def work(client: Client) -> None:
            for number, own in left:
                for place, event in enumerate(own.events):
                    product = self.names[event.product]
                    others: dict[str, Any] = {"eventName": event.name, "page": f"/{product}"}
                    if event.name.startswith("hover_"):
                        others["metadata"] = {"dwellTime": 1500}
                    stamp = begin + (number * 1000 + place * 7) % (WINDOW * 1000 - 1000)
                    await self._ask(
                        client, "POST", "/api/kafka/ingest",
                        self._body(f"s{epoch}-{number}", stamp, product, **others),
                    )  # fmt: skip
                    self.requests += 1
                    proxies[event.product] += weight(canonical(event.name) or "")
                    orders[event.product] += event.name == "purchase_complete"

        await asyncio.gather(*(work(client) for client in clients))
        self.orders.append(orders)
        self.proxies.append(proxies)


def _inputs(records: Any, folder: Path) -> list[np.ndarray]:
    """What the policy was shown, decision by decision: the log replayed with a witness."""
    shown: list[np.ndarray] = []

    def find(name: str) -> ExportedPolicy:
        own = policies_in(folder)(name)

        def run(inputs: Any) -> Any:
            shown.append(np.asarray(inputs["observation"])[0])
            return own.run(inputs)

        return ExportedPolicy(own.about, run)

    replay(records, find)
    return shown


def _states(live: _Live, start: Sequence[float]) -> list[dict[str, Any]]:
    """The simulator's states before each decision, of what was sent and asked."""
    size = len(start)
    proxies = [[0.0] * size, *live.proxies]  # before each decision
    found = []
    for epoch in range(len(live.prices)):
        now, last = proxies[epoch], proxies[epoch - 1] if epoch else [0.0] * size
        trend = [0.0] * size
        if sum(now) > 0 and sum(last) > 0:
            trend = [a / sum(now) - b / sum(last) for a, b in zip(now, last, strict=True)]
        found.append({
            "epoch": epoch, "prices": live.prices[epoch - 1] if epoch else list(start), "events": now, "trend": trend,
            "demand": live.orders[epoch - 1] if epoch else [0.0] * size,
        })  # fmt: skip
    return found


def live(
    made: Market,
    policy: tuple[Path, ExportedPolicy],
    folder: Path,
    epochs: int,
    runs: int,
    seed: int,
    tell: Callable[[int], None] = lambda epoch: None,
) -> Lived:
    """Play a policy so many epochs in both places.

    Args:
        made: a market that `simulated.check` takes.  policy: its file and what is in it.  folder: an empty one.
        runs: simulated, of as many epochs each.
    """
    import jax

    began = time.perf_counter()
    start = [float(value) for value in reset(jax.random.key(seed), made.shape, made.params)[0].prices]
    names = write_catalogue(folder / "shop.csv", made, start)
    out, prior = folder / "shop", min(max(float(np.asarray(made.params.traffic.agent_share)), 0.01), 0.99)
    shop = ShopProcess(
        out, f"catalogue={folder / 'shop.csv'}", "clock=events", f"window={WINDOW}", "lateness=0", "survives=kill",
        "pricer=policy", f"policy={policy[0]}", f"policy_products=[{','.join(names)}]", "max_change=100",
        "max_change_day=100", "kernels=fallback", f"prior={prior}",
    ).ready()  # fmt: skip
    own = _Live(shop, names, Crowd(made, seed))
    try:
        asyncio.run(own.play(epochs, tell))
    finally:
        shop.end()
    log = SqliteLog(out / "events.sqlite")
    try:
        records, vectors = log.read(1, 100_000_000), log.vectors()[1:]
    finally:
        log.close()
    shown = _inputs(records, out)
    wanted = [shown_in_training(made, state) for state in _states(own, start)]
    differ = max(float(np.abs(a - b).max()) for a, b in zip(shown[: len(wanted)], wanted, strict=True))
    simulated = simulate(made, policy[1], epochs, runs, seed)
    return Lived(
        _compare(own.prices, vectors, simulated), differ, own.requests, time.perf_counter() - began,
    )  # fmt: skip


def _compare(
    prices: Sequence[Sequence[float]], vectors: Sequence[dict[str, Any]], simulated: dict[str, np.ndarray]
) -> list[Compared]:
    """The shop's own figures, of its vectors, beside the simulator's."""
    of_epoch: dict[str, list[float]] = {name: [] for name in MEASURES}
    for paid, vector in zip(prices, vectors, strict=True):
        lines = list(vector["lines"].values())
        of_epoch["revenue"].append(sum(price * line["orders"] for price, line in zip(paid, lines, strict=True)))
        of_epoch["orders"].append(sum(line["orders"] for line in lines))
        of_epoch["proxy"].append(sum(line["proxy"] for line in lines))
        of_epoch["share"].append(vector["agents"]["share"])
    found = []
    for name, values in of_epoch.items():
        there = simulated[name]
        # Epochs of a run hang together, so that runs are compared with runs; the shop's estimates of the share of
        # agents are another estimator's, each of its own window.
        spread = there.std(ddof=1)
        own = np.std(values, ddof=1) / math.sqrt(len(values)) if name == "share" else spread
        error = math.hypot(float(own), float(spread) / math.sqrt(len(there)))
        found.append(Compared(name, float(np.mean(values)), float(there.mean()), error))
    return found
