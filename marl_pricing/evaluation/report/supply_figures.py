"""Figures of what was bargained for."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from marl_pricing.presentation import bargain, style
from marl_pricing.presentation.style import styled

CAPTIONS = {
    "contracts": (
        "What sellers agreed upon with their suppliers: share of their contracts by unit cost, quantity and lead time, "
        "and what a contract is worth on average to the seller (colour) and to its supplier (grey) above having none. "
        "Black lines: Nash's bargaining point in the same situations, the seller's part and the whole."
    ),
    "bargain": "The first of these bargains. " + bargain.CAPTION,
}


def _shares(axes: Axes, contracts: pd.DataFrame, name: str) -> None:
    """Share of each seller's contracts by the values of an issue, side by side."""
    values = np.sort(contracts[name].unique())
    sellers = sorted(contracts["seller"].unique())
    step = float(np.diff(values).min()) if len(values) > 1 else 1.0
    wide = 0.8 * step / len(sellers)
    for place, seller in enumerate(sellers):
        own = contracts.loc[contracts["seller"] == seller, name]
        shares = own.value_counts(normalize=True).reindex(values, fill_value=0.0)
        at = values + (place - (len(sellers) - 1) / 2) * wide
        axes.bar(at, 100 * shares, width=wide, color=style.seller_colour(int(seller)), label=f"seller {seller}")
    axes.set_ylabel("contracts (%)")


@styled
def contracts(contracts: pd.DataFrame) -> Figure:
    """Distribution of the terms by seller, and who gets the surplus.

    Args:
        contracts: rows of `supply.COLUMNS` of one policy.
    """
    narrow = style.is_narrow()
    figure = style.new_figure(10.5 if narrow else 6.2)
    panels = figure.subplots(4, 1) if narrow else figure.subplots(2, 2).ravel()
    labels = {"unit_cost": "unit cost (money)", "quantity": "quantity (units)", "lead_time": "lead time (epochs)"}
    for axes, (name, label) in zip(panels, labels.items(), strict=False):
        _shares(axes, contracts, name)
        axes.set_xlabel(label)
        if name != "unit_cost":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    split, means = panels[3], contracts.groupby("seller").mean(numeric_only=True)
    for place, seller in enumerate(means.index.to_list()):
        row = means.loc[seller]
        whole, nash = row["seller_gain"] + row["supplier_gain"], row["nash_seller_gain"] + row["nash_supplier_gain"]
        split.bar(place, row["seller_gain"], color=style.seller_colour(int(seller)))
        split.bar(place, whole - row["seller_gain"], bottom=row["seller_gain"], color="#C4C4C4")
        split.hlines([row["nash_seller_gain"], nash], place - 0.4, place + 0.4, color="black", linewidth=1.4)
    split.set_xticks(range(len(means)), [f"seller {seller}" for seller in means.index])
    split.set_ylabel("gain a contract (money)")
    split.grid(axis="x", visible=False)
    style.legend_below(figure, panels[0])
    return figure
