"""A sweep's measures over seeds: interquartile mean and mean with intervals, and how the ends of an axis differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from marl_pricing.evaluation.statistics import bootstrap, interquartile_mean, mean
from marl_pricing.evaluation.sweep.exact import Exact
from marl_pricing.evaluation.sweep.measures import MEASURES
from marl_pricing.evaluation.sweep.play import SweptRun

COLUMNS = {
    "run": "text",
    "over": "text; value of the second dimension, empty without",
    "x": "value on the x axis",
    "measure": "text; a key of MEASURES",
    "iqm": "interquartile mean over training seeds; empty where withheld",
    "iqm_low": "lower end of its 95 % bootstrap interval over seeds; empty with one seed",
    "iqm_high": "upper end",
    "mean": "mean over training seeds",
    "mean_low": "lower end of its 95 % bootstrap interval over seeds",
    "mean_high": "upper end",
    "seeds": "how many",
    "unit": "text",
    "note": "text; why the measure is withheld",
}


def interval(values: np.ndarray, statistic: Callable[..., np.ndarray] = mean) -> tuple[float, float, float]:
    """(statistic, low, high) over seeds [R]: percentile bootstrap of 95 %; no ends for one seed."""
    low, high = bootstrap((values[None],), statistic)
    return float(statistic(values)), float(low[0]), float(high[0])


def summarise(table: pd.DataFrame, runs: Sequence[SweptRun], exact: Mapping[str, Exact]) -> pd.DataFrame:
    """The columns of `COLUMNS`, one row a run and measure.

    Args:
        table: of `measures.measure_run`, all runs.
    """
    by_key = {key: own["value"].to_numpy() for key, own in table.groupby(["run", "measure"], sort=False)}
    rows = []
    nothing = (float("nan"),) * 3
    for run in runs:
        for name, measure in MEASURES.items():
            reason = measure.withheld(run, exact[run.name])
            values = by_key.get((run.name, name), np.array([]))
            if not reason and not np.isfinite(values).all():
                reason = "what it is divided by is zero, or does not vary"
            found = (nothing, nothing) if reason else (interval(values, interquartile_mean), interval(values))
            over = "" if run.over is None else str(run.over)
            rows.append((run.name, over, run.x, name, *found[0], *found[1], len(run.policies), measure.unit, reason))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def change(table: pd.DataFrame, measure: str, first: str, last: str) -> tuple[float, float, float] | None:
    """Mean change (value, low, high) of a measure from one run to another, seed by seed; None where one lacks it."""
    own = table[table["measure"] == measure].pivot(index="seed", columns="run", values="value")
    if first not in own or last not in own:
        return None
    difference = (own[last] - own[first]).dropna().to_numpy()
    return interval(difference) if difference.size else None
