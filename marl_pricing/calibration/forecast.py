"""Back-test: the last periods forecast from those before, next to what anybody could do without a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from marl_pricing.calibration.calendar import HOLIDAY
from marl_pricing.calibration.fit import Fit, expected_units, fit_demand
from marl_pricing.calibration.panel import Panel
from marl_pricing.calibration.reading import CalibrationError
from marl_pricing.calibration.settings import CalibrationSettings

_MONTH = 4  # periods of the short season of a naive forecast


@dataclass(frozen=True)
class Backtest:
    """Forecasts of the held-out periods.

    Attributes:
        cells: one row an offer and held-out period: offer, period, price, units, model, naive, seasonal, month
            (forecasts; NaN where a naive one has nothing to repeat).
        scores: one row a forecast: forecast, what, cells, weighted (Σ|error| / Σ units), by_revenue (errors and units
            weighted with each offer's mean price), mean_offer (mean over the offers of their own Σ|error| / Σ units),
            and model: the model's `weighted` over the same cells.
        holdout: periods held out.
    """

    cells: pd.DataFrame
    scores: pd.DataFrame
    holdout: int


def forecast(fit: Fit, table: pd.DataFrame) -> np.ndarray:
    """Median units of rows (offer, period, market, price, cross_price) after the fit's last period; prices are known.

    The level decays from where it was last seen: ρ^h after h periods.
    """
    moves = fit.dynamics
    ahead = table["period"].to_numpy() - fit.last_period
    offers = table["offer"].tolist()
    phase = table["period"].to_numpy() - fit.first_period
    season = moves.season_part(phase, fit.season, table[HOLIDAY].to_numpy() if HOLIDAY in table else 0.0)
    level = moves.filtered.loc[offers].to_numpy() * moves.persistence.value ** np.maximum(ahead - 1, 0)
    parts = fit.price_part(table["price"].to_numpy(), offers, table["cross_price"].to_numpy())
    log_demand = moves.constants.loc[offers].to_numpy() + parts + season + level + fit.promotion_part(table)
    return expected_units(fit, table, log_demand)


def _repeated(wide: pd.DataFrame, periods: np.ndarray, last: int, season: int | None) -> pd.DataFrame:
    """Units of the last period seen (`season` None), or of the last one of the same place in the season."""
    if season is None:
        seen = wide.loc[:last].ffill().iloc[-1]
        return pd.DataFrame({period: seen for period in periods}).T
    back = [period - season * -(-(period - last) // season) for period in periods]
    found = wide.reindex(back)
    found.index = pd.Index(periods)
    return found


def _score(cells: pd.DataFrame, name: str, what: str) -> tuple:
    own = cells.dropna(subset=[name])
    error, model_error = (own[name] - own["units"]).abs(), (own["model"] - own["units"]).abs()
    price = own.groupby("offer")["price"].transform("mean")
    offers = pd.DataFrame({"error": error, "units": own["units"]}).groupby(own["offer"]).sum()
    return (
        name,
        what,
        len(own),
        error.sum() / own["units"].sum(),
        (error * price).sum() / (own["units"] * price).sum(),
        (offers["error"] / offers["units"])[offers["units"] > 0].mean(),
        model_error.sum() / own["units"].sum(),
    )


def backtest(panel: Panel, own: CalibrationSettings) -> Backtest:
    """Fit on all but the last periods, forecast these with the prices that were set, compare.

    Raises:
        CalibrationError: where too little is left to fit on.
    """
    table = panel.rows[~panel.rows["sold_out"]]
    last = int(panel.table["period"].max()) - own.holdout
    before = panel.table[panel.table["period"] <= last]
    if before["period"].nunique() < 3 or before.empty:
        most = table["period"].nunique() - 3
        raise CalibrationError(
            f"holdout={own.holdout}: accepted is less than {most}, so that periods to fit on are left"
        )
    fit = fit_demand(panel.until(last), own)
    known = table["offer"].isin(fit.reference.index)
    held = table[(table["period"] > last) & known].reset_index(drop=True)
    wide = table.pivot(index="period", columns="offer", values="units")
    wide = wide.reindex(range(int(wide.index.min()), int(wide.index.max()) + 1))
    periods = np.unique(held["period"])
    cells = held[["offer", "period", "price", "units"]].assign(model=forecast(fit, held))
    for name, season in (("naive", None), ("seasonal", round(own.season)), ("month", _MONTH)):
        repeated = _repeated(wide, periods, last, season)
        row = repeated.index.get_indexer(pd.Index(held["period"]))
        column = repeated.columns.get_indexer(pd.Index(held["offer"]))
        cells[name] = repeated.to_numpy(float)[row, column]
    told = (
        ("model", "this calibration, prices known"),
        ("naive", "the last units seen, again"),
        ("seasonal", f"units one season of {own.season:g} periods before"),
        ("month", f"units of the same place in the last {_MONTH} periods"),
    )
    rows = [_score(cells, name, what) for name, what in told if cells[name].notna().any()]
    columns = ["forecast", "what", "cells", "weighted", "by_revenue", "mean_offer", "model"]
    return Backtest(cells, pd.DataFrame(rows, columns=columns), own.holdout)
