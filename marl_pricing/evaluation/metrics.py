"""Measures of play and their intervals.

Every measure is a sum over a sum (profit over epochs, units sold over units wanted), so that episodes of unequal length
count by what happened in them. Its interval resamples whole episodes, or whole training seeds, never single epochs.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

GROUP = ["run", "policy"]
EPISODE = [*GROUP, "seed", "episode"]
_RESAMPLES = 4000
_LARGEST_BATCH = 4_000_000


@dataclass(frozen=True)
class Measure:
    """What is measured, as a sum over a sum.

    Attributes:
        label, unit: for people.
        numerator, denominator: columns of `episode_sums`.
        by_seller: also given for each seller.
        explanation: one sentence.
    """

    label: str
    unit: str
    numerator: str
    denominator: str
    by_seller: bool
    explanation: str


MEASURES: dict[str, Measure] = {
    "profit": Measure(
        "profit",
        "money per epoch",
        "reward_raw",
        "epochs",
        True,
        "raw reward (not shaped) of all sellers, or of one, per epoch in which the market ran",
    ),
    "price_mean": Measure(
        "mean price", "money per unit", "price", "rows", True, "posted price, every offer and epoch alike"
    ),
    "price_spread": Measure(
        "price spread",
        "money per unit",
        "price_spread",
        "epochs",
        False,
        "highest less lowest seller's price in an epoch (a seller's price is the mean over its products)",
    ),
    "stock": Measure("stock", "units per offer", "stock", "rows", True, "units on hand when the shoppers come"),
    "fill_rate": Measure("fill rate", "share", "sales", "demand", True, "units sold over units wanted"),
    "stockout_share": Measure(
        "stockouts", "share of epochs", "stockouts", "rows", True, "share of offers and epochs with unmet demand"
    ),
    "unmet": Measure("unmet demand", "units per epoch", "unmet", "epochs", True, "units wanted and not in stock"),
    "reward_shaped": Measure(
        "shaped reward",
        "per epoch",
        "reward_shaped",
        "epochs",
        True,
        "omega x own + (1 - omega) x everybody's raw reward; what sellers were trained for, not money",
    ),
}


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % bootstrap interval; no ends where there is nothing to resample."""

    value: float
    low: float | None
    high: float | None


def episode_sums(offers: pd.DataFrame, sellers: pd.DataFrame, *, by_seller: bool = False) -> pd.DataFrame:
    """Sums over each episode: one row per (run, policy, seed, episode), or per seller of these.

    Columns: `rows` (offers × epochs), `epochs` in which the market ran, and the sums of `price`, `stock`, `demand`,
    `sales`, `unmet`, `stockouts` (rows with unmet demand), `price_spread` (not by seller), `reward_raw`,
    `reward_shaped`. Sums are float64.
    """
    keys = [*EPISODE, "seller"] if by_seller else EPISODE
    values = ["price", "stock", "demand", "sales", "unmet"]
    wide = offers[keys].assign(**{name: offers[name].astype(float) for name in values})
    wide = wide.assign(stockouts=(offers["unmet"] > 0).astype(float), rows=1.0)
    sums = wide.groupby(keys, observed=True).sum()
    money = sellers[keys].assign(
        reward_raw=sellers["reward_raw"].astype(float), reward_shaped=sellers["reward_shaped"].astype(float)
    )
    sums = sums.join(money.groupby(keys, observed=True).sum())
    epochs = offers.groupby(EPISODE, observed=True)["epoch"].max().add(1.0).rename("epochs")
    if not by_seller:
        prices = offers[[*EPISODE, "epoch", "seller"]].assign(price=offers["price"].astype(float))
        posted = prices.groupby([*EPISODE, "epoch", "seller"], observed=True)["price"].mean()
        ends = posted.groupby([*EPISODE, "epoch"], observed=True).agg(["max", "min"])
        sums["price_spread"] = (ends["max"] - ends["min"]).groupby(EPISODE, observed=True).sum()
    return sums.join(epochs, on=EPISODE).reset_index()


def ratio_interval(numerator: np.ndarray, denominator: np.ndarray) -> Interval:
    """Σ numerator / Σ denominator over U units, with a percentile bootstrap interval of 95 %.

    Units (episodes, or seeds with all their episodes) are drawn with replacement 4,000 times, numerator and denominator
    together. The draws are the same in every call.

    Args:
        numerator, denominator: [U].
    """
    total = float(denominator.sum())
    value = float(numerator.sum()) / total if total else float("nan")
    if numerator.size < 2 or not np.isfinite(value):
        return Interval(value, None, None)

    def ratio(top: np.ndarray, bottom: np.ndarray, axis: int) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return top.sum(axis) / bottom.sum(axis)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (numerator, denominator),
            ratio,
            paired=True,
            vectorized=True,
            n_resamples=_RESAMPLES,
            batch=max(1, _LARGEST_BATCH // numerator.size),
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
    if not (np.isfinite(found.low) and np.isfinite(found.high)):
        return Interval(value, None, None)
    return Interval(value, float(found.low), float(found.high))


def resampling_units(sums: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """What an interval resamples: training seeds where there are several, else episodes.

    Args:
        sums: rows of `episode_sums` of one (run, policy), and of one seller where by seller.

    Returns:
        (one row a unit, "seeds" or "episodes").
    """
    if sums["seed"].nunique() > 1:
        numbers = sums.drop(columns=[name for name in (*GROUP, "episode", "seller") if name in sums])
        return numbers.groupby("seed", as_index=False).sum(), "seeds"
    return sums, "episodes"
