"""What a sweep shows, in sentences made from its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from marl_pricing.evaluation.sweep.measures import MEASURES
from marl_pricing.evaluation.sweep.summary import change

# Measures whose way along the axis is told, in this order.
_TOLD = ("profit_gain", "price_mean", "consumer_surplus", "fill_rate", "bullwhip", "coi", "proxy_correlation")


def number(measure: str, value: float) -> str:
    """A value with as many digits as help."""
    if MEASURES[measure].percent:
        return f"{100 * value:.1f}\u00a0%"
    if abs(value) >= 100:
        return f"{value:,.1f}"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def interval(measure: str, row: Mapping, kind: str = "iqm") -> str:
    """An interquartile mean (or mean) with its interval."""
    text = number(measure, row[kind])
    if not np.isfinite(row[f"{kind}_low"]):
        return text
    low, high = number(measure, row[f"{kind}_low"]), number(measure, row[f"{kind}_high"])
    return text if low == high == text else f"{text} ({low} to {high})"


def _where(over: str, value: str) -> str:
    return f"With {over} = {value}, " if value else ""


def upper(text: str) -> str:
    """The same, to begin a sentence with."""
    return text[0].upper() + text[1:]


def _on_grid(summary: pd.DataFrame, x: str, over: str) -> Iterator[str]:
    rows = summary[(summary["measure"] == "grid_equilibrium") & summary["mean"].notna()]
    for value, own in rows.groupby("over", sort=False):
        counts = {row["x"]: (round(row["mean"] * row["seeds"]), row["seeds"]) for row in own.to_dict("records")}
        short = {at: found for at, found in counts.items() if found[0] < found[1]}
        what = "the greedy joint price is an equilibrium of the game on the grid"
        full, seeds = len(counts) - len(short), next(iter(counts.values()))[1]
        parts = [f"at every one of {full} values of {x}, {seeds} of {seeds} seeds"] if not short else []
        if short and full:
            parts.append(f"in all {seeds} seeds at {full} of {len(counts)} values of {x}")
        parts += [f"in {found} of {of} seeds at {at:g}" for at, (found, of) in short.items()]
        text = f"{what} {'; '.join(parts)}"
        yield upper(f"{_where(over, str(value))}{text}.")


def _way(measure: str, first: Mapping, last: Mapping, value: float, low: float, high: float) -> str:
    """How a measure differs between the two ends, by the interval of its change."""
    label, ends = MEASURES[measure].label, f"{first['x']:g} and {last['x']:g}"
    if value == low == high == 0.0:
        return f"{label} stays at {number(measure, first['iqm'])}"
    if not (low > 0.0 or high < 0.0):
        both = f"{number(measure, first['iqm'])} and {number(measure, last['iqm'])}"
        return f"{label} is not told apart between {ends} ({both})"
    way = "rises" if low > 0.0 else "falls"
    return (
        f"{label} {way} from {interval(measure, first)} at {first['x']:g} to {interval(measure, last)} at {last['x']:g}"
    )


def _ways(table: pd.DataFrame, summary: pd.DataFrame, x: str, over: str) -> Iterator[str]:
    """How measures go from the lowest x to the highest at which they are known."""
    for value in dict.fromkeys(summary["over"]):
        told = []
        for measure in _TOLD:
            rows = summary[(summary["measure"] == measure) & (summary["over"] == value) & summary["iqm"].notna()]
            rows = rows.sort_values("x")
            if len(rows) < 2:
                continue
            difference = change(table, measure, rows.iloc[0]["run"], rows.iloc[-1]["run"])
            if difference is not None:
                told.append(_way(measure, rows.iloc[0], rows.iloc[-1], *difference))
        if told:
            yield upper(f"{_where(over, value)}along {x}: {'; '.join(told)}.")


def _far(summary: pd.DataFrame, over: str, x: str) -> Iterator[str]:
    rows = summary[(summary["measure"] == "price_gap") & summary["iqm"].notna()]
    if rows.empty:
        return
    worst = rows.sort_values("iqm").iloc[-1]
    place = f"{x} = {worst['x']:g}" + (f", {over} = {worst['over']}" if worst["over"] else "")
    yield (
        f"Posted prices are nowhere further than {number('price_gap', worst['iqm'])} money, on average, from the "
        f"one-shot equilibrium at the market's omega (at {place})."
    )


def sentences(table: pd.DataFrame, summary: pd.DataFrame, x: str, over: str) -> list[str]:
    """What came of it."""
    return [*_on_grid(summary, x, over), *_ways(table, summary, x, over), *_far(summary, over, x)]


def withheld(summary: pd.DataFrame) -> list[str]:
    """Which measures are withheld, where, and why: a line a reason."""
    rows, every = summary[summary["note"] != ""], summary["run"].nunique()
    lines: dict[tuple[str, str], list[str]] = {}
    for (measure, note), own in rows.groupby(["measure", "note"], sort=False):
        where = "" if own["run"].nunique() == every else f" in {', '.join(own['run'])}"
        lines.setdefault((where, str(note)), []).append(MEASURES[str(measure)].label)
    return [f"withheld{where}: {', '.join(names)} ({note})" for (where, note), names in lines.items()]
