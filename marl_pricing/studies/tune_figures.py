"""The figure of a search: every trial as a line through its settings to its score, and which settings mattered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marl_pricing.presentation import style
from marl_pricing.presentation.style import styled

NAME = "trials"
_ENOUGH = 8  # trials from which on importance says something


def importance(study: Any) -> dict[str, float]:
    """Share of the scores' variance that each setting explains (fANOVA; Hutter, Hoos and Leyton-Brown 2014).

    Returns:
        By setting, largest first; empty for fewer than 8 trials, or where all scored the same.
    """
    import optuna

    done = [own for own in study.trials if own.state == optuna.trial.TrialState.COMPLETE]
    if len(done) < _ENOUGH or np.ptp([own.value for own in done]) == 0:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _places(values: pd.Series, log: bool) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """(heights [trials] from 0 to 1, ticks) of one setting."""
    if not pd.api.types.is_numeric_dtype(values) or values.nunique() <= 5:
        kinds = sorted(values.unique())
        at = {kind: 0.5 if len(kinds) == 1 else number / (len(kinds) - 1) for number, kind in enumerate(kinds)}
        return values.map(at).to_numpy(float), [(place, f"{kind}") for kind, place in at.items()]
    numbers = np.log(values.to_numpy(float)) if log else values.to_numpy(float)
    low, high = numbers.min(), numbers.max()
    wide = max(high - low, 1e-12)
    ends = [low, 0.5 * (low + high), high]
    return (numbers - low) / wide, [((own - low) / wide, f"{np.exp(own) if log else own:.2g}") for own in ends]


def _parallel(axes: Axes, table: pd.DataFrame, logs: dict[str, bool]) -> None:
    shown = table.dropna(subset=["score"]).iloc[::-1]  # the best last, so that it lies on top
    names = [*logs, "score"]
    scale = [_places(shown[name], logs.get(name, False)) for name in names]
    lines = np.stack([heights for heights, _ in scale])
    rank = np.linspace(0.05, 0.95, len(shown))
    colours = mpl.colormaps[style.MAP_COLOURS](rank)
    for number in range(len(shown)):
        best = number == len(shown) - 1
        colour = style.PALETTE[1] if best else colours[number]
        axes.plot(lines[:, number], color=colour, lw=2.4 if best else 1.0, alpha=1.0 if best else 0.7)
    for place, (_, ticks) in enumerate(scale):
        for height, text in ticks:
            axes.annotate(text, (place, height), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_xticks(range(len(names)), [name.removeprefix("learner.").replace("_", "\n") for name in names])
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.06)
    axes.set_title("Trials: settings to score; the best in red")


@styled
def draw(table: pd.DataFrame, logs: dict[str, bool], matters: dict[str, float]) -> Figure:
    """Parallel coordinates of all trials and, where there are enough of them, the settings' importance.

    Args:
        logs: by setting that was searched, whether its axis is logarithmic.
    """
    figure = style.new_figure(5.6 if matters else 3.8)
    parts = figure.subplots(2, 1, height_ratios=(3, 1)) if matters else [figure.subplots()]
    _parallel(parts[0], table, logs)
    if matters:
        names = list(matters)[::-1]
        parts[1].barh([name.removeprefix("learner.") for name in names], [matters[name] for name in names])
        parts[1].set_xlabel("share of the scores' variance (fANOVA)")
    return figure


def write(study: Any, table: pd.DataFrame, logs: dict[str, bool], folder: Path) -> None:
    """`trials.png` and `trials.svg`; nothing where no trial came to a score."""
    if not len(table) or table["score"].notna().sum() == 0:
        return
    style.write(folder, NAME, draw(table, logs, importance(study)))
