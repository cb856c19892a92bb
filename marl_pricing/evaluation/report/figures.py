"""Figures of one run, and of several beside each other. Functions take frames and return a figure.

Time figures and policy maps take the rows of one policy; the others a summary. `CAPTIONS` says what each shows.
"""

from __future__ import annotations

from typing import Any

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

_MOST = 12  # offers that have panels of their own

CAPTIONS = {
    "prices_over_time": (
        "Posted price of each seller in each epoch: mean over episodes, its 95 % interval shaded. "
        "Between the dashed and the dotted line prices are above those of competition and below those of a cartel. "
        "{lines}"
    ),
    "stock_over_time": (
        "Stock when the shoppers come, a panel a product. Steps: one episode, with a triangle where units are ordered "
        "and a cross where a shopper found too little. Shaded: mean over episodes and its 95 % interval; dotted: units "
        "on the way, mean over episodes.{left_out}"
    ),
    "policy_map": (
        "What a seller makes of what it sees, a panel a product: its price, in per cent above the mean price of its "
        "training seed there, by its stock of the product before the shoppers come and by its rivals' mean price of "
        "that product the epoch before. One colour throughout: it answers neither. White: fewer than five visits."
        "{left_out}"
    ),
    "policy_line": (
        "What a seller makes of what it sees, a panel a product: its price by {axis}, mean, and the middle 80 % "
        "shaded; all training seeds together. Bins with fewer than five visits are left out.{left_out}"
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
        "Raw profit per epoch of all sellers together under the learned policies of each run and under rules, with "
        "95 % bootstrap intervals. {lines}"
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


def left_out(offers: pd.DataFrame) -> str:
    """A sentence on offers that have no panel of their own; empty where all have."""
    count = len(offers[["seller", "product"]].drop_duplicates())
    return f" The first {_MOST} of {count} products are shown." if count > _MOST else ""


def offer_name(seller: int, product: int, several: bool) -> str:
    """What an offer is called: its seller, and its product where there are several."""
    return f"seller {seller}, product {product}" if several else f"seller {seller}"


def _panels(offers: pd.DataFrame, each: float, *, sharex: bool) -> tuple[Figure, list[tuple[Axes, int, int]]]:
    """A figure with a panel an offer (twelve at most), two beside each other where it is wide; (axes, seller, product).

    Args:
        each: inches of a panel's height.
    """
    pairs = offers[["seller", "product"]].drop_duplicates().sort_values(["seller", "product"]).to_numpy()[:_MOST]
    columns = 1 if style.is_narrow() or len(pairs) == 1 else 3 if len(pairs) % 3 == 0 else 2
    rows = -(-len(pairs) // columns)
    figure = style.new_figure(0.7 + each * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=sharex).reshape(-1)
    for axes in panels[len(pairs) :]:
        axes.remove()
    several = bool(offers["product"].max() > 0)
    found = []
    for axes, (seller, product) in zip(panels, pairs, strict=False):
        axes.set_title(offer_name(seller, product, several), fontsize=10 if columns < 3 else 8.5)
        found.append((axes, int(seller), int(product)))
    return figure, found


def _label(panels: list[tuple[Axes, int, int]], x: str, y: str) -> None:
    """Labels of the axes at the edges of a figure of panels."""
    places = [(axes, axes.get_subplotspec()) for axes, _, _ in panels]
    lowest = {place.colspan.start: axes for axes, place in places if place is not None}
    for axes in lowest.values():
        axes.set_xlabel(x)
        axes.tick_params(labelbottom=True)
    for axes, place in places:
        if place is not None and place.is_first_col():
            axes.set_ylabel(y)


def _of(frame: pd.DataFrame, seller: int, product: int) -> pd.DataFrame:
    return frame[frame["seller"].eq(seller) & frame["product"].eq(product)]


@styled
def stock_over_time(offers: pd.DataFrame) -> Figure:
    """Stock and orders of one policy, a panel a product: one episode, and means."""
    several = len(offers[["seller", "product"]].drop_duplicates()) > 2
    figure, panels = _panels(offers, 1.9 if several else 2.9, sharex=True)
    first = offers[offers["seed"].eq(offers["seed"].min())]
    first = first[first["episode"].eq(first["episode"].min())]
    for axes, seller, product in panels:
        own, line = _of(offers, seller, product), style.seller_line(seller)
        means, way = paths.time_path(own, "stock"), paths.time_path(own, "on_order")
        axes.fill_between(means["epoch"], means["low"], means["high"], color=line["color"], alpha=0.22, linewidth=0)
        axes.plot(way["epoch"], way["mean"], color=style.GREY, linestyle="dotted", linewidth=1.2)
        _draw_episode(axes, _of(first, seller, product), line)
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    _label(panels, "epoch", "units")
    axes = panels[0][0]
    axes.plot([], [], "^", color="#666666", markersize=6, label="order placed")
    axes.plot([], [], "x", color="#222222", markersize=7, markeredgewidth=1.6, label="ran out")
    axes.plot([], [], color=style.GREY, linestyle="dotted", label="on the way")
    style.legend_below(figure, axes)
    return figure


def _draw_episode(axes: Axes, epochs: pd.DataFrame, line: dict) -> None:
    axes.step(epochs["epoch"], epochs["stock"], where="mid", linewidth=1.3, **line)
    ordered, missing = epochs[epochs["ordered"] > 0], epochs[epochs["unmet"] > 0]
    axes.plot(ordered["epoch"], ordered["stock"], "^", color=line["color"], markersize=5, markeredgecolor="white")
    if len(missing):  # an empty line that is not clipped would upset the layout of the whole figure
        cross = axes.plot(missing["epoch"], missing["stock"], "x", clip_on=False)[0]
        cross.set(color="#222222", markersize=6, markeredgewidth=1.4)


@styled
def policy_map(offers: pd.DataFrame) -> Figure:
    """Mean price of each offer by its stock and its rivals' last price; lines where there is no stock, or no rival.

    Raises:
        ValueError: if there is neither, or no episode has two epochs.
    """
    seen = paths.visits(offers)
    kind = map_kind(offers)
    if kind is None or seen.empty:
        raise ValueError("a policy map needs rivals or limited stock, and episodes of at least two epochs")
    figure, panels = _panels(seen, 2.5, sharex=False)
    labels = {"stock": "own stock (units)", "rival": "rivals' last price (money)"}
    if kind == "both":
        moved = paths.above_own_mean(seen)
        maps = {
            (seller, product): paths.response_map(_of(moved, seller, product), "stock", "rival")
            for _, seller, product in panels
        }
        known = np.concatenate([own[2][np.isfinite(own[2])] for own in maps.values()] or [np.zeros(1)])
        # One scale for all, never less than a per cent either way, so that nothing does not look like something.
        widest = max(float(np.abs(known).max()) if len(known) else 0.0, 1.0)
        for axes, seller, product in panels:
            rows, columns, price = maps[seller, product]
            look: dict[str, Any] = {"cmap": style.MAP_COLOURS, "vmin": -widest, "vmax": widest, "edgecolors": "white"}
            mesh = axes.pcolormesh(columns, rows, price, linewidth=0.4, **look)
            axes.grid(False)
            axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        figure.colorbar(mesh, ax=[own[0] for own in panels], label="price above its mean (%)", shrink=0.9)
        _label(panels, labels["rival"], labels["stock"])
    else:
        for axes, seller, product in panels:
            _line(axes, paths.response_line(_of(seen, seller, product), kind), kind, style.seller_line(seller))
        _label(panels, labels[kind], "price set (money)")
    return figure


def _line(axes: Axes, line: pd.DataFrame, kind: str, look: dict) -> None:
    axes.fill_between(line["at"], line["low"], line["high"], color=look["color"], alpha=0.15, linewidth=0)
    axes.plot(line["at"], line["mean"], marker="o", markersize=4, linewidth=1.8, **look)
    if kind == "rival" and len(line) > 1:  # of one point there is no line
        ends = [line["at"].min(), line["at"].max()]
        axes.plot(ends, ends, color=style.RULE, linestyle="dashed", label="as the rivals")
        axes.legend()


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
    """Total profit of the learned policies of several runs; rules and lines too where all share their market.

    A rule that earns the same in several runs stands there once.
    """
    rows = summary[summary["measure"].eq("profit") & summary["seller"].eq("all")]
    learned = rows["policy"].str.startswith("learned")
    labels = [f"{row['run']}, {row['policy'][9:-1]}" for row in records(rows[learned])]
    shown = rows[learned]
    if benchmarks is not None:
        rules = rows[~learned].drop_duplicates(["policy", "value"])
        labels += list(rules["policy"])
        shown = pd.concat([shown, rules])
    figure = style.new_figure(1.5 + 0.38 * len(shown))
    axes = figure.subplots()
    _points(axes, shown, labels)
    if benchmarks is not None:
        _profit_lines(axes, benchmarks)
    _kinds(axes, shown)
    style.legend_below(figure, axes)
    return figure
