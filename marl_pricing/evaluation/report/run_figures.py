"""Figures of a training, and of several runs beside each other."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from marl_pricing.evaluation import benchmark_lines
from marl_pricing.evaluation.benchmarks import Benchmarks
from marl_pricing.evaluation.report import paths
from marl_pricing.evaluation.report.figures import whiskers
from marl_pricing.evaluation.runs import LEARNED
from marl_pricing.evaluation.summary import records
from marl_pricing.presentation import style
from marl_pricing.presentation.style import styled

CAPTIONS = {
    "learning_curves": (
        "Training: raw profit an epoch, all sellers together, and mean posted price of each seller, by update. "
        "Lines are means over training seeds, shaded is the range from the lowest to the highest seed; actions are "
        "sampled, as in training.{greedy} {lines}"
    ),
    "surplus_by_run": (
        "Who gets what under the greedy learned policies: profit of all sellers and consumer surplus, stacked to "
        "welfare, with the 95 % bootstrap interval of each part. {lines}"
    ),
    "service_frontier": (
        "Fill rate against the cost of holding stock. The line is what base-stock rules of ever higher levels reach at "
        "the learned policy's mean prices, in the same episodes: a policy above it serves shoppers better for the same "
        "money. Bars are 95 % bootstrap intervals."
    ),
}


def has_curves(training: pd.DataFrame) -> bool:
    """Whether there is more than one point to draw."""
    return training["update"].nunique() > 1


def _by_seller(training: pd.DataFrame, name: str) -> pd.DataFrame:
    columns = [column for column in training.columns if column.startswith(f"{name}/seller_")]
    return training[columns].set_axis(range(len(columns)), axis=1)


GREEDY_MARKS = " Points: greedy play on held-out shoppers, which no training meets."


@styled
def learning_curves(
    training: pd.DataFrame,
    held_out: pd.DataFrame | None,
    episode_length: int,
    benchmarks: Benchmarks,
    held: Collection[int] = (),
) -> Figure:
    """Profit and prices by update.

    Args:
        training: rows of metrics.csv, one an update and seed.
        held_out: rows of evaluation.csv; None where there were no evaluations.
        episode_length: epochs of an episode.
        held: sellers whose seats frozen policies hold.
    """
    figure = style.new_figure(5.6)
    top, bottom = figure.subplots(2, 1, sharex=True)
    keys = training["update"]

    def draw(axes, values: pd.Series, look: dict, label: str) -> None:
        own = values.groupby(keys).agg(["mean", "min", "max"])
        axes.fill_between(own.index, own["min"], own["max"], color=look["color"], alpha=0.18, linewidth=0)
        axes.plot(own.index, own["mean"], linewidth=1.8, label=label, **look)

    def mark(axes, values: pd.Series, color: str) -> None:
        """Means over seeds [updates]."""
        axes.plot(values.index, values, "o", color=color, markersize=4, markeredgecolor="white", markeredgewidth=0.6)

    profits = _by_seller(training, "return_raw").sum(axis=1) / episode_length
    draw(top, profits, {"color": style.LEARNED}, "all sellers")
    prices = _by_seller(training, "price_mean")
    for seller in prices:
        draw(
            bottom,
            prices[seller],
            style.seller_line(int(str(seller))),
            f"seller {seller}{' (frozen)' if seller in held else ''}",
        )
    if held_out is not None:
        greedy = held_out[held_out["policy"].eq("greedy")]
        mark(top, greedy.groupby(["update", "seed"])["profit"].sum().groupby("update").mean(), style.LEARNED)
        for seller, own in greedy.groupby("seller"):
            mark(bottom, own.groupby("update")["price"].mean(), style.seller_colour(int(str(seller))))
    benchmark_lines.draw(bottom, paths.benchmark_prices(benchmarks, prices.shape[1]))
    top.set(ylabel="raw profit (money per epoch)")
    bottom.set(ylabel="mean price (money)", xlabel="update")
    for axes in (top, bottom):
        axes.margins(x=0.01)
    figure.align_ylabels([top, bottom])
    style.legend_below(figure, bottom)
    return figure


def _learned(summary: pd.DataFrame, measure: str) -> pd.DataFrame:
    own = summary[summary["measure"].eq(measure) & summary["seller"].eq("all")]
    return own[own["policy"].eq(f"{LEARNED} (greedy)") & own["value"].notna()]


def has_surplus(summary: pd.DataFrame) -> bool:
    """Whether there are learned policies in markets whose consumer surplus is known."""
    return not _learned(summary, "consumer_surplus").empty


@styled
def surplus_by_run(summary: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Profit and consumer surplus of each run's greedy policies, and of the benchmarks of the first run.

    Args:
        table: the frame of `benchmark_table`, empty where runs do not share their benchmarks.
    """
    profit, surplus = _learned(summary, "profit"), _learned(summary, "consumer_surplus")
    profit = profit[profit["run"].isin(surplus["run"])]
    lines = table[table["seller"].eq("all") & table["consumer_surplus"].notna()]
    lines = lines[lines["run"].eq(lines["run"].iloc[0])] if len(lines) else lines
    lines = lines[lines["benchmark"].isin(["Nash", "joint profit"])]
    labels = [*profit["run"], *lines["benchmark"]]
    figure = style.new_figure(1.7 + 0.45 * len(labels))
    axes = figure.subplots()
    at = np.arange(len(labels))
    money = np.concatenate([profit["value"], lines["profit"]])
    kept = np.concatenate([surplus["value"], lines["consumer_surplus"]])
    faint = np.where(at < len(profit), 1.0, 0.45)
    for place in at:
        look: dict[str, Any] = {"height": 0.62, "alpha": float(faint[place])}
        named = ("profit of all sellers", "consumer surplus") if place == 0 else (None, None)
        axes.barh(place, money[place], color=style.PALETTE[0], label=named[0], **look)
        axes.barh(place, kept[place], left=money[place], color=style.PALETTE[4], label=named[1], **look)
    ends: dict[str, Any] = {"fmt": "none", "ecolor": "#222222", "elinewidth": 1, "capsize": 3}
    own = at[: len(profit)]
    axes.errorbar(profit["value"], own - 0.12, xerr=whiskers(profit), **ends)
    axes.errorbar(profit["value"].to_numpy() + surplus["value"].to_numpy(), own + 0.12, xerr=whiskers(surplus), **ends)
    axes.set_yticks(at, labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set(xlabel="money per epoch")
    axes.grid(False, axis="y")
    style.legend_below(figure, axes)
    return figure


@styled
def service_frontier(summary: pd.DataFrame, frontier: pd.DataFrame) -> Figure:
    """Fill rate by holding cost of each policy of one run, and the line of base-stock rules.

    Args:
        summary: rows of one run.  frontier: the frame of `frontier.base_stock_frontier`.
    """
    rows = summary[summary["seller"].eq("all") & summary["measure"].isin(["fill_rate", "holding_cost"])]
    wide = {measure: own.set_index("policy")[["value", "low", "high"]] for measure, own in rows.groupby("measure")}
    figure = style.new_figure(4.4)
    axes = figure.subplots()
    axes.plot(frontier["holding_cost"], 100 * frontier["fill_rate"], "-", color=style.RULE, label="base-stock rules")
    for row in records(frontier.iloc[:: max(1, len(frontier) // 6)]):
        axes.annotate(f"{row['level']:.0f}", (row["holding_cost"], 100 * row["fill_rate"]), fontsize=8,
                      color="#555555", textcoords="offset points", xytext=(4, -10))  # fmt: skip
    for place, policy in enumerate(wide["fill_rate"].index):
        fill, cost = (wide[name].loc[[policy]] for name in ("fill_rate", "holding_cost"))
        learned = policy.startswith(LEARNED)
        axes.errorbar(
            cost["value"], 100 * fill["value"], xerr=whiskers(cost), yerr=100 * whiskers(fill),
            fmt="o" if learned else "s", color=style.PALETTE[place % len(style.PALETTE)],
            markersize=8 if learned else 6, capsize=3, label=policy,
        )  # fmt: skip
    axes.set(xlabel="holding cost (money per epoch)", ylabel="fill rate (%)")
    style.legend_below(figure, axes)
    return figure
