"""One fit: slope in price, season, level and each offer's constant, for one form of demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from marl_pricing.calibration import dynamics, elasticity, logit
from marl_pricing.calibration.choosing import Effect, choose_effects, holiday_column, trend_column, with_trend
from marl_pricing.calibration.elasticity import Elasticity
from marl_pricing.calibration.instruments import Strength, instrument_columns, strength
from marl_pricing.calibration.own import OwnElasticities, draw_towards
from marl_pricing.calibration.panel import Panel, largest_store, stores_of
from marl_pricing.calibration.reading import CalibrationError, names_of
from marl_pricing.calibration.sensitivity import Robustness, robustness
from marl_pricing.calibration.settings import CalibrationSettings
from marl_pricing.calibration.slopes import own_slopes
from marl_pricing.calibration.standard_errors import Errors, Estimate, choose_errors
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
        estimator, effects: of the slope, as used.  errors: what they allow for, in words.
        instruments: what they are worth in the form's own equation; None without them.
        warnings: what makes the slope less to be trusted, one sentence each.
        robustness: how strong an unseen cause would have to be; None with instruments, which are to settle it.
        own: elasticities of single offers (power), where these take the slope's place; None: the slope is everybody's.
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
    estimator: str = "loglinear"
    effects: tuple[str, ...] = ("product",)
    errors: str = ""
    instruments: Strength | None = None
    warnings: tuple[str, ...] = ()
    robustness: Robustness | None = None
    own: OwnElasticities | None = None

    @property
    def as_used(self) -> Estimate:
        """The mean own-price elasticity over the rows, of the form's own demand."""
        if self.own is not None:
            drawn = self.own.draws.to_numpy().mean(1)
            return Estimate(float(drawn.mean()), float(drawn.std()))
        scale = abs(self.mean_elasticity / self.slope.value)
        return Estimate(self.mean_elasticity, scale * self.slope.error, self.slope.clusters, self.slope.critical)

    def slopes_of(self, offers: Sequence[str]) -> np.ndarray:
        """[K] coefficients of price (logit) or elasticities (power) of offers."""
        if self.own is None:
            return np.full(len(offers), self.slope.value)
        return self.own.mean.loc[list(offers)].to_numpy()

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
        own = self.slopes_of(offer) * np.log(price / reference)
        return own + (self.cross.value * cross_price if self.cross else 0.0)


def _controls(table: pd.DataFrame, own: CalibrationSettings) -> list[str]:
    if own.promotion == "ignore":
        return []
    if "promotion" not in table:
        raise CalibrationError("promotion='control': accepted is 'ignore' where the mapping names no such column")
    missing = int(table["promotion"].isna().sum())
    if missing:
        raise CalibrationError(f"promotion='control': accepted is 'ignore' where rows have none, as {missing:,} do")
    return ["promotion"]


def _logit_estimator(panel: Panel, own: CalibrationSettings) -> str:
    """Shares have to be above 0 for an inversion; counts do not, but take neither a nest nor instruments."""
    if own.estimator != "auto":
        return own.estimator
    plain = own.form == "logit" and own.instruments == "none"
    return "poisson" if plain and panel.zero_rows else "loglinear"


def fit_shares(
    panel: Panel, own: CalibrationSettings, sizes: float | pd.Series, controls: Sequence[str]
) -> tuple[logit.Logit, dict[str, Any]]:
    """The logit of the settings, and what is to be told of it (fields of `Fit`)."""
    nested, estimator = own.form == "nested_logit", _logit_estimator(panel, own)
    shares = logit.shares_of(panel.rows, sizes)
    seen = shares[(shares["units"] > 0) & ~shares["sold_out"]]
    table, instruments = instrument_columns(seen, own.instruments)
    effects = choose_effects(table, own.effects, ("product", "trend") if nested else ())
    controls = [*controls, *holiday_column(table, effects)]
    warnings = []
    if panel.sold_out:
        warnings.append(
            f"{panel.sold_out:,} rows that sold out tell no odds and are left out, their units kept in the market's; "
            "what sold out pushed shoppers to is taken for its own demand"
        )
    told: dict[str, Any] = {"estimator": estimator, "effects": effects}
    if estimator == "poisson":
        found = logit.fit_logit_counts(shares, sizes, effects=effects, errors=own.errors, controls=controls)
        return found, told | {"errors": found.errors, "warnings": tuple(warnings)}
    if panel.zero_rows:
        warnings.append(
            f"{panel.zero_rows:,} rows of 0 units have no odds and are left out, which biases the slope towards 0"
            + ("" if nested or instruments else ": estimator=poisson counts them")
        )
    kind: Errors = choose_errors(table, own.errors)
    if (nested or len(instruments) > 1) and kind not in ("product", "independent"):
        if own.errors != "auto":
            where = "form=nested_logit" if nested else "several instruments"
            raise refuse("errors", own.errors, f"auto, product or independent with {where}")
        kind = "product"
    found = logit.fit_logit(
        table, effects=effects, instruments=instruments, nested=nested, controls=controls, errors=kind
    )
    worth = None
    if instruments and not nested:
        groups = [{"product": "offer", "period": "market"}[effect] for effect in effects if effect != "trend"]
        rows = with_trend(table.assign(log_odds=logit.inverted(table))).reset_index(drop=True)
        worth = strength(
            rows, "log_odds", "price", instruments,
            groups=groups, controls=[*controls, *trend_column(effects)], kind=kind, names=instruments,
        )  # fmt: skip
    return found, told | {"errors": found.errors, "instruments": worth, "warnings": tuple(warnings)}


def constant_elasticity(panel: Panel, own: CalibrationSettings, controls: Sequence[str]) -> Elasticity:
    """The constant-elasticity regression, whatever the form."""
    estimator: Any = own.estimator if own.form == "power" else _logit_estimator(panel, own)
    table, instruments = instrument_columns(panel.rows, own.instruments)
    effects: Sequence[Effect] | None = own.effects
    if own.form == "nested_logit":
        effects = choose_effects(table, effects, ("product", "trend"))
    return elasticity.fit_elasticity(
        table, effects=effects, instruments=instruments, estimator=estimator, controls=controls, errors=own.errors
    )


def fit_demand(panel: Panel, own: CalibrationSettings) -> Fit:
    """Fit the form that the settings name.

    Raises:
        CalibrationError: where the slope is not identified.
    """
    controls = _controls(panel.rows, own)
    constant = constant_elasticity(panel, own, controls)
    beside = constant.controls
    store, sizes, of_store = None, None, panel.rows
    if stores_of(panel.rows) > 1:
        store = own.store if own.store is not None else largest_store(panel.rows)
        of_store = panel.rows[panel.rows["store"] == store]
        if of_store.empty:
            there = list(panel.rows["store"].unique())
            raise refuse("store", store, f"one of the file's with sales to estimate from: {names_of(there)}")
    elif own.store is not None and own.store not in set(panel.rows.get("store", [])):
        raise refuse("store", own.store, "null where the sales tell no stores apart (store: in the mapping does)")
    size = own.market_size or logit.market_size(of_store, 1.5)
    if store is not None:
        logit.shares_of(of_store, size)  # refuses a size that is too small
        sizes = logit.market_sizes(panel.rows, size, store)
    cross = nesting = None
    told: dict[str, Any]
    rows = panel.rows
    if own.form == "power":
        slope, mean_elasticity = constant.own, constant.own.value
        if constant.with_cross is not None:
            slope, cross = constant.with_cross
            mean_elasticity = slope.value
        reference = np.exp(rows.groupby("offer")["log_price"].mean())
        log_demand = panel.table["log_units"].to_numpy()
        wanted = rows["units"].where(~rows["sold_out"])
        demand = wanted if constant.wanted is None else constant.wanted.reindex(rows.index).fillna(wanted)
        own_elasticities = fit_own(panel, own, constant)
        if own_elasticities is not None:
            mean_elasticity = float(own_elasticities.mean.loc[rows["offer"].tolist()].mean())
        told = {
            "estimator": constant.estimator, "effects": constant.effects, "errors": constant.errors,
            "instruments": constant.instruments, "warnings": constant.warnings, "own": own_elasticities,
        }  # fmt: skip
    else:
        found, told = fit_shares(panel, own, size if sizes is None else sizes, controls)
        beside = found.controls
        slope, nesting, mean_elasticity = found.price, found.nesting, found.mean_elasticity
        reference = rows.groupby("offer")["price"].mean()
        shares = logit.shares_of(rows, size if sizes is None else sizes)
        seen = shares[(rows["units"] > 0) & ~rows["sold_out"]]
        log_demand = logit.inverted(seen, nesting.value if nesting else 0.0)
        demand = (shares["share"] / shares["outside"]).where(~rows["sold_out"])
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
        usual_promotion=rows.groupby("offer")["promotion"].mean() if controls else None,
        sizes=sizes,
        store=store,
        robustness=robustness(panel.table, constant.effects, controls) if own.instruments == "none" else None,
        **told,
    )

    def parts(table: pd.DataFrame) -> np.ndarray:
        own_part = fit.price_part(table["price"].to_numpy(), table["offer"].tolist(), table["cross_price"].to_numpy())
        return own_part + fit.promotion_part(table)

    # What has no logarithm, or sold out, counts in what offers sell on average.
    bare = rows[(rows["units"] <= 0) | rows["sold_out"]]
    beyond = dynamics.timed(bare).assign(demand=demand.loc[bare.index] / np.exp(parts(bare))).dropna()
    moves = dynamics.fit_dynamics(
        # Less than one season would be drawn on beyond its data.
        panel.table,
        log_demand - parts(panel.table),
        season=own.season,
        harmonics=own.harmonics if whole else 0,
        beyond=beyond,
    )
    return replace(fit, dynamics=moves)


def fit_own(panel: Panel, own: CalibrationSettings, constant: Elasticity) -> OwnElasticities | None:
    """Each offer's elasticity, where the settings and the sales allow it; None where one is everybody's.

    Raises:
        CalibrationError: where `elasticities=own` is asked for and no two offers have one.
    """
    wanted = own.elasticities == "own" or (own.elasticities == "auto" and own.instruments == "none")
    if own.form != "power" or not wanted or own.estimator == "arma":
        return None
    # The others' prices stand beside the own where nothing of their periods does.
    cross = constant.with_cross is not None and "period" not in constant.effects
    table, instruments = instrument_columns(panel.rows, own.instruments)
    measured, _ = own_slopes(table, own.estimator, own.effects, cross, _controls(table, own), instruments)
    if len(measured) < 2:
        if own.elasticities == "own":
            raise CalibrationError(
                f"elasticities='own': accepted is auto or pooled where {len(measured)} of "
                f"{panel.rows['offer'].nunique()} products have a price that moves apart from the effects"
                + (" for the instruments' reasons" if instruments else "")
            )
        return None
    return draw_towards(panel, measured)


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
