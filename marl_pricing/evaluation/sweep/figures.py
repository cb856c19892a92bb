"""Figures of a sweep. Functions take its frames and return a figure; `CAPTIONS` says what each shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes as Panel
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from marl_pricing.evaluation.sweep.measures import MEASURES, correlation
from marl_pricing.evaluation.sweep.sessions import Scores
from marl_pricing.presentation import style
from marl_pricing.presentation.style import styled

_SEEDS = "Points are training seeds; marks their interquartile means with 95 % bootstrap intervals."
CAPTIONS = {
    "profit_surplus": (
        "Profit of all sellers together and surplus of their shoppers, money an epoch: interquartile means over "
        "training seeds with 95 % bootstrap intervals. {exact}"
    ),
    "curve": f"{{explanation}}, by {{x}}. {_SEEDS} {{exact}}",
    "proxy": (
        "The demand proxy of an offer in an epoch against the units that people ordered of it, greedy policies of all "
        "seeds; r is the correlation of the points that are shown."
    ),
    "detection": (
        "Sessions of people and of agents in the first run's market: how they are scored, how many agents are found "
        "for how many people suspected (AUC: area under the curve), and whether a posterior of p means an agent in a "
        "share p of cases. Points are as large as the share of sessions that get that posterior; below 0.2 % they are "
        "left out."
    ),
}
_BARS = ("profit", "consumer_surplus")
_NASH: dict[str, Any] = style.NASH
_JOINT: dict[str, Any] = style.JOINT


def _panels(figure: Figure, count: int) -> Sequence[Panel]:
    """Panels beside each other, or below on a phone."""
    rows, columns = (count, 1) if style.is_narrow() else (1, count)
    return list(np.atleast_1d(figure.subplots(rows, columns, sharey="row")).ravel())


def _title(axes: Panel, over: str, value: str) -> None:
    if value:
        axes.set_title(f"{over} = {value}")


def _narrowest(values: np.ndarray) -> float:
    apart = np.diff(np.unique(values))
    return float(apart.min()) if apart.size else 1.0


def _whiskers(rows: pd.DataFrame) -> np.ndarray:
    ends = rows[["iqm", "iqm_low", "iqm_high"]].to_numpy(float)
    return np.nan_to_num(np.maximum([ends[:, 0] - ends[:, 1], ends[:, 2] - ends[:, 0]], 0.0))


def _known(summary: pd.DataFrame, measure: str) -> pd.DataFrame:
    return summary[(summary["measure"] == measure) & summary["iqm"].notna()].sort_values("x")


def bar_measures(summary: pd.DataFrame) -> list[str]:
    """What the bars show, as far as it was measured."""
    return [name for name in _BARS if len(_known(summary, name))]


@styled
def profit_surplus(summary: pd.DataFrame, curve: pd.DataFrame, x: str, over: str, theory: str) -> Figure:
    """Bars of profit and of consumer surplus by x, with the curves of theory across them; a panel a second value."""
    names = bar_measures(summary)
    values = list(dict.fromkeys(summary["over"]))
    panels_high = len(values) if style.is_narrow() else 1
    figure = style.new_figure(1.0 + 2.9 * panels_high)
    panels = _panels(figure, len(values))
    ticks = np.unique(summary["x"])
    thick = 0.8 * _narrowest(ticks) / len(names)
    for axes, value in zip(panels, values, strict=True):
        for turn, name in enumerate(names):
            rows = _known(summary[summary["over"] == value], name)
            at = rows["x"] + (turn - 0.5 * (len(names) - 1)) * thick
            colour = style.PALETTE[turn]
            axes.bar(at, rows["iqm"], 0.94 * thick, color=colour, alpha=0.75, label=MEASURES[name].label)
            axes.errorbar(at, rows["iqm"], _whiskers(rows), fmt="none", ecolor="#222222", elinewidth=1, capsize=2)
            line = curve[curve["over"] == value].sort_values("x")
            if name in line and line[name].notna().any():
                axes.plot(line["x"], line[name], color=colour, linewidth=2.0)
        axes.set_xlabel(x)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.grid(False, axis="x")
        _title(axes, over, value)
    panels[0].set_ylabel("money per epoch")
    if len(curve):
        panels[0].plot([], [], color=style.LEARNED, linewidth=2.0, label=theory)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2 if style.is_narrow() else 4)
    return figure


@styled
def by_x(
    table: pd.DataFrame, summary: pd.DataFrame, curve: pd.DataFrame, measure: str, x: str, over: str, theory: str
) -> Figure:
    """A measure by x: every seed, interquartile means with intervals, the curve of theory where it has one."""
    own, rows = MEASURES[measure], _known(summary, measure)
    values = list(dict.fromkeys(rows["over"]))
    several = len(values) > 1
    figure = style.new_figure(4.0)
    axes = figure.subplots()
    apart = 0.04 * _narrowest(summary["x"].to_numpy()) if several else 0.0
    for turn, value in enumerate(values):
        mine, colour = rows[rows["over"] == value], style.PALETTE[turn % len(style.PALETTE)]
        shift = (turn - 0.5 * (len(values) - 1)) * apart
        seeds = table[(table["measure"] == measure) & (table["over"] == value) & table["run"].isin(mine["run"])]
        axes.plot(seeds["x"] + shift, seeds["value"], ".", color=colour, alpha=0.35, markersize=5)
        line = curve[curve["over"] == value].sort_values("x")
        if measure in line and line[measure].notna().any():
            label = f"{theory}, {over} = {value}" if several else theory
            axes.plot(line["x"], line[measure], color=colour, linestyle=(0, (5, 2)), linewidth=1.5, label=label)
        label = f"{over} = {value}" if several else "learned"
        axes.errorbar(
            mine["x"] + shift, mine["iqm"], _whiskers(mine), fmt="o", color=colour, markersize=6, elinewidth=1.6,
            capsize=3, label=label,
        )  # fmt: skip
    if measure == "profit_gain":
        axes.axhline(0.0, label="Nash", **_NASH)
        axes.axhline(1.0, label="joint profit", **_JOINT)
    if measure == "price_mean" and not several:
        for name, label, look in (("nash_price", "Nash", _NASH), ("joint_price", "joint profit", _JOINT)):
            # Where nobody cooperates, theory's own curve is the Nash price.
            if curve[name].notna().any() and not np.allclose(curve[name], curve["price_mean"]):
                axes.plot(curve["x"], curve[name], label=label, **look)
    ticks = np.unique(rows["x"])
    if ticks.size <= 12:
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    if own.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel=x, ylabel=own.label if own.percent else f"{own.label} ({own.unit})")
    figure.legend(loc="outside lower center", ncols=2 if style.is_narrow() else 4)
    return figure


@styled
def proxy(points: pd.DataFrame, x: str) -> Figure:
    """The demand proxy against people's orders, a panel a value of x."""
    values = sorted(points["x"].unique())
    narrow = style.is_narrow()
    figure = style.new_figure(1.2 + 2.0 * (len(values) if narrow else 1))
    shape = (len(values), 1) if narrow else (1, len(values))
    panels = np.atleast_1d(figure.subplots(*shape, sharex=True, sharey=True)).ravel()
    for axes, value in zip(panels, values, strict=True):
        own = points[points["x"] == value]
        spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(own))  # whole units lie on each other
        axes.plot(own["people"] + spread, own["proxy"], ".", color=style.PALETTE[0], alpha=0.25, markersize=4)
        axes.set_title(f"{value:g}: r = {correlation(own['people'], own['proxy']):.2f}")
    figure.suptitle(f"by {x}", fontsize=10.5)
    figure.supxlabel("ordered by people (units)", fontsize=10.5)
    figure.supylabel("demand proxy (events)", fontsize=10.5)
    return figure


@styled
def detection(scores: Scores, priors: Sequence[float]) -> Figure:
    """Scores by class, receiver operating curve, reliability of the posterior at each prior."""
    narrow = style.is_narrow()
    figure = style.new_figure(9.0 if narrow else 3.3)
    panels = list(figure.subplots(3, 1) if narrow else figure.subplots(1, 3))
    bins = np.linspace(0.0, 1.0, 31)
    for turn, (name, own) in enumerate({"people": ~scores.agent, "agents": scores.agent}.items()):
        weight = np.full(int(own.sum()), 1.0 / own.sum())
        panels[0].hist(scores.suspicion[own], bins, weights=weight, color=style.PALETTE[turn], alpha=0.6, label=name)
    panels[0].set(xlabel="suspicion f", ylabel="share of sessions", title="scores")
    panels[0].legend()
    panels[1].plot(*scores.curve(), color=style.LEARNED, linewidth=2)
    panels[1].plot([0, 1], [0, 1], **_NASH)
    panels[1].set(xlabel="people suspected", ylabel="agents found", title=f"ROC, AUC {scores.area:.3f}")
    for turn, prior in enumerate(priors):
        said, true, mass = scores.reliability(prior)
        colour = style.PALETTE[turn % len(style.PALETTE)]
        panels[2].plot(said, true, color=colour, linewidth=1, alpha=0.7)
        panels[2].scatter(said, true, 12 + 220 * mass, color=colour, alpha=0.6, label=f"α = {prior:g}")
    panels[2].plot([0, 1], [0, 1], **_NASH)
    panels[2].set(xlabel="posterior", ylabel="share of agents", title="reliability")
    panels[2].legend(markerscale=0.5, fontsize=8.5, loc="lower right")
    for axes in panels[1:]:
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    return figure


def explanation(measure: str, exact: Mapping[str, str], x: str) -> str:
    """The caption of a measure's figure."""
    own = MEASURES[measure]
    text = own.explanation[0].upper() + own.explanation[1:]
    return CAPTIONS["curve"].format(explanation=text, x=x, exact=exact.get(measure, "")).strip()
