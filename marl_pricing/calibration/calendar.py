"""Which periods have holidays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HOLIDAY = "holiday"  # the column of a panel: holidays in the row's period


@dataclass(frozen=True)
class Calendar:
    """Holidays by period.

    Attributes:
        days: [D] datetime64[D], sorted, each once.
        first_day: of period 0, where periods are days or weeks.
        length: day, week or month.
    """

    days: np.ndarray
    first_day: np.datetime64
    length: str

    def count(self, periods: np.ndarray) -> np.ndarray:
        """[N] holidays in each period, of the data or after them."""
        starts, ends = self._starts(periods), self._starts(np.asarray(periods) + 1)
        return (np.searchsorted(self.days, ends) - np.searchsorted(self.days, starts)).astype(float)

    def _starts(self, periods: np.ndarray) -> np.ndarray:
        whole = np.asarray(periods, np.int64)
        if self.length == "month":  # counted as year · 12 + month (`dates.count_periods`)
            return (np.datetime64("0000-01", "M") + (whole - 1)).astype("datetime64[D]")
        return self.first_day + whole * (7 if self.length == "week" else 1)
