"""What a range of a shop's log says: sales by period and product, and what sessions did."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from marl_pricing.config.errors import ConfigError, refuse
from marl_pricing.serving.catalogue import Catalogue, from_plain
from marl_pricing.serving.guardrails import cents
from marl_pricing.serving.log import CONTROL, INTERACTIONS, PRICES, Record
from marl_pricing.serving.pipeline import SETTINGS
from marl_pricing.serving.pricers import Pricing, pricing_from
from marl_pricing.serving.sqlite_log import SqliteLog, log_file
from marl_pricing.serving.windows import LEAST_HOVER
from marl_pricing.traffic.events import canonical

MAPPING = "product: product\nseller: seller\nperiod: period\nunits: units\nprice: price\ncost: cost\n"


class Sale(NamedTuple):
    """A product in a period."""

    period: int
    product: str
    units: int
    price: float  # money, the mean that pages showed; where none did, what was posted
    cost: float  # money


class History(NamedTuple):
    """What a range of records comes to.

    Attributes:
        sales: by period and product; periods count from 0.
        sessions: those that did something, a period on average.  most: in the busiest period.
        paths: names of events, of every session in the order of time.
        last: the last offset that was read.  pricing: the settings that held then.
    """

    sales: list[Sale]
    sessions: float
    most: int
    paths: list[list[str]]
    last: int
    pricing: Pricing
    catalogue: Catalogue


class _Fold:
    """Counts by period. A part of `Pipeline` that needs neither its windows' ends nor its prices."""

    def __init__(self, period: int, posted: Mapping[int, Mapping[str, float]]) -> None:
        """Args:
        period: ms.  posted: prices by the end [ms] of the window before.
        """
        self.period, self.posted = period, posted
        self.pricing: Pricing | None = None
        self.catalogue: Catalogue = {}
        self.units: dict[tuple[int, str], int] = defaultdict(int)
        self.shown: dict[tuple[int, str], list[float]] = defaultdict(list)
        self.there: dict[int, set[str]] = defaultdict(set)
        self.events: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self.carts: dict[str, dict[str, int]] = defaultdict(dict)

    def settings(self, record: Record) -> None:
        """Take up what holds from here on."""
        body = json.loads(record.body)
        self.pricing, self.catalogue = pricing_from(body["pricing"]), from_plain(body["catalogue"])

    def take(self, record: Record) -> None:
        """Count an event or a price that was shown."""
        assert self.pricing is not None
        body = json.loads(record.body)
        stamp = record.stamp if self.pricing.clock == "events" else min(record.stamp, record.received)
        number, product = stamp // self.period, body.get("productId")
        known = self.catalogue.get(product) if product else None
        if record.topic == PRICES:
            if known is not None and known.floor <= body["price"] <= known.cap:
                self.shown[number, known.id].append(body["price"])
            return
        name, session = body["eventName"], body["sessionId"]
        dwell = (body.get("metadata") or {}).get("dwellTime") if name.startswith("hover_") else None
        if dwell is not None and dwell < LEAST_HOVER:
            return
        self.there[number].add(session)
        if (word := canonical(name)) is not None:
            self.events[session].append((stamp, word))
        cart = self.carts[session]
        if name == "add_item_to_cart" and product:
            cart[product] = cart.get(product, 0) + 1
        elif name == "remove_item" and product in cart:
            cart[product] -= 1
        elif name == "purchase_complete":
            for own, units in ({product: 1} if product else cart).items():
                self.units[number, own] += units
            cart.clear()

    def price(self, number: int, product: str) -> float:
        """The mean that pages showed; else what held when the period began; else the base price."""
        told = self.shown.get((number, product))
        if told:
            return sum(told) / len(told)
        before = [end for end in self.posted if end <= number * self.period]
        held = self.posted[max(before)].get(product) if before else None
        return self.catalogue[product].base_price if held is None else held


def read_history(folder: Path, first: int, last: int | None, seconds: float | None) -> History:
    """Read a range of a shop's log, first and last offset included.

    Args:
        last: None: to its end.  seconds: of a period; None: the shop's window.

    Raises:
        ConfigError: for a folder without a log, and a range that says too little.
    """
    log = SqliteLog(log_file(folder))
    try:
        end = log.end()
        if first > end:
            raise refuse("first", first, f"at most {end}, the last offset of the log")
        if last is not None and not first <= last <= end:
            raise refuse("last", last, f"{first} to {end}")
        vectors = log.vectors()
        held = log.last_of(CONTROL, SETTINGS)
        if held is None:
            raise refuse("out", str(folder), "a shop that has been at work")
        window = json.loads(held.body)["pricing"]["window"]
        period = round(seconds * 1000) if seconds is not None else window
        own = _Fold(period, {vector["ends"]: vector["prices"] for vector in vectors})
        stop = end if last is None else last
        for record in log.walk(stop):
            if record.topic == CONTROL and record.key == SETTINGS:
                own.settings(record)  # also of those before the range: they hold in it
            elif record.topic in (INTERACTIONS, PRICES) and record.offset >= first:
                own.take(record)
    finally:
        log.close()
    return _history(own, stop)


def _history(own: _Fold, last: int) -> History:
    numbers = sorted({number for number, _ in own.units} | set(own.there))
    if len(numbers) < 2 or own.pricing is None:
        raise ConfigError("first, last: there is no event in two periods of this range")
    # The range cuts its first and its last period.
    whole = range(numbers[0] + 1, numbers[-1]) if len(numbers) > 4 else range(numbers[0], numbers[-1] + 1)
    sales = [
        Sale(
            number - whole.start, product.id, own.units.get((number, product.id), 0), own.price(number, product.id),
            product.cost,
        )
        for number in whole
        for product in own.catalogue.values()
    ]  # fmt: skip
    paths = [[word for _, word in sorted(events, key=lambda pair: pair[0])] for events in own.events.values()]
    came = [len(own.there.get(number, ())) for number in whole]
    return History(sales, sum(came) / len(came), max(came), paths, last, own.pricing, own.catalogue)


def write_sales(history: History, products: Sequence[str], folder: Path) -> tuple[Path, Path]:
    """The calibration's own file of sales, and the mapping that reads it."""
    data, mapping = folder / "sales.csv", folder / "mapping.yaml"
    with data.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("period", "seller", *Sale._fields[1:]))
        for own in history.sales:
            if own.product in products:
                rows.writerow((own.period, "shop", own.product, own.units, f"{own.price:.6f}", f"{own.cost:.6f}"))
    mapping.write_text(MAPPING, encoding="utf-8")
    return data, mapping


def moved(history: History) -> dict[str, int]:
    """How many prices [cents] each product had."""
    seen: dict[str, set[int]] = defaultdict(set)
    for own in history.sales:
        seen[own.product].add(cents(own.price))
    return {name: len(prices) for name, prices in seen.items()}
