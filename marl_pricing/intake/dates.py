"""Texts → dates, and dates → periods."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd

from marl_pricing.intake.date_forms import Form, Length, detect, form_named, full_year, match, numbers_as_texts

__all__ = ["Form", "Length", "count_periods", "detect", "form_named", "guess_length", "numbers_as_texts", "parse"]

# The family of texts that each kind of form is of.
_OF_FORM = {
    "ymd": "ymd", "dmy": "slashed", "mdy": "slashed", "yyyymmdd": "yyyymmdd", "month": "month", "ww/yyyy": "month",
    "yyyymm": "six", "yyyyww": "six", "iso_week": "iso_week", "names": "named", "s": "s", "ms": "ms", "us": "us",
    "ns": "ns", "excel": "excel", "number": "number",
}  # fmt: skip
_MONTHS = {
    1: "jan gen ene", 2: "feb fev", 3: "mar mrz maa", 4: "apr avr abr", 5: "may mai mag maj mei", 6: "jun juin giu",
    7: "jul juil lug", 8: "aug aou ago", 9: "sep set", 10: "oct okt ott out", 11: "nov", 12: "dec dez dic",
}  # fmt: skip
_PREFIXES = [(word, month) for month, words in _MONTHS.items() for word in words.split()]
_RANGE = r"^\s*(\S*\d\S*)\s+(?:-|–|—|to|bis|au|al)\s+\S*\d\S*\s*$"
_UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def _clock(parts: pd.DataFrame, utc: bool) -> pd.Series:
    """Time of day as a timedelta; with `utc` less the zone's offset."""
    if "hour" not in parts:
        return pd.Series(pd.Timedelta(0), parts.index)
    hour, minute, second = (pd.to_numeric(parts[name]).fillna(0) for name in ("hour", "minute", "second"))
    half = parts["half"].astype("string").str.lower().str[0]
    hour = hour.where(half.isna(), hour % 12) + half.eq("p").fillna(False).astype(float) * 12
    fraction = pd.to_numeric("0." + parts["fraction"].astype("string").fillna("0"), errors="coerce").astype(float)
    clock = pd.to_timedelta(hour * 3600 + minute * 60 + second + fraction, unit="s").dt.round("us")
    clock = clock.where((hour < 24) & (minute < 60) & (second < 61))
    if utc:
        zone = parts["zone"].astype("string").str.extract(r"(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?")
        minutes = pd.to_numeric(zone["hours"]).fillna(0) * 60 + pd.to_numeric(zone["minutes"]).fillna(0)
        away: pd.Series = minutes.astype(float) * np.where(zone["sign"].eq("-").fillna(False), -1.0, 1.0)
        clock = clock - pd.to_timedelta(away, unit="min")
    return clock


def _calendar(year: pd.Series, month: pd.Series, day: pd.Series) -> pd.Series:
    frame = pd.DataFrame({"year": year, "month": month, "day": day}).apply(pd.to_numeric, errors="coerce")
    fine = frame.notna().all(axis=1) & frame["year"].between(1900, 2100)
    found = pd.Series(pd.NaT, frame.index, dtype="datetime64[us]")
    found[fine] = pd.to_datetime(frame[fine].astype(int), errors="coerce").astype("datetime64[us]")
    return found


def _monday(year: pd.Series, week: pd.Series, weekday: pd.Series | None) -> pd.Series:
    """The day of ISO weeks (ISO 8601: week 1 holds 4 January), Monday where none is named."""
    one = pd.Series(1, year.index)
    fourth = _calendar(year, one, 4 * one)
    number = pd.to_numeric(week)
    monday = fourth - pd.to_timedelta(fourth.dt.day_of_week, unit="D") + pd.to_timedelta(7 * (number - 1), unit="D")
    # A week 53 that its year does not have would be the next year's first.
    fine = (monday + pd.Timedelta(days=3)).dt.year.eq(pd.to_numeric(year)) & number.ge(1)
    day = pd.to_numeric(weekday).fillna(1) if weekday is not None else one
    return (monday + pd.to_timedelta(day - 1, unit="D")).where(fine)


def month_numbers(names: pd.Series) -> pd.Series:
    """1 to 12 of names of months in several languages, NaN of other texts."""

    def one(name: object) -> float:
        if not isinstance(name, str):
            return np.nan
        plain = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
        return next((float(month) for prefix, month in _PREFIXES if plain.startswith(prefix)), np.nan)

    return names.map(one).astype(float)


def _since_1970(texts: pd.Series, unit: str) -> pd.Series:
    """Times from counts since 1970; whole ones keep all their digits."""

    def one(text: object) -> object:
        if not isinstance(text, str):
            return pd.NaT
        whole, _, rest = text.partition(".")
        nanos = int(whole) * _UNITS[unit] + round(float(f"0.{rest or 0}") * _UNITS[unit])
        return pd.Timestamp(nanos, unit="ns")

    return pd.to_datetime(texts.map(one))


def _parse_unique(texts: pd.Series, form: Form, utc: bool) -> pd.Series:
    kind = form.kind
    if "%" in kind:
        found: pd.Series = pd.to_datetime(texts, format=kind, errors="coerce", utc=utc)
        return found.dt.tz_localize(None) if found.dt.tz is not None else found
    if kind in ("dmy", "mdy"):
        both = []
        for family in ("slashed", "dotted"):
            own = match(texts, family)
            first, second = ("a", "b") if kind == "dmy" else ("b", "a")
            both.append(_calendar(full_year(own["year"]), own[second], own[first]) + _clock(own, utc))
        return both[0].fillna(both[1])
    parts = match(texts, _OF_FORM[kind])
    if kind in _UNITS:
        return _since_1970(parts["whole"], kind)
    if kind == "excel":
        count = pd.to_timedelta(pd.to_numeric(parts["days"], errors="coerce").astype(float), unit="D")
        return (pd.Timestamp("1899-12-30") + count).dt.round("s")
    if kind == "ymd":
        return _calendar(parts["year"], parts["month"], parts["day"]) + _clock(parts, utc)
    if kind == "yyyymmdd":
        return _calendar(parts["year"], parts["month"], parts["day"])
    one = pd.Series(1, texts.index)
    if kind == "month":
        return _calendar(parts["year"], parts["month"], one)
    if kind == "yyyymm":
        return _calendar(parts["year"], parts["last"], one)
    if kind == "ww/yyyy":
        return _monday(parts["year"], parts["month"], None)
    if kind == "yyyyww":
        return _monday(parts["year"], parts["last"], None)
    if kind == "iso_week":
        return _monday(parts["year"], parts["week"], parts.get("weekday"))
    day = _calendar(full_year(parts["year"]), month_numbers(parts["name"]), parts["day"]) + _clock(parts, utc)
    month = match(texts, "named_month")
    return day.fillna(_calendar(full_year(month["year"]), month_numbers(month["name"]), one))


def parse(values: pd.Series, form: Form | None, utc: bool = False) -> pd.Series:
    """Dates [rows] datetime64, missing where a cell is none of this form.

    Args:
        form: of the texts; cells that are dates already (Excel, Parquet) are taken as they are.
        utc: move times with a zone to UTC; otherwise a date is the day that is written, wherever that was.
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        return values.dt.tz_localize(None) if values.dt.tz is not None else values
    codes, unique = pd.factorize(values)
    cells = pd.Series(unique)
    cells = numbers_as_texts(cells) if pd.api.types.is_numeric_dtype(cells) else cells.astype(object)
    is_text = cells.map(lambda value: isinstance(value, str)).astype(bool)
    found = pd.Series(pd.NaT, cells.index, dtype="datetime64[us]")
    if form is not None and is_text.any():
        texts = cells[is_text].astype(object).str.strip()
        found[is_text] = _parse_unique(texts, form, utc).astype("datetime64[us]")
    # Excel's cells of dates among texts.
    others = [pd.Timestamp(value) if hasattr(value, "year") else pd.NaT for value in cells[~is_text]]
    found[~is_text] = np.array(others, "M8[us]")
    filled = np.append(found.to_numpy(), np.datetime64("NaT", "us"))  # code -1: no cell
    return pd.Series(filled[codes], values.index)


def starts_of(values: pd.Series) -> pd.Series:
    """Cells that say from when to when, as 2024-01-01 - 2024-01-07, by their first date; others as they are."""
    texts = values[values.map(lambda value: isinstance(value, str) and value.strip() != "")].astype(str)
    parts = texts.str.extract(_RANGE)
    if texts.empty or parts[0].isna().any():
        return values
    return values.where(~values.index.isin(texts.index), parts[0].reindex(values.index))


def guess_length(dates: pd.Series, form: Form | None) -> Length:
    """The period that dates are rows of: as their form says, or a week or month apart; days become weeks."""
    if form is not None and form.length is not None:
        return form.length
    days = pd.Series(dates.dropna().dt.normalize().unique()).sort_values()
    if len(days) > 1 and (days.diff().dropna().dt.days % 7 == 0).all():
        return "week"
    ends = days.dt.day.eq(1).all() or days.dt.is_month_end.all() or days.dt.day.nunique() == 1
    if len(days) > 1 and ends and not days.dt.to_period("M").duplicated().any():
        return "month"
    return "week"


def count_periods(dates: pd.Series, length: Length) -> pd.Series:
    """Periods [rows] as whole numbers, NaN without a date: days or weeks from the first, or months of the calendar."""
    if length == "month":
        return (dates.dt.year * 12 + dates.dt.month).astype(float)
    days = (dates.dt.normalize() - dates.min().normalize()).dt.days.astype(float)
    return days // (7.0 if length == "week" else 1.0)
