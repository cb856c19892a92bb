"""Logit and nested logit demand from market shares (Berry 1994), by pyblp; logit from counts, where shares are 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyblp

from marl_pricing.calibration import standard_errors as errors_of
from marl_pricing.calibration.choosing import Effect, with_trend
from marl_pricing.calibration.linear import fit_linear
from marl_pricing.calibration.panel import sold_out_rows
from marl_pricing.calibration.poisson import fit_poisson
from marl_pricing.calibration.reading import CalibrationError
from marl_pricing.calibration.standard_errors import Errors, Estimate, Influence

_ABSORB = {"product": "C(product_ids)", "period": "C(market_ids)"}


@dataclass(frozen=True)
class Logit:
    """A logit of shares.

    Attributes:
        price: coefficient of price, −1/μ.
        nesting: ρ of one nest of all offers; None for the plain logit.
        elasticities: per row, own-price elasticity of the share.
        controls: coefficients of what stands beside the price.
        errors: what they allow for, in words.
    """

    price: Estimate
    nesting: Estimate | None
    elasticities: np.ndarray
    controls: dict[str, Estimate]
    errors: str = ""

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
    """The table with `share`, units over the market's size, and `outside`, what all rows of a market leave.

    Rows that sold out or sold nothing belong to it: what they sold, nobody bought elsewhere.

    Args:
        size: shoppers a period, or by store (`market_sizes`).

    Raises:
        CalibrationError: where the size is too small for the units sold.
    """
    if isinstance(size, pd.Series):
        return _with_outside(table.assign(share=table["units"] / size.loc[table["store"].tolist()].to_numpy()))
    busiest = float(table.groupby("period")["units"].sum().max())
    if busiest >= size:
        raise CalibrationError(f"market_size={size:g}: accepted is more than the busiest period's units, {busiest:g}")
    return _with_outside(table.assign(share=table["units"] / size))


def _with_outside(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(outside=1.0 - table.groupby(markets_of(table))["share"].transform("sum"))


def _formulation(columns: str, effects: Sequence[Effect]) -> pyblp.Formulation:
    absorb = " + ".join(_ABSORB[effect] for effect in effects if effect in _ABSORB)
    return pyblp.Formulation(columns, absorb=absorb) if absorb else pyblp.Formulation(columns)


def fit_logit(
    table: pd.DataFrame,
    *,
    effects: Sequence[Effect] = ("product",),
    instruments: Sequence[str] = (),
    nested: bool = False,
    errors: Errors = "product",
    controls: Sequence[str] = (),
) -> Logit:
    """Fit log share − log outside share = constants + coefficient · price (+ ρ log share within the nest) + ξ.

    Args:
        table: offer, seller, period, of several stores market, share (above 0), price, and the instruments; any order.
            Where `outside` tells what all of a market leave, rows may be missing from it.
        effects: what has a constant of its own; "period" is one a market here.
        instruments: excluded columns that move price and not ξ; none takes price as given.
        nested: all offers are in one nest; its instruments are the number of offers in a period and, where
            prices are taken as given, the others' mean price.
        errors: "product" is pyblp's, clustered by offer; "independent" its robust ones; others only for a plain logit
            that has as many instruments as prices.
        controls: columns that move utility beside the price.

    Raises:
        CalibrationError: where the coefficient is not identified.
    """
    if "trend" in effects:
        table, controls = with_trend(table), [*controls, "trend"]
    pyblp.options.verbose = False
    pyblp.options.verbose_output = lambda *_: None  # what it warns of comes with its error
    data = {
        "market_ids": markets_of(table).to_numpy(),
        "product_ids": pd.factorize(table["offer"])[0],
        "firm_ids": pd.factorize(table["seller"])[0],
        "shares": _shares_alone(table),
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
    clustered = errors != "independent" and offers > 1
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
    if "outside" in table and np.any(data["shares"] != table["share"].to_numpy(float)):
        own = price.value * table["price"].to_numpy() * (1.0 - table["share"].to_numpy()) if not nested else own
    told = errors_of.told("product" if clustered else "independent", table)
    if errors not in ("product", "independent"):
        price, beside = _other_errors(table, effects, instruments, controls, errors)
        told = errors_of.told(errors, table)
    beside.pop("trend", None)
    return Logit(price, nesting, own, beside, told)


def _shares_alone(table: pd.DataFrame) -> np.ndarray:
    """Shares as of those that bought nothing of what is missing here, so that each row's odds stay what they are."""
    share = table["share"].to_numpy(float)
    if "outside" not in table:
        return share
    inside = table.groupby(markets_of(table))["share"].transform("sum").to_numpy(float)
    missing = 1.0 - table["outside"].to_numpy(float) - inside
    return share / (1.0 - np.where(missing > 1e-12, missing, 0.0))


def _groups(effects: Sequence[Effect]) -> list[str]:
    return [{"product": "offer", "period": "berry_market"}[effect] for effect in effects if effect != "trend"]


def _other_errors(
    table: pd.DataFrame, effects: Sequence[Effect], instruments: Sequence[str], controls: Sequence[str], kind: Errors
) -> tuple[Estimate, dict[str, Estimate]]:
    """(price, controls) of the same linear equation, with errors of another kind than pyblp's."""
    rows = table.assign(log_odds=inverted(table), berry_market=markets_of(table)).reset_index(drop=True)
    columns, groups = ["price", *controls], _groups(effects)
    fit = fit_linear(rows, "log_odds", columns, groups, instruments)

    def again(name: str):
        return lambda some: fit_linear(some, "log_odds", columns, groups, instruments).coefficients[name]

    found = {
        name: errors_of.with_error(fit.coefficients[name], fit.influences[name], rows, kind, again(name))
        for name in columns
    }
    return found.pop("price"), found


def fit_logit_counts(
    table: pd.DataFrame,
    sizes: float | pd.Series,
    *,
    effects: Sequence[Effect] = ("product",),
    errors: Errors = "auto",
    controls: Sequence[str] = (),
) -> Logit:
    """Multinomial logit of the units of each market, those who buy nothing among them: rows of 0 units count.

    It is fitted as a Poisson regression with an effect a market, which has the same likelihood (Baker 1994). A row that
    sold out is left out of it, and what it sold is in nobody's share: odds of the others are as they were (IIA).

    Args:
        table: with share and outside (`shares_of`), units at least 0.
        sizes: shoppers a period, or by store.
        errors: of a kind of `choose_errors`.

    Raises:
        CalibrationError: where the coefficient is not identified.
    """
    columns = ["price", *controls, *(["trend"] if "trend" in effects else [])]
    rows = with_trend(table) if "trend" in effects else table
    rows = rows.assign(berry_market=markets_of(table))[~sold_out_rows(table)].reset_index(drop=True)
    kind = errors_of.choose_errors(rows, errors)
    own = _counts_of(rows, sizes, columns, "period" in effects)

    def again(name: str):
        return lambda some: _counts_of(some, sizes, columns, "period" in effects)[0][name]

    coefficients, influences, used = own
    found = {
        name: errors_of.with_error(coefficients[name], influences[name], used, kind, again(name)) for name in columns
    }
    price = found.pop("price")
    found.pop("trend", None)
    elasticities = price.value * table["price"].to_numpy() * (1.0 - table["share"].to_numpy())
    return Logit(price, None, elasticities, found, errors_of.told(kind, used))


def _counts_of(
    rows: pd.DataFrame, sizes: float | pd.Series, columns: Sequence[str], inside_only: bool
) -> tuple[dict[str, float], dict[str, Influence], pd.DataFrame]:
    """(coefficients, influences, the rows these are of), the influences of the products' rows alone."""
    both = rows[["offer", "period", "berry_market", "units", *columns]]
    if not inside_only:  # an effect a market in the utilities themselves leaves nothing for the outside to say
        first = rows.groupby("berry_market", sort=False).first().reset_index()
        size = sizes if not isinstance(sizes, pd.Series) else sizes.loc[first["store"].tolist()].to_numpy()
        nobody = first[["period", "berry_market"]].assign(offer="\0outside", units=size * first["outside"])
        both = pd.concat([both, nobody.assign(**dict.fromkeys(columns, 0.0))], ignore_index=True)
    fit = fit_poisson(both, columns, ["offer", "berry_market"])
    used, inside = fit.table, fit.table["offer"].ne("\0outside").to_numpy()
    residual = used["units"].to_numpy(float) - fit.mean
    influences = {}
    for name, influence in fit.influences.items():
        # A market's residuals sum to 0, so that each row's pull may be told from the outside's.
        pull = np.where(residual != 0, influence.each / np.where(residual != 0, residual, 1.0), 0.0)
        outside = pd.Series(np.where(inside, 0.0, pull)).groupby(used["berry_market"].to_numpy()).transform("sum")
        share = influence.share[inside]
        influences[name] = Influence(((pull - outside.to_numpy()) * residual)[inside], share / share.sum())
    return fit.coefficients, influences, used[inside].reset_index(drop=True)


def inverted(table: pd.DataFrame, nesting: float = 0.0) -> np.ndarray:
    """Mean utilities δ [rows] behind the shares: log s − log s_0 − ρ log of the share within the nest (Berry 1994)."""
    share = table["share"].to_numpy(float)
    inside = table.groupby(markets_of(table))["share"].transform("sum").to_numpy(float)
    if "outside" in table:
        inside = np.where(np.isclose(1.0 - table["outside"], inside, rtol=1e-12), inside, 1.0 - table["outside"])
    return np.log(share) - np.log1p(-inside) - nesting * np.log(share / inside)
