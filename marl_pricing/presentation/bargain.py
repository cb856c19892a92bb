"""A picture of one bargain: what its outcomes are worth to both sides, and who asked for how much when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marl_pricing.presentation import style
from marl_pricing.presentation.style import styled

CAPTION = (
    "Left: every outcome by what it is worth to both sides (money; dotted: without a contract), the Pareto frontier, "
    "what was offered and what was agreed, beside the bargaining solutions of Nash and of Kalai and Smorodinsky. "
    "Right: what each side's own offers are worth to itself over the rounds; a line is the least that it asks for, "
    "where it follows the clock alone."
)
_COLOUR = {"buyer": style.PALETTE[0], "supplier": style.PALETTE[1]}


@dataclass(frozen=True)
class BargainPicture:
    """What is drawn; utilities are money, outcomes are numbers.

    Attributes:
        utility: by side, buyer and supplier [O]; −inf for what cannot be.
        reserved: by side, without a contract.
        frontier: [O] bool.
        trace: a row an offer: round, by (a side), buyer, supplier (what it is worth to them), accepted.
        agreement: outcome, −1: none.
        solutions: by name, outcomes.
        asked: by side [rounds], the least that it asks for, where that follows the clock alone.
        titles: by side, who plays it.
    """

    utility: Mapping[str, np.ndarray]
    reserved: Mapping[str, float]
    frontier: np.ndarray
    trace: pd.DataFrame
    agreement: int
    solutions: Mapping[str, int]
    asked: Mapping[str, np.ndarray]
    titles: Mapping[str, str]


@styled
def picture(own: BargainPicture) -> Figure:
    """Utilities on the left, rounds on the right; below each other where it is narrow."""
    narrow = style.is_narrow()
    figure = style.new_figure(7.6 if narrow else 4.4)
    grid = figure.add_gridspec(*((4, 1) if narrow else (2, 2)))
    plane = figure.add_subplot(grid[:2, 0])
    _utilities(plane, own)
    places = (grid[2, 0], grid[3, 0]) if narrow else (grid[0, 1], grid[1, 1])
    first = figure.add_subplot(places[0])
    _rounds(first, own, "buyer")
    first.tick_params(labelbottom=False)
    second = figure.add_subplot(places[1], sharex=first)
    _rounds(second, own, "supplier")
    second.set_xlabel("round")
    style.legend_below(figure, plane)
    return figure


def _utilities(axes: Axes, own: BargainPicture) -> None:
    buyer, supplier = own.utility.values()
    feasible = np.isfinite(buyer) & np.isfinite(supplier)
    axes.scatter(buyer[feasible], supplier[feasible], s=4, color="#BDBDBD", linewidths=0, label="outcome")
    on = np.flatnonzero(own.frontier)
    on = on[np.argsort(buyer[on])]
    axes.plot(buyer[on], supplier[on], color=style.GREY, linewidth=1.4, label="Pareto frontier")
    for side in own.utility:
        here = own.trace[own.trace["by"] == side]
        axes.scatter(here["buyer"], here["supplier"], s=13, color=_COLOUR[side], linewidths=0, label=f"{side}'s offer")
    for (name, number), marker in zip(own.solutions.items(), "sD", strict=False):
        if number >= 0:
            axes.plot(
                buyer[number], supplier[number], marker, color="black", markerfacecolor="none", markersize=8, label=name
            )
    if own.agreement >= 0:
        number = own.agreement
        axes.plot(
            buyer[number], supplier[number], "*", color=style.PALETTE[2], markersize=15, markeredgecolor="white",
            label="agreement", zorder=5,
        )  # fmt: skip
    axes.axvline(own.reserved["buyer"], color="#444444", linewidth=0.9, linestyle=":")
    axes.axhline(own.reserved["supplier"], color="#444444", linewidth=0.9, linestyle=":")
    axes.set_xlabel("worth to the buyer")
    axes.set_ylabel("worth to the supplier")


def _rounds(axes: Axes, own: BargainPicture, side: str) -> None:
    here = own.trace[own.trace["by"] == side]
    axes.plot(here["round"], here[side], ".", color=_COLOUR[side], markersize=4)
    if side in own.asked:
        axes.plot(np.arange(len(own.asked[side])), own.asked[side], color=_COLOUR[side], linewidth=1.0)
    accepted = own.trace[own.trace["accepted"]]
    axes.plot(accepted["round"], accepted[side], "*", color=style.PALETTE[2], markersize=12, markeredgecolor="white")
    axes.axhline(own.reserved[side], color="#444444", linewidth=0.9, linestyle=":")
    axes.set_title(f"{side}: {own.titles[side]}")
    axes.set_ylabel("worth to itself")
