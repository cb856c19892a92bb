"""Constant-elasticity demand: log units on log price, with effects of products and periods, by linearmodels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyhdfe
import statsmodels.api as sm
from linearmodels.iv import IV2SLS
from linearmodels.panel import PanelOLS
from linearmodels.panel.utility import AbsorbingEffectError
from scipy import stats

from marl_pricing.calibration.panel import FEWEST_PERIODS
from marl_pricing.calibration.reading import CalibrationError

Effect = Literal["product", "period"]
Estimator = Literal["loglinear", "poisson"]
_GROUPS = {"product": "offer", "period": "period"}


@dataclass(frozen=True)
class Estimate:
    """A number with its error.

    Attributes:
        error: standard error.
        clusters: groups that the error allows correlation within (one: none was allowed for); intervals are those of
            Student's t with one degree of freedom less.
    """

    value: float
    error: float
    clusters: int = 1

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval."""
        reach = self.error * (stats.t.ppf(0.975, self.clusters - 1) if self.clusters > 1 else stats.norm.ppf(0.975))
        return self.value - float(reach), self.value + float(reach)


@dataclass(frozen=True)
class Elasticity:
    """Elasticities of units in price.

    Attributes:
        own: clustered by offer.  iid: the same with errors of equal and independent draws.
        with_cross: (own, cross) where the other offers of the category have a coefficient too; None with its reason in
            `no_cross` where that is not identified.
        controls: coefficients of what stands beside the price.
        first_stage: F of the instruments; NaN without them.
        rows, offers: that the estimate rests on.
    """

    own: Estimate
    iid: Estimate
    with_cross: tuple[Estimate, Estimate] | None
    no_cross: str
    first_stage: float
    rows: int
    offers: int
    controls: dict[str, Estimate]


def _not_identified(error: Exception | str) -> CalibrationError:
    return CalibrationError(
        "price: what is left of it after the effects does not vary, so that the elasticity is not identified; accepted "
        f"are fewer effects, or sales in which products' prices move apart ({' '.join(str(error).split())[:120]})"
    )


def _panel_fit(table: pd.DataFrame, columns: Sequence[str], effects: Sequence[Effect], iid: bool = False):
    panel = table.set_index(["offer", "period"])
    model = PanelOLS(
        panel["log_units"],
        panel[list(columns)],
        entity_effects="product" in effects,
        time_effects="period" in effects,
    )
    if iid or table["offer"].nunique() < 2:
        return model.fit(cov_type="unadjusted" if iid else "robust")
    # Effects of products are nested in the clusters and do not count as parameters (Cameron and Miller 2015, III.B).
    return model.fit(cov_type="clustered", cluster_entity=True, auto_df=False, count_effects=False, group_debias=True)


def _estimate(fit, name: str, table: pd.DataFrame, clustered: bool = True) -> Estimate:
    clusters = table["offer"].nunique() if clustered else 1
    return Estimate(float(fit.params[name]), float(fit.std_errors[name]), clusters)


def _through_instruments(
    table: pd.DataFrame, effects: Sequence[Effect], instruments: Sequence[str], controls: Sequence[str]
) -> tuple[Estimate, Estimate, float, dict[str, Estimate]]:
    """(clustered, iid, first-stage F, controls) of two-stage least squares after the effects are partialled out."""
    columns = ["log_units", "log_price", *instruments, *controls]
    # Each offer and period of its own has to be seen twice, else its row says nothing and is dropped by its effect.
    ids = np.column_stack([pd.factorize(table[_GROUPS[effect]])[0] for effect in effects])
    within = pd.DataFrame(
        pyhdfe.create(ids, drop_singletons=False).residualize(table[columns].to_numpy(float)),
        columns=columns,
        index=table.index,
    )
    if within["log_price"].std() < 1e-10 or within[list(instruments)].std().min() < 1e-10:
        raise _not_identified("an instrument or the price is explained by the effects alone")
    beside = within[list(controls)] if controls else None
    model = IV2SLS(within["log_units"], beside, within[["log_price"]], within[list(instruments)])
    clusters = pd.Series(pd.factorize(table["offer"])[0], table.index)
    fit = model.fit(cov_type="clustered", clusters=clusters, debiased=True)
    plain = model.fit(cov_type="unadjusted", debiased=True)
    used = sum(table[_GROUPS[effect]].nunique() for effect in effects) - len(effects) + 1
    lost = np.sqrt((len(table) - 1) / max(len(table) - 1 - used, 1))
    first = float(fit.first_stage.diagnostics["f.stat"].iloc[0])  # type: ignore[attr-defined]
    own = _estimate(fit, "log_price", table)
    iid = Estimate(float(plain.params["log_price"]), float(plain.std_errors["log_price"] * lost))
    return own, iid, first, {name: _estimate(fit, name, table) for name in controls}


def _poisson(
    table: pd.DataFrame, effects: Sequence[Effect], controls: Sequence[str]
) -> tuple[Estimate, Estimate, dict[str, Estimate]]:
    """Poisson pseudo maximum likelihood (Santos Silva and Tenreyro 2006): units themselves, so counts need no log."""
    parts = [
        pd.get_dummies(table[_GROUPS[effect]], dtype=float, drop_first=number > 0)
        for number, effect in enumerate(effects)
    ]
    beside = [table[name] for name in controls]
    design = np.column_stack([table["log_price"], *beside, *(part.to_numpy() for part in parts)])
    model = sm.GLM(table["units"].to_numpy(), design, family=sm.families.Poisson())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = model.fit(cov_type="cluster", cov_kwds={"groups": pd.factorize(table["offer"])[0]})
        except (np.linalg.LinAlgError, sm.tools.sm_exceptions.PerfectSeparationError) as error:
            raise _not_identified(error) from None
        plain = model.fit(scale="X2")
    clusters = table["offer"].nunique()
    own = Estimate(float(fit.params[0]), float(fit.bse[0]), clusters)
    found = {
        name: Estimate(float(fit.params[number]), float(fit.bse[number]), clusters)
        for number, name in enumerate(controls, 1)
    }
    return own, Estimate(float(plain.params[0]), float(plain.bse[0])), found


def _with_cross(
    table: pd.DataFrame, effects: Sequence[Effect], controls: Sequence[str]
) -> tuple[tuple[Estimate, Estimate] | None, str]:
    if table["cross_price"].abs().max() < 1e-10:
        return None, "no category has two products with prices that move"
    if "period" in effects and table["category"].nunique() == 1:
        return None, (
            "in one category the other offers' mean price is the period's effect less the own price; leave out effects "
            "of periods, or bring several categories"
        )
    try:
        fit = _panel_fit(table, ["log_price", "cross_price", *controls], effects)
    except (AbsorbingEffectError, ValueError) as error:
        return None, " ".join(str(error).split())[:160]
    return (_estimate(fit, "log_price", table), _estimate(fit, "cross_price", table)), ""


def fit_elasticity(
    table: pd.DataFrame,
    *,
    effects: Sequence[Effect] = ("product", "period"),
    instruments: Sequence[str] = (),
    estimator: Estimator = "loglinear",
    controls: Sequence[str] = (),
) -> Elasticity:
    """One elasticity for all offers of a panel.

    Args:
        table: of `Panel`.
        effects: what has a constant of its own; "product" has to be among them.
        instruments: columns that move price and not demand; none takes price as given (`loglinear` only).
        estimator: least squares of log units, or Poisson pseudo maximum likelihood of units.
        controls: columns that move demand beside the price.

    Raises:
        CalibrationError: where the elasticity is not identified.
    """
    first_stage = np.nan
    columns = ["log_price", *controls]
    try:
        if instruments:
            own, iid, first_stage, beside = _through_instruments(table, effects, instruments, controls)
        elif estimator == "poisson":
            own, iid, beside = _poisson(table, effects, controls)
        else:
            fit = _panel_fit(table, columns, effects)
            own, beside = _estimate(fit, "log_price", table), {name: _estimate(fit, name, table) for name in controls}
            iid = _estimate(_panel_fit(table, columns, effects, iid=True), "log_price", table, clustered=False)
    except (AbsorbingEffectError, np.linalg.LinAlgError, ValueError) as error:
        if isinstance(error, CalibrationError):
            raise
        raise _not_identified(error) from None
    if not np.isfinite(own.error) or own.error <= 0:
        raise _not_identified("its error cannot be computed")
    with_cross, no_cross = _with_cross(table, effects, controls)
    return Elasticity(own, iid, with_cross, no_cross, first_stage, len(table), table["offer"].nunique(), beside)


def by_category(table: pd.DataFrame, effects: Sequence[Effect]) -> pd.DataFrame:
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
            fit = _panel_fit(own, ["log_price"], effects)
        except (AbsorbingEffectError, np.linalg.LinAlgError, ValueError, ZeroDivisionError):
            continue
        found = _estimate(fit, "log_price", own)
        if np.isfinite(found.error) and found.error > 0:
            rows.append((category, offers, len(own), found.value, found.error, *found.interval))
    return pd.DataFrame(rows, columns=["category", "offers", "rows", "elasticity", "error", "low", "high"])


def by_offer(table: pd.DataFrame) -> pd.DataFrame:
    """Each offer's own regression of log units on log price, robust errors; those whose price never moves are left out.

    Without effects of periods: a price that follows the season is taken for demand's cause.
    """
    rows = []
    for (seller, offer), own in table.groupby(["seller", "offer"], sort=True):
        if own["price"].nunique() < 2 or len(own) <= FEWEST_PERIODS:
            continue
        fit = sm.OLS(own["log_units"].to_numpy(), sm.add_constant(own["log_price"].to_numpy())).fit(cov_type="HC1")
        found = Estimate(float(fit.params[1]), float(fit.bse[1]))
        rows.append((offer, seller, len(own), found.value, found.error, *found.interval))
    return pd.DataFrame(rows, columns=["offer", "seller", "rows", "elasticity", "error", "low", "high"])
