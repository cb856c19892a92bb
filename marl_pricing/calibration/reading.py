"""Reading sales: a file and what its columns are, rows judged one by one, one tidy table."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import pyarrow
from pydantic import Field

from marl_pricing.config.errors import ConfigError, Settings, parse_yaml, refuse, validate
from marl_pricing.presentation.files import replace_with


class CalibrationError(ValueError):
    """Sales that cannot be used; the message names the file, where there is one the line, and what is wrong."""


class Mapping(Settings):
    """What the columns of a file of sales are. A row is one product of one seller in one period.

    `period_length` is for periods that are dates: they are counted in days, weeks or months from the first one. With
    null, periods are whole numbers. Money is in one currency.
    """

    product: str = "product"
    seller: str = "seller"
    period: str = "period"
    units: str = "units"
    price: str = "price"
    category: str | None = None
    cost: str | None = None
    promotion: str | None = None
    stock: str | None = None
    currency: str | None = None
    instruments: list[str] = []  # noqa: RUF012
    format: Literal["csv", "parquet"] | None = None
    period_length: Literal["day", "week", "month"] | None = None

    def columns(self) -> dict[str, str]:
        """Our name of a column → the file's, of those that are there."""
        own = ("product", "seller", "period", "units", "price", "category", "cost", "promotion", "stock", "currency")
        named = {name: getattr(self, name) for name in own if getattr(self, name) is not None}
        return named | {f"instrument{number}": name for number, name in enumerate(self.instruments)}


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
        table: one row a product, seller and period, by these. Columns: product, seller, category (texts), period
            (int64), units (float64, at least 0), price (float64, above 0), and where the file has them cost,
            promotion, stock, instrument0 … (float64).
        rows: rows of the file below its header.
        reasons: rows that are no record, by reason.
        first_period: what the file calls period `table.period.min()`.
    """

    table: pd.DataFrame
    rows: int
    reasons: Counter[str]
    first_period: str


def read_mapping(path: Path | str | None) -> Mapping:
    """The mapping of a YAML file; without one the columns have our own names.

    Raises:
        ConfigError: naming the file, and the field that is wrong.
    """
    if path is None:
        return Mapping()
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"mapping={str(path)!r}: cannot be read, {reason}") from None
    data = parse_yaml(text, f"mapping={str(path)!r}")
    if not isinstance(data, dict):
        raise ConfigError(f"mapping={str(path)!r}: accepted are lines `our name: column of the file`")
    try:
        return validate(Mapping, data)
    except ConfigError as error:
        raise ConfigError(f"mapping={str(path)!r}: {error}") from None


def _load(path: Path, mapping: Mapping) -> pd.DataFrame:
    """The columns that we know, as texts for CSV, under our names."""
    if not path.is_file():
        raise CalibrationError(f"{path}: there is no such file")
    kind = mapping.format or ("parquet" if path.suffix in (".parquet", ".pq") else "csv")
    names = mapping.columns()
    try:
        if kind == "parquet":
            raw = pd.read_parquet(path)
        else:
            raw = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8", on_bad_lines="error")
    except (
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        UnicodeDecodeError,
        pyarrow.ArrowInvalid,
        OSError,
    ) as error:
        raise CalibrationError(f"{path}: is no {kind} file, {str(error).strip().splitlines()[0]}") from None
    missing = sorted(set(names.values()) - set(raw.columns))
    if missing:
        raise CalibrationError(
            f"{path}:1: there is no column {missing[0]!r}; it has {', '.join(map(str, raw.columns))}; "
            "a mapping says what the columns are"
        )
    if raw.empty:
        raise CalibrationError(f"{path}: no usable row, there are none below the header")
    return pd.DataFrame({own: raw[name] for own, name in names.items()})


def _texts(column: pd.Series) -> pd.Series:
    return column.astype("string").fillna("").str.strip().astype(object)


def _periods(column: pd.Series, length: str | None) -> tuple[pd.Series, pd.Series]:
    """Whole numbers (NaN where there is none), and the texts that they come from."""
    texts = _texts(column)
    if length is None:
        numbers = pd.to_numeric(texts, errors="coerce").astype(float)
        return numbers.where(numbers == np.floor(numbers)), texts
    dates = pd.to_datetime(texts, errors="coerce", format="ISO8601")
    if length == "month":
        return (dates.dt.year * 12 + dates.dt.month).astype(float), texts
    days = (dates - dates.min()).dt.days.astype(float)
    return days // (7.0 if length == "week" else 1.0), texts


def _far(values: pd.Series, groups: pd.Series, factor: float) -> pd.Series:
    logs = np.log(values.where(values > 0))
    return (logs - logs.groupby(groups).transform("median")).abs() > np.log(factor)


def _judge(table: pd.DataFrame, judging: Judging) -> pd.Series:
    """Why a row is no record, missing where it is one; the first reason counts."""
    why = pd.Series(pd.NA, table.index, dtype="string")

    def fault(bad: pd.Series, reason: str) -> None:
        why[bad.fillna(False).astype(bool) & why.isna()] = reason

    for name in ("product", "seller", "category"):
        fault(table[name].eq(""), f"no {name}")
    fault(table["period"].isna(), "period is no whole number or date")
    fault(table["units"].isna(), "units are no number")
    fault(table["units"] < 0, "negative units")
    fault(table["price"].isna(), "price is missing or no number")
    fault(table["price"] <= 0, "price is not above 0")
    for name in table.columns.intersection(["cost", "stock"]):
        fault(table[name] < 0, f"negative {name}")
    for name in [column for column in table.columns if column.startswith("instrument")]:
        fault(table[name].isna(), "an instrument is missing or no number")
    good = why.isna()
    whose = table["product"] + "\0" + table["seller"]
    fault(_far(table["price"].where(good), whose, judging.price_factor), "price far from the product's median")
    fault(_far(table["units"].where(good), whose, judging.units_factor), "units far from the product's median")
    good = why.isna()
    again = table[good].duplicated(["product", "seller", "period"]).reindex(table.index, fill_value=False)
    fault(again, "product, seller and period a second time")
    return why


def _set_aside(path: Path, lines: np.ndarray, why: pd.Series, table: pd.DataFrame) -> None:
    """Write the rows that are no record: line, reason and what stands there; the file is whole or not there."""

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["line", "reason", *table.columns])
            for line, reason, row in zip(lines, why, table.itertuples(index=False), strict=True):
                writer.writerow([line, reason, *row])

    replace_with(path, write)


def _one_currency(path: Path, raw: pd.DataFrame) -> None:
    if "currency" not in raw:
        return
    found = Counter(_texts(raw["currency"]))
    found.pop("", None)
    if len(found) > 1:
        counted = ", ".join(f"{name} in {count:,} rows" for name, count in found.most_common(5))
        first = next(name for name, _ in found.most_common()[1:])
        line = int(np.flatnonzero(_texts(raw["currency"]).eq(first).to_numpy())[0]) + 2
        raise CalibrationError(f"{path}:{line}: mixed currencies ({counted}); accepted is one, so convert them first")


def read_sales(
    path: Path | str,
    mapping: Mapping | None = None,
    judging: Judging | None = None,
    quarantine: Path | str | None = None,
) -> Sales:
    """Read sales; CSV (also .gz) or Parquet.

    Args:
        mapping: what the columns are; without one they have our own names, seller, product, period, units and price.
        quarantine: a CSV file for the rows that are no record, with line and reason, also if the file is refused. In
            Parquet, and in a CSV file with line breaks inside quotes, the line is the number of the record, plus 1.

    Raises:
        CalibrationError: one line with the file, where there is one the line, and what is wrong.
    """
    path, mapping, judging = Path(path), mapping or Mapping(), judging or Judging()
    raw = _load(path, mapping)
    _one_currency(path, raw)
    texts = {name: _texts(raw[name]) for name in ("product", "seller")}
    texts["category"] = _texts(raw["category"]) if "category" in raw else pd.Series("all", raw.index, dtype=object)
    period, called = _periods(raw["period"], mapping.period_length)
    optional = [name for name in raw.columns if name in ("cost", "promotion", "stock") or name.startswith("instrument")]
    numbers = {name: pd.to_numeric(raw[name], errors="coerce").astype(float) for name in ["units", "price", *optional]}
    table = pd.DataFrame({**texts, "period": period, **numbers}).replace([np.inf, -np.inf], np.nan)
    why = _judge(table, judging)
    bad = why.notna()
    reasons = Counter[str]({str(reason): int(count) for reason, count in why[bad].value_counts().items()})
    if quarantine is not None:
        _set_aside(Path(quarantine), np.flatnonzero(bad) + 2, why[bad], raw[bad])
    rejected = int(bad.sum())
    if rejected > judging.bad_share * len(table) or rejected == len(table):
        line = int(np.flatnonzero(bad)[0]) + 2
        raise CalibrationError(
            f"{path}:{line}: {why[bad].iloc[0]}; {rejected:,} of {len(table):,} rows "
            f"({100 * rejected / len(table):.3g} %) are no records, accepted are {100 * judging.bad_share:.3g} %"
        )
    good = table[~bad].astype({"period": np.int64})
    first = str(called[~bad].to_numpy()[int(good["period"].to_numpy().argmin())])
    good = good.sort_values(["seller", "product", "period"], kind="stable").reset_index(drop=True)
    return Sales(good, len(table), reasons, first)


def choose_category(sales: Sales, category: str | None, leave_out: Sequence[str] = ()) -> Sales:
    """The sales of one category, or with None of all but some.

    Raises:
        ConfigError: naming categories that there are.
    """
    units = sales.table.groupby("category")["units"].sum().sort_values(ascending=False)
    for field, names in (("category", [] if category is None else [category]), ("leave_out", leave_out)):
        unknown = [name for name in names if name not in units.index]
        if unknown:
            there = ", ".join(map(repr, list(units.index[:5])))
            raise refuse(field, unknown[0], f"one of the file's, for example {there}")
    kept = sales.table["category"].isin(list(units.index) if category is None else [category])
    kept &= ~sales.table["category"].isin(list(leave_out))
    if not kept.any():
        raise refuse("leave_out", list(leave_out), "a list that leaves a category")
    return replace(sales, table=sales.table[kept].reset_index(drop=True))


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Per seller and product: periods with sales, periods without between its first and last, different prices."""
    grouped = table.groupby(["seller", "product"], sort=True)
    found = grouped.agg(
        periods=("period", "nunique"), first=("period", "min"), last=("period", "max"), prices=("price", "nunique")
    )
    found["missing"] = found["last"] - found["first"] + 1 - found["periods"]
    return found.reset_index()


def names_of(values: Sequence[str], most: int = 5) -> str:
    """A list for a message, cut after a few."""
    shown = ", ".join(map(str, values[:most]))
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")
