"""The column of periods: dates counted in days, weeks or months, numbers as they are, years with their weeks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from marl_pricing.calibration.guessing import is_year
from marl_pricing.calibration.mapping import CalibrationError, Mapping
from marl_pricing.intake import dates, shown
from marl_pricing.intake.names import MONTHS, WEEKS, plain
from marl_pricing.intake.tables import RawTable

_MOST_WEEKS = 53


def as_texts(column: pd.Series) -> pd.Series:
    """Cells as texts without space around them, empty where there is none; whole numbers without a point."""
    if pd.api.types.is_numeric_dtype(column):
        codes, unique = pd.factorize(column)
        texts = dates.numbers_as_texts(pd.Series(unique)).to_numpy(object)
        return pd.Series(np.append(texts, "")[codes], column.index, dtype=object)
    return column.astype("string").fillna("").str.strip().astype(object)


def joined_period(raw: RawTable, mapping: Mapping) -> tuple[RawTable, Mapping]:
    """A file whose period is one column: a year's and those of its week, month, or month and day are put together.

    Raises:
        CalibrationError: where none of several is a year, and where the other can be a week and a month.
    """
    if isinstance(mapping.period, str):
        return raw, mapping
    texts = {title: as_texts(raw.frame[title]) for title in mapping.period}
    years = [title for title, own in texts.items() if own[own != ""].str.fullmatch(r"(?:19|20)\d\d").all()]
    if len(years) != 1:
        raise CalibrationError(
            f"{raw.path}: period={mapping.period}: accepted is one column of years, as 2024, beside those of weeks, "
            "months, or months and days"
        )
    year = texts.pop(years[0])
    others = {title: _two_digits(own) for title, own in texts.items()}
    whole = year
    for own in others.values():
        whole = whole + ("-W" if _are_weeks(raw, mapping, others) else "-") + own
    title = " + ".join(mapping.period)
    frame = raw.frame.assign(**{title: whole.astype(object).where(whole.notna(), "")})
    return replace(raw, frame=frame), mapping.model_copy(update={"period": title})


def _two_digits(texts: pd.Series) -> pd.Series:
    """Numbers of weeks, months or days, with names of months as theirs; missing where a text is none."""
    own = texts.astype("string").str.extract(r"(\d{1,2})$")[0]
    return own.fillna(dates.month_numbers(texts).astype("Int64").astype("string")).str.zfill(2)


def _are_weeks(raw: RawTable, mapping: Mapping, others: dict[str, pd.Series]) -> bool:
    if len(others) == 2:
        return False
    title, own = next(iter(others.items()))
    if mapping.date_format in ("iso_week", "yyyy-mm"):
        return mapping.date_format == "iso_week"
    words = set(plain(title).split())
    if pd.to_numeric(own, errors="coerce").max() > 12 or words & WEEKS:
        return True
    if words & MONTHS:
        return False
    line = int(raw.lines[0])
    raise CalibrationError(
        f"{raw.path}:{line}: {title} {shown(raw.frame[title].iloc[0])} can be a week or a month of its year; "
        "date_format: iso_week or date_format: yyyy-mm in the mapping says which"
    )


def _refuse_periods_of_any_year(raw: RawTable, title: str, numbers: pd.Series) -> None:
    """Weeks or months that begin anew every year are told apart by a column of years alone."""
    years = [own for own in map(str, raw.frame) if own != title and is_year(own, raw.frame[own])]
    if not years or not numbers.dropna().between(0, _MOST_WEEKS).all():
        return
    year = raw.frame[years[0]]
    several = year.groupby(numbers).nunique()
    if several.max() > 1:
        again = several.index[several > 1][0]
        first, second = sorted(as_texts(year[numbers == again]).unique())[:2]
        raise CalibrationError(
            f"{raw.path}: {title} {again:g} stands in {first} and in {second}, and would be one period; period: "
            f"[{years[0]}, {title}] in the mapping tells them apart"
        )


def count_periods(raw: RawTable, mapping: Mapping) -> tuple[pd.Series, pd.Series | None, str, dates.Form | None]:
    """(periods as whole numbers, NaN where there is none; dates; what a period is; the form of the dates)."""
    title, length = str(mapping.period), mapping.period_length
    cells = raw.frame[title]
    if not pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_datetime64_any_dtype(cells):
        cells = dates.starts_of(cells)
    if mapping.date_format is not None:
        form: dates.Form | None = dates.form_named(mapping.date_format)
    else:
        form = dates.detect(cells, raw.lines, raw.path, title)
    if form is not None and form.kind == "number":
        if length is not None:
            raise CalibrationError(
                f"{raw.path}: period_length={length!r}: accepted is null where periods are whole numbers, as "
                f"{title} is; date_format: in the mapping says what else they are"
            )
        found = pd.to_numeric(as_texts(cells), errors="coerce").astype(float)
        whole = (found == np.floor(found)) & (found.abs() < 2**53)
        _refuse_periods_of_any_year(raw, title, found.where(whole))
        return found.where(whole), None, mapping.period_name or "period", form
    if mapping.period_name is not None:
        raise CalibrationError(
            f"{raw.path}: period_name={mapping.period_name!r}: accepted is null where {title} holds dates; "
            "period_length: in the mapping says what they are added up to"
        )
    days = dates.parse(cells, form)
    if days.notna().any():
        told = length or dates.guess_length(days, form)
        if form is not None and form.length is not None and ("day", "week", "month").index(told) < (
            "day", "week", "month").index(form.length):  # fmt: skip
            raise CalibrationError(
                f"{raw.path}: period={told!r}: accepted is {form.length} or longer, as {title} tells no more"
            )
        return dates.count_periods(days, told), days, told, form
    return pd.Series(np.nan, cells.index), days, length or "week", form


def unfinished(days: pd.Series, length: str) -> list[str]:
    """What is to be said where daily data end within a period, which then holds less than others."""
    known = days.dropna().dt.normalize()
    if length == "day" or known.empty:
        return []
    period = dates.count_periods(known, "week" if length == "week" else "month")
    if known.nunique() < 2 * period.nunique():
        return []
    last = known.max()
    first = last.replace(day=1) if length == "month" else known.min() + pd.Timedelta(days=7 * float(period.max()))
    whole = last.days_in_month if length == "month" else 7
    seen = (last - first).days + 1
    return [f"the last {length} has {seen} of {whole} days"] if seen < whole else []
