"""Figures of one run, and of several beside each other. Functions take frames and return a figure.

Time figures and policy maps take the rows of one policy; the others a summary. `CAPTIONS` says what each shows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from marl_pricing.evaluation import benchmark_lines
from marl_pricing.evaluation.benchmarks import Benchmarks
from marl_pricing.evaluation.report import paths
from marl_pricing.evaluation.summary import records
from marl_pricing.presentation import style
from marl_pricing.presentation.style import styled

_STRIPS = 4  # sellers whose single episode is shown

CAPTIONS = {
    "prices_over_time": (
        "Posted price of each seller in each epoch: mean over episodes, its 95 % interval shaded. "
        "Between the dashed and the dotted line prices are above those of competition and below those of a cartel. "
        "{lines}"
    ),
    "stock_over_time": (
        "Stock when the shoppers come. The upper panels show one episode (of at most four sellers): a triangle where "
        "units are ordered, a cross where a shopper found nothing left. Below, means over episodes with their 95 % "
        "intervals shaded, of stock and of units on the way."
    ),
    "policy_map": (
        "The price that sellers set, by their own stock before the shoppers come and by their rivals' mean price of "
        "the epoch before; all sellers, products and training seeds together. White: fewer than five visits."
    ),
    "policy_line": (
        "The price that sellers set, by {axis}: mean, and the middle 80 % shaded; all sellers, products and training "
        "seeds together. Bins with fewer than five visits are left out."
    ),
    "profit_by_seller": (
        "Raw profit per epoch of each seller under each policy, with 95 % bootstrap intervals. "
        "The same shoppers come under every policy."
    ),
    "total_profit": (
        "Raw profit per epoch of all sellers together, with 95 % bootstrap intervals, between the profits of "
        "competition and of a cartel. {lines}"
    ),
    "total_profit_by_run": (
        "Raw profit per epoch of all sellers together under the learned policies of each run, with 95 % bootstrap "
        "intervals. {lines}"
    ),
}


def _draw_paths(axes: Axes, path: pd.DataFrame) -> None:
    sellers = sorted(path["seller"].unique())
    for turn, seller in enumerate(sellers):
        own, line = path[path["seller"] == seller], style.seller_line(int(seller))
        # Lines that lie on each other are all seen where those below are the thicker ones.
        thick = min(1.5 + 0.9 * (len(sellers) - 1 - turn), 3.3)
        axes.fill_between(own["epoch"], own["low"], own["high"], color=line["color"], alpha=0.18, linewidth=0)
        axes.plot(own["epoch"], own["mean"], linewidth=thick, label=f"seller {seller}", **line)


@styled
def prices_over_time(offers: pd.DataFrame, benchmarks: Benchmarks) -> Figure:
    """Price paths of one policy, with the benchmark prices."""
    figure = style.new_figure(4.3)
    axes = figure.subplots()
    epochs = paths.by_epoch(offers, {"price": "mean"})
    _draw_paths(axes, paths.time_path(epochs, "price"))
    benchmark_lines.draw(axes, paths.benchmark_prices(benchmarks, int(offers["seller"].max()) + 1))
    several = offers["product"].max() > 0
    axes.set(xlabel="epoch", ylabel="mean price of products (money)" if several else "price (money)")
    axes.margins(x=0.01)
    style.legend_below(figure, axes)
    return figure


@styled
def stock_over_time(offers: pd.DataFrame) -> Figure:
    """Stock and orders of one policy: one episode, and means. Products of a seller are added up."""
    epochs = paths.by_epoch(offers, {"stock": "sum", "ordered": "sum", "on_order": "sum", "unmet": "sum"})
    first = epochs[epochs["seed"] == epochs["seed"].min()]
    first = first[first["episode"] == first["episode"].min()]
    shown = sorted(first["seller"].unique())[:_STRIPS]
    figure = style.new_figure(4.4 + 1.15 * len(shown))
    panels = figure.subplots(len(shown) + 2, 1, sharex=True, height_ratios=[1] * len(shown) + [1.5, 1.5])
    *strips, mean, orders = panels
    for seller, axes in zip(shown, strips, strict=True):
        _draw_episode(axes, first[first["seller"] == seller], style.seller_line(int(seller)))
        axes.set(ylabel="units", title=f"stock of seller {seller}, one episode")
        axes.set_ylim(0, 1.15 * max(float(first["stock"].max()), 1.0))
    _draw_paths(mean, paths.time_path(epochs, "stock"))
    _draw_paths(orders, paths.time_path(epochs, "on_order"))
    mean.set(ylabel="stock (units)", title="stock, mean over episodes")
    orders.set(ylabel="on order (units)", xlabel="epoch", title="units on the way, mean over episodes")
    for axes in (mean, orders):
        axes.set_ylim(bottom=0)
    for axes in panels:
        axes.margins(x=0.01)
    mean.plot([], [], "^", color="#666666", markersize=6, label="order placed")
    mean.plot([], [], "x", color="#222222", markersize=7, markeredgewidth=1.6, label="stockout")
    figure.align_ylabels(panels)
    style.legend_below(figure, mean)
    return figure


def _draw_episode(axes: Axes, epochs: pd.DataFrame, line: dict) -> None:
    axes.step(epochs["epoch"], epochs["stock"], where="mid", linewidth=1.4, **line)
    ordered, missing = epochs[epochs["ordered"] > 0], epochs[epochs["unmet"] > 0]
    axes.plot(ordered["epoch"], ordered["stock"], "^", color=line["color"], markersize=6, markeredgecolor="white")
    if len(missing):  # an empty line that is not clipped would upset the layout of the whole figure
        cross = axes.plot(missing["epoch"], missing["stock"], "x", clip_on=False)[0]
        cross.set(color="#222222", markersize=7, markeredgewidth=1.6)


@styled
def policy_map(offers: pd.DataFrame) -> Figure:
    """Mean price by own stock and rivals' last price; a line where there is no stock to see, or no rival.

    Raises:
        ValueError: if there is neither, or no episode has two epochs.
    """
    seen = paths.visits(offers)
    kind = map_kind(offers)
    if kind is None or seen.empty:
        raise ValueError("a policy map needs rivals or limited stock, and episodes of at least two epochs")
    labels = {"stock": "own stock (units)", "rival": "rivals' last mean price (money)"}
    figure = style.new_figure(4.6)
    axes = figure.subplots()
    axes.grid(False)
    if kind == "both":
        rows, columns, price = paths.response_map(seen, "stock", "rival")
        mesh = axes.pcolormesh(columns, rows, price, cmap=style.MAP_COLOURS, edgecolors="white", linewidth=0.6)
        figure.colorbar(mesh, ax=axes, label="mean price set (money)")
        axes.set(xlabel=labels["rival"], ylabel=labels["stock"])
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        return figure
    line = paths.response_line(seen, kind)
    axes.fill_between(line["at"], line["low"], line["high"], color=style.LEARNED, alpha=0.15, linewidth=0)
    axes.plot(line["at"], line["mean"], "o-", color=style.LEARNED, linewidth=1.8)
    if kind == "rival" and len(line):
        ends = [line["at"].min(), line["at"].max()]
        axes.plot(ends, ends, color=style.RULE, linestyle="dashed", label="as the rivals")
        axes.legend()
    axes.set(xlabel=labels[kind], ylabel="price set (money)")
    return figure


def map_kind(offers: pd.DataFrame) -> str | None:
    """What a policy map is drawn over: "both", "stock" (no rivals), "rival" (unlimited stock), or None."""
    stock, rivals = bool(np.isfinite(offers["stock"]).all()), bool(offers["seller"].max() > 0)
    return {(True, True): "both", (True, False): "stock", (False, True): "rival"}.get((stock, rivals))


def whiskers(rows: pd.DataFrame) -> np.ndarray:
    """Lengths [2, rows] of the interval below and above each value; 0 where there is none."""
    value = rows["value"].to_numpy()
    low, high = rows["low"].fillna(rows["value"]).to_numpy(), rows["high"].fillna(rows["value"]).to_numpy()
    # The mean may lie a rounding error outside of an interval of width zero.
    return np.maximum([value - low, high - value], 0.0)


@styled
def profit_by_seller(summary: pd.DataFrame) -> Figure:
    """Bars of each seller's profit by policy; `summary` holds the rows of one run."""
    rows = summary[summary["measure"].eq("profit") & summary["seller"].ne("all")]
    policies = list(dict.fromkeys(rows["policy"]))
    sellers = sorted(rows["seller"].unique(), key=int)
    figure = style.new_figure(1.3 + len(policies) * (0.25 + 0.17 * len(sellers)))
    axes = figure.subplots()
    thick = 0.82 / len(sellers)
    for turn, seller in enumerate(sellers):
        own = rows[rows["seller"] == seller].set_index("policy").loc[policies]
        at = np.arange(len(policies)) + (turn - (len(sellers) - 1) / 2) * thick
        axes.barh(
            at, own["value"], height=0.92 * thick, color=style.seller_colour(int(seller)), label=f"seller {seller}"
        )
        axes.errorbar(own["value"], at, xerr=whiskers(own), fmt="none", ecolor="#222222", elinewidth=1, capsize=2)
    axes.set_yticks(range(len(policies)), policies)
    axes.invert_yaxis()
    axes.axvline(0, color="#222222", linewidth=0.8)
    axes.set(xlabel="raw profit (money per epoch)")
    axes.grid(False, axis="y")
    style.legend_below(figure, axes)
    return figure


def _points(axes: Axes, rows: pd.DataFrame, labels: list[str]) -> None:
    at = np.arange(len(rows))
    learned = rows["policy"].str.startswith("learned").to_numpy()
    colours = np.where(learned, style.PALETTE[1], style.PALETTE[0])
    for place, (value, low, high) in enumerate(zip(rows["value"], *whiskers(rows), strict=True)):
        axes.errorbar(value, place, xerr=[[low], [high]], fmt="o", color=colours[place], markersize=7, capsize=3)
    axes.set_yticks(at, labels)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set(xlabel="total profit (money per epoch)")
    axes.grid(False, axis="x")


def _profit_lines(axes: Axes, benchmarks: Benchmarks) -> None:
    lines = paths.benchmark_profits(benchmarks)
    for name, value in lines.items():
        axes.axvline(value, label=f"{name} ({value:.4g})", **benchmark_lines.look_of(name))


def _kinds(axes: Axes, rows: pd.DataFrame) -> None:
    learned = rows["policy"].str.startswith("learned")
    for present, colour, label in ((learned.any(), 1, "learned"), ((~learned).any(), 0, "rule")):
        if present:
            axes.plot([], [], "o", color=style.PALETTE[colour], label=label)


@styled
def total_profit(summary: pd.DataFrame, benchmarks: Benchmarks) -> Figure:
    """Total profit by policy with the Nash and joint lines; `summary` holds the rows of one run."""
    rows = summary[summary["measure"].eq("profit") & summary["seller"].eq("all")]
    figure = style.new_figure(1.5 + 0.38 * len(rows))
    axes = figure.subplots()
    _points(axes, rows, list(rows["policy"]))
    _profit_lines(axes, benchmarks)
    _kinds(axes, rows)
    style.legend_below(figure, axes)
    return figure


@styled
def total_profit_by_run(summary: pd.DataFrame, benchmarks: Benchmarks | None) -> Figure:
    """Total profit of the learned policies of several runs; lines where all runs share their benchmarks."""
    rows = summary[summary["measure"].eq("profit") & summary["seller"].eq("all")]
    rows = rows[rows["policy"].str.startswith("learned")]
    figure = style.new_figure(1.5 + 0.38 * len(rows))
    axes = figure.subplots()
    _points(axes, rows, [f"{row['run']}, {row['policy'][9:-1]}" for row in records(rows)])
    if benchmarks is not None:
        _profit_lines(axes, benchmarks)
    style.legend_below(figure, axes)
    return figure
