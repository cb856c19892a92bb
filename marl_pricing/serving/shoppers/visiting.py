"""Sends sessions to a shop at their times, and keeps who each of them really was."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from marl_pricing.serving.client import Client, ClientError
from marl_pricing.serving.shoppers.sessions import NAMES, Crowd, Visit, accepted
from marl_pricing.traffic.events import PURCHASE

_LOOKS = ("view_item", "learn_more", "add_item", PURCHASE)  # a page with a price


@dataclass
class Told:
    """What a session came to."""

    visit: Visit
    prices: dict[str, float] = field(default_factory=dict)  # money, the last that it was told
    bought: str | None = None
    refused: bool = False  # a price, by the shopper


class Visitors:
    """Shoppers at work. Connections are shared; a session's own events go one after the other."""

    def __init__(
        self,
        events: Sequence[Client],
        prices: Sequence[Client],
        base: Mapping[str, float],
        crowd: Crowd,
        begin: int,
        speed: float,
    ) -> None:
        """Nobody is there yet.

        Args:
            base: base prices by id.  begin: ms since 1970, when the first may come.
            speed: seconds of theirs in one of ours.
        """
        self._free: dict[str, asyncio.Queue[Client]] = {"events": asyncio.Queue(), "prices": asyncio.Queue()}
        for name, clients in (("events", events), ("prices", prices)):
            for own in clients:
                self._free[name].put_nowait(own)
        self.base, self.crowd, self.begin, self.speed = base, crowd, begin, speed
        self.asked = {"events": 0, "prices": 0}
        self.wrong: dict[str, int] = {}  # answers that were no 200, by what they were
        self.told: dict[str, Told] = {}

    async def _ask(self, where: str, method: str, target: str, data: dict[str, Any] | None = None) -> Any:
        """JSON of a 200; None for anything else, which is counted."""
        client = await self._free[where].get()
        self.asked[where] += 1
        try:
            status, answer = await client.ask(method, target, None if data is None else json.dumps(data).encode())
            said = f"{status}" + (f", {answer.get('error')}" if isinstance(answer, dict) else "")
        except ClientError as error:
            status, answer, said = 0, None, str(error)
        finally:
            self._free[where].put_nowait(client)
        if status != 200:
            name = f"{where}: {said}"
            self.wrong[name] = self.wrong.get(name, 0) + 1
            return None
        return answer

    async def visit(self, own: Visit, start: float) -> None:
        """One session, from its beginning to its end.

        Args:
            start: time.perf_counter() when the first may come.
        """
        told = self.told[own.name] = Told(own)
        cheapest = self._found(own)
        for number, step in enumerate(own.steps):
            at = own.begins + step.after
            wait = start + at / self.speed - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            product = cheapest if own.kind == "clean" and step.product else step.product
            stamp = self.begin + round(at * 1000)
            if product is not None and step.state in _LOOKS:
                await self._look(told, product, stamp)
            if step.state == PURCHASE and not self._accepts(told, product):
                told.refused = True
                return
            event = self._event(own, number, product, step.dwell, stamp, told)
            for _ in range(2 if step.twice else 1):
                await self._ask("events", "POST", "/api/kafka/ingest", event)
            if step.state == PURCHASE:
                told.bought = product

    def _found(self, own: Visit) -> str | None:
        """What an agent's look before found cheapest, relative to its base price."""
        before = self.told.get(own.recon) if own.recon else None
        if before is None or not before.prices:
            return next((step.product for step in own.steps if step.product), None)
        return min(before.prices, key=lambda name: before.prices[name] / self.base[name])

    async def _look(self, told: Told, product: str, stamp: int) -> None:
        """A page with a price: it is asked for, and logged."""
        own = told.visit
        target = f"/api/{own.mode}/price/{quote(product, safe='')}?sessionId={own.name}"
        answer = await self._ask("prices", "GET", target)
        if answer is None:
            return
        told.prices[product] = answer["price"]
        logged = {"productId": product, "price": answer["price"], "sessionId": own.name, "storeMode": own.mode}
        await self._ask("events", "POST", "/api/kafka/price-log", logged | {"ts": _iso(stamp)})

    def _accepts(self, told: Told, product: str | None) -> bool:
        price = told.prices.get(product) if product else None
        if product is None or price is None:
            return False
        crowd = self.crowd
        return accepted(told.visit.draw, price, self.base[product], crowd.elasticity[told.visit.actor], crowd.accepts)

    def _event(
        self, own: Visit, number: int, product: str | None, dwell: int | None, stamp: int, told: Told
    ) -> dict[str, Any]:
        """As the storefront posts it."""
        step = own.steps[number]
        metadata: dict[str, Any] = {}
        if dwell is not None:
            metadata["dwellTime"] = dwell
        elif product is not None and product in told.prices:
            metadata["price"] = told.prices[product]
        page = f"/{own.mode}" if product is None else f"/{own.mode}/{product}"
        event = {
            "sessionId": own.name, "storeMode": own.mode, "eventName": NAMES[step.state], "page": page,
            "ts": _iso(stamp), "metadata": metadata, "userAgent": "Mozilla/5.0",
        }  # fmt: skip
        return event | ({"productId": product} if product is not None else {})

    async def all(self, visits: Sequence[Visit], tell: Callable[[float], None]) -> None:
        """Everybody, each at its time.

        Args:
            tell: called every second with the seconds of theirs that have passed.
        """
        start = time.perf_counter()
        last = max((own.begins + own.steps[-1].after for own in visits), default=0.0)

        async def watch() -> None:
            while True:
                tell(min((time.perf_counter() - start) * self.speed, last))
                await asyncio.sleep(1.0)

        watching = asyncio.create_task(watch())
        try:
            async with asyncio.TaskGroup() as group:
                for own in visits:
                    wait = start + own.begins / self.speed - time.perf_counter()
                    if wait > 0:
                        await asyncio.sleep(wait)
                    group.create_task(self.visit(own, start))
        finally:
            watching.cancel()


def _iso(stamp: int) -> str:
    moment = datetime.fromtimestamp(stamp / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
