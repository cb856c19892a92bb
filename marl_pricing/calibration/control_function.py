"""Prices that answer to demand, of many products at once: what instruments leave of a price stands beside it.

The residual v of a first stage is what else moved the price; where it stands in the regression, the price itself moves
for the instruments' reasons alone (control function; Wooldridge 2015, Journal of Human Resources 50). With counts this
takes E[units | price, instruments, v] for an exponential of all three, which two-stage least squares of logarithms need
not, and keeps rows of 0 units (Lin and Wooldridge 2019). With logarithms it is two-stage least squares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from marl_pricing.calibration.linear import Linear, without_effects
from marl_pricing.calibration.poisson import Poisson
from marl_pricing.calibration.standard_errors import LEAST_PERIODS, Errors, Influence, covariance

Fitted = Poisson | Linear


@dataclass(frozen=True)
class FirstStage:
    """What is left of prices, product by product.

    Attributes:
        residual: [n] log price less what instruments, controls and effects say of it.
        beside: [n, L] instruments with effects taken out.  each: [n, L] influences of their coefficients.
        strength: per offer, F of its instruments.
    """

    residual: np.ndarray
    beside: np.ndarray
    each: np.ndarray
    strength: dict[str, float]


def first_stage(
    table: pd.DataFrame, instruments: Sequence[str], controls: Sequence[str], groups: Sequence[str]
) -> FirstStage:
    """Log prices on instruments, a coefficient a product and instrument, with effects.

    Args:
        table: offer, period, log_price, instruments, controls.
    """
    offers = list(dict.fromkeys(table["offer"]))
    wide = {
        f"{offer}\0{name}": np.where(table["offer"] == offer, table[name], 0.0)
        for offer in offers
        for name in instruments
    }
    names = list(wide)
    both = pd.concat([table, pd.DataFrame(wide, table.index)], axis=1)
    within = without_effects(both, ["log_price", *names, *controls], groups)
    price, z, beside = within[:, 0], within[:, 1 : 1 + len(names)], within[:, 1 + len(names) :]
    if controls:
        took = np.linalg.lstsq(beside, np.column_stack([price, z]), rcond=None)[0]
        price, z = price - beside @ took[:, 0], z - beside @ took[:, 1:]
    # An instrument that a product's effects explain says nothing of its price.
    still = z.std(0) < 1e-6 * np.maximum(np.abs(both[names].to_numpy(float)).max(0), 1e-300)
    z[:, still] = 0.0
    inverse = np.linalg.pinv(z.T @ z)
    found = inverse @ (z.T @ price)
    residual = price - z @ found
    each = (z * residual[:, None]) @ inverse
    kind: Errors = "hac" if table["period"].nunique() >= LEAST_PERIODS else "independent"
    strength = {}
    for number, offer in enumerate(offers):
        own = slice(number * len(instruments), (number + 1) * len(instruments))
        moving = np.arange(len(names))[own][~still[own]]
        if moving.size:
            spread = covariance(each[:, moving], table, kind)[0]
            strength[offer] = float(found[moving] @ np.linalg.pinv(spread) @ found[moving]) / moving.size
        else:
            strength[offer] = 0.0
    return FirstStage(residual, z, each, strength)


def fit_with(
    table: pd.DataFrame,
    columns: Sequence[str],
    prices: dict[str, str],
    first: FirstStage,
    fit: Callable[[pd.DataFrame, Sequence[str]], Fitted],
) -> Fitted:
    """The regression with products' first-stage residuals beside their prices; influences know of both stages.

    What a wrong first stage does to a second-stage coefficient is, to first order, the coefficient of v times how the
    second stage leans on the instruments; each row's part in the first stage goes on through that (Murphy and Topel
    1985; Newey 1984).

    Args:
        table: the rows of `first`.
        prices: column of a product's price → its offer, of those that instruments move.
        fit: the second stage of a table with columns.
    """
    beside = {
        f"v{number}": np.where(table["offer"] == offer, first.residual, 0.0)
        for number, offer in enumerate(prices.values())
    }
    whole = pd.concat([table, pd.DataFrame(beside, table.index)], axis=1)
    found = fit(whole, [*columns, *beside])
    places = {offer: f"v{number}" for number, offer in enumerate(prices.values())}
    load = np.array([found.coefficients[places[offer]] if offer in places else 0.0 for offer in table["offer"]])
    mean = found.mean if isinstance(found, Poisson) else np.ones(len(table))
    influences = {}
    for name in columns:
        leans = (found.pulls[name] * mean * load) @ first.beside  # [L]
        own = found.influences[name]
        influences[name] = Influence(own.each + first.each @ leans, own.share)
    coefficients = {name: found.coefficients[name] for name in columns}
    if isinstance(found, Poisson):
        return Poisson(coefficients, influences, found.table, found.mean, found.pulls)
    return Linear(coefficients, influences, found.residual, found.pulls)
