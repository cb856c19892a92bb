"""One fit: slope in price, season, level and each offer's constant, for one form of demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from marl_pricing.calibration import dynamics, elasticity, logit
from marl_pricing.calibration.elasticity import Elasticity, Estimate
from marl_pricing.calibration.panel import Panel, largest_store, stores_of
from marl_pricing.calibration.reading import CalibrationError, names_of
from marl_pricing.calibration.settings import CalibrationSettings
from marl_pricing.config.errors import refuse


@dataclass(frozen=True)
class Fit:
    """Demand as estimated.

    Attributes:
        form: logit, nested_logit or power.
        slope: coefficient of price (logit) or own-price elasticity (power).
        cross, nesting: cross-price elasticity (power) and ρ (nested_logit), where there are such.
        mean_elasticity: mean own-price elasticity over the rows.
        elasticity: the constant-elasticity regression of the same panel, whatever the form.
        size: shoppers a period; of several stores those of `store`.
        sizes: shoppers a period by store; None where the sales tell no stores apart.
        store: of the market that is made; None likewise.
        season: periods of a season.
        dynamics: season, persistence, volatility and constants.
        reference: per offer, the price that its constant is told at: mean price, or geometric mean for power.
        promotion: coefficient of the promotion, where it stands beside the price; usual_promotion: its mean, per offer.
        first_period: number of the period that the season is counted from.
        last_period: number of the last period of the data.
    """

    form: str
    slope: Estimate
    cross: Estimate | None
    nesting: Estimate | None
    mean_elasticity: float
    elasticity: Elasticity
    size: float
    season: float
    dynamics: dynamics.Dynamics
    reference: pd.Series
    first_period: int
    last_period: int
    promotion: Estimate | None = None
    usual_promotion: pd.Series | None = None
    sizes: pd.Series | None = None
    store: str | None = None

    def promotion_part(self, table: pd.DataFrame) -> np.ndarray:
        """What a row's promotion adds to log demand beside its price, 0 at its offer's usual one."""
        if self.promotion is None or self.usual_promotion is None:
            return np.zeros(len(table))
        usual = self.usual_promotion.loc[table["offer"].tolist()].to_numpy()
        return self.promotion.value * (table["promotion"].to_numpy() - usual)

    def price_part(self, price: np.ndarray, offer: Sequence[str], cross_price: np.ndarray) -> np.ndarray:
        """What prices add to log demand, 0 at the reference prices."""
        reference = self.reference.loc[list(offer)].to_numpy()
        if self.form != "power":
            return self.slope.value * (price - reference)
        own = self.slope.value * np.log(price / reference)
        return own + (self.cross.value * cross_price if self.cross else 0.0)


def instrument_columns(table: pd.DataFrame, choice: str) -> tuple[pd.DataFrame, list[str]]:
    """The rows that have the instruments, and the columns of these.

    Raises:
        CalibrationError: where the file has no such column.
    """
    if choice == "none":
        return table, []
    if choice == "lagged_price":
        ordered = table.sort_values(["offer", "period"])
        before = ordered.groupby("offer")[["log_price", "price", "period"]].shift(1)
        lagged = ordered.assign(instrument_lag=before["log_price"])
        return lagged[before["period"].eq(ordered["period"] - 1)], ["instrument_lag"]
    names = ["cost"] if choice == "cost" else [name for name in table.columns if name.startswith("instrument")]
    if not names or not set(names) <= set(table.columns):
        raise CalibrationError(
            f"instruments={choice!r}: the mapping names no such column; accepted is none or lagged_price"
        )
    kept = table.dropna(subset=names)
    if kept.empty:
        raise CalibrationError(f"instruments={choice!r}: the column {names[0]!r} has no number in any row")
    return kept, names


def _controls(table: pd.DataFrame, own: CalibrationSettings) -> list[str]:
    if own.promotion == "ignore":
        return []
    if "promotion" not in table:
        raise CalibrationError("promotion='control': accepted is 'ignore' where the mapping names no such column")
    missing = int(table["promotion"].isna().sum())
    if missing:
        raise CalibrationError(f"promotion='control': accepted is 'ignore' where rows have none, as {missing:,} do")
    return ["promotion"]


def fit_demand(panel: Panel, own: CalibrationSettings) -> Fit:
    """Fit the form that the settings name.

    Raises:
        CalibrationError: where the slope is not identified.
    """
    controls = _controls(panel.table, own)
    table, instruments = instrument_columns(panel.table, own.instruments)
    constant = elasticity.fit_elasticity(
        table, effects=own.effects, instruments=instruments, estimator=own.estimator, controls=controls
    )
    beside = constant.controls
    store, sizes, of_store = None, None, panel.table
    if stores_of(panel.table) > 1:
        store = own.store if own.store is not None else largest_store(panel.table)
        of_store = panel.table[panel.table["store"] == store]
        if of_store.empty:
            there = list(panel.table["store"].unique())
            raise refuse("store", store, f"one of the file's with sales to estimate from: {names_of(there)}")
    elif own.store is not None and own.store not in set(panel.table.get("store", [])):
        raise refuse("store", own.store, "null where the sales tell no stores apart (store: in the mapping does)")
    size = own.market_size or logit.market_size(of_store, 1.5)
    if store is not None:
        logit.shares_of(of_store, size)  # refuses a size that is too small
        sizes = logit.market_sizes(panel.table, size, store)
    cross = nesting = None
    if own.form == "power":
        slope, mean_elasticity = constant.own, constant.own.value
        if constant.with_cross is not None and not instruments and own.estimator == "loglinear":
            slope, cross = constant.with_cross
            mean_elasticity = slope.value
        reference = np.exp(panel.table.groupby("offer")["log_price"].mean())
        log_demand = panel.table["log_units"].to_numpy()
    else:
        shares = logit.shares_of(panel.table, size if sizes is None else sizes)
        with_instruments = shares.loc[table.index].assign(**{name: table[name] for name in instruments})
        found = logit.fit_logit(
            with_instruments,
            effects=own.effects,
            instruments=instruments,
            nested=own.form == "nested_logit",
            controls=controls,
        )
        beside = found.controls
        slope, nesting, mean_elasticity = found.price, found.nesting, found.mean_elasticity
        reference = panel.table.groupby("offer")["price"].mean()
        log_demand = logit.inverted(shares, nesting.value if nesting else 0.0)
    first, last = int(panel.table["period"].min()), int(panel.table["period"].max())
    whole = last - first + 1 >= own.season
    fit = Fit(
        form=own.form,
        slope=slope,
        cross=cross,
        nesting=nesting,
        mean_elasticity=mean_elasticity,
        elasticity=constant,
        size=size,
        season=own.season,
        dynamics=None,  # type: ignore[arg-type]
        reference=reference,
        first_period=first,
        last_period=last,
        promotion=beside.get("promotion"),
        usual_promotion=panel.table.groupby("offer")["promotion"].mean() if controls else None,
        sizes=sizes,
        store=store,
    )
    price_part = fit.price_part(
        panel.table["price"].to_numpy(), panel.table["offer"].tolist(), panel.table["cross_price"].to_numpy()
    )
    moves = dynamics.fit_dynamics(
        # Less than one season would be drawn on beyond its data.
        panel.table,
        log_demand - price_part - fit.promotion_part(panel.table),
        season=own.season,
        harmonics=own.harmonics if whole else 0,
    )
    return replace(fit, dynamics=moves)


def expected_units(fit: Fit, table: pd.DataFrame, log_demand: np.ndarray) -> np.ndarray:
    """Units of rows (market, and of several stores store) whose log demand (power) or δ (logit) is given.

    The rows of a market, a period of a store, compete.
    """
    if fit.form == "power":
        return np.exp(log_demand)
    rho = fit.nesting.value if fit.nesting else 0.0
    units = np.empty(len(log_demand))
    sizes = np.full(len(table), fit.size)
    if fit.sizes is not None:
        sizes = fit.sizes.loc[table["store"].tolist()].to_numpy()
    markets = table["market"].to_numpy()
    for rows in pd.Series(np.arange(len(markets))).groupby(markets, sort=False).indices.values():
        units[rows] = sizes[rows] * shares_at(log_demand[rows], rho)
    return units


def shares_at(delta: np.ndarray, nesting: float) -> np.ndarray:
    """Shares [N] of offers in one nest from their mean utilities δ [N] (Berry 1994, eq. 27)."""
    within = delta / (1.0 - nesting)
    inclusive = logsumexp(within)
    return np.exp(within - inclusive) / (1.0 + np.exp(-(1.0 - nesting) * inclusive))
