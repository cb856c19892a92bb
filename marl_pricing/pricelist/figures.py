"""Pictures of a price list."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from marl_pricing.presentation import style
from marl_pricing.pricelist.make import PriceList

MOST = 20  # products that are drawn: more cannot be read

CAPTIONS = {
    "gains": "What each change is expected to bring in the next {period}, with 95 % intervals; {which}. Beside each "
    "name the price today and the price proposed.",
    "elasticities": "Each product's elasticity by itself, and as the list uses it, drawn towards its category's: the "
    "less its own sales say, the nearer to the others. Below -1 revenue rises as the price falls.",
}


def drawn_products(found: PriceList) -> np.ndarray:
    """Numbers of the products whose prices change, the largest gains first, as many as are drawn."""
    changed = np.flatnonzero(found.changed)
    return changed[np.argsort(-found.outlook.gain.mean[changed], kind="stable")][:MOST]


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


@style.styled
def gains(found: PriceList) -> Figure:
    """Gains of the changes, a row a product."""
    who = drawn_products(found)
    figure = style.new_figure(1.1 + 0.28 * len(who))
    axes = figure.add_subplot()
    gain, places = found.outlook.gain, np.arange(len(who))[::-1]
    mean = gain.mean[who]
    reach = np.stack([mean - gain.low[who], gain.high[who] - mean]).clip(min=0.0)
    up = found.choice.prices[who] > found.demand.today[who]
    for kind, colour, name in ((up, style.PALETTE[0], "price rises"), (~up, style.PALETTE[1], "price falls")):
        if kind.any():
            axes.errorbar(
                mean[kind], places[kind], xerr=reach[:, kind], fmt="o", color=colour, markersize=4.5, capsize=2.5,
                linewidth=1.2, label=name,
            )  # fmt: skip
    axes.axvline(0.0, color=style.GREY, linewidth=1.0)
    names = [_cut(name, 16 if style.is_narrow() else 30) for name in found.table["product"].iloc[who]]
    labels = [
        f"{name}  {today:,.2f} → {price:,.2f}"
        for name, today, price in zip(names, found.demand.today[who], found.choice.prices[who], strict=True)
    ]
    axes.set_yticks(places, labels)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"profit gained, {found.sales.currency or 'money'} a {found.sales.period_name}")
    style.legend_below(figure, axes)
    return figure


@style.styled
def elasticities(found: PriceList) -> Figure:
    """Own estimates beside the posterior's means."""
    figure = style.new_figure(3.6)
    axes = figure.add_subplot()
    alone, error = found.measured["elasticity"].to_numpy(), found.measured["error"].to_numpy()
    mean = found.elasticity.mean
    known = np.isfinite(alone)
    low, high = np.quantile(mean, [0.0, 1.0])
    reach = max(2.5, 1.5 * (high - low))
    centre = float(mean.mean())
    shown = known & (np.abs(alone - centre) <= reach)
    axes.errorbar(
        alone[shown], mean[shown], xerr=1.96 * error[shown], fmt="none", ecolor=style.GREY, alpha=0.25, linewidth=0.8
    )
    axes.scatter(alone[shown], mean[shown], s=16, color=style.PALETTE[0], zorder=3, label="a product")
    if (~known).any():
        axes.scatter(
            np.full((~known).sum(), centre), mean[~known], s=22, marker="x", color=style.PALETTE[1], zorder=3,
            label="no estimate of its own",
        )  # fmt: skip
    span = np.array([centre - reach, centre + reach])
    axes.plot(span, span, color=style.GREY, linestyle=(0, (4, 3)), linewidth=1.0, label="as estimated by itself")
    axes.set_xlim(*span)
    axes.set_ylim(min(low, -1.0) - 0.3, high + 0.3)
    axes.set_xlabel("elasticity by itself, 95 % interval")
    axes.set_ylabel("as the list uses it")
    hidden = int((known & ~shown).sum())
    if hidden:
        axes.set_title(
            f"{hidden} estimate{'s lie' if hidden > 1 else ' lies'} outside",
            fontsize=9.5,
            fontweight="normal",
            color=style.GREY,
        )
    style.legend_below(figure, axes)
    return figure
