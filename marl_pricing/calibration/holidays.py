"""Holidays: a file of dates → how many of them each period has, which demand may answer to."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from marl_pricing.calibration.calendar import HOLIDAY, Calendar
from marl_pricing.calibration.mapping import CalibrationError
from marl_pricing.calibration.reading import Sales
from marl_pricing.config.errors import refuse
from marl_pricing.intake import IntakeError, dates, texts


def read_dates(path: Path | str) -> np.ndarray:
    """Dates of a text file, sorted, each once; one a line, the first of its columns, with or without a header.

    Raises:
        IntakeError: for a file that cannot be read, and a line that is no date, with its number.
    """
    text, _ = texts.decode(texts.content(Path(path)), str(path))
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    sign = texts.separator_of(text) or ","
    cells = pd.Series([next(csv.reader([line], delimiter=sign))[0].strip() for _, line in lines], dtype=object)
    places = np.array([number for number, _ in lines])
    if len(cells) > 1 and not any(sign.isdigit() for sign in cells.iloc[0]):  # its title
        cells, places = cells.iloc[1:], places[1:]
    form = dates.detect(cells, places, str(path), "date")
    if form is not None and form.kind == "number":
        raise IntakeError(f"{path}:{places[0]}: {cells.iloc[0]!r} is no date; accepted is one a line, as 2024-12-25")
    found = dates.parse(cells, form)
    if found.isna().any():
        at = int(np.flatnonzero(found.isna())[0])
        raise IntakeError(f"{path}:{places[at]}: {cells.iloc[at]!r} is no date; accepted is one a line, as 2024-12-25")
    return np.unique(found.to_numpy().astype("datetime64[D]"))


def with_holidays(sales: Sales, path: str | None) -> Sales:
    """Sales whose table says in `holiday` how many of a file's days each row's period has; as they are without a file.

    Raises:
        CalibrationError, ConfigError: for a file that cannot be read, sales without dates, and days of other years.
    """
    if path is None:
        return sales
    if sales.first_day is None:
        raise refuse("holidays", path, "null where periods are whole numbers and not dates")
    try:
        days = read_dates(path)
    except IntakeError as error:
        raise CalibrationError(f"holidays: {error}") from None
    calendar = Calendar(days, np.datetime64(sales.first_day, "D"), sales.period_name)
    count = calendar.count(sales.table["period"].to_numpy())
    if not count.any():
        raise refuse(
            "holidays", path, f"a file with days of the sales' periods, which begin with {sales.first_day}; its "
            f"{len(days)} are from {days[0]} to {days[-1]}"
        )  # fmt: skip
    return replace(sales, table=sales.table.assign(**{HOLIDAY: count}), calendar=calendar)
