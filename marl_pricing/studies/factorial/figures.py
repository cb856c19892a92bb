"""Figures of a factorial study. Functions take its frames and return a figure; `CAPTIONS` says what each shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marl_pricing.presentation import style
from marl_pricing.presentation.style import styled
from marl_pricing.studies.factorial.analysis import MEASURES
from marl_pricing.studies.factorial.wording import NAMES, term

_NOTHING: dict[str, Any] = style.NASH  # the line where there is no difference
_SEEDS = "Marks are means over all else, bars 95 % intervals over training seeds."
CAPTIONS = {
    "by_alpha": f"Greedy play at the share of agents that was trained for, by that share and the algorithm. {_SEEDS}",
    "effects": (
        "How much of what a factor, or two together, leave to explain they do explain: partial η², main effects and "
        "interactions of two. A star: p below 0.05 by Holm's adjustment over the terms of the measure."
    ),
    "defended": (
        "Reward an epoch of platforms that trained against the worst share of agents within ε, less that of those "
        f"that trained at α alone, in the world they trained for and in the worst of three (α, fewer, more). {_SEEDS}"
    ),
    "link": (
        "κ of E[ΔCOI level] ≈ −κ · COI leak, within runs: how far the level (money a unit) falls to the next epoch for "
        "one money of leak a session. Bars are 95 % intervals, robust to anything within a run. "
        "The methodology assumes κ > 0. Where prices are held, nobody reacts to a leak: that much of κ is the market's "
        "own."
    ),
    "sessions": (
        "Gaps Δ(H) − Δ(A) of 13 people's and 16 agents' sessions of the market, one draw of the methodology's cohorts."
    ),
}


def _panels(figure: Figure, count: int, columns: int) -> list[Axes]:
    columns = 1 if style.is_narrow() else min(columns, count)
    rows = -(-count // columns)
    panels = list(np.atleast_1d(figure.subplots(rows, columns)).ravel())
    for spare in panels[count:]:
        spare.remove()
    return panels[:count]


def _errors(rows: pd.DataFrame, value: str) -> np.ndarray:
    ends = rows[[value, "low", "high"]].to_numpy(float)
    return np.nan_to_num(np.maximum([ends[:, 0] - ends[:, 1], ends[:, 2] - ends[:, 0]], 0.0))


def _marks(axes: Axes, rows: pd.DataFrame, value: str, place: int, count: int, width: float, name: str) -> None:
    x = rows["alpha"].to_numpy(float) + width * (place - (count - 1) / 2)
    colour: dict[str, Any] = {"color": style.seller_colour(place)}
    axes.errorbar(
        x,
        rows[value],
        yerr=_errors(rows, value),
        fmt="o-",
        markersize=4,
        linewidth=1.2,
        capsize=2,
        label=name,
        **colour,
    )


def _nudge(alphas: Sequence[float]) -> float:
    """Marks of one share stand so far apart that their bars can be told apart."""
    apart = np.diff(np.unique(alphas))
    return 0.06 * float(apart.min()) if apart.size else 0.01


@styled
def by_alpha(means: pd.DataFrame) -> Figure:
    """A panel a measure, a line an algorithm."""
    figure = style.new_figure(2.6 * len(MEASURES) if style.is_narrow() else 7.6)
    panels = _panels(figure, len(MEASURES), 2)
    algorithms = list(dict.fromkeys(means["algorithm"]))
    for axes, (measure, unit) in zip(panels, MEASURES.items(), strict=True):
        for place, name in enumerate(algorithms):
            own = means[(means["measure"] == measure) & (means["algorithm"] == name)].sort_values("alpha")
            _marks(axes, own, "mean", place, len(algorithms), _nudge(own["alpha"].tolist()), name)
        axes.set_title(NAMES[measure])
        axes.set_ylabel(unit)
        axes.set_xlabel("share of agents α")
        axes.set_xticks(sorted(set(means["alpha"])))
    style.legend_below(figure, panels[0])
    return figure


@styled
def effects(found: dict[str, pd.DataFrame]) -> Figure:
    """A row a term, a column a measure: partial η²."""
    known = {name: own.set_index("term") for name, own in found.items() if len(own)}
    terms = [name for name in next(iter(known.values())).index if name not in ("seed", "residual")]
    values = np.array([[own["partial_eta2"].get(name, np.nan) for own in known.values()] for name in terms])
    figure = style.new_figure(1.6 + 0.32 * len(terms))
    axes = figure.subplots()
    axes.imshow(values, cmap=style.MAP_COLOURS, vmin=0.0, vmax=1.0, aspect="auto")
    axes.grid(False)
    for row, name in enumerate(terms):
        for column, own in enumerate(known.values()):
            star = "*" if own["p_holm"].get(name, 1.0) < 0.05 else ""
            dark = values[row, column] < 0.6
            axes.text(column, row, f"{values[row, column]:.2f}{star}", ha="center", va="center", fontsize=9,
                      color="white" if dark else "black")  # fmt: skip
    axes.set_xticks(range(len(known)), [NAMES[name].replace(" of prices", "") for name in known])
    if style.is_narrow():
        for label in axes.get_xticklabels():
            label.set(rotation=40, horizontalalignment="right", rotation_mode="anchor")
    axes.set_yticks(range(len(terms)), [term(name) for name in terms], fontsize=9)
    axes.set_title("Partial η²")
    return figure


@styled
def defended(found: pd.DataFrame) -> Figure:
    """A panel an algorithm; a line a radius and a world."""
    algorithms = list(dict.fromkeys(found["algorithm"]))
    figure = style.new_figure(2.6 * len(algorithms) if style.is_narrow() else 1.0 + 2.6 * -(-len(algorithms) // 2))
    panels = _panels(figure, len(algorithms), 2)
    worlds = {"reward": "as trained for", "reward_worst": "worst of three"}
    lines = [(epsilon, world) for epsilon in sorted(set(found["epsilon_alpha"])) for world in worlds]
    for axes, name in zip(panels, algorithms, strict=True):
        for place, (epsilon, world) in enumerate(lines):
            alike = (found["algorithm"] == name) & (found["epsilon_alpha"] == epsilon) & (found["measure"] == world)
            own = found[alike].sort_values("alpha")
            _marks(
                axes,
                own,
                "difference",
                place,
                len(lines),
                _nudge(own["alpha"].tolist()),
                f"ε = {epsilon:g}, {worlds[world]}",
            )
        axes.axhline(0.0, **_NOTHING)
        axes.set_title(name)
        axes.set_xlabel("share of agents α")
        axes.set_ylabel("reward, difference")
        axes.set_xticks(sorted(set(found["alpha"])))
    style.legend_below(figure, panels[0])
    return figure


@styled
def link(found: pd.DataFrame) -> Figure:
    """κ with its interval, all runs and by algorithm."""
    figure = style.new_figure(1.2 + 0.4 * len(found))
    axes = figure.subplots()
    places = np.arange(len(found))[::-1]
    axes.errorbar(found["kappa"], places, xerr=_errors(found, "kappa"), fmt="o", capsize=3, color=style.LEARNED)
    axes.axvline(0.0, **_NOTHING)
    axes.set_yticks(places, found["algorithm"].tolist())
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.set_xlabel("κ")
    return figure


@styled
def sessions(gaps: pd.DataFrame) -> Figure:
    """A dot a session."""
    figure = style.new_figure(2.2)
    axes = figure.subplots()
    for place, (_, own) in enumerate(gaps.groupby("actor", sort=False)):
        spread = np.linspace(-0.18, 0.18, len(own))
        axes.plot(own["gap"], place + spread, "o", color=style.seller_colour(place), markersize=5)
    axes.set_yticks([0, 1], ["people", "agents"])
    axes.set_ylim(-0.5, 1.5)
    axes.axvline(0.0, **_NOTHING)
    axes.set_xlabel("Δ(H) − Δ(A), nats a step")
    return figure
