"""Figures of a learned market and of a fair policy in it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from marl_pricing.presentation import style
from marl_pricing.virtual_market.fair.compare import FEEDBACK, Row, Standing
from marl_pricing.virtual_market.levels import level_of
from marl_pricing.virtual_market.money import day_gmv

_REAL, _LEARNED, _NAIVE, _TRUE = style.GREY, style.PALETTE[0], style.PALETTE[1], "#000000"
_DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
_MOST_ORDERS = 5
_NOTHING_SPENT = 1e4  # an ROI beyond which nothing is drawn


def _three(height: float) -> tuple[Figure, np.ndarray]:
    narrow = style.is_narrow()
    figure = style.new_figure(2.4 * height if narrow else height)
    axes = figure.subplots(3, 1) if narrow else figure.subplots(1, 3)
    return figure, axes


@style.styled
def behaviour(real: np.ndarray, learned: np.ndarray, weekdays: np.ndarray) -> Figure:
    """Orders of a day, fees of days with an order, and the shape of the week: logged beside learned.

    Args:
        real, learned: [C, D, 2] orders and fees under the same coupons.  weekdays: [D].
    """
    figure, (orders, fees, week) = _three(2.9)
    edges = np.linspace(0.0, np.quantile(real[..., 1][real[..., 0] > 0], 0.99), 30)
    places = np.arange(_MOST_ORDERS + 1)
    for number, (name, own, colour) in enumerate((("logged", real, _REAL), ("learned", learned, _LEARNED))):
        count = np.bincount(np.minimum(own[..., 0].astype(int).ravel(), _MOST_ORDERS), minlength=_MOST_ORDERS + 1)
        orders.bar(places + 0.4 * number - 0.2, count / count.sum(), 0.4, color=colour, label=name)
        fee = own[..., 1][own[..., 0] > 0]
        fees.hist(fee, edges, density=True, histtype="step", color=colour, linewidth=1.6)
        mean = [own[:, weekdays == day, 0].mean() if (weekdays == day).any() else np.nan for day in range(7)]
        week.plot(range(7), mean, marker="o", markersize=4, color=colour)
    orders.set_xticks(places, [*map(str, places[:-1]), f"{_MOST_ORDERS}+"])
    orders.set_xlabel("orders a day")
    orders.set_ylabel("share of customer-days")
    fees.set_xlabel("fee, money")
    fees.set_ylabel("density")
    week.set_xticks(range(7), _DAYS)
    week.set_ylabel("orders a customer")
    week.set_ylim(bottom=0)
    style.legend_below(figure, orders)
    return figure


@style.styled
def rollout(real: np.ndarray, learned: np.ndarray, promotions: np.ndarray, weekdays: np.ndarray) -> Figure:
    """Orders and GMV a customer, day by day, of the days held out.

    Args:
        real, learned: [C, D, 2].  promotions: [C, D, 2].
    """
    narrow = style.is_narrow()
    figure = style.new_figure(5.0 if narrow else 2.9)
    axes = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
    days = np.arange(real.shape[1])
    for name, own, colour in (("logged", real, _REAL), ("learned", learned, _LEARNED)):
        gmv = day_gmv(promotions[..., 0], promotions[..., 1], own[..., 0], own[..., 1])
        for place, value in zip(axes, (own[..., 0], gmv), strict=True):
            place.plot(days, value.mean(0), marker="o", markersize=4, color=colour, label=name)
            every = 2 if len(days) > 8 else 1
            place.set_xticks(days[::every], [_DAYS[day] for day in weekdays[::every]])
    for place in axes:
        place.set_ylim(bottom=0)  # after the last line, which it keeps in sight
    axes[0].set_ylabel("orders a customer")
    axes[1].set_ylabel("GMV a customer, money")
    style.legend_below(figure, axes[0])
    return figure


@style.styled
def curves(judged: pd.DataFrame) -> Figure:
    """Orders a day by depth: all customers, and by segment where the truth is known.

    Args:
        judged: as `curves.judge` tables it.
    """
    known = "true" in judged
    if known:
        figure, axes = _three(3.1)
    else:
        figure = style.new_figure(3.1)
        axes = np.array([figure.add_subplot()])
    depth = np.round(100 * (1 - judged["discount"].to_numpy()))
    axes[0].fill_between(depth, judged["lowest"], judged["highest"], color=_LEARNED, alpha=0.25, linewidth=0,
                         label="range of the ensemble")  # fmt: skip
    axes[0].plot(depth, judged["learned"], color=_LEARNED, marker="o", markersize=4, label="learned")
    axes[0].plot(
        depth, judged["naive"], color=_NAIVE, linestyle="--", marker="s", markersize=3.5, label="means of the log"
    )
    axes[0].set_title("all customers")
    if known:
        axes[0].plot(depth, judged["true"], color=_TRUE, linestyle=":", marker="x", label="truth")
        for place, name in zip(axes[1:], ("loyal", "dormant"), strict=True):
            low, high = judged[f"lowest_{name}"], judged[f"highest_{name}"]
            place.fill_between(depth, low, high, color=_LEARNED, alpha=0.25, linewidth=0)
            place.plot(depth, judged[f"learned_{name}"], color=_LEARNED, marker="o", markersize=4)
            place.plot(depth, judged[f"true_{name}"], color=_TRUE, linestyle=":", marker="x")
            place.set_title(f"{name} ones")
    for place in axes:
        place.set_xlabel("discount, %")
        place.set_ylim(bottom=0)
    axes[0].set_ylabel("orders a day")
    style.legend_below(figure, axes[0])
    return figure


@style.styled
def calendar(found: list[Standing], weekday: int) -> Figure:
    """What everybody is offered, day by day: the depth as colour, the number of coupons in the cell; a row a policy."""
    rows = [own for own in found if own.played is not None and own.name != "no coupons"]
    days = rows[0].played.offers.shape[1] if rows[0].played is not None else 0
    figure = style.new_figure(1.2 + 0.45 * len(rows))
    axes = figure.add_subplot()
    level = np.stack([_levels(own) for own in rows])
    image = axes.imshow(level, cmap="YlGnBu", vmin=0, vmax=8, aspect="auto")
    small = style.is_narrow()
    for row, own in enumerate(rows):
        assert own.played is not None
        for day, (count, share) in enumerate(own.played.offers[0]):
            if count > 0:
                text = f"{count:.0f}" if small else f"{count:.0f}×{round(100 * (1 - share)):.0f}"
                colour = "white" if level[row, day] > 4 else "black"
                axes.text(day, row, text, ha="center", va="center", color=colour, fontsize=7)
    axes.set_xticks(range(days), [_DAYS[(weekday + day) % 7][: 1 if small else 2] for day in range(days)])
    axes.set_yticks(range(len(rows)), [_short(own.name) for own in rows])
    axes.grid(visible=False)
    bar = figure.colorbar(image, ax=axes, ticks=[0, 2, 4, 6, 8], shrink=0.9)
    bar.ax.set_yticklabels(["none", "10 %", "20 %", "30 %", "40 %"])
    return figure


def _levels(own: Standing) -> np.ndarray:
    assert own.played is not None
    offers = own.played.offers[0]
    return np.asarray(level_of(offers[:, 0], offers[:, 1]))


def _short(name: str) -> str:
    return name.replace(" (", "\n(") if style.is_narrow() else name


@style.styled
def days(found: list[Standing], goal: float) -> Figure:
    """GMV, cost and ROI so far of the policy, the first, and the best cycle, day by day, with the episodes' range."""
    figure, (gmv, cost, roi) = _three(2.9)
    names = (found[0].name, FEEDBACK, "best cycle (truth)", "best cycle (model)", "no coupons")
    chosen = [own for own in found if own.played is not None and own.name in names]
    for own, colour in zip(chosen, style.PALETTE, strict=False):
        assert own.played is not None
        at = np.arange(1, own.played.gmv.shape[1] + 1)
        spent = own.played.cost.cumsum(1)
        so_far = np.divide(own.played.gmv.cumsum(1), spent, out=np.full(spent.shape, np.nan), where=spent > 0)
        for place, value in ((gmv, own.played.gmv), (cost, own.played.cost), (roi, so_far)):
            if np.isnan(value).all():
                continue
            shown = ~np.isnan(value).all(0)
            low, high = np.nanquantile(value[:, shown], [0.025, 0.975], axis=0)
            place.fill_between(at[shown], low, high, color=colour, alpha=0.2, linewidth=0)
            place.plot(at, value.mean(0), color=colour, marker="o", markersize=3, label=own.name)
    roi.axhline(goal, color=style.GREY, linestyle="--", linewidth=1.2)
    for place, name in ((gmv, "GMV a customer"), (cost, "cost a customer"), (roi, "ROI so far")):
        place.set_title(name)
        place.set_xlabel("day")
        place.set_ylim(bottom=0)
    style.legend_below(figure, gmv)
    return figure


@style.styled
def scores(rows: list[Row], goal: float) -> Figure:
    """Score against ROI with 95 % intervals, a point a policy."""
    figure = style.new_figure(3.6)
    axes = figure.add_subplot()
    shown = [row for row in rows if np.isfinite(row.roi) and row.roi < _NOTHING_SPENT]
    for row, colour in zip(shown, style.PALETTE, strict=False):
        across, up = (_reach(*own) for own in (row[4:7], row[1:4]))
        axes.errorbar(row.roi, row.score, xerr=across, yerr=up, fmt="o", color=colour, capsize=2.5, label=row.policy)
    axes.axvline(goal, color=style.GREY, linestyle="--", linewidth=1.2)
    axes.set_xlabel("total ROI")
    axes.set_ylabel("score")
    style.legend_below(figure, axes)
    return figure


def _reach(mean: float, low: float, high: float) -> np.ndarray | None:
    return None if np.isnan(low) else np.array([[mean - low], [high - mean]])
