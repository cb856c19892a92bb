"""Figures of the behaviour tests. Functions take the frames of `examine.Findings` and return a figure.

`CAPTIONS` says what each shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from marl_pricing.evaluation import benchmark_lines
from marl_pricing.evaluation.behaviour.responses import mean_interval
from marl_pricing.presentation import style
from marl_pricing.presentation.style import styled

_SHOWN = 3  # sellers with panels of their own
AFTER = 20  # epochs that are shown of a response

CAPTIONS = {
    "deviation_response": (
        "A seller is made to change its price for {epochs}, shaded, then acts by its own policy again; rivals are free "
        "all the time. Full lines: prices, their distance to the undisturbed ones with a 95 % interval ({resampled}). "
        "Dotted: the same episodes undisturbed, under the same shoppers. A rival's price that falls after a cut, by "
        "more than its interval, and comes back is a punishment. {lines}"
    ),
    "reaction_surface": (
        "The price that a seller sets, by its own and its rivals' price of the epoch before, both set by force after "
        "the policies had played half an episode; mean over histories and training seeds. Colours that change from "
        "left to right answer the rivals, from bottom to top the seller's own price; one colour answers nothing. Each "
        "seller has a scale of its own.{bound}"
    ),
    "stock_response": (
        "What a seller does by its own stock, set by force in the middle of the episodes while all else is as it was: "
        "mean over histories and training seeds, 95 % bootstrap interval over seeds shaded."
    ),
    "stockout_response": (
        "A seller's prices and profit after one of its rivals has had nothing to sell in one epoch, shaded, less those "
        "of the same episodes undisturbed: mean over the rivals that it is done to, 95 % interval shaded ({resampled})."
    ),
    "burst_response": (
        "Prices and profits during and after a burst of agents, shaded, less those of the same episodes undisturbed; "
        "95 % interval shaded ({resampled})."
    ),
}


def _time_axis(axes: Axes, forced: int, last: int) -> None:
    axes.axvspan(-0.5, forced - 0.5, color="#BBBBBB", alpha=0.35, linewidth=0)
    axes.set_xlim(-5.3, last + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _sellers(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, dict, float]]:
    """(name, rows, look, width) of each seller; of lines that lie on each other the lower is the thicker."""
    names = sorted(rows["seller"].unique(), key=int)
    for left, name in zip(reversed(range(len(names))), names, strict=True):
        yield name, rows[rows["seller"].eq(name)], style.seller_line(int(name)), min(1.5 + 0.9 * left, 3.3)


def _draw_response(axes: Axes, rows: pd.DataFrame, lines: Mapping[str, np.ndarray]) -> None:
    """Everyone's price while and after one seller is forced."""
    for seller, own, look, width in _sellers(rows):
        since, base = own["since"].to_numpy(), own["undisturbed"].to_numpy()
        low, high = (own[end].fillna(own["price_change"]).to_numpy() for end in ("price_low", "price_high"))
        axes.fill_between(since, base + low, base + high, color=look["color"], alpha=0.18, linewidth=0)
        axes.plot(since, base, linewidth=1.2, **(look | {"linestyle": (0, (1, 1.6))}))
        axes.plot(since, base + own["price_change"], linewidth=width, label=f"seller {seller}", **look)
    benchmark_lines.draw(axes, lines)


@styled
def deviation_response(responses: pd.DataFrame, lines: Mapping[str, np.ndarray], epochs: int) -> Figure:
    """Prices of all sellers around one seller's forced deviation: a row a deviator (three at most), a column a move.

    Args:
        responses: rows of `responses.COLUMNS`.
        lines: benchmark prices [S] by name, Nash first, as of `paths.benchmark_prices`.
        epochs: length of the deviations that are shown.
    """
    each = responses["forced"].ne("all") & responses["seller"].ne("all")
    own = responses[each & responses["epochs"].eq(epochs) & responses["since"].le(AFTER)]
    own = own[~own["case"].isin(["stockout", "burst"])]
    cases = list(dict.fromkeys(own["case"]))
    sellers = sorted(own["forced"].unique(), key=int)[:_SHOWN]
    narrow = style.is_narrow()
    rows, columns = (len(sellers) * len(cases), 1) if narrow else (len(sellers), len(cases))
    figure = style.new_figure(1.1 + (1.6 if narrow else 1.9) * rows)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    pairs = [(seller, case) for seller in sellers for case in cases]
    for (seller, case), axes in zip(pairs, panels.reshape(-1), strict=True):
        mine = own[own["forced"].eq(seller) & own["case"].eq(case)]
        _time_axis(axes, epochs, int(own["since"].max()))
        _draw_response(axes, mine, lines)
        axes.set_title(f"seller {seller}: {case}")
    for axes in panels[-1]:
        axes.set_xlabel("epochs since it began")
    for axes in panels[:, 0]:
        axes.set_ylabel("price (money)")
    axes = panels[0, 0]
    axes.plot([], [], color="#555555", linewidth=1.2, linestyle=(0, (1, 1.6)), label="undisturbed")
    style.legend_below(figure, axes)
    return figure


@styled
def reaction_surface(surface: pd.DataFrame) -> Figure:
    """Heat maps of the next price by own × rival price; a panel a seller (three at most)."""
    own = surface.dropna(subset="price").round({"own": 6, "rival": 6})
    sellers = sorted(own["seller"].unique(), key=int)[:_SHOWN]
    narrow = style.is_narrow()
    rows, columns = (len(sellers), 1) if narrow else (1, len(sellers))
    figure = style.new_figure(0.6 + 3.0 * rows if narrow else 1.1 + 6.0 / len(sellers))
    panels = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for seller, axes in zip(sellers, panels, strict=True):
        mean = own[own["seller"].eq(seller)].pivot_table(index="own", columns="rival", values="price")
        # Colours of its own, because what a seller answers is small beside what sellers differ by; never less than 1 %
        # of its price wide, so that nothing does not look like something.
        low, high = (float(end(mean.to_numpy())) for end in (np.min, np.max))
        wider = max(0.0, 0.005 * (low + high) - (high - low)) / 2
        ends = {"vmin": low - wider, "vmax": high + wider}
        mesh = axes.pcolormesh(mean.columns, mean.index, mean, cmap=style.MAP_COLOURS, shading="nearest", **ends)
        figure.colorbar(mesh, ax=axes, label="next price (money)")
        axes.grid(False)
        axes.set(title=f"seller {seller}", xlabel="rivals' last price (money)", ylabel="own last price (money)")
    return figure


@styled
def stock_response(found: pd.DataFrame) -> Figure:
    """Price, and order where sellers choose it, by own stock."""
    measures = {"price": "price set (money)", "order": "ordered (units)"}
    shown = [name for name in measures if found[name].notna().any()]
    figure = style.new_figure(0.8 + 2.7 * len(shown))
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for name, axes in zip(shown, panels, strict=True):
        for seller, own, look, width in _sellers(found):
            by_seed = own.pivot_table(index="seed", columns="stock", values=name)
            mean, low, high = mean_interval(by_seed.to_numpy())
            stock = by_seed.columns.to_numpy()
            if np.isfinite(low).all():
                axes.fill_between(stock, low, high, color=look["color"], alpha=0.18, linewidth=0)
            axes.plot(stock, mean, marker="o", markersize=4, linewidth=width, label=f"seller {seller}", **look)
        axes.set_ylabel(measures[name])
    panels[-1].set_xlabel("own stock when the shoppers come (units of each product)")
    figure.align_ylabels(panels)
    style.legend_below(figure, panels[0])
    return figure


def _changes(rows: pd.DataFrame, xlabel: str) -> Figure:
    """Changes of price and profit of each seller, one above the other."""
    rows = rows[rows["forced"].eq("all") & rows["seller"].str.isdigit() & rows["since"].le(AFTER)]
    figure = style.new_figure(5.4)
    panels = figure.subplots(2, 1, sharex=True)
    labels = {"price": "change of price (money)", "profit": "change of profit\n(money per epoch)"}
    for (name, label), axes in zip(labels.items(), panels, strict=True):
        _time_axis(axes, int(rows["epochs"].iloc[0]), int(rows["since"].max()))
        axes.axhline(0, color="#222222", linewidth=0.8)
        for seller, own, look, width in _sellers(rows):
            low, high = (own[f"{name}_{end}"].fillna(own[f"{name}_change"]) for end in ("low", "high"))
            axes.fill_between(own["since"], low, high, color=look["color"], alpha=0.18, linewidth=0)
            axes.plot(own["since"], own[f"{name}_change"], linewidth=width, label=f"seller {seller}", **look)
        axes.set_ylabel(label)
    panels[-1].set_xlabel(xlabel)
    figure.align_ylabels(panels)
    style.legend_below(figure, panels[0])
    return figure


@styled
def stockout_response(responses: pd.DataFrame) -> Figure:
    """What each seller does when one of its rivals has run out of stock."""
    return _changes(responses[responses["case"].eq("stockout")], "epochs since the rival's stockout")


@styled
def burst_response(responses: pd.DataFrame) -> Figure:
    """What each seller does when agents come in a burst."""
    return _changes(responses[responses["case"].eq("burst")], "epochs since the burst began")
