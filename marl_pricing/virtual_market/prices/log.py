"""A log of prices shown and orders: a row a session → typed arrays, or a refusal with file and line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from marl_pricing.config.mapping_files import read_mapping_file
from marl_pricing.intake.errors import listed
from marl_pricing.intake.tables import RawTable
from marl_pricing.presentation.files import write_atomically
from marl_pricing.virtual_market.errors import LogError
from marl_pricing.virtual_market.rows import FileMapping, LogRows, read_rows

NOTHING = -1  # what a session bought that bought nothing


class PriceMapping(FileMapping):
    """What the columns of a log are called; `units` and `agent` may be null: there is none.

    `prices` is what the titles of price columns begin with; the rest is the offer, SELLER:PRODUCT, or a seller alone.
    """

    session: str = "session"
    bought: str = "bought"
    units: str | None = "units"
    agent: str | None = "agent"
    prices: str = "price_"


@dataclass(frozen=True)
class PriceLog:
    """Sessions with the prices that they were shown and what they ordered. R sessions, N offers, D days.

    Attributes:
        offers: [N] names, a seller's together.  dates: [D] datetime64[D], increasing; those with a session.
        sessions: [R] names.  day: [R] index into `dates`.
        prices: [R, N] money.
        bought: [R] offer, or −1 for nothing.  units: [R] of it, 0 where nothing was bought.
        agent: [R] bool, an agent's session; None where nobody says.
    """

    offers: tuple[str, ...]
    dates: np.ndarray
    sessions: np.ndarray
    day: np.ndarray
    prices: np.ndarray
    bought: np.ndarray
    units: np.ndarray
    agent: np.ndarray | None

    @property
    def sellers(self) -> list[str]:
        """[S] names."""
        return list(dict.fromkeys(offer.partition(":")[0] for offer in self.offers))

    def of(self, rows: np.ndarray) -> PriceLog:
        """Some sessions; days stay."""
        parts = {name: getattr(self, name)[rows] for name in ("sessions", "day", "prices", "bought", "units")}
        return replace(self, agent=None if self.agent is None else self.agent[rows], **parts)


class Cells(NamedTuple):
    """Sessions of one day that were shown the same prices, put together. C cells."""

    day: np.ndarray  # [C]
    prices: np.ndarray  # [C, N] money
    counts: np.ndarray  # [C, 1 + N] sessions that bought nothing, and each offer
    units: np.ndarray  # [C, N]


def cells_of(log: PriceLog) -> Cells:
    """The sessions of a log by day and prices; they answer alike, so that counts are all there is to know."""
    keys = np.column_stack([log.day, log.prices])
    unique, where = np.unique(keys, axis=0, return_inverse=True)
    where = where.reshape(-1)
    counts = np.zeros((len(unique), 1 + len(log.offers)))
    np.add.at(counts, (where, log.bought + 1), 1.0)
    units = np.zeros_like(counts)
    np.add.at(units, (where, log.bought + 1), log.units)
    return Cells(unique[:, 0].astype(int), unique[:, 1:], counts, units[:, 1:])


def read_mapping(path: Path | str | None) -> PriceMapping:
    """The mapping of a YAML file; None: the names of `write_log`. Raises ConfigError."""
    return read_mapping_file(path, PriceMapping)


class _Rows(LogRows):
    """Columns of a log; `offers` [N], a seller's together, are columns of prices."""

    def __init__(self, raw: RawTable, mapping: PriceMapping) -> None:
        named, usual = {name: str(getattr(mapping, name)) for name in ("session", "date", "bought")}, PriceMapping()
        for name in ("units", "agent"):
            title = getattr(mapping, name)
            if title is not None and (title in raw.frame or title != getattr(usual, name)):
                named[name] = title
        super().__init__(raw, mapping, named)
        titles = [str(title) for title in raw.frame.columns if str(title).startswith(mapping.prices)]
        titles = [title for title in titles if title != mapping.prices and title not in self.titles.values()]
        if not titles:
            raise LogError(
                f"{raw.path}: no column begins with {mapping.prices!r}; accepted is a column of prices an offer, "
                f"{mapping.prices}SELLER:PRODUCT"
            )
        found = [title.removeprefix(mapping.prices) for title in titles]
        sellers = list(dict.fromkeys(name.partition(":")[0] for name in found))
        together = sorted(range(len(found)), key=lambda place: (sellers.index(found[place].partition(":")[0]), place))
        self.offers = tuple(found[place] for place in together)
        products = [sum(offer.partition(":")[0] == seller for offer in found) for seller in sellers]
        if len(set(products)) > 1:
            raise LogError(
                f"{raw.path}: sellers {listed(sellers)} have {listed(products)} price columns; accepted is the "
                "same number of each"
            )
        self.titles |= {offer: titles[place] for offer, place in zip(self.offers, together, strict=True)}


def read_log(path: Path | str, mapping: PriceMapping | None = None) -> PriceLog:
    """A log of prices shown and orders.

    Args:
        path: CSV (also .gz), Excel or Parquet; rows in any order.

    Raises:
        LogError, IntakeError: one line with the file, the line, the value and what is accepted.
    """
    mapping = mapping or PriceMapping()
    raw = read_rows(path, mapping)
    rows = _Rows(raw, mapping)
    amounts = rows.numbers(rows.offers, money=rows.offers)
    prices = np.column_stack([amounts[offer] for offer in rows.offers])
    for place, offer in enumerate(rows.offers):
        wrong = ~(np.isfinite(prices[:, place]) & (prices[:, place] > 0))
        rows.refuse(wrong, offer, "an amount above 0, the price that the session was shown")
    names = rows.texts("session")
    rows.refuse(names == "", "session", "a name or number")
    again = pd.Series(names).duplicated().to_numpy()
    if again.any():
        first = int(np.flatnonzero(names == names[np.flatnonzero(again)[0]])[0])
        rows.refuse(again, "session", f"one row a session; line {raw.lines[first]} has it already")
    chosen = rows.texts("bought")
    place_of = {"": NOTHING} | {offer: place for place, offer in enumerate(rows.offers)}
    known = np.array([name in place_of for name in chosen])
    rows.refuse(~known, "bought", f"empty, or one of {listed(rows.offers)}")
    bought = np.array([place_of[name] for name in chosen])
    units = (bought >= 0).astype(float)
    if "units" in rows.titles:
        told = rows.numbers(("units",))["units"]
        told = np.where(np.isnan(told) & (rows.texts("units") == "") & (bought < 0), 0.0, told)
        rows.refuse(~((told >= 0) & (told == np.floor(told))), "units", "a whole number of at least 0")
        rows.refuse((bought >= 0) & (told == 0), "units", "at least 1 where something was bought")
        rows.refuse((bought < 0) & (told > 0), "units", "0 where nothing was bought")
        units = told
    agent = None
    if "agent" in rows.titles:
        told = rows.numbers(("agent",))["agent"]
        rows.refuse(~np.isin(told, (0.0, 1.0)), "agent", "0 (a person's session) or 1 (an agent's)")
        agent = told == 1.0
    days, day = np.unique(rows.days(), return_inverse=True)
    return PriceLog(rows.offers, days, names, day.reshape(-1), prices, bought, units, agent)


def write_log(path: Path, log: PriceLog) -> Path:
    """Write a log as `read_log` reads it."""
    table = pd.DataFrame({"session": log.sessions, "date": np.datetime_as_string(log.dates)[log.day]})
    for place, offer in enumerate(log.offers):
        table[f"price_{offer}"] = log.prices[:, place].round(4)
    table["bought"] = np.array([*log.offers, ""])[log.bought]
    table["units"] = log.units.astype(int)
    if log.agent is not None:
        table["agent"] = log.agent.astype(int)
    return write_atomically(path, table.to_csv(index=False, lineterminator="\n"))


def summary(log: PriceLog) -> list[str]:
    """What is in a log, a line a fact."""
    found = cells_of(log)
    agents = "nobody says which are agents'" if log.agent is None else f"{log.agent.mean():.1%} of them agents'"
    lines = [
        f"sessions: {len(log.sessions):,} on {len(log.dates)} days, {log.dates[0]} to {log.dates[-1]}; {agents}",
        f"prices: {len(found.day):,} days with other prices, {len(found.day) / len(log.dates):.1f} a day",
    ]
    for place, offer in enumerate(log.offers):
        own = log.prices[:, place]
        lines.append(
            f"  {offer}: shown at {own.min():.4g} to {own.max():.4g}, bought by {(log.bought == place).mean():.2%} of "
            f"the sessions, {found.units[:, place].sum() / len(log.sessions):.4f} units a session"
        )
    return lines
