"""Rows of a log's file: typed columns, and refusals that name a row's line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from marl_pricing.config.errors import Settings
from marl_pricing.intake import dates, numbers
from marl_pricing.intake.errors import listed, shown
from marl_pricing.intake.tables import RawTable, Told, read_table
from marl_pricing.virtual_market.errors import LogError


class FileMapping(Settings):
    """How a file is written; null for what is found in it. Mappings of logs add what their columns are called."""

    date: str = "date"
    separator: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    date_format: str | None = None


def read_rows(path: Path | str, mapping: FileMapping) -> RawTable:
    """A file of whole rows. Raises LogError, IntakeError: one line with the file, the line, what is accepted."""
    raw = read_table(path, Told(separator=mapping.separator, encoding=mapping.encoding))
    if raw.faults:
        fault = raw.faults[0]
        raise LogError(f"{raw.path}:{fault.line}: {fault.reason}, {shown(fault.text)}; accepted are whole rows")
    return raw


class LogRows:
    """A file's rows and what their columns are called.

    Args:
        titles: our names → the file's; all have to be there.

    Raises:
        LogError: for columns that are not.
    """

    def __init__(self, raw: RawTable, mapping: FileMapping, titles: dict[str, str]) -> None:
        self.raw, self.mapping, self.titles = raw, mapping, titles
        absent = [f"{title!r} ({name})" for name, title in titles.items() if title not in raw.frame]
        if absent:
            raise LogError(
                f"{raw.path}: there is no column {', '.join(absent)}; there are {listed(list(raw.frame.columns))}; "
                "a mapping says what the columns are called"
            )

    def numbers(self, names: Iterable[str], money: Iterable[str] = ()) -> dict[str, np.ndarray]:
        """Columns [R] of numbers by our name, NaN where a cell is none; `money`: which of them are amounts."""
        amounts = set(money)
        cells = {name: self.raw.frame[self.titles[name]] for name in names}
        columns = {
            name: numbers.column(name, self.titles[name], cell, self.raw.lines, name in amounts)
            for name, cell in cells.items()
        }
        numbers.settle(columns.values(), self.raw.path, self.mapping.decimal)
        return {name: numbers.parse(cells[name], own).to_numpy() for name, own in columns.items()}

    def texts(self, name: str) -> np.ndarray:
        """A column [R] of names, numbers among them as texts, empty where there is none."""
        cells = self.raw.frame[self.titles[name]]
        texts = dates.numbers_as_texts(cells) if pd.api.types.is_numeric_dtype(cells) else cells
        return texts.astype("string").fillna("").str.strip().to_numpy(str)

    def days(self) -> np.ndarray:
        """[R] datetime64[D] of each row."""
        cells, told = self.raw.frame[self.mapping.date], self.mapping.date_format
        form = (
            dates.detect(cells, self.raw.lines, self.raw.path, self.mapping.date)
            if told is None
            else dates.form_named(told)
        )
        found = dates.parse(cells, form)
        self.refuse(found.isna().to_numpy(), "date", "a date" + (f" as {form.told}" if form else ""))
        return found.to_numpy().astype("datetime64[D]")

    def refuse(self, wrong: np.ndarray, name: str, accepted: str) -> None:
        """Refuse the first row of those that are wrong [R] bool."""
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            cell = self.raw.frame[self.titles[name]].iloc[row]
            more = int(wrong.sum()) - 1
            raise LogError(
                f"{self.raw.path}:{self.raw.lines[row]}: {self.titles[name]}={shown(cell)}: accepted is {accepted}"
                + (f"; {more:,} more rows are like this" if more else "")
            )
