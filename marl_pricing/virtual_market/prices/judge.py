"""Learned shoppers beside the truth: purchase propensities by price, and what prices that are best among them bring."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from marl_pricing.demand.level import stationary_variance
from marl_pricing.equilibrium import static
from marl_pricing.virtual_market.prices.fit import FittedPrices
from marl_pricing.virtual_market.prices.log import PriceLog, cells_of
from marl_pricing.virtual_market.prices.model import learned_market
from marl_pricing.virtual_market.prices.truth import TrueMarket, curve_prices, propensities_of


def naive_regression(log: PriceLog, prices: np.ndarray) -> np.ndarray:
    """Units [..., N] of a session at prices [..., N], by who regresses orders on all prices (least squares)."""
    cells = cells_of(log)
    weight = cells.counts.sum(1)
    inputs = np.column_stack([np.ones(len(weight)), cells.prices]) * np.sqrt(weight)[:, None]
    found, *_ = np.linalg.lstsq(inputs, cells.units / np.sqrt(weight)[:, None], rcond=None)
    return np.maximum(found[0] + prices @ found[1:], 0.0)


class Known(NamedTuple):
    """The truth, and the level of demand [N] in the log, its geometric mean."""

    market: TrueMarket
    level: np.ndarray


class Curves(NamedTuple):
    """Units a session [N, K] of each offer at K prices of its own, all others in the middle of the log's range.

    At the demand of the log's typical day; `truth` and `usual` where they are known, `usual` at the truth's usual
    demand, which the days of a log may have missed.
    """

    prices: np.ndarray
    learned: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    naive: np.ndarray
    truth: np.ndarray | None
    usual: np.ndarray | None


def curves_of(fitted: FittedPrices, log: PriceLog, known: Known | None) -> Curves:
    """What each says, of every member of the ensemble the lowest and the highest."""
    low, high = (known.market.low, known.market.high) if known else (fitted.low, fitted.high)
    prices = curve_prices(low, high)

    def own(values: np.ndarray) -> np.ndarray:
        return np.stack([values[offer, :, offer] for offer in range(len(low))])

    def of(member: int) -> np.ndarray:
        built = learned_market(fitted, 0.0, member)
        typical = np.exp(-0.5 * fitted.classes[0].volatility[member] ** 2)  # a level of mean 1 is mostly below it
        return own(propensities_of(built.shape, built.params, prices, typical))

    members = np.stack([of(member) for member in range(len(fitted.classes[0].scale))])
    truth = usual = None
    if known:
        real = known.market.expected
        truth = own(propensities_of(*real, prices, known.level))
        typical = np.exp(-0.5 * np.asarray(stationary_variance(real[1].demand)))
        usual = own(propensities_of(*real, prices, typical))
    naive = own(naive_regression(log, prices))
    return Curves(own(prices), members[0], members.min(0), members.max(0), naive, truth, usual)


def table_of(curves: Curves, offers: tuple[str, ...]) -> pd.DataFrame:
    """A row an offer and price."""
    count = curves.prices.shape[1]
    columns = {"offer": np.repeat(offers, count), "price": curves.prices.reshape(-1)}
    for name in ("truth", "learned", "lowest", "highest", "naive"):
        values = getattr(curves, name)
        if values is not None:
            columns[name] = values.reshape(-1)
    return pd.DataFrame(columns)


class Earned(NamedTuple):
    """What prices that are best among learned shoppers bring among the true ones, over what the truth's own bring."""

    joint: float  # all sellers as one
    nash: float  # each for itself: the sum of their profits
    regret: float  # at the learned Nash prices in the truth: the largest share that a seller could gain alone


def earned(fitted: FittedPrices, truth: TrueMarket, member: int = 0) -> Earned:
    """One-shot prices, computed, not trained. Raises equilibrium.static.NoEquilibriumError."""
    cost = np.asarray(truth.params.reward.unit_cost, float)
    learned = learned_market(fitted, cost.tolist(), member)
    real = truth.expected

    def brings(prices: np.ndarray) -> np.ndarray:
        return static.profits_at(*real, prices)

    joint = brings(static.joint_profit(*learned).prices).sum() / static.joint_profit(*real).profits.sum()
    ours = static.nash(*learned).prices
    return Earned(float(joint), float(brings(ours).sum() / static.nash(*real).profits.sum()), gain_alone(truth, ours))


def gain_alone(truth: TrueMarket, prices: np.ndarray) -> float:
    """Share of its profit that a seller could gain in the truth by another mark-up on its prices, of prices [N]."""
    cost = np.asarray(truth.params.reward.unit_cost, float)
    real = truth.expected
    here = static.profits_at(*real, prices)
    gains = [0.0]
    for seller, own in enumerate(np.split(np.arange(len(prices)), truth.shape.num_sellers)):
        for factor in np.linspace(0.5, 2.0, 151):
            other = prices.copy()
            other[own] = cost[own] + factor * (prices[own] - cost[own])
            gains.append(static.profits_at(*real, other)[seller] / here[seller] - 1.0)
    return float(max(gains))


def judged(fitted: FittedPrices, log: PriceLog, known: Known | None) -> tuple[pd.DataFrame, list[str]]:
    """(curves, what they come to in lines)."""
    curves = curves_of(fitted, log, known)
    lines = []
    if curves.truth is not None and curves.usual is not None and known is not None:
        errors = {name: float(np.abs(getattr(curves, name) - curves.truth).mean()) for name in ("learned", "naive")}
        inside = ((curves.lowest <= curves.truth) & (curves.truth <= curves.highest)).mean()
        lines.append(
            f"mean absolute error of units a session by price: learned {errors['learned']:.4f}, naive regression "
            f"{errors['naive']:.4f} ({errors['naive'] / errors['learned']:.1f} times)"
        )
        far = float(np.abs(curves.usual - curves.truth).mean())
        lines.append(f"of which the log cannot tell: demand of its days was {far:.4f} from the usual")
        lines.append(f"the ensemble's band holds the truth at {inside:.0%} of the prices")
        try:
            found = earned(fitted, known.market)
        except static.NoEquilibriumError as error:
            lines.append(f"best prices are not known: {error}")
        else:
            lines.append(
                f"best prices among learned shoppers bring in the truth: all sellers as one {found.joint:.2%} of the "
                f"most, each for itself {found.nash:.2%} of the truth's own equilibrium, where one alone could gain "
                f"{found.regret:.2%}"
            )
    return table_of(curves, fitted.offers), lines


def as_json(table: pd.DataFrame, lines: list[str]) -> str:
    """What was printed, as a file."""
    rows: Any = json.loads(table.round(6).to_json(orient="records"))
    return json.dumps({"curves": rows, "told": lines}, indent=1) + "\n"
