"""Lines of sales → one row a product, seller, store and period: added up, returns netted, stores put together.

The clean table that estimators read. A row is one offer (product of a seller) in one store and one period:

    product, seller, category   texts
    store                       text; only where the file tells stores apart
    period                      int64, counted from any start
    units                       float64, at least 0: what was sold less what came back
    price                       float64, above 0: of a unit; of several lines the mean over the units sold
    cost, promotion, stock, instrument0 …   float64, where the file has them; cost and price are in one currency

A period without a row is unknown, or nothing was sold in it: the mapping says which (`absent`), and rows that stand
for nothing sold are then there, with units 0 and the price seen before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

_TOTALS = (
    "total, totals, grand total, subtotal, sum, summe, gesamt, gesamtsumme, gesamtergebnis, zwischensumme, somme, "
    "total général, suma, totale, totaal, soma, celkem, razem, yhteensä, i alt, summa, итого, всего, 合計"
)
TOTALS = frozenset(_TOTALS.split(", "))


@dataclass(frozen=True)
class Added:
    """What adding up did.

    Attributes:
        table: one row a key.
        lines: [rows of `table`] the first line of each.
        merged: lines that were added to another.
        returned: units that came back and were netted.
        excess: units that came back beyond what their period sold, which is left at 0.
        over: positions (of the lines given) of returns that no sale in their period covers.
    """

    table: pd.DataFrame
    lines: np.ndarray
    merged: int
    returned: float
    excess: float
    over: np.ndarray


def is_total(texts: pd.DataFrame, period: pd.Series, units: pd.Series) -> pd.Series:
    """Rows of totals: one of their texts says so, and they have no period or as many units as all rows above."""
    named = pd.Series(False, texts.index)
    for name in texts:
        word = texts[name].astype(str).str.strip().str.casefold().str.rstrip(":")
        named |= word.isin(TOTALS) | word.str.startswith(tuple(f"{total}:" for total in ("total", "summe")))
    ends = tuple(f" {total}" for total in (*TOTALS, "ergebnis"))
    for name in texts:  # of a group
        own = texts[name].astype(str).str.strip().str.casefold()
        named |= (own.str.endswith(ends) | own.str.startswith(("summe ", "total "))) & period.isna()
    if not named.any():
        return named
    above = units.where(~named, 0.0).fillna(0.0).cumsum()
    return named & (period.isna() | np.isclose(units.fillna(np.nan), above, rtol=1e-9))


def key_of(table: pd.DataFrame) -> list[str]:
    """The columns that tell rows apart."""
    return [name for name in ("seller", "product", "store", "period") if name in table]


def repeats(table: pd.DataFrame) -> pd.Series:
    """Rows whose key was there before, returns aside: a sale and what came back of it are no repetition."""
    sold = table["units"] >= 0
    return table[sold].duplicated(key_of(table)).reindex(table.index, fill_value=False)


def alike(table: pd.DataFrame, raw: pd.DataFrame) -> float:
    """The share of repeated rows that repeat another word for word, in all columns of the file."""
    again = repeats(table)
    if not again.any():
        return 0.0
    same = raw.loc[table.index].astype(str).duplicated()
    return float((same & again).sum() / again.sum())


def add_up(table: pd.DataFrame, lines: np.ndarray) -> Added:
    """One row a seller, product, store and period.

    Units are summed, with returns as negative ones; the price is what was paid for a unit sold, returns aside, so that
    a return at another price changes no price. Cost, promotion and instruments are means over the units sold; stock is
    what was there first. A period in which more came back than was sold has 0 units; one in which only returns are
    has no row.

    Args:
        table: key columns, category, units, price (of a line's unit), and others; all valid.
        lines: [rows] of the file.
    """
    keys = key_of(table)
    sold = table["units"] > 0
    weight = table["units"].where(sold, 0.0)
    others = [name for name in table.columns if name not in (*keys, "category", "units", "price", "stock")]
    work = table[[*keys, "category"]].assign(units=table["units"], sold=weight, line=lines, place=np.arange(len(table)))
    # Lines of nothing sold carry a price too: it counts where the period has no other.
    spare = table["units"].eq(0).astype(float)
    for name in ("price", *others):
        work[f"{name}_sum"] = (table[name] * weight).where(table[name].notna(), 0.0)
        work[f"{name}_weight"] = weight.where(table[name].notna(), 0.0)
        work[f"{name}_spare"] = table[name].where(spare.gt(0))
        work[f"{name}_sold"] = table[name].where(sold)
    if "stock" in table:
        work["stock"] = table["stock"]
    grouped = work.groupby(keys, sort=False)
    found = grouped.agg(
        category=("category", "first"), units=("units", "sum"), sold=("sold", "sum"), line=("line", "first"),
        rows=("units", "size"),
    )  # fmt: skip
    for name in ("price", *others):
        total, weights = grouped[f"{name}_sum"].sum(), grouped[f"{name}_weight"].sum()
        low, high = grouped[f"{name}_sold"].min(), grouped[f"{name}_sold"].max()
        # A price that never moves has to stay the same to the last digit, which sums do not.
        mean = (total / weights.where(weights > 0)).where(low.ne(high), low)
        found[name] = mean.fillna(grouped[f"{name}_spare"].mean())
    if "stock" in table:
        found["stock"] = grouped["stock"].first()
    bare = found["price"].isna()  # nothing but returns
    number = grouped.ngroup().to_numpy()
    over = np.flatnonzero(bare.to_numpy()[number])
    kept = found[~bare]
    returned = -float(np.minimum(table["units"].to_numpy()[~bare.to_numpy()[number]], 0.0).sum())
    netted = kept.assign(units=kept["units"].clip(lower=0.0))
    merged = int((kept["rows"] - 1).sum())
    order = [
        name
        for name in ("product", "seller", "category", "store", "period", "units", "price", *table.columns)
        if name in table
    ]
    own = netted.drop(columns=["sold", "line", "rows"]).reset_index()[list(dict.fromkeys(order))]
    excess = float((-kept["units"]).clip(lower=0.0).sum())
    return Added(own, kept["line"].to_numpy(), merged, returned, excess, over)


def put_stores_together(table: pd.DataFrame) -> pd.DataFrame:
    """All stores as one: units and stock summed, prices and the others weighted with units; the store's column goes."""
    summed = ["stock"] if "stock" in table else []
    stock = table.groupby([name for name in key_of(table) if name != "store"], sort=False)[summed].sum(min_count=1)
    bare = table.drop(columns=["store", *summed])
    # What sold nothing in every store keeps a price, that of its lines.
    found = add_up(bare, np.arange(len(bare))).table
    if not summed:
        return found
    return found.merge(stock.reset_index(), on=key_of(found), how="left")


def fill_absent(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Rows of 0 units for each offer's periods without a row between its first and last, at the price seen before.

    Returns:
        the table, and how many rows were put in.
    """
    keys = [name for name in key_of(table) if name != "period"]
    ends = table.groupby(keys, sort=False)["period"].agg(["min", "max"])
    spans = (ends["max"] - ends["min"] + 1).to_numpy()
    every = ends.index.to_frame(index=False).loc[np.repeat(np.arange(len(ends)), spans)].reset_index(drop=True)
    start = np.repeat(ends["min"].to_numpy(), spans)
    every["period"] = start + np.arange(len(every)) - np.repeat(np.cumsum(spans) - spans, spans)
    full = every.merge(table, on=[*keys, "period"], how="left").sort_values([*keys, "period"])
    added = full["units"].isna()
    full["units"] = full["units"].fillna(0.0)
    carried = [name for name in ("category", "price", "cost", *_instruments(full)) if name in full]
    full[carried] = full.groupby(keys, sort=False)[carried].ffill()
    return full[list(table.columns)].reset_index(drop=True), int(added.sum())


def _instruments(table: pd.DataFrame) -> Sequence[str]:
    return [name for name in table.columns if name.startswith("instrument")]
