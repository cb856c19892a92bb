"""One row a run, policy, measure and seller: the mean, its interval, and why something is withheld."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.evaluation import statistics
from marl_pricing.evaluation.benchmarks import Benchmarks, too_close
from marl_pricing.evaluation.measured import Measured
from marl_pricing.evaluation.metrics import INDICES, MEASURES, Parts, economics
from marl_pricing.evaluation.statistics import Estimate

_ENDS = ("value", "low", "high", "iqm", "iqm_low", "iqm_high")
COLUMNS = {
    "run": "text",
    "policy": "text",
    "measure": "text; a key of metrics.MEASURES, profit_gain or relative_price_deviation",
    "seller": "text; a seller's number, or all",
    "value": "mean over training seeds, or over episodes where there is one seed; empty where withheld",
    "low": "lower end of the 95 % bootstrap interval; empty where nothing can be resampled",
    "high": "upper end",
    "iqm": "interquartile mean over seeds; empty for one seed",
    "iqm_low": "lower end of its 95 % bootstrap interval",
    "iqm_high": "upper end",
    "deviation": "standard deviation between seeds; empty for one seed",
    "episode_error": "standard error of the value that is due to the finite number of episodes alone",
    "unit": "text",
    "resampled": "text; what the intervals resample: seeds or episodes",
    "count": "how many of them",
    "note": "text; what to know about the figure, or why it is withheld",
}
COMPARISON_COLUMNS = {
    "run": "text",
    "against": "text; the run that it is compared with: the same shoppers came to both",
    "policy": "text",
    "measure": "text; a key of metrics.MEASURES",
    "difference": "mean of the paired differences, run less against",
    "low": "lower end of its 95 % bootstrap interval; empty where nothing can be resampled",
    "high": "upper end",
    "effect": "mean difference over the standard deviation of the differences (d_z); empty where they do not vary",
    "above": "probability that a unit of the run lies above one of the other (probability of improvement)",
    "above_low": "lower end of its 95 % bootstrap interval, each run a stratum",
    "above_high": "upper end",
    "units": "text; seeds or episodes",
    "count": "pairs",
}


def _flat(parts: Mapping[str, Parts]) -> tuple[list[tuple[str, str]], Parts]:
    """All measures under each other: ((name, seller) of each row, parts [M, R, E])."""
    rows, tops, bottoms = [], [], []
    for name, own in parts.items():
        columns = own.top.shape[-1] if MEASURES[name].by_seller else 1
        for column in range(columns):
            rows.append((name, str(column - 1) if column else "all"))
            tops.append(own.top[..., column])
            bottoms.append(own.bottom[..., column])
    return rows, Parts(np.stack(tops), np.stack(bottoms))


def _empty(found: Estimate) -> dict[str, Any]:
    return dict.fromkeys((*_ENDS, "deviation", "episode_error")) | {
        "resampled": found.resampled,
        "count": found.count,
    }


def _row(found: Estimate, place: int) -> dict[str, Any]:
    numbers = {name: float(getattr(found, name)[place]) for name in (*_ENDS, "deviation", "episode_error")}
    return numbers | {"resampled": found.resampled, "count": found.count}


def _note(found: dict[str, Any], name: str) -> str:
    if np.isnan(found["value"]):
        return MEASURES[name].nothing
    return "no interval: only one episode was played" if found["count"] == 1 else ""


def _index_row(name: str, row: Mapping[str, Any], seller: str, benchmarks: Benchmarks) -> dict[str, Any]:
    """Where a profit or a price lies between its benchmarks; both ends of an interval move along the same line."""
    what = "profit" if name == "profit_gain" else "price"
    own: dict[str, Any] = dict(row) | {"measure": name, "unit": "0 Nash, 1 joint"}
    reason = benchmarks.missing
    if not reason:
        nash, joint = benchmarks.profits() if what == "profit" else benchmarks.seller_prices()
        if seller == "all":
            nash, joint = (x.sum() if what == "profit" else x.mean() for x in (nash, joint))
        else:
            nash, joint = nash[int(seller)], joint[int(seller)]
        reason = too_close(what, float(nash), float(joint))
    if reason:
        return own | dict.fromkeys((*_ENDS, "deviation", "episode_error")) | {"note": f"withheld: {reason}"}
    formula = economics.profit_gain if what == "profit" else economics.relative_price_deviation
    own |= {end: float(formula(np.asarray(row[end]), nash, joint)) for end in _ENDS}
    own |= {spread: row[spread] / float(joint - nash) for spread in ("deviation", "episode_error")}
    return own | {"note": benchmarks.index_label}


def summarise(measured: Measured, benchmarks: Mapping[str, Benchmarks]) -> pd.DataFrame:
    """All measures of every (run, policy), together and by seller.

    Args:
        benchmarks: by run, what its indices are measured against.

    Returns:
        A frame with the columns of `COLUMNS`.
    """
    rows: list[dict] = []
    for group in measured.groups:
        run, policy = group
        names, parts = _flat(measured.parts(group))
        found = statistics.estimate(parts)
        first = {"run": run, "policy": policy}
        known: dict[str, list[dict]] = {}
        for place, (name, seller) in enumerate(names):
            row = first | {"measure": name, "seller": seller} | _row(found, place) | {"unit": MEASURES[name].unit}
            known.setdefault(name, []).append(row | {"note": _note(row, name)})
        for name, what in MEASURES.items():
            if name not in known:
                note = measured.withheld(run, name)
                row = {"measure": name, "seller": "all", "unit": what.unit, "note": note}
                rows.append(first | row | _empty(found))
                continue
            rows += known[name]
            for index in (index for index, base in INDICES.items() if base == name):
                rows += [_index_row(index, row, row["seller"], benchmarks[run]) for row in known[name]]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = dict.fromkeys((*_ENDS, "deviation", "episode_error"), float)
    return frame.astype(numbers | {"count": int})


def compare(measured: Measured, run: str, against: str, policy: str) -> pd.DataFrame:
    """One run's market measures less another's under one policy; see `COMPARISON_COLUMNS`.

    Raises:
        ValueError: for runs with different numbers of seeds or episodes.
    """
    mine, theirs = measured.parts((run, policy)), measured.parts((against, policy))
    names = [name for name in mine if name in theirs]
    sides = [
        Parts(*(np.stack([parts[name][side][..., 0] for name in names]) for side in (0, 1))) for parts in (mine, theirs)
    ]
    try:
        found = statistics.compare(*sides)
    except ValueError as error:
        raise ValueError(f"runs {run!r} and {against!r}: {error}") from None
    columns = [name for name in COMPARISON_COLUMNS if hasattr(found, name) and name not in ("units", "count")]
    frame = pd.DataFrame({name: getattr(found, name) for name in columns})
    frame = frame.assign(run=run, against=against, policy=policy, measure=names, units=found.units, count=found.count)
    return frame[list(COMPARISON_COLUMNS)]


def refuse_withheld(summary: pd.DataFrame, measures: Sequence[str]) -> None:
    """Refuse measures that were asked for and that some run cannot have.

    Raises:
        ValueError: naming the measure, the run and the reason.
    """
    asked = summary[summary["measure"].isin(measures) & summary["seller"].eq("all") & summary["value"].isna()]
    for row in records(asked):
        raise ValueError(f"measures={row['measure']!r}: run {row['run']!r} has none: {row['note']}")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame, each by column."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def pick(summary: pd.DataFrame, run: str, policy: str, measure: str, seller: str = "all") -> dict[str, Any]:
    """One row of a summary, by column."""
    own = summary["run"].eq(run) & summary["policy"].eq(policy)
    found = summary[own & summary["measure"].eq(measure) & summary["seller"].eq(seller)]
    assert len(found) == 1, (run, policy, measure, seller)
    return records(found)[0]
