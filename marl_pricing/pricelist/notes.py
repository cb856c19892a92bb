"""Why a price stays, and why not to trust a change."""

from __future__ import annotations

import numpy as np
import pandas as pd

from marl_pricing.pricelist.choose import Choice
from marl_pricing.pricelist.demand import Demand
from marl_pricing.pricelist.settings import PriceListSettings


def notes_of(
    table: pd.DataFrame,
    demand: Demand,
    choice: Choice,
    measured: pd.DataFrame,
    backtest: pd.DataFrame,
    own: PriceListSettings,
) -> list[str]:
    """Per product, why its price stays or why not to trust its change; empty where nothing speaks against it."""
    tested = backtest.set_index("offer")
    notes = []
    for n, row in enumerate(table.to_dict("records")):
        price, told = choice.prices[n], []
        changes = not np.isclose(price, row["price"])
        if choice.unsure[n]:
            told.append(f"stays: the data cannot say (probability of a gain {choice.chance[n]:.0%})")
        elif choice.crowded_out[n]:
            told.append(f"stays: the {own.budget} changes allowed gain more elsewhere")
        elif row["product"] in own.held:
            told.append("stays: held")
        elif not changes:
            told.append("stays: no allowed price gains")
        if np.isclose(row["seen_low"], row["seen_high"]):
            told.append("its price never moved: the elasticity is its category's")
        elif np.isnan(measured["elasticity"][n]) and own.elasticities == "own":
            told.append(
                "its price never moved apart from the others': the elasticity is its category's"
                if own.instruments == "none"
                else "the instruments hardly move its price: the elasticity is its category's"
            )
        elif measured["elasticity"][n] >= 0:
            told.append("its sales rose with its price: prices may follow demand")
        if changes and not row["seen_low"] * (1 - 1e-9) <= price <= row["seen_high"] * (1 + 1e-9):
            told.append(f"no such price was seen ({row['seen_low']:.2f} to {row['seen_high']:.2f})")
        if row["offer"] in tested.index and tested["model"][row["offer"]] >= tested["naive"][row["offer"]]:
            told.append("its forecasts miss more than repeating the last units does")
        if np.isfinite(row["stock"]):
            out = float((demand.at(choice.prices)[:, n] >= row["stock"]).mean())
            if out >= 0.1:
                told.append(f"sells out with a probability of {out:.0%}: {row['stock']:,.0f} are there")
        if not row["cost_known"]:
            told.append(f"cost assumed: a margin of {own.margin:.0%}")
        elif row["cost"] >= row["price"]:
            told.append("sells below its cost")
        notes.append("; ".join(told))
    return notes
