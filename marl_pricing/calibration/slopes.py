"""Each product's own elasticity by itself, with an error that allows for correlation over time.

One regression a category: a price column for every product that moved its price, a constant for every product, and what
is common to the products of a period. The calibration's estimators do it, so that zeros count and sold-out rows bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.calibration.censored import fit_censored
from marl_pricing.calibration.choosing import (
    Effect,
    Estimator,
    choose_effects,
    choose_estimator,
    group_columns,
    holiday_column,
    trend_column,
    with_trend,
)
from marl_pricing.calibration.control_function import first_stage, fit_with
from marl_pricing.calibration.elasticity import rows_of
from marl_pricing.calibration.instruments import WEAK
from marl_pricing.calibration.linear import fit_linear
from marl_pricing.calibration.panel import FEWEST_PERIODS, sold_out_rows
from marl_pricing.calibration.poisson import fit_poisson, that_sold
from marl_pricing.calibration.reading import CalibrationError
from marl_pricing.calibration.single_series import fit_arma
from marl_pricing.calibration.standard_errors import LEAST_PERIODS, Influence, with_error

COLUMNS = ["offer", "category", "elasticity", "error"]


def own_slopes(
    table: pd.DataFrame,
    estimator: Estimator = "auto",
    effects: Sequence[Effect] | None = None,
    cross: bool = False,
    controls: Sequence[str] = (),
    instruments: Sequence[str] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(elasticities of products, cross-price elasticities of categories): offer, category, elasticity, error each.

    How much longer an error is for correlation over time, one product's periods tell badly: a few would look ten times
    as sure as they are. So that factor is one for all products of the shop, the root mean square of theirs, on the
    error that each has without correlation. A product's own comes from its 95 % interval, half of it over 1.96.
    Products whose price never moved, or not apart from the effects, have no row; `hierarchy` has them drawn.

    Args:
        table: `Panel.rows`.
        effects: beside each product's constant; None chooses by the category's shape.
        cross: whether the others' prices (`cross_price`) have a coefficient of the category, without effects of periods
            then, which would explain it.
        controls: columns that move demand beside the price, each with one coefficient a category.
        instruments: columns that move prices and not demand, each with a coefficient a product (`control_function`);
            counts take them too. A product whose own first-stage F is below `instruments.WEAK` has no row: its error
            would not be to be trusted. `table` then has rows only that tell them.

    Raises:
        CalibrationError: for instruments where rows sold out, which only bounds could take.
    """
    if instruments and sold_out_rows(table).any():
        raise CalibrationError(
            f"instruments: accepted is none with elasticities=own where rows sold out, as "
            f"{int(sold_out_rows(table).sum()):,} did, or elasticities=pooled, which leaves these out"
        )
    own: list[tuple] = []
    others: list[tuple] = []
    for category, rows in table.groupby("category", sort=True):
        found = _fit_category(rows.reset_index(drop=True), estimator, effects, cross, controls, instruments)
        if "cross_price" in found:
            others.append(("", category, *found.pop("cross_price")[:2]))
        own += [(offer, category, *value) for offer, value in found.items()]
    measured = pd.DataFrame(own, columns=[*COLUMNS, "plain"])
    longer = float(np.sqrt(((measured["error"] / measured["plain"]) ** 2).mean()))
    # The state space of a single product has an error of its own.
    measured["error"] = (longer * measured.pop("plain")).fillna(measured["error"])
    return measured, pd.DataFrame(others, columns=COLUMNS)


def _fit_category(
    rows: pd.DataFrame,
    estimator: Estimator,
    effects: Sequence[Effect] | None,
    cross: bool,
    controls: Sequence[str],
    instruments: Sequence[str],
) -> dict[str, tuple[float, float, float]]:
    """{offer, or cross_price: (elasticity, error, that without correlation)}; nothing of what is not identified."""
    estimator = choose_estimator(rows, estimator if estimator != "censored" else "auto", ())
    if instruments and estimator == "arma":  # of one product, whose errors over time are of counts then
        estimator = "poisson"
    kept, _ = rows_of(rows, estimator)
    offers = list(_that_move(kept))
    if not offers:
        return {}
    chosen = choose_effects(kept, effects, ("product", "trend") if cross else ())
    several = cross and kept["cross_price"].abs().max() > 1e-10
    columns = [*(f"price{number}" for number in range(len(offers))), *(["cross_price"] if several else [])]
    names = [*offers, *(["cross_price"] if several else [])]
    prices = {f"price{n}": np.where(kept["offer"] == offer, kept["log_price"], 0.0) for n, offer in enumerate(offers)}
    wide = with_trend(pd.concat([kept, pd.DataFrame(prices, kept.index)], axis=1)).reset_index(drop=True)
    try:
        beside = [*_that_vary(wide, controls), *holiday_column(wide, chosen), *trend_column(chosen)]
        if instruments:
            moved = dict(zip(columns, offers, strict=False))
            found, strength = _through(wide, [*columns, *beside], moved, group_columns(chosen), estimator, instruments)
            kept_names = [column for column, name in zip(columns, names, strict=True) if strength[name] >= WEAK]
            names, columns = [moved[column] for column in kept_names], kept_names
        else:
            found = _estimates(wide, [*columns, *beside], group_columns(chosen), estimator)
    except (ValueError, np.linalg.LinAlgError):
        return {}
    return {name: found[column] for name, column in zip(names, columns, strict=True) if np.isfinite(found[column][1])}


def _that_vary(rows: pd.DataFrame, controls: Sequence[str]) -> list[str]:
    """Controls that vary within an offer: others say nothing in this category."""
    return [name for name in controls if (rows.groupby("offer")[name].nunique() > 1).any()]


def _that_move(rows: pd.DataFrame) -> pd.Index:
    """Offers with two prices and more periods than parameters."""
    seen = rows[rows["units"] > 0].groupby("offer").agg(prices=("price", "nunique"), periods=("period", "nunique"))
    return seen.index[(seen["prices"] > 1) & (seen["periods"] > FEWEST_PERIODS)]


def _estimates(
    rows: pd.DataFrame, columns: Sequence[str], groups: Sequence[str], estimator: Estimator
) -> dict[str, tuple[float, float, float]]:
    if estimator == "arma":
        return {name: (own.value, own.normal_error, np.nan) for name, own in fit_arma(rows, columns).items()}
    fit: Any
    if estimator == "loglinear":
        fit = fit_linear(rows, "log_units", columns, groups)
    else:
        rows = that_sold(rows, groups).reset_index(drop=True)
        fit = fit_censored(rows, columns, groups) if estimator == "censored" else fit_poisson(rows, columns, groups)
    return {name: (value, *_errors(value, fit.influences[name], rows)) for name, value in fit.coefficients.items()}


def _through(
    rows: pd.DataFrame, columns: Sequence[str], prices: dict[str, str], groups: Sequence[str], estimator: Estimator,
    instruments: Sequence[str],
) -> tuple[dict[str, tuple[float, float, float]], dict[str, float]]:  # fmt: skip
    """As `_estimates`, by instruments; and each offer's first-stage F."""
    rows = that_sold(rows, groups).reset_index(drop=True) if estimator == "poisson" else rows
    first = first_stage(rows, instruments, [name for name in columns if name not in prices], groups)
    moved = {column: offer for column, offer in prices.items() if first.strength[offer] >= WEAK}

    def second(some: pd.DataFrame, names: Sequence[str]) -> Any:
        if estimator == "poisson":
            return fit_poisson(some, names, groups)
        return fit_linear(some, "log_units", names, groups)

    fit = fit_with(rows, columns, moved, first, second)
    found = {name: (value, *_errors(value, fit.influences[name], rows)) for name, value in fit.coefficients.items()}
    return found, first.strength


def _errors(value: float, influence: Influence, rows: pd.DataFrame) -> tuple[float, float]:
    """(error, that without correlation). Over time where there are periods enough: a product's own shocks last."""
    periods = rows["period"].nunique()
    plain = with_error(value, influence, rows, "independent").error
    # A product's own constant and slope, and its part of the periods' effects, take three of its periods.
    plain *= np.sqrt(periods / max(periods - 3, 1))
    if periods < LEAST_PERIODS:
        return plain, plain
    error = with_error(value, influence, rows, "hac").normal_error
    if not (error > 0 and plain > 0):
        raise CalibrationError("a price has no error")
    return error, plain
