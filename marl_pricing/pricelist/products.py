"""Which products get a price, what they cost and cost to make, and what may be done with them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from marl_pricing.calibration.panel import Panel
from marl_pricing.calibration.reading import CalibrationError, Sales
from marl_pricing.config.errors import refuse
from marl_pricing.intake.errors import listed
from marl_pricing.pricelist.by_product import read_by_product
from marl_pricing.pricelist.choose import Constraints
from marl_pricing.pricelist.settings import PriceListSettings


def priced(sales: Sales, panel: Panel, own: PriceListSettings, seller: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(products that get a price, those that do not with the reason)."""
    whole = sales.table[sales.table["seller"] == seller].sort_values("period")
    rows = panel.rows[panel.rows["seller"] == seller].sort_values("period")
    if rows.empty:
        raise CalibrationError(f"seller {seller!r}: no product has the three periods with sales that an estimate needs")
    last = int(sales.table["period"].max())
    latest = rows.groupby("product").last()
    latest["seen_low"], latest["seen_high"] = (rows.groupby("product")["price"].agg(how) for how in ("min", "max"))
    sold = whole[whole["units"] > 0].groupby("product")["period"].max()
    idle = [
        (name, "fewer than three periods with sales") for name in sorted(set(whole["product"]) - set(rows["product"]))
    ]
    gone = [name for name in latest.index if sold[name] <= last - own.recent]
    idle += [(name, f"no sale in the last {own.recent} periods") for name in gone]
    table = latest.drop(index=gone).reset_index()
    if table.empty:
        raise refuse("recent", own.recent, f"more: no product of {seller!r} sold since")
    table["cost"], table["cost_known"] = _costs(table, rows, own)
    table["stock"] = np.inf
    if own.stock is not None:
        table["stock"] = _told(table, own.stock, "stock", money=False).fillna(np.inf)
    kept = ["product", "offer", "category", "price", "cost", "cost_known", "seen_low", "seen_high", "stock"]
    return table[kept], pd.DataFrame(idle, columns=["product", "why"])


def _told(table: pd.DataFrame, path: str, what: str, *, money: bool) -> pd.Series:
    """[N] what a file says of the products; NaN of those that it does not name."""
    there = read_by_product(path, what, money=money)
    found = table["product"].map(there).astype(float)
    if found.isna().all():
        raise CalibrationError(
            f"{path}: names none of the products that are priced; it has {listed(list(there.index), 3)}, the sales "
            f"{listed(list(table['product']), 3)}"
        )
    return found


def _costs(table: pd.DataFrame, rows: pd.DataFrame, own: PriceListSettings) -> tuple[pd.Series, pd.Series]:
    """([N] unit costs, whether each is known and not assumed)."""
    known = pd.Series(np.nan, table.index)
    if "cost" in rows:
        known = table["product"].map(rows.dropna(subset=["cost"]).groupby("product")["cost"].last())
    if own.costs is not None:
        known = _told(table, own.costs, "cost", money=True).fillna(known)
    known = known.astype(float)
    return known.fillna(table["price"] * (1.0 - own.margin)), known.notna()


def constraints(own: PriceListSettings, products: list[str]) -> Constraints:
    """What the settings allow, products by their place. Raises ConfigError for names that are not priced."""

    def number(field: str, name: str) -> int:
        if name not in products:
            raise refuse(field, name, f"one of the products that are priced: {listed(products)}")
        return products.index(name)

    tied = tuple(tuple(number("tied", name) for name in group) for group in own.tied)
    several = [name for group in own.tied for name in group]
    twice = next((name for name in several if several.count(name) > 1), None)
    if twice is not None:
        raise refuse("tied", twice, "a product in one group, once")
    return Constraints(
        own.floor, own.largest_change, tuple(own.endings), frozenset(number("held", name) for name in own.held), tied,
        own.budget, own.certainty,
    )  # fmt: skip
