"""Constant-elasticity demand: units in log price, with effects of products and periods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from linearmodels.iv import IV2SLS
from linearmodels.panel import PanelOLS
from linearmodels.panel.utility import AbsorbingEffectError

from marl_pricing.calibration import standard_errors as errors_of
from marl_pricing.calibration.censored import Censored, fit_censored
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
from marl_pricing.calibration.instruments import Strength, refuse_lagged_prices, strength
from marl_pricing.calibration.linear import Linear, fit_linear, without_effects
from marl_pricing.calibration.panel import sold_out_rows
from marl_pricing.calibration.poisson import Poisson, fit_poisson, that_sold
from marl_pricing.calibration.reading import CalibrationError
from marl_pricing.calibration.single_series import fit_arma
from marl_pricing.calibration.standard_errors import Errors, Estimate

# Counts weigh products by their units: where so few speak for all, or so small a share of them, it is said. Their
# number is 1 / Σ of squared shares of all units.
_FEW_HEARD, _SHARE_HEARD = 1.5, 0.05


@dataclass(frozen=True)
class Elasticity:
    """Elasticities of units in price.

    Attributes:
        own: with the errors that `errors` tells.  iid: the same with errors of independent draws.
        with_cross: (own, cross) where the other offers of the category have a coefficient too; None with its reason in
            `no_cross` where that is not identified.
        controls: coefficients of what stands beside the price.
        instruments: what they are worth; None without them.
        rows, offers: that the estimate rests on.
        estimator, effects: as used.  errors: what they allow for, in words.
        wanted: per row of the table given, expected units wanted (of sold-out rows more than sold; NaN where not told).
        warnings: what makes it less to be trusted, one sentence each.
    """

    own: Estimate
    iid: Estimate
    with_cross: tuple[Estimate, Estimate] | None
    no_cross: str
    instruments: Strength | None
    rows: int
    offers: int
    controls: dict[str, Estimate]
    estimator: Estimator = "loglinear"
    effects: tuple[Effect, ...] = ("product", "period")
    errors: str = ""
    wanted: pd.Series | None = None
    warnings: tuple[str, ...] = ()

    @property
    def first_stage(self) -> float:
        """F of the instruments; NaN without them."""
        return np.nan if self.instruments is None else self.instruments.first_stage


def _not_identified(error: Exception | str) -> CalibrationError:
    return CalibrationError(
        "price: what is left of it after the effects does not vary, so that the elasticity is not identified; accepted "
        f"are fewer effects, or sales in which products' prices move apart ({' '.join(str(error).split())[:120]})"
    )


def _clustered_panel(table: pd.DataFrame, columns: Sequence[str], effects: Sequence[Effect]):
    """Errors clustered by product, linearmodels' (the grocery chain's known answer)."""
    panel = table.set_index(["offer", "period"])
    model = PanelOLS(
        panel["log_units"],
        panel[list(columns)],
        entity_effects="product" in effects,
        time_effects="period" in effects,
    )
    # Effects of products are nested in the clusters and do not count as parameters (Cameron and Miller 2015, III.B).
    clustered = model.fit(
        cov_type="clustered", cluster_entity=True, auto_df=False, count_effects=False, group_debias=True
    )
    return clustered, model.fit(cov_type="unadjusted")


def _clustered_instruments(
    table: pd.DataFrame, columns: Sequence[str], groups: Sequence[str], instruments: Sequence[str]
):
    """Two-stage least squares with errors clustered by product, linearmodels'."""
    names = ["log_units", *columns, *instruments]
    within = pd.DataFrame(without_effects(table, names, groups), columns=names, index=table.index)
    beside = within[list(columns[1:])] if len(columns) > 1 else None
    model = IV2SLS(within["log_units"], beside, within[["log_price"]], within[list(instruments)])
    clusters = pd.Series(pd.factorize(table["offer"])[0], table.index)
    return model.fit(cov_type="clustered", clusters=clusters, debiased=True)


@dataclass(frozen=True)
class _Fitted:
    """Coefficients of one fit: with the errors of their kind, and with those of independent draws."""

    found: dict[str, Estimate]
    plain: dict[str, Estimate]
    rows: int
    wanted: pd.Series | None = None
    heard: pd.Series | None = None  # per product, its share of all units


def _with_errors(
    fit: Poisson | Censored | Linear, rows: pd.DataFrame, kind: Errors, again: Callable[[pd.DataFrame], Any]
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Each coefficient with the error of its kind, and with that of independent draws.

    Args:
        rows: that the fit rests on.  again: fits the same on fewer rows.
    """

    def coefficient(some: pd.DataFrame, name: str) -> float:
        return again(some).coefficients[name]

    found, plain = {}, {}
    for name, value in fit.coefficients.items():
        influence = fit.influences[name]
        if kind == "hac" and not isinstance(fit, Linear) and rows["offer"].nunique() == 1:
            found[name] = errors_of.of_one_series(value, influence, rows)
        else:
            found[name] = errors_of.with_error(value, influence, rows, kind, partial(coefficient, name=name))
        plain[name] = errors_of.with_error(value, influence, rows, "independent")
    return found, plain


def _fit_counts(
    table: pd.DataFrame, columns: Sequence[str], groups: Sequence[str], kind: Errors, censored: bool
) -> _Fitted:
    def fit_again(some: pd.DataFrame) -> Poisson | Censored:
        return (fit_censored if censored else fit_poisson)(that_sold(some, groups), columns, groups)

    rows = that_sold(table, groups)
    fit = fit_again(rows)
    found, plain = _with_errors(fit, rows, kind, fit_again)
    wanted = pd.Series(fit.wanted, rows.index) if isinstance(fit, Censored) else None
    heard = rows.groupby("offer")["units"].sum() / rows["units"].sum()
    return _Fitted(found, plain, len(rows), wanted, heard)


def _fit_logs(
    table: pd.DataFrame,
    columns: Sequence[str],
    effects: Sequence[Effect],
    groups: Sequence[str],
    kind: Errors,
    instruments: Sequence[str],
) -> _Fitted:
    def fit_again(some: pd.DataFrame) -> Linear:
        return fit_linear(some, "log_units", columns, groups, instruments)

    found, plain = _with_errors(fit_again(table), table, kind, fit_again)
    if kind == "product":
        clusters = table["offer"].nunique()
        if instruments:
            own = _clustered_instruments(table, columns, groups, instruments)
        else:
            own, iid = _clustered_panel(table, columns, effects)
            plain = {name: Estimate(float(iid.params[name]), float(iid.std_errors[name])) for name in columns}
        found = {name: Estimate(float(own.params[name]), float(own.std_errors[name]), clusters) for name in columns}
    return _Fitted(found, plain, len(table))


def rows_of(table: pd.DataFrame, estimator: Estimator) -> tuple[pd.DataFrame, list[str]]:
    """The rows that an estimator takes, and what it leaves out in words."""
    out, zero = sold_out_rows(table), table["units"] <= 0
    if estimator == "censored":
        return table.assign(sold_out=out), []
    left = []
    if out.any():
        left.append(
            f"{int(out.sum()):,} rows that sold out are left out, which biases the elasticity towards 0: "
            "form=power with estimator=auto takes them as bounds of demand"
        )
    if estimator == "poisson":
        return table[~out], left
    if (zero & ~out).any():
        left.append(
            f"{int((zero & ~out).sum()):,} rows of 0 units have no logarithm and are left out, which biases the "
            "elasticity towards 0: estimator=poisson counts them"
        )
    return table[~out & ~zero], left


def _fit(
    table: pd.DataFrame,
    columns: Sequence[str],
    effects: Sequence[Effect],
    estimator: Estimator,
    kind: Errors,
    instruments: Sequence[str] = (),
) -> _Fitted:
    groups = group_columns(effects)
    columns = [*columns, *trend_column(effects)]
    table = with_trend(table) if "trend" in effects else table
    if estimator == "arma":
        found = fit_arma(table, columns)
        return _Fitted(found, _fit_logs(table, columns, effects, groups, "independent", ()).plain, len(table))
    if estimator in ("poisson", "censored"):
        return _fit_counts(table, columns, groups, kind, estimator == "censored")
    return _fit_logs(table, columns, effects, groups, kind, instruments)


def _with_cross(
    table: pd.DataFrame, effects: Sequence[Effect], controls: Sequence[str], estimator: Estimator, kind: Errors
) -> tuple[tuple[Estimate, Estimate] | None, str]:
    if table["cross_price"].abs().max() < 1e-10:
        return None, "no category has two products with prices that move"
    if "period" in effects and table["category"].nunique() == 1:
        return None, (
            "in one category the other offers' mean price is the period's effect less the own price; leave out effects "
            "of periods, or bring several categories"
        )
    try:
        found = _fit(table, ["log_price", "cross_price", *controls], effects, estimator, kind).found
    except (AbsorbingEffectError, ValueError) as error:
        return None, " ".join(str(error).split())[:160]
    return (found["log_price"], found["cross_price"]), ""


def fit_elasticity(
    table: pd.DataFrame,
    *,
    effects: Sequence[Effect] | None = None,
    instruments: Sequence[str] = (),
    estimator: Estimator = "auto",
    controls: Sequence[str] = (),
    errors: Errors = "auto",
    cross: bool = True,
) -> Elasticity:
    """One elasticity for all offers of a panel.

    Args:
        table: of `Panel`, `rows` or `table`.
        effects: what has a constant of its own, and a common trend; "product" has to be among them; None chooses.
        instruments: columns that move price and not demand; none takes price as given.
        estimator: `choosing.CALLED` says what each is; auto takes the one that the rows need.
        controls: columns that move demand beside the price.
        errors: what they allow for; auto chooses by the data's shape (`standard_errors.choose_errors`).
        cross: estimate the cross-price elasticity too.

    Raises:
        CalibrationError: where the elasticity is not identified, and for instruments that are none.
    """
    estimator = choose_estimator(table, estimator, instruments)
    rows, warnings = rows_of(table, estimator)
    rows = rows.reset_index(names="place")
    if rows.empty:
        raise _not_identified("no row is left")
    own_effects = choose_effects(rows, effects)
    kind = errors_of.choose_errors(rows, errors)
    if kind == "hac" and estimator in ("poisson", "censored") and rows["offer"].nunique() == 1:
        warnings.append(
            "of one product's counts, 95 % intervals hold the truth in 89 % of markets where demand and prices last "
            "for weeks (docs/calibration.md)"
        )
    controls = [*controls, *holiday_column(rows, own_effects)]
    columns, groups = ["log_price", *controls], group_columns(own_effects)
    worth: Strength | None = None
    try:
        if "instrument_lag" in instruments:
            beside = [*columns, *trend_column(own_effects)]
            refuse_lagged_prices(rows, fit_linear(with_trend(rows), "log_units", beside, groups).residual)
        fitted = _fit(rows, columns, own_effects, estimator, kind, instruments)
        if instruments:
            worth = strength(
                with_trend(rows), "log_units", "log_price", instruments,
                groups=groups, controls=[*controls, *trend_column(own_effects)], kind=kind, names=instruments,
            )  # fmt: skip
    except (AbsorbingEffectError, np.linalg.LinAlgError, ValueError) as error:
        if isinstance(error, CalibrationError) and ":" in str(error):
            raise
        raise _not_identified(error) from None
    if fitted.heard is not None and len(fitted.heard) > 1:
        count = 1.0 / float((fitted.heard**2).sum())
        if count < max(_FEW_HEARD, _SHARE_HEARD * len(fitted.heard)):
            warnings.append(
                f"the elasticity rests on the units of as much as {count:.1f} of {len(fitted.heard)} products, most on "
                f"{fitted.heard.idxmax()}; leave_out its category, or estimator=loglinear, which counts products alike"
            )
    own = fitted.found["log_price"]
    if not np.isfinite(own.error) or own.error <= 0:
        raise _not_identified("its error cannot be computed")
    with_cross, no_cross = (
        _with_cross(rows, own_effects, controls, estimator, kind)
        if cross and not instruments and estimator != "arma"
        else (None, "it is not estimated with instruments, nor of one product")
    )
    wanted = None
    if fitted.wanted is not None:
        wanted = pd.Series(fitted.wanted.to_numpy(), rows["place"].to_numpy()[fitted.wanted.index])
    return Elasticity(
        own=own,
        iid=fitted.plain["log_price"],
        with_cross=with_cross,
        no_cross=no_cross,
        instruments=worth,
        rows=fitted.rows,
        offers=rows["offer"].nunique(),
        controls={name: fitted.found[name] for name in controls},
        estimator=estimator,
        effects=own_effects,
        errors=errors_of.told(kind, rows, estimator in ("poisson", "censored"))
        if estimator != "arma"
        else "a level that lasts and noise, as an ARMA(1, 1)",
        wanted=wanted,
        warnings=tuple(warnings),
    )
