"""What is measured of every seed in a sweep. A measure more is a line of `MEASURES`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.evaluation import metrics, tables
from marl_pricing.evaluation.play import Record
from marl_pricing.evaluation.sweep.exact import Exact
from marl_pricing.evaluation.sweep.play import SweptRun

Array = np.ndarray

COLUMNS = {
    "run": "text",
    "over": "text; value of the second dimension, empty without",
    "x": "value on the x axis",
    "seed": "number of the training seed; seed k of every run meets the k-th set of shoppers",
    "measure": "text; a key of MEASURES",
    "value": "of the seed's greedy policy over all its episodes",
}


@dataclass(frozen=True)
class Seed:
    """What one seed's measures are made of.

    Attributes:
        sums: of `metrics.episode_sums` over all episodes.
    """

    run: SweptRun
    exact: Exact
    record: Record
    sums: dict[str, float]


@dataclass(frozen=True)
class Measure:
    """A number of a seed.

    Attributes:
        label, unit, explanation: for people.
        of: the number; NaN where the play does not determine it.
        withheld: why a market has no such number; empty where it has.
    """

    label: str
    unit: str
    explanation: str
    of: Callable[[Seed], float]
    withheld: Callable[[SweptRun, Exact], str] = lambda run, exact: ""
    percent: bool = False


def _ratio(name: str) -> Callable[[Seed], float]:
    own = metrics.MEASURES[name]

    def of(seed: Seed) -> float:
        bottom = seed.sums[own.denominator]
        return seed.sums[own.numerator] / bottom if bottom else float("nan")

    return of


def _table_measure(name: str, *, percent: bool = False, stocked: bool = False) -> Measure:
    own = metrics.MEASURES[name]
    return Measure(own.label, own.unit, own.explanation, _ratio(name), _needs_stock if stocked else _never, percent)


def _never(run: SweptRun, exact: Exact) -> str:
    return ""


def _needs_stock(run: SweptRun, exact: Exact) -> str:
    return "stock is unlimited" if run.shape.inventory.unlimited else ""


def _needs_orders(run: SweptRun, exact: Exact) -> str:
    nothing = run.shape.inventory.unlimited or run.shape.inventory.rule == "none"
    return "nothing is reordered" if nothing else ""


def _needs_sessions(run: SweptRun, exact: Exact) -> str:
    return "" if run.shape.traffic.walks_sessions else "there are no sessions (traffic.model=analytic)"


def _needs_agents(run: SweptRun, exact: Exact) -> str:
    return "" if run.shape.demand.num_classes > 1 else "there are no agents"


def _needs_gain(run: SweptRun, exact: Exact) -> str:
    return exact.benchmarks.reason


def _needs_own(run: SweptRun, exact: Exact) -> str:
    return "" if exact.own is not None else "there is no one-shot equilibrium"


def _needs_grid(run: SweptRun, exact: Exact) -> str:
    return exact.no_grid


def _profit_gain(seed: Seed) -> float:
    return seed.exact.benchmarks.profit_gain(_ratio("profit")(seed))


def _price_gap(seed: Seed) -> float:
    assert seed.exact.own is not None
    return float(np.abs(posted(seed.record) - seed.exact.own.prices).mean())


def _on_grid(seed: Seed) -> float:
    assert seed.exact.grid is not None
    return float(plays_equilibria(posted(seed.record), np.asarray(seed.run.params.prices.levels), seed.exact.grid))


def _cost_of_information(seed: Seed) -> float:
    record, ran = seed.record, offers_in(seed.record)
    sales = np.asarray(record.sales, np.float64)[ran].sum()
    margin = (record.price_paid - seed.run.params.reward.unit_cost) * record.sales
    return float(np.asarray(margin, np.float64)[ran].sum() / sales) if sales else float("nan")


def _bullwhip(seed: Seed) -> float:
    record, shape = seed.record, seed.run.shape
    by_seller = (*record.ordered.shape[:2], shape.num_sellers, shape.num_products)
    orders, demand = (np.asarray(x, np.float64).reshape(by_seller).sum(-1) for x in (record.ordered, record.demand))
    return float(bullwhip_ratio(orders, demand).mean())


def _proxy_correlation(seed: Seed) -> float:
    ran = offers_in(seed.record)
    return correlation(seed.record.events[ran], seed.record.orders[..., 0, :][ran])


def _proxy_inflation(seed: Seed) -> float:
    ran = offers_in(seed.record)
    people = float(seed.record.orders[..., 0, :][ran].sum(dtype=np.float64))
    return float(seed.record.events[ran].sum(dtype=np.float64)) / people if people else float("nan")


def offers_in(record: Record) -> Array:
    """Offers [E, T, N] of sellers that were in the market."""
    return np.repeat(record.live, record.price.shape[-1] // record.live.shape[-1], axis=-1)


def posted(record: Record) -> Array:
    """Joint prices [M, N] of all epochs in which every seller was in the market."""
    return np.asarray(record.price, np.float64)[record.live.all(-1)]


def plays_equilibria(prices: Array, levels: Array, equilibria: Array) -> bool:
    """Whether every joint price is one of the equilibria of the game on the grid.

    Args:
        prices: [M, N] money.  levels: [N, K] the grid.  equilibria: [E, N] levels.
    """
    index = np.abs(np.asarray(levels, np.float64)[None] - prices[..., None]).argmin(-1)
    played = np.unique(index, axis=0)
    return bool(len(equilibria)) and bool((played[:, None] == equilibria[None]).all(-1).any(-1).all())


def bullwhip_ratio(orders: Array, demand: Array) -> Array:
    """Variance of orders over variance of demand, by seller [S] (Chen, Drezner, Ryan and Simchi-Levi 2000, eq. 1).

    Variances are those within an episode, averaged over episodes; NaN where demand never varies.

    Args:
        orders, demand: [E, T, S] units an epoch.
    """
    ordered, wanted = (x.var(axis=1).mean(axis=0) for x in (orders, demand))
    return np.divide(ordered, wanted, out=np.full_like(wanted, np.nan), where=wanted > 0)


def correlation(one: Any, other: Any) -> float:
    """Pearson's, of all entries; NaN where one of them does not vary."""
    x, y = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return float(np.corrcoef(x, y)[0, 1]) if x.size > 1 and x.std() > 0 and y.std() > 0 else float("nan")


MEASURES: dict[str, Measure] = {
    "profit": _table_measure("profit"),
    "profit_gain": Measure(
        "profit gain Δ", "0 Nash, 1 joint", "(profit − Nash) / (joint − Nash), one-shot benchmarks",
        _profit_gain, _needs_gain,
    ),
    "price_mean": _table_measure("price_mean"),
    "price_gap": Measure(
        "distance from equilibrium", "money per unit",
        "mean distance of a posted price from the one-shot equilibrium at the market's omega", _price_gap, _needs_own,
    ),
    "grid_equilibrium": Measure(
        "plays a grid equilibrium", "share of seeds",
        "every joint price posted is an equilibrium, at the market's omega, of the game on the price grid",
        _on_grid, _needs_grid, percent=True,
    ),
    "price_spread": _table_measure("price_spread"),
    "coi": Measure(
        "cost of information", "money per unit",
        "price paid less unit cost, by units sold (spec/phantom_methodology, def. 1)", _cost_of_information,
        _needs_agents,
    ),
    "fill_rate": _table_measure("fill_rate", percent=True, stocked=True),
    "stockout_share": _table_measure("stockout_share", percent=True, stocked=True),
    "stock": _table_measure("stock", stocked=True),
    "bullwhip": Measure(
        "bullwhip ratio", "ratio of variances",
        "variance of a seller's orders over variance of its demand, within episodes; mean over sellers",
        _bullwhip, _needs_orders,
    ),
    "proxy_correlation": Measure(
        "proxy and demand", "correlation",
        "of an offer's demand proxy with the units that people ordered in the same epoch", _proxy_correlation,
        _needs_sessions,
    ),
    "proxy_inflation": Measure(
        "proxy per unit", "weighted events", "demand proxy over units that people ordered", _proxy_inflation,
        _needs_sessions,
    ),
}  # fmt: skip


def measure_run(run: SweptRun, exact: Exact, records: Sequence[Record]) -> pd.DataFrame:
    """All measures that a run's market has, one row a seed and measure: `COLUMNS`."""
    wanted = {name: own for name, own in MEASURES.items() if not own.withheld(run, exact)}
    rows = []
    for number, record in enumerate(records):
        seed = Seed(run, exact, record, _sums(run, record, number))
        for name, own in wanted.items():
            rows.append((run.name, "" if run.over is None else str(run.over), run.x, number, name, own.of(seed)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _sums(run: SweptRun, record: Record, number: int) -> dict[str, float]:
    """The one place where the measures of `metrics` are fed."""
    offers = tables.offers_table(record, run.name, "learned (greedy)", number)
    sellers = tables.sellers_table(record, run.name, "learned (greedy)", number)
    sums = metrics.episode_sums(offers, sellers)
    return {str(name): float(total) for name, total in sums.drop(columns=metrics.EPISODE).sum().items()}
