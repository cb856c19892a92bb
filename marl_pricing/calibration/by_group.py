"""Elasticities of categories and of single offers, by the same estimators as that of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from marl_pricing.calibration import standard_errors as errors_of
from marl_pricing.calibration.choosing import Effect, Estimator
from marl_pricing.calibration.elasticity import fit_elasticity
from marl_pricing.calibration.panel import FEWEST_PERIODS, sold_out_rows
from marl_pricing.calibration.standard_errors import Errors

_BY = ["rows", "elasticity", "error", "low", "high"]


def by_category(
    table: pd.DataFrame, effects: Sequence[Effect] | None, estimator: Estimator = "auto", errors: Errors = "auto"
) -> pd.DataFrame:
    """An elasticity a category: category, offers, rows, elasticity, error, low, high.

    Categories of fewer than three offers, whose errors could not be clustered, and those in which the elasticity is not
    identified are left out.
    """
    rows = []
    for category, own in table.groupby("category", sort=True):
        offers = own["offer"].nunique()
        if offers < 3:
            continue
        try:
            choice = "auto" if estimator == "censored" and not sold_out_rows(own).any() else estimator
            fit = fit_elasticity(own, effects=effects, estimator=choice, errors=errors, cross=False)
        except (np.linalg.LinAlgError, ValueError, ZeroDivisionError):
            continue
        rows.append((category, offers, fit.rows, fit.own.value, fit.own.error, *fit.own.interval))
    return pd.DataFrame(rows, columns=["category", "offers", *_BY])


def by_offer(table: pd.DataFrame, estimator: Estimator = "auto") -> pd.DataFrame:
    """Each offer's own regression on its log price; those whose price never moves are left out.

    Without effects of periods: a price that follows the season is taken for demand's cause. Errors allow for
    correlation over time where there are periods enough for that.
    """
    rows = []
    for (seller, offer), own in table.groupby(["seller", "offer"], sort=True):
        seen = own[(own["units"] > 0) & ~sold_out_rows(own)]
        if seen["price"].nunique() < 2 or len(seen) <= FEWEST_PERIODS:
            continue
        choice: Estimator = "censored" if sold_out_rows(own).any() else "poisson"
        choice = choice if estimator in ("auto", "censored", "arma") else estimator
        kind: Errors = "hac" if own["period"].nunique() >= errors_of.LEAST_PERIODS else "independent"
        try:
            fit = fit_elasticity(own, effects=("product",), estimator=choice, errors=kind, cross=False)
        except (np.linalg.LinAlgError, ValueError, ZeroDivisionError):
            continue
        rows.append((offer, seller, fit.rows, fit.own.value, fit.own.error, *fit.own.interval))
    return pd.DataFrame(rows, columns=["offer", "seller", *_BY])
