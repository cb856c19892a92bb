"""Which columns are likely meant, by their titles and by what stands in them; and what a file lacks, in words."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from marl_pricing.intake import IntakeError, dates, numbers
from marl_pricing.intake.errors import cut, listed, shown
from marl_pricing.intake.names import DAYS, MONTHS, SALES_WORDS, YEARS, plain, suggest
from marl_pricing.intake.tables import RawTable

_SAMPLE = 2_000  # rows that are looked at
_FILLED, _NUMERIC, _OWN = 0.5, 0.8, 0.9  # shares
_NUMBERS = ("units", "price", "revenue", "cost", "stock")
_FEW = 20  # rows that may well be alike
_MANY = 4  # columns alike that stand for rows
_YEAR = (1950, 2100)


def _texts(column: pd.Series) -> pd.Series:
    """Cells that hold something, as texts."""
    texts = dates.numbers_as_texts(column) if pd.api.types.is_numeric_dtype(column) else column.astype("string")
    texts = texts.fillna("").astype(str).str.strip()
    return texts[texts != ""]


def is_year(title: str, column: pd.Series) -> bool:
    """Whether a column says of which year its row is."""
    if plain(title) not in YEARS:
        return False
    held = pd.to_numeric(_texts(column.head(_SAMPLE)), errors="coerce")
    return len(held) > 0 and bool(held.between(*_YEAR).all())


def _is_date(column: pd.Series, title: str) -> bool:
    """Whether dates can be read from a column, names of months, or whole numbers that differ."""
    held = _texts(column)
    if held.nunique() < min(2, 1 + len(held) // _FEW):
        return False
    if plain(title) in MONTHS and dates.month_numbers(held).notna().all():
        return True
    if pd.api.types.is_datetime64_any_dtype(column):
        return True
    try:
        form = dates.detect(dates.starts_of(held), np.arange(len(held)), "", title)
    except IntakeError as error:
        return "can be read as" in str(error)  # a date, if nobody knows which
    return form is not None


class _Content:
    """What stands in the columns of a file."""

    def __init__(self, raw: RawTable) -> None:
        self._frame = raw.frame.head(_SAMPLE)

    def fits(self, name: str, title: str) -> bool:
        """Whether a column can be what our name says."""
        column = self._frame[title]
        held = _texts(column)
        if len(held) < _FILLED * len(column):
            return name == "currency" and len(held) > 0
        if name in _NUMBERS:
            known = numbers.column(name, title, held, np.arange(len(held)), name != "units").parts
            return held.map(lambda text: known[text] is not None).mean() >= _NUMERIC
        if name == "promotion":
            if held.nunique() < 2:
                return False
            return pd.to_numeric(held, errors="coerce").notna().mean() >= _NUMERIC or held.nunique() == 2
        if name == "period":
            return _is_date(column, title)
        if name == "product":  # a row's own number is no product
            return len(held) < _FEW or held.nunique() < _OWN * len(held)
        return True

    def is_day(self, title: str) -> bool:
        """Whether a column holds days of the calendar, whatever it is called."""
        held = _texts(self._frame[title])
        if len(held) < _FILLED * len(self._frame) or held.nunique() < min(2, 1 + len(held) // _FEW):
            return False
        if pd.api.types.is_datetime64_any_dtype(self._frame[title]):
            return True
        try:
            form = dates.detect(held, np.arange(len(held)), "", title)
        except IntakeError as error:
            return "can be read as" in str(error) and "week" not in str(error)
        return form is not None and form.kind in ("ymd", "dmy", "mdy", "names")

    def belongs(self, title: str, product: str) -> bool:
        """Whether a column says the same of a product wherever it stands."""
        return self._frame.groupby(product)[title].nunique().le(1).mean() >= _OWN

    def is_total(self, found: dict[str, str]) -> bool:
        """Whether what was taken for a price is what is to be paid for all units of a row."""
        try:
            own = {
                name: numbers.column(name, name, self._frame[found[name]], np.arange(len(self._frame)), name != "units")
                for name in ("units", "price", "revenue")
            }
            numbers.settle(own.values(), "")
        except IntakeError:
            return False
        units, price, revenue = (numbers.parse(self._frame[found[name]], column) for name, column in own.items())
        several = (units > 1) & price.notna() & revenue.notna()
        return bool(several.any() and np.isclose(price, revenue)[several].mean() >= _OWN)


def _period(raw: RawTable, title: str) -> str | list[str]:
    """A column of periods, with the columns of its year and day where it does not tell these."""
    titles = list(map(str, raw.frame.columns))
    year = next((own for own in titles if own != title and is_year(own, raw.frame[own])), None)
    if year is None:
        return title
    named = plain(title) in MONTHS
    if not (named and dates.month_numbers(_texts(raw.frame[title].head(_SAMPLE))).notna().all()):
        held = _texts(raw.frame[title].head(_SAMPLE))
        form = dates.detect(dates.starts_of(held), np.arange(len(held)), raw.path, title)
        if form is None or form.kind != "number":
            return title
    day = next((own for own in titles if plain(own) in DAYS and pd.api.types.is_numeric_dtype(_numbers(raw, own))), "")
    return [year, title, day] if named and day else [year, title]


def _numbers(raw: RawTable, title: str) -> pd.Series:
    """A column's first cells, as numbers where all of them are."""
    held = _texts(raw.frame[title].head(_SAMPLE))
    found = pd.to_numeric(held, errors="coerce")
    return found if found.notna().all() else held


def guess(raw: RawTable) -> dict[str, str | list[str] | None]:
    """Our name → the column that is likely meant, or columns that make it together; None for what a file lacks."""
    titles = [title for title in map(str, raw.frame.columns) if title not in raw.twice]
    content = _Content(raw)
    found = suggest(titles, SALES_WORDS, content.fits)
    if "period" not in found:
        dated = next((title for title in titles if title not in found.values() and content.is_day(title)), None)
        found |= {"period": dated} if dated is not None else {}
    if "product" not in found and "category" in found:  # what is sold is told no further
        found["product"] = found.pop("category")
    product = found.get("product")
    if "category" in found and (product is None or not content.belongs(found["category"], product)):
        del found["category"]
    if {"units", "price", "revenue"} <= set(found) and content.is_total(found):
        del found["price"]
    if "price" in found:
        found.pop("revenue", None)
    whole: dict[str, str | list[str] | None] = dict(found)
    if "revenue" in found:
        whole["price"] = None
    if "period" in found:
        whole["period"] = _period(raw, found["period"])
    return whole


def _in_columns(titles: list[str]) -> list[str]:
    """Titles that stand for what belongs in rows: dates, or one word with numbers behind it."""
    dated = []
    for title in titles:
        try:
            form = dates.detect(pd.Series([title], dtype=object), np.ones(1), "", "")
        except IntakeError as error:
            form = dates.Form("open", "") if "can be read as" in str(error) else None
        if form is not None and form.kind not in ("number", "excel"):
            dated.append(title)
    if len(dated) >= _MANY:
        return dated
    counted: dict[str, list[str]] = {}
    for title in titles:
        if match := re.fullmatch(r"(.*\D)?\d{1,4}", title):
            counted.setdefault(match[1] or "", []).append(title)
    most = max(counted.values(), key=len, default=[])
    return most if len(most) > _MANY else []


def what_is_lacking(raw: RawTable) -> str:
    """What to do with a file whose columns are not those of a mapping, in words."""
    titles = [str(name) for name in raw.frame.columns]
    digits = [title for title in titles if re.fullmatch(r"-?\d+(?:\.\d+)?", title)]
    if 2 * len(digits) > len(titles) or (digits and any(_is_stamp(title) for title in titles)):
        return (
            "the first line holds numbers, so the file may have no header: header: 0 in the mapping says so, its "
            "columns are then called column 1, column 2 and so on"
        )
    found = guess(raw)
    lacking = [name for name in ("product", "period", "units") if name not in found]
    if not {"price", "revenue"} & {name for name, title in found.items() if title is not None}:
        lacking.append("price or revenue")
    wide = _in_columns([title for title in titles if title not in found.values()])
    if lacking and wide:
        return (
            f"columns {cut(wide[0], 30)}, {cut(wide[1], 30)} … {cut(wide[-1], 30)} hold side by side what belongs one "
            "below the other; accepted is one row a product and period, or order, with its units and price"
        )
    told = ", ".join(
        f"{name}: {title if isinstance(title, str) else '[' + ', '.join(title) + ']'}"
        for name, title in found.items()
        if title is not None
    )
    if not lacking:
        return f"likely are {told}; --check writes a mapping of these"
    hints = {
        "product": ", product: null takes all rows for one product's",
        "units": ", units: null takes each row for one unit" if found.get("price") else "",
        "price or revenue": ", without prices there is nothing to learn from",
    }
    return (
        (f"likely are {told}; " if told else "")
        + f"no column sounds like {listed(lacking)}{_why_not(raw, lacking)}: a mapping says which is"
        + "".join(hints.get(name, "") for name in lacking)
    )


def _why_not(raw: RawTable, lacking: list[str]) -> str:
    """Of columns that are called as what a file lacks, why they cannot be it."""
    called = suggest([str(title) for title in raw.frame.columns], SALES_WORDS)
    told = []
    for name in lacking:
        title = called.get(name.partition(" ")[0])
        if title is None:
            continue
        held = _texts(raw.frame[title].head(_SAMPLE))
        if title in raw.twice:
            told.append(f"{cut(title, 30)} is there twice")
        elif len(held) < _FILLED * len(raw.frame.head(_SAMPLE)):
            told.append(
                f"{cut(title, 30)} is empty in most rows, fill_down: [{title}] in the mapping takes the one above"
            )
        else:
            told.append(f"{cut(title, 30)} holds {shown(held.iloc[0], 30)}")
    return f" ({'; '.join(told)})" if told else ""


def _is_stamp(title: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\d([T ].*)?", title) is not None
