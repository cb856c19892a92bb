"""One row a run, policy, measure and seller: the mean, its interval, and why something is withheld."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.evaluation.benchmarks import Benchmarks
from marl_pricing.evaluation.metrics import GROUP, MEASURES, Interval, episode_sums, ratio_interval, resampling_units

# The measure that is no plain sum over a sum.
PROFIT_GAIN = "profit_gain"
COLUMNS = {
    "run": "text",
    "policy": "text",
    "measure": "text; a key of metrics.MEASURES, or profit_gain",
    "seller": "text; a seller's number, or all",
    "value": "mean; empty where withheld",
    "low": "lower end of the 95 % bootstrap interval; empty where nothing can be resampled",
    "high": "upper end",
    "unit": "text",
    "resampled": "text; what the interval resamples: seeds or episodes",
    "count": "how many of them",
    "note": "text; what to know about the figure, or why it is withheld",
}


def _withheld(measure: str, sums: pd.DataFrame) -> str:
    if measure == "stock" and not np.isfinite(sums["stock"]).all():
        return "stock is unlimited"
    if measure == "fill_rate" and sums["demand"].sum() == 0:
        return "nobody wanted anything"
    return ""


def _row(group: tuple, measure: str, seller: str, found: Interval | None, unit: str, how: tuple, note: str) -> dict:
    value, low, high = (found.value, found.low, found.high) if found else (None, None, None)
    row = dict(zip(GROUP, group, strict=True)) | {"measure": measure, "seller": seller}
    return row | {
        "value": value,
        "low": low,
        "high": high,
        "unit": unit,
        "resampled": how[0],
        "count": how[1],
        "note": note,
    }


def _measure_rows(group: tuple, seller: str, sums: pd.DataFrame) -> list[dict]:
    units, kind = resampling_units(sums)
    rows = []
    for name, measure in MEASURES.items():
        if seller != "all" and not measure.by_seller:
            continue
        note = _withheld(name, sums)
        found = None
        if not note:
            found = ratio_interval(units[measure.numerator].to_numpy(), units[measure.denominator].to_numpy())
            note = "" if found.low is not None else "no interval: only one episode was played"
        rows.append(_row(group, name, seller, found, measure.unit, (kind, len(units)), note))
    return rows


def _gain_row(group: tuple, profit: dict, benchmarks: Benchmarks) -> dict:
    how = (profit["resampled"], profit["count"])
    if benchmarks.reason:
        return _row(group, PROFIT_GAIN, "all", None, "share", how, f"withheld: {benchmarks.reason}")
    ends = [None if profit[end] is None else benchmarks.profit_gain(profit[end]) for end in ("value", "low", "high")]
    # The gain is an increasing straight line in total profit, and so are the ends of its interval.
    return _row(group, PROFIT_GAIN, "all", Interval(*ends), "share", how, benchmarks.label)  # type: ignore[arg-type]


def summarise(offers: pd.DataFrame, sellers: pd.DataFrame, benchmarks: Mapping[str, Benchmarks]) -> pd.DataFrame:
    """All measures of every (run, policy), together and by seller.

    Args:
        offers, sellers: the tables of `tables`.
        benchmarks: by run.

    Returns:
        A frame with the columns of `COLUMNS`. Profit gain is of total profit against the run's static benchmarks.
    """
    rows: list[dict] = []
    together = {group: part for group, part in episode_sums(offers, sellers).groupby(GROUP, observed=True, sort=False)}
    apart = episode_sums(offers, sellers, by_seller=True)
    for group, sums in together.items():
        own = _measure_rows(group, "all", sums)
        rows += [*own, _gain_row(group, own[0], benchmarks[str(group[0])])]
        mine = apart[(apart["run"] == group[0]) & (apart["policy"] == group[1])]
        for seller, part in mine.groupby("seller"):
            rows += _measure_rows(group, str(seller), part)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"value": float, "low": float, "high": float, "count": int})


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame, each by column."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def pick(summary: pd.DataFrame, run: str, policy: str, measure: str, seller: str = "all") -> dict[str, Any]:
    """One row of a summary, by column."""
    own = summary["run"].eq(run) & summary["policy"].eq(policy)
    found = summary[own & summary["measure"].eq(measure) & summary["seller"].eq(seller)]
    assert len(found) == 1, (run, policy, measure, seller)
    return records(found)[0]
