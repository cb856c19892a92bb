"""`python -m marl_pricing.pricelist.trial [SHOP …] [--shops N]`: lists of simulated shops beside what comes of them.

What a list says is compared with what its prices bring in the shop that is known: profit of the next period expected
under its demand, whatever that period's levels are, at the list's prices and at those that stood.
"""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from marl_pricing.calibration.panel import make_panel
from marl_pricing.evaluation.statistics import interval
from marl_pricing.presentation.output import run_command
from marl_pricing.pricelist.choose import choose_prices
from marl_pricing.pricelist.demand import Demand
from marl_pricing.pricelist.elasticities import measure
from marl_pricing.pricelist.make import list_of
from marl_pricing.pricelist.products import constraints
from marl_pricing.pricelist.settings import PriceListSettings
from marl_pricing.pricelist.shops import SHOPS, Truth, draw_shop

LOSS = -0.01  # of today's profit; a list that loses more has done harm


def best_prices(truth: Truth, own: PriceListSettings, products: Sequence[str]) -> np.ndarray:
    """[N] what would be listed under the same constraints if demand were known."""
    categories = int(truth.category.max()) + 1
    known = Demand(
        truth.today, truth.units(truth.today)[None], truth.elasticity[None],
        np.full((1, categories), truth.cross), truth.category, np.zeros(categories, int), False, np.zeros(categories),
        np.full(len(truth.today), np.inf),
    )  # fmt: skip
    return choose_prices(known, truth.cost, constraints(own, list(products))).prices


def try_shops(
    name: str, shops: int, own: PriceListSettings, seed: int = 0, step: Callable[[int], None] = lambda _: None
) -> pd.DataFrame:
    """A row a shop: realised and stated gain (shares of today's profit), elasticities' errors, the best list's gain.

    Args:
        step: told how many shops are done.
    """
    rows = []
    own = PriceListSettings.model_validate(own.model_dump() | dict(SHOPS[name].settings))
    one = own.model_copy(update={"elasticities": "pooled"})
    for number, random in enumerate(np.random.default_rng([seed, list(SHOPS).index(name)]).spawn(shops)):
        sales, truth = draw_shop(SHOPS[name], random)
        found = list_of(sales, own, "shop")
        products = sorted(sales.table["product"].unique())
        place = [products.index(product) for product in found.table["product"]]
        listed = truth.today.copy()
        listed[place] = found.choice.prices
        before = truth.profit(truth.today)
        told, scale = found.outlook.total_gain, float(found.outlook.total_today.mean)
        pooled, _ = measure(make_panel(sales.table), one)
        alone = found.measured["elasticity"].to_numpy()
        true = truth.elasticity[place]
        squares = [
            np.nanmean((values - true) ** 2) for values in (found.elasticity.mean, alone, pooled["elasticity"].iloc[0])
        ]
        inside = (found.elasticity.low <= true) & (true <= found.elasticity.high)
        rows.append(
            (
                (truth.profit(listed) - before) / before,
                float(told.mean) / scale,
                bool(told.low <= truth.profit(listed) - before <= told.high),
                (truth.profit(best_prices(truth, own, products)) - before) / before,
                int((listed != truth.today).sum()),
                *np.sqrt(squares),
                inside.mean(),
            )
        )
        step(number + 1)
    columns = ["gain", "told", "inside", "best", "changed", "hierarchy", "alone", "pooled", "covered"]
    return pd.DataFrame(rows, columns=columns)


def summary(found: pd.DataFrame) -> dict[str, str]:
    """The row of one shop in the printed table."""
    mean, low, high = interval(found["gain"].to_numpy())
    return {
        "gain %": f"{100 * mean:.2f} ({100 * low:.2f} to {100 * high:.2f})",
        "told %": f"{100 * found['told'].mean():.2f}",
        "interval holds %": f"{100 * found['inside'].mean():.0f}",
        "no harm %": f"{100 * (found['gain'] >= LOSS).mean():.0f}",
        "of the best's gain %": f"{100 * mean / found['best'].mean():.0f}",
        "changed": f"{found['changed'].mean():.1f}",
        "error: own towards category": f"{found['hierarchy'].mean():.2f}",
        "by itself": f"{found['alone'].mean():.2f}",
        "pooled": f"{found['pooled'].mean():.2f}",
        "elasticities held %": f"{100 * found['covered'].mean():.0f}",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m marl_pricing.pricelist.trial", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SHOP", help=f"{', '.join(map(repr, SHOPS))}; none: all")
    parser.add_argument("--shops", type=int, default=100, help="of each kind (default 100)")
    parser.add_argument("--seed", type=int, default=0)
    own = parser.parse_args(arguments)
    unknown = [name for name in own.names if name not in SHOPS]
    if unknown or own.shops < 2:
        wrong = f"no shop {unknown[0]!r}" if unknown else f"--shops {own.shops}: accepted is 2 or more"
        parser.error(wrong)
    settings = PriceListSettings.model_validate({"data": "", "out": ""})
    rows = {}
    for name in own.names or SHOPS:

        def step(done: int, name: str = name) -> None:
            print(f"\r{name}: {done} of {own.shops} shops", end="", file=sys.stderr, flush=True)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows[name] = summary(try_shops(name, own.shops, settings, own.seed, step))
        print(file=sys.stderr)
    print(pd.DataFrame(rows).to_string())
    for name in rows:
        print(f"{name}: {SHOPS[name].told}")
    return 0


if __name__ == "__main__":
    run_command(main)
