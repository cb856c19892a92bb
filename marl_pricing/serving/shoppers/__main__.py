"""`python -m marl_pricing.serving.shoppers`: people and agents for a shop that runs."""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import asyncio
import csv
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from marl_pricing.config.errors import ConfigError, Settings
from marl_pricing.presentation.output import run_command

_USAGE = """Visit a shop that runs (python -m marl_pricing.serving) as people and agents would, with known truth.

usage: python -m marl_pricing.serving.shoppers [field=value …]

With speed above 1 their clocks run ahead of ours: start the shop with clock=events, whose windows then end by
their time.

Settings:
"""
_COLUMNS = ("session", "actor", "kind", "begins", "mode", "product", "price", "bought", "refused_the_price")


class ShopperSettings(Settings):
    """Who comes. Times are seconds of the shoppers' own clocks."""

    events: Annotated[str, Field(description="address of the event API")] = "http://127.0.0.1:5000"
    prices: Annotated[str, Field(description="address of the price provider")] = "http://127.0.0.1:5001"
    ingest_key_file: Annotated[str | None, Field(description="file with the event API's key; null: it asks none")] = (
        None
    )
    price_key_file: Annotated[str | None, Field(description="file with the provider's key; null: it asks none")] = None
    rate: Annotated[float, Field(gt=0, le=10_000, description="shoppers who come in a second")] = 0.5
    seconds: Annotated[float, Field(gt=0, le=1e7, description="in which they come")] = 600.0
    speed: Annotated[float, Field(gt=0, le=1e5, description="seconds of theirs in one of ours")] = 10.0
    agents: Annotated[float, Field(ge=0, le=1, description="share of agents among those who come")] = 0.2
    recon: Annotated[
        float, Field(ge=0, le=1, description="share of agents who look in one session and buy in a clean one")
    ] = 0.5
    elasticity: Annotated[float, Field(le=0, ge=-20, description="of people's chance to accept a price")] = -1.5
    agents_elasticity: Annotated[float, Field(le=0, ge=-20, description="of agents' chance to accept one")] = -3.0
    accepts: Annotated[float, Field(gt=0, le=1, description="chance to accept the base price")] = 0.6
    kernels: Annotated[str, Field(description="storefront, fallback (no hovers), or a YAML of kernels")] = "storefront"
    again: Annotated[float, Field(ge=0, le=1, description="share of events that are posted twice")] = 0.01
    start: Annotated[
        Literal["now"] | str, Field(description="when the first may come: now, or as 2026-01-31T12:00:00Z")
    ] = "now"
    connections: Annotated[int, Field(ge=1, le=512, description="to each of both services")] = 16
    out: Annotated[str, Field(min_length=1, description="CSV of who each session really was")] = "runs/shoppers.csv"
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="of all that is drawn")] = 0


def _key(path: str | None, field: str) -> str | None:
    from marl_pricing.serving.settings import read_key

    found = read_key(path, field)
    return None if found is None else found.decode()


async def _catalogue(client: Any) -> dict[str, list[dict[str, Any]]]:
    """Products by mode, as the shop shows them."""
    from marl_pricing.serving.catalogue import MODES
    from marl_pricing.serving.client import ClientError

    found = {}
    for mode in MODES:
        try:
            status, answer = await client.ask("GET", f"/api/products/type/{mode}")
        except ClientError as error:
            raise ConfigError(f"events: {error}; is the shop there (python -m marl_pricing.serving)?") from None
        if status != 200 or not isinstance(answer, list):
            raise ConfigError(f"events={client.url!r}: answers {status} where a list of products is wanted")
        found[mode] = answer
    if not any(found.values()):
        raise ConfigError(f"events={client.url!r}: the shop has no products")
    return found


async def _visit(own: ShopperSettings, begin: int) -> Any:
    from marl_pricing.serving.client import Client
    from marl_pricing.serving.judging import kernels_of
    from marl_pricing.serving.shoppers.sessions import Crowd, draw_visits
    from marl_pricing.serving.shoppers.visiting import Visitors

    keys = {name: _key(getattr(own, name), name) for name in ("ingest_key_file", "price_key_file")}
    try:
        events = [Client(own.events, keys["ingest_key_file"]) for _ in range(own.connections)]
        prices = [Client(own.prices, keys["price_key_file"]) for _ in range(own.connections)]
    except ValueError as error:
        raise ConfigError(f"events or prices: {error}") from None
    human, agent = kernels_of(own.kernels)
    catalogue = await _catalogue(events[0])
    by_actor = {"human": own.elasticity, "agent": own.agents_elasticity}
    crowd = Crowd(own.agents, own.recon, by_actor, own.accepts, own.again)
    products = {mode: [product["id"] for product in rows] for mode, rows in catalogue.items()}
    visits = draw_visits({"human": human, "agent": agent}, products, own.rate, own.seconds, crowd, own.seed)
    base = {product["id"]: product["base_price"] for rows in catalogue.values() for product in rows}
    visitors = Visitors(events, prices, base, crowd, begin, own.speed)
    last = max((visit.begins + visit.steps[-1].after for visit in visits), default=0.0)
    print(f"{len(visits)} sessions on their way, about {last / own.speed:.0f} s", file=sys.stderr, flush=True)
    begun, shown = time.perf_counter(), 0.0

    def tell(passed: float) -> None:
        nonlocal shown
        now = time.perf_counter() - begun
        if now - shown < 5.0:
            return
        shown = now
        asked, left = sum(visitors.asked.values()), max(last - passed, 0.0) / own.speed
        wrong = sum(visitors.wrong.values())
        told = (
            f"{passed / last:4.0%}  {asked:,} requests, {asked / now:,.0f} a second, {wrong} failed, {left:.0f} s left"
        )
        print(told, file=sys.stderr, flush=True)

    try:
        await visitors.all(visits, tell)
    finally:
        for client in (*events, *prices):
            await client.close()
    return visitors


def _write(path: Path, visitors: Any) -> None:
    from marl_pricing.presentation.files import write_atomically

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for told in visitors.told.values():
        own = told.visit
        last = told.bought or next(reversed(told.prices), None)
        price = told.prices.get(last) if last else None
        row = (own.name, own.actor, own.kind, f"{own.begins:.3f}", own.mode, last or "", "" if price is None else price)
        writer.writerow((*row, int(told.bought is not None), int(told.refused)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue())


def main(arguments: Sequence[str] | None = None) -> int:
    """Visit; exit status 1 where an answer was no 200, 2 and a line a fault where it cannot be begun."""
    from marl_pricing.config.command_line import read_command_line, settings_help
    from marl_pricing.config.errors import validate

    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in ("-h", "--help", "help"):
        print(_USAGE + settings_help(ShopperSettings, {}))
        return 0
    texts = ("events", "prices", "ingest_key_file", "price_key_file", "kernels", "start", "out")
    try:
        own = validate(ShopperSettings, read_command_line(given, texts=texts))
        from marl_pricing.serving.schemas import RefusedError, parse_stamp

        try:
            begin = time.time_ns() // 1_000_000 if own.start == "now" else parse_stamp(own.start, "start")
        except RefusedError as error:
            raise ConfigError(f"start: {error}") from None
        visitors = asyncio.run(_visit(own, begin))
    except ConfigError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2
    _write(Path(own.out), visitors)
    sessions = list(visitors.told.values())
    agents = sum(told.visit.actor == "agent" for told in sessions)
    bought = sum(told.bought is not None for told in sessions)
    print(
        f"sessions: {len(sessions)}, {agents} of agents; purchases: {bought}; requests: {sum(visitors.asked.values())}"
    )
    for what, times in sorted(visitors.wrong.items(), key=lambda pair: -pair[1])[:5]:
        print(f"failed: {what} ({times} times)", file=sys.stderr)
    print(f"who they were: {own.out}")
    return 1 if visitors.wrong else 0


if __name__ == "__main__":
    run_command(main)
