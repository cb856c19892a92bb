"""From estimates to a market: which offers it has, its settings, and the file that training reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from marl_pricing.calibration.fit import Fit, shares_at
from marl_pricing.calibration.levels import HIGHEST
from marl_pricing.calibration.reading import CalibrationError, names_of
from marl_pricing.calibration.settings import CalibrationSettings
from marl_pricing.calibration.standard_errors import Estimate
from marl_pricing.config import market_from
from marl_pricing.config.calibrated import FORMAT
from marl_pricing.config.errors import refuse
from marl_pricing.config.market_settings import draw_lines
from marl_pricing.equilibrium import static
from marl_pricing.presentation.files import write_atomically

_SIGNIFICANT = 0.05
_DIGITS = 6
KEPT = 64  # draws of elasticities: a robust learner has no more candidate worlds


@dataclass(frozen=True)
class CalibratedMarket:
    """A market as a file says it.

    Attributes:
        settings: `market:` settings, with `calibration`.
        offers: one row an offer of the market, sellers in order: seller, offer, price, units (a period, at that price),
            cost, elasticity (own price, at that price); where each has its own, elasticity_low and _high (95 %).
        assumptions: what the sales did not tell and was taken for granted, one sentence each.
        size: shoppers a period.
        warnings: the assumptions that were not asked for and matter most; they are said first.
    """

    settings: dict[str, Any]
    offers: pd.DataFrame
    assumptions: list[str]
    size: float
    warnings: tuple[str, ...] = ()


def choose_offers(table: pd.DataFrame, own: CalibrationSettings) -> pd.DataFrame:
    """The best-selling offers of each seller by revenue: seller, offer; S·P rows, a seller's together.

    Raises:
        ConfigError: for sellers that are not there or have too few products.
    """
    sold = table.assign(revenue=table["units"] * table["price"]).groupby(["seller", "offer"])["revenue"].sum()
    ranked = sold.reset_index().sort_values(["seller", "revenue"], ascending=[True, False])
    counts = ranked.groupby("seller").size()
    enough = counts[counts >= own.products_per_seller]
    wanted = list(enough.index) if own.sellers is None else own.sellers
    for seller in wanted:
        if seller not in counts.index:
            raise refuse("sellers", seller, f"some of the file's: {names_of(list(counts.index))}")
        if seller not in enough.index:
            raise refuse("products_per_seller", own.products_per_seller, f"at most {counts[seller]}, all of {seller!r}")
    if not wanted:
        raise refuse("products_per_seller", own.products_per_seller, f"at most {counts.max()}, the most of any seller")
    if len(set(wanted)) < len(wanted):
        raise refuse("sellers", own.sellers, "a list of different sellers")
    best = ranked[ranked["seller"].isin(wanted)].groupby("seller", sort=False).head(own.products_per_seller)
    order = {seller: number for number, seller in enumerate(wanted)}
    return best.sort_values("seller", key=lambda column: column.map(order), kind="stable")[["seller", "offer"]]


def _rounded(values: Any) -> Any:
    """Plain numbers of six significant digits, as a file shows them."""
    if isinstance(values, (list, tuple, np.ndarray, pd.Series)):
        return [_rounded(value) for value in values]
    return float(f"{float(values):.{_DIGITS}g}")


def _demand(fit: Fit, offers: list[str], around: list[str], own: CalibrationSettings) -> tuple[dict, dict, np.ndarray]:
    """(people's demand, what agents differ in, share or rate of each offer at its reference price).

    Args:
        around: all offers that these compete with, themselves too.
    """
    price = fit.reference.loc[list(offers)].to_numpy()
    if fit.form == "power":
        units = np.exp(fit.dynamics.mean_factor.loc[list(offers)].to_numpy())
        base = units.mean() / fit.size
        people = {
            "model": "power",
            "base": _rounded(base),
            "popularity": _rounded(units / units.mean()),
            "elasticity": _rounded(fit.slope.value if fit.own is None else fit.slopes_of(offers)),
            "cross_elasticity": _rounded(fit.cross.value) if fit.cross else 0.0,
            "reference_price": _rounded(price),
        }
        keener = fit.slope.value if fit.own is None else fit.slopes_of(offers)
        agents = {"elasticity": _rounded(own.agent_sensitivity * keener), "level_sensitivity": 0.0}
        return people, agents, units / fit.size
    rho = fit.nesting.value if fit.nesting else 0.0
    everything = shares_at(fit.dynamics.mean_factor.loc[around].to_numpy(), rho)
    share = pd.Series(everything, fit.dynamics.mean_factor.loc[around].index).loc[list(offers)].to_numpy()
    # What shoppers buy beside these offers is part of the outside option; utilities are those behind the shares then.
    inside = share.sum()
    delta = np.log(share) - np.log1p(-inside) - rho * np.log(share / inside)
    scale = -1.0 / fit.slope.value
    people = {
        "model": "logit",
        "quality": _rounded(price + scale * delta),
        "scale": _rounded(scale),
        "nesting": _rounded(rho),
    }
    keener = scale / own.agent_sensitivity
    agents = {"scale": _rounded(keener), "quality": _rounded(price + keener * delta), "level_sensitivity": 0.0}
    return people, agents, share


def _costs(
    table: pd.DataFrame, offers: Sequence[str], price: np.ndarray, bare: dict, own: CalibrationSettings, size: float
) -> tuple[np.ndarray, str, str]:
    """Unit costs, the sentence that says where they come from, and a warning where they are not what was asked for."""
    column = table.groupby("offer")["cost"].mean().reindex(list(offers)) if "cost" in table else None
    if own.cost == "column" or (own.cost == "auto" and column is not None and column.notna().all()):
        if column is None or column.isna().any():
            raise refuse("cost", own.cost, "'nash' or 'margin' where the mapping names no cost of every offer")
        return column.to_numpy(), "Unit costs are the means of the file's column.", ""
    if own.cost == "margin":
        return (
            price * (1.0 - own.margin),
            f"Unit costs are the mean prices less a margin of {100 * own.margin:g} %.",
            "",
        )
    built = market_from(
        bare | {"agent": None}, {"model": "analytic", "sessions_per_epoch": max(round(size), 1), "agent_share": 0.0}
    )
    try:
        costs = static.implied_costs(*built, price)
        worst = int(np.argmin(costs))
        wrong = "" if costs[worst] > 0 else (
            f"Nash pricing implies a cost of {costs[worst]:.3g} for {offers[worst]} at the price {price[worst]:.3g}, "
            "so demand is too inelastic for prices to be a static equilibrium"
        )  # fmt: skip
    except static.NoEquilibriumError as error:
        wrong = f"Nash pricing implies no costs, {error}"
    if not wrong:
        return costs, (
            "Unit costs are those at which the mean prices are a one-shot Nash equilibrium of these sellers with these "
            "products: an assumption about how prices were set, not a measurement."
        ), ""  # fmt: skip
    if own.cost == "nash":
        raise CalibrationError(f"cost='nash': {wrong}; accepted is a column of costs, or cost=margin")
    told = (
        f"Unit costs are ASSUMED: the mean prices less a margin of {100 * own.margin:g} %, because the file has no "
        f"costs and {wrong}. Profits and best prices rest on it: name a column of costs in the mapping, or set margin=."
    )
    return price * (1.0 - own.margin), told, told


def _season(fit: Fit) -> tuple[dict, str]:
    moves = fit.dynamics
    if moves.season_test is None:
        return {}, ""
    found = f"The season's p-value is {moves.season_test.p_value:.2g}"
    if not moves.season_test.p_value < _SIGNIFICANT:
        return {}, f"{found}, so the market has none."
    warn = "" if moves.season_told_from_trend else "; with less than two seasons of data it cannot be told from a trend"
    terms = {"cosine": _rounded(moves.season_cosine), "sine": _rounded(moves.season_sine)}
    return {"period": fit.season, **terms}, f"{found}, so the market has it{warn}."


def own_elasticities(fit: Fit, offers: Sequence[str], price: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Own-price elasticities [N] of offers at given prices and shares."""
    if fit.form == "power":
        return fit.slopes_of(offers)
    rho = fit.nesting.value if fit.nesting else 0.0
    within = share / share.sum()
    return fit.slope.value * price * (1.0 / (1.0 - rho) - rho / (1.0 - rho) * within - share)


def make_market(fit: Fit, table: pd.DataFrame, own: CalibrationSettings) -> CalibratedMarket:
    """The market of the best-selling offers.

    Args:
        table: of the panel that the fit is of.

    Raises:
        CalibrationError: where the estimates make no market, as with a demand that rises with its price.
        ConfigError: for sellers and products that cannot be had.
    """
    if fit.slope.value >= 0:
        raise CalibrationError(
            f"price: demand is estimated to rise with it (coefficient {fit.slope.value:.3g}, error "
            f"{fit.slope.error:.2g}), and no market is made of that; accepted are sales whose price moves for reasons "
            "of supply, or instruments"
        )
    if fit.store is not None:
        table = table[table["store"] == fit.store]
    chosen = choose_offers(table, own)
    offers = chosen["offer"].tolist()
    sellers = list(dict.fromkeys(chosen["seller"]))
    price = fit.reference.loc[offers].to_numpy()
    rising = [offer for offer, slope in zip(offers, fit.slopes_of(offers), strict=True) if slope >= 0]
    if rising:
        raise CalibrationError(
            f"price: demand for {names_of(rising)} is estimated to rise with its price, and no market is made of that; "
            "accepted is elasticities=pooled, or products_per_seller that leaves it out"
        )
    people, agents, share = _demand(fit, offers, list(table["offer"].unique()), own)
    moves = fit.dynamics
    persistence = max(moves.persistence.value, 0.0)
    season, season_told = _season(fit)
    bare: dict[str, Any] = {
        "num_sellers": len(sellers),
        "num_products": own.products_per_seller,
        "demand": people,
        "agent": agents,
        "level": {
            "persistence": _rounded(persistence),
            "volatility": _rounded(moves.volatility.value),
            "noise": _rounded(moves.noise.value),
        },
        "season": season,
        "prices": {
            "map": "levels",
            "num_price_levels": own.num_price_levels,
            "low": _rounded(own.price_low * price),
            "high": _rounded(own.price_high * price),
            "start": _rounded(price),
        },
        "inventory": {
            "rule": "threshold",
            "in_periods": True,
            "initial_stock": own.lead_time + 2.0,
            "lead_time": own.lead_time,
            "reorder_point": own.lead_time + 1.0,
            "order_quantity": own.lead_time + 2.0,
        },
    }
    costs, cost_told, warning = _costs(table, offers, price, bare, own, fit.size)
    bare["reward"] = {
        "unit_cost": _rounded(costs),
        "stockout_penalty": _rounded(own.stockout_penalty * price),
        "holding_cost": _rounded(own.holding_cost * costs),
    }
    bare["calibration"] = {
        "sellers": sellers,
        "products": offers,
        "slope": _rounded(fit.slope.value),
        "slope_error": _rounded(fit.slope.error),
        "reference_price": _rounded(price),
        "level_error": _rounded(moves.constant_errors.loc[offers]),
    }
    told = pd.DataFrame(
        {
            "seller": chosen["seller"].to_numpy(),
            "offer": offers,
            "price": price,
            "units": fit.size * share,
            "cost": costs,
            "elasticity": own_elasticities(fit, offers, price, share),
        }
    )
    if fit.own is not None:
        told["elasticity_low"], told["elasticity_high"] = fit.own.interval(offers)
        bare["calibration"]["elasticity_draws"] = draw_lines(fit.own.draws[offers].to_numpy()[:KEPT].tolist())
    assumptions = [
        cost_told,
        f"The market is that of store {fit.store}; the slope and the level's laws are those of all stores."
        if fit.store is not None else "",
        f"{fit.size:,.0f} shoppers come a period, each for one unit at most; those who buy none of these offers buy "
        "elsewhere or nothing." if fit.form != "power" else "",
        season_told,
        "A period of the market has no holiday." if moves.holiday is not None else "",
        "Each offer has its own elasticity, drawn towards its category's; agents' are the same times a factor."
        if fit.own is not None else "",
        f"Persistence is estimated at {moves.persistence.value:.3f} and put to 0."
        if moves.persistence.value < 0 else "",
        f"Persistence is at its highest, {HIGHEST:g}: these sales do not tell the level from a random walk, which has "
        "no long-run mean." if moves.persistence.value == HIGHEST else "",
        f"Agents are in no sales data: they react to prices {own.agent_sensitivity:g} times as strongly as people, buy "
        "the same at the mean prices, and do not follow the level of demand.",
        f"Stock is ordered {own.lead_time + 2} periods' sales at a time, once {own.lead_time + 1} periods' are left, "
        f"and comes {own.lead_time} periods later; a missing unit costs "
        f"{100 * own.stockout_penalty:g} % of the mean price, a unit left {100 * own.holding_cost:g} % of its cost a "
        "period.",
        "The other offers' mean price is that of the offers in the market only." if fit.cross else "",
    ]  # fmt: skip
    warnings = (warning,) if warning else ()
    return CalibratedMarket(bare, told, [line for line in assumptions if line], fit.size, warnings)


def products_of(fit: Fit) -> dict[str, Any] | None:
    """Each offer's own elasticity as plain data: measured by itself, and drawn towards its category's; None without."""
    if fit.own is None:
        return None
    alone = fit.own.measured.set_index("offer")
    offers = list(fit.own.draws.columns)
    ends = zip(*fit.own.interval(offers), strict=True)
    return {
        "spread_of_categories": _rounded(fit.own.among),
        "spread_within": _rounded(fit.own.within),
        "offers": {
            offer: {"value": _rounded(fit.own.mean[offer]), "interval": _rounded(interval)}
            | ({"alone": _rounded(alone.loc[offer, "elasticity"]), "alone_error": _rounded(alone.loc[offer, "error"])}
               if offer in alone.index else {})
            for offer, interval in zip(offers, ends, strict=True)
        },
    }  # fmt: skip


def _estimate(own: Estimate | None) -> dict[str, Any] | None:
    if own is None:
        return None
    low, high = own.interval
    return {"value": _rounded(own.value), "error": _rounded(own.error), "interval": _rounded([low, high])}


def estimates_of(fit: Fit) -> dict[str, Any]:
    """All estimates as plain data."""
    moves = fit.dynamics
    tests = {"persistence": moves.persistence_test, "volatility": moves.volatility_test, "season": moves.season_test}
    return {
        "form": fit.form,
        "slope": _estimate(fit.slope),
        "cross_elasticity": _estimate(fit.cross),
        "nesting": _estimate(fit.nesting),
        "mean_own_elasticity": _rounded(fit.mean_elasticity),
        "market_size": _rounded(fit.size),
        "persistence": _estimate(moves.persistence),
        "volatility": _estimate(moves.volatility),
        "noise": _estimate(moves.noise),
        "season": {"cosine": _rounded(moves.season_cosine), "sine": _rounded(moves.season_sine)},
        "holiday": _estimate(moves.holiday),
        "robustness": None
        if fit.robustness is None
        else {"to_zero": _rounded(fit.robustness.to_zero), "to_minus_one": _rounded(fit.robustness.to_minus_one)},
        "p_values": {name: None if test is None else _rounded(test.p_value) for name, test in tests.items()},
        "rows": fit.elasticity.rows,
        "offers": fit.elasticity.offers,
        "estimator": fit.estimator,
        "effects": list(fit.effects),
        "errors_allow_for": fit.errors,
        "instruments": _worth(fit),
        "warnings": list(fit.warnings),
    }


def _worth(fit: Fit) -> dict[str, Any] | None:
    """What the instruments of the form's own equation are worth; of a nested logit, of the constant elasticity's."""
    own = fit.instruments or fit.elasticity.instruments
    if own is None:
        return None
    return {
        "columns": list(own.names),
        "first_stage_f": _rounded(own.first_stage),
        "anderson_rubin": [_rounded(interval) for interval in own.intervals],
        "p_value_of_agreeing": None if own.overidentified is None else _rounded(own.overidentified),
    }


def write_market(
    path: Path,
    market: CalibratedMarket,
    estimates: dict[str, Any],
    provenance: dict[str, Any],
    units: dict[str, str] | None = None,
) -> None:
    """Write the file that `market=calibrated market.path=…` reads; whole or not at all.

    Args:
        units: what its numbers are in, `currency` and `period`, where the sales say.
    """
    data = {
        "format": FORMAT,
        **(units or {}),
        "market": market.settings,
        "market_size": _rounded(market.size),
        "assumptions": market.assumptions,
        "estimates": estimates,
        "provenance": provenance,
    }
    text = (
        "# Written by python -m marl_pricing.calibration; train on it with market=calibrated market.path=<this file>.\n"
    )
    text += yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
    write_atomically(path, text)
