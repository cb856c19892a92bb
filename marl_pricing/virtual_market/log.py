"""A log of promotions: the challenge's CSV layout → whole days of every customer, or a refusal with file and line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from marl_pricing.config.mapping_files import read_mapping_file
from marl_pricing.intake import shown
from marl_pricing.intake.tables import RawTable
from marl_pricing.presentation.files import write_atomically
from marl_pricing.virtual_market.errors import LogError
from marl_pricing.virtual_market.levels import MOST_COUPONS
from marl_pricing.virtual_market.money import day_cost, day_gmv, return_on_investment
from marl_pricing.virtual_market.rows import FileMapping, LogRows, read_rows


class LogMapping(FileMapping):
    """What the columns of a log are called. `step` may be null: there is none."""

    customer: str = "index"
    step: str | None = "step"
    coupons: str = "day_deliver_coupon_num"
    discount: str = "coupon_discount"
    orders: str = "day_order_num"
    fee: str = "day_average_order_fee"


@dataclass(frozen=True)
class PromotionLog:
    """Every customer's every day. C customers, D days in a row.

    Attributes:
        customers: [C] names, as the file has them.
        dates: [D] datetime64[D].
        coupons: [C, D] 0 … 5 handed out.
        discount: [C, D] share of the price that is paid; 1 where no coupon was handed out.
        orders: [C, D].  fee: [C, D] average of a day's orders before discount, money; 0 where there is none.
    """

    customers: np.ndarray
    dates: np.ndarray
    coupons: np.ndarray
    discount: np.ndarray
    orders: np.ndarray
    fee: np.ndarray

    @property
    def weekdays(self) -> np.ndarray:
        """[D] 0 Monday … 6 Sunday."""
        return weekdays_of(self.dates)

    def of_days(self, first: int, last: int) -> PromotionLog:
        """Days first … last − 1."""
        own = slice(first, last)
        daily = (self.coupons, self.discount, self.orders, self.fee)
        return PromotionLog(self.customers, self.dates[own], *(part[:, own] for part in daily))

    def of_customers(self, rows: np.ndarray) -> PromotionLog:
        """Some customers, by number; one may come several times."""
        daily = (self.coupons, self.discount, self.orders, self.fee)
        return PromotionLog(self.customers[rows], self.dates, *(part[rows] for part in daily))


def weekdays_of(days: np.ndarray) -> np.ndarray:
    """[D] 0 Monday … 6 Sunday of dates [D]."""
    return (np.asarray(days, "datetime64[D]").astype(int) + 3) % 7  # 1 January 1970 was a Thursday


def read_mapping(path: Path | str | None) -> LogMapping:
    """The mapping of a YAML file of lines `our name: column of the file`; None: the challenge's names.

    Raises:
        ConfigError: naming the file, and the field that is wrong.
    """
    return read_mapping_file(path, LogMapping)


class _Columns(LogRows):
    """Typed columns of a log's rows."""

    def __init__(self, raw: RawTable, mapping: LogMapping) -> None:
        named = {name: getattr(mapping, name) for name in ("customer", "date", "coupons", "discount", "orders", "fee")}
        if mapping.step is not None and (mapping.step in raw.frame or mapping.step != LogMapping().step):
            named["step"] = mapping.step
        super().__init__(raw, mapping, named)
        counted = [name for name in ("coupons", "discount", "orders", "fee", "step") if name in named]
        self.values = self.numbers(counted, money=("fee",))

    def check(self) -> None:
        """Refuse numbers that cannot be."""
        own = self.values
        coupons, discount, orders, fee = (own[name] for name in ("coupons", "discount", "orders", "fee"))
        whole = f"a whole number from 0 to {MOST_COUPONS}, coupons handed out that day"
        self.refuse(~((coupons >= 0) & (coupons <= MOST_COUPONS) & (coupons == np.floor(coupons))), "coupons", whole)
        self.refuse(~((orders >= 0) & (orders == np.floor(orders))), "orders", "a whole number of at least 0")
        handed = coupons > 0
        share = "the share of the price that is paid, above 0 and at most 1"
        percent = handed & (discount > 1)
        if percent.any() and (discount[handed & np.isfinite(discount)] >= 1).all():
            self.refuse(percent, "discount", f"{share}: these are percent, 0.60 is meant by 60")
        self.refuse(handed & ~((discount > 0) & (discount <= 1)), "discount", share)
        self.refuse(~(np.isfinite(fee) & (fee >= 0)), "fee", "an amount of at least 0")
        self.refuse((orders > 0) & (fee == 0), "fee", "an amount above 0 on a day with an order")
        self.refuse((orders == 0) & (fee > 0), "fee", "0 on a day without an order")


def _whole(raw: RawTable, names: np.ndarray, customer: np.ndarray, day: np.ndarray, first: np.datetime64) -> np.ndarray:
    """[C, D] the row of each customer-day.

    Raises:
        LogError: for a customer-day that comes twice or not at all.
    """
    shape = (len(names), int(day.max()) + 1)
    flat = customer * shape[1] + day
    order = np.argsort(flat, kind="stable")
    again = np.flatnonzero(np.diff(flat[order]) == 0)
    if len(again):
        place = again[np.argmin(raw.lines[order[again + 1]])]
        one, two = order[place], order[place + 1]
        raise LogError(
            f"{raw.path}:{raw.lines[two]}: customer {shown(names[customer[two]])} has {first + day[two]} already in "
            f"line {raw.lines[one]}; accepted is one row a customer and day"
        )
    if len(flat) < shape[0] * shape[1]:
        missing = int(np.flatnonzero(~np.isin(np.arange(shape[0] * shape[1]), flat))[0])
        who, when = divmod(missing, shape[1])
        rows = np.flatnonzero(customer == who)
        before = rows[day[rows] < when]
        near = before[np.argmax(day[before])] if len(before) else rows[np.argmin(day[rows])]
        raise LogError(
            f"{raw.path}:{raw.lines[near]}: customer {shown(names[who])} has no row for {first + when}; accepted is "
            f"every day from {first} to {first + int(day.max())} of every customer "
            f"({shape[0] * shape[1] - len(flat):,} missing)"
        )
    return order.reshape(shape)


def read_log(path: Path | str, mapping: LogMapping | None = None) -> PromotionLog:
    """A log of promotions.

    Args:
        path: CSV, Excel or Parquet; rows in any order.
        mapping: what its columns are called; None: as in the challenge.

    Raises:
        LogError, IntakeError: one line with the file, the line, the value and what is accepted.
    """
    mapping = mapping or LogMapping()
    raw = read_rows(path, mapping)
    columns = _Columns(raw, mapping)
    columns.check()
    given = columns.texts("customer")
    columns.refuse(given == "", "customer", "a name or number")
    names, customer = np.unique(given, return_inverse=True)
    if all(name.isdigit() for name in names):  # 2 before 10
        ranks = np.argsort(np.argsort([int(name) for name in names], kind="stable"))
        names, customer = names[np.argsort(ranks)], ranks[customer]
    days = columns.days()
    first = days.min()
    day = (days - first).astype(int)
    if int(day.max()) >= 10_000:
        late = int(np.argmax(day))
        raise LogError(f"{raw.path}:{raw.lines[late]}: {days[late]} is {day[late]:,} days after {first}")
    place = _whole(raw, names, customer, day, first)
    if "step" in columns.values:
        step = columns.values["step"]
        offset = step[place[0, 0]]
        columns.refuse(step != offset + day, "step", f"the date's number, {offset:g} on {first} and 1 more each day")
    of = {name: columns.values[name][place] for name in ("coupons", "discount", "orders", "fee")}
    coupons = of["coupons"].astype(int)
    discount = np.where(coupons > 0, of["discount"], 1.0)
    return PromotionLog(
        names, first + np.arange(place.shape[1]), coupons, discount, of["orders"].astype(int), of["fee"]
    )


def write_log(path: Path, log: PromotionLog) -> Path:
    """Write a log in the challenge's layout; the discount is its placeholder 0.95 where no coupon was handed out."""
    customers, days = log.coupons.shape
    table = pd.DataFrame(
        {
            "index": np.repeat(log.customers, days),
            "day_deliver_coupon_num": log.coupons.reshape(-1),
            "coupon_discount": np.where(log.coupons > 0, log.discount, 0.95).reshape(-1),
            "day_order_num": log.orders.reshape(-1),
            "day_average_order_fee": log.fee.reshape(-1).round(4),
            "step": np.tile(np.arange(days), customers),
            "date": np.tile(np.datetime_as_string(log.dates), customers),
        }
    )
    return write_atomically(path, table.to_csv(index=False, lineterminator="\n"))


def summary(log: PromotionLog) -> list[str]:
    """What is in a log, a line a fact."""
    money = (log.coupons, log.discount, log.orders, log.fee)
    cost, gmv = float(day_cost(*money).sum()), float(day_gmv(*money).sum())
    handed = log.coupons > 0
    never = float((log.orders.sum(1) == 0).mean())
    lines = [
        f"customers: {len(log.customers):,}, {never:.1%} of them without any order",
        f"days: {len(log.dates)}, {log.dates[0]} to {log.dates[-1]}",
        f"coupons: handed out on {handed.mean():.1%} of customer-days",
        f"orders a day: {log.orders.mean():.3f}"
        + (f", {log.orders[~handed].mean():.3f} without coupon" if (~handed).any() else ""),
        f"GMV: {gmv:,.0f}, cost {cost:,.0f}, return on investment {return_on_investment(gmv, cost):.2f}",
    ]
    for depth in np.unique(log.discount[handed].round(4)):
        own = handed & (np.abs(log.discount - depth) < 1e-6)
        lines.append(f"  discount {depth:.2f}: {own.sum():,} customer-days, {log.orders[own].mean():.3f} orders a day")
    return lines
