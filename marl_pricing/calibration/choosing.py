"""Which estimator and which effects, where the settings leave it open: by the shape of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from marl_pricing.calibration.calendar import HOLIDAY
from marl_pricing.calibration.linear import without_effects
from marl_pricing.calibration.mapping import CalibrationError
from marl_pricing.calibration.panel import FEWEST_PERIODS, sold_out_rows
from marl_pricing.calibration.single_series import LEAST_PERIODS

Effect = Literal["product", "period", "trend"]
Estimator = Literal["auto", "poisson", "censored", "loglinear", "arma"]
# Share of the price's movement within products that effects of periods or a trend have to leave.
_LEFT = 0.02
# Products from which on effects of periods leave the own price alone: with J of them they take 1 / (J - 1) of a cross
# effect for the price's own.
_SEVERAL = 5
_GROUPS = {"product": "offer", "period": "period"}

CALLED = {
    "poisson": "Poisson pseudo maximum likelihood, rows of 0 units counted",
    "censored": "negative-binomial counts, sold-out rows as censored",
    "loglinear": "least squares of log units",
    "arma": "log units with ARMA(1, 1) errors, maximum likelihood",
}


def choose_effects(
    table: pd.DataFrame, wanted: Sequence[Effect] | None, most: Sequence[Effect] = ()
) -> tuple[Effect, ...]:
    """The effects as asked for, or products and periods where these leave the price, else products and a trend.

    Args:
        most: effects that auto may take; empty: all.
    """
    if wanted is not None:
        return tuple(wanted)
    within = without_effects(table, ["log_price"], ["offer"]).var()
    if within <= 0:
        return ("product",)
    if table["offer"].nunique() >= _SEVERAL and "period" in (most or ("period",)):
        left = without_effects(table, ["log_price"], ["offer", "period"]).var()
        if left > _LEFT * within:
            return ("product", "period")
    time = with_trend(table)
    rest = without_effects(time, ["log_price", "trend"], ["offer"])
    explained = float(rest[:, 0] @ rest[:, 1]) ** 2 / max(float(rest[:, 1] @ rest[:, 1]), 1e-300)
    left = 1.0 - explained / float(rest[:, 0] @ rest[:, 0])
    enough = table.groupby("offer")["period"].nunique().median() > FEWEST_PERIODS + 3
    return ("product", "trend") if enough and left > _LEFT else ("product",)


def with_trend(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `trend`, periods from the middle of the data over their number."""
    period = table["period"].to_numpy(float)
    return table.assign(trend=(period - period.mean()) / max(np.ptp(period), 1.0))


def group_columns(effects: Sequence[str]) -> list[str]:
    """The columns whose values have a constant each under some effects."""
    return [_GROUPS[effect] for effect in effects if effect in _GROUPS]


def trend_column(effects: Sequence[str]) -> list[str]:
    """The column that a trend among the effects adds to a regression (`with_trend`)."""
    return ["trend"] if "trend" in effects else []


def holiday_column(table: pd.DataFrame, effects: Sequence[str]) -> list[str]:
    """The column of holidays, where the sales have one that effects of periods do not hold already."""
    if HOLIDAY not in table or "period" in effects:
        return []
    return [HOLIDAY] if table.groupby("offer")[HOLIDAY].nunique().max() > 1 else []


def choose_estimator(table: pd.DataFrame, wanted: Estimator, instruments: Sequence[str]) -> Estimator:
    """The estimator as asked for, or that which the rows need.

    Raises:
        CalibrationError: for one that the rows do not allow.
    """
    offers, out = table["offer"].nunique(), bool(sold_out_rows(table).any())
    if wanted == "auto":
        if instruments:
            return "loglinear"
        if out:
            return "censored"
        plain = offers == 1 and bool((table["units"] > 0).all()) and table["period"].nunique() >= LEAST_PERIODS
        return "arma" if plain else "poisson"
    if wanted == "censored" and not out:
        raise CalibrationError(
            "estimator='censored': accepted is auto, poisson or loglinear where no row sold all of its stock"
        )
    if wanted == "arma" and offers > 1:
        raise CalibrationError(f"estimator='arma': accepted is auto, poisson or loglinear with {offers} products")
    return wanted
