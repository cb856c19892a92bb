"""Logit and nested logit demand from market shares (Berry 1994), by pyblp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyblp

from marl_pricing.calibration.elasticity import Effect, Estimate
from marl_pricing.calibration.reading import CalibrationError

_ABSORB = {"product": "C(product_ids)", "period": "C(market_ids)"}


@dataclass(frozen=True)
class Logit:
    """A logit of shares.

    Attributes:
        price: coefficient of price, −1/μ.
        nesting: ρ of one nest of all offers; None for the plain logit.
        elasticities: per row, own-price elasticity of the share.
        controls: coefficients of what stands beside the price.
    """

    price: Estimate
    nesting: Estimate | None
    elasticities: np.ndarray
    controls: dict[str, Estimate]

    @property
    def mean_elasticity(self) -> float:
        """Mean over the rows."""
        return float(self.elasticities.mean())


def markets_of(table: pd.DataFrame) -> pd.Series:
    """Where offers compete: the period, or of several stores a period of one (`Panel.table`)."""
    return table["market"] if "market" in table else table["period"]


def market_size(table: pd.DataFrame, factor: float) -> float:
    """Shoppers a period: `factor` times the units of the busiest one, so that somebody always buys nothing."""
    return factor * float(table.groupby("period")["units"].sum().max())


def market_sizes(table: pd.DataFrame, size: float, store: str) -> pd.Series:
    """Shoppers a period of each store, from those of one store: as many more as its busiest period sold more units."""
    busiest = table.groupby(["store", "period"])["units"].sum().groupby("store").max()
    return size * busiest / busiest[store]


def shares_of(table: pd.DataFrame, size: float | pd.Series) -> pd.DataFrame:
    """The table with `share`, units over the market's size, per period.

    Args:
        size: shoppers a period, or by store (`market_sizes`).

    Raises:
        CalibrationError: where the size is too small for the units sold.
    """
    if isinstance(size, pd.Series):
        return table.assign(share=table["units"] / size.loc[table["store"].tolist()].to_numpy())
    busiest = float(table.groupby("period")["units"].sum().max())
    if busiest >= size:
        raise CalibrationError(f"market_size={size:g}: accepted is more than the busiest period's units, {busiest:g}")
    return table.assign(share=table["units"] / size)


def _formulation(columns: str, effects: Sequence[Effect]) -> pyblp.Formulation:
    absorb = " + ".join(_ABSORB[effect] for effect in effects)
    return pyblp.Formulation(columns, absorb=absorb) if absorb else pyblp.Formulation(columns)


def fit_logit(
    table: pd.DataFrame,
    *,
    effects: Sequence[Effect] = ("product",),
    instruments: Sequence[str] = (),
    nested: bool = False,
    clustered: bool = True,
    controls: Sequence[str] = (),
) -> Logit:
    """Fit log share − log outside share = constants + coefficient · price (+ ρ log share within the nest) + ξ.

    Args:
        table: offer, seller, period, of several stores market, share, price, and the instruments; any order.
        effects: what has a constant of its own; "period" is one a market here.
        instruments: excluded columns that move price and not ξ; none takes price as given.
        nested: all offers are in one nest; its instruments are the number of offers in a period and, where
            prices are taken as given, the others' mean price.
        clustered: errors by offer; otherwise robust ones.
        controls: columns that move utility beside the price.

    Raises:
        CalibrationError: where the coefficient is not identified.
    """
    pyblp.options.verbose = False
    pyblp.options.verbose_output = lambda *_: None  # what it warns of comes with its error
    data = {
        "market_ids": markets_of(table).to_numpy(),
        "product_ids": pd.factorize(table["offer"])[0],
        "firm_ids": pd.factorize(table["seller"])[0],
        "shares": table["share"].to_numpy(float),
        "prices": table["price"].to_numpy(float),
    }
    excluded = [table[name].to_numpy(float) for name in instruments] or [table["price"].to_numpy(float)]
    if nested:
        market = table.groupby(markets_of(table))["price"]
        count = market.transform("size").to_numpy(float)
        if not instruments:  # prices are taken as given, so the others' are too
            excluded.append((market.transform("sum") - table["price"]).to_numpy(float) / np.maximum(count - 1, 1))
        elif effects and np.ptp(count) == 0:
            raise CalibrationError(
                "form='nested_logit': every period has the same number of offers, so that nothing moves the share "
                "within the nest apart from demand; accepted is form=logit"
            )
        data["nesting_ids"] = np.ones(len(table))
        if np.ptp(count) > 0 or not effects:
            excluded.append(count)
    data |= {f"demand_instruments{number}": values for number, values in enumerate(excluded)}
    data |= {name: table[name].to_numpy(float) for name in controls}
    offers = int(data["product_ids"].max()) + 1
    clustered = clustered and offers > 1
    if clustered:
        data["clustering_ids"] = data["product_ids"]
    try:
        problem = pyblp.Problem(_formulation(" + ".join(["0 + prices", *controls]), effects), pd.DataFrame(data))
        result = problem.solve(
            **({"rho": 0.5} if nested else {}),
            method="2s" if len(excluded) > 1 + nested else "1s",
            se_type="clustered" if clustered else "robust",
        )
    except (ValueError, np.linalg.LinAlgError, pyblp.exceptions.MultipleErrors) as error:
        raise CalibrationError(
            "price: its coefficient is not identified in shares with these effects and instruments "
            f"({' '.join(str(error).split())[:160]})"
        ) from None
    # Few clusters understate the error; the usual factor of G/(G - 1) on the variance.
    scale = np.sqrt(offers / (offers - 1)) if clustered else 1.0
    clusters = offers if clustered else 1
    at = [str(label) for label in result.beta_labels].index("prices")
    price = Estimate(float(result.beta[at, 0]), float(scale * result.beta_se[at, 0]), clusters)
    nesting = Estimate(float(result.rho[0, 0]), float(scale * result.rho_se[0, 0]), clusters) if nested else None
    if not np.isfinite(price.error) or price.error <= 0:
        raise CalibrationError("price: never moves within the effects, so that its coefficient is not identified")
    own = np.empty(len(table))
    order = pd.Series(np.arange(len(table))).groupby(data["market_ids"], sort=False).indices
    for period, rows in order.items():
        matrix = result.compute_elasticities(market_id=period)
        own[rows] = np.diag(matrix[:, : len(rows)])
    # pyblp puts what is exogenous first.
    labels = [str(label) for label in result.beta_labels]
    beside = {
        name: Estimate(
            float(result.beta[labels.index(name), 0]), float(scale * result.beta_se[labels.index(name), 0]), clusters
        )
        for name in controls
    }
    return Logit(price, nesting, own, beside)


def inverted(table: pd.DataFrame, nesting: float = 0.0) -> np.ndarray:
    """Mean utilities δ [rows] behind the shares: log s − log s_0 − ρ log of the share within the nest (Berry 1994)."""
    share = table["share"].to_numpy(float)
    inside = table.groupby(markets_of(table))["share"].transform("sum").to_numpy(float)
    return np.log(share) - np.log1p(-inside) - nesting * np.log(share / inside)
