"""What runs earn in other worlds: nominal and worst profit, tails, what robustness costs and gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from marl_pricing.evaluation.robustness.play import OF_SELLER

TRAINED = "trained"
TAIL = 0.1  # share of the episodes that the conditional value at risk is the mean of
_RESAMPLES = 4000

SUMMARY_COLUMNS = {
    "run": "text",
    "measure": "text; a key of MEASURES",
    "value": "mean over training seeds",
    "low": "lower end of the 95 % bootstrap interval over seeds; empty with one seed",
    "high": "upper end",
    "against": "text; the run that it is compared with, seed by seed; empty where with none",
    "world": "text; the worst world, where the measure has one",
    "sellers": "text; whose profit it is: numbers, or all",
    "base": "size of the other run's own figure, which a gain is a share of; empty where it is no gain",
    "seeds": "how many",
}
MEASURES = {
    "nominal": "profit in the world of training",
    "worst": "mean profit in the worst world of the grid",
    "worst_share": "mean profit at the worst share of agents",
    "cvar": "mean of the lowest tenth of all episodes of all worlds",
    "gap": "robustness gap: nominal less worst",
    "price_of_robustness": "share of the other run's nominal profit that is given up",
    "worst_gain": "worst, less the other run's worst",
    "worst_share_gain": "worst share, less the other run's",
    "cvar_gain": "cvar, less the other run's",
}


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """(mean, low, high) over seeds [R]: percentile bootstrap of 95 %; no ends for one seed."""
    mean = float(np.mean(values))
    if values.size < 2 or np.ptp(values) == 0:
        return mean, np.nan, np.nan
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=_RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return mean, float(found.low), float(found.high)


def about(table: pd.DataFrame, sellers: Sequence[int] | None) -> pd.DataFrame:
    """The same table with the profit of some sellers in the place of everybody's; None: as it is."""
    if sellers is None:
        return table
    return table.assign(profit=table[[OF_SELLER.format(seller) for seller in sellers]].sum(axis=1))


def by_world(table: pd.DataFrame, column: str = "profit") -> pd.DataFrame:
    """Mean over seeds and its interval: run, factor, value, world, mean, low, high; in the order of the table."""
    rows = []
    for (run, factor, value, world), own in table.groupby(["run", "factor", "value", "world"], sort=False):
        rows.append((run, factor, value, world, *interval(own.groupby("seed")[column].mean().to_numpy())))
    return pd.DataFrame(rows, columns=["run", "factor", "value", "world", "mean", "low", "high"])


def _by_seed(own: pd.DataFrame) -> dict[str, np.ndarray]:
    """Measures of one run, each [R] by seed; the worst world is that of the mean over seeds, the same for all."""
    means = own.groupby(["world", "seed"], sort=False)["profit"].mean().unstack("seed")
    trained = own[own["factor"] == TRAINED]["world"].iloc[0]
    shares = own[own["factor"] == "agent_share"]["world"].unique()
    found = {"nominal": means.loc[trained].to_numpy(), "worst": means.iloc[int(means.mean(axis=1).argmin())].to_numpy()}
    found["gap"] = found["nominal"] - found["worst"]
    if len(shares):
        among = means.loc[shares]
        found["worst_share"] = among.iloc[int(among.mean(axis=1).argmin())].to_numpy()
    tails = [np.sort(part["profit"].to_numpy()) for _, part in own.groupby("seed")]
    found["cvar"] = np.array([tail[: max(1, int(TAIL * tail.size))].mean() for tail in tails])
    return found


def _worst_worlds(own: pd.DataFrame) -> dict[str, str]:
    means = own.groupby("world", sort=False)["profit"].mean()
    shares = means.loc[own[own["factor"] == "agent_share"]["world"].unique()]
    worst = {"worst": str(means.idxmin())}
    return worst | ({"worst_share": str(shares.idxmin())} if len(shares) else {})


def summarise(
    table: pd.DataFrame, against: Mapping[str, str | None], sellers: Mapping[str, tuple[int, ...] | None] | None = None
) -> pd.DataFrame:
    """The columns of `SUMMARY_COLUMNS`, one row a run and measure.

    Args:
        table: of `try_run`, all runs.
        against: by run, the run that it is compared with.
        sellers: by run, whose profit it is about, in the run compared with too; None or not there: all sellers'.

    Raises:
        ValueError: where the two have different numbers of seeds, or were tried in different worlds.
    """
    rows: list[tuple] = []

    @cache
    def measured(run: str, who: tuple[int, ...] | None) -> dict[str, np.ndarray]:
        return _by_seed(about(table[table["run"] == run], who))

    for run in dict.fromkeys(table["run"]):
        who = (sellers or {}).get(run)
        told = "all" if who is None else ", ".join(map(str, who))
        mine = about(table[table["run"] == run], who)
        own, worlds, other = measured(run, who), _worst_worlds(mine), against.get(run) or ""

        def add(
            measure: str, values: np.ndarray, to: str = "", world: str = "", base: float = np.nan,
            run: str = run, told: str = told,
        ) -> None:  # fmt: skip
            rows.append((run, measure, *interval(values), to, world, told, base, values.size))

        for name, values in own.items():
            add(name, values, world=worlds.get(name, ""))
        if not other:
            continue
        base = measured(other, who)
        if set(base) != set(own) or base["nominal"].size != own["nominal"].size:
            raise ValueError(f"run {run!r} and {other!r}: have different seeds or worlds, so they cannot be compared")
        add("price_of_robustness", (base["nominal"] - own["nominal"]) / base["nominal"].mean(), other)
        for name in ("worst", "worst_share", "cvar"):
            if name in own:
                size = abs(float(base[name].mean()))
                add(f"{name}_gain", own[name] - base[name], other, base=size if size > 0 else np.nan)
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))
