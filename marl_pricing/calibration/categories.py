"""`python -m marl_pricing.calibration.categories`: the file's categories, by what competition is worth in them.

Each category is calibrated by itself, with the same settings, into a market of the file's sellers. They are ranked by
how much more the sellers would earn together than as rivals: joint over Nash profit, one-shot, people alone, as much
stock as wanted. A category counts where its estimates are believable:

1. its slope is negative, with its whole 95 % interval;
2. every offer's own elasticity at its mean price lies between -8 and -1: a price below unit elasticity would be raised
   by any seller, and nobody has seen shoppers much keener than the other end;
3. unit costs are positive;
4. held-out weeks are forecast better than by repeating the last one.
"""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from marl_pricing.calibration.calibrate import find, mapping_of
from marl_pricing.calibration.page import Findings
from marl_pricing.calibration.reading import CalibrationError, Sales, read_sales
from marl_pricing.calibration.settings import CalibrationSettings
from marl_pricing.config import ConfigError, market_from
from marl_pricing.doors import say_errors
from marl_pricing.equilibrium import static
from marl_pricing.presentation.files import write_atomically
from marl_pricing.presentation.output import run_command
from marl_pricing.presentation.spreadsheets import csv_of

LEAST, MOST = -8.0, -1.0  # own elasticities that are believed
COLUMNS = {
    "category": "text",
    "sellers": "text; who sells there",
    "products": "whole number; products of each seller in the market",
    "slope": "coefficient of the price",
    "slope_high": "upper end of its 95 % interval",
    "elasticity_low": "own elasticity of the most elastic offer at its mean price",
    "elasticity_high": "of the least elastic one",
    "lowest_cost": "unit cost over mean price, of the offer for which that is least",
    "forecast": "error of the held-out periods over that of repeating the last ones, mean of offers; below 1 is better",
    "gap": "(joint - Nash) / Nash profit, one-shot, people alone, unlimited stock",
    "price_rise": "mean joint over mean Nash price, less 1",
    "doubt": "text; why it is not believed, empty where it is",
}


def _row(category: str, products: int, found: Findings) -> dict:
    """What a calibrated category is worth; see `COLUMNS`."""
    fit, market = found.fit, found.market
    row: dict = dict.fromkeys(COLUMNS, np.nan) | {"category": category, "products": products}
    row |= {"sellers": "", "slope": fit.slope.value, "slope_high": fit.slope.interval[1]}
    doubts = [] if row["slope_high"] < 0 else ["the slope's interval holds 0"]
    if found.backtest is not None:
        scores = found.backtest.scores.set_index("forecast")["mean_offer"]
        row["forecast"] = scores["model"] / scores["naive"]
    if not row["forecast"] < 1.0:
        doubts.append("no better forecast than repeating the last period" if found.backtest else found.no_backtest)
    if market is None:
        return row | {"doubt": "; ".join([*doubts, found.no_market])}
    if market.warnings:
        # What rivals earn at costs that were assumed tells nothing of what competition is worth.
        return row | {"doubt": "; ".join([*doubts, *market.warnings])}
    table = market.offers
    row |= {
        "sellers": ", ".join(dict.fromkeys(table["seller"])),
        "elasticity_low": table["elasticity"].min(),
        "elasticity_high": table["elasticity"].max(),
        "lowest_cost": (table["cost"] / table["price"]).min(),
    }
    if not (row["elasticity_low"] >= LEAST and row["elasticity_high"] <= MOST):
        doubts.append(f"an elasticity is not between {LEAST:g} and {MOST:g}")
    if not row["lowest_cost"] > 0:
        doubts.append("a cost is not positive")
    traffic = {"model": "analytic", "sessions_per_epoch": max(round(market.size), 1), "agent_share": 0.0}
    people_alone = {name: value for name, value in market.settings.items() if name not in ("agent", "calibration")}
    built = market_from(people_alone, traffic)
    try:
        nash, joint = static.nash(*built), static.joint_profit(*built)
    except static.NoEquilibriumError as error:
        return row | {"doubt": "; ".join([*doubts, str(error)])}
    row["gap"] = float(joint.profits.sum() / nash.profits.sum() - 1.0)
    row["price_rise"] = float(np.mean(joint.prices) / np.mean(nash.prices) - 1.0)
    return row | {"doubt": "; ".join(doubts)}


def compare(
    sales: Sales, own: CalibrationSettings, step: Callable[[str, int], None] = lambda name, done: None
) -> pd.DataFrame:
    """A row of `COLUMNS` for each category with two sellers or more, believed ones first, by their gap.

    Each market has as many products of each seller as the settings say, or as the poorer of its two richest sellers
    has.

    Args:
        step: told each category as it begins, and how many were done.
    """
    counts = sales.table.groupby(["category", "seller"])["product"].nunique()
    rivals = {str(name): sorted(each, reverse=True)[:2] for name, each in counts.groupby("category")}
    several = [name for name, each in rivals.items() if len(each) == 2]
    rows = []
    for number, name in enumerate(several):
        step(name, number)
        products = min(own.products_per_seller, rivals[name][1])
        settings = own.model_copy(
            # Sizes and sellers are a category's own.
            update={"category": name, "products_per_seller": products, "market_size": None, "sellers": None}
        )
        try:
            rows.append(_row(name, products, find(sales, settings)))
        except (CalibrationError, ConfigError) as error:
            rows.append(dict.fromkeys(COLUMNS, np.nan) | {"category": name, "products": products, "doubt": str(error)})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["sellers"] = table["sellers"].fillna("")
    believed = table["doubt"].eq("")
    return table.iloc[np.lexsort((-table["gap"].fillna(-np.inf), ~believed))].reset_index(drop=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the categories of a file; `settings=` and fields are those of a calibration."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    from marl_pricing.calibration.__main__ import read_settings
    from marl_pricing.presentation.progress import Progress

    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(__doc__)
        print("usage: python -m marl_pricing.calibration.categories settings=FILE.yaml out=FOLDER [field=value …]")
        print("Settings are those of a calibration (python -m marl_pricing.calibration --help).")
        return 0
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with say_errors(CalibrationError):
        own = read_settings(given)
        out = Path(own.out)
        out.mkdir(parents=True, exist_ok=True)
        sales = read_sales(own.data, mapping_of(own), own.judging, quarantine=out / "quarantine.csv")
        with warnings.catch_warnings(), Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            warnings.simplefilter("ignore")
            task = bar.add_task("", total=sales.table["category"].nunique())
            table = compare(sales, own, lambda name, done: bar.update(task, description=name, completed=done))
        write_atomically(out / "categories.csv", csv_of(table))
    shown = table.drop(columns=["slope", "slope_high", "sellers"]).round(3)
    print(shown.to_string(index=False, na_rep="", max_colwidth=60))
    print(f"table: {out}/categories.csv")
    return 0


if __name__ == "__main__":
    run_command(main)
