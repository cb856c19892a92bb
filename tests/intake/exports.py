"""Exports as people have them, written small: the bytes of a file, a mapping of at most ten lines, and the truth.

The truth is kept as plain records, and summed in a loop; a file is written from it by hand.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

MONDAY = date(2024, 1, 1)


@dataclass(frozen=True)
class Sale:
    """A line of the truth; `store` is empty where there is one."""

    product: str
    day: date
    units: int
    price: float
    store: str = ""


@dataclass(frozen=True)
class Export:
    """A file.

    Attributes:
        name: of the file.  data: its bytes.  mapping: YAML, empty for none.
        units: (product, store, period) → units, returns taken off.
        currency: as it is to be found.
    """

    name: str
    data: bytes
    mapping: str
    units: dict[tuple[str, str, int], float]
    currency: str = ""


def sales(
    products: list[str], days: list[date], seed: int, high: int = 4_000, stores: tuple[str, ...] = ("",)
) -> list[Sale]:
    """Lines of each product, store and day; units up to thousands, so that signs of thousands come up."""
    random = np.random.default_rng(seed)
    lines = []
    for product in products:
        for store in stores:
            for day in days:
                price = round(float(random.uniform(1.05, 4.95)), 2)
                lines.append(Sale(product, day, int(random.integers(1, high)), price, store))
    return lines


def weeks(count: int) -> list[date]:
    return [MONDAY + timedelta(7 * week) for week in range(count)]


def days(count: int) -> list[date]:
    return [MONDAY + timedelta(day) for day in range(count)]


def summed(lines: list[Sale], length: int = 7) -> dict[tuple[str, str, int], float]:
    """Units of each product, store and period of so many days, counted from the first day."""
    first = min(line.day for line in lines)
    found: dict[tuple[str, str, int], float] = defaultdict(float)
    for line in lines:
        found[line.product, line.store, (line.day - first).days // length] += line.units
    return dict(found)


def _thousands(units: int, sign: str) -> str:
    return f"{units:,}".replace(",", sign)


def german() -> Export:
    """Semicolons, decimal commas, dd.mm.yyyy, €, dots between thousands, a byte order mark."""
    own = sales(["Käse", "Müsli", "Öl"], weeks(12), 1)
    rows = [
        ";".join([s.product, f"{s.day:%d.%m.%Y}", _thousands(s.units, "."), f"{s.price:.2f} €".replace(".", ",")])
        for s in own
    ]
    text = "Artikel;Datum;Menge;Preis\r\n" + "\r\n".join(rows) + "\r\n"
    mapping = "product: Artikel\nperiod: Datum\nunits: Menge\nprice: Preis\n"
    return Export("german.csv", text.encode("utf-8-sig"), mapping, summed(own), "€")


def quoted() -> Export:
    """Quoted "1,486", and a row of totals at the end."""
    own = sales(["tea", "rusk"], weeks(20), 2)
    rows = [f's,{s.product},{(s.day - MONDAY).days // 7},"{s.units:,}",{s.price:.2f}' for s in own]
    rows.append(f'Total,,,"{sum(s.units for s in own):,}",')
    return Export(
        "quoted.csv", ("seller,product,period,units,price\n" + "\n".join(rows) + "\n").encode(), "", summed(own)
    )


def dollars() -> Export:
    """$1.49, and lines of a title above the header."""
    own = sales(["tea", "rusk"], weeks(9), 3)
    rows = [f"tea co,{s.product},{s.day:%b %d %Y},{s.units},${s.price:.2f}" for s in own]
    text = "Sales by week,,,,\nexported 2024-03-09,,,,\nseller,product,period,units,price\n" + "\n".join(rows) + "\n"
    return Export("dollars.csv", text.encode(), "", summed(own), "$")


def french() -> Export:
    """cp1252, tabs, spaces between thousands, decimal commas, dd/mm/yyyy."""
    own = sales(["Crème", "Pâté"], weeks(10), 4)
    rows = [
        "\t".join([s.product, f"{s.day:%d/%m/%Y}", _thousands(s.units, "\u00a0"), f"{s.price:.2f}".replace(".", ",")])
        for s in own
    ]
    text = "Désignation\tSemaine\tQuantité\tPrix (EUR)\n" + "\n".join(rows) + "\n"
    mapping = "product: Désignation\nperiod: Semaine\nunits: Quantité\nprice: Prix (EUR)\n"
    return Export("french.csv", text.encode("cp1252"), mapping, summed(own), "EUR")


def iso_weeks() -> Export:
    """ISO weeks across a year's end."""
    start = date(2023, 12, 11)
    own = sales(["a", "b"], [start + timedelta(7 * week) for week in range(8)], 5)
    rows = ["{},{}-W{:02d},{},{:.2f}".format(s.product, *s.day.isocalendar()[:2], s.units, s.price) for s in own]
    return Export("iso.csv", ("product,period,units,price\n" + "\n".join(rows) + "\n").encode(), "", summed(own))


def american_days() -> Export:
    """Daily data, mm/dd/yyyy, in UTF-16."""
    own = sales(["a", "b"], days(40), 6, high=90)
    rows = [f"{s.product};{s.day:%m/%d/%Y};{s.units};{s.price:.2f}" for s in own]
    text = "product;period;units;price\n" + "\n".join(rows) + "\n"
    return Export("days.csv", text.encode("utf-16"), "", summed(own))


def order_lines() -> Export:
    """Order lines stamped in microseconds, several a product and week, with returns as negative units."""
    random = np.random.default_rng(7)
    own = [line for line in sales(["a", "b"], days(35), 7, high=9) for _ in range(2)]
    back = [Sale(s.product, s.day, -1, 0.0) for s in own[::9]]
    rows = []
    for s in own + back:
        at = datetime(s.day.year, s.day.month, s.day.day, 9, tzinfo=UTC) + timedelta(seconds=int(random.integers(3600)))
        rows.append(f"{int(at.timestamp() * 1e6)},{s.product},{s.units},{s.price:.2f}")
    text = "event_timestamp,item_id,quantity,item_price\n" + "\n".join(rows) + "\n"
    mapping = "product: item_id\nperiod: event_timestamp\nunits: quantity\nprice: item_price\n"
    return Export("orders.csv", text.encode(), mapping, summed(own + back))


def online_retail() -> Export:
    """The layout of the UCI Online Retail file: order lines, m/d/yyyy h:mm, returns under C numbers."""
    start = date(2010, 12, 1)
    own = sales(["85123A", "71053"], [start + timedelta(day) for day in range(28)], 8, high=30)
    back = [Sale(s.product, s.day, -1, s.price) for s in own[3::10]]
    rows = [
        f'{"C" if s.units < 0 else ""}{536365 + n},{s.product},"HOLDER, WHITE",{s.units},'
        f"{s.day.month}/{s.day.day}/{s.day.year} 8:{n % 60:02d},{s.price:.2f},17850.0,United Kingdom"
        for n, s in enumerate(own + back)
    ]
    head = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    return Export("retail.csv", (head + "\n".join(rows) + "\n").encode("latin-1"), "", summed(own + back))


def dominicks() -> Export:
    """The layout of Dominick's movement files: stores, bundle prices, weeks of no sale at price 0, rows not OK."""
    own = sales(["1192603016", "1192662108"], weeks(10), 9, high=60, stores=("5", "8"))
    rows = [
        f"{s.store},{s.product},{91 + (s.day - MONDAY).days // 7},{s.units},2,{2 * s.price:.2f},,25.0,1" for s in own
    ]
    rows += [f"5,1192603016,{120 + n},0,1,0,,0,1" for n in range(5)] + ["8,1192603016,130,99,1,1.5,,0,0"]
    text = "STORE,UPC,WEEK,MOVE,QTY,PRICE,SALE,PROFIT,OK\n" + "\n".join(rows) + "\n"
    return Export("wber.csv", text.encode(), "", summed(own))


def complete_journey() -> Export:
    """The layout of The Complete Journey: lines of baskets with sales values, stores added up."""
    own = sales(["819978", "914190"], weeks(8), 10, high=9, stores=("31401", "367"))
    rows = [
        f"{n},2698{n},{1 + (s.day - MONDAY).days},{s.product},{s.units},{s.units * s.price:.2f},{s.store},0,1631,"
        f"{1 + (s.day - MONDAY).days // 7},0,0"
        for n, s in enumerate(own)
    ]
    head = (
        "household_key,BASKET_ID,DAY,PRODUCT_ID,QUANTITY,SALES_VALUE,STORE_ID,RETAIL_DISC,TRANS_TIME,WEEK_NO,COUPON_DISC,"
        "COUPON_MATCH_DISC\n"
    )
    return Export("transaction_data.csv", (head + "\n".join(rows) + "\n").encode(), "", summed([
        Sale(s.product, s.day, s.units, s.price) for s in own]))  # fmt: skip


def shopify() -> Export:
    """The layout of Shopify's export of orders."""
    own = sales(["Mug, blue", "Mug, red"], days(28), 11, high=5)
    rows = [
        f'#{1000 + n},{s.day} 10:{n % 60:02d}:00 +0100,EUR,{s.units},"{s.product}",{s.price:.2f}'
        for n, s in enumerate(own)
    ]
    text = "Name,Created at,Currency,Lineitem quantity,Lineitem name,Lineitem price\n" + "\n".join(rows) + "\n"
    return Export("orders_export.csv", text.encode(), "", summed(own), "EUR")


SALES: tuple[Callable[[], Export], ...] = (
    german, quoted, dollars, french, iso_weeks, american_days, order_lines, online_retail, dominicks, complete_journey,
    shopify,
)  # fmt: skip


@dataclass(frozen=True)
class LogExport:
    """A log: the file, a mapping, sessions in order of their names, and units bought."""

    name: str
    data: bytes
    mapping: str
    sessions: list[list[str]]
    first: str


def ga4() -> LogExport:
    """The layout of the export of Google Analytics 4 to BigQuery, JSON lines, microseconds."""
    names = ["first_visit", "session_start", "page_view", "view_item", "add_to_cart", "begin_checkout", "purchase"]
    lines = []
    for user in range(4):
        for number, name in enumerate(names[: 4 + user]):
            event = {
                "event_timestamp": str(1_704_103_200_000_000 + user * 10**9 + number * 1_500_000),
                "event_name": name,
                "user_pseudo_id": f"10{user}.5",
                "event_params": [
                    {"key": "ga_session_id", "value": {"int_value": "77"}},
                    {"key": "page_location", "value": {"string_value": "https://shop/x"}},
                ],
                "items": [{"item_id": f"sku{user}", "price": 12.5}] if number > 2 else [],
            }
            lines.append(json.dumps(event))
    words = ["page_view", "view_item", "add_item", "checkout", "purchase"]
    own = [words[: 2 + user] for user in range(4)]
    return LogExport("events.json", "\n".join(lines).encode(), "", own, "2024-01-01 10:00:01.500000+00:00")


def retailrocket() -> LogExport:
    """The layout of RetailRocket's events: milliseconds, addtocart, transaction."""
    rows = []
    for visitor, events in enumerate([["view", "view"], ["view", "addtocart", "transaction"], ["view"]]):
        for number, event in enumerate(events):
            at = 1_433_221_332_117 + visitor * 10**6 + number * 1000
            rows.append(f"{at},{visitor},{event},355908,{'4000' if event == 'transaction' else ''}")
    data = ("timestamp,visitorid,event,itemid,transactionid\n" + "\n".join(rows) + "\n").encode()
    own = [["view_item", "view_item"], ["view_item", "add_item", "purchase"], ["view_item"]]
    return LogExport("events.csv", data, "", own, "2015-06-02 05:02:12.117000+00:00")


def rees46() -> LogExport:
    """The layout of REES46's eCommerce events."""
    rows = []
    for session, events in enumerate([["view", "cart", "purchase"], ["view", "cart", "remove_from_cart"]]):
        for number, event in enumerate(events):
            rows.append(f"2019-10-0{1 + session} 00:00:0{number} UTC,{event},44600062,21038,,shiseido,35.79,"
                        f"541312140,72d76fde-{session}")  # fmt: skip
    head = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
    own = [["view_item", "add_item", "purchase"], ["view_item", "add_item", "remove"]]
    return LogExport("2019-Oct.csv", (head + "\n".join(rows) + "\n").encode(), "", own, "2019-10-01 00:00:00+00:00")


def coveo() -> LogExport:
    """The layout of Coveo's browsing events: what a row is stands in one of two columns."""
    rows = []
    for session, events in enumerate([["", "detail", "add", "purchase"], ["detail", "remove"]]):
        for number, event in enumerate(events):
            kind = "event_product" if event else "pageview"
            rows.append(f"s{session},{kind},{event},p7,{1_550_885_210_881 + session * 10**7 + number * 1000},u1")
    head = "session_id_hash,event_type,product_action,product_sku_hash,server_timestamp_epoch_ms,hashed_url\n"
    own = [["page_view", "view_item", "add_item", "purchase"], ["view_item", "remove"]]
    return LogExport(
        "browsing.csv", (head + "\n".join(rows) + "\n").encode(), "", own, "2019-02-23 01:26:50.881000+00:00"
    )


LOGS: tuple[Callable[[], LogExport], ...] = (ga4, retailrocket, rees46, coveo)
