"""Figures of tabular Q-learning: how a deviation is answered, and how much is gained over competition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from marl_pricing.equilibrium.static import Equilibrium
from marl_pricing.evaluation.benchmarks import Benchmarks
from marl_pricing.evaluation.statistics import student
from marl_pricing.presentation import style
from marl_pricing.presentation.style import styled


def _benchmark_line(axes: Axes, name: str, own: Equilibrium | None, look: dict[str, Any]) -> None:
    """Mean price of the sellers in an equilibrium, where there is one."""
    if own is not None:
        several = "" if np.ptp(own.prices) < 1e-3 * own.prices.mean() else ", mean of sellers"
        axes.axhline(own.prices.mean(), label=f"{name} ({own.prices.mean():.3f}{several})", **look)


@styled
def deviation(table: pd.DataFrame, benchmarks: Benchmarks, num_sellers: int, num_sessions: int) -> Figure:
    """Mean prices around a forced deviation, with 95 % intervals over sessions.

    Args:
        table: columns period, deviator_price, rival_price, deviator_error, rival_error.
    """
    figure = style.new_figure(4.0)
    axes = figure.subplots()
    wide = student(num_sessions)
    labels = {"deviator": "the seller that deviates", "rival": "its rival" if num_sellers == 2 else "its rivals, mean"}
    for seller, (who, label) in enumerate(labels.items()):
        price, half = table[f"{who}_price"], wide * table[f"{who}_error"]
        colour = style.seller_colour(seller)
        axes.fill_between(table["period"], price - half, price + half, color=colour, alpha=0.18, linewidth=0)
        axes.plot(table["period"], price, color=colour, marker="os"[seller], markersize=4, label=label)
    _benchmark_line(axes, "Nash price", benchmarks.nash, style.NASH)
    _benchmark_line(axes, "joint-profit price", benchmarks.joint, style.JOINT)
    axes.set(xlabel="period (the deviation is in period 1)", ylabel="price (money)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.02)
    figure.legend(loc="outside lower center", ncols=1 if style.is_narrow() else 2, columnspacing=1.4)
    return figure


@styled
def profit_gain(gains: np.ndarray) -> Figure:
    """Sessions by profit gain, and the mean with its 95 % interval."""
    figure = style.new_figure(3.2)
    axes = figure.subplots()
    low, high = min(0.0, float(gains.min())), max(1.0, float(gains.max()))
    edges = np.arange(np.floor(low / 0.05), np.ceil(high / 0.05) + 1) * 0.05
    axes.hist(gains, edges.tolist(), color=style.seller_colour(0), edgecolor="white", linewidth=0.6)
    mean, error = gains.mean(), stats.sem(gains)
    half = student(gains.size) * error
    axes.axvspan(mean - half, mean + half, color=style.LEARNED, alpha=0.18, linewidth=0)
    axes.axvline(mean, color=style.LEARNED, label=f"mean {mean:.3f}, standard error {error:.3f}")
    axes.set(xlabel="profit gain Δ (0: Nash profit, 1: joint profit)", ylabel=f"sessions (of {gains.size})")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", visible=False)
    figure.legend(loc="outside lower center")
    return figure
