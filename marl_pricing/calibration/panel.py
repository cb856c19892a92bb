"""The panel that estimates are made from: what can be identified in it, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from marl_pricing.calibration.reading import CalibrationError, gaps, names_of

# A product's own mean, its slope, and one degree of freedom.
FEWEST_PERIODS = 3


@dataclass(frozen=True)
class Panel:
    """Sales ready to estimate from.

    Attributes:
        table: columns of `Sales.table` and offer (text, one a seller, product and store), market (int, one a store and
            period: where offers compete), log_units, log_price, cross_price (mean over the other offers of the category
            and market of their log price, each less its own mean; 0 where there is no other). Rows with units 0, which
            have no logarithm, and rows that sold out, which tell a lower bound of demand, are in `rows` alone.
        rows: all rows of the same offers, with log_units NaN where units are 0, and sold_out (bool).
        zero_rows: rows of 0 units that are not in `table`.
        sold_out: rows that are not in `table` because all of the stock was sold.
        short: offers left out because they have too few periods.
        fixed: offers kept whose price never changes: they tell their level, not the slope.
        missing: periods without a row between an offer's first and last, all offers together.
    """

    table: pd.DataFrame
    rows: pd.DataFrame
    zero_rows: int
    sold_out: int
    short: list[str]
    fixed: list[str]
    missing: int

    def until(self, last: int) -> Panel:
        """The same up to a period, of the offers that have periods enough there."""
        before = self.table[self.table["period"] <= last]
        seen = before.groupby("offer")["period"].transform("nunique") >= FEWEST_PERIODS
        table = before[seen].reset_index(drop=True)
        rows = self.rows[(self.rows["period"] <= last) & self.rows["offer"].isin(table["offer"])]
        return Panel(table, rows.reset_index(drop=True), 0, 0, [], [], 0)


def sold_out_rows(table: pd.DataFrame) -> pd.Series:
    """[rows] those that sold all of their stock; none where the sales tell no stock."""
    if "sold_out" in table:
        return table["sold_out"]
    # A stock that is not told (NaN) bounds nothing.
    return table["units"] >= table["stock"] if "stock" in table else pd.Series(False, table.index)


def offer_names(table: pd.DataFrame) -> pd.Series:
    """One text an offer: the product's, with its seller's where several have that product, and its store's."""
    shared = table.groupby("product")["seller"].transform("nunique") > 1
    names = table["product"].where(~shared, table["product"] + " of " + table["seller"])
    return names if stores_of(table) < 2 else names + " at " + table["store"]


def stores_of(table: pd.DataFrame) -> int:
    """How many stores the sales tell apart; 1 where they tell none."""
    return int(table["store"].nunique()) if "store" in table else 1


def largest_store(table: pd.DataFrame) -> str:
    """The store with the highest revenue."""
    return str((table["units"] * table["price"]).groupby(table["store"]).sum().idxmax())


def make_panel(sales: pd.DataFrame) -> Panel:
    """The panel of a table of sales.

    Raises:
        CalibrationError: where no slope can be identified: no offer's price ever changes, or all have too few periods.
    """
    markets = sales["period"] if stores_of(sales) < 2 else sales.groupby(["store", "period"]).ngroup()
    table = sales.assign(offer=offer_names(sales), market=markets)
    out = sold_out_rows(table)
    if out.all():
        raise CalibrationError("stock: everything was sold in every row, so that demand is nowhere seen")
    positive = (table["units"] > 0) & ~out
    zero_rows = int(((table["units"] <= 0) & ~out).sum())
    counts = table["period"].where(positive).groupby(table["offer"]).transform("nunique")
    short = sorted(table.loc[counts < FEWEST_PERIODS, "offer"].unique())
    table = table.assign(sold_out=out)[counts >= FEWEST_PERIODS]
    if table.empty:
        raise CalibrationError(
            f"no product has {FEWEST_PERIODS} periods with sales or more: fewer periods than parameters; "
            f"too short are {names_of(short)}"
        )
    varies = table.groupby("offer")["price"].transform("nunique") > 1
    fixed = sorted(table.loc[~varies, "offer"].unique())
    if not varies.any():
        raise CalibrationError(
            "price: no product's price ever changes, so that the elasticity is not identified; accepted are sales at "
            "two prices or more"
        )
    log_price = np.log(table["price"])
    relative = log_price - log_price.groupby(table["offer"]).transform("mean")
    market = relative.groupby([table["category"], table["market"]])
    others = market.transform("size") - 1
    cross = (market.transform("sum") - relative) / others.where(others > 0, 1)
    rows = table.assign(
        log_units=np.log(table["units"].where(table["units"] > 0)),
        log_price=log_price,
        cross_price=cross.where(others > 0, 0.0),
    ).reset_index(drop=True)
    missing = int(gaps(rows)["missing"].sum())
    seen = rows[(rows["units"] > 0) & ~rows["sold_out"]].drop(columns="sold_out")
    return Panel(seen.reset_index(drop=True), rows, zero_rows, int(out.sum()), short, fixed, missing)
