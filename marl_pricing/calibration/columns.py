"""A file's cells as typed columns of sales: texts, numbers, dates counted in periods, the currency."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.calibration.mapping import CalibrationError, Mapping
from marl_pricing.calibration.periods import as_texts, count_periods, joined_period, unfinished
from marl_pricing.intake import dates, lines, numbers, shown
from marl_pricing.intake.names import plain
from marl_pricing.intake.tables import RawTable

_MONEY = ("price", "revenue", "cost")
_SIGN = {".": "decimal point", ",": "decimal comma"}
_FLAGS = dict.fromkeys(("true", "yes", "y", "ja", "oui", "x"), 1.0) | dict.fromkeys(
    ("false", "no", "n", "nein", "non"), 0.0
)
_STATUS = {"status", "state", "zustand", "statut", "estado", "stato"}
_GONE = r"cancel|storn|annul|void|refund|abgebrochen|cancelad|fail"
ONE_SELLER, ONE_PRODUCT = "shop", "product"  # where the file tells none apart


@dataclass
class Columns:
    """Typed columns of the rows that are to be judged.

    Attributes:
        table: product, seller, category, store (texts), period (float, NaN where it is none), units, price and others
            (float, NaN where a cell is no number).
        cells: what stands in the file, under our names.
        lines: [rows] lines of the file.
        rows: all rows of the file below its header.
        titles: our name → the file's.
        dates: of each row; None where periods are numbers.
        called: what the file calls each row's period.
        period_name: day, week, month, or period where they are numbers.
        first_day: the first of all dates, where there are any.
        currency, read_as: as found.
        mapping: with everything said that was found.
        left_out: rows that are not to be judged, by reason.
    """

    table: pd.DataFrame
    cells: pd.DataFrame
    lines: np.ndarray
    rows: int
    titles: dict[str, str]
    dates: pd.Series | None
    called: pd.Series
    period_name: str
    currency: str
    mapping: Mapping
    first_day: date | None
    read_as: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def _names(mapping: Mapping) -> dict[str, str]:
    """Our name of a numeric column → the file's."""
    own = ("units", "price", "revenue", "price_for", "margin_percent", "cost", "promotion", "stock")
    named = {name: getattr(mapping, name) for name in own if getattr(mapping, name) is not None}
    return named | {f"instrument{number}": name for number, name in enumerate(mapping.instruments)}


def _numbers(
    raw: RawTable, mapping: Mapping, titles: dict[str, str]
) -> tuple[dict[str, pd.Series], dict[str, numbers.Column]]:
    columns = {
        name: numbers.column(name, title, raw.frame[title], raw.lines, name in _MONEY) for name, title in titles.items()
    }
    numbers.settle(columns.values(), raw.path, mapping.decimals, mapping.thousands)
    found = {name: numbers.parse(raw.frame[titles[name]], own) for name, own in columns.items()}
    if "promotion" in found:
        words = as_texts(raw.frame[titles["promotion"]]).str.casefold()
        found["promotion"] = found["promotion"].fillna(words.map(_FLAGS).astype(float))
    return {name: values.replace([np.inf, -np.inf], np.nan) for name, values in found.items()}, columns


def _currency(raw: RawTable, mapping: Mapping, columns: dict[str, numbers.Column]) -> str:
    """The one currency of a file: of its column, of signs beside amounts, of a title, or as told.

    Raises:
        CalibrationError: for several, with a line of the second.
    """
    told = ""
    if mapping.currency is not None and mapping.currency in raw.frame:
        texts = as_texts(raw.frame[mapping.currency])
        found = Counter(texts)
        found.pop("", None)
        if len(found) > 1:
            counted = ", ".join(f"{name} in {count:,} rows" for name, count in found.most_common(5))
            first = next(name for name, _ in found.most_common()[1:])
            line = int(raw.lines[np.flatnonzero(texts.eq(first).to_numpy())[0]])
            raise CalibrationError(
                f"{raw.path}:{line}: mixed currencies ({counted}); accepted is one, so convert them first, or take one "
                f"by keep: {{{mapping.currency}: [{found.most_common(1)[0][0]}]}} in the mapping"
            )
        told = next(iter(found), "")
    elif mapping.currency is not None:
        told = mapping.currency
        if not numbers.CURRENCY.fullmatch(told) and not (len(told) == 3 and told.isalpha()):
            raise CalibrationError(
                f"{raw.path}: currency={shown(told)}: accepted is a column of the file, or a currency as EUR or €"
            )
    signs = numbers.currencies(columns.values())
    if len(signs) > 1:
        (one, (_, first)), (other, (name, line)) = sorted(signs.items(), key=lambda item: item[1][1])[:2]
        raise CalibrationError(
            f"{raw.path}:{line}: mixed currencies, {columns[name].title} has {other!r} here and {one!r} in line "
            f"{first}; accepted is one, so convert them first"
        )
    titled = {numbers.currency_in(own.title) for own in columns.values() if own.money} - {""}
    return told or next(iter(signs), "") or (titled.pop() if len(titled) == 1 else "")


def _filled_down(raw: RawTable, titles: list[str]) -> RawTable:
    """Empty cells of some columns as the cell above: what pivot tables and lists write once for all rows of a group."""
    if not titles:
        return raw
    filled = {}
    for title in titles:
        cells = raw.frame[title].astype(object)
        filled[title] = cells.where(as_texts(cells) != "").ffill().fillna("")
    return replace(raw, frame=raw.frame.assign(**filled))


def _cancelled(raw: RawTable, mapping: Mapping) -> list[str]:
    """What is to be said of rows that count as sold and say that they were cancelled."""
    said = []
    for title in map(str, raw.frame):
        if title in mapping.keep or not set(plain(title).split()) & _STATUS:
            continue
        texts = as_texts(raw.frame[title])
        gone = texts.str.casefold().str.contains(_GONE)
        if gone.any() and not gone.all():
            left = list(texts[~gone & texts.ne("")].unique()[:3])
            said.append(
                f"{int(gone.sum()):,} rows whose {title} is {shown(texts[gone].iloc[0], 30)} count as sold (keep: "
                f"{{{title}: [{', '.join(left)}]}} in the mapping leaves them out)"
            )
    return said


def _kept(raw: RawTable, mapping: Mapping, left_out: Counter[str]) -> pd.Series:
    kept = pd.Series(True, raw.frame.index)
    for title, values in mapping.keep.items():
        wanted = {str(value) if not isinstance(value, bool) else str(value).lower() for value in values}
        texts = as_texts(raw.frame[title])
        kept &= texts.isin(wanted) | texts.str.lower().isin(wanted)
    left_out["as keep says"] += int((~kept).sum())
    return kept


def _read_as(
    mapping: Mapping, columns: dict[str, numbers.Column], form: dates.Form | None, name: str, first: str, currency: str
) -> list[str]:
    said = []
    decimals = {own.decimal for own in columns.values() if own.decimal is not None}
    if len(decimals) == 1:
        said.append(_SIGN[next(iter(decimals))])
    elif decimals:
        said.append(", ".join(f"{_SIGN[own.decimal]} in {own.title}" for own in columns.values() if own.decimal))
    if form is not None and form.kind != "number":
        said.append(f"dates {form.told}")
    if name != "period":
        said.append(f"{name}s from {first}")
    if currency:
        said.append(f"amounts in {currency}")
    if mapping.seller is None:
        said.append(f"one seller, {ONE_SELLER!r}")
    if mapping.product is None:
        said.append(f"one product, {ONE_PRODUCT!r}")
    if mapping.units is None:
        said.append("each row is one unit")
    return said


def read_columns(raw: RawTable, mapping: Mapping) -> Columns:
    """Typed columns of a file.

    Args:
        mapping: whose columns the file has (`mapping.resolve`).

    Raises:
        IntakeError, CalibrationError: for what can be read in two ways, and for several currencies.
    """
    left_out: Counter[str] = Counter()
    rows = len(raw.frame) + len(raw.faults)
    raw = _filled_down(raw, mapping.fill_down)
    as_told, (raw, mapping) = mapping, joined_period(raw, mapping)
    kept = _kept(raw, mapping, left_out)
    if not kept.all():
        raw = replace(raw, frame=raw.frame[kept], lines=raw.lines[kept.to_numpy()])
    titles = _names(mapping)
    found, columns = _numbers(raw, mapping, titles)
    currency = _currency(raw, mapping, columns)
    period, days, period_name, form = count_periods(raw, mapping)
    index = raw.frame.index
    product = mapping.product if isinstance(mapping.product, list) else [mapping.product or ""]
    one = pd.Series(ONE_PRODUCT, index, dtype=object)
    texts: dict[str, pd.Series] = {"product": as_texts(raw.frame[product[0]]) if product[0] else one}
    for title in product[1:]:
        texts["product"] = texts["product"] + "-" + as_texts(raw.frame[title])
    for name, otherwise in (("seller", ONE_SELLER), ("category", "all"), ("store", None)):
        title = getattr(mapping, name)
        if title is not None:
            texts[name] = as_texts(raw.frame[title])
        elif otherwise is not None:
            texts[name] = pd.Series(otherwise, index, dtype=object)
    units = found.get("units", pd.Series(1.0, index))
    price = found.get("price", pd.Series(np.nan, index))
    if mapping.price is None:
        # The revenue of nothing is no price.
        price = (found["revenue"] / units.where(units != 0)).abs() if mapping.revenue is not None else price
    if "price_for" in found:
        price = price / found["price_for"].where(found["price_for"] > 0)
    if "margin_percent" in found and "cost" not in found:
        found["cost"] = price * (1.0 - found["margin_percent"] / 100.0)
    beside = [name for name in found if name in ("cost", "promotion", "stock") or name.startswith("instrument")]
    table = pd.DataFrame(
        {**texts, "period": period, "units": units, "price": price, **{name: found[name] for name in beside}}
    )
    words = pd.DataFrame({name: values for name, values in texts.items() if getattr(mapping, name) is not None})
    words["period"] = as_texts(raw.frame[str(mapping.period)])
    totals = lines.is_total(words, period, units)
    nothing = table["units"].eq(0) & ~(table["price"] > 0)
    left_out["a total of the rows above"] += int(totals.sum())
    blank = pd.Series(True, index)
    for title in (str(mapping.period), *titles.values()):
        blank &= as_texts(raw.frame[title]).eq("")
    notes = blank & ~totals  # as titles of groups, and what stands below a table
    left_out["neither period nor numbers"] += int(notes.sum())
    left_out["nothing sold and no price"] += int((nothing & ~totals & ~notes).sum())
    judged = ~totals & ~nothing & ~notes
    cells = pd.DataFrame(
        {"product": raw.frame[product[0]] if product[0] else one}
        | {name: raw.frame[getattr(mapping, name)] for name in texts if name != "product" and getattr(mapping, name)}
        | {"period": raw.frame[str(mapping.period)]}
        | {name: raw.frame[title] for name, title in titles.items()}
    )
    known = period[judged & period.notna()]
    first = ""
    if len(known):
        earliest = known.index[int(known.to_numpy().argmin())]
        first = (
            str(words.loc[[earliest], "period"].iloc[0]) if days is None else str(days.loc[[earliest]].iloc[0].date())
        )
    everything: dict[str, Any] = raw.form | {
        "decimal": _decimals(columns) or mapping.decimal,
        "date_format": form.told if form is not None else None,
        "period_length": period_name if days is not None else None,
    }
    return Columns(
        table=table[judged],
        cells=cells[judged],
        lines=raw.lines[judged.to_numpy()],
        rows=rows,
        titles=titles
        | {name: str(getattr(mapping, name) or name) for name in ("product", "seller", "period", "category", "store")},
        dates=days[judged] if days is not None else None,
        called=(words["period"] if _is_said(form) or days is None else days.dt.date.astype(str))[judged],
        period_name=period_name,
        currency=currency,
        mapping=mapping.model_copy(
            update=everything
            | {"period": as_told.period}
            | ({"currency": currency} if currency and not mapping.currency else {})
        ),
        first_day=days.min().date() if days is not None and days.notna().any() else None,
        read_as=_read_as(mapping, columns, form, period_name, first, currency)
        + (unfinished(days[judged], period_name) if days is not None else [])
        + _cancelled(raw, mapping),
        left_out=left_out,
    )


def _is_said(form: dates.Form | None) -> bool:
    """Whether a form writes dates so that people can read them."""
    return form is None or form.kind not in ("excel", "s", "ms", "us", "ns")


def _decimals(columns: dict[str, numbers.Column]) -> Any:
    """The decimal sign of all columns, or by column where they differ; None where no column has any."""
    signs = {name: own.decimal for name, own in columns.items() if own.decimal is not None}
    return next(iter(signs.values())) if len(set(signs.values())) == 1 else signs or None
