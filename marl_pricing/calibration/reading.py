"""Reading sales: a file and what its columns are, rows judged one by one, one clean table (see `intake.lines`)."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from marl_pricing.calibration.calendar import Calendar
from marl_pricing.calibration.columns import Columns, read_columns
from marl_pricing.calibration.mapping import CalibrationError, Mapping, read_mapping, resolve
from marl_pricing.config.errors import Settings, refuse
from marl_pricing.intake import IntakeError, lines, shown
from marl_pricing.intake.tables import Fault, read_table
from marl_pricing.presentation.files import replace_with

__all__ = [
    "CalibrationError", "Judging", "Mapping", "Sales", "choose_category", "gaps", "names_of", "read_mapping",
    "read_sales",
]  # fmt: skip

# Of all rows: so many that repeat another word for word are no order lines but a file that was put in twice.
_TWICE = 0.45
_MOST_PERIODS = 30_000  # days of 80 years
_MOST_ROWS = 50_000_000  # periods of all offers, with those that have no row
_AGAIN = "product, seller and period a second time"
# What sets rows right that are no record, by the column that says so.
_HELP = {
    **dict.fromkeys(
        ("product", "seller", "category", "store"),
        "keep: in the mapping takes rows of one kind alone, another column may hold the name",
    ),
    "period": "date_format: in the mapping sets the form of dates",
    **dict.fromkeys(
        ("units", "price", "cost", "stock"), "decimal: in the mapping sets its sign, keep: takes rows of one kind alone"
    ),
}
_SLIPS = {
    "price is not above 0": "such rows count for nothing, and judging.bad_share sets how many may be left out",
    "price far from the product's median": "judging.price_factor sets how far is a slip",
    "units far from the product's median": "judging.units_factor sets how far is a slip",
    _AGAIN: "repeats: add_up in the mapping adds them up",
}


class Judging(Settings):
    """When a row is no record: negative or missing numbers, a second row of the same product and period, and slips.

    A price further than `price_factor` times from its product's median, or units further than `units_factor` times,
    are taken for slips of the decimal point.
    """

    price_factor: Annotated[float, Field(gt=1)] = Field(
        default=10.0, description="a price so many times from its product's median is an outlier"
    )
    units_factor: Annotated[float, Field(gt=1)] = Field(
        default=100.0, description="units so many times from their product's median are an outlier"
    )
    bad_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="share of rows that may be no record before the file is refused"
    )


@dataclass(frozen=True)
class Sales:
    """Sales as read.

    Attributes:
        table: one row a product, seller, store and period, by these. Columns: product, seller, category (texts), where
            the file tells them apart store (text), period (int64), units (float64, at least 0), price (float64, above
            0), and where the file has them cost, promotion, stock, instrument0 … (float64).
        rows: rows of the file below its header.
        reasons: rows that are no record, by reason.
        first_period: what the file calls period `table.period.min()`.
        currency: of prices and costs; empty where the file does not say.
        period_name: what a period is, "day", "week", "month", or "period" where they are numbers.
        read_as: how the file was understood, in words.
        mapping: that would read the file in the same way, everything said.
        left_out: rows that are records but none of sales to be counted, by reason.
        first_day: of period 0 where periods are days or weeks (months are counted by the calendar); None where they are
            numbers.
        calendar: of holidays, where one was told (`holidays.with_holidays`).
    """

    table: pd.DataFrame
    rows: int
    reasons: Counter[str]
    first_period: str
    currency: str = ""
    period_name: str = "period"
    read_as: tuple[str, ...] = ()
    mapping: Mapping = field(default_factory=Mapping)
    left_out: Counter[str] = field(default_factory=Counter)
    first_day: date | None = None
    calendar: Calendar | None = None


def _far(values: pd.Series, groups: pd.Series, factor: float) -> pd.Series:
    logs = np.log(values.where(values > 0))
    return (logs - logs.groupby(groups).transform("median")).abs() > np.log(factor)


def _whose(table: pd.DataFrame) -> pd.Series:
    return table["product"] + "\0" + table["seller"] + ("\0" + table["store"] if "store" in table else "")


class _Verdicts:
    """Why a row is no record, and the column that says so; the first reason counts."""

    def __init__(self, index: pd.Index) -> None:
        self.why = pd.Series(pd.NA, index, dtype="string")
        self.column = pd.Series(pd.NA, index, dtype="string")

    def fault(self, bad: pd.Series, reason: str, column: str = "") -> None:
        new = bad.fillna(False).astype(bool) & self.why.isna()
        self.why[new] = reason
        self.column[new] = column

    @property
    def good(self) -> pd.Series:
        return self.why.isna()


def _judge_lines(table: pd.DataFrame, judging: Judging) -> _Verdicts:
    """Rows of the file that are no record by themselves. A return (units below 0) needs no price."""
    verdicts = _Verdicts(table.index)
    fault, sold = verdicts.fault, ~(table["units"] < 0)
    for name in [name for name in ("product", "seller", "category", "store") if name in table]:
        fault(table[name].eq(""), f"no {name}", name)
    fault(table["period"].isna(), "period is no whole number or date", "period")
    fault(table["units"].isna(), "units are no number", "units")
    fault(sold & table["price"].isna(), "price is missing or no number", "price")
    fault(sold & (table["price"] <= 0), "price is not above 0", "price")
    for name in table.columns.intersection(["cost", "stock"]):
        fault(table[name] < 0, f"negative {name}", name)
    for name in [column for column in table.columns if column.startswith("instrument")]:
        fault(table[name].isna(), "an instrument is missing or no number", name)
    # A return's price is not looked at: it changes no price.
    prices = table["price"].where(verdicts.good & sold)
    fault(_far(prices, _whose(table), judging.price_factor), "price far from the product's median", "price")
    return verdicts


def _check_span(path: Path, table: pd.DataFrame, columns: Columns) -> None:
    """Refuse periods that lie so far apart that they are none: whoever counts them makes room for all in between."""
    if table.empty:
        return
    first, last = int(table["period"].min()), int(table["period"].max())
    keys = [name for name in lines.key_of(table) if name != "period"]
    rows = (last - first + 1) * len(table[keys].drop_duplicates())
    if last - first >= _MOST_PERIODS or rows > _MOST_ROWS:
        own = table["period"].to_numpy()
        earliest, latest = (columns.called[table.index].iloc[int(place)] for place in (own.argmin(), own.argmax()))
        raise CalibrationError(
            f"{path}: {columns.titles['period']} goes from {earliest} to {latest}, {last - first + 1:,} "
            f"{columns.period_name}s of which {table['period'].nunique():,} have a row; accepted are "
            f"{_MOST_PERIODS:,}, and {_MOST_ROWS:,} of all products together; date_format: in the mapping says "
            "that numbers are times, as s or yyyymmdd"
        )


def _how_to_add(path: Path, table: pd.DataFrame, columns: Columns, judging: Judging, mapping: Mapping) -> str:
    """ "add_up", "drop" (of rows word for word alike, then added up) or "refuse", for rows of one product and period.

    Raises:
        CalibrationError: where most rows repeat another word for word.
    """
    again = lines.repeats(table)
    if mapping.repeats != "auto" or not again.any():
        return "add_up" if mapping.repeats == "auto" else mapping.repeats
    raw = columns.cells.loc[table.index].astype(str)
    same = raw.duplicated() & again
    if same.sum() >= _TWICE * len(table):
        line = int(columns.lines[np.flatnonzero(same)[0]])
        raise CalibrationError(
            f"{path}:{line}: this row is there before, and so are {int(same.sum()):,} of {len(table):,} rows word for "
            "word; repeats: drop in the mapping takes each once, repeats: add_up adds them up"
        )
    if columns.dates is not None:
        keys = [name for name in lines.key_of(table) if name != "period"]
        days = table[keys].assign(date=columns.dates[table.index])
        # Daily rows of a week, or times of orders.
        if (again & ~days.duplicated()).sum() > 0.5 * again.sum():
            return "add_up"
    return "refuse" if again.sum() <= judging.bad_share * len(table) else "add_up"


def _set_aside(path: Path, faults: Sequence[Fault], rows: pd.DataFrame, at: np.ndarray, why: pd.Series) -> None:
    """Write the rows that are no record: line, reason and what stands there; the file is whole or not there."""

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["line", "reason", *rows.columns])
            told = [(line, [line, reason, *row]) for line, reason, row in zip(
                at, why, rows.itertuples(index=False), strict=True)]  # fmt: skip
            told += [(fault.line, [fault.line, fault.reason, fault.text]) for fault in faults]
            writer.writerows(row for _, row in sorted(told, key=lambda pair: pair[0]))

    replace_with(path, write)


def _refusal(
    path: Path, verdicts: _Verdicts, columns: Columns, faults: Sequence[Fault], rows: int, share: float
) -> str:
    bad = ~verdicts.good
    count = int(bad.sum()) + len(faults)
    line, told = (int(columns.lines[np.flatnonzero(bad)[0]]), "") if bad.any() else (np.inf, "")
    if faults and faults[0].line < line:
        line, told = faults[0].line, f"{faults[0].reason}, it is {shown(faults[0].text)}"
        helped = "separator: and header: in the mapping set what separates columns and the header's line"
    else:
        first = bad.index[bad][0]
        told, name = str(verdicts.why[first]), str(verdicts.column[first])
        if name in columns.cells:
            value = columns.cells.loc[first, name]
            title = columns.titles.get(name, name)
            told += f", {title} is {shown('' if pd.isna(value) else value)}"
        helped = _SLIPS.get(str(verdicts.why[first]), _HELP.get(name, "keep: in the mapping takes rows of one kind"))
    return (
        f"{path}:{line}: {told}; {count:,} of {rows:,} rows ({100 * count / rows:.3g} %) are no records, accepted are "
        f"{100 * share:.3g} % (judging.bad_share); {helped}"
    )


def read_sales(
    path: Path | str,
    mapping: Mapping | None = None,
    judging: Judging | None = None,
    quarantine: Path | str | None = None,
) -> Sales:
    """Read sales; CSV of any separator, encoding and way to write numbers and dates (also .gz), Excel or Parquet.

    Args:
        mapping: what the columns are; without one they have our own names or are of a known layout.
        quarantine: a CSV file for the rows that are no record, with line and reason, also if the file is refused. In
            Parquet the line is the number of the record, plus 1.

    Raises:
        CalibrationError: one line with the file, where there is one the line, what is wrong, and what would help.
    """
    path, judging = Path(path), judging or Judging()
    try:
        given = mapping or Mapping()
        raw = read_table(path, given.told)
        own, said = resolve(given, raw)
        columns = read_columns(raw, own)
    except IntakeError as error:
        raise CalibrationError(str(error)) from None
    table, left_out = columns.table, columns.left_out
    verdicts = _judge_lines(table, judging)
    kept = table[verdicts.good].astype({"period": np.int64})
    _check_span(path, kept, columns)
    if own.returns == "drop":
        back = kept["units"] < 0
        left_out["returns"] += int(back.sum())
        kept = kept[~back]
    where = pd.Series(columns.lines, table.index)
    told = []
    how = _how_to_add(path, kept, columns, judging, own)
    again = lines.repeats(kept)
    if how == "refuse":
        verdicts.fault(again.reindex(table.index, fill_value=False), _AGAIN, "period")
        kept = kept[~again]
    elif how == "drop":
        same = columns.cells.loc[kept.index].astype(str).duplicated()
        left_out["word for word there before"] += int(same.sum())
        kept = kept[~same]
    added = None
    if lines.repeats(kept).any() or (kept["units"] < 0).any():
        before = len(kept)
        added = lines.add_up(kept, where[kept.index].to_numpy())
        over = pd.Series(False, table.index)
        over[kept.index[added.over]] = True
        verdicts.fault(over, "negative units", "units")
        if added.merged:
            told.append(
                f"{before - len(added.over):,} rows added up to {len(added.table):,}, one a product and "
                f"{columns.period_name}"
            )
        if added.returned:
            cut = (
                f", {added.excess:g} of them beyond what their {columns.period_name} sold, which is 0"
                if added.excess
                else ""
            )
            told.append(f"{added.returned:g} units that came back are taken off{cut}")
        clean, first_lines = added.table, added.lines
    else:
        clean, first_lines = kept, where[kept.index].to_numpy()
    far = _far(clean["units"], _whose(clean), judging.units_factor).fillna(False).astype(bool)
    if far.any():
        slips = where.isin(first_lines[far.to_numpy()])
        verdicts.fault(slips, "units far from the product's median", "units")
        clean = clean[~far]
    bad = ~verdicts.good
    reasons = Counter[str]({str(why): int(count) for why, count in verdicts.why[bad].value_counts().items()})
    reasons.update("number of fields" if "fields" in fault.reason else fault.reason for fault in raw.faults)
    rows = columns.rows
    if quarantine is not None:
        _set_aside(Path(quarantine), raw.faults, columns.cells[bad], columns.lines[bad.to_numpy()], verdicts.why[bad])
    if reasons.total() > judging.bad_share * rows or clean.empty:
        if not reasons.total():
            raise CalibrationError(f"{path}: no usable row, {', '.join(left_out) or 'there are none below the header'}")
        listed = f"; {quarantine} lists them" if quarantine is not None else ""
        raise CalibrationError(_refusal(path, verdicts, columns, raw.faults, rows, judging.bad_share) + listed)
    if "store" in clean and own.stores == "add_up":
        told.append(f"{clean['store'].nunique():,} stores added up")
        clean = lines.put_stores_together(clean)
    if own.absent == "zero":
        clean, put_in = lines.fill_absent(clean)
        told.append(f"{put_in:,} {columns.period_name}s without a row taken for 0 units at the price before")
    good = table[verdicts.good]
    first = columns.called[verdicts.good].iloc[int(good["period"].to_numpy().argmin())]
    clean = clean.astype({"period": np.int64})
    order = [name for name in ("seller", "product", "store", "period") if name in clean]
    clean = clean.sort_values(order, kind="stable").reset_index(drop=True)
    left_out = Counter({reason: count for reason, count in left_out.items() if count})
    told += [f"{count:,} rows left out, {reason}" for reason, count in left_out.items()]
    return Sales(
        clean, rows, reasons, str(first), columns.currency, columns.period_name,
        (*raw.read_as, *said, *columns.read_as, *told), columns.mapping, left_out, columns.first_day,
    )  # fmt: skip


def choose_category(sales: Sales, category: str | None, leave_out: Sequence[str] = ()) -> Sales:
    """The sales of one category, or with None of all but some.

    Raises:
        ConfigError: naming categories that there are.
    """
    units = sales.table.groupby("category")["units"].sum().sort_values(ascending=False)
    for field_name, names in (("category", [] if category is None else [category]), ("leave_out", leave_out)):
        unknown = [name for name in names if name not in units.index]
        if unknown:
            there = ", ".join(map(repr, list(units.index[:5])))
            raise refuse(field_name, unknown[0], f"one of the file's, for example {there}")
    kept = sales.table["category"].isin(list(units.index) if category is None else [category])
    kept &= ~sales.table["category"].isin(list(leave_out))
    if not kept.any():
        raise refuse("leave_out", list(leave_out), "a list that leaves a category")
    return replace(sales, table=sales.table[kept].reset_index(drop=True))


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Per seller, product and store: periods with sales, those without between its first and last, different prices."""
    keys = [name for name in lines.key_of(table) if name != "period"]
    found = table.groupby(keys, sort=True).agg(
        periods=("period", "nunique"), first=("period", "min"), last=("period", "max"), prices=("price", "nunique")
    )
    found["missing"] = found["last"] - found["first"] + 1 - found["periods"]
    return found.reset_index()


def names_of(values: Sequence[str], most: int = 5) -> str:
    """A list for a message, cut after a few."""
    shown_values = ", ".join(map(str, values[:most]))
    return shown_values + (f" and {len(values) - most} more" if len(values) > most else "")
