"""Figures of a robustness evaluation. Functions take the frames of `play` and `summary` and return a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from marl_pricing.evaluation.robustness.summary import TRAINED, about, by_world
from marl_pricing.presentation import style
from marl_pricing.presentation.style import styled

Sellers = Mapping[str, tuple[int, ...] | None]

CAPTIONS = {
    "matrix": (
        "Profit of each run (rows) in each world (columns), less that of the run it is compared with, as a share of "
        "the latter's; for runs that are compared with none, their profit in a world as a share of that in the world "
        "of training. The first column is the world of training. Where only some sellers are robust it is their "
        "profit, and that of the same sellers in the run they are compared with."
    ),
    "share_curves": (
        "Profit an epoch, all sellers together, by the share of agents: mean over training seeds, 95 % bootstrap "
        "interval over seeds shaded. The dotted line is the share that was assumed in training."
    ),
    "gains": (
        "What each run gains on the run it is compared with, seed by seed under the same shoppers: in the world of "
        "training, in the worst world of the grid, at the worst share of agents, and in the mean of the lowest tenth "
        "of episodes. Shares of the other run's; 95 % bootstrap intervals over seeds."
    ),
    "fill_rate": "Units sold over units wanted, by the share of agents; mean over seeds, 95 % interval shaded.",
    "coi": (
        "Cost of information, the mean price paid less the unit cost, by the share of agents; mean over training "
        "seeds, 95 % interval shaded."
    ),
    "price": "Mean posted price by the share of agents; mean over training seeds, 95 % interval shaded.",
}
_AXES = {
    "profit": "profit (money an epoch)",
    "fill_rate": "fill rate",
    "coi": "price paid less unit cost (money)",
    "price": "mean posted price (money)",
}


def _dash(number: int) -> tuple:
    return ((0, ()), (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))[number // len(style.PALETTE) % 4]


@styled
def curves(table: pd.DataFrame, column: str, assumed: float | None) -> Figure:
    """A column by the share of agents, one line a run."""
    own = by_world(table[table["factor"] == "agent_share"], column)
    runs = list(dict.fromkeys(own["run"]))
    figure = style.new_figure(4.2 + 0.22 * len(runs))
    axes = figure.subplots()
    for number, run in enumerate(runs):
        line = own[own["run"] == run].sort_values("value")
        colour = style.PALETTE[number % len(style.PALETTE)]
        axes.plot(
            line["value"], line["mean"], color=colour, linestyle=_dash(number), label=run, marker="o", markersize=3
        )
        axes.fill_between(
            line["value"].to_numpy(), line["low"].to_numpy(), line["high"].to_numpy(), color=colour, alpha=0.18,
            linewidth=0,
        )  # fmt: skip
    if assumed is not None:
        axes.axvline(assumed, color="#444444", linewidth=1.1, linestyle=(0, (1, 1.6)))
    axes.set_xlabel("share of agents")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel(_AXES[column])
    if column == "profit":
        axes.set_ylim(bottom=min(0.0, float(own["low"].fillna(own["mean"]).min())))
    figure.legend(loc="outside lower center", ncols=1 if style.is_narrow() else 2)
    return figure


def relative(table: pd.DataFrame, against: dict[str, str | None], sellers: Sellers) -> pd.DataFrame:
    """[run, world] gain as a share: on the run compared with, or on the world of training where with none.

    Args:
        sellers: as of `summary.summarise`.
    """

    def means(run: str, who: tuple[int, ...] | None) -> pd.Series:
        return about(table[table["run"] == run], who).groupby("world", sort=False)["profit"].mean()

    worlds = list(dict.fromkeys(table["world"]))
    trained = table[table["factor"] == TRAINED]["world"].iloc[0]
    rows = {}
    for run in dict.fromkeys(table["run"]):
        who, other = sellers.get(run), against.get(run)
        own = means(run, who)
        base = own[trained] if other is None else means(other, who)
        rows[run] = own / base - 1.0
    return pd.DataFrame(rows).T[worlds]


_ACROSS = 12  # worlds that are columns of the matrix


@styled
def matrix(table: pd.DataFrame, against: dict[str, str | None], sellers: Sellers) -> Figure:
    """The matrix of runs and worlds as a map with its numbers."""
    shares = 100.0 * relative(table, against, sellers)
    # Numbers of many worlds stand side by side only as rows.
    down = style.is_narrow() or shares.shape[1] > _ACROSS
    own = shares.T if down else shares
    rows, columns = own.shape
    figure = style.new_figure((2.4 + 0.3 * rows) if down else (1.9 + 0.42 * rows))
    axes = figure.subplots()
    compared = shares.loc[[run for run in shares.index if against.get(str(run)) is not None]].to_numpy()
    limit = max(float(np.nanmax(np.abs(compared))) if compared.size else 1.0, 1.0)
    axes.imshow(own.to_numpy(), cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto")
    size = 6.2 if style.is_narrow() and columns > 6 else 8.5
    for i in range(rows):
        for j in range(columns):
            value = own.to_numpy()[i, j]
            colour = "white" if abs(value) > 0.6 * limit else "black"
            axes.text(j, i, f"{value:+.0f}" if abs(value) >= 9.5 else f"{value:+.1f}", ha="center", va="center",
                      fontsize=size, color=colour)  # fmt: skip
    axes.set_xticks(range(columns), own.columns, rotation=60, ha="right", fontsize=8.5)
    axes.set_yticks(range(rows), own.index, fontsize=8.5)
    axes.grid(visible=False)
    axes.set_title("% of profit")
    return figure


@styled
def gains(summary: pd.DataFrame) -> Figure:
    """Gains of runs on those they are compared with."""
    names = {
        "price_of_robustness": "world of training",
        "worst_gain": "worst world",
        "worst_share_gain": "worst share of agents",
        "cvar_gain": "lowest tenth of episodes",
    }
    own = summary[summary["measure"].isin(list(names))]
    runs = list(dict.fromkeys(own["run"]))
    figure = style.new_figure(1.6 + 0.22 * len(runs) * len(names) + 0.25 * len(runs))
    axes = figure.subplots()
    height = 0.8 / max(len(runs), 1)
    for number, run in enumerate(runs):
        colour = style.PALETTE[number % len(style.PALETTE)]
        for row, measure in enumerate(names):
            found = own[(own["run"] == run) & (own["measure"] == measure)]
            if found.empty:
                continue
            sign, base = (-1.0, 1.0) if measure == "price_of_robustness" else (1.0, float(found["base"].iloc[0]))
            value, low, high = (sign * float(found[name].iloc[0]) / base for name in ("value", "low", "high"))
            place = row + (number - 0.5 * (len(runs) - 1)) * height
            label = run if row == 0 else None
            axes.plot(value, place, "o", color=colour, markersize=5, label=label)
            if np.isfinite(low):
                axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
    axes.axvline(0.0, color="#444444", linewidth=1.0)
    axes.set_yticks(range(len(names)), list(names.values()))
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("gain on the run compared with")
    figure.legend(loc="outside lower center", ncols=1 if style.is_narrow() else 2)
    return figure


def drawings(
    table: pd.DataFrame,
    summary: pd.DataFrame,
    against: dict[str, str | None],
    assumed: float | None,
    sellers: Sellers,
) -> Sequence[tuple[str, str, object]]:
    """(name, title, function that draws) of every figure that these tables have."""
    found: list[tuple[str, str, object]] = []
    if any(against.values()):
        found.append(("gains", "What robustness gains and costs", lambda: gains(summary)))
    if (table["factor"] == "agent_share").any():
        found.append(("share_curves", "Profit by the share of agents", lambda: curves(table, "profit", assumed)))
    found.append(("matrix", "Runs and worlds", lambda: matrix(table, against, sellers)))
    if (table["factor"] == "agent_share").any():
        titles = {"fill_rate": "Fill rate", "coi": "Cost of information", "price": "Prices"}
        for column, title in titles.items():
            if table[column].notna().all():
                found.append((column, f"{title} by the share of agents", lambda c=column: curves(table, c, assumed)))
    return found
