"""Prices that sessions saw, and what they did then: the price stream (i, p, sid, φ, t) beside the events.

A session is exposed to an item at the last price that it was shown before it bought it, or at the last of all where it
did not. Prices are told beside the item's usual one, the median of all exposures: an item alone is seldom seen at
enough prices. Who looks at what is not drawn by chance, so that this is what happened, not what a price does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from rich.console import Console
from rich.table import Table
from scipy import stats

from marl_pricing.presentation import style
from marl_pricing.presentation.files import write_atomically
from marl_pricing.presentation.spreadsheets import csv_of
from marl_pricing.traffic.events import PURCHASE
from marl_pricing.traffic.logs.reading import Log
from marl_pricing.traffic.logs.schemas import LogError

# Edges of a price beside the usual one, less 1; between the middle two it is the usual one.
EDGES = (-np.inf, -0.2, -0.1, -0.02, 0.02, 0.1, 0.2, np.inf)
COLUMNS = {
    "actor": "human, agent, or all",
    "low": "price over the item's usual one, less 1, above this",
    "high": "up to this",
    "exposures": "sessions and items",
    "relative": "mean price over the usual one, less 1",
    "conversions": "of these that were bought",
    "conversion": "share",
    "conversion_low": "95 % interval of the share (Wilson)",
    "conversion_high": "its other end",
}


def exposures(log: Log) -> pd.DataFrame:
    """One row a session and item that it saw a price of.

    Columns: session, actor (missing where nobody says), item, price (money), lowest and highest that were shown, shown
    (times), bought, usual (the item's median), relative (price / usual − 1).

    Raises:
        LogError: where no price of an item was shown.
    """
    events = log.events
    seen = events.loc[events["price"].notna() & events["item"].notna(), ["session", "item", "time", "price"]]
    told = log.prices.dropna(subset=["session"])[["session", "item", "time", "price"]]
    shown = pd.concat([seen, told], ignore_index=True) if len(told) else seen.reset_index(drop=True)
    if shown.empty:
        raise LogError("no event says which item was shown at what price; price: in a mapping names the column")
    bought = events.loc[
        events["event"].astype("str").eq(PURCHASE) & events["item"].notna(), ["session", "item", "time"]
    ]
    first = bought.groupby(["session", "item"])["time"].min().rename("bought_at")
    shown = shown.sort_values("time", kind="stable").join(first, on=["session", "item"])
    shown = shown[shown["bought_at"].isna() | (shown["time"] <= shown["bought_at"])]
    found = shown.groupby(["session", "item"], sort=True).agg(
        price=("price", "last"), lowest=("price", "min"), highest=("price", "max"), shown=("price", "size"),
        bought=("bought_at", "last"),
    )  # fmt: skip
    found["bought"] = found["bought"].notna()
    found = found.reset_index()
    actors = events[["session", "actor"]].drop_duplicates("session").set_index("session")["actor"].astype("str")
    found.insert(1, "actor", found["session"].map(actors.where(actors.isin(["human", "agent"]))))
    usual = found.groupby("item")["price"].transform("median")
    return found.assign(usual=usual, relative=found["price"] / usual.where(usual > 0) - 1.0)


def by_price(found: pd.DataFrame) -> pd.DataFrame:
    """Exposure and conversion by relative price: a row an actor and range of `EDGES` that was seen; `COLUMNS`.

    Args:
        found: of `exposures`; items that were shown at one price only are left out.
    """
    moved = found[found.groupby("item")["price"].transform("nunique") > 1].dropna(subset=["relative"])
    place = np.searchsorted(np.array(EDGES[1:-1]), moved["relative"].to_numpy(), side="left")
    rows = []
    groups = [("all", moved), *((str(name), own) for name, own in moved.groupby("actor"))]
    for actor, own in groups if len(groups) != 2 else groups[1:]:
        numbers = place[moved.index.get_indexer(own.index)]
        for number in np.unique(numbers):
            cell = own[numbers == number]
            bought, count = int(cell["bought"].sum()), len(cell)
            interval = stats.binomtest(bought, count).proportion_ci(0.95, "wilson")
            ends = (float(interval.low), float(interval.high))
            rows.append((actor, EDGES[number], EDGES[number + 1], count, cell["relative"].mean(), bought,
                         bought / count, *ends))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _range(low: float, high: float) -> str:
    if not np.isfinite(low):
        return f"{-high:.0%} lower and more"
    if not np.isfinite(high):
        return f"above {low:.0%} higher"
    if low < 0 < high:
        return "as usual"
    return f"{low:.0%} to {high:.0%} higher" if low >= 0 else f"{-high:.0%} to {-low:.0%} lower"


@style.styled
def draw(table: pd.DataFrame) -> Figure:
    """Conversion over relative price, and how many exposures stand behind it."""
    figure = style.new_figure(4.2)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for number, (actor, own) in enumerate(table.groupby("actor", sort=False)):
        at, share = 100 * own["relative"], 100 * own["conversion"]
        reach = np.stack([share - 100 * own["conversion_low"], 100 * own["conversion_high"] - share]).clip(min=0.0)
        colour = style.PALETTE[number]
        top.errorbar(at, share, yerr=reach, fmt="o-", color=colour, capsize=3, markersize=4.5, label=str(actor))
        bottom.plot(at, own["exposures"], "o-", color=colour, markersize=4)
    top.set_ylabel("bought (% of exposures)")
    top.set_ylim(bottom=0.0)
    bottom.set(ylabel="exposures", xlabel="price beside the item's usual one (%)", yscale="log")
    bottom.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    bottom.yaxis.set_minor_formatter(NullFormatter())
    style.legend_below(figure, top)
    return figure


def print_table(table: pd.DataFrame, left_out: int, console: Console | None = None) -> None:
    """Print `by_price`."""
    shown = Table("actor", "price", title="Exposure and conversion by price", title_justify="left")
    for title in ("exposures", "bought", "conversion", "95 % from", "to"):
        shown.add_column(title, justify="right")
    for row in table.to_dict("records"):
        shown.add_row(
            row["actor"], _range(row["low"], row["high"]), f"{row['exposures']:,}", f"{row['conversions']:,}",
            f"{row['conversion']:.2%}", f"{row['conversion_low']:.2%}", f"{row['conversion_high']:.2%}",
        )  # fmt: skip
    own = console or Console()
    own.print(shown)
    if left_out:
        own.print(f"{left_out:,} items were shown at one price only and are left out")


def leave(log: Log, out: Path) -> pd.DataFrame:
    """Write exposure.csv (`by_price`) and exposure.png and .svg; print the table.

    Raises:
        LogError: where no item was shown at two prices.
    """
    found = exposures(log)
    table = by_price(found)
    prices = found.groupby("item")["price"].nunique()
    if table.empty:
        raise LogError("every item was shown at one price only: there is nothing to compare")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "exposure.csv", csv_of(table))
    style.write(out, "exposure", draw(table))
    print_table(table, int((prices < 2).sum()))
    return table
