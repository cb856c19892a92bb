"""In which form a column writes its dates: found from its texts, or named by a setting; two readings are asked."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from marl_pricing.intake.errors import IntakeError, shown

Length = Literal["day", "week", "month"]

_TIME = (
    r"(?:[T ,]+(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?)?"
)
_YEAR = r"(?P<year>\d{4}|\d{2})"
_NAME = r"(?P<name>[^\W\d_]{3,12})\.?"
_WEEKDAY = r"(?:[^\W\d_]{2,10}\.?,\s*)?"
_WEEK = r"(?:W|KW|CW|WK|S|Week|Woche|Semaine|Semana)"
# Families of texts; a text belongs to the first that fits it.
_FAMILIES: dict[str, tuple[str, ...]] = {
    "ymd": (r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})" + _TIME,),
    "dotted": (r"(?P<a>\d{1,2})\.(?P<b>\d{1,2})\." + _YEAR + _TIME,),
    "slashed": (r"(?P<a>\d{1,2})[/-](?P<b>\d{1,2})[/-]" + _YEAR + _TIME,),
    "iso_week": (
        rf"(?P<year>\d{{4}})[-_ /.]*{_WEEK}[-_ .]*(?P<week>\d{{1,2}})(?:-?(?P<weekday>[1-7]))?",
        rf"{_WEEK}[-_ .]*(?P<week>\d{{1,2}})[-_ /.]+(?P<year>\d{{4}})",
    ),
    "month": (r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})", r"(?P<month>\d{1,2})[-/.](?P<year>\d{4})"),
    "named": (
        rf"{_WEEKDAY}(?P<day>\d{{1,2}})[.\s/-]+{_NAME}[\s/,-]+{_YEAR}{_TIME}",
        rf"{_WEEKDAY}{_NAME}\s+(?P<day>\d{{1,2}}),?\s+{_YEAR}{_TIME}",
        rf"{_NAME}-(?P<day>\d{{1,2}})-{_YEAR}{_TIME}",
    ),
    "named_month": (rf"{_NAME}[\s/-]+{_YEAR}",),
    "yyyymmdd": (r"(?P<year>(?:19|20)\d{2})(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01])(?:\.0*)?",),
    "six": (r"(?P<year>(?:19|20)\d{2})(?P<last>0[1-9]|[1-4]\d|5[0-3])",),
    # 2001 to 2286, each in its unit.
    "s": (r"(?P<count>\d{10})(?:\.\d*)?",),
    "ms": (r"(?P<count>\d{13})(?:\.\d*)?",),
    "us": (r"(?P<count>\d{16})",),
    "ns": (r"(?P<count>\d{19})",),
    # Days since 1900 as spreadsheets count them, of 2000 to 2050.
    "excel": (r"(?P<days>(?:3[6-9]|4\d|5[0-4])\d{3}(?:\.\d+)?)",),
    "number": (r"[+-]?\d{1,7}(?:\.0*)?",),
}
# What a user may say, beside strptime's forms with %.
FORMS = (
    *("yyyy-mm-dd", "dd.mm.yyyy", "dd/mm/yyyy", "mm/dd/yyyy", "yyyymmdd", "yyyy-mm", "yyyymm", "iso_week", "yyyyww"),
    *("mm/yyyy", "ww/yyyy", "names", "s", "ms", "us", "ns", "excel", "number"),
)
_LENGTHS: dict[str, Length] = {
    "iso_week": "week",
    "ww/yyyy": "week",
    "yyyyww": "week",
    "month": "month",
    "yyyymm": "month",
}


@dataclass(frozen=True)
class Form:
    """How a column writes its dates.

    Attributes:
        kind: ymd, dmy, mdy, month, yyyymmdd, yyyymm, yyyyww, iso_week, names, s, ms, us, ns, number, or a form with %.
        told: as a message names it, and as a mapping may set it.
    """

    kind: str
    told: str

    @property
    def length(self) -> Length | None:
        """What one value of it spans, where that is no day."""
        return _LENGTHS.get(self.kind)


def form_named(text: str) -> Form:
    """The form that a setting names: `dd.mm.yyyy`, `mm/dd/yyyy`, `iso_week`, `us` …, or strptime's `%d %b %Y`.

    Raises:
        IntakeError: for another text.
    """
    if "%" in text:
        return Form(text, text)
    plain = text.strip().lower().replace("jjjj", "yyyy").replace("tt", "dd")
    order = re.sub(r"[^dmy]+", "", re.sub(r"([dmy])\1*", r"\1", plain))
    if plain in ("iso", "yyyy-mm-dd", "yyyy/mm/dd", "yyyy.mm.dd"):
        return Form("ymd", "yyyy-mm-dd")
    if order in ("dmy", "mdy") and re.fullmatch(r"[dmy]{1,4}[./-][dmy]{1,4}[./-][dmy]{2,4}", plain):
        return Form(order, plain)
    if plain in ("yyyy-mm", "mm/yyyy", "mm.yyyy", "mm-yyyy", "yyyy/mm"):
        return Form("month", plain)
    if plain in FORMS:
        return Form(plain, plain)
    raise IntakeError(f"date_format={shown(text)}: accepted are {', '.join(FORMS)}, or a form like '%d %b %Y'")


def match(texts: pd.Series, family: str) -> pd.DataFrame:
    """Named parts of each text, NaN in all where the family does not fit."""
    found: pd.DataFrame | None = None
    for pattern in _FAMILIES[family]:
        whole = texts.str.extract(rf"^(?P<whole>{pattern})$", flags=re.IGNORECASE)
        if found is None:
            found = whole
        else:
            missing = found["whole"].isna()
            found = found.where(~missing, whole.reindex(columns=found.columns.union(whole.columns, sort=False)))
            for name in whole.columns.difference(found.columns):
                found[name] = whole[name].where(missing)
    assert found is not None
    return found


def _families(texts: pd.Series) -> pd.Series:
    """The family of each text, missing where it has none."""
    found = pd.Series(pd.NA, texts.index, dtype="object")
    for family in _FAMILIES:
        rest = found.isna()
        if not rest.any():
            break
        fits = match(texts[rest], family)["whole"].notna()
        found[fits.index[fits]] = family
    return found


def _date(year: int, month: int, day: int) -> str:
    return f"{day} {calendar.month_name[month]} {year}"


def _day_or_month(texts: pd.Series, lines: Mapping[str, int], where: str, title: str, family: str) -> Form:
    """dd.mm or mm.dd of dates with a sign between: what a number above 12 says, and dots say day first."""
    parts = match(texts, family)
    a, b = (pd.to_numeric(parts[name]) for name in ("a", "b"))
    day_first, month_first = (a > 12) & (b <= 12), (b > 12) & (a <= 12)
    example = texts.iloc[0]
    sign = "." if family == "dotted" else "-" if "-" in example.split()[0] else "/"
    year = "yyyy" if len(str(parts["year"].iloc[0])) == 4 else "yy"
    forms = {
        kind: Form(kind, sign.join([*order, year])) for kind, order in (("dmy", ("dd", "mm")), ("mdy", ("mm", "dd")))
    }
    if day_first.any() and month_first.any():
        one, other = texts[day_first].iloc[0], texts[month_first].iloc[0]
        raise IntakeError(
            f"{where}:{lines[other]}: {title} mixes two forms of dates: {shown(other)} is {forms['mdy'].told}, "
            f"{shown(one)} in line {lines[one]} is {forms['dmy'].told}; date_format: in the mapping takes one and sets "
            "aside what is not of it"
        )
    if month_first.any():
        return forms["mdy"]
    if day_first.any() or family == "dotted":
        return forms["dmy"]
    open_ones = texts[(a != b) & (a <= 12) & (b <= 12)]
    if open_ones.empty:
        return forms["dmy"]
    text = open_ones.iloc[0]
    first, second = int(a[open_ones.index[0]]), int(b[open_ones.index[0]])
    own_year = full_year(parts.loc[[open_ones.index[0]], "year"]).iloc[0]
    raise IntakeError(
        f"{where}:{lines[text]}: {title} {shown(text)} can be read as {_date(int(own_year), second, first)} "
        f"({forms['dmy'].told}) or as {_date(int(own_year), first, second)} ({forms['mdy'].told}), and no date in the "
        f"file settles it; date_format: {forms['dmy'].told} or date_format: {forms['mdy'].told} in the mapping does"
    )


def _month_or_week(texts: pd.Series, lines: Mapping[str, int], where: str, title: str, family: str, part: str) -> Form:
    """yyyymm or yyyyww (`six`), yyyy-mm, mm/yyyy or ww/yyyy (`month`): above 12 are weeks; several years of 1 to 12 are
    months.

    Args:
        part: the name of what is a month or a week.
    """
    parts = match(texts, family)
    if family == "month" and texts.str.match(r"\d{4}").all():
        return Form("month", "yyyy-mm")
    month = Form("yyyymm", "yyyymm") if family == "six" else Form("month", "mm/yyyy")
    week = Form("yyyyww", "yyyyww") if family == "six" else Form("ww/yyyy", "ww/yyyy")
    if (pd.to_numeric(parts[part]) > 12).any():
        return week
    if parts["year"].nunique() > 1:
        return month
    text = texts.iloc[0]
    raise IntakeError(
        f"{where}:{lines[text]}: {title} {shown(text)} can be read as a month ({month.told}) or as a week "
        f"({week.told}); date_format: {month.told} or date_format: {week.told} in the mapping settles it"
    )


def detect(values: pd.Series, lines: np.ndarray, where: str, title: str) -> Form | None:
    """The form of most dates of a column; None for a column of dates already, or without any text.

    Args:
        values: cells; those that are no text are left alone.
        lines: of each cell, for messages.

    Raises:
        IntakeError: where dates can be read in two ways or are of two forms, and where most texts are no dates.
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        return None
    places = pd.Series(lines, values.index)
    values = values.drop_duplicates()
    if pd.api.types.is_numeric_dtype(values):
        values = numbers_as_texts(values)
    held = values[values.map(lambda value: isinstance(value, str))].astype(object).str.strip()
    held = held[held != ""]
    if held.empty:
        return None
    first = places[held.index].groupby(held.to_numpy(), sort=False).first()
    place = {str(text): int(line) for text, line in first.items()}
    texts = pd.Series(list(place), dtype=object)
    families = _families(texts)
    # Numbers of which some only look like a spreadsheet's days are numbers.
    if (families == "number").any():
        families = families.replace("excel", "number")
    counted = families.dropna().value_counts()
    if counted.empty or counted.iloc[0] < 0.5 * len(texts):
        bad = texts[families.isna()]
        if len(bad) > 0.5 * len(texts):
            text = bad.iloc[0]
            raise IntakeError(
                f"{where}:{place[text]}: {title} {shown(text)} is no date and no whole number; date_format: in the "
                f"mapping sets its form, {', '.join(FORMS)}, or one like '%d %b %Y'"
            )
        one, other = (texts[families == name].iloc[0] for name in counted.index[:2])
        raise IntakeError(
            f"{where}:{place[other]}: {title} mixes two forms of dates, {shown(one)} (line {place[one]}) and "
            f"{shown(other)}; date_format: in the mapping takes one and sets aside what is not of it"
        )
    family = str(counted.index[0])
    own = texts[families == family]
    if family in ("dotted", "slashed"):
        return _day_or_month(own, place, where, title, family)
    if family == "six":
        return _month_or_week(own, place, where, title, "six", "last")
    if family in ("named", "named_month"):
        return Form("names", "names")
    if family == "ymd":
        return Form("ymd", "yyyy-mm-dd")
    if family == "month":
        return _month_or_week(own, place, where, title, "month", "month")
    return Form(family, family)


def numbers_as_texts(values: pd.Series) -> pd.Series:
    """A column of numbers as texts, whole ones without a point, missing ones empty."""

    def one(value: object) -> str:
        number = float(value)  # type: ignore[arg-type]
        if not np.isfinite(number):
            return ""
        return str(int(number)) if number == int(number) else str(value)

    return pd.Series([one(value) for value in values], values.index, dtype=object)


def full_year(texts: pd.Series) -> pd.Series:
    """Years as numbers; of two digits those of 1969 to 2068."""
    year = pd.to_numeric(texts, errors="coerce")
    short = texts.astype("string").str.len() == 2
    return year.where(~short.fillna(False).astype(bool), np.where(year <= 68, year + 2000, year + 1900))
