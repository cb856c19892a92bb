"""Figures of a calibration: what was estimated, how it fits, how it forecasts."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from marl_pricing.calibration.fit import Fit
from marl_pricing.calibration.forecast import Backtest
from marl_pricing.calibration.standard_errors import Estimate
from marl_pricing.presentation import style
from marl_pricing.presentation.style import styled

CAPTIONS = {
    "elasticities": (
        "Own-price elasticity and its 95 % interval: of all offers together, as the market has it, and of each "
        "{group} by a regression of its own. Right of the line at 0, where demand would rise with its price, points "
        "are open."
    ),
    "backtest": (
        "Error of the forecasts of the last {holdout} periods, as a share of what was sold: all units together, units "
        "weighted with prices, and the mean of the offers' own. The model knows the prices that were set; naive "
        "forecasts repeat what was seen. A season that was seen for few offers only stands in the table."
    ),
    "fit": (
        "Units sold (dots) and as forecast for the held-out periods, which are shaded (line), with the price below, of "
        "the offers with the highest revenue."
    ),
    "demand_curves": (
        "Units a period by an offer's own price, the others at their mean prices: as calibrated, and the 95 % band of "
        "the slope's error. The dot is the mean price; the grid of prices ends where the line does."
    ),
}


def _forest(axes, names: list[str], estimates: list[Estimate], colours: list[str]) -> None:
    for row, (estimate, colour) in enumerate(zip(estimates, colours, strict=True)):
        low, high = estimate.interval
        face = "white" if estimate.value >= 0 else colour
        axes.plot([low, high], [row, row], color=colour, linewidth=1.6)
        axes.plot(estimate.value, row, "o", color=colour, markerfacecolor=face, markersize=6)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(0.0, color="#444444", linewidth=1.0)
    axes.set_xlabel("own-price elasticity")


@styled
def elasticities(fit: Fit, rows: pd.DataFrame, name: str, most: int = 24) -> Figure:
    """The pooled elasticity above those of `rows` (columns `name`, rows, elasticity, error, low, high)."""
    shown = rows.sort_values("rows", ascending=False).head(most).sort_values("elasticity")
    figure = style.new_figure(1.3 + 0.27 * (len(shown) + 2))
    axes = figure.subplots()
    names = [
        "all offers, constant elasticity",
        f"as the market has it ({fit.form.replace('_', ' ')})",
        *shown[name].astype(str),
    ]
    as_used = fit.as_used
    rows_of = shown[["elasticity", "low", "high"]].to_numpy(float)
    own = [Estimate(value, (high - low) / 2.0 / 1.959964) for value, low, high in rows_of]
    colours = [style.PALETTE[1], style.PALETTE[0], *["#777777"] * len(own)]
    _forest(axes, names, [fit.elasticity.own, as_used, *own], colours)
    ends = np.concatenate([[e.interval[0] for e in own], [e.interval[1] for e in own], [0.0, as_used.interval[0]]])
    low, high = np.quantile(ends, [0.02, 0.98])
    axes.set_xlim(min(low, as_used.interval[0], fit.elasticity.own.interval[0]) * 1.08, max(high, 0.5) + 0.2)
    axes.grid(axis="y", visible=False)
    return figure


@styled
def backtest(own: Backtest, period: str = "period") -> Figure:
    """Errors of all forecasts that cover nearly all cells."""
    shown = own.scores[own.scores["cells"] >= 0.9 * own.scores["cells"].max()]
    figure = style.new_figure(3.0)
    axes = figure.subplots()
    kinds = {"weighted": "all units", "by_revenue": "weighted with prices", "mean_offer": "mean of offers"}
    labels = {"model": "this calibration", "naive": "naive", "seasonal": "seasonal naive", "month": f"4 {period}s ago"}
    width = 0.8 / len(shown)
    for number, row in enumerate(shown.to_dict("records")):
        places = np.arange(len(kinds)) + (number - (len(shown) - 1) / 2) * width
        colour = style.PALETTE[0] if row["forecast"] == "model" else ["#9A9A9A", "#C4C4C4", "#DADADA"][number - 1]
        bars = axes.bar(places, [row[kind] for kind in kinds], 0.9 * width, color=colour, label=labels[row["forecast"]])
        axes.bar_label(bars, fmt=lambda value: f"{100 * value:.0f} %", fontsize=9, padding=2)
    axes.set_xticks(range(len(kinds)), list(kinds.values()))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel("error, share of units")
    axes.grid(axis="x", visible=False)
    figure.legend(loc="outside upper left", ncols=2 if style.is_narrow() else 4)
    return figure


@styled
def fit_over_time(
    table: pd.DataFrame, own: Backtest, currency: str = "", period: str = "period", most: int = 3
) -> Figure:
    """Units, forecasts and prices (in the currency, where it is known) of the best-selling offers."""
    revenue = (table["units"] * table["price"]).groupby(table["offer"]).sum().sort_values(ascending=False)
    offers = [name for name in revenue.index if name in set(own.cells["offer"])][:most]
    figure = style.new_figure(2.3 * len(offers))
    all_axes = figure.subplots(2 * len(offers), 1, sharex=True, height_ratios=[2, 1] * len(offers), squeeze=False)[:, 0]
    last = int(table["period"].max())
    for number, offer in enumerate(offers):
        units, price = all_axes[2 * number], all_axes[2 * number + 1]
        rows, held = table[table["offer"] == offer], own.cells[own.cells["offer"] == offer]
        colour = style.PALETTE[0]
        units.plot(rows["period"], rows["units"], "o", markersize=3, color="#333333", label="sold")
        units.plot(held["period"], held["model"], color=colour, linewidth=2, label="forecast")
        price.plot(rows["period"], rows["price"], drawstyle="steps-mid", color=style.PALETTE[1], linewidth=1.4)
        for axes in (units, price):
            axes.axvspan(last - own.holdout + 0.5, last + 0.5, color="#EEF3F8", zorder=0)
        units.set_title(str(offer))
        units.set_ylabel("units")
        units.set_ylim(bottom=0)
        price.set_ylabel(_price(currency))
        price.yaxis.set_major_locator(MaxNLocator(3))
    all_axes[-1].set_xlabel(period)
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return figure


@styled
def demand_curves(
    fit: Fit,
    offers: pd.DataFrame,
    grid: tuple[list[float], list[float]],
    currency: str = "",
    period: str = "period",
) -> Figure:
    """Expected units of each offer of the market by its own price.

    Args:
        offers: of the calibrated market.
        grid: lowest and highest price of each offer.
    """
    low, high = grid
    columns = 2 if style.is_narrow() else min(4, len(offers))
    lines = -(-len(offers) // columns)
    figure = style.new_figure(1.0 + 1.75 * lines)
    all_axes = figure.subplots(lines, columns, squeeze=False)
    sellers = list(dict.fromkeys(offers["seller"]))
    for number, row in enumerate(offers.to_dict("records")):
        axes = all_axes[number // columns][number % columns]
        colour = style.seller_colour(sellers.index(row["seller"]))
        price = np.linspace(low[number], high[number], 60)
        slopes = (fit.slope.value, *fit.slope.interval)
        if fit.own is not None:
            slopes = (row["elasticity"], row["elasticity_low"], row["elasticity_high"])
        curves = [_curve(fit, row["price"], row["units"], price, slope) for slope in slopes]
        axes.fill_between(price, np.minimum(*curves[1:]), np.maximum(*curves[1:]), color=colour, alpha=0.2, linewidth=0)
        axes.plot(price, curves[0], color=colour)
        axes.plot(row["price"], row["units"], "o", color=colour, markersize=5)
        axes.set_title(f"{row['offer']}\n{row['seller']}", fontsize=9)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    for spare in range(len(offers), lines * columns):
        all_axes[spare // columns][spare % columns].set_visible(False)
    figure.supxlabel(_price(currency), fontsize=10.5)
    figure.supylabel(f"units a {period}", fontsize=10.5)
    return figure


def _price(currency: str) -> str:
    return f"price ({currency})" if currency else "price"


def _curve(fit: Fit, price: float, units: float, at: np.ndarray, slope: float) -> np.ndarray:
    if fit.form == "power":
        return units * (at / price) ** slope
    share = units / fit.size
    rho = fit.nesting.value if fit.nesting else 0.0
    # One offer against all else at its reference; within a nest the odds move faster.
    odds = share / (1.0 - share) * np.exp(slope / (1.0 - rho) * (at - price))
    return fit.size * odds / (1.0 + odds)
