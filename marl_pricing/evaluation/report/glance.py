"""All runs in one picture: what each seller earns, asks and holds, with intervals, beside its benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from marl_pricing.evaluation import benchmark_lines
from marl_pricing.evaluation.benchmarks import Benchmarks
from marl_pricing.evaluation.report import paths
from marl_pricing.evaluation.report.figures import whiskers
from marl_pricing.presentation import style
from marl_pricing.presentation.style import styled

_MARKERS = "osD^vPX*"
_MOST = 30  # rows that can be read
WIDTH = 11.4  # inches of the picture on a wide page

CAPTIONS = {
    "glance": (
        "Every seller under the learned policies: mean of price, profit and stock with 95 % intervals. Dashed: price "
        "and profit of competition (Nash); dotted: those of a cartel (joint profit); grey: {label}{stock_aware}."
    ),
    "runs_over_time": (
        "Prices, profits and stock over an episode, a column a seller, every run by dashes of its own: means over "
        "episodes, of prices with 95 % intervals shaded. A price and a stock are means over a seller's products."
    ),
}


@dataclass(frozen=True)
class Shown:
    """A run and the policy that pictures show of it."""

    run: str
    policy: str


def _rows(shown: Sequence[Shown], sellers: Sequence[str]) -> list[tuple[str, Shown | None, str]]:
    """(label, run, seller) from above; rows without a run are heads."""
    if len(shown) == 1:
        return [(f"seller {seller}", shown[0], seller) for seller in sellers]
    found: list[tuple[str, Shown | None, str]] = []
    for seller in sellers:
        found.append((f"seller {seller}:" if seller != "all" else "all sellers:", None, seller))
        found += [(f"   {own.run}", own, seller) for own in shown]
    return found


def _marks(axes: Axes, measure: str, at: float, seller: str, benchmarks: Benchmarks) -> None:
    """Benchmarks of a seller's price or profit, as lines through its row."""
    if measure == "stock" or seller == "all":
        return
    for name, found in paths.seller_marks(benchmarks, measure).items():
        axes.plot([found[int(seller)]] * 2, [at - 0.5, at + 0.5], **benchmark_lines.look_of(name))


def _look(place: int, seller: str) -> dict[str, Any]:
    colour = style.LEARNED if seller == "all" else style.seller_colour(int(seller))
    return {"color": colour, "marker": _MARKERS[place % len(_MARKERS)]}


@styled
def glance(summary: pd.DataFrame, shown: Sequence[Shown], benchmarks: Mapping[str, Benchmarks]) -> Figure:
    """Price, profit and, where it is limited, stock of each seller and run.

    Args:
        summary: the frame of `summary.summarise`.
    """
    learned = pd.concat([summary[summary["run"].eq(own.run) & summary["policy"].eq(own.policy)] for own in shown])
    numbers = sorted((seller for seller in learned["seller"].unique() if seller != "all"), key=int)
    rows = _rows(shown, numbers)
    if len(rows) > _MOST:
        rows = [(own.run, own, "all") for own in shown]
    labels = {
        "price_mean": "price (money)",
        "profit": "profit (money per epoch)",
        "stock": "stock (units of a product)",
    }
    limited = learned[learned["measure"].eq("stock")]["value"].notna().any()
    measures = [name for name in labels if name != "stock" or limited]
    narrow = style.is_narrow()
    height = 0.9 + 0.27 * len(rows)
    figure = style.new_figure(height * len(measures) if narrow else height + 0.3)
    panels = figure.subplots(*((len(measures), 1) if narrow else (1, len(measures))), sharey=True, squeeze=False)
    order = {own.run: place for place, own in enumerate(shown)}
    for axes, measure in zip(panels.reshape(-1), measures, strict=True):
        for at, (_, own, seller) in enumerate(rows):
            if own is None:
                continue
            row = learned[learned["run"].eq(own.run) & learned["measure"].eq(measure) & learned["seller"].eq(seller)]
            if row.empty or row["value"].isna().all():
                continue
            _marks(axes, measure, at, seller, benchmarks[own.run])
            axes.errorbar(
                row["value"], at, xerr=whiskers(row), markersize=7, capsize=3, **_look(order[own.run], seller)
            )
        axes.set_xlabel(labels[measure])
        axes.grid(False, axis="y")
        axes.margins(x=0.06)
    first = panels[0, 0]
    first.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    first.set_ylim(len(rows) - 0.5, -0.5)
    _legend(figure, first, {name for own in shown for name in paths.seller_marks(benchmarks[own.run], "price_mean")})
    return figure


def _legend(figure: Figure, axes: Axes, names: set[str]) -> None:
    for name in sorted(names):
        told = name.replace("Nash price", "competition (Nash)").replace("joint-profit price", "cartel (joint profit)")
        axes.add_line(Line2D([], [], label=told, **benchmark_lines.look_of(name)))
    style.legend_below(figure, axes)


@styled
def runs_over_time(offers: pd.DataFrame, shown: Sequence[Shown]) -> Figure:
    """Price, profit and, where it is limited, stock over time: a column a seller (four at most), a line a run.

    Args:
        offers: rows of all runs.
    """
    own_rows = [offers[offers["run"].eq(own.run) & offers["policy"].eq(own.policy)] for own in shown]
    sellers = sorted(offers["seller"].unique())[:4]
    limited = bool(np.isfinite(offers["stock"]).all())
    columns = {
        "price": ("mean", "price (money)"),
        "profit": ("sum", "profit (money)"),
        "stock": ("mean", "stock (units)"),
    }
    names = [name for name in columns if name != "stock" or limited]
    narrow = style.is_narrow()
    shape = (len(names) * len(sellers), 1) if narrow else (len(names), len(sellers))
    figure = style.new_figure(0.8 + (1.7 if narrow else 2.1) * shape[0])
    panels = figure.subplots(*shape, sharex=True, squeeze=False)
    for place, rows in enumerate(own_rows):
        epochs = paths.by_epoch(rows, {name: columns[name][0] for name in names})
        for line, name in enumerate(names):
            path = paths.time_path(epochs, name)
            for column, seller in enumerate(sellers):
                axes = panels[column * len(names) + line, 0] if narrow else panels[line, column]
                _draw(axes, path[path["seller"].eq(seller)], place, int(seller), band=name == "price")
                if line == 0:
                    axes.set_title(f"seller {seller}")
                if narrow or column == 0:
                    axes.set_ylabel(columns[name][1])
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    first = panels[0, 0]
    for place, own in enumerate(shown):
        first.plot([], [], color=style.LEARNED, linestyle=style.dashes(place), label=own.run)
    figure.align_ylabels(list(panels[:, 0]))
    style.legend_below(figure, first)
    return figure


def _draw(axes: Axes, path: pd.DataFrame, place: int, seller: int, *, band: bool) -> None:
    colour = style.seller_colour(seller)
    if band:
        axes.fill_between(path["epoch"], path["low"], path["high"], color=colour, alpha=0.13, linewidth=0)
    axes.plot(path["epoch"], path["mean"], color=colour, linestyle=style.dashes(place), linewidth=1.7)
    axes.margins(x=0.01)
